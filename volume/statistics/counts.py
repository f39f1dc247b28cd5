"""Hits of every class in every independent unit: the sparse matrix that all counted answers are computed from.

Direct's units are blocks of draws. An enumeration (:class:`volume.Exact`) is one unit that holds every parameterisation
once: its counts are ``complete``, and nothing about them is left to chance.

Shape letters: B independent units, K classes seen, R non-zero entries, W 64-bit words of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

MIN_UNITS_TO_SPLIT = 3  # with fewer, no unit can be spared for choosing: two are needed to see how units vary


class Tally(NamedTuple):
    """Column sums of the matrix, one entry per class; all an interval needs."""

    count: np.ndarray  # [K] int64, hits y
    square: np.ndarray  # [K] int64, sum over units of k_b^2; 0 for complete counts, which do not vary
    largest: np.ndarray  # [K] int32 (complete: int64), the largest k_b
    units: np.ndarray  # [K] int64, units hit


class Units:
    """How the draws behind counts lie in independent units: what an interval needs beside the hits of its class."""

    num_units: int  # B
    unit_size: int  # draws in one unit
    independent: bool  # True: the draws inside a unit are iid too, so hits are binomial
    nonfinite: np.ndarray  # [B] int64 draws of each unit whose network gave NaN or inf; in no class
    complete: bool  # True: one unit, in which every parameterisation of a finite prior stands once
    # |G| where a draw brings as many hits as symmetries leave it as it is (volume.queries.quotient); else each draw is
    # one hit
    copies: int

    @property
    def num_draws(self) -> int:
        return self.num_units * self.unit_size

    @property
    def num_possible(self) -> int:
        """Hits there would be if all draws fell in one class, with all they can bring: volumes are hits over this."""
        return self.num_draws * self.copies

    @property
    def pilot_units(self) -> int:
        """Units, the first tenth, that choose which open-ended classes are shown; 0 when there are too few to split."""
        return max(1, self.num_units // 10) if self.num_units >= MIN_UNITS_TO_SPLIT else 0

    @cached_property
    def even(self) -> bool:
        """Whether every unit has the same number of hits over all classes, so that shares are volumes."""
        return self.copies == 1 and not self.complete and not self.nonfinite.any()


@dataclass(frozen=True)
class Counts(Units):
    """A units x classes matrix of hits, stored class by class (compressed columns).

    Class c was hit ``hits[offsets[c]:offsets[c+1]]`` times in units ``unit[offsets[c]:offsets[c+1]]`` (ascending).
    Classes are sorted by key. Lossless: any coarser classification, and its intervals, follow from it.
    """

    keys: np.ndarray  # [K, W] uint64: packed truth tables (volume.functions.tables), or a [K, 1] class index
    offsets: np.ndarray  # [K + 1] int64
    unit: np.ndarray  # [R] int32
    hits: np.ndarray  # [R] int32; int64 in complete counts
    num_units: int
    unit_size: int
    independent: bool
    nonfinite: np.ndarray
    complete: bool = False
    copies: int = 1

    def __post_init__(self) -> None:
        if self.copies > 1 and (self.independent or self.complete):
            raise ValueError(
                f"A draw brings up to {self.copies} hits, which are not independent, nor complete: give "
                "independent=False, complete=False."
            )
        if self.complete and (self.num_units != 1 or self.independent):
            raise ValueError(
                f"Complete counts with {self.num_units} units, independent={self.independent}: give one unit that "
                "holds every parameterisation, independent=False."
            )

    def check(self) -> None:
        """Raise ValueError where no run can have made these counts, as when a file was forged."""
        sizes = (self.num_units, self.unit_size, self.copies)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"{self.num_units!r} units of {self.unit_size!r} draws, {self.copies!r} hits each")
        if len(self.nonfinite) != self.num_units or not _within(self.nonfinite, 0, self.unit_size):
            raise ValueError("draws that are not finite: fewer than none, or more than there are")
        if not _within(self.unit, 0, self.num_units - 1):
            raise ValueError(f"units outside 0 to {self.num_units - 1:,}")
        if not _within(self.hits, 1, self.unit_size * self.copies):
            raise ValueError(f"hits below 1, or more than the {self.unit_size * self.copies:,} of a unit")
        if len(self.keys) and not self._sorted:
            raise ValueError("classes that are out of order, or stand there twice")
        hits = np.bincount(self.unit, self.hits, minlength=self.num_units)  # exact below 2^53
        room = (self.unit_size - self.nonfinite) * self.copies
        if self.complete:  # whose hits may exceed that: halves, as whole numbers
            high, low = (int(half.sum(dtype=np.int64)) for half in (self.hits >> 32, self.hits & 0xFFFFFFFF))
            hits, room = np.array([(high << 32) + low], object), room.astype(object)
        if (hits > room).any():
            raise ValueError("more hits in a unit than it has draws")

    @property
    def _sorted(self) -> bool:
        """Whether keys ascend, and units within each class, none of which is empty."""
        later, earlier = self.keys[1:], self.keys[:-1]
        word = (later != earlier).argmax(axis=1)  # the first that differs; 0 where none does, and then none is larger
        rows = np.arange(len(word))
        inside = np.ones(len(self.unit), bool)
        inside[self.offsets[:-1]] = False
        return bool(
            (np.diff(self.offsets) > 0).all()
            and (later[rows, word] > earlier[rows, word]).all()
            and (np.diff(self.unit, prepend=-1)[inside] > 0).all()
        )

    @property
    def num_classes(self) -> int:
        return len(self.keys)

    def tally(self, start: int = 0, stop: int | None = None) -> Tally:
        """Column sums over units ``start <= b < stop`` (default: all)."""
        if not self.num_classes:
            empty = np.zeros(0, np.int64)
            return Tally(empty, empty, empty, empty)
        first = self.offsets[:-1]  # no column is empty, as reduceat requires
        stop = self.num_units if stop is None else stop
        if start == 0 and stop >= self.num_units:
            hits, units = self.hits, np.diff(self.offsets)  # no stored entry is zero
        else:
            inside = (self.unit >= start) & (self.unit < stop)
            hits, units = np.where(inside, self.hits, 0), np.add.reduceat(inside, first, dtype=np.int64)
        # Sums are made in int64 without a copy of the hits: there may be tens of millions.
        count = np.add.reduceat(hits, first, dtype=np.int64)
        return Tally(
            count,
            # Counts of an enumeration may reach 2^62, whose square no integer here holds, and nobody asks for it.
            np.zeros_like(count) if self.complete else np.add.reduceat(np.square(hits, dtype=np.int64), first),
            np.maximum.reduceat(hits, first),
            units,
        )

    def find(self, key: np.ndarray) -> int | None:
        """Index of the class with this key [W], or None when it was never drawn."""
        low, high = 0, self.num_classes
        for word in range(self.keys.shape[1]):
            column = self.keys[low:high, word]
            low, high = (
                low + int(np.searchsorted(column, key[word], "left")),
                low + int(np.searchsorted(column, key[word], "right")),
            )
        return low if high > low else None

    def often(self, least: int) -> np.ndarray:
        """Return keys [K, W] of the classes with ``least`` hits or more."""
        return self.keys[self.tally().count >= least]

    def regroup(self, group: np.ndarray, num_groups: int) -> Counts:
        """Merge classes: class c goes to ``group[c]`` in [0, num_groups). The keys are then the groups hit, [K', 1]."""
        groups = np.repeat(np.asarray(group, np.int64), np.diff(self.offsets))
        units: dict[str, Any] = {name: getattr(self, name) for name in Units.__annotations__}
        return Counts.from_cells(groups, self.unit, self.hits, num_classes=num_groups, **units)

    @staticmethod
    def from_cells(
        classes: np.ndarray,
        unit: np.ndarray,
        hits: np.ndarray,
        *,
        num_classes: int,
        num_units: int,
        unit_size: int,
        independent: bool,
        nonfinite: np.ndarray,
        complete: bool = False,
        copies: int = 1,
    ) -> Counts:
        """From (class, unit, hits) triples in any order; equal cells add up, classes never hit are left out."""
        classes = np.asarray(classes, np.int64)
        if complete:
            return Counts.of_all(classes.astype(np.uint64)[:, None], hits, num_points=unit_size, nonfinite=nonfinite)
        numbers = None
        if num_classes * num_units >= 1 << 62:  # a cell number would overflow: number the classes seen instead
            numbers, classes = np.unique(classes, return_inverse=True)
            num_classes = len(numbers)
        cell = classes * num_units + unit
        if num_classes * num_units <= max(4 * len(cell), 1 << 20):
            total = np.bincount(cell, weights=hits, minlength=1)  # exact: below 2^53
            cell = np.flatnonzero(total)
            hits = total[cell]
        else:
            cell, which = np.unique(cell, return_inverse=True)
            hits = np.bincount(which, weights=hits)
        classes, unit = np.divmod(cell, num_units)
        keys, starts = np.unique(classes, return_index=True)
        if numbers is not None:
            keys = numbers[keys]
        return Counts(
            keys=keys.astype(np.uint64)[:, None],
            offsets=np.r_[starts, len(cell)].astype(np.int64),
            unit=unit.astype(np.int32),
            hits=hits.astype(np.int32),
            num_units=num_units,
            unit_size=unit_size,
            independent=independent,
            nonfinite=np.asarray(nonfinite, np.int64),
            copies=copies,
        )

    @staticmethod
    def of_all(keys: np.ndarray, hits: np.ndarray, *, num_points: int, nonfinite: np.ndarray | int) -> Counts:
        """Complete counts: ``hits`` [R] of all ``num_points`` parameterisations under ``keys`` [R, W], in any order.

        Equal keys add up, exactly, and keys without hits are left out.
        """
        keys, hits = np.asarray(keys, np.uint64), np.asarray(hits, np.int64)
        keys, hits = keys[hits > 0], hits[hits > 0]
        order = np.lexsort(keys.T[::-1])
        keys, hits = keys[order], hits[order]
        first = np.flatnonzero(changes(keys))
        return Counts(
            keys=keys[first],
            offsets=np.arange(len(first) + 1),
            unit=np.zeros(len(first), np.int32),
            hits=np.add.reduceat(hits, first) if len(first) else hits,
            num_units=1,
            unit_size=num_points,
            independent=False,
            nonfinite=np.asarray(nonfinite, np.int64).reshape(1),
            complete=True,
        )

    @staticmethod
    def from_dense(matrix: np.ndarray, *, unit_size: int, independent: bool, nonfinite: np.ndarray) -> Counts:
        """From a dense [B, K] matrix of hits."""
        unit, classes = np.nonzero(matrix)
        num_units, num_classes = np.shape(matrix)
        return Counts.from_cells(
            classes,
            unit,
            np.asarray(matrix)[unit, classes],
            num_classes=num_classes,
            num_units=num_units,
            unit_size=unit_size,
            independent=independent,
            nonfinite=nonfinite,
        )


def _within(values: np.ndarray, low: int, high: int) -> bool:
    return not len(values) or bool(values.min() >= low and values.max() <= high)


def changes(keys: np.ndarray) -> np.ndarray:
    """Mark the rows [R] of sorted keys [R, W] that differ from the one before; the first does."""
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    return new


def positions(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return positions [K] of keys [K, W] in the sorted, distinct keys ``table`` [K', W]; -1 for those that are not
    there."""
    if not len(keys) or not len(table):
        return np.full(len(keys), -1)
    sorted_, wanted = _comparable(table), _comparable(keys)
    at = np.minimum(np.searchsorted(sorted_, wanted), len(table) - 1)
    return np.where((table[at] == keys).all(axis=1), at, -1)


def _comparable(keys: np.ndarray) -> np.ndarray:
    """One sortable value per key, in key order: the number itself, or its big-endian bytes."""
    if keys.shape[1] == 1:
        return np.ascontiguousarray(keys[:, 0])
    return np.ascontiguousarray(keys.astype(">u8")).view(f"S{8 * keys.shape[1]}")[:, 0]
