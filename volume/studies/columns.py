"""The columns of the table of measures: what each measure gives to all that fits, and how that divides.

Shares come from what a method reports: counted draws (volume.reports.shares), replicates
(volume.statistics.replicates), kept draws of the wide limit, sums over all functions, and runs of an optimiser. Runs
that fit are independent, so their shares have Clopper and Pearson's intervals.

Shape letters: K rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import jax
import numpy as np

from volume.classifiers.base import Conditional
from volume.common.logs import finite, linear, logarithm
from volume.estimators.infinite_width.shares import wide_shares
from volume.estimators.trained.trained import Trained
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.entries import ReplicatedVolume
from volume.reports.named import EstimateReport
from volume.reports.shares import shares as counted_shares
from volume.reports.text import words
from volume.reports.trained import TrainedReport, training_words
from volume.samplers import OBJECTIVES
from volume.statistics import replicates
from volume.statistics.intervals import clopper_pearson
from volume.studies.simplicity import simplicity_measure

FUNCTIONS, VOLUME, LIMIT, SIMPLICITY = "functions", "volume", "infinite width", "simplicity"


@dataclass(frozen=True)
class Cell:
    """The share of one class under one measure, natural logs; -inf is a share of 0."""

    log_share: float
    log_low: float  # the share itself where it is exact
    log_high: float
    resolved: bool = True  # if not, only the ends say something

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], what: str = "share") -> Cell:
        """Return the cell that wrote this record with :meth:`to_dict`; ``what`` its number is called there."""
        share, low, high = (logarithm(record[f"log_{name}"], record[name]) for name in (what, "low", "high"))
        return cls(share, low, high, record["resolved"])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record; a share in (0, 1e-300) has its logarithm only."""
        logs = {"log_share": self.log_share, "log_low": self.log_low, "log_high": self.log_high}
        record: dict[str, Any] = {name: finite(value) for name, value in logs.items()}
        record |= {name.removeprefix("log_"): None if math.isnan(x) else linear(x) for name, x in logs.items()}
        return record | {"resolved": self.resolved}


@dataclass(frozen=True)
class Column:
    """One measure: what it gives to all that fits, and how that divides."""

    name: str  # FUNCTIONS, VOLUME, LIMIT, SIMPLICITY, or what a training is called
    log_total: float  # share of all functions, of the prior, or of all runs, that fits; natural logs
    log_total_low: float
    log_total_high: float
    cells: tuple[Cell, ...]  # [K]; empty where only the total is known
    exact: bool
    how: str  # the method, in words
    resolved: bool = True  # the total; if not, only its ends say something
    notes: tuple[str, ...] = ()
    of_runs: bool = False  # shares of training runs, which are no prior mass

    def to_dict(self) -> dict[str, Any]:
        total = Cell(self.log_total, self.log_total_low, self.log_total_high, self.resolved).to_dict()
        what = "share" if self.of_runs else "volume"
        return {
            "name": self.name,
            "of": "runs" if self.of_runs else "functions" if self.name in (FUNCTIONS, SIMPLICITY) else "parameters",
            "total": {name.replace("share", what): value for name, value in total.items()},
            "shares": [cell.to_dict() for cell in self.cells],
            "exact": self.exact,
            "how": self.how,
            "notes": list(self.notes),
        }


def column_from_dict(record: Mapping[str, Any]) -> Column:
    """Return the column that wrote this record with `Column.to_dict`."""
    of_runs = record["of"] == "runs"
    total = Cell.from_dict(record["total"], "share" if of_runs else "volume")
    return Column(
        name=record["name"],
        log_total=total.log_share,
        log_total_low=total.log_low,
        log_total_high=total.log_high,
        cells=tuple(map(Cell.from_dict, record["shares"])),
        exact=record["exact"],
        how=record["how"],
        resolved=total.resolved,
        notes=tuple(record["notes"]),
        of_runs=of_runs,
    )


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def volume_column(report: VolumeReport | EstimateReport, given: Conditional, how: str) -> Column:
    if isinstance(report, VolumeReport):
        return _counted_column(report, given, how)
    total = report.entries[0]
    cells = []
    for index in range(given.num_inside or 0):
        share = getattr(report[given.label(index)], "share", None) if given.label(index) in report else None
        if share is None:
            break
        resolved = share.num_hit >= replicates.MIN_HIT
        cells.append(Cell(_log(share.share), _log(share.low), _log(share.high), resolved))
    method = report.method
    drawn = f"{method['name']}, {method['replicates']} replicates of {method['particles']} networks"
    if not isinstance(total, ReplicatedVolume):  # another method that answers Given
        return Column(VOLUME, total.log_volume, total.log_low, total.log_high, tuple(cells), False, drawn)
    ends = (total.log_low, total.log_high) if total.headline == "interval" else (total.log_bound, 0.0)
    return Column(
        VOLUME,
        total.log_volume,
        *ends,
        tuple(cells) if len(cells) == given.num_inside else (),
        False,
        drawn + how,
        resolved=total.headline == "interval",
        notes=total.notes,
    )


def _counted_column(report: VolumeReport, given: Conditional, how: str) -> Column:
    shares = counted_shares(report)
    inside = report.counts.keys[:, 0] < (given.num_inside or 0)
    counts = report.counts.regroup(inside.astype(np.int64), 2)
    fits = replace(
        report,
        counts=counts,
        classifier=given.within.classifier,
        description={**report.description, "classifier": given.within.describe()},
    )["fits"]
    cells = tuple(
        Cell(_log(s.share) if s.num_within else math.nan, _log(s.low), _log(s.high), s.resolved) for s in shares
    )
    drawn = f"all {report.num_draws:,} parameterisations" if report.complete else f"{report.num_draws:,} direct draws"
    drawn += f", {fits.count:,} that fit{how}"
    logs = (fits.log_volume, fits.log_low, fits.log_high)
    return Column(VOLUME, *logs, cells, False, drawn, resolved=fits.count > 0)


def limit_column(query: Query, key: jax.Array, level: float) -> Column:
    high, low = np.asarray(jax.random.key_data(jax.random.fold_in(key, 2)))
    limit = wide_shares(query, seed=(int(high) << 32) | int(low), level=level)
    total, cells = limit.total, ()
    notes = tuple(total.notes)
    if limit.num_kept:
        ends = clopper_pearson(limit.counts, limit.num_kept, level)
        with np.errstate(divide="ignore"):
            logs = np.log(limit.counts / limit.num_kept)
        cells = tuple(
            Cell(float(x), float(a), float(b), int(n) > 0) for x, a, b, n in zip(logs, *ends, limit.counts, strict=True)
        )
    else:
        notes = (*notes, f"The shares are left out: {limit.reason or 'no draw was kept'}.")
    how = f"Gaussian process, {limit.num_kept:,} draws given the labels" if cells else "Gaussian process"
    logs = (total.log_probability, total.log_low, total.log_high)
    return Column(LIMIT, *logs, cells, False, how, notes=notes)


def simplicity_column(query: Query, given: Conditional) -> Column:
    measured = simplicity_measure(query.domain, query.classifier)
    held = dict(measured)
    logs = [held.get(given.label(index), -math.inf) for index in range(given.num_inside or 0)]
    total = float(np.logaddexp.reduce(logs))
    cells = tuple(Cell(x - total, x - total, x - total) for x in logs)
    return Column(SIMPLICITY, total, total, total, cells, True, "2^-K, all functions enumerated, exact")


# --- training ---


def runs_column(name: str, report: TrainedReport, given: Conditional) -> Column:
    """Return the runs of one optimiser: the share that fits, and how those that fit divide."""
    ends, count = report.ends, report.run_ends
    fit, method = ends["fit"], report.method
    parts = [f"{count['fit']:,} fit", f"{count['never']:,} never did within {method['max_steps']:,} updates"]
    if count["lost"]:
        parts.append(f"{count['lost']:,} did once but not at the end")
    parts.append(f"{count['nonfinite']:,} diverged to NaN or inf")
    how = f"{count['runs']:,} runs of {training_words(method)}: {', '.join(parts)}"
    if len(report.steps_to_fit):
        how += f"; {report.steps_to_fit.mean():.3g} updates to the first fit on average"
    notes, cells = [], ()
    if method["initial"] != report.description["prior"]:
        notes.append(f"Runs start from {words(method['initial']).removeprefix('name=')}, not from the prior.")
    if report.run.get("complete") is False:
        notes.append("The run was stopped early: these are its runs before the first unfinished one.")
    if otherwise := report.run["training"]["decided_otherwise"]:
        notes.append(f"In {otherwise:,} runs rounding decides whether they fit.")
    if count["fit"] < report.num_runs:
        notes.append("Its shares are of the runs that fit.")
    shares = counted_shares(report)
    if shares[0].num_within:
        cells = tuple(Cell(_log(s.share), _log(s.low), _log(s.high), s.count > 0) for s in shares)
    else:
        notes.append("No run fits, so there are no shares: allow more updates, or another learning rate.")
    logs = (fit.log_volume, fit.log_low, fit.log_high)
    return Column(name, *logs, cells, False, how, resolved=count["fit"] > 0, notes=tuple(notes), of_runs=True)


def trainings(optimisers: Mapping[str, Trained] | Sequence[Trained] | Trained, query: Query) -> dict[str, Trained]:
    """Column name -> training, checked.

    Raises:
        TypeError: what is no `Trained`, a name that is no string.
        ValueError: a name that a measure has, two trainings that nothing tells apart, labels to train on that are not
            the query's, and what `Trained` refuses.
    """
    if isinstance(optimisers, Trained):
        optimisers = (optimisers,)
    methods = tuple(optimisers.values() if isinstance(optimisers, Mapping) else optimisers or ())
    for method in methods:
        if not isinstance(method, Trained):
            raise TypeError(f"optimisers holds {method!r}, which is no training: give volume.Trained(1000, ...).")
        if method.on is not None:
            raise ValueError("The measures train on the labels that the query gives: leave on= out of Trained.")
        method.training_set(query)
    names = tuple(optimisers) if isinstance(optimisers, Mapping) else training_names(methods)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"The name {name!r} of a training is no text: give for example 'sgd'.")
        if name in (FUNCTIONS, VOLUME, LIMIT, SIMPLICITY):
            raise ValueError(f"The name {name!r} belongs to a measure: call the training otherwise.")
    return dict(zip(names, methods, strict=True))


def training_names(methods: Sequence[Trained]) -> tuple[str, ...]:
    """Return a name for each: its optimiser's, and settings in which it differs from others of that optimiser.

    ValueError where two have the same name.
    """
    settings = [_settings(method) for method in methods]
    names = []
    for method, mine in zip(methods, settings, strict=True):
        alike = [other for m, other in zip(methods, settings, strict=True) if m.optimiser.name == method.optimiser.name]
        parts = [text for key, text in mine.items() if text and any(other[key] != text for other in alike)]
        if mine["loss"] and mine["loss"] not in parts:  # it says what is trained
            parts.insert(0, mine["loss"])
        names.append(" ".join(filter(None, [method.optimiser.name, ", ".join(parts)])))
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(
            f"Two trainings would both be called {doubled!r}: leave one out, or give a mapping from names to trainings."
        )
    return tuple(names)


def _settings(method: Trained) -> dict[str, str]:
    """What tells trainings apart, in words; "" for the usual."""
    usual = signature(Trained).parameters["max_steps"].default
    known = [name for name, value in OBJECTIVES.items() if value == method.objective]
    loss = known[0] if known else words(method.objective.describe()).removeprefix("name=")
    options = dict(method.optimiser.options)
    return {
        "loss": "" if loss == "cross-entropy" else loss,
        "rate": f"rate {method.optimiser.learning_rate:g}",
        "batch": "" if method.batch_size is None else f"batch {method.batch_size}",
        "schedule": "" if method.optimiser.schedule == "constant" else method.optimiser.schedule,
        "options": words(options) if options else "",
        "over": f"+{method.over_training:,} epochs" if method.over_training else "",
        "stop": "" if method.stop == "fit" else f"all {method.max_steps:,} steps",
        "most": f"at most {method.max_steps:,} steps" if method.stop == "fit" and method.max_steps != usual else "",
        "initial": "" if method.initial is None else "other start",
    }
