"""The parts of a run that trains: networks that have stopped, in any order.

One row a network:

    number     int64, which one it is
    function   fixed-size binary: the truth table it ends in as big-endian bytes; 8 bytes with the number of the class
               where classes are numbered
    step       int32, updates taken
    fitted     int32, updates taken when the training error first was zero, -1: never
    wrong      int32, training errors at the end
    finite, otherwise, near_tie   bool, as in volume.trained_report.Outcomes

Shape letters: B networks.
"""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from volume.reports.trained import Outcomes
from volume.runs.columns import function_column
from volume.runs.parts import Part, StoredPart
from volume.runs.report_files import key_words

ORDER = 1  # of what is random about a network of a given number; changes when that changes
PART_SECONDS = 10.0
PART_RUNS = 1 << 20
COLUMNS = ("step", "fitted", "wrong", "finite", "otherwise", "near_tie")


class FreshRuns:
    """Numbers of networks that have stopped and are in no part yet."""

    def __init__(self) -> None:
        self._numbers: list[np.ndarray] = []
        self._since = time.monotonic()

    def take(self, numbers: np.ndarray) -> None:
        """Networks that have stopped."""
        self._numbers.append(numbers)

    def collect(self, *, all: bool) -> np.ndarray | None:
        """Numbers [B] of a part, ascending; None when it is not due."""
        size = sum(map(len, self._numbers))
        if not all and size < PART_RUNS and time.monotonic() - self._since < PART_SECONDS:
            return None
        self._since = time.monotonic()
        if not size:
            return None
        numbers = np.sort(np.concatenate(self._numbers))
        self._numbers.clear()
        return numbers


def runs_part(numbers: np.ndarray, keys: np.ndarray, outcomes: Outcomes) -> Part:
    """The part of these networks, of the ``keys`` [., W] and outcomes of all. Its lowest number is in no other part."""
    columns = {name: pa.array(getattr(outcomes, name)[numbers]) for name in COLUMNS}
    table = pa.table({"number": pa.array(numbers), "function": function_column(keys[numbers]), **columns})
    return Part(f"runs-{numbers[0]:012d}", {"first": int(numbers[0]), "count": len(numbers)}, table)


def read_runs(part: StoredPart, keys: np.ndarray, outcomes: Outcomes) -> None:
    """Put the networks of a part where they belong."""
    table = part.read()
    at = table.column("number").to_numpy()
    keys[at] = key_words(table.column("function").combine_chunks(), keys.shape[1])
    outcomes.done[at] = True
    for name in COLUMNS:
        getattr(outcomes, name)[at] = table.column(name).to_numpy(zero_copy_only=False)
