"""The answer to a query with ``symmetry="pooled"``: classes of equal volume share their hits.

Quantity: V(C), the prior mass of one class. Estimator: the hits of the class's orbit (`volume.queries.pooling`) over
the draws, divided by the orbit's size; the interval is that of the orbit's total, exact for independent draws and
between units otherwise (`volume.statistics.intervals`), divided likewise. The counts of the single classes stay: all
else is computed from them.

Shape letters: K classes or orbits listed, W words of a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from volume.classifiers.base import Classifier
from volume.classifiers.truth_table import BoundTruthTable
from volume.common.logs import finite
from volume.errors import whole
from volume.functions.canonical import TableGroup
from volume.functions.canonical_points import PointGroup
from volume.queries.pooling import group_on
from volume.queries.weighting import PriorMass
from volume.reports import counted_text, pooled_text
from volume.reports.counted import NONFINITE, VolumeReport
from volume.reports.counted_entries import ClassVolume
from volume.reports.pooled_entries import PooledTable
from volume.reports.pooled_entries import PooledVolume as PooledVolume
from volume.statistics.counts import positions
from volume.statistics.unseen import Unseen


@dataclass(frozen=True, eq=False)
class BoundOrbits(BoundTruthTable):
    """Keys are canonical forms: every table's key is that of its orbit."""

    group: TableGroup | PointGroup = field(default_factory=lambda: TableGroup(1))

    def key(self, label: Any) -> np.ndarray:
        return self.group.forms(super().key(label)[None]).keys[0]


@dataclass(frozen=True, eq=False, repr=False)
class Orbits(VolumeReport):
    """The counts of orbits as a report of its own: what it lists are orbits, and volumes are those of one member."""

    group: TableGroup | PointGroup = field(default_factory=lambda: TableGroup(1))
    size: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K] of the orbits in ``counts``

    @cached_property
    def bound(self) -> BoundOrbits:
        return BoundOrbits(self.classifier, self.domain.num_inputs, self.num_outputs, self.group)

    def _estimate(
        self, rows: np.ndarray, start: int = 0, *, keys: np.ndarray | None = None, simultaneous: int = 1
    ) -> PooledTable:
        table = super()._estimate(rows, start, keys=keys, simultaneous=simultaneous)
        size = np.append(self.size, 0)[rows]
        new = np.flatnonzero(size == 0)  # orbits never met
        size[new] = self.group.order // self.group.forms(table.keys[new]).stabiliser
        return PooledTable.divided(table, size)

    @property
    def all_seen(self) -> bool:
        """Whether every orbit was hit: together they hold all tables."""
        return int(self.size.sum()) == self.bound.total_classes

    def _everything(self) -> PooledTable:
        return self._estimate(np.arange(self.num_classes)).by_volume()

    def _choose(self, k: int) -> tuple[np.ndarray, int]:
        """As there, by falling pilot count over the size of the orbit."""
        pilot = self.pilot_units
        count = self.counts.tally(0, pilot or None).count
        if not count.any():
            pilot, count = 0, self.counts.tally().count
        seen = np.flatnonzero(count)
        return seen[np.argsort(-count[seen] / self.size[seen], kind="stable")][:k], pilot


@dataclass(frozen=True, eq=False, repr=False)
class PooledReport(VolumeReport):
    """The answer of a counting method to a query with ``symmetry="pooled"``.

    ``report[label]`` takes any table and answers from its whole orbit. ``top`` and ``classes`` list orbits by their
    canonical forms, with the volume of one member, by falling volume: the first tenth of the units chooses. ``unseen``
    is the mass of the orbits never met. What counts classes (``num_classes``, ``in``, iteration, ``counts``, figures)
    is about the single tables drawn; ``unpooled`` is the report of these alone.
    """

    @cached_property
    def group(self) -> TableGroup | PointGroup:
        """The maps between classes of equal volume."""
        return group_on(self.domain, self.conventions["symmetry_group"])

    @cached_property
    def unpooled(self) -> VolumeReport:
        """The same counts, every class by itself."""
        return VolumeReport(**{**self.parts(), "conventions": unpooled_conventions(self.conventions)})

    @cached_property
    def orbits(self) -> Orbits:
        """The report of orbits."""
        counts, forms = self.counts, self.group.forms(self.counts.keys)
        keys, first, orbit = _distinct(forms.keys)
        pooled = replace(counts.regroup(orbit, len(keys)), keys=keys)
        size = self.group.order // forms.stabiliser[first]
        return Orbits(**{**self.parts(), "counts": pooled, "group": self.group, "size": size})

    @property
    def num_orbits(self) -> int:
        """Number of orbits met."""
        return self.orbits.num_classes

    def __getitem__(self, label: Any) -> ClassVolume:
        """The class of this label, from all draws of its orbit. KeyError when there can be no such class."""
        if isinstance(label, str) and label == NONFINITE:
            return self.nonfinite
        entry = self.orbits[label]
        return replace(entry, label=self.bound.labels(self.bound.key(label)[None])[0])

    @property
    def all_seen(self) -> bool:
        """Whether every orbit was hit; ``unseen`` is the mass of those that were not."""
        return self.orbits.all_seen

    @cached_property
    def unseen_estimate(self) -> Unseen:
        return self.orbits.unseen_estimate

    def top(self, k: int = 10, *, simultaneous: bool = False) -> PooledTable:
        """Return the ``k`` orbits whose members are largest; see :meth:`VolumeReport.top`."""
        return cast(PooledTable, self.orbits.top(k, simultaneous=simultaneous))

    def classes(self, top: int | None = None) -> PooledTable:
        """Every orbit met by falling volume of its members, or the first ``top``; see :meth:`VolumeReport.classes`."""
        return cast(PooledTable, self.orbits.classes(top))

    def width_ratios(self, shown: PooledTable) -> np.ndarray:
        """Width of the unpooled interval over that of the pooled one, [K], of these classes from the same draws.

        The pooled interval is worth its square as many draws. NaN where both are points.
        """
        start = self.counts.num_units - shown.num_draws // self.counts.unit_size
        single = self.unpooled._estimate(positions(self.counts.keys, shown.keys), start, keys=shown.keys)
        widths = [np.exp(table.log_high) - np.exp(table.log_low) for table in (single, shown)]
        return np.divide(*widths, out=np.full(len(shown), np.nan), where=widths[1] > 0)

    def group_by(self, classifier: Classifier) -> VolumeReport:
        """Return a coarser classifier from the counts of single tables, unpooled; see :meth:`VolumeReport.group_by`."""
        return self.unpooled.group_by(classifier)

    # --- out ---

    @cached_property
    def warnings(self) -> list[str]:
        return counted_text.warn(self.orbits, self.top(10))

    def summary(self, k: int = 10) -> str:
        shown = self.top(whole("k", k))
        return pooled_text.summarise(self, self.orbits, shown, self.width_ratios(shown), self.group)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self.num_orbits:,} orbits>"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        shown = self.top(10)
        ratios = self.width_ratios(shown)
        median = float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else float("nan")
        pooling = {"group": self.group.describe(), "num_orbits": self.num_orbits, "median_width_ratio": finite(median)}
        return {**super().to_dict(top), "pooling": pooling}

    @classmethod
    def reads(cls, record: dict[str, Any]) -> bool:
        pooled = record["conventions"].get("symmetry") == "pooled"
        return pooled and record["method"].get("name") != "trained" and "parts" not in record["counts"]


def as_asked(report: VolumeReport) -> VolumeReport:
    """Return the report in the form that its conventions state: pooled, or as it is."""
    if report.conventions.get("symmetry") != "pooled" or type(report) is not VolumeReport:
        return report
    return PooledReport(**report.parts())


def unpooled_conventions(conventions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conventions of the same draws without pooling."""
    kept = {name: value for name, value in conventions.items() if name not in ("symmetry_group", "ties_at_most")}
    return {**kept, "symmetry": "none", **PriorMass().conventions(None)}  # type: ignore[arg-type] - it asks nothing


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct keys [K', W] in order, where each stands first [K'], and the number of each key among them [K]."""
    order = np.lexsort(keys.T[::-1])
    new = np.ones(len(keys), bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    number = np.empty(len(keys), np.int64)
    number[order] = np.cumsum(new) - 1
    first = order[new]
    return keys[first], first, number
