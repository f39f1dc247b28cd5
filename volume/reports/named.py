"""The answer of a method that counts no draws: entries of named classes, and what has to be said beside them.

Every entry states its own estimator and interval (`volume.reports.entries`). Log volumes are natural logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from volume.errors import unknown, whole
from volume.functions.tables import CONSTANT
from volume.queries.quotient import log_shift
from volume.reports.entries import ClassEstimate, ReplicatedVolume, entry_from_dict
from volume.reports.facts import STATED, Facts, Report
from volume.reports.named_text import summarise, warn
from volume.reports.shares import Share
from volume.reports.text import short_names
from volume.runs.report_files import paths, remove_counts
from volume.statistics.replicates import MIN_HIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DRAWN = 40  # classes in a figure


@dataclass(frozen=True, eq=False, repr=False)
class EstimateReport(Report):
    """The answer of a method to a query, for the classes that the method was asked about.

    ``report[label]`` is the entry of a class, ``label in report`` tells whether there is one, iteration gives the
    labels. Entries keep the order in which they were made; :meth:`classes` sorts them.
    """

    format: ClassVar[str] = "param-volume estimates"

    entries: tuple[ClassEstimate, ...]
    description: dict[str, Any]  # "model", "prior", "domain", "classifier": what was asked
    method: dict[str, Any]
    seed: int | list[int]  # a number, or the two words of a JAX key
    run: dict[str, Any]  # versions, device, wall time, and what else the method counted
    conventions: dict[str, Any]
    level: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        labels = [entry.label for entry in self.entries]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(f"A report holds each class once; {twice!r} is given {labels.count(twice)} times.")

    @staticmethod
    def of(
        facts: Facts,
        entries: tuple[ClassEstimate, ...],
        *,
        method: dict[str, Any],
        conventions: dict[str, Any],
        devices: list[Any] | None = None,
        **run: Any,
    ) -> EstimateReport:
        """Return the report of a run: ``method`` with its "name", JAX ``devices`` (None: plain NumPy), and in ``run``
        what else it counted.

        ``entries`` are of prior mass; where the query counts each network once (volume.queries.quotient) they are
        shifted here.
        """
        shift = log_shift(facts.query)
        return EstimateReport(
            entries=tuple(entry.shifted(shift) for entry in entries) if shift else tuple(entries),
            description=facts.query.describe(),
            method=method,
            seed=facts.seed,
            run=facts.run_record(devices, **run),
            conventions=conventions,
            level=facts.level,
        )

    def __getitem__(self, label: Any) -> ClassEstimate:
        """The entry of this label. KeyError when the method was not asked about it."""
        digit = CONSTANT.get(label) if isinstance(label, str) else None
        for entry in self.entries:
            if entry.label == label or (digit and set(entry.label) == {digit}):
                return entry
        raise KeyError(unknown("class of this report", label, [entry.label for entry in self.entries]))

    def __contains__(self, label: object) -> bool:
        return any(entry.label == label for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[str]:
        return (entry.label for entry in self.entries)

    def classes(self, top: int | None = None) -> tuple[ClassEstimate, ...]:
        """Return the entries by falling volume, all or the first ``top``."""
        top = None if top is None else whole("top", top)
        return tuple(sorted(self.entries, key=lambda entry: -entry.log_volume)[:top])

    def shares(
        self, level: float | None = None, *, given: Any = None, labels: Sequence[Any] | None = None, top: int = 20
    ) -> tuple[Share, ...]:
        """Every class within what is given, in the order of the entries; see :func:`volume.shares`.

        ``count`` and ``units_hit`` are the replicates that met the class, of ``num_within``; shares of functions may
        lack those that no replicate met.

        Args:
            level: that of the report, at which the intervals were made.
            given: none, as what is given belongs to the query.
            labels: classes to list; default: all.
            top: at most so many, unless ``labels`` names them.

        Raises:
            ValueError: no entry is a share of another, ``given``, or another level.
            KeyError: a label that has no share here.
        """
        if given is not None:
            raise ValueError("These entries are shares of what their query gave: leave given= out.")
        if level is not None and level != self.level:
            raise ValueError(f"The intervals of these shares have level {self.level:g}: leave level={level!r} out.")
        known = {e.label: e for e in self.entries if isinstance(e, ReplicatedVolume) and e.share is not None}
        if not known:
            return super().shares()
        for label in labels or ():
            if label not in known:
                raise KeyError(unknown("class with a share", label, known))
        return tuple(_share(known[label]) for label in (list(known)[: whole("top", top)] if labels is None else labels))

    @property
    def warnings(self) -> list[str]:
        return warn(self)

    def summary(self, k: int = 10) -> str:
        return summarise(self, whole("k", k))

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Return the volumes of the largest classes with their intervals; see :func:`volume.plots.volumes`."""
        from volume.plots import figures

        shown = self.classes(MOST_DRAWN)
        return figures.volumes(shown, short_names(entry.label for entry in shown), ax=ax, path=path)

    def __repr__(self) -> str:
        return f"<EstimateReport: {len(self)} classes by {self.method.get('name', '?')}>"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        return {
            "classes": [entry.to_dict() for entry in self.classes(top)],
            "num_classes": len(self),
            **self.circumstances(),
        }

    # --- files ---

    def record(self) -> dict[str, Any]:
        body: dict[str, Any] = {name: getattr(self, name) for name in (*STATED, "level")}
        return {**body, "entries": [entry.to_dict() for entry in self.entries]}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(tuple(map(entry_from_dict, record.pop("entries"))), **record)

    def save(self, path: str | Path) -> Path:
        remove_counts(paths(path)[1])  # of a run that the record replaces
        return super().save(path)


def _share(entry: ReplicatedVolume) -> Share:
    assert entry.share is not None
    value, low, high, num_hit = entry.share
    resolved = num_hit >= MIN_HIT
    return Share(
        label=entry.label,
        share=value,
        low=low,
        high=high,
        level=entry.level,
        count=num_hit,
        num_within=entry.num_replicates,
        units_hit=num_hit,
        resolved=resolved,
        note="" if resolved else f"not resolved below {high:.2g}",
    )
