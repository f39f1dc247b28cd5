"""What a benchmark found, as plain data, and the one place where that becomes Markdown.

A benchmark is a list of rows. A row is one measured thing: this library's figure, in a unit, beside the figures of
peers that did the same work in the same run, and beside what the machine could do at most, in the same unit. Further
columns are facts. Everything is strict JSON: a number that is not finite is written as null.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT, VERSION = "param-volume benchmark", 1
OURS = "this library"


@dataclass(frozen=True)
class Row:
    """One measured thing.

    Args:
        name: what was measured, unique in its section.
        unit: of ``ours``, the peers and the limits.
        ours: this library's figure; None where it has none.
        low, high: an interval for it, or None.
        peers: the same work by others in the same run; None where one gave no figure.
        ratios: ours over a peer's where that is more than the ratio of the two figures, such as a median over turns;
            the others are filled in.
        ranges: the least and the largest of such a ratio over the turns of this run: its noise.
        limits: what the machine could do at most, in the same unit.
        facts: further columns by their heading: numbers, text, truth values or None.
        section: the heading of the table that the row stands in; rows of one section are beside each other.
    """

    name: str
    unit: str = ""
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    peers: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    section: str = ""

    def to_dict(self) -> dict[str, Any]:
        plain = {peer: self.ours / value for peer, value in self.peers.items() if self.ours is not None and value}
        return {
            "name": self.name,
            "section": self.section,
            "unit": self.unit,
            "ours": self.ours,
            "low": self.low,
            "high": self.high,
            "peers": dict(self.peers),
            "ratios": plain | self.ratios,
            "ranges": {peer: list(ends) for peer, ends in self.ranges.items()},
            "limits": dict(self.limits),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True)
class Record:
    """What one benchmark found.

    Args:
        rows: see `Row`.
        missing: peers that are not installed here, each with how to get it.
        limits: of the machine, measured in the same run (benchmarks.limits), by name.
        notes: sentences that belong beside the figures.
        details: anything else worth keeping, JSON; no table shows it.
        precision, dtype: of what was measured, for the line above the table.
        failure: why the figures must not be believed; empty if they may be.
    """

    rows: list[Row]
    missing: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    precision: str = "highest"
    dtype: str = "float32"
    failure: str = ""


def strict(value: Any) -> Any:
    """The same in what JSON knows: NumPy numbers as numbers, paths and other things as text, no NaN and no infinity."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {str(key): strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [strict(one) for one in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return strict(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def write_json(path: Path, document: Any) -> None:
    """Written beside and renamed: whoever finds the file finds all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(strict(document), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


# ------------------------------------------------------------------------------------------------- Markdown


def cell(value: Any) -> str:
    """A value in words: four digits, thousands apart; nothing for None. Bars and line ends would break a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        size = abs(value)
        if value == 0:
            return "0"
        if 1000 <= size < 1e10:
            return f"{value:,.0f}"
        return f"{value:.4g}" if size >= 1e-4 else f"{value:.3g}"
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|")


def markdown(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table of values."""
    lines = ["| " + " | ".join(cell(head) for head in heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        if len(row) != len(heads):
            raise ValueError(f"A row of {len(row)} cells in a table of {len(heads)} columns: {row}")
        lines.append("| " + " | ".join(cell(value) for value in row) + " |")
    return "\n".join(lines)


def names_in(rows: Iterable[dict[str, Any]], what: str) -> list[str]:
    """Keys of row[what] over all rows, in the order in which they first occur."""
    return list(dict.fromkeys(name for row in rows for name in row[what]))


def table(rows: list[dict[str, Any]]) -> str:
    """One section: our figure, the peers', ours over theirs, shares of the limits, and the facts."""
    units = list(dict.fromkeys(row["unit"] for row in rows))
    peers, limits, facts = (names_in(rows, what) for what in ("peers", "limits", "facts"))
    ratios = names_in(rows, "ratios")
    measured = any(row["ours"] is not None for row in rows)
    own = measured or bool(peers)  # else a table of facts alone
    one_unit = len(units) == 1
    heads = [""]
    if own:
        heads += [f"{OURS}, {units[0]}" if one_unit and units[0] else OURS, *([] if one_unit else ["unit"])]
    heads += [*peers, *(f"ours / {peer}" for peer in ratios), *(f"share of {limit}" for limit in limits), *facts]
    body = []
    for row in rows:
        line: list[Any] = [row["name"]]
        if own:
            line += [with_interval(row["ours"], row["low"], row["high"]), *([] if one_unit else [row["unit"]])]
        line += [row["peers"].get(peer) for peer in peers]
        line += [with_interval(row["ratios"].get(peer), *row["ranges"].get(peer, (None, None))) for peer in ratios]
        line += [share(row["ours"], row["limits"].get(limit)) for limit in limits]
        line += [row["facts"].get(fact) for fact in facts]
        body.append(line)
    return markdown(heads, body)


def with_interval(value: float | None, low: float | None, high: float | None) -> str | None:
    if low is None or high is None:
        return None if value is None else cell(value)
    return f"{cell(value)} ({cell(low)} to {cell(high)})".strip()


def share(ours: float | None, limit: float | None) -> str | None:
    return None if ours is None or not limit else f"{100 * ours / limit:.2g} %"


def sections(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["section"], []).append(row)
    return list(found.items())


def sentence(row: Row) -> str:
    """A row in a line, for whoever watches."""
    given = row.to_dict()
    parts = []
    if row.ours is not None:
        parts.append(f"{with_interval(row.ours, row.low, row.high)} {row.unit}".rstrip())
    parts += [f"{cell(value)} x {peer}" for peer, value in given["ratios"].items()]
    parts += [f"{name} {cell(value)}" for name, value in row.facts.items() if value not in (None, "")]
    where = f"{row.section}: " if row.section else ""
    return f"{where}{row.name}: " + ", ".join(parts)


LIMITS = {
    "matmul_flops": ("GFLOP/s of matrix products", 1e9),
    "normals": ("million normal deviates/s", 1e6),
    "bytes": ("GB/s of memory", 1e9),
}


def limits_line(limits: dict[str, float]) -> str:
    parts = []
    for name, value in limits.items():
        words, scale = LIMITS.get(name, (name, 1.0))
        parts.append(f"{cell(float(value) / scale)} {words}")
    return "Limits of the machine in the same run: " + ", ".join(parts) + "."


def load_line(load: dict[str, Any], cores: int | None) -> str:
    """How busy the machine was with other work: figures by the clock are worth no more than this says."""
    parts = []
    if load.get("others") is not None:
        busy = load["others"] > 0.1 * (cores or 1)
        parts.append(
            f"Other work took {load['others']:.1f} of {cores} cores meanwhile"
            + (": a LOADED machine, compare within a row only" if busy else "")
        )
    if load.get("average"):
        parts.append("load average at the start " + ", ".join(f"{value:.1f}" for value in load["average"]))
    return "; ".join(parts) + "." if parts else "How busy the machine was is not known."


def body(document: dict[str, Any], heading: str = "###") -> str:
    """Everything below the header line of a finished benchmark, Markdown."""
    cores = document["environment"]["cores"]
    parts = [load_line(document["load"], cores)]
    if document["failure"]:
        parts.insert(0, f"**Not to be believed: {document['failure']}**")
    if document["limits"]:
        parts.append(limits_line(document["limits"]))
    if document["missing"]:
        words = "; ".join(f"{peer} ({how})" for peer, how in document["missing"].items())
        parts.append(f"Not beside us, because not installed: {words}.")
    for title, rows in sections(document["rows"]):
        parts += [*([f"{heading} {title}"] if title else []), table(rows)]
    return "\n\n".join([*parts, *document["notes"]])
