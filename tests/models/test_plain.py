"""Functions evaluated in NumPy: the same as JAX's own values, random numbers included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume.models import MLP, Plain
from volume.samplers import Gaussian, Lattice, Sphere, block_networks, draw_block

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
FUNCTIONS = {
    "products": lambda x: jnp.einsum("ab,cb->ac", x, x) + x @ x.T,
    "batched products": lambda x: jnp.einsum("abc,acd->adb", x.reshape(2, 2, 6), x.reshape(2, 6, 2)),
    "sums": lambda x: jnp.stack([x.sum(1), x.max(1), x.min(1), jnp.cumsum(x, 1)[:, -1], jnp.mean(x**2, 1)]),
    "choices": lambda x: jnp.where(x > 0, x, jnp.argmax(x, axis=1)[:, None] - x),
    "places": lambda x: jnp.concatenate([x[::2, 1:4], jnp.flip(x)[2:, :3], jnp.pad(x[:, :1], ((0, 0), (1, 1)))]),
    "rows": lambda x: x[jnp.array([3, 1, 1])] + jnp.take_along_axis(x, jnp.array([[1], [2], [0], [3]]), 1)[:1],
    "softmax": lambda x: jax.nn.log_softmax(x, axis=1) + jax.nn.sigmoid(x) + jax.nn.gelu(x, approximate=False),
    "slope": jax.grad(lambda x: jnp.sum(jnp.tanh(x) * jnp.sin(x) / (1 + x**2))),
    "sorted": lambda x: jnp.sort(x, axis=1) + jnp.split(x, [2], axis=1)[1][:, :1],
    "branches": lambda x: jax.lax.cond(x[0, 0] > 0, jnp.exp, jnp.abs, x),
    "loops": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * jnp.cos(y) + i, x),
    "convolution": lambda x: jax.lax.conv(x.reshape(1, 1, 4, 6), jnp.ones((1, 1, 2, 2)), (1, 1), "VALID"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_value_that_jax_gives(name):
    function = FUNCTIONS[name]
    (value,) = Plain(function, (X,))((X,))
    np.testing.assert_allclose(value, jax.jit(function)(X), rtol=2e-6, atol=2e-6)
    (moved,) = Plain(function, (X,))((X,), noise=1.0)
    assert 0 < np.abs(moved - value).max() < 1e-4


def test_a_model_and_its_decisions_compile_nothing():
    model = MLP((6, 8, 3), "erf")
    params = {p.name: np.full(p.shape, 0.1, np.float32) for p in model.parameters}
    events: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.append(event))
    Plain(lambda p, x: jnp.argmax(model.apply(p, x), axis=-1), (params, X))((params, X), noise=1.0)
    assert not [event for event in events if "backend_compile" in event]


BLOCKS = [(Gaussian(1.0, 0.1), 6, 5), (Sphere(), 1, 7), (Lattice.ternary(), 3, 2), (Sphere(), 9, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("prior", "bodies", "heads"), BLOCKS)
def test_networks_of_a_block_are_drawn_without_the_others(prior, bodies, heads):
    model, key = MLP((6, 8, 5, 2)), jax.random.key(3)

    @jax.jit
    def drawn(key):
        return draw_block(key, model, prior, jnp.asarray(X), bodies=bodies, heads=heads).outputs

    outputs, numbers = np.asarray(drawn(key)), [0, bodies * heads // 2, bodies * heads - 1]
    sizes = {"bodies": bodies, "heads": heads, "numbers": numbers}
    networks = block_networks(np.asarray(jax.random.key_data(key)), model, prior, "float32", **sizes)
    for number, params in zip(numbers, networks, strict=True):
        (own,) = Plain(model.apply, (params, X))((params, X))
        np.testing.assert_allclose(own, outputs[number // heads, :, :, number % heads], rtol=1e-4, atol=1e-5)
