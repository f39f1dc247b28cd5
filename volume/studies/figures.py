"""Figures of the measures: shares of what fits as bars on a log axis, and volume against the number of labels fitted.

Heights are log10 of a share on a linear axis, so that 1e-1000 has its place. Style and files as in volume.plots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from volume.common.logs import LN10
from volume.plots.data import LogVolume
from volume.plots.figures import BLUE, GREY, VERMILLION, check_path, log_axis, new_axes, write
from volume.studies.columns import FUNCTIONS, LIMIT, SIMPLICITY, VOLUME, Cell, Column
from volume.studies.table import MeasureTable
from volume.studies.text import share_words, title_of

GREEN = "#009E73"  # of the same palette
COLOURS = {FUNCTIONS: GREY, VOLUME: BLUE, LIMIT: VERMILLION, SIMPLICITY: GREEN}
OF_RUNS = ("#E69F00", "#56B4E9", "#CC79A7", "#882255", "#000000")  # trainings, in turn; yellow cannot be read
SIZE = (7.0, 4.2)  # inches: two columns
TICKS = 8.5  # points
ROOM = 4  # columns that fit there; each further one widens the figure


class Point(LogVolume, Protocol):
    """The volume of what fits so many labels, as in `volume.studies.label_curve`."""

    @property
    def labels(self) -> str: ...
    @property
    def num_labels(self) -> int: ...
    @property
    def measure(self) -> str: ...
    @property
    def resolved(self) -> bool: ...


class Curve(Protocol):
    """What the figure reads of a `volume.LabelsCurve`."""

    @property
    def name(self) -> str: ...
    @property
    def points(self) -> Sequence[Point]: ...
    @property
    def num_classes(self) -> int: ...


def bars(table: MeasureTable, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Draw the shares of what fits, a group of bars for each row of the table.

    Full bars end at the share, with the interval as a line. A hatched bar with an arrow is an upper limit: the class
    was met too rarely. A share of exactly 0 is written "0".
    """
    path = None if path is None else check_path(path)
    columns = [column for column in table.columns if column.cells]
    ax = new_axes(ax, (SIZE[0] * max(1.0, len(columns) / ROOM), SIZE[1]), labelsize=TICKS)
    colours = _colours(columns)
    foot = _foot(columns)
    width = 0.84 / len(columns)
    for place, column in enumerate(columns):
        for row, cell in enumerate(column.cells):
            x = row + (place - (len(columns) - 1) / 2) * width
            _bar(ax, x, width * 0.92, cell, column, colours[column.name], foot)
    handles = [_patch(column, colours[column.name], table.level) for column in columns]
    if any(not cell.resolved for column in columns for cell in column.cells):
        handles.append(Patch(fill=False, ec=GREY, hatch="////", lw=0.6, label="upper limit: met too rarely"))
    ax.set_xticks(range(len(table.rows)), [_two_lines(row.words, row.counts) for row in table.rows])
    ax.set_xlim(-0.6, len(table.rows) - 0.4)
    ax.set_ylim(foot, -0.17 * foot)  # room for the numbers
    log_axis(ax.yaxis)
    what = "right on the other inputs" if table.rows[0].fewest is not None else "behaviour on the trigger"
    ax.set_xlabel(f"{what} ({table.num_other} of {table.num_inputs:,})", fontsize=10)
    ax.set_ylabel("share of what fits", fontsize=10)
    name = f"{table.name}: " if table.name else ""
    ax.set_title(f"{name}what fits {table.num_train} labels", fontsize=10, loc="left")
    ax.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.24), ncols=2)
    return write(ax, path)


def curve(curve: Curve, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """log10 volume against the number of labels fitted, for a target and for random labels, beside 2^-m."""
    path = None if path is None else check_path(path)
    ax = new_axes(ax, (5.6, 3.8), labelsize=TICKS)
    sizes = sorted({point.num_labels for point in curve.points})
    ends = np.array([0, max(sizes)])
    slope = -math.log10(curve.num_classes)
    name = f"share of functions, ${curve.num_classes}^{{-m}}$"
    ax.plot(ends, slope * ends, color=GREY, lw=1.4, ls="--", label=name, zorder=2)
    lowest = slope * ends[1]
    for labels, colour, marker in ((curve.name, BLUE, "o"), ("random labels", VERMILLION, "s")):
        points = [p for p in curve.points if p.labels == labels and p.measure == VOLUME]
        shown = [p for p in points if p.resolved]
        if shown:
            y, low, high = (_log10(shown, key) for key in ("log_volume", "log_low", "log_high"))
            style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4, "capsize": 2.5, "elinewidth": 1}
            bars = [np.maximum(y - low, 0), np.maximum(high - y, 0)]
            ax.errorbar([p.num_labels for p in shown], y, yerr=bars, label=labels, zorder=4, lw=1, **style)
            lowest = min(lowest, low.min())
        for p in points:
            if not p.resolved and p.log_low > -math.inf:
                ax.plot([p.num_labels], [p.log_low / LN10], color=colour, marker="^", ms=5, mfc="none", ls="none")
                lowest = min(lowest, p.log_low / LN10)
        wide = [p for p in curve.points if p.labels == labels and p.measure == LIMIT and p.log_volume > -math.inf]
        if wide:
            heights = _log10(wide, "log_volume")
            lowest = min(lowest, heights.min())
            name = f"{labels}, infinite width"
            ax.plot([p.num_labels for p in wide], heights, color=colour, lw=1, ls=":", label=name)
    if any(not p.resolved for p in curve.points):
        ax.plot([], [], color=GREY, marker="^", ms=5, mfc="none", ls="none", label="lower bound only")
    ax.set_ylim(lowest * 1.06, -lowest * 0.03)
    log_axis(ax.yaxis)
    ax.set_xlabel("labels fitted, m", fontsize=10)
    ax.set_ylabel("volume that fits (share of the prior)", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="lower left")
    return write(ax, path)


def _log10(points: Sequence[Point], key: str) -> np.ndarray:
    return np.array([getattr(point, key) for point in points]) / LN10


def _colours(columns: list[Column]) -> dict[str, str]:
    """Of every column by its name."""
    trained = [column.name for column in columns if column.of_runs]
    return COLOURS | {name: OF_RUNS[index % len(OF_RUNS)] for index, name in enumerate(trained)}


def _patch(column: Column, colour: str, level: float) -> Patch:
    title = f"runs of {column.name} that fit" if column.of_runs else title_of(column.name)
    return Patch(color=colour, label=title + (", exact" if column.exact else f", {100 * level:g} % intervals"))


def _foot(columns: list[Column]) -> float:
    """Where the axis ends: below the smallest share, in log10, with room for a bar to be seen."""
    lowest = [-1.0]
    for column in columns:
        for cell in column.cells:
            ends = (cell.log_share, cell.log_low) if cell.resolved else (cell.log_high,)
            lowest += [end / LN10 for end in ends if math.isfinite(end)]
    return math.floor(1.08 * min(lowest) - 0.3)


def _bar(ax: Axes, x: float, width: float, cell: Cell, column: Column, colour: str, foot: float) -> None:
    size = 7.5
    if not cell.resolved:
        top = cell.log_high / LN10
        ax.bar(x, top - foot, width, foot, fill=False, ec=colour, hatch="////", lw=0.7, alpha=0.55)
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (x, top - 0.12 * (top - foot)), (x, top), arrowprops=arrow)
        _say(ax, x, top, f"< {share_words(cell.log_high)}", colour, size)
    elif cell.log_share == -math.inf:
        _say(ax, x, foot, "0", colour, size)
    else:
        top = cell.log_share / LN10
        ax.bar(x, top - foot, width, foot, color=colour, lw=0)
        if not column.exact:
            low, high = max(cell.log_low / LN10, foot), cell.log_high / LN10
            ax.errorbar(x, top, yerr=[[top - low], [max(0.0, high - top)]], color="black", elinewidth=1, capsize=2.5)
            top = high
        _say(ax, x, top, share_words(cell.log_share), colour, size)


def _say(ax: Axes, x: float, height: float, text: str, colour: str, size: float) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "rotation": 90, "fontsize": size, "color": colour}
    ax.annotate(text, (x, height), (0, 3), textcoords="offset points", **style)


def _two_lines(words: str, counts: str) -> str:
    return f"{words}\n{counts}" if counts else words
