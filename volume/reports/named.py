"""The answer of a method that counts no draws: entries of named classes, and what has to be said beside them.

Every entry states its own estimator and interval (`volume.class_estimate`). Log volumes are natural logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volume.common.records import plain, short
from volume.errors import unknown, whole
from volume.reports.entries import ClassEstimate
from volume.reports.facts import Facts


@dataclass(frozen=True, eq=False, repr=False)
class EstimateReport:
    """The answer of a method to a query, for the classes that the method was asked about.

    ``report[label]`` is the entry of a class, ``label in report`` tells whether there is one, iteration gives the
    labels. Entries keep the order in which they were made; :meth:`classes` sorts them.
    """

    entries: tuple[ClassEstimate, ...]
    description: dict[str, Any]  # "model", "prior", "domain", "classifier": what was asked
    method: dict[str, Any]
    seed: int | list[int]  # a number, or the two words of a JAX key
    run: dict[str, Any]  # versions, device, wall time, and what else the method counted
    conventions: dict[str, Any]
    level: float = 0.95

    def __post_init__(self) -> None:
        # Tuples become lists now, so that a report equals itself after a round trip through JSON.
        for name in ("description", "method", "seed", "run", "conventions"):
            object.__setattr__(self, name, plain(getattr(self, name), name))
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
        """The report of a run: ``method`` with its "name", JAX ``devices`` (None: plain NumPy), and in ``run`` what
        else it counted.

        ``entries`` are of prior mass; where the query counts each network once (volume.quotient) they are shifted here.
        """
        from volume.queries.quotient import log_shift

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
        for entry in self.entries:
            if entry.label == label:
                return entry
        raise KeyError(unknown("class of this report", label, [entry.label for entry in self.entries]))

    def __contains__(self, label: object) -> bool:
        return any(entry.label == label for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return True  # a run that reached no class is a result too

    def __iter__(self) -> Iterator[str]:
        return (entry.label for entry in self.entries)

    def classes(self, top: int | None = None) -> tuple[ClassEstimate, ...]:
        """The entries by falling volume, all or the first ``top``."""
        top = None if top is None else whole("top", top)
        return tuple(sorted(self.entries, key=lambda entry: -entry.log_volume)[:top])

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before trusting the table, one sentence each."""
        from volume.reports.named_text import warn

        return warn(self)

    def summary(self, k: int = 10) -> str:
        """The ``k`` largest classes and what goes with them, as text for a terminal of 120 columns."""
        from volume.reports.named_text import summarise

        return summarise(self, whole("k", k))

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<EstimateReport: {len(self)} classes by {self.method.get('name', '?')}>"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """A record that is strict JSON (no NaN, no Infinity); ``top`` as in :meth:`classes`."""
        return {
            "classes": [entry.to_dict() for entry in self.classes(top)],
            "num_classes": len(self),
            "query": short(self.description),
            "method": self.method,
            "seed": self.seed,
            "level": self.level,
            "conventions": self.conventions,
            "run": self.run,
            "warnings": self.warnings,
        }

    def save(self, path: str | Path) -> Path:
        """Write the report without loss and give back its path; see :mod:`volume.storage`."""
        from volume.runs.report_files import save_estimates

        return save_estimates(self, path)
