"""Shares of the classes within what is given, with intervals, from counted draws.

Quantity: r = V(A and b) / V(A) for every class b of a `Given`. Estimator: X / N, hits of b within A over hits of A.

* Independent draws: given N, X is binomial, so Clopper and Pearson (1934) at N draws is exact.
* Draws that share a body or heads: both X and N come in clumps, and only the units are independent. With x_b and n_b
  the hits of unit b, the variance of X - r N is estimated from the residuals e_b = x_b - (X / N) n_b (the ratio
  estimator's variance: Cochran 1977, Sampling Techniques, section 6.4), v = B/(B-1) sum e_b^2, and the limits are the
  beta limits of `volume.intervals` (after Fay and Feuer 1997) with N draws, variance v and clumps as large as the
  largest residual of either sign. The number of units that matters is (sum n_b)^2 / sum n_b^2, Kish's effective one.

Simulated with 20 to 1,000 units, clumped n_b and clumped shares, tied to n_b or not (48 cases, 1,500 runs each, nominal
.95): coverage .953 to 1; close to 1 where few units are hit. Where every parameterisation was counted X / N is exact.

A class hit in fewer than 4 independent units is "not resolved": its upper limit is all that is known.

Shape letters: B independent units, S classes within.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from volume.class_volume import finite
from volume.counts import Counts
from volume.given import BoundGiven, Given
from volume.intervals import clopper_pearson, clump_at_zero
from volume.ratios import Residuals, residual_limits
from volume.report import VolumeReport

MIN_UNITS_HIT = 4  # fewer independent hits say little more than how many there are


@dataclass(frozen=True)
class Share:
    """The share of one class within what is given: a conditional probability under the prior, with its interval."""

    label: str
    share: float  # nan when nothing that is given was drawn
    low: float  # ends of the interval: it covers the true share with probability ``level``
    high: float
    level: float
    count: int  # draws in this class
    num_within: int  # draws in all classes within
    units_hit: int  # independent units with a hit: draws where they are independent, else blocks
    resolved: bool  # hit in at least 4 of them
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able record; what is undefined is None."""
        return {name: finite(value) if isinstance(value, float) else value for name, value in vars(self).items()}


def shares(report: VolumeReport, level: float | None = None, *, given: Given | None = None) -> tuple[Share, ...]:
    """Every class within what is given, in the order of the split's class numbers; they sum to 1.

    Args:
        report: a counted report of a query with `Given` (or `Defects`).
        level: of the intervals; default: the report's own.
        given: for a report of truth tables, the question to group it by first.

    Raises:
        TypeError: a report that holds no counts.
        ValueError: a report of another classifier, or one whose classes are too many to be listed.
    """
    if not isinstance(report, VolumeReport):
        raise TypeError(f"shares takes the report of a counting method such as volume.Direct; got {report!r}.")
    if given is not None:
        if not isinstance(given, Given):
            raise TypeError(f"given={given!r} is no volume.Given(...): give what is given and what splits it.")
        report = report if report.classifier == given else report.group_by(given)
    bound = report.bound
    if not isinstance(bound, BoundGiven):
        raise ValueError(
            f"This report is one of {type(report.classifier).__name__}, which gives nothing to take shares of: "
            "estimate a query with volume.Given(...), or pass given= for a report of TruthTable()."
        )
    if not report.named_in_advance:
        raise ValueError(f"The split has {bound.outside:,} classes, too many to list: use a coarser one.")
    level = report.level if level is None else level
    if not 0 < level < 1:
        raise ValueError(f"level={level}; give a confidence level strictly between 0 and 1, such as 0.95.")
    hits = _dense(report.counts, bound.outside)
    if report.complete:
        return _exact(bound, hits.sum(1), level)
    if report.counts.independent:
        low, high = _independent(hits.sum(1), level)
        units_hit = hits.sum(1)
    else:
        clump = copies = report.counts.copies
        if copies == 1:
            clump = clump_at_zero(report.counts.tally(), report.largest_clump)
        low, high = ratio_limits(hits, hits.sum(0), level, clump, copies)
        units_hit = (hits > 0).sum(1)
    within = int(hits.sum())
    return tuple(
        _share(bound.label(c), int(hits[c].sum()), within, float(low[c]), float(high[c]), level, int(units_hit[c]))
        for c in range(bound.outside)
    )


def ratio_limits(
    hits: np.ndarray, within: np.ndarray, level: float, clump: float, least_clump: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Limits (low, high) [S] for shares X/N from clustered counts.

    Args:
        hits: x_b of every class, [S, B].
        within: n_b, [B].
        level: of the two-sided interval.
        clump: the most hits that one lucky unit may bring to a class that was never seen (or never missed).
        least_clump: the most hits of one draw (`volume.ratios`).
    """
    total, count = float(within.sum()), hits.sum(1).astype(float)
    squares = float(np.square(within, dtype=np.float64).sum())
    residual = hits - (count / max(total, 1))[:, None] * within
    found = Residuals(
        count=count,
        square=np.square(residual).sum(1),
        most=residual.max(1),
        least=residual.min(1),
        hit=(hits > 0).sum(1),
        missed=(hits < within).sum(1),
    )
    low, high = residual_limits(found, hits.shape[1], total, squares, level, clump, least_clump)
    return np.exp(low), np.exp(high)


def _exact(bound: BoundGiven, count: np.ndarray, level: float) -> tuple[Share, ...]:
    """Shares where every parameterisation was counted: both ends of the interval are the share itself."""
    within = int(count.sum())
    note = "" if within else "nothing fits what is given: it has volume 0"
    values = [int(hits) / within if within else math.nan for hits in count]
    return tuple(
        Share(bound.label(c), values[c], values[c], values[c], level, int(count[c]), within, int(count[c]), True, note)
        for c in range(bound.outside)
    )


def _independent(count: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    if not count.sum():
        return np.zeros(len(count)), np.ones(len(count))
    low, high = clopper_pearson(count, count.sum(), level)
    return np.exp(low), np.exp(high)


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
