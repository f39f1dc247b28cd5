"""Which networks powers of two may pass through, and what of a network's numbers a format holds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume.models import MLP, examine_ranges, follow, from_function
from volume.samplers import Gaussian, log_sizes

ROWS = np.array([0.0, 0.5, -np.inf])  # log2 of inputs, one of them 0


def ranges(model, prior, rows: Any = ROWS, dtype: Any = np.float32, **how):
    return examine_ranges(model, log_sizes(prior, model.parameters), np.asarray(rows), dtype, **how)


def same_outputs(model, params, found, inputs):
    """Whether the rescaled network gives the same outputs but for a power of two a row, in exact arithmetic."""
    inputs = np.asarray(inputs, float)
    with jax.enable_x64(True):
        plain = np.asarray(model.apply(params, inputs))
        moved = {name: np.ldexp(value, found.powers.get(name, 0)) for name, value in params.items()}
        scaled = np.asarray(model.apply(moved, np.ldexp(inputs, found.row_powers[:, None])))
    (fraction, power), (again, other) = np.frexp(plain), np.frexp(scaled)
    return np.array_equal(fraction, again) and all(len(set((power - other)[row])) == 1 for row in range(len(inputs)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["relu", "linear", "sign"])
@pytest.mark.parametrize("size", [1e-30, 1e35])
def test_a_positively_homogeneous_network_is_rescaled_exactly(size, activation, bias):
    model = MLP((2, 3, 3, 2), activation, bias)
    found = ranges(model, Gaussian(size, size))
    assert found.safe
    assert found.scaled
    rng = np.random.default_rng(0)
    params = {p.name: 2.0**-30 * rng.standard_normal(p.shape) for p in model.parameters}
    assert same_outputs(model, params, found, [[1, 2], [-0.5, 3], [0.25, -1]])


def test_ordinary_sizes_are_left_alone():
    for activation in ("relu", "tanh", "gelu", "sign"):
        found = ranges(MLP((3, 8, 8, 8, 1), activation), Gaussian(1.0, 0.1))
        assert found.safe
        assert not found.scaled


def test_rows_of_different_size_are_rescaled_one_by_one_where_no_bias_ties_them():
    rows = [100.0, -100.0, -np.inf]
    found = ranges(MLP((3, 8, 1), bias=False), Gaussian(1.0), rows)
    assert found.safe
    assert found.row_powers.tolist() == [-100, 100, 0]
    # With a bias of 1 the input of size 2^-100 is lost beside it, and rightly so: its output is that of input 0.
    tied = ranges(MLP((3, 8, 1)), Gaussian(1.0, 1.0), rows)
    assert tied.safe
    assert len(set(tied.row_powers)) <= 2


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sine"])
def test_other_activations_are_not_rescaled_inside(activation):
    model = MLP((3, 8, 8, 8, 1), activation, bias=False)
    assert not ranges(model, Gaussian(1e-20)).safe
    assert ranges(model, Gaussian(1e-20), dtype=np.float64).safe
    assert not ranges(model, Gaussian(1e-200), dtype=np.float64).safe


def test_inputs_may_be_rescaled_against_the_weights_that_read_them():
    found = ranges(MLP((3, 8, 1), "tanh", bias=False), Gaussian((1e-35, 1.0)), [130.0, 130.5])
    assert found.safe
    assert found.powers["0.weight"] == -found.row_powers[0] > 0


def test_outputs_that_must_keep_their_size_are_not_rescaled():
    model = MLP((3, 8, 8, 1), bias=False)
    assert ranges(model, Gaussian(1e-20)).safe
    assert not ranges(model, Gaussian(1e-20), fixed_outputs=True).safe
    # Inside they may be: large and small layers, outputs of ordinary size.
    mixed = ranges(model, Gaussian((1e-30, 1e-30, 1e30)), [100.0], fixed_outputs=True)
    assert mixed.safe
    assert sum(mixed.powers.values()) + mixed.row_powers[0] == 0


def test_a_residual_connection_and_a_normalisation_are_understood():
    def residual(params, inputs):
        return (inputs + jax.nn.relu(inputs @ params["w"])) @ params["out"]

    def normalised(params, inputs):
        hidden = inputs @ params["w"]
        return (hidden / jnp.sqrt(jnp.mean(hidden**2, axis=1, keepdims=True))) @ params["out"]

    shapes = {"w": (3, 3), "out": (3, 1)}
    added = ranges(from_function(residual, shapes, input_shape=3), Gaussian((1.0, 1e-40)))
    assert added.safe
    assert added.powers["w"] == 0
    assert not ranges(from_function(normalised, shapes, input_shape=3), Gaussian((1e-30, 1.0))).safe


def test_loops_are_followed_turn_by_turn():
    def recurrent(params, inputs):
        def turn(state, _):
            return jax.nn.relu(state @ params["w"]), None

        state, _ = jax.lax.scan(turn, inputs, None, length=12)
        return state @ params["out"]

    model = from_function(recurrent, {"w": (3, 3), "out": (3, 1)}, input_shape=3)
    assert ranges(model, Gaussian((1.0, 1.0))).safe
    lost = ranges(model, Gaussian((2.0**-20, 1.0)))
    assert not lost.safe
    # What a loop carries keeps its size: the weights that it uses again and again cannot be rescaled.
    assert lost.powers.get("w", 0) == 0


def test_what_underflow_takes_is_bounded_and_what_is_exactly_zero_is_known():
    model = MLP((1, 2, 1), bias=False)
    tiny = np.finfo(np.float32).tiny

    run = jax.jit(lambda params, inputs: follow(model.apply, params, inputs, ()))

    def outcome(first, second, x=1.0):
        params = {"0.weight": jnp.array([first], jnp.float32), "1.weight": jnp.array(second, jnp.float32)[:, None]}
        return run(params, jnp.full((1, 1), x, jnp.float32))

    dead = outcome([-1.0, -2.0], [1.0, 1.0])
    assert dead.outputs[0, 0] == 0
    assert dead.error[0, 0] == 0
    assert not dead.lost
    vanished = outcome([1e-20, -1.0], [1e-20, 1.0])
    assert abs(vanished.outputs[0, 0]) <= vanished.error[0, 0] * tiny
    plain = outcome([1.0, 2.0], [1.0, 1.0])
    assert plain.outputs[0, 0] == 3
    assert plain.error[0, 0] * tiny < 1e-30
    assert outcome([1e30, 1.0], [1e30, 1.0]).lost
