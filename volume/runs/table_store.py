"""Counts of truth tables that memory cannot hold, answered by DuckDB from the Parquet parts of a run.

A part of a `Direct` run of tables holds one row per (class, block), sorted by key (docs/run_directories.md), so a range
of keys is read from a few row groups of every part. `TableStore.ranges` cuts the keys by the quantiles of the row
groups' first keys into ranges that fit the memory allowed; each range, sorted, is an ordinary `Counts` of the classes
in it, and all that a report asks of the whole is added up from them once (table_merge.py), by the code that answers
from memory. A few classes asked for by name are looked up.

Shape letters: B independent units, K classes, R rows (cells hit), W 64-bit words of a key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from volume.runs.columns import function_column, key_words
from volume.statistics.counts import Counts, Tally, Units, positions

if TYPE_CHECKING:
    from volume.classifiers.base import BoundClassifier
    from volume.runs.parts import StoredPart
    from volume.runs.table_merge import Merged

# Working memory of a row while a range is sorted and added up: its key of 8 W bytes as often as it is held at once
# (DuckDB's copy and its sort, the answer, the words), and units, hits, offsets and sums. For W = 2 the peak of
# benchmarks/large_table.py was 177 bytes a row above what the process took before.
BYTES_PER_ROW = 100
COPIES_OF_KEYS = 5
BYTES_PER_CELL = 60  # of a coarser classifier's counts: class, unit and hits, and the sorting of them
MEMORY_SHARE = 4  # by default a quarter of the machine's memory
MAX_LISTED = 10**6  # classes that are listed all together
COLUMNS = ("count", "square", "largest", "units")  # of a class table, as in Tally


def machine_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def working_memory(allowed: int | None = None) -> int:
    """Bytes for the work on one range of keys: what is allowed, and at most a quarter of the machine's."""
    share = (machine_memory() or 8 << 30) // MEMORY_SHARE
    return share if allowed is None else min(allowed, share)


class TableStore(Units):
    """The counts of a run's truth tables where they lie: what a report asks of `Counts`, in bounded memory.

    Args:
        parts: the run's parts, in any order; each part's facts say its blocks, ``first`` and ``stop``, and its
            ``nonfinite`` [[block, draws], ...]. Blocks that are in no part were not drawn: units are those that were.
        folder: the run directory. What is made of the parts goes to ``classes`` and ``merge`` in it.
        num_words: W.
        unit_size: draws of a block.
        independent: whether the draws of a block are iid.
        copies: hits that one draw can bring (volume.queries.quotient).
        memory: bytes that work on a range of keys may take; default: a quarter of the machine's.

    Raises:
        ValueError: blocks that are in two parts, no parts, or memory that is not positive.
    """

    complete = False

    def __init__(
        self,
        parts: Sequence[StoredPart],
        folder: str | Path,
        *,
        num_words: int,
        unit_size: int,
        independent: bool,
        copies: int = 1,
        memory: int | None = None,
    ):
        if memory is not None and memory < 1:
            raise ValueError(f"memory={memory} is no number of bytes: give for example {4 << 30}, or leave it out.")
        if not parts:
            raise ValueError("A table on disk is made of parts, and none was given: draw first.")
        self.parts = tuple(sorted(parts, key=lambda part: part.facts["first"]))
        self.folder, self.num_words = Path(folder), num_words
        self.unit_size, self.independent, self.copies = unit_size, independent, copies
        self.memory = memory or working_memory()
        self._blocks = np.concatenate([np.arange(p.facts["first"], p.facts["stop"]) for p in self.parts])
        again = np.flatnonzero(np.diff(self._blocks) <= 0)
        if len(again):
            raise ValueError(f"Block {self._blocks[again[0] + 1]:,} is in two parts: give every block once.")
        self.num_units = len(self._blocks)
        self.nonfinite = np.zeros(self.num_units, np.int64)
        for part in self.parts:
            for block, draws in part.facts["nonfinite"]:
                self.nonfinite[np.searchsorted(self._blocks, block)] = draws

    def record(self) -> dict[str, Any]:
        """What :meth:`from_record` needs beside the folder, as JSON."""
        return {
            "parts": [[part.path.name, part.path.stat().st_size, part.name, part.facts] for part in self.parts],
            "words": self.num_words,
            "unit_size": self.unit_size,
            "independent": self.independent,
            "copies": self.copies,
        }

    @classmethod
    def from_record(cls, folder: Path, record: Mapping[str, Any], memory: int | None = None) -> TableStore:
        """The store of the parts in ``folder``; ValueError where one is missing or has another length."""
        from volume.runs.parts import StoredPart

        parts = []
        for file, size, name, facts in record["parts"]:
            path = folder / "parts" / Path(file).name
            if not path.is_file() or path.stat().st_size != size:
                raise ValueError(
                    f"{path} is missing or damaged: keep the folder together, or resume the run, which draws it again."
                )
            parts.append(StoredPart(name, facts, path))
        options = {name: record[name] for name in ("unit_size", "independent", "copies")}
        return cls(parts, folder, num_words=record["words"], memory=memory, **options)

    def __repr__(self) -> str:
        return f"<TableStore of {self.num_draws:,} draws in {self.folder}>"

    # --- how large ---

    @cached_property
    def _groups(self) -> tuple[list[bytes], np.ndarray]:
        """The first key of every row group of every part, sorted, and the rows in each [G]."""
        firsts: list[tuple[bytes, int]] = []
        for part in self.parts:
            with pq.ParquetFile(part.path) as file:
                for index in range(file.metadata.num_row_groups):
                    group = file.metadata.row_group(index)
                    if group.num_rows:
                        firsts.append((group.column(0).statistics.min, group.num_rows))
        firsts.sort()
        return [key for key, _ in firsts], np.array([rows for _, rows in firsts], np.int64)

    @property
    def num_rows(self) -> int:
        """R, the cells hit: (class, unit) pairs."""
        return int(self._groups[1].sum())

    @property
    def fits(self) -> bool:
        """Whether the counts fit the memory allowed, so that :meth:`counts` may be asked for."""
        return self.num_rows * self._row_bytes <= self.memory

    @property
    def _row_bytes(self) -> int:
        return BYTES_PER_ROW + COPIES_OF_KEYS * 8 * self.num_words

    def cuts(self) -> list[bytes]:
        """Keys that cut all of them into ranges of about as many rows, each of which fits the memory allowed."""
        keys, rows = self._groups
        if not keys:
            return []
        pieces = -(-self.num_rows * self._row_bytes // self.memory)
        before = np.cumsum(rows) - rows
        places = np.searchsorted(before, np.arange(1, pieces) * (self.num_rows / pieces))
        chosen = {keys[place] for place in places.tolist() if place < len(keys)}
        return sorted(chosen - {keys[0]})

    # --- cells ---

    def ranges(self) -> Iterator[Counts]:
        """All classes in key order, as the counts of one range of keys after the other."""
        cuts = self.cuts()
        with self.connect() as connection:
            for low, high in zip([None, *cuts], [*cuts, None], strict=True):
                yield self.cells(connection, low, high)

    def cells(self, connection: duckdb.DuckDBPyConnection, low: bytes | None, high: bytes | None) -> Counts:
        """The counts of the classes with low <= key < high (None: no limit)."""
        limits = {name: key for name, key in (("low", low), ("high", high)) if key is not None}
        signs = {"low": "function >= $low", "high": "function < $high"}
        return self._cells(connection, " AND ".join(signs[name] for name in limits) or "true", **limits)

    def take(self, keys: np.ndarray) -> Counts:
        """The counts of the classes with these keys [K, W]; those never drawn are left out."""
        with self.connect() as connection:
            connection.register("wanted", _table_of(keys))
            return self._cells(connection, "function IN (SELECT function FROM wanted)")

    def counts(self) -> Counts:
        """All of it, in memory: see :attr:`fits`."""
        with self.connect() as connection:
            return self.cells(connection, None, None)

    def _cells(self, connection: duckdb.DuckDBPyConnection, where: str, **values: bytes) -> Counts:
        query = f"SELECT function, unit, hits FROM read_parquet($parts) WHERE {where} ORDER BY function, unit"
        files = [str(part.path) for part in self.parts]
        rows = connection.sql(query, params={"parts": files, **values}).to_arrow_table()
        words = _words(rows.column("function"), self.num_words)
        unit, hits = rows.column("unit").to_numpy(), rows.column("hits").to_numpy()
        del rows
        if self._blocks[-1] != self.num_units - 1:  # blocks are missing: units are those that were drawn
            unit = np.searchsorted(self._blocks, unit)
        new = np.ones(len(words), bool)
        new[1:] = (words[1:] != words[:-1]).any(axis=1)
        first = np.flatnonzero(new)
        return Counts(
            keys=words[first],
            offsets=np.append(first, len(words)),
            unit=unit.astype(np.int32),
            hits=hits.astype(np.int32, copy=False),
            num_units=self.num_units,
            unit_size=self.unit_size,
            independent=self.independent,
            nonfinite=self.nonfinite,
            copies=self.copies,
        )

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB, which takes at most half of the memory allowed and spills into the run directory."""
        settings: dict[str, Any] = {
            "threads": os.cpu_count() or 1,
            "memory_limit": f"{max(self.memory // 2, 64 << 20) >> 20}MiB",
            "temp_directory": str(self.folder / "merge" / "spill"),
        }
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET enable_progress_bar = false")  # it would write to stdout, between our JSON
            connection.execute("SET parquet_metadata_cache = true")  # every range reads the same files
            yield connection

    # --- what a report asks ---

    @cached_property
    def merged(self) -> Merged:
        """What was added up over all classes, from disk where an earlier call left it."""
        from volume.runs.table_merge import merge

        return merge(self)

    @property
    def num_classes(self) -> int:
        return self.merged.num_classes

    @cached_property
    def within(self) -> np.ndarray:
        """Hits of all classes in each unit [B]."""
        return self.unit_size - self.nonfinite if self.copies == 1 else self.merged.within

    def leaders(self, k: int) -> tuple[np.ndarray, int]:
        """Keys [K, W] of at most ``k`` classes by falling count in the first tenth of the units, and the first unit
        that had no part in the choice: 0 where nothing was hit there, or nothing can be spared, and all units choose.
        """
        start = self.pilot_units if self.merged.pilot_hits else 0
        column = "pilot" if start else "count"
        found = [self._listed(f"{column} > 1 ORDER BY {column} DESC, function LIMIT {k}", "function")["function"]]
        left = k - len(found[0])
        if left:  # classes hit once are in no class table, and they come in the order of their keys
            for counts in self.ranges():
                some = counts.keys[counts.tally(0, start or None).count == 1][:left]
                found.append(some)
                left -= len(some)
                if not left:
                    break
        return np.concatenate(found), start

    def often(self, least: int) -> np.ndarray:
        """Keys [K, W] of the classes with ``least`` hits or more, at least 2."""
        if least < 2:
            self._refuse("every class that was hit")
        return self._listed(f"count >= {least} ORDER BY function", "function")["function"]

    def tallies(self, keys: np.ndarray, start: int = 0) -> Tally:
        """Column sums of the classes with these keys [K, W], zeros for those never drawn; ``start`` is 0 or
        ``pilot_units``, the first unit that counts.

        Classes in no class table were hit once or not at all, which the parts tell.
        """
        columns = [np.zeros(len(keys), np.int64) for _ in COLUMNS]
        if start:
            wanted = ["count - pilot AS count", *(f"rest_{name} AS {name}" for name in COLUMNS[1:])]
        else:
            wanted = list(COLUMNS)
        found = self._listed(
            "function IN (SELECT function FROM wanted) ORDER BY function", "function", *wanted, wanted=keys
        )
        at = positions(found["function"], keys)
        for column, name in zip(columns, COLUMNS, strict=True):
            column[at >= 0] = found[name][at[at >= 0]]
        missing = np.flatnonzero(at < 0)
        if len(missing) and self.merged.once:
            rest = self.take(keys[missing])
            at = positions(rest.keys, keys[missing])
            for column, sums in zip(columns, rest.tally(start), strict=True):
                column[missing[at >= 0]] = sums[at[at >= 0]]
        return Tally(*columns)

    def ranked(self, ranks: np.ndarray, least: int) -> tuple[Tally, int]:
        """Column sums of the classes at these ranks [P] from 0, ascending, by falling count (ties by key), and the
        number of classes with ``least`` hits or more, at least 2."""
        sums = [np.ones(len(ranks), np.int64) for _ in COLUMNS]  # what is in no class table was hit once
        inside = ranks[ranks < self.num_classes - self.merged.once]
        if not len(inside):
            return Tally(*sums), 0
        place = "row_number() OVER (ORDER BY count DESC, function) - 1 AS place"
        listed = ", ".join(map(str, inside.tolist()))
        found = self._listed(f"true QUALIFY place IN ({listed}) ORDER BY place", *COLUMNS, place)
        for column, name in zip(sums, COLUMNS, strict=True):
            column[: len(inside)] = found[name]
        often = self._listed(f"count >= {least}", "count(*)::BIGINT AS number")
        return Tally(*sums), int(often["number"][0])

    def _listed(self, where: str, *columns: str, wanted: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Columns of the class tables."""
        words = self.num_words
        if not self.merged.files:
            return {name.split()[-1]: np.zeros((0, words) if name == "function" else 0, np.uint64) for name in columns}
        with self.connect() as connection:
            if wanted is not None:
                connection.register("wanted", _table_of(wanted))
            query = f"SELECT {', '.join(columns)} FROM read_parquet($files) WHERE {where}"
            rows = connection.sql(query, params={"files": [str(path) for path in self.merged.files]}).to_arrow_table()
        found = {name: rows.column(name).to_numpy() for name in rows.column_names if name != "function"}
        return found | ({"function": _words(rows.column("function"), words)} if "function" in columns else {})

    def everything(self) -> tuple[np.ndarray, Tally]:
        """Keys [K, W] and column sums of all classes, in key order; ValueError where there are too many to list."""
        if self.num_classes > MAX_LISTED:
            self._refuse(f"a list of all {self.num_classes:,} classes")
        keys, sums = zip(*((counts.keys, counts.tally()) for counts in self.ranges()), strict=True)
        return np.concatenate(keys), Tally(*(np.concatenate(column) for column in zip(*sums, strict=True)))

    def regroup(self, bound: BoundClassifier) -> Counts:
        """The counts of a coarser classifier, in memory, from one pass over the parts.

        Raises ValueError where these do not fit the memory allowed either.
        """
        cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        shape = {"unit_size": self.unit_size, "independent": self.independent, "copies": self.copies}
        shape |= {"num_classes": bound.num_classes, "num_units": self.num_units, "nonfinite": self.nonfinite}
        size = 0
        for part in self.parts:
            with pq.ParquetFile(part.path) as file:
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


def _words(column: pa.ChunkedArray, words: int) -> np.ndarray:
    """Keys [R, W] of a column as DuckDB gives it."""
    found = np.empty((len(column), words), np.uint64)
    row = 0
    for chunk in column.chunks:
        found[row : row + len(chunk)] = key_words(chunk.cast(pa.binary(8 * words)), words)
        row += len(chunk)
    return found


def _table_of(keys: np.ndarray) -> pa.Table:
    """Keys [K, W] as DuckDB reads them from the files, each once."""
    return pa.table({"function": function_column(np.unique(keys, axis=0)).cast(pa.binary())})


def _classified(bound: BoundClassifier, words: np.ndarray) -> np.ndarray:
    """Class numbers [R] of sorted keys [R, W], every key classified once."""
    new = np.ones(len(words), bool)
    new[1:] = (words[1:] != words[:-1]).any(axis=1)
    return bound.classify_keys(words[new])[np.cumsum(new) - 1]
