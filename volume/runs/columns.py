"""Columns of parts that every method writes alike: functions as bytes, and arrays of more than one axis.

Shape letters: R rows, W 64-bit words of a key.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa


def function_column(keys: np.ndarray) -> pa.Array:
    """Keys [R, W] uint64 as fixed-size bytes: the words big-endian, so that byte order is label order."""
    octets = np.ascontiguousarray(keys.astype(">u8"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(8 * keys.shape[1]), len(keys), [None, pa.py_buffer(octets)])


def rows_column(values: np.ndarray) -> pa.Array:
    """Numbers [R, ...] as fixed-size lists, one of all of a row's numbers in C order."""
    size = math.prod(values.shape[1:])
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), size)


def rows_of(column: pa.ChunkedArray | pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers [R, *shape] of such a column, one row or more; ``shape`` may leave one length open as -1."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks if len(chunk)]
    return np.concatenate(found).reshape(len(column), *shape)
