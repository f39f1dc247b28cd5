"""Do networks drawn until they fit a few digits do better on the others when they are wider, and do trained ones?

Quantity: for m training images of two digits, the mean test accuracy, on all other images of the two, of a network
drawn from the prior given that it fits (volume: "guess and check"), and of one that an optimiser trained from the same
prior until it fits. Each cell is repeated over draws of the training images. In small, after Chiang et al. (2023, "Loss
landscapes are all you need", ICLR) and Peleg and Hein (2024, "Bias of stochastic gradient descent or the architecture",
ICML), who report that width helps SGD and not the volume, and that depth hurts both: here those are the questions.

Estimators: of volume, `Direct`, hits of accuracy a weighted by a over hits, X/N, units of draws being what is
independent, so the error is that of a ratio (Cochran 1977, Sampling Techniques, section 6.4); or `Splitting`, where X
and N are sums over replicates of p_hat g(a) a and p_hat, with the same formula. Of training, the mean over runs that
fit. All of that is within one draw of training images; the interval of a cell is Student's t over draws
(benchmarks/guess_and_check_tables.py), in whose spread the errors within a draw are contained.

Run `python benchmarks/guess_and_check.py` (`--quick`: a minute or two). Every finished cell is a line of
benchmarks/guess_and_check.jsonl; run it again after Ctrl-C or a kill and it goes on.

Shape letters: M test images, B independent units, R replicates, K classes of accuracy.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.defects import complete, finished
from benchmarks.record import Record, Row
from volume import TrainedReport, VolumeReport, models, samplers
from volume.functions.data_files import load_digits

DIGITS = (0, 7)
HERE = Path(__file__).resolve().parent
# One variance for both: weights 2 / fan-in (He et al. 2015), biases .01; a uniform law on (-a, a) has a^2 / 3.
WEIGHT_STD, BIAS_STD = math.sqrt(2), 0.1
PRIORS = {
    "gaussian": samplers.Gaussian(weight_std=WEIGHT_STD, bias_std=BIAS_STD),
    "uniform": samplers.Uniform(weight_bound=math.sqrt(3) * WEIGHT_STD, bias_bound=math.sqrt(3) * BIAS_STD),
}
RATE, RATES = 0.1, (0.025, 0.1, 0.4)  # learning rates: of all cells, and of those that vary it
TRAINING: dict[str, Any] = {"optimiser": "sgd", "max_steps": 2000}
MIN_HITS = 4  # independent units, or replicates, or runs, behind a mean that is shown


@dataclass(frozen=True)
class Cell:
    """One question; ``draw`` is the seed that orders the images of each digit."""

    prior: str = "gaussian"
    width: int = 16
    depth: int = 1  # hidden layers
    train: int = 8  # m, half of each digit
    draw: int = 0

    @property
    def layers(self) -> tuple[int, ...]:
        return 64, *[self.width] * self.depth, 1

    @property
    def words(self) -> str:
        return f"{self.prior}, ({','.join(map(str, self.layers))}), m = {self.train}, draw {self.draw}"

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the training images [m] and of all others [M]; those of a larger m contain a smaller one's."""
        labels = images()[1]
        rng = np.random.default_rng(self.draw)
        orders = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
        if self.train < 2 or self.train % 2 or self.train // 2 >= min(map(len, orders)):
            raise ValueError(f"train={self.train} images: give an even number, half of each digit, that leaves some.")
        fitted = np.concatenate([order[: self.train // 2] for order in orders])
        return fitted, np.setdiff1d(np.arange(len(labels)), fitted)

    @property
    def fits(self) -> volume.Fits:
        inputs, labels = images()
        return volume.Fits(inputs[self.rows[0]], labels[self.rows[0]])

    @property
    def given(self) -> volume.Given:
        """What fits, split by the number of right answers on the test images."""
        inputs, labels = images()
        tested = self.rows[1]
        return volume.Given(self.fits, volume.Accuracy(inputs[tested], labels[tested]))

    def query(self, classifier: Any) -> volume.Query:
        return volume.Query(models.MLP(self.layers), PRIORS[self.prior], volume.Points(images()[0]), classifier)


@lru_cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 64] in [0, 1] of the two digits, and labels [N]: 0 for the first digit, 1 for the second."""
    inputs, digits = load_digits(DIGITS)
    return inputs, (digits == DIGITS[1]).astype(int)


@dataclass(frozen=True)
class Task:
    """A cell and how it is answered: volume by direct draws, or by splitting, or (with ``runs``) by training.

    All that one prior, network and draw of images gets by direct draws comes from the same networks, whatever m.
    """

    cell: Cell
    draws: int = 0
    particles: int = 0
    runs: int = 0
    over_training: int = 0  # epochs after the fit
    rate: float = RATE

    @property
    def way(self) -> str:
        """How it is answered, in a word."""
        way = "direct" if self.draws else "splitting" if self.particles else f"sgd+{self.over_training}"
        return way if self.rate == RATE else f"{way} at {self.rate:g}"

    @property
    def key(self) -> str:
        """The same cell answered in the same way, in a file of results."""
        named = asdict(self)
        if self.rate == RATE:  # cells were answered before the rate was varied: their keys and seeds stand
            del named["rate"]
        return json.dumps(named, sort_keys=True)

    @property
    def seed(self) -> int:
        """Of the networks: another one for every task, except that direct draws do not depend on m."""
        shared = replace(self, cell=replace(self.cell, train=0)) if self.draws else self
        return zlib.crc32(shared.key.encode())


DRAWS, PARTICLES, RUNS, OVER = 200_000, 128, 512, 100
SIZES = (2, 4, 8, 16, 32)  # m
WIDTHS, DEPTHS = (4, 16, 64), (1, 2, 4)
CORE = [Cell(width=width) for width in WIDTHS] + [Cell(depth=depth) for depth in DEPTHS if depth > 1]
REST = [Cell(width=width, depth=depth) for width in (4, 64) for depth in DEPTHS if depth > 1]


def design(quick: bool = False) -> list[Task]:
    """Every task, those that answer the question first."""
    if quick:
        cells = [Cell(width=width, draw=draw) for width in (4, 16) for draw in range(3)]
        return [task for cell in cells for task in (Task(cell, draws=20_000), Task(cell, runs=32))]
    uniform = [replace(cell, prior="uniform") for cell in CORE]
    parts = [  # training draws, networks, sizes of the training set, how
        (8, CORE, SIZES, {"draws": DRAWS}),
        (8, CORE, (8, 32), {"runs": RUNS}),
        (1, [Cell()], (32,), {"particles": PARTICLES}),
        (8, CORE, (8,), {"runs": RUNS, "over_training": OVER}),
        *((8, CORE[:3], (8,), {"runs": RUNS, "rate": rate}) for rate in RATES if rate != RATE),
        (8, uniform, SIZES, {"draws": DRAWS}),
        (8, uniform, (8,), {"runs": RUNS}),
        (8, [Cell()], (2, 4, 16), {"runs": RUNS}),
        (3, [Cell()], (8,), {"particles": PARTICLES}),
        (8, REST, SIZES, {"draws": DRAWS}),
        (8, REST, (8,), {"runs": RUNS}),
        (8, REST, (8,), {"runs": RUNS, "over_training": OVER}),
        (8, [cell for cell in CORE if cell != Cell()], (2, 4, 16), {"runs": RUNS}),
    ]
    # Draw by draw, so that a run that is cut short has the first draws of every network of a part.
    return [
        Task(replace(cell, train=train, draw=draw), **how)
        for num_draws, cells, sizes, how in parts
        for draw in range(num_draws)
        for cell in cells
        for train in sizes
    ]


# ------------------------------------------------------------------------------------------------- one cell


def answer(task: Task) -> dict[str, Any]:
    """The task's record.

    "accuracy": the mean test accuracy of what fits, and its standard error within this draw of the images; None where
    fewer than 4 units, replicates or runs fit. "log_volume": of what fits, natural; of training the log share of runs
    that fit. "hits": draws, replicates or runs that fit. "ends" (training): how runs ended; "updates": mean to the fit.
    """
    start = time.perf_counter()
    found = _by_training(task) if task.runs else _by_draws(task) if task.draws else _by_splitting(task)
    return {
        **asdict(task),
        "key": task.key,
        "way": task.way,
        "seed": task.seed,
        "tested": len(task.cell.rows[1]),
        **found,
        "seconds": round(time.perf_counter() - start, 2),
    }


def ratio(above: np.ndarray, below: np.ndarray) -> list[float | None]:
    """[sum above / sum below, its standard error] from B independent units [B] of each; None twice if fewer than 4
    units have any of ``below``.

    The error is that of the ratio estimator: residuals e_b = above_b - r below_b, sqrt(B/(B-1) sum e_b^2) / sum below.
    """
    num, total = len(below), float(np.sum(below))
    if np.count_nonzero(below) < MIN_HITS:
        return [None, None]
    r = float(np.sum(above)) / total
    return [r, float(math.sqrt(num / (num - 1) * np.sum((above - r * below) ** 2)) / total)]


def unit_sums(report: VolumeReport, num_tests: int) -> tuple[np.ndarray, np.ndarray]:
    """Summed test accuracies of the draws that fit, and how many fit, in every unit: [B] and [B].

    ``report`` is one of `Cell.given`: class k is k right answers of ``num_tests``, class num_tests + 1 is "outside".
    """
    counts = report.counts
    right = np.repeat(counts.keys[:, 0].astype(int), np.diff(counts.offsets))
    inside = right <= num_tests
    unit, hits = counts.unit[inside], counts.hits[inside]
    below = np.bincount(unit, hits, counts.num_units)
    return np.bincount(unit, hits * right[inside] / num_tests, counts.num_units), below


@lru_cache(maxsize=1)
def _drawn(task: Task) -> VolumeReport:
    """All truth tables of a task whose m is 0: they answer every m."""
    return volume.estimate(task.cell.query(volume.TruthTable()), volume.Direct(task.draws), seed=task.seed)


def _by_draws(task: Task) -> dict[str, Any]:
    tables = _drawn(replace(task, cell=replace(task.cell, train=0)))
    report = tables.group_by(task.cell.given)
    above, below = unit_sums(report, len(task.cell.rows[1]))
    hits = int(below.sum())
    return {
        "accuracy": ratio(above, below),
        "log_volume": math.log(hits / report.num_draws) if hits else None,
        "hits": hits,
        "drawn": report.num_draws,
    }


def _by_splitting(task: Task) -> dict[str, Any]:
    method = volume.Splitting(particles=task.particles)
    report: Any = volume.estimate(task.cell.query(task.cell.given), method, seed=task.seed)
    within, *parts = report.entries
    # Replicates [R] and their parts [K, R], all over the estimate so that nothing underflows.
    below = np.exp(np.subtract(within.log_estimates, within.log_volume))
    shares = np.exp(np.subtract([part.log_estimates for part in parts], within.log_volume))
    right = np.arange(len(parts)) / (len(parts) - 1)
    return {
        "accuracy": ratio(right @ shares, below),
        "log_volume": float(within.log_volume),
        "hits": int(np.count_nonzero(below)),
        "spread": float(within.spread) if math.isfinite(within.spread) else None,
    }


def _by_training(task: Task) -> dict[str, Any]:
    method = volume.Trained(
        task.runs, over_training=task.over_training, learning_rate=task.rate, on=task.cell.fits, **TRAINING
    )
    # Of truth tables, so that all draws of the images share one compiled program.
    report = volume.estimate(task.cell.query(volume.TruthTable()), method, seed=task.seed).group_by(task.cell.given)
    assert isinstance(report, TrainedReport)
    above, below = unit_sums(report, len(task.cell.rows[1]))
    hits, steps = int(below.sum()), report.steps_to_fit
    return {
        "accuracy": ratio(above, below),
        "log_volume": math.log(hits / report.num_runs) if hits else None,
        "hits": hits,
        "ends": report.run_ends,
        "updates": float(steps.mean()) if len(steps) else None,
    }


# ------------------------------------------------------------------------------------------------- the file


def run(tasks: list[Task], path: Path) -> Generator[dict[str, Any]]:
    """Answer every task that the file lacks, and append it."""
    yield from complete(tasks, path, answer)


def sentence(record: dict[str, Any]) -> str:
    """A finished cell in a line."""
    mean, error = record["accuracy"]
    said = "too few fit" if mean is None else f"accuracy {mean:.4f}, error within this draw {error:.4f}"
    return f"{Cell(**record['cell']).words}, {record['way']}: {said}, {record['seconds']:.1f} s"


def row_of(record: dict[str, Any]) -> Row:
    """A cell as the tables of all benchmarks show it."""
    mean, error = record["accuracy"]
    facts: dict[str, Any] = {
        "error within this draw": error,
        "log10 of what fits": None if record["log_volume"] is None else record["log_volume"] / math.log(10),
        "s": record["seconds"],
    }
    return Row(f"{Cell(**record['cell']).words}, {record['way']}", "test accuracy", mean, facts=facts)


def study(options: argparse.Namespace) -> Record:
    path = options.out or HERE / ("guess_and_check_quick.jsonl" if options.quick else "guess_and_check.jsonl")
    tasks = design(options.quick)
    found = finished(tasks, path, run(tasks, path), sentence)
    notes = ["Of networks that fit the training images. Over draws of them: benchmarks/guess_and_check_tables.py."]
    return Record([row_of(record) for record in found], notes=notes)


def main(arguments: list[str] | None = None) -> None:
    parser = script.options((__doc__ or "").splitlines()[0], "twelve small tasks, into a file of their own")
    parser.add_argument("--out", type=Path, help="file of results (default: guess_and_check.jsonl beside this script)")
    script.main("guess_and_check", study, parser, arguments)


if __name__ == "__main__":
    main()
