"""The finite list of probe inputs on which a network's decisions are its function.

Shape letters: N inputs, m rows given by the user.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from volume.common.content import ByContent, digest, frozen
from volume.errors import unknown

MAX_CUBE = 24  # 2**24 decisions are 2 MiB for each draw; beyond, not even one step of draws fits in memory


@runtime_checkable
class Domain(Hashable, Protocol):
    """What a query needs of a domain. Implementations are frozen, and equal and hashed by content."""

    @property
    def inputs(self) -> np.ndarray:
        """The inputs, float64 [N, *input_shape], read-only."""
        ...

    @property
    def num_inputs(self) -> int: ...

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    def index_of(self, rows: ArrayLike) -> np.ndarray:
        """Return positions [m] of rows [m, *input_shape]; ValueError names the first row that is not in the domain."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record from which :func:`from_description` makes an equal domain."""
        ...


def as_inputs(inputs: ArrayLike, what: str) -> np.ndarray:
    """Return inputs as a read-only float64 array [m, ...]; ValueError when it is none, is empty or holds NaN or inf."""
    try:
        array = np.asarray(inputs)
        if array.dtype.kind not in "biufV":  # "V": the extension floats such as bfloat16
            raise ValueError(f"dtype {array.dtype}")
        array = frozen(array, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be a rectangular array of real numbers, one row per input ({error}).") from None
    if array.ndim < 2:
        raise ValueError(
            f"{what} must have shape [number of inputs, ...]; got shape {array.shape}: "
            "write one input as [[...]], scalar inputs as a column."
        )
    if not array.size:
        raise ValueError(f"{what} must hold at least one input; got an empty array of shape {array.shape}.")
    if not np.isfinite(array).all():
        bad = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise ValueError(f"{what} must be finite; row {bad} (counted from 0) holds NaN or inf: drop or mend it.")
    return array


def row_keys(inputs: np.ndarray) -> list[bytes]:
    """Return one bytes object per row of an array from :func:`as_inputs`, equal exactly where the rows are."""
    return [row.tobytes() for row in inputs]


def first_rows(inputs: np.ndarray) -> np.ndarray:
    """Return positions [m] of the first row that is equal to each row of an array from :func:`as_inputs`."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(key, position) for position, key in enumerate(row_keys(inputs))], np.int64)


def _rows_for(domain: Domain, rows: ArrayLike) -> np.ndarray:
    array = as_inputs(rows, "The rows")
    if array.shape[1:] != domain.input_shape:
        raise ValueError(
            f"The rows have shape {array.shape[1:]} each, but one input of {domain} has shape {domain.input_shape}."
        )
    return array


def _not_a_row(domain: Domain, rows: np.ndarray, position: int) -> ValueError:
    shown = np.array2string(rows[position], threshold=16, edgeitems=3, separator=", ").replace("\n", "")
    return ValueError(
        f"Row {position} (counted from 0), {shown}, is not among the inputs of {domain}; "
        "rows are compared exactly: take them from domain.inputs."
    )


@dataclass(frozen=True)
class BooleanCube:
    """All N = 2^n inputs of n binary digits.

    Input i is i in binary, first digit (input column) most significant: n = 2 gives 00, 01, 10, 11.

    Args:
        n: number of binary digits, 1 to 24.
        coding: the numbers that stand for the digits 0 and 1. It moves volumes: state it.
    """

    n: int
    coding: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)):
            raise TypeError(f"BooleanCube needs a whole number of binary inputs; got {self.n!r}.")
        if not 1 <= self.n <= MAX_CUBE:
            raise ValueError(
                f"BooleanCube(n) has 2**n inputs, each decided for every draw, so n must lie in 1..{MAX_CUBE}; "
                f"got {self.n}. For more digits probe a sample of inputs with Points."
            )
        try:
            zero, one = (float(value) for value in self.coding)
        except (TypeError, ValueError):
            raise ValueError(f"coding must be two numbers, such as (0, 1) or (-1, 1); got {self.coding!r}.") from None
        if zero == one or not (math.isfinite(zero) and math.isfinite(one)):
            raise ValueError(f"coding must be two distinct finite numbers; got {self.coding!r}.")
        object.__setattr__(self, "n", int(self.n))
        object.__setattr__(self, "coding", (zero + 0.0, one + 0.0))  # + 0.0: no negative zero

    @property
    def num_inputs(self) -> int:
        return 2**self.n

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def inputs(self) -> np.ndarray:
        return self._inputs

    @cached_property
    def _inputs(self) -> np.ndarray:
        digits = (np.arange(2**self.n)[:, None] >> np.arange(self.n - 1, -1, -1)) & 1
        array = np.array(self.coding)[digits]
        array.setflags(write=False)
        return array

    def index_of(self, rows: ArrayLike) -> np.ndarray:
        array = _rows_for(self, rows)
        ones = array == self.coding[1]
        known = (ones | (array == self.coding[0])).all(axis=1)
        if not known.all():
            raise _not_a_row(self, array, int(np.argmin(known)))
        return ones @ (1 << np.arange(self.n - 1, -1, -1))

    def describe(self) -> dict[str, Any]:
        return {"name": "boolean-cube", "n": self.n, "coding": list(self.coding)}

    def __str__(self) -> str:
        return f"BooleanCube({self.n}, coding=({self.coding[0]:g}, {self.coding[1]:g}))"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Points(ByContent):
    """Any finite list of distinct inputs [N, ...], in the order given; stored as float64.

    Raises:
        ValueError: for an empty or ragged array, NaN or inf, and for a row that occurs twice.
    """

    inputs: np.ndarray

    def __init__(self, inputs: ArrayLike) -> None:
        array = as_inputs(inputs, "Points")
        object.__setattr__(self, "inputs", array)
        first = first_rows(array)
        if len(repeats := np.flatnonzero(first != np.arange(len(array)))):
            raise ValueError(
                f"Row {repeats[0]} of Points repeats row {first[repeats[0]]} (counted from 0), and one input has one "
                "decision: give each input once."
            )

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {key: position for position, key in enumerate(row_keys(self.inputs))}

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inputs.shape[1:]

    def index_of(self, rows: ArrayLike) -> np.ndarray:
        array = _rows_for(self, rows)
        positions = [self._positions.get(key, -1) for key in row_keys(array)]
        if -1 in positions:
            raise _not_a_row(self, array, positions.index(-1))
        return np.array(positions, np.int64)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "points",
            "shape": list(self.inputs.shape),
            "sha256": digest(self.inputs),
            "inputs": self.inputs.tolist(),
        }

    def __repr__(self) -> str:
        return f"Points({self.num_inputs} inputs of shape {self.input_shape})"


def from_description(description: Mapping[str, Any]) -> Domain:
    """Return the domain that ``describe()`` recorded; ValueError when the record is damaged or names no domain."""
    name = description.get("name")
    if name == "boolean-cube":
        return BooleanCube(description["n"], tuple(description["coding"]))
    if name == "points":
        points = Points(np.array(description["inputs"], np.float64))
        if digest(points.inputs) != description["sha256"]:
            raise ValueError("The recorded points do not match their SHA-256: the record is damaged or was edited.")
        return points
    raise ValueError(unknown("domain", name, ("boolean-cube", "points")))
