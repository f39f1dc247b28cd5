"""What a run keeps of its work, and when: results, which stay, and the state of what is under way.

A checkpoint is a table with a name and a few facts; on disk it is a file of a run directory. Those of every method are
listed in docs/run_directories.md. A state is one that later ones replace, and that is emptied once what it led to is a
result. It is written every ten seconds, or less often where it is large: a kill costs what came after the latest one.

Facts of a checkpoint are strict JSON, which has no word for the infinities and NaN: `worded` and `like` write and read
them as Python does, `floats` reads lists where null stands for one of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from volume.common.records import plain
from volume.runs.parquet_files import parquet_file

STATE_SECONDS = 10.0  # between two states: what a kill may cost
STATE_RATE = 5e6  # bytes of states a second: some per cent of what a disk takes
BATCH_SECONDS = 10.0  # after which results that wait for more are written: what a kill may cost
BATCH_ROWS = 1 << 20  # of which they are written at once

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # becomes a file's name on any system
LONGEST_NAME = 200
# The files of the parts that this library's methods write: what alone is ever removed from ``parts`` unlisted.
_KINDS = "aim|blocks|class|law|pilot|rays|replicates|runs|state|steps|trial"
OWN_FILE = re.compile(rf"({_KINDS})(-[a-z0-9]+)*(\.replaced)?\.parquet")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A result of a run, or the state of what is under way, to be written.

    Args:
        name: unique in the run and sortable: small letters, digits and hyphens, for example "replicates-000-008".
        facts: what has to be known without reading the table, strict JSON.
        table: the columns, or a function that makes the table, which is called once, in the thread that writes it.

    Raises:
        ValueError: a name that is not such a word.
        TypeError: facts that no JSON can hold.
    """

    name: str
    facts: dict[str, Any]
    table: pa.Table | Callable[[], pa.Table]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "facts", plain(self.facts, f"facts of {self.name}"))


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint on disk whose checksum was verified."""

    name: str
    facts: dict[str, Any] = field(hash=False)
    path: Path
    sha256: str = ""  # that the file had when it was verified

    def read(self) -> pa.Table:
        """Read the table into memory. ValueError where it cannot be read, though its checksum is right."""
        with parquet_file(self.path) as file:
            return file.read()


def check_name(name: object) -> str:
    """Return the name of a checkpoint. ValueError for anything else than such a name, which could lead elsewhere."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"A part is named by small letters, digits and hyphens, as in pilot-0; got {name!r}.")
    return name


class State(NamedTuple):
    """Where something under way stands."""

    name: str  # of its checkpoint
    at: Any  # how far it has come; a state is written once for each
    size: int  # bytes
    content: Callable[[], tuple[Mapping[str, Any], pa.Table]]  # facts and table, made when it is due


class Checkpoints:
    """What is stored of one piece of a run, and what is to be stored of it.

    Args:
        facts: of a state once it is emptied.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None):
        self._facts = dict(facts or {})
        self._stored: list[StoredCheckpoint] = []
        self._results: list[Checkpoint] = []  # since the last call of `collect`
        self._state: str | None = None  # name of the latest one, while it is of use
        self._written: tuple[str, Any] | None = None  # the latest one, and how far it had come
        self._since = time.monotonic()

    # --- what is there ---

    def restore(self, parts: Iterable[StoredCheckpoint]) -> None:
        """Take what is stored, in any order."""
        self._stored = sorted(parts, key=lambda part: part.name)

    def stored(self, name: str) -> list[StoredCheckpoint]:
        """List what is stored under this name, or under those that begin so where it ends with a hyphen; emptied
        states are left out."""
        named = [
            part for part in self._stored if (part.name.startswith(name) if name.endswith("-") else part.name == name)
        ]
        return [part for part in named if not part.facts.get("over")]

    def resume(self, part: StoredCheckpoint) -> None:
        """Go on from this state: it is emptied or replaced later."""
        self._state = part.name

    # --- what is kept ---

    def add(self, part: Checkpoint) -> None:
        """Keep a result."""
        self._results.append(part)

    def collect(self, state: State | None = None, *, all: bool) -> list[Checkpoint]:
        """Hand out the results since the last call, and the state where one is due.

        Args:
            state: of what is under way now, None for nothing. The latest one of another name is emptied where there
                are results.
            all: write the state even before its time, if it has changed.
        """
        parts, self._results = self._results, []
        if parts and self._state is not None and (state is None or state.name != self._state):
            empty = pa.table({"replicate": pa.array([], pa.int64())})
            parts.append(Checkpoint(self._state, {**self._facts, "over": True}, empty))
        if parts:
            self._state = None
        if state is not None and self._due(state, all=all):
            self._state, self._written, self._since = state.name, (state.name, state.at), time.monotonic()
            facts, table = state.content()
            parts.append(Checkpoint(state.name, dict(facts), table))
        return parts

    def _due(self, state: State, *, all: bool) -> bool:
        late = time.monotonic() - self._since >= max(STATE_SECONDS, state.size / STATE_RATE)
        return (state.name, state.at) != self._written and (all or late)


class Batch(Generic[T]):
    """Results that wait until there are `BATCH_ROWS` of them, or `BATCH_SECONDS` have passed."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._rows = 0
        self._since = time.monotonic()

    def add(self, item: T, rows: int) -> None:
        """Keep an item of so many rows."""
        self._items.append(item)
        self._rows += rows

    def take(self, *, all: bool) -> list[T]:
        """Hand out the items where they are due, or with ``all`` whenever there are any; empty otherwise."""
        late = time.monotonic() - self._since >= BATCH_SECONDS
        if not self._items or not (all or late or self._rows >= BATCH_ROWS):
            return []
        items, self._items, self._rows, self._since = self._items, [], 0, time.monotonic()
        return items


def apart(parts: Iterable[StoredCheckpoint], numbers: Iterable[int]) -> list[StoredCheckpoint]:
    """Choose states of groups of these replicates (``replicates`` in their facts), none of which is in two of them."""
    left, chosen = set(numbers), []
    for part in parts:
        if left.issuperset(part.facts["replicates"]):
            left -= set(part.facts["replicates"])
            chosen.append(part)
    return chosen


def particle_rows(value: Any) -> np.ndarray:
    """Return particles [G, N, ...] of G replicates one after the other, [G N, ...]."""
    value = np.asarray(value)
    return value.reshape(value.shape[0] * value.shape[1], -1)


def worded(values: Any) -> Any:
    """Write numbers, and lists, arrays and mappings of them, as JSON: infinities and NaN as Python writes them.

    An object's attributes are named without the underscore in front of them.
    """
    if isinstance(values, Mapping):
        return {name.strip("_"): worded(value) for name, value in values.items()}
    if isinstance(values, (list, tuple, np.ndarray)):
        return [worded(value) for value in values]
    if isinstance(values, (float, np.floating)) and not np.isfinite(values):
        return repr(float(values))  # "inf", "-inf", "nan": float() reads it
    return values


def like(value: Any, old: Any) -> Any:
    """Read what `worded` wrote of a number, a truth value or a text as the type of ``old``, an array in its dtype and
    shape [any, ...], and a mapping name by name."""
    if isinstance(old, Mapping):
        return {name: like(value[name.strip("_")], one) for name, one in old.items()}
    if isinstance(old, np.ndarray):
        return np.array(value, float).astype(old.dtype).reshape(-1, *old.shape[1:])
    if isinstance(old, list):
        return [float(each) for each in value]
    return type(old)(value)


def floats(values: Sequence[float | None], missing: float) -> np.ndarray:
    """Read numbers where null stands for ``missing``."""
    return np.array([missing if value is None else value for value in values], float)
