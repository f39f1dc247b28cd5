"""The pilot of a splitting run around an anchor that goes inward by tempers, for a divergence D with gradients.

Its measures are q(x) w(x)^power exp(-temper D(x)). From the proposal q, which volume.estimators.local.proposal made as
wide as exp(-beta D) would be were D quadratic, it goes to the prior tempered by beta, power and temper / beta rising
from 0 to 1 together; then the temper rises until D has come down to each cutoff c in turn. There the volume is

    V(c) = Z E[1{D <= c} exp(temper D)],    Z the total of prior x exp(-temper D),

(annealed importance sampling, Neal 2001, Statistics and Computing 11, 125-139, with the particles' resampling of Del
Moral, Doucet and Jasra 2006). Where V(c) ~ c^lambda, D is Gamma(lambda, temper) under that measure, and the variance of
the last factor is least, (2 pi lambda)^(1/2) / 2 relative, where temper c is about lambda: where the mean of D is c. No
measure on the way has an edge, so that gradients carry every move (volume.estimators.local.region_kernel): by levels a
move among hundreds of parameters creeps.

Shape letters: N particles, P moves.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from volume.estimators.local.pilot import Closing, LocalPilot, largest_step
from volume.estimators.local.region_kernel import LARGEST_STEP, Space
from volume.estimators.smc.pilot import MAX_STALLED
from volume.estimators.smc.tuning import SMALLEST_STEP

STILL = 1e-6  # relative: divergences that differ by less are the same
GROWTH = 10.0  # of the temper in one stage, at most


class TemperedPilot(LocalPilot):
    """By tempers. ``beta`` is that of the proposal, 0 for the prior; the rest is as the base's."""

    NUMBERS = (*LocalPilot.NUMBERS, "_stalled")

    def __init__(self, *args: Any, beta: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._beta, self._stalled = beta, 0

    @property
    def weighted(self) -> bool:
        """Whether the proposal's weights are still on their way to the prior's."""
        return self._power < 1

    def states(self, rounds: int) -> np.ndarray:
        """x [S, n] of where it is, after each of so many rounds of moves."""
        states = []
        for _ in range(rounds):
            self._tuned()
            states.append(np.asarray(self._z, float)[0])
        return np.concatenate(states)

    def go_over(self, space: Space, step: float, x: np.ndarray) -> None:
        """Switch to the coordinates x [N, n] of another proposal; the target measure is unchanged."""
        self.data, self._z = space, jnp.asarray(x[None], self._dtype)
        self._step = min(max(self._step * step, SMALLEST_STEP), LARGEST_STEP)

    def _advance(self) -> None:
        seen = self._tuned()
        score, log_weight = self._weighed(seen)
        divergence = np.where(np.isfinite(score), -score, np.inf)
        kept = np.isfinite(divergence)
        if not kept.any():
            return self._give_up("no network of finite divergence was found")
        divergence, log_weight = divergence[kept], log_weight[kept]
        while self._power == 1 and not self.done and self._mean(divergence, 0.0) <= -self._targets[len(self.ends)]:
            self._close()
        if self.done:
            return None
        now = self._stay()
        if self._power < 1:
            change = log_weight - self._beta * divergence
            step = largest_step(change, 1 - self._power)
            power = min(1.0, self._power + step)
            stage = now._replace(next_power=power, next_temper=power * self._beta)
        else:
            if divergence.std() <= STILL * abs(float(divergence.mean())):  # no temper tells them apart: look again
                self._stalled += 1
                return self._stand_still(float(divergence.mean())) if self._stalled == MAX_STALLED else None
            self._stalled = 0
            change, step = -divergence, self._rise(divergence)
            stage = now._replace(next_temper=self._temper + step)
            # Chernoff: V(c) <= Z exp(temper c).
            if self.log_total - self._temper * self._targets[-1] < self._floor:
                return self._sink()
        taken = self._take(stage._replace(log_scale=-step * float(np.median(change))))
        if taken and now.power == 1 and now.temper > 0:
            # Where D leads, its curvature times the temper sets how long a step may be.
            self._step = max(self._step * math.sqrt(now.temper / stage.next_temper), SMALLEST_STEP)
        return None

    def _close(self) -> None:
        """The volume of the next cutoff is taken here."""
        cutoff = -self._targets[len(self.ends)]
        stage = self._stay()._replace(
            next_level=-cutoff, next_power=1.0, next_temper=0.0, log_scale=-self._temper * cutoff
        )
        self.ends.append(Closing(len(self.stages), stage, factor=True))
        self.done = len(self.ends) == len(self._targets)

    def _rise(self, divergence: np.ndarray) -> float:
        """How far the temper rises: no further than to where the mean of D is the next cutoff."""
        cutoff = -self._targets[len(self.ends)]
        most = (GROWTH - 1) * self._temper if self._temper else 1 / float(divergence.std())
        low, high = 0.0, most
        if self._mean(divergence, most) <= cutoff:
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if self._mean(divergence, middle) > cutoff else (low, middle)
        # At least a little, so that what noise left above the cutoff comes down.
        return largest_step(-divergence, max(high, 0.02 * self._temper))

    @staticmethod
    def _mean(divergence: np.ndarray, more: float) -> float:
        """Mean of D were the temper so much higher."""
        weight = np.exp(-more * (divergence - divergence.min()))
        return float((weight * divergence).sum() / weight.sum())
