"""The counting argument as a table: how what fits the training labels divides, by several measures on functions.

Quantity: for a class b of behaviour elsewhere (a bin of test accuracy, or what is done on a trigger), the share of b
within A, the functions that fit the training labels, under

* functions: every function counts the same. Each input whose label is not given is right with probability 1/C, so the
  shares are binomial, exact (volume.functions.counting), whatever the target and the network;
* parameter volume: prior{f and b} / prior{f}, by `Splitting` or `Direct`, with an interval;
* infinite width: the same for the wide limit of the network (volume.estimators.infinite_width.shares), with an
  interval;
* simplicity: weights 2^-K(f), K the Lempel-Ziv complexity (volume.studies.simplicity), exact, for at most 16 inputs;
* an optimiser: the share of its runs that fit (volume.estimators.trained.trained), with an interval. A share of runs is
  no prior mass.

References: the counting argument in Carlsmith 2023 ("Scheming AIs") and its critique by Belrose and Pope
2024 ("Counting arguments provide no evidence for AI doom").

Shape letters: N inputs, C classes of one input, M other inputs, K rows (classes of behaviour).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import numpy as np

from volume.classifiers.base import Conditional
from volume.classifiers.graded import Graded
from volume.common.interrupts import stoppable
from volume.common.progress import Progress
from volume.common.records import plain, short
from volume.common.seeds import to_key
from volume.estimation import Interrupted, estimate
from volume.estimators.direct.direct import Direct
from volume.estimators.splitting.splitting import Splitting
from volume.estimators.trained.trained import Trained
from volume.method import Method
from volume.queries.query import Query
from volume.reports.loading import Stored
from volume.reports.trained import TrainedReport
from volume.studies.columns import (
    FUNCTIONS,
    LIMIT,
    SIMPLICITY,
    Cell,
    Column,
    column_from_dict,
    limit_column,
    runs_column,
    simplicity_column,
    trainings,
    volume_column,
)
from volume.studies.rows import Row, rows_of
from volume.studies.simplicity import MAX_INPUTS
from volume.studies.table import ORIGIN, MeasureTable
from volume.studies.text import paragraph, summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The choice of a method by default: a pilot of direct draws, and draws for so many hits of what fits where the pilot
# has enough of them to say how many that takes.
PILOT_DRAWS, PILOT_HITS = 200_000, 50
HITS, MOST_DRAWS = 20_000, 40_000_000
# 16 replicates rather than 8: a class that none of them met is then below 1 - .025^(1/16) = .21 instead of .37.
PARTICLES, MOVES, REPLICATES = 128, 8, 16


@dataclass(frozen=True, eq=False, repr=False)
class Measures(MeasureTable, Stored):
    """A task under several measures; `measure` makes it."""

    format: ClassVar[str] = "param-volume measures"
    file: ClassVar[str] = "measures.json"

    training: dict[str, Any] = field(default_factory=dict)  # how the runs of every optimiser ended

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trained:
            object.__setattr__(self, "training", {n: _training_record(report) for n, report in self.trained.items()})

    @property
    def text(self) -> str:
        """What the numbers say, in a paragraph computed from them."""
        return paragraph(self)

    def summary(self, width: int | None = None) -> str:
        """Return the table and the paragraph, as text in ``width`` columns: by default 100, or those of a narrower
        terminal.

        In fewer than 100 columns intervals stand below their shares.
        """
        return summarise(self, width)

    def __repr__(self) -> str:
        return f"<Measures of {self.name!r}: {len(self.rows)} rows, {', '.join(c.name for c in self.columns)}>"

    def to_dict(self) -> dict[str, Any]:
        """Return a record that is strict JSON."""
        return {
            "task": self.name,
            "num_inputs": self.num_inputs,
            "num_train": self.num_train,
            "num_other": self.num_other,
            "num_classes": self.num_classes,
            "log10_functions_that_fit": self.log_num_functions / math.log(10),
            "rows": [row.to_dict() for row in self.rows],
            "measures": [column.to_dict() for column in self.columns],
            "left_out": self.absent,
            "text": self.text,
            "level": self.level,
            "seed": self.origin["seed"],
            "method": self.origin["method"],
            "query": short(plain(self.description)),
            "conventions": self.origin["conventions"],
            "run": self.origin["run"],
            "training": self.training,
            "seconds": self.seconds,
        }

    def record(self) -> dict[str, Any]:
        return {**self.to_dict(), "log_functions_that_fit": self.log_num_functions, "description": self.description}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(
            name=record["task"],
            rows=tuple(map(Row.from_dict, record["rows"])),
            columns=tuple(map(column_from_dict, record["measures"])),
            absent=record["left_out"],
            **{name: record[name] for name in ("num_inputs", "num_train", "num_other", "num_classes")},
            log_num_functions=record["log_functions_that_fit"],
            report=None,
            description=record["description"],
            seconds=record["seconds"],
            origin={name: record[name] for name in ORIGIN},
            training=record["training"],
        )

    def save_training(self, folder: str | Path) -> list[Path]:
        """Write the runs of every optimiser, as `TrainedReport.save` does, in folders such as ``training-sgd``."""
        return [
            report.save(Path(folder) / f"training-{re.sub(r'[^A-Za-z0-9.+]+', '-', name).strip('-')}")
            for name, report in self.trained.items()
        ]

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw bars on a log axis, a group for each row; see `volume.studies.figures`."""
        from volume.studies.figures import bars

        return bars(self, ax=ax, path=path)


@stoppable()
def measure(
    query: Query,
    method: Method[Any] | None = None,
    *,
    name: str = "",
    optimisers: Mapping[str, Trained] | Sequence[Trained] | Trained = (),
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
) -> Measures:
    """Divide what fits by every measure that can answer.

    Args:
        query: with the classifier ``Given(Fits(...), Accuracy(...))`` or `Defects`; the other inputs must be distinct
            and none of them a training input.
        method: for the parameter volume. Default: `Direct` where a pilot of direct draws hits what fits often enough,
            else `Splitting`; the result says which.
        name: of the task, for people.
        optimisers: trainings such as ``volume.Trained(1000, optimiser="adam", learning_rate=0.01)``, each of which adds
            a column of its runs; a mapping names the columns. Run i of each starts from the same draw of the prior.
        seed: as in `volume.estimate`; `estimate` with it gives the same runs.
        level: likewise.
        progress: likewise.

    Raises:
        TypeError, ValueError: another classifier, other inputs that repeat or overlap, or trainings that cannot be
            told apart or train on something else.
        Interrupted: on Ctrl-C. Once training has begun its ``report`` is a `Measures` of what was finished, with the
            finished runs of the training that was stopped.
    """
    start = time.perf_counter()
    given, split, trained_on = _checked(query)
    methods = trainings(optimisers, query)
    key, _ = to_key(seed)
    num_train, classes = len(trained_on), max(query.model.num_outputs, 2)
    rows = rows_of(split)
    logs = split.log_function_shares(classes)
    log_fit = -num_train * math.log(classes)
    exact = [Column(FUNCTIONS, log_fit, log_fit, log_fit, tuple(Cell(x, x, x) for x in logs), True, "counted, exact")]
    absent: dict[str, str] = {}
    how = ""
    if method is None:
        method, how = _choose(query, jax.random.fold_in(key, 1))
    report = estimate(query, method, seed=seed, level=level, progress=progress)
    columns = [*exact, volume_column(report, given, how)]
    try:
        columns.append(limit_column(query, key, level))
    except (TypeError, ValueError) as error:
        absent[LIMIT] = str(error)
    if query.model.num_outputs > 1:
        absent[SIMPLICITY] = "it is defined here for one output, and this network has several."
    elif query.domain.num_inputs > MAX_INPUTS:
        absent[SIMPLICITY] = (
            f"it is a sum over all 2^{query.domain.num_inputs} functions, done for at most {MAX_INPUTS} inputs."
        )
    else:
        columns.append(simplicity_column(query, given))
    trained: dict[str, TrainedReport] = {}
    stopped = None
    for title, training in methods.items():
        if stopped is not None:
            absent[title] = "the run was stopped before its turn."
            continue
        try:
            answer = estimate(query, training, seed=seed, level=level, progress=progress)
        except Interrupted as stop:
            stopped, answer = stop, stop.report
        if isinstance(answer, TrainedReport):
            trained[title] = answer
            columns.append(runs_column(title, answer, given))
        else:
            absent[title] = "the run was stopped before the first of its networks had ended."
    result = Measures(
        name=name,
        rows=rows,
        columns=tuple(columns),
        absent=absent,
        num_inputs=query.domain.num_inputs,
        num_train=num_train,
        num_other=len(split.graded_inputs),
        num_classes=classes,
        log_num_functions=(query.domain.num_inputs - num_train) * math.log(classes),
        report=report,
        description=report.description,
        seconds=time.perf_counter() - start,
        trained=trained,
    )
    if stopped is not None:
        raise Interrupted(result, stopped.progress)  # type: ignore[arg-type]  # a table of reports
    return result


def _training_record(report: TrainedReport) -> dict[str, Any]:
    """How the runs of one optimiser ended."""
    return {
        "method": short(plain(report.method)),
        "runs": report.num_runs,
        "ends": {end: entry.to_dict() | {"count": report.run_ends[end]} for end, entry in report.ends.items()},
        "mean_updates_to_fit": float(report.steps_to_fit.mean()) if len(report.steps_to_fit) else None,
        "seed": report.seed,
        "run": {name: value for name, value in report.run.items() if name != "training"},
    }


def _checked(query: Query) -> tuple[Conditional, Graded, np.ndarray]:
    """Return the bound classifier, what splits it, and the distinct inputs whose labels are given, [m]."""
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    query.require_prior_mass("The table of measures")
    bound = query.bound
    if not (isinstance(bound, Conditional) and isinstance(bound.split, Graded)):
        raise ValueError(
            f"The measures divide what fits by behaviour elsewhere; got {query.classifier!r}: give "
            "volume.Given(volume.Fits(...), volume.Accuracy(...)) or volume.Defects(...)."
        )
    labelled = query.classifier.labelled_inputs()
    if labelled is None:
        raise ValueError(
            f"The measures divide what fits; the class {bound.within.label(bound.wanted)!r} of "
            f"{bound.within.classifier!r} names no training labels: give volume.Fits(...) and leave label= out."
        )
    trained_on, other = np.unique(query.domain.index_of(labelled[0])), bound.split.graded_inputs
    if len(np.unique(other)) < len(other):
        raise ValueError("A test input stands there twice: give each once, or counting functions has no binomial.")
    both = np.intersect1d(other, trained_on)
    if len(both):
        raise ValueError(
            f"{len(both)} test inputs are training inputs too, the first at position {both[0]} of the domain: leave "
            "them out, what fits is right there."
        )
    return bound, bound.split, trained_on


def _choose(query: Query, key: jax.Array) -> tuple[Method[Any], str]:
    """Direct draws where they hit what fits, else splitting; the pilot's own draws are not used again."""
    fallback = Splitting(particles=PARTICLES, moves=MOVES, replicates=REPLICATES)
    pilot = estimate(query, Direct(draws=PILOT_DRAWS), seed=key)
    hits = PILOT_DRAWS - pilot["outside"].count - int(pilot.num_nonfinite)
    if hits < PILOT_HITS:
        if not query.prior.has_transform:
            return Direct(
                draws=MOST_DRAWS
            ), f" (a pilot hit {hits} times in {PILOT_DRAWS:,} draws, and splitting cannot)"
        return fallback, f" (a pilot of {PILOT_DRAWS:,} direct draws hit {hits} networks that fit)"
    draws = min(MOST_DRAWS, max(PILOT_DRAWS, math.ceil(HITS * PILOT_DRAWS / hits)))
    return Direct(draws=draws), f" (a pilot of {PILOT_DRAWS:,} direct draws hit {hits:,} networks that fit)"


def accuracy_edges(num_other: int) -> tuple[float, ...]:
    """Return the bins by default: half, .7, .9, and right everywhere as a bin of its own; none without a count in
    it."""
    fewest = {math.ceil(edge * num_other - 1e-9): edge for edge in (0.9, 0.7, 0.5)}
    return (*(edge for count, edge in sorted(fewest.items()) if count < num_other), 1 - 0.5 / num_other)
