"""Independent normal parameters, weights scaled by their fan-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jax import Array

from .independent import Independent
from .prior import PerLayer


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
