"""The tour behind ``volume demo``: the counting argument measured, then ten million functions of a small network.

It opens with two tasks under every measure (volume.studies.demo_measures). The network of the second part is the
(7,40,40,1) ReLU network without biases, on all 128 inputs {0,1}^7. Every number in the paragraphs is computed from the
runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from volume.classifiers.ones import Ones
from volume.common.logs import interval_name, power_text
from volume.common.progress import Progress
from volume.estimation import estimate
from volume.estimators.direct.direct import Direct
from volume.functions import lempel_ziv, tables
from volume.functions.domains import BooleanCube
from volume.functions.table_names import table_name
from volume.method import Method
from volume.models import MLP
from volume.plots import figures as plots
from volume.plots.data import RELIABLE_HITS, ComplexityData, complexity_data
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.counted_entries import ClassTable
from volume.reports.text import Table, render
from volume.samplers import Gaussian
from volume.studies import demo_measures
from volume.studies.measures import Measures

WIDTHS = (7, 40, 40, 1)
SHOWN = 20  # classes in the table
BALANCES = (0, 1, 2, 3, 4, 5, 10, 20, 40, 64, 90, 107, 117, 122, 125, 126, 127, 128)
FIGURES = ("rank", "complexity", "balance")


@dataclass(frozen=True)
class Demo:
    """What the tour made."""

    measures: tuple[Measures, ...]  # of the tasks it opens with
    report: VolumeReport
    balance: VolumeReport  # the same draws by number of inputs in class 1
    saved: tuple[Path, ...]  # the stored run and the figures
    text: str  # what the numbers mean

    def to_dict(self, top: int = SHOWN) -> dict[str, Any]:
        """Return a JSON-able record: the measures, the report, the volume by class balance, the paths and the closing
        paragraph."""
        record = self.report.to_dict(top=top)
        record["measures"] = [one.to_dict() for one in self.measures]
        record["balance"] = [entry.to_dict() for entry in self.balance.classes()]
        return record | {"saved": [str(path) for path in self.saved], "text": self.text}


def demo_query() -> Query:
    """Return the question that the tour asks."""
    return Query(MLP(WIDTHS, activation="relu", bias=False), Gaussian(weight_std=1.0, bias_std=0.0), BooleanCube(7))


def files() -> list[str]:
    """Name what the tour writes in its folder."""
    measures = [f"measures-{word}-{num_train}" for word, num_train in demo_measures.TASKS]
    figures = [f"{name}.pdf" for name in (*FIGURES, *measures)]
    return ["report.json", "counts.parquet", *figures, *(f"{name}.json" for name in measures)]


def run(
    out: str | Path,
    *,
    draws: float = 10_000_000,
    tasks: Sequence[tuple[str, int]] | None = None,
    method: Method[Any] | None = None,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = True,
    console: Console | None = None,
    suffix: str = ".pdf",
) -> Demo:
    """Draw, print, write.

    Args:
        out: folder for the stored run and the figures; made when it does not exist.
        draws: networks to draw in the second part.
        tasks: (target, number of training labels) of the first part. Default: `volume.studies.demo_measures.TASKS`.
        method: of the first part. Default: `volume.studies.demo_measures.METHOD`.
        seed: a whole number or a JAX key.
        level: coverage of the intervals.
        progress: as in `volume.estimate`.
        console: where the tables go. Default: stdout.
        suffix: of the figures: ".pdf", ".svg" or ".png".
    """
    folder = Path(out)
    figures = {kind: plots.check_path(folder / f"{kind}{suffix}") for kind in FIGURES}
    direct, query = Direct(draws=draws), demo_query()
    tasks = demo_measures.TASKS if tasks is None else tasks
    folder.mkdir(parents=True, exist_ok=True)
    console = console or Console(highlight=False, force_jupyter=False)
    columns = min(console.width, 100)
    say = partial(console.print, width=columns, highlight=False)
    measures, saved = demo_measures.run(
        folder,
        partial(say, markup=False),
        tasks=tasks,
        method=demo_measures.METHOD if method is None else method,
        width=columns,
        seed=seed,
        level=level,
        progress=progress,
        suffix=suffix,
    )
    say(
        f"\nDrawing {direct.draws:,} networks {WIDTHS}, ReLU, no biases, weights N(0, 1/fan-in), and the function that"
        " each computes on all 128 inputs {0,1}^7."
    )
    report = estimate(query, direct, seed=seed, level=level, progress=progress)
    balance = report.group_by(Ones())
    text = paragraph(report, balance, complexity_data(report))
    say(_run_line(report))
    largest = report.classes(top=SHOWN)
    say(f"\nThe largest classes, chosen by the first draws and estimated from the other {largest.num_draws:,}")
    say("(T: inputs in class 1; LZ: Lempel-Ziv complexity in bits; inputs are named by their 7 digits):\n")
    say(render(largest_table(largest), width=columns), markup=False, soft_wrap=True)
    say("\n" + _unseen(report))
    say("\nVolume by class balance, beside a perceptron without bias (1/128 for T = 0 to 127, a theorem):\n")
    say(render(balance_table(balance), width=columns), markup=False, soft_wrap=True)
    saved.append(report.save(folder))
    for kind, path in figures.items():
        getattr(plots, kind)(report, path=path)
        saved.append(path)
    say("\n" + text + "\n")
    say("Saved: " + ", ".join(str(path) for path in saved), soft_wrap=True)
    return Demo(tuple(measures), report, balance, tuple(saved), text)


# --- what is printed ---


def _run_line(report: VolumeReport) -> str:
    run, conventions = report.run, report.conventions
    seconds, device = run["wall_seconds"], run["device"]
    return (
        f"{report.num_draws:,} functions in {seconds:.1f} s ({report.num_draws / seconds / 1e6:.2f} million/s, counting"
        f" included), {report.num_classes:,} different ones. Seed {report.seed}, {device['count']} {device['kind']},"
        f" {conventions['dtype']}, products at precision {conventions['matmul_precision']}; {run['near_ties']:,}"
        f" networks came within rounding of a tie somewhere, {report.num_nonfinite:,} were not finite."
    )


def largest_table(classes: ClassTable) -> Table:
    """Return the largest classes: name, T, Lempel-Ziv complexity, volume, interval, hits; fits 80 columns."""
    heads = ["function", "T", "LZ", "volume", interval_name(classes.level), "hits"]
    if not len(classes):
        return Table(heads, [])
    ones = tables.unpack(classes.keys, 128, 1).sum(axis=1)
    bits = lempel_ziv.complexity(classes.keys, 128)
    rows = [
        [
            table_name(entry.label),
            f"{inputs}",
            f"{complexity:.1f}",
            f"{entry.volume:.3e}",
            f"{entry.low:.2e} - {entry.high:.2e}",
            f"{entry.count:,}",
        ]
        for entry, inputs, complexity in zip(classes, ones, bits, strict=True)
    ]
    return Table(heads, rows)


def balance_table(balance: VolumeReport) -> Table:
    """Return the volume of all functions with T inputs in class 1, beside a perceptron's."""
    rows = []
    for ones in BALANCES:
        entry = balance[str(ones)]
        volume = f"{entry.volume:.5f}" if entry.count else "never drawn"
        interval = f"{entry.low:.5f} - {entry.high:.5f}" if entry.count else f"below {entry.high:.1e}"
        rows.append([str(ones), volume, interval, f"{1 / 128:.5f}" if ones < 128 else "0"])
    return Table(["T", "volume", interval_name(balance.level), "perceptron"], rows)


def _unseen(report: VolumeReport) -> str:
    mass = report.unseen
    return (
        f"Unseen: {100 * mass.mass:.1f} % of the volume ({interval_name(report.level)} {100 * mass.low:.1f} to"
        f" {100 * mass.high:.1f} %) belongs to functions that none of these {report.num_draws:,} networks computes:"
        " the next network drawn would show a new function that often."
    )


# --- what it means ---


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _random_complexity(num_inputs: int, samples: int = 300) -> float:
    """Mean Lempel-Ziv complexity of tables that are fair coin flips: what counting functions expects to see."""
    decisions = np.random.default_rng(0).integers(0, 2, (samples, num_inputs)).astype(np.uint8)
    return float(lempel_ziv.complexity(decisions, num_inputs).mean())


def _median(sample: ComplexityData, inside: np.ndarray) -> float:
    order = np.argsort(sample.complexity[inside], kind="stable")
    weight = np.cumsum(sample.weight[inside][order])
    return float(sample.complexity[inside][order][np.searchsorted(weight, weight[-1] / 2)])


def paragraph(report: VolumeReport, balance: VolumeReport, sample: ComplexityData) -> str:
    """Return what the numbers of this run mean, in words."""
    num_inputs, draws = report.domain.num_inputs, report.num_draws
    log_functions = num_inputs * math.log(2)
    sentences = [
        f"There are 2^{num_inputs} = {power_text(log_functions)} functions on these {num_inputs} inputs; counting"
        f" functions gives each of them {power_text(-log_functions)} and expects no two of {draws:,} draws to agree."
    ]
    largest = report.classes(top=SHOWN)
    if len(largest) >= 2:
        first, second = largest[0], largest[1]
        times = power_text(first.log_volume + log_functions)
        sentences.append(
            f'Parameter space is shared out otherwise: "{table_name(first.label)}" alone has {_share(first.volume)},'
            f' {times} times its share by count; with "{table_name(second.label)}" it is'
            f" {_share(first.volume + second.volume)}."
        )
    sentences.append(
        f"That is not the whole of it: {_share(report.unseen.mass)} of the volume is spread over functions that this"
        " run never met, each of them small, and only their sum is known here."
    )
    sentences += _on_complexity(sample, num_inputs)
    edge = [t for t in range(num_inputs) if min(t, num_inputs - 1 - t) <= 5]
    volume = sum(balance[str(t)].volume for t in edge)
    sentences.append(
        "By balance: functions with at most 5 inputs in their smaller class (x = 0, which is always class 0, left out)"
        f" hold {_share(volume)} of this network's volume and {_share(len(edge) / num_inputs)} of a perceptron's."
    )
    sentences.append(
        "All of this is prior mass, under this law of the weights and this coding of the inputs; volume sweep shows how"
        " far either moves it. What training makes of it is another question."
    )
    return " ".join(sentences)


def _on_complexity(sample: ComplexityData, num_inputs: int) -> list[str]:
    many, once = sample.count >= RELIABLE_HITS, sample.count == 1
    if many.sum() < 10 or once.sum() < 10:
        return []
    often, rare = _median(sample, many), _median(sample, once)
    smaller = np.minimum(sample.ones, num_inputs - sample.ones)
    return [
        f"The median Lempel-Ziv complexity is {often:.0f} bits among functions drawn {RELIABLE_HITS} times or more,"
        f" {rare:.0f} among those drawn once and {_random_complexity(num_inputs):.0f} for random tables.",
        "But the often drawn are the unbalanced ones too (median size of the smaller class"
        f" {np.median(smaller[many]):.0f} inputs, against {np.median(smaller[once]):.0f}), so these figures alone do"
        " not tell simplicity from imbalance.",
    ]
