"""Entries of named classes beside their baselines: to rounding, or by the z-scores of `volume.reports.comparison`.

Smallest change caught. With S the standard error of the difference of two log volumes, of nu degrees of freedom by
Welch's formula, a test speaks beyond t S. A change by c S is caught with probability PLANNED when
E Phi(c s - t s') = PLANNED, s and s' independent with s^2 distributed like chi^2_nu / nu: the error behind the forecast
is as uncertain as the one behind the test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from volume.checks.rows import PLANNED, TriedClass, critical
from volume.reports.comparison import interval_z, one_sided_error
from volume.reports.entries import ClassEstimate, entry_from_dict
from volume.reports.limit_entries import LimitVolume
from volume.reports.named import EstimateReport

SAME = 1e-9  # of 1 + |log volume|: one machine repeats itself to the last bit, records to the last digit
# Nats. Another processor rounds otherwise; unless that leads a run elsewhere, in which case it differs by far more, log
# volumes of sums of float32 differ by about 1e-6.
ROUNDING = 1e-4
# The ends of a lognormal interval vary more than the spread of the replicates does, the more so the larger that is.
# Simulated with 8 to 32 replicates of spreads .1 to .8, at rates 1e-6 and .05: without this factor changes of the
# forecast size were found with probability .89 to 1, with it .99 and more, but .97 where they are of 14 nats and more:
# so far out nothing is forecast.
SKEW, FARTHEST = 1.0, 5.0
_NODES = 60


class EntryDifference(NamedTuple):
    """A class whose numbers are not those of the baseline; nats, nan where there is no such entry."""

    label: str
    before: float
    after: float


def exact_differences(base: Sequence[ClassEstimate], report: EstimateReport, tolerance: float) -> list[EntryDifference]:
    """Return entries whose log volumes, limits or replicates differ by more than ``tolerance`` (1 + |log volume|)."""
    after = {entry.label: entry for entry in report.entries}
    before = {entry.label: entry for entry in base}
    differing = []
    for label in dict.fromkeys([*before, *after]):
        pair = before.get(label), after.get(label)
        if pair[0] is None or pair[1] is None or not _same(pair[0], pair[1], tolerance):
            logs = (math.nan if entry is None else entry.log_volume for entry in pair)
            differing.append(EntryDifference(label, *logs))
    return differing


def two_sample(
    base: Sequence[ClassEstimate], report: EstimateReport, alpha: float
) -> tuple[list[TriedClass], int, list[str]]:
    """Every class that both know well enough, the number of tests, and why the others are left out.

    ``alpha`` is the family-wise false-alarm rate. ValueError when no class can be tested.
    """
    after = {entry.label: entry for entry in report.entries}
    pairs, notes = [], []
    for first in base:
        second = after.get(first.label)
        if second is None:
            notes.append(f"{first.label}: not in the new report")
            continue
        why = first.why_not_compared() or second.why_not_compared()
        if not why and not all(math.isfinite(entry.log_low) for entry in (first, second)):
            why = "an interval has no lower end"
        if why:
            notes.append(f"{first.label}: {why}")
        else:
            pairs.append((first, second))
    if not pairs:
        raise ValueError(f"Nothing can be tested ({'; '.join(notes[:5])}): estimate with more care.")
    least = critical(alpha, len(pairs))
    return [_row(first, second, least) for first, second in pairs], len(pairs), notes


def entries_of(records: Sequence[dict]) -> list[ClassEstimate]:
    """Return the entries of a baseline."""
    return [entry_from_dict(record) for record in records]


def _same(a: ClassEstimate, b: ClassEstimate, tolerance: float) -> bool:
    numbers = []
    for entry in (a, b):
        own = (entry.log_volume, entry.log_low, entry.log_high, *getattr(entry, "log_estimates", ()))
        numbers.append(np.array(own))
    if type(a) is not type(b) or len(numbers[0]) != len(numbers[1]):
        return False
    return np.allclose(*numbers, rtol=tolerance, atol=tolerance)


def _exact(entry: ClassEstimate) -> bool:
    return isinstance(entry, LimitVolume) and not entry.num_draws


def _row(a: ClassEstimate, b: ClassEstimate, least: float) -> TriedClass:
    difference = a.log_volume - b.log_volume
    if _exact(a) and _exact(b):  # nothing was drawn
        same = abs(difference) <= ROUNDING * (1 + abs(a.log_volume))
        z = 0.0 if same else math.copysign(math.inf, difference)
        up = math.exp(ROUNDING * (1 + abs(a.log_volume)))
        return TriedClass(a.label, a.log_volume, b.log_volume, None, None, z, up, 1 / up)
    factors = []
    skew = max(getattr(entry, "spread", 0.0) for entry in (a, b))
    for rises in (True, False):
        errors = one_sided_error(a, down=not rises), one_sided_error(b, down=rises)
        total = errors[0] ** 2 + errors[1] ** 2
        share = sum((e * e / total) ** 2 / entry.degrees for e, entry in zip(errors, (a, b), strict=True))
        # Rounded down, as few degrees as are certain, so that few are worked out anew.
        degrees = math.floor(10 / share) / 10 if share else math.inf
        change = _multiple(least, degrees) * math.sqrt(total) * (1 + SKEW * skew)
        factors.append(math.nan if change > FARTHEST else math.exp(change if rises else -change))
    return TriedClass(a.label, a.log_volume, b.log_volume, None, None, interval_z(a, b), *factors)


@functools.lru_cache(maxsize=256)
def _multiple(least: float, degrees: float) -> float:
    """c of the file's first lines, for the critical normal score ``least``."""
    if degrees == math.inf:
        return least + float(special.ndtri(PLANNED))
    t = -float(special.stdtrit(degrees, special.ndtr(-least)))
    quantiles = (np.arange(_NODES) + 0.5) / _NODES
    s = np.sqrt(2 * special.gammaincinv(degrees / 2, quantiles) / degrees)
    low, high = t, 100 * t + 100
    for _ in range(40):
        c = (low + high) / 2
        caught = float(np.mean(special.ndtr(c * s[:, None] - t * s[None, :])))
        low, high = (c, high) if caught < PLANNED else (low, c)
    return high
