"""Where the counts of a run of draws go: into memory, or, where they are too many, to its checkpoints on disk.

Draws, blocks and checkpoints are the same either way: only what is done with them at the end differs.

Shape letters: S blocks, Q bodies, H heads, D draws, W 64-bit words of a key, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from volume.estimators.direct.accumulate import DenseAccumulator, PassedTables, Rows, TableAccumulator
from volume.estimators.direct.parts import rows
from volume.estimators.direct.plan import Plan
from volume.estimators.direct.step import Step
from volume.functions.tables import bits_per_input, num_words
from volume.runs.checkpoints import StoredCheckpoint
from volume.runs.table_merge import check_room
from volume.runs.table_store import TableStore
from volume.statistics.counts import Counts


class Accumulator(Protocol):
    """What a run of draws asks of the place where its counts go."""

    def add(self, step: Step, numbers: np.ndarray) -> Rows:
        """Take in the blocks ``numbers`` [S] of a step that is on the host; give what they brought."""
        ...

    def restore(self, part: StoredCheckpoint) -> None:
        """Take in the blocks of a checkpoint."""
        ...

    def check_room(self, folder: Path, left: int) -> None:
        """Raise OSError where the disk of ``folder`` has no room for ``left`` more draws."""

    def stored(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take note that these checkpoints, without common blocks, are all there are."""

    def estimate_classes(self) -> int:
        """Say about how many classes were seen."""
        ...

    def counts(self, *, complete: bool) -> Counts | TableStore | None:
        """Give the hits of the query's classes in every block so far; None where that takes a ``complete`` run."""
        ...


class InMemory:
    """Counts in memory, of at most so many draws: of functions draw by draw, of a few classes block by block."""

    def __init__(self, plan: Plan, draws: int):
        self._plan = plan
        shape = {"independent": plan.independent, "copies": plan.copies}
        self._into: TableAccumulator | DenseAccumulator
        if plan.bound.route == "table" or plan.bound.num_classes is None:
            self._into = TableAccumulator(_num_words(plan), plan.block_draws, draws, **shape)
        else:
            self._into = DenseAccumulator(plan.bound.num_classes, plan.block_draws, **shape)
        self.estimate_classes = self._into.estimate_classes

    def add(self, step: Step, numbers: np.ndarray) -> Rows:
        if isinstance(self._into, DenseAccumulator):
            return self._into.append(np.asarray(step.result), numbers)
        return self._into.append(*_draws(self._plan, step), numbers)

    def restore(self, part: StoredCheckpoint) -> None:
        first, stop = part.facts["first"], part.facts["stop"]
        nonfinite = np.zeros(stop - first, np.int64)
        for block, draws in part.facts["nonfinite"]:
            nonfinite[block - first] = draws
        keys, unit, hits = rows(part)
        if isinstance(self._into, DenseAccumulator):
            self._into.restore(keys[0].astype(np.int64), unit, hits, np.arange(first, stop), nonfinite)
        else:
            self._into.restore(keys, unit.astype(np.int32), hits, np.arange(first, stop), nonfinite)

    def check_room(self, folder: Path, left: int) -> None:
        del folder, left  # what fits in memory is small on a disk

    def stored(self, parts: Sequence[StoredCheckpoint]) -> None:
        del parts  # their counts are here already

    def counts(self, *, complete: bool) -> Counts:
        del complete
        counts = self._into.counts()
        return self._plan.bound.of_tables(counts) if isinstance(self._into, TableAccumulator) else counts


class OnDisk:
    """Counts of truth tables that stay in the checkpoints of a run, where they are added up when it is done.

    Args:
        plan: of the run.
        draws: in whole blocks.
        memory: bytes that the work on a range of tables may take.
    """

    def __init__(self, plan: Plan, draws: int, memory: int):
        self._plan, self._draws, self._memory = plan, draws, memory
        shape = {"independent": plan.independent, "copies": plan.copies}
        self._passed = PassedTables(_num_words(plan), plan.block_draws, **shape)
        self.estimate_classes = self._passed.estimate_classes
        self._parts: tuple[StoredCheckpoint, ...] = ()
        self._stopped = False

    def add(self, step: Step, numbers: np.ndarray) -> Rows:
        return self._passed.append(*_draws(self._plan, step), numbers)

    def restore(self, part: StoredCheckpoint) -> None:
        del part  # it stays where it is

    def check_room(self, folder: Path, left: int) -> None:
        bound, blocks = self._plan.bound, self._draws // self._plan.block_draws
        bits = bound.num_inputs * bits_per_input(bound.num_outputs)
        most = min(self._draws, blocks << min(bits, 60))  # rows
        check_room(folder, most, _num_words(self._plan), new=max(0, most - (self._draws - left)))

    def stored(self, parts: Sequence[StoredCheckpoint]) -> None:
        self._parts = tuple(parts)

    def counts(self, *, complete: bool) -> Counts | TableStore | None:
        if self._stopped or not (complete and self._parts):  # adding them up may take as long as drawing
            return None
        store = TableStore(
            self._parts,
            self._parts[0].path.parents[1],
            num_words=_num_words(self._plan),
            unit_size=self._plan.block_draws,
            independent=self._plan.independent,
            copies=self._plan.copies,
            memory=self._memory,
        )
        if self._plan.bound.num_classes is not None:  # classes of tables, which may be few
            return store.regroup(self._plan.bound)
        if store.fits:  # the functions turned out to be few
            return store.counts()
        try:
            _ = store.merged  # now, and not when the report is first read
        except KeyboardInterrupt:
            self._stopped = True  # who asks again for a report, to say what is there, must not begin anew
            raise
        return store


def _num_words(plan: Plan) -> int:
    return num_words(plan.bound.num_inputs, plan.model.num_outputs)


def _draws(plan: Plan, step: Step) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Keys (one array [D] a word), which draws are finite [D], and the hits of each [D] where they bring several."""
    words = np.asarray(step.result)  # [S, Q, 2 W, H]
    keys = [
        ((words[:, :, w].astype(np.uint64) << np.uint64(32)) | words[:, :, w + 1]).ravel()
        for w in range(0, words.shape[2], 2)
    ]
    keys = plan.bound.merged_words(keys)
    return keys, np.asarray(step.finite).ravel(), np.asarray(step.weight).ravel() if plan.copies > 1 else None
