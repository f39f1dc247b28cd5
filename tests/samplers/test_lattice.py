"""Finite priors: levels, how many points there are, draws, and the methods that refuse them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume.models import MLP, Parameter
from volume.samplers import Gaussian, Lattice, can_reflect_heads, can_share_heads, from_description

NET = MLP((3, 2, 1))  # weights 3x2 and 2x1, biases 2 and 1
MIXED = Lattice(((-2, 0.5), (-1, 0, 1)), ((0,), (-1, 3)))


def test_levels_of_every_parameter():
    assert Lattice().levels_of(NET.parameters) == ((-1.0, 1.0),) * 4
    assert Lattice((1, 0, -1)).levels_of(NET.parameters) == ((-1.0, 0.0, 1.0),) * 4  # sorted
    assert MIXED.levels_of(NET.parameters) == ((-2.0, 0.5), (0.0,), (-1.0, 0.0, 1.0), (-1.0, 3.0))
    per_layer = Lattice(((0, 1), (-1, 1)))  # biases as the weights of their layer
    assert per_layer.levels_of(NET.parameters) == ((0.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (-1.0, 1.0))
    scale = (Parameter("norm.scale", (4,), "scale", 4, 0),)
    assert Lattice.ternary().levels_of(scale) == ((1.0,),)


def test_number_of_points():
    assert Lattice.binary().num_points(NET.parameters) == 2**11
    assert Lattice.ternary().num_points(NET.parameters) == 3**11
    assert MIXED.num_points(NET.parameters) == 2**6 * 1 * 3**2 * 2
    assert MIXED.log_num_points(NET.parameters) == pytest.approx(math.log(1152), rel=1e-14)
    wide = MLP((7, 40, 40, 1))
    assert Lattice.ternary().num_points(wide.parameters) == 3**2001  # a whole number, beyond any float
    assert Lattice.ternary().log_num_points(wide.parameters) == pytest.approx(2001 * math.log(3), rel=1e-14)


def test_equal_settings_are_equal_and_come_back_from_their_records():
    assert Lattice([1, -1]) == Lattice(tuple(np.array([-1.0, 1.0]))) == Lattice.binary()
    assert hash(Lattice((1, -1))) == hash(Lattice())
    assert Lattice((-0.0, 1)) == Lattice((0, 1))
    for prior in (Lattice(), Lattice.ternary(), MIXED, Lattice((0, 1), (5,))):
        assert from_description(prior.describe()) == prior


@pytest.mark.parametrize(
    ("prior", "symmetric"),
    [
        (Lattice.binary(), True),
        (Lattice((-2, -1, 1, 2), (0,)), True),
        (Lattice((-1, 1), (-1, 0)), False),
        (Lattice(((-1, 1), (0, 1))), False),
        (Lattice((0.5, 1)), False),
    ],
)
def test_sign_symmetry_is_read_off_the_levels(prior, symmetric):
    assert prior.sign_symmetric == symmetric
    assert can_share_heads(NET, prior)
    assert can_reflect_heads(NET, prior) == symmetric


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_draws_are_uniform_over_the_levels(dtype):
    """Each share of 20,000 draws within 6 standard errors (false alarm 2e-9 each, 13 in all): finds .02."""
    keys = jax.random.split(jax.random.key(3), 20_000)
    drawn = jax.vmap(lambda key: MIXED.draw(key, NET.parameters, dtype))(keys)
    for p, levels in zip(NET.parameters, MIXED.levels_of(NET.parameters), strict=True):
        values = np.asarray(drawn[p.name])
        assert values.shape == (20_000, *p.shape)
        assert values.dtype == dtype
        assert set(np.unique(values)) == set(levels)
        share = 1 / len(levels)
        for level in levels:
            off = np.abs((values == level).mean(0) - share).max()
            assert off <= 6 * math.sqrt(share * (1 - share) / 20_000)
    # No two entries of a draw are tied to each other: their joint law is a product (same bound).
    weights = np.asarray(drawn["0.weight"]).reshape(20_000, 6) > 0
    both = (weights[:, :, None] & weights[:, None, :]).mean(0)[~np.eye(6, dtype=bool)]
    assert np.abs(both - 0.25).max() <= 6 * math.sqrt(0.25 * 0.75 / 20_000)


BAD = [
    ((), ValueError, "empty"),
    ((1, 1), ValueError, "more than once"),
    ((0, -0.0), ValueError, "more than once"),
    ((0, math.inf), ValueError, "finite"),
    ((0, math.nan), ValueError, "finite"),
    ((True, False), TypeError, "bool"),
    (("a",), TypeError, "str"),
    ("-1,1", TypeError, "tuple of numbers"),
    (3, TypeError, "tuple of numbers"),
    (((-1, 1), 2), TypeError, "mixes"),
    (((-1, 1), ()), ValueError, r"levels\[1\] is empty"),
]


@pytest.mark.parametrize(("levels", "error", "match"), BAD)
def test_bad_levels_are_refused(levels, error, match):
    with pytest.raises(error, match=match):
        Lattice(levels)
    with pytest.raises(error, match=match.replace("levels", "bias_levels")):
        Lattice((-1, 1), levels)


def test_levels_that_do_not_fit_the_model_are_refused():
    with pytest.raises(ValueError, match="3 layers but the model has 2"):
        Lattice(((-1, 1),) * 3).check(NET.parameters)
    with pytest.raises(ValueError, match="the same network"):
        Lattice((1,)).check(NET.parameters)
    with pytest.raises(TypeError, match="no transform"):
        Lattice().transform({}, NET.parameters)


# All 64 parameterisations of 2-2-1 by hand (docs and tests of volume.Exact): hits of 0000, and of each table by weight.
HITS = {0: 20, 1: 7, 2: 2, 3: 1, 4: 0}
QUERY = volume.Query(
    MLP((2, 2, 1), activation="sign", bias=False), Lattice.binary(), volume.BooleanCube(2, coding=(-1, 1))
)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"heads": 1}, marks=pytest.mark.slow),
        {"heads": 5, "bodies": 4},
        pytest.param({"heads": 5, "bodies": 1}, marks=pytest.mark.slow),
    ],
)
def test_direct_draws_agree_with_the_exact_volumes(options):
    """z of 16 classes: |z| < 6.5 by chance 1e-9; finds an error of a fiftieth of the constant's."""
    report = volume.estimate(QUERY, volume.Direct(draws=60_000, **options), seed=7)
    for label in map("{:04b}".format, range(16)):
        p = HITS[label.count("1")] / 64
        entry = report[label]
        spread = math.sqrt(max(entry.design_effect, 1) * p * (1 - p) / report.num_draws) if entry.count else 0
        assert abs(entry.volume - p) <= 6.5 * spread, label


def test_other_methods_name_one_that_can_answer():
    with pytest.raises(ValueError, match=r"volume\.Exact"):
        volume.estimate(QUERY, volume.Splitting(labels=["0001"]))
    with pytest.raises(TypeError, match=r"volume\.Exact"):
        volume.estimate(QUERY, volume.InfiniteWidth(labels=["0001"]))
    assert not getattr(Gaussian(1.0), "finite", False)
