"""Local volume by splitting: inward from a proposal that covers the region, through nested cutoffs, in replicates.

Quantity, for each cutoff c: V(c) = prior{theta : D(anchor + t (theta - anchor)) <= c for t = 1/K, 2/K, ..., 1}, the
star-shaped region around the anchor as far as K points of a line can see it. K = 1 is the plain sublevel set {D <= c},
which is as large or larger: it holds whatever else is near in D, symmetric copies of the anchor too where D cannot tell
them apart and the moves get there. As K grows the region shrinks to the star-shaped one. On the way only two of the K
points are looked at (all of them where K is odd); the last factor asks all.

Estimator: p_hat = prod of factors along a chain of measures (region_kernel.py says how a factor is made and why
p_hat is unbiased), each a constant of the run, as are steps and the proposal (proposal.py). Two chains:

* "tempered", for divergences with gradients: exp(-temper D) with rising tempers, moved by gradients
  (tempered_pilot.py);
* "levels", for any: {D <= level} with falling levels (pilot.py), whose moves creep in many dimensions.

One run has the whole curve log V(c), and its slopes (volume.statistics.slopes). Interval: R independent replicates
(volume.statistics.replicates), and only where their particles have come to rest (group.py).

Shape letters: R replicates, N particles of one, C cutoffs, n entries of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import special

from volume.common.choices import CHAINS, STARTS
from volume.common.logs import LN10, finite
from volume.common.progress import Progress
from volume.common.seeds import fold_in
from volume.common.validation import check_choice
from volume.estimators.local.divergence import BoundDivergence
from volume.estimators.local.group import DRIFT_ROUNDS
from volume.estimators.local.pilot import LevelPilot, LocalPilot
from volume.estimators.local.proposal import Proposal, curved_proposal, prior_proposal, refitted, space_of
from volume.estimators.local.region_kernel import RegionKernel
from volume.estimators.local.replicates import RegionReplicates
from volume.estimators.local.splitting_parts import SplittingParts
from volume.estimators.local.tempered_pilot import TemperedPilot
from volume.estimators.smc.scheme import Scheme
from volume.reports.entries import ReplicatedVolume, replicated_volume
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint, like, worded
from volume.samplers import Prior
from volume.statistics.slopes import Slope, slopes

POINTS = 16  # of a window
LINE_POINTS = 16  # K
GUIDE_POINTS = 2  # of them, on the way
# The median divergence under the proposal, over the largest cutoff.
BREADTHS = {"levels": 3.0, "tempered": 1.3}
FLOOR = -4000.0  # log10
MAX_PARAMETERS = 2000  # n: a proposal takes n^2 numbers, the levels rise with n
BATCH_FLOATS = 1 << 20  # of networks that are evaluated at the same time: they stay in a CPU's caches
LEAST_BATCH = 128  # smaller ones do not fill vectors
# Elsewhere 1: on regions that bend intervals were too short from there on (benchmarks/coverage_local.py).
MAX_SPREAD = 0.5
# The proposal is fitted to a pilot's states, over so many rounds of moves, until it is no wider than the last one
# by this much: log of its size, a parameter.
MAX_REFITS, REFIT_ROUNDS, SETTLED = 24, 6, 0.02
DRIFT_ALPHA = 1e-3  # of taking particles at rest for drifting ones
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
        chain: "tempered", "levels", or "auto": tempered unless the divergence is "agreement".
        start: "cover", a Gaussian around the anchor (proposal.py), or "prior".
        breadth: how far the proposal reaches, as a multiple of the largest cutoff (1.3 tempered, 3 by levels).
        floor: log10 of the volume at which to give up.
        precision: of matrix products.

    Raises:
        ValueError: no cutoff, one that is negative or no number, more than 2,000 parameters, a prior that draws from a
            key alone, an anchor that is not at divergence 0; from the first ``advance``, one that the proposal
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
        particles: int = 64,
        moves: int = 8,
        replicates: int = 8,
        points: int = POINTS,
        line_points: int = LINE_POINTS,
        chain: str = "auto",
        start: str = "cover",
        breadth: float | None = None,
        floor: float = FLOOR,
        precision: str = "highest",
    ):
        check_choice("start", start, STARTS)
        check_choice("chain", chain, CHAINS)
        if chain == "tempered" and divergence.kind == "agreement":
            raise ValueError(
                "chain='tempered' follows gradients, and the agreement of decisions has none: use chain='levels'."
            )
        self.chain = chain if chain != "auto" else "levels" if divergence.kind == "agreement" else "tempered"
        breadth = BREADTHS[self.chain] if breadth is None else breadth
        levels = np.unique(np.asarray(list(cutoffs), float))[::-1]
        if not len(levels) or not np.isfinite(levels).all() or levels[-1] < 0:
            raise ValueError(f"cutoffs={list(cutoffs)!r}: give one finite divergence or more, none below 0.")
        if not 1 < breadth < math.inf:
            raise ValueError(
                f"breadth={breadth!r}: the proposal must reach beyond the region; give e.g. {BREADTHS[self.chain]:g}."
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
        self.cutoffs = tuple(float(value) for value in levels)  # descending
        self.thresholds = tuple(float(value) for value in divergence.thresholds(self.cutoffs, len(inputs)))
        self._dtype = np.dtype(inputs.dtype)
        self._x64 = self._dtype == np.float64
        self._key, self._floor, self._breadth = key, floor * LN10, breadth
        self._start = start
        guide_points = GUIDE_POINTS if line_points % GUIDE_POINTS == 0 else line_points
        outputs = len(inputs) * 2 * divergence.model.num_outputs
        kicks = self.chain == "tempered"
        # Kicked points come one after the other; those of an ellipse are looked at together.
        window = (4 if kicks else points) * guide_points * outputs + 2 * points * size
        kernel = RegionKernel(
            divergence=divergence,
            prior=prior,
            line_points=line_points,
            guide_points=guide_points,
            kicks=kicks,
            points=points,
        )
        self.scheme = Scheme(
            kernel=kernel,
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
        self.proposal: Proposal | None = None
        self._share = 0, 1
        self._refits, self.settled = 0, False  # whether proposals fitted to states no longer grow
        self._fresh = True  # whether the pilot began from the present proposal
        self.pilot_evaluations = 0  # of proposals too
        self._store, run_key = SplittingParts(), fold_in(key, RUN)
        self.replicates = RegionReplicates(
            self.scheme, run_key, replicates, len(self.cutoffs), self._dtype.itemsize, self._store
        )

    # --- the run ---

    @property
    def problem(self) -> str:
        """Why the pilot did not reach the least cutoff; empty when it did."""
        return "" if self._pilot is None else self._pilot.problem

    @property
    def log_estimates(self) -> np.ndarray:
        """log p_hat of every replicate so far and every cutoff, [R, C]; -inf where one died."""
        return self.replicates.by_cutoff("log_estimates")

    @property
    def evaluations(self) -> int:
        """Of the divergence, so far."""
        return self.pilot_evaluations + self.replicates.total("evaluations")

    @property
    def num_nonfinite(self) -> int:
        """Draws from the proposal with NaN, by replicates that have ended."""
        return self.replicates.total("nonfinite")

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        return self._pilot is not None and self._pilot.done and (bool(self._pilot.problem) or self.replicates.done)

    def advance(self) -> None:
        """The proposal, one level of the pilot, or one of a group of replicates."""
        with jax.enable_x64(self._x64), jax.default_matmul_precision(self.scheme.precision):
            if self._pilot is None:
                self._pilot = self._start_pilot()
                return
            if not self._pilot.done:
                pilot, before = self._pilot, self._pilot.evaluations
                if not self._refit(pilot):
                    pilot.advance()
                self.pilot_evaluations += pilot.evaluations - before
                self._begin()
                return
            self.replicates.advance()

    def _start_pilot(self) -> LocalPilot:
        if self._start == "prior":
            self.proposal = prior_proposal(self.scheme.kernel.divergence.num_parameters)
        else:
            self.proposal = curved_proposal(
                self.scheme,
                self._data,
                self._anchor,
                self.thresholds[0],
                self._breadth,
                fold_in(self._key, COVER),
                self._dtype,
            )
        self.pilot_evaluations += self.proposal.evaluations
        return self._pilot_of(self.proposal)

    def _pilot_of(self, proposal: Proposal) -> LocalPilot:
        space = space_of(proposal, self._data, self._anchor, self._dtype)
        key = fold_in(fold_in(self._key, PILOT), self._refits)
        kind = LevelPilot if self.chain == "levels" else partial(TemperedPilot, beta=proposal.beta)
        return kind(self.scheme, space, self.thresholds, key, self._floor, weighted=proposal.beta > 0)

    def _refit(self, pilot: LocalPilot) -> bool:
        """Once a pilot weighs as the prior does, fit the proposal to where its particles are; False where that is over.

        While proposals grow, the same particles go on in the coordinates of the newest. Then a fresh pilot begins from
        it, comes to the measure from outside, and must find no more: that one goes on to the cutoffs.
        """
        proposal = self.proposal
        assert proposal is not None
        if not isinstance(pilot, TemperedPilot) or pilot.weighted or pilot.problem:
            return False
        if self.settled or proposal.beta == 0 or self._refits == MAX_REFITS:
            return False
        x = pilot.states(REFIT_ROUNDS)
        self._refits += 1
        refit, last = refitted(proposal, x), self._refits == MAX_REFITS
        growing = refit.log_det - proposal.log_det > SETTLED * self.scheme.kernel.divergence.num_parameters
        if self._fresh and (last or not growing):
            self.settled = not growing
            return True
        self.proposal, self._fresh = refit, last or not growing
        if self._fresh:
            self._pilot = self._pilot_of(refit)
        else:
            smaller, x = refit.seen_from(proposal, x[-self.scheme.num_particles :])
            pilot.go_over(space_of(refit, self._data, self._anchor, self._dtype), smaller, x)
        return True

    def _begin(self) -> None:
        """The replicates, once the pilot has ended."""
        if self.proposal is not None and self._pilot is not None and self._pilot.done and not self._pilot.problem:
            self.replicates.start(self.proposal, self._pilot, self._share)

    # --- checkpoints (splitting_parts.py) ---

    # All that a proposal or a pilot goes on with, beside itself.
    NUMBERS: ClassVar[tuple[str, ...]] = ("_refits", "_fresh", "settled", "pilot_evaluations")

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take the proposal, the pilot, the replicates and the states that are there."""
        with jax.enable_x64(self._x64):
            self._store.take(parts)
            begun = self._store.begun()
            if begun is None:
                return
            self.proposal, numbers, pilot = begun
            for name in self.NUMBERS:
                setattr(self, name, like(numbers[name.strip("_")], getattr(self, name)))
            self._pilot = self._pilot_of(self.proposal)
            if pilot is not None:
                self._store.pilot_into(pilot, self._pilot)
            self._begin()

    def restrict(self, index: int, count: int) -> None:
        """Do this share of the replicates; proposals and pilots are made by every process, alike."""
        self._share = index, count
        self._begin()

    def collect(self, *, all: bool = False, whole: bool = True) -> list[Checkpoint]:
        """What has ended since the last call, and now and then the state of what is under way; not ``whole``: the last
        step was cut short, and there is no such state."""
        if self.proposal is None or self._pilot is None:
            return []
        parts: list[Checkpoint] = []
        if whole and not self._share[0]:  # the first process keeps proposals and pilots for all
            numbers = {name.strip("_"): worded(getattr(self, name)) for name in self.NUMBERS}
            parts = self._store.collect_pilot(self._refits, self.proposal, self._pilot, numbers, all=all)
        return parts + self.replicates.collect(all=all, whole=whole)

    @property
    def fraction(self) -> float:
        """How much of the run is done, a guess."""
        if self.done:
            return 1.0
        if self._pilot is None or not self._pilot.done:
            return 0.1
        return 0.15 + 0.85 * self.replicates.fraction

    def progress(self) -> Progress:
        pilot = self._pilot
        if pilot is None:
            words = "the proposal"
        elif not pilot.done:
            words = f"pilot at level {len(pilot.stages)}, {len(pilot.ends)} of {len(self.cutoffs)} cutoffs"
        else:
            words = self.replicates.words()
        note = f"{self.evaluations / 1e6:.2f} M evaluations"
        return Progress(done=self.fraction, total=1, unit="runs", words=words, note=note)

    # --- what is reported ---

    def entries(self, level: float = 0.95) -> list[ReplicatedVolume]:
        """Return the volume at every cutoff, largest first, labelled "cutoff 0.01"; empty before a replicate has ended.

        Where the pilot gave up there are entries too: not reached, with the reason as a note.
        """
        logs, notes = self.log_estimates, []
        if self._pilot is not None and self._pilot.problem:
            logs = np.full((1, len(self.cutoffs)), -math.inf)
            notes = [f"The pilot, one adaptive run, did not reach the least cutoff: {self._pilot.problem}."]
        if not len(logs):
            return []
        facts, entries = self.diagnostics(), []
        for cutoff, column, drift in zip(self.cutoffs, logs.T, self.replicates.drifts.T, strict=True):
            size, sure = mean_drift(drift)
            entry = replicated_volume(f"cutoff {cutoff:g}", column, level, facts | {"drift": finite(size)}, notes)
            doubt = self._doubt(entry, size, sure)
            if doubt:
                entry = replace(entry, headline="bound", notes=(*entry.notes, doubt))
            entries.append(entry)
        return entries

    def _doubt(self, entry: ReplicatedVolume, drift: float, drifting: bool) -> str:
        """Why the replicates' interval is not to be led with; empty where nothing is known against it."""
        if entry.headline == "none":
            return ""
        if self._refits == MAX_REFITS and not self.settled:
            return (
                f"The proposal grew with each of {MAX_REFITS} fits and did not settle: the region reaches further "
                "than the pilots came, so the bound leads. Give more moves."
            )
        if drifting:
            return (
                f"The particles are still on their way: in {DRIFT_ROUNDS * self.scheme.num_moves} moves |x|^2 changes "
                f"by {drift:.2g} of its deviation, more than by chance. What they have not reached may be most of the "
                "volume, so the bound leads. Give more moves."
            )
        if entry.headline == "interval" and entry.spread > MAX_SPREAD:
            return (
                f"The replicates spread by {entry.spread:.2g} in log p, more than the {MAX_SPREAD:g} up to which "
                "intervals around an anchor are given: the bound leads. Give more moves or particles."
            )
        return ""

    def slopes(self, level: float = 0.95) -> list[Slope]:
        """d log V / d log c between neighbouring cutoffs, and with more than two over all of them (the last one)."""
        return slopes(self.cutoffs, self.log_estimates, level)

    def diagnostics(self) -> dict[str, Any]:
        """Return a JSON-able record of the run."""
        pilot, scheme = self._pilot, self.scheme
        record: dict[str, Any] = {
            "particles": scheme.num_particles,
            "moves": scheme.num_moves,
            "points": scheme.kernel.points,
            "line_points": scheme.kernel.line_points,
            "chain": self.chain,
            "laws": 1 + self._refits,
            "evaluations": self.evaluations,
        }
        if pilot is not None and self.proposal is not None:
            record |= {
                "start": self._start,
                "beta": self.proposal.beta,
                "levels": len(pilot.stages),
                "powers": sum(stage.next_power != stage.power for stage in pilot.stages),
                "levels_to_cutoff": [end.at for end in pilot.ends],
                "pilot_evaluations": self.pilot_evaluations,
            }
        return record | self.replicates.diagnostics()


def mean_drift(drifts: np.ndarray) -> tuple[float, bool]:
    """Return the mean over replicates [R], and whether it is other than 0 by a t test that errs once in a thousand.
    Nan: a replicate that had died, which says nothing."""
    drifts = drifts[~np.isnan(drifts)]
    if len(drifts) < 2 or not np.isfinite(drifts).all():
        return (float(np.mean(drifts)) if len(drifts) else math.nan), False
    mean, error = float(drifts.mean()), float(drifts.std(ddof=1)) / math.sqrt(len(drifts))
    return mean, abs(mean) > float(special.stdtrit(len(drifts) - 1, 1 - DRIFT_ALPHA / 2)) * error
