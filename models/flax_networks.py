"""What a Flax module is to `flax_modules`: a pure function of named parameters, that can be compared and hashed.

Shape letters: N inputs, F features below the head, C outputs.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import jax.numpy as jnp
import numpy as np
from jax import Array

from .model import Params

Path = tuple[Any, ...]
"""Where a module stands inside another: the attributes and indices that lead to it."""


class ModuleStateError(ValueError):
    """A module that is no fixed function of parameters and inputs; the message says what to do."""


class Layer(NamedTuple):
    """One parameter as its module holds it."""

    shape: tuple[int, ...]
    path: Path  # of the module that holds it
    dense: bool  # that module is x @ kernel + bias, in the dtype it is given
    fan_in: int | None  # terms in one of its sums, where the module tells


class Network(Protocol):
    """A module as a pure function. Hashable; equal ones compute the same function of the parameters."""

    @property
    def kind(self) -> str: ...

    @property
    def wrapped(self) -> str: ...

    def run(self, params: Params, inputs: Array) -> Array:
        """What the module returns for these parameters and inputs."""
        ...

    def tap(self, params: Params, inputs: Array, head: Path, marker: Array) -> tuple[list[Array], Any]:
        """Run with the layer at ``head`` returning ``marker``: what went into that layer, and what the module returned.

        ``params`` holds only what is outside the head; a module that reads the head's parameters all the same raises.
        """
        ...


class ByKey:
    """Equality and hash by ``self.key``, computed once: a static argument of ``jax.jit`` is hashed on every call."""

    key: Any

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.key == cast(ByKey, other).key


def hashable(value: Any) -> Any:
    """Return the value itself where it can be hashed; else something equal to nothing but itself."""
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    return value


class _Identity(NamedTuple):
    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __ne__(self, other: object) -> bool:
        return not self == other


def content(array: Any) -> Any:
    array = np.asarray(array)
    return array.shape, str(array.dtype), array.tobytes()


def as_floats(constant: Any, dtype: Any) -> Any:
    """Make constants follow the run's precision, so that a float64 run is one throughout."""
    return constant.astype(dtype) if jnp.issubdtype(constant.dtype, jnp.floating) else constant


def text_of(path: Path) -> str:
    """Return a path as a name: "blocks.0.kernel"."""
    return ".".join(str(part) for part in path)
