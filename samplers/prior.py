"""What a prior is: the probability measure over parameters in which every volume is measured.

Most priors are the image of a standard normal, ``theta = prior.transform(z)`` with z ~ N(0, I): estimators that
move in z-space then work with any of them. Each such map here commutes with signs: negating an entry of z negates
the same entry of theta when it is a weight or a bias. z is symmetric, so negating any chosen weights and biases
gives a draw of the same law (``sign_symmetric``), which is what lets many bodies share one set of heads.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from volume.models import Parameter, Params

PerLayer = float | Sequence[float]
"""One value for all layers, or a tuple with one value per layer, in the order of ``Parameter.layer``."""


@runtime_checkable
class Prior(Protocol):
    """A law over parameters. Implementations are frozen and hashable: they are static under ``jax.jit``."""

    @property
    def has_transform(self) -> bool:
        """Whether ``transform`` exists, that is whether the prior is the image of a standard normal."""
        ...

    @property
    def separable(self) -> bool:
        """Whether the head's layer may be drawn apart from the rest: layers are independent of each other.

        ``transform`` (without one ``draw``) then acts on any subset of the parameters made of whole layers as on all.
        """
        ...

    @property
    def sign_symmetric(self) -> bool:
        """Whether negating any weights and biases (chosen independently of their values) leaves the law as it is."""
        ...

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """Return parameters made of iid standard normals ``z`` of the same names, shapes and dtype. Pure and
        jittable."""
        ...

    def draw(self, key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32) -> Params:
        """Draw the parameters once; the key is consumed."""
        ...

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """Raise ValueError if this prior does not fit a model with all these parameters."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record, {"name": ..., one entry per setting}; ``from_description`` reads it back."""
        ...


def standard_normal(
    key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32, draws: tuple[int, ...] = ()
) -> Params:
    """Independent N(0, 1) entries, [*draws, *shape] for every parameter, in the given order; the key is consumed.

    JAX makes a float32 normal of 23 random bits: it takes one of 2^23 values between -5.42 and 5.22, never exactly 0
    and no smaller in size than 7.5e-8. In float64 they are 52 bits.
    """
    if not parameters:  # the body of a perceptron
        return {}
    # One flat draw, cut into pieces: a draw for each tensor compiles four times as long and runs no faster.
    sizes = [math.prod(p.shape) for p in parameters]
    pieces = jnp.split(jax.random.normal(key, (*draws, sum(sizes)), dtype), np.cumsum(sizes)[:-1], axis=-1)
    return {p.name: piece.reshape(*draws, *p.shape) for p, piece in zip(parameters, pieces, strict=True)}


def fan_scale(value: float, fan_in: int) -> float:
    """``value / sqrt(fan_in)``: with it a unit's input has the same size whatever the width of the layer below."""
    return value / math.sqrt(fan_in)


class PushForward:
    """The parts that every prior of the form ``transform(standard normal)`` shares."""

    has_transform = True
    sign_symmetric = True

    @property
    def separable(self) -> bool:
        return True

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        raise NotImplementedError

    def draw(self, key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32) -> Params:
        """Draw the parameters once: ``transform(standard_normal(key, parameters, dtype), parameters)``."""
        return self.transform(standard_normal(key, parameters, dtype), parameters)


def checked_setting(name: str, value: Any, *, positive: bool = False) -> float | tuple[float, ...]:
    """``value`` as one float or a tuple of floats; what a prior keeps, so that equal settings hash alike.

    TypeError for anything but real numbers (booleans and strings are refused), ValueError unless finite and >= 0
    (> 0 when ``positive``).
    """
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1):
        if not len(value):
            raise ValueError(f"{name} is an empty sequence; give one number, or one number per layer.")
        return tuple(_number(f"{name}[{i}]", v, positive) for i, v in enumerate(value))
    return _number(name, value, positive)


def _number(name: str, value: Any, positive: bool) -> float:
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} is {value!r}, a {type(value).__name__}; give one number, or a tuple with one number per layer."
        )
    number = float(value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"{name} is {number}; it must be finite and {'> 0' if positive else '>= 0'}.")
    return number


def num_layers(parameters: tuple[Parameter, ...]) -> int:
    return 1 + max((p.layer for p in parameters), default=-1)


def check_length(name: str, value: PerLayer, parameters: tuple[Parameter, ...]) -> None:
    """ValueError if ``value`` is a tuple that does not have one entry per layer of the model."""
    expected = num_layers(parameters)
    if not isinstance(value, float) and len(cast(Sequence[float], value)) != expected:
        length = len(cast(Sequence[float], value))
        raise ValueError(
            f"{name} has {length} value{'s' * (length != 1)} but the model has {expected} "
            f"layer{'s' * (expected != 1)}; give one number for all layers or {expected} of them."
        )


def at_layer(value: PerLayer, layer: int) -> float:
    """Return the value that ``value`` holds for a layer."""
    return value[layer] if isinstance(value, Sequence) else value


def describe_setting(value: PerLayer) -> float | list[float]:
    return list(value) if isinstance(value, Sequence) else value
