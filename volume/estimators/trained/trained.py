"""Training: where an optimiser lands, as shares of its runs.

Quantity: W(C) = P(a network drawn from the initial law and trained ends in C), the randomness being the initial
parameters, the order of batches and, for a policy gradient, the actions. Estimator: runs that end in C over runs.
Runs are independent, so the interval is Clopper and Pearson's. W is no prior mass: it is what the volume of C is to be
compared with.

Runs that never fit, and those that diverge, are counted and stay in the denominator; `TrainedReport.given_fit` takes
the share among the runs that fit. Nothing is selected by how it does on other inputs.

Networks are trained in pools (volume.samplers.training), one pool for every device, of a CPU for every core; each pool
takes the numbers of its networks from one queue. A partial report takes the runs before the first unfinished one, in
the order of their numbers: the runs finished so far would favour quick ones.

Shape letters: P slots of a pool, R networks of a group, m training examples, W words of a table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.classifiers.base import Classifier
from volume.classifiers.given import Given
from volume.classifiers.labels import Fits
from volume.common.content import digest
from volume.common.progress import Progress
from volume.errors import unknown, whole
from volume.estimators.direct.plan import cast_inputs
from volume.estimators.trained.parts import ORDER, read_runs, runs_part
from volume.estimators.trained.pool import Domain, Landed, Plan, Pool, Queue
from volume.functions.tables import num_words
from volume.queries.query import Query
from volume.reports.facts import Facts
from volume.reports.trained import Outcomes, TrainedReport, training_record
from volume.runs.checkpoints import Batch
from volume.runs.parts import Part, StoredPart
from volume.samplers import Data, Objective, Optimiser, Prior, Training, block_mesh, checked_devices, objective
from volume.statistics.counts import Counts

TURN_SECONDS = 0.25  # of one `advance`: long enough to hide its overhead, short enough for progress and Ctrl-C
MAX_RUNS = 10**8  # a few dozen bytes are kept of each
MAX_STEPS = 10**9  # steps are counted in int32
# Networks of a group and groups of a pool. On a CPU 16 networks of a few thousand parameters and their activations stay
# in a core's cache; an accelerator wants many at once.
GROUP = {"cpu": 16}
GROUP_ELSEWHERE = 1024
GROUPS = {"cpu": 4}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Train networks from draws of the prior and count where they land.

    Args:
        runs: networks to train, each from its own initial parameters.
        optimiser: a name such as "sgd", "momentum", "adam" or "adamw", or a `samplers.Optimiser`.
        learning_rate: of an optimiser given by name.
        schedule: of the learning rate, over ``max_steps``: "constant", "linear", "cosine", "warmup-cosine" or
            "exponential"; for an optimiser given by name.
        options: further arguments of the optax function of that name.
        batch_size: training examples of a step. Default: all.
        loss: "cross-entropy", "mse" or "hinge"; "reinforce", "reinforce-baseline" or "ppo" for a policy gradient on the
            reward 1 for the right label; or an objective such as ``samplers.PPO(clip=0.1)``.
        stop: "fit", after the update with which the training error first is zero (and ``over_training`` epochs more),
            or "steps", after ``max_steps`` updates whatever the error.
        max_steps: updates after which a network that does not fit is given up, and counted.
        over_training: epochs to go on after the first zero training error.
        initial: the law of the initial parameters. Default: the query's own prior.
        on: the training set, a `Fits`. Default: that of the query's classifier (`Fits`, or `Given` within `Fits`).
        dtype: "float32" or "float64".
        precision: of matrix products, as in `Direct`.
        pool: networks in training at once on a device or a processor core. Results do not depend on it.
        devices: JAX devices to train on. Default: all local ones. Results do not depend on it.

    Raises:
        ValueError: a number that is not whole or not positive, an unknown name, settings that exclude each other.
        TypeError: an objective, optimiser, prior, training set or devices that are none.
    """

    runs: int
    optimiser: Optimiser
    objective: Objective
    batch_size: int | None
    stop: str
    max_steps: int
    over_training: int
    initial: Prior | None
    on: Fits | None
    dtype: str
    precision: str
    pool: int | None = field(compare=False)
    devices: tuple[Any, ...] | None = field(compare=False)

    name = "trained"

    def __init__(
        self,
        runs: float,
        *,
        optimiser: str | Optimiser = "sgd",
        learning_rate: float | None = None,
        schedule: str | None = None,
        options: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        loss: str | Objective = "cross-entropy",
        stop: str = "fit",
        max_steps: float = 10_000,
        over_training: int = 0,
        initial: Prior | None = None,
        on: Fits | None = None,
        dtype: str = "float32",
        precision: str = "highest",
        pool: int | None = None,
        devices: Sequence[Any] | None = None,
    ):
        known = {"dtype": ("float32", "float64"), "precision": ("default", "high", "highest"), "stop": ("fit", "steps")}
        for what, given in (("dtype", dtype), ("precision", precision), ("stop", stop)):
            if given not in known[what]:
                raise ValueError(unknown(what, given, known[what]))
        if on is not None and not isinstance(on, Fits):
            raise TypeError(f"on={on!r} is no training set: give volume.Fits(inputs, labels).")
        if initial is not None and (isinstance(initial, type) or not hasattr(initial, "draw")):
            raise TypeError(f"initial={initial!r} is no prior: give for example volume.samplers.Gaussian().")
        extra = 0 if over_training in (0, None) else whole("over_training", over_training, limit=MAX_STEPS)
        if extra and stop == "steps":
            raise ValueError(f"over_training={extra} goes with stop='fit'; with stop='steps' raise max_steps instead.")
        values: dict[str, Any] = {
            "runs": whole("runs", runs, limit=MAX_RUNS),
            "optimiser": _optimiser(optimiser, learning_rate, schedule, options),
            "objective": objective(loss),
            "batch_size": None if batch_size is None else whole("batch_size", batch_size),
            "stop": stop,
            "max_steps": whole("max_steps", max_steps, limit=MAX_STEPS),
            "over_training": extra,
            "initial": initial,
            "on": on,
            "dtype": dtype,
            "precision": precision,
            "pool": None if pool is None else whole("pool", pool),
            "devices": checked_devices(devices),
        }
        values["optimiser"].check(values["max_steps"])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def training_set(self, query: Query) -> Fits:
        """The examples to train on.

        Raises:
            ValueError: neither the method nor the query's classifier names any, or the labels or inputs do not fit the
                model.
        """
        if query.weighting.name != "none":
            raise ValueError(
                f"Trained counts runs, each once, and symmetry={query.weighting.name!r} is a way to weigh the prior: "
                "ask with symmetry='none', or use volume.Direct."
            )
        found = self.on or _named_in(query.classifier)
        if found is None:
            raise ValueError(
                f"Trained needs labels to train on, and {query.classifier!r} names none: pass on=volume.Fits(inputs, "
                "labels), or ask volume.Direct for the volume of all functions."
            )
        if found.inputs.shape[1:] != tuple(query.model.input_shape):
            raise ValueError(
                f"The training inputs have shape {found.inputs.shape[1:]} each, and the model takes inputs of shape "
                f"{tuple(query.model.input_shape)}."
            )
        found.bind(found.domain(), query.model.num_outputs)  # ValueError for labels that the model cannot give
        return found

    def start(self, query: Query, key: Array) -> TrainedRun:
        """Begin. Errors as in :meth:`training_set`, and ValueError for an initial law that does not fit the model."""
        return TrainedRun(self, query, key)

    def describe(self, query: Query, on: Fits) -> dict[str, Any]:
        """A JSON-able record."""
        return {
            "name": self.name,
            "runs": self.runs,
            "optimiser": self.optimiser.describe(),
            "loss": self.objective.describe(),
            "batch_size": min(self.batch_size or len(on.labels), len(on.labels)),
            "stop": self.stop,
            "max_steps": self.max_steps,
            "over_training": self.over_training,
            "initial": (self.initial or query.prior).describe(),
            "on": {**on.describe(), "sha256": digest(on.inputs)},
            "dtype": self.dtype,
            "precision": self.precision,
        }


def _optimiser(given: Any, rate: float | None, schedule: str | None, options: Mapping[str, Any] | None) -> Optimiser:
    if isinstance(given, Optimiser):
        doubled = {"learning_rate": rate, "schedule": schedule, "options": options}
        for name, value in doubled.items():
            if value is not None:
                raise ValueError(f"{name}={value!r} belongs to the optimiser, which was given whole: set it there.")
        return given
    settings: dict[str, Any] = {"learning_rate": rate, "schedule": schedule, "options": options}
    return Optimiser(given, **{name: value for name, value in settings.items() if value is not None})


def _named_in(classifier: Classifier) -> Fits | None:
    """The labels that a classifier asks for."""
    if isinstance(classifier, Fits):
        return classifier
    if isinstance(classifier, Given) and isinstance(classifier.within, Fits) and classifier.label == "fits":
        return classifier.within
    return None


class TrainedRun:
    """A run in progress: every `advance` trains all pools for a moment."""

    def __init__(self, method: Trained, query: Query, key: Array):
        self._method, self._query = method, query
        self.training_set = on = method.training_set(query)
        initial = method.initial or query.prior
        initial.check(query.model.parameters)
        domain = Domain(cast_inputs(query, method.dtype), _positions(on, query))  # type: ignore[arg-type]
        inputs = _cast(on, method.dtype)
        devices = list(block_mesh(method.devices).devices.flat)
        backend = devices[0].platform
        group = GROUP.get(backend, GROUP_ELSEWHERE)
        places = max(_cores(), len(devices)) if backend == "cpu" else len(devices)
        pools = max(1, min(places, -(-method.runs // group)))
        share = -(-method.runs // (group * pools))
        groups = min(share, GROUPS.get(backend, 1) if method.pool is None else max(1, -(-method.pool // group)))
        training = Training(
            model=query.model,
            initial=initial,
            optimiser=method.optimiser,
            objective=method.objective,
            num_examples=len(on.labels),
            batch_size=min(method.batch_size or len(on.labels), len(on.labels)),
            max_steps=method.max_steps,
            stop_at_fit=method.stop == "fit",
            extra_epochs=method.over_training,
            group=group,
        )
        self.plan = plan = Plan(training, query.bound, groups, method.precision)
        data = Data(inputs, on.labels.astype(np.int32), key)  # type: ignore[arg-type]
        self._todo = np.arange(method.runs)  # numbers that this process trains
        self._left, self._done = method.runs, 0  # of them; of all
        self._queue = Queue(self._todo)
        self._devices = devices[:pools]
        self._pools = [Pool(plan, data, domain, self._queue, devices[i % len(devices)]) for i in range(pools)]
        self._compiled = False
        words = num_words(query.domain.num_inputs, query.model.num_outputs) if query.bound.route == "table" else 1
        self._keys = np.zeros((method.runs, words), np.uint64)
        self.outcomes = Outcomes.empty(method.runs)
        self._fresh = Batch[np.ndarray]()  # numbers of networks that have stopped and are in no part yet

    @property
    def done(self) -> bool:
        return not self._left

    def advance(self) -> None:
        """Train every pool for about TURN_SECONDS."""
        deadline = time.perf_counter() + TURN_SECONDS
        if not self._compiled:  # alone, so that there is one trace
            self._take(self._turn(self._pools[0]))
            self._compiled = True
            return
        if len(self._pools) == 1:
            found = [self._turns(self._pools[0], deadline)]
        else:
            # XLA spreads operations of this size over no threads, but runs programs of several threads side by side.
            with ThreadPoolExecutor(len(self._pools)) as threads:
                found = list(threads.map(lambda pool: self._turns(pool, deadline), self._pools))
        for landed in found:
            for part in landed:
                self._take(part)

    def _turns(self, pool: Pool, deadline: float) -> list[Landed]:
        found = []
        while True:
            landed = self._turn(pool)
            if landed is not None:
                found.append(landed)
            if landed is None or time.perf_counter() >= deadline:
                return found

    def _turn(self, pool: Pool) -> Landed | None:
        with jax.enable_x64(self._method.dtype == "float64"):
            return pool.turn()

    def _take(self, landed: Landed | None) -> None:
        if landed is None:
            return
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

    # --- parts (volume.parts) ---

    def constants(self) -> dict[str, Any]:
        """What numbers of runs mean beyond query, method and seed: the size of a group, by which sums are laid out."""
        return {"group": self.plan.training.group, "order": ORDER}

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Take the runs that have ended."""
        for part in parts:
            if part.name.startswith("runs-"):
                read_runs(part, self._keys, self.outcomes)
        self._leave(np.flatnonzero(~self.outcomes.done))
        self._done = self._method.runs - self._left

    def collect(self, *, all: bool = False) -> list[Part]:
        """Runs that have ended since the last part, where there are enough of them."""
        numbers = self._fresh.take(all=all)
        return [runs_part(np.sort(np.concatenate(numbers)), self._keys, self.outcomes)] if numbers else []

    def restrict(self, index: int, count: int) -> None:
        """Train this share of the runs that are left."""
        self._leave(self._todo[index::count])

    def _leave(self, numbers: np.ndarray) -> None:
        """Networks to train."""
        self._todo, self._left = numbers, len(numbers)
        self._queue.refill(numbers)

    def progress(self) -> Progress:
        training = sum(pool.training for pool in self._pools)
        return Progress(done=self._done, total=self._method.runs, unit="runs", note=f"{training:,} in training")

    def report(self, facts: Facts) -> TrainedReport | None:
        """Shares of the runs before the first unfinished one; None when that is the first."""
        runs = self.outcomes.finished
        if not runs:
            return None
        query, method = facts.query, self._method
        outcomes = self.outcomes.first(runs)
        return TrainedReport.of(
            facts,
            self._counts(runs, outcomes.finite),
            method=method.describe(query, self.training_set),
            conventions={
                **query.conventions(dtype=method.dtype, precision=method.precision),
                "symmetry_note": "every run counts once, by the function it ends in",
                "quantity": "share of training runs that end in a class; no prior mass",
            },
            devices=self._devices,
            near_ties=int(outcomes.near_tie.sum()),
            near_ties_checked=runs,
            training=training_record(outcomes),
        )

    def _counts(self, runs: int, finite: np.ndarray) -> Counts:
        """Every run is a unit of one draw."""
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
    """Where the training inputs stand in the domain, [m], or [0] where one of them does not."""
    try:
        return query.domain.index_of(on.inputs).astype(np.int32)
    except ValueError:
        return np.zeros(0, np.int32)


def _cast(on: Fits, dtype: str) -> np.ndarray:
    """Training inputs [m, ...] in the dtype of the run; ValueError for one that overflows."""
    with np.errstate(over="ignore"):
        inputs = on.inputs.astype(dtype)
    if not np.isfinite(inputs).all():
        raise ValueError(f"A training input is too large for {dtype}: rescale it, or give dtype='float64'.")
    return inputs


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
