"""Local volume: how much parameter space around a trained network behaves as it does.

Quantity: the mass, under the query's prior, of the star-shaped region {theta : D(anchor || anchor + t (theta - anchor))
<= cutoff for all t in [0, 1]}, D a divergence of behaviour on the domain's inputs
(`volume.estimators.local.divergence`); log volumes in nats. Estimators:

* rays from the anchor (rays.py): fast, at any size, each ray unbiased; but in many dimensions few rays
  carry the mean, and then there is a lower bound and no interval (volume.reports.entries);
* splitting inward (splitting.py): an interval from replicates, up to a few hundred parameters. It sees the
  line to the anchor at ``line_points`` points.

Where the query's model has symmetries, the region's copies are counted (`volume.estimators.local.copies`). d log V / d
log c is the local learning coefficient as the cutoff c goes to 0 (Watanabe 2009: V(c) ~ c^lambda up to powers of log
c).

Shape letters: K cutoffs, P parameters, S rays, R replicates.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.common.choices import CHAINS, ESTIMATORS, PRECONDITIONERS, STARTS
from volume.common.machine import check_room
from volume.common.progress import Progress
from volume.common.seeds import halves
from volume.common.validation import check_arithmetic, check_choice, refuse_ignored
from volume.errors import whole
from volume.estimators.local.anchor import Anchor, by_name, row_of, second_moments
from volume.estimators.local.copies import copies_of, statement
from volume.estimators.local.divergence import DivergenceFunction, bind
from volume.estimators.local.rays import Ground, RaysRun, Setting
from volume.estimators.local.splitting import LocalSplitting
from volume.estimators.smc.scheme import MAX_MOVES, MAX_PARTICLES, MAX_POINTS, MAX_REPLICATES, check_particles
from volume.models import num_parameters
from volume.queries.computed import plain
from volume.queries.query import Query
from volume.reports.facts import Facts
from volume.reports.local_entries import LocalVolume, effective_rays, lower_bound, rays_volume
from volume.reports.named import EstimateReport
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.samplers import RayPrior, ray_prior
from volume.statistics.slopes import slopes

STREAM_VERSION = 1  # of what is random about rays and replicates of given numbers; changes when that changes
BATCHES = 16  # of rays, behind the interval
PROBES = {False: 4, True: 64}  # on a ray, by whether the divergence jumps (benchmarks/local_copies.md)
MAX_FULL = 512  # free parameters up to which "auto" takes the whole matrix
MAX_MATRIX = 16384  # beyond, a matrix of this size on a side does not fit
MAX_RAYS = 1 << 40
# What only one of the two estimators reads, and the preconditioners that are fitted.
OF_RAYS = ("rays", "preconditioner", "fit", "drift", "probes")
OF_SPLITTING = ("particles", "moves", "replicates", "line_points", "chain", "start_from")
FITTED = ("auto", "diagonal", "full")
FIXED = 1e-6  # relative: how far an anchor may stand from what the prior fixes


@dataclass(frozen=True)
class Local:
    """The volume around a trained network, for one cutoff or several.

    Args:
        anchor: the network's parameters by name (a mapping of arrays, nested or flat), or a checkpoint's path: .npz,
            .msgpack of flax.serialization, an Orbax folder.
        cutoff: how far behaviour may go, in the divergence's unit: one number or several. With several, the same rays
            or the same replicates answer all of them.
        divergence: "kl" (mean KL from the anchor's outputs, nats), "agreement" (share of the domain's inputs decided
            otherwise; its cutoff may be 0), or a `volume.DivergenceFunction`.
        within_class: cut the region with the anchor's class of the query's classifier.
        estimator: "rays", "splitting" or "both".
        rays: S; every one starts at the anchor.
        preconditioner: how rays are aimed: "identity", "diagonal", "full" (a matrix of P x P), or curvatures by
            parameter name, up to a factor (a mapping of arrays, or a `Path`). "adam": the second moments ``nu`` that
            Optax keeps, found beside the anchor's parameters. "auto": full up to 512 parameters.
        fit: steps of the pilot that fits the curvature to networks of the region; 0: the diagonal at the anchor.
        drift: whether rays lean to where the prior pulls.
        probes: points on each ray where a crossing before the radius is looked for. None: 4, or 64 where the divergence
            jumps ("agreement", ``within_class``) and missed returns made masses some per cent too large.
        particles, moves, replicates, line_points, chain, start_from: of splitting (splitting.py).
        dtype, precision: as in `volume.Direct`.

    Raises:
        TypeError, ValueError, FileNotFoundError: a setting that makes no sense, or an anchor that cannot be read.
    """

    anchor: Any  # kept as an `Anchor`
    cutoff: float | Sequence[float] = 1e-2  # kept as a tuple, ascending
    _: KW_ONLY
    divergence: str | DivergenceFunction = "kl"
    within_class: bool = False
    estimator: str = "rays"
    rays: int = 1024
    preconditioner: Any = "auto"  # kept as a word or an `Anchor`
    fit: int = 100
    drift: bool = True
    probes: int | None = None  # kept as a number
    particles: int = 64
    moves: int = 8
    replicates: int = 8
    line_points: int = 16
    chain: str = "auto"
    start_from: str = "cover"
    dtype: str = "float32"
    precision: str = "highest"

    name = "local"

    def __post_init__(self) -> None:
        for name, known in (("estimator", ESTIMATORS), ("start_from", STARTS), ("chain", CHAINS)):
            check_choice(name, getattr(self, name), known)
        check_arithmetic(self.dtype, self.precision)
        if isinstance(self.preconditioner, str):
            check_choice("preconditioner", self.preconditioner, PRECONDITIONERS)
        jumps = self.divergence == "agreement" or self.within_class
        if self.estimator == "rays":
            refuse_ignored(self, OF_SPLITTING, "it belongs to estimator='splitting' or 'both', and this is 'rays'")
        if self.estimator == "splitting":
            resolved = () if self.probes != PROBES[bool(jumps)] else ("probes",)  # as kept
            ignored = tuple(name for name in OF_RAYS if name not in resolved)
            refuse_ignored(self, ignored, "it belongs to estimator='rays' or 'both', and this is 'splitting'")
        elif self.preconditioner not in FITTED and self.fit != 0:
            refuse_ignored(self, ("fit",), f"only a preconditioner of {', '.join(FITTED)} is fitted")
        values: dict[str, Any] = {
            "anchor": Anchor.of(self.anchor),  # first: what it refuses is no matter of the preconditioner
            "cutoff": _cutoffs(self.cutoff, self.divergence),
            "within_class": bool(self.within_class),
            "drift": bool(self.drift),
            "preconditioner": _preconditioner(self.preconditioner, self.anchor),
            "fit": _count("fit", self.fit),
            "probes": _count("probes", PROBES[bool(jumps)] if self.probes is None else self.probes),
        }
        for name, least, limit in (
            ("rays", 2, MAX_RAYS),
            ("particles", 2, MAX_PARTICLES),
            ("moves", 1, MAX_MOVES),
            ("replicates", 2, MAX_REPLICATES),
            ("line_points", 1, MAX_POINTS),
        ):
            values[name] = whole(name, getattr(self, name), least=least, limit=limit)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def start(self, query: Query, key: Array) -> LocalRun:
        """Begin. ValueError for a prior whose density along a ray is not known, an anchor that does not fit the model,
        that the prior rules out or that is not at divergence 0, and for a symmetry other than "none"."""
        query.require_prior_mass("A local volume")
        return LocalRun(self, query, key)

    def describe(self) -> dict[str, Any]:
        """A JSON-able record."""
        names = ["within_class", "estimator", "rays", "fit", "drift", "probes", "dtype", "precision"]
        if self.estimator != "rays":
            names += ["particles", "moves", "replicates", "line_points", "chain", "start_from"]
        return {
            "name": self.name,
            "anchor": self.anchor.describe(),
            "cutoff": list(_cutoffs(self.cutoff, self.divergence)),
            "divergence": self.divergence if isinstance(self.divergence, str) else self.divergence.label,
            "preconditioner": self.preconditioner if isinstance(self.preconditioner, str) else "given",
            **{name: getattr(self, name) for name in names},
        }


class LocalRun:
    """One anchor's region being measured: rays first, then splitting, as the method asks."""

    def __init__(self, method: Local, query: Query, key: Array):
        self._method, self._query = method, query
        inputs = plain(query, method.dtype, "Local")
        params = method.anchor.on(query.model)
        if method.estimator != "splitting":
            num = np.size(method.cutoff)
            what = f"What {method.rays:,} rays find for {num} cutoffs"
            check_room(what, 8 * method.rays * num, "give fewer rays or cutoffs")
        if method.estimator != "rays":
            check_particles(num_parameters(query.model), method.particles, method.replicates)
        prior = ray_prior(query.prior, query.model.parameters)
        row = row_of(params)
        _check_support(query, params, row, prior)
        divergence = bind(query.model, method.divergence, query.bound if method.within_class else None)
        self._cutoffs = _cutoffs(method.cutoff, method.divergence)
        cutoffs = np.array(self._cutoffs)
        with self._context():
            data = divergence.data(params, inputs)
            divergence.check({n: np.asarray(v, inputs.dtype) for n, v in params.items()}, data, self._cutoffs)
        self._copies = copies_of(query, params, prior.centre, prior.scale)
        thresholds = divergence.thresholds(cutoffs, len(inputs))
        ground = Ground(divergence, data, row, prior, cutoffs, thresholds, self._copies)
        rays_key, splitting_key = halves(key)
        self._divergence = divergence
        self.rays: RaysRun | None = None
        self.splitting: LocalSplitting | None = None
        self._whole = True
        if method.estimator != "splitting":
            with self._context():
                self.rays = RaysRun(ground, self._setting(len(prior.free)), rays_key)
        if method.estimator != "rays":
            self.splitting = LocalSplitting(
                divergence,
                query.prior,
                params,
                inputs,
                self._cutoffs,
                splitting_key,
                particles=method.particles,
                moves=method.moves,
                replicates=method.replicates,
                line_points=method.line_points,
                chain=method.chain,
                start=method.start_from,
                precision=method.precision,
            )

        self._runs = [run for run in (self.rays, self.splitting) if run is not None]

    def _setting(self, dim: int) -> Setting:
        method, kind, weights = self._method, self._method.preconditioner, None
        if isinstance(kind, Anchor):
            weights = row_of(kind.on(self._query.model, "preconditioner"))
            if (weights < 0).any() or not weights.any():
                raise ValueError("preconditioner holds curvatures by parameter: none below 0, and not all of them 0.")
            kind = "given"
        elif kind == "auto":
            kind = "full" if dim <= MAX_FULL else "diagonal"
        if kind == "full" and dim > MAX_MATRIX:
            raise ValueError(
                f"preconditioner='full' takes a matrix of {dim:,} x {dim:,}; up to {MAX_MATRIX:,} is taken: give "
                "'diagonal'."
            )
        assert method.probes is not None
        return Setting(method.rays, BATCHES, kind, weights, method.fit, method.drift, method.probes, method.dtype)

    def _context(self) -> Any:
        """Types and precision of everything that is traced."""
        stack = contextlib.ExitStack()
        stack.enter_context(jax.enable_x64(self._method.dtype == "float64"))
        stack.enter_context(jax.default_matmul_precision(self._method.precision))
        return stack

    @property
    def done(self) -> bool:
        return all(run.done for run in self._runs)

    def advance(self) -> None:
        """A step of rays, or of splitting."""
        self._whole = False  # until the step is done: one that Ctrl-C cuts short has no state that could go on
        with self._context():
            next(run for run in self._runs if not run.done).advance()
        self._whole = True

    # --- checkpoints (ray_parts.py, splitting_parts.py) ---

    def constants(self) -> dict[str, Any]:
        """What parts mean beyond query, method and seed: where rays are cut into steps, too."""
        return {"order": STREAM_VERSION, "step": None if self.rays is None else self.rays.step}

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take what is there: of rays, and of splitting."""
        with self._context():
            for run in self._runs:
                run.restore(parts)

    def restrict(self, index: int, count: int) -> None:
        """Do this share of the rays and of the replicates that are left."""
        with self._context():
            for run in self._runs:
                run.restrict(index, count)

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """What has ended since the last call, and now and then the state of what is under way."""
        return [part for run in self._runs for part in run.collect(all=all, whole=self._whole)]

    def progress(self) -> Progress:
        return next((run for run in self._runs if not run.done), self._runs[-1]).progress()

    def report(self, facts: Facts) -> EstimateReport | None:
        """Entries by estimator and cutoff, of what is answered so far."""
        entries = [*self._rays_entries(facts.level), *self._splitting_entries(facts.level)]
        if not entries:
            return None
        more: dict[str, Any] = {"slopes": self._slopes(facts.level)}
        if self._copies is not None:
            more["copies"] = self._copies_record(facts.level)
        rays, splitting = self.rays, self.splitting
        conventions = facts.query.conventions(dtype=self._method.dtype, precision=self._method.precision)
        region = {}
        if rays is not None:
            region["rays"] = f"{self._divergence.label} within the cutoff all the way from the anchor: star-shaped"
        if splitting is not None:
            points = self._method.line_points
            region["splitting"] = f"{self._divergence.label} within the cutoff" + (
                ": all of it that moves reach" if points == 1 else f" at {points} points on the way from the anchor"
            )
        return EstimateReport.of(
            facts,
            tuple(entries),
            method=self._method.describe(),
            conventions={**conventions, **self._divergence.describe(), "region": region},
            devices=jax.local_devices()[:1],
            evaluations=(rays.tally.evaluations if rays else 0) + (splitting.evaluations if splitting else 0),
            num_nonfinite=(rays.tally.nonfinite if rays else 0) + (splitting.num_nonfinite if splitting else 0),
            **more,
        )

    def _label(self, cutoff: float, estimator: str) -> str:
        label = f"{self._divergence.label} <= {cutoff:g}"
        return f"{label} ({estimator})" if self._method.estimator == "both" else label

    def _rays_entries(self, level: float) -> list[LocalVolume]:
        rays = self.rays
        if rays is None or rays.num_rays < 2:
            return []
        above, entries = {entry.cutoff: entry.log_volume for entry in self._splitting_entries(level)}, []
        for number, (column, cutoff) in enumerate(zip(rays.log_values.T, self._cutoffs, strict=True)):
            facts = rays.diagnostics(number)
            if math.isfinite(above.get(cutoff, -math.inf)):
                own = np.logaddexp.reduce(column) - math.log(len(column))
                facts["splitting_above_rays"] = float(above[cutoff] - own)
            label = self._label(cutoff, "rays")
            entries.append(rays_volume(label, cutoff, column, rays.batches, level, facts, self._notes(number)))
        return entries

    def _splitting_entries(self, level: float) -> list[LocalVolume]:
        if self.splitting is None:
            return []
        entries = dict(zip(self.splitting.cutoffs, self.splitting.entries(level), strict=False))
        return [
            LocalVolume.of(replace(entry, label=self._label(cutoff, "splitting")), cutoff=cutoff, estimator="splitting")
            for cutoff, entry in sorted(entries.items())
        ]

    def _notes(self, number: int) -> list[str]:
        """Say what the rays met on the way to cutoff ``number`` that a reader must know."""
        assert self.rays is not None
        (met, own), rays = self.rays.met(number), self.rays.num_rays
        radii = f"{rays:,} radii" if own else f"{rays * len(self._cutoffs):,} radii, those of all cutoffs together,"
        notes = []
        if met.returning:
            region = "region" if own else "region of one of the cutoffs"
            notes.append(
                f"{met.returning:,} of {rays:,} rays leave the {region} and come back: their first crossing among "
                f"{self._method.probes} probes was taken, and one between probes may have been missed."
            )
        if met.unbounded:
            notes.append(
                f"{met.unbounded:,} of {radii} were never reached: the prior ends before, and the ray's whole "
                "half-line was taken."
            )
        if met.loose:
            notes.append(
                f"{met.loose:,} of {radii} were not closed in on: their inner ends were taken, at most "
                f"{met.log_loss:.3g} nats too small."
            )
        return notes

    def _slopes(self, level: float) -> dict[str, list[dict[str, Any]]]:
        """d log V / d log c by estimator; no limits where the volumes have no interval."""
        slopes: dict[str, list[dict[str, Any]]] = {}
        if self.rays is not None and self.rays.num_rays >= 2:
            sound = all(entry.headline == "interval" for entry in self._rays_entries(level))
            slopes["rays"] = _slope_records(self._cutoffs, self.rays.log_means(), level, sound)
        if self.splitting is not None:
            sound = all(entry.headline == "interval" for entry in self._splitting_entries(level))
            slopes["splitting"] = _slope_records(self.splitting.cutoffs, self.splitting.log_estimates, level, sound)
        return {name: records for name, records in slopes.items() if records}

    def _copies_record(self, level: float) -> dict[str, Any]:
        """What the copies of the region say (volume.estimators.local.copies), of the largest cutoff."""
        copies, rays = self._copies, self.rays
        assert copies is not None
        cutoff = self._cutoffs[-1]
        inside = self._method.within_class or (self._method.divergence == "agreement" and cutoff == 0)
        record = statement(copies, inside) | {"cutoff": cutoff}
        if rays is None or rays.num_rays < 2:
            return record
        best = float(np.logaddexp.reduce(rays.log_values[:, -1]) - math.log(rays.num_rays))
        if not math.isnan(copies.log_copies):
            record["log_if_apart"] = best + copies.log_copies
        if rays.log_cut is not None and not math.isnan(copies.log_copies):
            cut = rays.log_cut[:, -1]
            rows = [cut[number :: rays.batches] for number in range(rays.batches)]
            means = [float(np.logaddexp.reduce(row) - math.log(len(row))) for row in rows]
            record["rays_leaving_the_cell"] = rays.share_left
            record["effective_rays"] = effective_rays(cut)
            record["log_estimate"] = float(np.logaddexp.reduce(cut) - math.log(len(cut)) + copies.log_copies)
            record["log_bound"] = lower_bound(cut, means, 1 - level) + copies.log_copies
        return record


def _slope_records(cutoffs: Sequence[float], logs: np.ndarray, level: float, sound: bool) -> list[dict[str, Any]]:
    records = []
    for slope in slopes(cutoffs, logs, level):
        limits = (slope.low, slope.high) if sound else (math.nan, math.nan)
        low, high = (value if math.isfinite(value) else None for value in limits)
        value = slope.slope if math.isfinite(slope.slope) else None
        records.append({"least": slope.least, "largest": slope.largest, "slope": value, "low": low, "high": high})
    return records


def _check_support(query: Query, params: Mapping[str, np.ndarray], row: np.ndarray, prior: RayPrior) -> None:
    """ValueError for an anchor that has density 0 under the prior."""
    shapes = {name: value.shape for name, value in params.items()}
    parts = np.abs(row - prior.centre), prior.scale, prior.centre
    offsets, scales, centres = (by_name(part, shapes) for part in parts)
    for name, away in offsets.items():
        scale, centre = scales[name], centres[name]
        if np.any(away[scale == 0] > FIXED * (1 + np.abs(centre[scale == 0]))):
            raise ValueError(
                f"The prior {query.prior!r} fixes {name!r} at {centre.flat[0]:g}, and the anchor's is not there (off "
                f"by up to {away.max():.3g}): no prior mass is near it. Give that parameter a size above 0 (bias_std "
                "for biases), or anchor a network without it."
            )
        if not prior.normal and np.any(away > math.sqrt(3) * scale * (1 + FIXED)):
            raise ValueError(
                f"The anchor's {name!r} lies outside the prior {query.prior!r} (off its centre by up to "
                f"{away.max():.3g}): no prior mass is there. Give wider bounds, or a Gaussian prior."
            )


def _cutoffs(cutoff: Any, divergence: Any) -> tuple[float, ...]:
    """In ascending order, each once."""
    listed = [cutoff] if np.ndim(cutoff) == 0 else list(cutoff)
    try:
        values = [float(value) for value in listed]
    except (TypeError, ValueError):
        values = [math.nan]
    least = 0.0 if divergence == "agreement" else np.nextafter(0, 1)
    if not values or not all(math.isfinite(value) and value >= least for value in values):
        kind = "of 0 or more" if divergence == "agreement" else "above 0"
        raise ValueError(f"cutoff={cutoff!r}: give one divergence {kind} or several, for example 1e-2.")
    return tuple(sorted(set(values)))


def _preconditioner(kind: Any, anchor: Any) -> str | Anchor:
    """A word, or curvatures by parameter."""
    if isinstance(kind, str) and kind != "adam":
        return kind
    return second_moments(anchor) if isinstance(kind, str) else Anchor.of(kind, "preconditioner")


def _count(name: str, number: Any) -> int:
    """A whole number of 0 or more."""
    return 0 if isinstance(number, int) and not isinstance(number, bool) and number == 0 else whole(name, number)
