"""Replicates that go level by level together, each with its own key.

What a replicate finds depends on its number and on the constants of the run alone: neither on the others of its group
nor on the number of devices (volume.estimators.smc.step). So a group can be any of them, and can go on from its state
at a level.

Shape letters: G replicates of a group, N particles of one, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.estimators.smc.kernel import Kernel
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import State, advance, count_nonfinite, draw
from volume.samplers import replicated


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
        self._keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.array(numbers))
        self._scheme, self._data, self._dtype, self._stages = scheme, data, np.dtype(dtype), stages
        self.at = 0  # levels done
        self._log_total = np.zeros(self.size)  # of the products of factors so far; -inf for one that died
        self._variance = np.zeros(self.size)  # of the logs of these products, were particles independent
        # Steps until each one died, its evaluations until then, and its draws that are not finite.
        self._lasted, self._evaluations, self._nonfinite = np.zeros((3, self.size), np.int64)
        self._moved: list[np.ndarray] = []  # [G] of every step
        self._state: State | None = None

    @property
    def log_total(self) -> np.ndarray:
        """Natural log of the product of every replicate's factors so far, [G]; -inf for one that died."""
        return self._log_total

    @property
    def levels(self) -> int:
        """L."""
        return len(self._stages)

    @property
    def done(self) -> bool:
        return self.at >= len(self._stages)

    def advance(self) -> None:
        """Take one level."""
        if self._state is None:
            self._state, score = draw(self._scheme, self._level_keys(0), self._data)
            self._nonfinite = count_nonfinite(score)
            self._count(self._scheme.num_particles * self._scheme.kernel.draw_cost)
        self._advance()

    def _advance(self) -> None:
        """Take the next level; replace this where there is more to do on the way."""
        number = self.at + 1
        self._state, self._log_total, self._variance = self._factor(self._scheme, self._stages[self.at], number)
        self.at = number
        if not self._alive.any():
            self._end()

    def _end(self) -> None:
        """End early, as all replicates have died."""
        self.at = len(self._stages)

    def _factor(self, scheme: Scheme[Kernel], stage: Any, number: int) -> tuple[State, np.ndarray, np.ndarray]:
        """The state at the next measure, and with its factor the logs of the products [G] and their variances [G].

        Nothing moves: who takes the step keeps them.
        """
        assert self._state is not None
        cast = stage.cast(self._dtype)
        state, info = advance(scheme, self._level_keys(number), self._state, self._data, cast)
        factor = np.asarray(info.factor, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_total = self._log_total + np.log(factor) - float(cast.log_scale)
            relative = np.asarray(info.weight_square, float) / factor**2 - 1
            relative = np.nan_to_num(np.maximum(relative, 0))  # rounding may put it below where all weights are alike
        self._count(self._scheme.cost)
        self._lasted = self._lasted + self._alive
        self._moved.append(np.asarray(info.moved, float))
        return state, log_total, self._variance + relative / scheme.num_particles

    @property
    def _alive(self) -> np.ndarray:
        return self._log_total > -math.inf

    def _count(self, evaluations: int) -> None:
        """Add so many evaluations to every replicate that lives: what its group does later is of no use to it."""
        self._evaluations = self._evaluations + evaluations * self._alive

    def _moved_by(self, i: int) -> np.ndarray:
        """The share of moves that went somewhere, by step, to the one at which the i-th replicate died."""
        return np.array(self._moved).reshape(-1, self.size)[: self._lasted[i], i]

    def _resume(self, z: Any, ancestor: Any = None) -> None:
        """Go on with these particles [G, N, ...], which come from those of the first level."""
        mesh = self._scheme.mesh
        z = z if mesh is None else replicated(z, mesh)
        if ancestor is None:
            num = self._scheme.num_particles
            ancestor = np.broadcast_to(np.arange(num), (self.size, num))
        self._state = State(z, ancestor, self._alive)

    def _level_keys(self, number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self._keys)
