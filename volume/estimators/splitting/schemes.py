"""Which kernel suits a class, and how many of its particles move at the same time."""

from __future__ import annotations

import math
from typing import Any

from volume.estimators.smc.scheme import Scheme
from volume.estimators.splitting.bodies import BodyKernel, why_moved
from volume.estimators.splitting.hit_and_run import LineKernel, line_kernel
from volume.estimators.splitting.windows import WindowKernel
from volume.functions.importance import ImportanceFunction, Right
from volume.queries.query import Query
from volume.samplers import arcs, block_mesh, can_share_heads

# Of a window: on a torus every point of the body's ellipse costs an evaluation, and more of them buy less than more
# moves do; small functions that are moved as a whole are cheap. benchmarks/rare_event.py --explore compares.
BODY_POINTS, HEAD_POINTS, ALONE_POINTS = 4, 16, 16
BATCH_FLOATS = 1 << 19  # of moves at the same time: they stay in a CPU's caches

ClassKernels = WindowKernel | LineKernel | BodyKernel
ClassScheme = Scheme[ClassKernels]


def scheme_for(
    query: Query,
    score: ImportanceFunction,
    *,
    num_particles: int,
    num_replicates: int,
    num_moves: int,
    last_layer: str,
    body_points: int | None,
    head_points: int,
    precision: str,
    devices: tuple[Any, ...] | None,
) -> ClassScheme:
    """Choose the kernel and the batch of a class.

    Args:
        query: model and prior.
        score: the importance function.
        num_particles: of one replicate.
        num_replicates: that go together, or fewer of them.
        num_moves: of each particle at each level.
        last_layer: one of `LAST_LAYERS`.
        body_points: of a window; None for as many as suit the network.
        head_points: likewise.
        precision: of matrix products.
        devices: to spread particles over; None for all local ones.

    Raises:
        ValueError: a last layer that cannot be integrated, or points of windows where there are none.
    """
    make = _integrated if last_layer == "integrated" else _moved
    kernel = make(query, score, body_points, head_points)
    count = num_particles * num_replicates
    batches = math.ceil(count / max(1, BATCH_FLOATS // kernel.num_floats))
    mesh = block_mesh(devices)
    return Scheme(
        kernel=kernel,
        num_particles=num_particles,
        num_moves=num_moves,
        batch=math.ceil(count / batches),  # alike, so that few particles are done twice
        precision=precision,
        mesh=mesh if mesh.size > 1 or devices is not None else None,
    )


def _moved(query: Query, score: ImportanceFunction, body_points: int | None, head_points: int) -> ClassKernels:
    kernel = line_kernel(query.model, query.prior, score)
    if kernel is not None:
        _refuse_points(body_points, head_points, "this network is all head: it moves along straight lines")
        return kernel
    split = can_share_heads(query.model, query.prior)
    points = body_points or (BODY_POINTS if split else ALONE_POINTS)
    return WindowKernel(arcs(query.model, query.prior, body_points=points, head_points=head_points), score)


def _integrated(query: Query, score: ImportanceFunction, body_points: int | None, head_points: int) -> ClassKernels:
    why = why_moved(query.model, query.prior, score)
    if why:
        raise ValueError(f'last_layer="integrated" does not apply: {why}. Give last_layer="moved".')
    assert isinstance(score, Right)  # why_moved
    _refuse_points(body_points, head_points, "a body goes to one point or stays")
    return BodyKernel(query.model, query.prior, score)


def _refuse_points(body_points: int | None, head_points: int, instead: str) -> None:
    if body_points is not None or head_points != HEAD_POINTS:
        raise ValueError(f"body_points and head_points are about windows, and {instead}. Leave them out.")
