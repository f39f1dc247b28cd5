"""The move of a splitting run around an anchor: windows on an ellipse, seen from a region and with weights.

Quantity: a chain of measures on x ~ N(0, I), the normals of a Gaussian law q of the prior's own normals z,

    z = centre + root x,    g(x) = w(x)^power 1{score(x) >= level},    w = N(0, I)(z) / q(z),

so that at power 1 the total of g is prior mass, and at power 0 it is q's. The score is minus the largest divergence
from the anchor on the way to theta(z), at the points t = 1/K, ..., 1 of the straight line between them.

Given the points of a window each is equally likely, under N(0, I), to have been the current one (samplers/arcs.py). So
choosing the next state among them in proportion to g is reversible for g N(0, I) (Tjelmeland 2004, preprint Statistics
4/2004, Trondheim, section 3), and the sum of the next g over the sum of this g has the ratio of their totals as its
expectation under g.

Shape letters: n entries of all parameters, G points of a window, K points of a line.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from volume.divergence import BoundDivergence
from volume.levels import over_particles
from volume.models import Params
from volume.moves import Move
from volume.samplers import Prior


class RegionStage(NamedTuple):
    """One level's constants: from g of (level, power) to g of (next_level, next_power)."""

    level: Any
    power: Any
    next_level: Any
    next_power: Any
    step: Any  # radians between the points of a window

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
    log_scale: Any  # a constant taken from log w, so that powers of w stay near 1


@dataclass(frozen=True)
class Region:
    """What the compiled steps of volume.levels depend on; the arrays of its :class:`Space` are passed along."""

    divergence: BoundDivergence
    prior: Prior
    line_points: int  # K
    points: int  # G
    num_particles: int
    num_moves: int
    batch: int  # particles that move at the same time
    precision: str
    mesh: Mesh | None = None  # devices that batches are spread over; None: wherever the arrays are

    @property
    def kind(self) -> Any:
        """The module of its moves: this one."""
        return sys.modules[__name__]

    def filled(self, data: tuple[Any, ...]) -> Region:
        """As it is: its data are in the space."""
        assert not data
        return self

    def score(self, space: Space, z: Array) -> Array:
        """Minus the largest divergence on the line from the anchor to the network of normals z [n]; may be NaN."""
        theta = self.prior.transform(self.divergence.unflatten(z), self.divergence.parameters)
        return -self.divergence.worst(theta, space.anchor, space.data, self.line_points)

    def look(self, space: Space, x: Array) -> tuple[Array, Array]:
        """Scores and log w, less its constant, of the points x [G, n]: [G] each."""
        z = space.centre + x @ space.root.T
        log_weight = (jnp.sum(x**2, axis=1) - jnp.sum(z**2, axis=1)) / 2 + space.log_det - space.log_scale
        return jax.vmap(partial(self.score, space))(z), log_weight


@partial(jax.jit, static_argnames="region")
def draw(region: Region, keys: Array, space: Space) -> tuple[Array, Array]:
    """Fresh draws from q, x [R, N, n], and their scores [R, N], perhaps NaN; a key [R] for each replicate."""

    def one(key: Array) -> tuple[Array, Array]:
        x = jax.random.normal(key, space.centre.shape, space.centre.dtype)
        return x, region.look(space, x[None])[0][0]

    with jax.default_matmul_precision(region.precision):
        keys = jax.vmap(lambda key: jax.random.split(key, region.num_particles))(keys)
        return over_particles(region, one, keys)  # type: ignore[arg-type]  # of a target it reads what a region has


def move(region: Region, key: Array, x: Array, space: Space, stage: RegionStage) -> Move:
    """One move of one particle x [n]; the key is consumed. The move's score is [2]: the score and log w."""
    key_nu, key_at, key_next, key_candidate = jax.random.split(key, 4)
    nu = jax.random.normal(key_nu, x.shape, x.dtype)
    current = (jax.random.uniform(key_at) * region.points).astype(jnp.int32)
    angles = ((jnp.arange(region.points) - current) * stage.step)[:, None]
    points = x * jnp.cos(angles) + nu * jnp.sin(angles)  # [G, n]
    score, log_weight = region.look(space, points)
    # The state counts as inside whatever the rounding of another matrix product says of it; NaN is outside.
    inside = (score >= stage.level) | (jnp.arange(region.points) == current)
    log_now = jnp.where(inside, stage.power * log_weight, -jnp.inf)
    log_next = jnp.where(inside & (score >= stage.next_level), stage.next_power * log_weight, -jnp.inf)
    chosen = jax.random.categorical(key_next, log_now)
    any_next = jnp.any(log_next > -jnp.inf)
    candidate = jax.random.categorical(key_candidate, jnp.where(any_next, log_next, log_now))
    total = jax.nn.logsumexp(jnp.where(any_next, log_next, 0))
    return Move(
        z=points[chosen],
        share=jnp.where(any_next, jnp.exp(total - jax.nn.logsumexp(log_now)), 0),
        candidate=points[candidate],
        moved=chosen != current,
        others=jnp.stack([(jnp.sum(inside) - 1) / (region.points - 1), jnp.zeros(())]),
        score=jnp.stack([score[chosen], log_weight[chosen]]),
    )


def prepare(region: Region, space: Space) -> Space:
    """Windows need nothing but the arrays."""
    return space


def steps(region: Region) -> int:
    """Reversible steps in one move."""
    return 1


def cost(region: Region) -> int:
    """Evaluations of the divergence in one move."""
    return region.points * region.line_points
