"""One report of several that asked the same and differ in draws only: in their seed, and in how much they drew.

* Counted draws: units join, one run's after the other's. All answers are then computed from all units, as if one run
  had drawn them.
* Training runs: likewise, every run being a unit.
* Replicates of `Splitting`: they join, and means, bounds, intervals and shares are made anew from all of them. Every
  run has levels from a pilot of its own, so that spreads may differ between runs; each p_hat stays unbiased, and the
  interval for a lognormal mean is graded on such mixtures by tests/reports/test_merging.py.

Exact and wide-limit answers have no draws that could be joined.

Shape letters: B units, K classes, R records, W words of a key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from volume.common.records import short
from volume.common.seeds import seed_words
from volume.reports.counted import VolumeReport
from volume.reports.entries import PART_OF, ReplicatedVolume, replicated_volume
from volume.reports.facts import Report
from volume.reports.named import EstimateReport
from volume.reports.notes import ONLY_PILOT, UNRESOLVED
from volume.reports.trained import TrainedReport
from volume.runs.config import difference
from volume.statistics import replicates
from volume.statistics.counts import Counts
from volume.statistics.replicates import Share

# Of a method: how much was drawn.
AMOUNTS = {"direct": "draws", "trained": "runs", "splitting": "replicates"}


def merge(reports: Sequence[Report]) -> Any:
    """Return one report of all draws of ``reports``, which must differ in draws only.

    Its ``seed`` is the list of their seeds, and ``run["merged"]`` says what came from each. Reports that were merged
    before can be merged again.

    Raises:
        TypeError: something else than reports.
        ValueError: fewer than two, another question or method (the sentence shows the first difference), a seed that
            comes twice, and methods whose answers cannot be joined.
    """
    reports = list(reports)
    if len(reports) < 2:
        raise ValueError(f"merge joins two reports or more; got {len(reports)}.")
    for report in reports:
        if not isinstance(report, (VolumeReport, EstimateReport)):
            raise TypeError(f"merge takes reports, such as volume.estimate returns; got {report!r}.")
        _check_kind(report)
    for report in reports[1:]:
        where = difference(_question(reports[0]), _question(report))
        if where is not None:
            raise ValueError(f"The reports differ in more than draws: of the first, {where}.")
    sources = [source for report in reports for source in _sources(report)]
    seeds = [source["seed"] for source in sources]
    for at, seed in enumerate(seeds):
        if seed_words(seed) in map(seed_words, seeds[:at]):
            raise ValueError(
                f"The seed {seed} comes twice: its draws are the same ones. Join runs of different seeds, or of one "
                "seed the directories that hold different parts (volume.merge_directories)."
            )
    run = _joined_run(reports, sources)
    if isinstance(reports[0], EstimateReport):
        return _replicated(reports, seeds, run)  # type: ignore[arg-type]  # all are, since their methods agree
    return _counted(reports, seeds, run)  # type: ignore[arg-type]  # likewise


def _sources(report: Any) -> list[dict[str, Any]]:
    """What came from each run: its seed, the amount drawn, its units."""
    if "merged" in report.run:
        return report.run["merged"]
    name = AMOUNTS.get(report.method.get("name"))
    source = {"seed": report.seed} | ({name: report.method.get(name)} if name else {})
    return [source | ({"units": report.counts.num_units} if isinstance(report, VolumeReport) else {})]


def _check_kind(report: Any) -> None:
    name = report.method.get("name")
    if name not in AMOUNTS or getattr(report, "complete", False):
        why = "counted every parameterisation" if getattr(report, "complete", False) else "drew nothing to be joined"
        raise ValueError(f"{report!r} is by {name!r}, which {why}: one such report says all.")
    if isinstance(report, VolumeReport) and not isinstance(report.counts, Counts):
        raise ValueError(f"{report!r} is counted on disk, and such reports cannot be joined yet: draw one longer run.")
    if isinstance(report, TrainedReport) and report.conditioned:
        raise ValueError(f"{report!r} is conditioned on the fit: join the reports of all runs, and then condition.")


def _question(report: Any) -> dict[str, Any]:
    """All that must agree."""
    method = {name: value for name, value in report.method.items() if name != AMOUNTS[report.method["name"]]}
    return {"question": short(report.description), "method": method, "conventions": report.conventions} | {
        "level": report.level
    }


def _joined_run(reports: Sequence[Any], sources: list[dict[str, Any]]) -> dict[str, Any]:
    """The ``run`` of the merged report: counts and times add up; the rest is the first run's."""
    run = dict(reports[0].run)
    if any("vanished" in report.run for report in reports):
        run["vanished"] = sum(report.run.get("vanished") or 0 for report in reports)
    for name in ("wall_seconds", "near_ties", "near_ties_checked", "evaluations", "num_nonfinite", "nonfinite_checked"):
        if name in run:
            run[name] = sum(report.run.get(name) or 0 for report in reports)
    run["complete"] = all(report.run.get("complete", True) for report in reports)
    return {**run, "merged": sources}


def _amount(reports: Sequence[Any]) -> dict[str, Any]:
    method = dict(reports[0].method)
    name = AMOUNTS[method["name"]]
    return method | {name: sum(report.method[name] for report in reports)}


# --- counted draws ---


def _counted(reports: Sequence[VolumeReport], seeds: list[Any], run: dict[str, Any]) -> VolumeReport:
    if isinstance(reports[0], TrainedReport):
        run["training"] = _joined_training(reports)
    counts = join_counts([report.counts for report in reports])
    return replace(reports[0], counts=counts, seed=seeds, method=_amount(reports), run=run)


def join_counts(parts: Sequence[Counts]) -> Counts:
    """Return the units of all parts, one part's after the other's. ValueError where units are not alike."""
    first = parts[0]
    for part in parts:
        for name in ("unit_size", "independent", "complete", "copies"):
            if getattr(part, name) != getattr(first, name):
                raise ValueError(f"Units differ: {name} is {getattr(first, name)} and {getattr(part, name)}.")
    width = first.keys.shape[1]
    keys = np.concatenate([part.keys for part in parts])  # [K, W] of all parts, classes of several among them
    order = np.lexsort(keys.T[::-1]) if width else np.zeros(0, np.int64)
    keys = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    number = np.empty(len(keys), np.int64)
    number[order] = np.cumsum(new) - 1
    size = np.concatenate([np.diff(part.offsets) for part in parts])
    starts = np.cumsum([0, *(part.num_units for part in parts)])
    unit = np.concatenate([part.unit + start for part, start in zip(parts, starts, strict=False)])
    # Stable: parts come in the order of their units, and within a class so do the records of each.
    records = np.repeat(number, size)
    by_class = np.argsort(records, kind="stable")
    return replace(
        first,
        keys=np.asfortranarray(keys[new]),
        offsets=np.searchsorted(records[by_class], np.arange(int(new.sum()) + 1)),
        unit=unit[by_class].astype(np.int32),
        hits=np.concatenate([part.hits for part in parts])[by_class],
        num_units=int(starts[-1]),
        nonfinite=np.concatenate([part.nonfinite for part in parts]),
    )


def _joined_training(reports: Sequence[Any]) -> dict[str, Any]:
    """How the runs of all reports ended (volume.reports.trained.training_record)."""
    records = [report.run["training"] for report in reports]
    steps = np.concatenate([np.array(record["steps_to_fit"][0], np.int64) for record in records])
    runs = np.concatenate([np.array(record["steps_to_fit"][1], np.int64) for record in records])
    taken, which = np.unique(steps, return_inverse=True)
    return {
        **records[0],
        "ends": {end: sum(record["ends"][end] for record in records) for end in records[0]["ends"]},
        "updates": sum(record["updates"] for record in records),
        "decided_otherwise": sum(record["decided_otherwise"] for record in records),
        "steps_to_fit": [taken.tolist(), np.bincount(which, runs, len(taken)).astype(int).tolist()],
        "fit": np.packbits(np.concatenate([report.fit for report in reports])).tobytes().hex(),
    }


# --- replicates ---


def _replicated(reports: Sequence[EstimateReport], seeds: list[Any], run: dict[str, Any]) -> EstimateReport:
    shift = float(reports[0].conventions.get("log_shift") or 0.0)
    labels = [sorted(report) for report in reports]
    if any(each != labels[0] for each in labels[1:]):
        raise ValueError(
            f"The reports answer for different classes: {', '.join(labels[0])} and "
            f"{', '.join(next(each for each in labels if each != labels[0]))}. Name the same ones with labels=."
        )
    joined: dict[str, ReplicatedVolume] = {}
    entries = []
    for label in reports[0]:
        each: list[Any] = [report[label].shifted(-shift) for report in reports]
        entries.append(_joined_entry(label, each, [report.entries for report in reports], joined, shift))
    return replace(
        reports[0],
        entries=tuple(entry.shifted(shift) if shift else entry for entry in entries),
        seed=seeds,
        method=_amount(reports),
        run=run,
    )


def _joined_entry(
    label: str,
    each: list[ReplicatedVolume],
    entries: list[tuple[Any, ...]],
    joined: dict[str, ReplicatedVolume],
    shift: float,
) -> ReplicatedVolume:
    level = each[0].level
    logs = [value for entry in each for value in entry.log_estimates]
    parted = [PART_OF in entry.diagnostics for entry in each]
    if any(note.kind == ONLY_PILOT for entry in each for note in entry.notes):
        raise ValueError(f"{label}: a run ended before its first replicate, so it has none to join.")
    if any(parted):
        if not all(parted):
            raise ValueError(f"{label}: a share of replicates in one report and a run of its own in another.")
        # Of a class of the split: what each replicate of the class that is given met of it.
        estimates, fractions = [], []
        for entry, others in zip(each, entries, strict=True):
            chosen = entry.diagnostics.get("chosen_by_replicates", 0)
            within = next(
                other.shifted(-shift).log_estimates[chosen:]
                for other in others
                if PART_OF not in other.diagnostics and other.share is None
            )
            estimates += within
            fractions += [
                math.exp(part - total) if part > -math.inf else 0.0 if total > -math.inf else math.nan
                for part, total in zip(entry.log_estimates, within, strict=True)
            ]
        share = replicates.share_interval(estimates, np.minimum(fractions, 1.0), level)
        notes = (
            [note for note in each[0].notes if note.kind == UNRESOLVED] if share.num_hit < replicates.MIN_HIT else []
        )
        made = replicated_volume(label, logs, level, each[0].diagnostics, notes, share)
    else:
        made = replicated_volume(label, logs, level, _joined_diagnostics(each))
        if each[0].share is not None:  # a class of the split with runs of its own
            made = replace(made, share=_share(made, next(iter(joined.values())), level))
    joined[label] = made
    return made


def _joined_diagnostics(each: list[ReplicatedVolume]) -> dict[str, Any]:
    """What the runs agree in; evaluations add up, and the ideal spread is that of a replicate of any of them."""
    records = [entry.diagnostics for entry in each]
    for name in ("particles", "moves"):
        values = sorted({str(record.get(name)) for record in records})
        if len(values) > 1:
            raise ValueError(
                f"{each[0].label}: the runs chose {name} {', '.join(values)} for themselves, and their replicates "
                "differ in precision: give the number, and no target_error."
            )
    joined = {name: value for name, value in records[0].items() if all(r.get(name) == value for r in records[1:])}
    for name in ("evaluations", "pilot_evaluations"):
        if all(isinstance(record.get(name), (int, float)) for record in records):
            joined[name] = sum(record[name] for record in records)
    ideal = [record.get("ideal_spread") for record in records]
    if all(isinstance(value, (int, float)) for value in ideal):
        weight = [entry.num_replicates for entry in each]
        joined["ideal_spread"] = float(np.sqrt(np.average(np.square(ideal), weights=weight)))  # type: ignore[arg-type]
    return joined


def _share(part: ReplicatedVolume, within: ReplicatedVolume, level: float) -> Share:
    """The share from two independent runs: ends of intervals that hold at once with probability ``level``."""
    half = 1 - (1 - level) / 2
    a, b = (replicated_volume("", entry.log_estimates, half) for entry in (part, within))
    return Share(
        math.exp(min(0.0, a.log_volume - b.log_volume)),
        math.exp(min(0.0, a.log_low - b.log_high)),
        math.exp(min(0.0, a.log_high - b.log_low)),
        part.num_replicates - part.num_dead,
    )
