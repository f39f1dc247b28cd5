"""Optimisers by name, and their schedules."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from volume import samplers

SQUARE = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])


@pytest.mark.parametrize("name", [*samplers.OPTIMISERS])
def test_every_optimiser_lowers_a_convex_loss(name):
    """From the same start, 60 steps: the fit of AND by a perceptron comes nearer, whatever the rule."""
    with jax.enable_x64(True):
        rule: Any = samplers.Optimiser(name, 0.05).transformation(100)
        theta: Any = {"w": np.array([-1.0, 0.5, 2.0])}
        state = rule.init(theta)
        inputs, sign = np.c_[SQUARE, np.ones(4)], np.array([-1.0, -1, -1, 1])

        def loss(theta):
            return jax.numpy.mean(jax.nn.softplus(-sign * (inputs @ theta["w"])))

        @jax.jit
        def one(theta, state):
            updates, state = rule.update(jax.grad(loss)(theta), state, theta)
            return {"w": theta["w"] + updates["w"]}, state

        before = float(loss(theta))
        for _ in range(60):
            theta, state = one(theta, state)
        assert float(loss(theta)) < 0.9999 * before


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0]),
        ("cosine", [1, 0.5 + 0.5 * 0.5**0.5, 0.5, 0]),
        ("exponential", [1, 0.01**0.25, 0.1, 0.01]),
    ],
)
def test_schedules(schedule, wanted):
    """Steps of unit gradients at 0, a quarter, half and all of 400 steps."""
    rule: Any = samplers.Optimiser("sgd", 2.0, schedule=schedule).transformation(400)
    gradient: Any = {"w": np.ones(1, np.float32)}
    state: Any = rule.init({"w": np.zeros(1, np.float32)})
    found = []

    @jax.jit
    def update(state) -> Any:
        return rule.update(gradient, state)

    for i in range(401):
        updates, state = update(state)
        if i in (0, 100, 200, 400):
            found.append(-float(updates["w"][0]))
    np.testing.assert_allclose(found, 2 * np.array(wanted), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("adam", {"b1": "high"}, "b1='high' of 'adam' is not a number"),
        ("sgd", {"nesterov": 1}, "nesterov=1 of 'sgd' is not True or False"),
        ("sgd", {"momentum": "fast"}, "optax.sgd cannot use momentum='fast'"),
        ("adam", {"mu_dtype": "nonsense"}, "optax.adam cannot use mu_dtype='nonsense'"),
    ],
)
def test_options_that_optax_cannot_use_are_refused_at_once(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        samplers.Optimiser(name, options=options)


def test_a_schedule_that_does_not_fit_is_refused_at_once():
    with pytest.raises(ValueError, match="2 steps or more, and max_steps=1"):
        samplers.Optimiser(schedule="warmup-cosine").check(1)
    samplers.Optimiser(schedule="warmup-cosine").check(2)
