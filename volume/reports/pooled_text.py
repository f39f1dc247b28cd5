"""A pooled report as text for people: orbits, the volume of one member of each, and what pooling brought."""

from __future__ import annotations

import numpy as np

from volume.common.logs import interval_name, interval_text, volume_text
from volume.functions.canonical import TableGroup
from volume.functions.canonical_points import PointGroup
from volume.reports.counted_classes import CountedClasses
from volume.reports.counted_text import class_name, near_ties, nonfinite, title, unseen_line, warn
from volume.reports.pooled_entries import PooledTable
from volume.reports.text import Table, conventions, render, short_names


def summarise(
    report: CountedClasses,
    orbits: CountedClasses,
    shown: PooledTable,
    ratios: np.ndarray,
    group: TableGroup | PointGroup,
) -> str:
    """Return the text of :meth:`PooledReport.summary`.

    Args:
        report: counts of single tables.
        orbits: those of their orbits.
        shown: the orbits to list.
        ratios: how much narrower pooling made the interval of each [K].
        group: the maps between classes of equal volume.
    """
    head = f"{title(report)}; {orbits.num_classes:,} orbits"
    table = [_table(report, shown, ratios)] if len(shown) else []
    return render(head, *table, "\n".join(_below(report, orbits, shown, ratios, group)))


def _table(report: CountedClasses, shown: PooledTable, ratios: np.ndarray) -> Table:
    heads = ["orbit of", "T", "classes", "volume of one"]
    heads += (
        ["parameterisations"] if report.complete else [interval_name(report.level), "hits of the orbit", "narrower"]
    )
    names = short_names(class_name(report, entry.label) for entry in shown)
    rows = []
    for name, entry, ratio in zip(names, shown, ratios.tolist(), strict=True):
        ends = [] if report.complete else [interval_text(entry.log_low, entry.log_high)]
        gain = [] if report.complete else ["" if np.isnan(ratio) else f"{ratio:.3g} x"]
        size = f"{entry.orbit_size:,}"
        ones = str(entry.label.count("1"))
        rows.append([name, ones, size, volume_text(entry.log_volume), *ends, f"{entry.count:,}", *gain])
    return Table(heads, rows)


def _below(
    report: CountedClasses,
    orbits: CountedClasses,
    shown: PooledTable,
    ratios: np.ndarray,
    group: TableGroup | PointGroup,
) -> list[str]:
    lines = [""]
    kinds = (("permutations", "permuting inputs"), ("negations", "negating inputs"), ("outputs", "negating the head"))
    maps = " and ".join(words for kind, words in kinds if getattr(group, kind))
    lines.append(
        f"Classes that {maps} map to each other have equal volumes and share their hits: {group.order:,} maps."
    )
    ties = report.conventions.get("ties_at_most")
    if ties:
        lines.append(f"A network ties somewhere, and is not mapped as assumed, with probability at most {ties:.2g}.")
    if report.complete:
        lines.append("Every parameterisation was counted: volumes are exact, and a class that was not seen is empty.")
        lines.append(f"Non-finite networks: {report.num_nonfinite:,}.")
        lines += [f"Warning: {sentence}" for sentence in warn(orbits, shown)]
        return lines + conventions(report)
    if np.isfinite(ratios).any():
        median = float(np.nanmedian(ratios))
        lines.append(
            f"Intervals are {median:.3g} times (median) narrower than those of the same draws unpooled, as if "
            f"{median**2:.3g} times as many had been drawn."
        )
    if len(shown) and shown.num_draws < report.num_draws:
        lines.append(
            f"The first {report.num_draws - shown.num_draws:,} draws chose and ordered these orbits; the other "
            f"{shown.num_draws:,} estimate them. Intervals are pointwise."
        )
    meaning = "the chance that one more network is in an orbit that these draws did not hit"
    lines.append(unseen_line(orbits, meaning, "orbit"))
    lines.append(f"Non-finite networks: {report.num_nonfinite:,} ({nonfinite(report)}).")
    lines += near_ties(report)
    lines += [f"Warning: {sentence}" for sentence in warn(orbits, shown)]
    return lines + conventions(report)
