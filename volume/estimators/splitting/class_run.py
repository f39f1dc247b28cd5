"""The run of one class by splitting: pilot, perhaps a trial that sizes the rest, then independent replicates.

Its checkpoints (volume.estimators.splitting.parts) are the pilot's levels, the replicates that have ended, those of a
trial too, and now and then the state of what is under way. A run that goes on takes the pilot's levels from there, as
they are constants of all replicates; what belongs to other levels is left out.

Shape letters: R replicates, N particles of one, L levels, K classes of a split, M inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.logs import LN10
from volume.common.seeds import fold_in
from volume.estimators.smc.replicates import together
from volume.estimators.splitting.group import table_shares
from volume.estimators.splitting.parts import ClassParts, Phase, fingerprint
from volume.estimators.splitting.replicates import ClassReplicates
from volume.estimators.splitting.routes import route
from volume.estimators.splitting.schemes import ClassScheme
from volume.estimators.splitting.stage import Data
from volume.estimators.splitting.trial import sized
from volume.functions.importance import ImportanceFunction
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint

PILOT, TRIAL, RUN = 0, 1, 2  # their keys
PILOTS = 3  # tries


class ClassRun:
    """One class being answered; ``advance`` until ``done``.

    Args:
        label: of the class, for reports.
        number: of the class in its run, for checkpoints.
        score: the importance function, reading outputs at inputs of the domain.
        make_scheme: of an importance function, a number of particles and one of replicates.
        inputs: of the domain, [N, ...].
        split: how to divide what is found in the class; None: not at all.
        key: consumed.
        replicates, particles: R and N.
        target_error: half-width of the interval wanted, in nats; None: R and N as they are.
        floor: natural log of the volume at which to give up.
        pilots: tries.
    """

    def __init__(
        self,
        *,
        label: str,
        number: int,
        score: ImportanceFunction,
        make_scheme: Callable[[ImportanceFunction, int, int], ClassScheme],
        inputs: np.ndarray,
        split: BoundClassifier | None,
        key: Array,
        replicates: int,
        particles: int,
        target_error: float | None,
        floor: float,
        dtype: str,
        pilots: int = PILOTS,
    ):
        self.label, self.split = label, split
        self._spent = self._lost = self._drawn = 0  # evaluations, networks with NaN or inf and draws of trials
        self.shares: np.ndarray | None = None  # [R, K] of the split among each replicate's final particles
        self.tables: np.ndarray | None = None  # [K, W] keys of the K tables met, where the split is by tables
        self.notes: list[str] = []
        onto = score.onto(score.rows)
        # Classes of one shape share their compiled steps: what differs is data.
        self._score, self._make_scheme = onto.blank(), make_scheme
        self.data = Data(inputs[score.rows], onto.data())
        self._key, self._share = key, (0, 1)
        self._target_error, self._x64 = target_error, dtype == "float64"
        self.on_trial, self._trials = target_error is not None, 0  # still to do; done
        alone = make_scheme(self._score, particles, 1)
        make_pilot = route(alone.kernel).pilot
        self.pilot = make_pilot(alone, self.data, inputs.dtype, fold_in(key, PILOT), floor, pilots)
        self._store = ClassParts(number)
        scheme = make_scheme(self._score, particles, together(replicates))
        self.replicates = ClassReplicates(scheme, self.data, replicates, self._store, inputs, score.rows)

    @property
    def problem(self) -> str:
        """Why the pilot did not reach the class; empty when it did."""
        return self.pilot.problem

    @property
    def scheme(self) -> ClassScheme:
        return self.replicates.scheme

    @property
    def stages(self) -> list[Any]:
        return self.pilot.stages

    @property
    def log_estimates(self) -> list[float]:
        """Of the replicates that have ended, in the order of their numbers."""
        return [one.log_estimate for one in self.replicates.results]

    @property
    def evaluations(self) -> int:
        """Of networks, so far."""
        return self.pilot.evaluations + self._spent + self.replicates.total("evaluations")

    @property
    def num_drawn(self) -> int:
        """Fresh prior draws."""
        return self._drawn + self.replicates.total("drawn")

    @property
    def num_nonfinite(self) -> int:
        """Those with NaN or inf."""
        return self._lost + self.replicates.total("nonfinite")

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        if not self.pilot.done:
            return False
        return bool(self.problem) or (not self.on_trial and self.replicates.done)

    @property
    def complete(self) -> bool:
        """Whether every replicate has ended."""
        return self.done and (bool(self.problem) or self.replicates.complete)

    @property
    def some(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.problem) or bool(self.stages)

    @property
    def fraction(self) -> float:
        """How much of the run is done, a guess."""
        if self.done:
            return 1.0
        if not self.pilot.done:
            return 0.1
        share = self.replicates.fraction
        return 0.15 + 0.1 * share if self.on_trial else 0.25 + 0.75 * share

    @property
    def words(self) -> str:
        """Where it stands, for progress."""
        about = f"log10 volume about {self.pilot.log_total / LN10:.1f}"
        if not self.pilot.done:
            number = f" {self.pilot.given_up + 1} of {self.pilot.tries}" if self.pilot.given_up else ""
            return f"pilot{number} at level {len(self.stages)}, {about} so far"
        return f"{self.replicates.words('trial ' if self.on_trial else '')}, {about}"

    def advance(self) -> None:
        """Take one level of the pilot or of a group of replicates."""
        with jax.enable_x64(self._x64):
            if not self.pilot.done:
                self.pilot.advance()
                self._begin()
                return
            before = len(self.replicates.finished)
            self.replicates.advance()
            if len(self.replicates.finished) > before:
                self._settle()

    def _begin(self) -> None:
        """Begin a trial, or the run, once the pilot has ended: what is left of it."""
        if not self.pilot.done or self.problem:
            return
        phase = Phase(self._trials if self.on_trial else None, fingerprint(self.stages, self.scheme))
        key = fold_in(self._key, TRIAL if self.on_trial else RUN)
        self.replicates.start(phase, self.stages, key, self._share, self.split)
        self._settle()

    def _settle(self) -> None:
        """Look at the replicates that have ended: a whole trial sizes the run; those of a run say how it divides."""
        if self.on_trial:
            if self.replicates.complete:
                self._size()
        elif self.split is not None and self.replicates.finished:
            splits = np.stack([np.asarray(one.split) for one in self.replicates.results])
            if self.split.num_classes is None:
                self.tables, self.shares = table_shares(splits, self.log_estimates)
            else:
                self.shares = splits

    def _size(self) -> None:
        """Set N by the trial's spread; its estimates are forgotten."""
        assert self._target_error is not None
        replicates, before = self.replicates, self.scheme.num_particles
        num, again, note = sized(self.log_estimates, before, self._target_error)
        self.notes += [note] if note else []
        self._spent += replicates.total("evaluations")
        self._lost += replicates.total("nonfinite")
        self._drawn += replicates.total("drawn")
        if num > before:
            replicates.scheme = self._make_scheme(self._score, num, together(replicates.num))
        self.on_trial, self._trials = again, self._trials + 1
        if again:  # draws of its own for the next trial; no other key is folded with a number this large
            self._key = fold_in(self._key, num)
        self._begin()

    # --- checkpoints ---

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take what is there of this class."""
        with jax.enable_x64(self._x64):
            self._store.take(parts)
            self._store.pilot_into(self.pilot)
            self._begin()

    def restrict(self, index: int, count: int) -> None:
        """Do this share of the replicates; the pilot and a trial are made by every process, alike."""
        self._share = index, count
        self._begin()

    def collect(self, *, all: bool = False, whole: bool = True) -> list[Checkpoint]:
        """What has ended since the last call, and now and then the state of what is under way; not ``whole``: the last
        step was cut short, and there is no such state."""
        first = not self._share[0]  # the first process keeps the pilot and the trial for all
        parts = self._store.collect_pilot(self.pilot, all=all) if whole and first else []
        return parts + self.replicates.collect(all=all, whole=whole)
