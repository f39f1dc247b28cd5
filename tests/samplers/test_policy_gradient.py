"""Policy gradients on the one-step bandit, against the exact gradient and what PPO's paper says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers

# (outputs, labels) of three examples each; asymmetric, with likely and unlikely right answers.
BINARY = np.array([[0.7], [-1.5], [2.2]]), np.array([1, 1, 0])
THREE = np.array([[0.3, 1.0, -2.0], [0.5, 0.25, 1.5], [-1.0, 0.0, 2.0]]), np.array([0, 2, 1])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def policy(outputs):
    """pi [B, C'] by hand, C' = 2 for one output."""
    if outputs.shape[1] == 1:
        p = 1 / (1 + np.exp(-outputs[:, 0]))
        return np.stack([1 - p, p], axis=1)
    weights = np.exp(outputs)
    return weights / weights.sum(axis=1, keepdims=True)


def grad_log_policy(outputs, actions):
    """d log pi(a) / d outputs [B, C], by hand."""
    pi = policy(outputs)
    if outputs.shape[1] == 1:
        return (actions - pi[:, 1])[:, None]
    return np.eye(outputs.shape[1])[actions] - pi


def rollout_of(objective, outputs, labels, actions, mean=0.0):
    """The rollout in which these actions were drawn from the policy of these outputs."""
    rollout = objective.start(len(labels), np.float64)._replace(mean=jnp.asarray(mean))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "bernoulli", lambda *_: jnp.asarray(actions == 1))
        patch.setattr(jax.random, "categorical", lambda *_: jnp.asarray(actions))
        weight = jnp.ones(len(labels))
        return objective.act(jax.random.key(0), jnp.asarray(outputs), jnp.asarray(labels), weight, rollout)


def gradient(objective, outputs, labels, rollout):
    """What ascent follows, [B, C]: minus the gradient of what is lowered, example by example."""

    def total(outputs):
        return jnp.sum(objective.values(outputs, jnp.asarray(labels), rollout))

    return -np.asarray(jax.grad(total)(jnp.asarray(outputs)))


def expected(objective, outputs, labels, mean=0.0):
    """The mean gradient over actions, exact: every action with its probability."""
    pi = policy(outputs)
    found = np.zeros_like(outputs)
    for action in range(pi.shape[1]):
        actions = np.full(len(labels), action)
        rollout = rollout_of(objective, outputs, labels, actions, mean)
        found += pi[:, [action]] * gradient(objective, outputs, labels, rollout)
    return found


@pytest.mark.parametrize("task", [BINARY, THREE], ids=["binary", "three"])
@pytest.mark.parametrize("baseline", ["none", "mean", "value"])
def test_the_mean_gradient_is_cross_entropys_times_pi(task, baseline):
    """pi(y) grad log pi(y), with any baseline that does not depend on the action."""
    outputs, labels = task
    right = policy(outputs)[np.arange(3), labels]
    wanted = right[:, None] * grad_log_policy(outputs, labels)
    found = expected(samplers.Reinforce(baseline), outputs, labels, mean=0.37)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    loss = samplers.Loss()
    supervised = gradient(loss, outputs, labels, loss.start(3, np.float64))
    np.testing.assert_allclose(found, right[:, None] * supervised, rtol=1e-12)


def test_a_baseline_turns_the_step_of_a_wrong_action():
    """Without one a wrong action does nothing; with one it is pushed away, and a right one is followed in both."""
    outputs, labels = THREE
    wrong = np.array([1, 0, 2])
    for baseline, wanted in (("none", 0.0), ("mean", -0.25), ("value", None)):
        objective = samplers.Reinforce(baseline)
        rollout = rollout_of(objective, outputs, labels, wrong, mean=0.25)
        if wanted is None:
            wanted = -policy(outputs)[np.arange(3), labels]
        np.testing.assert_allclose(rollout.advantage, np.broadcast_to(wanted, 3), rtol=1e-12)
        step = gradient(objective, outputs, labels, rollout)
        np.testing.assert_allclose(
            step, np.broadcast_to(wanted, 3)[:, None] * grad_log_policy(outputs, wrong), rtol=1e-12
        )
        assert (np.sum(step * grad_log_policy(outputs, wrong), axis=1) <= 0).all()
        right = rollout_of(objective, outputs, labels, labels, mean=0.25)
        assert (
            np.sum(gradient(objective, outputs, labels, right) * grad_log_policy(outputs, labels), axis=1) > 0
        ).all()


@pytest.mark.parametrize("task", [BINARY, THREE], ids=["binary", "three"])
def test_drawn_actions_average_to_the_mean_gradient(task):
    """200,000 draws of the three examples: |z| < 5.7 for each of at most 9 numbers, false alarms below 1.1e-7 in all;
    an error of 6 standard errors (about .006) would show. Rewards and their moving average are counted likewise."""
    outputs, labels = task
    objective = samplers.Reinforce("mean")
    start = objective.start(3, np.float64)._replace(mean=jnp.asarray(0.4))
    weight = jnp.asarray([1.0, 1.0, 0.0])  # the third example is outside the batch: it moves no average

    def one(key) -> Any:
        rollout = objective.act(key, jnp.asarray(outputs), jnp.asarray(labels), weight, start)
        values = jax.grad(lambda outputs: -jnp.sum(objective.values(outputs, jnp.asarray(labels), rollout)))
        return values(jnp.asarray(outputs)), rollout.mean

    drawn, mean = (np.asarray(x) for x in jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 200_000)))
    error = drawn.std(axis=0) / len(drawn) ** 0.5
    assert (np.abs(drawn.mean(axis=0) - expected(objective, outputs, labels, 0.4)) < 5.7 * error).all()
    reward = policy(outputs)[np.arange(2), labels[:2]].mean()
    assert abs(mean.mean() - (0.9 * 0.4 + 0.1 * reward)) < 5.7 * mean.std() / len(mean) ** 0.5


@pytest.mark.parametrize("task", [BINARY, THREE], ids=["binary", "three"])
def test_ppo_starts_as_reinforce_and_clips(task):
    outputs, labels = task
    ppo, plain = samplers.PPO("value", clip=0.2), samplers.Reinforce("value")
    for actions in (labels, np.array([0, 0, 1])):
        rollout = rollout_of(ppo, outputs, labels, actions)
        np.testing.assert_allclose(
            gradient(ppo, outputs, labels, rollout), gradient(plain, outputs, labels, rollout), rtol=1e-12
        )
        # The policy moved along the advantage, beyond the clip: no gradient. Moved the other way the clip does not
        # bind, and the gradient is ratio x advantage x grad log pi.
        positive = np.asarray(rollout.advantage) > 0
        for along in (True, False):
            moved, reached = shifted(outputs, actions, positive == along)
            found = gradient(ppo, moved, labels, rollout)
            if along:
                assert ((reached > 1.2) | (reached < 0.8)).all()
                np.testing.assert_array_equal(found, 0)
            else:
                wanted = (reached * np.asarray(rollout.advantage))[:, None] * grad_log_policy(moved, actions)
                np.testing.assert_allclose(found, wanted, rtol=1e-9)


def shifted(outputs, actions, up):
    """Outputs with pi(action) moved up or down by more than a fifth where that is possible, and the ratios [B]."""
    sign = np.where(up, 1.0, -1.0)
    size = np.where(up, 3.0, 1.5)
    moved = outputs.copy()
    if outputs.shape[1] == 1:
        moved[:, 0] += sign * size * np.where(actions == 1, 1, -1)
    else:
        moved[np.arange(len(actions)), actions] += sign * size
    rows = np.arange(len(actions))
    return moved, policy(moved)[rows, actions] / policy(outputs)[rows, actions]


@pytest.mark.parametrize(
    "loss",
    [
        "reinforce",
        pytest.param("reinforce-baseline", marks=pytest.mark.slow),
        pytest.param("ppo", marks=pytest.mark.slow),
        pytest.param(samplers.Reinforce("value"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_reward_finds_what_fits(loss):
    """Every policy gradient learns AND: nearly all of 32 networks fit, and the report says by what."""
    square = volume.BooleanCube(2, (-1, 1))
    fits = volume.Fits(square.inputs, "0001")
    query = volume.Query(models.MLP((2, 6, 1)), samplers.Gaussian(1.0, 0.5), square, fits)
    method = volume.Trained(32, loss=loss, learning_rate=0.2, max_steps=3000)
    report = volume.estimate(query, method, seed=1)
    assert report.run_ends["fit"] >= 28
    assert report.method["loss"] == samplers.objective(loss).describe()


@pytest.mark.slow
def test_a_step_of_ppo_reuses_its_actions():
    """With 4 steps a batch, actions change at steps 0, 4, 8, ...; an epoch of whole batches is 4 steps."""
    square = volume.BooleanCube(2, (-1, 1))
    training = samplers.Training(
        model=models.Perceptron(2),
        initial=samplers.Gaussian(1.0, 0.5),
        optimiser=samplers.Optimiser("sgd", 0.01),
        objective=samplers.PPO(steps=4),
        num_examples=4,
        batch_size=4,
        max_steps=4,
        stop_at_fit=False,
        extra_epochs=0,
        group=16,
    )
    assert training.epoch == 4
    labels = jnp.array([0, 1, 1, 0], jnp.int32)
    data = samplers.Data(jnp.asarray(square.inputs), labels, jax.random.key(0))
    found = {}
    for steps in (3, 4, 7):  # a network that is stopped after t steps has the actions of step t
        many = jax.jit(samplers.train, static_argnums=0)(
            replace(training, max_steps=steps), data, jnp.arange(16, dtype=jnp.uint32)
        )
        found[steps] = np.asarray(many.rollout.actions).tolist()
    assert found[3] != found[4]
    assert found[4] == found[7]
    assert len(set(map(tuple, found[4]))) > 4  # every network draws its own


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="Did you mean 'value'"):
        samplers.Reinforce("valu")
    with pytest.raises(ValueError, match=r"clip=1\.5 is not between 0 and 1"):
        samplers.PPO(clip=1.5)
    with pytest.raises(ValueError, match="steps=0"):
        samplers.PPO(steps=0)
