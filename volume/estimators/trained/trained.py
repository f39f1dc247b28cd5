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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax import Array

from volume.classifiers.labels import Fits
from volume.common.choices import STOPS
from volume.common.content import digest
from volume.common.machine import check_room
from volume.common.validation import check_arithmetic, check_choice
from volume.errors import whole
from volume.estimators.trained.pool import Plan
from volume.estimators.trained.run import TrainedRun, pool_sizes
from volume.models import num_parameters
from volume.queries.query import Query
from volume.samplers import Objective, Optimiser, Prior, Training, block_mesh, checked_devices, objective

MAX_RUNS = 10**8  # a few dozen bytes are kept of each
MAX_STEPS = 10**9  # steps are counted in int32


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
        check_arithmetic(dtype, precision)
        check_choice("stop", stop, STOPS)
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
            "batch_size": None if batch_size is None else whole("batch_size", batch_size, limit=MAX_STEPS),
            "stop": stop,
            "max_steps": whole("max_steps", max_steps, limit=MAX_STEPS),
            "over_training": extra,
            "initial": initial,
            "on": on,
            "dtype": dtype,
            "precision": precision,
            "pool": None if pool is None else whole("pool", pool, limit=MAX_RUNS),
            "devices": checked_devices(devices),
        }
        values["optimiser"].check(values["max_steps"])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def training_set(self, query: Query) -> Fits:
        """Give the examples to train on.

        Raises:
            ValueError: neither the method nor the query's classifier names any, or the labels or inputs do not fit the
                model.
        """
        if query.weighting.name != "none":
            raise ValueError(
                f"Trained counts runs, each once, and symmetry={query.weighting.name!r} is a way to weigh the prior: "
                "ask with symmetry='none', or use volume.Direct."
            )
        labelled = query.classifier.labelled_inputs()
        data = self.on or (labelled and Fits(*labelled))
        if data is None:
            raise ValueError(
                f"Trained needs labels to train on, and {query.classifier!r} names none: pass on=volume.Fits(inputs, "
                "labels), or ask volume.Direct for the volume of all functions."
            )
        if data.inputs.shape[1:] != tuple(query.model.input_shape):
            raise ValueError(
                f"The training inputs have shape {data.inputs.shape[1:]} each, and the model takes inputs of shape "
                f"{tuple(query.model.input_shape)}."
            )
        data.bind(data.domain(), query.model.num_outputs)  # ValueError for labels that the model cannot give
        return data

    def start(self, query: Query, key: Array) -> TrainedRun:
        """Begin. Errors as in :meth:`training_set`, and ValueError for an initial law that does not fit the model."""
        on = self.training_set(query)
        initial = self.initial or query.prior
        initial.check(query.model.parameters)
        devices = list(block_mesh(self.devices).devices.flat)
        group, groups, pools = pool_sizes(self.runs, devices, self.pool)
        slots = group * groups * pools
        what = f"The training of {slots:,} networks at once"
        check_room(what, 4 * num_parameters(query.model) * slots, "give a smaller pool=, or a smaller network")
        batch_size = min(self.batch_size or len(on.labels), len(on.labels))
        training = Training(
            model=query.model,
            initial=initial,
            optimiser=self.optimiser,
            objective=self.objective,
            num_examples=len(on.labels),
            batch_size=batch_size,
            max_steps=self.max_steps,
            stop_at_fit=self.stop == "fit",
            extra_epochs=self.over_training,
            group=group,
        )
        plan = Plan(training, query.bound, groups, self.precision)
        return TrainedRun(
            query,
            key,
            plan,
            on,
            runs=self.runs,
            devices=devices,
            pools=pools,
            dtype=self.dtype,
            description=self.describe(query, on),
        )

    def describe(self, query: Query, on: Fits) -> dict[str, Any]:
        """Describe the run as JSON."""
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


def _optimiser(
    optimiser: Any, rate: float | None, schedule: str | None, options: Mapping[str, Any] | None
) -> Optimiser:
    if isinstance(optimiser, Optimiser):
        doubled = {"learning_rate": rate, "schedule": schedule, "options": options}
        for name, value in doubled.items():
            if value is not None:
                raise ValueError(f"{name}={value!r} belongs to the optimiser, which was given whole: set it there.")
        return optimiser
    settings: dict[str, Any] = {"learning_rate": rate, "schedule": schedule, "options": options}
    return Optimiser(optimiser, **{name: value for name, value in settings.items() if value is not None})
