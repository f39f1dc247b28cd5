"""What is reported of one class: its volume, those of the classes of a split within it, and a record of the run.

Shape letters: R replicates.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from volume.common.logs import LN10
from volume.estimators.splitting.bodies import BodyKernel
from volume.estimators.splitting.class_run import ClassRun
from volume.reports.entries import FAMILIES, LABELS, PART_OF, WEIGHTS, ReplicatedVolume, replicated_volume
from volume.reports.notes import ONLY_PILOT, UNRESOLVED, Note
from volume.statistics import replicates
from volume.statistics.replicates import Share


def class_entry(run: ClassRun, level: float, within: ClassRun | None = None) -> ReplicatedVolume:
    """Report the class's volume; with ``within``, a run of the class that is given, also its share of that."""
    pilot = run.pilot
    if pilot.problem or run.on_trial or not run.log_estimates:
        if pilot.problem:
            what = "The pilot" if pilot.tries == 1 else f"All {pilot.tries} pilots, each with draws of its own,"
            told = (
                f"{what} stalled before the class was met; of the last: {pilot.problem}. "
                "That says nothing of the class's volume"
            )
        else:
            where = "had not reached the class"
            if pilot.level == math.inf:
                where = f"reached the class, of volume about 10^{pilot.log_total / LN10:.2f}"
            told = f"The pilot, one adaptive run, {where}: the run was stopped before a replicate had ended"
        reached = Note(f"{told}.", ONLY_PILOT)
        entry = replicated_volume(run.label, [-math.inf], level, _diagnostics(run))
        return replace(entry, notes=(reached, *run.notes))  # there was no replicate that could die
    share = None if within is None else _share_of(run, within, level)
    return replicated_volume(run.label, run.log_estimates, level, _diagnostics(run), run.notes, share)


def split_entry(run: ClassRun, label: str, index: int | None, level: float, chosen_by: int = 0) -> ReplicatedVolume:
    """Report the volume of one class of the split within this class, and its share.

    ``index`` None: a table that no replicate met. ``chosen_by``: replicates, the first ones, that chose this class
    by what they met, and so do not estimate it.
    """
    assert run.shares is not None
    g = np.where(np.isnan(run.shares[:, :1]), np.nan, 0.0)[:, 0] if index is None else run.shares[:, index]
    g, estimates = g[chosen_by:], np.array(run.log_estimates)[chosen_by:]
    met = g > 0  # neither is one that died on the way
    logs = np.where(met, estimates + np.log(np.where(met, g, 1)), -math.inf)
    share = replicates.share_interval(estimates, g, level)
    notes = []
    if share.num_hit < replicates.MIN_HIT:
        note = (
            f"Met by {share.num_hit} of {len(g)} replicates: its share is not resolved, below {share.high:.2g}. "
            "Give resolve=True for a run of its own."
        )
        notes.append(Note(note, UNRESOLVED))
    ancestors = np.array([one.ancestors for one in run.replicates.results])[chosen_by:]
    families = np.nan_to_num(g) * ancestors  # as if a replicate's were alike
    diagnostics: dict[str, Any] = {PART_OF: run.label, FAMILIES: float(families.mean())}
    if chosen_by:
        diagnostics["chosen_by_replicates"] = chosen_by
    return replicated_volume(label, logs, level, diagnostics, notes, share)


def _share_of(run: ClassRun, within: ClassRun, level: float) -> Share:
    """The share from two independent runs: ends of intervals that hold at once with probability ``level``."""
    half = 1 - (1 - level) / 2
    part = replicated_volume("", run.log_estimates, half)
    total = replicated_volume("", within.log_estimates, half)
    hit = sum(value > -math.inf for value in run.log_estimates)
    return Share(
        math.exp(min(0.0, part.log_volume - total.log_volume)),
        math.exp(min(0.0, part.log_low - total.log_high)),
        math.exp(min(0.0, part.log_high - total.log_low)),
        hit,
    )


def _last_layer(run: ClassRun) -> dict[str, Any]:
    """Say that the last layer is integrated, over how many weights, and for how many labels."""
    kernel = run.scheme.kernel
    if not isinstance(kernel, BodyKernel):
        return {}
    return {"last_layer": "integrated", LABELS: kernel.num_labels, WEIGHTS: kernel.num_weights}


def _diagnostics(run: ClassRun) -> dict[str, Any]:
    pilot = run.pilot
    record: dict[str, Any] = {
        "particles": run.scheme.num_particles,
        "moves": run.scheme.num_moves,
        **_last_layer(run),
        "levels": len(pilot.stages),
        "evaluations": run.evaluations,
        "pilot_evaluations": pilot.evaluations,
        "pilot_log_volume": pilot.log_total if pilot.level == math.inf else math.nan,
        "stages": [[value if math.isfinite(value) else None for value in stage] for stage in pilot.stages],
    }
    if not run.on_trial and run.replicates.finished:
        each = run.replicates.results
        ideal = [one.ideal_variance for one in each if one.log_estimate > -math.inf]
        longest = max(len(one.moved) for one in each)
        moved = [np.mean([one.moved[at] for one in each if at < len(one.moved)]) for at in range(longest)]
        record |= {
            "ideal_spread": math.sqrt(np.mean(ideal)) if ideal else math.nan,
            "moved_least": float(min(moved)),
            "ancestors": float(np.mean([one.ancestors for one in each])),
        }
    return record
