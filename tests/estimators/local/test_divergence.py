"""Divergences from an anchor: against independent formulas, at rounding's edge, and what is refused."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from volume.classifiers.labels import Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.estimators.local.divergence import BoundDivergence, DivergenceFunction, bind
from volume.functions.domains import BooleanCube, Points
from volume.models import MLP, Perceptron

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(9, 3)).astype(np.float32)


def params(model, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return {p.name: scale * rng.normal(size=p.shape) for p in model.parameters}


def moved(theta, by, seed=1):
    rng = np.random.default_rng(seed)
    return {name: value + by * rng.normal(size=value.shape) for name, value in theta.items()}


def outputs(model, theta):
    with jax.enable_x64(True):
        return np.asarray(model.apply({k: jnp.asarray(v) for k, v in theta.items()}, jnp.asarray(INPUTS, jnp.float64)))


def value(bound, anchor, theta, dtype="float64"):
    with jax.enable_x64(dtype == "float64"):
        data = bound.data(anchor, INPUTS.astype(dtype))
        return float(jax.jit(bound.of)({k: jnp.asarray(v, dtype) for k, v in theta.items()}, data))


@pytest.mark.parametrize("outs", [1, 4])
@pytest.mark.parametrize("by", [1e-5, 0.1, 3.0])
def test_kl_is_that_of_softmax_and_of_a_coin(outs, by):
    """Distances on both sides of the switch from the series to the logarithm of a sum."""
    model = MLP((3, 5, outs), "gelu")
    anchor = params(model)
    theta = moved(anchor, by)
    a, b = outputs(model, anchor), outputs(model, theta)
    if outs == 1:
        a, b = (np.concatenate([f, 0 * f], axis=1) for f in (a, b))
    p, q = special.log_softmax(a, axis=1), special.log_softmax(b, axis=1)
    truth = np.mean(np.sum(special.rel_entr(np.exp(p), np.exp(q)), axis=1))
    # The textbook sum itself loses eps / KL.
    assert value(BoundDivergence(model), anchor, theta) == pytest.approx(truth, rel=1e-9 + 1e-14 / truth)
    assert value(BoundDivergence(model), anchor, anchor) == 0


def test_kl_keeps_digits_in_float32_near_the_anchor():
    """At 1e-10 nats the textbook sum in float32 is all rounding; the series is within a few thousandths."""
    model = MLP((3, 5, 4), "tanh")
    anchor = {k: np.float32(v).astype(float) for k, v in params(model).items()}
    theta = {k: np.float32(v).astype(float) for k, v in moved(anchor, 1e-5).items()}
    exact = value(BoundDivergence(model), anchor, theta)
    assert exact < 1e-9
    assert value(BoundDivergence(model), anchor, theta, "float32") == pytest.approx(exact, rel=0.05)


def test_agreement_counts_inputs_and_thresholds_guard_its_rounding():
    model = MLP((3, 5, 4), "relu")
    anchor = params(model)
    theta = moved(anchor, 0.7)
    other = np.sum(outputs(model, anchor).argmax(1) != outputs(model, theta).argmax(1))
    assert 0 < other < len(INPUTS)
    bound = BoundDivergence(model, "agreement")
    share = value(bound, anchor, theta, "float32")
    assert share == pytest.approx(other / len(INPUTS), rel=1e-6)
    below, at, zero = bound.thresholds([(other - 0.5) / 9, other / 9, 0.0], 9)
    assert below < share < at
    assert 0 < zero < 1 / 9
    assert not bound.smooth


def test_decisions_at_ties_are_those_of_the_house():
    model = Perceptron(3, bias=False)
    zero, up = {"0.weight": np.zeros((3, 1))}, {"0.weight": np.array([[1.0], [0.0], [0.0]])}
    assert value(BoundDivergence(model, "agreement"), zero, up) == np.mean(INPUTS[:, 0] > 0)


def test_the_class_cuts_the_region():
    model = MLP((3, 5, 1), "tanh")
    anchor = params(model)
    label = (outputs(model, anchor)[:, 0] > 0).astype(int)
    within = Fits(INPUTS, label).bind(Points(INPUTS), 1)
    bound = bind(model, "kl", within)
    near, far = moved(anchor, 1e-6), {k: -v for k, v in anchor.items()}
    assert 0 < value(bound, anchor, near) < 1e-6
    assert value(bound, anchor, far) == np.inf
    assert np.isfinite(value(bind(model, "kl"), anchor, far))


def test_classes_told_from_whole_tables_cut_no_region():
    with pytest.raises(ValueError, match="cannot be cut with the anchor's class of LempelZiv"):
        bind(MLP((2, 1)), "kl", LempelZiv().bind(BooleanCube(2), 1))


@pytest.mark.parametrize("outs", [1, 4])
@pytest.mark.parametrize("size", [1e-3, 2.0])  # by the series, and by the logarithm of a sum
def test_slope_of_kl(outs, size):
    """In closed form, against differences, away from the anchor where it is not 0."""
    model = MLP((3, 4, outs), "gelu")
    bound, anchor = BoundDivergence(model), params(model)
    with jax.enable_x64(True):
        data = bound.data(anchor, INPUTS.astype(float))
        row = bound.flatten({k: jnp.asarray(v) for k, v in moved(anchor, size).items()})
        slope = np.asarray(jax.jit(jax.grad(bound))(row, data))
        step, of_rows = 1e-6 * size, jax.jit(jax.vmap(bound, in_axes=(0, None)))
        ways = step * np.eye(row.size)
        numeric = (of_rows(row + ways, data) - of_rows(row - ways, data)) / (2 * step)
    assert np.abs(slope).max() > 1e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize("outs", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_curvature_at_the_anchor_is_the_hessian_of_kl(outs):
    model = MLP((3, 4, outs), "gelu")
    bound = BoundDivergence(model)
    with jax.enable_x64(True):
        data = bound.data(params(model), INPUTS.astype(float))
        row = bound.flatten({k: jnp.asarray(v) for k, v in params(model).items()})
        truth = np.asarray(jax.jit(jax.hessian(lambda x: bound(x, data)))(row))
        eye = jnp.eye(row.size)
        product = jax.jit(jax.vmap(lambda v: bound.curvature_product(row, data, v)))(eye)
        np.testing.assert_allclose(product, truth, atol=1e-12)
        units = jnp.eye(9 * max(outs, 2)).reshape(-1, 9, max(outs, 2))
        root = np.asarray(jax.jit(jax.vmap(lambda z: bound.curvature_root(row, data, z)))(units))
        np.testing.assert_allclose(root.T @ root, truth, atol=1e-12)


@pytest.mark.slow
def test_curvature_is_right_also_when_compiled_for_many_directions():
    """With jnp.sum(p * pushed, axis=-1) in it a CPU's program for 32 of them (jax 0.10.2) was off by 1.2 of .67."""
    model = MLP((16, 8, 10), "gelu")
    bound = BoundDivergence(model)
    inputs = np.random.default_rng(5).normal(size=(200, 16)).astype(np.float32)
    theta = {name: jnp.asarray(entry, jnp.float32) for name, entry in params(model).items()}
    data, row = bound.data(theta, inputs), bound.flatten(theta)
    truth = np.asarray(jax.hessian(lambda x: bound(x, data))(row))
    for number in (16, 32, len(row)):
        product = jax.jit(jax.vmap(lambda v: bound.curvature_product(row, data, v)))(jnp.eye(len(row))[:number])
        np.testing.assert_allclose(product, truth[:number], atol=1e-5)


def test_curvature_of_a_function_is_its_hessian():
    model = Perceptron(3, bias=False)
    matrix = np.array([[3.0, 1.0, 0.5], [1.0, 2.0, -0.7], [0.5, -0.7, 4.0]], np.float32)
    fn = DivergenceFunction(lambda theta, m: theta["0.weight"][:, 0] @ m @ theta["0.weight"][:, 0] / 2, matrix)
    bound = bind(model, fn)
    zero = {"0.weight": np.zeros((3, 1), np.float32)}
    data = bound.data(zero, INPUTS)
    found = [bound.curvature_product(jnp.zeros(3), data, row) for row in jnp.eye(3)]
    np.testing.assert_allclose(np.stack(found), matrix, rtol=1e-6)


def test_flat_rows_and_names_are_the_same_network():
    model = MLP((3, 5, 2))
    bound, anchor = BoundDivergence(model), params(model)
    row = bound.flatten({k: jnp.asarray(v) for k, v in anchor.items()})
    assert row.shape == (bound.num_parameters,) == (3 * 5 + 5 + 5 * 2 + 2,)
    for name, tensor in bound.unflatten(row).items():
        np.testing.assert_allclose(tensor, anchor[name], rtol=1e-6)


def test_the_worst_along_the_way_is_a_maximum():
    """D = |sin 2 pi t| on the way: 0 at the end alone, 1 at the first of four points."""
    model = Perceptron(3, bias=False)
    ring = DivergenceFunction(lambda theta, _: jnp.abs(jnp.sin(2 * jnp.pi * theta["0.weight"][0, 0])))
    bound = bind(model, ring)
    zero, one = {"0.weight": np.zeros((3, 1))}, {"0.weight": np.ones((3, 1))}
    data = bound.data(zero, INPUTS)
    assert float(bound.worst(one, zero, data, 1)) < 1e-5
    assert float(bound.worst(one, zero, data, 4)) == pytest.approx(1, abs=1e-5)


def test_what_is_refused_says_why():
    model = MLP((3, 5, 1))
    anchor = params(model)
    with pytest.raises(ValueError, match="Did you mean 'agreement'"):
        bind(model, "agreemnt")
    with pytest.raises(TypeError, match="DivergenceFunction"):
        bind(model, abs)
    with pytest.raises(TypeError, match="not a function"):
        DivergenceFunction(3)  # type: ignore[arg-type]  # refused, as the test is about
    loss = bind(model, DivergenceFunction(lambda theta, x: jnp.sum(theta["0.weight"] ** 2), name="loss"))
    with pytest.raises(ValueError, match="not at zero divergence: loss"):
        loss.check(anchor, loss.data(anchor, INPUTS), [0.1])
    rows = bind(model, DivergenceFunction(lambda theta, x: x[:, 0]))
    with pytest.raises(ValueError, match="one floating-point number"):
        rows.check(anchor, rows.data(anchor, INPUTS), [0.1])
    broken = bind(model, DivergenceFunction(lambda theta, x: theta["nothing"]))
    with pytest.raises(ValueError, match="KeyError"):
        broken.check(anchor, broken.data(anchor, INPUTS), [0.1])
    with pytest.raises(ValueError, match="not all finite"):
        bind(model, "kl").data({**anchor, "0.bias": np.full(5, np.nan)}, INPUTS)
    undefined = bind(model, DivergenceFunction(lambda theta, x: jnp.nan * theta["0.bias"][0]))
    with pytest.raises(ValueError, match="nan there"):
        undefined.check(anchor, undefined.data(anchor, INPUTS), [0.1])


@pytest.mark.parametrize("classes", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_kl_and_its_slope_as_compiled_for_many_networks(classes):
    """XLA on a CPU compiled a sum of products wrongly in loops over 4 to 8 networks at a time, on 1,024 inputs and 10
    classes: against NumPy in float64."""
    model, rng = MLP((6, classes), bias=False), np.random.default_rng(classes)
    inputs, anchor = rng.normal(size=(1024, 6)), rng.normal(size=(6, classes))
    divergence = bind(model, "kl")
    data = divergence.data({"0.weight": anchor}, inputs.astype(np.float32))
    weights = (anchor.ravel() + rng.normal(size=(16, 6 * classes)) * np.logspace(-2, 0, 16)[:, None]).astype(np.float32)

    def logs(rows):
        two = rows if classes > 1 else np.concatenate([rows, 0 * rows], axis=-1)
        return two - special.logsumexp(two, axis=-1, keepdims=True)

    log_p, log_q = logs(inputs @ anchor), logs(inputs @ weights.astype(float).reshape(-1, 6, classes))
    p, q = np.exp(log_p), np.exp(log_q)
    kl = np.mean(np.sum(p * (log_p - log_q), axis=-1), axis=-1)
    slope = np.einsum("ni,bnc->bic", inputs, (q - p)[..., :classes]).reshape(16, -1) / 1024

    @partial(jax.jit, static_argnames="batch")
    def found(weights, data, batch):
        value = jax.lax.map(lambda w: divergence(w, data), weights, batch_size=batch)
        return value, jax.lax.map(lambda w: jax.grad(divergence)(w, data), weights, batch_size=batch)

    with jax.default_matmul_precision("highest"):
        for batch in (1, 5, 16) if classes == 1 else (1, 3, 4, 5, 8, 9, 16):
            value, grad = found(weights, data, batch)
            np.testing.assert_allclose(value, kl, rtol=1e-3)
            np.testing.assert_allclose(grad, slope, atol=1e-5)
