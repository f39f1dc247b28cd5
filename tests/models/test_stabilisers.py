"""Sizes of stabilisers against brute force over the group, and orbits against Burnside's lemma."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbits import fixed, lattice, orbits_by_hand

from volume.models import MLP, Symmetry, UnitSymmetry


def sizes(symmetry, params):
    return np.asarray(symmetry.stabiliser_sizes({name: jnp.asarray(value) for name, value in params.items()}))


BINARY, TERNARY = (-1, 1), (-1, 0, 1)
CASES = {
    "one hidden layer, binary": (MLP((2, 3, 1), "sign", bias=False), (BINARY,) * 2),
    "biases": (MLP((1, 3, 1), "relu"), (BINARY,) * 2),
    "zero units and signs": (MLP((1, 3, 1), "tanh", bias=False), (TERNARY,) * 2),
    "zero units, signs and biases": (MLP((1, 2, 1), "tanh"), (TERNARY,) * 2),
    "two outputs, uneven levels": (MLP((1, 3, 2), "relu", bias=False), ((-1, 2), (0, 1))),
    "two hidden layers": (MLP((2, 2, 2, 1), "sign", bias=False), (BINARY,) * 3),
    "two hidden layers of unlike widths": (MLP((1, 3, 2, 1), "relu", bias=False), (BINARY,) * 3),
    "two hidden layers with signs": (MLP((1, 2, 2, 1), "tanh", bias=False), (TERNARY,) * 3),
    "three hidden layers": (MLP((1, 2, 2, 2, 1), "relu", bias=False), ((0, 1),) * 4),
    "three hidden layers with signs": (
        MLP((1, 1, 2, 2, 1), "sine", bias=False),
        ((-1, 1), (-1, 0, 1), (-1, 1), (-1, 1)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_stabiliser_of_a_lattice(case):
    """Brute force, Burnside's lemma, and orbits counted by hand."""
    model, levels = CASES[case]
    symmetry, params = model.symmetry, lattice(model, levels)
    points = np.array([fixed(symmetry, params, element) for element in symmetry.elements()])
    found = sizes(symmetry, params)
    np.testing.assert_array_equal(found, points.sum(axis=0))
    # Burnside: orbits = mean fixed points; and each orbit of |G| / |Stab| points adds up to 1.
    assert points.sum() % symmetry.order == 0
    assert math.isclose((found / symmetry.order).sum(), points.sum() // symmetry.order)
    assert orbits_by_hand(symmetry, params) == points.sum() // symmetry.order


def test_orbits_of_the_binary_2_2_2_1_network():
    model = MLP((2, 2, 2, 1), "sign", bias=False)
    params = lattice(model, (BINARY,) * 3)
    assert sizes(model.symmetry, params).sum() // 4 == 312
    # Layer by layer, each with the others held still, is not the group's stabiliser.
    by_layer = np.ones(1024, np.int64)
    for unit in model.symmetry.units:
        by_layer *= sizes(Symmetry((unit,)), params)
    assert by_layer.sum() // 4 == 308


def test_one_layer_by_hand():
    """prod m_j!, units alike up to sign, and a factor 2 for every unit of zeros."""
    relu, tanh = MLP((1, 5, 1), "relu", bias=False), MLP((1, 5, 1), "tanh", bias=False)

    def of(model, incoming, outgoing):
        incoming, outgoing = np.array([incoming], np.float32), np.array(outgoing, np.float32)[:, None]
        return model.symmetry.stabiliser_size({"0.weight": incoming, "1.weight": outgoing})

    alike, signed = ([1, 1, 1, 2, 2], [3, 3, 3, 4, 4]), ([1, -1, 1, 2, 2], [3, -3, 3, 4, -4])
    assert (of(relu, *alike), of(tanh, *alike)) == (12, 12)
    assert (of(relu, *signed), of(tanh, *signed)) == (2, 6)  # the units (2, 4) and (2, -4) are unlike
    zeros = ([0, 0, 1, 1, 5], [0, 0, 1, -1, 0])
    assert (of(relu, *zeros), of(tanh, *zeros)) == (2, 2 * 2**2)  # 2^k k! for k = 2 of them
    assert of(tanh, [0] * 5, [0] * 5) == 2**5 * 120
    assert of(tanh, [0] * 5, [1] * 5) == 120  # a unit that is cut off on one side has one sign


def test_large_groups_have_exact_sizes_one_network_at_a_time():
    model = MLP((2, 30, 1), "tanh")
    params = {p.name: np.zeros(p.shape, np.float32) for p in model.parameters}
    assert model.symmetry.stabiliser_size(params) == model.symmetry.order == 2**30 * math.factorial(30)
    params["0.weight"][:, :10] = 1
    assert model.symmetry.stabiliser_size(params) == math.factorial(10) * 2**20 * math.factorial(20)
    with pytest.raises(ValueError, match="too many for 32-bit counts"):
        model.symmetry.stabiliser_sizes({name: jnp.asarray(value[None]) for name, value in params.items()})
    # 2 units below: only their four elements are tried, whatever lies above.
    uneven = MLP((1, 2, 14, 1), "relu", bias=False)
    ones = {p.name: np.ones(p.shape, np.float32) for p in uneven.parameters}
    assert uneven.symmetry.stabiliser_size(ones) == uneven.symmetry.order == 2 * math.factorial(14)


def test_too_many_elements_to_try_are_refused():
    model = MLP((2, 10, 10, 1))
    params = {p.name: np.ones(p.shape, np.float32) for p in model.parameters}
    with pytest.raises(ValueError, match=r"trying all symmetries of 'hidden 0', about 10\^7.*symmetry='none'"):
        model.symmetry.stabiliser_size(params)


def test_recurrent_weights_and_flattened_channels():
    """A parameter with two axes over one set, and one whose axis holds the units twice."""
    rng = np.random.default_rng(0)
    loop = UnitSymmetry("state", 3, (("in", 0), ("loop", 0), ("loop", 1), ("out", 0)), flips=("in", "loop", "out"))
    other = UnitSymmetry("next", 2, (("out", 1),))
    symmetry = Symmetry((loop, other))
    count = 300
    params = {
        "in": rng.integers(0, 2, (count, 3)),
        "loop": rng.integers(0, 2, (count, 3, 3)) * rng.integers(0, 2, (count, 1, 1)),
        "out": rng.integers(0, 2, (count, 6, 2)) * rng.integers(0, 2, (count, 1, 1)),
    }
    params = {name: value.astype(np.float32) for name, value in params.items()}
    expected = np.sum([fixed(symmetry, params, element) for element in symmetry.elements()], axis=0)
    found = sizes(symmetry, params)
    np.testing.assert_array_equal(found, expected)
    assert len(set(found.tolist())) > 5


def test_the_trivial_group():
    assert Symmetry().stabiliser_size({"w": np.zeros(3)}) == 1
    assert sizes(Symmetry(), {"w": np.zeros((4, 3), np.float32)}).tolist() == [1] * 4


@pytest.mark.parametrize("widths", [(1, 3, 1), (1, 2, 2, 1)])
def test_in_64_bits_too(widths):
    model = MLP(widths, "tanh", bias=False)
    params = lattice(model, (TERNARY,) * (len(widths) - 1))
    with jax.enable_x64(True):
        found = model.symmetry.stabiliser_sizes({k: jnp.asarray(v, jnp.float64) for k, v in params.items()})
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, sizes(model.symmetry, params))
