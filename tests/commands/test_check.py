"""``volume check``: our own baselines hold, what is not as it was is said, and one bad file stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkout import ROOT
from cli_runs import run

from volume.checks.baseline import Baseline, write_record

OWN = sorted((ROOT / "tests" / "baselines").glob("*.json"))
WORDS = ("--model", "perceptron:2", "--bias-std", "1", "--classifier", "ones", "--draws", "2e4")


@pytest.mark.slow
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_our_own_baselines_hold(capsys, path):
    """Where they were made, number by number; elsewhere with a chance of 1e-6 that one of them fails for nothing."""
    code, out, err = run(capsys, "check", "--json", "--alpha", str(1e-6 / len(OWN)), path)
    found = json.loads(out)
    assert code == 0, err
    assert found["agree"]


def test_own_baselines_cover_the_methods():
    methods = [Baseline.read(path).method["name"] for path in OWN]
    assert {"direct", "exact", "splitting", "trained", "infinite-width"} <= set(methods)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small baseline, made by the command."""
    from volume.__main__ import main

    path = tmp_path_factory.mktemp("baselines") / "ones.json"
    assert main(["check", "--add", str(path), "--no-programs", "--", *WORDS]) == 0
    return path


@pytest.fixture
def baseline(made, tmp_path):
    path = tmp_path / "ones.json"
    path.write_bytes(made.read_bytes())
    return path


def changed(path, **body):
    """The same baseline with other content, and the checksum that goes with it."""
    record = json.loads(path.read_text())
    kept = {name: value for name, value in record.items() if name not in ("format", "version", "sha256")}
    return write_record(path, record["format"], record["version"], kept | body)


def test_identical_then_tested(capsys, baseline):
    code, out, err = run(capsys, "check", baseline)
    assert code == 0
    assert "identical" in out
    assert "1 baseline: 1 as before, 0 not." in out
    assert f"volume: {baseline} (1 of 1)" in err
    code, out, _ = run(capsys, "check", "--statistical", "--json", "--no-programs", baseline)
    found = json.loads(out)
    assert code == 0  # but for one seed in a million, and this one is always the same
    (one,) = found["baselines"]
    assert one["verdict"] == "agrees"
    assert one["num_tests"] >= 4
    assert one["smallest_change"]["best"]["up"] > 1
    assert one["alpha"] == found["alpha"] == 1e-6


def test_a_change_is_shown_and_written_when_asked(capsys, baseline):
    record = json.loads(baseline.read_text())
    classes = record["answer"]["classes"]
    first, second = list(classes)[:2]
    classes[first][0] += 7
    classes[second][0] -= 7
    changed(baseline, answer={**record["answer"], "sha256": "0", "classes": classes})
    code, out, err = run(capsys, "check", baseline)
    assert code == 1
    assert "CHANGED: the same seed gives other counts: 7 draws are elsewhere." in out
    assert f"{first}: " in out
    code, out, err = run(capsys, "check", "--update", "--no-programs", baseline)
    assert code == 0
    assert "updated: written anew" in err
    assert f"  {first}: " in err
    code, out, err = run(capsys, "check", "--update", "--no-programs", baseline)
    assert (code, "nothing to update" in err) == (0, True)


def test_a_dearer_step_is_a_change(capsys, baseline):
    """Steps are measured when a baseline is written, and compared from then on."""
    code, _, err = run(capsys, "check", "--update", baseline)
    assert (code, "step: not in the baseline so far" in err) == (0, True)
    record = json.loads(baseline.read_text())
    assert record["programs"]["step"]["traces"] == 1
    changed(baseline, programs={"step": {**record["programs"]["step"], "traces": 4, "flops": 1.0}})
    code, out, _ = run(capsys, "check", baseline)
    assert code == 1
    assert "volumes are the same, but a compiled step costs otherwise" in out
    assert "step: traces: 4 -> 1" in out
    assert "step: flops: 1 -> " in out
    assert run(capsys, "check", "--no-programs", baseline)[0] == 0


def test_elsewhere_a_changed_volume_is_found_by_test(capsys, baseline):
    """Another machine's baseline with a third more hits in one class: 40 standard errors."""
    record = json.loads(baseline.read_text())
    made = {**record["made"], "versions": {**record["made"]["versions"], "jax": "0.0.1"}}
    changed(baseline, made=made)
    code, out, _ = run(capsys, "check", "--json", baseline)
    assert code == 0
    (one,) = json.loads(out)["baselines"]
    assert one["verdict"] == "identical"
    assert "jax 0.0.1, here" in one["notes"][0]
    classes = record["answer"]["classes"]
    first = next(iter(classes))
    classes[first][0] = int(1.33 * classes[first][0])
    changed(baseline, made=made, answer={**record["answer"], "sha256": "0", "classes": classes})
    code, out, _ = run(capsys, "check", baseline)
    assert code == 1
    assert "against draws of another seed" in out


def test_one_bad_file_stops_no_other(capsys, baseline, tmp_path):
    damaged, old, silent, gone = (tmp_path / f"{name}.json" for name in ("damaged", "old", "silent", "gone"))
    for path in (old, silent, gone):
        path.write_bytes(baseline.read_bytes())
    damaged.write_text("{")
    old.write_text(old.read_text().replace('"version": 1', '"version": 0', 1))
    changed(silent, command=None)
    changed(gone, command=["--model", "import:no.such.module:model", "--draws", "5", "--domain", "boolean:2"])
    code, out, err = run(capsys, "check", "--json", damaged, old, silent, gone, baseline)
    assert code == 5  # 1 only where something changed
    found = {Path(one["name"]).stem: one for one in json.loads(out)["baselines"]}
    assert {name: one["verdict"] for name, one in found.items()} == {
        **dict.fromkeys(("damaged", "old", "silent", "gone"), "failed"),
        "ones": "identical",
    }
    assert "truncated or damaged" in found["damaged"]["how"]
    assert "format version 0 and this library reads 1" in found["old"]["how"]
    assert "was made by a test" in found["silent"]["how"]
    assert "asks to import the module 'no.such.module'" in found["gone"]["how"]
    trusted = json.loads(run(capsys, "check", "--json", "--trust", gone)[1])
    assert "No module named 'no'" in trusted["baselines"][0]["how"]
    assert err.count(" of 5)") == 5


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("check", "Name baselines, for example baselines/*.json"),
        ("check none.json", "There is no file none.json"),
        ("check --add a.txt -- --model mlp:2-3-1 --draws 5", "a name that ends in .json"),
        ("check --add a.json", "Give the words of `volume estimate` behind --"),
        ("check --add a.json -- --model mlp:2-3-1", "required: --draws"),
        ("check --add a.json -- --modle mlp:2-3-1", "Did you mean '--model'?"),
        ("check --add a.json -- --model mlp:2-3-1 --draws 5 --out x", "--out is no part of a question"),
        ("check a.json -- --model mlp:2-3-1", "name its file with --add FILE"),
        ("check --alpha 7 a.json", "a level between 0 and 1"),
        ("check --add a.json --update -- --model mlp:2-3-1 --draws 5", "leave --update, --statistical"),
    ],
)
def test_usage_errors(capsys, argv, sentence):
    code, out, err = run(capsys, *argv.split())
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.startswith("volume: error: ")


def test_a_baseline_is_not_overwritten(capsys, baseline):
    code, _, err = run(capsys, "check", "--add", baseline, "--", *WORDS)
    assert (code, "exists: `volume check --update" in err) == (2, True)
    code, _, err = run(capsys, "check", "--update", "--statistical", baseline)
    assert (code, "leave --statistical out" in err) == (2, True)
