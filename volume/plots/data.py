"""The numbers behind the figures of volume.plots: plain NumPy, from a report.

Shape letters: K classes seen, P points drawn, N inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from volume.classifiers.base import Classifier
from volume.classifiers.ones import Ones
from volume.common.logs import LN10
from volume.functions import lempel_ziv, tables
from volume.functions.domains import BooleanCube, Domain
from volume.statistics.counts import Counts, Tally
from volume.statistics.intervals import interval

# Below this many hits a class's place in the order of counts says little about its place in the order of volumes. Where
# volumes fall as 1/rank, c hits or more are scored by c/(c - 1) times as many classes as have a volume of c/draws
# or more (sum over k >= c of 1/(k (k - 1)) is 1/(c - 1)): 11 % too many at 10 hits, twice as many at 2.
RELIABLE_HITS = 10


class LogVolume(Protocol):
    """A volume with its interval; natural logarithms."""

    @property
    def log_volume(self) -> float: ...
    @property
    def log_low(self) -> float: ...
    @property
    def log_high(self) -> float: ...


class Entry(LogVolume, Protocol):
    """What a figure reads of a class (`volume.ClassEstimate`)."""

    @property
    def level(self) -> float: ...
    @property
    def limits(self) -> tuple[float, float]: ...


class Counted(Protocol):
    """What figures read of a counted report (`volume.VolumeReport`)."""

    @property
    def counts(self) -> Counts: ...
    @property
    def classifier(self) -> Classifier: ...
    @property
    def domain(self) -> Domain: ...
    @property
    def num_outputs(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def level(self) -> float: ...
    @property
    def log_shift(self) -> float: ...
    def volumes(self, count: np.ndarray | float) -> np.ndarray: ...
    def classes(self) -> ClassColumns: ...
    def group_by(self, classifier: Classifier) -> Counted: ...


class ClassColumns(Protocol):
    """Classes as columns [K]."""

    @property
    def keys(self) -> np.ndarray: ...  # [K, 1] class numbers
    @property
    def count(self) -> np.ndarray: ...
    @property
    def log_low(self) -> np.ndarray: ...
    @property
    def log_high(self) -> np.ndarray: ...


def of_tables(report: Counted) -> bool:
    """Say whether every truth table is a class of its own."""
    return report.classifier.single_functions


def thin(size: int, dense: int = 50, per_decade: int = 60) -> np.ndarray:
    """Return indices [P] of a few hundred of ``size`` ranks: the first ``dense`` all, the others evenly in log rank."""
    if size <= dense:
        return np.arange(size)
    decades = math.log10(size / dense)
    spaced = np.geomspace(dense, size, max(2, math.ceil(per_decade * decades)) + 1)
    return np.unique(np.r_[np.arange(dense), np.rint(spaced).astype(np.int64) - 1])


class RankData(NamedTuple):
    """Classes by falling count, thinned."""

    rank: np.ndarray  # [P] 1 is the largest class
    volume: np.ndarray  # [P] hits over draws
    low: np.ndarray  # [P] pointwise interval of the class at that rank; NaN below RELIABLE_HITS hits
    high: np.ndarray  # [P]
    num_classes: int  # K
    num_reliable: int  # classes with RELIABLE_HITS hits or more (all, when counts are complete); they come first


def rank_data(report: Counted) -> RankData:
    """Return the curve of :func:`volume.plots.rank`. Intervals are pointwise, for the class at that rank by its
    count."""
    kept = thin(report.num_classes)
    if isinstance(report.counts, Counts):
        tally = report.counts.tally()
        order = np.argsort(-tally.count, kind="stable")
        num_reliable = len(order) if report.complete else int(np.count_nonzero(tally.count >= RELIABLE_HITS))
        shown = Tally(*(column[order[kept]] for column in tally))
    else:  # on disk (volume.runs.table_store)
        shown, num_reliable = cast(Any, report.counts).ranked(kept, RELIABLE_HITS)
    _, low, high = interval(
        shown,
        report.counts.num_units,
        report.counts.unit_size,
        independent=report.counts.independent,
        level=report.level,
        complete=report.complete,
        copies=report.counts.copies,
    )
    reliable = kept < num_reliable
    return RankData(
        rank=kept + 1,
        volume=report.volumes(shown.count),
        low=np.where(reliable, np.exp(low + report.log_shift), np.nan),
        high=np.where(reliable, np.exp(high + report.log_shift), np.nan),
        num_classes=report.num_classes,
        num_reliable=num_reliable,
    )


class VolumeData(NamedTuple):
    """Volumes of named classes [K] as decimal logarithms."""

    volume: np.ndarray  # -inf: nothing of the class was found
    low: np.ndarray  # -inf: no lower limit
    high: np.ndarray  # inf: no upper limit; -inf: the class is known to be empty


def volume_data(entries: Sequence[Entry]) -> VolumeData:
    """Return the points of :func:`volume.plots.volumes`, in the order of ``entries``."""
    columns = np.array([(entry.log_volume, *entry.limits) for entry in entries]).reshape(-1, 3).T / LN10
    return VolumeData(*columns)


class ComplexityData(NamedTuple):
    """A sample of the classes seen, stratum by stratum (most hits first)."""

    complexity: np.ndarray  # [P] bits
    count: np.ndarray  # [P] hits
    ones: np.ndarray  # [P] inputs in class 1
    weight: np.ndarray  # [P] classes that one point stands for; constant within a stratum
    strata: tuple[tuple[str, int, int], ...]  # name, classes in it, points drawn
    median: np.ndarray  # [M, 2] per bin of hits: median hits, weighted median complexity


def complexity_data(
    report: Counted, *, singletons: int = 1500, max_points: int = 150_000, seed: int = 0
) -> ComplexityData:
    """Return the points of :func:`volume.plots.complexity`: every class, or a random sample of the classes with as few
    hits.

    Args:
        report: of the truth tables of one output.
        singletons: points drawn for classes seen once.
        max_points: most points drawn for each other stratum.
        seed: of the sample alone; it has no part in the volumes.
    """
    if not of_tables(report) or report.num_outputs != 1:
        raise ValueError(
            "Complexity is drawn for the truth tables of one output; this report's classes are those of "
            f"{report.classifier!r} with {report.num_outputs} output(s)."
        )
    num_inputs = report.domain.num_inputs
    counts = report.counts
    count = counts.tally().count
    generator = np.random.default_rng(seed)
    many = RELIABLE_HITS
    chosen, weight, strata = [], [], []
    for name, inside, most in (
        (f"{many} hits or more", count >= many, max_points),
        (f"2 to {many - 1} hits", (count > 1) & (count < many), max_points),
        ("1 hit", count == 1, singletons),
    ):
        members = np.flatnonzero(inside)
        picked = members if len(members) <= most else np.sort(generator.choice(members, most, replace=False))
        if len(picked):
            chosen.append(picked)
            weight.append(np.full(len(picked), len(members) / len(picked)))
            strata.append((name, len(members), len(picked)))
    index = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    keys = counts.keys[index]
    bits = lempel_ziv.complexity(keys, num_inputs)
    ones = tables.unpack(keys, num_inputs, 1).sum(axis=1, dtype=np.int64)
    weights = np.concatenate(weight) if weight else np.zeros(0)
    return ComplexityData(bits, count[index], ones, weights, tuple(strata), _medians(bits, count[index], weights))


def _medians(bits: np.ndarray, count: np.ndarray, weight: np.ndarray, per_decade: int = 3) -> np.ndarray:
    """Weighted median complexity of classes with similar hits, [M, 2]; bins of fewer than 10 points are left out."""
    if not len(bits):
        return np.zeros((0, 2))
    cell = np.rint(per_decade * np.log10(count)).astype(int)  # classes seen once stand alone in cell 0
    rows = []
    for value in np.unique(cell):
        inside = cell == value
        if inside.sum() < 10:
            continue
        order = np.argsort(bits[inside], kind="stable")
        cumulative = np.cumsum(weight[inside][order])
        middle = order[np.searchsorted(cumulative, cumulative[-1] / 2)]
        rows.append((np.median(count[inside]), bits[inside][middle]))
    return np.array(rows).reshape(-1, 2)


class BalanceData(NamedTuple):
    """Volume of {functions with t inputs in class 1}."""

    ones: np.ndarray  # [N + 1] t = 0..N
    volume: np.ndarray  # [N + 1] hits over draws; 0 where none was drawn
    low: np.ndarray  # [N + 1]
    high: np.ndarray  # [N + 1]
    perceptron: float | None  # 2^-n for t < 2^n, when the inputs are {0,1}^n


def balance_data(report: Counted) -> BalanceData:
    """Return the curve of :func:`volume.plots.balance`."""
    if report.num_outputs != 1:
        raise ValueError(f"Class balance is that of one output; this report's network has {report.num_outputs}.")
    domain, size = report.domain, report.domain.num_inputs
    grouped = report if isinstance(report.classifier, Ones) else report.group_by(Ones())
    table = grouped.classes()  # all of them, seen or not
    order = np.argsort(table.keys[:, 0])
    theorem = isinstance(domain, BooleanCube) and domain.coding == (0.0, 1.0)
    return BalanceData(
        ones=np.arange(size + 1),
        volume=report.volumes(table.count[order]),
        low=np.exp(table.log_low[order]),
        high=np.exp(table.log_high[order]),
        perceptron=1 / size if theorem else None,
    )
