"""The pilot of a splitting run around an anchor: levels, powers and steps, from one adaptive run that is thrown away.

What every pilot does, and the one that goes inward by levels (volume.tempered_pilot goes by tempers): through the
cutoffs, largest first. Down to the largest cutoff it weighs as its starting law q does (power 0); there it turns q's
weights into the prior's in steps of the power (to 1); then it goes on to the other cutoffs. Every cutoff is a level of
its own, so that a run has the volume of each. Levels are set as in volume.pilot.

Shape letters: N particles, P moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array

from volume.estimators.local.region_moves import Region, RegionStage, Space, cost, draw
from volume.estimators.smc.pilot import ALONE_INSIDE, ALONE_LEAST, MAX_STALLED, MAX_TUNING, SHARE_ABOVE, SMALLEST_STEP
from volume.estimators.smc.step import Probe, advance, probe

# Of the weights that lead to the next power or temper: the relative variance that they may have among the states.
STEP_VARIANCE = 1.0
_WHOLE = 2 * math.pi
_BAND = (0.6, 1.7)  # of the wanted share inside, within which a step is left alone


class Closing(NamedTuple):
    """Where a cutoff's volume is taken."""

    at: int  # after so many stages
    stage: RegionStage  # the last factor, to the region itself
    factor: bool  # False: the chain is there already, and the stage stays where it is


class PilotState(NamedTuple):
    """Where a pilot stands between two levels, or how it ended."""

    key: Array
    x: Any  # [1, N, n]; None before the first level
    stages: list[RegionStage]
    ends: list[Closing]
    numbers: dict[str, Any]  # the rest: `LocalPilot.NUMBERS`


class LocalPilot:
    """Stages down to every threshold; advance until ``done``. The base of both kinds.

    Args:
        region: with the particles of one replicate.
        space: with the law to begin from.
        thresholds: of the divergence, descending.
        key: consumed.
        floor: natural log of the volume at which to give up.
        weighted: whether that law is another one than the prior.
    """

    # All that changes on the way, beside key, particles, stages and ends: numbers, truth values and a text.
    NUMBERS: ClassVar[tuple[str, ...]] = ("log_total", "evaluations", "num_drawn", "num_nonfinite", "done", "problem")
    NUMBERS += ("_level", "_step", "_power", "_temper")

    def __init__(
        self,
        region: Region,
        space: Space,
        thresholds: Sequence[float],
        key: Array,
        floor: float,
        *,
        weighted: bool,
    ):
        self.region, self.space = region, space
        self.stages: list[RegionStage] = []
        self.ends: list[Closing] = []  # of each threshold
        self.log_total = 0.0  # of the measure that is reached; adaptive
        self.evaluations = 0
        self.num_drawn = self.num_nonfinite = 0
        self.done = False
        self.problem = ""
        self._targets = [-value for value in thresholds]
        self._floor, self._key = floor, key
        self._dtype = np.dtype(space.centre.dtype)
        self._level, self._step = -math.inf, _WHOLE / region.points
        self._power, self._temper = (0.0 if weighted else 1.0), 0.0
        self._x: Array | None = None

    def state(self) -> PilotState:
        """Where it stands, or how it ended."""
        numbers = {name: getattr(self, name) for name in self.NUMBERS}
        return PilotState(self._key, self._x, list(self.stages), list(self.ends), numbers)

    def go_on(self, state: PilotState) -> None:
        """From that state, of a pilot with the same arguments."""
        self._key, self._x, self.stages, self.ends, numbers = state
        for name in self.NUMBERS:
            setattr(self, name, numbers[name])

    def advance(self) -> None:
        """One level."""
        if self._x is None:
            self._x, score = draw(self.region, self._next_key(), self.space)
            self.num_drawn, self.num_nonfinite = score.size, int(np.isnan(score).sum())
            self.evaluations += score.size * self.region.guide_points
        self._advance()

    def _advance(self) -> None:
        raise NotImplementedError

    def _now(self) -> RegionStage:
        """Stay."""
        return RegionStage(
            self._level, self._power, self._temper, self._level, self._power, self._temper, self._step, 0.0
        )

    def _take(self, stage: RegionStage) -> bool:
        """Go to the next measure; False where too few particles got there to be met again."""
        assert self._x is not None
        found = advance(self.region, self._next_key(), self._x, self.space, stage.cast(self._dtype))
        self.evaluations += self._cost
        factor = float(found.factor[0])
        if not factor > 0:
            return False
        self.stages.append(stage)
        self.log_total += math.log(factor) - stage.log_scale
        self._x = found.z
        self._level, self._power, self._temper = stage.next_level, stage.next_power, stage.next_temper
        return True

    @property
    def _cost(self) -> int:
        return self.region.num_particles * self.region.num_moves * cost(self.region)

    def _give_up(self, problem: str) -> None:
        self.problem, self.done = problem, True

    def _below_the_floor(self) -> None:
        self._give_up(
            f"the volume, if there is any, is below 10^{self._floor / math.log(10):.0f}, the floor of this method"
        )

    def _stands_still(self, divergence: float) -> None:
        moves = MAX_STALLED * self.region.num_particles * self.region.num_moves
        self._give_up(
            f"the divergence stands still at {divergence:.6g}: none of {moves:,} moves found less. Give more particles "
            "or moves"
        )

    def _next_key(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key[None]

    def _probe(self) -> Probe:
        assert self._x is not None
        seen = probe(self.region, self._next_key(), self._x, self.space, self._now().cast(self._dtype))
        self._x = seen.z
        self.evaluations += self._cost
        return seen


def largest_step(log_change: np.ndarray, most: float) -> float:
    """How far to go along weights exp(t log_change), t <= ``most``: their relative variance is at most the wanted."""
    spread = log_change - log_change.max()

    def variance(step: float) -> float:
        weight = np.exp(step * spread)
        return float(weight.var() / weight.mean() ** 2)

    low, high = 0.0, most
    if variance(high) <= STEP_VARIANCE:
        return most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if variance(middle) <= STEP_VARIANCE else (low, middle)
    return low


class LevelPilot(LocalPilot):
    """By levels of the divergence."""

    def _advance(self) -> None:
        target = self._targets[len(self.ends)]
        seen = self._tuned()
        score, log_weight = np.asarray(seen.score, float).reshape(-1, 2).T
        now = self._now()
        if self._level < target:
            level = self._next_level(score, target)
            if level is None:
                return self._stands_still(-self._level)
            stage = now._replace(next_level=level)
        else:
            step = largest_step(log_weight, 1 - self._power)
            power = min(1.0, self._power + step)
            stage = now._replace(next_power=power, log_scale=-step * float(np.median(log_weight)))
        if not self._take(stage):
            return None  # the level stays, and is tried once more
        while self._power == 1 and len(self.ends) < len(self._targets) and self._level >= self._targets[len(self.ends)]:
            asked = self.region.guide_points != self.region.line_points
            self.ends.append(Closing(len(self.stages), self._now(), asked))
        self.done = len(self.ends) == len(self._targets)
        if not self.done and self.log_total < self._floor:
            self._below_the_floor()
        return None

    def _tuned(self) -> Probe:
        """A probe at a step that was found good, or the last of a few."""
        for _ in range(MAX_TUNING):
            seen = self._probe()
            step = self._better_step(float(seen.others[0]))
            if step == self._step:
                return seen
            self._step = step
        return seen

    def _better_step(self, share: float) -> float:
        """Towards the wanted share inside; the step itself: leave it."""
        if self._level == -math.inf:  # everything is inside: once around is best
            return self._step
        factor = share / max(ALONE_INSIDE, ALONE_LEAST / (self.region.points - 1))
        if _BAND[0] <= factor <= _BAND[1]:
            return self._step
        return min(max(self._step * min(max(factor, 0.4), 1.6), SMALLEST_STEP), _WHOLE / self.region.points)

    def _next_level(self, score: np.ndarray, target: float) -> float | None:
        """The next level from scores at this one, no higher than ``target``; None when nothing higher is seen."""
        for _ in range(MAX_STALLED):
            score = np.where(np.isnan(score), -math.inf, score)
            level = min(float(np.quantile(score, 1 - SHARE_ABOVE, method="lower")), target)
            if level > self._level:
                return level
            # A plateau holds the quantile: go to the first score above it, as long as any is seen.
            higher = score[score > self._level]
            if len(higher):
                return min(float(higher.min()), target)
            score = np.asarray(self._probe().score, float)[..., 0].ravel()
        return None
