"""The independent replicates of a run, as many at once as memory holds: what is left, what goes on, what has ended.

Shape letters: R replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from volume.estimators.smc.group import Group
from volume.estimators.smc.scheme import Scheme
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint

STATE_BYTES = 1 << 29  # of particles held at once; more replicates go one group after the other
COPIES = 6  # of a state while a level is computed
# Up to so many go one after the other, by the programs of the pilot: to compile others takes longer than is gained.
FEW = 16

G = TypeVar("G", bound=Group)


class Store(Protocol):
    """Keep replicates as checkpoints. Those with other ``constants`` are not mixed."""

    def finished(self, constants: Any, /) -> dict[int, Any]:
        """Give the stored replicates that have ended, by number."""
        ...

    def states(self, constants: Any, numbers: Sequence[int], /) -> Sequence[StoredCheckpoint]:
        """List states of groups of these replicates, none in two of them."""
        ...

    def group_into(self, part: StoredCheckpoint, group: Any, /) -> None:
        """Let the group of a state's replicates go on from there."""
        ...

    def ended(self, constants: Any, replicates: dict[int, Any], /) -> None:
        """Keep these replicates."""
        ...

    def collect(self, group: Any, constants: Any, /, *, all: bool) -> list[Checkpoint]:
        """Hand out the replicates that have ended since the last call, and a group's state where one is due."""
        ...


def together(num: int) -> int:
    """Give the number of ``num`` replicates that take a level at the same time, where memory allows it."""
    return 1 if num <= FEW else num


class Replicates(Generic[G]):
    """R replicates with the same constants; `begin` once the pilot has ended, then ``advance`` until ``done``.

    A method gives what is its own by the hooks at the end.

    Args:
        scheme: of the run.
        num: R.
        store: where they are kept; None: nowhere.
    """

    def __init__(self, scheme: Scheme[Any], num: int, store: Store | None = None):
        self.scheme, self.num, self._store = scheme, num, store
        self.finished: dict[int, Any] = {}  # those that have ended, by number
        self.group: G | None = None  # the one under way
        self._constants: Any = None  # fingerprint of what the pilot found
        self._todo: list[int] | None = None  # left to this process; None: not begun
        self._waiting: list[StoredCheckpoint] = []  # states that groups go on from
        self._kept = True  # whether this process keeps what has ended

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        return self._todo == [] and not self._waiting and self.group is None

    @property
    def complete(self) -> bool:
        """Whether every replicate has ended."""
        return len(self.finished) == self.num

    @property
    def results(self) -> list[Any]:
        """What every one found, in the order of their numbers."""
        return [self.finished[number] for number in sorted(self.finished)]

    def begin(self, constants: Any, share: tuple[int, int] = (0, 1)) -> None:
        """Take those that are there, and this process's share (index, count) of the rest."""
        self._constants, (index, count) = constants, share
        self.finished = {} if self._store is None else self._store.finished(constants)
        left = [number for number in range(self.num) if number not in self.finished]
        waiting = [] if self._store is None else self._store.states(constants, left)
        held = {number for state in waiting for number in state.facts["replicates"]}
        left = [number for number in left if number not in held]
        self._waiting = list(waiting[index::count])
        self._todo = left[len(left) * index // count : len(left) * (index + 1) // count]

    def advance(self) -> None:
        """Take one step of a group."""
        if self.group is None:
            self.group = self._start()
        self.group.advance()
        if self.group.done:
            finished = self._results(self.group)
            self.finished |= finished
            if self._store is not None and self._kept:
                self._store.ended(self._constants, finished)
            self.group = None

    def _start(self) -> G:
        assert self._todo is not None
        if self._waiting:
            assert self._store is not None
            state = self._waiting.pop(0)
            group = self._group(state.facts["replicates"])
            self._store.group_into(state, group)
            return group
        most = max(1, STATE_BYTES // (COPIES * self._particle_bytes))
        if self.scheme.alone:
            most = min(most, together(self.num))
        groups = math.ceil(len(self._todo) / most)
        size = math.ceil(len(self._todo) / groups)  # alike: each size is compiled anew
        numbers, self._todo = self._todo[:size], self._todo[size:]
        return self._group(numbers)

    def collect(self, *, all: bool, whole: bool) -> list[Checkpoint]:
        """Hand out the replicates that have ended since the last call, and now and then a group's state.

        ``whole`` is False where the last step was cut short: then there is no such state.
        """
        assert self._store is not None
        return self._store.collect(self.group if whole and self._kept else None, self._constants, all=all)

    def total(self, name: str) -> int:
        """The sum over all of them of a count of this name."""
        return sum(getattr(one, name) for one in self.finished.values())

    @property
    def fraction(self) -> float:
        """How much of the work of all of them is done."""
        group = self.group
        done = 0.0 if group is None else group.size * group.at / max(1, len(group.stages))
        return (len(self.finished) + done) / self.num

    def words(self, what: str = "") -> str:
        """Say where they stand, for progress. ``what``: a word and a space before "replicates"."""
        group = self.group
        if group is None:
            return f"{len(self.finished)} of {self.num} {what}replicates"
        first, last = group.numbers[0] + 1, group.numbers[-1] + 1
        which = f"{what}replicates {first} to {last}" if last > first else f"{what}replicate {first}"
        return f"{which} of {self.num}, level {group.at} of {len(group.stages)}"

    # --- what a method gives ---

    @property
    def _particle_bytes(self) -> int:
        """Size of the particles of one replicate."""
        raise NotImplementedError

    def _group(self, numbers: Sequence[int]) -> G:
        """Make the group of these replicates."""
        raise NotImplementedError

    def _results(self, group: G) -> dict[int, Any]:
        """What a group's replicates found, by number."""
        raise NotImplementedError
