"""Kernels of infinitely wide networks in a hundred decimal digits, and their Cholesky factors.

Inputs at a distance of 1e-7 have correlation 1 - 5e-15: double precision keeps two digits of what sets them apart.
The formulas are those of nngp.py. Correlations, angles and pivots are computed here in `decimal`, whose exponents do
not underflow either; tanh and gelu take the coefficients of their series in double precision, which tells outputs
apart down to 1e-14 of their standard deviation.

Shape letters: N inputs, M terms of a series.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext

import numpy as np

from volume.estimators.infinite_width.nngp import SERIES, hermite_coefficients, layers
from volume.models import MLP, Perceptron
from volume.samplers import Gaussian

CONTEXT = Context(prec=100, Emin=-999_999, Emax=999_999)
# A squared pivot below this is what rounding leaves of a dependent output, where those before it are 1; they divide it.
DEPENDENT = Decimal("1e-85")
LARGEST = 256  # inputs: some seconds
_PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651"
)

Kernel = np.ndarray  # [N, N] of Decimal


def precise_kernel(model: MLP | Perceptron, prior: Gaussian, inputs: np.ndarray) -> Kernel:
    """Compute what `nngp_kernel` does, in a hundred digits: [N, N] of Decimal."""
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


def cholesky(matrix: Kernel, jitter: float) -> np.ndarray | None:
    """Give the lower factor of matrix + jitter, float64 [N, N] to full precision; None where an output is dependent."""
    with localcontext(CONTEXT):
        matrix = matrix + np.diag([Decimal(jitter)] * len(matrix))
        factor = np.full_like(matrix, Decimal(0))
        least = Decimal(1)
        for k in range(len(matrix)):
            column = matrix[k:, k] - factor[k:, :k] @ factor[k, :k] if k else matrix[:, 0]
            if column[0] <= DEPENDENT / least:
                return None
            least = min(least, column[0])
            factor[k:, k] = column / column[0].sqrt()
        return factor.astype(float)


def opposed(matrix: Kernel) -> bool:
    """Whether some combination of the outputs with positive weights does not vary, to some forty digits.

    Args:
        matrix: covariance of one output for each condition, each signed so that it must be positive.
    """
    with localcontext(CONTEXT):
        last = len(matrix) - 1
        work, least = matrix.copy(), Decimal(1)
        for k in range(last):  # elimination; all outputs but one must be independent
            if work[k, k] <= DEPENDENT / least:
                return False
            least = min(least, work[k, k])
            work[k + 1 :] -= np.multiply.outer(work[k + 1 :, k] / work[k, k], work[k])
        if abs(work[last, last]) > DEPENDENT / least:
            return False
        weights = np.full(last + 1, Decimal(1), object)
        for k in range(last - 1, -1, -1):
            weights[k] = -(work[k, k + 1 :] @ weights[k + 1 :]) / work[k, k]
        return min(weights) > 0


def _expectation(activation: str, kernel: Kernel) -> Kernel:
    """E[phi(u) phi(v)] for every pair, as `volume.estimators.infinite_width.nngp.EXPECTATIONS`."""
    if activation == "linear":
        return kernel
    if activation in SERIES:
        return _series(activation, kernel)
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
    return ((-(a + b - 2 * c) / 2).exp() - (-(a + b + 2 * c) / 2).exp()) / 2


_PAIRS: dict[str, Callable[[Decimal, Decimal, Decimal], Decimal]] = {
    "relu": _relu,
    "erf": _erf,
    "sign": _sign,
    "sine": _sine,
}


def _series(activation: str, kernel: Kernel) -> Kernel:
    """Mehler's formula as in nngp.py, the powers of the correlations in a hundred digits."""
    odd = SERIES[activation][1]
    variances = np.diagonal(kernel)
    std = np.array([float(value.sqrt()) for value in variances])
    terms, rest = hermite_coefficients(activation, std)
    correlation = kernel.copy()
    for i, a in enumerate(variances):
        for j, b in enumerate(variances):
            correlation[i, j] = Decimal(1) if i == j else _correlation(a, b, kernel[i, j])
    result, power = np.full_like(kernel, Decimal(0)), np.full_like(kernel, Decimal(1))
    exact = np.vectorize(Decimal, otypes=[object])
    for coefficient in exact(terms):
        result = result + np.multiply.outer(coefficient, coefficient) * power
        power = power * correlation
    left = exact(rest)
    return result + np.multiply.outer(left, left) * (power * correlation if odd else power)


def _arcsine(value: Decimal) -> Decimal:
    return _angle(value, (1 - value * value).sqrt())


def _angle(sine: Decimal, cosine: Decimal) -> Decimal:
    """Give the angle in [-pi / 2, pi] of a sine and a cosine."""
    if cosine < 0:
        return (_PI if sine >= 0 else -_PI) - _angle(sine, -cosine)
    tangent = sine / (1 + cosine)  # of half the angle
    halvings = 1
    while abs(tangent) > Decimal("0.05"):
        tangent = tangent / (1 + (1 + tangent * tangent).sqrt())
        halvings += 1
    square, power, total = tangent * tangent, tangent, Decimal(0)
    for k in range(1, 80, 2):
        total += power / k
        power *= -square
    return total * 2**halvings
