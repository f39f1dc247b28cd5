"""Splitting: volumes of rare classes, down to 1e-1000 and below, by a chain of conditional probabilities.

Quantity: V(C) = P(C) under the prior. Estimator: p_hat = prod_k P_hat(score >= l_k | score >= l_{k-1}), the last factor
being that of the class itself as its classifier decides it (smc/step.py says how a factor is made and why p_hat is
unbiased). Levels and steps come from a pilot (smc/pilot.py) whose draws are thrown away. Interval: R independent
replicates with the same constants, treated as a lognormal sample, and beside it a lower bound that assumes nothing
(volume.statistics.replicates). References: Kahn and Harris 1951; Au and Beck 2001; Del Moral, Doucet and Jasra 2006.

Shape letters: R replicates, N particles of one, P moves, M inputs that the guide reads, K classes of a split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from volume.classifiers.base import MAX_DEVICE_CLASSES, OUTSIDE, BoundClassifier, Conditional
from volume.common.choices import LAST_LAYERS
from volume.common.logs import LN10
from volume.common.progress import Progress
from volume.common.records import ADDED_LATER
from volume.common.seeds import fold_in
from volume.common.validation import check_arithmetic, check_choice
from volume.errors import whole
from volume.estimators.smc.scheme import MAX_MOVES, MAX_PARTICLES, MAX_POINTS, MAX_REPLICATES, check_particles
from volume.estimators.splitting.class_run import PILOTS, ClassRun
from volume.estimators.splitting.entries import class_entry, split_entry
from volume.estimators.splitting.importance import importance_function
from volume.estimators.splitting.look import look
from volume.estimators.splitting.parts import STREAM_VERSION
from volume.estimators.splitting.schemes import HEAD_POINTS, ClassScheme, scheme_for
from volume.functions.importance import ImportanceFunction, Seen
from volume.models import num_parameters
from volume.queries.computed import computed
from volume.queries.query import Query
from volume.reports.entries import ReplicatedVolume
from volume.reports.facts import Facts
from volume.reports.named import EstimateReport
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.samplers import block_mesh, checked_devices
from volume.statistics.replicates import MIN_HIT

FLOOR = -1500.0  # log10
TABLES = 10  # listed of a Given within truth tables whose functions are not named
MIN_REPLICATES = 3  # one of them chooses which, and an interval needs two


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Multiply conditional probabilities along levels of a score, in independent replicates.

    Args:
        particles: N of one replicate. The spread of log p_hat falls as 1 / sqrt(N).
        replicates: R, at least 2; the interval is meant for 8 and more.
        moves: P of each particle at each level.
        labels: the classes to answer for. Default: "fits" for `Fits`, the highest bin for `Accuracy`, and for `Given`
            all classes of its split by one run to the class that is given. `Given` split by truth tables: the functions
            to count in that run. Default: those that its first tenth of replicates meets most, at most 10, estimated
            by the others.
        score: a function of one network's outputs, [N] or [N, C], that rises on the way to the class. Default: margins.
            It guides only: a class without margins (`Predicate`, `LempelZiv`) needs one, any choice is unbiased.
        chain: reach labels one after the other, by the chain rule, instead of all by their smallest margin.
        resolve: give each class of a `Given` that fewer than 4 replicates met a run of its own.
        last_layer: "moved" with the other layers, or "integrated": particles are the layers below, and each counts by
            the chance that a last layer gives the labels. For sets of labels, a linear last layer and independent
            Gaussians for it.
        target_error: half-width of the interval that is wanted, in log10. A trial sizes N; a fresh set of replicates
            with it is all that is reported.
        body_points, head_points: points of a window (volume.samplers.Arcs). Default: 4 x 16; 16 where a network is
            moved as a whole.
        floor: log10 of the volume below which a class is given up.
        dtype: "float32" or "float64".
        precision: matrix-product precision, as for `Direct`.
        devices: JAX devices to spread particles over. Default: all local ones. Answers do not depend on their number.

    Raises:
        ValueError, TypeError: numbers that are not whole or out of range, an unknown dtype or precision.
    """

    particles: int = 256
    replicates: int = 8
    moves: int = 16
    labels: Sequence[Any] | None = None
    score: Callable[[Array], Any] | None = None
    chain: bool = False
    resolve: bool = False
    last_layer: str = field(default="moved", metadata=ADDED_LATER)
    target_error: float | None = None
    body_points: int | None = None
    head_points: int = HEAD_POINTS
    floor: float = FLOOR
    dtype: str = "float32"
    precision: str = "highest"
    devices: tuple[Any, ...] | None = field(default=None, compare=False)

    name = "splitting"

    def __post_init__(self) -> None:
        check_arithmetic(self.dtype, self.precision)
        check_choice("last_layer", self.last_layer, LAST_LAYERS)
        for name, least, limit in (
            ("particles", 2, MAX_PARTICLES),
            ("replicates", 2, MAX_REPLICATES),
            ("moves", 1, MAX_MOVES),
            ("body_points", 2, MAX_POINTS),
            ("head_points", 2, MAX_POINTS),
        ):
            if name == "body_points" and self.body_points is None:
                continue
            object.__setattr__(self, name, whole(name, getattr(self, name), least=least, limit=limit))
        if self.score is not None and self.chain:
            raise ValueError("chain=True orders the labels of the margins that score= replaces: leave one of them out.")
        if self.last_layer == "integrated" and (self.score is not None or self.chain):
            raise ValueError(
                'score= and chain= say how a moved last layer is led to a class, and last_layer="integrated" goes by '
                "the chance of the labels: leave them out."
            )
        if self.score is not None and not callable(self.score):
            raise TypeError(f"score={self.score!r} is not a function of one network's outputs.")
        if self.target_error is not None and not 0 < self.target_error < math.inf:
            raise ValueError(f"target_error={self.target_error!r} is a half-width in log10: give for example 0.5.")
        if not self.floor < 0:
            raise ValueError(f"floor={self.floor!r} is the log10 of a small volume: give for example -1500.")
        object.__setattr__(self, "devices", checked_devices(self.devices))
        labels = self.labels
        if labels is not None:
            labels = (labels,) if isinstance(labels, str) or not isinstance(labels, Sequence) else tuple(labels)
            if not labels:
                raise ValueError("labels is empty: name one class or more, or leave it out.")
            object.__setattr__(self, "labels", labels)

    def start(self, query: Query, key: Array) -> SplittingRun:
        """Begin. ValueError for a prior that draws from a key alone, a class without a score, or an empty one."""
        query.refuse_pooling("Splitting")
        if not query.prior.has_transform:
            raise ValueError(
                f"Splitting moves standard normals that a prior transforms, and {query.prior!r} "
                + (
                    "has finitely many points instead: use volume.Exact, which counts all of them, or volume.Direct."
                    if getattr(query.prior, "finite", False)
                    else "draws from a key instead: use volume.Direct, or a prior such as volume.samplers.Gaussian or "
                    "Uniform."
                )
            )
        return SplittingRun(self, query, key)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        score = None if self.score is None else getattr(self.score, "__qualname__", type(self.score).__name__)
        names = ("particles", "replicates", "moves", "chain", "resolve", "target_error", "body_points", "head_points")
        settings = {name: getattr(self, name) for name in (*names, "floor", "dtype", "precision")}
        if self.last_layer != LAST_LAYERS[0]:  # records without it are of moved ones
            settings["last_layer"] = self.last_layer
        return {"name": self.name, **settings, "score": score}


class _Part(NamedTuple):
    """A class of Given's split that is reported."""

    label: str
    column: int | None  # of the shares; None: a table that no replicate met
    chosen_by: int = 0  # replicates, the first ones, that chose it


class SplittingRun:
    """A query being answered, class after class.

    ``order`` is the stream version: version 1 scaled every score by the prior's outputs too, and had one pilot.
    """

    def __init__(self, method: Splitting, query: Query, key: Array, order: int = STREAM_VERSION):
        stands = computed(query, method.dtype)
        stands.require_safe("Splitting")
        self._method, self._query, self._key, self._order = method, stands.query, key, order
        self._inputs = stands.inputs
        bound = query.bound
        check_particles(num_parameters(query.model), method.particles, method.replicates)
        self._seen: Seen | None = None
        self._stored: list[StoredCheckpoint] = []
        self._share, self._whole = (0, 1), True
        self._given: Conditional | None = None
        self._named: list[Any] | None = None  # functions whose shares are asked for
        if isinstance(bound, Conditional) and (bound.num_classes is None or method.labels is None):
            self._given = bound
            if method.last_layer == "integrated":
                raise ValueError(
                    f"The shares of {bound.classifier!r} are read from whole networks, and particles of "
                    'last_layer="integrated" have no last layer: give last_layer="moved", or name classes with '
                    "labels=, which get runs of their own."
                )
            if bound.num_classes is None:
                self._named = self._names(bound)
            else:
                self._check_split(bound)
            self._runs = [self._class_run(0, self._given.within, self._given.wanted, split=self._given.split)]
        else:
            labels = _default_labels(bound) if method.labels is None else method.labels
            indices = [bound.index(label) for label in labels]
            if len(set(indices)) < len(indices):
                raise ValueError(f"labels={labels!r} must name each class once.")
            for index in indices:  # errors of any class come before anything is traced
                importance_function(bound, bound.label(index), score=method.score, chain=method.chain)
            if method.resolve:
                raise ValueError(
                    "resolve=True is about the parts of a Given that are answered together, and this query names "
                    "classes that have runs of their own: leave it out."
                )
            self._runs = [self._class_run(i, bound, index) for i, index in enumerate(indices)]
        self._resolved: dict[str, ClassRun] = {}  # by label of the split's class

    def _class_run(self, number: int, bound: Any, index: int, split: Any = None) -> ClassRun:
        method = self._method
        label = bound.label(index)
        score = importance_function(bound, label, score=method.score, chain=method.chain)
        if self._seen is None:
            self._seen = look(self._query, self._inputs, method.precision)
            if self._order == 1:
                self._seen = self._seen._replace(shrinks=False)
        made = ClassRun(
            label=label,
            number=number,
            make_scheme=self._scheme,
            score=score.seen(self._seen),
            inputs=self._inputs,
            split=split,
            key=fold_in(self._key, number),
            replicates=method.replicates,
            particles=method.particles,
            target_error=None if method.target_error is None else method.target_error * LN10,
            floor=method.floor * LN10,
            dtype=method.dtype,
            pilots=1 if self._order == 1 else PILOTS,
        )
        if self._stored:
            made.restore(self._stored)
        made.restrict(*self._share)
        return made

    def _scheme(self, score: ImportanceFunction, particles: int, replicates: int) -> ClassScheme:
        method = self._method
        return scheme_for(
            self._query,
            score,
            num_particles=particles,
            num_replicates=replicates,
            num_moves=method.moves,
            last_layer=method.last_layer,
            body_points=method.body_points,
            head_points=method.head_points,
            precision=method.precision,
            devices=method.devices,
        )

    # --- checkpoints (volume.estimators.splitting.parts) ---

    def constants(self) -> dict[str, Any]:
        """What parts mean beyond query, method and seed."""
        return {"order": self._order}

    def as_begun(self, constants: dict[str, Any]) -> None:
        """Go on as the version that wrote these constants did."""
        if constants.get("order") == 1:
            SplittingRun.__init__(self, self._method, self._query, self._key, order=1)

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take the pilots, replicates and states that are there."""
        self._stored = list(parts)
        for run in self._runs:
            run.restore(parts)
        self._add_unresolved()

    def restrict(self, index: int, count: int) -> None:
        """Do this share of every class's replicates; `resolve` begins when all of them have ended, in a later run."""
        self._share = index, count
        for run in self._all_runs:
            run.restrict(index, count)

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """What has ended since the last call, and now and then the state of what is under way."""
        return [part for run in self._all_runs for part in run.collect(all=all, whole=self._whole)]

    @property
    def class_runs(self) -> list[ClassRun]:
        """One for each class that was asked for."""
        return self._runs

    def _check_split(self, bound: Conditional) -> None:
        number = bound.split.num_classes
        if number is None or number > MAX_DEVICE_CLASSES:
            raise ValueError(
                f"Splitting counts the classes of Given's split, at most {MAX_DEVICE_CLASSES:,}, and "
                f"{bound.split.classifier!r} has {'one for each table' if number is None else f'{number:,}'}: "
                "split by Ones, Accuracy, LempelZiv or Fits, or name the classes with labels=."
            )

    def _names(self, bound: Conditional) -> list[str] | None:
        """The functions that the method names, as reports write them; None: none of them."""
        method = self._method
        if method.labels is None:
            if method.replicates < MIN_REPLICATES:
                raise ValueError(
                    f"{method.replicates} replicates cannot both choose functions and estimate them: name some with "
                    f"labels=, or give {MIN_REPLICATES} replicates or more."
                )
            return None
        indices = [bound.index(label) for label in method.labels]  # KeyError for one that does not fit
        names = [bound.label(index) for index in indices]
        if OUTSIDE in names:
            raise ValueError(f"Splitting counts functions within what is given: leave {OUTSIDE!r} out of labels=.")
        if len(set(names)) < len(names):
            raise ValueError(f"labels={method.labels!r} must name each class once.")
        return names

    def _parts(self) -> list[_Part]:
        """The classes of Given's split to report, as far as the run to the class that is given has come."""
        condition, run = self._given, self._runs[0]
        assert condition is not None
        if run.shares is None:
            return []
        if condition.num_classes is not None:
            return [_Part(condition.label(index), index) for index in range(run.shares.shape[1])]
        assert run.tables is not None
        if self._named is not None:
            at = {label: column for column, label in enumerate(condition.labels(run.tables))}
            return [_Part(label, at.get(label)) for label in self._named]
        done, first = len(run.shares), max(1, self._method.replicates // 10)
        while first < done and max(run.log_estimates[:first]) == -math.inf:  # dead ones met nothing
            first += 1
        if done < first + 2:
            return []
        weight = np.array(run.log_estimates[:first])
        met = np.exp(weight - weight.max()) @ np.nan_to_num(run.shares[:first])
        met[~condition.holds(run.tables)] = 0  # rounding may decide a tie anew
        order = np.argsort(-met, kind="stable")[:TABLES]
        columns = order[met[order] > 0]
        labels = condition.labels(run.tables[columns])
        return [_Part(label, int(column), first) for label, column in zip(labels, columns, strict=True)]

    @property
    def _all_runs(self) -> tuple[ClassRun, ...]:
        return (*self._runs, *self._resolved.values())

    @property
    def _active(self) -> ClassRun | None:
        return next((run for run in self._all_runs if not run.done), None)

    @property
    def done(self) -> bool:
        return self._active is None

    def advance(self) -> None:
        """One level of the pilot, or of as many replicates as are held at once."""
        run = self._active
        assert run is not None
        self._whole = False  # until the step is done: one that Ctrl-C cuts short has no state that could go on
        run.advance()
        self._add_unresolved()
        self._whole = True

    def _add_unresolved(self) -> None:
        """Runs of their own for the classes that too few replicates met, once all of them have ended."""
        condition = self._given
        if not self._method.resolve or condition is None or self._resolved or not self._runs[0].complete:
            return
        shares = self._runs[0].shares
        for number, part in enumerate(self._parts()):
            met = 0 if shares is None or part.column is None else np.sum(shares[part.chosen_by :, part.column] > 0)
            if met >= MIN_HIT:
                continue
            try:
                self._resolved[part.label] = self._class_run(1 + number, condition, condition.index(part.label))
            except ValueError:  # nothing leads there: the class stays "not resolved"
                continue

    def progress(self) -> Progress:
        runs = self._all_runs
        run = self._active or runs[-1]
        return Progress(
            done=sum(run.fraction for run in runs),
            total=len(runs),
            unit="classes",
            words=(f"{run.label}: " if len(runs) > 1 else "") + run.words,
            note=f"{sum(run.evaluations for run in runs) / 1e6:.2f} M evaluations",
        )

    def report(self, facts: Facts) -> EstimateReport | None:
        """Return entries of the classes that are answered so far."""
        entries: list[ReplicatedVolume] = []
        for run in self._runs:
            if run.some:
                entries += self._given_entries(run, facts.level) if self._given else [class_entry(run, facts.level)]
        if not entries:
            return None
        runs = self._all_runs
        return EstimateReport.of(
            facts,
            tuple(entries),
            method=self._method.describe(),
            conventions=facts.query.conventions(dtype=self._method.dtype, precision=self._method.precision),
            devices=list(block_mesh(self._method.devices).devices.flat),
            evaluations=sum(run.evaluations for run in runs),
            num_nonfinite=sum(run.num_nonfinite for run in runs),
            nonfinite_checked=sum(run.num_drawn for run in runs),
        )

    def _given_entries(self, run: ClassRun, level: float) -> list[ReplicatedVolume]:
        """The class that is given, and every class of the split within it."""
        within = class_entry(run, level)
        parts = self._parts()
        if any(within.label == part.label for part in parts):
            within = replace(within, label=f"given {within.label}")  # the split has a class of that name
        entries = [within]
        for part in parts:
            own = self._resolved.get(part.label)
            if own is not None and own.some:
                entries.append(class_entry(own, level, within=run))
            else:
                entries.append(split_entry(run, part.label, part.column, level, part.chosen_by))
        return entries


def _default_labels(bound: BoundClassifier) -> tuple[Any, ...]:
    if bound.default_labels:
        return bound.default_labels
    raise ValueError(
        f"Splitting answers for named classes: pass labels=, for example volume.Splitting(labels=[...]), "
        f"to say which of {bound.classifier!r}."
    )
