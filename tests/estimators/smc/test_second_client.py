"""A Gaussian half-space on the engine, with a kernel and an importance function of its own: all that a client needs.

Quantity: P(u . x > t), x ~ N(0, I), which is Phi(-t) for a unit vector u.

False alarms: a mean of thousands of ratios is held to 5.5 standard errors (4e-8), the log of 16 replicates' mean to 8
of its own (8e-7 by Student's t of 15 degrees); seeds are fixed besides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from volume.estimators.smc.conditional import conditional_runs
from volume.estimators.smc.group import Group
from volume.estimators.smc.kernel import Move
from volume.estimators.smc.pilot import Pilot
from volume.estimators.smc.replicates import Replicates
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.tuning import MAX_TUNING, turned
from volume.statistics import replicates

NORMAL = np.array([0.6, -0.8, 0.0], np.float32)


@dataclass(frozen=True)
class Beyond:
    """Importance function: how far out x is along a direction; +inf beyond t."""

    t: float

    def __call__(self, x: Any, normal: Any) -> Any:
        along = x @ normal
        return jnp.where(along > self.t, jnp.inf, along)


class Stage(NamedTuple):
    level: Any
    next_level: Any
    step: Any  # radians between the two points of a pair

    @property
    def log_scale(self) -> float:
        return 0.0

    def cast(self, dtype: np.dtype) -> Stage:
        return Stage(*(np.asarray(value, dtype) for value in self))


class Pair(NamedTuple):
    """The state and its turn towards a fresh draw, in either order equally likely, seen from a level."""

    points: Any  # [2, n], the state first
    inside: Any  # [2] bool, and likewise
    above: Any
    score: Any  # [2]

    @property
    def share(self) -> Any:
        return jnp.sum(self.above) / jnp.sum(self.inside)

    def somewhere(self, key: Any) -> Any:
        return self.points[self.index(key, self.inside)]

    def index(self, key: Any, among: Any) -> Any:
        return jnp.argmax(jnp.where(among, jax.random.uniform(key, (2,)), -1.0))


@dataclass(frozen=True)
class PairKernel:
    """Goes to one of the pair's points inside the level, uniformly."""

    score: Beyond
    num_steps = cost = draw_cost = 1
    first_step = math.pi / 2  # to the fresh draw itself
    first_level = -math.inf
    max_tuning = MAX_TUNING

    def init(self, key: Any, data: Any) -> tuple[Any, Any]:
        return jax.random.normal(key, data.shape, data.dtype), jnp.zeros(())

    def prepare(self, data: Any) -> Any:
        return data

    def around(self, key: Any, z: Any, space: Any, stage: Stage, number: Any = 0) -> Pair:
        other = z * jnp.cos(stage.step) + jax.random.normal(key, z.shape, z.dtype) * jnp.sin(stage.step)
        points = jnp.stack([z, other])
        score = jax.vmap(lambda x: self.score(x, space))(points)
        inside = (score >= stage.level) | np.array([True, False])
        return Pair(points, inside, inside & (score >= stage.next_level), score)

    def move(self, key: Any, z: Any, space: Any, stage: Stage) -> Move:
        key_pair, key_next, key_candidate = jax.random.split(key, 3)
        seen = self.around(key_pair, z, space, stage)
        at = seen.index(key_next, seen.inside)
        candidate = seen.points[seen.index(key_candidate, seen.above)]
        others = jnp.stack([seen.inside[1], 0.0])
        return Move(seen.points[at], seen.share, candidate, at == 1, others, seen.score[at])

    def plain_score(self, z: Any, data: Any) -> Any:
        return self.score(z, data)

    def stay(self, level: float, step: float) -> Stage:
        return Stage(level, math.inf, step)

    def tune(self, stage: Stage, others: np.ndarray) -> tuple[float, bool]:
        step = turned(stage.step, float(others[0]), 0.4, self.first_step)
        return step, step == stage.step


class StallsOnce(Pilot):
    """A pilot whose first try sees no higher score at its third level."""

    def _next_level(self, score: np.ndarray, highest: float = math.inf) -> float | None:
        return None if not self.given_up and len(self.stages) == 2 else super()._next_level(score, highest)


@pytest.mark.slow
def test_a_pilot_that_stalls_is_followed_by_another():
    """With draws of its own, as if the first had not been; what that cost is counted."""
    first = piloted(3.0, 64, 4)
    scheme, dtype, key = first.scheme, NORMAL.dtype, jax.random.key(1)
    alone = Pilot(scheme, NORMAL, dtype, jax.random.fold_in(key, 1), -100.0)
    several, resumed = (StallsOnce(scheme, NORMAL, dtype, key, -100.0, tries=3) for _ in range(2))
    for pilot in (alone, several):
        while not pilot.done:
            pilot.advance()
            if pilot.given_up and len(pilot.stages) == 2:
                resumed.go_on(pilot.state())
    while not resumed.done:
        resumed.advance()
    assert several.stages == resumed.stages == alone.stages != first.stages
    assert (several.problem, several.given_up, several.log_total) == ("", 1, alone.log_total)
    assert several.evaluations == resumed.evaluations > alone.evaluations
    once = StallsOnce(scheme, NORMAL, dtype, key, -100.0)
    while not once.done:
        once.advance()
    assert "stands still" in once.problem
    assert several.evaluations == once.evaluations + alone.evaluations


class HalfSpaces(Replicates[Group]):
    """What is the client's own about replicates: of which pilot they are."""

    def __init__(self, pilot: Pilot, num: int):
        super().__init__(pilot.scheme, num)
        self._pilot = pilot
        self.begin(None)

    @property
    def _particle_bytes(self) -> int:
        return self._pilot.scheme.num_particles * NORMAL.nbytes

    def _group(self, numbers: Sequence[int]) -> Group:
        pilot = self._pilot
        return Group(pilot.scheme, numbers, jax.random.key(2), pilot.data, NORMAL.dtype, pilot.stages)

    def _results(self, group: Group) -> dict[int, float]:
        return dict(zip(group.numbers, group.log_total.tolist(), strict=True))


def piloted(t: float, particles: int, moves: int, floor: float = -100.0) -> Pilot:
    """A finished pilot."""
    scheme = Scheme(PairKernel(Beyond(t)), particles, moves, batch=256, precision="highest")
    pilot = Pilot(scheme, NORMAL, NORMAL.dtype, jax.random.key(1), floor)
    while not pilot.done:
        pilot.advance()
    return pilot


def log_estimates(pilot: Pilot, num: int) -> np.ndarray:
    """log p_hat [R] of finished replicates."""
    run = HalfSpaces(pilot, num)
    while not run.done:
        run.advance()
    assert run.complete
    return np.array(run.results)


def test_a_tail_of_the_normal():
    """-20.7 nats: the pilot comes near, tunes the step down, and 16 replicates have it."""
    pilot = piloted(6.0, particles=64, moves=32)
    assert not pilot.problem
    assert len(pilot.stages) > 8
    assert pilot.stages[-1].step < pilot.stages[0].step / 2
    logs, truth = log_estimates(pilot, 16), float(special.log_ndtr(-6.0))
    assert abs(pilot.log_total - truth) < 3
    error = replicates.log_mean_error(logs)
    assert error < 0.2
    assert abs(replicates.log_mean(logs) - truth) < 8 * error


@pytest.mark.slow
def test_unbiased_with_a_handful_of_particles(monkeypatch):
    """Many replicates die, and the mean is the truth all the same: 3 % would be seen. Groups change nothing."""
    pilot = piloted(2.0, particles=3, moves=2)
    logs = log_estimates(pilot, 8000)
    assert np.isneginf(logs).any()
    ratio = np.exp(logs - special.log_ndtr(-2.0))
    error = ratio.std(ddof=1) / math.sqrt(len(ratio))
    assert error < 0.03
    assert abs(ratio.mean() - 1) < 5.5 * error
    monkeypatch.setattr("volume.estimators.smc.replicates.STATE_BYTES", 6 * 3 * 12 * 5)  # five at a time
    np.testing.assert_allclose(log_estimates(pilot, 12), logs[:12], rtol=1e-5)


@pytest.mark.slow
def test_conditional_runs_average_the_inverse():
    """E[p / p_hat] is P(an ordinary run survives), over exact draws from beyond t: 2 runs of each of 150 draws."""
    pilot = piloted(1.5, particles=32, moves=4)
    survived = np.isfinite(log_estimates(pilot, 1000))
    rng, truth = np.random.default_rng(0), float(special.log_ndtr(-1.5))
    inverse = []
    for number in range(150):
        x = rng.standard_normal(3)
        along = -special.ndtri(rng.uniform() * special.ndtr(-1.5))
        x = (x + (along - x @ NORMAL) * NORMAL).astype(np.float32)
        logs = conditional_runs(
            pilot.scheme, pilot.stages, x, pilot.data, NORMAL.dtype, jax.random.key(100 + number), 2
        )
        inverse.append(float(np.mean(np.exp(truth - logs))))
    error = math.hypot(np.std(inverse, ddof=1) / math.sqrt(150), survived.std() / math.sqrt(1000))
    assert error < 0.05
    assert abs(np.mean(inverse) - survived.mean()) < 5.5 * error


@pytest.mark.slow
def test_a_pilot_gives_up_below_its_floor():
    pilot = piloted(math.inf, particles=16, moves=4, floor=-5.0)
    assert pilot.stages
    assert "it went below 10^-2, the floor" in pilot.problem
