"""`volume estimate --out` and `--resume`: the same words, the same numbers, and what is refused."""

from __future__ import annotations

import json

from cli_runs import SMALL, answer, run, stop_after_first_step
from shared_queries import RELU

import volume

TABLES = [*SMALL, "--seed", "3", "--progress"]


def numbers(record):
    return {name: value for name, value in record.items() if name != "run"}


def test_ctrl_c_keeps_the_run_and_resume_ends_it(capsys, monkeypatch, tmp_path):
    straight = answer(capsys, *TABLES)
    with monkeypatch.context() as patch:
        stop_after_first_step(patch)
        code, out, err = run(capsys, *TABLES, "--out", tmp_path, "--json")
    assert code == 3
    assert "volume: stopped after 20 of 20,000 draws." in err
    assert f"volume: kept in {tmp_path}: volume estimate --resume {tmp_path} goes on." in err
    assert json.loads(out)["complete"] is False or json.loads(out)["num_draws"] == 20
    # Nothing else has to be typed, and what is typed again must agree.
    resumed = answer(capsys, "estimate", "--resume", tmp_path, "--top", 3, "--no-progress")
    assert numbers(resumed) == numbers({**straight, "classes": resumed["classes"]})
    assert len(resumed["classes"]) == 3
    again = answer(capsys, *TABLES, f"--resume={tmp_path}")
    assert numbers(again) == numbers(straight)
    assert numbers(answer(capsys, "show", tmp_path)) == numbers(straight)


def test_what_does_not_agree_is_refused(capsys, tmp_path):
    folder = tmp_path / "run"
    answer(capsys, *TABLES, "--out", folder)
    for words, sentence in (
        (["--resume", folder, "--draws", "3e4"], "--draws is not as in the run"),
        (["--resume", folder, "--seed", "4"], "--seed is not as in the run"),
        (["--resume", folder, "--force"], "leave one of them out"),
        (["--resume", folder, "--out", tmp_path / "b"], "goes on in its own folder"),
        (["--resume", tmp_path], "holds no run that could go on"),
        (["--resume"], "expected one argument"),
        (["--resume", folder / "report.json"], "is a file: name the folder of the run"),
        (["--resume", ""], "is empty"),
        (["--resume", "a\0b"], "NUL character"),
    ):
        code, _, err = run(capsys, "estimate", *words)
        assert code == 2, err
        assert sentence in err
    code, _, err = run(capsys, *TABLES, "--out", folder)
    assert code == 2
    assert f"go on with --resume {folder}, or replace it with --force" in err
    other = answer(capsys, *SMALL, "--seed", "4", "--out", folder, "--force")
    assert other["seed"] == 4
    assert numbers(answer(capsys, "estimate", "--resume", folder)) == numbers(other)
    (folder / "config.json").write_text("{")
    assert "is damaged" in run(capsys, "estimate", "--resume", folder)[2]


def test_runs_begun_in_python(capsys, tmp_path):
    straight = volume.estimate(RELU, volume.Direct(20_000), seed=3, out=tmp_path)
    code, _, err = run(capsys, "estimate", "--resume", tmp_path)
    assert code == 2
    assert "was begun in Python: go on with volume.estimate(query, method, out=" in err
    resumed = answer(capsys, *TABLES, "--resume", tmp_path)
    assert numbers(resumed) == numbers(straight.to_dict())
    code, _, err = run(capsys, *SMALL, "--seed", "4", "--resume", tmp_path)
    assert code == 4
    assert "its seed is 3 and this one's is 4" in err


def test_a_full_disk_is_a_stop(capsys, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("volume.runs.checkpoints.BATCH_ROWS", 5000)
    with monkeypatch.context() as patch:
        patch.setattr("volume.runs.files.Manifest.append", full)
        code, out, err = run(capsys, *TABLES, "--out", tmp_path)
    assert code == 3
    assert out == ""
    assert f"volume: {tmp_path} could not be written (No space left on device)" in err
    assert f"volume estimate --resume {tmp_path}" in err
    assert numbers(answer(capsys, "estimate", "--resume", tmp_path)) == numbers(answer(capsys, *TABLES))


def test_words_of_a_run_that_may_be_repeated(capsys, tmp_path):
    fits = ["estimate", "--model", "mlp:2-3-1", "--no-bias", "--classifier", "fits:labels=0111"]
    limit = ["--method", "infinite-width", "--samples", "64", "--label", "fits"]
    first = answer(capsys, *fits, *limit, "--out", tmp_path)
    again = answer(capsys, "estimate", "--resume", tmp_path, "--label", "fits")
    assert numbers(again) == numbers(first)
    code, _, err = run(capsys, "estimate", "--resume", tmp_path, "--label", "other")
    assert code == 2
    assert "--label is not as in the run" in err
