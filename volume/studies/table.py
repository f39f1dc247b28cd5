"""The table of measures: its rows, its columns, and the runs behind them.

Shape letters: C classes of one input, M other inputs, K rows (classes of behaviour).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from volume.reports.counted import VolumeReport
from volume.reports.named import EstimateReport
from volume.reports.trained import TrainedReport
from volume.studies.columns import Column
from volume.studies.rows import Row

ORIGIN = ("level", "seed", "method", "conventions", "run")


@dataclass(frozen=True, eq=False, repr=False)
class MeasureTable:
    """A task under several measures; `volume.studies.measures` adds text, a figure and files."""

    name: str  # of the task
    rows: tuple[Row, ...]  # [K]
    columns: tuple[Column, ...]
    absent: dict[str, str]  # measure -> why it has no column
    num_inputs: int
    num_train: int
    num_other: int  # M, test or trigger inputs
    num_classes: int  # C
    log_num_functions: float  # that fit
    report: VolumeReport | EstimateReport | None  # the run behind the parameter volume; None of a loaded table
    description: dict[str, Any]
    seconds: float
    trained: dict[str, TrainedReport] = field(default_factory=dict)  # the runs behind the columns of optimisers
    origin: dict[str, Any] = field(default_factory=dict)  # ORIGIN of the report, which a stored table keeps

    def __post_init__(self) -> None:
        if self.report is not None:
            object.__setattr__(self, "origin", {name: getattr(self.report, name) for name in ORIGIN})

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"No column {name!r}: {self.absent.get(name, self._known)}")

    @property
    def _known(self) -> str:
        return f"the columns are {', '.join(column.name for column in self.columns)}."

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    @property
    def level(self) -> float:
        """Of the intervals, pointwise."""
        return self.origin["level"]
