"""From a stream of draws to the units x classes matrix: in chunks, in bounded time, and exactly.

Open-ended truth tables are grouped by DuckDB, a finite classifier's counts arrive dense from the device.
Shape letters: B units, D draws, W 64-bit words of a key, K classes.
"""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from volume.common import duck
from volume.estimators.direct.distinct import DistinctKeys
from volume.statistics.counts import Counts

# Rows grouped by one query: about a GB of working memory. Each query reads the whole table, so fewer are faster.
ROWS_PER_QUERY = 12_000_000


class Rows(NamedTuple):
    """What some units bring, in the order of the units: hits of keys, equal ones not added up."""

    keys: list[np.ndarray]  # one uint64 array [R] a word
    unit: np.ndarray  # [R]
    hits: np.ndarray  # [R] int32
    nonfinite: np.ndarray  # [B] of each unit


class _Units:
    """Which units are in, in the order in which they came, and their non-finite draws."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray] = []
        self._nonfinite: list[np.ndarray] = []
        self.count = 0

    def add(self, numbers: np.ndarray | None, nonfinite: np.ndarray) -> np.ndarray:
        """Take in units [B] (None: those that follow) with their non-finite draws [B]; gives back their numbers."""
        if numbers is None:
            numbers = np.arange(self.count, self.count + len(nonfinite))
        self._numbers.append(np.asarray(numbers, np.int64))
        self._nonfinite.append(np.asarray(nonfinite, np.int64))
        self.count += len(numbers)
        return numbers

    def ranked(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give each entry's place [R] among the units present, by number, and non-finite draws in that order [B]."""
        numbers, nonfinite = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (self._numbers, self._nonfinite))
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        if len(numbers) and (numbers[0] != 0 or numbers[-1] != len(numbers) - 1):  # some are missing
            unit = np.searchsorted(numbers, unit).astype(unit.dtype)
        return unit, nonfinite[order]


class TableAccumulator:
    """Collects the packed truth tables of whole units, in any order."""

    def __init__(self, num_words: int, unit_size: int, capacity: int, *, independent: bool, copies: int = 1):
        self._copies = copies
        self._names = [f"k{w}" for w in range(num_words)]
        self._unit_size, self._independent = unit_size, independent
        # One block of memory a column for all draws to come: it is taken up as it fills, and goes back whole. Freed
        # piece by piece, a gigabyte of small arrays stayed with the process.
        self._columns = [np.empty(capacity, np.uint64) for _ in self._names]
        self._unit = np.empty(capacity, np.int32)
        self._weight = np.empty(capacity, np.int32) if copies > 1 else None
        self._filled = 0
        self._units = _Units()
        self._distinct = DistinctKeys()

    def append(
        self,
        keys: list[np.ndarray],
        finite: np.ndarray,
        weight: np.ndarray | None = None,
        numbers: np.ndarray | None = None,
    ) -> Rows:
        """Add whole units: ``keys`` is one uint64 array [D] a word, ``finite`` [D] marks the draws that count.

        ``weight`` [D] int32: the hits that each draw brings, where draws can bring several (``copies``). ``numbers``
        [B]: of the units; by default those that follow the ones that are in.
        """
        units = len(finite) // self._unit_size
        lost = np.zeros(units, np.int64)
        all_finite = finite.all()
        if not all_finite:
            hits = (~finite).astype(np.int64)
            if weight is not None:
                hits, weight = hits * weight, weight[finite]
            lost = hits.reshape(units, self._unit_size).sum(axis=1)
        unit = np.repeat(self._units.add(numbers, lost).astype(np.int32), self._unit_size)
        if not all_finite:
            keys, unit = [word[finite] for word in keys], unit[finite]
        self._fill(keys, unit, weight)
        return Rows(keys, unit, np.broadcast_to(np.int32(1), unit.shape) if weight is None else weight, lost)

    def restore(
        self, keys: list[np.ndarray], unit: np.ndarray, hits: np.ndarray, numbers: np.ndarray, nonfinite: np.ndarray
    ) -> None:
        """Add units [B] that were counted before: ``hits`` [R] of the functions ``keys`` (one array [R] a word) in the
        units ``unit`` [R], and the non-finite draws of each unit [B]."""
        self._units.add(numbers, nonfinite)
        if self._weight is not None:
            self._fill(keys, unit, hits)
        else:  # each draw has a row of its own
            self._fill([np.repeat(word, hits) for word in keys], np.repeat(unit, hits), None)

    def _fill(self, keys: list[np.ndarray], unit: np.ndarray, weight: np.ndarray | None) -> None:
        rows = slice(self._filled, self._filled + len(unit))
        for column, word in zip([*self._columns, self._unit], [*keys, unit], strict=True):
            column[rows] = word
        if self._weight is not None and weight is not None:
            self._weight[rows] = weight
        self._filled = rows.stop
        self._distinct.add(keys)

    @property
    def num_units(self) -> int:
        return self._units.count

    def estimate_classes(self) -> int:
        """Estimate how many different functions were seen."""
        return self._distinct.estimate()

    def counts(self) -> Counts:
        weights = [] if self._weight is None else [self._weight]
        filled = [column[: self._filled] for column in (*self._columns, self._unit, *weights)]
        table = pa.table(filled, names=[*self._names, "unit", *["weight"] * len(weights)])
        keys, offsets, units, hits = [], [], [], []
        start = 0
        for low, high in _ranges(table):
            part_keys, part_offsets, part_units, part_hits = _records(table, self._names, low, high)
            keys.append(part_keys)
            offsets.append(part_offsets + start)
            units.append(part_units)
            hits.append(part_hits)
            start += len(part_hits)
        offsets.append(np.array([start]))
        unit, nonfinite = self._units.ranked(_joined(units))
        return Counts(
            keys=_joined(keys),
            offsets=_joined(offsets),
            unit=unit,
            hits=_joined(hits),
            num_units=self._units.count,
            unit_size=self._unit_size,
            independent=self._independent,
            nonfinite=nonfinite,
            copies=self._copies,
        )


class PassedTables(TableAccumulator):
    """The same for tables that go to disk: all that stays is about how many functions there are."""

    def __init__(self, num_words: int, unit_size: int, *, independent: bool, copies: int = 1):
        super().__init__(num_words, unit_size, 0, independent=independent, copies=copies)

    def _fill(self, keys: list[np.ndarray], unit: np.ndarray, weight: np.ndarray | None) -> None:
        self._distinct.add(keys)

    def counts(self) -> Counts:
        raise TypeError("These tables were passed on to parts on disk: read them there (volume.runs.table_store).")


class DenseAccumulator:
    """Collects hit counts of a finite classifier, unit by unit in any order."""

    def __init__(self, num_classes: int, unit_size: int, *, independent: bool, copies: int = 1):
        self._copies = copies
        self._num_classes, self._unit_size, self._independent = num_classes, unit_size, independent
        self._seen = np.zeros(num_classes, bool)
        self._cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._units = _Units()

    def append(self, matrix: np.ndarray, numbers: np.ndarray | None = None) -> Rows:
        """Add the hits of whole units, [B, K + 1], the last column those of non-finite networks; ``numbers`` [B] as in
        `TableAccumulator.append`."""
        unit, classes = np.nonzero(matrix[:, :-1])
        numbers = self._units.add(numbers, matrix[:, -1])
        unit, hits = numbers[unit], matrix[unit, classes]
        self._fill(classes, unit, hits)
        return Rows([classes.astype(np.uint64)], unit, hits, matrix[:, -1])

    def restore(
        self, classes: np.ndarray, unit: np.ndarray, hits: np.ndarray, numbers: np.ndarray, nonfinite: np.ndarray
    ) -> None:
        """Add units [B] that were counted before: ``hits`` [R] of ``classes`` [R] in the units ``unit`` [R]."""
        self._units.add(numbers, nonfinite)
        self._fill(classes, unit, hits)

    def _fill(self, classes: np.ndarray, unit: np.ndarray, hits: np.ndarray) -> None:
        self._cells.append((classes, unit, hits))
        self._seen[classes] = True

    @property
    def num_units(self) -> int:
        return self._units.count

    def estimate_classes(self) -> int:
        return int(self._seen.sum())

    def counts(self) -> Counts:
        classes, unit, hits = (np.concatenate(part) for part in zip(*self._cells, strict=True))
        unit, nonfinite = self._units.ranked(unit)
        return Counts.from_cells(
            classes,
            unit,
            hits,
            num_classes=self._num_classes,
            num_units=self._units.count,
            unit_size=self._unit_size,
            independent=self._independent,
            nonfinite=nonfinite,
            copies=self._copies,
        )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Join the parts in one array; the list is emptied, so that no more than one column is ever held twice."""
    column = parts[0] if len(parts) == 1 else np.concatenate(parts)
    parts.clear()
    return column


def _ranges(table: pa.Table) -> list[tuple[int | None, int | None]]:
    """Cut the first key word into ranges of about ROWS_PER_QUERY rows, by the quantiles of a sample."""
    pieces = max(1, -(-table.num_rows // ROWS_PER_QUERY))
    if pieces == 1:
        return [(None, None)]
    step = max(1, table.num_rows // 100_000)
    sample = np.sort(np.concatenate([chunk.to_numpy()[::step] for chunk in table.column("k0").chunks]))
    cuts = np.unique(sample[np.arange(1, pieces) * len(sample) // pieces]).tolist()
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def _records(
    table: pa.Table, names: list[str], low: int | None, high: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give keys [K, W], offsets [K], units [R] and hits [R] of the rows with low <= k0 < high, in key order."""
    where = [f"k0 >= {low}"] * (low is not None) + [f"k0 < {high}"] * (high is not None)
    columns = ", ".join([*names, "unit"])
    hits = "sum(weight)" if "weight" in table.column_names else "count(*)"
    query = f"SELECT {columns}, {hits}::INTEGER AS hits FROM draws {'WHERE ' + ' AND '.join(where) if where else ''} "
    # Nothing is spilled in ordinary runs; if memory runs out, not into the user's working folder.
    settings = {"threads": os.cpu_count() or 1, "temp_directory": os.path.join(tempfile.gettempdir(), "volume-duckdb")}
    with duck.connect(settings) as connection:
        connection.register("draws", table)
        rows = connection.sql(query + f"GROUP BY ALL ORDER BY {columns}").to_arrow_table()
    words = [rows.column(name).to_numpy() for name in names]
    unit, hits = rows.column("unit").to_numpy(), rows.column("hits").to_numpy()
    if not len(unit):
        return np.zeros((0, len(names)), np.uint64), np.zeros(0, np.int64), unit, hits
    new = np.zeros(len(unit), bool)
    new[0] = True
    for word in words:
        new[1:] |= word[1:] != word[:-1]
    first = np.flatnonzero(new)
    keys = np.empty((len(first), len(names)), np.uint64, order="F")  # column by column: it is written and searched so
    for w, word in enumerate(words):
        np.take(word, first, out=keys[:, w], mode="clip")  # "clip" writes straight into out
    return keys, first, unit, hits
