"""Whole numbers of parameterisations per class, collected on the host block by block.

Shape letters: D networks of one block, K classes, R keys, W 64-bit words of a key.
"""

from __future__ import annotations

import numpy as np

from volume.common.machine import machine_memory
from volume.statistics.counts import changes

FLOAT_BITS = 53  # sums of whole numbers in float64 are exact below 2^53
_LIMB = 21  # bits of a part of a weight: 2^21 times the networks of a block stay below 2^53


class DenseCounter:
    """Counts by class number; the last one is that of networks with NaN or inf."""

    def __init__(self, num_classes: int):
        self._hits = np.zeros(num_classes + 1, np.int64)

    def add(self, index: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Add networks of class numbers ``index`` [D], each standing for ``weight`` [D] int64 of them (None: 1)."""
        size = len(self._hits)
        if weight is None:
            self._hits += np.bincount(index, minlength=size)
        elif int(weight.max(initial=0)) * len(weight) < 1 << FLOAT_BITS:
            self._hits += np.bincount(index, weight, size).astype(np.int64)
        else:
            for shift in range(0, 63, _LIMB):
                limb = (weight >> shift) & ((1 << _LIMB) - 1)
                self._hits += np.bincount(index, limb, size).astype(np.int64) << shift

    @property
    def num_classes(self) -> int:
        return int(np.count_nonzero(self._hits[:-1]))

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Give class numbers [R, 1], hits [R] and the networks with NaN or inf."""
        seen = np.flatnonzero(self._hits[:-1])
        return seen.astype(np.uint64)[:, None], self._hits[seen], int(self._hits[-1])

    def lose(self, networks: int) -> None:
        """Add networks with NaN or inf."""
        self._hits[-1] += networks

    def joined(self, other: DenseCounter) -> DenseCounter:
        """Add the counts of both."""
        both = DenseCounter(len(self._hits) - 1)
        both._hits = self._hits + other._hits
        return both


class SortedCounter:
    """Counts by packed truth table: sorted runs of distinct keys, merged as they grow alike."""

    def __init__(self, num_words: int, beside: int = 0):
        self._words, self._beside = num_words, beside  # keys that another counter holds at the same time
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []  # keys [R, W], hits [R]; sizes fall by half or more
        self._nonfinite = 0

    def add(self, keys: np.ndarray, finite: np.ndarray | None, weight: np.ndarray | None = None) -> None:
        """Add networks of keys [D, W]; those that are not ``finite`` [D] (None: all are) count in no class.

        Raises:
            MemoryError: when the distinct keys would no longer fit in memory.
        """
        weight = np.ones(len(keys), np.int64) if weight is None else weight
        if finite is not None and not finite.all():
            self._nonfinite += int(weight[~finite].sum())
            keys, weight = keys[finite], weight[finite]
        run = merged(keys, weight)
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            keys, hits = self._runs.pop()
            run = merged(np.concatenate([keys, run[0]]), np.concatenate([hits, run[1]]))
        self._runs.append(run)
        _check_memory(self.num_classes + self._beside, self._words)

    @property
    def num_classes(self) -> int:
        """An upper bound until the end: runs that have not met may hold the same keys."""
        return sum(len(keys) for keys, _ in self._runs)

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Give keys [R, W] in order, hits [R] and the networks with NaN or inf."""
        if not self._runs:
            return np.zeros((0, self._words), np.uint64), np.zeros(0, np.int64), self._nonfinite
        keys, hits = (np.concatenate(part) for part in zip(*self._runs, strict=True))
        self._runs = [merged(keys, hits)]
        return *self._runs[0], self._nonfinite

    def lose(self, networks: int) -> None:
        """Add networks with NaN or inf."""
        self._nonfinite += networks

    def joined(self, other: SortedCounter) -> SortedCounter:
        """Add the counts of both; one that is empty gives the other itself."""
        for one, rest in ((self, other), (other, self)):
            if not rest._runs and not rest._nonfinite:
                return one
        both = SortedCounter(self._words)
        both._nonfinite = self._nonfinite + other._nonfinite
        keys, hits, _ = other.result()
        both._runs = self._runs.copy()
        both.add(keys, None, hits)
        return both


def merged(keys: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give distinct keys [R, W] in ascending order, and the exact sums of their weights [R]; any integer keys."""
    if not len(keys):
        return keys, weight
    # Stable: runs that are sorted already are merged in linear time.
    order = np.argsort(keys[:, 0], kind="stable") if keys.shape[1] == 1 else np.lexsort(keys.T[::-1])
    keys, weight = keys[order], weight[order]
    first = np.flatnonzero(changes(keys))
    return keys[first], np.add.reduceat(weight, first)


def _check_memory(num_keys: int, num_words: int) -> None:
    memory = machine_memory()
    needed = num_keys * 8 * (num_words + 1) * 4  # the runs, their copy while they are merged, and the order
    if memory is not None and needed > memory:
        raise MemoryError(
            f"More than {num_keys:,} different truth tables need {needed / 2**30:.0f} GiB and this machine has "
            f"{memory / 2**30:.0f}: ask a question with fewer classes, such as volume.Ones(), or volume.Fits(...)."
        )
