"""What a run's caller tells a report of it, and what every report answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from volume.common.provenance import commit, device_record, versions
from volume.reports.entries import ClassEstimate

if TYPE_CHECKING:
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
