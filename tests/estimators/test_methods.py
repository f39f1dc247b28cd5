"""How a method plugs in: `estimate`, `running` and the command line with one made up here, and with the wide limit."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cli_runs import answer, run, stop_after_first_step

import volume
from volume import models, samplers
from volume.common.progress import Progress
from volume.estimation import Interrupted
from volume.estimators.infinite_width.method import InfiniteWidth
from volume.reports.entries import replicated_volume
from volume.reports.named import EstimateReport

untyped: Any = volume
INPUTS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
FITS = volume.Query(models.MLP((2, 9, 1)), samplers.Gaussian(bias_std=0.5), classifier=volume.Fits(INPUTS, "011"))


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A method of a few steps, each of which adds a replicate; ``silent`` never reports."""

    replicates: int = 4
    particles: int = 10
    labels: tuple[str, ...] = ("fits",)
    moves: int | None = None
    silent: bool = False

    name = "splitting"

    def start(self, query, key):
        if query.model.num_outputs != 1:
            raise ValueError("Steps answers for one output: use volume.Direct.")
        return StepsRun(self)


class StepsRun:
    def __init__(self, method):
        self.method, self.logs = method, []

    @property
    def done(self):
        return len(self.logs) >= self.method.replicates

    def advance(self):
        self.logs.append(-3.0 - 0.01 * len(self.logs))

    def progress(self):
        return Progress(
            done=len(self.logs),
            total=self.method.replicates,
            words=f"level {len(self.logs)} of about {self.method.replicates}",
            note="log10 volume so far -4.2, 3.1 M evaluations",
        )

    def report(self, facts):
        if len(self.logs) < 2 or self.method.silent:
            return None
        entries = tuple(replicated_volume(label, self.logs, facts.level) for label in self.method.labels)
        method = {"name": self.method.name, "particles": self.method.particles}
        return EstimateReport.of(facts, entries, method=method, conventions={"dtype": "float32"}, num_nonfinite=0)


# --- estimate and running ---


def test_any_method_answers():
    report = volume.estimate(FITS, Steps(), seed=5, level=0.9)
    assert isinstance(report, EstimateReport)
    assert report["fits"].log_volume == pytest.approx(-3.015, abs=1e-3)
    assert (report.seed, report.level, report["fits"].level) == (5, 0.9, 0.9)
    assert report.run["complete"] is True
    assert report.run["num_nonfinite"] == 0
    assert report.run["wall_seconds"] > 0
    assert {"versions", "commit", "device"} <= set(report.run)
    assert report.description["classifier"]["name"] == "fits"


def test_running_reports_whenever_what_is_done_has_doubled():
    reports = list(volume.running(FITS, Steps(replicates=9)))
    # Nothing to report after one step; then at 2, 4 and 8, and at the end.
    assert [len(report["fits"].to_dict()["log_estimates"]) for report in reports] == [2, 4, 8, 9]
    assert [report.run["complete"] for report in reports] == [False, False, False, True]


def test_a_stopped_run_answers_from_what_it_learnt():
    for steps, learnt in ((1, False), (3, True)):
        seen = []

        def stop(state, steps=steps, seen=seen):
            seen.append(state)
            if len(seen) == steps:
                raise KeyboardInterrupt

        with pytest.raises(Interrupted) as caught:
            volume.estimate(FITS, Steps(), progress=stop)
        report = caught.value.report
        assert (report is not None) == learnt
        assert caught.value.progress.position == f"level {steps} of about 4"
        if report is not None:
            assert report.run["complete"] is False
            assert "The run was stopped early" in report.warnings[0]


def test_progress_speaks_the_methods_words(capsys):
    volume.estimate(FITS, Steps(), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "level 4 of about 4, log10 volume so far -4.2, 3.1 M evaluations\n"
    state = Progress(done=2e6, total=1e7, unit="moves", seconds=4.0)
    assert state.text == "2,000,000 of 10,000,000 moves, 0.50 M/s"
    assert Progress(done=3, total=4, seconds=10.0).text == "3 of 4 steps, 0.3/s"


@pytest.mark.parametrize("method", [10, Steps, "direct", None])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(TypeError, match="is not a method: pass for example"):
        untyped.estimate(FITS, method)
    with pytest.raises(TypeError, match="is not a method"):
        untyped.running(FITS, method)


def test_a_method_may_refuse_a_query_and_must_report():
    two = volume.Query(models.MLP((2, 9, 2)), samplers.Gaussian(), classifier=volume.Fits(INPUTS, "011"))
    with pytest.raises(ValueError, match=r"use volume\.Direct"):
        volume.estimate(two, Steps())
    with pytest.raises(RuntimeError, match="'splitting' ended without a report"):
        volume.estimate(FITS, Steps(silent=True))


# --- the wide limit ---


def test_the_wide_limit_answers_as_its_function_does():
    report = volume.estimate(FITS, InfiniteWidth(), seed=3)
    assert list(report) == ["fits"]
    found = report["fits"]
    expected = volume.infinite_width(FITS, "fits", seed=4)
    # Another seed: relative errors of .002 and less; .02 is ten of them.
    assert found.log_volume == pytest.approx(expected.log_probability, abs=0.02)
    assert found.log_high - found.log_low < 0.02
    assert "infinitely wide" in report.conventions["width"]
    assert report.method == {"name": "infinite-width", "samples": 20_000, "replicates": 16, "jitter": 1e-10}
    wider = volume.estimate(FITS, InfiniteWidth(), seed=3, level=0.999)["fits"]
    assert wider.log_volume == found.log_volume
    assert wider.log_low < found.log_low < found.log_high < wider.log_high


def test_the_wide_limit_of_tables_needs_labels():
    tables = volume.Query(FITS.model, FITS.prior, volume.BooleanCube(2))
    with pytest.raises(ValueError, match="pass labels="):
        volume.estimate(tables, InfiniteWidth())
    report = volume.estimate(tables, InfiniteWidth(labels=["0110", "0000"], samples=2000))
    assert list(report) == ["0110", "0000"]
    assert report["0000"].log_volume > report["0110"].log_volume
    every = [f"{table:04b}" for table in range(16)]
    total = volume.estimate(tables, InfiniteWidth(labels=every, samples=2000)).classes()
    # The 16 tables are all there is; relative errors of a per cent, independent, and fixed by the seed.
    assert sum(entry.volume for entry in total) == pytest.approx(1, abs=0.02)


def test_the_wide_limit_shows_an_empty_class_and_is_compared():
    impossible = volume.Query(
        models.Perceptron(2, bias=False), samplers.Gaussian(), volume.BooleanCube(2), volume.TruthTable()
    )
    report = volume.estimate(impossible, InfiniteWidth(labels=["1000"]))
    assert report["1000"].log_volume == -math.inf
    assert "a tie, which is class 0" in report.warnings[0]
    # A perceptron's answer is no limit but its volume: the draws must agree with it; false alarm 1e-6.
    question = volume.Query(
        models.Perceptron(2), samplers.Gaussian(bias_std=1.0), classifier=volume.Fits(INPUTS, "011")
    )
    result = volume.compare(
        volume.estimate(question, volume.Direct(20_000)), volume.estimate(question, InfiniteWidth()), alpha=1e-6
    )
    assert result.agree
    assert [row.label for row in result.rows] == ["fits"]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: InfiniteWidth(replicates=7), ValueError, "give at least 8"),
        (lambda: InfiniteWidth(samples=20), ValueError, "give more samples"),
        (lambda: InfiniteWidth(jitter=-1), ValueError, "jitter=-1"),
        (lambda: volume.estimate(FITS, InfiniteWidth(labels=["misses"])), ValueError, "1 minus the probability of"),
        (lambda: volume.estimate(FITS, InfiniteWidth(labels="fitz")), KeyError, "fitz"),
        (lambda: volume.estimate(FITS, InfiniteWidth(labels=[])), ValueError, "one class or more"),
        (lambda: volume.estimate(FITS, InfiniteWidth(labels=["fits", True])), ValueError, "each once"),
        (
            lambda: volume.estimate(volume.Query(FITS.model, samplers.Uniform(), FITS.domain, FITS.classifier), WIDE),
            TypeError,
            r"is not Gaussian.*use volume\.Direct",
        ),
        (
            lambda: volume.estimate(volume.Query(FITS.model, FITS.prior, FITS.domain, volume.Ones()), WIDE),
            ValueError,
            r"use volume\.Direct",
        ),
    ],
)
def test_queries_without_a_wide_limit_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


WIDE = InfiniteWidth()


# --- the command line ---

WORDS = ["estimate", "--model", "mlp:2-9-1", "--bias-std", "0.5", "--classifier", "fits:labels=?011"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "required: --draws"),
        ("--method drect --draws 5", "Did you mean 'direct'?"),
        ("--method direct --draws 5 --particles 9", "--particles belongs to --method splitting, not to direct"),
        ("--method direct --draws 5 --label fits", "--label belongs to --method splitting and infinite-width, not to"),
        ("--method infinite-width --draws 5", "--draws belongs to --method direct, not to infinite-width"),
        ("--method infinite-width --dtype float32", "--dtype belongs to --method direct and exact and splitting"),
        ("--method infinite-width --label misses", "1 minus the probability of"),
        ("--method infinite-width --replicates 2", "give at least 8"),
        ("--method splitting --samples 9", "--samples belongs to --method infinite-width, not to splitting"),
    ],
)
def test_options_of_another_method_are_usage_errors(capsys, words, sentence):
    code, out, err = run(capsys, *WORDS, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("volume: error: ")
    assert sentence in err


@pytest.mark.slow
def test_the_wide_limit_on_the_command_line(capsys, tmp_path):
    argv = [*WORDS, "--method", "infinite-width", "--samples", "2000", "--replicates", "8", "--label", "fits"]
    found = answer(capsys, *argv, "--out", tmp_path / "wide")
    assert [entry["label"] for entry in found["classes"]] == ["fits"]
    assert (found["method"]["samples"], found["method"]["replicates"]) == (2000, 8)
    shown = answer(capsys, "show", tmp_path / "wide")
    assert shown == found
    one = answer(capsys, "show", tmp_path / "wide", "--label", "fits")
    assert one["classes"] == found["classes"]
    assert one["method"] == found["method"]
    code, out, _ = run(capsys, "show", tmp_path / "wide", "--label", "fits")
    assert code == 0
    assert out.startswith("fits: volume ")
    code, out, _ = run(capsys, "show", tmp_path / "wide")
    assert code == 0
    assert "1 class by infinite-width" in out
    code, _, err = run(capsys, "show", tmp_path / "wide", "--group-by", "ones")
    assert code == 2
    assert "needs counted draws of truth tables" in err
    figure = tmp_path / "f.pdf"
    assert answer(capsys, "plot", tmp_path / "wide", "--out", figure) == {"kind": "volumes", "path": str(figure)}
    code, _, err = run(capsys, "plot", tmp_path / "wide", "--kind", "rank", "--out", tmp_path / "f.pdf")
    assert code == 2
    assert "A figure of kind 'rank' needs counted draws" in err
    # Direct draws of a network of width 9 and the wide limit answer one question, and its volumes may well differ.
    argv = [*WORDS, "--draws", "1e5", "--out", tmp_path / "drawn"]
    assert run(capsys, *argv)[0] == 0
    code, out, _ = run(capsys, "compare", tmp_path / "drawn", tmp_path / "wide", "--json")
    record = json.loads(out)
    assert code == (0 if record["agree"] else 1)
    assert record["left_out"] == [{"label": "misses", "why": "not in the second report"}]
    assert [row["count_b"] for row in record["classes"]] == [None]


@pytest.fixture
def splitting(monkeypatch):
    """The made-up method in the place of the real one."""
    monkeypatch.setattr(volume, "Splitting", Steps)  # where the command line looks it up


def test_options_reach_the_method(capsys, splitting):
    argv = [*WORDS, "--method", "splitting", "--particles", "64", "--replicates", "3", "--moves", "2"]
    found = answer(capsys, *argv, "--label", "fits", "--label", "misses")
    assert [entry["label"] for entry in found["classes"]] == ["fits", "misses"]
    assert found["method"] == {"name": "splitting", "particles": 64}
    assert found["classes"][0]["num_replicates"] == 3
    code, _, err = run(capsys, *argv, "--progress")
    assert code == 0
    assert "level 3 of about 3, log10 volume so far" in err


def test_a_method_that_refuses_a_query_is_a_usage_error(capsys, splitting):
    argv = ["estimate", "--model", "mlp:2-9-2", "--classifier", "fits:labels=?011", "--method", "splitting"]
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert "Steps answers for one output: use volume.Direct." in err


def test_a_stopped_method_says_where_it_stood(capsys, splitting, monkeypatch):
    stop_after_first_step(monkeypatch)
    code, out, err = run(capsys, *WORDS, "--method", "splitting")
    assert (code, out) == (3, "")  # one replicate is nothing to report for this method
    assert "stopped" in err
    monkeypatch.setattr(StepsRun, "advance", lambda self: self.logs.extend([-3.0, -3.1]))
    code, out, err = run(capsys, *WORDS, "--method", "splitting", "--replicates", "9")
    assert code == 3
    assert "stopped after level 2 of about 9." in err
    assert "The run was stopped early" in out
