"""Two runs of the same benchmarks side by side: ratios to peers and shares of limits, where a machine's speed cancels.

A figure alone is the machine's as much as ours; ours over a peer's in one run is not, nor is the share of a limit that
was measured in the same run. What is printed is the two and their quotient. Where a benchmark kept the range of a
ratio over its turns, "apart" says that the two ranges do not meet; nothing else is judged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.environment import machine
from benchmarks.record import FORMAT, cell, markdown, with_interval


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Records by name, from a folder of records, its results.json or one record.

    Raises:
        ValueError: no such thing there.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no results: give what `python -m benchmarks --out` wrote ({error}).") from None
    if isinstance(found, dict) and found.get("format") == f"{FORMAT}s":
        return found["records"]
    if isinstance(found, dict) and found.get("format") == FORMAT:
        return {found["benchmark"]: found}
    raise ValueError(f"{path} holds no results: its format is not that of a benchmark.")


def quotients(record: dict[str, Any]) -> dict[tuple[str, str, str], tuple[float, list[float] | None]]:
    """(section, row, what) -> ours over a peer's or a limit, with its range over the turns or None."""
    found = {}
    for row in record["rows"]:
        for peer, value in row["ratios"].items():
            if value is not None:
                found[row["section"], row["name"], f"ours / {peer}"] = value, row["ranges"].get(peer)
        for limit, value in row["limits"].items():
            if row["ours"] is not None and value:
                found[row["section"], row["name"], f"share of {limit}"] = row["ours"] / value, None
    return found


def apart(old: list[float] | None, new: list[float] | None) -> str:
    """Whether the ranges over the turns meet; nothing where one is unknown."""
    if not old or not new:
        return ""
    return "apart" if old[1] < new[0] or new[1] < old[0] else "meet"


def compare(old_path: Path, new_path: Path) -> str:
    """Markdown.

    Raises:
        ValueError: a path holds no results, or the two have nothing in common.
    """
    old, new = load(old_path), load(new_path)
    parts, lines = [], []
    for name in old.keys() & new.keys():
        before, after = quotients(old[name]), quotients(new[name])
        lines += [
            (
                name,
                f"{section}: {row}" if section else row,
                what,
                with_interval(before[key][0], *(before[key][1] or (None, None))),
                with_interval(after[key][0], *(after[key][1] or (None, None))),
                after[key][0] / before[key][0] if before[key][0] else None,
                apart(before[key][1], after[key][1]),
            )
            for key in before
            if key in after
            for section, row, what in [key]
        ]
    if not lines:
        raise ValueError(f"{old_path} and {new_path} share no ratio: give runs of one benchmark with a peer or limit.")
    for word, records in (("OLD", old), ("NEW", new)):
        machines = dict.fromkeys(machine(each["environment"]) for each in records.values() if each["environment"])
        parts += [f"{word}: {each}" for each in machines]
    quick = [name for name in old.keys() & new.keys() if old[name].get("quick") or new[name].get("quick")]
    if quick:
        parts.append(f"Of few repeats, with noise to match: {', '.join(sorted(quick))}.")
    lines.sort(key=lambda line: cell(line[0]))
    heads = ("benchmark", "row", "what", "OLD (least to largest turn)", "NEW", "NEW / OLD", "ranges")
    return "\n\n".join([*parts, markdown(heads, lines)])
