"""Windows of points: they leave the standard normal and its restrictions as they are, and their outputs are networks'.

False alarms: means are held to 5.5 standard errors (4e-8 each, about 80 of them); seeds are fixed besides. With 30,000
windows an error of 3 % of a standard deviation would be seen.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume import models, samplers
from volume.samplers import Arcs, Window, arcs, standard_normal

NUM = 30_000


def plain(params, inputs):
    return jnp.tanh(inputs @ params["a"]) * params["b"] + params["b"] ** 2


FUNCTION = models.from_function(
    plain, [models.Parameter("a", (2,), "weight", 2, 0), models.Parameter("b", (1,), "bias", 2, 1)], input_shape=2
)
KINDS = {
    "body and head": (models.MLP((2, 3, 1), "tanh"), samplers.Gaussian(1.0, 0.3), 3, 4),
    "no bias": (models.MLP((2, 2, 3), "relu", bias=False), samplers.Uniform(1.5), 2, 5),
    "all head": (models.Perceptron(2), samplers.Gaussian(1.0, 0.5), 4, 6),
    "layers on spheres": (models.MLP((2, 3, 2), "erf"), samplers.Sphere(2.0, per_layer=True), 4, 3),
    "one sphere": (models.MLP((2, 3, 1), "tanh"), samplers.Sphere(2.0), 5, 7),
    "a function": (FUNCTION, samplers.Gaussian(1.0, 1.0), 6, 7),
}
POINTS = jnp.array([[1.0, 0.0], [0.5, -1.0], [2.0, 0.3], [0.0, 0.0]])


def case(name):
    model, prior, body, head = KINDS[name]
    return model, prior, arcs(model, prior, body_points=body, head_points=head)


def normals(key, model):
    return standard_normal(key, model.parameters)


def flat(z):
    return jnp.concatenate([leaf.ravel() for leaf in z.values()])


@pytest.mark.parametrize("name", KINDS)
def test_outputs_at_points_are_those_of_the_networks(name):
    """Within float32's rounding of sums of four terms."""
    model, prior, around = case(name)
    gb, gh = around.body_points, around.head_points

    @jax.jit
    def look():
        z = normals(jax.random.key(1), model)
        window = Window(around, jax.random.key(2), z, jnp.float32(0.3), jnp.float32(0.7))
        every = jax.vmap(window.point)(jnp.arange(gb * gh))
        direct = jax.vmap(lambda point: model.apply(prior.transform(point, model.parameters), POINTS))(every)
        return z, window.point(window.current), window.outputs(POINTS), direct, jax.vmap(flat)(every)

    z, current, found, direct, every = look()
    assert found.shape == (gb, gh, 4, model.num_outputs)
    np.testing.assert_allclose(found.reshape(direct.shape), direct, rtol=2e-5, atol=2e-5)
    assert len(np.unique(every, axis=0)) == gb * gh
    for name, leaf in current.items():
        np.testing.assert_array_equal(leaf, z[name])


def test_which_side_has_points():
    assert case("body and head")[2].head_names == ("1.weight", "1.bias")
    for name in ("one sphere", "a function"):
        assert case(name)[2].head_points == 1
        assert case(name)[2].head_names == ()
    assert case("all head")[2].body_points == 1
    assert case("all head")[2].full_steps == (2 * math.pi, 2 * math.pi / 6)


def lopsided(x):
    """A function without symmetries: {lopsided >= c} has no mirror and is not centred on 0."""
    weights = jnp.linspace(1.0, 0.4, len(x)) * (-1.0) ** jnp.arange(len(x))
    return x @ weights / jnp.sqrt(weights @ weights) + 0.4 * x[0] * x[-1] + 0.3 * jnp.sin(3 * x[1])


@partial(jax.jit, static_argnames="around")
def windows(around: Arcs, keys, steps):
    """Before and after a move within the set, 1_A, 1_B and the share of B, of NUM draws from the prior."""

    def one(key):
        key_z, key_window, key_choice = jax.random.split(key, 3)
        z = normals(key_z, around.model)
        window = Window(around, key_window, z, *steps)
        points = jax.vmap(lambda i: flat(window.point(i)))(jnp.arange(around.body_points * around.head_points))
        score = jax.vmap(lopsided)(points)
        inside, above = score >= 0.5, score >= 1.3
        inside_now = inside[window.current]
        chosen = jax.random.categorical(key_choice, jnp.where(inside, 0.0, -jnp.inf))
        share = jnp.sum(above) / jnp.maximum(jnp.sum(inside), 1)
        return flat(z), points[chosen], inside_now, above[window.current], share, window.current

    return jax.vmap(one)(keys)


def errors_of_mean(values):
    """How many standard errors the mean of each column lies from 0."""
    values = np.asarray(values, float)
    return values.mean(0) / (values.std(0) / math.sqrt(len(values)) + 1e-12)


@pytest.mark.parametrize(
    "name", ["body and head", *(pytest.param(each, marks=pytest.mark.slow) for each in ("all head", "a function"))]
)
def test_moves_leave_a_restricted_normal_as_it_is(name):
    around = case(name)[2]
    steps = jnp.float32(0.45), jnp.float32(0.6)
    z, after, inside, above, share, current = windows(around, jax.random.split(jax.random.key(3), NUM), steps)
    assert 0.2 < inside.mean() < 0.45
    before, after = np.asarray(z)[np.asarray(inside)], np.asarray(after)[np.asarray(inside)]
    assert (before != after).any(axis=1).mean() > 0.3
    last = before[:, -1:]
    assert (np.abs(errors_of_mean(after - before)) < 5.5).all()
    assert (np.abs(errors_of_mean(after**2 - before**2)) < 5.5).all()
    assert (np.abs(errors_of_mean(after[:, :-1] * after[:, -1:] - before[:, :-1] * last)) < 5.5).all()
    assert (np.abs(errors_of_mean(after**3 - before**3)) < 5.5).all()
    # E[share of B; A] = P(B), for B inside A.
    assert abs(errors_of_mean(np.asarray(share) * np.asarray(inside) - np.asarray(above))) < 5.5
    # The state is each of the points equally often.
    num = around.body_points * around.head_points
    counts = np.bincount(np.asarray(current), minlength=num)
    assert (np.abs(counts - NUM / num) < 5.5 * math.sqrt(NUM / num)).all()


def test_points_of_a_window_are_standard_normals():
    """Mean 0, variance 1, also of the products of a body's and a head's entry."""
    around = case("body and head")[2]

    def one(key):
        key_z, key_window = jax.random.split(key)
        window = Window(around, key_window, normals(key_z, around.model), jnp.float32(1.1), jnp.float32(0.2))
        return flat(window.point(jnp.int32(7)))

    x = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), NUM)))
    for values in (x, x**2 - 1, x[:, :1] * x[:, 1:], x[:, :-1] * x[:, -1:]):
        assert (np.abs(errors_of_mean(values)) < 5.5).all()
