"""Kernels of infinitely wide networks in two hundred decimal digits, and their Cholesky factors.

Inputs at a distance of 1e-7 have correlation 1 - 5e-15: double precision keeps two digits of what sets them apart. The
formulas are the closed ones of nngp.py, evaluated in `decimal`. Tanh and gelu have none, so their kernels are known to
double precision only and are not given here.

Shape letters: N inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext

import numpy as np

from volume.estimators.infinite_width.nngp import EXPECTATIONS, SERIES, layers
from volume.models import MLP, Perceptron
from volume.samplers import Gaussian

CONTEXT = Context(prec=200, Emin=-999_999, Emax=999_999)
# Outputs of which none is a multiple of another are told apart where 1 - correlation^2 is above _APART for every pair.
# Then no layer has lost half of the digits (arcsines do, at correlation 1 - 10^-n, n / 2 of them), and a squared pivot
# below _DEPENDENT, where those before it are 1, is what rounding leaves of a dependent output.
_APART = Decimal("1e-50")
_DEPENDENT = Decimal("1e-130")
_SMALL = Decimal("0.01")  # tangent: halving an angle to it and the terms of its series then cost about the same
LARGEST = 128  # outputs: some seconds
HAS_CLOSED_FORM = frozenset(EXPECTATIONS) - frozenset(SERIES)

Kernel = np.ndarray  # [N, N] of Decimal


def precise_kernel(model: MLP | Perceptron, prior: Gaussian, inputs: np.ndarray) -> Kernel:
    """Compute what `nngp_kernel` does: [N, N] of Decimal, for an activation of ``HAS_CLOSED_FORM``."""
    with localcontext(CONTEXT):
        exact = np.vectorize(Decimal, otypes=[object])(np.asarray(inputs, float))
        kernel = exact @ exact.T / Decimal(exact.shape[1])
        activation = model.activation if isinstance(model, MLP) else "linear"
        for layer, (weight, bias) in enumerate(layers(model, prior)):
            if layer:
                kernel = _expectation(activation, kernel)
            kernel = Decimal(weight) ** 2 * kernel + Decimal(bias) ** 2
        return kernel


def correlations(kernel: Kernel, signs: np.ndarray) -> Kernel:
    """Scale to unit variances, which must be positive, and flip the outputs that have sign -1."""
    with localcontext(CONTEXT):
        scale = np.array([value.sqrt() for value in np.diagonal(kernel)], object) * signs
        result = kernel / np.multiply.outer(scale, scale)
        np.fill_diagonal(result, Decimal(1))
        return result


def told_apart(matrix: Kernel) -> bool:
    """Say whether the digits suffice for correlations of which none is 1 or -1 but on the diagonal."""
    with localcontext(CONTEXT):
        return all(1 - value * value > _APART for value in matrix[np.triu_indices(len(matrix), 1)])


def cholesky(matrix: Kernel, jitter: float) -> np.ndarray | None:
    """Give the lower factor of matrix + jitter, float64 [N, N] to full precision; None where an output is dependent."""
    with localcontext(CONTEXT):
        matrix = matrix.copy()
        matrix[np.diag_indices(len(matrix))] += Decimal(jitter)
        factor = np.full_like(matrix, Decimal(0))
        least = Decimal(1)
        for k in range(len(matrix)):
            column = matrix[k:, k] - factor[k:, :k] @ factor[k, :k] if k else matrix[:, 0]
            if column[0] <= _DEPENDENT / least:
                return None
            least = min(least, column[0])
            factor[k:, k] = column / column[0].sqrt()
        return factor.astype(float)


def opposed(matrix: Kernel) -> bool:
    """Say whether some combination of the outputs with positive weights does not vary, to some hundred digits.

    Args:
        matrix: covariance of one output for each condition, each signed so that it must be positive.
    """
    with localcontext(CONTEXT):
        last = len(matrix) - 1
        work, least = matrix.copy(), Decimal(1)
        for k in range(last):  # elimination; all outputs but one must be independent
            if work[k, k] <= _DEPENDENT / least:
                return False
            least = min(least, work[k, k])
            work[k + 1 :] -= np.multiply.outer(work[k + 1 :, k] / work[k, k], work[k])
        if abs(work[last, last]) > _DEPENDENT / least:
            return False
        weights = np.full(last + 1, Decimal(1), object)
        for k in range(last - 1, -1, -1):
            weights[k] = -(work[k, k + 1 :] @ weights[k + 1 :]) / work[k, k]
        return min(weights) > 0


def _expectation(activation: str, kernel: Kernel) -> Kernel:
    """E[phi(u) phi(v)] for every pair, as `volume.estimators.infinite_width.nngp.EXPECTATIONS`."""
    if activation == "linear":
        return kernel
    result = kernel.copy()
    for i in range(len(kernel)):
        for j in range(i + 1):
            result[i, j] = result[j, i] = _PAIRS[activation](kernel[i, i], kernel[j, j], kernel[i, j])
    return result


def _correlation(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    return max(min(c / (a * b).sqrt(), Decimal(1)), Decimal(-1)) if a and b else Decimal(0)


def _relu(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    cosine = _correlation(a, b, c)
    sine = (1 - cosine * cosine).sqrt()
    return (a * b).sqrt() * (sine + (_PI - _angle(sine, cosine)) * cosine) / (2 * _PI)


def _erf(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    return 2 / _PI * _arcsine(2 * c / ((1 + 2 * a) * (1 + 2 * b)).sqrt())


def _sign(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    if not a and not b:
        return Decimal(1)
    return 2 / _PI * _arcsine(_correlation(a, b, c))


def _sine(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    if abs(c) > 1:
        return ((c - (a + b) / 2).exp() - (-c - (a + b) / 2).exp()) / 2
    power, total, k = c, Decimal(0), 1  # sinh c, whose exponentials would cancel
    while total + power != total:
        total += power
        power *= c * c / ((k + 1) * (k + 2))
        k += 2
    return total * (-(a + b) / 2).exp()


_PAIRS: dict[str, Callable[[Decimal, Decimal, Decimal], Decimal]] = {
    "relu": _relu,
    "erf": _erf,
    "sign": _sign,
    "sine": _sine,
}


def _arcsine(value: Decimal) -> Decimal:
    return _angle(value, (1 - value * value).sqrt())


def _angle(sine: Decimal, cosine: Decimal) -> Decimal:
    """Give the angle in [-pi / 2, pi] of a sine and a cosine."""
    if cosine < 0:
        return (_PI if sine >= 0 else -_PI) - _angle(sine, -cosine)
    tangent = sine / (1 + cosine)  # of half the angle
    halvings = 1
    while abs(tangent) > _SMALL:
        tangent = tangent / (1 + (1 + tangent * tangent).sqrt())
        halvings += 1
    square, power, before, total, k = -tangent * tangent, tangent, Decimal(0), tangent, 1
    while total != before:
        power *= square
        k += 2
        before, total = total, total + power / k
    return total * 2**halvings


with localcontext(CONTEXT):
    _PI = 2 * _angle(Decimal(1), Decimal(0))
