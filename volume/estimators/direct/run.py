"""A run of draws: steps of whole blocks, which go to an accumulator and, where the run is kept, to checkpoints.

Draws are keyed by (seed, block): a block is a fixed set of bodies with their heads (volume.samplers.blocks), a step any
number of whole blocks. Counts therefore do not depend on the step size, on interruptions or on the number of devices.

Shape letters: S blocks in a step, Q bodies, H heads, W 64-bit words of a packed table.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.common.progress import Progress
from volume.common.seeds import index_words
from volume.estimators.direct.accumulators import Accumulator
from volume.estimators.direct.parts import OpenPart
from volume.estimators.direct.plan import Plan
from volume.estimators.direct.step import Step, step
from volume.queries.compiled import DECIDED, check_networks, spread
from volume.queries.computed import computed
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts
from volume.reports.on_disk import TableReport
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.ranges import disjoint, missing, share
from volume.runs.table_store import TableStore
from volume.samplers import block_key_data, block_networks
from volume.statistics.counts import Counts

STEP_SECONDS = 0.25  # long enough to hide the step's overhead, short enough for progress and Ctrl-C


@dataclass(frozen=True, kw_only=True)
class Drawn(Progress):
    """Where a run of draws stands."""

    classes: int  # seen so far; for open-ended tables an estimate (volume.estimators.direct.distinct)

    @property
    def draws(self) -> int:
        return int(self.done)


class DirectRun:
    """A run in progress: advance it step by step, look at the counts at any time.

    Args:
        query: what is asked.
        plan: how draws are laid out.
        key: of the run; a block's key is folded from it by its number.
        draws: networks to draw, rounded up to whole blocks.
        into: where counts go, in memory or on disk.
        description: of the method, for reports.
    """

    def __init__(
        self,
        query: Query,
        plan: Plan,
        key: Array,
        draws: int,
        into: Accumulator,
        description: dict[str, Any],
    ):
        self.plan = plan
        self.total_blocks = -(-draws // plan.block_draws)
        self.done_blocks = 0
        self.near_ties = self.vanished = 0
        self._ranges = [(0, self.total_blocks)]  # of blocks not yet asked for
        self._left = self.total_blocks  # not yet taken in
        self._open: OpenPart | None = None  # where the run is kept
        self._key, self._into, self._description = key, into, description
        self._inputs = computed(query, plan.dtype).inputs
        self._devices = plan.mesh.size
        self._pending: tuple[Step, np.ndarray, np.ndarray] | None = None
        self._taken = False  # the first step, whose length nobody knows, runs alone
        self._step_blocks = 1  # per device; grows until a step takes STEP_SECONDS

    @property
    def done(self) -> bool:
        return self._left == 0

    @property
    def draws(self) -> int:
        return self.done_blocks * self.plan.block_draws

    def progress(self) -> Drawn:
        classes = self._into.estimate_classes()
        return Drawn(
            done=self.draws,
            total=(self.done_blocks + self._left) * self.plan.block_draws,
            unit="draws",
            note=f"about {classes:,} classes",
            classes=classes,
        )

    # --- kept in a directory ---

    def constants(self) -> dict[str, Any]:
        """Say how draws are laid out in blocks."""
        return {"blocks": self.total_blocks, "heads": self.plan.heads, "bodies": self.plan.bodies}

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take in the blocks of these checkpoints, and hand out others from now on (parts.py)."""
        parts = disjoint(parts, "blocks-")
        for part in parts:
            self._into.restore(part)
            self.near_ties += part.facts["near_ties"]
            self.vanished += part.facts.get("vanished", 0)  # older versions looked for none
            self.done_blocks += part.facts["stop"] - part.facts["first"]
        self._ranges = missing(parts, self.total_blocks)
        self._left = self.total_blocks - self.done_blocks
        self._open = OpenPart()

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """Hand out the parts finished since the last call."""
        return [] if self._open is None else self._open.collect(all=all)

    def restrict(self, index: int, count: int) -> None:
        """Draw only this share of the blocks that are left."""
        self._ranges = share(self._ranges, index, count)
        self._left = sum(stop - first for first, stop in self._ranges)

    def check_room(self, folder: Path) -> None:
        """Refuse a directory on whose disk the draws cannot be, with what they may take, by OSError."""
        self._into.check_room(folder, self._left * self.plan.block_draws)

    def stored(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take all parts of the run, which are on disk."""
        self._into.stored(disjoint(parts, "blocks-"))

    # --- drawing ---

    def report(self, facts: Facts) -> VolumeReport | None:
        """Answer for all classes from the draws so far; None before the first, and as long as counts are on disk and
        the run is not done: adding them up may take as long as drawing."""
        if not self.done_blocks:
            return None
        counts = self.counts()
        if counts is None:
            return None
        kind: Any = TableReport if isinstance(counts, TableStore) else VolumeReport
        return kind.of(
            facts,
            counts,
            method=self._description,
            conventions=facts.query.conventions(dtype=self.plan.dtype, precision=self.plan.precision),
            devices=list(self.plan.mesh.devices.flat),
            near_ties=self.near_ties,
            near_ties_checked=self.draws,
            vanished=self.vanished,
        )

    def counts(self) -> Counts | TableStore | None:
        """Give the hits of the query's classes in every block so far; None as in `report`."""
        return self._into.counts(complete=self.done)

    def advance(self) -> None:
        """Take in one step; the next one is already running on the device meanwhile."""
        start = time.perf_counter()
        if self._pending is None:
            self._pending = self._dispatch()
        current, self._pending = self._pending, None
        if self._ranges and self._taken:
            self._pending = self._dispatch()
        self._take(*current)
        seconds = time.perf_counter() - start
        if seconds < STEP_SECONDS / 2:
            self._step_blocks = min(2 * self._step_blocks, self.plan.max_blocks)
        if not self._taken:
            self._check(*current)
        self._taken = True

    def _dispatch(self) -> tuple[Step, np.ndarray, np.ndarray]:
        """Begin a step: its result to come, blocks of each device, and their numbers."""
        first, stop = self._ranges.pop(0)
        cut = min(first + self._step_blocks * self._devices, stop)
        if cut < stop:
            self._ranges.insert(0, (cut, stop))
        blocks = cut - first
        share = np.full(self._devices, blocks // self._devices, np.int32)
        share[: blocks % self._devices] += 1
        words = np.zeros((self._devices, self.plan.max_blocks, 2), np.uint32)
        start = first
        for device, count in enumerate(share):
            words[device, :count] = index_words(start, start + int(count))
            start += int(count)
        with jax.enable_x64(self._inputs.dtype == np.float64):
            result = step(self.plan, self._key, self._inputs, words.reshape(-1, 2), share)
        return result, share, np.arange(first, cut)

    def _check(self, result: Step, share: np.ndarray, numbers: np.ndarray) -> None:
        """Hold networks of the first block to a plain evaluation; Miscompiled where one is decided otherwise."""
        del share
        plan, first = self.plan, int(numbers[0])
        numbers = spread(plan.block_draws, DECIDED)
        body, head = np.divmod(numbers, plan.heads)
        with jax.enable_x64(self._inputs.dtype == np.float64):
            key = block_key_data(np.asarray(jax.random.key_data(self._key)), index_words(first, first + 1)[0])
            sizes = {"bodies": plan.bodies, "heads": plan.heads}
            drawn = block_networks(key, plan.model, plan.prior, plan.dtype, **sizes, numbers=numbers)
            if plan.bound.route == "table":
                words = np.asarray(result.result)[0][body, :, head].astype(np.uint64)  # [T, 2 W]
                found = (words[:, ::2] << np.uint64(32)) | words[:, 1::2]
                finite = np.asarray(result.finite)[0][body, head]
            else:
                found = np.asarray(result.seen)[0]
                finite = found < (plan.bound.num_classes or 0)
            remedy = "give other heads= and bodies="
            check_networks(
                *(plan.model, plan.bound, self._inputs, drawn, found, finite), precision=plan.precision, remedy=remedy
            )

    def _take(self, result: Step, share: np.ndarray, numbers: np.ndarray) -> None:
        rows = np.concatenate([d * self.plan.max_blocks + np.arange(count) for d, count in enumerate(share)])
        full = len(rows) == len(share) * self.plan.max_blocks
        on_host = jax.tree.map(lambda leaf: np.asarray(leaf) if full else np.asarray(leaf)[rows], result)
        hits = self._into.add(on_host, numbers)
        near_ties, vanished = int(on_host.near_ties.sum()), int(on_host.vanished.sum())
        if self._open is not None:
            self._open.add(numbers, hits, near_ties, vanished)
        self.near_ties += near_ties
        self.vanished += vanished
        self.done_blocks += len(rows)
        self._left -= len(rows)
