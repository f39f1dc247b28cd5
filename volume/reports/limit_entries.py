"""The volume of one class in the limit of infinitely wide hidden layers: a Gaussian orthant probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

from volume.common.logs import finite, volume_text
from volume.reports.entries import DIGITS, ClassEstimate, stored, stored_log
from volume.reports.notes import Note, from_record, notes_of, to_record

# Above this relative error the interval of an orthant is no Student's t (volume.estimators.infinite_width.orthant).
MAX_RELATIVE_ERROR = 0.1


class Orthant(Protocol):
    """The probability of a Gaussian orthant, as `volume.log_orthant` gives it; natural logarithms."""

    @property
    def log_probability(self) -> float: ...
    @property
    def log_low(self) -> float: ...
    @property
    def log_high(self) -> float: ...
    @property
    def level(self) -> float: ...
    @property
    def relative_error(self) -> float: ...
    @property
    def log_bound(self) -> float: ...
    @property
    def num_variables(self) -> int: ...
    @property
    def num_draws(self) -> int: ...
    @property
    def num_replicates(self) -> int: ...
    @property
    def jitter(self) -> float: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, repr=False)
class LimitVolume(ClassEstimate):
    """The volume of one class were the hidden layers infinitely wide (`volume.infinite_width`)."""

    relative_error: float  # standard error of the probability over the probability; 0 for an exact answer
    log_upper_bound: float  # owes nothing to chance; 0 when there is none
    num_variables: int  # labelled inputs
    num_draws: int  # all replicates together; 0 for an exact answer
    num_replicates: int
    jitter: float  # what was added to each output's variance, as a fraction of it
    notes: tuple[Note, ...] = ()

    kind: ClassVar[str] = "limit"

    @classmethod
    def of(cls, label: str, orthant: Orthant) -> LimitVolume:
        """Return the entry of a class from its orthant probability."""
        return cls(
            label,
            orthant.log_probability,
            orthant.log_low,
            orthant.log_high,
            orthant.level,
            relative_error=orthant.relative_error,
            log_upper_bound=min(orthant.log_bound, 0.0),
            num_variables=orthant.num_variables,
            num_draws=orthant.num_draws,
            num_replicates=orthant.num_replicates,
            jitter=orthant.jitter,
            notes=notes_of(orthant.notes),
        )

    def shifted(self, shift: float) -> Self:
        return replace(super().shifted(shift), log_upper_bound=self.log_upper_bound + shift)

    @property
    def degrees(self) -> float:
        return self.num_replicates - 1 if self.num_draws else math.inf

    def why_not_compared(self) -> str:
        if self.relative_error > MAX_RELATIVE_ERROR:
            return f"its relative error is {self.relative_error:.2g}, more than {MAX_RELATIVE_ERROR:g}"
        return "it is empty in the wide limit" if self.log_volume == -math.inf else ""

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "kind": self.kind,
            "relative_error": self.relative_error,
            "log_upper_bound": finite(self.log_upper_bound),
            "num_variables": self.num_variables,
            "num_draws": self.num_draws,
            "num_replicates": self.num_replicates,
            "jitter": self.jitter,
            **to_record(self.notes),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> LimitVolume:
        names = ("relative_error", "num_variables", "num_draws", "num_replicates", "jitter")
        return cls(
            **stored(record),
            **{name: record[name] for name in names},
            log_upper_bound=stored_log(record["log_upper_bound"]),
            notes=from_record(record),
        )

    def cells(self) -> dict[str, str]:
        return {
            **super().cells(),
            "upper bound": volume_text(self.log_upper_bound, DIGITS),
            "relative error": f"{self.relative_error:.2g}",
            "inputs": f"{self.num_variables:,}",
        }
