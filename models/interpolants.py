"""The polynomials through given points, as a network whose free parameters are what the points leave open.

Conditioned on p(x_j) = y_j, independent coefficients c_k ~ N(0, s_k^2) are Gaussian on the affine space of all such p:
with D = diag(s), V the powers and A = V D, c = D u and u = A^+ y + Q w, w ~ N(0, I_f), where the columns of Q span the
null space of A (Rasmussen and Williams 2006, A.2).

Shape letters: m training points, f = degree + 1 - m free dimensions, N inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from .model import Params
from .polynomial import OneNumber, Polynomial

MAX_CONDITION = 1e10  # of the scaled powers at the training points: beyond, under six digits of the answer are left


def interpolation(x: np.ndarray, y: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u [degree + 1], the least one in norm that meets the points [m], and Q [degree + 1, f]: float64.

    ``std`` [degree + 1] are the s_k. ValueError for powers that float64 cannot tell apart at the points.
    """
    powers = np.vander(x, len(std), increasing=True) * std
    size = np.linalg.norm(powers, axis=1, keepdims=True)  # rows scaled to length 1: units of y do not matter
    q, r = np.linalg.qr((powers / size).T, mode="complete")
    m = len(x)
    if not np.isfinite(size).all() or np.linalg.cond(r[:m]) > MAX_CONDITION:
        raise ValueError(
            f"The powers of the {m} training inputs up to x^{len(std) - 1} are too nearly dependent for float64: scale"
            " the inputs to about [-1, 1], spread them out, or give fewer."
        )
    return q[:, :m] @ np.linalg.solve(r[:m].T, y / size[:, 0]), q[:, m:]


@dataclass(frozen=True)
class Interpolants(OneNumber):
    """The polynomials of a degree through points (x_j, y_j): one number in, one out.

    Its one parameter is "0.weight" [f, 1], the f = degree + 1 - m coordinates w that the points leave free, with
    fan_in 1: the prior ``Gaussian(weight_std=1)`` on them is the law of polynomials with coefficients N(0, s^2) given
    the points. `volume.extrapolation` has the closed form of what `volume.Splitting` estimates with it.

    Args:
        degree: at least m, so that something is free.
        inputs: the m different x_j.
        labels: the y_j.
        weight_std: s, one number for all coefficients.

    Raises:
        TypeError, ValueError: settings out of range, points that repeat, too few coefficients.
    """

    degree: int
    inputs: tuple[float, ...]
    labels: tuple[float, ...]
    weight_std: float = 1.0

    def __init__(self, degree: int, inputs: Sequence[float], labels: Sequence[float], weight_std: float = 1.0):
        degree = Polynomial(degree).degree
        x, y = (np.asarray(values, np.float64).ravel() for values in (inputs, labels))
        if len(x) != len(y) or not np.isfinite([*x, *y, weight_std]).all() or not weight_std > 0:
            raise ValueError(
                f"inputs has {len(x)} numbers, labels {len(y)}, weight_std={weight_std!r}: give as many of either, all "
                "finite, and a weight_std above 0."
            )
        if len(np.unique(x)) < len(x):
            raise ValueError("inputs names a point twice; give each once.")
        if degree < len(x):
            raise ValueError(
                f"degree is {degree}: {degree + 1} coefficients leave nothing free at {len(x)} points; "
                f"give a degree of {len(x)} or more."
            )
        for name, value in (("degree", degree), ("inputs", tuple(x.tolist())), ("labels", tuple(y.tolist()))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "weight_std", float(weight_std))
        _ = self._basis

    @cached_property
    def _basis(self) -> tuple[np.ndarray, np.ndarray]:
        std = np.full(self.degree + 1, self.weight_std)
        u, free = interpolation(np.array(self.inputs), np.array(self.labels), std)
        return std * u, std[:, None] * free

    @property
    def num_free(self) -> int:
        return self.degree + 1 - len(self.inputs)

    @property
    def head(self) -> None:
        return None  # values are affine in w, and a head has no constant

    def features(self, params: Params, inputs: Array) -> Array:
        raise TypeError("Interpolants has no linear last layer.")

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return values [N, 1] for inputs [N, 1]."""
        powers = jnp.vander(inputs[:, 0], self.degree + 1, increasing=True)
        fixed, free = (jnp.asarray(part, inputs.dtype) for part in self._basis)
        return (powers @ fixed)[:, None] + (powers @ free) @ params["0.weight"]

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; ``from_description`` reads it back."""
        return {
            "name": "interpolants",
            "degree": self.degree,
            "inputs": list(self.inputs),
            "labels": list(self.labels),
            "weight_std": self.weight_std,
        }
