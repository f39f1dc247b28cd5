"""Do SGD and Adam find functions by the volume of what fits? The Boolean experiment of Mingard et al. 2021.

Quantities, for the network (7,40,40,1) and 32 labelled inputs of a target: P(f), the share of a function f in the prior
volume of all that fits ("Is SGD a Bayesian sampler? Well, almost", J. Mach. Learn. Res. 22, section 3: its P_B(f|S));
and W(f), the share of training runs that end in f, in the moment they first fit, among those that fit (P_opt(f|S)).

Estimators: P from draws of the prior that fit (`volume.shares`, after Cochran 1977) and, independently, from the last
particles of a splitting run (`volume.statistics.replicates`); W by Clopper and Pearson. Functions of the table are
those that the first tenth of all runs found most often: neither the other runs nor the draws had a part in that choice.
Rank correlation and total variation: `volume.compare_training`, which chooses by the first tenth of both sides.

Run `python benchmarks/boolean_experiment.py`. Every report is kept in runs/boolean_experiment; run it again after
Ctrl-C or a kill and it goes on. It writes boolean_experiment.md beside itself and docs/figures/boolean_experiment.png.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.environment import describe, environment
from benchmarks.record import Record, Row
from volume import TrainedReport, TrainingComparison, VolumeReport, models, samplers
from volume.plots import figures as plots
from volume.reports.trained_comparison import Number
from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson
from volume.statistics.replicates import MIN_HIT

BITS, TRAINING, SPLIT_SEED = 7, 32, 0
TARGETS = ("0011", "0001")
PRIOR = samplers.Gaussian(weight_std=1.0, bias_std=1.0)
RATES = {"sgd": 0.1, "adam": 0.01}  # not tuned
BATCHES = (1, 8, 32)
OPTIMISERS = [(name, batch) for name in RATES for batch in BATCHES]
LISTED, HEAD, LEVEL = 10, 10, 0.95
LIMITS = (1e-5, 1.0)  # of the figure's axes
HERE = Path(__file__).resolve().parent
FIGURE = HERE.parent / "docs" / "figures" / "boolean_experiment.png"
RUNS = HERE.parent / "runs" / "boolean_experiment"


@dataclass(frozen=True)
class Size:
    """How much of everything: ``chunks`` runs of ``draws``, each with its number as seed."""

    draws: int = 40_000_000
    chunks: int = 7
    runs: int = 10_000
    particles: int = 128
    moves: int = 16
    replicates: int = 8


QUICK = Size(draws=4_000_000, chunks=1, runs=500, particles=32, moves=8)


@dataclass(frozen=True)
class Task:
    """A target, its training inputs and the two questions."""

    target: str
    layers: tuple[int, ...] = (BITS, 40, 40, 1)
    training: int = TRAINING

    @property
    def labels(self) -> np.ndarray:
        """[2^n]"""
        return volume.target(self.target, self.layers[0])

    @property
    def cube(self) -> volume.BooleanCube:
        return volume.BooleanCube(self.layers[0])

    @property
    def fits(self) -> volume.Fits:
        rows = volume.split(self.cube.num_inputs, self.training, seed=SPLIT_SEED)[0]
        return volume.Fits(self.cube.inputs[rows], self.labels[rows])

    @property
    def query(self) -> volume.Query:
        """Which functions fit."""
        return volume.Query(models.MLP(self.layers), PRIOR, self.cube, volume.Given(self.fits, volume.TruthTable()))

    def name(self, label: str) -> str:
        """A function by where it differs from the target."""
        wrong = np.flatnonzero(np.array([int(digit) for digit in label]) != self.labels)
        if not len(wrong):
            return "the target"
        inputs = ", ".join(f"{at:0{self.layers[0]}b}" for at in wrong[:3])
        return f"wrong at {inputs}" + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")


# ------------------------------------------------------------------------------------------------- the runs


def kept(path: Path, query: volume.Query, method: Any, seed: int) -> Any:
    """The report at ``path``, or else a new one, kept there."""
    if path.exists():
        return volume.load(path)
    start = time.perf_counter()
    report: Any = volume.estimate(query, method, seed=seed, level=LEVEL)
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save(path)
    print(f"{path.stem}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return report


def drawn(task: Task, size: Size, folder: Path) -> VolumeReport:
    """All draws of the prior, chunk after chunk."""
    parts = [
        kept(folder / f"direct-{task.target}-{size.draws}-{seed}.json", task.query, volume.Direct(size.draws), seed)
        for seed in range(size.chunks)
    ]
    return joined(parts)


def joined(reports: list[VolumeReport]) -> VolumeReport:
    """One report of the independent units of several that differ in their seed."""
    counts = [report.counts for report in reports]
    keys, number = np.unique(np.concatenate([each.keys for each in counts]), axis=0, return_inverse=True)
    first = np.cumsum([0, *(each.num_units for each in counts)])
    own = np.split(number.ravel(), np.cumsum([each.num_classes for each in counts])[:-1])
    whole = Counts.from_cells(
        np.concatenate([np.repeat(at, np.diff(each.offsets)) for at, each in zip(own, counts, strict=True)]),
        np.concatenate([each.unit + start for each, start in zip(counts, first[:-1], strict=True)]),
        np.concatenate([each.hits for each in counts]),
        num_classes=len(keys),
        num_units=int(first[-1]),
        unit_size=counts[0].unit_size,
        independent=counts[0].independent,
        nonfinite=np.concatenate([each.nonfinite for each in counts]),
    )
    return replace(reports[0], counts=replace(whole, keys=np.asfortranarray(keys)))


def trained(task: Task, size: Size, folder: Path) -> dict[tuple[str, int], TrainedReport]:
    """Every optimiser's runs, by its name and batch size."""
    found = {}
    for seed, (name, batch) in enumerate(OPTIMISERS):
        method = volume.Trained(size.runs, optimiser=name, learning_rate=RATES[name], batch_size=batch)
        path = folder / f"trained-{task.target}-{name}-{batch}-{size.runs}.json"
        found[name, batch] = kept(path, task.query, method, 100 + seed)
    return found


def found_most(reports: list[TrainedReport], num: int) -> tuple[list[str], list[tuple[TrainedReport, int]]]:
    """The functions that the first tenth of all runs found most often, and for each optimiser the report of the runs
    that fit with the number of those that chose."""
    met: dict[str, float] = {}
    rest = []
    for report in (each.given_fit() for each in reports):
        pilot = report.pilot_units
        tally = report.counts.tally(0, pilot).count
        for label, count in zip(report, tally.tolist(), strict=True):
            met[label] = met.get(label, 0) + count / max(pilot, 1)
        rest.append((report, pilot))
    met.pop("outside", None)  # rounding may decide a label otherwise
    chosen = sorted((label for label in met if met[label] > 0), key=lambda label: (-met[label], label))
    return chosen[:num], rest


def shares_of_runs(report: TrainedReport, pilot: int, labels: list[str]) -> list[tuple[float, float, float]]:
    """Share, low and high of every function among the runs that fit and chose nothing."""
    count = report.counts.tally(pilot).count
    rows = [report.counts.find(report.bound.key(label)) for label in labels]
    hits = np.array([0 if row is None else count[row] for row in rows])
    total = report.counts.num_units - pilot
    low, high = clopper_pearson(hits, total, LEVEL)
    return list(zip((hits / total).tolist(), np.exp(low).tolist(), np.exp(high).tolist(), strict=True))


# ------------------------------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Found:
    """What is known of one target."""

    task: Task
    draws: VolumeReport
    runs: dict[tuple[str, int], TrainedReport]
    split: Any  # by splitting, of the functions in `labels`
    labels: list[str]
    columns: dict[str, list[tuple[float, float, float]]]  # shares of the functions in `labels`, with limits
    compared: dict[tuple[str, int], TrainingComparison]


def study(task: Task, size: Size, folder: Path) -> Found:
    runs = trained(task, size, folder)
    labels, rest = found_most(list(runs.values()), LISTED)
    draws = drawn(task, size, folder)
    method = volume.Splitting(
        particles=size.particles, moves=size.moves, replicates=size.replicates, labels=tuple(labels)
    )
    # A stored run is of its own functions: the choice is part of its name.
    chosen = f"{zlib.crc32(' '.join(labels).encode()):08x}"
    split = kept(folder / f"splitting-{task.target}-{size.particles}-{chosen}.json", task.query, method, 200)
    columns = {"draws": [(share.share, share.low, share.high) for share in volume.shares(draws, labels=labels)]}
    columns["splitting"] = [tuple(split[label].share[:3]) for label in labels]
    for (name, batch), (report, pilot) in zip(runs, rest, strict=True):
        columns[f"{name} {batch}"] = shares_of_runs(report, pilot, labels)
    compared = {key: volume.compare_training(draws, report, head=HEAD) for key, report in runs.items()}
    return Found(task, draws, runs, split, labels, columns, compared)


def text(share: tuple[float, float, float], resolved: bool = True) -> str:
    value, low, high = share
    if not value or not resolved:
        return f"below {high:.2g}"
    return f"{value:.3g} ({low:.2g} - {high:.2g})"


def number(found: Number) -> str:
    if math.isnan(found.value):
        return "none"
    return f"{found.value:.2f}" + ("" if math.isnan(found.low) else f" ({found.low:.2f} - {found.high:.2f})")


def tables(found: Found) -> str:
    """The two tables of a target, Markdown."""
    task, draws = found.task, found.draws
    outside = draws["outside"]
    fits = draws.num_draws - outside.count
    split = found.split["fits"]
    lines = [
        f"## {task.target}",
        "",
        f"{fits:,} of {draws.num_draws:,} draws fit: a volume of {fits / draws.num_draws:.3g} "
        f"({1 - outside.high:.3g} - {1 - outside.low:.3g}); by splitting {split.volume:.3g} ({split.low:.3g} - "
        f"{split.high:.3g}), {split.num_replicates} replicates of spread {split.spread:.2f}. "
        f"The draws that fit are of {draws.num_classes - 1:,} functions.",
        "",
        "| optimiser | batch | runs that fit | mean updates | functions | right on all other inputs | rank correlation "
        "| total variation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    target = "".join(map(str, task.labels.tolist()))
    for (name, batch), report in found.runs.items():
        fit, result = report.given_fit(), found.compared[name, batch]
        own = fit[target]
        share = (own.volume, own.low, own.high)
        lines.append(
            f"| {name} ({RATES[name]:g}) | {batch} | {fit.num_runs:,} of {report.num_runs:,} | "
            f"{report.steps_to_fit.mean():.1f} | {fit.num_classes:,} | {text(share)} | "
            f"{number(result.rank_correlation)} | {number(result.total_variation)} |"
        )
    (share,) = volume.shares(draws, labels=[target])
    lines += [
        f"| *volume, by draws* | | | | {draws.num_classes - 1:,} | {text((share.share, share.low, share.high))} | | |"
    ]
    names = [*found.columns]
    lines += ["", "| function | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for row, label in enumerate(found.labels):
        cells = []
        for name in names:
            resolved = name != "splitting" or found.split[label].share.num_hit >= MIN_HIT
            cells.append(text(found.columns[name][row], resolved))
        lines.append(f"| {task.name(label)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(results: list[Found], size: Size, command: str) -> str:
    first = results[0].task
    return "\n".join(
        [
            "# Where SGD and Adam land, beside the volume of what fits",
            "",
            f"Written by `{command}`, on {describe(environment())}. Network {first.layers}, ReLU, weights of "
            f"standard deviation {PRIOR.weight_std:g} / sqrt(fan-in), biases {PRIOR.bias_std:g}; "
            f"`volume.split({first.cube.num_inputs}, {first.training}, seed={SPLIT_SEED})` chose the training inputs; "
            f"cross-entropy, stopped by the update with which the training error first is zero. {size.chunks} x "
            f"{size.draws:,} draws (seeds 0 to {size.chunks - 1}), {size.runs:,} runs of each optimiser (seeds 100 to "
            f"{99 + len(OPTIMISERS)}), splitting with {size.particles} particles, {size.moves} moves, "
            f"{size.replicates} replicates (seed 200). All intervals {100 * LEVEL:g} %, each by itself.",
            "",
            "Shares of a function are of all draws, or runs, that fit. The lower table has the functions that the "
            "first tenth of all runs found most often, from the other runs and all draws; rank correlation and total "
            f"variation are over the {HEAD} functions with the largest share in the first tenth of draws or runs, and "
            "all others as one (docs/trained.md says how).",
            "",
            f"Among the 2^{first.cube.num_inputs - first.training} functions that fit, each has a share of "
            f"{2.0 ** (first.training - first.cube.num_inputs):.2g}.",
            "",
            "How to read it. Rows were chosen because runs find them often, so runs lie above the volume in most of "
            "them whatever the law of all functions. Total variation joins all functions outside the head, most of the "
            "mass: over single functions it can only be larger. Rank correlations rest on a few hits for each function "
            "but the target, have no interval for it, and say nothing where most were never drawn. One draw of "
            "training inputs; learning rates were not tuned.",
            "",
            *["\n".join([tables(found), ""]) for found in results],
        ]
    )


def plot(results: list[Found], path: Path) -> None:
    """Share of runs against share of volume: a row for each target and optimiser, a column for each batch size."""
    rows = [(found, name) for found in results for name in RATES]
    figure = Figure(figsize=(9.6, 2.9 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(BATCHES), squeeze=False, sharex=True, sharey=True)
    for row, (found, name) in zip(axes, rows, strict=True):
        for ax, batch in zip(row, BATCHES, strict=True):
            plots.scatter_of_shares(found.compared[name, batch], ax=ax)
            ax.set_title(f"{found.task.target}: {name}, batch {batch}", fontsize=10)
            ax.set(xlim=LIMITS, ylim=LIMITS)
            ax.plot(LIMITS, LIMITS, color=plots.GREY, lw=0.8, ls="--", zorder=1)
            if ax is not axes[0, 0] and (legend := ax.get_legend()):
                legend.remove()
            ax.label_outer()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def rows_of(found: Found) -> list[Row]:
    """The lower table: shares of the volume that fits, and of runs that fit."""
    rows = []
    for place, label in enumerate(found.labels):
        facts = {name: text(column[place]) for name, column in found.columns.items()}
        rows.append(Row(found.task.name(label), facts=dict(facts), section=f"{found.task.target}: shares of what fits"))
    return rows


def run(options: argparse.Namespace) -> Record:
    size = QUICK if options.quick else Size()
    targets = options.targets[: 1 if options.quick else None]
    results = [study(Task(target), size, options.runs) for target in targets]
    if not options.quick:
        written = page(results, size, "python benchmarks/boolean_experiment.py --targets " + " ".join(targets))
        (options.out / "boolean_experiment.md").write_text(written)
        plot(results, FIGURE if options.out == HERE else options.out / FIGURE.name)
    return Record([row for found in results for row in rows_of(found)])


def main(arguments: list[str] | None = None) -> None:
    parser = script.options(__doc__, "a tenth of everything, for the first target; writes no page")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), help="names as volume.target takes them")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the reports")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the page (default: this one)")
    script.main("boolean_experiment", run, parser, arguments)


if __name__ == "__main__":
    main()
