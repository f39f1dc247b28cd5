"""Truth tables up to relabelling of their inputs and outputs: canonical forms, stabilisers, orbits.

The group acts on functions of n binary digits by permuting the digits, negating some of them, negating the output;
any of the three kinds may be left out. With all three, n! 2^n 2 maps, the orbits are the NPN classes of logic
synthesis.

The canonical form is the least of the table's images in which the digits stand in the order of an invariant of theirs
(`volume.functions.canonical_search`); orbits have as many members as the group's order over the stabiliser's.

Shape letters: K tables, N = 2^n inputs, W = ceil(N / 64) words of a table, n digits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations as all_permutations
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from volume.functions import canonical_bits as bits
from volume.functions.canonical_bits import Layout, layout
from volume.functions.canonical_search import Nodes, search, start
from volume.functions.tables import pack, unpack

MAX_DIGITS = 12  # tables of 4096 bits; 12! 2^13 is far below 2^63
CHUNK = 1 << 15  # tables at a time: a word of each is 256 KiB, which a core's cache holds


class Forms(NamedTuple):
    """Canonical forms, table by table."""

    keys: np.ndarray  # [K, W] uint64
    stabiliser: np.ndarray  # [K] int64, elements of the group that leave the table as it is


class Relabellings(ABC):
    """A group of maps of truth tables: permuted and negated digits of the inputs, and a negated output."""

    permutations: bool
    negations: bool
    outputs: bool
    fixed: tuple[int, ...]

    @property
    @abstractmethod
    def num_digits(self) -> int:
        """Numbers in one input, which are permuted and negated."""

    @abstractmethod
    def images(self, table: np.ndarray) -> np.ndarray:
        """Return the images of one table [W] under every element, uint64 [order, W]."""

    @property
    def order(self) -> int:
        """Elements of the group."""
        return (
            (math.factorial(self.num_digits) if self.permutations else 1)
            * (1 << self.num_digits if self.negations else 1)
            * (2 if self.outputs else 1)
        )

    def orbit(self, table: np.ndarray) -> np.ndarray:
        """Return the distinct images of one table [W], sorted, uint64 [members, W]."""
        return np.unique(self.images(table), axis=0)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record of the maps, which goes with that of the inputs."""
        return {
            "permutations": self.permutations,
            "negations": self.negations,
            "outputs": self.outputs,
            "fixed": list(self.fixed),
            "order": self.order,
        }


@dataclass(frozen=True)
class TableGroup(Relabellings):
    """A group of maps of truth tables of ``digits`` binary inputs, in the order of `volume.BooleanCube`.

    Args:
        digits: n, 1 to 12.
        permutations: the inputs may be permuted.
        negations: any of the inputs may be negated.
        outputs: the output may be negated, at all inputs but ``fixed``.
        fixed: numbers of the inputs whose bit the negated output keeps, ascending: those where a network always ties.

    Raises:
        ValueError: digits out of range, or fixed inputs that the other maps move to inputs that are not.
    """

    digits: int
    permutations: bool = True
    negations: bool = False
    outputs: bool = False
    fixed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.digits, bool) or not isinstance(self.digits, int) or not 1 <= self.digits <= MAX_DIGITS:
            raise ValueError(f"TableGroup acts on tables of 1 to {MAX_DIGITS} binary digits; got {self.digits!r}.")
        inputs, fixed = 1 << self.digits, tuple(sorted(int(i) for i in self.fixed))
        object.__setattr__(self, "fixed", fixed)
        if len(set(fixed)) < len(fixed) or any(not 0 <= i < inputs for i in fixed):
            raise ValueError(f"fixed names inputs by distinct numbers from 0 to {inputs - 1}; got {self.fixed}.")
        if fixed and not self.outputs:
            raise ValueError("fixed inputs keep their bit when the output is negated: give outputs=True with them.")
        if fixed:
            free = self._free_words
            inner = TableGroup(self.digits, self.permutations, self.negations)
            if not all(np.array_equal(image, free) for image in inner.generators(free)):
                raise ValueError(
                    f"The fixed inputs {fixed} are not a union of orbits of the input maps: negating the output would "
                    "not commute with them. Fix none, or all that the maps send one of them to."
                )

    @property
    def num_digits(self) -> int:
        return self.digits

    @property
    def _layout(self) -> Layout:
        return layout(self.digits)

    @cached_property
    def _free_words(self) -> np.ndarray:
        """The bits that a negated output changes, [W]."""
        free = np.ones((1, 1 << self.digits), np.uint8)
        free[0, list(self.fixed)] = 0
        return pack(free, 1)[0]

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return {"digits": self.digits, **super().describe()}

    def generators(self, words: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images of tables [W, ...] under maps that generate the group."""
        of = self._layout
        for digit in range(self.digits):
            if self.permutations and digit + 1 < self.digits:
                image = np.array(words, np.uint64).reshape(of.num_words, -1)
                bits.exchange(of, image, digit, digit + 1)
                yield image.reshape(np.shape(words))
            if self.negations:
                image = np.array(words, np.uint64).reshape(of.num_words, -1)
                bits.negate(of, image, digit)
                yield image.reshape(np.shape(words))
        if self.outputs:
            free = self._free_words.reshape(-1, *[1] * (np.ndim(words) - 1))
            yield np.asarray(words, np.uint64) ^ free

    def images(self, table: np.ndarray) -> np.ndarray:
        """Return the images of one table [W], uint64 [order, W]; for groups of up to a few million elements."""
        inputs = np.arange(1 << self.digits)
        digits = (inputs[:, None] >> np.arange(self.digits - 1, -1, -1)) & 1
        decisions = unpack(np.asarray(table, np.uint64)[None], len(inputs), 1)[0]
        images = []
        for order in all_permutations(range(self.digits)) if self.permutations else [tuple(range(self.digits))]:
            moved = digits[:, order] @ (1 << np.arange(self.digits - 1, -1, -1))
            masks = np.arange(1 << self.digits) if self.negations else np.zeros(1, np.int64)
            images.append(pack(decisions[moved[None, :] ^ masks[:, None]], 1))
        plain = np.concatenate(images)
        return np.concatenate([plain, plain ^ self._free_words]) if self.outputs else plain

    def forms(self, keys: np.ndarray) -> Forms:
        """Return the canonical forms and stabilisers of tables [K, W], each given once.

        They are packed as in `volume.functions.tables`.

        Raises:
            ValueError: keys of another shape, or bits set beyond the last input.
        """
        keys = np.ascontiguousarray(keys, np.uint64)
        of = self._layout
        if keys.ndim != 2 or keys.shape[1] != of.num_words:
            raise ValueError(
                f"Tables of {self.digits} digits are packed in {of.num_words} word(s), shape [K, {of.num_words}]; "
                f"got {keys.shape}."
            )
        if (keys & ~of.used).any():
            raise ValueError(f"Tables of {1 << self.digits} inputs have zeros after them; got other bits.")
        result, stabiliser = np.empty_like(keys), np.empty(len(keys), np.int64)
        for at in range(0, len(keys), CHUNK):
            words = np.ascontiguousarray(keys[at : at + CHUNK].T)
            least, stabiliser[at : at + CHUNK] = self._by_search(words) if self.permutations else self._by_trying(words)
            result[at : at + CHUNK] = least.T
        return Forms(result, stabiliser)

    def _by_search(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of, count = self._layout, words.shape[1]
        table = np.arange(count)
        if self.outputs:
            free = self._free_words[:, None]
            ones, size = bits.num_ones(words & free), int(np.bitwise_count(self._free_words).sum())
            words = words ^ np.where(2 * ones > size, free, np.uint64(0))
            balanced = np.flatnonzero(2 * ones == size)  # both images go on
            words = np.concatenate([words, words[:, balanced] ^ free], axis=1)
            table = np.concatenate([table, balanced])
            order = np.argsort(table, kind="stable")
            words, table = words[:, order], table[order]
        return _least_of(search(of, start(of, words, table, self.negations)), count, of.num_words)

    def _by_trying(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Without permutations there are few maps: go through all of them."""
        best, hits = words.copy(), np.zeros(words.shape[1], np.int64)
        image = words.copy()
        choices = [range(2) if self.negations else range(1)] * self.digits
        for step, _ in enumerate(product(*choices)):
            if step:  # a Gray code: one more digit is negated
                bits.negate(self._layout, image, (step & -step).bit_length() - 1)
            for map_ in range(2 if self.outputs else 1):
                candidate = image ^ self._free_words[:, None] if map_ else image
                before = bits.precedes(best, candidate)
                hits[before] = 0
                best[:, before] = candidate[:, before]
                hits += (best == candidate).all(axis=0)
        return best, hits


def _least_of(finished: list[Nodes], count: int, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """The least of each table's finished nodes, [W, K], and the weight of those that give it, [K]."""
    words = np.concatenate([nodes.words for nodes in finished], axis=1)
    table = np.concatenate([nodes.table for nodes in finished])
    weight = np.concatenate([nodes.weight for nodes in finished])
    best, hits = np.empty((num_words, count), np.uint64), np.zeros(count, np.int64)
    several = np.bincount(table, minlength=count)[table] > 1
    once = np.flatnonzero(~several)
    best[:, table[once]], hits[table[once]] = words[:, once], weight[once]
    if several.any():
        rows = np.flatnonzero(several)
        rows = rows[np.lexsort([*words[::-1, rows], table[rows]])]
        first = np.r_[True, table[rows[1:]] != table[rows[:-1]]]
        leader = rows[np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))]
        same = (words[:, rows] == words[:, leader]).all(axis=0)
        best[:, table[rows[first]]] = words[:, rows[first]]
        np.add.at(hits, table[rows[same]], weight[rows[same]])
    return best, hits
