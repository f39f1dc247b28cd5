"""The commands that take long: stopping them, and the tours (demo, sweep, doctor)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading

import pytest
from checkout import ROOT
from cli_runs import SMALL, answer, run, stop_after_first_step

import volume
from volume.commands import doctor
from volume.studies import demo_measures

# --- stopping ---


def test_stopped_run_is_reported_and_saved(capsys, tmp_path, monkeypatch):
    stop_after_first_step(monkeypatch)
    argv = ["estimate", "--model", "mlp:2-3-1", "--draws", "1e8", "--out", tmp_path, "--json"]
    code, out, err = run(capsys, *argv)
    assert code == 3
    found = json.loads(out)
    assert 0 < found["num_draws"] < 1e8
    assert f"stopped after {found['num_draws']:,} of 100,000,000 draws" in err
    assert volume.VolumeReport.load(tmp_path).num_draws == found["num_draws"]


def test_stopped_before_anything(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("volume.estimation.run", stop)
    code, out, err = run(capsys, *SMALL)
    assert (code, out, err) == (3, "", "volume: stopped; nothing was saved.\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_ctrl_c(tmp_path):
    # Children of a shell's background job ignore Ctrl-C unless they ask for it.
    listen = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", listen + "runpy.run_module('volume', run_name='__main__', alter_sys=True)"]
    command += ["estimate", "--model", "mlp:7-40-40-1", "--classifier", "ones"]
    command += ["--draws", "1e12", "--json", "--out", str(tmp_path)]
    screen, terminal = os.openpty()  # on a terminal the bar is shown unasked
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as process:
        os.close(terminal)
        shown = ""
        while not re.search(r"[1-9][\d,]* of 1,000,000,000,000 draws", shown):
            assert select.select([screen], [], [], 60)[0], shown  # rather than wait for ever
            shown += os.read(screen, 4096).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        drain = threading.Thread(target=_read_all, args=(screen, text := []), daemon=True)
        drain.start()  # a full terminal would block the process
        try:
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()  # or leaving the block would wait for ever
    drain.join(timeout=60)
    os.close(screen)
    assert process.returncode == 3, text
    assert json.loads(out)["num_draws"] > 0
    assert "stopped after" in "".join(text)


def _read_all(descriptor: int, text: list[str]) -> None:
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while chunk := os.read(descriptor, 4096):
            text.append(chunk.decode(errors="replace"))


# --- sweep, demo, doctor ---


def test_demo(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_measures, "TASKS", (("majority", 2),))
    monkeypatch.setattr(demo_measures, "METHOD", volume.Direct(draws=5000))
    (tmp_path / "report.json").write_text('{"format": "param-volume run"}')  # an earlier demo is replaced
    code, out, err = run(capsys, "demo", "--draws", "2e4", "--out", tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["num_draws"] == 20_000
    assert "perceptron" in found["text"]
    assert "The largest classes" in err  # the tables
    assert {path.name for path in tmp_path.iterdir()} >= {"report.json", "counts.parquet", "rank.pdf", "balance.pdf"}
    assert [one["task"] for one in found["measures"]] == ["majority"]
    assert (tmp_path / "measures-majority-2.pdf").read_bytes().startswith(b"%PDF")
    assert volume.VolumeReport.load(tmp_path).num_draws == 20_000


@pytest.mark.slow
def test_stopped_demo(capsys, tmp_path, monkeypatch):
    stop_after_first_step(monkeypatch)
    code, _, err = run(capsys, "demo", "--draws", "1e8", "--out", tmp_path)
    assert (code, err) == (3, "volume: stopped; nothing was saved.\n")  # in the pilot of the first task
    monkeypatch.setattr(demo_measures, "TASKS", ())
    code, out, err = run(capsys, "demo", "--draws", "1e8", "--out", tmp_path)
    assert code == 3
    assert "Unseen mass" in out
    assert "stopped after" in err
    assert (tmp_path / "report.json").exists()


def test_sweep(capsys, tmp_path):
    argv = ["sweep", "--over", "width", "--values", "1,3", "--label", "zeros", "--model", "mlp:2-3-1", "--no-bias"]
    found = answer(capsys, *argv, "--draws", "1e4", "--out", tmp_path)
    assert [row["x"] for row in found["rows"]] == [1, 3]
    assert found["label"] == "0000"
    stored = volume.load(tmp_path / "sweep.json")
    assert json.loads(json.dumps(stored.to_dict())) == found
    assert (tmp_path / "sweep.pdf").read_bytes().startswith(b"%PDF")
    code, out, err = run(capsys, *argv, "--draws", "1e4")
    assert code == 0, err
    assert "width" in out
    code, _, err = run(capsys, *argv, "--draws", "1e4", "--out", tmp_path)
    assert code == 2
    assert "--force" in err


@pytest.mark.slow
def test_sweep_over_coding_and_prior(capsys):
    argv = ["sweep", "--label", "0000", "--model", "perceptron:2", "--draws", "1e4"]
    found = answer(
        capsys, *argv, "--over", "coding", "--values", "0,1/-1,1", "--bias-std", "1", "--weight-std", "1.4142"
    )
    # .277 and .108 (closed forms): 1e4 independent draws, standard errors .0045 and .0031; 7 of them, false alarm
    # 3e-12 each, detects .07 and .05.
    assert abs(found["rows"][0]["volume"] - 0.277) < 0.032
    assert abs(found["rows"][1]["volume"] - 0.108) < 0.022
    found = answer(capsys, *argv, "--over", "bias-std", "--values", "0,2")
    assert [row["x"] for row in found["rows"]] == [0, 2]


def test_sweep_refuses_an_unknown_label(capsys):
    argv = ["sweep", "--over", "width", "--values", "1,2", "--model", "mlp:2-3-1", "--draws", "10"]
    code, _, err = run(capsys, *argv, "--label", "01")
    assert code == 2
    assert "Traceback" not in err


def test_doctor(capsys, monkeypatch):
    # The check's false-alarm rate is 1.6e-8 (volume.commands.doctor); its seed is fixed.
    found = answer(capsys, "doctor")
    assert found["healthy"] is True
    assert found["versions"]["volume"] == volume.__version__
    assert found["devices"]
    monkeypatch.setattr(doctor, "perceptron_check", lambda: (7.5, 3))
    code, out, _ = run(capsys, "doctor")
    assert code == 4
    assert "misses by 7.5 standard deviations" in out
    assert "3 draws fell in a class of volume 0" in out
    monkeypatch.setattr(doctor, "perceptron_check", lambda: (float("nan"), 0))
    assert run(capsys, "doctor")[0] == 4
