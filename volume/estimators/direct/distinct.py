"""About how many different functions were seen, while they are drawn: counted in three maps of a million cells.

A key marks the cell that its hash names. Of m cells K keys leave m exp(-K/m) unmarked, and -m log(unmarked / m)
estimates K (Whang, Vander-Zanden and Taylor 1990, ACM TODS 15, 208-229): a handful of classes exactly, thousands
within a tenth of a per cent. A map that fills up says nothing, so that beside the map of all keys there are those of
one key in 64 and of one in 4,096 (Estan, Varghese and Fisk 2006, IEEE/ACM ToN 14, 925-937).

Shape letters: R rows, W 64-bit words of a key.
"""

from __future__ import annotations

import numpy as np

CELL_BITS = 20  # a megabyte a map
SHARES = (0, 6, 12)  # of the keys, 2^-bits
CHUNK = 1 << 14  # keys at a time: what a processor's cache holds
FULLEST = 0.98  # of its cells: a map that is fuller gives way to the next; at 4 million keys


class DistinctKeys:
    """The maps, and the estimate from them."""

    def __init__(self) -> None:
        self._maps = [np.zeros(1 << CELL_BITS, bool) for _ in SHARES]

    def add(self, keys: list[np.ndarray]) -> None:
        """Take in keys, one uint64 array [R] a word; those that came before change nothing."""
        for start in range(0, len(keys[0]), CHUNK):
            mixed = _mix([word[start : start + CHUNK] for word in keys])
            for marks, bits in zip(self._maps, SHARES, strict=True):
                if bits:
                    mixed = mixed[mixed & np.uint64((1 << bits) - 1) == 0]
                marks[mixed >> np.uint64(64 - CELL_BITS)] = True

    def estimate(self) -> int:
        """Return about how many different keys came: within .3 % up to 4 million, and within 2 % up to 10^10."""
        size = 1 << CELL_BITS
        marked = [int(np.count_nonzero(marks)) for marks in self._maps]
        level = next((at for at, count in enumerate(marked) if count <= FULLEST * size), len(marked) - 1)
        return round(-size * np.log1p(-min(marked[level], size - 1) / size)) << SHARES[level]


def _mix(keys: list[np.ndarray]) -> np.ndarray:
    """Hash each key [R] to 64 bits, all of them good: tables of few inputs vary in their highest bits alone."""
    state = keys[0]
    for place, word in enumerate(keys[1:], 1):
        state = state ^ (word << np.uint64(7 * place % 64) | word >> np.uint64(-7 * place % 64))
    for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
        state = (state ^ state >> np.uint64(32)) * np.uint64(factor)
    return state ^ state >> np.uint64(32)
