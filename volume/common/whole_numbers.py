"""Arrays of whole numbers from users: class numbers and positions, of whatever dtype they come in."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np


def whole_numbers(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values as whole numbers, int64, and where they are none that int64 holds, bool, both of their shape.

    Bools and whole floats count as whole numbers, and so do such elements of an array of objects, which pandas makes.
    Text does not, whatever it spells. Where a value is none the number is 0.
    """
    array = np.asarray(values)
    kind, info = array.dtype.kind, np.iinfo(np.int64)
    if kind in "OV":  # "V": the extension floats such as bfloat16
        elements = [_whole(element) for element in array.ravel().tolist()]
        bad = np.array([element is None for element in elements], bool)
        array = np.array([element or 0 for element in elements], np.int64).reshape(array.shape)
        return array, bad.reshape(array.shape)
    if kind == "f":
        array = array.astype(np.result_type(array, np.float64))
        # -2^63 and 2^63 are floats, the largest int64 is none.
        bad = ~(np.isfinite(array) & (array == np.floor(array)) & (array >= info.min) & (array < -float(info.min)))
    elif kind == "u":
        bad = array > info.max
    else:
        bad = np.full(array.shape, kind not in "bi")
    return np.where(bad, 0, array if kind in "biuf" else 0).astype(np.int64), bad


def _whole(element: Any) -> int | None:
    if not isinstance(element, (numbers.Real, np.bool_)):
        return None
    try:
        number = int(element)
    except (ValueError, OverflowError):  # NaN, infinities
        return None
    return number if number == element and -(2**63) <= number < 2**63 else None
