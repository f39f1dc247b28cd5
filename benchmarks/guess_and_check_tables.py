"""Tables and the figure of benchmarks/guess_and_check.py: every cell over its draws of the training images.

Quantity: mean test accuracy of what fits, by volume and by training, over draws of the training images. Estimator over
n draws: the mean with Student's t interval. Each draw's value has an error of its own, which is inside the spread that
the interval is made of; both are printed. Two networks, or training and volume, are compared draw by draw, on the same
images: the same interval of the differences. Intervals are pointwise.

Run `python benchmarks/guess_and_check_tables.py [--file ...]`: writes guess_and_check_results.md and
docs/figures/guess_and_check.png.

Shape letter: n draws of the training images.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.defects import read
from benchmarks.defects_tables import BLUE, GREY, MIN_DRAWS, VERMILLION, Mean, over_draws
from benchmarks.environment import describe
from benchmarks.guess_and_check import DEPTHS, HERE, OVER, PRIORS, RATES, RUNS, SIZES, WIDTHS, Cell, Task
from benchmarks.rare_logs import LN10

VOLUME, SPLITTING, SGD, LATER = "direct", "splitting", "sgd+0", f"sgd+{OVER}"
NAMES = {VOLUME: "volume", SGD: "SGD", LATER: f"SGD, {OVER} epochs more"}
FIGURE = HERE.parent / "docs" / "figures" / "guess_and_check.png"
# (cell, way) -> draw -> record; the cell is that of draw 0.
Found = dict[tuple[Cell, str], dict[int, dict[str, Any]]]


def by_cell(records: Sequence[dict[str, Any]]) -> Found:
    """Records by cell and way; of one answered twice the last line counts."""
    found: Found = {}
    for record in records:
        cell = Cell(**record["cell"])
        found.setdefault((replace(cell, draw=0), record["way"]), {})[cell.draw] = record
    return found


def accuracies(found: Found, cell: Cell, way: str) -> dict[int, float]:
    """Draw -> accuracy, where enough fits."""
    records = found.get((cell, way), {})
    return {draw: r["accuracy"][0] for draw, r in sorted(records.items()) if r["accuracy"][0] is not None}


def whole(found: Found, cell: Cell, way: str) -> bool:
    """Whether every draw that was asked has an accuracy: a mean over the others would be one of easy draws."""
    return len(accuracies(found, cell, way)) == len(found.get((cell, way), {}))


def paired(found: Found, one: tuple[Cell, str], other: tuple[Cell, str]) -> Mean | None:
    """Over draws of both: the mean of other's accuracy less one's; None for fewer than 3, or where one has gaps."""
    if not (whole(found, *one) and whole(found, *other)):
        return None
    a, b = accuracies(found, *one), accuracies(found, *other)
    mean = over_draws([b[draw] - a[draw] for draw in a if draw in b])
    return mean if mean.num >= MIN_DRAWS else None


def interaction(found: Found, one: Cell, other: Cell, ways: tuple[str, str] = (VOLUME, SGD)) -> Mean | None:
    """The change from one network to the other of the second way, less that of the first, over draws of all four."""
    if not all(whole(found, cell, way) for cell in (one, other) for way in ways):
        return None
    (a, b), (c, d) = ([accuracies(found, cell, way) for cell in (one, other)] for way in ways)
    mean = over_draws([d[k] - c[k] - (b[k] - a[k]) for k in a if k in b and k in c and k in d])
    return mean if mean.num >= MIN_DRAWS else None


def dominance(found: Found, cell: Cell, way: str) -> tuple[float, float]:
    """(standard deviation over draws, root mean square of the errors within draws)."""
    errors = [r["accuracy"][1] for r in found[cell, way].values() if r["accuracy"][0] is not None]
    values = list(accuracies(found, cell, way).values())
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return spread, math.sqrt(float(np.mean(np.square(errors)))) if errors else math.nan


# ------------------------------------------------------------------------------------------------- text


def signed(mean: Mean | None) -> str:
    """A difference in points (hundredths) with its interval; bold where the interval leaves 0 out."""
    if mean is None:
        return ""
    value, low, high = (100 * x for x in (mean.mean, mean.low, mean.high))
    text = f"{value:+.1f}"
    return f"{f'**{text}**' if low > 0 or high < 0 else text} ({low:+.1f} to {high:+.1f})"


def plain(found: Found, cell: Cell, way: str) -> str:
    values = list(accuracies(found, cell, way).values())
    if len(values) < MIN_DRAWS or not whole(found, cell, way):
        asked = len(found.get((cell, way), {}))
        return f"{len(values)} of {asked} draws" if asked else ""
    mean = over_draws(values)
    return f"{100 * mean.mean:.1f} ({100 * mean.low:.1f} - {100 * mean.high:.1f})"


def cells(found: Found) -> list[Cell]:
    """In the order of the tables: prior, depth, width, m."""
    order = {name: number for number, name in enumerate(PRIORS)}
    return sorted({cell for cell, _ in found}, key=lambda c: (order[c.prior], c.train, c.depth, c.width))


def row(found: Found, cell: Cell) -> str:
    records = found.get((cell, VOLUME), {})
    logs = [r["log_volume"] / LN10 for r in records.values() if r["log_volume"] is not None]
    shown = [cell.prior, f"{cell.train}", f"{cell.width}", f"{cell.depth}", f"{len(records)}"]
    shown += [f"{np.mean(logs):.2f}" if logs else "", plain(found, cell, VOLUME)]
    for way in (VOLUME, SGD):
        told = (f"{100 * x:.1f}" for x in dominance(found, cell, way)) if (cell, way) in found else ("", "")
        shown += [plain(found, cell, SGD)] if way == SGD else []
        shown.append(" / ".join(filter(None, told)))
    shown.append(unfit(found, cell, SGD))
    shown += [signed(paired(found, (cell, VOLUME), (cell, SGD))), signed(paired(found, (cell, SGD), (cell, LATER)))]
    return "| " + " | ".join(shown) + " |"


def unfit(found: Found, cell: Cell, way: str) -> str:
    """Share of training runs that did not fit, over all draws."""
    ends = [record["ends"] for record in found.get((cell, way), {}).values()]
    if not ends:
        return ""
    share = 1 - sum(each["fit"] for each in ends) / sum(each["runs"] for each in ends)
    return f"{100 * share:.1f} %" if share else "0"


def changes(found: Found) -> list[tuple[str, Cell, Cell]]:
    """(what, one, other): narrowest against the wider ones at each depth, and one layer against more at each width."""
    pairs = []
    for cell in cells(found):
        if cell.width == WIDTHS[0]:
            pairs += [("width", cell, replace(cell, width=width)) for width in WIDTHS[1:]]
        if cell.depth == DEPTHS[0]:
            pairs += [("depth", cell, replace(cell, depth=depth)) for depth in DEPTHS[1:]]
    known = {cell for cell, _ in found}
    return [(what, one, other) for what, one, other in sorted(pairs, key=lambda p: p[0] == "depth") if other in known]


def change_row(found: Found, what: str, one: Cell, other: Cell) -> str:
    step = f"{getattr(one, what)} to {getattr(other, what)}"
    fixed = f"depth {one.depth}" if what == "width" else f"width {one.width}"
    told = [signed(paired(found, (one, way), (other, way))) for way in (VOLUME, SGD, LATER)]
    shown = [one.prior, f"{one.train}", f"{what} {step}", fixed, *told, signed(interaction(found, one, other))]
    return "| " + " | ".join(shown) + " |"


def check_rows(found: Found) -> list[str]:
    """Splitting beside direct draws on the same images: both means, and the difference over its error."""
    rows = []
    for (cell, way), records in found.items():
        for draw, record in records.items() if way == SPLITTING else ():
            other = found.get((cell, VOLUME), {}).get(draw)
            if other is None or record["accuracy"][0] is None or other["accuracy"][0] is None:
                continue
            (a, da), (b, db) = record["accuracy"], other["accuracy"]
            network = ",".join(map(str, cell.layers))
            logs = f"{other['log_volume'] / LN10:.3f} | {record['log_volume'] / LN10:.3f}"
            rows.append(
                f"| {cell.prior}, ({network}), m = {cell.train}, draw {draw} | {100 * b:.2f} +- {100 * db:.2f} "
                f"| {100 * a:.2f} +- {100 * da:.2f} | {(a - b) / math.hypot(da, db):+.1f} | {logs} |"
            )
    return rows


def rate_rows(found: Found) -> list[str]:
    """SGD at several learning rates: accuracy, mean updates and the difference to volume, for every width."""
    rows = []
    for width in WIDTHS:
        for rate in RATES:
            cell = Cell(width=width)
            way = Task(cell, runs=RUNS, rate=rate).way
            records = list(found.get((cell, way), {}).values())
            if not records:
                continue
            updates = np.mean([record["updates"] for record in records if record["updates"] is not None])
            slow = Task(cell, runs=RUNS, rate=RATES[0]).way
            shown = [f"{width}", f"{rate:g}", f"{updates:.1f}", unfit(found, cell, way), plain(found, cell, way)]
            shown += [signed(paired(found, (cell, VOLUME), (cell, way)))]
            shown += ["" if width == WIDTHS[0] else signed(paired(found, (Cell(width=WIDTHS[0]), way), (cell, way)))]
            shown += ["" if rate == RATES[0] else signed(paired(found, (cell, slow), (cell, way)))]
            rows.append("| " + " | ".join(shown) + " |")
    return rows


def verdict(found: Found) -> str:
    """Over all networks that have both: how often the difference of SGD and volume is positive."""
    gaps = [m for cell in cells(found) if (m := paired(found, (cell, VOLUME), (cell, SGD))) is not None]
    above, below = sum(m.low > 0 for m in gaps), sum(m.high < 0 for m in gaps)
    return (
        f"Of {len(gaps)} cells with both, SGD is above the volume in {above} and below it in {below} by the interval\n"
        f"of the difference, and {len(gaps) - above - below} have 0 inside."
    )


def results(records: list[dict[str, Any]], environments: list[dict[str, Any]]) -> str:
    """The page of results."""
    found = by_cell(records)
    return "\n".join(
        [
            "# Guess and check on two digits: results",
            "",
            "Written by `python benchmarks/guess_and_check_tables.py` from guess_and_check.jsonl, which",
            "`python benchmarks/guess_and_check.py` made on",
            "",
            *(f"* {each}" for each in dict.fromkeys(describe(each) for each in environments)),
            "",
            f"{len(records)} records, {sum(record['seconds'] for record in records) / 60:.0f} minutes. What is asked",
            "and how: docs/guess_and_check.md. Accuracies in per cent, differences in points, on the images that were",
            "not trained on. Brackets: 95 % Student's t over draws of the images, pointwise; bold: 0 is outside.",
            "",
            "## Accuracy",
            "",
            "log10 fits: mean log10 of the volume that fits. sd / error: standard deviation over draws / error within",
            "a draw (root mean square). unfit: training runs that do not fit at their end. Differences are paired.",
            "",
            "| prior | m | width | depth | draws | log10 fits | volume | sd / error | SGD | sd / error | unfit "
            f"| SGD less volume | {OVER} epochs more, less SGD |",
            "|" + "---|" * 13,
            *(row(found, cell) for cell in cells(found)),
            "",
            verdict(found),
            "",
            "## Width and depth",
            "",
            "Change of the accuracy from the first network to the second, paired by draw; last: SGD's change less the",
            "volume's.",
            "",
            f"| prior | m | change | at | volume | SGD | SGD, {OVER} epochs more | SGD's less volume's |",
            "|" + "---|" * 8,
            *(change_row(found, *change) for change in changes(found)),
            "",
            "## Learning rate",
            "",
            "SGD stopped at its first fit, one hidden layer, m = 8, Gaussian. Changes: from width "
            f"{WIDTHS[0]} at the same rate,",
            f"and from rate {RATES[0]:g} at the same width.",
            "",
            "| width | rate | mean updates | unfit | SGD | SGD less volume | change with width | change with rate |",
            "|" + "---|" * 8,
            *rate_rows(found),
            "",
            "## Splitting beside direct draws",
            "",
            "The same images; accuracies with their errors within the draw, and the difference over its error.",
            "",
            "| cell | direct | splitting | z | log10 fits, direct | splitting |",
            "|" + "---|" * 6,
            *check_rows(found),
            "",
        ]
    )


# ------------------------------------------------------------------------------------------------- the figure


def figure(found: Found, path: Path) -> None:
    """Left: accuracy against m. Middle and right: its change with width and with depth, paired by draw."""
    page = Figure(figsize=(10.2, 3.6), layout="constrained")
    FigureCanvasAgg(page)
    left, middle, right = page.subplots(1, 3)
    for way, colour in ((VOLUME, BLUE), (SGD, VERMILLION)):
        _against_size(left, found, way, colour)
        for train, style in ((8, "-"), (32, "--")):
            shift = {(VOLUME, 8): -2, (VOLUME, 32): -0.7, (SGD, 8): 0.7, (SGD, 32): 2}[way, train]
            base = Cell(train=train, width=WIDTHS[0])
            _changes(middle, found, base, "width", WIDTHS, way, colour, style, shift)
            _changes(right, found, Cell(train=train), "depth", DEPTHS, way, colour, style, shift)
    _axes(left, "training images, m", "test accuracy, %", SIZES)
    _axes(middle, "width, one hidden layer", f"change from width {WIDTHS[0]}, points", WIDTHS)
    _axes(right, "hidden layers of width 16", f"change from depth {DEPTHS[0]}, points", DEPTHS)
    low = min(ax.get_ylim()[0] for ax in (middle, right))
    high = max(ax.get_ylim()[1] for ax in (middle, right))
    for ax in (middle, right):
        ax.set_ylim(low, high)
        ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    left.set_title("(64,16,1)", fontsize=9.5)
    ways = {NAMES[VOLUME]: BLUE, NAMES[SGD]: VERMILLION}
    handles = [Line2D([], [], color=c, marker="o", markersize=4, label=name) for name, c in ways.items()]
    left.legend(handles=handles, fontsize=8.5, frameon=False, loc="lower right")
    styles: Any = ((8, "-"), (32, "--"))
    dashes = [Line2D([], [], color=GREY, linestyle=style, label=f"m = {m}") for m, style in styles]
    right.legend(handles=dashes, fontsize=8.5, frameon=False, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.savefig(path, dpi=200)


def _against_size(ax: Axes, found: Found, way: str, colour: str) -> None:
    at, means, shift = [], [], 0.96 if way == VOLUME else 1.04
    for m in SIZES:
        values = list(accuracies(found, Cell(train=m), way).values())
        ax.plot([m * shift] * len(values), [100 * v for v in values], ".", color=colour, alpha=0.3, markeredgewidth=0)
        if len(values) >= MIN_DRAWS:
            at.append(m * shift)
            means.append(over_draws(values))
    _bars(ax, at, means, colour, "-")


def _changes(
    ax: Axes, found: Found, base: Cell, what: str, sizes: Sequence[int], way: str, colour: str, style: str, shift: float
) -> None:
    known = [(s, m) for s in sizes[1:] if (m := paired(found, (base, way), (replace(base, **{what: s}), way)))]
    if known:
        at = [sizes[0], *(size * 2 ** (shift * 0.06) for size, _ in known)]
        _bars(ax, at, [Mean(0, 0.0, 0.0, 0.0), *(mean for _, mean in known)], colour, style)


def _bars(ax: Axes, at: list[float], means: list[Mean], colour: str, style: str) -> None:
    if at:
        middle, low, high = 100 * np.array([(m.mean, m.low, m.high) for m in means]).T
        ends = (middle - low, high - middle)
        ax.errorbar(at, middle, ends, color=colour, fmt="o", linestyle=style, markersize=4, linewidth=1.2, capsize=3)


def _axes(ax: Axes, x: str, y: str, sizes: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel(x, fontsize=9.5)
    ax.set_ylabel(y, fontsize=9.5)
    ax.tick_params(labelsize=9)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=HERE / "guess_and_check.jsonl", help="of guess_and_check.py")
    parser.add_argument("--out", type=Path, default=HERE / "guess_and_check_results.md")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    chosen = parser.parse_args(arguments)
    records, environments = read(chosen.file)
    if not records:
        raise SystemExit(f"{chosen.file} has no results: run python benchmarks/guess_and_check.py first.")
    chosen.out.write_text(results(records, environments))
    figure(by_cell(records), chosen.figure)
    print(f"{len(records)} records: {chosen.out}, {chosen.figure}")


if __name__ == "__main__":
    main()
