"""Networks with several separate solutions, and the volumes of their classes by methods that share nothing with SMC.

* sine, (1, 1, 1): signs of v sin(w x + b) + c. Given w and b the class is an angle in the plane of v and c; the rest is
  a quadrature over w and b.
* tanh 2-3-1 and ReLU 2-2-1: bodies and heads are drawn, and the output's bias is integrated (`drawn`, in NumPy).

Particles that start from the prior must find each of the solutions: hidden units stand for one another and change sign.
Shape letters: m inputs, B bodies, H heads of each, k hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

import volume
from benchmarks.rare_truths import Case
from volume import models, samplers

SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GRID = np.array([[a, b] for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])
EIGHT = 0.4 * np.array([-1.9, -1.3, -0.8, -0.2, 0.3, 0.9, 1.4, 2.0])
FIVE = EIGHT[[0, 2, 3, 5, 7]]


def sine_volume(inputs: np.ndarray, labels: str, weight_std: float = 5.0, nodes: int = 4001) -> float:
    """Volume of the labels of v sin(w x + b) + c, v and w ~ N(0, weight_std^2), b and c ~ N(0, 1)."""
    one = np.array(list(labels)) == "1"
    b = np.linspace(-7, 7, nodes // 5)

    def angle(low: np.ndarray, high: np.ndarray) -> np.ndarray:  # P(v > 0, low < c / v < high)
        return np.where(high > low, np.arctan(weight_std * high) - np.arctan(weight_std * low), 0) / (2 * math.pi)

    total = 0.0
    grid = weight_std * np.linspace(-7, 7, nodes)
    for w in grid:
        wave = np.sin(w * inputs[:, None] + b)
        both = angle(-wave[one].min(0), -wave[~one].max(0)) + angle(wave[one].max(0), wave[~one].min(0))
        total += math.exp(-(w**2) / (2 * weight_std**2)) * float(np.sum(np.exp(-(b**2) / 2) * both))
    return total * (grid[1] - grid[0]) * (b[1] - b[0]) / (2 * math.pi * weight_std)


def drawn(
    inputs: np.ndarray,
    labels: str,
    hidden: int,
    activation: Callable[[np.ndarray], np.ndarray],
    weight_std: float,
    bias_std: float,
    *,
    blocks: int,
    seed: int = 1,
) -> tuple[float, float]:
    """Volume of the labels of a network 2-k-1 and its relative standard error, by blocks of 20,000 x 128 draws.

    A head counts with its negative, and the output's bias is integrated.
    """
    one, rng, found = np.array(list(labels)) == "1", np.random.default_rng(seed), []
    bodies, heads = 20_000, 128
    for _ in range(blocks):
        weight = rng.standard_normal((bodies, 2, hidden)) * weight_std / math.sqrt(2)
        features = activation(inputs @ weight + rng.standard_normal((bodies, 1, hidden)) * bias_std)
        outputs = features @ (rng.standard_normal((bodies, hidden, heads)) * weight_std / math.sqrt(hidden))
        total = 0.0
        for signed in (outputs, -outputs):
            low, high = -signed[:, one].min(1), -signed[:, ~one].max(1)
            some = high > low
            total += float(np.sum(ndtr(high[some] / bias_std) - ndtr(low[some] / bias_std)))
        found.append(total / (2 * bodies * heads))
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(blocks) / np.mean(found))


def _case(
    name: str, model: models.MLP, prior: samplers.Gaussian, inputs: np.ndarray, labels: str, truth: float
) -> Case:
    query = volume.Query(model, prior, classifier=volume.Fits(inputs, labels))
    size = sum(math.prod(p.shape) for p in model.parameters)
    return Case(name, "network", query, "fits", math.log(truth), size, "margins over the outputs' size; several maxima")


def network_cases() -> list[Case]:
    """All of them. Truths of "sine" are exact to 1e-5; of the others see `DRAWN`."""
    sine, wide = models.MLP((1, 1, 1), "sine"), samplers.Gaussian(5.0, 1.0)
    found = [
        _case("sine, 8 points", sine, wide, EIGHT[:, None], "11010011", 2.91840e-6),
        _case("sine, 5 points", sine, wide, FIVE[:, None], "10101", 2.251591e-2),
    ]
    for name, (inputs, labels, hidden, activation, weight_std, bias_std, truth, _) in DRAWN.items():
        model = models.MLP((2, hidden, 1), activation)
        found.append(_case(name, model, samplers.Gaussian(weight_std, bias_std), inputs, labels, truth))
    return found


# Inputs, labels, hidden units, activation, prior; volume and relative error by `drawn`, 30 blocks (the last: 40).
DRAWN = {
    "exclusive or, tanh 2-3-1": (SQUARE, "0110", 3, "tanh", 1.0, 0.5, 1.0336e-4, 0.005),
    "exclusive or, ReLU 2-2-1": (SQUARE, "0110", 2, "relu", 1.0, 0.5, 3.6153e-4, 0.007),
    "tanh 2-3-1, corners of a grid": (GRID, "100010001", 3, "tanh", 2.0, 1.0, 3.014e-5, 0.010),
}
