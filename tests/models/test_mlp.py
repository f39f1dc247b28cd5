"""Fully connected networks against a forward pass written with NumPy and SciPy alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from volume import models
from volume.functions.domains import BooleanCube
from volume.models import MLP, Head, Parameter, Perceptron, from_description
from volume.samplers import Gaussian
from volume.studies.sweep import sweep_queries

REFERENCE = {
    "linear": lambda a: a,
    "relu": lambda a: a * (a > 0),
    "tanh": lambda a: 1 - 2 / (np.exp(2 * a) + 1),
    "erf": lambda a: 2 * ndtr(a * np.sqrt(2)) - 1,
    "gelu": lambda a: a * ndtr(a),
    "sine": lambda a: np.sin(a),
    "sign": lambda a: 2.0 * (a > 0) - 1,
}


def random_params(model, seed=0):
    """Asymmetric about 0, so that a lost sign or a transposed matrix shows."""
    rng = np.random.default_rng(seed)
    return {p.name: (rng.normal(0.3, 1.0, p.shape)).astype(np.float32) for p in model.parameters}


def forward(params, inputs, activation, num_layers, bias):
    a = inputs.astype(np.float64)
    for layer in range(num_layers):
        a = np.einsum("ni,io->no", a, params[f"{layer}.weight"].astype(np.float64))
        if bias:
            a = a + params[f"{layer}.bias"].astype(np.float64)
        if layer < num_layers - 1:
            a = REFERENCE[activation](a)
    return a


INPUTS = np.random.default_rng(1).uniform(-1, 1.5, (11, 3)).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", models.ACTIVATIONS)
def test_apply_is_the_forward_pass(activation, bias):
    model = MLP((3, 5, 4, 2), activation, bias)
    params = random_params(model)
    outputs = np.asarray(model.apply(params, jnp.asarray(INPUTS)))
    # float32 leaves 1e-6; the tanh form of gelu is off by 1e-3.
    np.testing.assert_allclose(outputs, forward(params, INPUTS, activation, 3, bias), rtol=2e-5, atol=2e-5)
    assert outputs.dtype == np.float32


def test_every_activation_has_a_reference():
    assert set(models.ACTIVATIONS) == set(REFERENCE)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [(3, 1), (3, 4), (3, 5, 1), (3, 5, 4, 2)])
def test_features_and_head_make_apply(widths, bias):
    model = MLP(widths, "tanh" if len(widths) > 2 else "relu", bias)
    params = {name: jnp.asarray(value) for name, value in random_params(model).items()}
    head = model.head
    in_head = (head.weight, head.bias)
    body = {name: value for name, value in params.items() if name not in in_head}
    features = model.features(body, jnp.asarray(INPUTS))  # sees nothing of the head
    assert features.shape == (len(INPUTS), head.num_features) == (len(INPUTS), widths[-2])
    outputs = features @ params[head.weight]
    if head.bias is not None:
        outputs = outputs + params[head.bias]
    np.testing.assert_allclose(outputs, model.apply(params, jnp.asarray(INPUTS)), rtol=1e-6)
    if len(widths) == 2:
        np.testing.assert_array_equal(features, INPUTS)


def test_features_under_vmap_over_bodies():
    model = MLP((3, 6, 5, 1), "relu")
    body = [p for p in model.parameters if p.layer < 2]
    rng = np.random.default_rng(3)
    stacked = {p.name: jnp.asarray(rng.normal(size=(4, *p.shape)), jnp.float32) for p in body}
    features = jax.vmap(model.features, in_axes=(0, None))(stacked, jnp.asarray(INPUTS))
    assert features.shape == (4, 11, 5)
    one = model.features({name: value[2] for name, value in stacked.items()}, jnp.asarray(INPUTS))
    np.testing.assert_allclose(features[2], one, rtol=1e-5, atol=1e-6)


def test_parameters():
    assert MLP((7, 40, 1)).parameters == (
        Parameter("0.weight", (7, 40), "weight", 7, 0),
        Parameter("0.bias", (40,), "bias", 7, 0),
        Parameter("1.weight", (40, 1), "weight", 40, 1),
        Parameter("1.bias", (1,), "bias", 40, 1),
    )
    assert [p.name for p in MLP((7, 40, 1), bias=False).parameters] == ["0.weight", "1.weight"]
    assert MLP((7, 40, 1)).head == Head("1.weight", "1.bias", 40)
    assert MLP((7, 40, 1), bias=False).head == Head("1.weight", None, 40)
    model = MLP((7, 40, 3))
    assert (model.input_shape, model.num_outputs) == ((7,), 3)
    assert isinstance(model, models.Model)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "erf", "gelu", "sine"])
def test_without_biases_the_zero_input_ties_exactly(activation):
    model = MLP((3, 5, 4, 1), activation, bias=False)
    assert model.apply(random_params(model), jnp.zeros((1, 3)))[0, 0] == 0


def test_hidden_sign_of_zero_is_minus_one():
    model = MLP((2, 2, 1), "sign", bias=False)
    params = {"0.weight": jnp.array([[1.0, -1.0], [0.0, 1.0]]), "1.weight": jnp.array([[1.0], [10.0]])}
    # Hidden sums (0, 0), (1, -1), (0, 1), so that each unit meets an exact 0.
    outputs = model.apply(params, jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert outputs[:, 0].tolist() == [-11, -9, 9]


def test_perceptron_is_the_linear_network():
    for bias in (True, False):
        model, network = Perceptron(3, bias), MLP((3, 1), "linear", bias)
        params = random_params(network)
        assert model.parameters == network.parameters
        assert model.head == network.head == Head("0.weight", "0.bias" if bias else None, 3)
        assert (model.input_shape, model.num_outputs) == ((3,), 1)
        np.testing.assert_array_equal(model.features({}, jnp.asarray(INPUTS)), INPUTS)
        np.testing.assert_allclose(
            model.apply(params, jnp.asarray(INPUTS)), forward(params, INPUTS, "linear", 1, bias), rtol=1e-5, atol=1e-6
        )
    assert isinstance(Perceptron(3), models.Model)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        for activation in models.ACTIVATIONS:
            model = MLP((3, 5, 2), activation)
            params = {p.name: jnp.ones(p.shape, jnp.float64) for p in model.parameters}
            assert model.apply(params, jnp.ones((2, 3), jnp.float64)).dtype == jnp.float64


def test_equal_networks_are_one_key():
    assert MLP([3, np.int64(5), 1]) == MLP((3, 5, 1))  # type: ignore[arg-type]
    assert hash(MLP(np.array([3, 5, 1]))) == hash(MLP((3, 5, 1)))  # type: ignore[arg-type]
    distinct = {
        MLP((3, 5, 1)),
        MLP((3, 1)),
        MLP((3, 5, 1), "tanh"),
        MLP((3, 5, 1), bias=False),
        Perceptron(3),
        Perceptron(3, False),
    }
    assert len(distinct) == 6
    assert Perceptron(np.int32(3)) in distinct  # type: ignore[arg-type]


def test_a_network_made_anew_is_not_traced_anew():
    traces = []

    def outputs(model, params, inputs):
        traces.append(model)
        return model.apply(params, inputs)

    jitted = jax.jit(outputs, static_argnums=0)
    for _ in range(3):
        jitted(MLP((3, 5, 1)), random_params(MLP((3, 5, 1))), INPUTS)
        jitted(Perceptron(3), random_params(Perceptron(3)), INPUTS)
    assert len(traces) == 2


@pytest.mark.parametrize("model", [MLP((7, 40, 40, 1), "erf", False), MLP((2, 3)), Perceptron(4, False), Perceptron(1)])
def test_descriptions_read_back(model):
    description = json.loads(json.dumps(model.describe()))
    assert models.from_description(description) == model


def test_description_of_anything_else_gives_none():
    assert models.from_description({"name": "nnx", "wrapped": "somebody.Net"}) is None


def test_from_spec():
    assert MLP.from_spec("7-40-40-1", activation="tanh", bias=False) == MLP((7, 40, 40, 1), "tanh", False)
    for spec in ("7,40,1", "7--1", "", "-7-1", "7-a-1", "٣-1"):
        with pytest.raises(ValueError, match="does not spell the widths"):
            MLP.from_spec(spec)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (((7,),), ValueError, r"widths is \(7,\); give at least two"),
        (((),), ValueError, "give at least two"),
        (((7, 0, 1),), ValueError, r"widths\[1\] is 0; give a whole number of at least 1"),
        (((7, -3, 1),), ValueError, r"widths\[1\] is -3"),
        (((7, 2.5, 1),), TypeError, r"widths\[1\] is 2.5; give a whole number"),
        (((7, True),), TypeError, r"widths\[1\] is True"),
        ((7,), TypeError, "widths is 7; give a tuple of whole numbers"),
        (("7-1",), TypeError, "widths is '7-1'; give a tuple"),
        (((7, 1), "rleu"), ValueError, "Unknown activation 'rleu'; known: .* Did you mean 'relu'"),
        (((7, 1), None), ValueError, "Unknown activation None"),
        (((7, 1), "relu", 0.1), TypeError, "bias is 0.1; give True or False"),
    ],
)
def test_bad_networks_have_their_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        MLP(*arguments)


def test_bad_perceptrons_have_their_sentence():
    with pytest.raises(ValueError, match="n is 0; give a whole number of at least 1"):
        Perceptron(0)
    with pytest.raises(TypeError, match=r"n is 2\.0; give a whole number"):
        Perceptron(2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bias is 1; give True or False"):
        Perceptron(2, 1)  # type: ignore[arg-type]


def test_an_activation_that_nothing_has_is_refused():
    for activation in ("tanh", "sine", "Sign"):
        with pytest.raises(ValueError, match=r"would be ignored.*\(2, 1\) has no hidden layer"):
            MLP((2, 1), activation)
    assert MLP((2, 1)).activation == MLP((2, 1), "relu").activation
    older = {"name": "mlp", "widths": [2, 1], "activation": "tanh", "bias": True}  # stored before it was refused
    assert from_description(older) == MLP((2, 1))


def test_a_sweep_over_depth_reaches_a_network_without_hidden_layers():
    model = MLP((2, 3, 1), "tanh")
    queries = sweep_queries(model, Gaussian(1.0), BooleanCube(2), over="depth", values=[0, 1])
    assert [query.model for query in queries.values()] == [MLP((2, 1)), model]
