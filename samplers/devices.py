"""Blocks of draws spread over the local devices: the one module that knows about meshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from volume.common.jax_settings import local_devices

BLOCKS = "blocks"


def block_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Return a one-dimensional mesh over ``devices`` (default: all local ones)."""
    devices = local_devices() if devices is None else list(devices)
    # Auto: shard_map refuses plain arrays on the Explicit axes that jax.make_mesh makes by default.
    return Mesh(np.array(devices), (BLOCKS,), axis_types=(AxisType.Auto,))


def first_devices(devices: Sequence[Any] | None, most: int) -> Mesh:
    """Return a mesh over the first ``most`` of ``devices`` (default: of all local ones), fewer where there are
    fewer."""
    return block_mesh((local_devices() if devices is None else list(devices))[:most])


def checked_devices(devices: Any) -> tuple[Any, ...] | None:
    """``devices`` as a tuple, None as it is.

    Raises:
        TypeError: not a sequence of JAX devices.
        ValueError: none of them, one given twice, or devices of another process.
    """
    if devices is None:
        return None
    several = isinstance(devices, Sequence) and not isinstance(devices, str)
    listed: list[Any] = list(devices) if several else []
    if not several or not all(hasattr(device, "platform") for device in listed):
        raise TypeError(f"devices={devices!r} are no JAX devices: give for example jax.local_devices()[:2].")
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(f"devices={devices!r}: give one device or more, each once, or leave it out for all of them.")
    mine = jax.process_index()
    if any(device.process_index != mine for device in listed):
        raise ValueError(f"devices={devices!r} hold some of another process: give those of jax.local_devices().")
    return tuple(listed)


def over_blocks(function: Callable[..., Any], mesh: Mesh, in_sharded: Sequence[bool]) -> Callable[..., Any]:
    """Run ``function`` on every device's share of the arguments marked in ``in_sharded``; the others are replicated.

    Results are concatenated along their first axis, device by device.
    """
    specs = tuple(PartitionSpec(BLOCKS) if sharded else PartitionSpec() for sharded in in_sharded)
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(BLOCKS), check_vma=False)


def replicated(tree: Any, mesh: Mesh) -> Any:
    """Return the arrays of a traced function, whole on every device; what follows them is not divided."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, everywhere), tree)
