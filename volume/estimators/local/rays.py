"""The mass of a local region by rays from the anchor, each one an unbiased estimate of it.

volume.samplers.rays has the estimator, volume.estimators.local.preconditioner the constants it is aimed with.

Shape letters: S rays, K cutoffs, P parameters, d of them free, B batches of rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.progress import Progress
from volume.common.seeds import halves
from volume.estimators.local.copies import MAX_FLOATS, Copies
from volume.estimators.local.divergence import BoundDivergence
from volume.estimators.local.preconditioner import PreconditionerFit
from volume.estimators.local.ray_parts import Met, RayParts, Shot, Tally
from volume.queries.compiled import check, first_time, spread
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.samplers import RayPrior, Rays, Search, Star, log_masses, ray_directions, shoot

STEP_RAYS = 64  # in one step
# Numbers held at once, by kind of device. A CPU is twice as fast on what its caches hold, and rays that are searched
# together wait for the last of them; a GPU wants to be filled.
FLOATS = {"cpu": 2**22}
ELSEWHERE = 2**27
ROUNDS = 4  # a ray that came back is searched anew at most so often
# Of the radius, relative, over the number of parameters: what the inner end of a bracket leaves out, in nats.
LOSS = 0.005


class Ground(NamedTuple):
    """What rays are shot on: the query's side of a run, in the dtype of the run."""

    divergence: BoundDivergence
    data: dict[str, Any]
    anchor: np.ndarray  # [P] float64
    prior: RayPrior
    cutoffs: np.ndarray  # [K] ascending
    thresholds: np.ndarray  # [K] what D is compared with
    copies: Copies | None = None  # to cut the region with the anchor's cell


class Setting(NamedTuple):
    """The method's side."""

    rays: int
    batches: int
    preconditioner: str  # identity, diagonal, full or given (volume.estimators.local.preconditioner)
    given: np.ndarray | None  # [P] curvature, up to a factor
    fit: int  # steps of the pilot
    drift: bool
    probes: int
    dtype: str


class RaysRun:
    """Rays being shot; `log_means` [B, K] are the logs of independent estimates of each cutoff's mass."""

    def __init__(self, ground: Ground, setting: Setting, key: Array):
        self._ground, self._setting = ground, setting
        pilot_key, self._key = halves(key)
        self._dtype = np.dtype(setting.dtype)
        free, prior = ground.prior.free, ground.prior
        self._dim = len(free)
        self._star: Star | None = None
        self._shots: list[Shot] = []
        cell = ground.copies
        held = STEP_RAYS * ground.anchor.size
        self._cell = cell if cell is not None and cell.exact and held <= MAX_FLOATS else None
        self._store, self._share = RayParts(), (0, 1)
        window = 6 * ground.anchor.size + 4 * len(ground.data["inputs"]) * _units(ground.divergence)
        room = FLOATS.get(jax.default_backend(), ELSEWHERE) // window
        self._batch = 1 << (int(max(1, min(STEP_RAYS, room))).bit_length() - 1)  # so that batches fill a step
        self._step = self._batch * max(1, STEP_RAYS // self._batch)  # rays of one step
        self._todo = list(range(0, setting.rays, self._step))  # their first numbers, left to this process
        self._search = Search(
            smooth=ground.divergence.smooth,
            tolerance=LOSS / self._dim,
            max_steps=40 if ground.divergence.smooth else 60,
            probes=setting.probes,
        )
        scale = prior.scale[free]
        data = {
            "anchor": np.asarray(ground.anchor, self._dtype),
            "free": np.asarray(free),
            "scale": np.asarray(scale, self._dtype),
            "of": ground.data,
        }
        offset = (ground.anchor - prior.centre)[free] / scale
        self._fit = PreconditionerFit(
            ground.divergence,
            data,
            np.asarray(offset, self._dtype),
            kind=setting.preconditioner,
            weights=None if setting.given is None else setting.given[free] * scale**2,
            fit=setting.fit,
            drift=setting.drift and prior.normal,
            goals=(float(ground.thresholds[0]), float(ground.thresholds[-1])),
            key=pilot_key,
            batch=self._batch,
        )

    # --- the run ---

    @property
    def done(self) -> bool:
        """Whether nothing is left to this process."""
        return self._star is not None and not self._todo

    @property
    def num_rays(self) -> int:
        return sum(len(shot.numbers) for shot in self._shots)

    @property
    def log_values(self) -> np.ndarray:
        """log of each ray's estimate [S, K], natural, in the order of their numbers."""
        return self._in_order([shot.log_values for shot in self._shots])

    @property
    def log_cut(self) -> np.ndarray | None:
        """The same of the region within the anchor's cell (copies.py); None where that is not known."""
        cuts = [shot.log_cut for shot in self._shots if shot.log_cut is not None]
        return self._in_order(cuts) if cuts else None

    def _in_order(self, rows: list[np.ndarray]) -> np.ndarray:
        """Rows [., K] of every shot as one array [S, K]."""
        numbers = np.concatenate([shot.numbers for shot in self._shots] or [np.empty(0)])
        return np.concatenate([*rows, np.empty((0, len(self._ground.cutoffs)))])[np.argsort(numbers, kind="stable")]

    @property
    def share_left(self) -> float:
        """Share of the rays that leave the cell before the region."""
        return self._counted.left / max(1, self.num_rays)

    @property
    def batches(self) -> int:
        """B of the rays shot so far: those of the method, fewer while there are fewer rays."""
        return min(self._setting.batches, self.num_rays)

    def log_means(self) -> np.ndarray:
        """log of the mean estimate of each batch of rays, [B, K]; ray i belongs to batch i mod B."""
        values = self.log_values
        rows = [values[b :: self.batches] for b in range(self.batches)]
        return np.array([np.logaddexp.reduce(row, axis=0) - math.log(len(row)) for row in rows])

    @property
    def tally(self) -> Tally:
        counted = self._counted
        return counted._replace(evaluations=counted.evaluations + self._fit.evaluations)

    @property
    def _counted(self) -> Tally:
        """What the rays met, all together."""
        return Tally.of([shot.tally for shot in self._shots])

    def met(self, cutoff: int) -> tuple[Met, bool]:
        """Return what the rays met on the way to cutoff number ``cutoff``, and whether that is the cutoff's own.

        Rays of an older version tell what was met on the way to all cutoffs together.
        """
        counted = self._counted
        if counted.by_cutoff:
            return counted.by_cutoff[cutoff], True
        return counted.together, len(self._ground.cutoffs) == 1

    def diagnostics(self, cutoff: int) -> dict[str, Any]:
        """Return as JSON how the rays were aimed, and what they met on the way to cutoff number ``cutoff``."""
        diagnostics = {"preconditioner": self._setting.preconditioner, "free_parameters": self._dim}
        diagnostics |= {"weights": list(self._fit.weights), "pilot_evaluations": self._fit.evaluations}
        met, _ = self.met(cutoff)
        counts = {f"{name}_rays": getattr(met, name) for name in ("returning", "unbounded", "loose")}
        return diagnostics | counts | {"log_loss": met.log_loss}

    def advance(self) -> None:
        """A part of the pilot, or a step of rays."""
        if self._star is not None:
            self._shoot(self._star)
            return
        self._fit.advance()
        self._begin()

    def _begin(self) -> None:
        """Once the pilot has ended: take the rays that are there, and this process's share of the rest."""
        if not self._fit.done:
            return
        self._star = self._fit.star()
        self._shots = self._store.shots(self._fit.state())
        there = np.concatenate([shot.numbers for shot in self._shots] or [np.empty(0, np.int64)])
        missing = np.setdiff1d(np.arange(self._setting.rays), there) // self._step * self._step
        left, (index, count) = np.unique(missing).tolist(), self._share
        self._todo = left[len(left) * index // count : len(left) * (index + 1) // count]

    # --- checkpoints (ray_parts.py) ---

    @property
    def step(self) -> int:
        """Rays of one step of the run."""
        return self._step

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take the aim and the rays that are there."""
        self._store.take(parts)
        state = self._store.preconditioner()
        if state is not None:
            self._fit.go_on(state)
            self._begin()

    def restrict(self, index: int, count: int) -> None:
        """Shoot this share of the rays that are left; every process aims them, alike."""
        self._share = index, count
        self._begin()

    def collect(self, *, all: bool = False, whole: bool = True) -> list[Checkpoint]:
        """The aim once it is there, or its state now and then, and rays in parts of a few seconds' work; not ``whole``:
        the last step was cut short, and there is no such state."""
        aim = self._store.collect_preconditioner(self._fit.state(), all=all) if whole and not self._share[0] else []
        return aim + self._store.collect(self._fit.state, all=all)

    def progress(self) -> Progress:
        if not self.num_rays:
            return Progress(done=0, total=self._setting.rays, unit="rays", words=self._fit.words)
        about = np.logaddexp.reduce(self.log_values[:, -1]) - math.log(self.num_rays)
        return Progress(done=self.num_rays, total=self._setting.rays, unit="rays", note=f"log V about {about:.6g}")

    # --- the rays ---

    def _shoot(self, star: Star) -> None:
        ground, first, size = self._ground, self._todo[0], self._step
        numbers, fired = np.arange(first, first + size), list[Rays]()
        shape = (size, len(ground.cutoffs))
        rays = self._fire(star, numbers, np.zeros(shape), np.full(shape, np.inf))
        fired.append(rays)
        if first_time("rays", ground.divergence):
            self._check(star, rays, numbers)
        low, high, came_back = rays.low.copy(), rays.high.copy(), np.zeros(shape, bool)
        for _ in range(ROUNDS):
            again = np.flatnonzero(np.isfinite(rays.bad).any(axis=1))
            if not len(again):
                break
            rows = np.resize(again, size)  # of one size: compiled once
            hit = np.isfinite(rays.bad)
            came_back |= hit
            # What is inside one cutoff is inside the next: a crossing of the larger one ends the smaller ones too.
            new_low = np.where(hit, rays.good, low)
            new_high = np.where(hit, rays.bad, high)
            more = self._fire(star, numbers[rows], new_low[rows], new_high[rows])
            fired.append(more)
            count = len(again)
            low[again], high[again] = more.low[:count], more.high[:count]
            bad, good = np.full_like(rays.bad, np.inf), low.copy()
            bad[again], good[again] = more.bad[:count], more.good[:count]
            rays = rays._replace(low=low, high=high, bad=bad, good=good)
        rays = rays._replace(low=low, high=high)
        keep = min(size, self._setting.rays - first)
        rays = Rays(*(part[:keep] for part in rays))
        evaluations, nonfinite = (
            sum(int(getattr(one, name).sum()) for one in fired) for name in ("steps", "nonfinite")
        )
        tally = self._met(rays, came_back[:keep])._replace(evaluations=evaluations, nonfinite=nonfinite)
        log_cut = None
        if self._cell is not None:
            full = np.zeros((keep, ground.anchor.size))
            v = ray_directions(star, self._key, np.asarray(numbers[:keep]), normal=ground.prior.normal)
            full[:, ground.prior.free] = v
            exits = self._cell.exits(full, rays.low[:, -1])
            tally = tally._replace(left=int(np.isfinite(exits).sum()))
            cut = rays._replace(low=np.minimum(rays.low, exits[:, None]))
            log_cut = log_masses(ground.prior, star, cut)
        shot = Shot(numbers[:keep], log_masses(ground.prior, star, rays), log_cut, tally)
        self._shots.append(shot)
        self._store.take_shot(shot)
        self._todo.pop(0)

    def _fire(self, star: Star, numbers: np.ndarray, low: np.ndarray, high: np.ndarray) -> Rays:
        ground, dtype = self._ground, self._dtype
        rays = shoot(
            ground.divergence,
            ground.data,
            star,
            self._key,
            np.asarray(numbers),
            np.asarray(ground.thresholds, dtype),
            np.asarray(low, dtype),
            np.asarray(high, dtype),
            normal=ground.prior.normal,
            search=self._search,
            batch=self._batch,
        )
        return Rays(*(np.array(part) for part in rays))

    def _check(self, star: Star, rays: Rays, numbers: np.ndarray) -> None:
        """Hold radii to a plain evaluation of the divergence there: within the threshold at the inner end of the
        bracket, beyond it at the outer one. Miscompiled where it says otherwise."""
        ground, rows = self._ground, spread(len(numbers))
        asked = numbers if self._cell is not None else numbers[rows]  # where all are asked for later, by one program
        v = np.asarray(ray_directions(star, self._key, np.asarray(asked), normal=ground.prior.normal))
        v = v[rows] if self._cell is not None else v
        cases, bounds = list[tuple[np.ndarray, Any]](), list[tuple[float, float]]()
        for row, direction in zip(rows, v, strict=True):
            step = np.zeros(ground.anchor.size, self._dtype)
            step[np.asarray(star.free)] = np.asarray(star.scale) * direction
            for k in {0, len(ground.cutoffs) - 1}:
                low, high, threshold = rays.low[row, k], rays.high[row, k], ground.thresholds[k].astype(self._dtype)
                cases.append((np.asarray(star.anchor) + low * step, ground.data))
                bounds.append((-math.inf, threshold))
                if low < high < rays.end[row]:
                    cases.append((np.asarray(star.anchor) + high * step, ground.data))
                    bounds.append((threshold, math.inf))

        def divergence(theta: Array, data: Any) -> Array:
            value = ground.divergence(theta, data)
            return jnp.where(jnp.isnan(value), jnp.inf, value)  # NaN is outside

        precision = str(jax.config.jax_default_matmul_precision)  # type: ignore[attr-defined]
        remedy = "give another number of rays, or estimator='splitting'"
        lows, highs = zip(*bounds, strict=True)
        check("divergences", divergence, cases, lows, highs, precision=precision, remedy=remedy)

    def _met(self, rays: Rays, came_back: np.ndarray) -> Tally:
        ended = rays.low >= rays.end[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.where(ended, 0.0, self._dim * np.log(rays.high / rays.low))
        loss = np.nan_to_num(gap, posinf=0.0)
        columns = (came_back, ended, gap > 100 * LOSS, loss)
        one_each = [_met(*(column[:, k] for column in columns)) for k in range(loss.shape[1])]
        return Tally(together=_met(np.any(came_back, axis=1, keepdims=True), *columns[1:]), by_cutoff=tuple(one_each))


def _met(came_back: np.ndarray, ended: np.ndarray, loose: np.ndarray, loss: np.ndarray) -> Met:
    return Met(int(came_back.sum()), int(ended.sum()), int(loose.sum()), float(loss.max(initial=0.0)))


def _units(divergence: BoundDivergence) -> int:
    """Numbers that one input leaves in a network's layers, about."""
    return sum(p.shape[-1] for p in divergence.parameters if p.kind == "weight") + divergence.model.num_outputs
