"""Replicates of a splitting run around an anchor that go level by level together, each with its own key.

Replicates that all miss the same part of a measure agree with each other, and with nothing else: on bent valleys of
200 parameters they lay 30 nats too low, 1.2 nats apart. What shows it is that their particles still spread out. So at
every cutoff the particles make 3 P more moves that serve nothing else, and the change of |x|^2, how far out they are,
is kept: in equilibrium its mean is 0.

What a replicate finds depends on its number and on the constants of the run alone, not on the others of its group, so
that a group can be any of them, and can go on from its state at a level.

Shape letters: G replicates of the group, N particles of one, P moves, C cutoffs, L steps of the chain, n parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array

from volume.estimators.local.pilot import Closing
from volume.estimators.local.region_moves import Region, RegionStage, Space, cost, draw
from volume.estimators.smc.step import advance, probe

DRIFT_ROUNDS = 3  # of P moves


class Replicate(NamedTuple):
    """What one replicate found; nothing of it is from after its death, as then its group may go on or not."""

    log_estimates: np.ndarray  # [C] -inf from the cutoff on before which it died
    ideal: float  # variance of the last log p_hat, were all particles independent
    change: np.ndarray  # [C] of the mean of |x|^2 over 3 P moves; nan where it was dead
    deviation: np.ndarray  # [C] of |x|^2
    moved: np.ndarray  # [L] share of moves that went somewhere
    evaluations: int  # of the divergence
    drawn: int  # from the starting law
    nonfinite: int  # of them


class GroupState(NamedTuple):
    """Where a group stands between two levels."""

    at: int
    taken: int
    x: Any  # [G, N, n]
    moved: np.ndarray  # [L, G]
    arrays: dict[str, np.ndarray]  # the rest, [G, ...]: `Group.ARRAYS`


class Group:
    """``advance`` until ``done``; then `found` says what every replicate found.

    Args:
        region, space: of the run.
        numbers: of the replicates, [G].
        key: of the run; a replicate's key is folded from it by its number.
        stages: of the pilot, all constants.
        ends: where each cutoff's volume is taken.
    """

    # All that changes on the way, beside particles and moves.
    ARRAYS: ClassVar[tuple[str, ...]] = ("_log_estimates", "_ideal", "_change", "_deviation")
    ARRAYS += ("_log_total", "_variance", "_lasted", "_evaluations", "_nonfinite")

    def __init__(
        self,
        region: Region,
        numbers: Sequence[int],
        key: Array,
        space: Space,
        stages: Sequence[RegionStage],
        ends: Sequence[Closing],
    ):
        self._region, self._space, self._stages, self._ends = region, space, stages, ends
        self.numbers, self.size = list(numbers), len(numbers)
        self._keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.array(numbers))
        self.at = 0
        self._log_estimates = np.full((self.size, len(ends)), -math.inf)
        self._ideal = np.zeros(self.size)
        self._change, self._deviation = np.full((2, self.size, len(ends)), math.nan)
        self._log_total, self._variance = np.zeros(self.size), np.zeros(self.size)
        self._moved: list[np.ndarray] = []  # [G] of every step
        # Steps until each one died, its evaluations until then, and its draws with NaN.
        self._lasted, self._evaluations, self._nonfinite = np.zeros((3, self.size), np.int64)
        self._x: Array | None = None
        self._taken = 0  # cutoffs

    @property
    def done(self) -> bool:
        return self._taken == len(self._ends)

    def advance(self) -> None:
        """The volume of a cutoff that is taken here, or one level."""
        if self._x is None:
            self._x, score = draw(self._region, self._level_keys(0), self._space)
            self._nonfinite = np.isnan(np.asarray(score)).sum(axis=1, dtype=np.int64)
            self._count(self._region.num_particles * self._region.guide_points)
        end = self._ends[self._taken]
        if end.at == self.at:
            self._close(end)
            return
        self._log_total, self._variance, self._x = self._step(self._region, self._stages[self.at], self.at + 1)
        self.at += 1
        if not self._alive.any():
            self._taken = len(self._ends)

    @property
    def steps_done(self) -> tuple[int, int]:
        """Levels and cutoffs done."""
        return self.at, self._taken

    def state(self) -> GroupState:
        """Where it stands, after the first step."""
        arrays = {name: getattr(self, name) for name in self.ARRAYS}
        return GroupState(self.at, self._taken, self._x, np.array(self._moved).reshape(-1, self.size), arrays)

    def go_on(self, state: GroupState) -> None:
        """From that state, of the same replicates."""
        self.at, self._taken, self._x, self._moved = state.at, state.taken, state.x, list(state.moved)
        for name in self.ARRAYS:
            setattr(self, name, state.arrays[name])

    def found(self) -> dict[int, Replicate]:
        """What every replicate found, by its number."""
        moved = np.array(self._moved).reshape(-1, self.size).T
        return {
            number: Replicate(
                self._log_estimates[i],
                float(self._ideal[i]),
                self._change[i],
                self._deviation[i],
                moved[i, : self._lasted[i]],
                int(self._evaluations[i]),
                self._region.num_particles,
                int(self._nonfinite[i]),
            )
            for i, number in enumerate(self.numbers)
        }

    @property
    def _alive(self) -> np.ndarray:
        return self._log_total > -math.inf

    def _count(self, evaluations: int) -> None:
        """So many of every replicate that lives."""
        self._evaluations = self._evaluations + evaluations * self._alive

    def _close(self, end: Closing) -> None:
        log_total, variance, alive = self._log_total, self._variance, self._alive
        number = len(self._stages) + 1 + 2 * self._taken
        if end.factor:
            log_total, variance, _ = self._step(replace(self._region, closing=True), end.stage, number)
            region = self._region
            self._count(region.num_particles * region.num_moves * region.points * region.line_points)
        change, deviation = self._spreading(end.stage, number + 1)
        self._change[:, self._taken] = np.where(alive, change, math.nan)
        self._deviation[:, self._taken] = np.where(alive, deviation, math.nan)
        self._log_estimates[:, self._taken] = log_total
        self._ideal = np.where(alive, variance, self._ideal)
        self._taken += 1

    def _spreading(self, stage: RegionStage, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The change of |x|^2 in moves that stay here, mean over particles [G], and its deviation before [G]."""
        assert self._x is not None
        stay = stage._replace(next_level=math.inf).cast(np.dtype(self._space.centre.dtype))
        x = self._x
        for keys in jax.vmap(lambda key: jax.random.split(key, DRIFT_ROUNDS), out_axes=1)(self._level_keys(number)):
            x = probe(self._region, keys, x, self._space, stay).z
            self._count(self._cost)
        before, after = (np.sum(np.asarray(x, float) ** 2, axis=-1) for x in (self._x, x))
        return (after - before).mean(axis=1), before.std(axis=1)

    @property
    def _cost(self) -> int:
        """Evaluations of one level, of one replicate."""
        return self._region.num_particles * self._region.num_moves * cost(self._region)

    def _step(self, region: Region, stage: RegionStage, number: int) -> tuple[np.ndarray, np.ndarray, Array]:
        """The logs of the products with this factor, their ideal variances, and the particles of the next measure."""
        assert self._x is not None
        cast = stage.cast(np.dtype(self._space.centre.dtype))
        found = advance(region, self._level_keys(number), self._x, self._space, cast)
        factor, alive = np.asarray(found.factor, float), self._alive
        with np.errstate(divide="ignore", invalid="ignore"):
            log_total = self._log_total + np.log(factor) - float(cast.log_scale)
            relative = np.maximum(np.asarray(found.weight_square, float) / factor**2 - 1, 0)
        self._count(self._cost)
        self._lasted = self._lasted + alive
        self._moved.append(np.asarray(found.moved_each, float))
        return log_total, self._variance + np.nan_to_num(relative) / region.num_particles, found.z

    def _level_keys(self, number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self._keys)
