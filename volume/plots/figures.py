"""Figures for a paper: volume against rank, complexity, class balance, and along a sweep.

Every function takes a result, draws on ``ax`` (or on a new figure of its own; pyplot and its global state are never
touched), writes ``path`` when one is given (vector .pdf or .svg, or .png at 200 dots per inch, by suffix) and
returns the Axes; its folder is made. ValueError for another suffix, FileExistsError for a file that this program did
not write. What is drawn is computed in volume.plots.data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from volume.common.atomic_files import replacing
from volume.common.paths import checked_path
from volume.errors import unknown
from volume.plots.data import (
    RELIABLE_HITS,
    Counted,
    Entry,
    LogVolume,
    balance_data,
    complexity_data,
    of_tables,
    rank_data,
    volume_data,
)
from volume.plots.marks import check_own_figure, marked

# Okabe and Ito's palette: told apart with every common colour blindness, and in grey print by lightness.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#767676"
SIZE = (5.0, 3.6)  # inches: a column and a half of a two-column page
X_NAMES = {
    "width": "hidden width",
    "depth": "hidden layers",
    "weight std": "weight_std (weights: standard deviation × √fan-in)",
    "bias std": "bias_std (biases: standard deviation)",
    "coding": "values of the input digits",
}
SUFFIXES = (".pdf", ".svg", ".png")


class SweepRow(LogVolume, Protocol):
    """One setting of a sweep."""

    @property
    def x(self) -> float | str: ...


class SweepRows(Protocol):
    """What a figure reads of a `volume.Sweep`."""

    @property
    def rows(self) -> Sequence[SweepRow]: ...
    @property
    def x_name(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def level(self) -> float: ...


class Landings(Protocol):
    """What a figure reads of a `volume.TrainingComparison`: rows of `volume.reports.trained_comparison.Landing`."""

    @property
    def rows(self) -> Sequence[Any]: ...
    @property
    def level(self) -> float: ...


def new_axes(ax: Axes | None = None, size: tuple[float, float] = SIZE, *, labelsize: float = 9) -> Axes:
    """``ax``, or axes on a figure of their own of ``size`` inches, in the style of all figures here."""
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
    ax.tick_params(labelsize=labelsize)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def check_path(path: str | Path) -> Path:
    """Return the path of a figure, refused early: ValueError when its suffix names no format that is written here,
    FileExistsError where something stands there that this program did not write."""
    path = checked_path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(unknown("figure format", path.suffix or path.name, SUFFIXES))
    check_own_figure(path)
    return path


def write(ax: Axes, path: str | Path | None) -> Axes:
    """Write the figure of ``ax`` where a path is given; its folder is made. Returns ``ax``."""
    if path is not None:
        path = check_path(path)  # once more: drawing takes its time
        path.parent.mkdir(parents=True, exist_ok=True)  # as a report does when it is saved
        # Embedded TrueType: journals refuse matplotlib's default Type 3 fonts.
        with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
            figure: Any = ax.figure.get_figure(root=True)
            with replacing(path) as beside:
                figure.savefig(beside, dpi=200, format=path.suffix[1:])
                beside.write_bytes(marked(beside.read_bytes(), path.suffix.lower()))
    return ax


def _labels(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=10)
    ax.set_ylabel(y, fontsize=10)


def log_axis(axis: Axis) -> None:
    """Name the ticks of an axis of decimal logarithms, on which 1e-1000 has its place."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(MaxNLocator(nbins=7, integer=high - low > 2))
    axis.set_major_formatter(lambda value, _: "1" if value == 0 else rf"$10^{{{value:g}}}$")


def _legend(ax: Axes, **options: Any) -> None:
    # Points first, then upper limits, then reference lines: errorbars would otherwise come last.
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: not isinstance(handles[i], ErrorbarContainer))
    style: dict[str, Any] = {"fontsize": 8, "frameon": False, "handlelength": 1.8}
    ax.legend([handles[i] for i in order], [labels[i] for i in order], **style, **options)


def _scientific(value: float) -> str:
    exponent = math.floor(math.log10(value))
    return rf"${value / 10.0**exponent:.1f}\times 10^{{{exponent}}}$"


def _percent(level: float) -> str:
    return f"{100 * level:g} %"


def _shares(report: Counted) -> str:
    return "hits / parameterisations" if report.complete else "hits / draws"


def rank(report: Counted, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Volume against rank, both on log scales, beside the Zipf line 1/(r ln M) of M possible functions.

    The Zipf line is drawn for truth tables only (M = 2^N, or C^N for C outputs). Ranks are by count: where classes
    have few hits that order is noise and the curve lies above the true one, so the region below 10 hits is grey.
    """
    path = None if path is None else check_path(path)
    data = rank_data(report)
    ax = new_axes(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    if of_tables(report):
        base = max(report.num_outputs, 2), report.domain.num_inputs
        log_functions = base[1] * math.log(base[0])
        ends = np.array([1.0, max(data.num_classes, 2)])
        name = rf"Zipf: $1/(r\,\ln {base[0]}^{{{base[1]}}})$"
        ax.plot(ends, 1 / (ends * log_functions), color=VERMILLION, ls="--", lw=1.2, label=name, zorder=2)
    reliable = data.rank <= max(data.num_reliable, 1)
    ax.plot(data.rank[reliable], data.volume[reliable], color=BLUE, lw=1.2, label=_shares(report), zorder=3)
    tail = data.rank >= max(data.num_reliable, 1)
    ax.plot(data.rank[tail], data.volume[tail], color=BLUE, lw=0.7, alpha=0.7, zorder=3)
    head = data.rank <= min(50, max(data.num_reliable, 1))
    ax.plot(data.rank[head], data.volume[head], color=BLUE, ls="none", marker="o", ms=2.6, zorder=4)
    inside = np.isfinite(data.low)
    if inside.any() and not report.complete:
        name = f"{_percent(report.level)} interval, pointwise"
        band = (data.rank[inside], data.low[inside], data.high[inside])
        ax.fill_between(*band, color=BLUE, alpha=0.3, lw=0, label=name, zorder=2.5)
    if data.num_reliable < data.num_classes:
        start = data.num_reliable + 0.5
        name = f"fewer than {RELIABLE_HITS} hits: ranks biased"
        ax.axvspan(start, data.num_classes, color=GREY, alpha=0.15, lw=0, label=name, zorder=1)
    ax.set_xlim(0.8, max(data.num_classes, 2) * 1.25)
    _labels(ax, "rank by hits", "volume (share of the prior)")
    _legend(ax, loc="lower left")
    return write(ax, path)


def complexity(
    report: Counted,
    *,
    ax: Axes | None = None,
    path: str | Path | None = None,
    singletons: int = 1500,
    max_points: int = 150_000,
) -> Axes:
    """Volume against Lempel-Ziv complexity, coloured by class balance, which confounds it.

    Volumes are hits over draws; points are shifted at random, sideways by less than half a step of the complexity
    and upwards by less than half a hit, so that equal ones can be told apart; those of complete counts keep their
    height. The legend says how many classes one point stands for.

    Raises:
        ValueError: the report's classes are not truth tables.
    """
    path = None if path is None else check_path(path)
    data = complexity_data(report, singletons=singletons, max_points=max_points)
    num_inputs = report.domain.num_inputs
    generator = np.random.default_rng(1)
    # Complexities are multiples of log2(N)/2.
    step = math.log2(num_inputs) / 2 if num_inputs > 1 else 1.0
    x = data.complexity + generator.uniform(-0.42, 0.42, len(data.complexity)) * step
    up = generator.uniform(-0.45, 0.45, len(data.count)) * (data.count < 30)
    y = report.volumes(data.count if report.complete else data.count + up)
    # The fewer, the larger and the less transparent, so that none hide the rest.
    area = np.where(data.count >= 100, 14.0, np.where(data.count >= RELIABLE_HITS, 6.0, 3.0))
    sizes = np.array([drawn for _, _, drawn in data.strata], int)
    alpha = np.repeat(np.clip(3000 / np.maximum(sizes, 1), 0.15, 0.6), sizes)
    alpha[data.count >= 100] = 0.6
    ax = new_axes(ax)
    ax.set_yscale("log")
    shuffled = generator.permutation(len(x))  # no value of the colour lies on top of the others
    points = ax.scatter(
        x[shuffled],
        y[shuffled],
        c=data.ones[shuffled] / num_inputs,
        s=area[shuffled],
        cmap="cividis",
        vmin=0,
        vmax=1,
        alpha=alpha[shuffled],  # type: ignore[arg-type]  # the stubs know one for all only
        lw=0,
        rasterized=True,
    )
    handles = []
    for name, members, drawn in data.strata:
        text = f"{name}: {members:,} classes"
        if drawn < members:
            share = members / drawn
            text += f" (1 point = {share:,.0f})" if share >= 9.5 else f" (1 point = {share:.1f})"
        handles.append(Line2D([], [], color=GREY, ls="none", marker="o", ms=3, label=text))
    if (data.count == 1).any() and not report.complete:
        # A class seen once was lucky: nearly all such classes have volumes far below one over the draws.
        band = ax.axhspan(*report.volumes(np.array([0.5, 1.5])), color=GREY, alpha=0.2, lw=0, zorder=0)
        band.set_label("1 hit: volumes read too high")
        handles.append(band)
    if len(data.median):
        heights = report.volumes(data.median[:, 0])
        style: dict[str, Any] = {"marker": "o", "ms": 4, "mec": "white", "mew": 0.6, "zorder": 3}
        handles += ax.plot(data.median[:, 1], heights, color=VERMILLION, lw=1.3, label="median", **style)
    bar = ax.figure.colorbar(points, ax=ax, pad=0.02, aspect=30)
    bar.set_label("share of inputs in class 1", fontsize=10)
    bar.ax.tick_params(labelsize=9)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    _labels(ax, "Lempel-Ziv complexity (bits)", "volume (share of the prior)")
    ax.legend(handles=handles, fontsize=8, frameon=False, loc="upper right", handlelength=1.2)
    return write(ax, path)


def _interval_bars(ax: Axes, x, volume, low, high, *, label: str, size: float) -> None:
    """Draw points with their intervals on a log axis, and a class never hit as an arrow down from its upper limit.

    Classes known to be empty, whose upper limit is 0, have no place on the axis: the legend says how many.
    """
    x, volume, low, high = (np.asarray(a, float) for a in (x, volume, low, high))
    hit, bounded = volume > 0, (volume <= 0) & (high > 0)
    ends = np.maximum(low, volume / 30)[hit]  # where a bar shall end in sight, even if its lower limit is 0
    ax.set_yscale("log")
    if hit.any():
        bars = np.stack([np.maximum(volume - low, 0), np.maximum(high - volume, 0)])[:, hit]
        style: dict[str, Any] = {
            "color": BLUE,
            "elinewidth": 1,
            "capsize": size if len(x) <= 20 else 0,
            "ls": "none",
            "marker": "o",
            "ms": size,
        }
        ax.errorbar(x[hit], volume[hit], yerr=bars, label=label, zorder=3, **style)
    if bounded.any():
        limit = high[bounded]
        ends = np.r_[ends, limit / 1.5]  # room for the arrows
        name = f"never drawn: below {_scientific(limit.max())}"
        ax.plot(x[bounded], limit, color=BLUE, ls="none", marker="_", ms=6, label=name, zorder=3)
        arrow = {"arrowstyle": "<-", "color": BLUE, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
        for position, height in zip(x[bounded], limit, strict=True):
            ax.annotate("", (position, height), (0, -13), textcoords="offset points", arrowprops=arrow)
    if empty := int((~hit & ~bounded).sum()):
        ax.plot([], [], ls="none", label=f"empty, not shown: {empty:,}")
    if not len(ends):
        return
    bottom, top = ends.min(), high.max()
    pad = max(1.1, (top / bottom) ** 0.08)
    ax.set_ylim(bottom / pad, top * pad)
    if top < 200 * bottom:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top > 4 * bottom else (1, 1.5, 2, 3, 4, 5, 6, 7, 8)))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def balance(report: Counted, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Volume by number of inputs in class 1, beside the 2^-n of a perceptron without bias on {0,1}^n (a theorem).

    Raises:
        ValueError: a network of several outputs, or a report from which class balance cannot be read.
    """
    path = None if path is None else check_path(path)
    data = balance_data(report)
    ax = new_axes(ax)
    name = f"this network, {_shares(report) if report.complete else f'{_percent(report.level)} intervals'}"
    _interval_bars(ax, data.ones, data.volume, data.low, data.high, label=name, size=2.4)
    if data.perceptron is not None:
        n = round(-math.log2(data.perceptron))
        ends = [0, len(data.ones) - 2]
        name = rf"perceptron without bias: $2^{{-{n}}}$ (theorem)"
        ax.plot(ends, [data.perceptron] * 2, color=VERMILLION, ls="--", lw=1.2, label=name, zorder=2)
    margin = max(0.5, 0.02 * len(data.ones))
    ax.set_xlim(-margin, data.ones[-1] + margin)
    _labels(ax, f"T, inputs in class 1 (of {data.ones[-1]})", "volume (share of the prior)")
    _legend(ax, loc="upper center")
    return write(ax, path)


def volumes(
    entries: Sequence[Entry], names: Sequence[str], *, ax: Axes | None = None, path: str | Path | None = None
) -> Axes:
    """Draw the volumes of named classes with their intervals on a logarithmic axis, one class below the other.

    Where only a lower or an upper limit is known, an arrow points away from it and an open circle marks the mean.
    """
    path = None if path is None else check_path(path)
    data = volume_data(entries)
    ax = new_axes(ax, (SIZE[0] + 1, 1.3 + 0.24 * max(len(entries), 4)))
    rows = np.arange(len(entries))
    below, above = np.isfinite(data.low), np.isfinite(data.high)
    known, bounded = below & above, below != above
    style: dict[str, Any] = {"color": BLUE, "ls": "none", "marker": "o", "ms": 4}
    if known.any():
        middle = data.volume[known]
        bars: Any = np.maximum([middle - data.low[known], data.high[known] - middle], 0)
        levels = {_percent(entry.level) for entry, one in zip(entries, known, strict=True) if one}
        name = f"{' and '.join(sorted(levels))} interval"
        ax.errorbar(middle, rows[known], xerr=bars, capsize=2.5, elinewidth=1, label=name, zorder=3, **style)
    mean = bounded & np.isfinite(data.volume)
    if mean.any():
        ax.plot(data.volume[mean], rows[mean], mfc="none", label="mean, without an interval", zorder=3, **style)
    arrow = {"arrowstyle": "<-", "color": VERMILLION, "lw": 1, "shrinkA": 0, "shrinkB": 0}
    for name, some, limits, away in (
        ("lower limit \N{RIGHTWARDS ARROW}", bounded & below, data.low, 20),
        ("\N{LEFTWARDS ARROW} upper limit", bounded & above, data.high, -20),
    ):
        if some.any():
            ax.plot(limits[some], rows[some], color=VERMILLION, ls="none", marker="|", ms=8, label=name, zorder=4)
        for row in rows[some]:
            place = (limits[row], row)
            ax.annotate("", place, (away, 0), textcoords="offset points", arrowprops=arrow)
    for row in rows[~below & ~above]:
        text = "empty" if data.high[row] == -math.inf else "not reached"
        where = ax.get_yaxis_transform()
        ax.text(0.02, row, text, transform=where, fontsize=8, va="center", color=GREY)
    ax.set_yticks(rows, names)
    ax.set_ylim(len(entries) - 0.4, -0.6)  # the first on top
    ax.margins(x=0.1)
    log_axis(ax.xaxis)
    ax.set_xlabel("volume (share of the prior)", fontsize=10)
    if known.any() or bounded.any():
        _legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return write(ax, path)


def sweep(result: SweepRows, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Draw one class's volume along a sweep, with intervals; arrows mark upper limits of settings where it was never
    drawn.

    Numbers are placed by value (on a log axis when the positive ones span a factor of 8), names side by side.
    """
    path = None if path is None else check_path(path)
    ax = new_axes(ax)
    values = [row.x for row in result.rows]
    numbers = [value for value in values if isinstance(value, (int, float))]
    positions = np.array(numbers or range(len(values)), float)
    volume, low, high = (
        np.exp([getattr(row, column) for row in result.rows]) for column in ("log_volume", "log_low", "log_high")
    )
    _interval_bars(ax, positions, volume, low, high, label=f"{_percent(result.level)} intervals", size=3)
    if numbers:
        order = np.argsort(positions)
        order = order[volume[order] > 0]
        ax.plot(positions[order], volume[order], color=BLUE, lw=0.8, alpha=0.5, zorder=1)
        _place_numbers(ax, positions)
    else:
        ax.set_xticks(positions, [str(value) for value in values])
        ax.set_xlim(-0.6, len(values) - 0.4)
    name = result.x_name.replace("_", " ")
    _labels(ax, X_NAMES.get(name, name), f'volume of "{result.name}"')
    _legend(ax, loc="best")
    return write(ax, path)


def _place_numbers(ax: Axes, positions: np.ndarray) -> None:
    positive = positions[positions > 0]
    if len(positive) == len(positions) and positive.max() >= 8 * positive.min():
        ax.set_xscale("log")
    elif len(positive) and positions.min() == 0 and positive.max() >= 8 * positive.min():
        ax.set_xscale("symlog", linthresh=positive.min(), linscale=0.4)  # zero stands beside the smallest
    ax.minorticks_off()
    if len(positions) <= 12:  # more labels would run into each other
        ax.set_xticks(positions, [f"{value:g}" for value in positions])


def scatter_of_shares(result: Landings, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Share of runs against share of volume, both on log scales, given that the training labels fit.

    Classes that one side did not meet stand as arrows at its upper limit. The line is where both shares are equal.
    """
    path = None if path is None else check_path(path)
    ax = new_axes(ax)
    ax.set_xscale("log")
    ax.set_yscale("log")
    rows = [row for row in result.rows if row.hits or row.count]
    both = [row for row in rows if row.hits and row.count]
    if both:
        x, y = (np.array([getattr(row, side) for row in both]) for side in ("volume", "runs"))
        low, high = (
            [np.array([getattr(row, f"{side}_{end}") for row in both]) for side in ("volume", "runs")]
            for end in ("low", "high")
        )
        bars: dict[str, Any] = {"xerr": [x - low[0], high[0] - x], "yerr": [y - low[1], high[1] - y]}
        name = f"class, {_percent(result.level)} intervals"
        ax.errorbar(x, y, **bars, color=BLUE, ls="none", marker="o", ms=3, lw=0.7, label=name, zorder=3)
    for marker, name, some in (
        ("v", "no run", [(row.volume, row.runs_high) for row in rows if not row.count]),
        ("<", "no draw", [(row.volume_high, row.runs) for row in rows if not row.hits]),
    ):
        if some:
            ax.plot(*np.array(some).T, color=VERMILLION, ls="none", marker=marker, ms=4, label=name, zorder=2)
    limits = [*ax.get_xlim(), *ax.get_ylim()]
    line = np.array([min(limits), max(limits)])
    ax.plot(line, line, color=GREY, lw=0.8, ls="--", label="equal shares", zorder=1)
    _labels(ax, "share of the volume that fits", "share of the runs that fit")
    _legend(ax, loc="upper left")
    return write(ax, path)
