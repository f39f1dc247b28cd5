"""How often the limits of splitting around an anchor hold: groups of replicates on ellipsoids of known mass.

    python benchmarks/coverage_local.py --json benchmarks/coverage_local.json --table benchmarks/coverage_local.md

Each line is a few pilots with groups x 8 replicates each: levels, powers and the starting law are constants of a
pilot's replicates, so several pilots show whether it matters which. Graded as reports would print them
(`benchmarks.coverage_rare.grade_volumes`), over ALL groups, at the first and at the last of the line's cutoffs. "Mean
ratio" is the mean of p_hat / p over all replicates. Particles are few on purpose: with many every interval holds.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import script
from benchmarks.coverage_rare import grade_volumes, rows_of
from benchmarks.local_truths import log_ellipsoid, quadratic_run
from benchmarks.record import Record

REPLICATES, PILOTS = 8, 5
# (name, half of D's Hessian by axis, anchor, cutoffs, settings)
LINES: tuple[tuple[str, tuple[float, ...], tuple[float, ...], tuple[float, ...], dict[str, Any]], ...] = (
    ("3-d, wide law", (1, 4, 9), (0.9, -0.4, 0.3), (0.2, 0.02), {"particles": 16, "moves": 3, "breadth": 10.0}),
    ("3-d, narrow law", (1, 4, 9), (0.9, -0.4, 0.3), (2.0, 0.2), {"particles": 16, "moves": 3, "breadth": 1.2}),
    ("3-d, from the prior", (1, 4, 9), (0.9, -0.4, 0.3), (0.2, 0.02), {"particles": 32, "moves": 4, "start": "prior"}),
    ("8-d, half axes 1 : 30", tuple(np.logspace(0, 3, 8)), (0.5,) * 8, (1.0, 0.1), {"particles": 32, "moves": 4}),
)


def line(
    name: str,
    half: tuple[float, ...],
    at: tuple[float, ...],
    cutoffs: tuple[float, ...],
    settings: dict[str, Any],
    *,
    groups: int,
    pilots: int = PILOTS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Two rows, for the first and the last cutoff: ``groups`` groups of 8 replicates of every pilot."""
    runs = [
        quadratic_run(
            at, np.diag(half), list(cutoffs), seed=seed + number, replicates=groups * REPLICATES, points=8, **settings
        )
        for number in range(pilots)
    ]
    found = []
    for which in (0, -1):
        truth = log_ellipsoid(cutoffs[which], half, at)
        x = np.concatenate([run.log_estimates[:, which] for run in runs]).reshape(-1, REPLICATES) - truth
        row = grade_volumes(x, runs=f"{name}, D <= {cutoffs[which]:g}", depth=truth / math.log(10))
        facts = [run.diagnostics() for run in runs]
        row["particles"] = settings["particles"]
        row["levels"] = [fact["levels_to_cutoff"][which] for fact in facts]
        row["powers"] = [fact["powers"] for fact in facts]
        # By pilot: whether the mean ratio depends on the constants that it found.
        ratios = [np.exp(run.log_estimates[:, which] - truth) for run in runs]
        row["z_by_pilot"] = [float((r.mean() - 1) / r.std(ddof=1) * math.sqrt(len(r))) for r in ratios]
        found.append(row)
    return found


def run(options: argparse.Namespace) -> Record:
    found, groups = [], 10 if options.quick else options.groups
    for number, case in enumerate(LINES[: 1 if options.quick else None]):
        found += line(*case, groups=groups, seed=options.seed + 100 * number)
        for row in rows_of(found[-2:]):
            script.say(row)
    notes = [f"{PILOTS} pilots a line, {groups:,} groups of each."]
    notes += ["\n".join(f"* {row['runs']}: levels {row['levels']}, powers {row['powers']}" for row in found)]
    return Record(rows_of(found), notes=notes, details={"rows": found})


def main() -> None:
    parser = script.options(__doc__, "one line of 10 groups a pilot")
    parser.add_argument("--groups", type=int, default=200, help="groups of 8 replicates a pilot")
    parser.add_argument("--seed", type=int, default=0)
    script.main("coverage_local", run, parser, title="Coverage of the 95 % limits of splitting around an anchor")


if __name__ == "__main__":
    main()
