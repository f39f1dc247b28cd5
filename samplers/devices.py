"""Blocks of draws spread over the local devices: the one module that knows about meshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

BLOCKS = "blocks"


def block_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A one-dimensional mesh over ``devices`` (default: all local ones)."""
    devices = jax.local_devices() if devices is None else list(devices)
    # Auto: shard_map refuses plain arrays on the Explicit axes that jax.make_mesh makes by default.
    return Mesh(np.array(devices), (BLOCKS,), axis_types=(AxisType.Auto,))


def over_blocks(function: Callable[..., Any], mesh: Mesh, in_sharded: Sequence[bool]) -> Callable[..., Any]:
    """Run ``function`` on every device's share of the arguments marked in ``in_sharded``; the others are replicated.

    Results are concatenated along their first axis, device by device.
    """
    specs = tuple(PartitionSpec(BLOCKS) if sharded else PartitionSpec() for sharded in in_sharded)
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(BLOCKS), check_vma=False)
