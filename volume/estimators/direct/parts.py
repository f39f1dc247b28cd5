"""The parts of a run of draws: hits of every function, or class, in a range of blocks.

One row a (function, block) that occurs, sorted by function and then by block:

    function  fixed-size binary: the packed truth table (volume.functions.tables) in big-endian bytes, so that byte
              order is label order; 8 bytes with the number of the class where classes are numbered
    unit      int64, the block's number
    hits      int32, draws of the block that fell there (where draws are weighed by symmetry: the hits they brought)

Shape letters: B blocks, D draws, R rows, W 64-bit words of a key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from volume.estimators.direct.accumulate import Rows
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.columns import Keys, Numbers, Schema

BLOCKS = Schema({"function": Keys(), "unit": Numbers(np.int64), "hits": Numbers(np.int32)}, nullable=False)

ROWS = 1 << 20  # a part is closed when it may have so many rows,
SECONDS = 10.0  # or when so much time has passed: what a kill may cost


class OpenPart:
    """Blocks that are counted and in no part yet: a range without gaps."""

    def __init__(self) -> None:
        self._closed: list[Checkpoint] = []
        self._began = time.monotonic()
        self._open(0)

    def _open(self, first: int) -> None:
        self._first = self._stop = first
        self._rows = self._near_ties = 0
        self._pieces: list[Rows] = []
        self._nonfinite: list[list[int]] = []

    def add(self, numbers: np.ndarray, rows: Rows, near_ties: int) -> None:
        """Blocks ``numbers`` [B], one after the other, and what they brought."""
        if not len(numbers):
            return
        if numbers[0] != self._stop:
            self._close()
            self._open(int(numbers[0]))
        self._stop = int(numbers[-1]) + 1
        self._pieces.append(rows)
        self._rows += len(rows.unit)
        self._near_ties += near_ties
        self._nonfinite += [[int(numbers[at]), int(rows.nonfinite[at])] for at in np.flatnonzero(rows.nonfinite)]

    def collect(self, *, all: bool) -> list[Checkpoint]:
        """Parts that are closed by now, or with ``all`` everything there is."""
        if all or self._rows >= ROWS or time.monotonic() - self._began >= SECONDS:
            self._close()
            self._open(self._stop)
        closed, self._closed = self._closed, []
        return closed

    def _close(self) -> None:
        self._began = time.monotonic()
        if self._stop == self._first:
            return
        name = f"blocks-{self._first:012d}-{self._stop:012d}"
        facts = {"first": self._first, "stop": self._stop, "near_ties": self._near_ties, "nonfinite": self._nonfinite}
        pieces = self._pieces
        self._closed.append(Checkpoint(name, facts, lambda: BLOCKS.table(_sums(pieces))))


def _sums(pieces: list[Rows]) -> dict[str, np.ndarray]:
    """The rows of a part by column, equal ones added up."""
    words = [np.concatenate(word) for word in zip(*(piece.keys for piece in pieces), strict=True)]
    unit = np.concatenate([piece.unit for piece in pieces])
    hits = None  # each one hit: then they are counted rather than added up
    if any(piece.hits.strides != (0,) for piece in pieces):
        hits = np.concatenate([piece.hits for piece in pieces])
    pieces.clear()
    # Stable, and the pieces come in the order of their blocks: equal functions stay sorted by block.
    order = np.lexsort(words[::-1])
    words, unit = [word[order] for word in words], unit[order]
    new = np.ones(len(unit), bool)
    new[1:] = unit[1:] != unit[:-1]
    for word in words:
        new[1:] |= word[1:] != word[:-1]
    first = np.flatnonzero(new)
    total = np.diff(first, append=len(unit)).astype(np.int32)
    if hits is not None and len(first):
        total = np.add.reduceat(hits[order], first, dtype=np.int32)
    function = np.stack([word[first] for word in words], axis=1)
    return {"function": function, "unit": unit[first], "hits": total}


def rows(part: StoredCheckpoint) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Keys (one array [R] a word), blocks [R] and hits [R] of a part."""
    columns = BLOCKS.read(part)
    return [np.ascontiguousarray(word) for word in columns["function"].T], columns["unit"], columns["hits"]


def apart(parts: Sequence[StoredCheckpoint]) -> list[StoredCheckpoint]:
    """The parts by first block, without those that share blocks with an earlier one."""
    chosen: list[StoredCheckpoint] = []
    for part in sorted(parts, key=_range):
        if part.name.startswith("blocks-") and (not chosen or _range(part)[0] >= _range(chosen[-1])[1]):
            chosen.append(part)
    return chosen


def missing(parts: Sequence[StoredCheckpoint], total: int) -> list[tuple[int, int]]:
    """The ranges of ``total`` blocks that are in none of these parts, which are `apart`."""
    stops = [0, *(_range(part)[1] for part in parts)]
    firsts = [*(_range(part)[0] for part in parts), total]
    return [(stop, first) for stop, first in zip(stops, firsts, strict=True) if stop < first]


def share(ranges: Sequence[tuple[int, int]], index: int, count: int) -> list[tuple[int, int]]:
    """The blocks of process ``index`` of ``count``: an equal piece of these ranges, one after the other."""
    left = sum(stop - first for first, stop in ranges)
    low, high = left * index // count, left * (index + 1) // count
    pieces, before = [], 0
    for first, stop in ranges:
        cut = (max(first, first + low - before), min(stop, first + high - before))
        if cut[0] < cut[1]:
            pieces.append(cut)
        before += stop - first
    return pieces


def _range(part: StoredCheckpoint) -> tuple[Any, Any]:
    return part.facts.get("first", 0), part.facts.get("stop", 0)
