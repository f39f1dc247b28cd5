"""Directions that fit a region's shape: v = P g for a standard normal g, with no direction much longer than others.

P P' should be near the covariance of the region's mass. In coordinates y where the prior is N(0, I) off its centre, and
with curvature H of the divergence, the Gaussian exp(-weight y'H y / 2) times the prior has covariance
(weight H + I)^-1; with H = V diag(h) V' that is P = V diag(p), p = (weight h + 1)^-1/2. The order matters: P acts as
V (p * g), first scaled along the axes of H, then turned onto them. The transposed product turns first and scales after,
along axes that mean nothing (a test on an ellipsoid of known mass tells them apart).

Shape letters: D coordinates, S probes, B columns at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program


class Preconditioner(NamedTuple):
    """P = basis diag(scale), or diag(scale) where there is no basis; a pytree of arrays."""

    scale: Any  # [D], > 0; [J, D] for J of them on one basis
    basis: Any = None  # [D, D], orthogonal; columns are axes

    def apply(self, g: Array) -> Array:
        """P g, [D]."""
        scaled = self.scale * g
        return scaled if self.basis is None else self.basis @ scaled

    def transposed(self, y: Array) -> Array:
        """Return P' y, [D]."""
        return self.scale * (y if self.basis is None else self.basis.T @ y)


class Curvature(NamedTuple):
    """H = basis diag(values) basis', or diag(values), without negative parts, where the prior has unit size."""

    values: np.ndarray  # [D] float64, >= 0
    basis: np.ndarray | None = None  # [D, D]

    def preconditioner(self, weight: float | np.ndarray, dtype: Any) -> Preconditioner:
        """(weight H + I)^-1/2, the right way round; scales [J, d] for several weights [J]."""
        scale = (np.asarray(weight, float)[..., None] * self.values + 1) ** -0.5
        return Preconditioner(np.asarray(scale, dtype), None if self.basis is None else np.asarray(self.basis, dtype))


def eigen(matrix: np.ndarray) -> Curvature:
    """Return the curvature of a symmetric matrix [D, D]; negative eigenvalues, rounding or a saddle's, count as 0."""
    values, basis = np.linalg.eigh(np.asarray(matrix))
    return Curvature(np.maximum(values.astype(np.float64), 0), basis)


@program(static_argnames=("product", "batch"))
def columns(
    product: Callable[[Array, Any, Array], Array], at: Array, data: Any, numbers: Array, batch: int = 32
) -> Array:
    """Return columns ``numbers`` [S] of the matrix of v -> ``product(at, data, v)``, as rows [S, D]."""

    def column(index: Array) -> Array:
        return product(at, data, jnp.zeros_like(at).at[index].set(1))

    return jax.lax.map(column, numbers, batch_size=batch)


@program(static_argnames=("product", "probes"))
def diagonal(product: Callable[[Array, Any, Array], Array], at: Array, data: Any, key: Array, probes: int) -> Array:
    """Return Hutchinson's estimate [D] of the diagonal of v -> ``product(at, data, v)``: the mean of z * (H z) over
    signs z.

    Unbiased; its error comes from what stands off the diagonal (Bekas, Kokiopoulou and Saad 2007).
    """

    def add(index: Array, total: Array) -> Array:
        z = jax.random.rademacher(jax.random.fold_in(key, index), at.shape, at.dtype)
        return total + z * product(at, data, z)

    return jax.lax.fori_loop(0, probes, add, jnp.zeros_like(at)) / probes


@program(static_argnames=("pull", "shape", "probes"))
def squares(
    pull: Callable[[Array, Any, Array], Array], at: Array, data: Any, key: Array, shape: tuple[int, ...], probes: int
) -> Array:
    """Return the diagonal [D] of a Gauss-Newton matrix A A', from gradients alone: the mean of (A z)^2 over random
    signs z.

    ``pull(at, data, z)`` gives A z [D] for z of ``shape``. Never negative, with relative error sqrt(2 / probes) or less
    whatever stands off the diagonal: where A is known this is the better estimate.
    """

    def add(index: Array, total: Array) -> Array:
        z = jax.random.rademacher(jax.random.fold_in(key, index), shape, at.dtype)
        return total + pull(at, data, z) ** 2

    return jax.lax.fori_loop(0, probes, add, jnp.zeros_like(at)) / probes
