"""The run before the run: a splitting pilot finds levels and window steps, and is thrown away.

One replicate climbs adaptively. At each level it first turns the steps of the windows until about a tenth of a window's
other points on either ellipse lie inside (of a single ellipse .15), then sets the next level at the score
that a fifth of the states exceed. What it found becomes constants of the replicates that follow; nothing it drew enters
any estimate.

So few, because wide windows that mostly miss still mix faster than narrow ones that mostly hit (32 random labels on
(7,40,40,1) in a prototype, variance times evaluations: .4 worst, .2 four times better, .1 another five). A fifth, as
the variance per evaluation of K = log p / log p0 independent levels is least at p0 = .2032 (Botev and Kroese 2008,
Methodology and Computing in Applied Probability 10, section 3).

Shape letters: N particles, P moves.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from volume.estimators.smc.step import Probe, Target, advance, draw, probe
from volume.estimators.splitting.windows import Stage
from volume.models import Params

SHARE_ABOVE = 0.2  # of the states that go on to the next level
OTHERS_INSIDE = 0.1  # share of a torus's other points, on either ellipse, that lie inside the level
ALONE_INSIDE, ALONE_LEAST = 0.15, 1.1  # share of a single ellipse's other points that do, but at least so many
_BAND = (0.6, 1.7)  # of that, within which steps are left alone
MAX_TUNING = 12  # probes of one level that only turn the steps
MAX_STALLED = 6  # probes in a row that see no score above the level
SMALLEST_STEP = 1e-7  # radians: below, float32 cannot tell a window's points apart


class PilotState(NamedTuple):
    """Where a pilot stands between two levels."""

    key: Array
    z: Any  # as Params, in arrays of either kind
    stages: list[Stage]
    steps: tuple[float, float]
    log_volume: float
    evaluations: int


class Pilot:
    """Levels and steps of one class, found level by level; advance until ``done``."""

    def __init__(self, target: Target, inputs: np.ndarray, key: Array, floor: float, data: tuple[Any, ...] = ()):
        self.target, self._data = target, data
        self.stages: list[Stage] = []
        self.log_volume = 0.0  # of {score >= level}, adaptive and so slightly biased
        self.evaluations = 0
        self.done = False
        self.problem = ""  # why the class was not reached; empty when it was
        self._inputs, self._floor = inputs, floor  # floor: natural log of the volume at which to give up
        self._key = key
        self._level = -math.inf
        self._steps = target.arcs.full_steps
        self._z: Params | None = None

    @property
    def level(self) -> float:
        """The score that all particles have now."""
        return self._level

    def state(self) -> PilotState | None:
        """Where it stands; None before the first level."""
        if self._z is None:
            return None
        return PilotState(self._key, self._z, list(self.stages), self._steps, self.log_volume, self.evaluations)

    def go_on(self, state: PilotState) -> None:
        """From that state."""
        self._key, self._z, self.stages, self._steps, self.log_volume, self.evaluations = state
        self._level = self.stages[-1].next_level if self.stages else -math.inf

    def end(self, stages: list[Stage], log_volume: float, problem: str) -> None:
        """As another one ended: its levels, and why it gave up (empty when it did not)."""
        self.stages, self.log_volume, self.problem, self.done = stages, log_volume, problem, True
        self._level = stages[-1].next_level if stages else -math.inf

    def advance(self) -> None:
        """One level."""
        if self._z is None:
            self._z, _ = draw(self.target, self._next_key(), self._inputs)
            self.evaluations += self.target.num_particles
        seen = self._tuned()
        level = self._next_level(np.asarray(seen.score).ravel())
        if level is None:
            return self._give_up(
                f"the score stands still at {self._level:.6g}: none of "
                f"{MAX_STALLED * self.target.num_particles * self.target.num_moves:,} moves found a higher one. The "
                "class may be empty, the score flat (give score= one that rises further), or the moves too few"
            )
        found = advance(self.target, self._next_key(), self._z, self._inputs, self._cast(level), self._data)
        self.evaluations += cost(self.target)
        factor = float(found.factor[0])
        if factor == 0:  # too few to be met again: the level stays, and is tried once more
            return None
        self.stages.append(self._stage(level))
        self.log_volume += math.log(factor)
        self._z, self._level = found.z, level
        if level == math.inf:
            self.done = True
        elif self.log_volume < self._floor:
            self._give_up(
                f"its volume, if it has one, is below 10^{self._floor / math.log(10):.0f}, the floor of this method"
            )
        return None

    def _give_up(self, problem: str) -> None:
        self.problem, self.done = problem, True

    def _next_key(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key[None]

    def _stage(self, level: float) -> Stage:
        return Stage(self._level, level, *self._steps)

    def _cast(self, level: float) -> Stage:
        return self._stage(level).cast(self._inputs.dtype)

    def _probe(self) -> Probe:
        assert self._z is not None
        seen = probe(self.target, self._next_key(), self._z, self._inputs, self._cast(math.inf), self._data)
        self._z = seen.z
        self.evaluations += cost(self.target)
        return seen

    def _tuned(self) -> Probe:
        """A probe at steps whose windows have about the wanted share of their points inside."""
        full = self.target.arcs.full_steps
        for _ in range(MAX_TUNING):
            seen = self._probe()
            if self._level == -math.inf:  # everything is inside: once around is best
                return seen
            steps = []
            points = (self.target.arcs.body_points, self.target.arcs.head_points)
            for step, whole, others, num in zip(self._steps, full, np.asarray(seen.others), points, strict=True):
                wanted = OTHERS_INSIDE if min(points) > 1 else max(ALONE_INSIDE, ALONE_LEAST / max(num - 1, 1))
                factor = float(others) / wanted
                if num > 1 and not _BAND[0] <= factor <= _BAND[1]:
                    step = min(max(step * min(max(factor, 0.4), 1.6), SMALLEST_STEP), whole)
                steps.append(step)
            if tuple(steps) == self._steps:
                return seen
            self._steps = (steps[0], steps[1])
        return seen

    def _next_level(self, score: np.ndarray) -> float | None:
        """The next level from scores at this one; None when nothing higher is seen after several probes."""
        for _ in range(MAX_STALLED):
            level = float(np.quantile(score, 1 - SHARE_ABOVE, method="lower"))
            if level > self._level:
                return level
            # A plateau holds the quantile: go to the first score above it, as long as any is seen.
            higher = score[score > self._level]
            if len(higher):
                return float(higher.min())
            score = np.asarray(self._probe().score).ravel()
        return None


def cost(target: Target) -> int:
    """Network evaluations of one level of one replicate."""
    return target.num_particles * target.num_moves * target.kind.cost(target)
