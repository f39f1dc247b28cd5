"""The independent replicates of a splitting run around an anchor, as many at once as memory holds (volume.local_group).

Shape letters: R replicates, C cutoffs, n entries of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array

from volume.estimators.local.cover import Cover
from volume.estimators.local.group import Group, Replicate
from volume.estimators.local.pilot import LocalPilot
from volume.estimators.local.region_moves import Region
from volume.estimators.local.splitting_parts import SplittingParts, fingerprint
from volume.runs.parts import Part, StoredPart

STATE_BYTES = 1 << 29  # of particles held at once; more replicates go one group after the other
COPIES = 6  # of a state while a level is computed


class Replicates:
    """`begin` once the pilot has ended, then ``advance`` until ``done``.

    Args:
        region: of the run.
        key: a replicate's key is folded from it by its number.
        num: R.
        num_cutoffs: C.
        itemsize: bytes of one of the n numbers of a particle.
        store: where they are kept.
    """

    def __init__(self, region: Region, key: Array, num: int, num_cutoffs: int, itemsize: int, store: SplittingParts):
        self._region, self._key, self._store = region, key, store
        self.num, self._num_cutoffs, self._itemsize = num, num_cutoffs, itemsize
        self.found: dict[int, Replicate] = {}  # those that have ended, by number
        self._pilot: LocalPilot | None = None
        self._constants = ""  # fingerprint of what the pilot found
        self._todo: list[int] = []  # left to this process
        self._waiting: list[StoredPart] = []  # states that groups go on from
        self._share = 0, 1
        self._group: Group | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        return self._pilot is not None and not (self._todo or self._waiting or self._group)

    def begin(self, cover: Cover, pilot: LocalPilot) -> None:
        """From the law and the pilot as it ended: take those that are there, and this process's share of the rest."""
        self._pilot, self._constants = pilot, fingerprint(cover, pilot, self._region)
        self.found = self._store.finished(self._constants)
        left = [number for number in range(self.num) if number not in self.found]
        waiting = self._store.states(self._constants, left)
        held = {number for part in waiting for number in part.facts["replicates"]}
        left = [number for number in left if number not in held]
        index, count = self._share
        self._waiting = waiting[index::count]
        self._todo = left[len(left) * index // count : len(left) * (index + 1) // count]

    def restrict(self, index: int, count: int) -> None:
        """Before `begin`: do this share of what is left."""
        self._share = index, count

    def advance(self) -> None:
        """One step of a group."""
        if self._group is None:
            self._group = self._start()
        self._group.advance()
        if self._group.done:
            found = self._group.found()
            self.found |= found
            self._store.ended(self._constants, found)
            self._group = None

    def _start(self) -> Group:
        if self._waiting:
            part = self._waiting.pop(0)
            group = self._group_of(part.facts["replicates"])
            self._store.group_into(part, group)
            return group
        state = COPIES * self._itemsize * self._region.divergence.num_parameters * self._region.num_particles
        groups = math.ceil(len(self._todo) / max(1, STATE_BYTES // state))
        size = math.ceil(len(self._todo) / groups)  # alike: each size is compiled anew
        numbers, self._todo = self._todo[:size], self._todo[size:]
        return self._group_of(numbers)

    def _group_of(self, numbers: Sequence[int]) -> Group:
        assert self._pilot is not None
        return Group(self._region, numbers, self._key, self._pilot.space, self._pilot.stages, self._pilot.ends)

    def collect(self, *, all: bool, whole: bool) -> list[Part]:
        """Those that have ended since the last call, and now and then, where it is ``whole``, the state of a group."""
        return self._store.collect(self._group if whole else None, self._constants, all=all)

    # --- what they found ---

    def each(self, name: str) -> np.ndarray:
        """What every one has of this name at each cutoff, [R, C], in the order of their numbers."""
        rows = [getattr(self.found[number], name) for number in sorted(self.found)]
        return np.array(rows, float).reshape(-1, self._num_cutoffs)

    def total(self, name: str) -> int:
        """The sum over all of them of a count of this name."""
        return sum(getattr(one, name) for one in self.found.values())

    @property
    def drifts(self) -> np.ndarray:
        """How far out particles still went (volume.local_group), in the mean deviation of |x|^2 there, [R, C]; nan
        where one had died."""
        change, deviation = self.each("change"), self.each("deviation")
        alive = ~np.isnan(deviation)
        mean = np.where(alive, deviation, 0).sum(axis=0) / np.maximum(alive.sum(axis=0), 1)
        return change / np.maximum(mean, np.finfo(float).tiny)

    @property
    def fraction(self) -> float:
        """How much of the work of all of them is done."""
        group = self._group
        levels = 1 if self._pilot is None else max(1, len(self._pilot.stages))
        return (len(self.found) + (0.0 if group is None else group.size * group.at / levels)) / self.num

    @property
    def words(self) -> str:
        """Where they stand, for progress."""
        group = self._group
        if group is None or self._pilot is None:
            return f"{len(self.found)} of {self.num} replicates"
        first, last, levels = group.numbers[0] + 1, group.numbers[-1] + 1, len(self._pilot.stages)
        return f"replicates {first} to {last} of {self.num}, level {group.at} of {levels}"

    def diagnostics(self) -> dict[str, Any]:
        """A JSON-able record; empty before one has ended."""
        if not self.found:
            return {}
        each = [self.found[number] for number in sorted(self.found)]
        moved = np.full((len(each), max(len(one.moved) for one in each)), math.nan)
        for row, one in zip(moved, each, strict=True):
            row[: len(one.moved)] = one.moved
        ideal = float(np.sqrt(np.mean([one.ideal for one in each])))
        return {"ideal_spread": ideal, "moved_least": float(np.nanmean(moved, axis=0).min())}
