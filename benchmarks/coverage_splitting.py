"""How often the limits of real splitting runs hold: 2,000 groups of replicates, on networks and on convex sets.

    python benchmarks/coverage_splitting.py --json benchmarks/coverage_splitting.json \
        --table benchmarks/coverage_splitting.md

Each line is ten pilots and for each a tenth of groups x 8 replicates with its levels and steps, cut into groups that
are graded as reports would print them (`benchmarks.coverage_rare.grade_volumes`): the interval where no replicate died
and the spread is at most 1, else the lower bound, over ALL groups. "After the gate" and the misses beside it are over
those that are printed as an interval. "Mean ratio" is the mean of p_hat / p over all replicates, 1 when they are
unbiased, with its z-score where tails let the mean be seen.

Particles are few on purpose: with many every interval holds. Truths: benchmarks/network_truths.py, of networks whose
classes are several separate regions, and benchmarks/rare_truths.py, of convex sets and what is outside of one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.coverage_rare import grade_volumes, rows_of
from benchmarks.network_truths import network_cases
from benchmarks.rare_truths import cases
from benchmarks.record import Record
from volume import ReplicatedVolume

REPLICATES = 8
PILOTS = 10
# (class, particles, moves, points of a window)
LINES = (
    ("sine, 5 points", 32, 4, 4),
    ("exclusive or, tanh 2-3-1", 32, 4, 4),
    ("exclusive or, ReLU 2-2-1", 32, 4, 4),
    ("tanh 2-3-1, corners of a grid", 48, 4, 4),
    ("half-space 5-d 1e-2", 25, 4, 16),
    ("outside a ball 6-d 1e-2", 50, 4, 16),
    ("half-space 5-d 1e-6", 50, 8, 8),
)
DEEP = (
    ("orthant 3-d 1e-6", 64, 8, 8),
    ("half-space 5-d 1e-30", 64, 8, 4),
)


def line(name: str, particles: int, moves: int, points: int, *, groups: int, seed: int) -> dict[str, Any]:
    """One row: ``groups`` groups of 8 replicates, in equal shares of ten pilots."""
    families = ("half-space", "ball", "orthant")
    (case,) = (case for case in (*network_cases(), *cases(families)) if case.name == name)
    method = volume.Splitting(
        particles=particles,
        moves=moves,
        replicates=groups // PILOTS * REPLICATES,
        body_points=points,
        labels=(case.label,),
        dtype=case.dtype,
    )
    found = []
    for pilot in range(PILOTS):
        (entry,) = volume.estimate(case.query, method, seed=PILOTS * seed + pilot).entries
        assert isinstance(entry, ReplicatedVolume)
        found.append(entry.log_estimates)
    x = np.array(found).reshape(-1, REPLICATES) - case.log_volume
    row = grade_volumes(x, runs=name, depth=case.log10_volume)
    return row | {"particles": particles, "moves": moves, "body_points": points, "levels": entry.diagnostics["levels"]}


def run(options: argparse.Namespace) -> Record:
    found, groups = [], 20 if options.quick else options.groups
    lines = LINES[:2] if options.quick else LINES + DEEP * options.deep
    for number, (name, *settings) in enumerate(lines):
        found.append(line(name, *settings, groups=groups, seed=options.seed + number))
        script.say(rows_of(found[-1:])[0])
    notes = [f"{groups:,} groups a line."] + [
        f"* {row['runs']}: {row['particles']} particles, {row['moves']} moves, windows of {row['body_points']} points, "
        f"{row['levels']} levels"
        for row in found
    ]
    return Record(rows_of(found), notes=["\n".join(notes[:1]), "\n".join(notes[1:])], details={"rows": found})


def main() -> None:
    parser = script.options(__doc__, "two lines of 20 groups")
    parser.add_argument("--deep", action="store_true", help="two more lines that take as long as all others together")
    parser.add_argument("--groups", type=int, default=2_000, help="groups of 8 replicates a line, a multiple of 10")
    parser.add_argument("--seed", type=int, default=0)
    script.main("coverage_splitting", run, parser, title="Coverage of the 95 % limits of real splitting runs")


if __name__ == "__main__":
    main()
