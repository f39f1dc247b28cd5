"""Flax modules as models: the same numbers as the module itself, whatever values it holds."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkout import ROOT
from flax import linen, nnx
from flax_examples import (
    CASES,
    EVAL,
    LinenConv,
    LinenTransformer,
    NnxConv,
    NnxTransformer,
    draw,
    nested,
    some_inputs,
)

from volume import models
from volume.models import Head, Parameter, from_linen, from_nnx


def summary(model):
    return {p.name: (p.shape, p.kind, p.fan_in, p.layer) for p in model.parameters}


# --- parameters ---

CONV = {
    "first.kernel": ((3, 3, 1, 4), "weight", 9, 0),
    "first.bias": ((4,), "bias", 9, 0),
    "second.kernel": ((2, 2, 2, 6), "weight", 8, 1),  # two groups of two channels
    "out.kernel": ((6, 3), "weight", 6, 2),
    "out.bias": ((3,), "bias", 6, 2),
}


@pytest.mark.parametrize("case", ["nnx conv", "linen conv"])
def test_parameters_of_a_convolution(case):
    model = CASES[case][0]()
    assert summary(model) == CONV
    assert list(summary(model)) == list(CONV)  # in the order of use
    assert model.head == Head("out.kernel", "out.bias", 6)


@pytest.mark.parametrize(
    ("case", "up", "down"),
    [("nnx transformer", "mlp.layers.0", "mlp.layers.2"), ("linen transformer", "up", "down")],
)
def test_parameters_of_a_transformer(case, up, down):
    model = CASES[case][0]()
    layers = {}
    for p in model.parameters:
        layers.setdefault(p.layer, {})[p.name] = (p.shape, p.kind, p.fan_in)
    projections = [f"attend.{name}" for name in ("query", "key", "value")]
    assert layers[0] == {"embed.kernel": ((3, 8), "weight", 3), "embed.bias": ((8,), "bias", 3)}
    assert layers[1] == {"norm.scale": ((8,), "scale", 1), "norm.bias": ((8,), "bias", 1)}
    # Eight terms a sum, not 8 heads x 2: what the product of all dimensions but the last would say.
    inside = {name: record for layer in (2, 3, 4) for name, record in layers[layer].items()}
    assert inside == {f"{name}.kernel": ((8, 2, 4), "weight", 8) for name in projections}
    assert layers[5] == {"attend.out.kernel": ((2, 4, 8), "weight", 8)}
    assert layers[6] == {f"{up}.kernel": ((8, 10), "weight", 8), f"{up}.bias": ((10,), "bias", 8)}
    assert layers[7] == {f"{down}.kernel": ((10, 8), "weight", 10), f"{down}.bias": ((8,), "bias", 10)}
    assert layers[8] == {"out.kernel": ((8, 1), "weight", 8), "out.bias": ((1,), "bias", 8)}
    assert len(layers) == 9
    assert model.head is None  # the module cuts its output down to [N] afterwards


def test_biases_of_attention_are_biases():
    parameters = from_nnx(NnxTransformer(nnx.Rngs(0), bias=True), (6, 3)).parameters
    record = next(p for p in parameters if p.name == "attend.query.bias")
    assert (record.shape, record.kind, record.fan_in) == ((2, 4), "bias", 8)


def test_layers_that_are_scanned_count_one_layers_terms():
    class Inner(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            return linen.relu(linen.Dense(6, use_bias=False)(x)), None

    class Scanned(linen.Module):
        @linen.compact
        def __call__(self, x):
            stack = linen.scan(Inner, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return linen.Dense(2)(stack()(x, None)[0])

    model = from_linen(Scanned(), (6,))
    assert model.parameters[0].shape == (3, 6, 6)
    assert model.parameters[0].fan_in == 6
    assert model.head is not None


def test_own_records_replace_guessed_ones():
    given = Parameter("first.kernel", (3, 3, 1, 4), "weight", 3, 7)
    model = from_linen(LinenConv(), (5, 4, 1), parameters=[given])
    assert model.parameters[0] == given
    assert model.parameters[1:] == from_linen(LinenConv(), (5, 4, 1)).parameters[1:]
    with pytest.raises(ValueError, match=r"Unknown parameter 'frist.kernel'; .* Did you mean 'first.kernel'"):
        from_linen(LinenConv(), (5, 4, 1), parameters=[Parameter("frist.kernel", (1,), "weight", 3, 0)])
    with pytest.raises(ValueError, match=r"gives 'first.kernel' the shape \(2,\); the module's has \(3, 3, 1, 4\)"):
        from_linen(LinenConv(), (5, 4, 1), parameters=[Parameter("first.kernel", (2,), "weight", 3, 0)])
    with pytest.raises(TypeError, match=r"parameters holds 3; give volume\.models\.Parameter"):
        from_linen(LinenConv(), (5, 4, 1), parameters=[3])  # type: ignore[list-item]


# --- forward passes ---


def set_values(module, params):
    for name, value in params.items():
        holder = module
        *path, last = name.split(".")
        for part in path:
            holder = holder[int(part)] if part.isdigit() else getattr(holder, part)
        getattr(holder, last)[...] = value


@pytest.mark.parametrize("module", [NnxConv, NnxTransformer])
def test_nnx_forward_is_the_modules_own(module):
    _, shape, num_outputs = CASES["nnx conv" if module is NnxConv else "nnx transformer"]
    model = from_nnx(module(nnx.Rngs(0)), shape)
    params, inputs = draw(model.parameters), some_inputs(shape)
    own = module(nnx.Rngs(7))
    set_values(own, params)
    outputs = model.apply(params, inputs)
    assert outputs.shape == (4, num_outputs)
    np.testing.assert_allclose(outputs, own(inputs).reshape(4, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("module", "kwargs"), [(LinenConv(), {}), (LinenTransformer(), EVAL)])
def test_linen_forward_is_the_modules_own(module, kwargs):
    _, shape, num_outputs = CASES["linen transformer" if kwargs else "linen conv"]
    model = from_linen(module, shape, kwargs=kwargs)
    params, inputs = draw(model.parameters), some_inputs(shape)
    outputs = model.apply(params, inputs)
    assert outputs.shape == (4, num_outputs)
    own = module.apply({"params": nested(params)}, inputs, **kwargs)
    np.testing.assert_allclose(outputs, own.reshape(4, -1), rtol=1e-5, atol=1e-6)


def test_both_dialects_agree():
    ours, theirs = CASES["nnx conv"][0](), CASES["linen conv"][0]()
    params, inputs = draw(ours.parameters), some_inputs((5, 4, 1))
    np.testing.assert_allclose(ours.apply(params, inputs), theirs.apply(params, inputs), rtol=1e-5, atol=1e-6)


def test_initial_values_play_no_part():
    first, second = (from_nnx(NnxConv(nnx.Rngs(seed)), (5, 4, 1)) for seed in (0, 1))
    abstract = from_nnx(nnx.eval_shape(lambda: NnxConv(nnx.Rngs(2))), (5, 4, 1))
    assert first == second == abstract
    params, inputs = draw(first.parameters), some_inputs((5, 4, 1))
    np.testing.assert_array_equal(first.apply(params, inputs), abstract.apply(params, inputs))


# --- heads ---


def check_head(model, inputs):
    assert model.head is not None
    params = draw(model.parameters)
    in_head = (model.head.weight, model.head.bias)
    features = model.features({name: v for name, v in params.items() if name not in in_head}, inputs)
    assert features.shape == (len(inputs), model.head.num_features)
    outputs = features @ params[model.head.weight]
    if model.head.bias is not None:
        outputs = outputs + params[model.head.bias]
    np.testing.assert_allclose(outputs, model.apply(params, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["nnx conv", "linen conv"])
def test_features_and_head_make_apply(case):
    build, shape, _ = CASES[case]
    check_head(build(), some_inputs(shape))


def test_heads_at_the_top_and_in_lists():
    inputs = some_inputs((3,))
    sequence = nnx.Sequential(nnx.Linear(3, 5, rngs=nnx.Rngs(0)), nnx.tanh, nnx.Linear(5, 2, rngs=nnx.Rngs(1)))
    model = from_nnx(sequence, 3)
    assert model.head == Head("layers.2.kernel", "layers.2.bias", 5)
    assert from_nnx(sequence, 3, head="layers.2") == model
    check_head(model, inputs)
    check_head(from_nnx(nnx.Linear(3, 2, use_bias=False, rngs=nnx.Rngs(0)), 3), inputs)
    check_head(from_linen(linen.Dense(2), 3), inputs)
    check_head(from_linen(linen.Sequential([linen.Dense(4), linen.tanh, linen.Dense(1)]), 3), inputs)


def test_no_head_when_asked_for_none():
    model = from_linen(LinenConv(), (5, 4, 1), head=False)
    assert model.head is None
    with pytest.raises(ValueError, match="has no head"):
        model.features(draw(model.parameters), some_inputs((5, 4, 1)))


class NotAHead(nnx.Module):
    """Ends in a dense layer in every way that is not a head."""

    def __init__(self, way, rngs):
        self.way = way
        self.body = nnx.Linear(3, 3, rngs=rngs)
        self.out = nnx.Linear(3, 3, dtype=jnp.bfloat16 if way == "rounded" else None, rngs=rngs)
        if way.startswith("shared"):
            self.body.kernel = self.out.kernel

    def __call__(self, x):
        match self.way:
            case "twice":
                return self.out(nnx.tanh(self.out(self.body(x))))
            case "scaled":
                return 2 * self.out(self.body(x))
            case "residual":
                return self.out(self.body(x)) + x
            case "read":
                return self.out(self.body(x) * jnp.sum(self.out.kernel[...]))
            case "penultimate" | "shared, held by the last":
                return self.body(self.out(x))
        return self.out(nnx.tanh(self.body(x)))


def test_a_plain_last_layer_is_a_head():
    assert from_nnx(NotAHead("none of them", nnx.Rngs(0)), 3).head == Head("out.kernel", "out.bias", 3)
    assert from_nnx(NotAHead("penultimate", nnx.Rngs(0)), 3).head == Head("body.kernel", "body.bias", 3)


WAYS = ["twice", "scaled", "residual", "read", "shared", "shared, held by the last", "rounded"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_head_is_not_taken_for_one(way):
    assert from_nnx(NotAHead(way, nnx.Rngs(0)), 3).head is None
    asked = "body" if way == "shared, held by the last" else "out"
    with pytest.raises(ValueError, match=r"'(out|body)' is not a head of .*NotAHead|Unknown layer 'out'"):
        from_nnx(NotAHead(way, nnx.Rngs(0)), 3, head=asked)


def test_unknown_head():
    with pytest.raises(ValueError, match=r"Unknown layer 'ot'; known: first, out, second\. Did you mean 'out'"):
        from_linen(LinenConv(), (5, 4, 1), head="ot")


# --- equality, traces, descriptions ---


def test_a_model_made_anew_is_not_traced_anew():
    module, traces = NnxConv(nnx.Rngs(0)), []

    def outputs(model, params, inputs):
        traces.append(model)
        return model.apply(params, inputs)

    jitted = jax.jit(outputs, static_argnums=0)
    for _ in range(3):
        for model in (from_nnx(module, (5, 4, 1)), from_linen(LinenConv(), (5, 4, 1))):
            jitted(model, draw(model.parameters), some_inputs((5, 4, 1)))
    assert len(traces) == 2


def test_equality_and_hash():
    module = NnxConv(nnx.Rngs(0))
    model, again = from_nnx(module, (5, 4, 1)), from_nnx(module, (5, 4, 1))
    assert model == again
    assert hash(model) == hash(again)
    assert model != from_nnx(module, (5, 5, 1))
    assert model != from_nnx(module, (5, 4, 1), head=False)
    assert model != from_linen(LinenConv(), (5, 4, 1))
    scaled, residual = (from_nnx(NotAHead(way, nnx.Rngs(0)), 3) for way in ("scaled", "residual"))
    assert scaled.parameters == residual.parameters
    assert scaled != residual
    evaluated = from_linen(LinenTransformer(), (6, 3), kwargs=EVAL)
    assert evaluated == from_linen(LinenTransformer(), (6, 3), kwargs=dict(EVAL))
    assert hash(evaluated) == hash(from_linen(LinenTransformer(), (6, 3), kwargs=dict(EVAL)))


def test_a_module_that_cannot_be_hashed_is_equal_to_itself_only():
    class Net(linen.Module):
        table: np.ndarray

        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(x * self.table)

    module = Net(np.arange(3.0))
    assert from_linen(module, 3) == from_linen(module, 3)
    assert hash(from_linen(module, 3)) == hash(from_linen(module, 3))
    assert from_linen(module, 3) != from_linen(Net(np.arange(3.0)), 3)


def test_changing_the_module_later_does_not_change_the_model():
    module = NnxConv(nnx.Rngs(0), rate=0.5)
    module.eval()
    model, before = from_nnx(module, (5, 4, 1)), from_nnx(module, (5, 4, 1))
    params, inputs = draw(model.parameters), some_inputs((5, 4, 1))
    expected = model.apply(params, inputs)
    module.train()
    module.extra = nnx.Param(jnp.ones(3))  # type: ignore[attr-defined]
    module.first.kernel[...] = jnp.full((3, 3, 1, 4), jnp.nan)
    np.testing.assert_array_equal(model.apply(params, inputs), expected)
    assert model == before
    module.eval()
    assert model != from_nnx(module, (5, 4, 1))  # it has one parameter more


def test_describe_is_json():
    for kind, case in (("nnx", "nnx conv"), ("linen", "linen conv")):
        description = CASES[case][0]().describe()
        assert json.loads(json.dumps(description)) == description
        assert description["name"] == kind
        assert description["wrapped"].endswith(f"flax_examples.{'Nnx' if kind == 'nnx' else 'Linen'}Conv")
        assert description["head"] == {"weight": "out.kernel", "bias": "out.bias"}
        assert description["parameters"][0] == {
            "name": "first.kernel",
            "shape": [3, 3, 1, 4],
            "kind": "weight",
            "fan_in": 9,
            "layer": 0,
        }
        assert models.from_description(description) is None


def test_models_satisfy_the_protocol():
    for build, shape, num_outputs in CASES.values():
        model = build()
        assert isinstance(model, models.Model)
        assert (model.input_shape, model.num_outputs) == (shape, num_outputs)
        models.check_outputs(model)


# --- what the documents show ---


@pytest.mark.slow
def test_the_networks_in_the_documents_run():
    """docs/networks.md as it stands, with fewer draws."""
    assert "(docs/networks.md)" in (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "networks.md").read_text(), flags=re.M | re.S)
    assert len(blocks) == 2
    names: dict = {}
    shown = []
    for block in blocks:
        short, changed = re.subn(r"(?<=draws=)[\d_]+", "500", block)
        assert changed == 1
        exec(short, names)
        shown.append((names["query"], names["report"]))
    (conv, _), (transformer, _) = shown
    assert all(report.num_draws == 500 and report.num_nonfinite == 0 for _, report in shown)
    assert conv.domain.num_inputs == 512
    assert conv.model.head.weight == transformer.model.head.weight == "out.kernel"
    (position,) = (p for p in transformer.model.parameters if p.name == "position")
    assert position == Parameter("position", (7, 8), "weight", 1, 1)
