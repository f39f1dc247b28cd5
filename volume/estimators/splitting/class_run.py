"""The run of one class by splitting: pilot, perhaps a trial that sizes the rest, then independent replicates.

Its parts (volume.splitting_parts) are the pilot's levels, the replicates that have ended, those of a trial too, and now
and then the state of what is under way. A run that goes on takes the pilot's levels from there, as they are constants
of all replicates; what belongs to other levels is left out.

Shape letters: R replicates, G of them held at once, N particles of one, L levels, K classes of a split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.logs import LN10
from volume.estimators.smc.group import Group, Replicate, table_shares
from volume.estimators.smc.pilot import Pilot
from volume.estimators.smc.step import Target
from volume.estimators.splitting.guides import Guide
from volume.estimators.splitting.parts import ClassParts, Phase, StateParts, fingerprint
from volume.estimators.splitting.windows import Stage
from volume.reports.entries import MAX_SPREAD, PART_OF, ReplicatedVolume, replicated_volume
from volume.reports.notes import ONLY_PILOT, UNRESOLVED, Note
from volume.runs.parts import Part, StoredPart
from volume.statistics import replicates
from volume.statistics.replicates import Share

STATE_BYTES = 1 << 29  # of particles held at once; more replicates go one group after the other
COPIES = 6  # of a state while a level is computed
SPREAD_MARGIN = 1.25  # a spread seen in 8 replicates may be a third too small
MAX_PARTICLES = 1 << 22
PILOT, TRIAL, RUN = 0, 1, 2  # their keys


class ClassRun:
    """One class being answered; ``advance`` until ``done``.

    Args:
        label: of the class, for reports.
        number: of the class in its run, for parts.
        guide: to it, reading outputs at inputs of the domain.
        make_target: the compiled steps' target for a guide, a number of particles and one of replicates.
        inputs: of the domain, [N, ...].
        split: how to divide what is found in the class; None: not at all.
        key: consumed.
        replicates, particles: R and N.
        target_error: half-width of the interval wanted, in nats; None: R and N as they are.
        floor: natural log of the volume at which to give up.
    """

    def __init__(
        self,
        *,
        label: str,
        number: int,
        guide: Guide,
        make_target: Callable[[Guide, int, int], Target],
        inputs: np.ndarray,
        split: BoundClassifier | None,
        key: Array,
        replicates: int,
        particles: int,
        target_error: float | None,
        floor: float,
        dtype: str,
    ):
        self.label, self.split = label, split
        self._spent = self._lost = self._drawn = 0  # evaluations, networks with NaN or inf and draws of trials
        self.shares: np.ndarray | None = None  # [R, K] of the split among each replicate's final particles
        self.tables: np.ndarray | None = None  # [K, W] keys of the K tables met, where the split is by tables
        self.notes: list[str] = []
        self._rows, self._domain_inputs = guide.rows, inputs
        onto = guide.onto(guide.rows)
        # Classes of one shape share their compiled steps: what differs is data.
        self._guide, self.data, self._make_target = onto.blank(), onto.data(), make_target
        self._inputs = inputs[guide.rows]
        self._key, self._replicates = key, replicates
        self._target_error, self._x64 = target_error, dtype == "float64"
        self._trial, self._trials = target_error is not None, 0  # still to do; done
        self._share = 0, 1
        self._target = make_target(self._guide, particles, replicates)
        alone = make_target(self._guide, particles, 1)
        self._pilot = Pilot(alone, self._inputs, jax.random.fold_in(key, PILOT), floor, self.data)
        self._found: dict[int, Replicate] = {}  # of this phase, the trial or the run, by number
        self._todo: list[int] | None = None  # replicates of this phase left to this process; None: not looked at yet
        self._waiting: list[StateParts] = []  # groups that go on from a state
        self._group: Group | None = None
        self._store = ClassParts(number)

    @property
    def problem(self) -> str:
        """Why the pilot did not reach the class; empty when it did."""
        return self._pilot.problem

    @property
    def target(self) -> Target:
        return self._target

    @property
    def stages(self) -> list[Stage]:
        return self._pilot.stages

    @property
    def inputs(self) -> np.ndarray:
        """[M, ...]: those that the guide reads."""
        return self._inputs

    @property
    def log_estimates(self) -> list[float]:
        """Of the replicates that have ended, in the order of their numbers."""
        return [self._found[number].log_estimate for number in sorted(self._found)]

    @property
    def evaluations(self) -> int:
        """Of networks, so far."""
        return self._pilot.evaluations + self._spent + sum(each.evaluations for each in self._found.values())

    @property
    def num_drawn(self) -> int:
        """Fresh prior draws."""
        return self._drawn + sum(each.drawn for each in self._found.values())

    @property
    def num_nonfinite(self) -> int:
        """Those with NaN or inf."""
        return self._lost + sum(each.nonfinite for each in self._found.values())

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        if not self._pilot.done:
            return False
        if self._pilot.problem:
            return True
        return not self._trial and self._todo == [] and self._group is None and not self._waiting

    @property
    def complete(self) -> bool:
        """Whether nothing is left to any."""
        return self.done and (bool(self._pilot.problem) or len(self._found) == self._replicates)

    @property
    def some(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._pilot.problem) or bool(self._pilot.stages)

    @property
    def fraction(self) -> float:
        """How much of the run is done, a guess."""
        if self.done:
            return 1.0
        if not self._pilot.done:
            return 0.1
        group = self._group
        part = 0.0 if group is None else group.size * group.at / max(1, len(self._pilot.stages))
        share = (len(self._found) + part) / self._replicates
        return 0.15 + 0.1 * share if self._trial else 0.25 + 0.75 * share

    @property
    def words(self) -> str:
        pilot = self._pilot
        if not pilot.done:
            return f"pilot at level {len(pilot.stages)}, log10 volume about {pilot.log_volume / LN10:.1f} so far"
        done, about = len(self._found), f"log10 volume about {pilot.log_volume / LN10:.1f}"
        if self._group is None:
            return f"{done} of {self._replicates} {'trial ' if self._trial else ''}replicates, {about}"
        first, last = self._group.numbers[0] + 1, self._group.numbers[-1] + 1
        what = f"{'trial ' if self._trial else ''}replicates {first} to {last} of {self._replicates}"
        return f"{what}, level {self._group.at} of {len(pilot.stages)}, {about}"

    def advance(self) -> None:
        """One level of the pilot or of a group of replicates."""
        with jax.enable_x64(self._x64):
            if not self._pilot.done:
                self._pilot.advance()
                if self._pilot.done and not self._pilot.problem:
                    self._begin()
                return
            if self._group is None:
                self._group = self._start_group()
            group = self._group
            group.advance()
            if group.done:
                self._finish(group)
                self._group = None

    def _phase(self) -> Phase:
        """What is under way once the pilot has ended."""
        return Phase(self._trials if self._trial else None, fingerprint(self._pilot.stages, self._target))

    def _begin(self) -> None:
        """A trial, or the run: what is left of it."""
        self._found = self._store.finished(self._phase())
        if self._trial and len(self._found) == self._replicates:
            return self._size()
        left = [number for number in range(self._replicates) if number not in self._found]
        self._waiting = self._store.states(self._phase(), left)
        held = {number for state in self._waiting for number in state.numbers}
        left = [number for number in left if number not in held]
        if not self._trial:  # whose outcome every process needs: each makes the same one
            index, count = self._share
            self._waiting = self._waiting[index::count]
            left = left[len(left) * index // count : len(left) * (index + 1) // count]
        self._todo = left
        self._divide()
        return None

    def _start_group(self) -> Group:
        assert self._todo is not None
        key = jax.random.fold_in(self._key, TRIAL if self._trial else RUN)
        if self._waiting:
            stored = self._waiting.pop(0)
            self._store.resumed(stored)
            group = Group(self._target, stored.numbers, key, self._inputs, self._pilot.stages, self.data)
            group.go_on(stored.read(self._target))
            return group
        state = sum(math.prod(p.shape) for p in self._target.arcs.model.parameters)
        held = STATE_BYTES // (COPIES * self._inputs.itemsize * state * self._target.num_particles)
        groups = math.ceil(len(self._todo) / max(1, held))
        size = math.ceil(len(self._todo) / groups)  # alike: each size is compiled anew
        numbers, self._todo = self._todo[:size], self._todo[size:]
        return Group(self._target, numbers, key, self._inputs, self._pilot.stages, self.data)

    def _finish(self, group: Group) -> None:
        split = None
        if self.split is not None and not self._trial:
            split = group.survey(self.split, self._domain_inputs, self._rows)
        found = group.found(split)
        self._found |= found
        if not self._trial or not self._share[0]:
            self._store.ended(self._phase(), found)
        if self._trial:
            if len(self._found) == self._replicates:
                self._size()
            return
        self._divide()

    def _divide(self) -> None:
        """How the class divides, by the replicates that have ended."""
        if self.split is None or self._trial or not self._found:
            return
        splits = np.stack([np.asarray(self._found[number].split) for number in sorted(self._found)])
        if self.split.num_classes is None:
            self.tables, self.shares = table_shares(splits, self.log_estimates)
        else:
            self.shares = splits

    # --- parts ---

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Take what is there of this class."""
        with jax.enable_x64(self._x64):
            self._store.take(parts)
            self._store.pilot_into(self._pilot)
            if self._pilot.done and not self._pilot.problem:
                self._begin()

    def restrict(self, index: int, count: int) -> None:
        """Do this share of the replicates; the pilot and a trial are made by every process, alike."""
        self._share = index, count
        if self._pilot.done and not self._pilot.problem:
            self._begin()

    def collect(self, *, all: bool = False, whole: bool = True) -> list[Part]:
        """What has ended since the last call, and now and then the state of what is under way; not ``whole``: the last
        step was cut short, and there is no such state."""
        alone = not self._share[0]  # the first process keeps the pilot and the trial for all
        parts = self._store.collect_pilot(self._pilot, all=all) if whole and alone else []
        group = self._group if whole and (alone or not self._trial) else None
        return parts + self._store.collect(None if group is None else (group, self._phase()), all=all)

    def _size(self) -> None:
        """Set N by the trial's spread; its estimates are forgotten."""
        assert self._target_error is not None
        spread = replicates.spread(self.log_estimates)
        # A wider interval than a spread of 1 gives would not lead (volume.class_estimate).
        wanted = min(_spread_for(self._target_error, self._replicates), MAX_SPREAD)
        again = math.isnan(spread) or spread > 1.5  # too wide to be trusted: try again with more
        factor = 4.0 if math.isnan(spread) else max(1.0, (SPREAD_MARGIN * spread / wanted) ** 2)
        if again:
            factor = min(max(factor, 4.0), 16.0)
        given = self._target.num_particles
        num = max(given, min(MAX_PARTICLES, math.ceil(given * factor)))
        if factor > 1 and num >= MAX_PARTICLES:
            self.notes.append(
                f"The interval wanted would take more than {MAX_PARTICLES:,} particles: give more moves or replicates."
            )
            again = False
        if num > given:
            self._target = self._make_target(self._guide, num, self._replicates)
        self._spent += sum(each.evaluations for each in self._found.values())
        self._lost += sum(each.nonfinite for each in self._found.values())
        self._drawn += sum(each.drawn for each in self._found.values())
        self._trial, self._trials = again, self._trials + 1
        if again:  # draws of its own for the next trial; no other key is folded with a number this large
            self._key = jax.random.fold_in(self._key, num)
        self._begin()

    # --- what is reported ---

    def entry(self, level: float, within: ClassRun | None = None) -> ReplicatedVolume:
        """The class's volume; with ``within``, a run of the class that is given, also its share of that."""
        pilot = self._pilot
        if pilot.problem or self._trial or not self.log_estimates:
            why = pilot.problem or "the run was stopped before a replicate had ended"
            where = f"about 10^{pilot.log_volume / LN10:.2f}"
            if pilot.level == math.inf:
                where = f"the class, of volume {where}"
            else:
                where = f"a region of volume {where} that holds all of the class"
            reached = Note(f"The pilot, one adaptive run, reached {where}: {why}.", ONLY_PILOT)
            entry = replicated_volume(self.label, [-math.inf], level, self._diagnostics())
            return replace(entry, notes=(reached, *self.notes))  # there was no replicate that could die
        share = None if within is None else self._share_of(within, level)
        return replicated_volume(self.label, self.log_estimates, level, self._diagnostics(), self.notes, share)

    def part(self, label: str, index: int | None, level: float, chosen_by: int = 0) -> ReplicatedVolume:
        """The volume of one class of the split within this class, and its share.

        ``index`` None: a table that no replicate met. ``chosen_by``: replicates, the first ones, that chose this class
        by what they met, and so do not estimate it.
        """
        assert self.shares is not None
        g = np.where(np.isnan(self.shares[:, :1]), np.nan, 0.0)[:, 0] if index is None else self.shares[:, index]
        g, estimates = g[chosen_by:], np.array(self.log_estimates)[chosen_by:]
        met = g > 0  # neither is one that died on the way
        logs = np.where(met, estimates + np.log(np.where(met, g, 1)), -math.inf)
        share = replicates.share_interval(estimates, g, level)
        notes = []
        if share.num_hit < replicates.MIN_HIT:
            note = (
                f"Met by {share.num_hit} of {len(g)} replicates: its share is not resolved, below {share.high:.2g}. "
                "Give resolve=True for a run of its own."
            )
            notes.append(Note(note, UNRESOLVED))
        diagnostics = {PART_OF: self.label} | ({"chosen_by_replicates": chosen_by} if chosen_by else {})
        return replicated_volume(label, logs, level, diagnostics, notes, share)

    def _share_of(self, within: ClassRun, level: float) -> Share:
        """The share from two independent runs: ends of intervals that hold at once with probability ``level``."""
        half = 1 - (1 - level) / 2
        part = replicated_volume("", self.log_estimates, half)
        whole = replicated_volume("", within.log_estimates, half)
        hit = sum(value > -math.inf for value in self.log_estimates)
        return Share(
            math.exp(min(0.0, part.log_volume - whole.log_volume)),
            math.exp(min(0.0, part.log_low - whole.log_high)),
            math.exp(min(0.0, part.log_high - whole.log_low)),
            hit,
        )

    def _diagnostics(self) -> dict[str, Any]:
        pilot = self._pilot
        record: dict[str, Any] = {
            "particles": self._target.num_particles,
            "moves": self._target.num_moves,
            "levels": len(pilot.stages),
            "evaluations": self.evaluations,
            "pilot_evaluations": pilot.evaluations,
            "pilot_log_volume": pilot.log_volume,
            "stages": [[value if math.isfinite(value) else None for value in stage] for stage in pilot.stages],
        }
        if not self._trial and self._found:
            each = [self._found[number] for number in sorted(self._found)]
            ideal = [one.ideal_variance for one in each if one.log_estimate > -math.inf]
            longest = max(len(one.moved) for one in each)
            moved = [np.mean([one.moved[at] for one in each if at < len(one.moved)]) for at in range(longest)]
            record |= {
                "ideal_spread": math.sqrt(np.mean(ideal)) if ideal else math.nan,
                "moved_least": float(min(moved)),
                "ancestors": float(np.mean([one.ancestors for one in each])),
            }
        return record


@cache  # a run that goes on from its parts sizes its trials again
def _spread_for(half_width: float, num: int) -> float:
    """The spread of log p_hat at which R replicates give an interval of this half-width, in nats."""
    low, high = 1e-6, 3.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        below, above = replicates.interval_offsets(np.array([middle]), num)
        low, high = (middle, high) if (above[0] - below[0]) / 2 < half_width else (low, middle)
    return low
