"""Groups of parameter symmetries: what their elements do, which declarations are refused."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from volume.models import MLP, Moved, Perceptron, Symmetry, UnitSymmetry, from_function, from_linen, from_nnx

ODD = ("linear", "tanh", "erf", "sine")
POINTS = np.random.default_rng(1).uniform(-1, 1.5, (9, 3)).astype(np.float32)


def draw(model, seed=0, draws=()):
    """Asymmetric about 0, so that a lost sign shows."""
    rng = np.random.default_rng(seed)
    return {p.name: rng.normal(0.3, 1, (*draws, *p.shape)).astype(np.float32) for p in model.parameters}


def as_tuple(element):
    return tuple((tuple(map(int, permutation)), tuple(map(int, signs))) for permutation, signs in element)


# --- the group ---


def test_order_of_known_groups():
    assert MLP((7, 40, 40, 1)).symmetry.order == math.factorial(40) ** 2
    assert MLP((2, 3, 1), "tanh").symmetry.order == 2**3 * 6
    assert MLP((2, 3, 4, 1), "erf").symmetry.order == 2**7 * 6 * 24
    assert MLP((2, 3, 1), "sign").symmetry.order == 6  # sign(0) = -1: no sign symmetry
    assert Perceptron(3).symmetry == MLP((3, 1)).symmetry == Symmetry()
    assert (Symmetry().order, Symmetry().log_order) == (1, 0)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_log_order_is_the_log_of_the_order(activation):
    for widths in ((2, 1, 1), (2, 5, 3, 1), (7, 40, 40, 1)):
        symmetry = MLP(widths, activation).symmetry
        assert math.isclose(symmetry.log_order, math.log(symmetry.order), rel_tol=1e-12, abs_tol=1e-14)


@pytest.mark.parametrize("symmetry", [MLP((2, 3, 2, 1), "relu").symmetry, MLP((1, 3, 2, 1), "tanh").symmetry])
def test_elements_are_all_of_the_group_once(symmetry):
    elements = [as_tuple(element) for element in symmetry.elements()]
    assert len(elements) == len(set(elements)) == symmetry.order
    assert elements[0] == as_tuple(symmetry.identity)
    for element in elements:
        for unit, (permutation, signs) in zip(symmetry.units, element, strict=True):
            assert sorted(permutation) == list(range(unit.size))
            assert set(signs) <= ({-1, 1} if unit.flips else {1})


def test_elements_of_a_large_group_are_refused():
    with pytest.raises(ValueError, match="at most 1,000,000 are gone through"):
        MLP((2, 10, 1)).symmetry.elements()


def test_random_elements_are_uniform():
    """48 elements, 20,000 draws: chi-squared with 47 degrees of freedom exceeds 120 with probability 2e-8; an element
    drawn 1.35 times too often would be seen."""
    symmetry, rng = MLP((1, 3, 1), "tanh").symmetry, np.random.default_rng(3)
    found = {}
    for _ in range(20_000):
        element = as_tuple(symmetry.random_element(rng))
        found[element] = found.get(element, 0) + 1
    assert set(found) == {as_tuple(element) for element in symmetry.elements()}
    expected = 20_000 / 48
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 120
    assert as_tuple(symmetry.random_element(5)) == as_tuple(symmetry.random_element(5))


# --- its action ---


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu", "sign", *ODD])
def test_random_elements_leave_the_function(activation, bias):
    """Where hidden units are thresholds, rounding moves a sum across 0 with probability about 1e-7 a unit."""
    model = MLP((3, 4, 5, 2), activation, bias)
    params = {name: jnp.asarray(value) for name, value in draw(model).items()}
    before = np.asarray(model.apply(params, jnp.asarray(POINTS)))
    for seed in range(10):
        moved = model.symmetry.act(params, model.symmetry.random_element(seed))
        assert any(not np.array_equal(moved[name], params[name]) for name in params)
        np.testing.assert_allclose(model.apply(moved, jnp.asarray(POINTS)), before, rtol=1e-4, atol=1e-4)


def test_the_action_by_hand():
    symmetry = MLP((2, 3, 1), "tanh").symmetry
    params = {
        "0.weight": np.array([[1.0, 2, 3], [4, 5, 6]]),
        "0.bias": np.array([7.0, 8, 9]),
        "1.weight": np.array([[10.0], [11], [12]]),
        "1.bias": np.array([13.0]),
    }
    moved = symmetry.act(params, (Moved(np.array([2, 0, 1]), np.array([1, -1, 1], np.int8)),))
    assert moved["0.weight"].tolist() == [[3, -1, 2], [6, -4, 5]]
    assert moved["0.bias"].tolist() == [9, -7, 8]
    assert moved["1.weight"].tolist() == [[12], [-10], [11]]
    assert moved["1.bias"] is params["1.bias"]
    assert params["0.bias"].tolist() == [7, 8, 9]


def test_action_on_many_networks_at_once_and_on_either_library():
    model = MLP((3, 4, 5, 1), "tanh")
    params, element = draw(model, draws=(2, 3)), model.symmetry.random_element(0)
    moved = model.symmetry.act(params, element, leading=2)
    in_jax = model.symmetry.act({k: jnp.asarray(v) for k, v in params.items()}, element, leading=2)
    one = model.symmetry.act({name: value[1, 2] for name, value in params.items()}, element)
    for name, value in moved.items():
        assert isinstance(value, np.ndarray)
        assert value.dtype == np.float32
        assert isinstance(in_jax[name], jax.Array)
        np.testing.assert_array_equal(value, in_jax[name])
        np.testing.assert_array_equal(value[1, 2], one[name])


def test_action_on_a_part_of_the_parameters():
    model = MLP((3, 4, 1))
    body = {name: value for name, value in draw(model).items() if name.startswith("0")}
    assert set(model.symmetry.act(body, model.symmetry.random_element(0))) == {"0.weight", "0.bias"}


def test_the_stabiliser_of_the_action_is_a_group_with_inverses():
    """Orbits partition: theta and g theta have equally many elements that fix them."""
    model = MLP((2, 3, 2, 1), "tanh", bias=False)
    rng = np.random.default_rng(0)
    for seed in range(20):
        params = {p.name: rng.integers(-1, 2, p.shape).astype(np.float32) for p in model.parameters}
        moved = model.symmetry.act(params, model.symmetry.random_element(seed))
        assert model.symmetry.stabiliser_size(params) == model.symmetry.stabiliser_size(moved)


def test_positive_rescaling_of_relu_is_a_symmetry_that_is_no_part_of_the_group():
    """It moves a network within its class, so that no class gains or loses by it; and it is not finite."""
    model = MLP((3, 4, 1), "relu")
    params = draw(model)
    scale = np.exp(np.random.default_rng(2).normal(0, 2, 4)).astype(np.float32)
    scaled = {
        "0.weight": params["0.weight"] * scale,
        "0.bias": params["0.bias"] * scale,
        "1.weight": params["1.weight"] / scale[:, None],
        "1.bias": params["1.bias"],
    }
    outputs = [
        np.asarray(model.apply({k: jnp.asarray(v) for k, v in p.items()}, jnp.asarray(POINTS)))
        for p in (params, scaled)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
    assert not model.symmetry.has_flips


# --- declarations ---


def hidden(params, inputs):
    return jnp.tanh(inputs @ params["w1"] + params["b1"])


def two_layers(params, inputs):
    return hidden(params, inputs) @ params["w2"] + params["b2"]


SHAPES = {"w1": (3, 4), "b1": (4,), "w2": (4, 2), "b2": (2,)}
AXES = (("w1", 1), ("b1", 0), ("w2", 0))


def declare(*units, function=two_layers, shapes=SHAPES, inputs=3):
    return from_function(function, shapes, input_shape=inputs, num_outputs=2, symmetry=units)


def order(model):
    return model.symmetry.order


def test_a_function_with_its_symmetry():
    model = declare(UnitSymmetry("units", 4, AXES, flips=("w1", "b1", "w2")))
    assert order(model) == 24 * 16
    assert model == declare(UnitSymmetry("units", 4, AXES, flips=("w1", "b1", "w2")))
    assert declare().symmetry == Symmetry()
    assert from_function(two_layers, SHAPES, input_shape=3, num_outputs=2).symmetry is None


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ((("w1", 1), ("w2", 0)), "exchanging two units changes outputs"),  # the bias forgotten
        ((("w1", 1), ("b1", 0)), "exchanging two units changes outputs"),  # the next layer forgotten
        ((("w1", 1), ("b1", 0), ("w2", 0), ("w1", 0)), "axis 0 of 'w1', which has 3 entries"),
        ((("w1", 1), ("b1", 0), ("w2", 1)), "axis 1 of 'w2', which has 2 entries"),
        ((("w1", 1), ("b1", 1), ("w2", 0)), "axis 1 of 'b1', which has the shape"),
        ((("w1", 1), ("b3", 0), ("w2", 0)), "Unknown parameter 'b3'"),
    ],
)
def test_wrong_axes_are_caught(axes, why):
    with pytest.raises(ValueError, match=f"'tanh units'.*{why}"):
        declare(UnitSymmetry("tanh units", 4, axes))


def test_the_wrong_axis_of_a_square_weight_is_caught():
    shapes = {"w1": (4, 4), "b1": (4,), "w2": (4, 2), "b2": (2,)}
    right = UnitSymmetry("units", 4, AXES)
    wrong = UnitSymmetry("units", 4, (("w1", 0), ("b1", 0), ("w2", 0)))
    assert order(declare(right, shapes=shapes, inputs=4)) == 24
    with pytest.raises(ValueError, match=r"'units' is no symmetry.*incoming weights, biases, outgoing weights"):
        declare(wrong, shapes=shapes, inputs=4)


def test_the_one_wrong_set_is_named():
    shapes = {"w1": (3, 4), "w2": (4, 4), "w3": (4, 2)}

    def deep(params, inputs):
        return jax.nn.relu(jax.nn.relu(inputs @ params["w1"]) @ params["w2"]) @ params["w3"]

    right = UnitSymmetry("lower", 4, (("w1", 1), ("w2", 0)))
    wrong = UnitSymmetry("upper", 4, (("w2", 1),))
    with pytest.raises(ValueError, match="'upper' is no symmetry"):
        declare(right, wrong, function=deep, shapes=shapes)


@pytest.mark.parametrize("activation", ["relu", "gelu", "sign"])
def test_flips_of_an_activation_that_is_not_odd_are_caught(activation):
    """sign is odd but for its ties, which random numbers of a continuous law never meet."""
    model = MLP((2, 3, 1), activation)
    (unit,) = model.symmetry.units
    flipped = Symmetry((UnitSymmetry("hidden", 3, unit.axes, flips=unit.names),))
    with pytest.raises(ValueError, match=r"'hidden' is no symmetry.*changing the sign.*leave flips out"):
        flipped.check(model)


def test_an_activation_that_is_odd_near_zero_alone_is_caught():
    """clip(a, -30, 40) is odd for every a of size below 30: weights of all sizes are tried."""

    def clipped(params, inputs):
        return jnp.clip(inputs @ params["w1"] + params["b1"], -30, 40) @ params["w2"] + params["b2"]

    with pytest.raises(ValueError, match="changing the sign"):
        declare(UnitSymmetry("units", 4, AXES, flips=("w1", "b1", "w2")), function=clipped)
    assert order(declare(UnitSymmetry("units", 4, AXES), function=clipped)) == 24


def test_flips_of_a_part_of_the_parameters_are_caught():
    with pytest.raises(ValueError, match="changing the sign of one unit"):
        declare(UnitSymmetry("units", 4, AXES, flips=("w1", "w2")))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu", "sign", *ODD])
@pytest.mark.parametrize("widths", [(2, 1), (3, 1, 1), (4, 3, 5, 2), (2, 2, 2, 2, 1)])
def test_the_declarations_of_networks_hold(widths, activation, bias):
    model = MLP(widths, activation if len(widths) > 2 else "relu", bias)
    model.symmetry.check(model)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: UnitSymmetry("u", 0, AXES), "at least 1"),
        (lambda: UnitSymmetry("u", 2.5, AXES), "at least 1"),  # type: ignore[arg-type]
        (lambda: UnitSymmetry("u", 4, ()), "give pairs of a parameter's name and its axis"),
        (lambda: UnitSymmetry("u", 4, ("w1", "b1")), "give pairs"),  # type: ignore[arg-type]
        (lambda: UnitSymmetry("u", 4, (("w1", 1), ("w1", 1))), "names an axis twice"),
        (lambda: UnitSymmetry("u", 4, AXES, flips=("b2",)), "Unknown parameter in the flips of 'u' 'b2'"),
        (lambda: Symmetry((UnitSymmetry("u", 4, AXES), UnitSymmetry("u", 4, (("w3", 0),)))), "one name"),
        (lambda: Symmetry((UnitSymmetry("u", 4, AXES), UnitSymmetry("v", 4, AXES))), "both permute axis 1 of 'w1'"),
    ],
)
def test_records_that_make_no_sense(make, why):
    with pytest.raises(ValueError, match=why):
        make()


def test_types():
    with pytest.raises(TypeError, match="UnitSymmetry records"):
        Symmetry(("hidden",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tuple of names"):
        UnitSymmetry("u", 4, AXES, flips="w1")  # type: ignore[arg-type]


# --- channels of a convolution, flattened or not ---


class Conv(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 3, (2, 2), padding="VALID", rngs=rngs)
        self.norm = nnx.LayerNorm(3, rngs=rngs)
        self.out = nnx.Linear(12, 2, rngs=rngs)

    def __call__(self, x):  # [N, 3, 3, 1]
        x = jnp.tanh(self.norm(self.conv(x)))
        return self.out(x.reshape(len(x), -1))  # 2 x 2 places, the channel running fastest


CHANNELS = (("conv.kernel", 3), ("conv.bias", 0), ("norm.scale", 0), ("norm.bias", 0), ("out.kernel", 0))


def test_channels_of_a_convolution():
    channels = UnitSymmetry("channels", 3, CHANNELS)
    model = from_nnx(Conv(nnx.Rngs(0)), (3, 3, 1), symmetry=[channels])
    assert model.symmetry is not None
    assert model.symmetry.order == 6
    assert model.head is not None  # found as without
    params = draw(model)
    images = np.array(list(itertools.product((0.0, 1.0), repeat=9)), np.float32).reshape(-1, 3, 3, 1)[::17]
    moved = model.symmetry.act(params, model.symmetry.random_element(1))
    moved = {name: jnp.asarray(value) for name, value in moved.items()}
    before = model.apply({name: jnp.asarray(value) for name, value in params.items()}, jnp.asarray(images))
    np.testing.assert_allclose(model.apply(moved, jnp.asarray(images)), before, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="'channels' is no symmetry"):
        from_nnx(Conv(nnx.Rngs(0)), (3, 3, 1), symmetry=[UnitSymmetry("channels", 3, CHANNELS[:-1])])


class SlowChannels(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(3, (2, 2), padding="VALID", name="conv")(x))
        return linen.Dense(1, name="out")(jnp.moveaxis(x, 3, 1).reshape(len(x), -1))


def test_channels_that_do_not_run_fastest_are_caught():
    axes = (("conv.kernel", 3), ("conv.bias", 0), ("out.kernel", 0))
    with pytest.raises(ValueError, match="'channels' is no symmetry"):
        from_linen(SlowChannels(), (3, 3, 1), symmetry=[UnitSymmetry("channels", 3, axes)])


def test_heads_of_attention_by_linen():
    class Attend(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.MultiHeadDotProductAttention(2, qkv_features=6, name="attend")(x)
            return linen.Dense(1, name="out")(jnp.mean(x, 1))

    axes = [(f"attend.{part}.kernel", 1) for part in ("query", "key", "value")]
    axes += [(f"attend.{part}.bias", 0) for part in ("query", "key", "value")] + [("attend.out.kernel", 0)]
    model = from_linen(Attend(), (4, 3), symmetry=[UnitSymmetry("heads", 2, tuple(axes))])
    assert model.symmetry is not None
    assert model.symmetry.order == 2
