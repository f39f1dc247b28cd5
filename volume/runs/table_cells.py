"""Counts of truth tables that memory cannot hold, read by DuckDB from the Parquet parts of a run.

A part of a `Direct` run of tables holds one row per (class, block), sorted by key (docs/run_directories.md), so a range
of keys is read from a few row groups of every part. `TableCells.ranges` cuts the keys by the quantiles of the row
groups' first keys into ranges that fit the memory allowed; each range, sorted, is an ordinary `Counts` of the classes
in it.

Shape letters: B independent units, K classes, R rows (cells hit), W 64-bit words of a key, G row groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from volume.common import duck
from volume.common.machine import machine_memory
from volume.common.paths import duckdb_name
from volume.runs.checkpoints import StoredCheckpoint
from volume.runs.columns import function_column, key_words
from volume.runs.files import check_file_name, latest, listed, sha256
from volume.runs.parquet_files import READ, parquet_file
from volume.statistics.counts import Counts, Units, changes

# Working memory of a row while a range is sorted and added up: its key of 8 W bytes as often as it is held at once
# (DuckDB's copy and its sort, the answer, the words), and units, hits, offsets and sums. For W = 2 the peak of
# benchmarks/large_table.py was 177 bytes a row above what the process took before.
BYTES_PER_ROW = 100
COPIES_OF_KEYS = 5
MEMORY_SHARE = 4  # by default a quarter of the machine's memory


def working_memory(allowed: int | None = None) -> int:
    """Give the bytes for the work on one range of keys: what is allowed, and at most a quarter of the machine's."""
    share = (machine_memory() or 8 << 30) // MEMORY_SHARE
    return share if allowed is None else min(allowed, share)


class TableCells(Units):
    """The counts of a run's truth tables where they lie, read a range of keys after the other in bounded memory.

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
        parts: Sequence[StoredCheckpoint],
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
        # Every block has a row or a draw that is not finite, so forged facts cannot ask for more memory than rows do.
        blocks = sum(part.facts["stop"] - part.facts["first"] for part in self.parts)
        if blocks > self.num_rows + sum(len(part.facts["nonfinite"]) for part in self.parts):
            raise ValueError(f"The parts of {self.folder} hold {self.num_rows:,} rows, too few for {blocks:,} blocks.")
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
        """Give what :meth:`from_record` needs beside the folder, as JSON."""
        return {
            "parts": [[part.path.name, part.path.stat().st_size, part.name, part.facts] for part in self.parts],
            "words": self.num_words,
            "unit_size": self.unit_size,
            "independent": self.independent,
            "copies": self.copies,
        }

    @classmethod
    def from_record(cls, folder: Path, record: Mapping[str, Any], memory: int | None = None) -> Self:
        """Open the store of the parts in ``folder``; ValueError where one is missing, or not what its manifest says."""
        lines = {line["file"]: line for line in latest(listed(folder)[0]).values()}
        parts = []
        for file, size, name, facts in record["parts"]:
            path, line = folder / "parts" / check_file_name(name, file), lines.get(file)
            if line is None or (line["name"], line["facts"], line["bytes"]) != (name, facts, size):
                raise ValueError(
                    f"{folder} has no manifest that lists {path.name} as its report does: keep the folder together, "
                    "or resume the run."
                )
            if not path.is_file() or path.stat().st_size != size or sha256(path) != line["sha256"]:
                raise ValueError(
                    f"{path} is missing or damaged: keep the folder together, or resume the run, which draws it again."
                )
            parts.append(StoredCheckpoint(name, facts, path, line["sha256"]))
        options = {name: record[name] for name in ("unit_size", "independent", "copies")}
        return cls(parts, folder, num_words=record["words"], memory=memory, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.num_draws:,} draws in {self.folder}>"

    # --- how large ---

    @cached_property
    def _groups(self) -> tuple[list[bytes], np.ndarray]:
        """The first key of every row group of every part, sorted, and the rows in each [G]."""
        firsts: list[tuple[bytes, int]] = []
        for part in self.parts:
            with parquet_file(part.path) as file:
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
        """Choose keys that cut all of them into ranges of about as many rows, each of which fits the memory allowed."""
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
        """Yield all classes in key order, as the counts of one range of keys after the other."""
        cuts = self.cuts()
        with self.connect() as connection:
            for low, high in zip([None, *cuts], [*cuts, None], strict=True):
                yield self.cells(connection, low, high)

    def cells(self, connection: duckdb.DuckDBPyConnection, low: bytes | None, high: bytes | None) -> Counts:
        """Count the classes with low <= key < high (None: no limit)."""
        limits = {name: key for name, key in (("low", low), ("high", high)) if key is not None}
        signs = {"low": "function >= $low", "high": "function < $high"}
        return self._cells(connection, " AND ".join(signs[name] for name in limits) or "true", **limits)

    def take(self, keys: np.ndarray) -> Counts:
        """Count the classes with these keys [K, W]; those never drawn are left out."""
        with self.connect() as connection:
            connection.register("wanted", table_of(keys))
            return self._cells(connection, "function IN (SELECT function FROM wanted)")

    def counts(self) -> Counts:
        """Read all of it into memory: see :attr:`fits`."""
        with self.connect() as connection:
            return self.cells(connection, None, None)

    def _cells(self, connection: duckdb.DuckDBPyConnection, where: str, **values: bytes) -> Counts:
        query = f"SELECT function, unit, hits FROM {READ} WHERE {where} ORDER BY function, unit"
        files = [duckdb_name(part.path) for part in self.parts]
        rows = connection.sql(query, params={"files": files, **values}).to_arrow_table()
        words = words_of(rows.column("function"), self.num_words)
        unit, hits = rows.column("unit").to_numpy(), rows.column("hits").to_numpy()
        del rows
        if self._blocks[-1] != self.num_units - 1:  # blocks are missing: units are those that were drawn
            block, unit = unit, np.minimum(np.searchsorted(self._blocks, unit), self.num_units - 1)
            if (self._blocks[unit] != block).any():
                raise ValueError(f"The parts of {self.folder} hold rows of blocks that are not theirs.")
        first = np.flatnonzero(changes(words))
        counts = Counts(
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
        counts.check()
        return counts

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open DuckDB, which takes at most half of the memory allowed and spills into the run directory."""
        settings: dict[str, Any] = {
            "threads": os.cpu_count() or 1,
            "memory_limit": f"{max(self.memory // 2, 64 << 20) >> 20}MiB",
            "temp_directory": str(self.folder.absolute() / "merge" / "spill"),
        }
        with duck.connect(settings) as connection:
            connection.execute("SET parquet_metadata_cache = true")  # every range reads the same files
            yield connection


def words_of(column: pa.ChunkedArray, words: int) -> np.ndarray:
    """Read keys [R, W] of a column as DuckDB gives it."""
    keys = np.empty((len(column), words), np.uint64)
    row = 0
    for chunk in column.chunks:
        keys[row : row + len(chunk)] = key_words(chunk.cast(pa.binary(8 * words)), words)
        row += len(chunk)
    return keys


def table_of(keys: np.ndarray) -> pa.Table:
    """Write keys [K, W] as DuckDB reads them from the files, each once."""
    return pa.table({"function": function_column(np.unique(keys, axis=0)).cast(pa.binary())})
