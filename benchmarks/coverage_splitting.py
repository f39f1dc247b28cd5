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
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks.coverage_rare import grade_volumes, table
from benchmarks.environment import describe, environment
from benchmarks.rare_truths import cases
from volume.class_estimate import ReplicatedVolume

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=2_000, help="groups of 8 replicates a line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all rows here")
    parser.add_argument("--table", type=Path, help="write the table here, as Markdown")
    options = parser.parse_args()
    start, rows = time.time(), []
    for number, (name, *settings) in enumerate(LINES):
        rows.append(line(name, *settings, groups=options.groups, seed=options.seed + number))
        print(f"{time.time() - start:6.0f} s  {rows[-1]}", flush=True)
    heading = f"{describe(environment())}; {options.groups} groups a line; {time.time() - start:.0f} s"
    settings = "\n".join(
        f"* {row['runs']}: {row['particles']} particles, {row['moves']} moves, windows of {row['body_points']} points, "
        f"{row['levels']} levels"
        for row in rows
    )
    text = f"{heading}\n\n{table(rows)}\n\n{settings}\n"
    print("\n" + text)
    if options.table:
        options.table.write_text("# Coverage of the 95 % limits of real splitting runs\n\n" + text, encoding="utf-8")
    if options.json:
        record = {"provenance": heading, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
