"""Pilot and replicates of splitting with an integrated last layer: temperatures from 0 to 1, then the class itself.

Shape letters: G replicates of a group, N particles, P moves.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from scipy import special

from volume.estimators.smc.pilot import Pilot
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import State, check_particles
from volume.estimators.splitting.bodies import LOG_APPROXIMATION, BodyKernel, Temperatures
from volume.estimators.splitting.group import ClassGroup

EFFECTIVE = 0.5  # share of the states that count, by their weights, on the way to the next temperature


def last_scheme(scheme: Scheme[BodyKernel]) -> Scheme[BodyKernel]:
    """The scheme of the last stage: every body is weighed once."""
    return replace(scheme, kernel=replace(scheme.kernel, last=True), num_moves=1)


def next_temperature(level: float, log_values: np.ndarray, effective: float = EFFECTIVE) -> float:
    """Choose the next temperature: at most 1, and such that weights o^^(next - level) keep this share of the states.

    The share is (sum w)^2 / (n sum w^2) of the states' weights (Kong, Liu and Wong 1994).
    """
    log_values = log_values[np.isfinite(log_values)]

    def excess(change: float) -> float:
        logs = change * log_values
        share = 2 * special.logsumexp(logs) - special.logsumexp(2 * logs) - math.log(len(logs))
        return float(share) - math.log(effective)

    most = 1 - level
    if not len(log_values) or excess(most) >= 0:
        return 1.0
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return level + low


class TemperaturePilot(Pilot):
    """Finds temperatures and steps."""

    def _advance(self) -> None:
        if self.level == 1.0:
            self._finish()
            return
        log_values = self._scores(self._tuned())
        level = next_temperature(self.level, log_values)
        change = level - self.level
        with np.errstate(all="ignore"):
            mean = special.logsumexp(change * log_values[np.isfinite(log_values)]) - math.log(log_values.size)
        if not math.isfinite(mean):
            self._give_up("no body drawn from the prior has finite outputs")
        elif self._take(self._stay()._replace(next_level=level, log_scale=-float(mean))) and self.log_total < self._floor:
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
