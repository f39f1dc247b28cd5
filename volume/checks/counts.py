"""Counted reports beside their baselines: exactly, or by a two-sample test of every class.

Exactly: one seed and one version of everything give the same hits, class by class. On another processor the only draws
that may differ are those within rounding of a tie, which every report counts.

By test: z of every class as in `volume.reports.counted_comparison` (the conditional test of two Poisson rates,
clustered hits by the variance between units). Beside the classes that the baseline lists: all the others together,
non-finite draws, the unseen mass, near ties, how training runs ended. Bonferroni's number counts each class with
MIN_COUNT hits in both together, also those that the baseline does not list: it lists the classes with most hits of
its own, and a class that is chosen by one side's luck is safe only when all that could have been chosen are paid for.

Smallest change caught. x effective hits in m effective draws vary like Poisson counts, so a volume that is g times
what it was gives the signed root R(g) of the deviance in expectation, with the standard deviation sd(g) that the delta
method gives. It is caught with probability PLANNED when R(g) >= z + q s, s^2 = sd^2 + (z t)^2 + (R t)^2: z the critical
value, q the normal quantile of PLANNED, and t = sqrt(2 / B + 1 / x) / 2 the relative error of a standard error that is
itself estimated from B units and x clusters (once in the test, once in this forecast; 0 for independent draws).

Shape letter: K classes tested.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from volume.checks.baseline_counts import OFTEN, CountedAnswer, counted, digest, facts_of, rest_of
from volume.checks.rows import PLANNED, TriedClass, critical
from volume.reports.counted import NONFINITE, VolumeReport
from volume.reports.counted_comparison import (
    MIN_COUNT,
    effective_hits,
    enough_clusters,
    layout,
    look_up,
    signed_root,
    z_scores,
)
from volume.reports.counted_entries import tally_nonfinite, tally_of
from volume.statistics.counts import Counts, Tally

REST = "all classes not listed"
UNSEEN = "unseen mass"
NOT_LISTED = " (not listed in the baseline)"
ELSEWHERE = "hits in other units or other classes not listed (0: as before)"
FARTHEST = 25.0  # nats: a class that fell so far is gone
_HALVINGS = 26  # 1e-6 nats


class Difference(NamedTuple):
    """A whole number that is not what the baseline says."""

    label: str
    before: int
    after: int


@dataclass(frozen=True)
class Differences:
    """All that differs between a baseline and a report of the same seed."""

    classes: tuple[Difference, ...]  # largest first
    moved: int | None  # hits that are elsewhere now; None where classes are not all listed
    near_ties: int  # draws that rounding may decide, the larger of both

    def __bool__(self) -> bool:
        return bool(self.classes)

    @property
    def by_rounding(self) -> bool:
        """Whether draws near a tie can explain everything."""
        return self.moved is not None and self.moved <= self.near_ties


def exact_differences(base: CountedAnswer, report: VolumeReport) -> Differences:
    """Return what differs in whole numbers; the report is meant to be of the baseline's seed.

    ValueError as :func:`keys_of`.
    """
    report = counted(report)
    counts, classes = report.counts, []
    near = [facts.get("near ties", 0) for facts in (base.facts, facts_of(report))]
    draws = base.counts.num_draws, counts.num_draws
    if digest(counts) != base.sha256:
        rows = look_up(counts, keys_of(base, report))
        hits = tally_of(counts, rows).count.tolist()
        pairs = list(zip(base.labels, base.tally.count.tolist(), hits, strict=True))
        if base.listed_all:
            others = np.setdiff1d(np.arange(counts.num_classes), rows)
            names = report.bound.labels(counts.keys[others]) if len(others) else []
            pairs += [(name, 0, int(count)) for name, count in zip(names, tally_of(counts, others).count, strict=True)]
        else:
            pairs.append((REST, int(base.rest.count[0]), int(rest_of(counts, rows[rows >= 0]).count[0])))
        pairs.append((NONFINITE, int(base.nonfinite.count[0]), report.num_nonfinite))
        classes = [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
        if draws[0] != draws[1]:
            classes.append(Difference("draws", *draws))
        elif not classes:  # sums say nothing of which units, or which unlisted classes, were hit
            classes = [Difference(ELSEWHERE, 0, 1)]
    moved = sum(abs(one.after - one.before) for one in classes)
    facts = facts_of(report)
    totals = [Difference(name, base.facts.get(name, 0), facts.get(name, 0)) for name in {**base.facts, **facts}]
    return Differences(
        classes=tuple(sorted(classes, key=lambda one: -abs(one.after - one.before)))
        + tuple(one for one in totals if one.before != one.after),
        # A draw that goes from one class to another is missed by one and gained by the other.
        moved=-(-moved // (2 * counts.copies)) if base.listed_all and draws[0] == draws[1] else None,
        near_ties=max(near),
    )


def keys_of(base: CountedAnswer, report: VolumeReport) -> np.ndarray:
    """Return keys [K, W] of the classes that the baseline lists. ValueError for one that the report cannot have."""
    words = report.counts.keys.shape[1]
    try:
        return np.array([report.bound.key(label) for label in base.labels], np.uint64).reshape(-1, words)
    except KeyError as error:
        raise ValueError(f"The baseline has a class that there can be no more: {error.args[0]}") from None


def two_sample(base: CountedAnswer, report: VolumeReport, alpha: float) -> tuple[list[TriedClass], int]:
    """Every class that can be tested, and Bonferroni's number; ``alpha`` is the family-wise false-alarm rate.

    Raises:
        ValueError: nothing can be tested, or a class that the report cannot have.
    """
    report = counted(report)
    alike = layout(base) == layout(report)
    classes = _classes(base, report)
    hidden = 0
    if not base.listed_all:
        hits, rows = report.counts.tally().count, look_up(report.counts, keys_of(base, report))
        often = (hits >= OFTEN) & (hits < MIN_COUNT)  # those with more are tested
        often[rows[rows >= 0]] = False
        hidden = base.often - int((base.tally.count >= OFTEN).sum()) + int(often.sum())
    groups = [_testable(each, base, report, alike=alike) for each in (classes, _others(base, report, alike=alike))]
    number = sum(len(group.labels) for group in groups) + hidden
    if not groups[0].labels:
        raise ValueError(
            f"Nothing can be tested: no class has {MIN_COUNT} hits in both together, from enough independent units to "
            "know how hits cluster. Draw more, use smaller units, or a coarser classifier."
        )
    least = critical(alpha, number)
    return [row for group in groups for row in _rows(group, base, report, least, alike=alike)], number


class _Group(NamedTuple):
    """Classes to be tested, in the same draws."""

    labels: list[str]
    before: Tally  # [K]
    after: Tally  # [K]
    at_most: np.ndarray  # [K] bool: the hits before are the most that there can have been
    independent: bool  # whether what is counted is as independent as the draws


def _classes(base: CountedAnswer, report: VolumeReport) -> _Group:
    counts = report.counts
    rows = look_up(counts, keys_of(base, report))
    others = np.setdiff1d(np.arange(counts.num_classes), rows)
    new = others[counts.tally().count[others] >= MIN_COUNT] if len(others) else others
    before, after = [base.tally], [tally_of(counts, rows), tally_of(counts, new)]
    labels = [*base.labels, *(report.bound.labels(counts.keys[new]) if len(new) else [])]
    if base.listed_all:
        before.append(Tally(*(np.zeros(len(new), np.int64) for _ in Tally._fields)))
    else:
        # At most as many hits as the last class listed, as clustered as they are now.
        count = np.minimum(int(base.tally.count.min()), after[1].count)
        units = base.layout["num_units"]
        square = after[1].square * (count / np.maximum(after[1].count, 1)) + count * (count / units)
        before.append(Tally(count, square, after[1].largest, np.zeros(len(new), np.int64)))
        labels = [label if at < len(base.labels) else label + NOT_LISTED for at, label in enumerate(labels)]
        labels.append(REST)
        before.append(base.rest)
        after.append(rest_of(counts, rows[rows >= 0]))
    labels.append(NONFINITE)
    before.append(base.nonfinite)
    after.append(tally_nonfinite(counts))
    if base.counts.independent and counts.independent:  # draws are near a tie, or end, independently too
        facts = facts_of(report)
        for name in _shared(base, facts):
            labels.append(name)
            before.append(_clustered(base.facts[name], 0, base.counts))
            after.append(_clustered(facts[name], 0, counts))
    at_most = np.zeros(len(labels), bool)
    if not base.listed_all:
        at_most[len(base.labels) : len(base.labels) + len(new)] = True
    return _Group(labels, _joined(before), _joined(after), at_most, True)


def _others(base: CountedAnswer, report: VolumeReport, *, alike: bool) -> _Group:
    """What else is counted in the same number of draws: the unseen mass, and near ties as clustered as they may be."""
    counts, facts = report.counts, facts_of(report)
    names = [] if base.counts.independent and counts.independent else _shared(base, facts)
    before = [_clustered(base.facts[name], 0, base.counts, base.largest_cluster) for name in names]
    after = [_clustered(facts[name], 0, counts, report.largest_cluster) for name in names]
    if alike and base.counts.num_units == counts.num_units:  # else there was more, or less, time to see classes
        unseen = report.unseen_estimate
        names.append(UNSEEN)
        before.append(_clustered(base.alone, base.alone_variance, base.counts))
        after.append(_clustered(unseen.alone, (unseen.standard_error * unseen.draws) ** 2, counts))
    size = np.zeros(len(names), bool)
    return _Group(names, _joined(before), _joined(after), size, False)


def _shared(base: CountedAnswer, facts: dict[str, int]) -> list[str]:
    """Facts that count draws, of both sides."""
    return [name for name in base.facts if name in facts and name != "updates"]


def _clustered(count: int, variance: float, counts: Counts, cluster: float = 0.0) -> Tally:
    """A tally [1] of this variance, at least ``cluster`` for each hit: what is known of a total without its units."""
    units = max(counts.num_units, 2)
    square = max(variance, cluster * count) * ((units - 1) / units) + count * (count / units)
    return Tally(*(np.array([value]) for value in (count, square, max(cluster, 1.0), count / max(cluster, 1.0))))


def _joined(tallies: list[Tally]) -> Tally:
    if not tallies:
        return Tally(*(np.zeros(0) for _ in Tally._fields))
    return Tally(*(np.concatenate(columns) for columns in zip(*tallies, strict=True)))


def _testable(group: _Group, base: CountedAnswer, report: VolumeReport, *, alike: bool) -> _Group:
    enough = group.before.count + group.after.count >= MIN_COUNT
    if group.independent:
        enough &= enough_clusters(group.before, base, group.after, report, alike=alike)
    elif not report.counts.independent:
        enough &= group.before.units + group.after.units >= MIN_COUNT
    kept = np.flatnonzero(enough)
    before, after = (Tally(*(column[kept] for column in tally)) for tally in (group.before, group.after))
    return _Group([group.labels[i] for i in kept], before, after, group.at_most[kept], group.independent)


def _rows(group: _Group, base: CountedAnswer, report: VolumeReport, least: float, *, alike: bool) -> list[TriedClass]:
    if not group.labels:
        return []
    first, second = base.counts, report.counts
    if not group.independent:  # their variance is in the tally
        first, second = replace(first, independent=False), replace(second, independent=False)
    z = z_scores(group.before, first, group.after, second, alike=alike)
    z = np.where(group.at_most & (z > 0), 0.0, z)
    x, m = effective_hits(group.before, first, group.after, second, alike=alike)
    units = 0 if base.counts.independent and report.counts.independent else first.num_units + second.num_units
    up, down = smallest_factors(x, m, least, units)
    with np.errstate(divide="ignore"):
        logs = [
            np.log(tally.count / counts.num_possible) + report.log_shift
            for tally, counts in ((group.before, first), (group.after, second))
        ]
    bounded = group.at_most
    up, down = np.where(bounded, np.nan, up), np.where(bounded, np.nan, down)
    columns = (*logs, group.before.count.astype(int), group.after.count.astype(int), z, up, down)
    return [TriedClass(*row) for row in zip(group.labels, *(column.tolist() for column in columns), strict=True)]


def smallest_factors(x: np.ndarray, m: np.ndarray, least: float, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors nearest 1, above and below, [K] each, by which a volume must change to be caught; nan: by
    none.

    ``x``, ``m`` [2, K]: effective hits and draws; ``least``: the critical |z|; ``units``: independent units behind the
    variances of both, 0 where these are known.
    """
    rate = x.sum(axis=0) / m.sum(axis=0)
    f = m[0] / m.sum(axis=0)
    error = np.zeros(len(rate)) if not units else np.sqrt(2 / units + 1 / np.maximum(x.sum(axis=0), 1)) / 2
    q = float(special.ndtri(PLANNED))

    def short(log_factor: np.ndarray) -> np.ndarray:
        """Say whether a change by exp(log_factor) [2, K] would be missed too often."""
        before, after = np.broadcast_to((m * rate)[0], log_factor.shape), (m * rate)[1] * np.exp(log_factor)
        expected = np.stack([before, after])
        root = np.abs(signed_root(expected, f))
        even = expected.sum(axis=0) * np.stack([f, 1 - f])[:, None]
        slope = np.log(np.maximum(expected, 1e-300) / even) / np.maximum(root, 1e-9)
        sd = np.sqrt((expected * slope**2).sum(axis=0)).clip(0, 2)
        return root < least + q * np.sqrt(sd**2 + (least * error) ** 2 + (root * error) ** 2)

    with np.errstate(divide="ignore"):
        high = np.stack([-np.log(rate), np.full(len(rate), -FARTHEST)])
    low, never = np.zeros_like(high), short(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        missed = short(middle)
        low, high = np.where(missed, middle, low), np.where(missed, high, middle)
    factors = np.where(never, np.nan, np.exp(high))
    return factors[0], factors[1]
