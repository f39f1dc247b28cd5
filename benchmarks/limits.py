"""What the machine could do at most, measured in the run that is compared with it, by the same library.

* ``matmul_flops``: floating-point operations/s of one large matrix product at a precision;
* ``normals``: standard normal deviates/s of JAX's default generator;
* ``bytes``: memory traffic/s of an array too large for any cache, read once and written once.

Each is the best of several turns: a peak is what nothing disturbed. On CPU, GPU and TPU alike, on one device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.environment import seconds

# Rows of the square matrices, normals, and floats moved: some milliseconds to tens of them on each kind of device.
SIZES = {"cpu": (2048, 4_000_000, 1 << 25), "gpu": (8192, 1 << 28, 1 << 29), "tpu": (8192, 1 << 27, 1 << 28)}
SIZES |= {"cuda": SIZES["gpu"], "rocm": SIZES["gpu"]}
TURNS = 5


@cache
def measure(precision: str = "highest", dtype: str = "float32", turns: int = TURNS) -> dict[str, float]:
    """The three limits of the first device; kept for the process. About a second on two cores."""
    size, normals, moved = SIZES.get(jax.devices()[0].platform, SIZES["cpu"])
    return {
        "matmul_flops": matmul_flops(precision, dtype, size, turns),
        "normals": normal_rate(dtype, normals, turns),
        "bytes": byte_rate(moved, turns),
    }


def matmul_flops(precision: str, dtype: str, size: int, turns: int = TURNS) -> float:
    with jax.enable_x64(dtype == "float64"):
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product: Any = jax.jit(partial(jnp.matmul, precision=precision))
        return 2 * size**3 / best(lambda: product(a, a), turns)


def normal_rate(dtype: str, count: int, turns: int = TURNS) -> float:
    with jax.enable_x64(dtype == "float64"):
        draw: Any = jax.jit(partial(jax.random.normal, shape=(count,), dtype=dtype))
        key = jax.random.key(1)
        return count / best(lambda: draw(key), turns)


def byte_rate(count: int, turns: int = TURNS) -> float:
    """Reads and writes of ``count`` floats each."""
    values = jnp.zeros(count, jnp.float32)
    move: Any = jax.jit(_scaled)
    return 8 * count / best(lambda: move(values), turns)


def _scaled(values: Any) -> Any:
    return 2 * values + 1


def best(work: Callable[[], Any], turns: int) -> float:
    """Seconds of the fastest of so many turns, compiled before."""
    jax.block_until_ready(work())
    return min(seconds(lambda: jax.block_until_ready(work())) for _ in range(turns))


def layer_flops(widths: Sequence[int], num_inputs: int, *, heads: int = 1) -> float:
    """Operations of the matrix products of one fully connected network whose lower layers serve ``heads`` networks."""
    layers = [a * b for a, b in itertools.pairwise(widths)]
    return 2 * num_inputs * (layers[-1] + sum(layers[:-1]) / heads)


def layer_normals(widths: Sequence[int], *, heads: int = 1, bodies: int = 1) -> float:
    """Normal deviates that one such network takes, its last layer serving ``bodies`` lower ones; no biases."""
    layers = [a * b for a, b in itertools.pairwise(widths)]
    return layers[-1] / bodies + sum(layers[:-1]) / heads
