"""A report of named classes as text for people: the table, and what has to be said beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from volume.functions.table_names import table_name
from volume.reports.entries import PART_OF, ClassEstimate
from volume.reports.facts import Report
from volume.reports.text import Table, conventions, render, short_names, shorten, took, words


def warn(report: Report) -> list[str]:
    """Return sentences for what should not be overlooked, about the run and every class."""
    warnings = []
    if report.run.get("complete") is False:
        warnings.append("The run was stopped early: these answers rest on what was learnt until then.")
    for label in report:
        entry = report[label]
        warnings += [f"{shorten(entry.label)}: {note}" for note in getattr(entry, "notes", ())]
    return warnings


def summarise(report: Report, k: int) -> str:
    """Return the text of :meth:`EstimateReport.summary`."""
    shown = report.classes(k)
    return render(_title(report), *([_table(report, shown)] if shown else []), "\n".join(_below(report, shown)))


def _title(report: Report) -> str:
    number = "1 class" if len(report) == 1 else f"{len(report):,} classes"
    return f"{number} by {report.method.get('name', '?')}{took(report)}"


def _table(report: Report, shown: Sequence[ClassEstimate]) -> Table:
    rows = [entry.cells() for entry in shown]
    heads = list(dict.fromkeys(head for row in rows for head in row))  # kinds of entry may differ in what they know
    names = short_names(_name(report, entry.label) for entry in shown)
    return Table(
        ["class", *heads],
        [[name, *(row.get(head, "") for head in heads)] for name, row in zip(names, rows, strict=True)],
    )


def _name(report: Report, label: str) -> str:
    # Names such as "1 only at 0000100" read the inputs as binary numbers, which only a cube's are.
    kinds = [report.description.get(part, {}).get("name") for part in ("classifier", "domain")]
    return table_name(label) if kinds == ["truth-table", "boolean-cube"] else label


def _below(report: Report, shown: Sequence[ClassEstimate]) -> list[str]:
    lines = [""]
    if any("lower bound" in entry.cells() for entry in shown):
        lines.append(
            "The lower bound assumes only that the estimate is unbiased and the replicates independent; the interval "
            "that log p_hat is near normal. Where the spread is above 1 the bound leads."
        )
    for entry in shown:
        diagnostics = {k: v for k, v in getattr(entry, "diagnostics", {}).items() if not _for_machines(k, v)}
        if diagnostics:
            lines.append(f"{shorten(_name(report, entry.label))}: {words(diagnostics)}")
    lines += [f"Warning: {sentence}" for sentence in report.warnings]
    closing = conventions(report)
    return lines + (closing if len(lines) > 1 else closing[1:])


def _for_machines(name: str, value: Any) -> bool:
    """Tables of numbers are for the JSON record, the ideal spread stands in the table above, and which class a part
    belongs to in the query."""
    return name in ("ideal_spread", PART_OF) or (
        isinstance(value, list) and any(isinstance(item, list) for item in value)
    )
