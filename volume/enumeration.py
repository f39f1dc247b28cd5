"""Every point of a lattice, block by block, through the model itself: the path of `Exact` that serves every network.

The entries of the parameters are digits, each with the number of its levels as base, and a parameterisation is one
number in that system. The last digits run inside a block, on the device; all digits before them are worked out on the
host, so that no index on the device can overflow. Where the last layer is linear and apart from the rest, the bodies of
a block meet all its heads in one matrix product, as in `Direct`.

Shape letters: S blocks in a step, Q bodies and H heads in a block, N inputs, C outputs, F features, W words of a key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers import BoundClassifier
from volume.direct import decide, pack_words
from volume.exact_arithmetic import lattice_of
from volume.models import Head, Model, Parameter, Symmetry
from volume.query import Query
from volume.samplers import can_share_heads
from volume.tables import bits_per_input

# Tables of so many bits are counted by number: 2^20 counters of 8 bytes still fit in a last-level cache.
MAX_DENSE_BITS = 20
# Outputs of one block, in floats: 512 KiB. Measured on 3-4-1 ternary, 2 cores, on million networks a second: 2^13 193,
# 2^15 258, 2^16 349, 2^17 370, 2^18 232, 2^19 192.
BLOCK_OUTPUTS = 1 << 17
MAX_HEADS = 512
STEP_OUTPUTS = 1 << 25  # of one step: 4 million networks on 8 inputs, 20 ms and 16 MB of class numbers
# A float32 network this many roundings away from zero may have the other sign on other hardware (volume.samplers).
NEAR_TIE_ROUNDINGS = 4.0


_UNIT = "parameterisations"


class Outcome(NamedTuple):
    """What one step brings to the host."""

    result: Array  # numbered: [S, Q, H] int32, the last number being NaN or inf; else words [S, Q, 2 W, H] uint32
    finite: Array  # [S, Q, H] bool; empty where classes are numbered or arithmetic is exact
    near_ties: Array  # [S] int32
    weight: Array  # [S, Q, H] int32, sizes of stabilisers; empty where every network counts once


@dataclass(frozen=True)
class Question:
    """What the compiled steps do with outputs; one question, one trace."""

    bound: BoundClassifier
    exact: bool  # outputs carry no rounding, and none is NaN or inf
    dtype: str

    @property
    def table_bits(self) -> int:
        """Bits of a table; 0 where classes are numbered on the device."""
        if self.bound.route != "table":
            return 0
        return self.bound.num_inputs * bits_per_input(self.bound.num_outputs)

    @property
    def numbered(self) -> int | None:
        """How many class numbers there are; None where tables are too long to be numbers."""
        if self.bound.route != "table":
            return self.bound.num_classes
        return 1 << self.table_bits if self.table_bits <= MAX_DENSE_BITS else None

    def outcome(self, outputs: Array, tie: Array, weight: Array | None = None) -> Outcome:
        """Classes of outputs [Q, N, C, H]; a margin in (0, ``tie`` [Q, 1, 1]] is a near tie."""
        bound = self.bound
        weight = jnp.zeros(0, jnp.int32) if weight is None else weight
        decisions, margin = decide(outputs)
        if bound.num_outputs > 1:  # else the compiler repeats the argmax for every reader of it
            decisions, margin = jax.lax.optimization_barrier((decisions, margin))
        if self.exact:
            finite, near = None, jnp.zeros((), jnp.int32)
        else:
            finite = jnp.all(jnp.isfinite(outputs), axis=(1, 2))  # [Q, H]
            close = jnp.any((margin > 0) & (margin <= tie), axis=1)
            near = jnp.sum(close & finite, dtype=jnp.int32)
        if bound.route == "table":
            if self.numbered is None:
                words = pack_words(decisions, bound.num_outputs)  # [Q, 2 W, H]
                return Outcome(words, jnp.zeros(0, bool) if finite is None else finite, near, weight)
            # As volume.tables packs, without the zeros that fill up a word: they would cost more than the rest.
            width = self.table_bits // bound.num_inputs
            shifts = jnp.arange(bound.num_inputs - 1, -1, -1, dtype=jnp.int32)[:, None] * width
            index = jnp.sum(decisions.astype(jnp.int32) << shifts, axis=1, dtype=jnp.int32)
        elif bound.needs_outputs:
            rows = jnp.moveaxis(outputs, 3, 1)  # [Q, H, N, C]
            rows = rows[..., 0] if bound.num_outputs == 1 else rows
            index = jax.vmap(jax.vmap(bound.classify_outputs))(rows)
        else:
            index = jax.vmap(bound.classify)(decisions)
        if finite is not None:
            index = jnp.where(finite, index, self.numbered or 0)
        return Outcome(index, jnp.zeros(0, bool), near, weight)


@dataclass(frozen=True)
class Grid:
    """Everything the compiled step of this path depends on."""

    question: Question
    model: Model
    body: tuple[Parameter, ...]
    head: Head | None  # None: every parameter is in the body
    weigh: Symmetry | None  # networks count as often as this group leaves them as they are
    precision: str


class Digits(NamedTuple):
    """The entries of some parameters as digits; the last ``len(inner)`` of them run inside a block."""

    outer: tuple[tuple[float, ...], ...]  # levels of every entry that the host sets
    inner: tuple[tuple[float, ...], ...]  # and of those that the device runs through

    @staticmethod
    def of(entries: list[tuple[float, ...]], most: int) -> Digits:
        """As many of the last entries inside as keep their combinations within ``most``, at least none."""
        split, size = len(entries), 1
        while split and size * len(entries[split - 1]) <= most:
            split -= 1
            size *= len(entries[split])
        return Digits(tuple(entries[:split]), tuple(entries[split:]))

    @property
    def num_outer(self) -> int:
        return math.prod(map(len, self.outer))

    @property
    def num_inner(self) -> int:
        return math.prod(map(len, self.inner))


def digits(levels: tuple[tuple[float, ...], ...], index: np.ndarray) -> np.ndarray:
    """The levels [R, entries] that the numbers ``index`` [R] stand for, the last entry changing fastest."""
    columns = np.empty((len(index), len(levels)))
    for column in range(len(levels) - 1, -1, -1):
        index, digit = np.divmod(index, len(levels[column]))
        columns[:, column] = np.asarray(levels[column])[digit]
    return columns


class Blocks:
    """The enumeration of a query's lattice in steps of whole blocks.

    Args:
        query: with a finite prior.
        question: what to do with outputs.
        weigh: the group by whose stabilisers networks are weighed. It looks at bodies and heads together, so that no
            heads are shared.
        precision: of matrix products.
        block: networks of one step. Default: what suits a core's cache.

    Raises:
        ValueError: a group whose stabilisers are too costly.
    """

    def __init__(
        self,
        query: Query,
        question: Question,
        *,
        weigh: Symmetry | None = None,
        precision: str = "highest",
        block: int | None = None,
    ):
        model, prior = query.model, lattice_of(query)
        held = dict(zip((p.name for p in model.parameters), prior.levels_of(model.parameters), strict=True))
        shared = weigh is None and can_share_heads(model, prior)
        head = model.head if shared else None
        names = () if head is None else (head.weight, head.bias)
        body = tuple(p for p in model.parameters if p.name not in names)
        outputs = query.domain.num_inputs * model.num_outputs
        room = block or max(1, BLOCK_OUTPUTS // outputs)
        entries = [held[p.name] for p in body for _ in range(math.prod(p.shape))]
        last: list[tuple[float, ...]] = []
        if head is not None:
            last = [held[head.weight]] * (head.num_features * model.num_outputs)
            last += [held[head.bias]] * model.num_outputs if head.bias is not None else []
        self._heads = Digits.of(last, min(room, MAX_HEADS) if body else room)
        self._bodies = Digits.of(entries, max(1, room // self._heads.num_inner))
        self.grid = Grid(question, model, body, head, weigh, precision)
        if weigh is not None:  # what it cannot do is said before anything is compiled
            jax.eval_shape(
                weigh.stabiliser_sizes, {p.name: jax.ShapeDtypeStruct((1, *p.shape), "float32") for p in body}
            )
        self._dtype = np.dtype(question.dtype)
        self._inner = digits(self._bodies.inner, np.arange(self._bodies.num_inner)).astype(self._dtype)
        self._inner_heads = digits(self._heads.inner, np.arange(self._heads.num_inner)).astype(self._dtype)
        self.num_blocks = self._bodies.num_outer * self._heads.num_outer
        step = block or STEP_OUTPUTS // outputs
        self.blocks_per_step = min(self.num_blocks, max(1, step // self.block_networks))
        self.num_steps = -(-self.num_blocks // self.blocks_per_step)

    @property
    def block_networks(self) -> int:
        return self._bodies.num_inner * self._heads.num_inner

    def layout(self) -> dict[str, int]:
        """What the order of the enumeration depends on."""
        names = ("bodies", "heads", "blocks", "blocks_per_step")
        sizes = (self._bodies.num_inner, self._heads.num_inner, self.num_blocks, self.blocks_per_step)
        return dict(zip(names, sizes, strict=True))

    def dispatch(self, number: int, inputs: np.ndarray) -> Outcome:
        """Start step ``number`` on the device; :meth:`collect` takes what it brings."""
        start = number * self.blocks_per_step
        blocks = np.minimum(start + np.arange(self.blocks_per_step), self.num_blocks - 1)  # the tail repeats the last
        outer_bodies, outer_heads = np.divmod(blocks, self._heads.num_outer)
        lead = digits(self._bodies.outer, outer_bodies).astype(self._dtype)
        lead_heads = digits(self._heads.outer, outer_heads).astype(self._dtype)
        with jax.enable_x64(self._dtype == np.float64):
            return block_step(self.grid, inputs, lead, lead_heads, self._inner, self._inner_heads)

    def kept(self, number: int) -> int:
        """Blocks of this step that are not repetitions."""
        return min(self.blocks_per_step, self.num_blocks - number * self.blocks_per_step)

    def weight(self, number: int, outcome: Outcome) -> np.ndarray | None:
        """How often every network of this step counts, [S, Q, H] int64; None: once each."""
        del number
        return np.asarray(outcome.weight).astype(np.int64) if outcome.weight.size else None

    def progress(self, steps: int) -> tuple[float, float, str]:
        """(done, total, unit) after so many steps."""
        return min(steps * self.blocks_per_step, self.num_blocks) * self.block_networks, self.networks, _UNIT

    @property
    def networks(self) -> int:
        """Networks to evaluate."""
        return self.num_blocks * self.block_networks


@partial(jax.jit, static_argnames="grid")
def block_step(grid: Grid, inputs: Array, lead: Array, lead_heads: Array, inner: Array, inner_heads: Array) -> Outcome:
    """Blocks of outer digits ``lead`` [S, .] and ``lead_heads`` [S, .] with all inner ones [Q, .] and [H, .]."""
    with jax.default_matmul_precision(grid.precision):
        return jax.lax.map(
            lambda outer: _block(grid, inputs, outer[0], outer[1], inner, inner_heads), (lead, lead_heads)
        )


def _block(grid: Grid, inputs: Array, lead: Array, lead_heads: Array, inner: Array, inner_heads: Array) -> Outcome:
    params = _unflatten(_joined(lead, inner), grid.body)
    num_bodies = len(inner)
    info = jnp.finfo(inner.dtype)
    if grid.head is None:
        outputs = jax.vmap(lambda one: grid.model.apply(one, inputs), axis_size=num_bodies)(params)  # [Q, N, C]
        outputs = jnp.moveaxis(outputs, 0, 2)[None]  # [1, N, C, Q]: what is many comes last
        tie = NEAR_TIE_ROUNDINGS * info.eps * jnp.max(jnp.abs(outputs), axis=(1, 2))[:, None]  # [1, 1, Q]
        weight = None if grid.weigh is None else grid.weigh.stabiliser_sizes(params)[None]  # [1, Q]
        return grid.question.outcome(outputs, tie, weight)
    features = jax.vmap(lambda one: grid.model.features(one, inputs), axis_size=num_bodies)(params)  # [Q, N, F]
    num_heads, num_outputs = len(inner_heads), grid.model.num_outputs
    # Rows of a head: one per feature, and one of biases, which are the weights of a feature that is always 1.
    weight = _joined(lead_heads, inner_heads).reshape(num_heads, -1, num_outputs)  # [H, F (+ 1), C]
    if grid.head.bias is not None:
        features = jnp.concatenate([features, jnp.ones_like(features[..., :1])], axis=-1)
    weight = jnp.moveaxis(weight, 0, 2)  # [F, C, H]
    num_features = weight.shape[0]
    outputs = (features.reshape(-1, num_features) @ weight.reshape(num_features, -1)).reshape(
        num_bodies, -1, num_outputs, num_heads
    )
    bound = jnp.max(jnp.linalg.norm(features, axis=-1), axis=-1) * jnp.max(jnp.linalg.norm(weight, axis=0))  # [Q]
    return grid.question.outcome(outputs, NEAR_TIE_ROUNDINGS * info.eps * bound[:, None, None])


def _joined(lead: Array, inner: Array) -> Array:
    """All digits [Q, entries]: those of the block before those inside it."""
    return jnp.concatenate([jnp.broadcast_to(lead, (len(inner), len(lead))), inner], axis=1)


def _unflatten(entries: Array, parameters: tuple[Parameter, ...]) -> dict[str, Array]:
    """Parameters [Q, *shape] of their entries [Q, .] in order."""
    if not parameters:  # a network without hidden layers has no body
        return {}
    sizes = [math.prod(p.shape) for p in parameters]
    pieces = jnp.split(entries, np.cumsum(sizes)[:-1], axis=1)
    return {p.name: piece.reshape(len(entries), *p.shape) for p, piece in zip(parameters, pieces, strict=True)}
