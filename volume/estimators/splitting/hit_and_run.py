"""The kernel of splitting along straight lines (volume.samplers.Lines): hit-and-run for a network that is all head.

The class and its levels are polyhedra {y_i f(x_i) >= threshold}, the threshold a level's score or 0 for the class
itself (an output of a Gaussian is exactly 0 with probability 0; inputs whose output is always 0 have been set aside).
One step takes one direction, finds the interval on which the state stays inside, and draws the normal on that
interval; the share of the interval's mass above the next level is the step's weight, exactly (Rao and Blackwell). A
move is one step along each of the K directions, in order; outputs are updated by one rank-one term a step and computed
afresh at every move.

Shape letters: m scored labels, D entries of z, K directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.estimators.smc.kernel import Move
from volume.estimators.splitting.stage import ClassKernel, Data, Stage, draw_network
from volume.functions.importance import ImportanceFunction, Right
from volume.models import Model, Params
from volume.samplers import Directions, Lines, Prior, directions, lines, log_mass, quantile, refreshed


class Space(NamedTuple):
    """What the moves of a level share."""

    rows: Array  # [m, D] signed: margins = rows @ z
    directions: Directions


class LineStep(NamedTuple):
    """A line through a state, seen from a level."""

    lines: Lines
    flat: Array  # [D] the state
    vector: Array  # [D] of length 1
    at: Array  # the state's coordinate along the line
    inside: tuple[Array, Array]  # interval of coordinates
    above: tuple[Array, Array]  # the part of it above the next level; empty where low >= high
    share: Array  # g: how much of the inside's probability that part has

    def somewhere(self, key: Array) -> Params:
        """Draw from the interval."""
        to = quantile(jax.random.uniform(key).astype(self.at.dtype), *self.inside)
        return self.lines.params(self.flat + (to - self.at) * self.vector)


class _State(NamedTuple):
    flat: Array  # [D]
    margins: Array  # [m]
    total: Array  # sum of the shares so far
    base: Array  # [D] a state with a part of its line above the next level, in proportion to the shares
    number: Array  # that line
    above: Array  # [2] and that part
    moved: Array


@dataclass(frozen=True)
class LineKernel(ClassKernel):
    """Moves along K lines, one after the other, to a draw from the part of each that lies inside the level."""

    lines: Lines
    score: Right  # the importance function; all of its labels are asked for
    draw_cost = 1
    first_step = (1.0, 1.0)  # a window's, of which there is none
    max_tuning = 1

    @property
    def model(self) -> Model:
        return self.lines.model

    @property
    def prior(self) -> Prior:
        return self.lines.prior

    @property
    def num_steps(self) -> int:
        """K: reversible steps in one move."""
        num_labels, size = self._shape
        return num_labels + min(num_labels, size)

    @property
    def cost(self) -> int:
        """Network evaluations of one move: one, and as much arithmetic again as its steps take."""
        num_labels, size = self._shape
        return 1 + -(-self.num_steps * (num_labels + size) // (num_labels * size))

    @property
    def num_floats(self) -> int:
        """Numbers that one move holds at the same time."""
        return self._shape[1] + 2 * len(self.score.rows)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(_scored(self.score)), sum(int(np.prod(p.shape)) for p in self.model.parameters)

    def init(self, key: Array, data: Data) -> tuple[Params, Array]:
        """Draw from the prior."""
        return draw_network(self.model, self.prior, key, data.inputs)

    def prepare(self, data: Data) -> Space:
        """Compute signed rows and their directions."""
        score, inputs = data.fill(self.score), data.inputs
        assert isinstance(score, Right)
        scored = _scored(score)
        labels = jnp.asarray(score.labels)[scored]
        signs = jnp.where(labels == 1, 1, -1)[:, None].astype(inputs.dtype)
        rows = self.lines.rows(inputs)[score.positions[scored]] * signs
        return Space(rows, directions(rows))

    def plain_score(self, z: Params, data: Data) -> Array:
        """Return the smallest margin, from the network's outputs."""
        score, scored = data.fill(self.score), _scored(self.score)
        assert isinstance(score, Right)
        outputs = self.model.apply(self.prior.transform(z, self.model.parameters), data.inputs)
        signs = 2 * jnp.asarray(score.labels)[scored] - 1
        margin = jnp.min(outputs[:, 0][score.positions[scored]] * signs)
        return jnp.where(margin > 0, jnp.inf, margin)

    def stay(self, level: float, step: tuple[float, float]) -> Stage:
        """Stay at the level."""
        return Stage(level, math.inf, *step)

    def tune(self, stage: Stage, others: np.ndarray) -> tuple[tuple[float, float], bool]:
        """Lines have no step to tune."""
        return self.first_step, True

    def around(self, key: Array, z: Params, space: Space, stage: Stage, number: Array | int) -> LineStep:
        """Return the line of step ``number`` through the state z; no chance is needed."""
        flat = self.lines.flat(z)
        which = number % self.num_steps
        vector, effect = space.directions.vectors[which], space.directions.effects[which]
        return _seen(self.lines, flat, space.rows @ flat, vector, effect, stage)

    def move(self, key: Array, z: Params, space: Space, stage: Stage) -> Move:
        """K steps of one particle; the key is consumed."""
        lines = self.lines
        key_steps, key_candidate, key_fresh = jax.random.split(key, 3)
        num = self.num_steps
        flat = lines.flat(z)

        def step(state: _State, line: tuple[Array, Array, Array, Array]) -> tuple[_State, None]:
            number, vector, effect, chance = line
            seen = _seen(lines, state.flat, state.margins, vector, effect, stage)
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
            z=lines.params(refreshed(key_fresh, end.flat, space.directions.space)),
            share=end.total / num,
            candidate=lines.params(candidate),
            moved=end.moved / num,
            others=jnp.zeros(2, flat.dtype),
            score=jnp.where(score > 0, jnp.inf, score),
        )


def line_kernel(model: Model, prior: Prior, score: ImportanceFunction) -> LineKernel | None:
    """Make the kernel of a class that is a polyhedron: outputs are linear, all labels of the importance function are
    asked for, and some of them can be missed. None for any other class."""
    if not (isinstance(score, Right) and score.least == len(score.labels) and len(_scored(score)) > 0):
        return None
    straight = lines(model, prior)
    return None if straight is None else LineKernel(straight, score)


def _seen(lines: Lines, flat: Array, margins: Array, vector: Array, effect: Array, stage: Stage) -> LineStep:
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
    return LineStep(lines, flat, vector, at, (low, high), (low_above, high_above), share)


def _threshold(level: Array) -> Array:
    return jnp.where(level == jnp.inf, 0, level)


def _scored(score: Right) -> np.ndarray:
    return np.arange(len(score.labels)) if score.scored is None else score.scored
