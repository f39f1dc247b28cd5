"""A run of draws whose tables do not fit in memory: they go to its parts, and the report is made from these.

`Direct.start_kept` begins one where a run is kept in a directory and its counts may need more than the memory allowed.
Draws, blocks and parts are those of any other run of draws: only what is done with them at the end differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volume.estimators.direct import parts as block_parts
from volume.estimators.direct.accumulate import PassedTables
from volume.estimators.direct.direct import DirectRun
from volume.functions.tables import bits_per_input
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts
from volume.reports.on_disk import TableReport
from volume.runs.parts import StoredPart
from volume.runs.table_merge import check_room
from volume.runs.table_store import TableStore, working_memory


class StoredRun(DirectRun):
    """As `DirectRun`, with counts on disk."""

    _parts: tuple[StoredPart, ...] = ()
    _stopped = False

    def _accumulator(self) -> PassedTables:
        plan = self.plan
        return PassedTables(self._words, plan.block_draws, independent=plan.independent, copies=plan.copies)

    def _take_in(self, part: StoredPart) -> None:
        """Nothing: the part stays where it is."""

    def check_room(self, folder: Path) -> None:
        """Refuse a directory on whose disk the draws cannot be.

        Raises OSError with what it may take.
        """
        bits = self.plan.bound.num_inputs * bits_per_input(self.plan.bound.num_outputs)
        rows = min(self.total_draws, self.total_blocks << min(bits, 60))
        left = max(0, rows - self.done_blocks * self.plan.block_draws)
        check_room(folder, rows, self._words, new=left)

    def stored(self, parts: Sequence[StoredPart]) -> None:
        """All parts of the run are on disk."""
        self._parts = tuple(block_parts.apart(parts))

    def report(self, facts: Facts) -> VolumeReport | None:
        """The volumes of all classes, when the run is done; None before: making it may take as long as drawing."""
        if self._stopped or not (facts.complete and self._parts):
            return None
        stated = self._stated(facts)
        store = TableStore(
            self._parts,
            self._parts[0].path.parents[1],
            num_words=self._words,
            unit_size=self.plan.block_draws,
            independent=self.plan.independent,
            copies=self.plan.copies,
            memory=working_memory(self.method.memory),
        )
        if self.plan.bound.num_classes is not None:  # classes of tables, which may be few
            return VolumeReport.of(facts, store.regroup(self.plan.bound), **stated)
        if store.fits:  # the functions turned out to be few
            return VolumeReport.of(facts, store.counts(), **stated)
        try:
            _ = store.merged  # now, and not when the report is first read
        except KeyboardInterrupt:
            self._stopped = True  # who asks again for a report, to say what is there, must not begin anew
            raise
        return TableReport.of(facts, store, **stated)  # type: ignore[arg-type]  # a TableReport's counts are a store
