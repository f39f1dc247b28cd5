"""The check from the other side: an upper bound for a class that holds a known draw from the prior.

Quantity: V(C), C the class of a network theta* that was drawn from the prior, so that theta* is a draw from the prior
within C. Splitting climbs to C and can miss parts of it that few particles find: its lower bound holds, its estimate
may be low. The reverse run starts in C. The moves are reversible, so running them backwards from theta*, level by
level, gives a path that an ordinary run might have taken to it; a splitting run in which particle 0 follows that path
and is never killed (conditional sequential Monte Carlo: Andrieu, Doucet and Holenstein 2010, section 4.3) has

    E[1 / p_hat] = P(an ordinary run survives) / p <= 1 / p,

and by Markov's inequality log p <= log p_hat + log(1 / alpha) with probability 1 - alpha. Runs that share the draw are
no replicates: their 1 / p_hat are averaged and the inequality is used once.

One level backwards, from the state x' that enters the next level: the path left its chain at step t, uniform on 1..P. A
window (or a line) around x' holds the chain's states before and after that step, each a draw from what is inside; from
the first, t - 1 steps lead back to where the chain began, from the second, P - t steps lead to where it ended. The
weight is the mean share over those P windows, as for any particle (volume.levels).

Shape letters: R runs, P reversible steps of a chain at one level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.logs import volume_text
from volume.common.progress import Progress
from volume.common.seeds import to_key
from volume.estimation import estimate
from volume.estimators.smc.step import Retained, Target, advance, draw
from volume.estimators.splitting.splitting import Splitting, SplittingRun
from volume.estimators.splitting.windows import Stage
from volume.models import Params
from volume.queries.query import Query
from volume.reports.entries import ReplicatedVolume
from volume.reports.named import EstimateReport
from volume.samplers import standard_normal
from volume.statistics import replicates

DRAW, FORWARD, REVERSE = 0, 1, 2  # their keys


@partial(jax.jit, static_argnames="target")
def backwards(
    target: Target, keys: Array, z: Params, inputs: Array, stage: Stage, data: tuple[Any, ...] = ()
) -> Retained:
    """From the states z [R, ...] that entered the next level to those that entered this one, with their weights [R]."""
    target = target.filled(data)

    kind, num = target.kind, target.num_moves * target.kind.steps(target)

    def steps(space: Any, key: Array, z: Params, first: Array, by: int, count: Array) -> tuple[Params, Array]:
        """The state after ``count`` of P - 1 steps, number ``first`` and on by ``by``, and the sum of their shares."""

        def step(state: tuple[Params, Array], at: tuple[Array, Array]) -> tuple[tuple[Params, Array], None]:
            (z, total), (key, number) = state, at
            key_around, key_next = jax.random.split(key)
            seen = kind.around(target, key_around, z, space, stage, first + by * number)
            goes = number < count
            kept = jax.tree.map(partial(jnp.where, goes), seen.somewhere(key_next), z)
            return (kept, total + jnp.where(goes, seen.share, 0)), None

        state, _ = jax.lax.scan(step, (z, jnp.zeros(())), (jax.random.split(key, num - 1), jnp.arange(num - 1)))
        return state

    def one(space: Any, key: Array, z: Params) -> Retained:
        key_step, key_window, key_before, key_after, key_back, key_on = jax.random.split(key, 6)
        left = jax.random.randint(key_step, (), 0, num)  # t, counted from 0
        seen = kind.around(target, key_window, z, space, stage, left)
        start, back = steps(space, key_back, seen.somewhere(key_before), left - 1, -1, left)
        _, on = steps(space, key_on, seen.somewhere(key_after), left + 1, 1, num - 1 - left)
        return Retained(start, (seen.share + back + on) / num)

    with jax.default_matmul_precision(target.precision):
        space = kind.prepare(target, inputs)
        return jax.vmap(partial(one, space))(keys, z)


def reverse_runs(
    target: Target,
    stages: list[Stage],
    z: Params,
    inputs: np.ndarray,
    key: Array,
    num_runs: int,
    data: tuple[Any, ...] = (),
) -> np.ndarray:
    """log p_hat [R] of runs that keep a path to the state ``z``, a draw from the prior within the class."""
    keys = jax.random.split(key, num_runs)

    def at(number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)

    here = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_runs, *leaf.shape)), dict(z))
    path: list[Retained] = []  # by level, from the last: where the path enters the next one, and its weight
    for number, stage in reversed(list(enumerate(stages))):
        found = backwards(target, at(2 * number + 1), here, inputs, stage.cast(inputs.dtype), data)
        path.append(Retained(here, found.weight))
        here = found.z
    particles, _ = draw(target, at(0), inputs)
    particles = jax.tree.map(lambda all_, one: all_.at[:, 0].set(one), particles, here)
    total = np.zeros(num_runs)
    for number, (stage, retained) in enumerate(zip(stages, reversed(path), strict=True)):
        step = advance(target, at(2 * number + 2), particles, inputs, stage.cast(inputs.dtype), data, retained)
        particles = step.z
        total += np.log(np.asarray(step.factor, float))
    return total


def bracket(
    query: Query,
    method: Splitting,
    *,
    draw: Mapping[str, Any] | None = None,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
) -> EstimateReport:
    """Both sides of one class: draw a network from the prior, estimate the volume of its class, bound it from above.

    Args:
        query: what is asked; its classifier names the class of the drawn network.
        method: how to climb; ``labels`` and ``resolve`` play no part.
        draw: the network, as the standard normals that the prior transforms, by parameter name. It must be a draw from
            the prior (or from the prior within its class) that has no part in choosing anything else: a trained network
            is none, and its bound would mean nothing. Default: one is drawn from the seed.
        seed: a whole number or a JAX key.
        level: of the interval and, each by itself, of the two bounds.
        progress: as in `volume.estimate`.

    Returns:
        A report with one entry. ``diagnostics["log_upper_bound"]`` (natural) exceeds the log volume with probability
        ``level``, over the draw of the network and the runs; ``log_bound`` is the lower one.

    Raises:
        TypeError, ValueError: as `volume.estimate`; a draw of other shapes than the model's.
    """
    if not isinstance(method, Splitting):
        raise TypeError(f"bracket runs Splitting in both directions; got {method!r}.")
    query.require_prior_mass("bracket")
    key, record = to_key(seed)
    z = _checked(query, draw, method.dtype, jax.random.fold_in(key, DRAW))
    label = class_of(query, z, method.dtype, method.precision)
    climb = replace(method, labels=(label,), resolve=False)
    runs: list[SplittingRun] = []
    report = estimate(query, _Kept(climb, runs), seed=jax.random.fold_in(key, FORWARD), level=level, progress=progress)
    run = runs[0].class_runs[0]
    entry = report.entries[0]
    assert isinstance(entry, ReplicatedVolume)
    if run.problem:
        return replace(report, seed=record)
    back = jax.random.fold_in(key, REVERSE)
    with jax.enable_x64(method.dtype == "float64"):
        logs = reverse_runs(run.target, run.stages, z, run.inputs, back, method.replicates, run.data)
    upper = min(0.0, replicates.reverse_upper_bound(-logs, 1 - level))
    note = (
        f"The class holds a draw from the prior: its volume is below {volume_text(upper)} at level {level:g}, whatever "
        "the runs from below may have missed."
    )
    if upper < entry.log_bound:
        note += " That is below the lower bound: one of the two failed, as each may with probability 1 - level."
    found = replace(
        entry,
        diagnostics=entry.diagnostics | {"log_upper_bound": upper, "log_reverse_estimates": logs},
        notes=(*entry.notes, note),
    )
    return replace(report, entries=(found,), seed=record)


class _Kept:
    """Splitting, with its run kept for who needs the levels afterwards."""

    def __init__(self, method: Splitting, runs: list[SplittingRun]):
        self.name, self._method, self._runs = method.name, method, runs

    def start(self, query: Query, key: Array) -> SplittingRun:
        self._runs.append(self._method.start(query, key))
        return self._runs[-1]


def class_of(query: Query, z: Params, dtype: str, precision: str) -> str:
    """The label of the class of the network with these standard normals."""
    model, bound = query.model, query.bound
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(precision):
        theta = query.prior.transform(z, model.parameters)
        outputs = model.apply(theta, jnp.asarray(np.asarray(query.domain.inputs, dtype)))
        return bound.label_of(outputs[:, 0] if model.num_outputs == 1 else outputs)


def _checked(query: Query, draw: Mapping[str, Any] | None, dtype: str, key: Array) -> Params:
    parameters = query.model.parameters
    with jax.enable_x64(dtype == "float64"):
        if draw is None:
            return standard_normal(key, parameters, jnp.dtype(dtype))
        shapes = {name: np.shape(value) for name, value in draw.items()}
        wanted = {p.name: tuple(p.shape) for p in parameters}
        if shapes != wanted:
            raise ValueError(f"draw holds arrays of shapes {shapes}; the model's parameters are {wanted}.")
        z = {p.name: jnp.asarray(draw[p.name], dtype) for p in parameters}
    if not all(math.isfinite(float(jnp.sum(value))) for value in z.values()):
        raise ValueError("draw holds NaN or infinite numbers: give the standard normals of one network.")
    return z
