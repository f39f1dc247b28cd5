"""What a command says beside its result: exit codes, errors as JSON, messages through `logging`."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from cli_runs import SMALL, run, stop_after_first_step
from shared_queries import PLANE, RELU

import volume
from volume.commands.command_table import build
from volume.commands.usage import Exit


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, Path]:
    """Two reports that agree, one of which all draws went to another class, and one of another query."""
    folder = tmp_path_factory.mktemp("reports")
    a, b = (volume.estimate(RELU, volume.Direct(20_000), seed=seed) for seed in (0, 1))
    all_in_one = b.counts.regroup(np.zeros(b.counts.num_classes, np.int64), 1)
    wrong = replace(b, counts=replace(all_in_one, keys=b.counts.keys[:1]))
    elsewhere = volume.estimate(PLANE, volume.Direct(1000), seed=1)
    for name, report in {"a": a, "b": b, "wrong": wrong, "elsewhere": elsewhere}.items():
        report.save(folder / name)
    return {name: folder / name for name in ("a", "b", "wrong", "elsewhere")}


def process(*words: object) -> subprocess.Popen[str]:
    # Where the tests run in the background, Ctrl-C is ignored by them and by what they start.
    listen = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    listen += "runpy.run_module('volume', run_name='__main__')"
    argv = [sys.executable, "-c", listen, *map(str, words)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow  # its quick twins run in this process
def test_every_exit_code_of_a_process(stored, tmp_path):
    """One process a code; stdout and stderr are JSON or empty."""
    calls = {
        Exit.DONE: ["count", "--inputs", 4],
        Exit.DISAGREE: ["compare", stored["a"], stored["wrong"]],
        Exit.USAGE: ["estimate", "--model", "mlp:2-3-1", "--draws", 0],
        Exit.STOPPED: [*SMALL, "--draws", "1e11", "--classifier", "ones", "--progress"],
        Exit.FAILED: ["show", tmp_path / "none"],
        Exit.NOT_COMPARABLE: ["compare", stored["a"], stored["elsewhere"]],
    }
    assert set(calls) == set(Exit)
    running = {code: process(*words, "--json") for code, words in calls.items()}
    stopped = running[Exit.STOPPED]
    assert stopped.stderr is not None
    assert "draws" in stopped.stderr.readline()  # its first line of progress
    stopped.send_signal(signal.SIGINT)
    for code, each in running.items():
        out, err = each.communicate(timeout=120)
        assert each.returncode == code, err
        assert bool(out) == (code in (Exit.DONE, Exit.DISAGREE, Exit.STOPPED))
        for text in (out, "" if code == Exit.STOPPED else err):
            json.loads(text or "{}")


def test_stopped_is_3(capsys, monkeypatch, tmp_path):
    stop_after_first_step(monkeypatch)
    code, out, err = run(capsys, *SMALL, "--out", tmp_path / "run", "--json")
    assert (code, json.loads(out)["run"]["complete"]) == (Exit.STOPPED, False)
    assert "volume: stopped after" in err

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("volume.estimation.run", stop)
    code, out, err = run(capsys, *SMALL, "--json")
    assert (code, out) == (Exit.STOPPED, "")
    assert json.loads(err)["error"] == {
        "kind": "stopped",
        "exit_code": 3,
        "type": "KeyboardInterrupt",
        "message": "stopped; nothing was saved.",
    }


BAD = {
    "demo --draws x": 2,
    "estimate --model mlp:2-3-1": 2,
    "measures --target majority": 2,
    "sweep --over width": 2,
    "show nowhere": 4,
    "plot nowhere --out f.pdf": 4,
    "compare nowhere nowhere": 4,
    "merge nowhere nowhere2 --out {tmp}/m": 4,
    "local --anchor nowhere --model mlp:2-3-1": 2,
    "check nowhere.json": 2,
    "count --inputs 0": 2,
    "doctor --what": 2,
}


@pytest.mark.parametrize("line", BAD)
def test_an_error_is_json_where_json_is_asked_for(capsys, tmp_path, line):
    """Of every command, as one object on stderr: nothing on stdout; the same sentence as without --json."""
    words = line.format(tmp=tmp_path).split()
    code, out, err = run(capsys, *words, "--json")
    error = json.loads(err)["error"]
    assert (code, out) == (BAD[line], "")
    assert (error["exit_code"], error["kind"]) == (code, Exit(code).kind)
    code, out, plain_text = run(capsys, *words)
    assert (code, out) == (BAD[line], "")
    assert plain_text.startswith(f"volume: error: {error['message']}\n")
    assert {line.split()[0] for line in BAD} == set(build()[1])


def test_incomparable_runs(capsys, stored):
    assert run(capsys, "compare", stored["a"], stored["b"])[0] == Exit.DONE
    assert run(capsys, "compare", stored["a"], stored["wrong"])[0] == Exit.DISAGREE
    code, out, err = run(capsys, "compare", stored["a"], stored["elsewhere"])
    assert (code, out) == (Exit.NOT_COMPARABLE, "")
    assert err.startswith("volume: error: ")


@pytest.mark.parametrize("name", ["", *build()[1]])
def test_help_names_every_exit_code(name):
    parser, commands = build()
    text = " ".join(commands.get(name, parser).format_help().split())
    assert "0 done, 1 disagree or changed, 2 usage" in text
    assert "3 stopped before the target, 4 failed, 5 cannot be compared" in text


def test_quiet_and_verbose(capsys, tmp_path):
    code, _, err = run(capsys, *SMALL, "--out", tmp_path / "a")
    assert (code, err) == (0, f"volume: saved in {tmp_path / 'a'}\n")
    code, _, err = run(capsys, *SMALL, "--out", tmp_path / "b", "--quiet")
    assert (code, err) == (0, "")
    code, _, err = run(capsys, *SMALL, "--out", tmp_path / "c", "--verbose")
    assert code == 0
    assert "volume: debug: Direct(draws=20000" in err
    code, _, err = run(capsys, "show", tmp_path / "none", "--quiet")
    assert (code, err.count("\n")) == (4, 1)
    code, _, err = run(capsys, "show", tmp_path / "none", "--quiet", "--verbose")
    assert (code, "not allowed with" in err) == (2, True)


def test_the_library_logs(caplog, capsys, tmp_path):
    """Its messages reach whoever listens to the logger ``volume``, and nothing else is printed."""
    with caplog.at_level(logging.DEBUG, logger="volume"):
        volume.estimate(RELU, volume.Direct(20_000), out=tmp_path)
        (tmp_path / "report.json").unlink()
        next((tmp_path / "parts").glob("*.parquet")).write_bytes(b"")
        volume.estimate(RELU, volume.Direct(20_000), out=tmp_path, resume=True)
    said = {(record.name, record.levelname) for record in caplog.records}
    assert ("volume.runs.directory", "WARNING") in said  # a part that is made again
    assert ("volume.estimation", "DEBUG") in said
    assert all(name.partition(".")[0] == "volume" for name, _ in said)
    assert capsys.readouterr() == ("", "")


def test_a_process_shows_warnings_alone_until_it_is_told():
    """As Python does for every library that installs no handler; `logging` silences or redirects them."""
    code = """
import logging, sys
import volume
logger = logging.getLogger("volume.estimation")
logger.info("a remark"); logger.warning("a warning")
logging.getLogger("volume").setLevel(logging.ERROR)
logger.warning("silent")
assert not logging.getLogger("volume").handlers
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "a warning\n")


def test_a_command_leaves_logging_as_it_was(capsys):
    logger = logging.getLogger("volume")
    before = logger.level, logger.propagate, list(logger.handlers), warnings.showwarning
    run(capsys, "count", "--inputs", 3)
    assert (logger.level, logger.propagate, list(logger.handlers), warnings.showwarning) == before


def test_nothing_but_logging_writes_messages():
    """No message is printed: results go to stdout, and stderr belongs to `logging`, progress and the demo's tables."""
    allowed = {"volume/common/progress.py", "volume/commands/messages.py"}
    for path in sorted((ROOT / "volume").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.relative_to(ROOT).as_posix() not in allowed:
            assert not re.search(r"print\([^\n]*(\n[^\n]*){0,3}file=sys\.stderr", text), path
