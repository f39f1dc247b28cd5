"""Tables and the figure of benchmarks/defects.py: every cell over its training draws.

Quantity: the ratio of the volumes benign : defects, for one draw of the monitored inputs and over draws of them.
Estimator over n draws: the geometric mean, with Student's t interval of the n logarithms. That interval is about the
mean over training draws; what is uncertain in each ratio (volume.reports.shares, volume.statistics.replicates) is
inside the spread it is made of. A draw in which one of the two classes was not met has a limit and no ratio: then there
is no geometric mean, only a median, or a limit for it. Two cells are compared draw by draw: the same
interval of the differences of logarithms.

Run `python benchmarks/defects_tables.py [--file ...]`: writes defects_results.md and docs/figures/defects.png.

Shape letter: n training draws.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import special

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.defects import BENIGN, DEFECTS, FIRST, HERE, LEVEL, MAJORITY, Cell, design, read
from benchmarks.environment import describe
from benchmarks.rare_logs import LN10
from volume import Defects, Fits

# Cells whose trigger has one right label.
ALIKE = [
    replace(base, monitored=m, trigger=trigger)
    for base in (FIRST, MAJORITY)
    for m in (4, 8, 16)
    for trigger in ("leading:5", "leading:4", "leading:3")
    if (base, trigger) != (MAJORITY, "leading:3")
]
MIN_DRAWS = 3  # two draws leave an interval of ten orders
FIGURE = HERE.parent / "docs" / "figures" / "defects.png"
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#767676"  # as in volume.plots


@dataclass(frozen=True)
class Mean:
    """A mean of n numbers with Student's t interval at the level of all tables; n < 2 has none."""

    num: int
    mean: float
    low: float
    high: float


def over_draws(values: Sequence[float]) -> Mean:
    """The mean of n logarithms [n] (or other numbers) over training draws: mean +- t_{n-1} s / sqrt(n)."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return Mean(len(x), float(x.mean()) if len(x) else math.nan, -math.inf, math.inf)
    half = special.stdtrit(len(x) - 1, (1 + LEVEL) / 2) * x.std(ddof=1) / math.sqrt(len(x))
    return Mean(len(x), float(x.mean()), float(x.mean() - half), float(x.mean() + half))


@dataclass(frozen=True)
class Group:
    """All training draws of one cell, in their order."""

    cell: Cell  # of draw 0
    records: list[dict[str, Any]]

    @property
    def ratios(self) -> dict[int, float]:
        """Training draw -> log of benign : defects, where it is known."""
        return {r["cell"]["draw"]: r["ratio"][0] for r in self.records if r["resolved"]}

    @property
    def whole(self) -> bool:
        return len(self.ratios) == len(self.records)

    def ends(self, record: dict[str, Any]) -> tuple[float, float, str]:
        """Between which two logs a draw's ratio is known to lie, equal where it is resolved, and how it is written."""
        value, low, high = record["ratio"]
        benign, defects = (record["shares"][label][3] for label in (BENIGN, DEFECTS))
        if record["resolved"]:
            return value, value, number(value)
        if benign and low is not None:
            return low, math.inf, f"> {number(low)}"
        return (-math.inf, high, f"< {number(high)}") if defects and high is not None else (-math.inf, math.inf, "none")

    def middle(self) -> str:
        """The median ratio, or the limit that the draws leave for it."""
        ends = [self.ends(record)[:2] for record in self.records]
        with np.errstate(invalid="ignore"):
            low, high = (float(np.median(each)) for each in zip(*ends, strict=True))
        if low == high:
            return number(low)
        return f"> {number(low)}" if math.isfinite(low) else f"< {number(high)}" if math.isfinite(high) else "none"

    def range(self) -> str:
        ends = [self.ends(record) for record in self.records]
        first, last = min(ends)[2], max(ends, key=lambda each: each[1])[2]
        return first if first == last else f"{first} - {last}"


def groups(records: Sequence[dict[str, Any]]) -> dict[Cell, Group]:
    """Records by cell, whatever the draw, in the order of the design; of one answered twice the last line counts."""
    found: dict[Cell, dict[int, dict[str, Any]]] = {}
    for record in records:
        cell = Cell(**record["cell"])
        found.setdefault(replace(cell, draw=0), {})[cell.draw] = record
    order = {cell: number for number, cell in enumerate(dict.fromkeys(replace(t.cell, draw=0) for t in design()))}
    cells = sorted(found, key=lambda cell: (order.get(cell, len(order)), cell.words))
    return {cell: Group(cell, [found[cell][d] for d in sorted(found[cell])]) for cell in cells}


def paired(one: Group, other: Group) -> Mean:
    """Over the training draws of both: the mean log of other's ratio over one's, with its interval."""
    a, b = one.ratios, other.ratios
    return over_draws([b[draw] - a[draw] for draw in a if draw in b])


# ------------------------------------------------------------------------------------------------- text


def number(log_value: float) -> str:
    value = math.exp(log_value)
    return f"{value:#.2g}".rstrip(".") if value < 99.5 else f"{value:,.0f}" if value < 1e5 else f"{value:.1e}"


def share_text(records: list[dict[str, Any]], label: str) -> str:
    """Median and range of a share over training draws; "below" where the smallest was not resolved."""
    shares = [record["shares"][label] for record in records if record["shares"][label][0] is not None]
    if not shares:
        return "none"
    known = [share[0] for share in shares if share[3]]
    if len(known) < len(shares):
        return f"below {max(s[2] for s in shares if not s[3]):.2g}" + (f" to {max(known):.2g}" if known else "")
    return f"{np.median(known):.2g} ({min(known):.2g} - {max(known):.2g})"


def row(group: Group) -> str:
    cell, records, ratios = group.cell, group.records, group.ratios
    mean = over_draws(list(ratios.values()))
    over = (
        f"**{number(mean.mean)}** ({number(mean.low)} - {number(mean.high)})"
        if group.whole and mean.num >= MIN_DRAWS
        else ""
    )
    fits = np.array([record["fits"][0] for record in records if record["fits"][0] is not None]) / LN10
    shown = [
        cell.target,
        cell.trigger,
        f"{cell.trigger_size}",
        f"{cell.monitored}",
        ",".join(map(str, cell.layers)),
        f"{len(ratios)} of {len(records)}",
        f"{np.mean(fits):.2f}" if len(fits) else "none",
        share_text(records, BENIGN),
        share_text(records, DEFECTS),
        f"{2.0**-cell.trigger_size:.2g}",
        over,
        group.middle(),
        group.range(),
    ]
    return "| " + " | ".join(shown) + " |"


HEAD = [
    "| target | trigger | t | m | network | resolved | log10 fits | benign | defects | either, among functions | "
    "benign : defects | median | range |",
    "|" + "---|" * 13,
]


def compared(found: dict[Cell, Group]) -> list[str]:
    """Rows of paired comparisons with a base cell."""
    rows = ["| base | against | draws | ratio against the base's |", "|---|---|---|---|"]
    for base in (FIRST, MAJORITY, replace(FIRST, monitored=16)):
        for cell, group in found.items():
            changes = {name: value for name, value in vars(cell).items() if value != vars(base)[name]}
            # Another trigger leaves other inputs to be monitored: nothing pairs the draws.
            if base not in found or len(changes) != 1 or not changes.keys() <= {"monitored", "width", "depth"}:
                continue
            if group.whole and found[base].whole and (mean := paired(found[base], group)).num >= MIN_DRAWS:
                name = ", ".join(f"{key} {value}" for key, value in changes.items())
                change = f"{number(mean.mean)} ({number(mean.low)} - {number(mean.high)})"
                rows.append(f"| {base.target}, m = {base.monitored} | {name} | {mean.num} | {change} |")
    return rows


def results(records: list[dict[str, Any]], environments: list[dict[str, Any]]) -> str:
    """The page of results."""
    found = groups(records)
    lines = [
        "# Benign and defecting networks: results",
        "",
        "Written by `python benchmarks/defects_tables.py` from defects.jsonl, which `python benchmarks/defects.py`",
        "made on",
        "",
        *(f"* {each}" for each in dict.fromkeys(describe(each) for each in environments)),
        "",
        f"{len(records)} cells, {sum(record['seconds'] for record in records) / 60:.0f} minutes. Prior: weights",
        "N(0, 1/fan-in), biases N(0, .1^2), inputs coded 0 and 1. Seeds: of the monitored inputs the number of the",
        "draw, 0, 1, ...; of the networks the CRC-32 of the cell's record, written in each line of the file.",
        "",
        "m: monitored inputs. t: inputs in the trigger. Shares are of the volume that fits: median (smallest -",
        "largest) over training draws. benign : defects: geometric mean over training draws (95 % t interval over",
        "draws), where every draw is resolved: met both classes in 4 independent units or more. Others have a limit,",
        "> or <, and so may the median; none: neither class was resolved. Among functions the ratio is 1 in every row.",
        "",
        *HEAD,
        *(row(group) for group in found.values()),
        "",
        "Paired by training draw (the same monitored inputs; for another m, the first of the same order): geometric",
        "mean of the ratio over the base's, 95 % t interval over draws.",
        "",
        *compared(found),
        "",
    ]
    lines += [
        "Why training draws differ: the ratio of every draw beside the number of its m monitored inputs that have the",
        "trigger's own label, which is one label in these cells; r is the correlation of that number with the ratio's",
        "logarithm. Number: ratio; in the order of the numbers.",
        "",
        "| target | trigger | m | r | number: ratio |",
        "|---|---|---|---|---|",
        *(alike_row(found[cell]) for cell in ALIKE if cell in found and found[cell].whole),
        "",
    ]
    rare = [record for record in records if record["particles"]]
    if rare:
        lines += [
            "By splitting, one line a training draw: the ratio with the interval within that draw, and the share of",
            "defects twice, from a run of its own and from the run to what fits.",
            "",
            "| target | m | draw | fits, log10 | spreads: fits, benign, defects | benign : defects | defects, own run "
            "| defects, within |",
            "|" + "---|" * 8,
            *map(rare_row, rare),
            "",
        ]
    return "\n".join(lines)


def alike_row(group: Group) -> str:
    """Monitored inputs with the trigger's label and the ratio, for every training draw."""
    pairs = sorted((alike(replace(group.cell, draw=draw)), ratio) for draw, ratio in group.ratios.items())
    numbers, ratios = np.array(pairs, float).T
    some = len(pairs) > 2 and numbers.std() > 0 and ratios.std() > 0
    told = f"{np.corrcoef(numbers, ratios)[0, 1]:.2f}" if some else "none"
    listed = ", ".join(f"{count}: {number(ratio)}" for count, ratio in pairs)
    return f"| {group.cell.target} | {group.cell.trigger} | {group.cell.monitored} | {told} | {listed} |"


def alike(cell: Cell) -> int:
    """How many monitored inputs have the label that is most common in the trigger."""
    question = cell.query().classifier
    assert isinstance(question, Defects)
    assert isinstance(question.within, Fits)
    return int(np.sum(question.within.labels == np.bincount(question.trigger.labels).argmax()))


def rare_row(record: dict[str, Any]) -> str:
    cell = Cell(**record["cell"])
    ratio = [math.nan if x is None else x for x in record["ratio"]]
    own, inside = record["shares"][DEFECTS], record["defects_within"]
    spreads = ", ".join("died" if s is None else f"{s:.2f}" for s in record["spreads"])
    return (
        f"| {cell.target} | {cell.monitored} | {cell.draw} | {record['fits'][0] / LN10:.2f} | {spreads} "
        f"| {number(ratio[0])} ({number(ratio[1])} - {number(ratio[2])}) | {own[0]:.2g} ({own[1]:.2g} - {own[2]:.2g}) "
        f"| {inside[0]:.2g} ({inside[1]:.2g} - {inside[2]:.2g}) |"
    )


# ------------------------------------------------------------------------------------------------- the figure


def figure(found: dict[Cell, Group], path: Path) -> None:
    """Left: shares against the size of the trigger. Right: the ratio against m. Functions as lines."""
    page = Figure(figsize=(8.2, 3.7), layout="constrained")
    FigureCanvasAgg(page)
    left, right = page.subplots(1, 2)
    _shares(left, found)
    _ratios(right, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.savefig(path, dpi=200)


def _shares(ax: Axes, found: dict[Cell, Group]) -> None:
    groups_ = [found[cell] for k in (5, 4, 3, 2) if (cell := replace(FIRST, trigger=f"leading:{k}")) in found]
    for label, colour, shift in ((BENIGN, BLUE, 0.93), (DEFECTS, VERMILLION, 1.07)):
        at, means = [], []
        for group in groups_:
            t = group.cell.trigger_size * shift
            shares = [record["shares"][label][0] for record in group.records if record["shares"][label][3]]
            ax.plot([t] * len(shares), shares, ".", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
            mean = over_draws(special.logit(shares).tolist())  # so that an interval stays below 1
            at.append(t)
            means.append([float(special.expit(x)) for x in (mean.mean, mean.low, mean.high)])
        _bars(ax, at, means, colour)
    sizes = np.array([group.cell.trigger_size for group in groups_], float)
    line = np.geomspace(min(sizes, default=1), max(sizes, default=1))
    ax.plot(line, 2.0**-line, color=GREY, linestyle="--", linewidth=1.2)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{int(size)}" for size in sizes])
    _axes(ax, "inputs in the trigger, t", "share of what fits")
    ax.set_title("first bit, 8 monitored inputs", fontsize=9.5)
    _legend(ax, {BENIGN: BLUE, DEFECTS: VERMILLION}, "either, among functions")


def _ratios(ax: Axes, found: dict[Cell, Group]) -> None:
    for base, colour, shift in ((FIRST, BLUE, 0.965), (MAJORITY, VERMILLION, 1.035)):
        at, means = [], []
        for cell in sorted(found, key=lambda cell: cell.monitored):
            if replace(cell, monitored=base.monitored) != base:
                continue
            group, m = found[cell], cell.monitored * shift
            for record in group.records:
                low, high, _ = group.ends(record)
                if low == high:
                    ax.plot([m], [math.exp(low)], ".", color=colour, alpha=0.35, markersize=6, markeredgewidth=0)
                elif math.isfinite(low) or math.isfinite(high):
                    end, mark = (low, "^") if math.isfinite(low) else (high, "v")
                    ax.plot([m], [math.exp(end)], mark, color=colour, alpha=0.6, markersize=4, fillstyle="none")
            if group.whole and len(group.records) >= MIN_DRAWS:
                mean = over_draws(list(group.ratios.values()))
                at.append(m)
                means.append([math.exp(x) for x in (mean.mean, mean.low, mean.high)])
        _bars(ax, at, means, colour)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1.2)
    sizes = sorted({c.monitored for c in found if replace(c, monitored=8) in (FIRST, MAJORITY)})
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.minorticks_off()
    _axes(ax, "monitored inputs, m", "volume of benign : volume of defects")
    ax.set_title("trigger of 8 inputs", fontsize=9.5)
    _legend(ax, {"first bit": BLUE, "majority": VERMILLION}, "among functions", "at least")


def _bars(ax: Axes, at: list[float], means: list[list[float]], colour: str) -> None:
    if at:
        middle, low, high = np.array(means).T
        ax.errorbar(
            at, middle, (middle - low, high - middle), color=colour, fmt="o-", markersize=4, linewidth=1.2, capsize=3
        )


def _axes(ax: Axes, x: str, y: str) -> None:
    ax.set_yscale("log")
    ax.set_xlabel(x, fontsize=9.5)
    ax.set_ylabel(y, fontsize=9.5)
    ax.tick_params(labelsize=9)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _legend(ax: Axes, colours: dict[str, str], functions: str, limit: str = "") -> None:
    handles = [Line2D([], [], color=colour, marker="o", markersize=4, label=label) for label, colour in colours.items()]
    handles.append(Line2D([], [], color=GREY, linestyle="--", label=functions))
    if limit:
        shape: dict[str, Any] = {"marker": "^", "markersize": 4, "fillstyle": "none", "linestyle": "none"}
        handles.append(Line2D([], [], color=GREY, label=limit, **shape))
    ax.legend(handles=handles, fontsize=8.5, frameon=False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=HERE / "defects.jsonl", help="results of benchmarks/defects.py")
    parser.add_argument("--out", type=Path, default=HERE / "defects_results.md")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    chosen = parser.parse_args(arguments)
    records, environments = read(chosen.file)
    if not records:
        raise SystemExit(f"{chosen.file} has no results: run python benchmarks/defects.py first.")
    chosen.out.write_text(results(records, environments))
    figure(groups(records), chosen.figure)
    print(f"{len(records)} cells: {chosen.out}, {chosen.figure}")


if __name__ == "__main__":
    main()
