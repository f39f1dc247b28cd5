"""Pools of networks in training: the compiled step, and the slots that one processor core keeps filled.

Shape letters: P slots of a pool, R networks of a group, N inputs of the domain, m examples, W words of a table.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.programs import program
from volume.estimators.direct.step import decide, pack_words
from volume.queries.compiled import DECIDED, check_networks, first_time, spread
from volume.samplers import Data, Networks, SlotStatus, Training, empty_pool, fill_pool, reorder_pool, train_pool

ROUNDINGS = 4.0  # an output this many roundings from a tie may be decided otherwise elsewhere, as in Direct


@dataclass(frozen=True)
class Plan:
    """Everything the compiled step depends on: one plan, one trace."""

    training: Training
    bound: BoundClassifier
    groups: int
    precision: str

    @property
    def slots(self) -> int:
        return self.groups * self.training.group


class Domain(NamedTuple):
    """The inputs on which a network is classified, and where its training inputs stand among them."""

    inputs: Array  # [N, *input_shape]
    positions: Array  # [m] int32; [0] when one of them is not in the domain


class Landed(NamedTuple):
    """What one step brings to the host, by slot; only where ``landed``."""

    landed: Array  # [P] bool
    number: Array  # [P] uint32 which network it was
    step: Array  # [P] int32 updates taken
    fitted: Array  # [P] int32 updates at the first zero training error, -1: never
    wrong: Array  # [P] int32 training errors at the end
    finite: Array  # [P] bool
    otherwise: Array  # [P] bool: rounding decides a training label otherwise on the domain than in training
    near_tie: Array  # [P] bool
    result: Array  # table route: packed words [P, 2 W] uint32; device route: class numbers [P, 1] int32


@program(static_argnames="plan")
def step(
    plan: Plan, data: Data, domain: Domain, pool: Networks, slots: Array, numbers: Array, count: Array, order: Array
) -> tuple[Networks, Landed]:
    """Fill ``count`` slots with new networks, reorder them, train for a turn, and classify those that have stopped."""
    with jax.default_matmul_precision(plan.precision):
        pool = fill_pool(plan.training, data, pool, slots, numbers, count)
        pool = train_pool(plan.training, data, reorder_pool(pool, order))
        flat = jax.tree.map(lambda leaf: leaf.reshape(plan.slots, *leaf.shape[2:]), pool)
        landed = flat.status == SlotStatus.LANDED
        results = _classified(plan, data, domain, flat.params, landed)
        status = jnp.where(pool.status == SlotStatus.LANDED, jnp.asarray(SlotStatus.EMPTY, jnp.int8), pool.status)
    finite, near_tie, fits, result = results
    finite &= flat.finite
    near_tie &= finite  # outputs that overflow have no boundary, as in Direct
    otherwise = finite & ((flat.wrong == 0) != fits) if len(domain.positions) else jnp.zeros_like(finite)
    done = Landed(
        landed=landed,
        number=flat.number,
        step=flat.step,
        fitted=flat.fitted,
        wrong=flat.wrong,
        finite=finite,
        otherwise=otherwise,
        near_tie=near_tie,
        result=result,
    )
    return pool._replace(status=status), done


def _classified(plan: Plan, data: Data, domain: Domain, params: Any, landed: Array) -> tuple[Array, ...]:
    """Of networks that have landed, R at a time: finite [P], near a tie [P], fitting here [P], classes [P, ...]."""
    bound, size, slots = plan.bound, plan.training.group, plan.slots
    place = jnp.nonzero(landed, size=slots, fill_value=slots)[0]

    def some(which: Array) -> tuple[Array, ...]:
        chosen = jax.tree.map(lambda leaf: leaf.at[which].get(mode="clip"), params)
        outputs = jax.vmap(lambda p: plan.training.model.apply(p, domain.inputs))(chosen)[..., None]  # [R, N, C, 1]
        decided, margin = decide(outputs)  # [R, N, 1]
        rounding = ROUNDINGS * jnp.finfo(outputs.dtype).eps * jnp.max(jnp.abs(outputs), axis=(1, 2, 3))
        near = jnp.any((margin > 0) & (margin <= rounding[:, None, None]), axis=(1, 2))
        if bound.route == "table":
            result = pack_words(decided, bound.num_outputs)[:, :, 0]
        elif bound.needs_outputs:
            rows = outputs[..., 0]
            result = jax.vmap(bound.classify_outputs)(rows[:, :, 0] if bound.num_outputs == 1 else rows)[:, None]
        else:
            result = bound.classify(jnp.moveaxis(decided[:, :, 0], 1, 0))[:, None]
        labels = data.labels[: len(domain.positions)]
        fits = jnp.all(decided[:, domain.positions, 0] == labels, axis=1)
        return jnp.all(jnp.isfinite(outputs), axis=(1, 2, 3)), near, fits, result

    def block(i: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        which = jax.lax.dynamic_slice(place, (i * size,), (size,))
        return tuple(all_.at[which].set(new, mode="drop") for all_, new in zip(results, some(which), strict=True))

    shapes = jax.eval_shape(some, place[:size])
    empty = tuple(jnp.zeros((slots, *leaf.shape[1:]), leaf.dtype) for leaf in shapes)
    return jax.lax.fori_loop(0, -(-jnp.sum(landed) // size), block, empty)


class Queue:
    """Networks still to be trained, ``numbers`` [R], for several pools at once."""

    def __init__(self, numbers: np.ndarray):
        self._lock = threading.Lock()
        self.refill(numbers)

    def refill(self, numbers: np.ndarray) -> None:
        """Train these instead, before any was taken."""
        self._numbers, self._next = numbers.astype(np.uint32), 0

    def take(self, most: int) -> np.ndarray:
        with self._lock:
            start, self._next = self._next, min(self._next + most, len(self._numbers))
            return self._numbers[start : self._next]


class Pool:
    """The slots of one processor core or device; what is put on ``device`` is computed there."""

    def __init__(self, plan: Plan, data: Data, domain: Domain, queue: Queue, device: Any):
        self._plan, self._queue, self._device = plan, queue, device
        self._data, self._domain = data, domain
        self._free = np.ones(plan.slots, bool)
        self._state: Networks | None = None

    @property
    def training(self) -> int:
        return int((~self._free).sum())

    def turn(self) -> Landed | None:
        """Fill the free slots, train for a turn, and give back what has landed; None when nothing is left to do."""
        slots, numbers = (np.zeros(self._plan.slots, dtype) for dtype in (np.int32, np.uint32))
        fresh = self._queue.take(int(self._free.sum()))
        slots[: len(fresh)] = np.flatnonzero(self._free)[: len(fresh)]
        numbers[: len(fresh)] = fresh
        self._free[slots[: len(fresh)]] = False
        if self._free.all():
            return None
        order = np.arange(self._plan.slots)
        if self._free.any():  # nothing is left to fill it with: the last networks move together
            groups = (~self._free).reshape(self._plan.groups, -1).any(axis=1).sum()
            if self.training <= (groups - 1) * self._plan.training.group:
                order = np.argsort(self._free, kind="stable")
                self._free = self._free[order]
        if self._state is None:
            empty = empty_pool(self._plan.training, self._data, self._plan.groups)
            self._data, self._domain, self._state = jax.device_put((self._data, self._domain, empty), self._device)
        count = np.int32(len(fresh))
        self._state, done = step(
            self._plan, self._data, self._domain, self._state, slots, numbers, count, order.astype(np.int32)
        )
        landed = np.asarray(done.landed)
        self._free |= landed
        if landed.any() and first_time("trained", self._plan):
            self._check(np.flatnonzero(landed), done)
        return Landed(*(np.asarray(leaf)[landed] for leaf in done))  # type: ignore[arg-type]

    def _check(self, landed: np.ndarray, done: Landed) -> None:
        """Hold networks that have landed to a plain evaluation; Miscompiled where one is decided otherwise."""
        assert self._state is not None
        plan, at = self._plan, landed[spread(len(landed), DECIDED)]
        params = {name: np.asarray(value) for name, value in self._state.params.items()}
        flat = {name: value.reshape(plan.slots, *value.shape[2:]) for name, value in params.items()}
        result = np.asarray(done.result)[at]
        if plan.bound.route == "table":
            words = result.astype(np.uint64)
            result = (words[:, ::2] << np.uint64(32)) | words[:, 1::2]
        else:
            result = result[:, 0]
        check_networks(
            plan.training.model,
            plan.bound,
            np.asarray(self._domain.inputs),
            [{name: value[slot] for name, value in flat.items()} for slot in at],
            result,
            np.asarray(done.finite)[at],
            precision=plan.precision,
            remedy="give another pool=",
        )
