"""The table of measures: every column against a truth, the rules of what is printed, and the command."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cli_runs import answer, run

import volume
from volume import models, samplers
from volume.common.progress import Progress
from volume.common.seeds import to_key
from volume.estimators.infinite_width.shares import wide_shares
from volume.estimators.infinite_width.tilting import order, saddle, weighted_draws
from volume.reports.entries import replicated_volume
from volume.statistics.replicates import share_interval
from volume.studies.columns import FUNCTIONS, LIMIT, SIMPLICITY, VOLUME, Cell
from volume.studies.label_curve import RANDOM
from volume.studies.measures import accuracy_edges
from volume.studies.rows import rows_of

CUBE = volume.BooleanCube(3)
LABELS = volume.target("first-bit", 3)
PRIOR = samplers.Gaussian(weight_std=1.0, bias_std=0.3)


def question(model=None, num_train=3, bins=(0.5, 0.9), prior=PRIOR):
    train, test = volume.split(8, num_train, 0)
    accuracy = volume.Accuracy(CUBE.inputs[test], LABELS[test], bins)
    given = volume.Given(volume.Fits(CUBE.inputs[train], LABELS[train]), accuracy)
    return volume.Query(model or models.MLP((3, 8, 1)), prior, CUBE, given)


def given_of(query) -> volume.Given:
    assert isinstance(query.classifier, volume.Given)
    return query.classifier


def split_of(query) -> Any:
    return given_of(query).split.bind(query.domain, query.model.num_outputs)


def shares(column):
    return np.exp([cell.log_share for cell in column.cells])


@pytest.fixture(scope="module")
def small():
    return volume.measure(question(), volume.Direct(draws=200_000), name="first bit", seed=1)


# --- functions ---


def brute_force(query) -> list[float]:
    """Shares among all C^N functions that fit, one by one."""
    bound, num_outputs = query.bound, query.model.num_outputs
    functions = np.array(list(itertools.product(range(max(num_outputs, 2)), repeat=query.domain.num_inputs)), np.uint8)
    classes = np.asarray(bound.classify(functions.T))
    inside = classes[classes < bound.outside]
    return [float((inside == index).mean()) for index in range(bound.outside)]


@pytest.mark.parametrize("bins", [None, 3, (0.4, 0.75), accuracy_edges(4)])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_share_of_functions_is_what_enumeration_finds(bins, num_outputs):
    inputs, classes = np.arange(6.0)[:, None], max(num_outputs, 2)
    labels = np.array([0, 1, 1, 0, 1, 0]) if num_outputs == 1 else np.array([0, 2, 1, 2, 0, 1])
    given = volume.Given(volume.Fits(inputs[:2], labels[:2]), volume.Accuracy(inputs[2:], labels[2:], bins))
    query = volume.Query(models.MLP((1, 4, num_outputs)), PRIOR, volume.Points(inputs), given)
    found = np.exp(split_of(query).log_function_shares(classes))
    np.testing.assert_allclose(found, brute_force(query), rtol=1e-12)


@pytest.mark.parametrize("target_label", [None, 1])
@pytest.mark.parametrize("bins", [None, 2])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_share_of_functions_by_behaviour_on_a_trigger(target_label, bins, num_outputs):
    inputs, labels = np.arange(6.0)[:, None], np.array([1, 0, 1, 0, 0, 0])
    given = volume.Defects(inputs[:3], labels[:3], inputs[3:], labels[3:], bins=bins, target_label=target_label)
    query = volume.Query(models.MLP((1, 4, num_outputs)), PRIOR, volume.Points(inputs), given)
    found = np.exp(split_of(query).log_function_shares(max(num_outputs, 2)))
    np.testing.assert_allclose(found, brute_force(query), rtol=1e-12, atol=1e-15)


def test_functions_agree_with_exact_counts_of_128_inputs():
    x = volume.BooleanCube(7).inputs
    y = volume.target("first-bit", 7)
    edges = (0.9,)
    split = volume.Accuracy(x[64:], y[64:], edges).bind(volume.BooleanCube(7), 1)
    assert split.log_function_shares(2)[1] == pytest.approx(volume.log_share_right(64, 58), abs=1e-10)
    assert rows_of(split)[1].counts == "58 to 64"


@pytest.mark.parametrize("num_other", [1, 2, 3, 5, 8, 13, 64, 96])
def test_no_default_bin_is_empty(num_other):
    inputs = np.arange(float(num_other))[:, None]
    split = volume.Accuracy(inputs, np.zeros(num_other, int), accuracy_edges(num_other))
    rows = rows_of(split.bind(volume.Points(inputs), 1))
    assert all(row.fewest is not None for row in rows)
    assert rows[-1].words == "all right"
    assert (rows[-1].fewest, rows[-1].most) == (num_other, num_other)


# --- parameter volume, infinite width, simplicity ---


def test_columns_add_up(small):
    assert [column.name for column in small.columns] == [FUNCTIONS, VOLUME, LIMIT, SIMPLICITY]
    for column in small.columns:
        assert shares(column).sum() == pytest.approx(1, abs=1e-9)
        for cell in column.cells:
            assert cell.log_low <= cell.log_share <= cell.log_high or not cell.resolved
    assert small.absent == {}


def test_total_and_shares_are_those_of_other_draws(small):
    """Independent draws one by one (heads=1), Clopper-Pearson at level 1 - 1e-8 on either side.

    Each of four comparisons fails by chance at most once in 1e7.
    """
    model, query = models.MLP((3, 8, 1)), question()
    table = volume.estimate(volume.Query(model, PRIOR, CUBE), volume.Direct(draws=200_000, heads=1), seed=2)
    level = 1 - 1e-8
    again = volume.measure(query, volume.Direct(draws=200_000), seed=1, level=level)
    inside = {share.label: share for share in volume.shares(table, level, given=given_of(query))}
    for row, cell in zip(again.rows, again[VOLUME].cells, strict=True):
        other = inside[row.label]
        assert math.exp(cell.log_low) < other.high
        assert other.low < math.exp(cell.log_high)
    fits = table.group_by(given_of(query).within)["fits"]
    assert abs(again[VOLUME].log_total - fits.log_volume) < 0.1  # standard errors of .006 and .01
    # The column sees the same draws at another level: only its intervals are wider.
    np.testing.assert_allclose(shares(again[VOLUME]), shares(small[VOLUME]))


@dataclass(frozen=True)
class Replicated:
    """A method that answers as `Splitting` does, with numbers made up: 8 replicates of each class."""

    fits: tuple[float, ...]
    hits: tuple[int, ...]  # replicates that met each class
    name = "splitting"

    def start(self, query, key):
        return self

    done = True

    def advance(self):
        raise AssertionError("done")

    def progress(self):
        return Progress(done=1, total=1)

    def report(self, facts):
        bound = facts.query.bound
        entries = [replicated_volume("fits", self.fits, facts.level)]
        for index, hit in enumerate(self.hits):
            g = np.where(np.arange(8) < hit, 1 / len(self.hits), 0.0)
            share = share_interval(self.fits, g, facts.level)
            with np.errstate(divide="ignore"):
                logs = np.array(self.fits) + np.log(g)
            entries.append(replicated_volume(bound.label(index), logs, facts.level, share=share))
        method = {"name": "splitting", "replicates": 8, "particles": 64}
        return volume.EstimateReport.of(facts, tuple(entries), method=method, conventions={})


def test_replicates_make_a_column():
    logs = tuple(-12 + 0.1 * np.arange(8))
    found = volume.measure(question(), Replicated(logs, (8, 8, 2)))
    assert found.report is not None
    column = found[VOLUME]
    assert column.how == "splitting, 8 replicates of 64 networks"
    assert (column.log_total, column.resolved) == (found.report["fits"].log_volume, True)
    assert [cell.resolved for cell in column.cells] == [True, True, False]
    assert math.exp(column.cells[0].log_share) == pytest.approx(1 / 3)
    assert column.cells[2].log_low == -math.inf
    assert "below" in found.summary()


def test_replicates_that_spread_too_far_leave_a_bound():
    found = volume.measure(question(), Replicated(tuple(-12 + 2.0 * np.arange(8)), (8, 8, 8)))
    column = found[VOLUME]
    assert not column.resolved
    assert found.report is not None
    entry = found.report["fits"]
    assert isinstance(entry, volume.ReplicatedVolume)
    assert column.log_total_low == entry.log_bound
    assert "above " in found.summary()
    assert "spread" in found.summary()  # the note says which knob to turn


def test_a_perceptron_is_its_own_limit():
    """Without hidden layers the Gaussian process is the network: two estimates of one number.

    Clopper-Pearson intervals at 1 - 1e-7 of independent draws on both sides: together they fail once in 5e6 rows.
    """
    query = question(models.Perceptron(3), num_train=2)
    found = volume.measure(query, volume.Direct(draws=100_000, heads=1), seed=5, level=1 - 1e-7)
    limit = found[LIMIT]
    assert limit.log_total == pytest.approx(found[VOLUME].log_total, abs=0.1)  # standard errors .01 and .001
    for cell, other in zip(found[VOLUME].cells, limit.cells, strict=True):
        assert cell.log_low < other.log_high
        assert other.log_low < cell.log_high


def test_weighted_draws_stand_in_the_order_given():
    """Mean of each of three unlike variables in a box, beside plain rejection.

    500,000 draws of which some 7 % are kept: standard errors of .004; 6 of them, 1e-8 for the three.
    """
    cov = np.array([[1, 0.9, -0.5], [0.9, 1, -0.2], [-0.5, -0.2, 1.0]])
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((500_000, 3)) @ np.linalg.cholesky(cov).T
    low = np.array([-0.2, 0.1, 0.6])
    kept = plain[(plain > low).all(axis=1)]
    problem = order(cov, low, np.full(3, np.inf))
    assert problem.index.tolist() != [0, 1, 2]  # the least likely goes first
    psi, values = weighted_draws(problem, saddle(problem).mu, rng.random((3, 50_000)))
    assert (values > low[:, None] - 1e-9).all()
    weights = np.exp(psi)
    assert weights.mean() == pytest.approx(len(kept) / len(plain), rel=0.05)  # standard error .006
    np.testing.assert_allclose(values @ weights / weights.sum(), kept.mean(axis=0), atol=0.03)


def test_draws_of_the_limit_fit_and_tie_where_outputs_vanish():
    query = question(models.MLP((3, 5, 1), bias=False), prior=samplers.Gaussian(1.0), num_train=4)
    found = wide_shares(query, keep=500, seed=1)
    assert found.num_kept > 300  # none is outside: every draw kept gives the training labels
    with pytest.raises(TypeError, match="Given"):
        wide_shares(volume.Query(query.model, query.prior, CUBE, volume.Ones()))


def test_simplicity_is_the_conditional_of_the_measure(small):
    query = question()
    given = given_of(query)
    whole = dict(volume.simplicity_measure(CUBE, given.within * given.split))
    held = [whole.get(f"fits, {row.label}", -math.inf) for row in small.rows]
    total = np.logaddexp.reduce(held)
    assert small[SIMPLICITY].log_total == pytest.approx(total)
    np.testing.assert_allclose([cell.log_share for cell in small[SIMPLICITY].cells], np.array(held) - total)


# --- what is chosen, left out, refused, not resolved ---


def test_method_is_chosen_by_a_pilot(monkeypatch):
    from volume.studies import measures

    monkeypatch.setattr(measures, "PILOT_DRAWS", 20_000)
    monkeypatch.setattr(measures, "HITS", 2_000)
    found = volume.measure(question(), seed=1)
    assert found.report is not None
    assert found.report.method["name"] == "direct"
    assert "a pilot of 20,000 direct draws hit" in found[VOLUME].how
    monkeypatch.setattr(measures, "PILOT_HITS", 30_000)
    monkeypatch.setattr(measures, "PARTICLES", 16)
    assert measures._choose(question(), to_key(0)[0])[0].name == "splitting"


def test_what_was_hardly_met_is_an_upper_limit():
    found = volume.measure(question(num_train=2, bins=None), volume.Direct(draws=400, heads=1), seed=1)
    cells = found[VOLUME].cells
    unresolved = [cell for cell in cells if not cell.resolved]
    assert unresolved
    assert all(cell.log_high < 0 for cell in unresolved)
    assert "below 0." in found.summary()
    assert "met too rarely" in found.summary()


def test_nothing_that_fits_is_said():
    found = volume.measure(question(num_train=7), volume.Direct(draws=2, heads=1), seed=0)
    assert found[VOLUME].resolved is False
    assert "not reached" in found.summary()
    assert "its shares are not known" in found.text
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
def test_large_domains_and_several_outputs_leave_columns_out():
    cube = volume.BooleanCube(5)
    x, y = cube.inputs, volume.target("first-bit", 5)
    given = volume.Given(volume.Fits(x[:2], y[:2]), volume.Accuracy(x[2:], y[2:], (0.5,)))
    query = volume.Query(models.MLP((5, 4, 2)), PRIOR, cube, given)
    found = volume.measure(query, volume.Direct(draws=2000), seed=0)
    assert set(found.absent) == {LIMIT, SIMPLICITY}
    assert "several" in found.absent[SIMPLICITY]
    query = volume.Query(models.MLP((5, 4, 1)), samplers.Uniform(), cube, given)
    found = volume.measure(query, volume.Direct(draws=2000), seed=0)
    assert "2^32 functions" in found.absent[SIMPLICITY]
    assert LIMIT in found.absent
    assert SIMPLICITY not in found
    with pytest.raises(KeyError, match="2\\^32"):
        found[SIMPLICITY]
    assert "No column for simplicity prior" in found.summary()


def test_other_questions_are_refused():
    x, y = CUBE.inputs, LABELS
    fits = volume.Fits(x[:3], y[:3])
    for classifier, words in (
        (volume.Ones(), "behaviour elsewhere"),
        (volume.Given(fits, volume.Ones()), "behaviour elsewhere"),
        (volume.Given(fits, volume.Accuracy(x, y)), "3 test inputs are training inputs too"),
        (volume.Given(fits, volume.Accuracy(x[[4, 4]], y[[4, 4]])), "twice"),
        (volume.Given(fits, volume.Accuracy(x[4:], y[4:]), label="misses"), "misses"),
        (
            volume.Given(volume.Argmax(x[:3]), volume.Accuracy(x[4:], y[4:]), label="001"),
            "'001' of Argmax.* no training labels",
        ),
    ):
        model = models.MLP((3, 4, 2 if "Argmax" in words else 1))
        with pytest.raises(ValueError, match=words):
            volume.measure(volume.Query(model, PRIOR, CUBE, classifier), volume.Direct(draws=10))
    with pytest.raises(TypeError, match="not a query"):
        volume.measure("first bit")  # type: ignore[arg-type]


# --- what is written ---


def test_records_and_figures(small, tmp_path):
    record = json.loads(json.dumps(small.to_dict(), allow_nan=False))
    assert [len(column["shares"]) for column in record["measures"]] == [3] * 4
    assert record["measures"][0]["shares"][2]["log_share"] == pytest.approx(-5 * math.log(2))
    stored = json.loads(small.save(tmp_path).read_text())
    assert {name: stored[name] for name in record} == record
    assert volume.load(tmp_path / "measures.json") == small
    small.plot(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000
    assert small.text in small.to_dict()["text"]
    assert max(map(len, small.summary(80).splitlines())) <= 90  # four columns; three fit 80
    with pytest.raises(ValueError, match="Unknown figure format"):
        small.plot(tmp_path / "bars.gif")


def test_shares_below_floats_are_written_as_powers():
    cell = Cell(-1e5, -1e5, -1e5).to_dict()
    assert cell["share"] is None
    assert cell["log_share"] == -1e5


@pytest.mark.slow
def test_labels_curve(tmp_path):
    method = volume.Direct(draws=20_000)
    found = volume.labels_curve(models.Perceptron(3), PRIOR, CUBE, LABELS, (2, 4), method, name="first bit", seed=1)
    by = {(p.labels, p.measure, p.num_labels): p for p in found.points}
    assert by["first bit", VOLUME, 0].log_volume == 0
    for size, what in itertools.product((2, 4), ("first bit", RANDOM)):
        drawn, limit = by[what, VOLUME, size], by[what, LIMIT, size]
        if drawn.resolved:
            assert abs(drawn.log_volume - limit.log_volume) < 0.3  # a perceptron is its limit; standard errors < .03
    order = volume.split(8, 8, 0)[0]
    fits = volume.Fits(CUBE.inputs[order[:2]], LABELS[order[:2]])
    exact = volume.infinite_width(volume.Query(models.Perceptron(3), PRIOR, CUBE, fits))
    assert by["first bit", LIMIT, 2].log_volume == pytest.approx(exact.log_probability, abs=0.01)
    found.plot(tmp_path / "labels.pdf")
    assert json.loads(found.save(tmp_path).read_text())["name"] == "first bit"
    assert "share of functions" in found.summary()
    with pytest.raises(ValueError, match="is more than 8"):
        volume.labels_curve(models.Perceptron(3), PRIOR, CUBE, LABELS, (9,), method)


# --- the command ---

SMALL = ["measures", "--target", "first-bit", "--train", "3", "--model", "mlp:3-8-1", "--bias-std", "0.3"]
DIRECT = ["--method", "direct", "--draws", "2e4"]


def test_command(capsys, tmp_path):
    found = answer(capsys, *SMALL, *DIRECT, "--out", tmp_path, "--curve", "1,2", "--bins", "0.5/0.9")
    assert found["task"] == "first-bit"
    assert [row["label"] for row in found["rows"]] == ["[0.0, 0.5)", "[0.5, 0.9)", "[0.9, 1.0]"]
    assert {p["num_labels"] for p in found["curve"]["points"]} == {0, 1, 2}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("report.json", "counts.parquet", "measures.json", "measures.pdf", "labels.json", "labels.pdf")
    }
    code, _, err = run(capsys, *SMALL, *DIRECT, "--out", tmp_path)
    assert code == 2
    assert "--force" in err


def test_command_for_a_trigger(capsys):
    argv = ["measures", "--target", "first-bit", "--trigger", "leading:2", "--train", "3", "--model", "mlp:3-8-1"]
    code, out, err = run(capsys, *argv, "--bias-std", "0.3", *DIRECT)
    assert code == 0, err
    assert "benign: all right" in out
    assert "defects: all wrong" in out


def test_command_for_addition(capsys):
    argv = ["measures", "--target", "addition:2x1", "--train", "1", *DIRECT]
    found = answer(capsys, *argv, "--bias-std", "0.1")
    assert found["num_classes"] == 3
    assert found["counts"]["base 10, 4 digits"]["functions"]["scientific"] == "1.0957e430100828"
    code, out, err = run(capsys, *argv, "--bias-std", "0.1")
    assert code == 0, err
    assert "2.7510e430096561" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "frist-bit", "--train", "3", "--model", "mlp:3-8-1"], "Did you mean 'first-bit'"),
        (["--target", "first-bit", "--train", "3"], "--model"),
        (["--target", "first-bit", "--train", "3", "--inputs", "4", "--model", "mlp:3-8-1"], "--inputs is 4"),
        (["--target", "first-bit", "--train", "8", "--model", "mlp:3-8-1"], "leaves none"),
        (["--target", "first-bit", "--train", "9", "--model", "mlp:3-8-1"], "num_train is 9"),
        (["--target", "addition:2", "--train", "3"], "addition:BASExDIGITS"),
        (["--target", "addition:2x1", "--train", "4"], "leaves none"),
        (["--target", "addition:2x1", "--train", "2", "--model", "mlp:3-8-1"], "mlp:4-40-40-3"),
        (["--target", "addition:2x1", "--train", "2", "--inputs", "3", "--model", "mlp:4-8-3"], "brings its own"),
        ([*SMALL[1:], "--particles", "8"], "belongs to --method splitting"),
        ([*SMALL[1:], "--method", "direct"], "--draws"),
        ([*SMALL[1:], "--no-bias"], "no bias to act on"),
    ],
)
def test_usage_errors(capsys, words, says):
    code, out, err = run(capsys, "measures", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
