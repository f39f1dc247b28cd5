"""The opening of ``volume demo``: two tasks under every measure, and what the counting argument says of them.

The network is the (7,40,40,1) ReLU network with weight_std 1 and bias_std .1, on the 128 inputs {0,1}^7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from volume.classifiers.labels import Accuracy, Fits
from volume.common.progress import Progress
from volume.estimators.splitting.splitting import Splitting
from volume.functions.domains import BooleanCube
from volume.functions.targets import split, target
from volume.method import Method
from volume.models import MLP
from volume.queries.query import Query
from volume.samplers import Gaussian
from volume.studies.measures import MOVES, PARTICLES, REPLICATES, Measures, accuracy_edges, measure

TASKS = (("first-bit", 64), ("majority", 32))
METHOD: Method[Any] = Splitting(particles=PARTICLES, moves=MOVES, replicates=REPLICATES)
OPENING = (
    "A counting argument: of all functions that fit the training labels almost none is right elsewhere, so training"
    " should not be expected to generalise. Below, the same question with functions counted and with parameter space"
    " measured, for the network (7, 40, 40, 1), ReLU, weights N(0, 1/fan-in), biases N(0, 0.01), on {0,1}^7."
)


def task_query(word: str, num_train: int) -> Query:
    """Return what fits ``num_train`` labels of a named target, by accuracy on the other inputs of {0,1}^7."""
    from volume.classifiers.given import Given

    cube, labels = BooleanCube(7), target(word, 7)
    train, test = split(cube.num_inputs, num_train, 0)
    accuracy = Accuracy(cube.inputs[test], labels[test], accuracy_edges(len(test)))
    fits = Fits(cube.inputs[train], labels[train])
    return Query(MLP((7, 40, 40, 1)), Gaussian(weight_std=1.0, bias_std=0.1), cube, Given(fits, accuracy))


def run(
    folder: Path,
    say: Callable[[str], None],
    *,
    tasks: Sequence[tuple[str, int]],
    method: Method[Any],
    width: int,
    seed: Any,
    level: float,
    progress: bool | Callable[[Progress], None] | None,
    suffix: str,
) -> tuple[list[Measures], list[Path]]:
    """Print the tables of the tasks as they come; write a record and a figure of each."""
    tables, saved = [], []
    if tasks:
        say(OPENING)
    for word, num_train in tasks:
        name = f"measures-{word}-{num_train}"
        query = task_query(word, num_train)
        one = measure(query, method, name=word, seed=seed, level=level, progress=progress)
        say("\n" + one.summary(width))
        saved += [one.save(folder / f"{name}.json"), folder / f"{name}{suffix}"]
        one.plot(saved[-1])
        tables.append(one)
    return tables, saved
