"""Rare classes whose log volume is known: what an estimator of rare events is held to.

`cases()` lists queries with one label each, from 1e-2 to 1e-1000, and the exact log volume, by the closed forms of
`benchmarks.rare_logs` ("ties" and "wide" have a stated error instead). Thresholds and their rows are rounded to
float32 first and the truth is computed from the rounded ones, so that only the rounding of an evaluation itself is
left: it moves log V by about 1e-3 at 1e-1000 and 1e-5 at 1e-30.

Most models here are one function of all their inputs: a row (a, t) of the domain is the half-space a.theta > t, so a
table of labels is an intersection of half-spaces. Label 0 stands on negated rows: only ones would hide sign errors.

Shape letters: D parameters, d half-spaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array

import volume
from benchmarks import rare_logs as logs
from volume import models, samplers
from volume.errors import unknown

DEPTHS = (2, 6, 30, 300, 1000)
"""Volumes of about 10^-depth."""


@dataclass(frozen=True)
class Case:
    """One question with its answer.

    ``log_volume`` is natural; ``error`` its standard error (0: exact). ``score`` says what the smallest signed margin
    of the outputs looks like: its scale, whether it is smooth, where it ties. ``dtype``: what an evaluation needs.
    """

    name: str
    family: str
    query: volume.Query
    label: str
    log_volume: float
    dimension: int
    score: str
    error: float = 0.0
    dtype: str = "float32"

    @property
    def log10_volume(self) -> float:
        return self.log_volume / logs.LN10


def half_spaces(params: Mapping[str, Array], inputs: Array) -> Array:
    """a.theta - t for inputs [N, D + 1] = (a, t)."""
    return inputs[:, :-1] @ params["theta"] - inputs[:, -1]


def square(params: Mapping[str, Array], inputs: Array) -> Array:
    """|theta|^2 - t for inputs [N, 1] = t."""
    return jnp.sum(params["theta"] ** 2) - inputs[:, 0]


def corner(params: Mapping[str, Array], inputs: Array) -> Array:
    """t - sum_i c_i v_i for inputs [N, D + 1] = (c, t); v = (1 - theta)/2 is in [0, 1] when theta is in [-1, 1]."""
    return inputs[:, -1] - inputs[:, :-1] @ ((1 - params["theta"]) / 2)


def cases(families: Iterable[str] | None = None) -> list[Case]:
    """All cases, or those of some families (keys of `FAMILIES`). "wide" takes seconds, the others milliseconds."""
    wanted = list(FAMILIES if families is None else families)
    for name in wanted:
        if name not in FAMILIES:
            raise ValueError(unknown("family of cases", name, FAMILIES))
    return [case for name in wanted for case in FAMILIES[name]()]


def _float32(values: object) -> np.ndarray:
    return np.asarray(values, np.float32).astype(np.float64)


def _vector(name: str, function, dimension: int, num_numbers: int) -> models.FunctionModel:
    parameter = models.Parameter(name, (dimension,), "weight", 1, 0)  # fan_in 1: no scaling
    return models.from_function(function, [parameter], input_shape=num_numbers)


def _labelled(d: int) -> np.ndarray:
    """Labels [d], about a third of them 0, the first 1."""
    return (np.arange(d) % 3 != 1).astype(int)


def _intersection(
    family: str, name: str, rows: np.ndarray, thresholds: np.ndarray, log_volume: float, score: str, error: float = 0.0
) -> Case:
    """All rows.theta > thresholds, theta ~ N(0, I); rows [d, D]."""
    d, dimension = rows.shape
    labels = _labelled(d)
    points = np.c_[rows, thresholds] * np.where(labels, 1, -1)[:, None]
    model = _vector("theta", half_spaces, dimension, dimension + 1)
    query = volume.Query(model, samplers.Gaussian(1.0), volume.Points(points), volume.TruthTable())
    return Case(name, family, query, "".join(map(str, labels)), log_volume, dimension, score, error)


def _linear(family: str, name: str, rows: np.ndarray, log_volume: float, score: str, error: float = 0.0) -> Case:
    """All rows.w > 0 for a perceptron without bias (w ~ N(0, I/D)); rows [d, D]."""
    d, dimension = rows.shape
    labels = _labelled(d)
    query = volume.Query(
        models.Perceptron(dimension, bias=False),
        samplers.Gaussian(1.0),
        classifier=volume.Fits(rows * np.where(labels, 1, -1)[:, None], labels),
    )
    return Case(name, family, query, "fits", log_volume, dimension, score, error)


def _rotation(rng: np.random.Generator, dimension: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]


def _half_space() -> Iterator[Case]:
    score = "Gaussian of scale 1, smooth; the class begins at its tail"
    for depth, dimension in [*((depth, 5) for depth in DEPTHS), (30, 500)]:
        a = np.arange(1.0, dimension + 1) * (-1.0) ** np.arange(dimension)
        row = _float32(a / np.linalg.norm(a))
        t = float(_float32(logs.find(logs.log_half_space, -depth * logs.LN10, 0, 100)))
        truth = logs.log_half_space(t / float(np.linalg.norm(row)))
        yield _intersection(
            "half-space", f"half-space {dimension}-d 1e-{depth}", row[None], np.array([t]), truth, score
        )


def _cap() -> Iterator[Case]:
    # Deep caps need many dimensions: with few, the cap is thinner than float32's step near 1.
    for depth, dimension in zip(DEPTHS, (8, 8, 40, 400, 1300), strict=True):
        a = np.sin(1.0 + np.arange(dimension))
        row = _float32(a / np.linalg.norm(a))
        law = partial(logs.log_cap, dimension=dimension)
        t = float(_float32(logs.find(law, -depth * logs.LN10, 0.05, 1 - 1e-9)))
        query = volume.Query(
            _vector("theta", half_spaces, dimension, dimension + 1),
            samplers.Sphere(radius=1.0),
            volume.Points(np.append(row, t)[None]),
            volume.TruthTable(),
        )
        truth = law(t / float(np.linalg.norm(row)))
        score = "bounded by 1, scale 1/sqrt(D), smooth"
        yield Case(f"cap {dimension}-d 1e-{depth}", "cap", query, "1", truth, dimension, score)


def _ball() -> Iterator[Case]:
    def case(name: str, points: list[float], label: str, truth: float, dimension: int, score: str) -> Case:
        query = volume.Query(
            _vector("theta", square, dimension, 1),
            samplers.Gaussian(1.0),
            volume.Points(np.array(points)[:, None]),
            volume.TruthTable(),
        )
        return Case(name, "ball", query, label, truth, dimension, score)

    for depth in DEPTHS:
        law = partial(logs.log_outside_ball, dimension=6)
        t = float(_float32(logs.find(law, -depth * logs.LN10, 1e-3, 1e5)))
        yield case(f"outside a ball 6-d 1e-{depth}", [t], "1", law(t), 6, "squared radius, unbounded, smooth")
    for depth, dimension in zip(DEPTHS, (6, 6, 40, 200, 400), strict=True):
        law = partial(logs.log_inside_ball, dimension=dimension)
        t = float(_float32(logs.find(law, -depth * logs.LN10, 1e-12, dimension)))
        score = "squared radius, bounded by 0 from below, smooth; its scale falls with the level"
        yield case(f"inside a ball {dimension}-d 1e-{depth}", [t], "0", law(t), dimension, score)
    low, high = 150.0, 150.5
    truth = logs.log_shell(low, high, 6)
    yield case("shell 6-d 1e-29", [low, high], "10", truth, 6, "tent of height .25 over a thin shell, smooth but there")


def _corner() -> Iterator[Case]:
    for depth, dimension in zip(DEPTHS, (3, 6, 24, 140, 380), strict=True):
        c = _float32(1 + 0.2 * np.sin(np.arange(dimension)) ** 2)
        log_simplex = logs.log_corner(float(c.min()), c)
        t = float(_float32(c.min() * math.exp((-depth * logs.LN10 - log_simplex) / dimension)))
        query = volume.Query(
            _vector("theta", corner, dimension, dimension + 1),
            samplers.Uniform(1.0),
            volume.Points(np.append(c, t)[None]),
            volume.TruthTable(),
        )
        truth = logs.log_corner(t, c)
        score = "scale sqrt(D), bounded, smooth; the class is a corner of the cube"
        yield Case(f"corner {dimension}-d 1e-{depth}", "corner", query, "1", truth, dimension, score)


def _orthants() -> Iterator[Case]:
    smooth = "scale 1, piecewise smooth: the smallest of several margins"
    for depth in DEPTHS:  # independent, in coordinates of unequal scales and thresholds
        scales, shape = _float32([1.0, 0.5, 2.0]), np.array([1.0, 0.6, 0.35])

        def independent(size: float, shape: np.ndarray = shape) -> float:
            return sum(logs.log_half_space(size * part) for part in shape)

        size = logs.find(independent, -depth * logs.LN10, 0, 100)
        thresholds = _float32(size * shape * scales)
        truth = sum(logs.log_half_space(t) for t in thresholds / scales)
        yield _intersection("orthant", f"orthant 3-d 1e-{depth}", np.diag(scales), thresholds, truth, smooth)
    for name, common, shape in (
        ("two correlated .5", (0.8, 0.625), (1.0, 0.7)),
        ("two correlated -.6", (0.9, -2 / 3), (1.0, 0.4)),
        ("three correlated", (0.9, 0.5, -0.4), (1.0, 0.8, 0.3)),
    ):
        a, s = _float32(common), _float32(np.sqrt(1 - np.array(common) ** 2))
        for depth in DEPTHS:

            def law(size: float, a: np.ndarray = a, s: np.ndarray = s, shape: tuple[float, ...] = shape) -> float:
                return logs.log_one_factor(a, s, size * np.array(shape))

            thresholds = _float32(logs.find(law, -depth * logs.LN10, -5, 100) * np.array(shape))
            truth = logs.log_one_factor(a, s, thresholds)
            yield _intersection("orthant", f"{name} 1e-{depth}", np.c_[a, np.diag(s)], thresholds, truth, smooth)
    r = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1.0]])
    rows = np.linalg.cholesky(r)
    yield _linear("orthant", "three correlated at 0", rows, logs.log_three(r), smooth)
    rng = np.random.default_rng(3)
    for d in (7, 20, 100):
        name = f"independent signs {d}-d"
        yield _linear("orthant", name, _rotation(rng, d), -d * math.log(2), smooth + "; the class begins at 0")
    for d in (100, 1000):
        rows = np.c_[np.full(d, math.sqrt(0.5)), math.sqrt(0.5) * np.eye(d)]
        yield _linear("orthant", f"equicorrelated {d}-d", rows, -math.log(d + 1), smooth)


def _sectors() -> Iterator[Case]:
    for depth in (2, 6, 30, 300):
        rows = np.array([[1.0, 0.0], [math.cos(a := 2 * math.pi * 10.0**-depth), -math.sin(a)]])
        rows = rows if depth > 30 else _float32(rows)
        angle = math.atan2(-rows[1, 1], rows[1, 0])
        query = volume.Query(
            models.Perceptron(2, bias=False), samplers.Gaussian(1.0), volume.Points(rows), volume.TruthTable()
        )
        score = "falls with the volume itself: from scale 1 to 10^-depth; smooth; slices must shrink depth/.3 times"
        dtype = "float64" if depth > 30 else "float32"
        log_volume = math.log(angle) - math.log(2 * math.pi)
        yield Case(f"sector 1e-{depth}", "sector", query, "10", log_volume, 2, score, dtype=dtype)


def _ties() -> Iterator[Case]:
    inputs = np.array([[0, 1], [1, 0], [1, 1]])
    for width in (2, 3):
        truth, error = logs.log_relu_ties(width)
        query = volume.Query(
            models.MLP((2, width, 1), bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(inputs, "111")
        )
        score = f"scale 1, tied at 0 outside of the class: an input has no active unit with probability 2^-{width}"
        yield Case(f"ReLU 2-{width}-1 ties", "ties", query, "fits", truth, 3 * width, score, error)


def _wide() -> Iterator[Case]:
    """Wide limits of ReLU networks as perceptrons on the rows of the kernel's Cholesky factor; truth by tilting."""
    signed = volume.BooleanCube(5, coding=(-1, 1)).inputs
    prior = samplers.Gaussian(weight_std=(1.0, math.sqrt(2), math.sqrt(2)), bias_std=0.1)
    kernel = volume.nngp_kernel(models.MLP((5, 8, 8, 1)), prior, signed)
    questions = [
        ("constant", kernel, np.ones(32)),
        ("first input", kernel, np.where(signed[:, 0] > 0, 1, -1)),
        ("majority of three", kernel, np.where(signed[:, :3].sum(1) > 0, 1, -1)),
    ]
    cube = volume.BooleanCube(7).inputs
    kernel = volume.nngp_kernel(models.MLP((7, 8, 8, 1)), samplers.Gaussian(1.0, 0.1), cube)
    for d in (32, 128):
        rng = np.random.default_rng(0)
        chosen = rng.permutation(128)[:d]
        questions.append((f"{d} random labels", kernel[np.ix_(chosen, chosen)], rng.choice([-1, 1], d)))
    for name, cov, signs in questions:
        scale = np.sqrt(np.diagonal(cov))
        rows = _float32(np.linalg.cholesky(cov / np.outer(scale, scale)) * signs[:, None])
        found = volume.log_orthant(rows @ rows.T)
        score = "scale from 1 to .05, piecewise smooth: margins that are nearly one another's sums"
        yield _linear("wide", f"wide limit, {name}", rows, found.log_probability, score, found.relative_error)


FAMILIES = {
    "half-space": _half_space,
    "cap": _cap,
    "ball": _ball,
    "corner": _corner,
    "orthant": _orthants,
    "sector": _sectors,
    "ties": _ties,
    "wide": _wide,
}
