"""A user's own function as a model: what is guessed, what is checked, what is refused."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume import models
from volume.models import Head, Parameter, from_function

SHAPES = {"w1": (3, 5), "b1": (5,), "w2": (5, 2), "b2": (2,)}


def hidden(params, inputs):
    return jnp.tanh(inputs @ params["w1"] + params["b1"])


def two_layers(params, inputs):
    return hidden(params, inputs) @ params["w2"] + params["b2"]


def linear(params, inputs):
    return inputs @ params["w"]


def params_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return {p.name: jnp.asarray(rng.normal(0.3, 1, p.shape), jnp.float32) for p in model.parameters}


def test_guesses():
    model = from_function(two_layers, SHAPES, input_shape=(3,), num_outputs=2)
    assert model.parameters == (
        Parameter("w1", (3, 5), "weight", 3, 0),
        Parameter("b1", (5,), "bias", 3, 0),
        Parameter("w2", (5, 2), "weight", 5, 1),
        Parameter("b2", (2,), "bias", 5, 1),
    )
    assert (model.input_shape, model.num_outputs, model.head) == ((3,), 2, None)
    assert isinstance(model, models.Model)


def test_guesses_of_paths_and_kinds():
    def sums(params, inputs):
        return sum(jnp.sum(p) for p in params.values()) + inputs[:, 0]

    shapes = {
        "conv.kernel": (3, 3, 2, 4),
        "conv.bias": (4,),
        "norm/scale": (4,),
        "norm/beta": (4,),
        "blocks.0.out.gamma": (4,),
        "blocks.1.out.b": (4,),
        "slope": (4,),
        "tokens.embedding": (50, 4),
        "B": (4, 4),
    }
    parameters = from_function(sums, shapes, input_shape=2).parameters
    assert [(p.kind, p.fan_in, p.layer) for p in parameters] == [
        ("weight", 18, 0),
        ("bias", 18, 0),
        ("scale", 1, 1),
        ("bias", 1, 1),
        ("scale", 1, 2),
        ("bias", 1, 3),
        ("weight", 1, 4),
        ("weight", 1, 5),
        ("weight", 4, 6),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("b", "bias"),
        ("b_out", "bias"),
        ("out_bias", "bias"),
        ("cell.bias_ih", "bias"),
        ("lora_b", "weight"),
        ("bias.kernel", "weight"),
        ("layer_scale", "scale"),
        ("gamma2", "scale"),
        ("beta", "bias"),
        ("blob", "weight"),
    ],
)
def test_guess_of_kind(name, kind):
    model = from_function(lambda params, inputs: inputs[:, 0] + params[name][0, 0], {name: (2, 2)}, input_shape=2)
    assert model.parameters[0].kind == kind


def test_records_are_taken_as_they_are_and_arrays_for_their_shape():
    records = [Parameter("w", (3,), "weight", 12, 0)]
    assert from_function(linear, records, input_shape=(3,)).parameters == tuple(records)
    by_array = from_function(linear, {"w": np.full(3, np.nan)}, input_shape=(3,))
    assert by_array == from_function(linear, {"w": 3}, input_shape=3)


@pytest.mark.parametrize(
    "shapes",
    [
        {"layers.0.weight": (8, 3), "layers.0.bias": (8,), "layers.1.weight": (1, 8), "layers.1.bias": (1,)},
        {"0.weight": (3, 3), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)},
        {"w1": (5, 3), "w2": (1, 5)},
    ],
)
def test_matrices_that_are_out_by_in_are_refused(shapes):
    """Their fan_in would be taken from the wrong side: another prior, silently."""
    with pytest.raises(ValueError, match=r"which looks like \[out, in\]"):
        from_function(lambda params, inputs: inputs[:, :1], shapes, input_shape=3)
    turned = {name: shape[::-1] for name, shape in shapes.items()}
    fan_in = [p.fan_in for p in from_function(lambda params, inputs: inputs[:, :1], turned, input_shape=3).parameters]
    assert fan_in[0] == 3


def test_apply_gives_columns():
    column = from_function(linear, {"w": (3,)}, input_shape=(3,))
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    params = params_of(column)
    np.testing.assert_array_equal(column.apply(params, inputs), linear(params, inputs)[:, None])
    model = from_function(two_layers, SHAPES, input_shape=(3,), num_outputs=2)
    params = params_of(model)
    np.testing.assert_array_equal(model.apply(params, inputs), two_layers(params, inputs))


@pytest.mark.parametrize("head", [("w2", "b2"), Head("w2", "b2", 5)])
def test_head(head):
    model = from_function(two_layers, SHAPES, input_shape=(3,), num_outputs=2, features=hidden, head=head)
    assert model.head == Head("w2", "b2", 5)
    params, inputs = params_of(model), jnp.ones((4, 3))
    features = model.features({"w1": params["w1"], "b1": params["b1"]}, inputs)
    np.testing.assert_allclose(features @ params["w2"] + params["b2"], model.apply(params, inputs), rtol=1e-6)


def test_head_without_bias_by_one_name():
    def forward(params, inputs):
        return jnp.tanh(inputs @ params["w1"]) @ params["w2"]

    def body(params, inputs):
        return jnp.tanh(inputs @ params["w1"])

    shapes = {"w1": (3, 5), "w2": (5, 1)}
    model = from_function(forward, shapes, input_shape=(3,), features=body, head="w2")
    assert model.head == Head("w2", None, 5)


def test_equality_and_traces():
    traces = []

    def forward(params, inputs):
        return inputs @ params["w"]

    def outputs(model, params, inputs):
        traces.append(model)
        return model.apply(params, inputs)

    jitted = jax.jit(outputs, static_argnums=0)
    for _ in range(3):
        model = from_function(forward, {"w": (3,)}, input_shape=(3,))
        jitted(model, params_of(model), jnp.ones((4, 3)))
    assert len(traces) == 1
    again = from_function(forward, {"w": (3,)}, input_shape=(3,))
    assert again == model
    assert hash(again) == hash(model)
    assert model != from_function(linear, {"w": (3,)}, input_shape=(3,))
    assert model != from_function(forward, {"w": (3, 1)}, input_shape=(3,))


def test_describe_is_json():
    description = from_function(two_layers, SHAPES, input_shape=(3,), num_outputs=2).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["name"] == "function"
    assert description["wrapped"].endswith("test_function.two_layers")
    assert description["parameters"][0] == {"name": "w1", "shape": [3, 5], "kind": "weight", "fan_in": 3, "layer": 0}
    assert models.from_description(description) is None


def test_features_without_a_head_are_refused():
    with pytest.raises(ValueError, match="has no head"):
        from_function(linear, {"w": (3,)}, input_shape=3).features({}, jnp.ones((1, 3)))


def outputs_of(shape_or_value):
    return lambda params, inputs: shape_or_value(inputs)


@pytest.mark.parametrize(
    ("function", "num_outputs", "sentence"),
    [
        (lambda x: x[:, 0].sum(), 1, r"shape \(\); expected \(11,\) or \(11, 1\), a row for each of the 11 inputs"),
        (lambda x: x[:, :2], 1, r"shape \(11, 2\); expected \(11,\) or \(11, 1\)"),
        (lambda x: x[:, 0], 3, r"shape \(11,\); expected \(11, 3\)"),
        (lambda x: x.T, 11, r"shape \(3, 13\); expected \(13, 11\)"),
        (lambda x: x[:, None, :1], 1, r"shape \(11, 1, 1\); expected"),
        (lambda x: (x, x), 1, r"returned a tuple; expected one array"),
        (lambda x: x[:, 0] > 0, 1, "returned bool; expected floating-point outputs"),
        (lambda x: x.reshape(7, 7), 1, r"failed on parameters and inputs \(11, 3\) of float32, with TypeError"),
    ],
)
def test_bad_outputs_have_their_sentence(function, num_outputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_function(outputs_of(function), {"w": 1}, input_shape=3, num_outputs=num_outputs)


def test_check_outputs_of_any_model():
    models.check_outputs(models.MLP((3, 5, 11)))

    class Crooked(models.MLP):
        def apply(self, params, inputs):
            return super().apply(params, inputs).T

    with pytest.raises(ValueError, match=r"apply of Crooked returned outputs of shape \(2, 11\); expected \(11, 2\)"):
        models.check_outputs(Crooked((3, 2)))


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, params, inputs):
        return inputs[:, 0]


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"apply": 3}, TypeError, "apply is 3; give a function"),
        ({"apply": Unhashable()}, TypeError, "apply is a Unhashable that cannot be hashed"),
        ({"parameters": {}}, ValueError, "parameters is empty"),
        ({"parameters": 3}, TypeError, "parameters must map names to shapes"),
        ({"parameters": {"w": (3, 0)}}, ValueError, r"The shape of 'w' is \(3, 0\); give"),
        ({"parameters": {"w": "3"}}, ValueError, "The shape of 'w' is '3'; give"),
        ({"parameters": [Parameter("w", (3,), "weight", 3, 0)] * 2}, ValueError, "Two parameters have the name 'w'"),
        (
            {"parameters": [Parameter("w", (3,), "wieght", 3, 0)]},  # type: ignore[arg-type]
            ValueError,
            "Unknown kind of parameter 'wieght'; .*Did you mean 'weight'",
        ),
        ({"parameters": [Parameter("w", (3,), "weight", 0, 0)]}, ValueError, "fan_in 0 and layer 0"),
        ({"parameters": {"v": (3,)}}, ValueError, "failed on .* with KeyError: 'w'"),
        ({"input_shape": (3.5,)}, ValueError, r"input_shape is \(3.5,\); give"),
        ({"num_outputs": 0}, ValueError, "num_outputs is 0; give a whole number"),
        ({"features": linear}, ValueError, "features= was given without head=; give both or neither"),
        ({"head": "w"}, ValueError, "head= was given without features=; give both or neither"),
    ],
)
def test_bad_arguments_have_their_sentence(change, error, sentence):
    arguments = {"apply": linear, "parameters": {"w": (3,)}, "input_shape": (3,)} | change
    with pytest.raises(error, match=sentence):
        from_function(**arguments)


def hidden_twice(params, inputs):
    return 2 * hidden(params, inputs)


def reads_head(params, inputs):
    return hidden(params, inputs) + params["b2"][0]


@pytest.mark.parametrize(
    ("features", "head", "sentence"),
    [
        (hidden, ("w3", "b2"), "Unknown parameter of the head 'w3'"),
        (hidden, ("w2", "b3"), "Unknown parameter of the head 'b3'"),
        (hidden, ("b2", None), r"weight 'b2' has shape \(2,\); expected \(features, 2\)"),
        (hidden, ("w1", None), r"weight 'w1' has shape \(3, 5\); expected \(features, 2\)"),
        (hidden, ("w2", "b1"), r"bias 'b1' has shape \(5,\); expected \(2,\)"),
        (hidden, Head("w2", "b2", 4), "names 4 features but 'w2' has shape"),
        (hidden, "w2", "differs from apply by up to"),
        (hidden_twice, ("w2", "b2"), "differs from apply by up to"),
        (reads_head, ("w2", "b2"), "reads the parameter 'b2', which it does not get: .* w1, b1"),
        (lambda params, inputs: inputs, ("w2", "b2"), r"features returned shape \(11, 3\) for 11 inputs; expected"),
    ],
)
def test_bad_heads_have_their_sentence(features, head, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_function(two_layers, SHAPES, input_shape=(3,), num_outputs=2, features=features, head=head)


def test_a_partial_is_a_function_too():
    model = from_function(partial(linear), {"w": (3,)}, input_shape=3)
    assert model.describe()["wrapped"] == "functools.partial"
