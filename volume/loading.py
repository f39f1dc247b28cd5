"""Inputs and labels from files and from scikit-learn, as the command line names them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.usage import UsageError

if TYPE_CHECKING:
    import numpy as np


def read_rows(path: str) -> np.ndarray:
    """An array [N, ...] from a .npy file, or [N, columns] from a .csv file with or without column names.

    Raises UsageError for any other content, OSError when the file cannot be read.
    """
    import numpy as np

    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".csv"):
        raise UsageError(f"{path}: expected a .npy or .csv file.")
    try:
        if suffix == ".npy":
            rows = np.load(path, allow_pickle=False)
        else:
            with open(path, encoding="utf-8-sig") as lines:
                first = lines.readline()
            rows = np.loadtxt(path, delimiter=",", skiprows=int(_is_header(first)), ndmin=2, encoding="utf-8-sig")
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is not a table of numbers: {error}") from None
    if rows.ndim < 2 or not (np.issubdtype(rows.dtype, np.number) or rows.dtype == bool) or np.iscomplexobj(rows):
        raise UsageError(f"{path}: expected real numbers, one row per input, got {rows.dtype} {rows.shape}.")
    return rows.astype(np.float64)


def _is_header(line: str) -> bool:
    cells = [cell.strip() for cell in line.strip().split(",")]
    try:
        [float(cell) for cell in cells]
    except ValueError:
        # An empty cell is a gap in the data, which loadtxt reports, not a column's name.
        return all(cells)
    return False


def load_digits(digits: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits scaled to [0, 1], [N, 64], and their labels [N]; default all ten."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise UsageError('The domain "digits" needs scikit-learn: pip install "param-volume[digits]".') from None
    import numpy as np

    data: Any = load()
    chosen = np.isin(data.target, digits) if digits else np.ones(len(data.target), bool)
    return data.data[chosen] / 16.0, data.target[chosen].astype(np.int64)


def shaped(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Flat rows [N, n] as [N, *shape] when the sizes agree; else unchanged, and the query says why not."""
    if rows.ndim == 2 and shape and math.prod(shape) == rows.shape[1]:
        return rows.reshape(len(rows), *shape)
    return rows
