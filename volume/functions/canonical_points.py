"""Functions on a list of points up to permuting and negating the numbers in a point, and negating the output.

What `volume.TableGroup` does for all inputs of n digits, for points that the maps send to each other: a few
hundred maps at most, gone through one by one.

Shape letters: K tables, N points, W words of a table, n numbers in one point, G maps of the points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations as all_permutations
from itertools import product

import numpy as np

from volume.functions.canonical import Forms, Relabellings
from volume.functions.canonical_bits import precedes
from volume.functions.domains import Points
from volume.functions.tables import chunks, pack, unpack

MAX_ORDER = 1000  # maps, each of which costs a pass over all tables


@dataclass(frozen=True)
class PointGroup(Relabellings):
    """A group of maps of tables on a `volume.Points` domain; fields as in `volume.TableGroup`.

    Raises:
        ValueError: points that are no lists of numbers, a map that sends one to a point that is not there, too many
            maps, or fixed inputs that the maps send to inputs that are not.
    """

    points: Points
    permutations: bool = True
    negations: bool = False
    outputs: bool = False
    fixed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", tuple(int(i) for i in self.fixed))
        if len(self.points.input_shape) != 1:
            raise ValueError(f"Maps of inputs move the numbers of a flat point; {self.points!r} has others.")
        if self.order > MAX_ORDER:
            raise ValueError(
                f"{self.order:,} maps of points of {self.points.input_shape[0]} numbers are more than the "
                f"{MAX_ORDER:,} that are gone through one by one: use volume.BooleanCube where all inputs are meant."
            )
        moved = self._moved  # refuses points that are not closed under the maps
        if self.fixed and set(moved[:, list(self.fixed)].ravel().tolist()) != set(self.fixed):
            raise ValueError(f"The fixed inputs {self.fixed} are sent to others: fix all of an orbit, or none.")

    @property
    def num_digits(self) -> int:
        return self.points.input_shape[0]

    @cached_property
    def _moved(self) -> np.ndarray:
        """The point that takes each point's place, [G, N]."""
        size, rows = self.points.input_shape[0], self.points.inputs
        signs = list(product((1, -1), repeat=size)) if self.negations else [(1,) * size]
        orders = list(all_permutations(range(size))) if self.permutations else [tuple(range(size))]
        try:
            return np.stack([self.points.index_of(rows[:, order] * sign) for order in orders for sign in signs])
        except ValueError as error:
            raise ValueError(f"The points are not closed under these maps of inputs. {error}") from None

    @cached_property
    def _free(self) -> np.ndarray:
        free = np.ones(self.points.num_inputs, np.uint8)
        free[list(self.fixed)] = 0
        return free

    def images(self, table: np.ndarray) -> np.ndarray:
        decisions = unpack(np.asarray(table, np.uint64)[None], self.points.num_inputs, 1)[0][self._moved]
        return pack(np.concatenate([decisions, decisions ^ self._free]) if self.outputs else decisions, 1)

    def forms(self, keys: np.ndarray) -> Forms:
        """Return the least image, and the size of the stabiliser, of tables [K, W]."""
        keys = np.asarray(keys, np.uint64)
        best, stabiliser = keys.copy(), np.zeros(len(keys), np.int64)
        for rows in chunks(len(keys), 2 * self.points.num_inputs):
            decisions = unpack(keys[rows], self.points.num_inputs, 1)
            for moved in self._moved:
                image = decisions[:, moved]
                for candidate in (image, image ^ self._free) if self.outputs else (image,):
                    packed = pack(candidate, 1)
                    stabiliser[rows] += (packed == keys[rows]).all(axis=1)
                    before = precedes(best[rows].T, packed.T)
                    best[rows] = np.where(before[:, None], packed, best[rows])
        return Forms(best, stabiliser)
