"""What an enumeration asks of the outputs of many networks: their classes, or their packed truth tables.

Shape letters: S blocks in a step; Q bodies and H heads in a block; N inputs, C outputs, W words of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.estimators.direct.step import classify, decide, pack_words
from volume.functions.tables import bits_per_input

# Tables of so many bits are counted by number: 2^20 counters of 8 bytes still fit in a last-level cache.
MAX_DENSE_BITS = 20


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
        """Classify outputs [Q, N, C, H]; a margin in (0, ``tie`` [Q, 1, 1]] is a near tie."""
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
            # As `pack_words`, without the zeros that fill up a word: they would cost more than the rest.
            width = self.table_bits // bound.num_inputs
            shifts = jnp.arange(bound.num_inputs - 1, -1, -1, dtype=jnp.int32)[:, None] * width
            index = jnp.sum(decisions.astype(jnp.int32) << shifts, axis=1, dtype=jnp.int32)
        else:
            index = classify(bound, outputs, decisions)
        if finite is not None:
            index = jnp.where(finite, index, self.numbered or 0)
        return Outcome(index, jnp.zeros(0, bool), near, weight)
