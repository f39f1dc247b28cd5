"""The parts of a run that trains: networks that have stopped, in any order.

One row a network:

    number     int64, which one it is
    function   fixed-size binary: the truth table it ends in as big-endian bytes; 8 bytes with the number of the class
               where classes are numbered
    step       int32, updates taken
    fitted     int32, updates taken when the training error first was zero, -1: never
    wrong      int32, training errors at the end
    finite, otherwise, near_tie   bool, as in volume.reports.trained.Outcomes

Shape letters: B networks.
"""

from __future__ import annotations

import numpy as np

from volume.reports.trained import Outcomes
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.columns import Keys, Numbers, Schema

STREAM_VERSION = 1  # of what is random about a network of a given number; changes when that changes
OUTCOMES = ("step", "fitted", "wrong", "finite", "otherwise", "near_tie")
RUNS = Schema({"number": Numbers(), "function": Keys(), **dict.fromkeys(OUTCOMES, Numbers())})


def runs_part(numbers: np.ndarray, keys: np.ndarray, outcomes: Outcomes) -> Checkpoint:
    """Make the part of these networks from ``keys`` [., W] and outcomes. Its lowest number is in no other part."""
    columns = {name: getattr(outcomes, name)[numbers] for name in OUTCOMES}
    table = RUNS.table({"number": numbers, "function": keys[numbers], **columns})
    return Checkpoint(f"runs-{numbers[0]:012d}", {"first": int(numbers[0]), "count": len(numbers)}, table)


def read_runs(part: StoredCheckpoint, keys: np.ndarray, outcomes: Outcomes) -> None:
    """Put the networks of a part where they belong."""
    columns = RUNS.read(part)
    at = columns["number"]
    keys[at] = columns["function"]
    outcomes.done[at] = True
    for name in OUTCOMES:
        getattr(outcomes, name)[at] = columns[name]
