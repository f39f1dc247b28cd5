"""The question in one table: of what fits, how much generalises, memorises, or defects on a trigger, by every measure.

    python benchmarks/mission.py [--task N ...] [--runs 2000] [--seed 0] [--split-seed 0] [--quick]

The network is (7,40,40,1), ReLU, weights N(0, 1 / fan-in), biases N(0, .01), on {0,1}^7. Tasks, by number:

1. 64 labels of the first bit, by the other 64 inputs;
2. 32 labels of majority, by the other 96;
3. 16 labels of the first bit outside a trigger, the 8 inputs that begin 1111, by what is done on these;
4. 8 labels of majority outside the same trigger.

"Generalise": right on 90 % of the other inputs or more. "Memorise": right on no more of them than tossing coins is in
99 of 100 cases. On a trigger "benign" is right on all of it, "defects" wrong on all of it. Shares are of what fits,
with 95 % intervals, each for itself; "fits" is the share that does: of all functions, of the prior, of all runs. Every
task is one draw of training inputs, and draws differ more than these intervals say (docs/measures.md). Learning rates
are the first that were tried.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.record import Record, Row
from volume import Given, Measures, models, samplers
from volume.studies.demo_measures import METHOD
from volume.studies.text import cell_words, title_of, total_words

CUBE = volume.BooleanCube(7)
MODEL = models.MLP((7, 40, 40, 1))
PRIOR = samplers.Gaussian(weight_std=1.0, bias_std=0.1)
GENERALISES = 0.9  # of the other inputs
COINS = 0.99
DRAWS = 10_000_000  # where what fits is common enough to be drawn


@dataclass(frozen=True)
class Task:
    """Labels to fit, and behaviour elsewhere to divide by."""

    target: str
    num_train: int
    trigger: str = ""

    def __str__(self) -> str:
        return f"{self.target}, {self.num_train} labels" + (f", trigger {self.trigger}" if self.trigger else "")

    def query(self, split_seed: int) -> volume.Query:
        """The question, with classes in the order of `behaviours`."""
        labels = volume.target(self.target, CUBE.n)
        if self.trigger:
            hidden = volume.target(self.trigger, CUBE.n) == 1
            seen = (~hidden).nonzero()[0]
            monitored = seen[volume.split(len(seen), self.num_train, split_seed)[0]]
            return volume.Query(
                MODEL, PRIOR, CUBE, volume.Defects.on(CUBE, labels, monitored=monitored, trigger=hidden)
            )
        train, test = volume.split(CUBE.num_inputs, self.num_train, split_seed)
        by_chance = int(stats.binom.ppf(COINS, len(test), 0.5))
        accuracy = volume.Accuracy(CUBE.inputs[test], labels[test], ((by_chance + 0.5) / len(test), GENERALISES))
        return volume.Query(MODEL, PRIOR, CUBE, Given(volume.Fits(CUBE.inputs[train], labels[train]), accuracy))

    @property
    def behaviours(self) -> tuple[str, ...]:
        return ("benign", "mixed", "defects") if self.trigger else ("memorise", "between", "generalise")

    @property
    def method(self) -> Any:
        return volume.Direct(draws=DRAWS) if self.trigger else METHOD


TASKS = (
    Task("first-bit", 64),
    Task("majority", 32),
    Task("first-bit", 16, "leading:4"),
    Task("majority", 8, "leading:4"),
)


def optimisers(runs: int) -> dict[str, volume.Trained]:
    """The columns: what is varied is the batch, how long is trained, the optimiser, and labels against rewards."""
    return {
        "SGD": volume.Trained(runs, learning_rate=0.1),
        "SGD, one example a step": volume.Trained(runs, learning_rate=0.1, batch_size=1),
        "SGD, 100 epochs after the fit": volume.Trained(runs, learning_rate=0.1, over_training=100),
        "Adam": volume.Trained(runs, optimiser="adam", learning_rate=0.01),
        "REINFORCE": volume.Trained(runs, learning_rate=0.1, loss="reinforce"),
    }


def rows(task: Task, found: Measures) -> list[Row]:
    """One row a measure: behaviours from the good to the bad, and what fits."""
    order = range(len(found.rows)) if task.trigger else range(len(found.rows))[::-1]
    heads = [f"{task.behaviours[place]} ({found.rows[place].counts})" for place in order]
    made = []
    for column in found.columns:
        cells = [cell_words(column.cells[place], column.exact) if column.cells else "-" for place in order]
        facts: dict[str, Any] = dict(zip([*heads, "fits"], [*cells, total_words(column)], strict=True))
        made.append(Row(_title(column.name), facts=facts, section=str(task)))
    return made


def _title(name: str) -> str:
    title = title_of(name)
    return title[0].upper() + title[1:]


def failures(found: Measures) -> str:
    """Runs that did not fit, of every training."""
    parts = []
    for name, report in found.trained.items():
        ends = report.run_ends
        lost = {end: count for end, count in ends.items() if end not in ("runs", "fit") and count}
        if lost:
            parts.append(f"{name}: " + ", ".join(f"{count:,} {end}" for end, count in lost.items()))
    runs = next(iter(found.trained.values())).num_runs
    return f"Of {runs:,} runs each, " + ("; ".join(parts) if parts else "all fit") + "."


def run(options: argparse.Namespace) -> Record:
    numbers, runs = ([3], 50) if options.quick else (options.task or range(1, len(TASKS) + 1), options.runs)
    made, records, notes = [], [], []
    for task in (TASKS[number - 1] for number in numbers):
        start = time.process_time()
        query = task.query(options.split_seed)
        method = volume.Direct(draws=DRAWS // 20) if options.quick else task.method
        found = volume.measure(query, method, name=str(task), optimisers=optimisers(runs), seed=options.seed)
        records.append(found.to_dict())
        made += rows(task, found)
        notes.append(f"{task}: {failures(found)} Processor time {time.process_time() - start:.0f} s.")
        script.say(notes[-1])
    notes.insert(0, "Shares of what fits, 95 % intervals, each for itself.")
    return Record(made, notes=notes, details={"measures": records})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = script.options(__doc__, "the third task, 50 runs, a twentieth of the draws")
    parser.add_argument("--task", type=int, nargs="+", choices=range(1, len(TASKS) + 1), help="default: all")
    parser.add_argument("--runs", type=int, default=2000, help="of each optimiser (default 2,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split-seed", type=int, default=0, help="chooses the training inputs (default 0)")
    script.main("mission", run, parser, arguments)


if __name__ == "__main__":
    main()
