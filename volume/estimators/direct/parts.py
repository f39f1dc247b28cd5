"""The parts of a run of draws: hits of every function, or class, in a range of blocks.

One row a (function, block) that occurs, sorted by function and then by block:

    function  fixed-size binary: the packed truth table (volume.functions.tables) in big-endian bytes, so that byte
              order is label order; 8 bytes with the number of the class where classes are numbered
    unit      int64, the block's number
    hits      int32, draws of the block that fell there (where draws are weighed by symmetry: the hits they brought)

Shape letters: B blocks, D draws, R rows, W 64-bit words of a key.
"""

from __future__ import annotations

import numpy as np

from volume.estimators.direct.accumulate import Rows
from volume.runs.checkpoints import Batch, Checkpoint, StoredCheckpoint
from volume.runs.columns import Keys, Numbers, Schema

BLOCKS = Schema({"function": Keys(), "unit": Numbers(np.int64), "hits": Numbers(np.int32)}, nullable=False)


class OpenPart:
    """Blocks that are counted and in no part yet: a range without gaps."""

    def __init__(self) -> None:
        self._batch = Batch[tuple[np.ndarray, Rows, int, int]]()
        self._stop = 0
        self._closed: list[Checkpoint] = []

    def add(self, numbers: np.ndarray, rows: Rows, near_ties: int, vanished: int = 0) -> None:
        """Add blocks ``numbers`` [B], one after the other, and what they brought."""
        if numbers[0] != self._stop:
            self._close(all=True)
        self._batch.add((numbers, rows, near_ties, vanished), len(rows.unit))
        self._stop = int(numbers[-1]) + 1

    def collect(self, *, all: bool) -> list[Checkpoint]:
        """Hand out the parts that are closed by now, or with ``all`` everything there is."""
        self._close(all=all)
        closed, self._closed = self._closed, []
        return closed

    def _close(self, *, all: bool) -> None:
        steps = self._batch.take(all=all)
        if not steps:
            return
        first = int(steps[0][0][0])
        nonfinite = [
            [int(numbers[at]), int(rows.nonfinite[at])]
            for numbers, rows, *_ in steps
            for at in np.flatnonzero(rows.nonfinite)
        ]
        near_ties, vanished = sum(step[2] for step in steps), sum(step[3] for step in steps)
        facts = {"first": first, "stop": self._stop, "near_ties": near_ties, "nonfinite": nonfinite}
        facts |= {"vanished": vanished} if vanished else {}
        pieces = [step[1] for step in steps]
        name = f"blocks-{first:012d}-{self._stop:012d}"
        self._closed.append(Checkpoint(name, facts, lambda: BLOCKS.table(_sums(pieces))))


def _sums(pieces: list[Rows]) -> dict[str, np.ndarray]:
    """Add equal rows up; give the rows of a part by column."""
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
    """Read keys (one array [R] a word), blocks [R] and hits [R] of a part."""
    columns = BLOCKS.read(part)
    return [np.ascontiguousarray(word) for word in columns["function"].T], columns["unit"], columns["hits"]
