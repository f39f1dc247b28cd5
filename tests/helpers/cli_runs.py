"""What the tests of the command line share: running one command in this process."""

from __future__ import annotations

import contextlib
import json

import pytest

from volume.__main__ import main

SMALL = ["estimate", "--model", "mlp:2-3-1", "--no-bias", "--draws", "2e4"]


def run(capsys, *argv: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def answer(capsys, *argv: object) -> dict:
    """The JSON of a command that must succeed."""
    code, out, err = run(capsys, *argv, "--json")
    assert code == 0, err
    return json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def stop_after_first_step(monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("volume.estimation.rich_progress", lambda _: contextlib.nullcontext(stop))
