"""Exact volumes on a finite prior: every parameterisation of a small network is counted.

Quantity: V(C) = #{theta in the lattice : function(theta) in C} / M, M the number of lattice points. Nothing is drawn
and nothing is estimated: counts are whole numbers, both ends of an interval are the volume itself.

Two paths give the same counts, bit for bit:

* "blocks" (enumeration.py) evaluates the model itself on every point, bodies x heads by one matrix product.
* "sums" (sums.py) adds up the contributions of the units of a network with at most one hidden layer, equal partial
  sums merged with their multiplicities. It needs arithmetic that is exact (arithmetic.py).

Shape letters: S blocks in a step, Q bodies, H heads, D networks, W 64-bit words of a packed table.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.common.choices import PATHS
from volume.common.progress import Progress
from volume.common.validation import check_arithmetic, check_choice
from volume.errors import whole
from volume.estimators.exact.arithmetic import Arithmetic, examine, lattice_of
from volume.estimators.exact.counters import DenseCounter, SortedCounter
from volume.estimators.exact.enumeration import Blocks
from volume.estimators.exact.parts import STREAM_VERSION, OpenSteps, counts_part, read_counts
from volume.estimators.exact.paths import choose_path
from volume.estimators.exact.question import Outcome, Question
from volume.functions.tables import num_words
from volume.models import Symmetry
from volume.queries.compiled import DECIDED, check_networks, first_time, spread
from volume.queries.computed import computed
from volume.queries.query import Query
from volume.queries.quotient import declared, weighs_draws
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.ranges import disjoint, missing, share
from volume.samplers import checked_devices
from volume.statistics.counts import Counts


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Count every parameterisation of a finite prior such as `volume.samplers.Lattice`.

    Args:
        path: "blocks" evaluates every network; "sums" merges equal partial sums of outputs (at most one hidden layer,
            arithmetic without rounding); "auto" takes what evaluates less. Counts do not depend on it.
        limit: networks (or pairs of partial sums) to evaluate at most; a larger lattice is refused at once.
        block: networks of one compiled step. Default: what suits a core's cache. Counts do not depend on it.
        dtype: "float32" or "float64".
        precision: matrix-product precision, as in ``jax.default_matmul_precision``.
        devices: JAX devices to divide the blocks of a step among. Default: all local ones. Counts do not depend on it.

    Raises:
        ValueError, TypeError: an unknown word, a number that is not whole or not positive, devices that are none.
    """

    path: str = "auto"
    limit: int = 2**36
    block: int | None = None
    dtype: str = "float32"
    precision: str = "highest"
    devices: tuple[Any, ...] | None = field(default=None, compare=False)

    name = "exact"

    def __post_init__(self) -> None:
        check_choice("path", self.path, PATHS)
        check_arithmetic(self.dtype, self.precision)
        object.__setattr__(self, "limit", whole("limit", self.limit, limit=1 << 62))
        if self.block is not None:
            object.__setattr__(self, "block", whole("block", self.block, limit=1 << 22))
        object.__setattr__(self, "devices", checked_devices(self.devices))

    def start(self, query: Query, key: Array) -> ExactRun:
        """Begin to count; the key plays no part.

        Raises:
            ValueError: a prior that is not finite, more points than ``limit``, a path that this network cannot take.
        """
        del key
        return ExactRun(query, self)


class ExactRun:
    """An enumeration in progress. What was counted so far is no sample, so there is no report before its end.

    Its parts are ranges of steps with their counts. Steps are added up in any order.
    """

    def __init__(self, query: Query, method: Exact):
        lattice_of(query)  # refuses other priors first
        stands = computed(query, method.dtype)
        query = stands.query
        prior = lattice_of(query)
        self._query, self._method = query, method
        self._points = prior.num_points(query.model.parameters)
        self._inputs = stands.inputs
        levels = prior.levels_of(query.model.parameters)
        if any(len(np.unique(np.asarray(each, method.dtype))) < len(each) for each in levels):
            raise ValueError(
                f"{prior!r} has levels that are the same in {method.dtype}: give dtype='float64', or levels further "
                "apart."
            )
        self.arithmetic: Arithmetic = examine(query.model, levels, self._inputs, method.dtype, method.precision)
        if not self.arithmetic.exact:
            stands.require_safe("Exact")
        self._question = Question(query.bound, self.arithmetic.exact, method.dtype)
        self.path, self.steps, self._divisor = choose_path(
            query,
            self._question,
            self._inputs,
            # A quotient counts orbits: by multisets of units, or every point as often as the group leaves it as it is.
            declared(query.model) if weighs_draws(query) else Symmetry(()),
            path=method.path,
            limit=method.limit,
            block=method.block,
            precision=method.precision,
            devices=method.devices,
            rounding="" if self.arithmetic.exact else self.arithmetic.text,
        )
        self._counter = self._new_counter()  # of what is in parts
        self._open = self._new_counter()  # of the steps since
        self._steps = OpenSteps()
        self.near_ties = 0
        self._num_done = 0  # steps, those of other processes left out
        self._todo = deque([(0, self.steps.num_steps)])
        self._pending: tuple[int, Outcome] | None = None
        self._closed: list[Checkpoint] = []

    def _new_counter(self, beside: int = 0) -> DenseCounter | SortedCounter:
        if self._question.numbered is not None:
            return DenseCounter(self._question.numbered)
        return SortedCounter(num_words(self._query.domain.num_inputs, self._query.model.num_outputs), beside)

    @property
    def done(self) -> bool:
        return not self._todo and self._pending is None

    def advance(self) -> None:
        """Take in one step; the next one is already running on the device meanwhile."""
        current = self._pending or self._dispatch()
        assert current is not None  # or the run were done
        self._pending = self._dispatch()
        number, outcome = current
        if number != self._steps.stop:
            self._close()
        self._take(number, outcome)
        self._num_done += 1

    def _dispatch(self) -> tuple[int, Outcome] | None:
        if not self._todo:
            return None
        number, stop = self._todo.popleft()
        if number + 1 < stop:
            self._todo.appendleft((number + 1, stop))
        return number, self.steps.dispatch(number, self._inputs)

    # --- checkpoints ---

    def constants(self) -> dict[str, Any]:
        """Say what steps mean: the path, the order in which it goes through the lattice, and what counts are times."""
        return {
            "path": self.path,
            "order": STREAM_VERSION,
            "layout": self.steps.layout(),
            "hits_per_point": self._divisor,
        }

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Add up the counts of ranges of steps that are there."""
        parts = disjoint(parts, "steps-")
        for part in parts:
            read_counts(part, self._counter, self._shift)
            self.near_ties += part.facts["near_ties"]
            self._num_done += part.facts["stop"] - part.facts["first"]
        self._todo = deque(missing(parts, self.steps.num_steps))

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """Hand out the counts of the steps since the last part, where they are due."""
        if not self._steps.empty:
            before, after = (self.steps.progress(step)[0] for step in (self._steps.first, self._steps.stop))
            if all or self._steps.due(networks=after - before, rows=self._open.num_classes):
                self._close()
        closed, self._closed = self._closed, []
        return closed

    def restrict(self, index: int, count: int) -> None:
        """Count this share of the steps that are left."""
        self._todo = deque(share(list(self._todo), index, count))

    def _close(self) -> None:
        if not self._steps.empty:
            self._closed.append(counts_part(self._steps, self._open, self._shift))
            self._counter = self._counter.joined(self._open)  # type: ignore[arg-type]  # of one kind
        self._open, self._steps = self._new_counter(self._counter.num_classes), OpenSteps()

    @property
    def _shift(self) -> int:
        """Give the bits from a numbered table to its key, whose first input takes the highest bit."""
        bits = self._question.table_bits
        return 64 - bits if bits and self._question.numbered is not None else 0

    def progress(self) -> Progress:
        done, total, unit = self.steps.progress(self._num_done)
        classes = max(self._counter.num_classes, self._open.num_classes)
        return Progress(done=done, total=total, unit=unit, note=f"{classes:,} classes")

    def counts(self) -> Counts:
        """Give hits of the query's classes; complete only when the run is done."""
        keys, hits, nonfinite = self._counter.joined(self._open).result()  # type: ignore[arg-type]  # of one kind
        keys = keys << np.uint64(self._shift)
        if np.any(hits % self._divisor) or nonfinite % self._divisor:
            raise ValueError(
                "Copies of a network fell in different classes: sums are rounded, and a relabelled network adds them "
                f"up in another order ({self.arithmetic.text}). Give levels whose sums are exact, such as whole "
                "numbers, or symmetry='none'."
            )
        counts = Counts.of_all(
            keys, hits // self._divisor, num_points=self._points, nonfinite=nonfinite // self._divisor
        )
        bound = self._query.bound
        return bound.of_tables(counts) if bound.route == "table" else counts

    def report(self, facts: Facts) -> VolumeReport | None:
        """Give the exact volumes; None before every parameterisation was counted."""
        if self._num_done < self.steps.num_steps:
            return None
        query, method = facts.query, self._method
        return VolumeReport.of(
            facts,
            self.counts(),
            method=self.describe(),
            conventions=query.conventions(dtype=method.dtype, precision=method.precision),
            devices=list(self.steps.mesh.devices.flat),
            near_ties=self.near_ties,
            near_ties_checked=self._points,
            arithmetic=self.arithmetic.text,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "name": self._method.name,
            "path": self.path,
            "points": self._points,
            "evaluated": self.steps.networks,
            "dtype": self._method.dtype,
            "precision": self._method.precision,
        }

    def _check(self, steps: Blocks, number: int, outcome: Outcome) -> None:
        """Hold networks of a step to a plain evaluation; Miscompiled where one is decided otherwise."""
        question, first = self._question, number * steps.blocks_per_step
        result = np.asarray(outcome.result)[: steps.kept(number)]
        shape = result.shape if question.numbered is not None else (*result.shape[:2], result.shape[3])
        rows = np.unravel_index(spread(math.prod(shape), DECIDED), shape)
        at = list(zip(*(part.tolist() for part in rows), strict=True))
        if question.numbered is not None:
            found = result[rows]
            finite = found < question.numbered if not question.exact else np.ones(len(found), bool)
            if question.table_bits:
                found = (found.astype(np.uint64) << np.uint64(self._shift))[:, None]
        else:
            words = np.array([result[s, q, :, h] for s, q, h in at]).astype(np.uint64)
            found = (words[:, ::2] << np.uint64(32)) | words[:, 1::2]
            finite = np.asarray(outcome.finite)[rows] if outcome.finite.size else np.ones(len(found), bool)
        networks = [steps.network(first + s, q, h) for s, q, h in at]
        with jax.enable_x64(self._method.dtype == "float64"):
            check_networks(
                *(self._query.model, self._query.bound, self._inputs, networks, found, finite),
                precision=self._method.precision,
                remedy="give another block=",
            )

    def _take(self, number: int, outcome: Outcome) -> None:
        size = self.steps.kept(number)
        if isinstance(self.steps, Blocks) and first_time("exact", self.steps.grid):
            self._check(self.steps, number, outcome)
        result = np.asarray(outcome.result)[:size]
        weight = self.steps.weight(number, outcome)
        weight = None if weight is None else weight[:size].ravel()
        if isinstance(self._open, DenseCounter):
            self._open.add(result.ravel(), weight)
        else:
            words = result.astype(np.uint64)  # [S, Q, 2 W, H]
            keys = (words[:, :, 0::2] << np.uint64(32)) | words[:, :, 1::2]
            keys = np.moveaxis(keys, 2, 3).reshape(-1, keys.shape[2])
            finite = np.asarray(outcome.finite)[:size].ravel() if outcome.finite.size else None
            self._open.add(keys, finite, weight)
        near_ties = int(np.asarray(outcome.near_ties)[:size].sum())
        self.near_ties += near_ties
        self._steps.take(number, near_ties)
