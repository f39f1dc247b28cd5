"""Results as text for people: tables, and sentences below them."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from volume.reports.facts import Report

WIDTH = 120  # columns of the terminal assumed
MAX_LABEL = 40


def shorten(label: str, limit: int = MAX_LABEL) -> str:
    """The label, its middle cut out when it is longer than ``limit``."""
    if len(label) <= limit:
        return label
    head = (limit - 1) // 2
    return f"{label[:head]}…{label[len(label) - (limit - 1 - head) :]}"


def conventions(report: Report) -> list[str]:
    """The lines that close a summary: what every number in it depends on."""
    lines = [f"  {name}: {words(value)}" for name, value in report.conventions.items()]
    return ["", "Conventions", *lines, f"  seed: {report.seed}; method: {words(report.method)}"]


def words(value: Any) -> str:
    """A plain value as text; long lists and stored inputs are left out."""
    if isinstance(value, dict):
        left_out = ("inputs",) if "sha256" in value else ()
        return ", ".join(f"{name}={words(entry)}" for name, entry in value.items() if name not in left_out)
    if isinstance(value, list):
        return "(" + ", ".join(map(words, value[:8])) + (", ..." if len(value) > 8 else "") + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def render(*parts: Any) -> str:
    """Tables, and strings that are never broken, as text of at most 120 columns."""
    console = Console(
        file=io.StringIO(), width=WIDTH, color_system=None, highlight=False, markup=False, legacy_windows=False
    )
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())
