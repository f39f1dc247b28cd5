"""Direct estimation: draw parameters from the prior, classify the function, count.

Quantity: V(C) = prior{theta : function(theta) in C}. Estimator: hits / draws. Interval: Clopper-Pearson when draws are
independent, Fay-Feuer over the blocks when networks share a body or a head (volume.intervals).

Draws are keyed by (seed, block): a block is a fixed set of bodies with their heads (volume.samplers.blocks), a step any
number of whole blocks. Counts therefore do not depend on the step size, on interruptions or on the number of devices.

Shape letters: S blocks in a step, Q bodies, H heads, N inputs, C outputs, K classes, W 64-bit words of a packed table.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.progress import Progress
from volume.common.seeds import block_key, index_words
from volume.errors import unknown, whole
from volume.estimators.direct import parts as block_parts
from volume.estimators.direct.accumulate import DenseAccumulator, TableAccumulator
from volume.estimators.direct.parts import OpenPart
from volume.estimators.direct.plan import (
    MAX_DRAWS,
    Plan,
    cast_inputs,
    check_memory,
    choose_block,
    fits_memory,
    make_plan,
    why_not_on_disk,
)
from volume.functions.tables import bits_per_input, num_words
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts
from volume.runs.parts import Part, StoredPart
from volume.samplers import draw_block, over_blocks
from volume.statistics.counts import Counts

STEP_SECONDS = 0.25  # long enough to hide the step's overhead, short enough for progress and Ctrl-C
# Classes up to here are counted by comparing, which vectorises; more by scattering.
MAX_COMPARED = 16


class Step(NamedTuple):
    """What one step brings to the host; only the first blocks asked for are filled."""

    result: Array  # table route: packed words [S, Q, 2 W, H] uint32; device route: hits [S, K + 1] int32
    finite: Array  # table route: [S, Q, H] bool; device route: empty
    near_ties: Array  # [S] int32
    weight: Array  # table route where draws bring several hits: how many [S, Q, H] int32; else: empty


@dataclass(frozen=True, kw_only=True)
class Direct:
    """Draw, classify, count.

    Args:
        draws: networks to draw; rounded up to whole blocks (the report states how many were drawn).
        heads: last layers drawn for each body, 1 for fully independent draws. Default: by the width of the last hidden
            layer, up to 200, and fewer in short runs, so that there are at least 1,000 independent blocks.
        bodies: bodies of a block, which share its heads up to random reflections. Default: up to 50, likewise.
        dtype: "float32" or "float64".
        precision: matrix-product precision, as in ``jax.default_matmul_precision``; the default never rounds to TF32 or
            bfloat16, which would flip signs near zero.
        devices: JAX devices to spread blocks over. Default: all local ones. Counts do not depend on it.
        memory: bytes that the counts of truth tables may take. A run kept in a directory that may need more counts them
            from disk (docs/large_tables.md), any other is refused. Default: the machine's memory, and a quarter of it
            for the work from disk. Counts do not depend on it.

    Raises:
        ValueError: a number that is not whole or not positive, or an unknown dtype or precision.
    """

    draws: int
    heads: int | None = None
    bodies: int | None = None
    dtype: str = "float32"
    precision: str = "highest"
    devices: tuple[Any, ...] | None = None
    memory: int | None = None

    name = "direct"

    def __init__(
        self,
        draws: float,
        *,
        heads: int | None = None,
        bodies: int | None = None,
        dtype: str = "float32",
        precision: str = "highest",
        devices: Sequence[Any] | None = None,
        memory: float | None = None,
    ):
        known = {"dtype": ("float32", "float64"), "precision": ("default", "high", "highest")}
        for what, given in (("dtype", dtype), ("precision", precision)):
            if given not in known[what]:
                raise ValueError(unknown(what, given, known[what]))
        values = {
            "draws": whole("draws", draws, limit=MAX_DRAWS),
            "heads": None if heads is None else whole("heads", heads),
            "bodies": None if bodies is None else whole("bodies", bodies),
            "dtype": dtype,
            "precision": precision,
            "devices": None if devices is None else tuple(devices),
            "memory": None if memory is None else whole("memory", memory),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def plan(self, query: Query) -> Plan:
        """The concrete block, chosen from the query's shapes and the number of draws alone."""
        bodies, heads = choose_block(query, self.draws, heads=self.heads, bodies=self.bodies)
        return make_plan(
            query, self.draws, bodies, heads, dtype=self.dtype, precision=self.precision, devices=self.devices
        )

    def start(self, query: Query, key: Array) -> DirectRun:
        """Begin to draw; errors as in :meth:`plan`, and ValueError when the draws would not fit in memory."""
        check_memory(query, self.draws, self.memory)
        return DirectRun(query, self, key)

    def start_kept(self, query: Query, key: Array) -> DirectRun:
        """The same for a run that is kept in a directory, where tables that do not fit in memory are counted."""
        if fits_memory(query, self.draws, self.memory) or why_not_on_disk(query) is not None:
            return self.start(query, key)
        from volume.estimators.direct.table_run import StoredRun

        return StoredRun(query, self, key)

    def describe(self, plan: Plan) -> dict[str, Any]:
        return {
            "name": self.name,
            "draws": self.draws,
            "heads": plan.heads,
            "bodies": plan.bodies,
            "unit_size": plan.block_draws,
            "independent_draws": plan.independent,
            "dtype": self.dtype,
            "precision": self.precision,
        }


@partial(jax.jit, static_argnames="plan")
def step(plan: Plan, key: Array, inputs: Array, words: Array, num_blocks: Array) -> Step:
    """Draw and classify the blocks with index words ``words`` [S, 2]; each device takes its first ``num_blocks``."""

    def local(key: Array, inputs: Array, words: Array, num_blocks: Array) -> Step:
        empty = jax.tree.map(
            lambda leaf: jnp.zeros((plan.max_blocks, *leaf.shape), leaf.dtype),
            jax.eval_shape(lambda k: _block_step(plan, k, inputs), key),
        )

        def body(i: Array, done: Step) -> Step:
            block = _block_step(plan, block_key(key, words[i]), inputs)
            return jax.tree.map(lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, i, 0), done, block)

        # The trip count is data: a ragged last step and steps of growing length share one trace.
        return jax.lax.fori_loop(0, num_blocks[0], body, empty)

    with jax.default_matmul_precision(plan.precision):
        return over_blocks(local, plan.mesh, (False, False, True, True))(key, inputs, words, num_blocks)


def _block_step(plan: Plan, key: Array, inputs: Array) -> Step:
    weigh = None if plan.weigh is None else plan.weigh.stabiliser_sizes
    block = draw_block(
        key, plan.model, plan.prior, inputs, bodies=plan.bodies, heads=plan.heads, batch=plan.batch, weigh=weigh
    )
    weight = jnp.zeros(0, jnp.int32) if block.weight is None else block.weight
    decisions, margin = decide(block.outputs)
    if plan.model.num_outputs > 1:  # else the compiler repeats the argmax for every reader of it
        decisions, margin = jax.lax.optimization_barrier((decisions, margin))
    near = jnp.any((margin > 0) & (margin <= block.tie[:, :, 0]), axis=1)  # [Q, H]
    near_ties = jnp.sum(near & block.finite, dtype=jnp.int32)
    if plan.bound.route == "table":
        return Step(pack_words(decisions, plan.model.num_outputs), block.finite, near_ties, weight)
    if plan.bound.needs_outputs:
        rows = jnp.moveaxis(block.outputs, 3, 1)  # [Q, H, N, C]
        rows = rows[..., 0] if plan.model.num_outputs == 1 else rows
        classes = jax.vmap(jax.vmap(plan.bound.classify_outputs))(rows)
    else:
        classes = jax.vmap(plan.bound.classify)(decisions)
    hits = _hits(classes, block.finite, plan.bound, block.weight)
    return Step(hits, jnp.zeros(0, bool), near_ties, jnp.zeros(0, jnp.int32))


def decide(outputs: Array) -> tuple[Array, Array]:
    """Decisions [Q, N, H] of outputs [Q, N, C, H], and how far the nearest other decision is (0 in a tie).

    One output: output > 0, |output|. Several: the argmax, ties to the lowest index; the lead over the second.
    """
    num_outputs = outputs.shape[2]
    first = outputs[:, :, 0]
    if num_outputs == 1:
        return first > 0, jnp.abs(first)
    winner = jnp.zeros(first.shape, jnp.uint8 if num_outputs <= 256 else jnp.uint16)
    second = jnp.full_like(first, -jnp.inf)
    for c in range(1, num_outputs):  # unrolled: jnp.argmax and top_k do not vectorise over the heads
        rival = outputs[:, :, c]
        wins = rival > first
        winner = jnp.where(wins, jnp.asarray(c, winner.dtype), winner)
        second = jnp.maximum(second, jnp.minimum(first, rival))
        first = jnp.maximum(first, rival)
    return winner, first - second


def pack_words(decisions: Array, num_outputs: int) -> Array:
    """Decisions [Q, N, H] as 32-bit words [Q, 2 W, H], the first input at the most significant bit (volume.tables)."""
    num_bodies, num_inputs, num_heads = decisions.shape
    width = bits_per_input(num_outputs)
    if 32 % width:  # fields would straddle words: take the bits one by one
        shifts = jnp.arange(width - 1, -1, -1, dtype=decisions.dtype)
        decisions = (decisions[:, :, None, :] >> shifts[:, None]) & 1
        decisions, width = decisions.reshape(num_bodies, -1, num_heads), 1
    per_word = 32 // width
    length = 2 * num_words(num_inputs, num_outputs) * per_word
    decisions = jnp.pad(decisions, ((0, 0), (0, length - decisions.shape[1]), (0, 0)))
    fields = decisions.reshape(num_bodies, -1, per_word, num_heads).astype(jnp.uint32)
    shifts = jnp.arange(per_word - 1, -1, -1, dtype=jnp.uint32) * width
    return jnp.sum(fields << shifts[:, None], axis=2, dtype=jnp.uint32)


def _hits(classes: Array, finite: Array, bound: BoundClassifier, weight: Array | None) -> Array:
    """Hits of every class in this block, [K + 1]; the last entry counts the non-finite networks.

    ``weight`` [Q, H]: hits that each network brings; None: one.
    """
    num_classes = bound.num_classes
    assert num_classes is not None  # only finite classifiers take this route
    classes = jnp.where(finite, classes, num_classes).ravel()
    brought = None if weight is None else weight.ravel()
    if num_classes < MAX_COMPARED:
        inside = classes[None, :] == jnp.arange(num_classes + 1)[:, None]
        return jnp.sum(inside if brought is None else inside * brought, axis=1, dtype=jnp.int32)
    return jnp.zeros(num_classes + 1, jnp.int32).at[classes].add(1 if brought is None else brought)


@dataclass(frozen=True, kw_only=True)
class Drawn(Progress):
    """Where a run of draws stands."""

    classes: int  # seen so far; for open-ended tables an estimate within about a per cent

    @property
    def draws(self) -> int:
        return int(self.done)


class DirectRun:
    """A run in progress: advance it step by step, look at the counts at any time."""

    def __init__(self, query: Query, method: Direct, key: Array):
        self.method = method
        self.plan = plan = method.plan(query)
        self.total_blocks = -(-method.draws // plan.block_draws)
        self.done_blocks = 0
        self.near_ties = 0
        self._ranges = [(0, self.total_blocks)]  # of blocks not yet asked for
        self._left = self.total_blocks  # not yet taken in
        self._open: OpenPart | None = None  # where the run is kept
        self._key = key
        self._dtype = np.dtype(plan.dtype)
        self._inputs = cast_inputs(query, plan.dtype)
        self._devices = plan.mesh.size
        self._table = plan.bound.route == "table"
        self._words = num_words(query.domain.num_inputs, plan.model.num_outputs)
        self._into = self._accumulator()
        self._pending: tuple[Step, np.ndarray, np.ndarray] | None = None
        self._taken = False  # the first step, whose length nobody knows, runs alone
        self._step_blocks = 1  # per device; grows until a step takes STEP_SECONDS

    def _accumulator(self) -> TableAccumulator | DenseAccumulator:
        plan = self.plan
        shape = {"independent": plan.independent, "copies": plan.copies}
        if self._table:
            return TableAccumulator(self._words, plan.block_draws, self.total_draws, **shape)
        assert plan.bound.num_classes is not None
        return DenseAccumulator(plan.bound.num_classes, plan.block_draws, **shape)

    @property
    def done(self) -> bool:
        return self._left == 0

    @property
    def draws(self) -> int:
        return self.done_blocks * self.plan.block_draws

    @property
    def total_draws(self) -> int:
        return self.total_blocks * self.plan.block_draws

    def progress(self) -> Drawn:
        classes = self._into.estimate_classes()
        return Drawn(
            done=self.draws,
            total=(self.done_blocks + self._left) * self.plan.block_draws,
            unit="draws",
            note=f"about {classes:,} classes",
            classes=classes,
        )

    # --- kept in a directory (volume.parts) ---

    def constants(self) -> dict[str, Any]:
        """How draws are laid out in blocks."""
        return {"blocks": self.total_blocks, "heads": self.plan.heads, "bodies": self.plan.bodies}

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Take in the blocks of these parts, and keep parts of the others (volume.block_parts)."""
        parts = block_parts.apart(parts)
        for part in parts:
            self._take_in(part)
            self.near_ties += part.facts["near_ties"]
            self.done_blocks += part.facts["stop"] - part.facts["first"]
        self._ranges = block_parts.missing(parts, self.total_blocks)
        self._left = self.total_blocks - self.done_blocks
        self._open = OpenPart()

    def _take_in(self, part: StoredPart) -> None:
        first, stop = part.facts["first"], part.facts["stop"]
        nonfinite = np.zeros(stop - first, np.int64)
        for block, draws in part.facts["nonfinite"]:
            nonfinite[block - first] = draws
        keys, unit, hits = block_parts.rows(part)
        if isinstance(self._into, TableAccumulator):
            self._into.restore(keys, unit.astype(np.int32), hits, np.arange(first, stop), nonfinite)
        else:
            self._into.restore(keys[0].astype(np.int64), unit, hits, np.arange(first, stop), nonfinite)

    def collect(self, *, all: bool = False) -> list[Part]:
        """Parts finished since the last call."""
        return [] if self._open is None else self._open.collect(all=all)

    def restrict(self, index: int, count: int) -> None:
        """Draw only this share of the blocks that are left."""
        self._ranges = block_parts.share(self._ranges, index, count)
        self._left = sum(stop - first for first, stop in self._ranges)

    # --- drawing ---

    def report(self, facts: Facts) -> VolumeReport | None:
        """The volumes of all classes from the draws so far; None before the first."""
        if not self.done_blocks:
            return None
        return VolumeReport.of(facts, self.counts(), **self._stated(facts))

    def _stated(self, facts: Facts) -> dict[str, Any]:
        """What a report states beside the counts."""
        return {
            "method": self.method.describe(self.plan),
            "conventions": facts.query.conventions(dtype=self.method.dtype, precision=self.method.precision),
            "devices": list(self.plan.mesh.devices.flat),
            "near_ties": self.near_ties,
            "near_ties_checked": self.draws,
        }

    def advance(self) -> None:
        """Take in one step; the next one is already running on the device meanwhile."""
        start = time.perf_counter()
        if self._pending is None:
            self._pending = self._dispatch()
        current, self._pending = self._pending, None
        if self._ranges and self._taken:
            self._pending = self._dispatch()
        self._take(*current)
        self._taken = True
        seconds = time.perf_counter() - start
        if seconds < STEP_SECONDS / 2:
            self._step_blocks = min(2 * self._step_blocks, self.plan.max_blocks)

    def counts(self) -> Counts:
        """Hits of the query's classes in every block so far."""
        counts, bound = self._into.counts(), self.plan.bound
        return bound.of_tables(counts) if self._table else counts

    def _dispatch(self) -> tuple[Step, np.ndarray, np.ndarray]:
        """Begin a step: its result to come, blocks of each device, and their numbers."""
        first, stop = self._ranges.pop(0)
        cut = min(first + self._step_blocks * self._devices, stop)
        if cut < stop:
            self._ranges.insert(0, (cut, stop))
        blocks = cut - first
        share = np.full(self._devices, blocks // self._devices, np.int32)
        share[: blocks % self._devices] += 1
        words = np.zeros((self._devices, self.plan.max_blocks, 2), np.uint32)
        start = first
        for device, count in enumerate(share):
            words[device, :count] = index_words(start, start + int(count))
            start += int(count)
        with jax.enable_x64(self._dtype == np.float64):
            result = step(self.plan, self._key, self._inputs, words.reshape(-1, 2), share)
        return result, share, np.arange(first, cut)

    def _take(self, result: Step, share: np.ndarray, numbers: np.ndarray) -> None:
        rows = np.concatenate([d * self.plan.max_blocks + np.arange(count) for d, count in enumerate(share)])
        whole = len(rows) == len(share) * self.plan.max_blocks
        kept = jax.tree.map(lambda leaf: np.asarray(leaf) if whole else np.asarray(leaf)[rows], result._asdict())
        if isinstance(self._into, TableAccumulator):
            words = kept["result"]  # [S, Q, 2 W, H]
            keys = [
                ((words[:, :, w].astype(np.uint64) << np.uint64(32)) | words[:, :, w + 1]).ravel()
                for w in range(0, words.shape[2], 2)
            ]
            keys = self.plan.bound.merged_words(keys)
            weight = kept["weight"].ravel() if self.plan.copies > 1 else None
            found = self._into.append(keys, kept["finite"].ravel(), weight, numbers)
        else:
            found = self._into.append(kept["result"], numbers)
        near_ties = int(kept["near_ties"].sum())
        if self._open is not None:
            self._open.add(numbers, found, near_ties)
        self.near_ties += near_ties
        self.done_blocks += len(rows)
        self._left -= len(rows)
