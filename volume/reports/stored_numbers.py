"""The sizes and ranges of the numbers in a stored record, whatever kind of result it holds.

A record with a right checksum may still be forged, or made by a program with a fault. Names mean the same in all
records, so each is held to what it can be: a volume and a share lie in [0, 1], a logarithm of one is not positive, a
number of things is whole and not negative, and the ends of an interval come in order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ROUNDING = 1e-6  # that a logarithm may lie above 0 by
UNIT = ("volume", "share", "mass", "p_value")
LOGS = ("log_volume", "log_low", "log_high", "log_bound", "log10_volume", "log_upper_bound", "log_probability")
WHOLE = (
    *("num_units", "num_draws", "num_classes", "num_nonfinite", "num_dead", "num_hit", "num_rays", "num_replicates"),
    *("num_within", "num_variables", "num_inputs", "num_outputs", "num_train", "num_other", "num_labels", "unit_size"),
)
POSITIVE = ("wall_seconds", "seconds", "spread", "relative_error", "effective_rays", "jitter", "standard_error")
MOST = 2**70  # of a whole number: networks of a lattice may be more than 2^62
# By rays, and by weights, an estimate of a volume may lie above 1.
WEIGHTED = ("local",)


def check_numbers(record: Any, where: str = "") -> None:
    """Raise ValueError, naming the place, for a number in a record that its name does not allow."""
    if isinstance(record, Mapping):
        weighted = record.get("kind") in WEIGHTED
        ends = ("low", "high") if "volume" in record or "share" in record else ()  # of a slope they may lie anywhere
        for name, value in record.items():
            place = f"{where}.{name}" if where else str(name)
            if isinstance(value, (Mapping, list)):
                check_numbers(value, place)
            elif name == "level" and not isinstance(value, (int, float)):
                raise ValueError(f"{place} is {value!r}, not between 0 and 1")
            elif value is not None and not isinstance(value, (bool, str)):
                _check("volume" if name in ends else str(name), value, place, weighted)
        for low, high in (("low", "high"), ("log_low", "log_high")):
            first, last = record.get(low), record.get(high)
            if isinstance(first, (int, float)) and isinstance(last, (int, float)) and first > last + ROUNDING:
                raise ValueError(f"{where or 'an interval'} ends at {last!r}, before it begins at {first!r}")
    elif isinstance(record, list):
        for number, value in enumerate(record):
            if isinstance(value, (Mapping, list)):
                check_numbers(value, f"{where}[{number}]")


def _check(name: str, value: float, place: str, weighted: bool) -> None:
    low, high, whole = -math.inf, math.inf, False
    if name == "level":
        if not 0 < value < 1:
            raise ValueError(f"{place} is {value!r}, not between 0 and 1")
    elif name in UNIT:
        low, high = 0.0, math.inf if weighted else 1 + ROUNDING
    elif name in LOGS:
        high = math.inf if weighted else ROUNDING
    elif name in WHOLE:
        low, high, whole = 0, MOST, True
    elif name in POSITIVE:
        low = 0.0
    if not low <= value <= high:
        raise ValueError(f"{place} is {value!r}, outside {low:g} to {high:g}")
    if whole and value != int(value):
        raise ValueError(f"{place} is {value!r}, no whole number")
