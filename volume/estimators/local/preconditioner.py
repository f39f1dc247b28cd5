"""How rays are aimed (volume.estimators.local.rays): a Gaussian that covers a local region as well as one can, from a
short pilot.

Rays leave the anchor as a Gaussian does, in coordinates y where the prior has unit size about its own centre: precision
weight H + I, mean where the prior pulls. Its parts, all of them constants once the rays begin:

* H, a curvature of the divergence: the Gauss-Newton matrix of KL (or the Hessian of a user's divergence), whole or its
  diagonal; or a diagonal that the user gives, such as Adam's second moments; or the identity.
* weight: where networks drawn from it have their median divergence at the cutoff. This is exponential tilting: of all
  densities with that mean of y'H y it is the nearest to the prior. A few weights around it share the rays.
* H is no matrix at the anchor but the mean of those at networks drawn from the Gaussian itself, step by step until the
  two agree, as in variational Newton methods (Khan et al. 2018, "Fast and scalable Bayesian deep learning by
  weight-perturbation in Adam", section 3). At the anchor alone the curvature says little: where a unit is off, or an
  input dark, it is nearly 0 until one has gone some way.

Shape letters: d free parameters, S networks of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program
from volume.common.seeds import fold_in
from volume.estimators.local.divergence import BoundDivergence
from volume.samplers import Curvature, Preconditioner, Star, columns, diagonal, eigen, squares

PROBES = 64  # of the first diagonal: 18 % of each entry, and its root is what counts
DRAWN = 4  # S, networks of one step of the fit
FORGET = 0.1  # weight of a step in the running mean of the curvature; in the last third of the fit a third of it
HASTE = 2.0  # of log weight after log D, times FORGET
TRIED = 32  # networks behind the median when a weight is balanced
RANGE = 40.0  # natural logs of weight on either side of 1 / the largest curvature
HALVINGS = 20
COLUMNS = 256  # of a whole matrix in one step of the run
POINTS_OF = 8000  # a whole matrix is the mean over this many columns in all, at least 2 networks and at most 16
WAYS, LOOSER, TIGHTER = 6, 3.0, 1.0  # J weights, and how far they reach beyond the balanced ones, in logarithms
STEPS = 10  # of the fit in one step of the run
# Evaluations that count: a value is 1, a gradient or a curvature product 3.
GRADIENT = 3


@dataclass(frozen=True)
class Free:
    """Products of a divergence in coordinates of the free parameters: equal ones are one static argument."""

    divergence: BoundDivergence
    root: bool = False

    def __call__(self, y: Array, data: Any, v: Array) -> Array:
        theta = self.theta(y, data)
        if self.root:
            return data["scale"] * self.divergence.curvature_root(theta, data["of"], v)[data["free"]]
        full = jnp.zeros_like(theta).at[data["free"]].set(data["scale"] * v, unique_indices=True)
        return data["scale"] * self.divergence.curvature_product(theta, data["of"], full)[data["free"]]

    def theta(self, y: Array, data: Any) -> Array:
        return data["anchor"].at[data["free"]].add(data["scale"] * y, unique_indices=True)


class PreconditionerState(NamedTuple):
    """Where a pilot stands, or how it ended; arrays of the free parameters."""

    curvature: Curvature
    weights: tuple[float, ...]  # there when it has ended
    evaluations: int
    fitted: int  # steps of the fit
    values: np.ndarray | None = None  # [d] the diagonal that is being fitted, in the dtype of the run
    log_weight: np.ndarray | None = None  # and its weight
    points: np.ndarray | None = None  # [S, d] networks that the whole matrix is a mean over
    columns: tuple[np.ndarray, ...] = ()  # [., d] each: of the whole matrix, so far


class PreconditionerFit:
    """The pilot; ``advance`` until ``curvature`` and ``weights`` are there.

    ``kind`` is "identity", "diagonal", "full" or "given" (with ``given`` [d], up to a factor); ``data`` holds "anchor"
    [P], "free" and "scale" [d] and "of", what the divergence reads; ``offset`` [d]: of the anchor from the prior's
    centre, in its standard deviations; ``goals``: the least and the largest divergence to balance at.
    """

    def __init__(
        self,
        divergence: BoundDivergence,
        data: dict[str, Any],
        offset: Any,
        *,
        kind: str,
        weights: np.ndarray | None,
        fit: int,
        drift: bool,
        goals: tuple[float, float],
        key: Array,
        batch: int,
    ):
        self._bound, self._data, self.offset, self._drift = divergence, data, offset, drift
        self._kind, self._fit, self._goals, self._key, self._batch = kind, fit, goals, key, batch
        self.evaluations = 0
        self.curvature = Curvature(np.ones(offset.size))
        if weights is not None:
            self.curvature = Curvature(weights / max(float(weights.max()), np.finfo(float).tiny))
        self.weights: tuple[float, ...] = ()
        self._fitted = 0
        self._points: Any = np.zeros((0, offset.size), offset.dtype)
        self._columns: list[np.ndarray] = []
        self._state: tuple[Any, Any] | None = None

    @property
    def done(self) -> bool:
        return len(self.weights) > 0

    def state(self) -> PreconditionerState:
        """Return where it stands, or how it ended: then without what is of no use any more."""
        state = PreconditionerState(self.curvature, self.weights, self.evaluations, self._fitted)
        if self.done or self._state is None:
            return state
        values, log_weight = map(np.asarray, self._state)
        return state._replace(
            values=values, log_weight=log_weight, points=np.asarray(self._points), columns=tuple(self._columns)
        )

    def go_on(self, state: PreconditionerState) -> None:
        """From that state, of a pilot with the same arguments."""
        self.curvature, self.weights, self.evaluations, self._fitted = state[:4]
        if state.values is not None:
            self._state = np.asarray(state.values), np.asarray(state.log_weight)
        if state.points is not None:
            self._points = np.asarray(state.points)
        self._columns = list(state.columns)

    @property
    def words(self) -> str:
        """Where the pilot stands, for progress."""
        if self._kind == "full" and len(self._points):
            return f"aiming: {100 * min(len(self._columns) * COLUMNS / self.offset.size, 1):.0f} % of a matrix"
        return f"aiming: {self._fitted} of {self._fit} steps" if self._kind in ("diagonal", "full") else "aiming"

    def advance(self) -> None:
        """One step of the pilot, of a second or so."""
        if self._kind in ("diagonal", "full") and self._state is None:
            self._start_fit()
            return
        if self._kind in ("diagonal", "full") and self._fitted < self._fit:
            for _ in range(min(STEPS, self._fit - self._fitted)):
                self._step_fit()
            return
        if self._kind == "full" and not self._whole():
            return
        # From tighter than the least cutoff wants to looser than the largest: rare long rays carry much of the mass.
        tight, loose = (math.log(self._balance(goal)) for goal in self._goals)
        self.weights = tuple(np.exp(np.linspace(loose - LOOSER, tight + TIGHTER, WAYS)).tolist())

    def star(self, weights: Sequence[float] | None = None) -> Star:
        """Return rays as the curvature and the weights aim them."""
        ways = self.curvature.preconditioner(np.array(self.weights if weights is None else weights), self.offset.dtype)
        lean = np.asarray(float(self._drift), self.offset.dtype)
        data = self._data
        return Star(data["anchor"], data["scale"], data["free"], self.offset, lean, ways)

    # --- the diagonal, step by step ---

    def _start_fit(self) -> None:
        at, key = np.zeros_like(self.offset), fold_in(self._key, 0)
        if self._bound.function is None:
            curvature = squares(Free(self._bound, root=True), at, self._data, key, self._shape, PROBES)
        else:
            curvature = diagonal(Free(self._bound), at, self._data, key, PROBES)
        self.evaluations += GRADIENT * PROBES
        curvature = np.maximum(np.asarray(curvature, float), 0)
        # Flat at the anchor need not be flat a step away; without a fit the anchor's is what was asked for.
        self.curvature = Curvature(curvature + (curvature.mean() if self._fit else 0.0))
        weight = self._balance(self._middle)
        dtype = self.offset.dtype
        self._state = np.asarray(self.curvature.values, dtype), np.asarray(math.log(weight), dtype)

    def _step_fit(self) -> None:
        assert self._state is not None
        late = self._fitted > 2 / 3 * self._fit
        values, log_weight = _fit_step(
            self._bound,
            self._shape,
            self._data,
            self.offset,
            *self._state,
            np.asarray(FORGET / 3 if late else FORGET, self.offset.dtype),
            np.asarray(self._middle, self.offset.dtype),
            fold_in(self._key, 1 + self._fitted),
            self._drift,
        )
        self._state = values, log_weight
        self._fitted += 1
        self.evaluations += DRAWN * (1 + GRADIENT)
        if self._fitted == self._fit:
            self.curvature = Curvature(np.asarray(values, np.float64))

    @property
    def _shape(self) -> tuple[int, int]:
        """Of a probe on the outputs: [N, C]."""
        return len(self._data["of"]["inputs"]), max(2, self._bound.model.num_outputs)

    # --- the whole matrix ---

    def _whole(self) -> bool:
        """Some columns of the matrix; True when all are there."""
        dim = self.offset.size
        if not len(self._points):
            if self._fit:
                weight = self._balance(self._middle)
                self._points = self._draws(self.star([weight]), 7, int(np.clip(POINTS_OF // dim, 2, 16)))
            else:
                self._points = np.zeros((1, dim), self.offset.dtype)
        size = min(COLUMNS, dim)
        first = len(self._columns) * size
        numbers = np.minimum(np.arange(first, first + size), dim - 1)
        points = np.asarray(self._points)
        rows = [np.asarray(columns(Free(self._bound), y, self._data, numbers, self._batch)) for y in points]
        self.evaluations += GRADIENT * size * len(rows)
        self._columns.append(np.mean(rows, axis=0))
        if first + size < dim:
            return False
        matrix = np.concatenate(self._columns)[:dim]
        self.curvature, self._columns = eigen((matrix + matrix.T) / 2), []
        return True

    # --- the weight ---

    def _draws(self, star: Star, number: int, count: int) -> Array:
        """Networks y [count, d] of the first way."""
        key = fold_in(fold_in(self._key, 2**31 - 1), number)
        return _networks(star, jax.random.normal(key, (count, self.offset.size), self.offset.dtype))

    @property
    def _middle(self) -> float:
        return math.sqrt(self._goals[0] * self._goals[1])

    def _balance(self, goal: float) -> float:
        """The weight at which the median divergence is at the goal."""
        centre = -math.log(max(float(self.curvature.values.max(initial=0)), np.finfo(np.float32).tiny))
        low, high = centre - RANGE, centre + RANGE
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            y = self._draws(self.star([math.exp(middle)]), 0, TRIED)
            values = np.asarray(_values(self._bound, self._data, y))
            self.evaluations += TRIED
            if np.median(np.where(np.isnan(values), np.inf, values)) > goal:
                low = middle
            else:
                high = middle
        return math.exp(high)


@program()
def _networks(star: Star, normal: Array) -> Array:
    """y = P (mu + normal) [S, d] of the first way, for rows ``normal`` [S, d]."""
    way = Preconditioner(star.ways.scale[0], star.ways.basis)
    return jax.lax.map(lambda row: way.apply(row - star.lean * way.transposed(star.offset)), normal)


@program(static_argnames="divergence")
def _values(divergence: BoundDivergence, data: Any, y: Array) -> Array:
    """D [S] at networks y [S, d]."""
    return jax.lax.map(lambda row: divergence(Free(divergence).theta(row, data), data["of"]), y)


@program(static_argnames=("divergence", "shape", "drift"))
def _fit_step(
    divergence: BoundDivergence,
    shape: tuple[int, int],
    data: Any,
    offset: Array,
    values: Array,
    log_weight: Array,
    forget: Array,
    goal: Array,
    key: Array,
    drift: bool,
) -> tuple[Array, Array]:
    """The diagonal [d] and log weight after one more step of the fit."""
    key_g, key_z = jax.random.split(key)
    scale = (jnp.exp(log_weight) * values + 1) ** -0.5
    centre = -(scale**2) * offset if drift else jnp.zeros_like(offset)

    def one(keys: Array) -> tuple[Array, Array]:
        y = centre + scale * jax.random.normal(keys[0], offset.shape, offset.dtype)
        theta = Free(divergence).theta(y, data)
        if divergence.function is None:
            z = jax.random.rademacher(keys[1], shape, offset.dtype)
            square = Free(divergence, root=True)(y, data, z) ** 2
        else:
            z = jax.random.rademacher(keys[1], offset.shape, offset.dtype)
            square = z * Free(divergence)(y, data, z)
        return divergence(theta, data["of"]), square

    keys = jnp.stack([jax.random.split(key_g, DRAWN), jax.random.split(key_z, DRAWN)], axis=1)
    reached, square = jax.lax.map(one, keys)
    reached = jnp.clip(jnp.where(jnp.isnan(reached), jnp.inf, reached) / goal, 1e-2, 1e2)
    square = jnp.where(jnp.isfinite(square), square, 0)
    values = jnp.maximum((1 - forget) * values + forget * jnp.mean(square, axis=0), 0)
    return values, log_weight + HASTE * forget * jnp.mean(jnp.log(reached))
