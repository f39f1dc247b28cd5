"""Processes in odd surroundings: closed streams, a platform that is not there, notebooks without widgets."""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import numpy as np
import pytest
from checkout import ROOT
from shared_queries import PLANE

import volume

REPORT = ROOT / "tests" / "stored" / "finished" / "direct-1e3"
BROKEN = ROOT / "tests" / "stored" / "no such report"


def _shell(words: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m volume"
    return subprocess.run(["sh", "-c", f"{program} {words}"], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams_are_quiet_and_errors_never_go_to_stdout():
    done = _shell(f"show '{REPORT}' >&-")
    assert (done.returncode, done.stderr) == (1, "")
    done = _shell(f"show '{REPORT}' 2>&-")
    assert done.returncode == 0
    assert "Class" in done.stdout or "class" in done.stdout
    done = _shell(f"show '{BROKEN}' 2>&-")
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.mark.slow
def test_a_platform_that_is_not_there_is_named():
    environment = {**os.environ, "JAX_PLATFORMS": "cuda"}
    words = ["estimate", "--model", "mlp:2-3-1", "--draws", "1e3"]
    for command in (["doctor"], words):
        done = subprocess.run(
            [sys.executable, "-m", "volume", *command], capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode == 0:
            pytest.skip("this machine has the platform")
        assert "JAX_PLATFORMS=cuda" in done.stderr
        assert "set it to cpu" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


class Closed:
    """DuckDB in a notebook without ipywidgets: the progress bar is off, and its setting cannot be changed."""

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def execute(self, words, *args):
        if words.startswith("SET enable_progress_bar"):
            raise duckdb.InvalidInputException("required package 'ipywidgets' is missing, which is needed")
        return self._connection.execute(words, *args)


def test_a_notebook_without_widgets(monkeypatch):
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *args, **options: Closed(connect(*args, **options)))
    report = volume.estimate(PLANE, volume.Direct(1000))
    assert np.isclose(sum(each.volume for each in report.classes()), 1)


def test_reports_are_text_in_a_notebook(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    report = volume.estimate(PLANE, volume.Direct(1000), progress=True)
    assert "0111" in report.summary()
    assert "0111" in str(report)
    assert "draws" in capsys.readouterr().err
