"""How often intervals hold on networks whose every volume is a known fraction.

    python benchmarks/coverage_exact.py [--seeds N] [--only WORD] [--quick] [--table FILE]

Truths are the stored exact tables (benchmarks/exact_tables.py). Each seed is one run; every class with an expected
count of at least one counts once, and the printed standard error is that of the mean over seeds. Estimators:
independent draws, draws that share bodies and heads, independent draws pooled over permutations of the inputs, and
distinct parameterisations (quotient) from draws weighted by their stabilisers.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.exact_tables import TABLES, Table, load
from benchmarks.record import Record, Row

DRAWS = 4000
ESTIMATORS = ("independent", "shared", "pooled", "quotient")
NAMES = (
    "2-1-sign-ternary-bias-01",
    "2-2-1-sign-binary-01",
    "2-3-1-relu-uneven-01",
    "2-2-2-1-sign-binary-pm",
    "3-3-1-relu-binary-pm",
    "3-3-1-sign-ternary-01",
)


@lru_cache
def _stored(name: str) -> dict[str, list[int]]:
    return load(name)["functions"]


@lru_cache
def _query(table: Table, estimator: str) -> volume.Query:
    return table.query({"pooled": "pooled:inputs", "quotient": "quotient"}.get(estimator, "none"))


def covered(table: Table, estimator: str, seed: int) -> np.ndarray:
    """Whether each class's interval holds, bool [K]: all classes that one draw in ``DRAWS`` or more would meet."""
    method = volume.Direct(DRAWS, heads=8, bodies=5) if estimator == "shared" else volume.Direct(DRAWS, heads=1)
    report = volume.estimate(_query(table, estimator), method, seed=seed)
    functions = _stored(table.name)
    points = sum(count for count, _ in functions.values())
    held = []
    for label, (count, orbits) in functions.items():
        if count * DRAWS < points:
            continue
        truth = math.log((orbits if estimator == "quotient" else count) / points)
        entry = report[label]
        held.append(entry.log_low <= truth + 1e-9 and truth <= entry.log_high + 1e-9)
    return np.array(held)


def row_of(table: Table, seeds: int) -> Row:
    facts: dict[str, Any] = {}
    for estimator in ESTIMATORS:
        held = np.array([covered(table, estimator, seed) for seed in range(seeds)])  # [seeds, K]
        facts["classes"] = held.shape[1]
        means = held.mean(axis=1)
        error = means.std(ddof=1) / math.sqrt(len(means))
        facts[estimator] = f"{means.mean():.4f} ± {error:.4f}, least {held.mean(axis=0).min():.3f}"
    return Row(table.name, facts=facts)


def run(options: argparse.Namespace) -> Record:
    seeds = 20 if options.quick else options.seeds
    wanted = [table for table in TABLES if table.name in NAMES and options.only in table.name]
    rows = []
    for table in wanted[: 2 if options.quick else None]:
        rows.append(row_of(table, seeds))
        script.say(rows[-1])
    notes = [
        f"{seeds:,} seeds of {DRAWS:,} draws; share of 95 % intervals that hold, and the least over the classes of one "
        "table."
    ]
    return Record(rows, notes=notes)


def main() -> None:
    parser = script.options(__doc__, "two tables, 20 seeds")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", default="", metavar="WORD", help="tables with this word in their name")
    script.main("coverage_exact", run, parser, title="Coverage against exact tables")


if __name__ == "__main__":
    main()
