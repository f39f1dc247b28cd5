"""A run of training: pools of networks, one for every device or core, from one queue, and what became of each network.

Shape letters: W words of a table, m training examples, R networks of a group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.classifiers.labels import Fits
from volume.common.jax_settings import fixed_settings
from volume.common.progress import Progress
from volume.estimators.trained.parts import STREAM_VERSION, read_runs, runs_part
from volume.estimators.trained.pool import Domain, Landed, Plan, Pool, Queue
from volume.functions.tables import num_words
from volume.queries.computed import plain
from volume.queries.query import Query
from volume.reports.facts import Facts
from volume.reports.trained import Outcomes, TrainedReport, training_record
from volume.runs.checkpoints import Batch, Checkpoint, StoredCheckpoint
from volume.samplers import Data
from volume.statistics.counts import Counts

TURN_SECONDS = 0.25  # of one `advance`: long enough to hide its overhead, short enough for progress and Ctrl-C
# Networks of a group and groups of a pool. On a CPU 16 networks of a few thousand parameters and their activations stay
# in a core's cache; an accelerator wants many at once.
GROUP = {"cpu": 16}
GROUP_ELSEWHERE = 1024
GROUPS = {"cpu": 4}


def pool_sizes(runs: int, devices: Sequence[Any], pool: int | None) -> tuple[int, int, int]:
    """Choose the networks of a group, the groups of a pool, and the number of pools.

    Args:
        runs: networks to train.
        devices: to train on.
        pool: networks in training at once in a pool; None for what suits the devices.
    """
    backend = devices[0].platform
    group = GROUP.get(backend, GROUP_ELSEWHERE)
    places = max(_cores(), len(devices)) if backend == "cpu" else len(devices)
    pools = max(1, min(places, -(-runs // group)))
    share = -(-runs // (group * pools))
    return group, min(share, GROUPS.get(backend, 1) if pool is None else max(1, -(-pool // group))), pools


class TrainedRun:
    """A run in progress: every `advance` trains all pools for a moment.

    Args:
        query: what is asked.
        key: of the run; a network's key is folded from it by its number.
        plan: of the compiled step.
        on: the training set.
        runs: networks to train.
        devices: to train on.
        pools: how many pools share them.
        dtype: of the run.
        description: of the method, for reports.
    """

    def __init__(
        self,
        query: Query,
        key: Array,
        plan: Plan,
        on: Fits,
        *,
        runs: int,
        devices: list[Any],
        pools: int,
        dtype: str,
        description: dict[str, Any],
    ):
        self.plan, self._runs, self._dtype, self._description = plan, runs, dtype, description
        domain = Domain(plain(query, dtype, "Trained", prior=plan.training.initial), _positions(on, query))  # type: ignore[arg-type]
        data = Data(_cast(on, dtype), on.labels.astype(np.int32), key)  # type: ignore[arg-type]
        self._todo = np.arange(runs)  # numbers that this process trains
        self._left, self._done = runs, 0  # of them; of all
        self._queue = Queue(self._todo)
        self._devices = devices[:pools]
        self._pools = [Pool(plan, data, domain, self._queue, devices[i % len(devices)]) for i in range(pools)]
        self._compiled = False
        words = num_words(query.domain.num_inputs, query.model.num_outputs) if query.bound.route == "table" else 1
        self._keys = np.zeros((runs, words), np.uint64)
        self.outcomes = Outcomes.empty(runs)
        self._fresh = Batch[np.ndarray]()  # numbers of networks that have stopped and are in no part yet

    @property
    def done(self) -> bool:
        return not self._left

    def advance(self) -> None:
        """Train every pool for about TURN_SECONDS."""
        deadline, pools = time.perf_counter() + TURN_SECONDS, self._pools
        if not self._compiled:  # one turn alone, so that there is one trace
            deadline, pools, self._compiled = 0.0, self._pools[:1], True
        if len(pools) == 1:
            stopped = self._turns(pools[0], deadline)
        else:
            # XLA spreads operations of this size over no threads, but runs programs of several threads side by side.
            with ThreadPoolExecutor(len(pools)) as threads:
                stopped = list(chain(*threads.map(lambda pool: self._turns(pool, deadline), pools)))
        for landed in stopped:
            self._take(landed)

    @fixed_settings()  # which each thread has to itself
    def _turns(self, pool: Pool, deadline: float) -> list[Landed]:
        stopped = []
        with jax.enable_x64(self._dtype == "float64"):
            while (landed := pool.turn()) is not None:
                stopped.append(landed)
                if time.perf_counter() >= deadline:
                    break
        return stopped

    def _take(self, landed: Landed) -> None:
        at = np.asarray(landed.number, np.int64)
        result = np.asarray(landed.result)
        if self.plan.bound.route == "table":
            words = result.astype(np.uint64)
            self._keys[at] = (words[:, ::2] << np.uint64(32)) | words[:, 1::2]
        else:
            self._keys[at] = result.astype(np.uint64)
        self.outcomes.put(at, landed)
        self._left, self._done = self._left - len(at), self._done + len(at)
        self._fresh.add(at, len(at))

    # --- checkpoints ---

    def constants(self) -> dict[str, Any]:
        """What numbers of runs mean beyond query, method and seed: the size of a group, by which sums are laid out."""
        return {"group": self.plan.training.group, "order": STREAM_VERSION}

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take the runs that have ended."""
        for part in parts:
            if part.name.startswith("runs-"):
                read_runs(part, self._keys, self.outcomes)
        self._leave(np.flatnonzero(~self.outcomes.done))
        self._done = self._runs - self._left

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """Runs that have ended since the last part, where there are enough of them."""
        numbers = self._fresh.take(all=all)
        return [runs_part(np.sort(np.concatenate(numbers)), self._keys, self.outcomes)] if numbers else []

    def restrict(self, index: int, count: int) -> None:
        """Train this share of the runs that are left."""
        self._leave(self._todo[index::count])

    def _leave(self, numbers: np.ndarray) -> None:
        """Train these networks alone."""
        self._todo, self._left = numbers, len(numbers)
        self._queue.refill(numbers)

    def progress(self) -> Progress:
        training = sum(pool.training for pool in self._pools)
        return Progress(done=self._done, total=self._runs, unit="runs", note=f"{training:,} in training")

    def report(self, facts: Facts) -> TrainedReport | None:
        """Give shares of the runs before the first unfinished one; None when that is the first."""
        runs = self.outcomes.finished
        if not runs:
            return None
        outcomes = self.outcomes.first(runs)
        return TrainedReport.of(
            facts,
            self._counts(runs, outcomes.finite),
            method=self._description,
            conventions={
                **facts.query.conventions(dtype=self._dtype, precision=self.plan.precision),
                "symmetry_note": "every run counts once, by the function it ends in",
                "quantity": "share of training runs that end in a class; no prior mass",
            },
            devices=self._devices,
            near_ties=int(outcomes.near_tie.sum()),
            near_ties_checked=runs,
            training=training_record(outcomes),
        )

    def _counts(self, runs: int, finite: np.ndarray) -> Counts:
        """Count the runs, each a unit of one draw."""
        keys = self._keys[:runs]
        unit = np.flatnonzero(finite)
        distinct, number = np.unique(keys[unit], axis=0, return_inverse=True)
        counts = Counts.from_cells(
            number.ravel(),
            unit,
            np.ones(len(unit), np.int64),
            num_classes=max(len(distinct), 1),
            num_units=runs,
            unit_size=1,
            independent=True,
            nonfinite=~finite,
        )
        counts = replace(counts, keys=np.asfortranarray(distinct))
        bound = self.plan.bound
        return bound.of_tables(counts) if bound.route == "table" else counts


def _positions(on: Fits, query: Query) -> np.ndarray:
    """Find the training inputs in the domain, [m]; [0] where one of them is not there."""
    try:
        return query.domain.index_of(on.inputs).astype(np.int32)
    except ValueError:
        return np.zeros(0, np.int32)


def _cast(on: Fits, dtype: str) -> np.ndarray:
    """Give the training inputs [m, ...] in the dtype of the run; ValueError for one that overflows."""
    with np.errstate(over="ignore"):
        inputs = on.inputs.astype(dtype)
    if not np.isfinite(inputs).all():
        raise ValueError(f"A training input is too large for {dtype}: rescale it, or give dtype='float64'.")
    return inputs


def _cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
