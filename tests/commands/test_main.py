"""The command line, mostly in one process: that it asks what was typed and answers in the promised form."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from cli_runs import SMALL, answer, run
from shared_queries import RELU

import volume
from volume import models, samplers
from volume.__main__ import main
from volume.commands import shared as command_words


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A run on disk: all functions of a small network."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main([*SMALL, "--out", str(folder), "--json"]) == 0
    return folder


# --- words ---


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("", "give a command: demo, estimate, measures, sweep"),
        ("estimat --draws 5", "Did you mean 'estimate'?"),
        ("estimate --draw 1e5", "Unknown option '--draw'. Did you mean '--draws'?"),
        ("estimate --modle=mlp:2-3-1", "Unknown option '--modle'. Did you mean '--model'?"),
        ("estimate --draws 5", "required: --model"),
        ("estimate --model mlp:2-3-1", "required: --draws"),
        ("estimate --model mlp:2-3-1 --draws 1.5", "--draws: expected a whole number such as 1000 or 1e7, got '1.5'"),
        ("estimate --model mlp:2-3-1 --draws 0", "--draws: expected 1 or more, got '0'"),
        ("estimate --model mlp:2-3-1 --draws -1e3", "--draws: expected 1 or more, got '-1e3'"),
        ("estimate --model mlp:2-3-1 --draws 5 extra", "unrecognized arguments: extra"),
        ("estimate --model mlp:2-3-1 --draws 5 --activation rleu", "Did you mean 'relu'?"),
        ("estimate --model mlp:2-3-1 --draws 5 --prior gausian", "Did you mean 'gaussian'?"),
        ("estimate --model mlp:2-3-1 --draws 5 --classifier onse", "Did you mean 'ones'?"),
        ("estimate --model mlp:2-3-1 --draws 5 --level 95", "a level between 0 and 1"),
        ("estimate --model mlp:2-3-1 --draws 5 --precision hihg", "Did you mean 'high'?"),
        ("estimate --model perceptron:2 --draws 5 --activation relu", "--activation belongs to mlp"),
        ("estimate --model mlp:2-3-1 --draws 5 --no-bias --bias-std 1", "no bias to act on"),
        ("estimate --model mlp:2-3-1 --draws 5 --weight-bound 1", "--weight-bound belongs to the uniform prior"),
        ("estimate --model mlp:2-3-1 --draws 5 --domain boolean:3", "takes 2 inputs but boolean:3 has 3 digits"),
        ("estimate --model mlp:2-3-1 --draws 5 --domain digits --coding 0,1", "--coding belongs to boolean:N"),
        (
            "estimate --model mlp:2-3-1 --draws 5 --weight-std 1,2,3",
            "weight_std has 3 values but the model has 2 layers",
        ),
        ("estimate --model mlp:2-3-1 --draws 5 --weight-std -1", "weight_std is -1.0; it must be finite and >= 0"),
        ("estimate --model mlp:2-3-2 --draws 5 --classifier ones", "counts the inputs in class 1 of one output"),
        ("estimate --model mlp:2-3-1 --draws 5 --classifier fits:labels=012?", "labels run from 0 to 1"),
        ("estimate --model mlp:64-3-1 --draws 5", "name them with --domain"),
        ("estimate --model perceptron:2 --draws 50 --prior sphere --heads 5", "the prior ties all layers"),
        ("estimate --model mlp:2-3-1 --draws 5 --force", "--force replaces what is in --out, which is not given"),
        (
            "sweep --model mlp:2-3-1 --draws 5 --over width --values 1 --label zeros --force",
            "--force replaces what is in --out, which is not given",
        ),
        ("estimate --model mlp:2-1 --activation tanh --draws 5", "no hidden layer. Leave it out"),
        ("show nowhere --label 0111 --top 2", "leave one out"),
        ("sweep --model mlp:2-3-1 --draws 5 --over widht --values 1 --label zeros", "Did you mean 'width'?"),
        ("sweep --model mlp:2-3-1 --draws 5 --over width --values 1.5 --label zeros", "whole number"),
        ("sweep --model mlp:2-3-1 --draws 5 --over coding --values 0,1/1 --label zeros", "two different numbers"),
        ("sweep --model mlp:2-3-1 --draws 5 --over width --values , --label zeros", "--values is empty"),
        ("sweep --model mlp:2-3-1 --draws 5 --over radius --values 1,2 --label zeros", "Unknown sweep 'radius'"),
        ("plot . --kind rnak --out f.pdf", "Did you mean 'rank'?"),
        ("plot . --out f.gif", "Unknown figure format '.gif'"),
    ],
)
def test_usage_errors(capsys, argv, sentence):
    code, out, err = run(capsys, *argv.split())
    assert code == 2
    assert out == ""
    assert err.startswith("volume: error: ")
    assert sentence in err
    assert "Traceback" not in err


def test_failures_are_one_line(capsys, tmp_path):
    for argv in (["show", tmp_path / "none"], ["plot", tmp_path, "--out", tmp_path / "f.pdf"]):
        code, out, err = run(capsys, *argv)
        assert (code, out, err.count("\n")) == (4, "", 1)
        assert err.startswith("volume: error: There is no run at")
    code, _, err = run(capsys, *SMALL, "--domain", f"points:{tmp_path}/none.npy")
    assert code == 4
    assert err == f"volume: error: There is no file {tmp_path}/none.npy.\n"
    code, _, err = run(capsys, "show", tmp_path / "none", "--debug")
    assert code == 4
    assert "Traceback" in err


def test_truncated_run(capsys, tmp_path, stored):
    for name in ("report.json", "counts.parquet"):
        data = (stored / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name == "report.json" else data)
    code, _, err = run(capsys, "show", tmp_path)
    assert code == 4
    assert "truncated or damaged" in err


# --- estimate ---


def test_estimate_answers_as_the_library_does(capsys):
    found = answer(capsys, *SMALL, "--seed", 5)
    report = volume.estimate(RELU, volume.Direct(20_000), seed=5)
    expected = report.to_dict()
    for record in (found, expected):
        del record["run"]["wall_seconds"]
    assert found == json.loads(json.dumps(expected))
    assert {"classes", "unseen", "conventions", "method", "num_draws", "num_nonfinite", "seed", "num_classes"} <= set(
        found
    )
    assert {"label", "log_volume", "log_low", "log_high", "log10_volume", "volume", "count"} <= set(found["classes"][0])
    volumes = [entry["log_volume"] for entry in found["classes"]]
    assert volumes == sorted(volumes, reverse=True)


def test_every_option_reaches_the_query(capsys, monkeypatch):
    asked = {}

    def fake(query, method, **options):
        asked.update(query=query, method=method, **options)
        raise ValueError("enough")

    monkeypatch.setattr("volume.estimation.run", fake)
    words = (
        "estimate --model mlp:2-3-1 --activation tanh --prior gaussian --weight-std 1,1.4 --bias-std 0.5"
        " --domain boolean:2 --coding -1,1 --classifier ones*lz --draws 1e5 --seed 7 --level 0.9 --heads 20"
        " --bodies 5 --dtype float64 --precision high --progress"
    )
    assert run(capsys, *words.split())[0] == 4
    assert asked["query"] == volume.Query(
        models.MLP((2, 3, 1), activation="tanh"),
        samplers.Gaussian(weight_std=(1.0, 1.4), bias_std=0.5),
        volume.BooleanCube(2, coding=(-1, 1)),
        volume.Ones() * volume.LempelZiv(),
    )
    assert asked["method"] == volume.Direct(100_000, heads=20, bodies=5, dtype="float64", precision="high")
    assert (asked["seed"], asked["level"], asked["progress"]) == (7, 0.9, True)
    words = "estimate --model mlp:3-2-1 --prior sphere --radius 1,2 --per-layer --draws 10 --no-progress"
    run(capsys, *words.split())
    assert asked["query"].prior == samplers.Sphere((1.0, 2.0), per_layer=True)
    words = "estimate --model perceptron:3 --prior uniform --weight-bound 2 --no-bias --draws 10"
    run(capsys, *words.split())
    assert asked["query"].prior == samplers.Uniform(2.0, 0.0)
    assert asked["query"].model == models.Perceptron(3, bias=False)
    assert asked["query"].domain == volume.BooleanCube(3)
    assert asked["progress"] is False  # captured stderr is no terminal


@pytest.mark.parametrize("words", [["--coding", "-1,1"], ["--coding=-1,1"]])
def test_minus_one_coding(capsys, words):
    # On {-1,1}^n a perceptron without bias decides x and -x oppositely: T is always half.
    argv = [
        "estimate",
        "--model",
        "perceptron:3",
        "--no-bias",
        "--classifier",
        "ones",
        "--draws",
        "1e4",
        "--dtype",
        "float64",
    ]
    found = answer(capsys, *argv, *words, "--top", 1)
    assert [(entry["label"], entry["count"]) for entry in found["classes"]] == [("4", 10_000)]
    assert found["conventions"]["inputs"]["coding"] == [-1, 1]


def test_table_on_stdout_and_progress_on_stderr(capsys):
    code, out, err = run(capsys, *SMALL, "--progress")
    assert code == 0
    assert "Unseen mass" in out
    assert "20,000" in err  # the bar
    assert "drawing" not in out
    code, out, err = run(capsys, *SMALL, "--no-progress")
    assert (code, err) == (0, "")


def test_top(capsys, monkeypatch):
    everything = answer(capsys, *SMALL)
    assert len(everything["classes"]) == everything["num_classes"] > 3
    assert len(answer(capsys, *SMALL, "--top", 2)["classes"]) == 2
    monkeypatch.setattr(command_words, "ALL_CLASSES", 3)
    monkeypatch.setattr(command_words, "MOST_CLASSES", 1)
    cut = answer(capsys, *SMALL)
    assert len(cut["classes"]) == 1
    assert cut["num_classes"] == everything["num_classes"]


def test_labels_and_files(capsys, tmp_path):
    # The four labels of one table, as a word and as a file, are one class: the same seed gives the same count.
    word = answer(capsys, *SMALL, "--heads", 1, "--classifier", "fits:labels=0111")
    (tmp_path / "or.csv").write_text("a,b,label\n0,0,0\n0,1,1\n1,0,1\n1,1,1\n")
    file = answer(capsys, *SMALL, "--heads", 1, "--classifier", f"fits:{tmp_path}/or.csv")
    assert [entry["count"] for entry in word["classes"]] == [entry["count"] for entry in file["classes"]]
    inside = next(entry for entry in file["classes"] if entry["label"] == "fits")
    # P(0111) = .251, third digit: 20,000 independent draws, standard error .0031; 7 of these and the last digit,
    # false alarm 3e-12, detects an error of .045.
    assert abs(inside["volume"] - 0.251) < 0.0225


def test_points_and_imported_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("cli_networks.py").write_text("from volume.models import MLP\nnet = MLP((2, 1), bias=False)\n")
    np.save("plane.npy", np.array([[1.0, 0.0], [0.0, 1.0]]))
    found = answer(
        capsys, "estimate", "--model", "import:cli_networks:net", "--domain", "points:plane.npy", "--draws", "1e4"
    )
    # Orthogonal inputs: four sectors of a quarter each, independent draws (no hidden layer). 6.9 standard errors
    # of .0043, false alarm 4 * 5e-12, detects .05.
    assert {entry["label"] for entry in found["classes"]} == {"00", "01", "10", "11"}
    assert all(abs(entry["volume"] - 0.25) < 0.03 for entry in found["classes"])


# --- stored runs ---


def test_out_refuses_to_replace(capsys, stored, tmp_path):
    before = (stored / "report.json").read_bytes()
    code, _, err = run(capsys, *SMALL, "--out", stored, "--seed", 1)
    assert code == 2
    assert "holds a run" in err
    assert "or replace it with --force" in err
    assert (stored / "report.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, *SMALL, "--out", tmp_path / "file")
    assert code == 2
    assert "is a file; give a folder" in err
    for words in ([], ["--seed", 1, "--force"]):
        code, _, err = run(capsys, *SMALL, "--out", tmp_path / "deep" / "run", *words)
        assert code == 0, err
    assert volume.VolumeReport.load(tmp_path / "deep" / "run").seed == 1


def test_show(capsys, stored):
    direct = answer(capsys, *SMALL)
    shown = answer(capsys, "show", stored)
    for record in (direct, shown):
        del record["run"]["wall_seconds"]
    assert shown == direct
    assert len(answer(capsys, "show", stored, "--top", 2)["classes"]) == 2
    code, out, err = run(capsys, "show", stored)
    assert (code, err) == (0, "")
    assert "Conventions" in out


def test_show_grouped_and_by_label(capsys, stored):
    grouped = answer(capsys, "show", stored, "--group-by", "ones")
    tables = answer(capsys, "show", stored)
    by_ones = {entry["label"]: entry["count"] for entry in grouped["classes"]}
    for ones in range(5):
        assert by_ones[str(ones)] == sum(e["count"] for e in tables["classes"] if e["label"].count("1") == ones)
    one = answer(capsys, "show", stored, "--label", "0111", "--label", "0000")
    assert [entry["label"] for entry in one["classes"]] == ["0111", "0000"]
    expected = {entry["label"]: entry["count"] for entry in tables["classes"]}
    assert [entry["count"] for entry in one["classes"]] == [expected["0111"], expected["0000"]]
    for part in ("query", "method", "seed", "conventions"):
        assert one[part] == tables[part]
    code, out, _ = run(capsys, "show", stored, "--group-by", "ones", "--label", "3")
    assert code == 0
    assert f"{by_ones['3']:,}" in out
    shown = answer(capsys, "show", stored, "--label", "zeros")
    assert [entry["label"] for entry in shown["classes"]] == ["0000"]
    code, _, err = run(capsys, "show", stored, "--label", "011")
    assert code == 2
    assert err.startswith("volume: error: ")
    assert '"' not in err[:16]  # the message itself, not the repr that str() of a KeyError gives


def test_a_classifier_that_does_not_fit_is_a_usage_error_of_every_command(capsys, tmp_path):
    several = ["estimate", "--model", "mlp:2-3-3", "--draws", "1e3"]
    assert run(capsys, *several, "--out", tmp_path)[0] == 0
    found = [run(capsys, *several, "--classifier", "ones"), run(capsys, "show", tmp_path, "--group-by", "ones")]
    for code, out, err in found:
        assert (code, out) == (2, "")
        assert "this model has 3" in err


@pytest.mark.parametrize("kind", ["rank", "complexity", "balance"])
def test_plot(capsys, stored, tmp_path, kind):
    path = tmp_path / "figure.svg"
    assert answer(capsys, "plot", stored, "--kind", kind, "--out", path) == {"kind": kind, "path": str(path)}
    assert "<svg" in path.read_text()
    assert answer(capsys, "plot", stored, "--out", path)["kind"] == "rank"


def test_compare(capsys, stored, tmp_path):
    run(capsys, *SMALL, "--seed", 1, "--out", tmp_path / "b")
    # Two honest runs disagree with probability 1e-6.
    assert run(capsys, "compare", stored, tmp_path / "b")[0] == 0
    record = answer(capsys, "compare", stored, tmp_path / "b")
    assert record["classes"]
    for name, folder in (("a", stored), ("b", tmp_path / "b")):
        shown = answer(capsys, "show", folder)
        assert record[name] == {part: shown[part] for part in ("query", "method", "seed", "conventions")}
    # A run whose classes all went to the first one: hundreds of standard errors away.
    report = volume.VolumeReport.load(tmp_path / "b")
    counts = report.counts
    group = np.zeros(counts.num_classes, np.int64)
    merged = counts.regroup(group, 1)
    wrong = dataclasses.replace(report, counts=dataclasses.replace(merged, keys=counts.keys[:1]))
    wrong.save(tmp_path / "wrong")
    code, out, _ = run(capsys, "compare", stored, tmp_path / "wrong", "--json")
    assert code == 1
    assert json.loads(out)["agree"] is False
    # Another question is no disagreement but an error.
    run(capsys, *SMALL, "--coding", "-1,1", "--out", tmp_path / "other")
    code, out, err = run(capsys, "compare", stored, tmp_path / "other")
    assert (code, out) == (5, "")
    assert err.startswith("volume: error: ")


def test_closed_pipe_is_quiet(stored):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "volume", "show", str(stored)]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
