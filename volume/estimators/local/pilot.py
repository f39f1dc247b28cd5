"""The pilot of a splitting run around an anchor: levels, powers and steps, from one adaptive run that is thrown away.

What every pilot does, and the one that goes inward by levels (volume.estimators.local.tempered_pilot goes by tempers):
through the cutoffs, largest first. Down to the largest cutoff it weighs as its proposal q does (power 0); there it
turns q's weights into the prior's in steps of the power (to 1); then it goes on to the other cutoffs. Every cutoff is a
level of its own, so that a run has the volume of each. Levels are set as by any pilot of the engine.

Shape letters: N particles, P moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax import Array

from volume.estimators.local.region_kernel import RegionKernel, RegionStage, Space
from volume.estimators.smc.pilot import Pilot
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import Probe

# Of the weights that lead to the next power or temper: the relative variance that they may have among the states.
STEP_VARIANCE = 1.0


class Closing(NamedTuple):
    """Where a cutoff's volume is taken."""

    at: int  # after so many stages
    stage: RegionStage  # the last factor, to the region itself
    factor: bool  # False: the chain is there already, and the stage stays where it is


class LocalPilot(Pilot):
    """Stages down to every threshold; the base of both kinds.

    Args:
        scheme: with the particles of one replicate.
        space: with the proposal to begin from.
        thresholds: of the divergence, descending.
        key: consumed.
        floor: natural log of the volume at which to give up.
        weighted: whether the proposal is not the prior itself.
    """

    NUMBERS = (*Pilot.NUMBERS, "_power", "_temper")

    scheme: Scheme[RegionKernel]
    stages: list[RegionStage]

    def __init__(
        self,
        scheme: Scheme[RegionKernel],
        space: Space,
        thresholds: Sequence[float],
        key: Array,
        floor: float,
        *,
        weighted: bool,
    ):
        super().__init__(scheme, space, space.centre.dtype, key, floor)
        self.ends: list[Closing] = []  # of each threshold
        self._targets = [-value for value in thresholds]
        self._power, self._temper = (0.0 if weighted else 1.0), 0.0

    def _stay(self) -> RegionStage:
        stage = super()._stay()
        powers = {"power": self._power, "next_power": self._power}
        return stage._replace(**powers, temper=self._temper, next_temper=self._temper)

    def _scores(self, seen: Probe) -> np.ndarray:
        return self._weighed(seen)[0]

    def _weighed(self, seen: Probe) -> np.ndarray:
        """Scores and log weights of all states on the way, [2, N P] float64."""
        return np.asarray(seen.score, float).reshape(-1, 2).T

    def _take(self, stage: RegionStage) -> bool:
        taken = super()._take(stage)
        if taken:
            self._power, self._temper = stage.next_power, stage.next_temper
        return taken

    def _sink(self) -> None:
        self._give_up(f"the volume, if there is any, is below {self._floor_words}, the floor of this method")

    def _stall(self) -> None:
        self._stand_still(-self._level)

    def _stand_still(self, divergence: float) -> None:
        self._give_up(
            f"the divergence stands still at {divergence:.6g}: none of {self._stalled_moves:,} moves found less. Give "
            "more particles or moves"
        )


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
        stage = self._stay()
        if self._level < target:
            level = self._next_level(self._scores(seen), target)
            if level is None:
                return self._stall()
            stage = stage._replace(next_level=level)
        else:
            log_weight = self._weighed(seen)[1]
            step = largest_step(log_weight, 1 - self._power)
            power = min(1.0, self._power + step)
            stage = stage._replace(next_power=power, log_scale=-step * float(np.median(log_weight)))
        if not self._take(stage):
            return None
        while self._power == 1 and len(self.ends) < len(self._targets) and self._level >= self._targets[len(self.ends)]:
            self.ends.append(Closing(len(self.stages), self._stay(), self.scheme.kernel.asks_more))
        self.done = len(self.ends) == len(self._targets)
        if not self.done and self.log_total < self._floor:
            self._sink()
        return None
