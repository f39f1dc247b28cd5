"""Columns of optimisers in the table of measures: the runs behind them, their names, what is printed, the command."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
from cli_runs import answer, run
from scipy import stats

import volume
from benchmarks import mission
from volume import models, samplers
from volume.estimation import Interrupted
from volume.reports.trained import TrainedReport
from volume.statistics.intervals import clopper_pearson
from volume.studies.columns import VOLUME, training_names
from volume.studies.measures import Measures
from volume.studies.rows import rows_of

CUBE = volume.BooleanCube(3)
LABELS = volume.target("first-bit", 3)
PRIOR = samplers.Gaussian(weight_std=1.0, bias_std=0.3)
DRAWN = volume.Direct(draws=20_000)
SGD = volume.Trained(64, learning_rate=0.5, batch_size=1)
# A rate at which networks that do not fit at once leave float32's range: their failures are what is tested.
WILD = volume.Trained(40, learning_rate=1e30, loss="mse", max_steps=60)
SHORT = volume.Trained(64, max_steps=10)


def question(num_train: int = 3) -> volume.Query:
    train, test = volume.split(8, num_train, 0)
    accuracy = volume.Accuracy(CUBE.inputs[test], LABELS[test], (0.5, 0.9))
    given = volume.Given(volume.Fits(CUBE.inputs[train], LABELS[train]), accuracy)
    return volume.Query(models.MLP((3, 8, 1)), PRIOR, CUBE, given)


@pytest.fixture(scope="module")
def found() -> Measures:
    trainings = {"slow sgd": SGD, "wild": WILD, "short": SHORT}
    return volume.measure(question(), DRAWN, name="first bit", optimisers=trainings, seed=3)


def test_a_column_is_the_runs_that_estimate_gives(found):
    """Share by share from the decisions of each run, with Clopper and Pearson's interval."""
    report = volume.estimate(question(), SHORT, seed=3)
    tables = volume.estimate(
        volume.Query(question().model, PRIOR, CUBE),
        volume.Trained(64, max_steps=10, on=question().classifier.within),  # type: ignore[union-attr]  # Given
        seed=3,
    )
    column = found["short"]
    fit = report.run_ends["fit"]
    assert 5 < fit < 64  # some never fit within 10 updates
    assert column.of_runs
    assert math.exp(column.log_total) == pytest.approx(fit / 64)
    train, test = volume.split(8, 3, 0)
    by_right = dict.fromkeys(range(6), 0)
    for entry in tables.classes():
        bits = np.array(list(entry.label), int)
        if (bits[train] == LABELS[train]).all():
            by_right[int((bits[test] == LABELS[test]).sum())] += entry.count
    counts = np.array([sum(by_right[k] for k in right) for right in ((0, 1, 2), (3, 4), (5,))])
    assert counts.sum() == fit
    low, high = clopper_pearson(counts, fit, 0.95)
    for index, cell in enumerate(column.cells):
        assert (cell.resolved, cell.log_low, cell.log_high) == (counts[index] > 0, low[index], high[index])
        assert math.exp(cell.log_share) == pytest.approx(counts[index] / fit)


def test_failures_are_told(found):
    wild, record = found["wild"], found.to_dict()["training"]["wild"]
    ends = {end: entry["count"] for end, entry in record["ends"].items()}
    assert sum(ends.values()) == 40
    assert ends["nonfinite"] > 0
    assert math.exp(wild.log_total) == pytest.approx(ends["fit"] / 40)  # those that fitted before the first update
    text = " ".join(found.summary().split())
    assert f"{ends['never']} never did within 60 updates" in text
    assert f"{ends['nonfinite']} diverged to NaN or inf" in text
    assert f"{found.trained['short'].run_ends['never']} never did within 10 updates" in text
    assert "Note on short: Its shares are of the runs that fit." in text


@pytest.mark.slow
def test_labels_that_no_network_fits_leave_no_shares():
    """Without biases f(0) = 0, which is class 0."""
    model, rows = models.MLP((3, 4, 1), bias=False), CUBE.inputs
    given = volume.Given(volume.Fits(rows[:2], [1, 0]), volume.Accuracy(rows[2:], LABELS[2:], (0.5,)))
    query = volume.Query(model, samplers.Gaussian(1.0), CUBE, given)
    found = volume.measure(query, volume.Direct(draws=2000), optimisers=volume.Trained(8, max_steps=5))
    column = found["sgd"]
    assert (column.cells, column.resolved, column.log_total) == ((), False, -math.inf)
    assert "No run of sgd fits." in found.text
    assert "No run fits, so there are no shares" in " ".join(found.summary().split())
    json.dumps(found.to_dict(), allow_nan=False)
    found.plot()


def test_records_hold_the_columns_and_runs_are_loaded_again(found, tmp_path):
    record = json.loads(found.save(tmp_path).read_text())
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {name: record[name] for name in said} == said
    assert volume.load(tmp_path / "measures.json") == found
    assert [column["of"] for column in record["measures"]] == [
        *("functions", "parameters", "parameters", "functions"),
        *("runs", "runs", "runs"),
    ]
    assert "share" in record["measures"][4]["total"]
    assert "volume" in record["measures"][1]["total"]
    paths = found.save_training(tmp_path)
    assert [path.parent.name for path in paths] == ["training-slow-sgd", "training-wild", "training-short"]
    again = volume.load(paths[0].parent)
    assert isinstance(again, TrainedReport)
    assert again.to_dict() == found.trained["slow sgd"].to_dict()
    found.plot(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000


def test_text_sets_runs_beside_the_volume(found):
    text = " ".join(found.text.split())
    columns = [column for column in found.columns if column.of_runs]
    tops = {c.name: max(range(3), key=lambda index: c.cells[index].log_share) for c in columns}
    for top in set(tops.values()):
        volume_cell, here = found[VOLUME].cells[top], [c for c in columns if tops[c.name] == top]
        cells = [c.cells[top] for c in here]
        apart = [a.log_high < volume_cell.log_low or volume_cell.log_high < a.log_low for a in cells]
        told = text.partition(f'Runs that fit end most often in "{found.rows[top].words}", which has ')[2]
        told = told.partition("Runs that fit")[0].partition("The column of functions")[0]
        assert all(f" of {c.name}" in told for c in here)
        if any(apart) and not all(apart):
            assert told.strip().endswith(
                ": " + ", ".join(c.name for c, far in zip(here, apart, strict=True) if far) + "."
            )
        else:
            assert ("none of these" in told or "do not meet" in told) == all(apart)
    assert "which of these networks an optimiser finds is another question" not in text
    for width in (80, 100, 120):
        lines = found.summary(width).splitlines()
        assert max(map(len, lines)) <= max(width, 90)
    assert "fit, of all runs" in found.summary(80)  # a table of their own


def test_names_say_what_differs():
    Trained = volume.Trained
    assert training_names((Trained(5), Trained(5, optimiser="adam", learning_rate=0.01))) == ("sgd", "adam")
    assert training_names((Trained(5, batch_size=1), Trained(5))) == ("sgd batch 1", "sgd")
    assert training_names((Trained(5, loss="reinforce"),)) == ("sgd reinforce",)
    assert training_names((Trained(5, learning_rate=0.5), Trained(5, loss="ppo", over_training=3))) == (
        *("sgd rate 0.5", "sgd ppo, rate 0.1, +3 epochs"),
    )
    with pytest.raises(ValueError, match="both be called 'sgd'"):
        training_names((Trained(5), Trained(6)))


def test_what_cannot_be_a_column_is_refused_before_anything_runs():
    class Never:
        name = "never"

        def start(self, query, key):
            raise AssertionError("started")

    for given, error, words in (
        ((DRAWN,), TypeError, "is no training"),
        ({"volume": SGD}, ValueError, "belongs to a measure"),
        ({3: SGD}, TypeError, "is no text"),
        ((SGD, SGD), ValueError, "both be called"),
        (volume.Trained(5, on=volume.Fits(CUBE.inputs[:1], LABELS[:1])), ValueError, "leave on= out"),
    ):
        with pytest.raises(error, match=words):
            volume.measure(question(), Never(), optimisers=given)  # type: ignore[arg-type]  # wrong on purpose


def test_stopping_keeps_what_was_finished(monkeypatch):
    turns = iter(range(10))

    def stop_in_the_second_training(progress):
        if progress.unit == "runs" and (progress.total == 48 or next(turns) > 8):
            raise KeyboardInterrupt

    monkeypatch.setattr(
        "volume.estimation.rich_progress", lambda _: contextlib.nullcontext(stop_in_the_second_training)
    )
    never = volume.Trained(48, optimiser="adam", stop="steps", max_steps=10**6)
    with pytest.raises(Interrupted) as stop:
        volume.measure(question(), DRAWN, optimisers={"a": SHORT, "b": never, "c": SGD}, seed=3)
    kept = stop.value.report
    assert isinstance(kept, Measures)
    assert "a" in kept
    assert "before its turn" in kept.absent["c"]
    assert "b" in kept.absent
    assert "No column for c" in kept.summary()


def test_behaviours_of_the_four_tasks():
    """Memorising: as many right as tossed coins have in 99 of 100 cases, and not one more; generalising: from 90 %."""
    for task in mission.TASKS:
        query = task.query(0)
        split = query.bound.split  # type: ignore[attr-defined]  # it is Given
        counts = [(row.fewest, row.most) for row in rows_of(split)]
        if task.trigger:
            assert counts == [(8, 8), (1, 7), (0, 0)]
            assert (query.classifier.within.inputs[:, :4].sum(axis=1) < 4).all()  # type: ignore[union-attr]  # Given
            continue
        most, others = counts[0][1] or 0, 128 - task.num_train
        assert stats.binom.cdf(most, others, 0.5) >= 0.99 > stats.binom.cdf(most - 1, others, 0.5)
        assert counts[2] == (math.ceil(0.9 * others), others)


# --- the command ---

SMALL = ["measures", "--target", "first-bit", "--train", "3", "--model", "mlp:3-8-1", "--bias-std", "0.3"]
DIRECT = ["--method", "direct", "--draws", "2e4"]


@pytest.mark.slow
def test_command_with_optimisers(capsys, tmp_path):
    words = ["--optimiser", "sgd", "--optimiser", "sgd:learning-rate=0.5,batch-size=1", "--max-steps", "300"]
    record = answer(capsys, *SMALL, *DIRECT, *words, "--runs", "32", "--learning-rate", "0.2", "--out", tmp_path)
    assert list(record["training"]) == ["sgd rate 0.2", "sgd rate 0.5, batch 1"]
    one, other = (entry["method"] for entry in record["training"].values())
    assert (one["optimiser"]["learning_rate"], one["batch_size"], one["max_steps"], one["runs"]) == (0.2, 3, 300, 32)
    assert (other["optimiser"]["learning_rate"], other["batch_size"]) == (0.5, 1)
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("training-")]) == 2


@pytest.mark.slow
def test_command_that_is_stopped_prints_the_rest(capsys, monkeypatch, tmp_path):
    def stop(progress):
        if progress.unit == "runs":
            raise KeyboardInterrupt

    monkeypatch.setattr("volume.estimation.rich_progress", lambda _: contextlib.nullcontext(stop))
    argv = [*SMALL, *DIRECT, "--optimiser", "sgd:stop=steps,max-steps=1e6", "--out", tmp_path]
    code, out, err = run(capsys, *argv)
    assert code == 3
    assert "No column for sgd" in out
    assert "parameter volume" in out
    assert "stopped after 0 of 500 runs" in err
    assert (tmp_path / "measures.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--optimiser", "sdg"], "Did you mean 'sgd'"),
        (["--optimiser", "sgd:rate=1"], "Unknown setting of sgd: 'rate'"),
        (["--optimiser", "sgd:batch-size"], "has no value"),
        (["--optimiser", "sgd:batch-size=2,batch-size=3"], "stands there twice"),
        (["--optimiser", "sgd:batch-size=0"], "expected 1 or more"),
        (["--optimiser", "sgd:learning-rate=-1"], "not a number above 0"),
        (["--optimiser", "sgd", "--optimiser", "sgd"], "both be called 'sgd'"),
        (["--runs", "50"], "add an --optimiser"),
        (["--batch-size", "2"], "--batch-size is about training"),
    ],
)
def test_usage_errors(capsys, words, says):
    code, out, err = run(capsys, *SMALL, *DIRECT, *words)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
