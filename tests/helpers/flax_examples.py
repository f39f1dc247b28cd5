"""Small Flax modules that the tests of models share: a convolution and a transformer block, in both dialects."""

import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from volume.models import from_linen, from_nnx


class NnxConv(nnx.Module):
    def __init__(self, rngs, rate=0.0):
        self.second = nnx.Conv(4, 6, (2, 2), feature_group_count=2, use_bias=False, rngs=rngs)
        self.first = nnx.Conv(1, 4, (3, 3), rngs=rngs)  # attributes in another order than they are used
        self.drop = nnx.Dropout(rate, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.first(x))
        x = nnx.relu(self.second(x))
        return self.out(self.drop(jnp.mean(x, (1, 2))))


class LinenConv(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3), name="first")(x))
        x = linen.relu(linen.Conv(6, (2, 2), feature_group_count=2, use_bias=False, name="second")(x))
        return linen.Dense(3, name="out")(jnp.mean(x, (1, 2)))


class NnxTransformer(nnx.Module):
    def __init__(self, rngs, bias=False):
        self.embed = nnx.Linear(3, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 8, use_bias=bias, decode=False, rngs=rngs)
        self.mlp = nnx.Sequential(nnx.Linear(8, 10, rngs=rngs), nnx.gelu, nnx.Linear(10, 8, rngs=rngs))
        self.out = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        x = self.embed(x)
        x = x + self.attend(self.norm(x))
        return self.out(jnp.mean(x + self.mlp(x), 1))[:, 0]


class LinenTransformer(linen.Module):
    @linen.compact
    def __call__(self, x, train=True):
        x = linen.Dense(8, name="embed")(x)
        y = linen.LayerNorm(name="norm")(x)
        x = x + linen.MultiHeadDotProductAttention(2, use_bias=False, name="attend")(y)
        x = linen.Dropout(0.1, deterministic=not train)(x)
        y = linen.gelu(linen.Dense(10, name="up")(x))
        x = jnp.mean(x + linen.Dense(8, name="down")(y), 1)
        return linen.Dense(1, name="out")(x)[:, 0]


EVAL = {"train": False}

CASES = {
    "nnx conv": (lambda: from_nnx(NnxConv(nnx.Rngs(0)), (5, 4, 1)), (5, 4, 1), 3),
    "linen conv": (lambda: from_linen(LinenConv(), (5, 4, 1)), (5, 4, 1), 3),
    "nnx transformer": (lambda: from_nnx(NnxTransformer(nnx.Rngs(0)), (6, 3)), (6, 3), 1),
    "linen transformer": (lambda: from_linen(LinenTransformer(), (6, 3), kwargs=EVAL), (6, 3), 1),
}


def draw(parameters, seed=0):
    rng = np.random.default_rng(seed)
    return {p.name: jnp.asarray(rng.normal(0.2, 0.7, p.shape), jnp.float32) for p in parameters}


def some_inputs(shape, num_inputs=4):
    return jnp.asarray(np.random.default_rng(5).uniform(-1, 1.5, (num_inputs, *shape)), jnp.float32)


def nested(params):
    tree = {}
    for name, value in params.items():
        *path, last = name.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return tree
