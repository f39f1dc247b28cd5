"""What a method is to this project: something that answers a query step by step.

`volume.estimate` needs no more of a method than this file says; docs/methods.md says how to write one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from volume.common.progress import Progress
from volume.common.provenance import commit, device_record, versions
from volume.reports.entries import ClassEstimate

if TYPE_CHECKING:
    from jax import Array

    from volume.queries.query import Query


@dataclass(frozen=True)
class Facts:
    """What the caller of a run knows and the run does not; a report states it."""

    query: Query
    seed: int | list[int]  # a number, or the two words of a JAX key
    level: float  # coverage of the intervals, pointwise
    seconds: float  # wall time so far
    complete: bool  # False: stopped before its target

    def run_record(self, devices: list[Any] | None = None, **more: Any) -> dict[str, Any]:
        """The ``run`` of a report: versions, commit, devices (None: no accelerator was asked), times, and ``more``."""
        return {
            "versions": versions(),
            "commit": commit(),
            "device": device_record(devices),
            "wall_seconds": self.seconds,
            **more,
            "complete": self.complete,
        }


class Report(Protocol):
    """The answer of any method: entries by label, and what has to be said beside them."""

    @property
    def description(self) -> dict[str, Any]: ...  # "model", "prior", "domain", "classifier": what was asked
    @property
    def method(self) -> dict[str, Any]: ...
    @property
    def seed(self) -> int | list[int]: ...
    @property
    def run(self) -> dict[str, Any]: ...
    @property
    def conventions(self) -> dict[str, Any]: ...
    @property
    def level(self) -> float: ...
    @property
    def warnings(self) -> list[str]: ...

    def __getitem__(self, label: Any) -> ClassEstimate: ...
    def classes(self, top: int | None = None) -> Iterable[ClassEstimate]: ...
    def summary(self, k: int = 10) -> str: ...
    def to_dict(self, top: int | None = None) -> dict[str, Any]: ...
    def save(self, path: str | Path) -> Path: ...


R_co = TypeVar("R_co", bound=Report, covariant=True)


class Run(Protocol[R_co]):
    """One query being answered: advance it until it is done; a report may be asked for at any time."""

    @property
    def done(self) -> bool: ...

    def advance(self) -> None:
        """One step: long enough (.1 to 2 s) to hide its overhead, short enough for progress and Ctrl-C."""

    def progress(self) -> Progress:
        """Where the run stands; its caller fills in the time."""
        ...

    def report(self, facts: Facts) -> R_co | None:
        """The answer, of an unfinished run from what was learnt so far; None when that is nothing."""
        ...


class Method(Protocol[R_co]):
    """How to answer a query: a frozen value that can be used for any number of queries."""

    @property
    def name(self) -> str: ...  # as in the report's ``method["name"]``

    def start(self, query: Query, key: Array) -> Run[R_co]:
        """Begin; the key is consumed. ValueError or TypeError, before anything is traced, for a query that this method
        cannot answer: the sentence names a method that can."""
        ...
