"""Results as text for people: tables, and sentences around them.

A terminal gets as many columns as it has. A file, a pipe or a notebook gets tables at their full width and every
sentence on one line. No number is ever cut: where a table is too wide its headings wrap, then labels, then cells
between words, and the columns that still have no room stand in a further table below.
"""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len

from volume.reports.facts import Report

MAX_LABEL = 40  # characters; longer labels lose their middle where they stay apart
MIN_LABEL = 12  # columns that labels keep when they wrap
GAP = "  "  # between columns


class Table(NamedTuple):
    """Rows of cells below headings: labels to the left, numbers to the right. A cell may have several lines."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def terminal_width() -> float:
    """Return columns of the terminal that standard output is; infinite where it is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return math.inf
    return shutil.get_terminal_size().columns


def render(*parts: str | Table, width: float | None = None) -> str:
    """Return tables and paragraphs as text.

    Args:
        parts: in their order; each line of a string is a paragraph of its own.
        width: columns. Default: those of the terminal, or as many as it takes.
    """
    width = terminal_width() if width is None else width
    lines = [
        line for part in parts for line in (_wrapped(part, width) if isinstance(part, str) else _laid_out(part, width))
    ]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str, width: float) -> list[str]:
    wrapped = []
    for line in text.split("\n"):
        if cell_len(line) <= width:
            wrapped.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        options: dict[str, Any] = {"break_on_hyphens": False, "break_long_words": False}
        wrapped += textwrap.wrap(line, int(width), subsequent_indent=indent, **options)
    return wrapped


# --- tables ---


def _laid_out(table: Table, width: float) -> list[str]:
    """The lines of a table in at most ``width`` columns where its words allow it."""
    columns = [
        [str(head), *(str(row[place]) for row in table.rows)] for place, head in enumerate(table.heads)
    ]  # each with its heading first
    widths = _widths(columns, width)
    if widths is not None:
        return _lines(columns, widths)
    first, least = columns[0], [_longest_word(column) for column in columns]
    least[0] = min(MIN_LABEL, _longest_line(first))
    groups: list[list[int]] = [[]]
    for place in range(1, len(columns)):
        if groups[-1] and least[0] + sum(len(GAP) + least[at] for at in [*groups[-1], place]) > width:
            groups.append([])
        groups[-1].append(place)
    lines: list[str] = []
    for group in groups:
        part = [first, *(columns[at] for at in group)]
        lines += [""] * bool(lines)
        lines += _lines(part, _widths(part, width) or [least[0], *(least[at] for at in group)])
    return lines


def _widths(columns: list[list[str]], width: float) -> list[int] | None:
    """The widths that fit with the least wrapping: of headings, then labels, then all cells; None where none do."""
    natural = [_longest_line(column) for column in columns]
    headed = [max(_longest_word(column[:1]), _longest_line(column[1:])) for column in columns]
    for numbers in (natural[1:], headed[1:], [_longest_word(column) for column in columns[1:]]):
        room = width - sum(len(GAP) + number for number in numbers)
        if room >= natural[0]:
            return [natural[0], *numbers]
        if numbers is not natural and room >= MIN_LABEL:
            return [int(room), *numbers]
    return None


def _longest_line(cells: Iterable[str]) -> int:
    return max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)


def _longest_word(cells: Iterable[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _lines(columns: list[list[str]], widths: list[int]) -> list[str]:
    printed = []
    for cells in zip(*columns, strict=True):
        folded = [
            _folded(cell, width, cut=place == 0) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        for row in range(max(map(len, folded))):
            texts = [lines[row] if row < len(lines) else "" for lines in folded]
            pads = [" " * (width - cell_len(text)) for text, width in zip(texts, widths, strict=True)]
            numbers = [pad + text for text, pad in zip(texts[1:], pads[1:], strict=True)]
            printed.append(GAP.join([texts[0] + pads[0], *numbers]))
    return printed


def _folded(cell: str, width: int, *, cut: bool) -> list[str]:
    """The lines of a cell; only labels are cut within a word."""
    lines = []
    for line in cell.split("\n"):
        if cell_len(line) <= width:
            lines.append(line)
        else:
            lines += textwrap.wrap(line, max(width, 1), break_long_words=cut, break_on_hyphens=False)
    return lines


# --- words ---


def shorten(label: str, limit: int = MAX_LABEL) -> str:
    """Return the label, its middle cut out when it is longer than ``limit``."""
    if len(label) <= limit:
        return label
    head = (limit - 1) // 2
    return f"{label[:head]}…{label[len(label) - (limit - 1 - head) :]}"


def short_names(labels: Iterable[str]) -> list[str]:
    """Return the labels of a table, shortened as far as they stay different."""
    labels, limit = list(labels), MAX_LABEL
    while len({shorten(label, limit) for label in labels}) < len(set(labels)):
        limit += MAX_LABEL
    return [shorten(label, limit) for label in labels]


def took(report: Report) -> str:
    """Say how long the run was, for the end of a title."""
    seconds = report.run.get("wall_seconds")
    return f", {seconds:.3g} s" if isinstance(seconds, (int, float)) else ""


def conventions(report: Report) -> list[str]:
    """Return the lines that close a summary: what every number in it depends on."""
    lines = [f"  {name}: {words(value)}" for name, value in report.conventions.items()]
    return ["", "Conventions", *lines, f"  seed: {report.seed}; method: {words(report.method)}"]


def words(value: Any) -> str:
    """Return a plain value as text; long lists and stored inputs are left out."""
    if isinstance(value, dict):
        left_out = ("inputs",) if "sha256" in value else ()
        return ", ".join(f"{name}={words(entry)}" for name, entry in value.items() if name not in left_out)
    if isinstance(value, list):
        return "(" + ", ".join(map(words, value[:8])) + (", ..." if len(value) > 8 else "") + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
