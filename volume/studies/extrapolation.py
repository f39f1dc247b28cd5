"""How often a polynomial that interpolates the data extrapolates well, without a draw.

Quantity: P(|p(x_i) - y_i| <= eps at every test point | p(x_j) = y_j at every training point), for p = sum_k c_k x^k of
a given degree with independent coefficients c_k ~ N(0, s_k^2): the prior ``Gaussian(weight_std=s)`` on ``Polynomial``.

Conditioned on the training points the coefficients are Gaussian on the affine space of interpolants, of dimension
f = degree + 1 - m (`volume.models.Interpolants`, which samplers use). Test values are b + L w, w ~ N(0, I_r),
r = min(t, f), L lower trapezoidal. With one test point or one free dimension the answer is a difference of normal
distribution functions, exact to rounding; otherwise a Gaussian box probability, by separation of variables (Genz 1992,
J. Comp. Graph. Stat. 1:141) on scrambled Sobol points, whose spread over independent scramblings is the stated error.
All in logs.

Shape letters: m training points, t test points, f free dimensions, r = min(t, f), S Sobol points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy.stats import qmc

from volume.models import interpolation

MIN_EPS = 1e-9  # relative to the values, where rounding decides whether too many conditions hold at once
_REPLICATES, _LOG2_POINTS = 16, 12
MAX_DIMENSION = 64  # r; the Sobol estimate's error is stated, but grows with r


@dataclass(frozen=True)
class Extrapolation:
    """The share of a degree's interpolants that come within ``eps`` of every test label."""

    degree: int
    num_free: int  # f: dimensions left to the interpolants; 0: there is exactly one
    eps: float
    log_share: float  # natural log; -inf where no interpolant does
    relative_error: float  # standard error of the share over the share; 0 where the value is closed-form
    means: np.ndarray  # [t], of the values at the test points
    stds: np.ndarray  # [t]

    @property
    def share(self) -> float:
        """0 where it underflows: use ``log_share`` there."""
        return math.exp(self.log_share)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record; the log is None where the share is exactly 0."""
        return {
            "degree": self.degree,
            "num_free": self.num_free,
            "eps": self.eps,
            "log_share": None if self.log_share == -math.inf else self.log_share,
            "relative_error": self.relative_error,
            "means": self.means.tolist(),
            "stds": self.stds.tolist(),
        }


def extrapolation(
    degree: int,
    inputs: ArrayLike,
    labels: ArrayLike,
    test_inputs: ArrayLike,
    test_labels: ArrayLike,
    eps: float,
    *,
    weight_std: float | ArrayLike = 1.0,
    seed: int = 0,
) -> Extrapolation:
    """Return the share, under a Gaussian prior, of the interpolants of the training points that are right at the test
    points.

    Args:
        degree: of the polynomials, at least m - 1.
        inputs: training points [m] or [m, 1].
        labels: the values [m] to be met there exactly.
        test_inputs: other points, [t] or [t, 1].
        test_labels: the values [t] to be met there within ``eps``.
        eps: > 0; may be infinite.
        weight_std: standard deviation of the coefficients: one number, or one for each, the constant's first.
        seed: of the Sobol points, where they are needed.

    Raises:
        TypeError: what is no number.
        ValueError: repeated points, fewer coefficients than points, powers that float64 cannot tell apart at the
            training points, settings out of range.
    """
    if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)):
        raise TypeError(f"degree is {degree!r}; give a whole number.")
    x, y = _points("inputs", inputs, "labels", labels)
    x_test, y_test = _points("test_inputs", test_inputs, "test_labels", test_labels)
    num_free = int(degree) + 1 - len(x)
    std = _numbers("weight_std", weight_std)
    shared = np.intersect1d(x, x_test)
    if num_free < 0:
        raise ValueError(
            f"degree is {degree}: its {max(degree + 1, 0)} coefficients cannot meet {len(x)} points;"
            f" give a degree of {len(x) - 1} or more."
        )
    if len(shared):
        raise ValueError(f"{shared[0]:g} is a training input and a test input; test where the value is not given.")
    if std.shape not in ((), (degree + 1,)):
        raise ValueError(
            f"weight_std has {std.size} values; degree {degree} has {degree + 1} coefficients: give one or all."
        )
    if not (np.isfinite(std).all() and (std > 0).all()):
        raise ValueError(f"weight_std is {weight_std!r}; every coefficient needs a finite one > 0.")
    if not eps > 0:
        raise ValueError(f"eps is {eps!r}; give a number > 0.")

    means, factor = _values(x, y, x_test, np.broadcast_to(std, degree + 1))
    offset = means - y_test
    scale = np.abs([*means, *y_test]).max()
    if len(x_test) > num_free and eps < MIN_EPS * scale:
        raise ValueError(
            f"eps is {eps!r} at values of about {scale:.3g}: with more test points than free dimensions ({num_free})"
            f" float64 cannot tell whether all are met; give {MIN_EPS * scale:.1g} or more."
        )
    if num_free == 0:
        log_share, error = (0.0 if (np.abs(offset) <= eps).all() else -math.inf), 0.0
    else:
        log_share, error = _log_box(factor, -offset, eps, seed)
    spread = np.sqrt((factor**2).sum(axis=1))
    return Extrapolation(int(degree), num_free, float(eps), log_share, error, means, spread)


def _values(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [t] and the factor L [t, r] of the values at the test points, given those at the training points."""
    u, free = interpolation(x, y, std)
    test_powers = np.vander(x_test, len(std), increasing=True) * std
    # LQ: a rotation of w, under which its law does not change, makes the factor lower trapezoidal.
    triangle = np.asarray(np.linalg.qr((test_powers @ free).T, mode="r"))
    return test_powers @ u, triangle.T


def _log_box(factor: np.ndarray, centre: np.ndarray, eps: float, seed: int) -> tuple[float, float]:
    """(log P(|L w - centre| <= eps), its relative error), w ~ N(0, I_r), L = factor [t, r] lower trapezoidal.

    Genz's order: coordinate i is drawn within the interval that row i leaves given the coordinates before it; the last
    one has the interval that all further rows leave. One coordinate needs no draws: the answer is exact.
    """
    num_rows, dimension = factor.shape
    if dimension > MAX_DIMENSION:
        raise ValueError(f"The box has {dimension} dimensions; give at most {MAX_DIMENSION} test points.")
    if dimension == 1:
        return float(_log_interval(*_interval(factor[:, 0], centre[:, None], eps))[0]), 0.0
    replicates = []
    for key in np.random.SeedSequence(seed).spawn(_REPLICATES):
        points = qmc.Sobol(dimension - 1, rng=np.random.default_rng(key)).random_base2(_LOG2_POINTS)
        points = np.clip(points, 2.0**-54, 1 - 2.0**-53)  # a scrambled coordinate may be exactly 0
        w = np.zeros((dimension, len(points)))
        log_weight = np.zeros(len(points))
        for i in range(dimension):
            rows = slice(i, i + 1) if i < dimension - 1 else slice(i, num_rows)
            interval = _interval(factor[rows, i], centre[rows, None] - factor[rows, :i] @ w[:i], eps)
            log_weight += _log_interval(*interval)
            if i < dimension - 1:
                w[i] = _draw(*interval, points[:, i])
        replicates.append(np.logaddexp.reduce(log_weight) - math.log(len(points)))
    log_share = float(np.logaddexp.reduce(replicates)) - math.log(_REPLICATES)
    if log_share == -math.inf:
        return log_share, math.inf  # no point hit: a share that this method cannot resolve
    relative = np.exp(np.array(replicates) - log_share)
    return min(log_share, 0.0), float(relative.std(ddof=1) / math.sqrt(_REPLICATES))


def _interval(coefficients: np.ndarray, centre: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(middle [S], width [S]) of the w with |coefficient w - centre| <= eps in every row; centre [rows, S].

    A width, not two ends: these would lose an eps far below the centre. Empty: a width that is not > 0.
    """
    nonzero = coefficients[:, None] != 0
    divisor = np.where(nonzero, coefficients[:, None], 1)
    middle = np.where(nonzero, centre / divisor, 0)
    half = np.where(nonzero, eps / np.abs(divisor), np.where(np.abs(centre) <= eps, np.inf, -np.inf))
    if len(middle) == 1:
        return middle[0], 2 * half[0]
    first = middle[np.argmin(half[:, 0])]  # ends as distances from the middle of the narrowest
    low, high = (middle - first - half).max(axis=0), (middle - first + half).min(axis=0)
    bounded = np.isfinite(low) & np.isfinite(high)
    return first + np.where(bounded, (np.where(bounded, low, 0) + np.where(bounded, high, 0)) / 2, 0), high - low


def _log_interval(middle: np.ndarray, width: np.ndarray) -> np.ndarray:
    """log P(|Z - middle| <= width / 2), Z ~ N(0, 1), -inf unless width > 0; error 1e-12, or the rounding of the log."""
    middle = -np.abs(middle)  # in the lower tail log_ndtr keeps its digits
    with np.errstate(all="ignore"):
        log_b = special.log_ndtr(middle + width / 2)
        wide = log_b + np.log1p(-np.exp(special.log_ndtr(middle - width / 2) - log_b))
        # Narrow: Taylor about the middle, to the second order; the next term is (width max(1, |middle|))^4 / 1920.
        narrow = np.log(width) + np.log1p(width**2 * (middle**2 - 1) / 24)
        narrow -= (middle**2 + math.log(2 * math.pi)) / 2
        result = np.where(width * np.maximum(1, np.abs(middle)) < 0.003, narrow, wide)
    return np.where(width > 0, result, -np.inf)


def _draw(middle: np.ndarray, width: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The quantile ``uniform`` of a standard normal restricted to that interval; some number where it is empty."""
    sign = np.where(middle > 0, -1, 1)
    with np.errstate(all="ignore"):
        a, b = sign * middle - width / 2, sign * middle + width / 2
        log_p = np.logaddexp(special.log_ndtr(a) + np.log1p(-uniform), special.log_ndtr(b) + np.log(uniform))
        drawn = np.clip(special.ndtri_exp(np.minimum(log_p, -1e-300)), a, np.maximum(a, b))
    return sign * np.nan_to_num(drawn)


def _points(name: str, inputs: ArrayLike, label_name: str, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = _numbers(name, inputs), _numbers(label_name, labels)
    x = x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.ndim != 1 or not len(x) or y.shape != x.shape:
        raise ValueError(
            f"{name} and {label_name} have shapes {x.shape} and {y.shape}; give one label for each of 1 or more."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"{name} and {label_name} must be finite; drop the points that hold NaN or inf.")
    if len(np.unique(x)) < len(x):
        raise ValueError(f"{name} names a point twice; give each once.")
    return x, y


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be real numbers ({error}).") from None
