"""What a run found: the volume of every class, and everything that has to be said beside it.

All answers are computed from the counts, on demand. Log volumes are natural logarithms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from volume.classifiers.base import MAX_DEVICE_CLASSES, BoundClassifier, Classifier, from_description
from volume.classifiers.given import Given
from volume.classifiers.predicate import Recorded
from volume.common.records import plain
from volume.errors import whole
from volume.functions import domains, tables
from volume.reports import counted_text
from volume.reports.counted_classes import NONFINITE as NONFINITE
from volume.reports.counted_classes import CountedClasses
from volume.reports.counted_entries import ClassVolume as ClassVolume
from volume.reports.loading import load
from volume.reports.shares import Share, counted_shares
from volume.runs.report_files import paths, read_counts, write_counts, write_record
from volume.statistics.counts import Counts

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

FIELDS = ("description", "method", "seed", "run", "conventions", "level", "num_outputs")  # stored as they are
MATRICES = ("keys", "offsets", "unit", "hits", "nonfinite")
SIZES = ("num_units", "unit_size", "independent", "complete", "copies")


@dataclass(frozen=True, eq=False, repr=False)
class VolumeReport(CountedClasses):
    """The answer of a method to a query.

    ``report[label]`` is the :class:`ClassVolume` of a class named in advance, from all draws;
    ``report["nonfinite"]`` that of networks that gave NaN or inf. ``len(report)`` is the number of classes
    seen, ``label in report`` tells whether a class was, and iteration gives the labels seen.

    The keys of ``counts`` are those of the classifier (``BoundClassifier.key``): packed tables for
    ``TruthTable``, else class numbers. Make the report of a coarser classifier from counted tables with
    :meth:`group_by`.
    """

    format: ClassVar[str] = "param-volume run"

    def parts(self) -> dict[str, Any]:
        """Return the fields of a counted report by name, for another kind of report on the same run."""
        return {entry.name: getattr(self, entry.name) for entry in fields(VolumeReport)}

    # --- other questions of the same draws ---

    def group_by(self, classifier: Classifier) -> VolumeReport:
        """Return the answer of a coarser classifier from the stored truth tables; nothing is drawn again.

        Raises:
            TypeError: ``classifier`` is not one.
            ValueError: this report holds no truth tables, or the classifier needs more than them.
        """
        if not isinstance(classifier, Classifier):
            raise TypeError(f"group_by takes a classifier such as volume.Ones(); got {classifier!r}.")
        if not self.classifier.single_functions:
            raise ValueError(
                f"This report holds the classes of {type(self.classifier).__name__}, no longer the truth tables "
                "behind them: group the report that was estimated with TruthTable()."
            )
        if classifier.single_functions:
            return self
        bound = classifier.bind(self.domain, self.num_outputs)
        if not bound.of_table:
            raise ValueError(
                f"{type(classifier).__name__} needs the outputs themselves, and a report stores decisions only: "
                "estimate a query with this classifier instead."
            )
        return self._grouped(bound)

    def _grouped(self, bound: BoundClassifier) -> VolumeReport:
        known = bound.num_classes
        if known is None or known <= MAX_DEVICE_CLASSES:
            counts = bound.of_tables(self.counts)
        else:  # number the groups that occur, so that (group, unit) fits one integer
            occurring, group = np.unique(bound.classify_keys(self.counts.keys), return_inverse=True)
            counts = self.counts.regroup(group, len(occurring))
            counts = replace(counts, keys=occurring.astype(np.uint64)[:, None])
        description = {**self.description, "classifier": bound.describe()}
        return replace(self, counts=counts, classifier=bound.classifier, description=description)

    def shares(
        self,
        level: float | None = None,
        *,
        given: Given | None = None,
        labels: Sequence[Any] | None = None,
        top: int = 20,
    ) -> tuple[Share, ...]:
        """Every class within what is given; see :func:`volume.shares`."""
        if given is not None and not isinstance(given, Given):
            raise TypeError(f"given={given!r} is no volume.Given(...): give what is given and what splits it.")
        grouped = self if given is None or self.classifier == given else self.group_by(given)
        return counted_shares(grouped, level, labels=labels, top=top)

    # --- out ---

    @cached_property
    def warnings(self) -> list[str]:
        return counted_text.warn(self, self.top(10))

    def summary(self, k: int = 10) -> str:
        return counted_text.summarise(self, whole("k", k))

    def __repr__(self) -> str:
        name = self.method.get("name", "?")
        draws = "parameterisations" if self.complete else "draws"
        return f"<{type(self).__name__}: {self.num_draws:,} {draws} by {name}, {self.num_classes:,} classes seen>"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        return {
            "classes": [entry.to_dict() for entry in self.classes(top)],
            "unseen": plain(self.unseen.to_dict()),
            "nonfinite": self.nonfinite.to_dict(),
            "num_draws": self.num_draws,
            "complete": self.complete,
            "copies": self.counts.copies,
            "num_units": self.counts.num_units,
            "num_classes": self.num_classes,
            "num_nonfinite": self.num_nonfinite,
            **self.circumstances(),
        }

    def to_pandas(self, top: int | None = None) -> pandas.DataFrame:
        """:meth:`classes` as a table, one row a class. Raises ImportError where pandas is not installed."""
        return self.classes(top).to_pandas()

    # --- files ---

    def record(self) -> dict[str, Any]:
        body: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        body["description"] = {
            **self.description,
            "domain": self.domain.describe(),
            "classifier": self.classifier.describe(),
        }
        if self.bound.needs_outputs:
            # The user's function cannot be stored; the names of its classes can, and are all that a stored run needs.
            body["labels"] = [self.bound.label(index) for index in range(self.bound.num_classes or 0)]
        return body

    def save(self, path: str | Path) -> Path:
        """Write the run without loss and return the path of its record; the counts lie beside it.

        Args:
            path: a name that ends in ``.json``, or a folder, which is made when it is not there.
        """
        record_path, counts_path = paths(path)
        record_path.parent.mkdir(parents=True, exist_ok=True)
        sizes = write_counts(self.counts, counts_path)
        return write_record(record_path, self.format, {**self.record(), "counts": sizes})

    @staticmethod
    def load(path: str | Path) -> VolumeReport:
        """Return a run written by :meth:`save`; nothing in it is executed. ValueError says what is wrong with it."""
        report = load(path)
        if not isinstance(report, VolumeReport):
            raise ValueError(
                f"{path} holds {report!r}, which has no counts behind it: read it with volume.load, which takes all "
                "kinds."
            )
        return report

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        report = cls(counts=cls.stored_counts(record, path), **stated(record))
        check_layout(report)
        return report

    @classmethod
    def stored_counts(cls, record: dict[str, Any], path: Path) -> Counts:
        """Return the counts that the record at ``path`` speaks of."""
        return read_counts(path, record["counts"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VolumeReport) or type(self) is not type(other):
            return NotImplemented
        return super().__eq__(other) and self._same_counts(other)

    __hash__ = CountedClasses.__hash__

    def _same_counts(self, other: VolumeReport) -> bool:
        a, b = self.counts, other.counts
        return all(getattr(a, name) == getattr(b, name) for name in SIZES) and all(
            np.array_equal(getattr(a, name), getattr(b, name)) for name in MATRICES
        )

    # --- figures ---

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Volume against rank; see :func:`volume.plots.rank`."""
        return self.plot_rank(path, ax)

    def plot_rank(self, path: str | Path | None = None, ax: Axes | None = None) -> Axes:
        """Volume against rank; see :func:`volume.plots.rank`."""
        from volume.plots import figures

        return figures.rank(self, ax=ax, path=path)

    def plot_complexity(self, path: str | Path | None = None, ax: Axes | None = None) -> Axes:
        """Volume against Lempel-Ziv complexity; see :func:`volume.plots.complexity`."""
        from volume.plots import figures

        return figures.complexity(self, ax=ax, path=path)

    def plot_balance(self, path: str | Path | None = None, ax: Axes | None = None) -> Axes:
        """Volume by the number of inputs in class 1; see :func:`volume.plots.balance`."""
        from volume.plots import figures

        return figures.balance(self, ax=ax, path=path)


def check_layout(report: VolumeReport) -> None:
    """Raise ValueError where counts that were read are not laid out as the report's method says, or are of other
    classes than its classifier's."""
    counts, method, bound = report.counts, report.method, report.bound
    if method.get("unit_size", counts.unit_size) != counts.unit_size:
        raise ValueError(
            f"its counts are in units of {counts.unit_size:,} draws, its method's of {method['unit_size']}"
        )
    if method.get("independent_draws", counts.independent) != counts.independent:
        raise ValueError("its method and its counts differ in whether draws are independent")
    if not isinstance(counts, Counts) or not len(counts.keys):
        return
    of_tables = bound.num_classes is None and report.classifier.single_functions
    words = tables.num_words(bound.num_inputs, report.num_outputs) if of_tables else 1
    if counts.keys.shape[1] != words:
        raise ValueError(f"its classes have {counts.keys.shape[1]} words and not {words}")
    if bound.num_classes is not None and int(counts.keys.max()) >= bound.num_classes:
        raise ValueError(f"it has a class of number {int(counts.keys.max()):,}, and there are {bound.num_classes:,}")
    unused = 64 * words - bound.num_inputs * tables.bits_per_input(report.num_outputs)
    if of_tables and (counts.keys[:, -1] & np.uint64((1 << unused) - 1)).any():
        raise ValueError("it has tables of more inputs than its domain")


def stated(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a counted report but its counts, from its stored record."""
    description = record["description"]
    if "labels" in record:
        classifier: Classifier = Recorded(json.dumps(description["classifier"]), tuple(record["labels"]))
    else:
        classifier = from_description(description["classifier"])
    domain = domains.from_description(description["domain"])
    return {"domain": domain, "classifier": classifier, **{name: record[name] for name in FIELDS}}
