"""The pilot of one class: the engine's, and the record from which it goes on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jax import Array

from volume.estimators.smc.pilot import Pilot
from volume.estimators.splitting.schemes import ClassScheme
from volume.estimators.splitting.stage import Stage


class PilotState(NamedTuple):
    """Where a pilot stands between two levels."""

    key: Array
    z: Any  # as Params, in arrays of either kind
    stages: list[Stage]
    steps: tuple[float, float]
    log_volume: float
    evaluations: int


class ClassPilot(Pilot):
    """Levels and steps of one class."""

    scheme: ClassScheme
    stages: list[Stage]

    @property
    def log_volume(self) -> float:
        """Natural log of the volume of {score >= level}."""
        return self.log_total

    def state(self) -> PilotState | None:
        """Where it stands; None before the first level."""
        if self._z is None:
            return None
        return PilotState(self._key, self._z, list(self.stages), self._step, self.log_volume, self.evaluations)

    def go_on(self, state: PilotState) -> None:
        """Resume from that state."""
        self._key, self._z, self.stages, self._step, self.log_total, self.evaluations = state
        self._level = self._reached

    def end(self, stages: list[Stage], log_volume: float, problem: str) -> None:
        """Adopt the result of a finished pilot: its levels, and why it gave up (empty when it did not)."""
        self.stages, self.log_total, self.problem, self.done = stages, log_volume, problem, True
        self._level = self._reached

    @property
    def _reached(self) -> float:
        return self.stages[-1].next_level if self.stages else -math.inf
