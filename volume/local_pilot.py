"""The pilot of a splitting run around an anchor: levels, powers and steps, from one adaptive run that is thrown away.

It goes inward through the cutoffs, largest first. Down to the largest cutoff it weighs as its starting law q does
(power 0); there it turns q's weights into the prior's in steps of the power (to 1); then it goes on to the other
cutoffs. Every cutoff is a level of its own, so that a run has the volume of each. Levels are set as in volume.pilot.

Shape letters: N particles, P moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax import Array

from volume.levels import Probe, advance, probe
from volume.pilot import ALONE_INSIDE, ALONE_LEAST, MAX_STALLED, MAX_TUNING, SHARE_ABOVE, SMALLEST_STEP
from volume.region_moves import Region, RegionStage, Space, cost, draw

# Of the powers of weights: the relative variance that one step of the power may have among the states.
STEP_VARIANCE = 1.0
_BAND = (0.6, 1.7)  # of the wanted share inside, within which a step is left alone
_WHOLE = 2 * math.pi


class LocalPilot:
    """Stages down to every threshold; advance until ``done``.

    Args:
        region: with the particles of one replicate.
        space: with the law to begin from.
        thresholds: of the divergence, descending.
        key: consumed.
        floor: natural log of the volume at which to give up.
        weighted: whether that law is another one than the prior.
    """

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
        self.ends: list[int] = []  # how many stages lead to each threshold
        self.log_volume = 0.0  # of what is reached so far, by q until its weights are turned; adaptive
        self.evaluations = 0
        self.num_drawn = self.num_nonfinite = 0
        self.done = False
        self.problem = ""
        self._targets = [-value for value in thresholds]
        self._floor, self._key = floor, key
        self._dtype = np.dtype(space.centre.dtype)
        self._level, self._step = -math.inf, _WHOLE / region.points
        self._power = 0.0 if weighted else 1.0
        self._x: Array | None = None

    def advance(self) -> None:
        """One level."""
        if self._x is None:
            self._x, score = draw(self.region, self._next_key(), self.space)
            self.num_drawn, self.num_nonfinite = score.size, int(np.isnan(score).sum())
            self.evaluations += score.size * self.region.line_points
        target = self._targets[len(self.ends)]
        seen = self._tuned()
        score, log_weight = np.asarray(seen.score, float).reshape(-1, 2).T
        if self._level < target:
            level, power = self._next_level(score, target), self._power
            if level is None:
                return self._give_up(
                    f"the divergence stands still at {-self._level:.6g}: none of "
                    f"{MAX_STALLED * self.region.num_particles * self.region.num_moves:,} moves found less. Give more "
                    "particles or moves"
                )
        else:
            level, power = self._level, self._next_power(log_weight)
        stage = RegionStage(self._level, self._power, level, power, self._step)
        assert self._x is not None
        found = advance(self.region, self._next_key(), self._x, self.space, stage.cast(self._dtype))
        self.evaluations += self._cost
        factor = float(found.factor[0])
        if not factor > 0:  # too few to be met again: the level stays, and is tried once more
            return None
        self.stages.append(stage)
        self.log_volume += math.log(factor)
        self._x, self._level, self._power = found.z, level, power
        while self._power == 1 and len(self.ends) < len(self._targets) and self._level >= self._targets[len(self.ends)]:
            self.ends.append(len(self.stages))
        self.done = len(self.ends) == len(self._targets)
        if not self.done and self.log_volume < self._floor:
            self._give_up(
                f"the volume, if there is any, is below 10^{self._floor / math.log(10):.0f}, the floor of this method"
            )
        return None

    @property
    def _cost(self) -> int:
        return self.region.num_particles * self.region.num_moves * cost(self.region)

    def _give_up(self, problem: str) -> None:
        self.problem, self.done = problem, True

    def _next_key(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key[None]

    def _probe(self) -> Probe:
        assert self._x is not None
        stage = RegionStage(self._level, self._power, math.inf, self._power, self._step).cast(self._dtype)
        seen = probe(self.region, self._next_key(), self._x, self.space, stage)
        self._x = seen.z
        self.evaluations += self._cost
        return seen

    def _tuned(self) -> Probe:
        """A probe at a step whose windows have about the wanted share of their other points inside."""
        wanted = max(ALONE_INSIDE, ALONE_LEAST / (self.region.points - 1))
        for _ in range(MAX_TUNING):
            seen = self._probe()
            if self._level == -math.inf:  # everything is inside: once around is best
                return seen
            factor = float(seen.others[0]) / wanted
            if _BAND[0] <= factor <= _BAND[1]:
                return seen
            step = min(max(self._step * min(max(factor, 0.4), 1.6), SMALLEST_STEP), _WHOLE / self.region.points)
            if step == self._step:
                return seen
            self._step = step
        return seen

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

    def _next_power(self, log_weight: np.ndarray) -> float:
        """The next power of w: the relative variance of the weights' change is at most the wanted one."""
        spread = log_weight - log_weight.max()
        if not self._power:
            self._center(log_weight)

        def variance(step: float) -> float:
            weight = np.exp(step * spread)
            return float(weight.var() / weight.mean() ** 2)

        low, high = 0.0, 1 - self._power
        if variance(high) <= STEP_VARIANCE:
            return 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if variance(middle) <= STEP_VARIANCE else (low, middle)
        return self._power + low

    def _center(self, log_weight: np.ndarray) -> None:
        """Take log w's middle from it, once, before any power of w is used: a constant of the run."""
        scale = np.asarray(float(self.space.log_scale) + float(np.median(log_weight)), self._dtype)
        self.space = self.space._replace(log_scale=scale)
