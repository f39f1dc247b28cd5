"""The check from the other side: an upper bound for a class that holds a known draw from the prior.

Quantity: V(C), C the class of a network theta* that was drawn from the prior, so that theta* is a draw from the prior
within C. Splitting climbs to C and can miss parts of it that few particles find: its lower bound holds, its estimate
may be low. Conditional runs (volume.estimators.smc.conditional) start in C: their paths lead from theta* back through
the levels, E[1 / p_hat] <= 1 / p, and by Markov's inequality log p <= log p_hat + log(1 / alpha) with probability
1 - alpha. Runs that share the draw are no replicates: their 1 / p_hat are averaged and the inequality is used once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.interrupts import stoppable
from volume.common.jax_settings import fixed_settings
from volume.common.logs import volume_text
from volume.common.progress import Progress
from volume.common.seeds import fold_in, to_key
from volume.estimation import estimate
from volume.estimators.smc.conditional import conditional_runs
from volume.estimators.splitting.splitting import Splitting, SplittingRun
from volume.models import Params
from volume.queries.computed import computed
from volume.queries.query import Query
from volume.reports.entries import ReplicatedVolume
from volume.reports.named import EstimateReport
from volume.samplers import standard_normal
from volume.statistics import replicates

DRAW, FORWARD, REVERSE = 0, 1, 2  # their keys


@stoppable()
@fixed_settings()
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
    if method.last_layer != "moved":
        raise ValueError(
            f"bracket leads a network back along its levels, and last_layer={method.last_layer!r} has bodies and "
            'temperatures instead: give last_layer="moved".'
        )
    z = _checked(query, draw, method.dtype, fold_in(key, DRAW))
    label = class_of(query, z, method.dtype, method.precision)
    climb = replace(method, labels=(label,), resolve=False)
    runs: list[SplittingRun] = []
    report = estimate(query, _Kept(climb, runs), seed=fold_in(key, FORWARD), level=level, progress=progress)
    run = runs[0].class_runs[0]
    entry = report.entries[0]
    assert isinstance(entry, ReplicatedVolume)
    if run.problem:
        return replace(report, seed=record)
    back = fold_in(key, REVERSE)
    with jax.enable_x64(method.dtype == "float64"):
        logs = conditional_runs(run.scheme, run.stages, z, run.data, run.data.inputs.dtype, back, method.replicates)
    upper = min(0.0, replicates.reverse_upper_bound(-logs, 1 - level))
    note = (
        f"The class holds a draw from the prior: its volume is below {volume_text(upper)} at level {level:g}, whatever "
        "the runs from below may have missed."
    )
    if upper < entry.log_bound:
        note += " That is below the lower bound: one of the two failed, as each may with probability 1 - level."
    bounded = replace(
        entry,
        diagnostics=entry.diagnostics | {"log_upper_bound": upper, "log_reverse_estimates": logs},
        notes=(*entry.notes, note),
    )
    return replace(report, entries=(bounded,), seed=record)


class _Kept:
    """Splitting, with its run kept for who needs the levels afterwards."""

    def __init__(self, method: Splitting, runs: list[SplittingRun]):
        self.name, self._method, self._runs = method.name, method, runs

    def start(self, query: Query, key: Array) -> SplittingRun:
        self._runs.append(self._method.start(query, key))
        return self._runs[-1]


def class_of(query: Query, z: Params, dtype: str, precision: str) -> str:
    """Return the label of the class of the network with these standard normals."""
    stands = computed(query, dtype)
    model, bound = query.model, query.bound
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(precision):
        theta = stands.query.prior.transform(z, model.parameters)
        outputs = model.apply(theta, jnp.asarray(stands.inputs))
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
