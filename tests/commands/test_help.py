"""Every page of help, and every usage error that the words alone show, answers without JAX and NumPy."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from checkout import ROOT

from volume.commands.command_table import build
from volume.commands.parser import parse

BAD = [
    line.split()
    for line in (
        "",
        "estimte",
        "estimate --modle mlp:2-1",
        "estimate --draw 1e5",
        "estimate --model mlp:2-3-1 --draws 1.5",
        "estimate --model mlp:2-3-1 --draws 10 --radius 1",
        "estimate --model mlp:2-3-1 --draws 10 --domain boolean:3",
        "estimate --resume no-folder",
        "sweep --model mlp:2-3-1 --draws 10 --over width --values a --label zeros",
        "sweep --model mlp:2-3-1 --over width --values 2,3 --label zeros",
        "count --inputs 4 --fixed 5",
        "compare a b --alpha 2",
        "check",
        "check no-file.json",
        "check --add a.json -- --model mlp:2-3-1",
    )
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
for number, line in enumerate({lines!r}):
    assert main(line) == 2 * (number < {len(BAD)}), line
    heavy = {{"jax", "numpy", "scipy", "flax", "duckdb", "matplotlib", "rich"}} & set(sys.modules)
    assert not heavy, (line, heavy)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)


def test_resolve_takes_no_value():
    words = "--target majority --train 4 --model mlp:3-4-1 --method splitting --resolve --out runs/a"
    assert parse(["measures", *words.split()]).resolve is True


@pytest.mark.parametrize("command", ["", *build()[1]])
def test_help_fits_80_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser, commands = build()
    assert max(map(len, commands.get(command, parser).format_help().splitlines())) <= 80
