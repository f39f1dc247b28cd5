"""Pilot and replicates of splitting with an integrated last layer: temperatures from 0 to 1, then the class itself.

Shape letters: G replicates of a group, N particles, P moves.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from volume.estimators.smc.pilot import Pilot
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import State, check_particles
from volume.estimators.splitting.bodies import LOG_APPROXIMATION, BodyKernel, Temperatures
from volume.estimators.splitting.group import ClassGroup

EFFECTIVE = 0.5  # share of the states that count, by their weights, on the way to the next temperature


def last_scheme(scheme: Scheme[Any]) -> Scheme[Any]:
    """The scheme of the last stage: every body is weighed once."""
    return replace(scheme, kernel=replace(scheme.kernel, last=True), num_moves=1)


def next_temperature(level: float, log_values: np.ndarray, effective: float = EFFECTIVE) -> float:
    """Choose the next temperature: at most 1, and such that weights o^^(next - level) keep this share of the states.

    The share is (sum w)^2 / (n sum w^2) of the states' weights (Kong, Liu and Wong 1994).

    Args:
        level: the present temperature.
        log_values: log o^ of states at it, flat; finite.
        effective: the share.
    """

    def share(change: float) -> float:
        return math.exp(2 * _log_mean(change * log_values) - _log_mean(2 * change * log_values))

    low, high = 0.0, 1 - level
    if share(high) >= effective:
        return 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) > effective else (low, middle)
    return level + low


def _log_mean(logs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))


class TemperaturePilot(Pilot):
    """Finds temperatures and steps."""

    def _advance(self) -> None:
        if self.level == 1.0:
            self._finish()
            return
        log_values = self._scores(self._tuned()).astype(float)
        log_values = log_values[np.isfinite(log_values)]
        if not len(log_values):
            self._give_up("no body drawn from the prior has finite outputs")
            return
        level = next_temperature(self.level, log_values)
        scale = -_log_mean((level - self.level) * log_values)  # weights of 1 on average
        taken = self._take(self._stay()._replace(next_level=level, log_scale=scale))
        if taken and self.log_total < self._floor:
            self._sink()

    def _finish(self) -> None:
        """Go to the class itself."""
        self._tuned()
        scheme, self.scheme = self.scheme, last_scheme(self.scheme)
        try:
            reached = self._take(self._stay())
        finally:
            self.scheme = scheme
        if reached:
            self.done = True
        else:
            self._give_up(
                f"none of {scheme.num_particles:,} bodies has a last layer that gives the labels. "
                "The class may be empty, or the particles too few"
            )


class BodyGroup(ClassGroup):
    """Replicates of one class."""

    scheme: Scheme[BodyKernel]

    def _factor(self, scheme: Scheme[Any], stage: Temperatures, number: int) -> tuple[State, np.ndarray, np.ndarray]:
        return super()._factor(last_scheme(scheme) if stage.next_level == math.inf else scheme, stage, number)

    def _check(self, scheme: Scheme[Any], state: State, factor: np.ndarray, stage: Temperatures) -> None:
        """Hold log o^ of some particles to a plain evaluation."""
        z = jax.tree.map(np.asarray, state.z)
        check_particles(scheme, "advance", z, self._data, z[LOG_APPROXIMATION])
