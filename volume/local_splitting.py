"""Local volume by splitting: inward from a law that covers the region, through nested cutoffs, in replicates.

Quantity, for each cutoff c: V(c) = prior{theta : D(anchor + t (theta - anchor)) <= c for t = 1/K, 2/K, ..., 1}, the
star-shaped region around the anchor as far as K points of a line can see it. K = 1 is the plain sublevel set {D <= c},
which is as large or larger: it holds whatever else is near in D, symmetric copies of the anchor too where D cannot tell
them apart and the moves get there. As K grows the region shrinks to the star-shaped one, at K evaluations a network.

Estimator: p_hat = prod of factors along levels of D and powers of the prior's weights (volume.region_moves says how a
factor is made and why p_hat is unbiased), with levels, powers, steps and the starting law all constants of the run
(volume.local_pilot, volume.local_cover). Each cutoff is a level, so one run has the whole curve log V(c), and the
factors between two cutoffs its slope. Interval: R independent replicates (volume.replicates).

Shape letters: R replicates, N particles of one, C cutoffs, n entries of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import special

from volume.class_estimate import ReplicatedVolume, replicated_volume
from volume.divergence import BoundDivergence
from volume.errors import unknown
from volume.levels import advance
from volume.local_cover import Cover, curved_cover, prior_cover, space_of
from volume.local_pilot import LocalPilot
from volume.logs import LN10
from volume.progress import Progress
from volume.region_moves import Region, RegionStage, Space, cost, draw
from volume.samplers import Prior

STARTS = ("cover", "prior")
POINTS = 16  # of a window
LINE_POINTS = 1  # K
BREADTH = 3.0  # the median divergence under the starting law, over the largest cutoff
FLOOR = -4000.0  # log10
MAX_PARAMETERS = 2000  # n: a law takes n^2 numbers, the levels rise with n
BATCH_FLOATS = 1 << 20  # of networks that are evaluated at the same time: they stay in a CPU's caches
LEAST_BATCH = 128  # smaller ones do not fill vectors
STATE_BYTES = 1 << 29  # of particles held at once; more replicates go one group after the other
COPIES = 6  # of a state while a level is computed
COVER, PILOT, RUN = 0, 1, 2  # their keys


class LocalSplitting:
    """The volumes around one anchor; ``advance`` until ``done``.

    Args:
        divergence: what bounds the region.
        prior: the measure; a Gaussian or Uniform unless ``start`` is "prior".
        anchor: parameters by name, at divergence 0.
        inputs: of the domain, [M, ...], in the dtype of the run.
        cutoffs: C of them, in any order; results come in descending order (``cutoffs``).
        key: consumed.
        particles, moves, replicates: N and P of a replicate, and R.
        points: G of a window.
        line_points: K.
        start: "cover", a Gaussian law around the anchor (volume.local_cover), or "prior".
        breadth: how far the starting law reaches, as a multiple of the largest cutoff.
        floor: log10 of the volume at which to give up.
        precision: of matrix products.

    Raises:
        ValueError: no cutoff, one that is negative or no number, more than 2,000 parameters, a prior that draws from a
            key alone, an anchor that is not at divergence 0; from the first ``advance``, one that the starting law
            cannot be built around.
    """

    def __init__(
        self,
        divergence: BoundDivergence,
        prior: Prior,
        anchor: Mapping[str, Any],
        inputs: np.ndarray,
        cutoffs: Sequence[float],
        key: Array,
        *,
        particles: int = 256,
        moves: int = 16,
        replicates: int = 8,
        points: int = POINTS,
        line_points: int = LINE_POINTS,
        start: str = "cover",
        breadth: float = BREADTH,
        floor: float = FLOOR,
        precision: str = "highest",
    ):
        if start not in STARTS:
            raise ValueError(unknown("start", start, STARTS))
        given = np.unique(np.asarray(list(cutoffs), float))[::-1]
        if not len(given) or not np.isfinite(given).all() or given[-1] < 0:
            raise ValueError(f"cutoffs={list(cutoffs)!r}: give one finite divergence or more, none below 0.")
        if not 1 < breadth < math.inf:
            raise ValueError(
                f"breadth={breadth!r}: the starting law must reach beyond the region; give e.g. {BREADTH:g}."
            )
        size = divergence.num_parameters
        if size > MAX_PARAMETERS:
            raise ValueError(
                f"Splitting around an anchor takes at most {MAX_PARAMETERS:,} parameters, and this model has {size:,}: "
                "use the estimator 'rays', which bounds the volume from below."
            )
        if not prior.has_transform:
            raise ValueError(
                f"Splitting moves standard normals that a prior transforms, and {prior!r} has none: use a prior such "
                "as volume.samplers.Gaussian."
            )
        self.cutoffs = tuple(float(value) for value in given)  # descending
        self.thresholds = tuple(float(value) for value in divergence.thresholds(self.cutoffs, len(inputs)))
        self._dtype = np.dtype(inputs.dtype)
        self._x64 = self._dtype == np.float64
        self._key, self._replicates, self._floor, self._breadth = key, replicates, floor * LN10, breadth
        self._start = start
        window = points * (line_points * len(inputs) * 2 * divergence.model.num_outputs + 2 * size)
        self.region = Region(
            divergence=divergence,
            prior=prior,
            line_points=line_points,
            points=points,
            num_particles=particles,
            num_moves=moves,
            # Batches are filled up: one larger than what a pilot moves would cost it that much more.
            batch=max(1, min(max(particles, LEAST_BATCH), particles * replicates, BATCH_FLOATS // window)),
            precision=precision,
        )
        with jax.enable_x64(self._x64):
            self._anchor = {p.name: jnp.asarray(anchor[p.name], self._dtype) for p in divergence.parameters}
            self._data = divergence.data(self._anchor, inputs)
            divergence.check(self._anchor, self._data, self.cutoffs)
        self._pilot: LocalPilot | None = None
        self.cover: Cover | None = None
        self._group: _Group | None = None
        self._logs: list[np.ndarray] = []  # of finished groups, [G, C]
        self._ideal: list[np.ndarray] = []
        self._moved: list[float] = []
        self.evaluations = self.num_nonfinite = self.num_drawn = 0

    # --- the run ---

    @property
    def problem(self) -> str:
        """Why the pilot did not reach the least cutoff; empty when it did."""
        return "" if self._pilot is None else self._pilot.problem

    @property
    def log_estimates(self) -> np.ndarray:
        """log p_hat of every replicate so far and every cutoff, [R, C]; -inf where one died."""
        return np.concatenate([np.zeros((0, len(self.cutoffs))), *self._logs])

    @property
    def done(self) -> bool:
        if self._pilot is None or not self._pilot.done:
            return False
        return bool(self._pilot.problem) or len(self.log_estimates) >= self._replicates

    def advance(self) -> None:
        """The starting law, one level of the pilot, or one of a group of replicates."""
        with jax.enable_x64(self._x64), jax.default_matmul_precision(self.region.precision):
            if self._pilot is None:
                self._pilot = self._start_pilot()
                return
            if not self._pilot.done:
                before = self._pilot.evaluations
                self._pilot.advance()
                self.evaluations += self._pilot.evaluations - before
                return
            if self._group is None:
                self._group = self._start_group()
            self._group.advance()
            if self._group.done:
                self._finish(self._group)
                self._group = None

    def _start_pilot(self) -> LocalPilot:
        if self._start == "prior":
            self.cover = prior_cover(self.region.divergence.num_parameters)
        else:
            self.cover = curved_cover(
                self.region,
                self._data,
                self._anchor,
                self.thresholds[0],
                self._breadth,
                jax.random.fold_in(self._key, COVER),
                self._dtype,
            )
        self.evaluations += self.cover.evaluations
        space = space_of(self.cover, self._data, self._anchor, 0.0, self._dtype)
        key = jax.random.fold_in(self._key, PILOT)
        return LocalPilot(self.region, space, self.thresholds, key, self._floor, weighted=self.cover.beta > 0)

    def _start_group(self) -> _Group:
        pilot, start = self._pilot, len(self.log_estimates)
        assert pilot is not None
        state = COPIES * self._dtype.itemsize * self.region.divergence.num_parameters * self.region.num_particles
        groups = math.ceil((self._replicates - start) / max(1, STATE_BYTES // state))
        size = math.ceil((self._replicates - start) / groups)  # alike: each size is compiled anew
        key = jax.random.fold_in(self._key, RUN)
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.arange(start, start + size))
        return _Group(self.region, keys, pilot.space, pilot.stages)

    def _finish(self, group: _Group) -> None:
        assert self._pilot is not None
        self.evaluations += group.evaluations
        self.num_drawn += group.num_drawn
        self.num_nonfinite += group.num_nonfinite
        self._ideal.append(group.ideal)
        self._moved += group.moved
        # w was used with a constant taken from it.
        self._logs.append(group.log_totals[:, self._pilot.ends] + float(self._pilot.space.log_scale))

    @property
    def fraction(self) -> float:
        """How much of the run is done, a guess."""
        if self.done:
            return 1.0
        if self._pilot is None or not self._pilot.done:
            return 0.1
        group = self._group
        part = 0.0 if group is None else group.size * group.at / max(1, len(self._pilot.stages))
        return 0.15 + 0.85 * (len(self.log_estimates) + part) / self._replicates

    def progress(self) -> Progress:
        pilot, group = self._pilot, self._group
        if pilot is None:
            words = "the starting law"
        elif not pilot.done:
            words = f"pilot at level {len(pilot.stages)}, {len(pilot.ends)} of {len(self.cutoffs)} cutoffs"
        elif group is None:
            words = f"{len(self.log_estimates)} of {self._replicates} replicates"
        else:
            words = f"replicates {len(self.log_estimates) + 1} to {len(self.log_estimates) + group.size} of "
            words += f"{self._replicates}, level {group.at} of {len(pilot.stages)}"
        note = f"{self.evaluations / 1e6:.2f} M evaluations"
        return Progress(done=self.fraction, total=1, unit="runs", words=words, note=note)

    # --- what is reported ---

    def entries(self, level: float = 0.95) -> list[ReplicatedVolume]:
        """The volume at every cutoff, largest first, labelled "cutoff 0.01"; empty before a replicate has ended.

        Where the pilot gave up there are entries too: not reached, with the reason as a note.
        """
        logs, notes = self.log_estimates, []
        if self._pilot is not None and self._pilot.problem:
            logs = np.full((1, len(self.cutoffs)), -math.inf)
            notes = [f"The pilot, one adaptive run, did not reach the least cutoff: {self._pilot.problem}."]
        if not len(logs):
            return []
        facts = self.diagnostics()
        return [
            replicated_volume(f"cutoff {cutoff:g}", column, level, facts, notes)
            for cutoff, column in zip(self.cutoffs, logs.T, strict=True)
        ]

    def slopes(self, level: float = 0.95) -> list[Slope]:
        """d log V / d log c between neighbouring cutoffs, and with more than two over all of them (the last one)."""
        return slopes(self.cutoffs, self.log_estimates, level)

    def diagnostics(self) -> dict[str, Any]:
        """A JSON-able record of the run."""
        pilot, region = self._pilot, self.region
        record: dict[str, Any] = {
            "particles": region.num_particles,
            "moves": region.num_moves,
            "points": region.points,
            "line_points": region.line_points,
            "evaluations": self.evaluations,
        }
        if pilot is not None and self.cover is not None:
            record |= {
                "start": self._start,
                "beta": self.cover.beta,
                "levels": len(pilot.stages),
                "powers": sum(stage.next_power != stage.power for stage in pilot.stages),
                "levels_to_cutoff": list(pilot.ends),
                "pilot_evaluations": pilot.evaluations,
            }
        if self._ideal:
            ideal = np.concatenate(self._ideal)
            record |= {"ideal_spread": float(np.sqrt(np.mean(ideal))), "moved_least": min(self._moved)}
        return record


class _Group:
    """Replicates that go level by level together, each with its own key."""

    def __init__(self, region: Region, keys: Array, space: Space, stages: list[RegionStage]):
        self._region, self._keys, self._space, self._stages = region, keys, space, stages
        self.size, self.at = len(keys), 0
        self.log_totals = np.zeros((self.size, len(stages) + 1))  # after so many stages
        self.num_drawn = self.num_nonfinite = 0
        self.ideal = np.zeros(self.size)  # variance of log p_hat, were all particles independent
        self.moved: list[float] = []
        self._x: Array | None = None

    @property
    def done(self) -> bool:
        return self.at == len(self._stages)

    @property
    def evaluations(self) -> int:
        region = self._region
        per_level = region.num_particles * region.num_moves * cost(region)
        return self.size * (region.num_particles * region.line_points + len(self.moved) * per_level)

    def advance(self) -> None:
        """One level."""
        if self._x is None:
            self._x, score = draw(self._region, self._level_keys(0), self._space)
            self.num_drawn, self.num_nonfinite = score.size, int(np.isnan(score).sum())
        stage = self._stages[self.at].cast(np.dtype(self._space.centre.dtype))
        found = advance(self._region, self._level_keys(self.at + 1), self._x, self._space, stage)
        self._x = found.z
        factor = np.asarray(found.factor, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_total = self.log_totals[:, self.at] + np.log(factor)
            relative = np.maximum(np.asarray(found.weight_square, float) / factor**2 - 1, 0)
        self.ideal += np.nan_to_num(relative) / self._region.num_particles
        self.at += 1
        self.log_totals[:, self.at :] = log_total[:, None]
        self.moved.append(float(found.moved))
        if np.all(log_total == -math.inf):
            self.at = len(self._stages)

    def _level_keys(self, number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self._keys)


class Slope(NamedTuple):
    """d log V / d log c over a stretch of cutoffs: the local learning coefficient, where c is small (Watanabe 2009,
    Algebraic Geometry and Statistical Learning Theory, section 6: V(c) ~ c^lambda up to logs)."""

    least: float  # cutoff
    largest: float
    slope: float
    low: float
    high: float


def slopes(cutoffs: Sequence[float], log_estimates: np.ndarray, level: float = 0.95) -> list[Slope]:
    """Slopes of log V against log c from replicates: ``cutoffs`` [C] and log p_hat [R, C] in the same order.

    Between neighbouring cutoffs, and with more than two the least-squares slope over all of them, last. The slope is
    that of the logs of the mean p_hat; limits are a jackknife over replicates with t quantiles of R - 1 degrees.
    Replicates that died at a cutoff count as 0 there. A cutoff of 0 has no slope and is left out. nan limits where a
    mean is 0 or R is 1.
    """
    some = np.asarray(cutoffs) > 0
    order = np.argsort(np.asarray(cutoffs)[some])
    x = np.log(np.asarray(cutoffs)[some][order])
    logs = np.asarray(log_estimates, float)[:, some][:, order]
    num = len(logs)
    if len(x) < 2 or not num:
        return []
    stretches = [slice(i, i + 2) for i in range(len(x) - 1)] + ([slice(0, len(x))] if len(x) > 2 else [])

    def slope(kept: np.ndarray, part: slice) -> float:
        with np.errstate(invalid="ignore"):
            y = np.logaddexp.reduce(logs[kept][:, part], axis=0)
            centred = x[part] - x[part].mean()
            return float(centred @ (y - y.mean()) / (centred @ centred))

    found = []
    for part in stretches:
        whole = slope(np.ones(num, bool), part)
        limits = (math.nan, math.nan)
        if num > 1:
            without = np.array([slope(np.arange(num) != r, part) for r in range(num)])
            error = math.sqrt((num - 1) / num * np.sum((without - without.mean()) ** 2))
            t = special.stdtrit(num - 1, (1 + level) / 2)
            limits = (whole - t * error, whole + t * error)
        least, largest = np.exp(x[part][[0, -1]])
        found.append(Slope(float(least), float(largest), whole, *limits))
    return found
