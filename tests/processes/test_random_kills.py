"""A tenth of the kills of docs/reliability.md; the rest by tests/helpers/random_kills.py.

tests/processes/test_kill.py is the quick twin: one run, looked at more closely.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

SCRIPT = Path(__file__).parents[1] / "helpers" / "random_kills.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_runs_of_every_method_end_as_if_never_killed():
    """In a process of its own, in which nothing of JAX has run before it forks."""
    line = [sys.executable, str(SCRIPT), "--kills", "13", "--seed", "1"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    kills = ast.literal_eval(done.stdout.splitlines()[-1])
    assert len(kills) == 13
    assert set(kills.values()) == {1}
