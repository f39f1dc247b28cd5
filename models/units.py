"""Sets of exchangeable units, and what a permutation and signs of them do to a network's parameters.

Shape letters: n units of one set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from volume.errors import unknown

Arrays = Mapping[str, Any]
"""Parameters by name, as NumPy or JAX arrays."""

MAX_ELEMENTS = 10**6  # of a group that is gone through element by element


class Moved(NamedTuple):
    """What an element does to one set: the new unit i is ``signs[i]`` times the old unit ``permutation[i]``."""

    permutation: Any  # [n] int
    signs: Any  # [n] int8, +1 or -1


Element = tuple[Moved, ...]
"""One `Moved` for each set of units, in their order."""


@dataclass(frozen=True)
class UnitSymmetry:
    """One set of units that can change places, and the parameters that know them.

    Args:
        name: for messages, e.g. "hidden 1".
        size: n, the number of units.
        axes: (parameter's name, axis) of every tensor with an axis over these units: incoming weights, biases, outgoing
            weights. An axis of k n entries holds the units k times over, the unit running fastest, as the channels of
            a convolution do once its output is flattened.
        flips: names of those parameters whose slices change sign with a unit; empty: units have no sign symmetry.
            Right only where the activation is odd, exactly: sign(0) = -1 is not.

    Raises:
        TypeError, ValueError: a size that is no whole number of at least 1, no axes, an axis that is given twice, a
            flip of a parameter without axis.
    """

    name: str
    size: int
    axes: tuple[tuple[str, int], ...]
    flips: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size of {self.name!r} is {self.size!r}; give the number of its units, at least 1.")
        if isinstance(self.flips, str):
            raise TypeError(f"flips of {self.name!r} is {self.flips!r}; give a tuple of names of parameters.")
        try:
            if any(isinstance(pair, str) for pair in self.axes):  # "w1" would pass for the pair ("w", "1")
                raise TypeError
            axes = tuple((str(name), int(axis)) for name, axis in self.axes)
        except (TypeError, ValueError):
            axes = ()
        if not axes:
            raise ValueError(
                f"axes of {self.name!r} is {self.axes!r}; give pairs of a parameter's name and its axis over the "
                "units, such as (('0.weight', 1), ('0.bias', 0), ('1.weight', 0))."
            )
        if len(set(axes)) < len(axes):
            raise ValueError(f"axes of {self.name!r} names an axis twice: {axes}.")
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "flips", tuple(self.flips))
        for name in self.flips:
            if name not in self.names:
                raise ValueError(unknown(f"parameter in the flips of {self.name!r}", name, self.names))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.axes))

    @property
    def order(self) -> int:
        """n!, times 2^n with sign flips."""
        return math.factorial(self.size) << (self.size if self.flips else 0)

    def element(self, index: Any, xp: Any = np) -> Moved:
        """Return the element of this number, from 0, the identity, to ``order - 1``; ``xp`` is NumPy, or JAX's for a
        traced index."""
        position = xp.arange(self.size)
        permutation = position
        for last in range(self.size - 1, 0, -1):  # Fisher and Yates, the draws read off the number
            index, back = xp.divmod(index, last + 1)
            other = last - back
            at_other = xp.where(position == last, permutation[other], permutation)
            permutation = xp.where(position == other, permutation[last], at_other)
        bits = (index >> position) & 1 if self.flips else xp.zeros_like(position)
        return Moved(permutation, (1 - 2 * bits).astype(xp.int8))

    def generators(self) -> tuple[tuple[str, Moved], ...]:
        """Return elements, with their names, of which every other one is a product."""
        still, plus = np.arange(self.size), np.ones(self.size, np.int8)
        elements = []
        if self.size > 1:
            elements.append(("exchanging two units", Moved(np.r_[1, 0, still[2:]], plus)))
        if self.size > 2:
            elements.append(("moving every unit by one place", Moved(np.roll(still, 1), plus)))
        if self.flips:
            elements.append(
                ("changing the sign of one unit", Moved(still, np.where(still == 0, -1, 1).astype(np.int8)))
            )
        return tuple(elements)


Units = tuple[UnitSymmetry, ...]
"""The sets of one group, which share no axis."""


def order(units: Units) -> int:
    """Return |G|, exactly."""
    return math.prod(unit.order for unit in units)


def log_order(units: Units) -> float:
    """Return log |G| in nats, by lgamma: |G| itself has thousands of digits for wide networks."""
    return math.fsum(math.lgamma(unit.size + 1) + (unit.size * math.log(2) if unit.flips else 0) for unit in units)


def identity(units: Units) -> Element:
    """Return the element that leaves every unit of these sets in its place."""
    return tuple(Moved(np.arange(unit.size), np.ones(unit.size, np.int8)) for unit in units)


def act(units: Units, params: Arrays, element: Element, *, leading: int = 0) -> dict[str, Any]:
    """Return g theta, as new arrays of the same kind; as `Symmetry.act`, for sets of units."""
    moved = dict(params)
    for unit, (permutation, signs) in zip(units, element, strict=True):
        for name, axis in unit.axes:
            if name in moved:
                at = leading + axis if axis >= 0 else axis % (moved[name].ndim - leading) + leading
                moved[name] = _move(moved[name], at, permutation, signs if name in unit.flips else None)
    return moved


def _move(array: Any, axis: int, permutation: Any, signs: Any) -> Any:
    size, repeats = len(permutation), array.shape[axis] // len(permutation)
    if repeats > 1:
        permutation = (np.arange(repeats)[:, None] * size + permutation).ravel()
    moved = array[(slice(None),) * axis + (permutation,)]
    if signs is None:
        return moved
    if repeats > 1:
        signs = (np.ones((repeats, 1), np.int8) * signs).ravel()
    return moved * signs.reshape(-1, *(1,) * (array.ndim - axis - 1))
