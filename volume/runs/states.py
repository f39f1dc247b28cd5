"""The state of what is under way, as a part of a run (volume.parts): one at a time, replaced by later ones, and emptied
once what it led to is a part itself.

Shape letters: G replicates, N particles of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from volume.runs.parts import Part, StoredPart

STATE_SECONDS = 10.0  # between two states: what a kill may cost
STATE_RATE = 5e6  # bytes of states a second: some per cent of what a disk takes


class LatestState:
    """Which state is of use, and when the next one is due. ``facts``: of the part that takes the place of the last."""

    def __init__(self, **facts: Any):
        self._facts = facts
        self._name: str | None = None  # of the latest, while it is of use
        self._kept_at: tuple[str, Any] | None = None  # and how far it had come
        self._since = time.monotonic()

    def resumed(self, name: str) -> None:
        """A run goes on from the state of this name."""
        self._name = name

    def due(self, name: str, at: Any, size: int, *, all: bool) -> bool:
        """Whether to keep a state of so many bytes, of what has come to ``at``. ``all``: whenever it is a new one."""
        late = time.monotonic() - self._since >= max(STATE_SECONDS, size / STATE_RATE)
        return (name, at) != self._kept_at and (all or late)

    def keep(self, name: str, at: Any, facts: Mapping[str, Any], table: pa.Table | Callable[[], pa.Table]) -> Part:
        """The part of a state."""
        self._name, self._kept_at, self._since = name, (name, at), time.monotonic()
        return Part(name, dict(facts), table)

    def over(self, name: str | None = None) -> list[Part]:
        """What takes the place of the latest state, if there is one and it has another name than this."""
        latest, self._name = self._name, None
        if latest is None or latest == name:
            return []
        return [Part(latest, {**self._facts, "over": True}, pa.table({"replicate": pa.array([], pa.int64())}))]


def is_state(part: StoredPart, name: str) -> bool:
    """Whether a part is of this name, or begins so where that ends with a hyphen, and its state is of use."""
    named = part.name.startswith(name) if name.endswith("-") else part.name == name
    return named and not part.facts.get("over")


def particle_rows(value: Any) -> np.ndarray:
    """Particles [G, N, ...] one after the other, [G N, ...]."""
    value = np.asarray(value)
    return value.reshape(value.shape[0] * value.shape[1], -1)


def worded(values: Any) -> Any:
    """Numbers, and lists and arrays of them, as JSON: those that it has no word for as Python writes them."""
    if isinstance(values, Mapping):
        return {name: worded(value) for name, value in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)):
        return [worded(value) for value in values]
    if isinstance(values, (float, np.floating)) and not np.isfinite(values):
        return repr(float(values))  # "inf", "-inf", "nan": float() reads it
    return values


def like(value: Any, old: Any) -> Any:
    """What `worded` made of a number, a truth value or a text, as the type of ``old``; an array's is in its dtype."""
    if isinstance(old, np.ndarray):
        return np.array(value, float).astype(old.dtype).reshape(-1, *old.shape[1:])
    if isinstance(old, list):
        return [float(each) for each in value]
    return type(old)(value)
