"""Independent uniform parameters, weights scaled by their fan-in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
from jax import Array

from .independent import Independent
from .prior import PerLayer


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
