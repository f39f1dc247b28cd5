"""Sweeps against exact truths, and their sentences for what makes no sense."""

from __future__ import annotations

import json
import math
import re

import jax
import pytest
from scipy import stats

import volume
from volume import models, samplers
from volume.models import MLP
from volume.samplers import Gaussian
from volume.studies.sweep import Sweep, sweep, sweep_queries

CUBE2 = volume.BooleanCube(2)
SMALL = volume.Direct(draws=2000)


def z_of(row, truth: float) -> float:
    """Standard errors between a row and the truth, by the row's own design effect (at least 1)."""
    error = math.sqrt(truth * (1 - truth) * max(row.design_effect, 1.0) / row.num_draws)
    return (row.count / row.num_draws - truth) / error


# --- against the truth ---


@pytest.mark.slow
def test_perceptrons_of_growing_size_follow_the_theorem():
    """Without bias on {0,1}^n every number T of ones below 2^n has volume 2^-n; T = 2^n has none.

    Draws are independent, so hits are binomial. Two-sided binomial tests at 1e-7 each: three of them, false-alarm rate
    3e-7 in all. At n = 6 (expected 3125 of 200,000) it would see an error of 10 %, at n = 2 one of 1.2 %.
    """
    queries = {
        n: volume.Query(models.Perceptron(n, bias=False), Gaussian(), volume.BooleanCube(n), volume.Ones())
        for n in (2, 3, 6)
    }
    result = sweep(queries, volume.Direct(draws=200_000), "3", seed=5, x_name="inputs")
    assert [row.x for row in result.rows] == [2, 3, 6]
    for row in result.rows:
        assert stats.binomtest(row.count, row.num_draws, 0.5 ** float(row.x)).pvalue > 1e-7
        assert row.log_low < row.log_volume < row.log_high
        assert row.log_volume == pytest.approx(math.log(row.count / row.num_draws), rel=1e-12)
    never = sweep({2: queries[2]}, SMALL, "4")
    assert never.rows[0].count == 0
    assert never.rows[0].log_volume == never.rows[0].log_low == -math.inf
    assert never.rows[0].log_high < math.log(0.01)


def test_codings_of_the_perceptron_with_bias():
    """P(0000), weights and bias N(0,1): .27704336 on {0,1}^2 and .10817345 on {-1,1}^2 (closed forms).

    Binomial tests at 1e-7; they would see an error of 1 % (resp. 2 %).
    """
    queries = sweep_queries(
        models.Perceptron(2),
        Gaussian(weight_std=math.sqrt(2), bias_std=1.0),
        CUBE2,
        over="coding",
        values=[(0, 1), (-1, 1)],
    )
    result = sweep(queries, volume.Direct(draws=400_000), "0000", seed=1, x_name="coding")
    for row, truth in zip(result.rows, (0.27704336, 0.10817345), strict=True):
        assert stats.binomtest(row.count, row.num_draws, truth).pvalue > 1e-7
    assert [row.x for row in result.rows] == ["{0, 1}", "{-1, 1}"]


def test_widths_of_a_relu_network():
    """2-h-1 ReLU without biases: P(0000) = .625 at h = 1, exactly, and .379 at h = 3 (third digit).

    At h = 1 the output is relu(w.x) v. All tables are 0 when v <= 0 (1/2), or when v > 0 and w.x <= 0 on 01, 10, 11
    (both weights <= 0: 1/4): P(0000) = 1/2 + 1/8 = .625. |z| < 5.5 at the run's own design effect: false-alarm rate
    4e-8 each; at h = 3 the truth's own digit (.0005) is allowed for. It would see an error of 2 %.
    """
    queries = sweep_queries(MLP((2, 9, 1), bias=False), Gaussian(), CUBE2, over="width", values=[1, 3])
    result = sweep(queries, volume.Direct(draws=400_000), "0000", seed=3)
    one, three = result.rows
    assert abs(z_of(one, 0.625)) < 5.5
    shift = 0.0005 / math.sqrt(0.379 * 0.621 / three.num_draws)
    assert abs(z_of(three, 0.379)) < 5.5 + shift


@pytest.mark.slow
def test_the_prior_s_scale_moves_nothing_without_biases():
    """Without biases the output is homogeneous in every layer: volumes do not depend on weight_std.

    |z| of the difference < 5.5 (4e-8); it would see a difference of 2 %.
    """
    queries = sweep_queries(MLP((2, 4, 1), bias=False), Gaussian(), CUBE2, over="weight_std", values=[0.1, 10])
    a, b = sweep(queries, volume.Direct(draws=200_000), "0000", seed=4).rows
    p = (a.count + b.count) / (a.num_draws + b.num_draws)
    variance = p * (1 - p) * (max(a.design_effect, 1) / a.num_draws + max(b.design_effect, 1) / b.num_draws)
    assert abs(a.count / a.num_draws - b.count / b.num_draws) < 5.5 * math.sqrt(variance)


def test_a_table_counted_alone_has_the_hits_of_the_full_count():
    """The two-class question draws the same networks as the full table would."""
    query = volume.Query(MLP((2, 4, 1), bias=False), Gaussian(), CUBE2)
    row = sweep({4: query}, volume.Direct(draws=20_000), "0111", seed=8).rows[0]
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(8), 0x73776565), 0)
    assert volume.estimate(query, volume.Direct(draws=20_000), seed=key)["0111"].count == row.count > 0


# --- independence and repeatability ---


def test_rows_draw_from_keys_of_their_own():
    """The same query twice gives different counts; the same sweep twice the same.

    Eight binomial(2000, 1/4) counts are all equal by chance with probability below (.021)^7 = 2e-12, and two sweeps of
    them equal row by row below (.021)^8.
    """
    query = volume.Query(models.Perceptron(2, bias=False), Gaussian(), CUBE2, volume.Ones())
    queries = {str(i): query for i in range(8)}
    first, again, other = (sweep(queries, SMALL, "1", seed=seed) for seed in (0, 0, 1))
    assert [row.count for row in first.rows] == [row.count for row in again.rows]
    assert len({row.count for row in first.rows}) > 1
    assert [row.count for row in first.rows] != [row.count for row in other.rows]


def test_a_jax_key_is_a_seed():
    query = volume.Query(models.Perceptron(2, bias=False), Gaussian(), CUBE2, volume.Ones())
    by_number, by_key = (sweep({1: query}, SMALL, "1", seed=seed) for seed in (7, jax.random.key(7)))
    assert by_number.rows[0].count == by_key.rows[0].count
    assert by_number.seed == 7


def test_progress_is_told_of_every_query():
    query = volume.Query(models.Perceptron(2, bias=False), Gaussian(), CUBE2, volume.Ones())
    seen = []
    sweep({1: query, 2: query}, SMALL, "1", progress=lambda state: seen.append(state.done))
    assert seen.count(2000) == 2


# --- the usual sweeps ---


def widths_of(queries) -> dict:
    return {x: query.model.widths for x, query in queries.items()}


def test_width_sets_every_hidden_layer_and_depth_repeats_the_first():
    model, cube = MLP((3, 8, 5, 1), bias=False), volume.BooleanCube(3)
    over_width = sweep_queries(model, Gaussian(), cube, over="width", values=[2, 16.0])
    assert widths_of(over_width) == {2: (3, 2, 2, 1), 16: (3, 16, 16, 1)}
    over_depth = sweep_queries(model, Gaussian(), cube, over="depth", values=[0, 1, 3])
    assert widths_of(over_depth) == {0: (3, 1), 1: (3, 8, 1), 3: (3, 8, 8, 8, 1)}
    assert over_depth[3].model == MLP((3, 8, 8, 8, 1), bias=False)


def test_scales_and_codings_change_nothing_else():
    model = MLP((2, 4, 1))
    over_std = sweep_queries(model, Gaussian(weight_std=2.0), CUBE2, volume.Ones(), over="bias_std", values=[0, 0.5])
    assert {x: query.prior for x, query in over_std.items()} == {
        0: Gaussian(weight_std=2.0, bias_std=0),
        0.5: Gaussian(weight_std=2.0, bias_std=0.5),
    }
    assert all(query.classifier == volume.Ones() and query.model == model for query in over_std.values())
    over_bound = sweep_queries(model, samplers.Uniform(), CUBE2, over="weight_bound", values=[2.0])
    assert over_bound[2.0].prior == samplers.Uniform(weight_bound=2.0)


GAUSS, MODEL = Gaussian(), MLP((2, 4, 1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"over": "with"}, "Unknown sweep 'with'.*Did you mean 'width'"),
        ({"over": "weight_bound"}, "Unknown sweep 'weight_bound'.*Did you mean 'weight_std'"),
        ({"values": []}, "needs at least one value"),
        ({"values": [4, 4.0]}, "width = 4 is given twice"),
        ({"values": [2.5]}, "whole numbers of 1 or more; got 2.5"),
        ({"values": [0]}, "whole numbers of 1 or more; got 0"),
        ({"values": ["8"]}, "whole numbers of 1 or more; got '8'"),
        ({"over": "depth", "values": [-1]}, "whole numbers of 0 or more; got -1"),
        ({"model": MLP((2, 1))}, re.escape("needs a hidden layer; got widths (2, 1)")),
        ({"model": MLP((2, 1)), "over": "depth", "values": [2]}, "takes its width from a hidden layer"),
        ({"model": models.Perceptron(2)}, "so it needs an MLP; got Perceptron"),
        ({"domain": volume.Points([[0.0, 1.0]]), "over": "coding", "values": [(0, 1)]}, "needs a BooleanCube domain"),
        ({"over": "coding", "values": [(1, 1)]}, "two distinct"),
        ({"over": "weight_std", "values": [True]}, "takes numbers, one for all layers; got True"),
        ({"over": "weight_std", "values": [-1.0]}, "weight_std"),
        ({"over": "bias_std", "model": MLP((2, 4, 1), bias=False)}, "changes nothing in a model without biases"),
        ({"prior": Gaussian(weight_std=(1.0, 2.0)), "over": "depth", "values": [3]}, "weight_std"),
    ],
)
def test_sweeps_that_make_no_sense(change, sentence):
    given = {"model": MODEL, "prior": GAUSS, "domain": CUBE2, "over": "width", "values": [4]} | change
    parts = [given.pop(name) for name in ("model", "prior", "domain")]
    with pytest.raises((ValueError, TypeError), match=sentence):
        sweep_queries(*parts, **given)


QUERY = volume.Query(MODEL, GAUSS, CUBE2)


@pytest.mark.parametrize(
    ("queries", "method", "label", "error", "sentence"),
    [
        ({}, SMALL, "0000", ValueError, "queries is empty"),
        ([QUERY], SMALL, "0000", TypeError, "must map settings to queries"),
        ({4: QUERY, "five": QUERY}, SMALL, "0000", ValueError, "all finite numbers or all names"),
        ({4: QUERY, math.nan: QUERY}, SMALL, "0000", ValueError, "all finite numbers"),
        ({True: QUERY}, SMALL, "0000", ValueError, "all finite numbers or all names"),
        ({4: QUERY, 5: MODEL}, SMALL, "0000", TypeError, "Setting 5 holds .*, not a query"),
        ({4: QUERY}, 1000, "0000", TypeError, "method=1000 is not a method"),
        ({4: QUERY}, SMALL, "000", KeyError, "Setting 4: A table of 4 inputs has 4 digits; '000' has 3"),
        ({4: QUERY}, SMALL, "0002", KeyError, "Setting 4: .*no class number"),
        ({4: QUERY}, SMALL, 7, KeyError, "Setting 4: .*got 7"),
        (
            {4: volume.Query(MODEL, GAUSS, CUBE2, volume.Ones())},
            SMALL,
            "5",
            KeyError,
            "Setting 4: Ones has the classes '0' to '4'",
        ),
        (
            {2: QUERY, 3: volume.Query(MLP((3, 4, 1)), GAUSS, volume.BooleanCube(3))},
            SMALL,
            "0000",
            KeyError,
            "Setting 3: A table of 8 inputs has 8 digits",
        ),
    ],
)
def test_bad_input_is_refused_before_drawing(queries, method, label, error, sentence, monkeypatch):
    monkeypatch.setattr("volume.studies.sweep.estimate", lambda *_, **__: pytest.fail("something was drawn"))
    with pytest.raises(error, match=sentence):
        sweep(queries, method, label)


# --- what comes out ---


@pytest.fixture(scope="module")
def result() -> Sweep:
    queries = sweep_queries(MLP((2, 4, 1), bias=False), GAUSS, CUBE2, over="depth", values=[0, 1, 2])
    return sweep(queries, SMALL, "0111", seed=2, x_name="depth")


def test_record_is_strict_json_and_complete(result):
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [row["x"] for row in record["rows"]] == [0, 1, 2]
    for row, entry in zip(result.rows, record["rows"], strict=True):
        assert entry["log_volume"] == row.log_volume
        assert entry["volume"] == pytest.approx(row.count / row.num_draws)
        assert entry["log10_volume"] == pytest.approx(row.log_volume / math.log(10))
        assert {"log_low", "log_high", "count", "num_draws", "design_effect", "num_nonfinite", "near_ties"} <= set(
            entry
        )
    assert [query["model"]["widths"] for query in record["queries"]] == [[2, 1], [2, 4, 1], [2, 4, 4, 1]]
    assert record["label"] == "0111"
    assert {"level", "seed", "methods", "conventions", "run"} <= set(record)
    assert len(record["methods"]) == len(record["conventions"]) == 3


def test_record_of_a_class_never_drawn_has_null_for_infinities():
    queries = sweep_queries(MLP((2, 4, 1), bias=False), GAUSS, CUBE2, over="coding", values=[(0, 1)])
    record = sweep(queries, SMALL, "1000", seed=2).to_dict()  # f(0) = 0, and a tie is class 0
    assert record["rows"][0]["log_volume"] is record["rows"][0]["log_low"] is None
    assert record["rows"][0]["volume"] == 0
    json.dumps(record, allow_nan=False)


def test_summary_has_a_line_for_every_row(result):
    text = str(result)
    assert "Volume of 0111" in text
    assert "95% interval" in text
    lines = text.splitlines()
    assert len(lines) == 2 + 3
    for row, shown in zip(result.rows, lines[2:], strict=True):
        assert f"{row.count:,}" in shown
        assert f"{math.exp(row.log_volume):#.3g}" in shown
        assert max(map(len, lines)) <= 100


def test_summary_of_names_and_of_nothing_drawn():
    queries = sweep_queries(MLP((2, 4, 1), bias=False), GAUSS, CUBE2, over="coding", values=[(0, 1)])
    text = sweep(queries, SMALL, "1000", x_name="coding").summary()
    assert "{0, 1}" in text
    assert "never drawn" in text


def test_the_figure_is_written(result, tmp_path):
    result.plot(tmp_path / "sweep.pdf")
    assert (tmp_path / "sweep.pdf").read_bytes().startswith(b"%PDF")
