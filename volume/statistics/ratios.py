"""Intervals for the ratio X / N of two counts whose hits come in clusters, and the shares of classes in all hits.

Both X and N vary from unit to unit, and only the units are independent. With x_b and n_b the hits of unit b, the
variance of X - r N, r = X / N, is estimated from the residuals e_b = x_b - r n_b (the ratio estimator's variance:
Cochran 1977, Sampling Techniques, section 6.4), v = B/(B-1) sum e_b^2, and the limits are the beta limits of
`volume.statistics.intervals` (after Fay and Feuer 1997) with N draws, variance v and clusters as large as the largest
residual of either sign. The number of units that matters is (sum n_b)^2 / sum n_b^2, Kish's effective one.
`volume.reports.shares` says how this was simulated.

Shape letters: B units, K classes, R records of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson, moment_limits

# As in volume.statistics.intervals: fewer units hardly show a variance, and the largest cluster seen understates the
# largest one.
_MIN_UNITS = 5
_FEW_UNITS = 1.5
# A class hit in so few units may not have shown how many hits one unit can bring: the cluster is then taken to be a
# whole unit's n_b, the mean over hits of N (sum n_b^2 / N). Simulated on all-or-nothing classes: without it .74 is
# covered.
_FEW_HIT = 10


class Residuals(NamedTuple):
    """What the limits need of the residuals of every class [K]."""

    count: np.ndarray  # X
    square: np.ndarray  # sum over units of e_b^2
    most: np.ndarray  # the largest e_b
    least: np.ndarray  # the smallest
    hit: np.ndarray  # units with a hit
    missed: np.ndarray  # units with a hit of another class


def residual_limits(
    residuals: Residuals,
    num_units: int,
    total: float,
    squares: float,
    level: float,
    cluster: float,
    least_cluster: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits (log_low, log_high) [K] of X / N, in nats; (-inf, 0) where too few units say anything.

    Args:
        residuals: of every class, as :func:`_residuals` sums them.
        num_units: B.
        total: N.
        squares: sum of n_b^2.
        level: of the two-sided interval.
        cluster: the most hits that one lucky unit may bring to a class that was never seen (or never missed).
        least_cluster: the most hits of one draw: one cluster more is no smaller.
    """
    shape = residuals.count.shape
    effective = total**2 / squares if squares else 0.0
    if effective < _MIN_UNITS:
        return np.full(shape, -np.inf), np.zeros(shape)
    share = residuals.count / total
    tail = (1 - level) / 2
    inflation = special.stdtrit(effective - 1, tail) / special.ndtri(tail)
    # Never less than the binomial variance: draws that share anything can only add to it.
    variance = np.maximum(residuals.square * num_units / (num_units - 1) * inflation**2, total * share * (1 - share))
    few = 1 + _FEW_UNITS / math.sqrt(effective)
    unseen = min(max(cluster, 1.0), squares / total)
    more = np.maximum(residuals.most * few, np.where(residuals.hit < _FEW_HIT, unseen, least_cluster))
    fewer = np.maximum(-residuals.least * few, np.where(residuals.missed < _FEW_HIT, unseen, 1))
    return moment_limits(residuals.count, total, variance, more, fewer, level)


def share_limits(
    counts: Counts,
    rows: np.ndarray,
    level: float,
    *,
    start: int = 0,
    cluster: float = 1.0,
    within: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log share, log_low, log_high) [K] in nats: hits of the classes at ``rows`` (-1: never drawn) over all hits.

    From the units from ``start`` on; ``cluster`` as above; ``within`` [B]: the hits of every unit, where ``counts``
    hold these classes alone. Where nothing was hit nothing is known: (nan, -inf, 0).
    """
    rows = np.asarray(rows, np.int64)
    if within is None:
        within = np.bincount(counts.unit, counts.hits, minlength=counts.num_units)
    within = np.asarray(within, float)[start:]
    total, units = float(within.sum()), counts.num_units - start
    if not total:
        unknown = np.full(len(rows), np.nan)
        return unknown, np.full(len(rows), -np.inf), np.zeros(len(rows))
    residuals = _residuals(counts, rows, start, within)
    with np.errstate(divide="ignore"):
        share = np.log(residuals.count / total)
    if counts.complete:
        return share, share, share
    if counts.independent:
        return share, *clopper_pearson(residuals.count, total, level)
    squares = float(np.square(within).sum())
    return share, *residual_limits(residuals, units, total, squares, level, cluster, counts.copies)


def _residuals(counts: Counts, rows: np.ndarray, start: int, within: np.ndarray) -> Residuals:
    """Of the classes at ``rows``, read from their own records alone."""
    total, fullest = float(within.sum()), np.argsort(-within, kind="stable")
    rank = np.empty(len(within), np.int64)  # 0 for the unit with the most hits of all classes
    rank[fullest] = np.arange(len(within))
    # X, sum e^2 over units hit, sum n^2 over them, units hit, units all of it, and how many of the fullest are all hit
    columns = np.zeros((6, len(rows)))
    most, least = np.zeros(len(rows)), np.zeros(len(rows))
    seen = np.flatnonzero(rows >= 0)
    size = np.diff(counts.offsets)[rows[seen]]
    of_row = np.repeat(np.arange(len(seen)), size)
    record = (
        np.repeat(counts.offsets[rows[seen]], size) + np.arange(len(of_row)) - np.repeat(np.cumsum(size) - size, size)
    )
    kept = counts.unit[record] >= start
    of_row, record = of_row[kept], record[kept]
    hits, among = counts.hits[record].astype(float), within[counts.unit[record] - start]

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(of_row, values, minlength=len(seen))

    count = summed(hits)
    residual = hits - (count / total)[of_row] * among
    ranks = rank[counts.unit[record] - start]
    ranks = ranks[np.lexsort([ranks, of_row])]  # sorted within each class: the r-th is r as long as none is left out
    place = np.arange(len(ranks)) - np.searchsorted(of_row, of_row)
    parts = (hits, residual**2, among**2, np.ones(len(hits)), hits == among, ranks == place)
    for column, values in zip(columns, parts, strict=True):
        column[seen] = summed(values)
    top, bottom = np.full(len(seen), -np.inf), np.full(len(seen), np.inf)
    np.maximum.at(top, of_row, residual)
    np.minimum.at(bottom, of_row, residual)
    most[seen], least[seen] = top, bottom
    count, squared, in_hit, hit, unmissed, full = columns
    share = count / total
    occupied = int((within > 0).sum())
    # Units without a hit have the residuals -r n_b.
    square = squared + share**2 * np.maximum(np.square(within).sum() - in_hit, 0)
    missing = np.append(within[fullest], 0)[full.astype(np.int64)]  # the most n_b of a unit without a hit
    least = np.minimum(np.where(np.isfinite(least), least, 0.0), -share * missing)
    most = np.where(np.isfinite(most), most, 0.0)
    return Residuals(count, square, most, least, hit, occupied - unmissed)
