"""Every page of help, and every usage error that the words alone show, answers without JAX and NumPy."""

from __future__ import annotations

import importlib
import subprocess
import sys

from checkout import ROOT

from volume.commands.command_table import build

BAD = [
    ["estimte"],
    ["estimate", "--modle", "mlp:2-1"],
    ["compare", "a", "b", "--alpha", "2"],
    ["check", "no-file.json"],
]


def test_each_command_is_a_module_with_run():
    _, commands = build()
    assert set(commands) == {"demo", "estimate", "measures", "sweep", "show", "plot", "compare", "merge"} | {
        *("local", "check", "count", "doctor")
    }
    assert all(callable(importlib.import_module(f"volume.commands.{command}").run) for command in commands)


def test_help_and_usage_errors_load_neither_jax_nor_numpy():
    lines = [*BAD, ["--help"], ["--version"], *([command, "--help"] for command in build()[1])]
    code = f"""
import sys
from volume.__main__ import main
codes = [main(line) for line in {lines!r}]
heavy = [name for name in ("jax", "numpy", "scipy", "flax", "duckdb", "matplotlib") if name in sys.modules]
print(codes, heavy, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    codes = [2] * len(BAD) + [0] * (len(lines) - len(BAD))
    assert done.stderr.splitlines()[-1] == f"{codes} []"
