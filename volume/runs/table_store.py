"""What a report asks of counts of truth tables that memory cannot hold.

All that it asks of the whole is added up from the ranges of keys once (table_merge.py), by the code that answers from
memory, and then asked of the class tables that this leaves. A few classes asked for by name are looked up.

Shape letters: B independent units, K classes, R rows (cells hit), W 64-bit words of a key, P ranks.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pyarrow as pa

from volume.common.paths import duckdb_name
from volume.runs.columns import key_words
from volume.runs.parquet_files import READ, parquet_file
from volume.runs.table_cells import TableCells, table_of, words_of
from volume.runs.table_merge import Merged, merge
from volume.statistics.counts import Counts, Tally, changes, positions

if TYPE_CHECKING:
    from volume.classifiers.base import BoundClassifier

BYTES_PER_CELL = 60  # of a coarser classifier's counts: class, unit and hits, and the sorting of them
MAX_LISTED = 10**6  # classes that are listed all together
COLUMNS = ("count", "square", "largest", "units")  # of a class table, as in Tally


class TableStore(TableCells):
    """The counts of a run's truth tables where they lie: what a report asks of `Counts`, in bounded memory."""

    # --- what a report asks ---

    @cached_property
    def merged(self) -> Merged:
        """What was added up over all classes, from disk where an earlier call left it."""
        return merge(self)

    @property
    def num_classes(self) -> int:
        return self.merged.num_classes

    @cached_property
    def within(self) -> np.ndarray:
        """Hits of all classes in each unit [B]."""
        return self.unit_size - self.nonfinite if self.copies == 1 else self.merged.within

    def leaders(self, k: int) -> tuple[np.ndarray, int]:
        """List keys [K, W] of at most ``k`` classes by falling count in the first tenth of the units, and the first
        unit that had no part in the choice: 0 where nothing was hit there or can be spared, and all units choose.
        """
        start = self.pilot_units if self.merged.pilot_hits else 0
        column = "pilot" if start else "count"
        chosen = [self._listed(f"{column} > 1 ORDER BY {column} DESC, function LIMIT {k}", "function")["function"]]
        left = k - len(chosen[0])
        if left:  # classes hit once are in no class table, and they come in the order of their keys
            for counts in self.ranges():
                some = counts.keys[counts.tally(0, start or None).count == 1][:left]
                chosen.append(some)
                left -= len(some)
                if not left:
                    break
        return np.concatenate(chosen), start

    def often(self, least: int) -> np.ndarray:
        """List keys [K, W] of the classes with ``least`` hits or more, at least 2."""
        if least < 2:
            self._refuse("every class that was hit")
        return self._listed(f"count >= {least} ORDER BY function", "function")["function"]

    def tallies(self, keys: np.ndarray, start: int = 0) -> Tally:
        """Add up the columns of the classes with these keys [K, W], zeros for those never drawn; ``start`` is 0 or
        ``pilot_units``, the first unit that counts.

        Classes in no class table were hit once or not at all, which the parts tell.
        """
        columns = [np.zeros(len(keys), np.int64) for _ in COLUMNS]
        if start:
            wanted = ["count - pilot AS count", *(f"rest_{name} AS {name}" for name in COLUMNS[1:])]
        else:
            wanted = list(COLUMNS)
        rows = self._listed(
            "function IN (SELECT function FROM wanted) ORDER BY function", "function", *wanted, wanted=keys
        )
        at = positions(rows["function"], keys)
        for column, name in zip(columns, COLUMNS, strict=True):
            column[at >= 0] = rows[name][at[at >= 0]]
        missing = np.flatnonzero(at < 0)
        if len(missing) and self.merged.once:
            rest = self.take(keys[missing])
            at = positions(rest.keys, keys[missing])
            for column, sums in zip(columns, rest.tally(start), strict=True):
                column[missing[at >= 0]] = sums[at[at >= 0]]
        return Tally(*columns)

    def ranked(self, ranks: np.ndarray, least: int) -> tuple[Tally, int]:
        """Add up the columns of the classes at these ranks [P] from 0, ascending, by falling count (ties by key), and
        the number of classes with ``least`` hits or more, at least 2."""
        sums = [np.ones(len(ranks), np.int64) for _ in COLUMNS]  # what is in no class table was hit once
        inside = ranks[ranks < self.num_classes - self.merged.once]
        if not len(inside):
            return Tally(*sums), 0
        place = "row_number() OVER (ORDER BY count DESC, function) - 1 AS place"
        listed = ", ".join(map(str, inside.tolist()))
        rows = self._listed(f"true QUALIFY place IN ({listed}) ORDER BY place", *COLUMNS, place)
        for column, name in zip(sums, COLUMNS, strict=True):
            column[: len(inside)] = rows[name]
        often = self._listed(f"count >= {least}", "count(*)::BIGINT AS number")
        return Tally(*sums), int(often["number"][0])

    def _listed(self, where: str, *columns: str, wanted: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Read columns of the class tables."""
        words = self.num_words
        if not self.merged.files:
            return {name.split()[-1]: np.zeros((0, words) if name == "function" else 0, np.uint64) for name in columns}
        with self.connect() as connection:
            if wanted is not None:
                connection.register("wanted", table_of(wanted))
            query = f"SELECT {', '.join(columns)} FROM {READ} WHERE {where}"
            files = [duckdb_name(path) for path in self.merged.files]
            rows = connection.sql(query, params={"files": files}).to_arrow_table()
        self._check_rows(rows)
        arrays = {name: rows.column(name).to_numpy() for name in rows.column_names if name != "function"}
        return arrays | ({"function": words_of(rows.column("function"), words)} if "function" in columns else {})

    def _check_rows(self, rows: pa.Table) -> None:
        """Raise ValueError where rows of class tables say more than these draws can."""
        most = {"count": self.num_possible, "largest": self.unit_size * self.copies, "units": self.num_units}
        folder = self.folder / "classes"
        for name in rows.column_names:
            values, limit = rows.column(name), most.get(name.removeprefix("rest_"))
            if limit is None or not len(values):
                continue
            array = values.to_numpy()
            if array.min() < 0 or array.max() > limit:
                raise ValueError(f"{folder} holds numbers that these draws cannot give: remove that folder.")

    def everything(self) -> tuple[np.ndarray, Tally]:
        """List keys [K, W] and column sums of all classes, in key order; ValueError where there are too many."""
        if self.num_classes > MAX_LISTED:
            self._refuse(f"a list of all {self.num_classes:,} classes")
        keys, sums = zip(*((counts.keys, counts.tally()) for counts in self.ranges()), strict=True)
        return np.concatenate(keys), Tally(*(np.concatenate(column) for column in zip(*sums, strict=True)))

    def regroup(self, bound: BoundClassifier) -> Counts:
        """Count the classes of a coarser classifier, in memory, from one pass over the parts.

        Raises ValueError where these do not fit the memory allowed either.
        """
        cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        shape = {"unit_size": self.unit_size, "independent": self.independent, "copies": self.copies}
        shape |= {"num_classes": bound.num_classes, "num_units": self.num_units, "nonfinite": self.nonfinite}
        size = 0
        for part in self.parts:
            with parquet_file(part.path) as file:
                for batch in file.iter_batches(batch_size=1 << 20):
                    words = key_words(batch.column("function"), self.num_words)
                    unit = np.searchsorted(self._blocks, batch.column("unit").to_numpy())
                    grouped = Counts.from_cells(
                        _classified(bound, words), unit, batch.column("hits").to_numpy(), **shape
                    )
                    classes = np.repeat(grouped.keys[:, 0].astype(np.int64), np.diff(grouped.offsets))
                    cells.append((classes, grouped.unit, grouped.hits))
                    size += len(classes)
            if size * BYTES_PER_CELL > self.memory:
                raise ValueError(
                    f"The classes of {bound.classifier!r} in these tables do not fit {self.memory / 2**30:.1f} GiB of "
                    "memory either: group by a coarser classifier, such as volume.Ones()."
                )
        columns = [np.concatenate(column) for column in zip(*cells, strict=True)]
        return Counts.from_cells(*columns, **shape)

    # --- what only memory can hold ---

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(
            f"{what[0].upper()}{what[1:]} does not fit in memory: the table lies in {self.folder}. Ask for "
            "report[label], report.top(k) or report.group_by(...), or read the Parquet files there "
            "(docs/large_tables.md)."
        )

    @property
    def keys(self) -> np.ndarray:
        self._refuse("the keys of all classes")

    @property
    def offsets(self) -> np.ndarray:
        self._refuse("the cells of all classes")

    unit = hits = offsets

    def tally(self, start: int = 0, stop: int | None = None) -> Tally:
        self._refuse("the sums of all classes")


def _classified(bound: BoundClassifier, words: np.ndarray) -> np.ndarray:
    """Give class numbers [R] of sorted keys [R, W], every key classified once."""
    new = changes(words)
    return bound.classify_keys(words[new])[np.cumsum(new) - 1]
