"""Priors that draw every entry of every parameter on its own, weights scaled by their fan-in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from jax import Array

from volume.models import Parameter, Params

from .prior import (
    PerLayer,
    PushForward,
    at_layer,
    check_length,
    checked_setting,
    describe_setting,
    fan_scale,
    num_layers,
)


class Independent(PushForward):
    """theta = size * unit(z), entry by entry, plus 1 for scales; sizes of weights are divided by sqrt(fan_in).

    A subclass is a frozen dataclass with the fields ``weight_*``, ``bias_*`` and ``scale_*`` named after ``size_name``.
    """

    size_name: ClassVar[str]

    @staticmethod
    def unit(z: Array) -> Array:
        """Return the law at size 1, as an odd function of a standard normal."""
        raise NotImplementedError

    def __post_init__(self):
        for name in self._fields():
            object.__setattr__(self, name, checked_setting(name, getattr(self, name)))
        weight, bias, _ = self._fields()
        if not any(np.any(getattr(self, name)) for name in (weight, bias)):
            raise ValueError(
                f"{weight} and {bias} are both 0, so every draw would be the same network; give one a value > 0."
            )

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """Return parameters made of standard normals ``z``, each tensor on its own."""
        return {p.name: self._size(p) * self.unit(z[p.name]) + (1.0 if p.kind == "scale" else 0.0) for p in parameters}

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """ValueError for a tuple that does not fit the layers, or when no parameter of this model would vary."""
        for name in self._fields():
            check_length(name, getattr(self, name), parameters)
        if not any(self._size(p) > 0 for p in parameters):
            kinds = ", ".join(sorted({p.kind for p in parameters})) or "none"
            raise ValueError(
                f"Under {self} every draw is the same network: the model's parameters (kinds: {kinds}) all have "
                "size 0; give one of these kinds a value > 0."
            )

    def sizes(self, parameters: tuple[Parameter, ...]) -> dict[str, float]:
        """Return a typical absolute value of every parameter, for `scaled`."""
        return {p.name: max(self._size(p), 1.0 if p.kind == "scale" else 0.0) for p in parameters}

    def rescaled(self, parameters: tuple[Parameter, ...], powers: Mapping[str, int]) -> Independent | None:
        """Return this law with every parameter times 2^power; None where sizes by layer cannot say that."""
        found: dict[tuple[str, int], set[int]] = {}
        for p in parameters:
            found.setdefault((p.kind, p.layer), set()).add(powers.get(p.name, 0))
        if any(len(each) > 1 or (kind == "scale" and each != {0}) for (kind, _), each in found.items()):
            return None
        settings = {}
        for name, kind in zip(self._fields(), ("weight", "bias", "scale"), strict=True):
            each = (found.get((kind, layer), {0}) for layer in range(num_layers(parameters)))
            settings[name] = tuple(
                math.ldexp(at_layer(getattr(self, name), layer), *power) for layer, power in enumerate(each)
            )
        return type(self)(**settings)

    def describe(self) -> dict[str, Any]:
        """{"name", and the three settings: a number, or a list with one number per layer}."""
        settings = {name: describe_setting(getattr(self, name)) for name in self._fields()}
        return {"name": type(self).__name__.lower(), **settings}

    def _fields(self) -> tuple[str, str, str]:
        return f"weight_{self.size_name}", f"bias_{self.size_name}", f"scale_{self.size_name}"

    def _size(self, parameter: Parameter) -> float:
        size = at_layer(getattr(self, f"{parameter.kind}_{self.size_name}"), parameter.layer)
        return fan_scale(size, parameter.fan_in) if parameter.kind == "weight" else size


@dataclass(frozen=True)
class Gaussian(Independent):
    """Weights N(0, weight_std^2 / fan_in), biases N(0, bias_std^2), scales N(1, scale_std^2), all independent.

    Each setting is one number, or a tuple with one number per layer (``Parameter.layer``). "Scales" are the factors
    of normalisation layers; they stay at 1 by default. Errors: TypeError for what is no number; ValueError for a
    negative or infinite one, for weight_std and bias_std that are both 0, and, in ``check``, for a tuple of the
    wrong length.
    """

    weight_std: PerLayer = 1.0
    bias_std: PerLayer = 0.0
    scale_std: PerLayer = 0.0

    size_name: ClassVar[str] = "std"

    @staticmethod
    def unit(z: Array) -> Array:
        return z


@dataclass(frozen=True)
class Uniform(Independent):
    """Weights U(-a, a) with a = weight_bound / sqrt(fan_in), biases U(-bias_bound, bias_bound), all independent.

    Scales (the factors of normalisation layers) are U(1 - scale_bound, 1 + scale_bound), by default fixed at 1. Each
    setting is one number, or a tuple with one number per layer. Errors as for ``Gaussian``. The variance of a weight
    is weight_bound^2 / (3 fan_in): weight_bound = sqrt(3) has that of ``Gaussian(weight_std=1)``.
    """

    weight_bound: PerLayer = 1.0
    bias_bound: PerLayer = 0.0
    scale_bound: PerLayer = 0.0

    size_name: ClassVar[str] = "bound"

    @staticmethod
    def unit(z: Array) -> Array:
        # 2 Phi(z) - 1, the probability integral transform.
        return jax.lax.erf(z * math.sqrt(0.5))
