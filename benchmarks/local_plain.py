"""Trained digits networks, and the rays that one would write first: the peer of benchmarks/local.py.

The digits network is that of a published benchmark of local volumes: an MLP 64-64-10 of GELU units, Adam at .05 on
1,024 of scikit-learn's digits, l2 5e-4 / 2, which makes the trained network the posterior mode under the prior of
standard deviation 1 / sqrt(1024 * 5e-4) = 1.3975 on all 4,810 parameters.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from volume.models import MLP
from volume.samplers import Gaussian

SIGMA, L2, RATE, IMAGES = 1.3975, 5e-4, 0.05, 1024
BISECTIONS = 30  # of a plain ray: its radius to 5e-6 of itself, as ours


def wide(model: MLP) -> Gaussian:
    """Standard deviation 1.3975 on every parameter, whatever its fan-in."""
    fan_in = {p.layer: p.fan_in for p in model.parameters if p.kind == "weight"}
    return Gaussian(weight_std=tuple(SIGMA * math.sqrt(fan_in[layer]) for layer in sorted(fan_in)), bias_std=SIGMA)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 1,024 images in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    return (images[:IMAGES] / 16.0).astype(np.float32), labels[:IMAGES]


def train(
    model: MLP, images: np.ndarray, labels: np.ndarray, *, steps: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Adam on cross-entropy with weight decay in the loss: the parameters, and Adam's second moments."""
    rng = np.random.default_rng(seed)
    params = {
        p.name: jnp.asarray(rng.normal(size=p.shape) * (p.kind == "weight") / math.sqrt(p.fan_in), jnp.float32)
        for p in model.parameters
    }
    given = jnp.asarray(images)

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        fit = optax.softmax_cross_entropy_with_integer_labels(model.apply(params, given), labels).mean()
        return fit + L2 / 2 * sum(jnp.sum(value**2) for value in params.values())

    optimiser = optax.adam(RATE)

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state: Any = optimiser.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    moments = state[0].nu
    return tuple({name: np.asarray(value) for name, value in tree.items()} for tree in (params, moments))  # type: ignore[return-value]  # two of them


@partial(jax.jit, static_argnames=("model", "rays"))
def plain_radii(model: MLP, anchor: Any, images: Any, key: Any, rays: int, cutoff: float) -> Any:
    """Vmapped rays in uniform directions, each by doubling from 1e-3 and bisection: radii [rays]."""
    log_p = jax.nn.log_softmax(model.apply(anchor, images))

    def one(key: Any) -> Any:
        leaves, tree = jax.tree.flatten(anchor)
        keys = jax.random.split(key, len(leaves))
        v = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        size = jnp.sqrt(sum(jnp.sum(x * x) for x in v))

        def divergence(r: Any) -> Any:
            theta = jax.tree.unflatten(tree, [leaf + r * x / size for leaf, x in zip(leaves, v, strict=True)])
            log_q = jax.nn.log_softmax(model.apply(theta, images))
            return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1))

        def body(_: int, state: Any) -> Any:
            low, high = state
            r = jnp.where(jnp.isinf(high), 2 * low, (low + high) / 2)
            inside = divergence(r) <= cutoff
            return jnp.where(inside, r, low), jnp.where(inside, high, r)

        return jax.lax.fori_loop(0, BISECTIONS, body, (1e-3, jnp.inf))[0]

    return jax.vmap(one)(jax.random.split(key, rays))
