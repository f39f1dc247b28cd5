"""Exact truths for counts that come in clusters: linear networks without biases on the plane.

The output of body V [h, 2] and head w [h] at x is w.(V x), so a network is a direction V^T w, and the direction
is uniform: "it lies in this sector" has volume p = angle / 2 pi at any width h. The width sets the clustering:
with h = 1 a body offers two directions to all its heads, with h = 8 nearly all of them. The *residual* network
with features (I + G/4) x clusters by heads instead: a head that is shared by many bodies pulls them all into one
sector.

Shape letters: S runs, B units, Q bodies, H heads, h width.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from volume.statistics.counts import Tally

CHUNK = 4_000_000  # draws or units simulated at once


def body_shares(rng: np.random.Generator, shape: tuple[int, ...], width: int, p: float) -> np.ndarray:
    """For random bodies V [h, 2], the share of heads w ~ N(0, I) with V^T w in a sector of angle 2 pi p; `shape`.

    V^T V is a Wishart matrix L L^T; L^-1 maps directions of V^T w to uniform ones and the sector to another
    sector, whose angle is atan2(cross product, dot product) of its two edges.
    """
    if width == 1:  # two opposite directions, half the heads each
        return np.where(rng.random(shape) < 2 * p, 0.5, 0.0)
    first = rng.chisquare(width, shape)  # Bartlett's decomposition
    corner = rng.standard_normal(shape)
    last = rng.chisquare(width - 1, shape)
    half = np.pi * p
    dot = (corner**2 + last) * np.cos(half) ** 2 - first * np.sin(half) ** 2
    return np.arctan2(np.sin(2 * half) * np.sqrt(first * last), dot) / (2 * np.pi)


@cache  # the eigenvalues of a large matrix
def _gauss(num: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(num)


def design_effect(width: int, p: float, heads: int) -> float:
    """The true one: 1 + (H - 1) corr(two heads of a body). Crossing adds nothing, as P(hit | head) = p for each head.

    P(both heads hit) = E P(both directions in the sector | rho), rho = cos t the cosine between the heads,
    with law sin^(h-2) t. The directions of two plane Gaussians of correlation rho differ by less than x on
    one side with probability G(x) = (x + rho sin x arccos(-rho cos x) / sqrt(1 - rho^2 cos^2 x)) / 2 pi, and
    a sector of angle a contains both with probability (1/pi) integral_0^a G. Gauss-Legendre; nodes crowd
    where rho = 1 and x = 0.
    """
    if width == 1:
        both = p / 2
    else:
        nodes, weights = _gauss(300)
        u, du = (nodes + 1) / 2, weights / 2
        x, dx = 2 * np.pi * p * u**3, 2 * np.pi * p * 3 * u**2 * du
        t, dt = np.pi / 2 * u**3, 3 * u**2 * du
        law = np.sin(t) ** (width - 2) * dt
        law /= 2 * law.sum()
        below_one = np.sqrt((np.sin(t)[:, None] * np.cos(x)) ** 2 + np.sin(x) ** 2)
        both = 0.0
        for rho in (np.cos(t)[:, None], -np.cos(t)[:, None]):
            within = (x + rho * np.sin(x) * np.arccos(-rho * np.cos(x)) / below_one) / (2 * np.pi)
            both += law @ (within @ dx) / np.pi
    return 1 + (heads - 1) * (both - p * p) / (p * (1 - p))


def heads_on_bodies(rng: np.random.Generator, seeds: int, bodies: int, heads: int, width: int, p: float) -> Tally:
    """Hits of one sector in `seeds` runs of `bodies` units; one column per run."""
    columns = np.zeros((4, seeds), np.int64)
    step = max(1, CHUNK // bodies)
    for start in range(0, seeds, step):
        some = min(step, seeds - start)
        if width == 1:  # only bodies that can hit are drawn: p = 1e-5 needs a million others
            can = rng.binomial(bodies, 2 * p, some)
            k = rng.binomial(heads, 0.5, can.sum())
            run = np.repeat(np.arange(some), can)
            part = np.zeros((4, some), np.int64)
            for row, value in zip((0, 1, 3), (k, k * k, k > 0), strict=True):
                np.add.at(part[row], run, value)
            np.maximum.at(part[2], run, k)
        else:
            k = rng.binomial(heads, body_shares(rng, (some, bodies), width, p))
            part = np.stack([k.sum(1), (k * k).sum(1), k.max(1), (k > 0).sum(1)])
        columns[:, start : start + some] = part
    return Tally(*columns)


def crossed(
    rng: np.random.Generator, runs: int, units: int, bodies: int, heads: int, width: int, p: float, sectors: int
) -> Tally:
    """Hits of `sectors` disjoint sectors in `runs` runs, run by run; units are Q x H blocks. width 0: residual."""
    tallies = np.zeros((runs, 4, sectors), np.int64)
    step = max(1, min(units, CHUNK // (4 * bodies * heads)))
    for run in range(runs):
        for start in range(0, units, step):
            some = min(step, units - start)
            w = rng.standard_normal((some, 1, heads, width or 2))
            v = rng.standard_normal((some, bodies, width or 2, 2))
            if not width:
                v = np.eye(2) + v / 4
            sign = rng.choice([-1.0, 1.0], (some, bodies, width or 2, 1))
            direction = np.matmul(np.broadcast_to(w, (some, bodies, heads, width or 2)), v * sign)
            turn = np.arctan2(direction[..., 0], direction[..., 1]) / (2 * np.pi)  # in [-1/2, 1/2]
            sector = np.floor(turn / p)
            inside = (turn >= 0) & (sector < sectors)
            unit = np.broadcast_to(np.arange(some)[:, None, None], inside.shape)
            cell = unit[inside] * sectors + sector[inside].astype(np.int64)
            k = np.bincount(cell, minlength=some * sectors).reshape(some, sectors)
            tallies[run, 0] += k.sum(0)
            tallies[run, 1] += (k * k).sum(0)
            tallies[run, 2] = np.maximum(tallies[run, 2], k.max(0))
            tallies[run, 3] += (k > 0).sum(0)
    return Tally(*np.moveaxis(tallies, 1, 0).reshape(4, -1))


def turns(rng: np.random.Generator, bodies: int, heads: int, width: int) -> np.ndarray:
    """Directions of every head on every body, in turns [0, 1]; [B, H]. width 0: independent draws."""
    if not width:
        return rng.random((bodies, heads))
    w = rng.standard_normal((bodies, heads, width))
    direction = w @ rng.standard_normal((bodies, width, 2))
    return np.arctan2(direction[..., 0], direction[..., 1]) / (2 * np.pi) + 0.5


def complement(tally: Tally, units: int, unit_size: int) -> Tally:
    """The tally of "not this class". Exact but for ``largest`` where every unit was hit, which no truth here
    needs."""
    y = tally.count
    largest = np.where(tally.units < units, unit_size, unit_size - 1)
    return Tally(
        units * unit_size - y,
        tally.square - 2 * unit_size * y + units * unit_size**2,
        largest,
        np.full(y.shape, units),
    )
