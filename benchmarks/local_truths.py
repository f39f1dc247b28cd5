"""Local regions whose prior mass is known: ellipsoids under a Gaussian, and runs on them."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from volume import DivergenceFunction, models, samplers
from volume.estimators.local.divergence import bind
from volume.estimators.local.splitting import LocalSplitting


def quadratic(params: Any, data: Any) -> Any:
    """(w - at)' half (w - at)."""
    off = params["w"] - data["at"]
    return off @ data["half"] @ off


def vector_model(size: int) -> Any:
    """A model whose parameters are one row w, under a prior's ``bias_std``."""
    return models.from_function(
        lambda params, inputs: inputs @ params["w"][:, None],
        [models.Parameter("w", (size,), "bias", size, 0)],
        input_shape=size,
    )


def quadratic_run(
    at: ArrayLike,
    half: ArrayLike,
    cutoffs: list[float],
    *,
    std: float = 1.0,
    seed: int = 0,
    dtype: str = "float32",
    **settings: Any,
) -> LocalSplitting:
    """A finished run on D = (w - at)' half (w - at) under N(0, std^2 I)."""
    at = np.asarray(at, float)
    model = vector_model(len(at))
    data = {"at": at.astype(dtype), "half": np.asarray(half, dtype)}
    found = LocalSplitting(
        bind(model, DivergenceFunction(quadratic, data)),
        samplers.Gaussian(1.0, std),
        {"w": at},
        np.zeros((1, len(at)), dtype),
        cutoffs,
        jax.random.key(seed),
        **settings,
    )
    return finished(found)


def valleys(params: Any, data: Any) -> Any:
    """sum of a u^2 + b (v - k u^2)^2 over pairs (u, v) of w - at: an ellipsoid that is bent, its volume unchanged."""
    u, v = (params["w"] - data["at"]).reshape(2, -1)
    return (data["a"] * u**2 + data["b"] * (v - data["k"] * u**2) ** 2).sum()


def valleys_run(
    pairs: int,
    cutoff: float,
    *,
    seed: int = 0,
    bend: float = 0.5,
    ratio: float = 1e3,
    line_points: int = 1,
    **settings: Any,
) -> tuple[LocalSplitting, float]:
    """A finished run on so many valleys under the uniform law of the cube (-1, 1)^n, n = 2 pairs, and the truth.

    The shear keeps volume, and the cube holds the region: log V is that of an ellipsoid's share of the cube. Sizes a
    spread over two decades, b = ratio a, and at the end of u the valley has gone aside by ``bend``. Not star-shaped:
    the region is the sublevel set.
    """
    at, a = np.linspace(-0.2, 0.15, 2 * pairs), cutoff * np.logspace(1, 3, pairs)
    data = {"at": at, "a": a, "b": ratio * a, "k": bend * a / cutoff}
    n = 2 * pairs
    log_ball = n / 2 * math.log(math.pi * cutoff) - special.gammaln(n / 2 + 1)
    truth = log_ball - np.log(a).sum() - pairs * math.log(ratio) / 2 - n * math.log(2)
    found = LocalSplitting(
        bind(vector_model(n), DivergenceFunction(valleys, {name: np.float32(x) for name, x in data.items()})),
        samplers.Uniform(1.0, 1.0),
        {"w": at},
        np.zeros((1, n), np.float32),
        [cutoff],
        jax.random.key(seed),
        line_points=line_points,
        **settings,
    )
    return finished(found), truth


def finished(run: LocalSplitting) -> LocalSplitting:
    """The run, when it is done; RuntimeError where its pilot gave up."""
    while not run.done:
        run.advance()
    if run.problem:
        raise RuntimeError(run.problem)
    return run


def log_ellipsoid(cutoff: float, spectrum: ArrayLike, offset: ArrayLike) -> float:
    """log P(sum_i s_i (z_i - a_i)^2 <= c), z ~ N(0, I), without underflow: a mixture of chi-squares (Ruben 1962, Annals
    of Mathematical Statistics 33, 542-570, theorem 1, with the least s), each by the series of its gamma function."""
    s, squares = np.asarray(spectrum, float), np.asarray(offset, float) ** 2
    least, y = s.min(), cutoff / s.min() / 2
    num = int(4 * y) + 200  # later terms are below rounding
    power = (1 - least / s) ** np.arange(num)[:, None]  # [k, n]
    k = np.arange(1, num)
    g = (power[1:].sum(axis=1) + k * least * (power[:-1] @ (squares / s))) / 2
    weight = np.ones(num)  # over the first one
    for i in k:
        weight[i] = g[:i][::-1] @ weight[:i] / i
    shape = len(s) / 2 + np.arange(num)
    steps = np.cumsum(math.log(y) - np.log(shape[:, None] + np.arange(1, num)), axis=1)
    log_series = np.logaddexp(0, np.logaddexp.reduce(steps, axis=1))
    log_chi = shape * math.log(y) - y - special.gammaln(shape + 1) + log_series
    first = -squares.sum() / 2 + np.log(least / s).sum() / 2
    with np.errstate(divide="ignore"):  # with equal s only the first has weight
        return float(first + np.logaddexp.reduce(np.log(weight) + log_chi))
