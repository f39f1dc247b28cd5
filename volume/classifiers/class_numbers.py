"""Class numbers on the host and on the device: int64 for NumPy, int32 for JAX.

Shape letters: N inputs, m chosen ones.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def in_range(index: int, num_classes: int) -> int:
    """Return the class number itself; IndexError outside 0..num_classes - 1."""
    if not 0 <= index < num_classes:
        raise IndexError(f"Class numbers run from 0 to {num_classes - 1}; got {index}.")
    return int(index)


def as_index(count: Any) -> Any:
    """Return integers as class numbers: int32 on the device, int64 on the host."""
    return count.astype(jnp.int32 if isinstance(count, jax.Array) else np.int64)


def look_up(table: np.ndarray, index: Any) -> Any:
    """Return ``table[index]`` for NumPy and for traced indices."""
    return as_index((jnp.asarray(table) if isinstance(index, jax.Array) else table)[index])


def select(decisions: Any, positions: np.ndarray, num_inputs: int) -> Any:
    """Return ``decisions[positions]`` [m, ...], without a copy when that is all of them."""
    return decisions if np.array_equal(positions, np.arange(num_inputs)) else decisions[positions]


def is_whole(value: Any) -> bool:
    """Return whether this is an integer, of Python or NumPy, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
