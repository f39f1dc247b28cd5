"""The counting argument as a table: how what fits the training labels divides, by several measures on functions.

Quantity: for a class b of behaviour elsewhere (a bin of test accuracy, or what is done on a trigger), the share of b
within A, the functions that fit the training labels, under

* functions: every function counts the same. Each input whose label is not given is right with probability 1/C, so the
  shares are binomial, exact (volume.counting), whatever the target and the network;
* parameter volume: prior{f and b} / prior{f}, by `Splitting` or `Direct`, with an interval;
* infinite width: the same for the wide limit of the network (volume.wide_shares), with an interval;
* simplicity: weights 2^-K(f), K the Lempel-Ziv complexity (volume.simplicity), exact, for at most 16 inputs.

References: the counting argument in Carlsmith 2023 ("Scheming AIs") and its critique by Belrose and Pope
2024 ("Counting arguments provide no evidence for AI doom").

Shape letters: N inputs, C classes of one input, M other inputs, K rows (classes of behaviour).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from volume import replicates
from volume.class_estimate import ReplicatedVolume
from volume.defects import BoundOnTrigger
from volume.direct import Direct
from volume.estimate_report import EstimateReport
from volume.estimation import estimate
from volume.given import BoundGiven
from volume.intervals import clopper_pearson
from volume.labels import BoundAccuracy, BoundFits
from volume.logs import finite, linear
from volume.measure_rows import Row, function_shares, rows_of
from volume.method import Method
from volume.progress import Progress
from volume.query import Query
from volume.records import plain, short
from volume.report import VolumeReport
from volume.seeds import to_key
from volume.sharing import shares as counted_shares
from volume.simplicity import MAX_INPUTS, simplicity_measure
from volume.splitting import Splitting
from volume.wide_shares import wide_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The choice of a method by default: a pilot of direct draws, and draws for so many hits of what fits where the pilot
# has enough of them to say how many that takes.
PILOT_DRAWS, PILOT_HITS = 200_000, 50
HITS, MOST_DRAWS = 20_000, 40_000_000
# 16 replicates rather than 8: a class that none of them met is then below 1 - .025^(1/16) = .21 instead of .37.
PARTICLES, MOVES, REPLICATES = 128, 8, 16
FUNCTIONS, VOLUME, LIMIT, SIMPLICITY = "functions", "volume", "infinite width", "simplicity"


@dataclass(frozen=True)
class Cell:
    """The share of one class under one measure, natural logs; -inf is a share of 0."""

    log_share: float
    log_low: float  # the share itself where it is exact
    log_high: float
    resolved: bool = True  # if not, only the ends say something

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a share in (0, 1e-300) has its logarithm only."""
        logs = {"log_share": self.log_share, "log_low": self.log_low, "log_high": self.log_high}
        record: dict[str, Any] = {name: finite(value) for name, value in logs.items()}
        record |= {name.removeprefix("log_"): None if math.isnan(x) else linear(x) for name, x in logs.items()}
        return record | {"resolved": self.resolved}


@dataclass(frozen=True)
class Column:
    """One measure: what it gives to all that fits, and how that divides."""

    name: str  # FUNCTIONS, VOLUME, LIMIT or SIMPLICITY
    log_total: float  # share of all functions, or of the prior, that fits; natural logs
    log_total_low: float
    log_total_high: float
    cells: tuple[Cell, ...]  # [K]; empty where only the total is known
    exact: bool
    how: str  # the method, in words
    resolved: bool = True  # the total; if not, only its ends say something
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        total = Cell(self.log_total, self.log_total_low, self.log_total_high, self.resolved).to_dict()
        return {
            "name": self.name,
            "total": {name.replace("share", "volume"): value for name, value in total.items()},
            "shares": [cell.to_dict() for cell in self.cells],
            "exact": self.exact,
            "how": self.how,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Measures:
    """A task under several measures; `measure` makes it."""

    name: str  # of the task
    rows: tuple[Row, ...]  # [K]
    columns: tuple[Column, ...]
    absent: dict[str, str]  # measure -> why it has no column
    num_inputs: int
    num_train: int
    num_other: int  # M, test or trigger inputs
    num_classes: int  # C
    log_num_functions: float  # that fit
    report: VolumeReport | EstimateReport  # the run behind the parameter volume
    description: dict[str, Any]
    seconds: float

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"No column {name!r}: {self.absent.get(name, 'the measures are functions, volume, ...')}")

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    @property
    def level(self) -> float:
        """Of the intervals, pointwise."""
        return self.report.level

    @property
    def text(self) -> str:
        """What the numbers say, in a paragraph computed from them."""
        from volume.measure_text import paragraph

        return paragraph(self)

    def summary(self, width: int = 100) -> str:
        """The table and the paragraph, as text; in fewer than 100 columns intervals stand below their shares."""
        from volume.measure_text import summarise

        return summarise(self, width)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<Measures of {self.name!r}: {len(self.rows)} rows, {', '.join(c.name for c in self.columns)}>"

    def to_dict(self) -> dict[str, Any]:
        """A record that is strict JSON."""
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
            "seed": self.report.seed,
            "method": self.report.method,
            "query": short(plain(self.description)),
            "conventions": self.report.conventions,
            "run": self.report.run,
            "seconds": self.seconds,
        }

    def save(self, path: str | Path) -> Path:
        """Write ``measures.json`` (or a file of another name ending .json) and give back its path."""
        path = Path(path)
        path = path if path.suffix == ".json" else path / "measures.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(record + "\n", encoding="utf-8")
        return path

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Bars on a log axis, a group for each row; see `volume.measure_plots`."""
        from volume.measure_plots import bars

        return bars(self, ax=ax, path=path)


def measure(
    query: Query,
    method: Method[Any] | None = None,
    *,
    name: str = "",
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
        seed: as in `volume.estimate`.
        level: likewise.
        progress: likewise.

    Raises:
        TypeError, ValueError: another classifier, or other inputs that repeat or overlap.
        Interrupted: on Ctrl-C.
    """
    start = time.perf_counter()
    given = _checked(query)
    split = given.split
    assert isinstance(given.within, BoundFits)
    assert isinstance(split, (BoundAccuracy, BoundOnTrigger))
    key, _ = to_key(seed)
    num_train, classes = len(np.unique(given.within.positions)), max(query.model.num_outputs, 2)
    rows = rows_of(split)
    logs = function_shares(split, classes)
    log_fit = -num_train * math.log(classes)
    exact = [Column(FUNCTIONS, log_fit, log_fit, log_fit, tuple(Cell(x, x, x) for x in logs), True, "counted, exact")]
    absent: dict[str, str] = {}
    how = ""
    if method is None:
        method, how = _choose(query, jax.random.fold_in(key, 1))
    report = estimate(query, method, seed=seed, level=level, progress=progress)
    columns = [*exact, _volume_column(report, given, how)]
    try:
        columns.append(_limit_column(query, key, level))
    except (TypeError, ValueError) as error:
        absent[LIMIT] = str(error)
    if query.model.num_outputs > 1:
        absent[SIMPLICITY] = "it is defined here for one output, and this network has several."
    elif query.domain.num_inputs > MAX_INPUTS:
        absent[SIMPLICITY] = (
            f"it is a sum over all 2^{query.domain.num_inputs} functions, done for at most {MAX_INPUTS} inputs."
        )
    else:
        columns.append(_simplicity_column(query, given))
    return Measures(
        name=name,
        rows=rows,
        columns=tuple(columns),
        absent=absent,
        num_inputs=query.domain.num_inputs,
        num_train=num_train,
        num_other=len(_labels_of(split)),
        num_classes=classes,
        log_num_functions=(query.domain.num_inputs - num_train) * math.log(classes),
        report=report,
        description=report.description,
        seconds=time.perf_counter() - start,
    )


def _labels_of(split: BoundAccuracy | BoundOnTrigger) -> np.ndarray:
    return (split if isinstance(split, BoundAccuracy) else split.right).positions


def _checked(query: Query) -> BoundGiven:
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    query.require_prior_mass("The table of measures")
    bound = query.bound
    known = (BoundAccuracy, BoundOnTrigger)
    if not (isinstance(bound, BoundGiven) and isinstance(bound.within, BoundFits) and isinstance(bound.split, known)):
        raise ValueError(
            f"The measures divide what fits by behaviour elsewhere; got {query.classifier!r}: give "
            "volume.Given(volume.Fits(...), volume.Accuracy(...)) or volume.Defects(...)."
        )
    if bound.within.label(bound.wanted) != "fits":
        raise ValueError("The measures divide what fits; this Given asks for what misses: leave label= out.")
    assert isinstance(bound.split, known)
    other = _labels_of(bound.split)
    if len(np.unique(other)) < len(other):
        raise ValueError("A test input stands there twice: give each once, or counting functions has no binomial.")
    both = np.intersect1d(other, bound.within.positions)
    if len(both):
        raise ValueError(
            f"{len(both)} test inputs are training inputs too, the first at position {both[0]} of the domain: leave "
            "them out, what fits is right there."
        )
    return bound


def _choose(query: Query, key: jax.Array) -> tuple[Method[Any], str]:
    """Direct draws where they hit what fits, else splitting; the pilot's own draws are not used again."""
    fallback = Splitting(particles=PARTICLES, moves=MOVES, replicates=REPLICATES)
    assert isinstance(query.bound, BoundGiven)
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


# --- the columns ---


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _volume_column(report: VolumeReport | EstimateReport, given: BoundGiven, how: str) -> Column:
    if isinstance(report, VolumeReport):
        return _counted_column(report, given, how)
    total = report.entries[0]
    cells = []
    for index in range(given.outside):
        share = getattr(report[given.label(index)], "share", None) if given.label(index) in report else None
        if share is None:
            break
        resolved = share.num_hit >= replicates.MIN_HIT
        cells.append(Cell(_log(share.share), _log(share.low), _log(share.high), resolved))
    method = report.method
    words = f"{method['name']}, {method['replicates']} replicates of {method['particles']} networks"
    if not isinstance(total, ReplicatedVolume):  # another method that answers Given
        return Column(VOLUME, total.log_volume, total.log_low, total.log_high, tuple(cells), False, words)
    ends = (total.log_low, total.log_high) if total.headline == "interval" else (total.log_bound, 0.0)
    return Column(
        VOLUME,
        total.log_volume,
        *ends,
        tuple(cells) if len(cells) == given.outside else (),
        False,
        words + how,
        resolved=total.headline == "interval",
        notes=total.notes,
    )


def _counted_column(report: VolumeReport, given: BoundGiven, how: str) -> Column:
    found = counted_shares(report)
    inside = report.counts.keys[:, 0] < given.outside
    counts = report.counts.regroup(inside.astype(np.int64), 2)
    fits = replace(
        report,
        counts=counts,
        classifier=given.within.classifier,
        description={**report.description, "classifier": given.within.describe()},
    )["fits"]
    cells = tuple(
        Cell(_log(s.share) if s.num_within else math.nan, _log(s.low), _log(s.high), s.resolved) for s in found
    )
    words = f"{report.num_draws:,} direct draws, {fits.count:,} that fit{how}"
    enough = fits.count > 0
    return Column(VOLUME, fits.log_volume, fits.log_low, fits.log_high, cells, False, words, resolved=enough)


def _limit_column(query: Query, key: jax.Array, level: float) -> Column:
    high, low = np.asarray(jax.random.key_data(jax.random.fold_in(key, 2)))
    found = wide_shares(query, seed=(int(high) << 32) | int(low), level=level)
    total, cells = found.total, ()
    notes = tuple(total.notes)
    if found.num_kept:
        ends = clopper_pearson(found.counts, found.num_kept, level)
        with np.errstate(divide="ignore"):
            logs = np.log(found.counts / found.num_kept)
        cells = tuple(
            Cell(float(x), float(a), float(b), int(n) > 0) for x, a, b, n in zip(logs, *ends, found.counts, strict=True)
        )
    else:
        notes = (*notes, f"The shares are left out: {found.reason or 'no draw was kept'}.")
    how = f"Gaussian process, {found.num_kept:,} draws given the labels" if cells else "Gaussian process"
    logs = (total.log_probability, total.log_low, total.log_high)
    return Column(LIMIT, *logs, cells, False, how, notes=notes)


def _simplicity_column(query: Query, given: BoundGiven) -> Column:
    found = simplicity_measure(query.domain, query.classifier)
    held = dict(found)
    logs = [held.get(given.label(index), -math.inf) for index in range(given.outside)]
    total = float(np.logaddexp.reduce(logs))
    cells = tuple(Cell(x - total, x - total, x - total) for x in logs)
    return Column(SIMPLICITY, total, total, total, cells, True, "2^-K, all functions enumerated, exact")


def accuracy_edges(num_other: int) -> tuple[float, ...]:
    """The bins by default: half, .7, .9, and right everywhere as a bin of its own; none without a count in it."""
    fewest = {math.ceil(edge * num_other - 1e-9): edge for edge in (0.9, 0.7, 0.5)}
    return (*(edge for count, edge in sorted(fewest.items()) if count < num_other), 1 - 0.5 / num_other)
