"""Closed forms of rare events, in natural logs, far below the smallest float.

Each function returns log P; its docstring has the event and the formula's source (DLMF: Digital Library of
Mathematical Functions; "own": derived here). Errors are those of float64 logs, about 1e-12, unless stated.

Shape letters: D dimensions, d events.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from scipy.special import betaln, gammaln, log_ndtr

LN10 = math.log(10)


def _log_sum(logs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(logs))


def log_half_space(threshold: float) -> float:
    """Z ~ N(0, 1) above a threshold."""
    return float(log_ndtr(-threshold))


def log_cap(height: float, dimension: int) -> float:
    """A uniform point of the unit sphere in R^D has first coordinate above ``height`` in (0, 1).

    P = I_x((D-1)/2, 1/2) / 2 with x = 1 - height^2 (DLMF 8.17; Li 2011), by the series with positive terms of DLMF
    8.17.8: I_x(a, b) = x^a (1-x)^b / (a B(a, b)) sum_n (a+b)_n / (a+1)_n x^n.
    """
    a, b = (dimension - 1) / 2, 0.5
    log_x = math.log1p(-height * height)
    n = np.arange(1 + math.ceil(45 / -log_x))  # the terms fall at least as fast as x^n
    terms = n * log_x + gammaln(a + b + n) - gammaln(a + b) - gammaln(a + 1 + n) + gammaln(a + 1)
    return float(a * log_x + 2 * b * math.log(height) - math.log(a) - betaln(a, b) + _log_sum(terms) - math.log(2))


def log_outside_ball(square: float, dimension: int) -> float:
    """|z|^2 above ``square``, z ~ N(0, I_D), D even: e^-x sum_{k < D/2} x^k / k! with x = square / 2 (DLMF 8.4.10)."""
    if dimension % 2:
        raise ValueError(f"log_outside_ball has a closed form for even dimensions; got {dimension}: add one.")
    x = square / 2
    k = np.arange(dimension // 2)
    return float(-x + _log_sum(k * math.log(x) - gammaln(k + 1)))


def log_inside_ball(square: float, dimension: int) -> float:
    """|z|^2 below ``square``: x^a e^-x / Gamma(a+1) sum_n x^n / (a+1)_n, a = D/2, x = square / 2 (DLMF 8.7.1)."""
    a, x = dimension / 2, square / 2
    n = np.arange(100 + math.ceil(3 * x))  # beyond n = 3 x terms fall by 3 each
    return float(a * math.log(x) - x + _log_sum(n * math.log(x) - gammaln(a + 1 + n)))


def log_shell(low: float, high: float, dimension: int) -> float:
    """|z|^2 between ``low`` and ``high``, D even: a difference of two tails, in logs."""
    outer, inner = log_outside_ball(high, dimension), log_outside_ball(low, dimension)
    return inner + math.log(-math.expm1(outer - inner))


def log_corner(side: float, weights: ArrayLike) -> float:
    """sum_i c_i v_i below ``side``, v uniform in [0, 1]^D: side^D / (D! prod c_i), a simplex (side <= min c_i)."""
    c = np.asarray(weights, np.float64)
    if side > c.min():
        raise ValueError(f"The corner is a simplex only up to a side of {c.min()}, the least weight; got {side}.")
    return float(len(c) * math.log(side) - gammaln(len(c) + 1) - np.log(c).sum())


def log_one_factor(common: ArrayLike, own: ArrayLike, thresholds: ArrayLike) -> float:
    """All of a_i Z + s_i E_i above t_i, with Z and the E_i independent N(0, 1): given Z the events are independent.

    One integral over Z of exp(h), h concave with h'' between -1 - sum (a_i / s_i)^2 and -1: the trapezoid rule around
    the mode, which converges beyond all orders here (Trefethen and Weideman 2014). Any depth.
    """
    a, s, t = (np.asarray(part, np.float64)[:, None] for part in (common, own, thresholds))

    def h(z: np.ndarray) -> np.ndarray:
        return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + log_ndtr((a * z - t) / s).sum(0)

    reach = 10 + float(np.abs(t / np.hypot(a, s)).max())
    grid = np.linspace(-reach, reach, 2001)
    start = grid[np.argmax(h(grid))]
    step = 2 * reach / 2000
    bounds = (start - step, start + step)
    search: Any = optimize.minimize_scalar(lambda z: -h(np.array([z]))[0], bounds=bounds, method="bounded")
    mode = float(search.x)  # to 1e-5 of a spread: the rule needs the neighbourhood only
    spread = 1 / math.sqrt(1 + float(((a / s) ** 2).sum()))  # h falls no faster than with this standard deviation
    points = mode + np.arange(-math.ceil(12 / spread) * 8, math.ceil(12 / spread) * 8 + 1) * (spread / 8)
    return float(_log_sum(h(points)) + math.log(spread / 8))


def log_three(correlations: ArrayLike) -> float:
    """Three standard normals all positive: 1/8 + (asin r12 + asin r13 + asin r23) / 4 pi (David 1953)."""
    r = np.asarray(correlations, np.float64)
    return math.log(1 / 8 + (math.asin(r[0, 1]) + math.asin(r[0, 2]) + math.asin(r[1, 2])) / (4 * math.pi))


# Labels 1, 1, 1 on 01, 10, 11 for 2-h-1 ReLU networks without biases: (volume, standard error). Given the body the
# outputs are three Gaussians, so P = E[1(each input has an active unit) (1/2 - sum of the feature vectors' angles /
# 4 pi)]. Width 2: the angles' mean over the ratio of two Rayleigh radii is elementary and leaves
# 17/128 + (1/4 + 1/4 + 1/12)/8 = 79/384, exactly. Width 3: five-dimensional quasi-Monte Carlo (Sobol, 16 scramblings of
# 2^21 points); the same program gives .20572914(3) at width 2.
RELU_TIES = {2: (79 / 384, 0.0), 3: (0.25094647, 1.1e-7)}


def log_relu_ties(width: int) -> tuple[float, float]:
    """log P of labels 1, 1, 1 on 01, 10, 11, and its standard error: RELU_TIES."""
    if width not in RELU_TIES:
        raise ValueError(f"The volume is known for widths {', '.join(map(str, RELU_TIES))}; got {width}.")
    value, error = RELU_TIES[width]
    return math.log(value), error / value


def find(log_probability: Callable[[float], float], target: float, low: float, high: float) -> float:
    """The number in [low, high] at which a monotone log probability is ``target``."""
    root: Any = optimize.brentq(lambda x: log_probability(x) - target, low, high, xtol=1e-14)
    return float(root)
