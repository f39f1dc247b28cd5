"""One step of sequential Monte Carlo: particles move inside {score >= level}, and those above the next level go on.

Quantity: P(score >= next | score >= level) under the prior, next = +inf being the class itself; in general the ratio of
two measures' totals. Every one of N particles makes P moves of a kernel; each move says which share g of what it has
seen of the present measure belongs to the next one, and the factor is the mean of g over all moves of all particles.
That keeps every state of a chain, not only its last (waste-free sequential Monte Carlo, Dau and Chopin 2022, section
2), and a share instead of a yes or no. A particle remembers one candidate for the next level, drawn in proportion to
g; particles are resampled in proportion to their sums of g, systematically (one uniform number) or independently.

The product of the factors is unbiased for any N, P and any mixing, as long as levels, steps, N and P are constants of
the run: each factor's sum and the resampled candidates have the expectation that the move's invariance gives, level
after level (Del Moral 2004, section 7.4.2; for waste-free runs Dau and Chopin 2022, proposition 1).

Shape letters: R replicates, N particles of one, P moves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program
from volume.estimators.smc.kernel import Kernel, Move
from volume.estimators.smc.resampling import resample
from volume.estimators.smc.scheme import Scheme, over_particles
from volume.queries.compiled import check, first_time, spread


class State(NamedTuple):
    """The particles of R replicates at one level."""

    z: Any  # [R, N, ...]
    ancestor: Any  # [R, N] which particle of the first level each one comes from; to where its replicate died
    alive: Any  # [R] bool, whether no factor was 0 so far


class Info(NamedTuple):
    """What one step says of R replicates."""

    factor: Array  # [R] the estimate of P(score >= next | score >= level)
    weight_square: Array  # [R] mean square of the particles' mean shares
    moved: Array  # [R] share of the moves that went somewhere
    others: Array  # [2] mean of `Move.others`


class Retained(NamedTuple):
    """What a retained path does at one level (volume.estimators.smc.conditional): particle 0 follows it."""

    z: Any  # [R, ...] where it enters the next level
    weight: Array  # [R] its mean share


class Probe(NamedTuple):
    """What a pilot wants to know of a level before it sets the next one."""

    z: Any  # [R, N, ...]
    score: Array  # [R, N, P, ...] of the states on the way
    others: Array  # [2]


class _Chain(NamedTuple):
    z: Any
    total: Array  # sum of the shares so far
    candidate: Any  # one of all points above `next` so far, in proportion to the shares


def _chain(scheme: Scheme[Kernel], space: Any, stage: Any, key: Array, z: Any) -> tuple[_Chain, Array, Array]:
    def step(chain: _Chain, key: Array) -> tuple[_Chain, tuple[Array, Array]]:
        key_move, key_keep = jax.random.split(key)
        made = scheme.kernel.move(key_move, chain.z, space, stage)
        total = chain.total + made.share
        replace = jax.random.uniform(key_keep) * total < made.share  # a reservoir of one
        candidate = jax.tree.map(partial(jnp.where, replace), made.candidate, chain.candidate)
        return _Chain(made.z, total, candidate), (made.moved, made.others)

    start = _Chain(z, jnp.zeros(()), z)
    chain, (moved, others) = jax.lax.scan(step, start, jax.random.split(key, scheme.num_moves))
    return chain, jnp.mean(moved), jnp.mean(others, axis=0)


@program(static_argnames="scheme")
def draw(scheme: Scheme[Kernel], keys: Array, data: Any) -> tuple[State, Array]:
    """Draw the particles of the first measure.

    Args:
        scheme: kernel and sizes.
        keys: [R], one for each replicate; consumed.
        data: arrays that the kernel reads.

    Returns:
        The state, and a number for each particle, [R, N]: NaN where its outputs are not finite.
    """
    with jax.default_matmul_precision(scheme.precision):
        keys = jax.vmap(lambda key: jax.random.split(key, scheme.num_particles))(keys)
        z, score = over_particles(scheme, lambda key: scheme.kernel.init(key, data), keys)
    return fresh_state(z), score


def fresh_state(z: Any) -> State:
    """Make the state of particles z [R, N, ...] that are all alive and come from nowhere."""
    num, size = jax.tree.leaves(z)[0].shape[:2]
    return State(z, np.broadcast_to(np.arange(size), (num, size)), np.ones(num, bool))


@program(static_argnames="scheme")
def advance(
    scheme: Scheme[Kernel], keys: Array, state: State, data: Any, stage: Any, retained: Retained | None = None
) -> tuple[State, Info]:
    """Take one level of R replicates at once, each with its own key [R].

    A replicate without a single particle above the next level keeps its particles and has the factor 0. With a
    ``retained`` path particles are resampled independently, and particle 0 is never replaced.
    """
    num = scheme.num_particles

    def move_all(keys: Array) -> tuple[Array, Array]:
        pairs = jax.vmap(jax.random.split)(keys)
        return jax.vmap(lambda key: jax.random.split(key, num))(pairs[:, 0]), pairs[:, 1]

    with jax.default_matmul_precision(scheme.precision):
        keys_move, keys_resample = move_all(keys)
        space = scheme.kernel.prepare(data)
        chain, moved, others = over_particles(scheme, partial(_chain, scheme, space, stage), keys_move, state.z)
    weight, candidate = chain.total / scheme.num_moves, chain.candidate  # [R, N]
    if retained is not None:
        weight = weight.at[:, 0].set(retained.weight)
        candidate = jax.tree.map(lambda all_, one: all_.at[:, 0].set(one), candidate, retained.z)
    parent = jax.vmap(partial(resample, independent=retained is not None))(keys_resample, weight)
    if retained is not None:
        parent = parent.at[:, 0].set(0)
    factor = jnp.mean(weight, axis=1)
    ancestor = jnp.take_along_axis(state.ancestor, parent, axis=1)
    return State(
        z=jax.tree.map(lambda leaf: jax.vmap(lambda rows, at: rows[at])(leaf, parent), candidate),
        ancestor=jnp.where(state.alive[:, None], ancestor, state.ancestor),
        alive=state.alive & (factor > 0),
    ), Info(
        factor=factor,
        weight_square=jnp.mean(weight**2, axis=1),
        moved=jnp.mean(moved, axis=1),
        others=jnp.mean(others, axis=(0, 1)),
    )


@program(static_argnames="scheme")
def probe(scheme: Scheme[Kernel], keys: Array, z: Any, data: Any, stage: Any) -> Probe:
    """Make P moves of every particle z [R, N, ...] inside a level, without a next one; a key [R] for each replicate."""

    def see(made: Move) -> tuple[Array, Array]:
        return made.score, made.others

    with jax.default_matmul_precision(scheme.precision):
        z, (score, others) = walk(scheme, keys, z, scheme.kernel.prepare(data), stage, see)
    return Probe(z, score, jnp.mean(others, axis=(0, 1, 2)))


def walk(
    scheme: Scheme[Kernel], keys: Array, z: Any, space: Any, stage: Any, see: Callable[[Move], Any]
) -> tuple[Any, Any]:
    """Move every particle P times inside a traced function.

    Args:
        scheme: kernel and sizes.
        keys: [R]; consumed.
        z: [R, N, ...].
        space: what the kernel's ``prepare`` gave.
        stage: constants of the level.
        see: what to keep of each move.

    Returns:
        The particles' last states, [R, N, ...], and what was seen, [R, N, P, ...].
    """

    def chain(key: Array, z: Any):
        def step(z: Any, key: Array):
            made = scheme.kernel.move(key, z, space, stage)
            return made.z, see(made)

        return jax.lax.scan(step, z, jax.random.split(key, scheme.num_moves))

    keys = jax.vmap(lambda key: jax.random.split(key, scheme.num_particles))(keys)
    return over_particles(scheme, chain, keys, z)


def check_particles(
    scheme: Scheme[Kernel], program: str, z: Any, data: Any, low: np.ndarray, high: np.ndarray | None = None
) -> None:
    """Hold the scores of some particles that ``program`` gave to a plain evaluation, once a run for each scheme.

    Args:
        scheme: of the particles.
        program: which compiled step they come from.
        z: particles [R, N, ...], those of all replicates.
        data: arrays that the kernel reads.
        low: their scores [R, N]; with ``high``, what these are not below.
        high: what they are not above, [R, N].

    Raises:
        Miscompiled: a particle's score is another one.
    """
    if not first_time(program, scheme, low.shape):
        return
    rows = np.divmod(spread(low.size), scheme.num_particles)
    z = jax.tree.map(np.asarray, z)
    cases = [(jax.tree.map(lambda leaf, r=r, n=n: leaf[r, n], z), data) for r, n in zip(*rows, strict=True)]
    check(
        "scores",
        scheme.kernel.plain_score,
        cases,
        list(low[rows]),
        None if high is None else list(high[rows]),
        precision=scheme.precision,
        remedy="give another number of particles or moves",
    )


def count_nonfinite(score: Array) -> np.ndarray:
    """Count the draws [R, N] of each replicate whose outputs are not finite, [R] int64."""
    return np.isnan(np.asarray(score)).sum(axis=1, dtype=np.int64)
