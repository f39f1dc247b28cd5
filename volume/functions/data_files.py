"""Inputs and labels from files and from scikit-learn, as the command line names them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def read_rows(path: str) -> np.ndarray:
    """Read an array [N, ...] from a .npy file, or [N, columns] from a .csv file with or without column names.

    Blank lines, and what follows a # in a .csv, are passed over.

    Raises:
        ValueError: any other content.
        OSError: the file cannot be read.
    """
    import numpy as np

    from volume.common.array_files import read_npy

    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".csv"):
        raise ValueError(f"{path}: expected a .npy or .csv file.")
    try:
        rows = read_npy(Path(path)) if suffix == ".npy" else _read_csv(path)
    except ValueError:
        flaw = "expected one array of numbers, as numpy.save writes it" if suffix == ".npy" else _flaw(path)
        raise ValueError(f"{path} is not a table of numbers: {flaw}.") from None
    if not rows.size:
        raise ValueError(f"{path} holds no rows: give one row of numbers for each input.")
    if rows.ndim < 2 or not (np.issubdtype(rows.dtype, np.number) or rows.dtype == bool) or np.iscomplexobj(rows):
        raise ValueError(f"{path}: expected real numbers, one row per input, got {rows.dtype} {rows.shape}.")
    return rows.astype(np.float64)


def _read_csv(path: str) -> np.ndarray:
    import numpy as np

    with open(path, encoding="utf-8-sig") as lines:
        skipped = int(_is_header(first := lines.readline()))
        if not any(map(_cells, lines if skipped else itertools.chain([first], lines))):
            return np.empty((0, 0))
    return np.loadtxt(path, delimiter=",", skiprows=skipped, ndmin=2, encoding="utf-8-sig")


def _flaw(path: str) -> str:
    """Say where a .csv stops being a table of numbers."""
    width = 0
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            cells = _cells(line)
            if not cells or (number == 1 and _is_header(line)):
                continue
            width = width or len(cells)
            if len(cells) != width:
                return f"columns in line {number}: {len(cells)}, in the rows before it: {width}; give every row as many"
            for column, cell in enumerate(cells, 1):
                try:
                    float(cell)
                except ValueError:
                    text = repr(cell) if cell else "nothing"
                    return f"expected a number in line {number}, column {column}, got {text}"
    return "expected numbers, parted by commas, one row for each input"


def _cells(line: str) -> list[str]:
    content = line.partition("#")[0].strip()
    return [cell.strip() for cell in content.split(",")] if content else []


def _is_header(line: str) -> bool:
    cells = [cell.strip() for cell in line.strip().split(",")]
    try:
        [float(cell) for cell in cells]
    except ValueError:
        # An empty cell is a gap in the data, which loadtxt reports, not a column's name.
        return all(cells)
    return False


def load_digits(digits: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's handwritten digits scaled to [0, 1], [N, 64], and their labels [N]; default all ten.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise ValueError('The domain "digits" needs scikit-learn: pip install "param-volume[digits]".') from None
    import numpy as np

    data: Any = load()
    chosen = np.isin(data.target, digits) if digits else np.ones(len(data.target), bool)
    return data.data[chosen] / 16.0, data.target[chosen].astype(np.int64)


def shaped(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return flat rows [N, n] as [N, *shape] when the sizes agree; else unchanged, and the query says why not."""
    if rows.ndim == 2 and shape and math.prod(shape) == rows.shape[1]:
        return rows.reshape(len(rows), *shape)
    return rows
