"""The run of one class by splitting: pilot, perhaps a trial that sizes the rest, then independent replicates.

Shape letters: R replicates, G of them held at once, N particles of one, L levels, K classes of a split.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import Array

from volume import replicates
from volume.class_estimate import MAX_SPREAD, PART_OF, ReplicatedVolume, replicated_volume
from volume.classifier import BoundClassifier
from volume.guides import Guide
from volume.levels import Target, advance, draw, survey
from volume.logs import LN10
from volume.models import Params
from volume.moves import Stage
from volume.pilot import Pilot, cost
from volume.replicates import Share
from volume.tables import pack

STATE_BYTES = 1 << 29  # of particles held at once; more replicates go one group after the other
COPIES = 6  # of a state while a level is computed
SPREAD_MARGIN = 1.25  # a spread seen in 8 replicates may be a third too small
MAX_PARTICLES = 1 << 22
PILOT, TRIAL, RUN = 0, 1, 2  # their keys


class ClassRun:
    """One class being answered; ``advance`` until ``done``.

    Args:
        label: of the class, for reports.
        guide: to it, reading outputs at inputs of the domain.
        make_target: the compiled steps' target for a guide and a number of particles.
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
        guide: Guide,
        make_target: Callable[[Guide, int], Target],
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
        self.evaluations = self.num_nonfinite = self.num_drawn = 0
        self.shares: np.ndarray | None = None  # [R, K] of the split among each replicate's final particles
        self.tables: np.ndarray | None = None  # [K, W] keys of the K tables met, where the split is by tables
        self.log_estimates: list[float] = []
        self.notes: list[str] = []
        self._rows, self._domain_inputs = guide.rows, inputs
        onto = guide.onto(guide.rows)
        # Classes of one shape share their compiled steps: what differs is data.
        self._guide, self.data, self._make_target = onto.blank(), onto.data(), make_target
        self._inputs = inputs[guide.rows]
        self._key, self._replicates = key, replicates
        self._target_error, self._x64 = target_error, dtype == "float64"
        self._trial = target_error is not None  # still to do
        self._target = make_target(self._guide, particles)
        self._pilot = Pilot(self._target, self._inputs, jax.random.fold_in(key, PILOT), floor, self.data)
        self._group: _Group | None = None
        self._facts: list[dict[str, Any]] = []  # of finished groups
        self._splits: list[np.ndarray] = []

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
    def done(self) -> bool:
        if not self._pilot.done:
            return False
        return bool(self._pilot.problem) or (not self._trial and len(self.log_estimates) >= self._replicates)

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
        share = (len(self.log_estimates) + part) / self._replicates
        return 0.15 + 0.1 * share if self._trial else 0.25 + 0.75 * share

    @property
    def words(self) -> str:
        pilot = self._pilot
        if not pilot.done:
            return f"pilot at level {len(pilot.stages)}, log10 volume about {pilot.log_volume / LN10:.1f} so far"
        done, about = len(self.log_estimates), f"log10 volume about {pilot.log_volume / LN10:.1f}"
        if self._group is None:
            return f"{done} of {self._replicates} {'trial ' if self._trial else ''}replicates, {about}"
        last = done + self._group.size
        what = f"{'trial ' if self._trial else ''}replicates {done + 1} to {last} of {self._replicates}"
        return f"{what}, level {self._group.at} of {len(pilot.stages)}, {about}"

    def advance(self) -> None:
        """One level of the pilot or of a group of replicates."""
        with jax.enable_x64(self._x64):
            if not self._pilot.done:
                before = self._pilot.evaluations
                self._pilot.advance()
                self.evaluations += self._pilot.evaluations - before
                return
            if self._group is None:
                self._group = self._start_group()
            group = self._group
            group.advance()
            if group.done:
                self._finish(group)
                self._group = None

    def _start_group(self) -> _Group:
        start = len(self.log_estimates)
        state = sum(math.prod(p.shape) for p in self._target.arcs.model.parameters)
        held = STATE_BYTES // (COPIES * self._inputs.itemsize * state * self._target.num_particles)
        groups = math.ceil((self._replicates - start) / max(1, held))
        size = math.ceil((self._replicates - start) / groups)  # alike: each size is compiled anew
        key = jax.random.fold_in(self._key, TRIAL if self._trial else RUN)
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.arange(start, start + size))
        return _Group(self._target, keys, self._inputs, self._pilot.stages, self.data)

    def _finish(self, group: _Group) -> None:
        self.evaluations += group.evaluations
        self.num_nonfinite += group.num_nonfinite
        self.num_drawn += group.num_drawn
        self.log_estimates += group.log_estimates.tolist()
        if self._trial:
            if len(self.log_estimates) >= self._replicates:
                self._size()
            return
        self._facts.append(group.facts())
        if self.split is not None:
            found = group.survey(self.split, self._domain_inputs, self._rows)
            self.evaluations += group.size * cost(self._target)
            self._splits.append(found)
            if self.split.num_classes is None:
                self.tables, self.shares = _table_shares(np.concatenate(self._splits), self.log_estimates)
            else:
                self.shares = np.concatenate(self._splits)

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
            self._target = self._make_target(self._guide, num)
        self._trial = again
        if again:  # draws of its own for the next trial; no other key is folded with a number this large
            self._key = jax.random.fold_in(self._key, num)
        self.log_estimates = []

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
            reached = f"The pilot, one adaptive run, reached {where}: {why}."
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
            notes.append(
                f"Met by {share.num_hit} of {len(g)} replicates: its share is not resolved, below {share.high:.2g}. "
                "Give resolve=True for a run of its own."
            )
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
        if self._facts:
            names = ("ideal_variance", "moved", "ancestors")
            ideal, moved, ancestors = (np.concatenate([facts[name] for facts in self._facts]) for name in names)
            record |= {
                "ideal_spread": float(np.sqrt(np.mean(ideal))),
                "moved_least": float(moved.min()),
                "ancestors": float(ancestors.mean()),
            }
        return record


class _Group:
    """Replicates that go level by level together, each with its own key."""

    def __init__(
        self, target: Target, keys: Array, inputs: np.ndarray, stages: list[Stage], data: tuple[Any, ...] = ()
    ):
        self._target, self._keys, self._inputs, self._stages, self._data = target, keys, inputs, stages, data
        self.size = len(keys)
        self.at = self.num_levels = 0  # levels done
        self.log_estimates = np.zeros(self.size)
        self.num_drawn = self.num_nonfinite = 0
        self._ideal = np.zeros(self.size)
        self._moved: list[float] = []
        self._root = np.broadcast_to(np.arange(target.num_particles), (self.size, target.num_particles))
        self._z: Params | None = None

    @property
    def done(self) -> bool:
        return self.at == len(self._stages)

    @property
    def evaluations(self) -> int:
        return self.size * (self._target.num_particles + self.num_levels * cost(self._target))

    def _level_keys(self, number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self._keys)

    def advance(self) -> None:
        if self._z is None:
            self._z, finite = draw(self._target, self._level_keys(0), self._inputs)
            self.num_drawn = finite.size
            self.num_nonfinite = int(finite.size - np.sum(finite))
        stage = self._stages[self.at].cast(self._inputs.dtype)
        found = advance(self._target, self._level_keys(self.at + 1), self._z, self._inputs, stage, self._data)
        self._z = found.z
        factor = np.asarray(found.factor, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.log_estimates = self.log_estimates + np.log(factor)
            relative = np.asarray(found.weight_square, float) / factor**2 - 1
            relative = np.maximum(relative, 0)  # rounding may put it below where all weights are alike
            self._ideal = self._ideal + relative / self._target.num_particles
        self._root = np.take_along_axis(self._root, np.asarray(found.parent), axis=1)
        self._moved.append(float(found.moved))
        self.at += 1
        self.num_levels = self.at  # run, as against left out
        if np.all(self.log_estimates == -math.inf):
            self.at = len(self._stages)

    def survey(self, split: BoundClassifier, inputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Shares [G, K] of the split's classes; nan for a replicate that died. For tables their keys [G, V, W]."""
        assert self._z is not None
        stage = self._stages[-1]._replace(level=math.inf, next_level=math.inf).cast(self._inputs.dtype)
        keys = self._level_keys(len(self._stages) + 1)
        found = np.asarray(survey(self._target, split, keys, self._z, inputs, rows, stage, self._data))
        if split.route == "table":
            packed = pack(found.reshape(-1, found.shape[-1]), split.num_outputs)
            if split.num_classes is None:
                return packed.reshape(self.size, -1, packed.shape[1])
            found = split.classify_keys(packed)
        assert split.num_classes is not None
        met = np.stack([np.bincount(classes, minlength=split.num_classes) for classes in found.reshape(self.size, -1)])
        return np.where((self.log_estimates > -math.inf)[:, None], met / met.sum(axis=1, keepdims=True), np.nan)

    def facts(self) -> dict[str, np.ndarray]:
        alive = self.log_estimates > -math.inf
        ancestors = [len(np.unique(root)) for root in self._root]
        return {
            "ideal_variance": self._ideal[alive] if alive.any() else np.array([math.nan]),
            "moved": np.array(self._moved),
            "ancestors": np.array(ancestors, float),
        }


def _table_shares(keys: np.ndarray, log_estimates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct tables [K, W], in key order, of the keys [R, V, W] that replicates met, and their shares [R, K] of
    each one's; nan for a replicate that died."""
    num, visits, words = keys.shape
    found, which = np.unique(keys.reshape(-1, words), axis=0, return_inverse=True)
    cell = np.repeat(np.arange(num), visits) * len(found) + which.ravel()
    met = np.bincount(cell, minlength=num * len(found)).reshape(num, -1)
    return found, np.where((np.array(log_estimates) > -math.inf)[:, None], met / visits, np.nan)


def _spread_for(half_width: float, num: int) -> float:
    """The spread of log p_hat at which R replicates give an interval of this half-width, in nats."""
    low, high = 1e-6, 3.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        below, above = replicates.interval_offsets(np.array([middle]), num)
        low, high = (middle, high) if (above[0] - below[0]) / 2 < half_width else (low, middle)
    return low
