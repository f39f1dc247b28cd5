"""How many elements of a symmetry group leave given parameters as they are: the size of their stabiliser.

Quantity: |Stab(theta)| = #{g in G : g theta = theta}, an exact integer; theta's orbit has |G| / |Stab(theta)| points.

One set of units alone: g permutes units that have equal slices of every parameter, so |Stab| = prod m_j! over groups of
m_j identical units. With sign flips units count as identical when they are equal up to sign, and every unit whose
flipped slices are all zero has two signs: a factor 2 each.

Several sets: a parameter between two of them is moved by both, and the stabiliser is no product over sets. Let U be
sets that meet every such parameter (those with the fewest elements). For each element u of U, the elements of the other
sets that complete it to one of Stab(theta) are counted set by set: with rows r_i the slices of theta at unit i, and s_i
those of u theta, they are the matchings of the rows s with the rows r up to sign; none unless the multisets agree, and
else as many as above. So only U is gone through: nothing with one hidden layer, the smaller of two, the middle one of
three.

Shape letters: n units of one set, D draws, R numbers in one unit's slices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from volume.common.programs import program

from .units import MAX_ELEMENTS, Arrays, Units, UnitSymmetry, act, identity, log_order, order

MAX_EXACT = 2**31  # 32-bit integers hold stabilisers of smaller groups, on every device


class Split(NamedTuple):
    """A symmetry as the sets whose elements are gone through, and those that are counted given them."""

    tried: tuple[int, ...]
    counted: tuple[int, ...]
    num_tried: int  # elements of the first


@lru_cache(maxsize=256)
def split(units: Units) -> Split:
    """Return the cheapest split. ValueError where it tries more than a million elements."""
    small = {place for place, unit in enumerate(units) if unit.order == 1}
    edges, loops = set(), set()
    for place, unit in enumerate(units):
        if len(unit.names) < len(unit.axes):
            loops.add(place)  # one parameter has two axes over these units, as a recurrent weight has
        for other in range(place):
            if set(unit.names) & set(units[other].names):
                edges.add((other, place))
    fixed = frozenset(small | loops)
    left = tuple(sorted(edge for edge in edges if not fixed & set(edge)))
    cover = fixed | _cover(tuple(unit.order for unit in units), left)
    tried = tuple(sorted(cover))
    number = math.prod(units[place].order for place in tried)
    if number > MAX_ELEMENTS:
        names = ", ".join(repr(units[place].name) for place in tried if units[place].order > 1)
        raise ValueError(
            f"The stabiliser takes trying all symmetries of {names}, about 10^{math.log10(number):.0f}; at most "
            f"{MAX_ELEMENTS:,} are tried: take a narrower network, or symmetry='none'."
        )
    return Split(tried, tuple(place for place in range(len(units)) if place not in cover), number)


@lru_cache(maxsize=4096)
def _cover(orders: tuple[int, ...], edges: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """Sets that meet every edge, with the least product of orders."""
    if not edges:
        return frozenset()
    covers = []
    for place in edges[0]:
        rest = tuple(edge for edge in edges if place not in edge)
        covers.append(_cover(orders, rest) | {place})
    return min(covers, key=lambda cover: math.prod(orders[place] for place in cover))


def stabiliser_size(units: Units, params: Arrays) -> int:
    """Return |Stab(theta)| as a Python integer, which has no limit; errors as in `split`."""
    arrays = {name: np.asarray(value) for name, value in params.items()}
    if order(units) < MAX_EXACT:
        sizes = stabiliser_sizes(units, {name: value[None] for name, value in arrays.items()})
        return int(np.asarray(sizes)[0])  # of JAX's an entry would be a program
    parts, total = split(units), 0
    for index in range(parts.num_tried):
        holds, factors = _completions(units, parts, arrays, _element(units, parts, index, np), np)
        total += math.prod(int(factor) for factor in factors) if holds else 0
    return total


def stabiliser_sizes(units: Units, params: Arrays) -> jax.Array:
    """Return |Stab| [D] int32 of parameters [D, *shape].

    Raises:
        ValueError: as in `split`, and for groups that 32 bits cannot count.
    """
    if order(units) >= MAX_EXACT:
        raise ValueError(
            f"The group has exp({log_order(units):.4g}) elements, too many for 32-bit counts of many networks at "
            "once: take a narrower network, or stabiliser_size, one network at a time."
        )
    split(units)
    return _sizes(units, dict(params))


@program(static_argnames="units")
def _sizes(units: Units, params: dict[str, jax.Array]) -> jax.Array:
    parts = split(units)

    def of_one(params: dict[str, jax.Array]) -> jax.Array:
        def add(index: Any, total: Any) -> Any:
            holds, factors = _completions(units, parts, params, _element(units, parts, index, jnp), jnp)
            size = jnp.prod(jnp.asarray(factors, jnp.int32), dtype=jnp.int32)  # also in a run of 64 bits
            return total + jnp.where(holds, size, 0)

        start = jnp.zeros((), jnp.int32)
        return add(0, start) if parts.num_tried == 1 else jax.lax.fori_loop(0, parts.num_tried, add, start)

    return jax.vmap(of_one)(params)


def _element(units: Units, parts: Split, index: Any, xp: Any) -> Any:
    """Return element number ``index`` of the tried sets; the others stay in place."""
    element = list(identity(units))
    for place in parts.tried:
        unit = units[place]
        if unit.order > 1:
            index, own = xp.divmod(index, unit.order)
            element[place] = unit.element(own, xp)
    return tuple(element)


def _completions(units: Units, parts: Split, params: Arrays, element: Any, xp: Any) -> tuple[Any, list[Any]]:
    """Whether any element of the counted sets completes this one to a stabilising one; and factors of their number."""
    moved = act(units, params, element) if parts.num_tried > 1 else params
    counted = [units[place] for place in parts.counted]
    of_counted = {name for unit in counted for name in unit.names}
    holds, factors = xp.asarray(True), []
    if parts.num_tried > 1:
        for place in parts.tried:
            for name in units[place].names:
                if name not in of_counted:
                    holds = holds & xp.all(moved[name] == params[name])
    for unit in counted:
        rows = _rows(unit, moved, xp)
        same = _alike(rows, rows, unit, xp)
        if parts.num_tried > 1:
            of_theta = xp.sum(_alike(rows, _rows(unit, params, xp), unit, xp), axis=1)
            holds = holds & xp.all(of_theta == xp.sum(same, axis=1))
        # The m units of one group have the ranks 1..m in it.
        rank = xp.sum(same & (np.tri(unit.size) > 0), axis=1)
        if unit.flips:
            rank = rank * xp.where(xp.all(rows[0] == 0, axis=1), 2, 1)
        factors += list(rank)
    return holds, factors


def _rows(unit: UnitSymmetry, params: Arrays, xp: Any) -> tuple[Any, Any]:
    """The slices of every unit, [n, R]: of the parameters that change sign with it, and of the others."""
    rows: tuple[list[Any], list[Any]] = ([], [])
    for name, axis in unit.axes:
        array = xp.moveaxis(params[name], axis, 0)
        array = xp.moveaxis(array.reshape(array.shape[0] // unit.size, unit.size, -1), 1, 0)
        rows[name not in unit.flips].append(array.reshape(unit.size, -1))
    flipped, plain = (xp.concatenate([xp.zeros((unit.size, 0), np.float32), *part], axis=1) for part in rows)
    return flipped, plain


def _alike(first: tuple[Any, Any], second: tuple[Any, Any], unit: UnitSymmetry, xp: Any) -> Any:
    """Whether unit i of the first is unit j of the second, up to sign where units have signs, [n, n]."""
    (flipped_a, plain_a), (flipped_b, plain_b) = first, second
    equal = xp.all(flipped_a[:, None] == flipped_b[None], axis=2)
    if unit.flips:
        equal = equal | xp.all(flipped_a[:, None] == -flipped_b[None], axis=2)
    return equal & xp.all(plain_a[:, None] == plain_b[None], axis=2)


def unresolved(units: Units, params: Arrays) -> tuple[str, ...]:
    """Return names of the sets of units that these parameters do not tell apart; () proves that only the identity fixes
    them.

    A set is told apart when its units differ, also up to sign, in parameters that otherwise belong to sets told apart
    before: in a network layer after layer, from either end. No element is tried, so the sets may be of any size.
    """
    left = {unit.name: unit for unit in units if unit.order > 1}
    while True:
        resolved = [name for name, unit in left.items() if _told_apart(unit, left, params)]
        if not resolved:
            return tuple(left)
        for name in resolved:
            del left[name]


def _told_apart(unit: UnitSymmetry, left: Mapping[str, UnitSymmetry], params: Arrays) -> bool:
    others = {name for other in left.values() if other != unit for name in other.names}
    twice = {name for name in unit.names if sum(name == known for known, _ in unit.axes) > 1}
    usable = {name for name in unit.names if name not in others | twice}
    if not usable:
        return False
    axes = tuple(axis for axis in unit.axes if axis[0] in usable)
    known = UnitSymmetry(unit.name, unit.size, axes, tuple(name for name in unit.flips if name in usable))
    flipped, plain = _rows(known, {name: np.asarray(params[name]) for name in usable}, np)
    alike = _alike((flipped, plain), (flipped, plain), known, np)
    signed = not unit.flips or bool((flipped != 0).any(axis=1).all())
    return signed and int(alike.sum()) == unit.size
