"""The compiled step of direct estimation: draw blocks of networks, decide, and count or pack what they decide.

Shape letters: S blocks in a step, Q bodies, H heads, N inputs, C outputs, K classes, W 64-bit words of a packed table.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.programs import program
from volume.common.seeds import block_key
from volume.estimators.direct.plan import Plan
from volume.functions.tables import bits_per_input, num_words
from volume.queries.compiled import DECIDED, spread
from volume.samplers import draw_block, over_blocks

# Classes up to here are counted by comparing, which vectorises; more by scattering.
MAX_COMPARED = 16


class Step(NamedTuple):
    """What one step brings to the host; only the first blocks asked for are filled."""

    result: Array  # table route: packed words [S, Q, 2 W, H] uint32; device route: hits [S, K + 1] int32
    finite: Array  # table route: [S, Q, H] bool; device route: empty
    near_ties: Array  # [S] int32
    vanished: Array  # [S] int32: networks whose decisions the format does not hold; they are not finite
    weight: Array  # table route where draws bring several hits: how many [S, Q, H] int32; else: empty
    seen: Array  # device route: classes of the networks `spread` over each block [S, T] int32; else: empty


@program(static_argnames="plan")
def step(plan: Plan, key: Array, inputs: Array, words: Array, num_blocks: Array) -> Step:
    """Draw and classify the blocks with index words ``words`` [S, 2]; each device takes its first ``num_blocks``."""

    def local(key: Array, inputs: Array, words: Array, num_blocks: Array) -> Step:
        one = jax.jit(partial(_block_step, plan), inline=True)  # traced once, for its shapes and in the loop
        empty = jax.tree.map(
            lambda leaf: jnp.zeros((plan.max_blocks, *leaf.shape), leaf.dtype), jax.eval_shape(one, key, inputs)
        )

        def body(i: Array, done: Step) -> Step:
            block = one(block_key(key, words[i]), inputs)
            return jax.tree.map(lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, i, 0), done, block)

        # The trip count is data: a ragged last step and steps of growing length share one trace.
        return jax.lax.fori_loop(0, num_blocks[0], body, empty)

    with jax.default_matmul_precision(plan.precision):
        return over_blocks(local, plan.mesh, (False, False, True, True))(key, inputs, words, num_blocks)


def _block_step(plan: Plan, key: Array, inputs: Array) -> Step:
    weigh = None if plan.weigh is None else plan.weigh.stabiliser_sizes
    block = draw_block(
        key,
        plan.model,
        plan.prior,
        inputs,
        bodies=plan.bodies,
        heads=plan.heads,
        batch=plan.batch,
        weigh=weigh,
        faint=plan.watch,
    )
    weight = jnp.zeros(0, jnp.int32) if block.weight is None else block.weight
    decisions, margin = decide(block.outputs)
    if plan.model.num_outputs > 1:  # else the compiler repeats the argmax for every reader of it
        decisions, margin = jax.lax.optimization_barrier((decisions, margin))
    near = jnp.any((margin > 0) & (margin <= block.tie[:, :, 0]), axis=1)  # [Q, H]
    finite, vanished = block.finite, jnp.zeros((), jnp.int32)
    if block.lost is not None:
        lost = block.lost | undecided(plan.bound, block.outputs, margin, block.error)
        finite, vanished = finite & ~lost, jnp.sum(lost, dtype=jnp.int32)
    near_ties = jnp.sum(near & finite, dtype=jnp.int32)
    if plan.bound.route == "table":
        words = pack_words(decisions, plan.model.num_outputs)
        return Step(words, finite, near_ties, vanished, weight, jnp.zeros(0, jnp.int32))
    classes = jnp.where(finite, classify(plan.bound, block.outputs, decisions), plan.bound.num_classes or 0)
    hits = _hits(classes.ravel(), plan.bound, block.weight)
    seen = classes.ravel()[spread(plan.block_draws, DECIDED)]
    return Step(hits, jnp.zeros(0, bool), near_ties, vanished, jnp.zeros(0, jnp.int32), seen)


def undecided(bound: BoundClassifier, outputs: Array, margin: Array, error: Array | None) -> Array:
    """Find the networks [Q, H] of outputs [Q, N, C, H], with this ``margin`` [Q, N, H], that their ``error`` [Q, N, C,
    H], in units of the smallest normal number, may decide otherwise."""
    assert error is not None  # where networks are watched
    info = jnp.finfo(outputs.dtype)
    if bound.needs_outputs:  # who knows what is read: all digits but the last few
        doubtful = jnp.abs(outputs) <= jnp.where(error > 0, error * 2.0 ** (info.nmant - 3), -1) * info.tiny
        return jnp.any(doubtful, axis=(1, 2))
    most = jnp.max(error, axis=2)
    return jnp.any((most > 0) & (margin <= 2 * jnp.maximum(most, 1) * info.tiny), axis=1)


def decide(outputs: Array) -> tuple[Array, Array]:
    """Return decisions [Q, N, H] of outputs [Q, N, C, H], and how far the nearest other decision is (0 in a tie).

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


def classify(bound: BoundClassifier, outputs: Array, decisions: Array) -> Array:
    """Give the class numbers [Q, H] of outputs [Q, N, C, H] and their decisions [Q, N, H]."""
    if not bound.needs_outputs:
        return jax.vmap(bound.classify)(decisions)
    rows = jnp.moveaxis(outputs, 3, 1)  # [Q, H, N, C]
    rows = rows[..., 0] if bound.num_outputs == 1 else rows
    return jax.vmap(jax.vmap(bound.classify_outputs))(rows)


def pack_words(decisions: Array, num_outputs: int) -> Array:
    """Pack decisions [Q, N, H] in 32-bit words [Q, 2 W, H], the first input at the most significant bit, as
    volume.functions.tables does."""
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


def _hits(classes: Array, bound: BoundClassifier, weight: Array | None) -> Array:
    """Hits of every class [Q H] in this block, [K + 1]; the last entry counts the non-finite networks.

    ``weight`` [Q, H]: hits that each network brings; None: one.
    """
    num_classes = bound.num_classes
    assert num_classes is not None  # only finite classifiers take this route
    brought = None if weight is None else weight.ravel()
    if num_classes < MAX_COMPARED:
        inside = classes[None, :] == jnp.arange(num_classes + 1)[:, None]
        return jnp.sum(inside if brought is None else inside * brought, axis=1, dtype=jnp.int32)
    return jnp.zeros(num_classes + 1, jnp.int32).at[classes].add(1 if brought is None else brought)
