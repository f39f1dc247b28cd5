"""Bit operations on many truth tables at once: exchange two binary inputs, negate one, count ones block by block.

A table of n digits is N = 2^n bits in W = ceil(N / 64) words, the first input at the most significant bit
(`volume.functions.tables`). Arrays are word by word, uint64 [W, K], so that every operation runs along the tables.
Digit 0 is the first, most significant one: it moves slowest.

Shape letters: K tables, W words of a table, n binary digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WORD = 64
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
# Alternating runs of 1, 2, 4, ... zeros and ones, ones lowest: the digits inside a word, from the last one up.
_RUNS = tuple(
    np.uint64(value)
    for value in (
        0x5555555555555555,
        0x3333333333333333,
        0x0F0F0F0F0F0F0F0F,
        0x00FF00FF00FF00FF,
        0x0000FFFF0000FFFF,
        0x00000000FFFFFFFF,
    )
)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, as in Steele, Lea and Flood (2014), SplitMix
_MIX = np.uint64(0xBF58476D1CE4E5B9)  # the multiplier of SplitMix's finaliser
HASH_BITS = 58
_HASH = np.uint64((1 << HASH_BITS) - 1)  # the six bits above are left for ranks


@dataclass(frozen=True)
class Layout:
    """Where the bits of a table of n digits stand."""

    digits: int

    @property
    def num_words(self) -> int:
        return max(1, (1 << self.digits) // WORD)

    @property
    def used(self) -> np.uint64:
        """The bits of a word that hold inputs; below 6 digits the others are 0."""
        size = 1 << self.digits
        return ALL if size >= WORD else np.uint64(((1 << size) - 1) << (WORD - size))

    def stride(self, digit: int) -> int:
        """Return the distance of two inputs that differ in this digit alone."""
        return 1 << (self.digits - 1 - digit)

    def ones(self, digit: int) -> np.uint64:
        """Return the bits of a word whose input has this digit 1; for a digit that varies inside words only."""
        return _RUNS[self.digits - 1 - digit] & self.used

    def word_has_one(self, digit: int, word: int) -> bool:
        """Say whether the inputs of this word have digit 1; for a digit that is constant inside words."""
        return bool(word & (self.stride(digit) // WORD))

    def inside(self, digit: int) -> bool:
        return self.stride(digit) < WORD


@lru_cache
def layout(digits: int) -> Layout:
    return Layout(digits)


def exchange(of: Layout, words: np.ndarray, first: int, second: int, where: np.ndarray | None = None) -> None:
    """Exchange two digits, ``first < second``, in place: of all tables, or of those whose mask [K] is all ones."""
    near = of.stride(second)
    if of.inside(first):
        delta = np.uint64(of.stride(first) - near)
        mask = of.ones(second) & ~of.ones(first)
        for word in words:
            changed = ((word << delta) ^ word) & mask
            if where is not None:
                changed &= where
            word ^= changed
            changed >>= delta
            word ^= changed
        return
    far = of.stride(first) // WORD
    for low in range(of.num_words):
        if low & far or not (of.inside(second) or of.word_has_one(second, low)):
            continue
        if of.inside(second):
            high, shift, mask = low + far, np.uint64(near), ~of.ones(second)
        else:
            high, shift, mask = low + far - near // WORD, np.uint64(0), ALL
        changed = ((words[low] << shift) ^ words[high]) & mask
        if where is not None:
            changed &= where
        words[high] ^= changed
        changed >>= shift
        words[low] ^= changed


def negate(of: Layout, words: np.ndarray, digit: int, where: np.ndarray | None = None) -> None:
    """Exchange the two values of a digit, in place: of all tables, or of those whose mask [K] is all ones."""
    if of.inside(digit):
        shift, ones = np.uint64(of.stride(digit)), of.ones(digit)
        for word in words:
            changed = ((word >> shift) ^ word) & ones
            if where is not None:
                changed &= where
            word ^= changed
            changed <<= shift
            word ^= changed
        return
    step = of.stride(digit) // WORD
    for low in range(of.num_words):
        if not low & step:
            changed = words[low] ^ words[low + step]
            if where is not None:
                changed &= where
            words[low] ^= changed
            words[low + step] ^= changed


def half(of: Layout, words: np.ndarray, digit: int, value: int) -> list[np.ndarray]:
    """Return the words with only the inputs kept whose digit has this value, the others 0."""
    if of.inside(digit):
        ones = of.ones(digit)
        kept = ones if value else of.used & ~ones
        return [word & kept for word in words]
    zero = np.zeros_like(words[0])
    return [word if of.word_has_one(digit, w) == bool(value) else zero for w, word in enumerate(words)]


def signature(of: Layout, words: list[np.ndarray], first: int) -> np.ndarray:
    """Return a hash [K] of the numbers of ones in the 2^first blocks that the first digits make, in their order.

    Equal counts give equal hashes; the reverse fails by chance alone.
    """
    block = 1 << (of.digits - first)
    total = np.zeros(words[0].shape, np.uint64)
    if block >= WORD:
        each = block // WORD
        for start in range(0, len(words), each):
            ones = sum(np.bitwise_count(word).astype(np.uint64) for word in words[start : start + each])
            total = mix(total + ones)
        return total
    for word in words:
        counts, width = word, 1
        while width < block:  # neighbouring fields are added up until a field is a block
            run = _RUNS[width.bit_length() - 1]
            counts = (counts & run) + ((counts >> np.uint64(width)) & run)
            width *= 2
        total = mix(total + counts)
    return total


def mix(values: np.ndarray) -> np.ndarray:
    """Return a hash [K] below 2^58 of each number."""
    mixed = (values + _ODD) * _ODD
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX
    mixed ^= mixed >> np.uint64(32)
    mixed &= _HASH
    return mixed


def num_ones(words: np.ndarray) -> np.ndarray:
    """Count the bits set, int64 [K]."""
    return np.bitwise_count(words).sum(axis=0, dtype=np.int64)


def as_mask(condition: np.ndarray) -> np.ndarray:
    """Return Booleans [K] as words of all zeros or all ones."""
    return np.negative(condition.astype(np.uint64))


def precedes(words: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Say whether ``other`` comes before ``words`` in the order of labels, [K] bool."""
    before = np.zeros(words.shape[1], bool)
    for mine, theirs in zip(words[::-1], other[::-1], strict=True):
        before = (theirs < mine) | ((theirs == mine) & before)
    return before
