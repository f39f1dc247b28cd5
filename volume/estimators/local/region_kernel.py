"""The kernel of a splitting run around an anchor: windows of points, seen from a region and with weights.

Quantity: a chain of measures on x ~ N(0, I), the normals of a Gaussian q of the prior's own normals z,

    z = centre + root x,    g(x) = w(x)^power exp(temper score(x)) 1{score(x) >= level},    w = N(0, I)(z) / q(z),

so that at power 1 and temper 0 the total of g is prior mass, and at power 0 it is q's. The score is minus the largest
divergence from the anchor at the points t = 1/K, ..., 1 of the straight line to theta(z); K is ``guide_points`` on the
way, and ``line_points`` where a region is closed: the last factor, to 1{the region} w(x), is its own measure.

A window is G points of one orbit that are equally far apart, the current state being any of them with the same
chance. Without kicks the orbit is an ellipse through x and a fresh v ~ N(0, I) (samplers/arcs.py). With kicks v is
pushed by the gradient of log g between turns of the ellipse (Hamiltonian moves split at the Gaussian, Shahbaba, Lan,
Johnson and Neal 2014, Statistics and Computing 24, 339-349): in hundreds of dimensions these go far where the ellipse
must creep. Both maps of (x, v) keep volume and are undone by turning back. So, given the orbit, each point's chance to
be the current one is in proportion to g(x) N(x) N(v), and choosing the next state in these proportions is reversible
for g N(0, I) (Tjelmeland 2004, preprint Statistics 4/2004, Trondheim, section 3); the sum of the next g over the sum of
this g, both weighed so, has the ratio of their totals as its expectation under g.

Shape letters: n entries of all parameters, G points of a window, K points of a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.estimators.local.divergence import BoundDivergence
from volume.estimators.smc.kernel import Move
from volume.estimators.smc.tuning import MAX_TUNING, SMALLEST_STEP, alone_inside, turned
from volume.models import Params
from volume.samplers import Prior

# Kicked windows. Of their points, the share that the measure is spread over: less, and leaps of the energy waste them.
SPREAD_OVER = 0.75
POOR = 0.4  # less, and the windows are probed once more before they are trusted with a stage
DAMPED, SLOWEST, FASTEST = 0.7, 0.6, 1.2  # how far a step follows what one probe asks for
MAX_KICKED_TUNING = 4  # probes before one stage
LARGEST_STEP = 1.0  # radians


class RegionStage(NamedTuple):
    """One level's constants: from g of (level, power, temper) to the next g."""

    level: Any
    power: Any
    temper: Any
    next_level: Any
    next_power: Any
    next_temper: Any
    step: Any  # radians between the points of a window
    log_scale: Any = 0.0  # added to the log of the next g, so that factors stay near 1; whoever sums takes it off

    def cast(self, dtype: np.dtype) -> RegionStage:
        """Cast to scalars of the dtype of the run: a level is data, and no level is compiled anew."""
        return RegionStage(*(np.asarray(value, dtype) for value in self))


class Space(NamedTuple):
    """The arrays that a region and its proposal q are made of."""

    data: Any  # what the divergence reads
    anchor: Params  # parameters, not normals
    centre: Any  # [n] of q
    root: Any  # [n, n]
    log_det: Any  # log |det root|


class Orbit(NamedTuple):
    """The points of a window, [G, ...] each."""

    x: Array
    score: Array
    log_weight: Array
    log_density: Array  # of N(x) N(v), less a constant


class OrbitStep(NamedTuple):
    """The points of a window, [G, ...] each, seen from a level; the current state is one of them."""

    orbit: Orbit
    own: Array  # [G] bool, the current state
    log_now: Array  # [G] log of g N(x) N(v), less a constant
    log_next: Array  # [G] likewise, of the next g

    @property
    def share(self) -> Array:
        """The sum of the next g over the sum of this one."""
        log_next = jnp.where(self.any_next, self.log_next, 0)
        ratio = jax.nn.logsumexp(log_next) - jax.nn.logsumexp(self.log_now)
        return jnp.where(self.any_next, jnp.exp(ratio), 0)

    @property
    def any_next(self) -> Array:
        """Whether the next measure has any of the points."""
        return jnp.any(self.log_next > -jnp.inf)

    def somewhere(self, key: Array) -> Array:
        """Draw one of the points in proportion to g."""
        return self.orbit.x[jax.random.categorical(key, self.log_now)]


@dataclass(frozen=True)
class RegionKernel:
    """Moves on windows around one anchor; the arrays of a :class:`Space` come along."""

    divergence: BoundDivergence
    prior: Prior
    line_points: int  # K of the region
    guide_points: int  # K on the way there, a divisor of it
    points: int  # G
    kicks: bool = False  # whether gradients push
    closing: bool = False  # whether the next measure is the region's own
    num_steps = 1
    first_level = -math.inf

    @property
    def cost(self) -> int:
        """Evaluations of the divergence in one move; a gradient is two more."""
        kicked = 3 if self.kicks and self.guide_points > 1 else 2 * self.kicks
        return self.points * (self.guide_points + kicked)

    @property
    def asks_more(self) -> bool:
        """Whether a region asks more points of a line than its level does on the way."""
        return self.guide_points != self.line_points

    @property
    def closing_cost(self) -> int:
        """Evaluations that one move takes on top of that where it closes a region."""
        return self.points * self.line_points

    @property
    def draw_cost(self) -> int:
        """Evaluations of one draw."""
        return self.guide_points

    @property
    def first_step(self) -> float:
        """Once around the ellipse."""
        return 2 * math.pi / self.points

    @property
    def max_tuning(self) -> int:
        return MAX_KICKED_TUNING if self.kicks else MAX_TUNING

    def init(self, key: Array, data: Space) -> tuple[Array, Array]:
        """Draw x [n] from q; the number is its score."""
        x = jax.random.normal(key, data.centre.shape, data.centre.dtype)
        return x, self.score(data, x)

    def prepare(self, data: Space) -> Space:
        """Windows need nothing but the arrays."""
        return data

    def plain_score(self, z: Array, data: Space) -> Array:
        """Return the same score."""
        return self.score(data, z)

    def stay(self, level: float, step: float) -> RegionStage:
        """Stay in the region of the prior at the level."""
        return RegionStage(level, 1.0, 0.0, level, 1.0, 0.0, step)

    def around(self, key: Array, z: Array, space: Space, stage: RegionStage, number: Array | int = 0) -> OrbitStep:
        """Return a window of the state z [n], whatever the step's ``number``; the key is consumed."""
        key_v, key_at = jax.random.split(key)
        return self._around(key_v, key_at, z, space, stage)

    def _around(self, key_v: Array, key_at: Array, x: Array, space: Space, stage: RegionStage) -> OrbitStep:
        v = jax.random.normal(key_v, x.shape, x.dtype)
        current = (jax.random.uniform(key_at) * self.points).astype(jnp.int32)
        orbit = (_kicked if self.kicks else _ellipse)(self, space, stage, x, v, current)
        own = jnp.arange(self.points) == (self.points - 1 if self.kicks else current)
        # The state counts as inside whatever the rounding of another matrix product says of it; NaN is outside.
        inside = (orbit.score >= stage.level) | own
        log_now = _log_g(orbit, inside, stage.power, stage.temper)
        if self.closing:
            # One point after the other: K networks each, all at once, would take K times the memory of a batch.
            inside &= jax.lax.map(lambda x: self.within(space, x, stage.next_level), orbit.x)
        else:
            inside &= orbit.score >= stage.next_level
        log_next = _log_g(orbit, inside, stage.next_power, stage.next_temper) + stage.log_scale
        return OrbitStep(orbit, own, log_now, log_next)

    def move(self, key: Array, z: Array, space: Space, stage: RegionStage) -> Move:
        """Return one move of one particle z [n]; the key is consumed. The move's score is [2]: the score and log w."""
        key_v, key_at, key_next, key_candidate = jax.random.split(key, 4)
        orbit, own, log_now, log_next = seen = self._around(key_v, key_at, z, space, stage)
        chosen = jax.random.categorical(key_next, log_now)
        candidate = jax.random.categorical(key_candidate, jnp.where(seen.any_next, log_next, log_now))
        # How many points the current measure is spread over: those inside, where all of them weigh alike.
        effective = jnp.exp(2 * jax.nn.logsumexp(log_now) - jax.nn.logsumexp(2 * log_now))
        return Move(
            z=orbit.x[chosen],
            share=seen.share,
            candidate=orbit.x[candidate],
            moved=~own[chosen],
            others=jnp.stack([(effective - 1) / (self.points - 1), jnp.zeros(())]),
            score=jnp.stack([orbit.score[chosen], orbit.log_weight[chosen]]),
        )

    def tune(self, stage: RegionStage, others: np.ndarray) -> tuple[float, bool]:
        """Choose the step of the next window.

        On an ellipse the wanted share of points is to lie inside. Kicked, one probe's step follows the last one's, and
        more probes are made only where windows were poor: beyond the leapfrog's limit of stability a window is worth
        nothing at once, so that looking for the wanted share within one stage swings about that limit; from stage to
        stage the step changes little.
        """
        share = float(others[0])
        if not self.kicks:
            if stage.level == -math.inf:  # everything is inside: once around is best
                return stage.step, True
            step = turned(stage.step, share, alone_inside(self.points), self.first_step)
            return step, step == stage.step
        # What a window loses grows as the square of its step.
        factor = math.sqrt((1 - SPREAD_OVER) / max(1 - share, 0.02)) ** DAMPED
        return min(max(stage.step * min(max(factor, SLOWEST), FASTEST), SMALLEST_STEP), LARGEST_STEP), share >= POOR

    @property
    def guide(self) -> BoundDivergence:
        """What scores: with kicks without the anchor's class, where the divergence would jump to infinity."""
        return replace(self.divergence, within=None) if self.kicks else self.divergence

    def theta(self, space: Space, x: Array) -> Params:
        """Return the network of x [n]."""
        z = space.centre + space.root @ x
        return self.prior.transform(self.divergence.unflatten(z), self.divergence.parameters)

    def score(self, space: Space, x: Array) -> Array:
        """Return minus the largest divergence on the way from the anchor to the network of x [n]; may be NaN."""
        return -self.guide.worst(self.theta(space, x), space.anchor, space.data, self.guide_points)

    def within(self, space: Space, x: Array, level: Array) -> Array:
        """Say whether the network of x [n] lies in the region of divergence at most -level; NaN does not."""
        return self.divergence.worst(self.theta(space, x), space.anchor, space.data, self.line_points) <= -level

    def log_weight(self, space: Space, x: Array) -> Array:
        """log w at x [n]."""
        z = space.centre + space.root @ x
        return (x @ x - z @ z) / 2 + space.log_det

    def pulled(self, space: Space, stage: RegionStage, x: Array) -> tuple[Array, Array]:
        """Return the score of x [n], and the gradient [n] of log g: of the score, that of the line's worst point."""
        guide, anchor = self.guide, space.anchor

        def at(x: Array, t: Array) -> Array:
            theta = self.theta(space, x)
            return -guide.of({k: anchor[k] + t * (theta[k] - anchor[k]) for k in theta}, space.data)

        t = jnp.arange(1, self.guide_points + 1, dtype=x.dtype) / self.guide_points
        worst = t[-1] if self.guide_points == 1 else t[jnp.argmin(jax.vmap(partial(at, x))(t))]
        score, slope = jax.value_and_grad(at)(x, worst)
        slope = stage.power * jax.grad(partial(self.log_weight, space))(x) + stage.temper * slope
        return score, jnp.where(jnp.isfinite(slope), slope, 0)


def _ellipse(kernel: RegionKernel, space: Space, stage: RegionStage, x: Array, v: Array, current: Array) -> Orbit:
    angles = ((jnp.arange(kernel.points) - current) * stage.step)[:, None]
    x = x * jnp.cos(angles) + v * jnp.sin(angles)
    score, log_weight = jax.vmap(lambda x: (kernel.score(space, x), kernel.log_weight(space, x)))(x)
    return Orbit(x, score, log_weight, jnp.zeros(kernel.points, x.dtype))


def _kicked(kernel: RegionKernel, space: Space, stage: RegionStage, x: Array, v: Array, current: Array) -> Orbit:
    """Back from x for ``current`` steps, then on from x for the others; the last of the G points is x itself."""
    score, slope = kernel.pulled(space, stage, x)

    def seen(x: Array, v: Array, score: Array) -> Orbit:
        return Orbit(x, score, kernel.log_weight(space, x), -(x @ x + v @ v) / 2)

    start = (x, v, slope)

    def turn(state: tuple[Array, Array, Array], i: Array):
        x, v, slope = jax.tree.map(partial(jnp.where, i == current), start, state)
        angle = jnp.where(i < current, -stage.step, stage.step)
        v = v + angle / 2 * slope
        x, v = x * jnp.cos(angle) + v * jnp.sin(angle), v * jnp.cos(angle) - x * jnp.sin(angle)
        score, slope = kernel.pulled(space, stage, x)
        v = v + angle / 2 * slope
        return (x, v, slope), seen(x, v, score)

    others = jax.lax.scan(turn, start, jnp.arange(kernel.points - 1))[1]
    return jax.tree.map(lambda all_, own: jnp.concatenate([all_, own[None]]), others, seen(x, v, score))


def _log_g(orbit: Orbit, inside: Array, power: Array, temper: Array) -> Array:
    """log of g N(x) N(v) over the window, less a constant; -inf where nothing is or where it is not a number."""
    # A temper of 0 asks nothing of the score, not even that it be finite.
    tempered = jnp.where(temper == 0, 0, temper * jnp.where(temper == 0, 0, orbit.score))
    log_g = power * orbit.log_weight + tempered + orbit.log_density
    return jnp.where(inside & jnp.isfinite(log_g), log_g, -jnp.inf)
