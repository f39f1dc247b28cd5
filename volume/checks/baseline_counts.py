"""What a baseline keeps of a counted report: enough for an exact comparison, and for a two-sample test.

Of every listed class the column sums of the units x classes matrix (`volume.statistics.counts.Tally`), from which
clustered hits get their variance; of the classes that are not listed their sums together; and the SHA-256 of the whole
matrix, so that no difference anywhere goes unseen. All classes are listed up to MAX_LISTED, else those with most hits.

Shape letter: K classes listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from volume.reports.counted import VolumeReport
from volume.reports.counted_comparison import MIN_COUNT
from volume.reports.counted_entries import tally_nonfinite
from volume.reports.pooled import PooledReport
from volume.statistics.counts import Counts, Tally

MAX_LISTED = 1000
OFTEN = -(-MIN_COUNT // 2)  # a class with MIN_COUNT hits in two reports has so many in one of them


@dataclass(frozen=True, eq=False)
class CountedAnswer:
    """The hits of a report without their units."""

    labels: tuple[str, ...]  # [K] by falling count
    tally: Tally  # [K]
    rest: Tally  # [1] of all classes that are not listed, together
    nonfinite: Tally  # [1]
    alone: int  # draws whose class occurs in no other unit, the numerator of the unseen mass
    alone_variance: float
    num_classes: int
    often: int  # classes with OFTEN hits or more
    sha256: str  # of all counts
    layout: dict[str, Any]  # num_units, unit_size, independent, complete, copies
    largest_cluster: float
    facts: dict[str, int]  # whole numbers that go with the counts: near ties, how training runs ended
    method: dict[str, Any]  # with the heads and bodies of a unit

    @classmethod
    def of(cls, report: VolumeReport) -> CountedAnswer:
        """Return the answer of a report. ValueError where its counts are not in memory (volume.reports.on_disk)."""
        if not isinstance(report.counts, Counts):
            raise ValueError(
                "The counts of this report stay on disk, and a baseline is made of counts in memory: make it of a "
                "coarser classifier, as report.group_by(volume.Ones()) gives, or of fewer draws."
            )
        report = counted(report)
        counts, tally = report.counts, report.counts.tally()
        order = np.argsort(-tally.count, kind="stable")[:MAX_LISTED]  # ties stay in the order of keys
        unseen = report.unseen_estimate
        return cls(
            labels=tuple(report.bound.labels(counts.keys[order])) if len(order) else (),
            tally=Tally(*(column[order] for column in tally)),
            rest=rest_of(counts, order),
            nonfinite=tally_nonfinite(counts),
            alone=unseen.alone,
            alone_variance=(unseen.standard_error * unseen.draws) ** 2,
            num_classes=counts.num_classes,
            often=int((tally.count >= OFTEN).sum()),
            sha256=digest(counts),
            layout={
                "num_units": counts.num_units,
                "unit_size": counts.unit_size,
                "independent": bool(counts.independent),
                "complete": bool(counts.complete),
                "copies": counts.copies,
            },
            largest_cluster=float(report.largest_cluster),
            facts=facts_of(report),
            method=report.method,
        )

    @property
    def counts(self) -> Counts:
        """How the draws were made, without their classes."""
        return Counts(
            keys=np.zeros((0, 1), np.uint64),
            offsets=np.zeros(1, np.int64),
            unit=np.zeros(0, np.int32),
            hits=np.zeros(0, np.int32),
            nonfinite=np.zeros(0, np.int64),
            **self.layout,
        )

    @property
    def listed_all(self) -> bool:
        return len(self.labels) == self.num_classes

    def to_dict(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            **self.layout,
            "largest_clump": self.largest_cluster,
            "facts": self.facts,
            "num_classes": self.num_classes,
            "often": self.often,
            "alone": self.alone,
            "alone_variance": self.alone_variance,
            "nonfinite": _row(self.nonfinite),
            "rest": _row(self.rest),
            "columns": list(Tally._fields),
            "classes": {
                label: row for label, *row in zip(self.labels, *(column.tolist() for column in self.tally), strict=True)
            },
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], method: Mapping[str, Any]) -> CountedAnswer:
        """Return the answer that wrote this record with :meth:`to_dict`."""
        layout = ("num_units", "unit_size", "independent", "complete", "copies")
        same = ("alone", "alone_variance", "num_classes", "often", "sha256", "facts")
        return cls(
            labels=tuple(record["classes"]),
            tally=_tally(list(record["classes"].values())),
            rest=_tally([record["rest"]]),
            nonfinite=_tally([record["nonfinite"]]),
            layout={name: record[name] for name in layout},
            method=dict(method),
            largest_cluster=record["largest_clump"],
            **{name: record[name] for name in same},
        )


def counted(report: VolumeReport) -> VolumeReport:
    """Return the report whose classes are counted: of pooled ones that of their orbits."""
    return report.orbits if isinstance(report, PooledReport) else report


def facts_of(report: VolumeReport) -> dict[str, int]:
    """Whole numbers that a report states beside its counts."""
    near, training = report.run.get("near_ties"), report.run.get("training")
    facts = {} if near is None else {"near ties": int(near)}
    if training and not training.get("given_fit"):
        facts |= {f"runs that ended: {end}": int(runs) for end, runs in training["ends"].items()}
    if training:
        facts["updates"] = int(training["updates"])
    return facts


def rest_of(counts: Counts, listed: np.ndarray) -> Tally:
    """Column sums [1] of all classes but those at the positions ``listed``, taken as one class."""
    others = np.ones(counts.num_classes, np.int64)
    others[listed] = 0
    if not others.any():
        return Tally(*(np.zeros(1, np.int64) for _ in Tally._fields))
    grouped = counts.regroup(others, 2)
    return Tally(*(column[-1:] for column in grouped.tally()))


def digest(counts: Counts) -> str:
    """Return the SHA-256 of the whole matrix of hits, whatever integers hold it."""
    sha256 = hashlib.sha256(repr((counts.num_units, counts.unit_size, counts.keys.shape[1])).encode())
    columns = (counts.keys, counts.offsets, counts.unit, counts.hits, counts.nonfinite)
    for column, kind in zip(columns, ("<u8", "<i8", "<i8", "<i8", "<i8"), strict=True):
        for start in range(0, max(len(column), 1), 1 << 20):  # a table may have tens of millions of rows
            sha256.update(np.ascontiguousarray(column[start : start + (1 << 20)], kind).tobytes())
    return sha256.hexdigest()


def _row(tally: Tally) -> list[int]:
    return [int(column[0]) for column in tally]


def _tally(rows: list[list[int]]) -> Tally:
    return Tally(*np.array(rows, np.int64).reshape(-1, len(Tally._fields)).T)
