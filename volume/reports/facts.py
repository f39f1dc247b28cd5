"""What a run's caller tells a report of it, and what every report answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.common.jax_settings import rounding_settings
from volume.common.provenance import commit, device_record, versions
from volume.common.records import plain, short
from volume.errors import whole
from volume.queries.query import Query
from volume.reports.entries import ClassEstimate
from volume.reports.loading import Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATED = ("description", "method", "seed", "run", "conventions")


@dataclass(frozen=True)
class Facts:
    """What the caller of a run knows and the run does not; a report states it."""

    query: Query
    seed: int | list[int]  # a number, or the two words of a JAX key
    level: float  # coverage of the intervals, pointwise
    seconds: float  # wall time so far
    complete: bool  # False: stopped before its target

    def run_record(self, devices: list[Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return the ``run`` of a report: versions, commit, devices (None: no accelerator was asked), times, and
        ``more``."""
        settings = rounding_settings()
        return {
            "versions": versions(),
            "commit": commit(),
            "device": device_record(devices),
            **({"settings": settings} if settings else {}),  # of JAX and XLA, where numbers may round otherwise
            "wall_seconds": self.seconds,
            **more,
            "complete": self.complete,
        }


class Report(Stored):
    """The answer of any method: entries by label, and what has to be said beside them.

    ``report[label]`` is the entry of a class, ``label in report`` tells whether there is one, iteration gives the
    labels, ``len(report)`` is their number. ``report == volume.load(report.save(path))``. Reports are frozen
    dataclasses that have the fields below.
    """

    description: dict[str, Any]  # "model", "prior", "domain", "classifier": the query
    method: dict[str, Any]
    seed: int | list[int]  # a number, or the two words of a JAX key
    run: dict[str, Any]  # versions, device, wall time, and what else the method counted
    conventions: dict[str, Any]
    level: float

    def __post_init__(self) -> None:
        # Tuples become lists now, so that a report equals itself after a round trip through JSON.
        for name in STATED:
            object.__setattr__(self, name, plain(getattr(self, name), name))

    # --- classes ---

    def __getitem__(self, label: Any) -> ClassEstimate:
        """The entry of this label. KeyError when there is no such class."""
        raise NotImplementedError

    def __contains__(self, label: object) -> bool:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True  # a run that met no class is a result too

    def classes(self, top: int | None = None) -> Sequence[ClassEstimate]:
        """Return the entries by falling volume, all or the first ``top``."""
        raise NotImplementedError

    def top(self, k: int = 10) -> Sequence[ClassEstimate]:
        """Return the ``k`` largest classes."""
        return self.classes(whole("k", k))

    def shares(
        self, level: float | None = None, *, given: Any = None, labels: Sequence[Any] | None = None, top: int = 20
    ) -> tuple[Any, ...]:
        """Every class within what is given; see :func:`volume.shares`."""
        raise ValueError(f"{self!r} holds nothing to take shares of: estimate a query with volume.Given(...).")

    # --- out ---

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before trusting the table, one sentence each."""
        raise NotImplementedError

    def summary(self, k: int = 10) -> str:
        """Return the ``k`` largest classes and what goes with them, as text."""
        raise NotImplementedError

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Return a record that is strict JSON (no NaN, no Infinity); ``top`` as in :meth:`classes`."""
        raise NotImplementedError

    def circumstances(self) -> dict[str, Any]:
        """Return what every record says beside the classes: the question, how it was answered, and what to beware
        of."""
        return {
            "query": short(self.description),
            "method": self.method,
            "seed": self.seed,
            "level": self.level,
            "conventions": self.conventions,
            "run": self.run,
            "warnings": self.warnings,
        }

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the report's figure; written to ``path`` when one is given (.pdf, .svg or .png)."""
        raise NotImplementedError
