"""What a network is to this project: a list of named parameters and a pure function of them.

Shape letters: N inputs, F features below the last layer, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jax import Array

Params = Mapping[str, Array]
Kind = Literal["weight", "bias", "scale"]


@dataclass(frozen=True)
class Parameter:
    """One parameter tensor, as a prior sees it: the module's own initialiser plays no part.

    ``kind`` tells the prior which law applies: "weight" scales with ``fan_in``, "bias" does not, and "scale" is a
    multiplicative factor (a normalisation layer's) whose neutral value is 1.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    fan_in: int
    layer: int  # depth index, 0 first; what "one value per layer" in a prior refers to


@dataclass(frozen=True)
class Head:
    """A model's last, linear layer: ``apply(params, x) == features(params, x) @ params[weight] + params[bias]``."""

    weight: str  # name of the [F, C] parameter
    bias: str | None  # name of the [C] parameter
    num_features: int  # F


@runtime_checkable
class Model(Protocol):
    """The protocol behind every network. Implementations are frozen and hashable: they are static under ``jax.jit``.

    A model may also have the attribute ``symmetry``, a `Symmetry`: which of its hidden units can change places. Without
    it nothing is known of them, and queries that count each network once are refused.
    """

    @property
    def parameters(self) -> tuple[Parameter, ...]: ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the leading N."""
        ...

    @property
    def num_outputs(self) -> int:
        """C. One output: class 1 iff the output is > 0. Several: the argmax, ties to the lowest index."""
        ...

    @property
    def head(self) -> Head | None:
        """The linear last layer, when there is one that can be drawn many times on the same features."""
        ...

    def features(self, params: Params, inputs: Array) -> Array:
        """Return activations below the head, [N, F]; reads only the parameters outside it. Raises if ``head`` is
        None."""
        ...

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return outputs [N, C] for inputs [N, *input_shape]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record, {"name": ..., one entry per setting}."""
        ...


def num_parameters(model: Model) -> int:
    """Say how many numbers one network is."""
    return sum(math.prod(parameter.shape) for parameter in model.parameters)
