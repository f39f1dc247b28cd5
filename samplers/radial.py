"""Integrals along a ray of a Gaussian density times r^(D-1), as natural logarithms.

Shape: any, element by element (rays and cutoffs).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

# What falls below exp(-DROP) of the largest value is left out: 3e-20 of the whole.
DROP = 45.0
NODES = 192  # Gauss-Legendre; twice as many move no value by 1e-12
HALVINGS = 40  # of the stretch beyond the mode


def log_radial(dim: int, a: ArrayLike, b: ArrayLike, radius: ArrayLike = np.inf) -> np.ndarray:
    """log of the integral over 0 < r < radius of r^(dim-1) exp(-a r^2/2 + b r), a > 0.

    In t = log r the exponent g(t) = dim t - a r^2/2 + b r has one mode, r = (b + sqrt(b^2 + 4 a dim)) / (2 a), and is
    concave in r. From its largest value inside the radius, differences of g are computed with expm1, and Gauss-Legendre
    nodes lie on the stretch where it falls by 45, which concavity bounds (beyond the mode, bisection). Within 1e-10 of
    the truth, relative to the integral, up to dim = 1e6 (there the logarithm itself, some 1e7, is rounded to 1e-9).
    -inf for radius 0.
    """
    a, b, radius = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float), np.asarray(radius, float))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mode = mode_radius(dim, a, b)
        top = np.minimum(mode, radius)
        size, tilt = a * top**2, b * top  # in units of the top's radius
        slope = np.maximum(dim - size + tilt, 0.0)  # of g at the top; 0 at the mode
        # g falls by at least slope y + (size + dim) y^2 / 2 at top (1 - y), and by (dim + ..) |x| - dim further down
        y = 2 * DROP / (slope + np.sqrt(slope**2 + 2 * DROP * (size + dim)))
        start = np.where(y < 1, np.log1p(-np.minimum(y, 1 - 1e-16)), -np.inf)
        start = np.maximum(start, -(DROP / dim + 1))
        stop = np.log1p(math.sqrt(2 * DROP) / np.sqrt(size))
        stop = np.where(radius > mode, np.minimum(stop, np.log(radius / top)), 0.0)
        stop = np.minimum(stop, _far_enough(dim, size, tilt, stop))
    nodes, weights = _gauss()
    x = (start + stop)[..., None] / 2 + (stop - start)[..., None] / 2 * nodes  # [..., nodes]
    with np.errstate(under="ignore", invalid="ignore", divide="ignore"):
        fall = _fall(dim, size[..., None], tilt[..., None], x)
        inside = np.sum(weights * np.exp(fall), axis=-1) * (stop - start) / 2
        log_integral = dim * np.log(top) - size / 2 + tilt + np.log(inside)
    return np.where(radius > 0, log_integral, -np.inf)


def log_radial_centred(dim: int, a: ArrayLike) -> np.ndarray:
    """`log_radial` at b = 0 without a limit: the integral is Gamma(dim/2) (2/a)^(dim/2) / 2."""
    return special.gammaln(dim / 2) + dim / 2 * np.log(2 / np.asarray(a, float)) - math.log(2)


def mode_radius(dim: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where r^dim exp(-a r^2/2 + b r) is largest, without cancellation for b < 0."""
    root = np.sqrt(b**2 + 4 * a * dim)
    return np.where(b > 0, (b + root) / (2 * a), 2 * dim / (root - b))


def _fall(dim: int, size: np.ndarray, tilt: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g at exp(x) times the top's radius, less g at the top."""
    return dim * x - size / 2 * np.expm1(2 * x) + tilt * np.expm1(x)


def _far_enough(dim: int, size: np.ndarray, tilt: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """An x in [0, stop] beyond which g has fallen by 45, by bisection; stop itself where it has not."""
    low, high = np.zeros_like(stop), stop.copy()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = _fall(dim, size, tilt, middle) > -DROP
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high


@cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(NODES)
