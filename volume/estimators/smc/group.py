"""Replicates that go level by level together, each with its own key.

What a replicate finds depends on its number and on the constants of the run alone: neither on the others of its group
nor on the number of devices (volume.estimators.smc.step). So a group can be any of them, and can go on from its state
at a level.

Shape letters: G replicates of a group, N particles of one, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array

from volume.common.seeds import fold_in
from volume.estimators.smc.kernel import Kernel
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import State, advance, check_particles, count_nonfinite, draw
from volume.samplers import replicated


class GroupState(NamedTuple):
    """Where a group stands between two levels."""

    at: int  # levels done
    z: Any  # [G, N, ...]
    ancestor: Any  # [G, N] which particle of the first level each one comes from; None: each from itself
    moved: np.ndarray  # [L, G]
    arrays: dict[str, np.ndarray]  # those of `Group.ARRAYS`, [G, ...]


class Group:
    """Replicates ``numbers`` [G]; ``advance`` until ``done``.

    Args:
        scheme: kernel and sizes.
        numbers: of the replicates.
        key: of the run; a replicate's key is folded from it by its number.
        data: arrays that the kernel reads.
        dtype: of the run.
        stages: of the pilot, all constants.
    """

    # All that changes on the way, beside particles and moves.
    ARRAYS: ClassVar[tuple[str, ...]] = ("log_total", "variance", "lasted", "evaluations", "nonfinite")

    def __init__(
        self,
        scheme: Scheme[Kernel],
        numbers: Sequence[int],
        key: Array,
        data: Any,
        dtype: Any,
        stages: Sequence[Any],
    ):
        self.numbers, self.size = list(numbers), len(numbers)
        self._keys = fold_in(key, np.array(numbers))
        self.scheme, self.stages = scheme, stages
        self._data, self._dtype = data, np.dtype(dtype)
        self.at = 0  # levels done
        self.log_total = np.zeros(self.size)  # natural, of the products of factors so far; -inf for one that died
        self.variance = np.zeros(self.size)  # of the logs of these products, were particles independent
        # Steps until each one died, its evaluations until then, and its draws that are not finite.
        self.lasted, self.evaluations, self.nonfinite = np.zeros((3, self.size), np.int64)
        self.moved: list[np.ndarray] = []  # [G] of every step
        self._state: State | None = None

    @property
    def done(self) -> bool:
        return self.at >= len(self.stages)

    def advance(self) -> None:
        """Take one level."""
        if self._state is None:
            self._state, score = draw(self.scheme, self._level_keys(0), self._data)
            self.nonfinite = count_nonfinite(score)
            self._count(self.scheme.num_particles * self.scheme.kernel.draw_cost)
        self._advance()

    def _advance(self) -> None:
        """Take the next level; replace this where there is more to do on the way."""
        number = self.at + 1
        self._state, self.log_total, self.variance = self._factor(self.scheme, self.stages[self.at], number)
        self.at = number
        if not self._alive.any():
            self._end()

    def _end(self) -> None:
        """End early, as all replicates have died."""
        self.at = len(self.stages)

    def state(self) -> GroupState:
        """Give where it stands, after the first step."""
        assert self._state is not None
        moved = np.array(self.moved).reshape(-1, self.size)
        arrays = {name: getattr(self, name) for name in self.ARRAYS}
        return GroupState(self.at, self._state.z, self._state.ancestor, moved, arrays)

    def go_on(self, state: GroupState) -> None:
        """Resume from the state of a group of the same replicates."""
        self.at, self.moved = state.at, list(state.moved)
        for name, array in state.arrays.items():
            setattr(self, name, array)
        mesh, num = self.scheme.mesh, self.scheme.num_particles
        z = state.z if mesh is None else replicated(state.z, mesh)
        ancestor = np.broadcast_to(np.arange(num), (self.size, num)) if state.ancestor is None else state.ancestor
        self._state = State(z, ancestor, self._alive)

    def _factor(self, scheme: Scheme[Kernel], stage: Any, number: int) -> tuple[State, np.ndarray, np.ndarray]:
        """The state at the next measure, and with its factor the logs of the products [G] and their variances [G].

        Nothing moves: who takes the step keeps them.
        """
        assert self._state is not None
        cast = stage.cast(self._dtype)
        state, info = advance(scheme, self._level_keys(number), self._state, self._data, cast)
        factor = np.asarray(info.factor, float)
        self._check(scheme, state, factor, cast)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_total = self.log_total + np.log(factor) - float(cast.log_scale)
            relative = np.asarray(info.weight_square, float) / factor**2 - 1
            relative = np.nan_to_num(np.maximum(relative, 0))  # rounding may put it below where all weights are alike
        self._count(self.scheme.cost)
        self.lasted = self.lasted + self._alive
        self.moved.append(np.asarray(info.moved, float))
        return state, log_total, self.variance + relative / scheme.num_particles

    def _check(self, scheme: Scheme[Kernel], state: State, factor: np.ndarray, stage: Any) -> None:
        """Hold particles of replicates that have reached the next level to it."""
        alive = np.flatnonzero(factor > 0)
        if stage.next_level > -math.inf and len(alive):
            level = np.full((len(alive), scheme.num_particles), stage.next_level)
            z = jax.tree.map(lambda leaf: np.asarray(leaf)[alive], state.z)
            check_particles(scheme, "advance", z, self._data, level, np.full_like(level, np.inf))

    @property
    def _alive(self) -> np.ndarray:
        return self.log_total > -math.inf

    def _count(self, evaluations: int) -> None:
        """Add so many evaluations to every replicate that lives: what its group does later is of no use to it."""
        self.evaluations = self.evaluations + evaluations * self._alive

    def _moved_by(self, i: int) -> np.ndarray:
        """The share of moves that went somewhere, by step, to the one at which the i-th replicate died."""
        return np.array(self.moved).reshape(-1, self.size)[: self.lasted[i], i]

    def _level_keys(self, number: int) -> Array:
        return fold_in(self._keys, number)
