"""Shares of the classes within what is given, with intervals, from counted draws.

Quantity: r = V(A and b) / V(A) for every class b of a `Given`. Estimator: X / N, hits of b within A over hits of A.

* Independent draws: given N, X is binomial, so Clopper and Pearson (1934) at N draws is exact.
* Draws that share a body or heads: both X and N come in clusters, and only the units are independent. With x_b and n_b
  the hits of unit b, the variance of X - r N is estimated from the residuals e_b = x_b - (X / N) n_b (the ratio
  estimator's variance: Cochran 1977, Sampling Techniques, section 6.4), v = B/(B-1) sum e_b^2, and the limits are the
  beta limits of `volume.statistics.intervals` (after Fay and Feuer 1997) with N draws, variance v and clusters as large
  as the largest residual of either sign. The number of units that matters is (sum n_b)^2 / sum n_b^2, Kish's effective
  one.

Simulated with 20 to 1,000 units, clustered n_b and clustered shares, tied to n_b or not (48 cases, 1,500 runs each,
nominal .95): coverage .953 to 1; close to 1 where few units are hit. Where every parameterisation was counted X / N
is exact.

Functions (`Given` split by truth tables) are not listed in advance: those that are named, or those that the first tenth
of the units meets most, estimated by the others.

A class hit in fewer than 4 independent units is "not resolved": its upper limit is all that is known.

Shape letters: B independent units, S classes within.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from volume.classifiers.base import OUTSIDE, Conditional
from volume.classifiers.given import Given
from volume.common.records import plain
from volume.common.validation import check_level
from volume.errors import whole
from volume.reports.counted_classes import CountedClasses
from volume.reports.facts import Report
from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson, cluster_at_zero
from volume.statistics.ratios import Residuals, residual_limits

MIN_UNITS_HIT = 4  # fewer independent hits say little more than how many there are


@dataclass(frozen=True)
class Share:
    """The share of one class within what is given: a conditional probability under the prior, with its interval."""

    label: str
    share: float  # nan when nothing that is given was drawn
    low: float  # ends of the interval: it covers the true share with probability ``level``
    high: float
    level: float
    count: int  # draws in this class; of replicates, those that met it
    num_within: int  # draws in all classes within; of replicates, all
    units_hit: int  # independent units with a hit: draws where they are independent, else blocks or replicates
    resolved: bool  # hit in at least 4 of them
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record; what is undefined is None."""
        return plain(vars(self))


def shares(
    report: Report,
    level: float | None = None,
    *,
    given: Given | None = None,
    labels: Sequence[Any] | None = None,
    top: int = 20,
) -> tuple[Share, ...]:
    """Every class within what is given, in the order of the split's class numbers; they sum to 1.

    Functions, where truth tables are the split: in the order of ``labels``, from all draws, or the ``top`` that the
    first tenth of the units meets most, in that order, from the other units.

    Args:
        report: of a query with `Given` (or `Defects`), by any method.
        level: of the intervals; default: the report's own.
        given: for a report of truth tables, the question to group it by first.
        labels: functions to take the shares of, with a split by truth tables only.
        top: how many functions where none are named.

    Raises:
        TypeError: what is no report.
        ValueError: a report of another classifier, one whose classes are too many to be listed, or ``labels`` where all
            classes are listed.
        KeyError: a function in ``labels`` that is not within what is given.
    """
    if not isinstance(report, Report):
        raise TypeError(f"shares takes a report, as volume.estimate returns it; got {report!r}.")
    return report.shares(level, given=given, labels=labels, top=top)


def counted_shares(
    report: CountedClasses, level: float | None, *, labels: Sequence[Any] | None, top: int
) -> tuple[Share, ...]:
    """Return the shares of a counted report; see :func:`shares`."""
    bound = report.bound
    if not isinstance(bound, Conditional):
        raise ValueError(
            f"This report is one of {type(report.classifier).__name__}, which gives nothing to take shares of: "
            "estimate a query with volume.Given(...), or pass given= for a report of TruthTable()."
        )
    num_inside = bound.num_inside
    if num_inside is not None and labels is not None:
        raise ValueError(f"labels={labels!r} names functions; here all {num_inside:,} classes are listed.")
    if num_inside is not None and not report.named_in_advance:
        raise ValueError(f"The split has {num_inside:,} classes, too many to list: use a coarser one.")
    level = report.level if level is None else level
    check_level(level)
    counts = report.counts
    if num_inside is None:
        names, hits, within = _functions(report, bound, labels, whole("top", top))
    else:
        names, hits = [bound.label(c) for c in range(num_inside)], _dense(counts, num_inside)
        within = hits.sum(0)
    if report.complete:
        return _exact(names, hits.sum(1), int(within.sum()), level)
    if counts.independent:
        low, high = _independent(hits.sum(1), int(within.sum()), level)
        units_hit = hits.sum(1)
    else:
        cluster = copies = counts.copies
        if copies == 1:
            cluster = cluster_at_zero(counts.tally(), report.largest_cluster)
        low, high = ratio_limits(hits, within, level, cluster, copies)
        units_hit = (hits > 0).sum(1)
    return tuple(
        _share(name, int(hits[c].sum()), int(within.sum()), float(low[c]), float(high[c]), level, int(units_hit[c]))
        for c, name in enumerate(names)
    )


def ratio_limits(
    hits: np.ndarray, within: np.ndarray, level: float, cluster: float, least_cluster: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits (low, high) [S] for shares X/N from clustered counts.

    Args:
        hits: x_b of every class, [S, B].
        within: n_b, [B].
        level: of the two-sided interval.
        cluster: the most hits that one lucky unit may bring to a class that was never seen (or never missed).
        least_cluster: the most hits of one draw (`volume.statistics.ratios`).
    """
    total, count = float(within.sum()), hits.sum(1).astype(float)
    squares = float(np.square(within, dtype=np.float64).sum())
    residual = hits - (count / max(total, 1))[:, None] * within
    residuals = Residuals(
        count=count,
        square=np.square(residual).sum(1),
        most=residual.max(1),
        least=residual.min(1),
        hit=(hits > 0).sum(1),
        missed=(hits < within).sum(1),
    )
    low, high = residual_limits(residuals, hits.shape[1], total, squares, level, cluster, least_cluster)
    return np.exp(low), np.exp(high)


def _exact(names: list[str], count: np.ndarray, within: int, level: float) -> tuple[Share, ...]:
    """Shares where every parameterisation was counted: both ends of the interval are the share itself."""
    note = "" if within else "nothing fits what is given: it has volume 0"
    values = [int(hits) / within if within else math.nan for hits in count]
    return tuple(
        Share(name, values[c], values[c], values[c], level, int(count[c]), within, int(count[c]), True, note)
        for c, name in enumerate(names)
    )


def _independent(count: np.ndarray, within: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    if not within:
        return np.zeros(len(count)), np.ones(len(count))
    low, high = clopper_pearson(count, within, level)
    return np.exp(low), np.exp(high)


def _functions(
    report: CountedClasses, bound: Conditional, labels: Sequence[Any] | None, top: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Labels [S] of functions, their hits [S, B] and those of all that is given [B], in the units that did not choose
    them."""
    counts = report.counts
    outside = counts.find(bound.outside_key)
    cell = np.repeat(np.arange(counts.num_classes), np.diff(counts.offsets))
    start = 0
    if labels is not None:
        keys = [bound.key(label) for label in labels]
        rows = [counts.find(key) for key in keys]
        names = bound.labels(np.array(keys).reshape(-1, counts.keys.shape[1]))
        if OUTSIDE in names:
            raise ValueError(f"Shares are of what is given: leave {OUTSIDE!r} out of labels=.")
    else:
        start = report.pilot_units
        met = counts.tally(0, start or None).count
        if outside is not None:
            met[outside] = 0
        order = np.argsort(-met, kind="stable")[:top]
        rows = order[met[order] > 0].tolist()
        names = bound.labels(counts.keys[rows])
    kept = counts.unit >= start
    units = counts.num_units - start
    within = np.zeros(units, np.int64)
    inside = kept if outside is None else kept & (cell != outside)
    np.add.at(within, counts.unit[inside] - start, counts.hits[inside])
    hits = np.zeros((len(names), units), np.int64)
    for place, row in enumerate(rows):
        if row is not None:
            column = slice(counts.offsets[row], counts.offsets[row + 1])
            later = counts.unit[column] >= start
            hits[place, counts.unit[column][later] - start] = counts.hits[column][later]
    return names, hits, within


def _dense(counts: Counts, outside: int) -> np.ndarray:
    """Hits [S, B] of the classes within."""
    hits = np.zeros((outside, counts.num_units), np.int64)
    classes = np.repeat(counts.keys[:, 0].astype(np.int64), np.diff(counts.offsets))
    inside = classes < outside
    hits[classes[inside], counts.unit[inside]] = counts.hits[inside]
    return hits


def _share(label: str, count: int, within: int, low: float, high: float, level: float, units: int) -> Share:
    resolved, note = units >= MIN_UNITS_HIT, ""
    if not within:
        note = "nothing that is given was drawn: draw more, or use a method for rare classes"
    elif not resolved:
        note = f"not resolved below {high:.2g}"
    return Share(
        label=label,
        share=count / within if within else math.nan,
        low=low,
        high=high,
        level=level,
        count=count,
        num_within=within,
        units_hit=units,
        resolved=resolved,
        note=note,
    )
