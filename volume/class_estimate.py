"""What every method says of one class: its log volume with an interval. Each method adds what it knows beside that.

Quantity: V(C) = prior{theta : function(theta) in C}. Estimators and intervals: the kinds of entry, one for each way of
knowing: `volume.class_volume` counts draws; more kinds stand below and beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from volume.logs import LN10, finite, linear


@dataclass(frozen=True)
class ClassEstimate:
    """The prior mass of one class of functions, with its interval. Logarithms are natural unless they say ``log10``."""

    label: str
    log_volume: float  # -inf: nothing of the class was found
    log_low: float  # ends of the interval: it covers the true volume with probability ``level``
    log_high: float
    level: float

    @property
    def volume(self) -> float:
        """The volume itself; underflows to 0 where its logarithm does not."""
        return math.exp(self.log_volume)

    @property
    def low(self) -> float:
        return math.exp(self.log_low)

    @property
    def high(self) -> float:
        return math.exp(self.log_high)

    @property
    def log10_volume(self) -> float:
        return self.log_volume / LN10

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able record: infinite and undefined numbers are None, and so are linear volumes in (0, 1e-300)."""
        return {
            "label": self.label,
            "log_volume": finite(self.log_volume),
            "log_low": finite(self.log_low),
            "log_high": finite(self.log_high),
            "log10_volume": finite(self.log10_volume),
            "volume": linear(self.log_volume),
            "low": linear(self.log_low),
            "high": linear(self.log_high),
            "level": self.level,
        }
