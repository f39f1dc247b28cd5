"""Many networks trained at once: a pool of slots, each of which trains one network until its own rule stops it.

The pool is G groups of R networks. A group is the unit of compilation: whatever the size of the pool, the arrays of a
step have R networks, so that a network's arithmetic does not depend on how many others there are. Everything random
about network number i comes from ``fold_in(key, i)``: its initial parameters, the order of its batches, its actions.
So a network trained alone is the network trained in the batch, for any number of groups and in any slot.

The stopping rule is exact: every step begins with the outputs on the whole training set, so the training error is known
after every update (and before the first), not only at the end of an epoch. A network that has stopped is not touched
again; a group ends its turn early once a quarter of its networks have stopped, so that their slots can be filled.

A step is one update. An epoch is ceil(m / B) batches without replacement in a fresh order, the last one smaller where B
does not divide m; an objective that repeats takes ``repeats`` steps on each batch.

Shape letters: G groups, R networks of a group, m training examples, B examples of a batch, C outputs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.models import Model, Params

from .objectives import Objective, Rollout
from .optimisers import Optimiser
from .prior import Prior

_INITIAL, _ORDER, _ACTIONS = 0, 1, 2  # what a network's key is folded with
# At most so many steps a turn; early in the turn's rounds a quarter of the group ends it.
TURN_STEPS = 128
ROUND_STEPS = 8
# A batch is gathered, beside the whole set for the check, where that is less work than weighting the whole set: forward
# and backward cost three forward passes, so m + 3 B against 3 m.
GATHERED_SHARE = 2 / 3


@dataclass(frozen=True)
class Training:
    """Everything that a compiled step depends on: one of these, one trace.

    Raises nothing: `volume.Trained` checks what its user gives.
    """

    model: Model
    initial: Prior  # the law of the initial parameters
    optimiser: Optimiser
    objective: Objective
    num_examples: int  # m
    batch_size: int  # B, at most m
    max_steps: int
    stop_at_fit: bool  # else every network takes max_steps
    extra_epochs: int  # over-training after the first zero training error
    group: int  # R

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return -(-self.num_examples // self.batch_size)

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return self.num_batches * self.objective.repeats

    @property
    def extra_steps(self) -> int:
        """Steps of over-training, as far as max_steps allows."""
        return min(self.extra_epochs * self.epoch, self.max_steps)

    @property
    def gathered(self) -> bool:
        """Whether the batch is taken out of the training set; else the whole set is differentiated with weights."""
        return self.batch_size < GATHERED_SHARE * self.num_examples

    @property
    def round_steps(self) -> int:
        """Steps between two looks at how many have stopped: whole epochs, where they are short, so that the networks of
        a group begin theirs together and batches are put in order for all of them at once."""
        return self.epoch * max(1, round(ROUND_STEPS / self.epoch)) if self.epoch <= TURN_STEPS else ROUND_STEPS


class SlotStatus(enum.IntEnum):
    """What a slot holds."""

    EMPTY = 0
    TRAINING = 1
    LANDED = 2  # a network that has stopped


class Data(NamedTuple):
    """The training set, and the key that all networks' keys are folded from."""

    inputs: Array  # [m, *input_shape]
    labels: Array  # [m] int32
    key: Array


class Networks(NamedTuple):
    """Networks in training; in a group every array has a leading R, in a pool G x R."""

    params: Params
    optimiser: Any
    number: Array  # uint32: which network this is
    status: Array  # int8: EMPTY, TRAINING or LANDED
    step: Array  # int32 updates taken
    stop: Array  # int32: to stop after so many updates
    fitted: Array  # int32 updates taken when the training error first was zero, -1: not yet
    wrong: Array  # int32 training examples decided wrongly at the last check
    finite: Array  # bool: all outputs on the training set were finite at the last check
    order: Array  # [m] int32: row (where batches are gathered) or rank of every example; empty for the whole set
    rollout: Rollout


def decisions(outputs: Array) -> Array:
    """Return class numbers int32 [m] of outputs [m, C]: 1 iff the only output is > 0; the argmax, ties to the lowest
    index."""
    first = outputs[:, 0]
    if outputs.shape[1] == 1:
        return (first > 0).astype(jnp.int32)
    winner = jnp.zeros(first.shape, jnp.int32)
    for c in range(1, outputs.shape[1]):  # unrolled: jnp.argmax does not vectorise over the networks
        wins = outputs[:, c] > first
        winner, first = jnp.where(wins, c, winner), jnp.maximum(first, outputs[:, c])
    return winner


def network_key(key: Array, number: Array) -> Array:
    """Return the key of everything random about one network."""
    return jax.random.fold_in(key, number)


def begin(training: Training, data: Data, number: Array) -> Networks:
    """Network ``number``, drawn and not yet trained; no leading axis."""
    dtype = data.inputs.dtype
    key = jax.random.fold_in(network_key(data.key, number), _INITIAL)
    params = dict(training.initial.draw(key, training.model.parameters, dtype))
    batch = training.batch_size if training.gathered else training.num_examples
    ordered = training.num_batches > 1
    return Networks(
        params=params,
        optimiser=training.optimiser.transformation(training.max_steps).init(params),
        number=jnp.asarray(number, jnp.uint32),
        status=jnp.asarray(SlotStatus.TRAINING, jnp.int8),
        step=jnp.zeros((), jnp.int32),
        stop=jnp.asarray(training.max_steps, jnp.int32),
        fitted=jnp.asarray(-1, jnp.int32),
        wrong=jnp.asarray(training.num_examples, jnp.int32),
        finite=jnp.asarray(True),
        order=jnp.zeros(training.num_examples if ordered else 0, jnp.int32),
        rollout=training.objective.start(batch, dtype),
    )


def empty_pool(training: Training, data: Data, groups: int) -> Networks:
    """Return a pool of empty slots, [G, R, ...]."""
    shapes = jax.eval_shape(lambda number: begin(training, data, number), jnp.zeros((), jnp.uint32))
    return jax.tree.map(lambda leaf: jnp.zeros((groups, training.group, *leaf.shape), leaf.dtype), shapes)


def fill_pool(training: Training, data: Data, pool: Networks, slots: Array, numbers: Array, count: Array) -> Networks:
    """Put the first ``count`` of the networks ``numbers`` [G R] in the slots [G R] (g R + r for slot r of group g).

    Networks are drawn R at a time, only as many as are wanted.
    """
    size = training.group

    def put(i: Array, flat: Networks) -> Networks:
        place = i * size + jnp.arange(size)
        fresh = jax.vmap(lambda number: begin(training, data, number))(numbers[place])
        at = jnp.where(place < count, slots[place], slots.shape[0])  # out of range: dropped
        return jax.tree.map(lambda all_, new: all_.at[at].set(new, mode="drop"), flat, fresh)

    flat = jax.lax.fori_loop(0, -(-count // size), put, _flat(pool))
    return jax.tree.map(lambda leaf, like: leaf.reshape(like.shape), flat, pool)


def reorder_pool(pool: Networks, order: Array) -> Networks:
    """Return the pool with the network of slot order[s] in slot s, [G R]; the pool itself where every slot stays.

    With the last networks side by side, groups that have none cost nothing.
    """

    def move(pool: Networks) -> Networks:
        return jax.tree.map(lambda flat, like: flat[order].reshape(like.shape), _flat(pool), pool)

    stays = jnp.all(order == jnp.arange(order.shape[0]))
    return jax.lax.cond(stays, lambda pool: pool, move, pool)


def train_pool(training: Training, data: Data, pool: Networks) -> Networks:
    """Train every group of a pool [G, R, ...] for up to TURN_STEPS steps, or until a quarter of it has stopped."""
    return jax.lax.map(lambda group: _group_turn(training, data, group), pool)


def _group_turn(training: Training, data: Data, group: Networks) -> Networks:
    at_start = jnp.sum(group.status == SlotStatus.TRAINING)
    rounds = max(1, TURN_STEPS // training.round_steps)

    def more(state: tuple[Array, Networks]) -> Array:
        i, networks = state
        return (i < rounds) & (jnp.sum(networks.status == SlotStatus.TRAINING) > at_start * 3 // 4)

    def one_round(state: tuple[Array, Networks]) -> tuple[Array, Networks]:
        i, networks = state

        def step(_: Array, networks: Networks) -> Networks:
            return _step(training, data, networks)

        return i + 1, jax.lax.fori_loop(0, training.round_steps, step, networks)

    return jax.lax.while_loop(more, one_round, (jnp.zeros((), jnp.int32), group))[1]


def _step(training: Training, data: Data, group: Networks) -> Networks:
    """One check of every network of a group, and one update of those that go on."""
    if training.num_batches > 1:
        begins = (group.step % training.epoch == 0) & (group.status == SlotStatus.TRAINING)
        group = jax.lax.cond(jnp.any(begins), lambda g: _reorder(training, data, g, begins), lambda g: g, group)
    return jax.vmap(lambda network: _update(training, data, network))(group)


def _reorder(training: Training, data: Data, group: Networks, begins: Array) -> Networks:
    """Fresh orders for the networks that begin an epoch, ``begins`` [R]."""

    def order(number: Array, step: Array) -> Array:
        key = jax.random.fold_in(network_key(data.key, number), _ORDER)
        bits = jax.random.bits(jax.random.fold_in(key, step // training.epoch), (training.num_examples,))
        return jnp.argsort(bits).astype(jnp.int32)

    fresh = jax.vmap(order)(group.number, group.step)
    return group._replace(order=jnp.where(begins[:, None], fresh, group.order))


def _batch(training: Training, network: Networks) -> tuple[Array | None, Array]:
    """Rows [B] of the batch (None: all), and the weight of each of them, 0 or 1."""
    m, size = training.num_examples, training.batch_size
    if training.num_batches == 1:
        return None, jnp.ones(m, bool)
    batch = (network.step // training.objective.repeats) % training.num_batches
    if not training.gathered:
        return None, network.order // size == batch
    place = batch * size + jnp.arange(size)
    return network.order[jnp.minimum(place, m - 1)], place < m


def _update(training: Training, data: Data, network: Networks) -> Networks:
    model, objective = training.model, training.objective
    rows, chosen = _batch(training, network)
    weight = chosen.astype(data.inputs.dtype)
    labels = data.labels if rows is None else data.labels[rows]

    def lowered(params: Params) -> tuple[Array, tuple[Array, Rollout]]:
        outputs = model.apply(params, data.inputs if rows is None else data.inputs[rows])
        rollout = network.rollout
        if objective.samples:
            rollout = _act(training, data, network, jax.lax.stop_gradient(outputs), labels, weight)
        values = objective.values(outputs, labels, rollout)
        # Not weight * values: an example outside the batch may overflow, and 0 * inf is NaN.
        mean = jnp.sum(jnp.where(chosen, values, 0)) / jnp.sum(weight)
        return mean, (outputs, rollout)

    gradient, (outputs, rollout) = jax.grad(lowered, has_aux=True)(network.params)
    if rows is not None:
        outputs = model.apply(network.params, data.inputs)
    training_now = network.status == SlotStatus.TRAINING
    wrong = jnp.sum(decisions(outputs) != data.labels, dtype=jnp.int32)
    finite = jnp.all(jnp.isfinite(outputs))
    first = (network.fitted < 0) & (wrong == 0) & finite & training_now
    fitted = jnp.where(first, network.step, network.fitted)
    stop = network.stop
    if training.stop_at_fit:
        last = training.max_steps - training.extra_steps  # compared before it is added to, so that int32 cannot wrap
        stop = jnp.where(first, jnp.minimum(network.step, last) + training.extra_steps, stop)
    lands = training_now & (~finite | (network.step >= stop))
    goes_on = training_now & ~lands
    rule = training.optimiser.transformation(training.max_steps)
    updates: Any  # optax allows any tree
    updates, optimiser = rule.update(gradient, network.optimiser, dict(network.params))
    moved = {name: value + updates[name].astype(value.dtype) for name, value in network.params.items()}
    return Networks(
        params={name: jnp.where(goes_on, moved[name], value) for name, value in network.params.items()},
        optimiser=optimiser,  # of a network that has stopped it is never read again
        number=network.number,
        status=jnp.where(lands, jnp.asarray(SlotStatus.LANDED, jnp.int8), network.status),
        step=network.step + goes_on,
        stop=stop,
        fitted=fitted,
        wrong=jnp.where(training_now, wrong, network.wrong),
        finite=jnp.where(training_now, finite, network.finite),
        order=network.order,
        rollout=rollout,
    )


def _act(training: Training, data: Data, network: Networks, outputs: Array, labels: Array, weight: Array) -> Rollout:
    """New actions where a batch begins, else those drawn before."""
    key = jax.random.fold_in(network_key(data.key, network.number), _ACTIONS)
    drawn = training.objective.act(jax.random.fold_in(key, network.step), outputs, labels, weight, network.rollout)
    if training.objective.repeats == 1:
        return drawn
    anew = network.step % training.objective.repeats == 0
    return jax.tree.map(lambda new, old: jnp.where(anew, new, old), drawn, network.rollout)


def train(training: Training, data: Data, numbers: Array) -> Networks:
    """Train the networks ``numbers`` [K] to their end and give them back, [K, ...]; jittable.

    They are those that a pool would land: same parameters, steps and outcome, R at a time.
    """
    size = training.group
    groups = -(-len(numbers) // size)
    slots = jnp.arange(groups * size)
    padded = jnp.zeros(groups * size, jnp.uint32).at[: len(numbers)].set(numbers)
    pool = fill_pool(training, data, empty_pool(training, data, groups), slots, padded, jnp.asarray(len(numbers)))

    def more(networks: Networks) -> Array:
        return jnp.any(networks.status == SlotStatus.TRAINING)

    pool = jax.lax.while_loop(more, lambda networks: train_pool(training, data, networks), pool)
    return jax.tree.map(lambda leaf: leaf[: len(numbers)], _flat(pool))


def _flat(pool: Networks) -> Networks:
    """[G, R, ...] as [G R, ...]; -1 could not tell where an array is empty."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), pool)
