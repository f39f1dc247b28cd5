"""The report of truth tables that memory cannot hold: `VolumeReport`'s words, answered from disk
(volume.runs.table_store).

Its numbers are those that the same counts would give in memory. What lists every class is refused with a sentence where
there are more than a million; iteration reads the classes from disk, a range of keys at a time.

Shape letters: K classes listed, W words of a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from volume.classifiers.base import BoundClassifier
from volume.errors import whole
from volume.reports.counted import NONFINITE, VolumeReport
from volume.reports.counted_entries import ClassTable, ClassVolume, estimate_tally
from volume.runs.report_files import paths, remove_counts, write_record
from volume.runs.table_store import TableStore
from volume.statistics.counts import Counts, Tally, positions
from volume.statistics.intervals import cluster_of_rare
from volume.statistics.ratios import share_limits
from volume.statistics.unseen import Unseen, missing_mass


@dataclass(frozen=True, eq=False, repr=False)
class TableReport(VolumeReport):
    """A `VolumeReport` whose counts lie in a run directory, as a run makes it when they do not fit in memory.

    ``report[label]``, ``top``, ``unseen``, ``group_by``, ``summary``, ``to_dict(top)``, ``save`` into its own folder
    and ``volume.load`` work as they do there. ``group_by`` reads all parts once and gives an ordinary report.
    """

    counts: TableStore  # type: ignore[assignment]  # what a report asks of Counts; the rest refuses

    # --- one class ---

    def __getitem__(self, label: Any) -> ClassVolume:
        """The class of this label, from all draws. KeyError when there can be no such class."""
        if isinstance(label, str) and label == NONFINITE:
            return self.nonfinite
        return self._listed(self.bound.key(label)[None])[0]

    def __contains__(self, label: object) -> bool:
        if isinstance(label, str) and label == NONFINITE:
            return self.num_nonfinite > 0
        try:
            key = self.bound.key(label)
        except KeyError:
            return False
        return bool(self.counts.tallies(key[None]).count[0])

    def __iter__(self) -> Iterator[str]:
        for counts in self.counts.ranges():
            for start in range(0, counts.num_classes, 10_000):
                yield from self.bound.labels(counts.keys[start : start + 10_000])

    @cached_property
    def unseen_estimate(self) -> Unseen:
        """The unseen mass from the counts alone; see :attr:`VolumeReport.unseen_estimate`."""
        return missing_mass(self.counts.merged.alone, self.counts, self.level, cluster=self._cluster)

    @cached_property
    def _cluster(self) -> float:
        if self.counts.independent:
            return 1.0
        if self.counts.copies > 1:
            return self.largest_cluster
        return cluster_of_rare(self.counts.merged.rare, self.largest_cluster)

    # --- many classes ---

    def top(self, k: int = 10, *, simultaneous: bool = False) -> ClassTable:
        """Return the ``k`` largest classes; see :meth:`VolumeReport.top`."""
        keys, start = self.counts.leaders(whole("k", k))
        tried = len(keys) if start else self.num_classes
        return self._listed(keys, start, simultaneous=max(tried, 1) if simultaneous else 1)

    def classes(self, top: int | None = None) -> ClassTable:
        """Return classes by falling volume; see :meth:`VolumeReport.classes`. ValueError where all of them are too
        many."""
        if top is None or whole("top", top) >= self.num_classes:
            keys, tally = self.counts.everything()
            order = np.argsort(-tally.count, kind="stable")  # classes stand in key order, and ties stay in it
            return self._estimates(keys[order], Tally(*(column[order] for column in tally)))
        keys, start = self.counts.leaders(top)
        return self._listed(keys, start).by_volume()

    def _listed(self, keys: np.ndarray, start: int = 0, *, simultaneous: int = 1) -> ClassTable:
        """Classes by key [K, W], from the units from ``start`` on."""
        return self._estimates(keys, self.counts.tallies(keys, start), start, simultaneous)

    def _estimates(self, keys: np.ndarray, tally: Tally, start: int = 0, simultaneous: int = 1) -> ClassTable:
        counts, shares = self.counts, None
        if not counts.even:
            listed = counts.take(keys)
            each = 1 - (1 - self.level) / simultaneous
            rows = positions(listed.keys, keys)
            shares = share_limits(listed, rows, each, start=start, cluster=self._cluster, within=counts.within)
        return estimate_tally(
            tally,
            counts,
            keys,
            self.bound.labels,
            self.level,
            simultaneous,
            self._cluster,
            counts.num_units - start,
            shift=self.log_shift,
            quotient=self.quotient,
            shares=shares,
            undecided=self.num_vanished > 0,
        )

    # --- other questions of the same draws ---

    def _grouped(self, bound: BoundClassifier) -> VolumeReport:
        return self.of_counts(self.counts.regroup(bound), bound)

    @classmethod
    def reads(cls, record: dict[str, Any]) -> bool:
        return "parts" in record["counts"]

    @classmethod
    def stored_counts(cls, record: dict[str, Any], path: Path) -> Any:
        return TableStore.from_record(path.parent, record["counts"])

    def save(self, path: str | Path) -> Path:
        """Write the record of the run into its own folder; ValueError for another one, as a table is not copied."""
        record_path, counts_path = paths(path)
        store = self.counts
        if record_path.parent.resolve() != store.folder.resolve():
            raise ValueError(
                f"The counts of this report are the parts of {store.folder}, as large as they are: save the report "
                "there, and copy that folder where it is wanted."
            )
        remove_counts(counts_path)
        return write_record(record_path, self.format, {**self.record(), "counts": store.record()})

    def _same_counts(self, other: VolumeReport) -> bool:
        return isinstance(other.counts, TableStore) and self.counts.record() == other.counts.record()

    def of_counts(self, counts: Counts, bound: BoundClassifier) -> VolumeReport:
        """Return an ordinary report of these counts, which fit in memory."""
        description = {**self.description, "classifier": bound.describe()}
        changed = {"counts": counts, "classifier": bound.classifier, "description": description}
        return VolumeReport(**{**self.parts(), **changed})
