"""One level of a splitting run: particles move inside {score >= level}, and those above the next level go on.

Quantity: P(score >= next | score >= level) under the prior, next = +inf being the class itself. Every one of N
particles makes P moves (samplers/arcs.py); each move's window says which share g of its points inside `level` lie above
`next`, and the factor is the mean of g over all moves of all particles. That keeps every state of a chain, not only its
last (waste-free sequential Monte Carlo, Dau and Chopin 2022, section 2), and a share instead of a yes or no. A particle
remembers one candidate for the next level, drawn in proportion to g; particles are resampled in proportion to their
sums of g, systematically (one uniform number) or independently.

The product of the factors is unbiased for any N, P and any mixing, as long as levels, steps, N and P are constants of
the run: each factor's sum and the resampled candidates have the expectation that the move's invariance gives, level
after level (Del Moral 2004, section 7.4.2; for waste-free runs Dau and Chopin 2022, proposition 1).

Shape letters: R replicates, N particles of one, P moves, G points of a window, M inputs, C outputs, K classes.
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
from jax.sharding import Mesh

from volume.classifiers.base import BoundClassifier
from volume.estimators.splitting import lines as line_moves
from volume.estimators.splitting import windows as moves
from volume.estimators.splitting.windows import Stage
from volume.functions.importance import ImportanceFunction
from volume.functions.tables import decision_dtype
from volume.models import Params
from volume.samplers import Arcs, Lines, over_blocks, replicated, standard_normal


@dataclass(frozen=True)
class Target:
    """Everything the compiled steps depend on: one target, one trace of each step."""

    arcs: Arcs | Lines
    guide: ImportanceFunction  # reads the outputs at the inputs that are passed along
    num_particles: int  # N
    num_moves: int  # P
    batch: int  # particles that move at the same time, whatever their number: rounding depends on it
    precision: str
    mesh: Mesh | None = None  # devices that batches are spread over; None: wherever the arrays are

    @property
    def kind(self) -> Any:
        """The module of its moves: volume.moves or volume.line_moves."""
        return line_moves if isinstance(self.arcs, Lines) else moves

    def filled(self, data: tuple[Any, ...]) -> Target:
        """With the data of a blank guide, inside a traced function; without any, as it is."""
        return replace(self, guide=self.guide.filled(iter(data))) if data else self


class Found(NamedTuple):
    """What one level brings: [R] or, for particles, [R, N]."""

    z: Params  # [R, N, ...] the particles of the next level
    factor: Array  # [R] the estimate of P(score >= next | score >= level)
    weight_square: Array  # [R] mean square of the particles' mean shares
    parent: Array  # [R, N] which particle each one comes from
    moved: Array  # share of the moves that went somewhere
    others: Array  # [2] share of a window's other points inside: of the body's ellipse, of the head's
    moved_each: Array  # [R] share of a replicate's moves that went somewhere


class _Chain(NamedTuple):
    z: Params
    total: Array  # sum of the shares so far
    candidate: Params  # one of all points above `next` so far, in proportion to the shares


def _chain(target: Target, space: Any, stage: Stage, key: Array, z: Params) -> tuple[_Chain, Array, Array]:
    def step(chain: _Chain, key: Array) -> tuple[_Chain, tuple[Array, Array]]:
        key_move, key_keep = jax.random.split(key)
        made = target.kind.move(target, key_move, chain.z, space, stage)
        total = chain.total + made.share
        replace = jax.random.uniform(key_keep) * total < made.share  # a reservoir of one
        candidate = jax.tree.map(partial(jnp.where, replace), made.candidate, chain.candidate)
        return _Chain(made.z, total, candidate), (made.moved, made.others)

    start = _Chain(z, jnp.zeros(()), z)
    chain, (moved, others) = jax.lax.scan(step, start, jax.random.split(key, target.num_moves))
    return chain, jnp.mean(moved), jnp.mean(others, axis=0)


def over_particles(target: Target, function, *arrays):
    """``function`` of one particle's arrays, over the leading axes [R, N] of ``arrays``, ``target.batch`` at a time.

    Every batch has the same size, the last one being filled up, and each is worked out by the same loop on one device:
    what a particle does depends neither on how many replicates go with it nor on the number of devices.
    """
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), arrays)
    count, size = jax.tree.leaves(flat)[0].shape[0], target.batch
    devices = 1 if target.mesh is None else target.mesh.size
    batches = math.ceil(count / size)
    each = math.ceil(batches / devices)
    if each * devices * size > count:
        at = np.arange(each * devices * size) % count
        flat = jax.tree.map(lambda leaf: leaf[at], flat)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), flat)
    num = np.clip(batches - each * np.arange(devices), 0, each)  # of every device

    def local(num: Array, flat):
        def batch(i: Array, found):
            one = jax.vmap(function)(*jax.tree.map(lambda leaf: leaf[i], flat))
            return jax.tree.map(lambda all_, new: jax.lax.dynamic_update_index_in_dim(all_, new, i, 0), found, one)

        shapes = jax.eval_shape(jax.vmap(function), *jax.tree.map(lambda leaf: leaf[0], flat))
        empty = jax.tree.map(lambda leaf: jnp.zeros((each, *leaf.shape), leaf.dtype), shapes)
        # A loop of known length 1 would be dissolved, and its arithmetic fused and rounded in another way.
        return jax.lax.fori_loop(0, jax.lax.optimization_barrier(num)[0], batch, empty)

    if target.mesh is None:
        found = local(jnp.asarray(num), flat)
    else:  # what follows looks at all particles of a replicate, on every device alike
        found = replicated(over_blocks(local, target.mesh, (True, True))(jnp.asarray(num), flat), target.mesh)
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count].reshape(-1, target.num_particles, *leaf.shape[2:]), found
    )


@partial(jax.jit, static_argnames="target")
def draw(target: Target, keys: Array, inputs: Array) -> tuple[Params, Array]:
    """Fresh prior draws [R, N, ...] and whether each one's outputs are finite; a key [R] for each replicate."""
    parameters = target.arcs.model.parameters

    def one(key: Array) -> tuple[Params, Array]:
        z = standard_normal(key, parameters, inputs.dtype)
        outputs = target.arcs.model.apply(target.arcs.prior.transform(z, parameters), inputs)
        return z, jnp.all(jnp.isfinite(outputs))

    with jax.default_matmul_precision(target.precision):
        keys = jax.vmap(lambda key: jax.random.split(key, target.num_particles))(keys)
        return over_particles(target, one, keys)


class Retained(NamedTuple):
    """What a retained path does at one level (volume.reverse): particle 0 of each replicate follows it."""

    z: Params  # [R, ...] where it enters the next level
    weight: Array  # [R] its mean share


@partial(jax.jit, static_argnames="target")
def advance(
    target: Target,
    keys: Array,
    z: Params,
    inputs: Array,
    stage: Stage,
    data: tuple[Any, ...] = (),
    retained: Retained | None = None,
) -> Found:
    """One level of R replicates at once, each with its own key [R].

    A replicate without a single particle above the next level keeps its particles and has the factor 0. With a
    ``retained`` path particles are resampled independently, and particle 0 is never replaced.
    """
    num, target = target.num_particles, target.filled(data)

    def move_all(keys: Array) -> tuple[Array, Array]:
        pairs = jax.vmap(jax.random.split)(keys)
        return jax.vmap(lambda key: jax.random.split(key, num))(pairs[:, 0]), pairs[:, 1]

    with jax.default_matmul_precision(target.precision):
        keys_move, keys_resample = move_all(keys)
        space = target.kind.prepare(target, inputs)
        chain, moved, others = over_particles(target, partial(_chain, target, space, stage), keys_move, z)
    weight, candidate = chain.total / target.num_moves, chain.candidate  # [R, N]
    if retained is not None:
        weight = weight.at[:, 0].set(retained.weight)
        candidate = jax.tree.map(lambda all_, one: all_.at[:, 0].set(one), candidate, retained.z)
    parent = jax.vmap(partial(resample, independent=retained is not None))(keys_resample, weight)
    if retained is not None:
        parent = parent.at[:, 0].set(0)
    return Found(
        z=jax.tree.map(lambda leaf: jax.vmap(lambda rows, at: rows[at])(leaf, parent), candidate),
        factor=jnp.mean(weight, axis=1),
        weight_square=jnp.mean(weight**2, axis=1),
        parent=parent,
        moved=jnp.mean(moved),
        others=jnp.mean(others, axis=(0, 1)),
        moved_each=jnp.mean(moved, axis=1),
    )


def resample(key: Array, weight: Array, *, independent: bool) -> Array:
    """Parents [N], each chosen N w_i / sum w times on average; the particles themselves if all weights are 0."""
    num = len(weight)
    points = jax.random.uniform(key, (num,) if independent else ())
    if not independent:  # independent points stay unsorted: a retained particle replaces the first
        points = (jnp.arange(num) + points) / num
    heights = jnp.cumsum(weight)
    # Rounding may leave the last heights a little apart from the total: no particle of weight 0 is ever chosen.
    last = num - 1 - jnp.argmax(weight[::-1] > 0)
    parent = jnp.minimum(jnp.searchsorted(heights, points * heights[-1], side="right"), last)
    return jnp.where(heights[-1] > 0, parent, jnp.arange(num))


class Probe(NamedTuple):
    """What a pilot wants to know of a level before it sets the next one."""

    z: Params  # [R, N, ...]
    score: Array  # [R, N, P] of the states on the way
    moved: Array
    others: Array  # [2]


@partial(jax.jit, static_argnames="target")
def probe(target: Target, keys: Array, z: Params, inputs: Array, stage: Stage, data: tuple[Any, ...] = ()) -> Probe:
    """P moves of every particle inside a level, without a next one."""
    target = target.filled(data)

    def chain(space: Any, key: Array, z: Params):
        def step(z: Params, key: Array):
            made = target.kind.move(target, key, z, space, stage)
            return made.z, (made.score, made.moved, made.others)

        return jax.lax.scan(step, z, jax.random.split(key, target.num_moves))

    with jax.default_matmul_precision(target.precision):
        space = target.kind.prepare(target, inputs)
        keys = jax.vmap(lambda key: jax.random.split(key, target.num_particles))(keys)
        z, (score, moved, others) = over_particles(target, partial(chain, space), keys, z)
    return Probe(z, score, jnp.mean(moved), jnp.mean(others, axis=(0, 1, 2)))


@partial(jax.jit, static_argnames=("target", "split"))
def survey(
    target: Target,
    split: BoundClassifier,
    keys: Array,
    z: Params,
    inputs: Array,
    rows: Array,
    stage: Stage,
    data: tuple[Any, ...] = (),
) -> Array:
    """How the class divides: the classes [R, N, P] of ``split`` that P more moves of every particle meet.

    ``inputs`` [M, ...] are those the split reads; ``rows`` of them are the ones that the guide reads. For a split that
    is decided from truth tables, which nothing compiled can do, the decisions [R, N, P, M] instead.
    """
    target = target.filled(data)
    model, prior = target.arcs.model, target.arcs.prior

    def chain(space: Any, key: Array, z: Params) -> Array:
        def step(z: Params, key: Array):
            z = target.kind.move(target, key, z, space, stage).z
            outputs = model.apply(prior.transform(z, model.parameters), inputs)
            if split.route == "device":
                return z, split.classify_outputs(outputs[:, 0] if split.num_outputs == 1 else outputs)
            decided = outputs[:, 0] > 0 if split.num_outputs == 1 else jnp.argmax(outputs, axis=1)
            return z, decided.astype(decision_dtype(split.num_outputs))

        return jax.lax.scan(step, z, jax.random.split(key, target.num_moves))[1]

    with jax.default_matmul_precision(target.precision):
        keys = jax.vmap(lambda key: jax.random.split(key, target.num_particles))(keys)
        space = target.kind.prepare(target, inputs[rows])
        return over_particles(target, partial(chain, space), keys, z)
