"""Every parameterisation counted: against lists made in plain Python, theorems, and draws."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from exact_lists import CUBE2, SIGNED2, SMALL, truth

import volume
from volume import models
from volume.estimators.exact.enumeration import Blocks, block_step
from volume.estimators.exact.exact import Exact, ExactRun
from volume.models import MLP, Perceptron
from volume.samplers import Gaussian, Lattice


def exact(model, prior, domain, classifier=None, **options):
    query = volume.Query(model, prior, domain, classifier or volume.TruthTable())
    return volume.estimate(query, Exact(**options))


def found(report):
    return {label: report[label].count for label in report}


@pytest.mark.parametrize("name", SMALL)
def test_counts_are_those_of_a_list_made_by_hand(name):
    model, prior, domain = SMALL[name]
    expected = truth(name)
    report = exact(model, prior, domain)
    assert report.complete
    assert report.num_draws == prior.num_points(model.parameters) == sum(expected.values())
    assert found(report) == dict(expected)
    assert report.run["near_ties"] == 0
    assert report.run["arithmetic"].startswith("exact")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("options", [{"path": "blocks", "block": 7}, {"path": "blocks", "dtype": "float64"}])
def test_the_path_of_blocks_for_any_block_size(name, options):
    assert found(exact(*SMALL[name], **options)) == dict(truth(name))


@pytest.mark.parametrize("name", [name for name in SMALL if "two hidden" not in name])
@pytest.mark.parametrize("options", [{}, {"block": 5}, {"dtype": "float64"}])
def test_the_path_of_sums_for_any_block_size(name, options):
    report = exact(*SMALL[name], path="sums", **options)
    assert found(report) == dict(truth(name))
    assert report.method["path"] == "sums"


def test_the_numbers_of_the_binary_sign_network():
    """2-2-1 on {-1,1}^2: 0000 20 times of 64, each table with one 1 seven times, with two twice, with three once."""
    report = exact(*SMALL["binary sign"])
    assert {label: count for label, count in found(report).items() if label.count("1") != 1} == {
        "0000": 20,
        **dict.fromkeys(["0011", "0101", "0110", "1001", "1010", "1100"], 2),
        **dict.fromkeys(["0111", "1011", "1101", "1110"], 1),
    }
    assert report["0001"].count == 7
    assert report["0001"].log_volume == math.log(7 / 64)
    assert report["1111"].volume == 0


# --- theorems ---


@pytest.mark.parametrize(("n", "functions"), [(1, 4), (2, 14), (3, 104), (4, 1882)])
def test_threshold_functions_are_all_found(n, functions):
    """Weights of size up to 3 realise every threshold function of up to 4 variables (OEIS A000609); half-integer biases
    keep them off the ties."""
    prior = Lattice(range(-3, 4), tuple(k + 0.5 for k in range(-8, 8)))
    for coding in ((0, 1), (-1, 1)):
        assert exact(Perceptron(n), prior, volume.BooleanCube(n, coding=coding)).num_classes == functions


@pytest.mark.parametrize(("n", "functions"), [(1, 2), (2, 6), (3, 32), (4, 370)])
def test_threshold_functions_without_bias_are_all_found(n, functions):
    """OEIS A034997, inputs {0,1}^n. A tie is class 0, as after a shift of all weights down: it adds no function."""
    report = exact(Perceptron(n, bias=False), Lattice(range(-7, 8)), volume.BooleanCube(n))
    assert report.num_classes == functions


@pytest.mark.parametrize("n", [3, 5])
def test_majorities_of_an_odd_number_of_signs_are_one_function_each(n):
    """Weights and inputs +-1, n odd: no sum ties, all 2^n functions differ and are right on half of the inputs."""
    report = exact(Perceptron(n, bias=False), Lattice.binary(), volume.BooleanCube(n, coding=(-1, 1)))
    assert set(found(report).values()) == {1}
    assert report.num_classes == 2**n
    assert report.group_by(volume.Ones())[2 ** (n - 1)].volume == 1


def test_a_relu_without_biases_never_fires_at_zero():
    report = exact(*SMALL["ternary relu"])
    assert all(label[0] == "0" for label in report)


# --- paths, words, large counts ---


@pytest.mark.parametrize(
    ("model", "domain"),
    [
        (MLP((3, 3, 1)), volume.BooleanCube(3)),  # 3^16
        (MLP((2, 3, 2), bias=False), volume.BooleanCube(2, coding=(-1, 1))),  # 3^12
        (MLP((5, 2, 1), "sign", bias=False), volume.BooleanCube(5)),  # tables of 32 bits are sorted, 3^12
    ],
)
def test_both_paths_agree_bit_for_bit_on_millions(model, domain):
    blocks, sums = (exact(model, Lattice.ternary(), domain, path=path) for path in ("blocks", "sums"))
    assert sums.method["evaluated"] < blocks.method["evaluated"] / 2
    for name in ("keys", "hits", "offsets", "unit"):
        np.testing.assert_array_equal(getattr(blocks.counts, name), getattr(sums.counts, name))


@pytest.mark.parametrize("path", ["blocks", pytest.param("sums", marks=pytest.mark.slow)])
def test_tables_of_several_words(path):
    """128 inputs: two words a key. The perceptron's 3^8 points, listed through the model in float64."""
    rng = np.random.default_rng(2)
    domain = volume.Points(rng.integers(-4, 5, (128, 7)) + 10 * np.eye(128, 7))
    model, prior = Perceptron(7), Lattice.ternary()
    report = exact(model, prior, domain, path=path, block=300)
    points = np.array(list(itertools.product((-1, 0, 1), repeat=8)))
    tables = (np.asarray(domain.inputs) @ points[:, :7].T + points[:, 7]).T > 0
    expected = Counter("".join(map(str, table.astype(int))) for table in tables)
    assert found(report) == dict(expected)
    assert list(report) == sorted(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_counts_beyond_the_digits_of_a_float(dtype):
    """2-12-1 ternary has 3^36 = 1.5e17 points, more than 2^53: against convolutions in Python's whole numbers."""
    domain, model = volume.Points([[1.0, 2.0], [-1.0, 1.0]]), MLP((2, 12, 1), bias=False)
    report = exact(model, Lattice.ternary(), domain, dtype=dtype)
    unit = Counter()
    for a, b, out in itertools.product((-1, 0, 1), repeat=3):
        unit[tuple(out * max(a * x + b * y, 0) for x, y in domain.inputs.astype(int).tolist())] += 1
    total = Counter({(0, 0): 1})
    for _ in range(12):
        grown = Counter()
        for (x, y), hits in total.items():
            for (u, v), more in unit.items():
                grown[x + u, y + v] += hits * more
        total = grown
    expected = Counter()
    for (x, y), hits in total.items():
        expected[f"{int(x > 0)}{int(y > 0)}"] += hits
    assert found(report) == dict(expected)
    assert report.num_draws == 3**36


def test_other_levels_and_a_ragged_end_share_one_trace():
    def counted(levels):
        model, prior = MLP((2, 3, 1), bias=False), Lattice(levels)
        return exact(model, prior, CUBE2, path="blocks", block=130).num_draws

    assert counted((-1, 1)) == 2**9
    traces = block_step._cache_size()  # type: ignore[attr-defined]  # of a jitted function
    assert counted((-3, 0.5)) == 2**9
    assert block_step._cache_size() == traces  # type: ignore[attr-defined]


def test_networks_with_too_many_sums_are_counted_in_blocks():
    """A unit on 18 numbers has 2^18 settings, each a vector on 300 inputs: 79 million numbers are not listed."""
    domain = volume.Points(np.random.default_rng(0).integers(-2, 3, (300, 18)) + 9 * np.eye(300, 18))
    model = MLP((18, 1, 1), "sign", bias=False)
    with pytest.raises(ValueError, match="too many settings of one unit"):
        exact(model, Lattice.binary(), domain, path="sums")
    report = exact(model, Lattice.binary(), domain, volume.Ones())
    assert report.method["path"] == "blocks"
    assert int(report.counts.hits.sum()) == 2**19


# --- classifiers ---

CLASSIFIERS = {
    "ones": volume.Ones(),
    "fits": volume.Fits(SIGNED2.inputs[:3], "011"),
    "product": volume.Ones() * volume.Fits(SIGNED2.inputs[:2], "01"),
    "given": volume.Given(volume.Fits(SIGNED2.inputs[:2], "01"), volume.Ones()),
    "lz": volume.LempelZiv(),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("path", ["blocks", "sums"])
def test_a_classifier_gives_what_grouping_the_tables_gives(name, path):
    model, prior, domain = MLP((2, 2, 1)), Lattice.ternary(), SIGNED2
    grouped = exact(model, prior, domain, path=path).group_by(CLASSIFIERS[name])
    direct = exact(model, prior, domain, CLASSIFIERS[name], path=path)
    np.testing.assert_array_equal(grouped.counts.keys, direct.counts.keys)
    np.testing.assert_array_equal(grouped.counts.hits, direct.counts.hits)
    assert int(direct.counts.hits.sum()) == 3**9


def _large(outputs):
    return outputs[0] > 1.5


def test_a_predicate_sees_the_outputs_themselves():
    """Levels of a quarter: the sums are whole multiples of 1/16, and are scaled back before the user's function."""
    model, prior, domain = MLP((1, 2, 1), "linear", bias=False), Lattice((-1.25, 0.5, 2)), volume.Points([[1.0], [2.0]])
    expected = sum(a * c + b * d > 1.5 for a, b, c, d in itertools.product((-1.25, 0.5, 2), repeat=4))
    for path in ("blocks", "sums"):
        report = exact(model, prior, domain, volume.Predicate(_large), path=path)
        assert report[True].count == expected
        assert report.num_draws == 81


# --- rounding ---


def test_ties_of_rounded_outputs_are_counted_as_near():
    """Three equal tanh units with outgoing weights -.3, .1 and .2 in any order cancel on paper: 3! orders for either
    level of the incoming weight. Rounding decides these 12 of 216, in float32 otherwise than in float64."""
    model, prior = MLP((1, 3, 1), "tanh", bias=False), Lattice(((1, 2), (-0.3, 0.1, 0.2)))
    single, double = (exact(model, prior, volume.Points([[1.0]]), dtype=dtype) for dtype in ("float32", "float64"))
    for report in (single, double):
        assert report.method["path"] == "blocks"
        assert "decided in floating point" in report.run["arithmetic"]
        assert report.run["near_ties"] == 12
        assert "12 of 216 parameterisations have an output so near a tie" in report.summary()
    assert abs(single["1"].count - double["1"].count) <= 12
    with pytest.raises(ValueError, match="tanh gives no whole multiples"):
        exact(model, prior, volume.Points([[1.0]]), path="sums")


@pytest.mark.parametrize(
    ("levels", "dtype", "known"),
    [
        ((-1, 1), "float32", True),
        ((-0.1, 0.1), "float32", False),
        ((-2896, 2896), "float32", True),  # 2 x 2896^2 is just below 2^24
        ((-2897, 2897), "float32", False),  # and this just above
        ((-2897, 2897), "float64", True),
        ((-(2.0**-20), 1), "float32", False),
        ((-(2.0**-20), 1), "float64", True),
    ],
)
def test_exact_arithmetic_is_claimed_only_where_it_holds(levels, dtype, known):
    report = exact(MLP((2, 1, 1), bias=False), Lattice(levels), CUBE2, dtype=dtype)
    assert report.run["arithmetic"].startswith("exact") == known


def test_nothing_is_claimed_of_products_that_may_round_their_factors():
    name = "levels per layer"
    report = exact(*SMALL[name], precision="default")
    assert "default precision may round" in report.run["arithmetic"]
    assert report.method["path"] == "blocks"


def test_sums_are_made_in_the_models_own_order_where_they_may_round():
    """The last hidden layer is crossed with the layers below it, in another order, only where no order rounds."""
    for activation, crossed in (("relu", True), ("tanh", False)):
        query = volume.Query(MLP((2, 2, 2, 1), activation), Lattice.binary(), CUBE2)
        steps = ExactRun(query, Exact()).steps
        assert isinstance(steps, Blocks)
        assert (steps.grid.middle is not None) == crossed


def _overflowing(params, inputs):
    return (inputs @ params["w"]) * 1e38 * params["c"]


def test_networks_that_overflow_are_counted_apart():
    model = models.from_function(_overflowing, {"w": (2, 1), "c": (1,)}, input_shape=2)
    report = exact(model, Lattice((1, 4)), volume.Points([[1.0, 1.0], [1.0, 0.0]]), block=3)
    # w sums to 2, 5 or 8 (5 twice), c is 1 or 4: infinite from 4 on, that is but for (1, 1) and c = 1.
    assert report.num_nonfinite == 7
    assert report["11"].count == 1
    assert "7 of 8 parameterisations gave NaN or inf" in report.summary()


# --- refusals ---


def test_what_cannot_be_counted_is_refused_with_a_method_that_can():
    with pytest.raises(ValueError, match=r"infinitely many: use volume\.Direct"):
        exact(MLP((2, 2, 1)), Gaussian(1.0), CUBE2)
    with pytest.raises(ValueError, match=r"43,046,721 parameterisations, more than limit=1,000 .*volume\.Direct"):
        exact(MLP((3, 3, 1)), Lattice.ternary(), volume.BooleanCube(3), path="blocks", limit=1000)
    with pytest.raises(ValueError, match=r"10\^954\.7 parameterisations"):
        exact(MLP((7, 40, 40, 1)), Lattice.ternary(), volume.BooleanCube(7))
    with pytest.raises(ValueError, match="more than one hidden layer"):
        exact(*SMALL["two hidden layers"], path="sums")
    for options, match in (
        ({"path": "fast"}, "Unknown path"),
        ({"dtype": "int8"}, "Unknown dtype"),
        ({"limit": 0}, "limit=0"),
        ({"block": 1.5}, r"block=1\.5"),
        ({"devices": ()}, "one device or more"),
    ):
        with pytest.raises(ValueError, match=match):
            Exact(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_an_unfinished_run_gives_no_volumes():
    query = volume.Query(*SMALL["ternary relu"])
    run = ExactRun(query, Exact(path="blocks", block=100))
    run.advance()
    assert not run.done
    assert run.report(None) is None  # type: ignore[arg-type]  # nothing is read
    assert run.progress().done == 81  # 27 heads and 3 bodies
    assert run.progress().total == 3**9


# --- draws ---


@pytest.mark.parametrize("name", ["levels per layer", pytest.param("two hidden layers, sign", marks=pytest.mark.slow)])
def test_direct_draws_agree(name):
    """`compare` at 1e-6 over all classes with 20 expected hits; an error of a tenth in a class of .05 has z = 7."""
    query = volume.Query(*SMALL[name])
    drawn = volume.estimate(query, volume.Direct(draws=100_000), seed=2)
    result = volume.compare(volume.estimate(query, Exact()), drawn, alpha=1e-6)
    assert result.agree
    assert result.num_compared > 5
    json.dumps(result.to_dict(), allow_nan=False)
