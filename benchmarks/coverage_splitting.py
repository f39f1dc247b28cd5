"""How often the limits of real splitting runs hold: 2,000 groups of replicates at three depths, against exact truths.

    python benchmarks/coverage_splitting.py --json benchmarks/coverage_splitting.json \
        --table benchmarks/coverage_splitting.md

Each line is one pilot and groups x 8 replicates with its levels and steps, cut into groups that are graded as reports
would print them (`benchmarks.coverage_rare.grade_volumes`): the interval where no replicate died and the spread is at
most 1, else the lower bound, over ALL groups. "Mean ratio" is the mean of p_hat / p over all replicates, 1 when they
are unbiased, with its z-score where tails let the mean be seen.

Particles are few on purpose: with many every interval holds. Truths: benchmarks/rare_truths.py.
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
from benchmarks.rare_truths import cases
from benchmarks.record import Record
from volume import ReplicatedVolume

REPLICATES = 8
# (class, particles, moves, points of a window)
LINES = (
    ("half-space 5-d 1e-2", 25, 4, 16),
    ("outside a ball 6-d 1e-2", 50, 4, 16),
    ("half-space 5-d 1e-6", 50, 8, 8),
    ("orthant 3-d 1e-6", 64, 8, 8),
    ("half-space 5-d 1e-30", 64, 8, 4),
)


def line(name: str, particles: int, moves: int, points: int, *, groups: int, seed: int) -> dict[str, Any]:
    """One row: ``groups`` groups of 8 replicates of one pilot."""
    (case,) = (case for case in cases() if case.name == name)
    method = volume.Splitting(
        particles=particles,
        moves=moves,
        replicates=groups * REPLICATES,
        body_points=points,
        labels=(case.label,),
        dtype=case.dtype,
    )
    (entry,) = volume.estimate(case.query, method, seed=seed).entries
    assert isinstance(entry, ReplicatedVolume)
    x = np.array(entry.log_estimates).reshape(groups, REPLICATES) - case.log_volume
    row = grade_volumes(x, runs=name, depth=case.log10_volume)
    return row | {"particles": particles, "moves": moves, "body_points": points, "levels": entry.diagnostics["levels"]}


def run(options: argparse.Namespace) -> Record:
    found, groups = [], 25 if options.quick else options.groups
    for number, (name, *settings) in enumerate(LINES[: 2 if options.quick else None]):
        found.append(line(name, *settings, groups=groups, seed=options.seed + number))
        script.say(rows_of(found[-1:])[0])
    notes = [f"{groups:,} groups a line."] + [
        f"* {row['runs']}: {row['particles']} particles, {row['moves']} moves, windows of {row['body_points']} points, "
        f"{row['levels']} levels"
        for row in found
    ]
    return Record(rows_of(found), notes=["\n".join(notes[:1]), "\n".join(notes[1:])], details={"rows": found})


def main() -> None:
    parser = script.options(__doc__, "two lines of 25 groups")
    parser.add_argument("--groups", type=int, default=2_000, help="groups of 8 replicates a line")
    parser.add_argument("--seed", type=int, default=0)
    script.main("coverage_splitting", run, parser, title="Coverage of the 95 % limits of real splitting runs")


if __name__ == "__main__":
    main()
