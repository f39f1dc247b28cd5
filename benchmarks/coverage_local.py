"""How often the limits of splitting around an anchor hold: groups of replicates on regions of known mass.

    python benchmarks/coverage_local.py --json benchmarks/coverage_local.json --table benchmarks/coverage_local.md

Ellipsoids under a Gaussian, by tempers and by levels, and bent valleys (`benchmarks.local_truths`), which no Gaussian
law covers. Each line is a few pilots with groups x 8 replicates each: levels, powers and the starting law are constants
of a pilot's replicates, so several pilots show whether it matters which. Graded as reports would print them
(`benchmarks.coverage_rare.grade_volumes`), over ALL groups, at the first and at the last of the line's cutoffs; where a
group's particles drift there is no interval, and the bound is graded. "Mean ratio" is the mean of p_hat / p over all
replicates. Where a line has two cutoffs, the limits of the slope between them are graded too, in all groups. Particles
are few on purpose: with many every interval holds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import script
from benchmarks.coverage_rare import grade_volumes, rows_of
from benchmarks.local_truths import log_ellipsoid, quadratic_run, valleys_run
from benchmarks.record import Record
from volume.estimators.local.splitting import MAX_SPREAD, LocalSplitting, mean_drift
from volume.statistics.slopes import slopes

REPLICATES, PILOTS = 8, 5


class Line(NamedTuple):
    """A region whose mass is known."""

    name: str
    particles: int
    finished: Callable[..., tuple[LocalSplitting, Sequence[float]]]  # of seed=, replicates=: the run, log volumes


def ellipsoid(
    name: str, half: Sequence[float], at: Sequence[float], cutoffs: Sequence[float], *, particles: int, **settings: Any
) -> Line:
    """``half``: half of D's Hessian by axis; ``at``: the anchor."""

    def finished(**more: Any) -> tuple[LocalSplitting, list[float]]:
        sizes = {"particles": particles, "points": 8}
        found = quadratic_run(at, np.diag(half), list(cutoffs), **sizes, **settings, **more)
        return found, [log_ellipsoid(cutoff, half, at) for cutoff in found.cutoffs]

    return Line(name, particles, finished)


def valleys(name: str, pairs: int, *, particles: int, **settings: Any) -> Line:
    """As many bent valleys."""

    def finished(**more: Any) -> tuple[LocalSplitting, list[float]]:
        found, truth = valleys_run(pairs, 0.5, particles=particles, points=8, **settings, **more)
        return found, [truth]

    return Line(name, particles, finished)


THREE, AT = (1.0, 4.0, 9.0), (0.9, -0.4, 0.3)
EIGHT = tuple(np.logspace(0, 3, 8))
FORTY = tuple(np.logspace(0, 4, 40))
LEVELS = {"chain": "levels", "line_points": 1}
LINES = (
    ellipsoid("3-d, wide law", THREE, AT, (0.2, 0.02), particles=16, moves=3, breadth=10.0),
    ellipsoid("3-d by levels, narrow law", THREE, AT, (2.0, 0.2), particles=16, moves=3, breadth=1.2, **LEVELS),
    ellipsoid("3-d, from the prior", THREE, AT, (0.2, 0.02), particles=16, moves=4, start="prior"),
    ellipsoid("3-d by levels, wide law", THREE, AT, (0.2, 0.02), particles=16, moves=3, breadth=10.0, **LEVELS),
    ellipsoid("3-d by levels, from the prior", THREE, AT, (0.2, 0.02), particles=32, moves=4, start="prior", **LEVELS),
    ellipsoid("8-d by levels, half axes 1 : 30", EIGHT, (0.5,) * 8, (1.0, 0.1), particles=32, moves=4, **LEVELS),
    ellipsoid("40-d, half axes 1 : 100", FORTY, (0.5,) * 40, (4.0, 0.4), particles=12, moves=4),
    valleys("10 valleys, a little bent", 10, particles=16, moves=6, bend=0.02),
    valleys("10 valleys, much bent", 10, particles=16, moves=6, bend=0.5),
)


def line(what: Line, *, groups: int, pilots: int = PILOTS, seed: int = 0) -> list[dict[str, Any]]:
    """A row for the first and one for the last cutoff: ``groups`` groups of 8 replicates of every pilot."""
    made = [what.finished(seed=seed + number, replicates=groups * REPLICATES) for number in range(pilots)]
    runs, truths = [run for run, _ in made], made[0][1]
    found = []
    for which in (0, -1)[: len(truths)]:
        truth = truths[which]
        x = np.concatenate([run.log_estimates[:, which] for run in runs]).reshape(-1, REPLICATES) - truth
        drifts = np.concatenate([run.replicates.drifts[:, which] for run in runs]).reshape(-1, REPLICATES)
        drifting = np.array([mean_drift(group)[1] for group in drifts])
        with np.errstate(invalid="ignore"):  # groups with a dead replicate
            withheld = drifting | (x.std(axis=1, ddof=1) > MAX_SPREAD)
        row = grade_volumes(
            x, withheld=withheld, runs=f"{what.name}, D <= {runs[0].cutoffs[which]:g}", depth=truth / math.log(10)
        )
        facts = [run.diagnostics() for run in runs]
        row["particles"], row["drifting"] = what.particles, float(drifting.mean())
        row["levels"] = [fact["levels_to_cutoff"][which] for fact in facts]
        row["powers"] = [fact["powers"] for fact in facts]
        # By pilot: whether the mean ratio depends on the constants that it found.
        ratios = [np.exp(run.log_estimates[:, which] - truth) for run in runs]
        row["z_by_pilot"] = [float((r.mean() - 1) / r.std(ddof=1) * math.sqrt(len(r))) for r in ratios]
        if which == -1:
            row["slope"] = slope_holds(runs, truths)
        found.append(row)
    return found


def slope_holds(runs: Sequence[LocalSplitting], truths: Sequence[float]) -> float:
    """Share of all groups whose limits of d log V / d log c, between the two cutoffs, hold the true one."""
    cutoffs = runs[0].cutoffs
    truth = (truths[0] - truths[1]) / math.log(cutoffs[0] / cutoffs[1])
    groups = np.concatenate([run.log_estimates for run in runs]).reshape(-1, REPLICATES, 2)
    found = [slopes(cutoffs, group)[0] for group in groups]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def run(options: argparse.Namespace) -> Record:
    found, groups = [], 10 if options.quick else options.groups
    for number, case in enumerate(LINES[: 1 if options.quick else None]):
        if options.only not in case.name:
            continue
        rows = line(case, groups=groups, seed=options.seed + 100 * number)
        jax.clear_caches()  # every pilot compiles anew, and Linux lets a process map only so many programs
        found += rows
        for row in rows_of(rows):
            script.say(row)
    notes = [f"{PILOTS} pilots a line, {groups:,} groups of each."]
    notes += [
        "\n".join(
            f"* {row['runs']}: levels {row['levels']}, powers {row['powers']}, drifting {row['drifting']:.3f}"
            + (f", limits of the slope hold {row['slope']:.3f}" if "slope" in row else "")
            for row in found
        )
    ]
    return Record(rows_of(found), notes=notes, details={"rows": found})


def main() -> None:
    parser = script.options(__doc__, "one line of 10 groups a pilot")
    parser.add_argument("--groups", type=int, default=200, help="groups of 8 replicates a pilot")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="lines with this in their names")
    script.main("coverage_local", run, parser, title="Coverage of the 95 % limits of splitting around an anchor")


if __name__ == "__main__":
    main()
