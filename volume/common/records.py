"""Plain data: what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Metadata of a dataclass field that records do without at its default: those from before it was a setting mean that.
ADDED_LATER = {"added_later": True}


def plain(value: Any, where: str = "value") -> Any:
    """``value`` as JSON reads it back: dicts with string keys, lists, strings, numbers, True, False and None.

    NaN and the infinities become None, for which JSON has a word. TypeError for anything else, naming its
    place.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(entry, f"{where}[{name!r}]") for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, (list, tuple)):
        return [plain(entry, where) for entry in value]
    raise TypeError(
        f"{where} is a {type(value).__name__}, which no JSON file can hold: give numbers, strings, lists or dicts."
    )


def short(value: Any) -> Any:
    """Return a description without the arrays whose SHA-256 stands beside them; run files keep them."""
    if isinstance(value, dict):
        left_out = {"inputs"} if "sha256" in value else set()
        return {name: short(entry) for name, entry in value.items() if name not in left_out}
    return value
