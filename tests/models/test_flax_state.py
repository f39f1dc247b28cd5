"""Flax modules that hold more than parameters, or are not what they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax_examples import CASES, EVAL, LinenConv, LinenTransformer, NnxConv, draw, nested, some_inputs

from volume.models import from_linen, from_nnx

# --- state beside the parameters ---


class NnxNormed(nnx.Module):
    def __init__(self, rngs):
        self.body = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.body(x))[:, :2]


class LinenNormed(linen.Module):
    @linen.compact
    def __call__(self, x, train):
        return linen.BatchNorm(use_running_average=not train)(linen.Dense(2)(x))


def test_nnx_running_statistics_are_constants():
    module = NnxNormed(nnx.Rngs(0))
    module.norm.mean[...] = jnp.array([1.0, 2.0, 0.0, 0.0])
    module.norm.var[...] = jnp.array([4.0, 9.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"layer 'norm' of .*NnxNormed normalises over the inputs.*module.eval\(\)"):
        from_nnx(module, 3)
    module.eval()
    model = from_nnx(module, 3)
    assert [p.name for p in model.parameters] == ["body.kernel", "body.bias", "norm.scale", "norm.bias"]
    params, inputs = draw(model.parameters), some_inputs((3,))
    sums = (inputs @ params["body.kernel"] + params["body.bias"])[:, :2]
    expected = (sums - np.array([1, 2])) / np.sqrt(np.array([4, 9]) + 1e-5) * params["norm.scale"][:2]
    np.testing.assert_allclose(model.apply(params, inputs), expected + params["norm.bias"][:2], rtol=1e-4, atol=1e-5)
    module.norm.mean[...] = jnp.zeros(4)
    assert model != from_nnx(module, 3)


def test_nnx_statistics_without_values_are_refused():
    module = nnx.eval_shape(lambda: NnxNormed(nnx.Rngs(0)))
    module.eval()
    with pytest.raises(ValueError, match=r"state 'norm.mean' of .*NnxNormed is no parameter and has only a shape"):
        from_nnx(module, 3)


def test_linen_running_statistics_are_constants():
    with pytest.raises(ValueError, match=r"LinenNormed reads batch_stats, .* as constants={'batch_stats': variables"):
        from_linen(LinenNormed(), 3, kwargs=EVAL)
    constants = {"batch_stats": {"BatchNorm_0": {"mean": jnp.array([1.0, 2.0]), "var": jnp.array([4.0, 9.0])}}}
    with pytest.raises(ValueError, match="LinenNormed changes its state when it is called"):
        from_linen(LinenNormed(), 3, kwargs={"train": True}, constants=constants)
    model = from_linen(LinenNormed(), 3, kwargs=EVAL, constants=constants)
    params, inputs = draw(model.parameters), some_inputs((3,))
    expected = LinenNormed().apply({"params": nested(params), **constants}, inputs, train=False)
    np.testing.assert_allclose(model.apply(params, inputs), np.asarray(expected), rtol=1e-5, atol=1e-6)
    assert model == from_linen(LinenNormed(), 3, kwargs=EVAL, constants=jax.tree.map(jnp.array, constants))
    others = jax.tree.map(lambda c: c + 1, constants)
    assert model != from_linen(LinenNormed(), 3, kwargs=EVAL, constants=others)


def test_dropout_is_refused_until_it_is_switched_off():
    module = NnxConv(nnx.Rngs(0), rate=0.5)
    with pytest.raises(ValueError, match=r"layer 'drop' of .*NnxConv drops units at random.* call module.eval\(\)"):
        from_nnx(module, (5, 4, 1))
    module.eval()
    params = draw(from_nnx(module, (5, 4, 1)).parameters)
    inputs = some_inputs((5, 4, 1))
    model = from_nnx(module, (5, 4, 1))
    np.testing.assert_allclose(model.apply(params, inputs), CASES["nnx conv"][0]().apply(params, inputs), rtol=1e-6)
    with pytest.raises(ValueError, match=r"LinenTransformer draws random numbers.* kwargs={'deterministic': True}"):
        from_linen(LinenTransformer(), (6, 3))


def test_a_module_that_counts_its_calls_is_refused():
    class Counting(nnx.Module):
        def __init__(self, rngs):
            self.body = nnx.Linear(3, 1, rngs=rngs)
            self.calls = nnx.Variable(jnp.zeros(()))

        def __call__(self, x):
            self.calls[...] = self.calls[...] + 1
            return self.body(x)

    with pytest.raises(ValueError, match="Counting changes its state 'calls' when it is called"):
        from_nnx(Counting(nnx.Rngs(0)), 3)


class Shifted(nnx.Module):
    def __init__(self, rngs):
        self.body = nnx.Linear(3, 1, rngs=rngs)
        self.shift = nnx.Variable(jnp.ones(3))  # float32

    def __call__(self, x):
        return self.body(x + self.shift[...])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_constants_follow_the_runs_precision(dtype):
    model = from_nnx(Shifted(nnx.Rngs(0)), 3)
    with jax.enable_x64(True):
        params = {p.name: jax.ShapeDtypeStruct(p.shape, dtype) for p in model.parameters}
        assert jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((4, 3), dtype)).dtype == dtype


# --- bad input ---


class Returns(linen.Module):
    what: str

    @linen.compact
    def __call__(self, x):
        y = linen.Dense(2)(x)
        return {"nothing": None, "mean": jnp.mean(y), "tokens": y[:, None], "argmax": jnp.argmax(y, 1), "good": y}[
            self.what
        ]


class Empty(linen.Module):
    @linen.compact
    def __call__(self, x):
        return x


class NnxEmpty(nnx.Module):
    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (lambda: from_nnx(LinenConv(), 3), TypeError, "from_nnx got .* \\(from_linen takes linen modules\\)"),
        (lambda: from_linen(NnxEmpty(), 3), TypeError, "from_linen got .* \\(from_nnx takes nnx modules\\)"),
        (lambda: from_nnx(NnxConv, 3), TypeError, "give an instance of a flax nnx module"),
        (lambda: from_linen(LinenConv, 3), TypeError, "give an instance of a flax linen module"),
        (lambda: from_nnx(NnxEmpty(), 3), ValueError, "NnxEmpty has no parameters"),
        (lambda: from_linen(Empty(), 3), ValueError, "Empty has no parameters"),
        (lambda: from_linen(LinenConv(), (0, 3)), ValueError, r"input_shape is \(0, 3\); give a tuple"),
        (lambda: from_nnx(NnxConv(nnx.Rngs(0)), (5, -4)), ValueError, r"input_shape is \(5, -4\); give a tuple"),
        (lambda: from_nnx(NnxConv(nnx.Rngs(0)), (5, 4, 2)), ValueError, r"failed on .* inputs \(11, 5, 4, 2\)"),
        (lambda: from_linen(LinenConv(), (5, 4, 1), kwargs=EVAL), ValueError, "failed on .* with TypeError: .*train"),
        (lambda: from_linen(Returns("nothing"), 3), ValueError, "returned a NoneType; expected one array"),
        (lambda: from_linen(Returns("mean"), 3), ValueError, r"shape \(\); expected \(11,\) or \(11, C\)"),
        (lambda: from_linen(Returns("tokens"), 3), ValueError, r"shape \(11, 1, 2\); expected"),
        (lambda: from_linen(Returns("argmax"), 3), ValueError, "returned int32; expected floating-point"),
        (lambda: from_linen(Returns("good"), 3, num_outputs=3), ValueError, r"shape \(11, 2\); expected \(11, 3\)"),
        (lambda: from_linen(Returns("good"), 3, num_outputs=0), ValueError, "num_outputs is 0; give a whole number"),
        (lambda: from_linen(Returns("good"), 3, constants={"params": {}}), ValueError, "constants holds 'params'"),
    ],
)
def test_bad_input_has_its_sentence(build, error, sentence):
    with pytest.raises(error, match=sentence):
        build()
