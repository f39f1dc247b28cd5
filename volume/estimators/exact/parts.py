"""The parts of an enumeration: ranges of steps, with the counts of their networks.

A part's table has a row for each function met: ``function`` (the key's words as big-endian bytes; a class number where
classes are numbered) and ``hits`` int64, ``hits_per_point`` times the networks. Its facts are the steps ``first`` to
``stop`` (excluded), ``near_ties``, and ``nonfinite``, the hits of networks with NaN or inf.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from volume.estimators.exact.counters import DenseCounter, SortedCounter
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.columns import Keys, Numbers, Schema

COUNTS = Schema({"function": Keys(), "hits": Numbers()})
STREAM_VERSION = 1  # of the networks of a step and of the steps; changes when that changes, and parts are then refused
PART_SECONDS = 10.0
# Long tables hardly repeat within few networks: parts wait until they do, so that they stay small beside what they
# stand for, but no longer than this.
NETWORKS_PER_ROW = 16
MOST_SECONDS = 300.0


@dataclass
class OpenSteps:
    """Consecutive steps that are in no part yet."""

    first: int = -1
    stop: int = -1
    near_ties: int = 0
    since: float = 0.0  # when the first of them was taken in

    @property
    def empty(self) -> bool:
        return self.first < 0

    def take(self, number: int, near_ties: int) -> None:
        """Add one step."""
        if self.empty:
            self.first, self.since = number, time.monotonic()
        self.stop = number + 1
        self.near_ties += near_ties

    def due(self, *, networks: float, rows: int) -> bool:
        """Say whether they are worth a part."""
        seconds = time.monotonic() - self.since
        return seconds >= PART_SECONDS and (networks >= NETWORKS_PER_ROW * rows or seconds >= MOST_SECONDS)


def counts_part(steps: OpenSteps, counter: DenseCounter | SortedCounter, shift: int) -> Checkpoint:
    """Make the part of these steps; numbered tables become keys by ``shift`` bits."""
    keys, hits, nonfinite = counter.result()
    table = COUNTS.table({"function": keys << np.uint64(shift), "hits": hits})
    facts = {"first": steps.first, "stop": steps.stop, "near_ties": steps.near_ties, "nonfinite": nonfinite}
    return Checkpoint(f"steps-{steps.first:012d}-{steps.stop:012d}", facts, table)


def read_counts(part: StoredCheckpoint, counter: DenseCounter | SortedCounter, shift: int) -> None:
    """Add the counts of a part."""
    columns = COUNTS.read(part)
    keys, hits = columns["function"] >> np.uint64(shift), columns["hits"].astype(np.int64)
    if isinstance(counter, DenseCounter):
        counter.add(keys[:, 0].astype(np.int64), hits)
    else:
        counter.add(keys, None, hits)
    counter.lose(part.facts["nonfinite"])
