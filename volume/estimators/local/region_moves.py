"""The moves of a splitting run around an anchor: windows of points, seen from a region and with weights.

Quantity: a chain of measures on x ~ N(0, I), the normals of a Gaussian law q of the prior's own normals z,

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

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from volume.estimators.local.divergence import BoundDivergence
from volume.estimators.smc.step import over_particles
from volume.estimators.splitting.windows import Move
from volume.models import Params
from volume.samplers import Prior


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
        """As scalars of the dtype of the run: a level is data, and no level is compiled anew."""
        return RegionStage(*(np.asarray(value, dtype) for value in self))


class Space(NamedTuple):
    """The arrays that a region and its law q are made of."""

    data: Any  # what the divergence reads
    anchor: Params  # parameters, not normals
    centre: Any  # [n] of q
    root: Any  # [n, n]
    log_det: Any  # log |det root|


@dataclass(frozen=True)
class Region:
    """What the compiled steps of volume.levels depend on; the arrays of its :class:`Space` are passed along."""

    divergence: BoundDivergence
    prior: Prior
    line_points: int  # K of the region
    guide_points: int  # K on the way there, a divisor of it
    points: int  # G
    num_particles: int
    num_moves: int
    batch: int  # particles that move at the same time
    precision: str
    kicks: bool = False  # whether gradients push
    closing: bool = False  # whether the next measure is the region's own
    mesh: Mesh | None = None  # devices that batches are spread over; None: wherever the arrays are

    @property
    def kind(self) -> Any:
        """The module of its moves: this one."""
        return sys.modules[__name__]

    def filled(self, data: tuple[Any, ...]) -> Region:
        """As it is: its data are in the space."""
        assert not data
        return self

    @property
    def guide(self) -> BoundDivergence:
        """What scores: with kicks without the anchor's class, where the divergence would jump to infinity."""
        return replace(self.divergence, within=None) if self.kicks else self.divergence

    def theta(self, space: Space, x: Array) -> Params:
        """The network of x [n]."""
        z = space.centre + space.root @ x
        return self.prior.transform(self.divergence.unflatten(z), self.divergence.parameters)

    def score(self, space: Space, x: Array) -> Array:
        """Minus the largest divergence on the way from the anchor to the network of x [n]; may be NaN."""
        return -self.guide.worst(self.theta(space, x), space.anchor, space.data, self.guide_points)

    def within(self, space: Space, x: Array, level: Array) -> Array:
        """Whether the network of x [n] lies in the region of divergence at most -level; NaN does not."""
        return self.divergence.worst(self.theta(space, x), space.anchor, space.data, self.line_points) <= -level

    def log_weight(self, space: Space, x: Array) -> Array:
        """log w at x [n]."""
        z = space.centre + space.root @ x
        return (x @ x - z @ z) / 2 + space.log_det

    def pulled(self, space: Space, stage: RegionStage, x: Array) -> tuple[Array, Array]:
        """The score of x [n], and the gradient [n] of log g: of the score, that of the line's worst point."""
        guide, anchor = self.guide, space.anchor

        def at(x: Array, t: Array) -> Array:
            theta = self.theta(space, x)
            return -guide.of({k: anchor[k] + t * (theta[k] - anchor[k]) for k in theta}, space.data)

        t = jnp.arange(1, self.guide_points + 1, dtype=x.dtype) / self.guide_points
        worst = t[-1] if self.guide_points == 1 else t[jnp.argmin(jax.vmap(partial(at, x))(t))]
        score, slope = jax.value_and_grad(at)(x, worst)
        slope = stage.power * jax.grad(partial(self.log_weight, space))(x) + stage.temper * slope
        return score, jnp.where(jnp.isfinite(slope), slope, 0)


@partial(jax.jit, static_argnames="region")
def draw(region: Region, keys: Array, space: Space) -> tuple[Array, Array]:
    """Fresh draws from q, x [R, N, n], and their scores [R, N], perhaps NaN; a key [R] for each replicate."""

    def one(key: Array) -> tuple[Array, Array]:
        x = jax.random.normal(key, space.centre.shape, space.centre.dtype)
        return x, region.score(space, x)

    with jax.default_matmul_precision(region.precision):
        keys = jax.vmap(lambda key: jax.random.split(key, region.num_particles))(keys)
        return over_particles(region, one, keys)  # type: ignore[arg-type]  # of a target it reads what a region has


class _Orbit(NamedTuple):
    """The points of a window, [G, ...] each; the current state is one of them."""

    x: Array
    score: Array
    log_weight: Array
    log_density: Array  # of N(x) N(v), less a constant


def _ellipse(region: Region, space: Space, stage: RegionStage, x: Array, v: Array, current: Array) -> _Orbit:
    angles = ((jnp.arange(region.points) - current) * stage.step)[:, None]
    x = x * jnp.cos(angles) + v * jnp.sin(angles)
    score, log_weight = jax.vmap(lambda x: (region.score(space, x), region.log_weight(space, x)))(x)
    return _Orbit(x, score, log_weight, jnp.zeros(region.points, x.dtype))


def _kicked(region: Region, space: Space, stage: RegionStage, x: Array, v: Array, current: Array) -> _Orbit:
    """Back from x for ``current`` steps, then on from x for the others; the last of the G points is x itself."""
    score, slope = region.pulled(space, stage, x)

    def seen(x: Array, v: Array, score: Array) -> _Orbit:
        return _Orbit(x, score, region.log_weight(space, x), -(x @ x + v @ v) / 2)

    start = (x, v, slope)

    def turn(state: tuple[Array, Array, Array], i: Array):
        x, v, slope = jax.tree.map(partial(jnp.where, i == current), start, state)
        angle = jnp.where(i < current, -stage.step, stage.step)
        v = v + angle / 2 * slope
        x, v = x * jnp.cos(angle) + v * jnp.sin(angle), v * jnp.cos(angle) - x * jnp.sin(angle)
        score, slope = region.pulled(space, stage, x)
        v = v + angle / 2 * slope
        return (x, v, slope), seen(x, v, score)

    others = jax.lax.scan(turn, start, jnp.arange(region.points - 1))[1]
    return jax.tree.map(lambda all_, own: jnp.concatenate([all_, own[None]]), others, seen(x, v, score))


def move(region: Region, key: Array, x: Array, space: Space, stage: RegionStage) -> Move:
    """One move of one particle x [n]; the key is consumed. The move's score is [2]: the score and log w."""
    key_v, key_at, key_next, key_candidate = jax.random.split(key, 4)
    v = jax.random.normal(key_v, x.shape, x.dtype)
    current = (jax.random.uniform(key_at) * region.points).astype(jnp.int32)
    orbit = (_kicked if region.kicks else _ellipse)(region, space, stage, x, v, current)
    own = jnp.arange(region.points) == (region.points - 1 if region.kicks else current)
    # The state counts as inside whatever the rounding of another matrix product says of it; NaN is outside.
    inside = (orbit.score >= stage.level) | own
    log_now = _log_g(orbit, inside, stage.power, stage.temper)
    if region.closing:
        # One point after the other: K networks each, all at once, would take K times the memory of a batch.
        inside &= jax.lax.map(lambda x: region.within(space, x, stage.next_level), orbit.x)
    else:
        inside &= orbit.score >= stage.next_level
    log_next = _log_g(orbit, inside, stage.next_power, stage.next_temper) + stage.log_scale
    chosen = jax.random.categorical(key_next, log_now)
    any_next = jnp.any(log_next > -jnp.inf)
    candidate = jax.random.categorical(key_candidate, jnp.where(any_next, log_next, log_now))
    total, total_now = jax.nn.logsumexp(jnp.where(any_next, log_next, 0)), jax.nn.logsumexp(log_now)
    # How many points the current measure is spread over: those inside, where all of them weigh alike.
    effective = jnp.exp(2 * total_now - jax.nn.logsumexp(2 * log_now))
    return Move(
        z=orbit.x[chosen],
        share=jnp.where(any_next, jnp.exp(total - total_now), 0),
        candidate=orbit.x[candidate],
        moved=~own[chosen],
        others=jnp.stack([(effective - 1) / (region.points - 1), jnp.zeros(())]),
        score=jnp.stack([orbit.score[chosen], orbit.log_weight[chosen]]),
    )


def _log_g(orbit: _Orbit, inside: Array, power: Array, temper: Array) -> Array:
    """log of g N(x) N(v) over the window, less a constant; -inf where nothing is or where it is not a number."""
    # A temper of 0 asks nothing of the score, not even that it be finite.
    tempered = jnp.where(temper == 0, 0, temper * jnp.where(temper == 0, 0, orbit.score))
    log_g = power * orbit.log_weight + tempered + orbit.log_density
    return jnp.where(inside & jnp.isfinite(log_g), log_g, -jnp.inf)


def prepare(region: Region, space: Space) -> Space:
    """Windows need nothing but the arrays."""
    return space


def steps(region: Region) -> int:
    """Reversible steps in one move."""
    return 1


def cost(region: Region) -> int:
    """Evaluations of the divergence in one move; a gradient is two more."""
    return region.points * (region.guide_points + (3 if region.kicks and region.guide_points > 1 else 2 * region.kicks))
