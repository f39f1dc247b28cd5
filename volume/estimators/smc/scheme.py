"""The sizes of a run of sequential Monte Carlo, and how its particles are laid out over batches and devices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from volume.common.machine import check_room
from volume.estimators.smc.kernel import Kernel
from volume.samplers import over_blocks, replicated

# Beyond any machine, and far below where whole numbers of 32 bits end.
MAX_PARTICLES, MAX_REPLICATES, MAX_MOVES, MAX_POINTS = 1 << 22, 1 << 16, 1 << 20, 1 << 16

K_co = TypeVar("K_co", bound=Kernel, covariant=True)


@dataclass(frozen=True)
class Scheme(Generic[K_co]):
    """Everything the compiled steps depend on: one scheme, one trace of each step."""

    kernel: K_co
    num_particles: int  # N
    num_moves: int  # P
    batch: int  # particles that move at the same time, whatever their number: rounding depends on it
    precision: str
    mesh: Mesh | None = None  # devices that batches are spread over; None: wherever the arrays are

    @property
    def cost(self) -> int:
        """Evaluations of one level of one replicate."""
        return self.num_particles * self.num_moves * self.kernel.cost

    @property
    def alone(self) -> bool:
        """Whether one replicate fills a batch on every device, so that it loses nothing by going alone."""
        return self.num_particles >= self.batch * (1 if self.mesh is None else self.mesh.size)


def check_particles(size: int, particles: int, replicates: int) -> None:
    """Raise ValueError for more networks of ``size`` parameters than this machine can hold."""
    what = f"The state of {replicates:,} replicates of {particles:,} particles"
    check_room(what, 4 * size * particles * replicates, "give fewer particles or replicates, or a smaller network")


def over_particles(scheme: Scheme[Kernel], function, *arrays):
    """``function`` of one particle's arrays, over the leading axes [R, N] of ``arrays``, ``scheme.batch`` at a time.

    Every batch has the same size, the last one being filled up, and each is worked out by the same loop on one device:
    what a particle does depends neither on how many replicates go with it nor on the number of devices.
    """
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), arrays)
    count, size = jax.tree.leaves(flat)[0].shape[0], scheme.batch
    devices = 1 if scheme.mesh is None else scheme.mesh.size
    batches = math.ceil(count / size)
    each = math.ceil(batches / devices)
    if each * devices * size > count:
        at = np.arange(each * devices * size) % count
        flat = jax.tree.map(lambda leaf: leaf[at], flat)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), flat)
    num = np.clip(batches - each * np.arange(devices), 0, each)  # of every device

    def local(num: Array, flat):
        together = jax.jit(jax.vmap(function), inline=True)  # traced once, for its shapes and in the loop

        def batch(i: Array, found):
            one = together(*jax.tree.map(lambda leaf: leaf[i], flat))
            return jax.tree.map(lambda all_, new: jax.lax.dynamic_update_index_in_dim(all_, new, i, 0), found, one)

        shapes = jax.eval_shape(together, *jax.tree.map(lambda leaf: leaf[0], flat))
        empty = jax.tree.map(lambda leaf: jnp.zeros((each, *leaf.shape), leaf.dtype), shapes)
        # A loop of known length 1 would be dissolved, and its arithmetic fused and rounded in another way.
        return jax.lax.fori_loop(0, jax.lax.optimization_barrier(num)[0], batch, empty)

    if scheme.mesh is None:
        found = local(jnp.asarray(num), flat)
    else:  # what follows looks at all particles of a replicate, on every device alike
        found = replicated(over_blocks(local, scheme.mesh, (True, True))(jnp.asarray(num), flat), scheme.mesh)
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count].reshape(-1, scheme.num_particles, *leaf.shape[2:]), found
    )
