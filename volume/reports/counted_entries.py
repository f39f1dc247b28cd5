"""The volume of one class, and of many at once as columns.

A report may hold ten million classes, so they are columns of numbers until somebody looks at one of them.

Shape letters: K classes listed, W words of a key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from volume.common.logs import LN10, finite, linear, volume_text
from volume.reports.entries import ClassEstimate
from volume.statistics.counts import Counts, Tally, Units
from volume.statistics.intervals import design_effect, interval, largest_share
from volume.statistics.ratios import share_limits

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class ClassVolume(ClassEstimate):
    """The prior mass of one class of functions from counted draws; its ``log_volume`` is log(count / num_draws).

    Where every parameterisation was counted (``complete``) the draws are these, and both ends of the interval are the
    volume itself. Where each network is counted once (``quotient``) a draw of a finite prior brings several hits of |G|
    possible ones, a complete count is one of orbits, and a continuous prior's log volume is that of the mass less
    log |G|.
    """

    count: int  # draws in this class
    num_draws: int  # draws that estimate it: all of them, or those that had no part in choosing it
    units_hit: int  # independent units with at least one hit
    largest_unit_share: float  # share of the hits that the luckiest unit has; nan when there are none
    design_effect: float  # variance of the count over the variance of as many iid draws; nan when it cannot be told
    complete: bool = False  # every parameterisation was counted
    log_share: float = math.nan  # log of its volume over that of all classes together; its interval
    log_share_low: float = math.nan
    log_share_high: float = math.nan
    quotient: bool = False  # each network is counted once (volume.queries.quotient)

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "count": self.count,
            "num_draws": self.num_draws,
            "units_hit": self.units_hit,
            "largest_unit_share": finite(self.largest_unit_share),
            "design_effect": finite(self.design_effect),
            "complete": self.complete,
            "log_share": finite(self.log_share),
            "log_share_low": finite(self.log_share_low),
            "log_share_high": finite(self.log_share_high),
            "share": linear(self.log_share),
            "quotient": self.quotient,
        }

    def sentence(self) -> str:
        if self.complete:
            of = "networks, each counted once, over all" if self.quotient else "of"
            return (
                f"{self.label}: volume {volume_text(self.log_volume)}, exactly {self.count:,} {of} {self.num_draws:,} "
                "parameterisations"
            )
        once = f"; each network counted once, share {volume_text(self.log_share)}" if self.quotient else ""
        return f"{super().sentence()}, {self.count:,} hits in {self.num_draws:,} draws{once}"


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Many classes, column by column: a sequence of :class:`ClassVolume`, of which a slice is a shorter table."""

    keys: np.ndarray  # [K, W] uint64, as in Counts
    log_volume: np.ndarray  # [K] float64, and likewise below
    log_low: np.ndarray
    log_high: np.ndarray
    count: np.ndarray  # [K] int64
    units_hit: np.ndarray  # [K] int64
    largest_unit_share: np.ndarray
    design_effect: np.ndarray
    log_share: np.ndarray
    log_share_low: np.ndarray
    log_share_high: np.ndarray
    level: float
    num_draws: int
    name: Callable[[np.ndarray], list[str]]  # labels of keys [K', W]
    complete: bool = False
    quotient: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> ClassVolume: ...
    @overload
    def __getitem__(self, index: slice) -> ClassTable: ...
    def __getitem__(self, index: int | slice) -> ClassVolume | ClassTable:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"Class {index} was asked for, but this table lists {len(self)}.")
        row = index % len(self)
        return self._record(row, self.name(self.keys[row : row + 1])[0])

    def __iter__(self) -> Iterator[ClassVolume]:
        for start in range(0, len(self), 10_000):
            labels = self.name(self.keys[start : start + 10_000])
            for row, label in enumerate(labels, start):
                yield self._record(row, label)

    def labels(self) -> list[str]:
        return self.name(self.keys)

    def take(self, rows: np.ndarray) -> ClassTable:
        """The classes at these positions [K'], in that order."""
        return ClassTable(
            **{column: getattr(self, column)[rows] for column in ("keys", *COLUMNS)},
            level=self.level,
            num_draws=self.num_draws,
            name=self.name,
            complete=self.complete,
            quotient=self.quotient,
        )

    def by_volume(self) -> ClassTable:
        """Sorted by falling estimated volume; equal ones by key, which is the order of labels for truth tables."""
        # Stable from the last word of the key to the first, then by count: `lexsort` reads its keys from the last one.
        return self.take(np.lexsort([*self.keys.T[::-1], -self.count]))

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row a class; infinite logarithms stay infinite. Raises ImportError where pandas is not
        installed."""
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "to_pandas needs pandas, which is not installed: pip install pandas, or use to_dict()."
            ) from None
        columns = {column: getattr(self, column) for column in COLUMNS}
        columns["log10_volume"] = self.log_volume / LN10
        columns["volume"] = np.exp(self.log_volume)
        columns["low"], columns["high"] = np.exp(self.log_low), np.exp(self.log_high)
        frame = pandas.DataFrame({"label": self.labels(), **columns})
        return frame.assign(level=self.level, num_draws=self.num_draws)

    def _record(self, row: int, label: str) -> ClassVolume:
        return ClassVolume(
            label=label,
            level=self.level,
            num_draws=self.num_draws,
            complete=self.complete,
            quotient=self.quotient,
            **{column: getattr(self, column)[row].item() for column in COLUMNS},
        )


COLUMNS = (
    "log_volume",
    "log_low",
    "log_high",
    "count",
    "units_hit",
    "largest_unit_share",
    "design_effect",
    "log_share",
    "log_share_low",
    "log_share_high",
)


def estimate(
    counts: Counts,
    keys: np.ndarray,
    rows: np.ndarray,
    *,
    name: Callable[[np.ndarray], list[str]],
    level: float,
    simultaneous: int = 1,
    cluster: float | None = None,
    start: int = 0,
    shift: float = 0.0,
    undecided: bool = False,
    quotient: bool = False,
) -> ClassTable:
    """Return the classes of these keys [K, W], which stand at ``rows`` [K] in ``counts`` (-1: never drawn), from units
    ``start`` on.

    ``simultaneous`` and ``cluster`` as in :func:`volume.statistics.intervals.interval`; ``undecided`` as in
    `estimate_tally`; ``shift`` is added to every log
    volume, and ``quotient`` says that each network is counted once.
    """
    shares = None
    if not counts.even:
        each = 1 - (1 - level) / simultaneous
        shares = share_limits(counts, rows, each, start=start, cluster=counts.unit_size if cluster is None else cluster)
    units = counts.num_units - start
    tally = tally_of(counts, rows, start)
    shifted = {"shift": shift, "quotient": quotient}
    return estimate_tally(
        tally, counts, keys, name, level, simultaneous, cluster, units, shares=shares, undecided=undecided, **shifted
    )


def estimate_tally(
    tally: Tally,
    counts: Units,
    keys: np.ndarray,
    name: Callable[[np.ndarray], list[str]],
    level: float,
    simultaneous: int = 1,
    cluster: float | None = None,
    num_units: int | None = None,
    *,
    shift: float = 0.0,
    quotient: bool = False,
    shares: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    undecided: bool = False,
) -> ClassTable:
    """Return the same from the column sums themselves; ``num_units`` of the run's units are behind them (default: all).

    ``shares``: log shares with their limits; None: the volumes, as of counts that are ``even``. ``undecided``: draws
    that are in no class may belong to any, and upper limits are those of classes that have all of them.
    """
    units = counts.num_units if num_units is None else num_units
    logs = interval(
        tally,
        units,
        counts.unit_size,
        independent=counts.independent,
        level=level,
        simultaneous=simultaneous,
        cluster=cluster,
        complete=counts.complete,
        copies=counts.copies,
    )
    if undecided:
        most = interval(
            _with(tally, tally_nonfinite(counts, counts.num_units - units)),
            units,
            counts.unit_size,
            independent=counts.independent,
            level=level,
            simultaneous=simultaneous,
            cluster=cluster,
            copies=counts.copies,
        )
        logs = shares = (*logs[:2], most[2])  # such a network has some class: shares of all classes are volumes
    unknown = np.full(len(tally.count), np.nan)
    if counts.independent:  # an estimate of 1 from a few stored units would only add noise
        effect = np.where(tally.count > 0, 1.0, np.nan)
    elif counts.complete or counts.copies > 1:  # nothing varies; no iid draws bring as many hits
        effect = unknown
    else:
        effect = design_effect(tally, units, counts.unit_size)
    share, share_low, share_high = logs if shares is None else shares
    log_volume, log_low, log_high = (values + shift for values in logs)
    return ClassTable(
        keys=keys,
        log_volume=log_volume,
        log_low=log_low,
        log_high=log_high,
        count=tally.count,
        units_hit=tally.units,
        largest_unit_share=unknown if counts.complete else largest_share(tally),
        design_effect=effect,
        log_share=share,
        log_share_low=share_low,
        log_share_high=share_high,
        level=1 - (1 - level) / simultaneous,
        num_draws=units * counts.unit_size,
        name=name,
        complete=counts.complete,
        quotient=quotient,
    )


def tally_of(counts: Counts, rows: np.ndarray, start: int = 0) -> Tally:
    """Column sums of the classes at ``rows`` [K] over the units from ``start`` on; zeros where a row is -1."""
    rows = np.asarray(rows, np.int64)
    seen = np.flatnonzero(rows >= 0)
    first, size = counts.offsets[rows[seen]], np.diff(counts.offsets)[rows[seen]]
    offsets = np.r_[0, np.cumsum(size)]
    # Only the chosen columns' records are read, wherever they stand.
    record = np.repeat(first - offsets[:-1], size) + np.arange(offsets[-1])
    chosen = replace(
        counts, keys=counts.keys[rows[seen]], offsets=offsets, unit=counts.unit[record], hits=counts.hits[record]
    )
    columns = []
    for sums in chosen.tally(start):
        column = np.zeros(len(rows), np.int64)
        column[seen] = sums
        columns.append(column)
    return Tally(*columns)


def _with(tally: Tally, one: Tally) -> Tally:
    """Column sums of classes that have the hits of ``one`` [1] too; of squares and of units met an upper bound."""
    square = tally.square + 2 * np.ceil(np.sqrt(tally.square * one.square.astype(float))).astype(np.int64) + one.square
    return Tally(tally.count + one.count, square, tally.largest + one.largest, tally.units + one.units)


def tally_nonfinite(counts: Units, start: int = 0) -> Tally:
    """Column sums of the draws in no class, as one class [1], over the units from ``start`` on."""
    hits = np.asarray(counts.nonfinite, np.int64)[start:]
    square = 0 if counts.complete else (hits * hits).sum()
    sums = (hits.sum(), square, hits.max(initial=0), (hits > 0).sum())
    return Tally(*(np.array([value], np.int64) for value in sums))
