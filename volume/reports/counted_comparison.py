"""Do two counted reports agree? A z-score for every class that was drawn often enough.

For each class, y_a hits in n_a draws and y_b in n_b. With d the variance of a count over its mean, y/d hits
in n/d draws vary like a Poisson count, and under "equal volumes", given x_a + x_b effective hits, x_a is
binomial with probability f = m_a / (m_a + m_b), m = n/d. So (the conditional test of two Poisson rates:
Przyborowski and Wilenski 1940)

    z = Phi^-1 of the mid-p value,  (P(X_a <= x_a) + P(X_a < x_a)) / 2,
    P(X_a <= x_a) = 1 - I_f(x_a + 1, x_b),  P(X_a < x_a) = 1 - I_f(x_a, x_b + 1),

I the regularised incomplete beta function, which takes the fractional x that clustered counts have. For large counts z
is (p_a - p_b) over its standard error, and that of the logarithms; for small ones it keeps what is exact.

* iid draws: d = 1 - p, p the pooled share.
* Clustered draws: d = v / y, v the variance between units (volume.statistics.intervals); pooled over both reports when
  their units are alike, so that chance in v cannot lend weight to one side.

* Every parameterisation counted on one side (`volume.estimators.exact.exact`): its volume p is known, and x = y/d of
  the other side is binomial in n/d trials with probability p, d = 1 for iid draws, else v / (y (1 - y/n)): z is the
  normal score of its mid-p value. On both sides: z = 0 where the volumes are equal, else infinity.

Classes are taken by the hits and units of both together, which under equal volumes tell nothing of their difference:
asking for hits in each would hide the largest differences there are. Beside a known volume they are taken by the hits
that it lets expect, and a class that it says is empty by any hit.

Shape letters: K classes compared, W words of a key.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from scipy import special

from volume.reports.counted import NONFINITE, VolumeReport
from volume.reports.counted_entries import tally_nonfinite, tally_of
from volume.statistics.counts import Counts, Tally, positions

MIN_COUNT = 20  # hits in both together: below, z takes few values
# Below these, v is too uncertain. Simulated with beta-distributed shares of a body's heads, volumes .3 to 3e-4, B from
# 50 to 5000: the standard deviation of z was .95 to 1.04, also where one report had a tenth of the draws. Without the
# second rule, unlike units gave up to 2.3.
MIN_UNITS = 40  # units hit in both together, where they are alike; units of each clustered side, where they are not
MIN_CLUSTERS = 20  # clusters that equal volumes would give each clustered side, where they are not


def compare_counts(
    a: VolumeReport, b: VolumeReport, min_count: int = MIN_COUNT
) -> tuple[list[str], Tally, Tally, np.ndarray]:
    """Return labels, hits in both and z [K] of every class with ``min_count`` hits in both together.

    Raises ValueError when no class was drawn often enough, or only one report has draws that are undecided.
    """
    if bool(a.num_vanished) != bool(b.num_vanished):
        raise ValueError(
            "One of the reports has draws that its dtype cannot decide, which may be in any class, and the other has "
            "none: hits cannot be compared. Read the intervals, which allow for them."
        )
    complete = a.complete or b.complete
    keys = _candidates(a.counts, b.counts, 1 if complete else min_count)
    tally_a, tally_b = (_tallies(report.counts, keys) for report in (a, b))
    labels = a.bound.labels(keys) if len(keys) else []
    if a.num_nonfinite or b.num_nonfinite:
        labels = [*labels, NONFINITE]
        tally_a, tally_b = (
            Tally(*map(np.append, tally, tally_nonfinite(report.counts)))
            for tally, report in ((tally_a, a), (tally_b, b))
        )
    alike = layout(a) == layout(b)
    if complete:
        enough = _enough_exact(tally_a, a, tally_b, b, min_count)
    else:
        enough = tally_a.count + tally_b.count >= min_count
        enough &= enough_clusters(tally_a, a, tally_b, b, alike=alike)
    kept = np.flatnonzero(enough)
    tally_a, tally_b = Tally(*(c[kept] for c in tally_a)), Tally(*(c[kept] for c in tally_b))
    if not len(kept):
        raise ValueError(
            f"No class can be compared: none has {min_count} hits in both reports together, from enough independent "
            "units to know how hits cluster. Draw more, use smaller units, or group both by a coarser classifier."
        )
    if a.complete and b.complete:
        z = _exact_z(tally_a, a, tally_b, b)
    elif a.complete:
        z = -_known_z(tally_b, b, tally_a.count / a.counts.num_possible)
    elif b.complete:
        z = _known_z(tally_a, a, tally_b.count / b.counts.num_possible)
    else:
        z = z_scores(tally_a, a.counts, tally_b, b.counts, alike=alike)
    return [labels[i] for i in kept], tally_a, tally_b, z


def z_scores(tally_a: Tally, counts_a: Counts, tally_b: Tally, counts_b: Counts, *, alike: bool) -> np.ndarray:
    """z [K] of two column tallies; the counts tell how the draws were made, their classes play no part.

    ``alike``: the units of both are made in the same way, so that hits cluster alike.
    """
    x, m = effective_hits(tally_a, counts_a, tally_b, counts_b, alike=alike)
    f = m[0] / m.sum(axis=0)
    low, high = _mid_p(x, f), _mid_p(x[::-1], 1 - f)
    z = np.where(low < high, special.ndtri(low), -special.ndtri(high))
    return np.where(np.minimum(low, high) > 1e-290, z, signed_root(x, f))


def effective_hits(
    tally_a: Tally, counts_a: Counts, tally_b: Tally, counts_b: Counts, *, alike: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return hits x and draws m, [2, K] each, over the variance d of a hit in its report: x varies like a Poisson
    count."""
    draws = np.array([counts_a.num_possible, counts_b.num_possible], float)
    y = np.stack([tally_a.count, tally_b.count]).astype(float)  # [2, K]
    pooled = y.sum(axis=0) / draws.sum()
    iid = np.maximum(1 - pooled, 1 / draws.sum())  # p = 1: no variance, and no difference either
    v = np.stack([_variance(tally_a, counts_a), _variance(tally_b, counts_b)])
    if alike:
        dispersion = np.broadcast_to(v.sum(axis=0) / np.maximum(y.sum(axis=0), 1), y.shape)
    else:
        shared = v.sum(axis=0) / np.maximum(y.sum(axis=0), 1)  # for the side without hits
        dispersion = np.where(y > 0, v / np.maximum(y, 1), shared)
    independent = np.array([[counts_a.independent], [counts_b.independent]])
    # Sharing a body or a head can only add variance: what is measured below the iid value is chance.
    d = np.where(independent, iid, np.maximum(dispersion, iid))
    return y / d, draws[:, None] / d


class Counted(Protocol):
    """What a test has to know of a side beside its hits: a report, or what a baseline keeps of one."""

    @property
    def counts(self) -> Counts: ...  # how the draws were made; their classes play no part
    @property
    def method(self) -> dict[str, Any]: ...
    @property
    def largest_cluster(self) -> float: ...


def layout(report: Counted) -> tuple[Any, ...]:
    """Say how a report's units are made: in reports of one layout hits cluster alike."""
    counts = report.counts
    return (
        counts.unit_size,
        counts.independent,
        counts.copies,
        *(report.method.get(name) for name in ("name", "heads", "bodies")),
    )


def enough_clusters(tally_a: Tally, a: Counted, tally_b: Tally, b: Counted, *, alike: bool) -> np.ndarray:
    """Say whether enough clusters of hits, [K], are to be expected for v to mean something."""
    if alike:
        return a.counts.independent | (tally_a.units + tally_b.units >= MIN_UNITS)
    enough = np.ones(len(tally_a.count), bool)
    pooled = (tally_a.count + tally_b.count) / (a.counts.num_possible + b.counts.num_possible)
    for tally, report in ((tally_a, a), (tally_b, b)):
        if not report.counts.independent:
            enough &= report.counts.num_units >= MIN_UNITS
            # Hits per unit hit, with one unit added that brings as many as any can: a side with few hits is taken to be
            # as clustered as it may be, instead of being left out for having few hits.
            largest = (tally.count + report.largest_cluster) / (tally.units + 1)
            enough &= pooled * report.counts.num_possible >= MIN_CLUSTERS * largest
    return enough


def _enough_exact(tally_a: Tally, a: VolumeReport, tally_b: Tally, b: VolumeReport, min_count: int) -> np.ndarray:
    """Whether the hits of a class can be judged by a known volume, [K]; always where both volumes are known."""
    enough = np.ones(len(tally_a.count), bool)
    for known, exact, tally, report in ((tally_a, a, tally_b, b), (tally_b, b, tally_a, a)):
        if report.complete:
            continue
        expected = known.count / exact.counts.num_possible * report.counts.num_possible
        some = expected >= min_count
        if not report.counts.independent:
            largest = (tally.count + report.largest_cluster) / (tally.units + 1)
            some &= (expected >= MIN_CLUSTERS * largest) & (report.counts.num_units >= MIN_UNITS)
        enough = some | ((known.count == 0) & (tally.count > 0))
    return enough


def _known_z(tally: Tally, report: VolumeReport, p: np.ndarray) -> np.ndarray:
    """z [K] of drawn hits beside volumes p [K] that are known; infinite where a class of volume 0 (or all) was hit
    (missed)."""
    counts, n = report.counts, float(report.counts.num_possible)
    y = tally.count.astype(float)
    d = np.ones(len(y))
    if not counts.independent:
        iid = y * (1 - y / n)
        clustered = _variance(tally, counts) / np.where(iid > 0, iid, 1)
        # Without a hit (or a miss) the data show no cluster: take one as large as any can be.
        d = np.maximum(np.where(iid > 0, clustered, report.largest_cluster), 1)
    x = np.stack([y, n - y]) / d
    low, high = _mid_p(x, p), _mid_p(x[::-1], 1 - p)
    z = np.where(low < high, special.ndtri(low), -special.ndtri(high))
    inside = (p > 0) & (p < 1)
    far = inside & (np.minimum(low, high) <= 1e-290)
    z = np.where(far, signed_root(x, np.where(inside, p, 0.5)), z)
    impossible = ((p <= 0) & (y > 0)) | ((p >= 1) & (y < n))
    return np.where(impossible, np.where(p <= 0, np.inf, -np.inf), np.where(inside, z, 0.0))


def _exact_z(tally_a: Tally, a: VolumeReport, tally_b: Tally, b: VolumeReport) -> np.ndarray:
    """z [K] of volumes that are both known: 0 or infinite, by whole numbers of any size."""
    pairs = zip(tally_a.count.tolist(), tally_b.count.tolist(), strict=True)
    difference = [count_a * b.counts.num_possible - count_b * a.counts.num_possible for count_a, count_b in pairs]
    return np.array([math.copysign(math.inf, d) if d else 0.0 for d in difference])


def _mid_p(x: np.ndarray, f: np.ndarray) -> np.ndarray:
    """(P(X <= x_0) + P(X < x_0)) / 2 of a binomial X of x_0 + x_1 trials with probability f, [K]; x is [2, K]."""
    some, other = x[0] > 0, x[1] > 0  # at 0 the probabilities are plain, and SciPy's functions give nan
    at_most = special.betaincc(x[0] + 1, np.where(other, x[1], 1), f)
    below = special.betaincc(np.where(some, x[0], 1), x[1] + 1, f)
    return (np.where(other, at_most, 1) + np.where(some, below, 0)) / 2


def signed_root(x: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return the signed root of the binomial deviance, which z approaches far out, where probabilities underflow."""
    expected = x.sum(axis=0) * np.stack([f, 1 - f])
    deviance = 2 * (special.xlogy(x, x / np.maximum(expected, 1e-300))).sum(axis=0)
    return np.sign(x[0] - expected[0]) * np.sqrt(np.maximum(deviance, 0))


def _variance(tally: Tally, counts: Counts) -> np.ndarray:
    """B var(k_b, ddof=1) [K]: the variance of the count; 0 for one unit alone."""
    units = counts.num_units
    if units < 2:
        return np.zeros(len(tally.count))
    y = tally.count.astype(float)
    return np.maximum(tally.square - y * (y / units), 0) * (units / (units - 1))


def _candidates(a: Counts, b: Counts, min_count: int) -> np.ndarray:
    """Keys [K, W] of the classes that can have ``min_count`` hits in both together: one has half of them."""
    half = math.ceil(min_count / 2)
    return np.unique(np.concatenate([counts.often(half) for counts in (a, b)]), axis=0)


def _tallies(counts: Counts, keys: np.ndarray) -> Tally:
    if not isinstance(counts, Counts):  # on disk (volume.runs.table_store)
        return counts.tallies(keys)
    return tally_of(counts, look_up(counts, keys))


def look_up(counts: Counts, keys: np.ndarray) -> np.ndarray:
    """Return positions [K] of keys [K, W] in the counts, -1 for those never drawn."""
    return positions(counts.keys, keys)
