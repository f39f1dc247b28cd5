"""The compiled steps of methods, for `volume.guards`: each with arguments of the shapes that a run gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from volume.checks.guards import Call, Program, counted, measure
from volume.common.seeds import threefry_key
from volume.method import Method
from volume.queries.query import Query


def calls(method: Method[Any], query: Query) -> dict[str, Call]:
    """Name -> step of this method on this query; none where a method offers no step. Nothing is drawn."""
    offered: dict[str, Callable[[Any], dict[str, Call]]] = {
        "direct": _direct,
        "splitting": _splitting,
        "trained": _trained,
    }
    if method.name not in offered:
        return {}
    return offered[method.name](method.start(query, threefry_key(0)))


def watched(method: Method[Any], query: Query, run: Callable[[], Any]) -> tuple[Any, dict[str, Program]]:
    """Return what ``run()`` gives back, and the programs of the steps that it takes with their traces."""
    steps = calls(method, query)
    with counted([step.jitted for step in steps.values()]) as traces:
        result = run()
    return result, programs(steps, dict(zip(steps, traces, strict=True)))


def programs(steps: Mapping[str, Call], traces: Mapping[str, int]) -> dict[str, Program]:
    """Return what these steps cost."""
    measured = {}
    for name, step in steps.items():
        with jax.enable_x64(step.x64):
            measured[name] = replace(measure(step.jitted, *step.args), traces=traces.get(name))
    return measured


def _direct(run: Any) -> dict[str, Call]:
    from volume.estimators.direct.step import step

    plan, devices = run.plan, run.plan.mesh.size
    words = np.zeros((devices * plan.max_blocks, 2), np.uint32)
    inputs = run._inputs
    share = np.zeros(devices, np.int32)
    return {"step": Call(step, (plan, run._key, inputs, words, share), inputs.dtype == np.float64)}


def _splitting(run: Any) -> dict[str, Call]:
    from volume.estimators.smc.step import advance, draw

    one = run.class_runs[0]
    x64 = one.data.inputs.dtype == np.float64
    with jax.enable_x64(x64):
        keys = jax.random.split(threefry_key(0), run._method.replicates)
        state, _ = jax.eval_shape(lambda keys: draw(one.scheme, keys, one.data), keys)
        stage = one.scheme.kernel.stay(0.0, one.scheme.kernel.first_step).cast(one.data.inputs.dtype)
    return {"level": Call(advance, (one.scheme, keys, state, one.data, stage), x64)}


def _trained(run: Any) -> dict[str, Call]:
    from volume.estimators.trained import pool as training_pool
    from volume.samplers import empty_pool

    pool, x64 = run._pools[0], run._dtype == "float64"
    slots = run.plan.slots
    with jax.enable_x64(x64):
        state = jax.eval_shape(lambda: empty_pool(run.plan.training, pool._data, run.plan.groups))
    numbers = np.zeros(slots, np.int32), np.zeros(slots, np.uint32), np.int32(0), np.zeros(slots, np.int32)
    return {"step": Call(training_pool.step, (run.plan, pool._data, pool._domain, state, *numbers), x64)}
