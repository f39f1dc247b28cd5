"""The move of a splitting run along straight lines (volume.samplers.lines), for labels of a network that is all head.

The class and its levels are polyhedra {y_i f(x_i) >= threshold}, the threshold a level's score or 0 for the class
itself (an output of a Gaussian is exactly 0 with probability 0; inputs whose output is always 0 have been set aside).
One step takes one direction, finds the interval on which the state stays inside, and draws the normal on that
interval; the share of the interval's mass above the next level is the step's weight, exactly (Rao and Blackwell). A
move is one step along each of the K directions, in order; outputs are updated by one rank-one term a step and computed
afresh at every move.

Shape letters: m scored labels, D entries of z, K directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.estimators.splitting.windows import Move, Stage
from volume.functions.importance import ImportanceFunction, Right
from volume.models import Params
from volume.samplers import Directions, Lines, directions, log_mass, quantile, refreshed

if TYPE_CHECKING:
    from volume.estimators.smc.step import Target


class Space(NamedTuple):
    """What the moves of a level share."""

    rows: Array  # [m, D] signed: margins = rows @ z
    directions: Directions


def suits(guide: ImportanceFunction) -> bool:
    """Whether the class is a polyhedron: all of its labels are asked for, and some of them can be missed."""
    return isinstance(guide, Right) and guide.least == len(guide.labels) and len(_scored(guide)) > 0


def prepare(target: Target, inputs: Array) -> Space:
    """Signed rows and their directions."""
    arcs, guide = target.arcs, target.guide
    assert isinstance(arcs, Lines)
    assert isinstance(guide, Right)
    scored = _scored(guide)
    labels = jnp.asarray(guide.labels)[scored]
    rows = arcs.rows(inputs)[guide.positions[scored]] * jnp.where(labels == 1, 1, -1)[:, None].astype(inputs.dtype)
    return Space(rows, directions(rows))


def steps(target: Target) -> int:
    """K: reversible steps in one move."""
    num_labels, size = _shape(target)
    return num_labels + min(num_labels, size)


def cost(target: Target) -> int:
    """Network evaluations of one move: one, and as much arithmetic again as its steps take."""
    num_labels, size = _shape(target)
    return 1 + -(-steps(target) * (num_labels + size) // (num_labels * size))


class Seen(NamedTuple):
    """A line through a state, seen from a level."""

    arcs: Lines
    flat: Array  # [D] the state
    vector: Array  # [D] of length 1
    at: Array  # the state's coordinate along the line
    inside: tuple[Array, Array]  # interval of coordinates
    above: tuple[Array, Array]  # the part of it above the next level; empty where low >= high
    share: Array  # g: how much of the inside's probability that part has

    def somewhere(self, key: Array) -> Params:
        """A draw from the interval."""
        to = quantile(jax.random.uniform(key).astype(self.at.dtype), *self.inside)
        return self.arcs.params(self.flat + (to - self.at) * self.vector)


def around(target: Target, key: Array, z: Params, space: Space, stage: Stage, number: Array) -> Seen:
    """The line of step ``number`` through the state z; no chance is needed."""
    assert isinstance(target.arcs, Lines)
    flat = target.arcs.flat(z)
    which = number % steps(target)
    vector, effect = space.directions.vectors[which], space.directions.effects[which]
    return _seen(target.arcs, flat, space.rows @ flat, vector, effect, stage)


def _seen(arcs: Lines, flat: Array, margins: Array, vector: Array, effect: Array, stage: Stage) -> Seen:
    at = vector @ flat
    # A margin that the line does not change bounds nothing where it is high enough, and all of it where not.
    effect = jnp.where(effect == 0, jnp.finfo(effect.dtype).tiny, effect)
    per, rising = 1 / effect, effect > 0

    def interval(level: Array) -> tuple[Array, Array]:
        crossing = (_threshold(level) - margins) * per
        low = jnp.max(jnp.where(rising, crossing, -jnp.inf))
        return at + low, at + jnp.min(jnp.where(rising, jnp.inf, crossing))

    low, high = interval(stage.level)
    low, high = jnp.minimum(low, at), jnp.maximum(high, at)  # the state is inside, whatever the rounding says
    low_above, high_above = interval(stage.next_level)
    low_above, high_above = jnp.maximum(low_above, low), jnp.minimum(high_above, high)
    mass = log_mass(low, high)
    part = jnp.exp(jnp.minimum(log_mass(low_above, high_above) - mass, 0))
    held = jnp.all(margins >= _threshold(stage.next_level)).astype(part.dtype)
    share = jnp.where(mass > -jnp.inf, part, held)  # an interval that rounding has closed is the state itself
    return Seen(arcs, flat, vector, at, (low, high), (low_above, high_above), share)


class _State(NamedTuple):
    flat: Array  # [D]
    margins: Array  # [m]
    total: Array  # sum of the shares so far
    base: Array  # [D] a state with a part of its line above the next level, in proportion to the shares
    number: Array  # that line
    above: Array  # [2] and that part
    moved: Array


def move(target: Target, key: Array, z: Params, space: Space, stage: Stage) -> Move:
    """K steps of one particle; the key is consumed."""
    arcs = target.arcs
    assert isinstance(arcs, Lines)
    key_steps, key_candidate, key_fresh = jax.random.split(key, 3)
    num = steps(target)
    flat = arcs.flat(z)

    def step(state: _State, line: tuple[Array, Array, Array, Array]) -> tuple[_State, None]:
        number, vector, effect, chance = line
        seen = _seen(arcs, state.flat, state.margins, vector, effect, stage)
        go = quantile(chance[0], *seen.inside) - seen.at
        total = state.total + seen.share
        keep = chance[1] * total < seen.share  # a reservoir of one
        return _State(
            state.flat + go * vector,
            state.margins + go * effect,
            total,
            jnp.where(keep, state.flat, state.base),
            jnp.where(keep, number, state.number),
            jnp.where(keep, jnp.stack(seen.above), state.above),
            state.moved + (go != 0),
        ), None

    zero = jnp.zeros((), flat.dtype)
    # Where nothing lies above, the candidate is the state itself, and plays no part.
    start = _State(flat, space.rows @ flat, zero, flat, jnp.zeros((), jnp.int32), jnp.zeros(2, flat.dtype), zero)
    vectors, effects, _ = space.directions
    chance = jax.random.uniform(key_steps, (num, 2)).astype(flat.dtype)
    end, _ = jax.lax.scan(step, start, (jnp.arange(num, dtype=jnp.int32), vectors, effects, chance))
    line = vectors[end.number]
    at = quantile(jax.random.uniform(key_candidate).astype(flat.dtype), *end.above)
    candidate = jnp.where(end.above[0] < end.above[1], end.base + (at - line @ end.base) * line, end.base)
    score = jnp.min(space.rows @ end.flat)
    return Move(
        z=arcs.params(refreshed(key_fresh, end.flat, space.directions.space)),
        share=end.total / num,
        candidate=arcs.params(candidate),
        moved=end.moved / num,
        others=jnp.zeros(2, flat.dtype),
        score=jnp.where(score > 0, jnp.inf, score),
    )


def _threshold(level: Array) -> Array:
    return jnp.where(level == jnp.inf, 0, level)


def _scored(guide: Right) -> np.ndarray:
    return np.arange(len(guide.labels)) if guide.scored is None else guide.scored


def _shape(target: Target) -> tuple[int, int]:
    assert isinstance(target.guide, Right)
    return len(_scored(target.guide)), sum(int(np.prod(p.shape)) for p in target.arcs.model.parameters)
