"""Shares within what fits in the limit of infinitely wide hidden layers.

Quantity: V(A and b) / V(A) for the classes b of a `Given`'s split, A the networks that fit the training labels, for the
Gaussian process that an infinitely wide network is under its prior (nngp.py): the posterior law of the class.
Estimator: independent draws of the process given the signs at the training inputs. The outputs there are drawn by
minimax tilting and kept with probability exp(psi - psi*), psi* the saddle point's bound of every log weight psi, which
makes the kept ones exact (Botev 2017, JRSS-B 79, 125-148, section 3.2); the outputs at the other inputs follow from
them by the conditional Gaussian (Rasmussen and Williams 2006, eq. 2.19). Interval: Clopper and Pearson's (1934), the
kept draws being independent. V(A) itself: `volume.infinite_width`.

Shape letters: m training inputs, t other inputs, S draws kept, K classes of the split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from volume.classifiers.base import Conditional
from volume.estimators.infinite_width.infinite_width import infinite_width, labelled
from volume.estimators.infinite_width.nngp import nngp_kernel
from volume.estimators.infinite_width.orthant import OrthantEstimate, generator
from volume.estimators.infinite_width.tilting import order, saddle, weighted_draws
from volume.queries.query import Query

KEEP = 4000  # draws wanted: standard error .008 of a share of one half
MOST_TRIED = 400_000  # draws; some 10 s at 64 training inputs
CHUNK = 10_000
JITTER = 1e-10  # as `infinite_width` adds to each output's variance; the other inputs' part is drawn with it too


@dataclass(frozen=True, eq=False)
class WideShares:
    """How what fits divides, were the hidden layers infinitely wide."""

    total: OrthantEstimate  # the volume that fits
    counts: np.ndarray  # int64 [K], draws kept by class of the split
    num_tried: int
    reason: str = ""  # why nothing was kept; empty when something was

    @property
    def num_kept(self) -> int:
        return int(self.counts.sum())


def wide_shares(
    query: Query,
    *,
    keep: int = KEEP,
    most_tried: int = MOST_TRIED,
    samples: int = 20_000,
    seed: int = 0,
    level: float = 0.95,
) -> WideShares:
    """Draw the wide limit of ``query`` given that it fits, and classify.

    Args:
        query: of an `MLP` or `Perceptron` of one output under a `Gaussian` prior, with a `Given` of `Fits`.
        keep: draws wanted. The number to try is set beforehand by the volume and its bound, so the number kept varies.
        most_tried: the most to try; a share then rests on fewer.
        samples: draws behind the volume that fits, as in `infinite_width`.
        seed: a whole number in [0, 2^64).
        level: of the interval of the volume that fits.

    Raises:
        TypeError: no query with `Given`, or a model or prior without a known limit.
        ValueError: several outputs, something other than `Fits` that is given, or its class "misses".
    """
    if not isinstance(query, Query) or not isinstance(bound := query.bound, Conditional):
        raise TypeError(f"wide_shares takes a query with volume.Given(volume.Fits(...), split); got {query!r}.")
    if bound.within.required_labels(bound.wanted) is None or bound.num_inside is None:
        raise ValueError(
            "The wide limit divides what fits among the classes of a split that are known beforehand: give "
            f"volume.Given(volume.Fits(...), volume.Accuracy(...)), for example; got {query.classifier!r}."
        )
    fits = Query(query.model, query.prior, query.domain, bound.within.classifier)
    label = bound.within.label(bound.wanted)
    total = infinite_width(fits, label, samples=samples, seed=seed, level=level, jitter=JITTER)
    none = np.zeros(bound.num_inside, np.int64)
    if total.relative_error == math.inf:
        return WideShares(total, none, 0, "of what fits only an upper limit is known")
    if total.log_probability == -math.inf:
        return WideShares(total, none, 0, " ".join(total.notes))
    if total.num_draws and total.jitter != JITTER:
        return WideShares(total, none, 0, f"draws would need a jitter of {JITTER:g}, which decides here")
    rate = total.log_probability - total.log_bound
    if not math.isfinite(rate) or rate < math.log(20 / most_tried):
        reason = f"of {most_tried:,} draws of the limit fewer than 20 would be kept"
        return WideShares(total, none, 0, reason if math.isfinite(rate) else "no bound of the draws' weights was found")
    tried = min(most_tried, math.ceil(keep / math.exp(rate)))
    rng = np.random.default_rng([int(generator(seed).integers(2**63)), 1])
    process = _Process(query, *labelled(fits, label))
    counts = none
    for start in range(0, tried, CHUNK):
        decisions = process.draw(min(CHUNK, tried - start), rng)
        counts = counts + np.bincount(np.asarray(bound.classify(decisions), int), minlength=bound.num_inside + 1)[:-1]
    return WideShares(total, counts, tried)


class _Process:
    """The limit's outputs at all inputs of the domain, given the signs at the training inputs."""

    def __init__(self, query: Query, positions: np.ndarray, labels: np.ndarray):
        kernel = nngp_kernel(query.model, query.prior, query.domain.inputs)  # type: ignore[arg-type]
        self._size = len(kernel)
        moves = np.diagonal(kernel) > 0  # an output that is always 0 ties: class 0
        self._known = positions[moves[positions]]
        self._other = np.setdiff1d(np.flatnonzero(moves), positions)
        self._signs = 2.0 * labels[moves[positions]] - 1
        within = kernel[np.ix_(self._known, self._known)]
        scale = np.sqrt(np.diagonal(within))
        correlation = within / np.outer(scale, scale) + JITTER * np.eye(len(within))
        across = kernel[np.ix_(self._other, self._known)] / scale
        self._slope = np.linalg.solve(correlation, across.T).T if len(within) else across  # [t, m]
        rest = kernel[np.ix_(self._other, self._other)] - self._slope @ across.T
        values, vectors = np.linalg.eigh((rest + rest.T) / 2)
        self._root = vectors * np.sqrt(np.maximum(values, 0))  # what is below 0 is rounding
        self._problem = None
        if len(within):
            flipped = correlation * np.outer(self._signs, self._signs)
            self._scaled = math.sqrt(1 + JITTER)
            self._problem = order(flipped / self._scaled**2, np.zeros(len(flipped)), np.full(len(flipped), np.inf))
            self._tilt = saddle(self._problem)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return decisions [N, S] of the draws that are kept out of ``count``."""
        if self._problem is None:
            outputs, kept = np.zeros((0, count)), count
        else:
            uniforms = np.clip(rng.random((len(self._known), count)), 2.0**-53, 1 - 2.0**-53)
            psi, values = weighted_draws(self._problem, self._tilt.mu, uniforms)
            keep = np.log(rng.random(count)) < psi - self._tilt.bound
            outputs, kept = self._signs[:, None] * self._scaled * values[:, keep], int(keep.sum())
        decisions = np.zeros((self._size, kept), np.uint8)
        decisions[self._known] = outputs > 0
        noise = rng.standard_normal((self._root.shape[1], kept))
        decisions[self._other] = self._slope @ outputs + self._root @ noise > 0
        return decisions
