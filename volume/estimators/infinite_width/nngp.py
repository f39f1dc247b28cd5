"""Kernels of infinitely wide networks: the covariance of the outputs at N inputs under a Gaussian prior.

As the hidden layers of an MLP grow, its outputs under a `Gaussian` prior become a centred Gaussian process (Neal 1996;
Lee et al. 2018). With weights N(0, w_l^2 / fan_in) and biases N(0, b_l^2) of layer l and inputs of n numbers,

    K_0(x, x') = b_0^2 + w_0^2 x.x' / n,    K_l(x, x') = b_l^2 + w_l^2 E[phi(u) phi(v)],  (u, v) ~ N(0, K_{l-1}),

with no further factor for any activation. E[phi(u) phi(v)] is closed for linear, relu (Cho and Saul 2009), erf
(Williams 1997), sign and sine; tanh and gelu come from their Hermite series.

Shape letters: N inputs, n numbers in one input, M terms of a series.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from volume.errors import unknown
from volume.functions.domains import as_inputs
from volume.models import MLP, Perceptron, examine_ranges
from volume.samplers import Gaussian, log_sizes, rescaled

# Terms and grid of the Hermite series: at K(x, x) = 1 tanh's remainder is 1e-13, gelu's 1e-12 of E[phi^2].
_TERMS = 400
_GRID = np.linspace(-14.0, 14.0, 2801)  # the trapezoid rule converges geometrically for analytic phi


def nngp_kernel(model: MLP | Perceptron, prior: Gaussian, inputs: ArrayLike) -> np.ndarray:
    """Compute the covariance of one output at the inputs in the limit of infinitely wide hidden layers.

    Args:
        model: its depth, activation and biases count; the widths of its hidden layers do not. Without hidden layers
            (`Perceptron`, or two widths) the kernel is exact and not a limit.
        prior: Gaussian weights and biases, one value or one per layer.
        inputs: [N, n].

    Returns:
        float64 [N, N]; where sizes leave float32's range and the signs of the outputs do not depend on them, that of
        outputs rescaled by powers of two. A diagonal entry is exactly 0 where the output is: at x = 0 without biases,
        say.

    Raises:
        TypeError: another model or prior.
        ValueError: inputs of another shape, a prior that does not fit, an activation without a kernel, sizes that
            float64 does not hold.
    """
    activation, prior, array = _checked(model, prior, inputs)
    return _propagated(array, layers(model, prior), EXPECTATIONS[activation])


def output_correlations(
    model: MLP | Perceptron, prior: Gaussian, inputs: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give standard deviations [N] and correlations [N, N] of the outputs, and limits [N, N] of the latter's errors.

    The limits come from a second evaluation, with every covariance moved by some units in the last place before each
    layer, and with three quarters of the terms and half of the grid where the expectation is a series: a layer that
    enlarges errors enlarges these too. What a series leaves after k terms falls as k^(-1/2) or faster, so that the
    difference is .15 of the error or more. Raises as `nngp_kernel`.
    """
    activation, prior, array = _checked(model, prior, inputs)
    steps = layers(model, prior)
    std, correlation = _scales(_propagated(array, steps, EXPECTATIONS[activation]))
    ulps = max(16, array.shape[1]) * float(np.finfo(float).eps)
    rough = EXPECTATIONS[activation] if activation not in SERIES else _series(activation, rough=True)

    def moved(kernel: np.ndarray) -> np.ndarray:
        size = np.sqrt(np.diagonal(kernel))
        step = ulps * np.outer(size, size) * np.where(kernel < 0, -1, 1)
        np.fill_diagonal(step, 0.0)
        return rough(kernel - step)

    _, other = _scales(_propagated(array, steps, moved))
    error = 8 * np.abs(correlation - other) + ulps
    np.fill_diagonal(error, 0.0)
    return std, correlation, error


def _checked(model: MLP | Perceptron, prior: Gaussian, inputs: ArrayLike) -> tuple[str, Gaussian, np.ndarray]:
    """Check the arguments of `nngp_kernel` and rescale prior and inputs; also give the activation."""
    if not isinstance(model, (MLP, Perceptron)):
        raise TypeError(f"model={model!r} has no known kernel: give a volume.models.MLP or Perceptron.")
    if not isinstance(prior, Gaussian):
        raise TypeError(f"prior={prior!r} is not Gaussian: the wide limit is known for volume.samplers.Gaussian.")
    prior.check(model.parameters)
    array = as_inputs(inputs, "The inputs")
    if array.shape[1:] != model.input_shape:
        raise ValueError(f"The model takes inputs of shape {model.input_shape}; got {array.shape[1:]}.")
    activation = model.activation if isinstance(model, MLP) else "linear"
    if activation not in EXPECTATIONS:
        raise ValueError(unknown("activation with a kernel", activation, EXPECTATIONS))
    return activation, *_in_range(model, prior, array)


def _propagated(
    array: np.ndarray, steps: list[tuple[float, float]], expectation: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Take the kernel from the inputs through all layers."""
    kernel = array @ array.T / array.shape[1]
    for layer, (weight, bias) in enumerate(steps):
        if layer:
            kernel = expectation(kernel)
        kernel = weight**2 * kernel + bias**2
        kernel = (kernel + kernel.T) / 2
    return kernel


def _in_range(model: MLP | Perceptron, prior: Gaussian, array: np.ndarray) -> tuple[Gaussian, np.ndarray]:
    """The prior and the inputs, rescaled where squares of their sizes would leave the range of float64.

    Float32's range, squared twice, is within that of float64.
    """
    with np.errstate(divide="ignore"):
        rows = np.log2(np.abs(array).max(axis=1))
    found = examine_ranges(model, log_sizes(prior, model.parameters), rows, np.float32)
    if not found.safe:
        raise ValueError(
            f"The kernel under {prior!r} at these inputs vanishes or overflows in float64: change the scale of "
            "weights, biases or inputs."
        )
    moved = rescaled(prior, model.parameters, found.powers)
    assert isinstance(moved, Gaussian)  # one weight and one bias a layer
    return moved, np.ldexp(array, found.row_powers[:, None])


def layers(model: MLP | Perceptron, prior: Gaussian) -> list[tuple[float, float]]:
    """Give the standard deviations of weights, before they are divided by fan-in, and biases, layer by layer."""
    count = model.num_layers if isinstance(model, MLP) else 1
    return [(_at(prior.weight_std, layer), _at(prior.bias_std, layer) if model.bias else 0.0) for layer in range(count)]


def _at(setting: float | tuple[float, ...] | object, layer: int) -> float:
    return float(setting[layer] if isinstance(setting, tuple) else setting)  # type: ignore[arg-type]


def _scales(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give standard deviations [N] and correlations [N, N]; where nothing varies, correlation 0 and 1 with itself."""
    std = np.sqrt(np.diagonal(kernel))
    safe = np.where(std > 0, std, 1.0)
    correlation = np.clip(kernel / np.outer(safe, safe), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return std, correlation


def _relu(kernel: np.ndarray) -> np.ndarray:
    """Arc-cosine kernel of order 1 (Cho and Saul 2009, eq. 6), halved: E[max(u, 0) max(v, 0)]."""
    std, correlation = _scales(kernel)
    angle = np.arccos(correlation)
    value = np.sqrt(1 - correlation**2) + (np.pi - angle) * correlation
    return np.outer(std, std) * value / (2 * np.pi)


def _erf(kernel: np.ndarray) -> np.ndarray:
    """Arcsine kernel (Williams 1997, eq. 11)."""
    widened = np.sqrt(1 + 2 * np.diagonal(kernel))
    return 2 / np.pi * np.arcsin(np.clip(2 * kernel / np.outer(widened, widened), -1, 1))


def _sign(kernel: np.ndarray) -> np.ndarray:
    """2/pi asin(correlation) (Grothendieck's identity); sign(0) = -1 makes a unit without variance the constant -1."""
    std, correlation = _scales(kernel)
    value = 2 / np.pi * np.arcsin(correlation)
    still = std == 0
    value[still] = value[:, still] = 0.0
    value[np.ix_(still, still)] = 1.0
    return value


def _sine(kernel: np.ndarray) -> np.ndarray:
    """E[sin u sin v] = (exp(-var(u - v) / 2) - exp(-var(u + v) / 2)) / 2."""
    total = np.diagonal(kernel)[:, None] + np.diagonal(kernel)
    return (np.exp(-np.maximum(total - 2 * kernel, 0) / 2) - np.exp(-np.maximum(total + 2 * kernel, 0) / 2)) / 2


SERIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], bool]] = {
    "tanh": (np.tanh, True),
    "gelu": (lambda a: a * ndtr(a), False),
}
"""Activations without a closed form, and whether they are odd."""


def _hermite_coefficients(
    activation: str, std: np.ndarray, terms: int, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give c_k = E[phi(std Z) He_k(Z)] / sqrt(k!) [M, N] for each std [N], and the root of what they leave [N].

    What M terms leave of E[phi^2] is put at the power M (M + 1 for odd phi): the diagonal is then exact, and the matrix
    stays positive semidefinite.
    """
    phi = SERIES[activation][0]
    step = grid[1] - grid[0]
    density = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi) * step
    # He_k sqrt(density) / sqrt(k!) is bounded, He_k is not.
    root = np.sqrt(density)
    weighted = phi(std[:, None] * grid) * root  # [N, grid]
    before, polynomial = np.zeros_like(root), root
    coefficients = np.empty((terms, len(std)))
    left = np.sum(weighted**2, axis=1)
    for k in range(terms):
        coefficients[k] = weighted @ polynomial
        left = left - coefficients[k] ** 2
        before, polynomial = polynomial, (grid * polynomial - np.sqrt(k) * before) / np.sqrt(k + 1)
    return coefficients, np.sqrt(np.maximum(left, 0.0))


def _series(activation: str, rough: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    terms, grid = (_TERMS * 3 // 4, _GRID[::2]) if rough else (_TERMS, _GRID)

    def expectation(kernel: np.ndarray) -> np.ndarray:
        """sum_k c_k(u) c_k(v) correlation^k (Mehler's formula)."""
        std, correlation = _scales(kernel)
        coefficients, rest = _hermite_coefficients(activation, std, terms, grid)
        result, power = np.zeros_like(kernel), np.ones_like(kernel)
        for coefficient in coefficients:
            result += np.outer(coefficient, coefficient) * power
            power = power * correlation
        return result + np.outer(rest, rest) * (power * correlation if SERIES[activation][1] else power)

    return expectation


EXPECTATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda kernel: kernel,
    "relu": _relu,
    "erf": _erf,
    "sign": _sign,
    "sine": _sine,
    "tanh": _series("tanh"),
    "gelu": _series("gelu"),
}
"""E[phi(u) phi(v)] for every pair of a centred Gaussian with covariance [N, N]."""
