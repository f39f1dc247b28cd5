"""How often intervals hold on networks whose every volume is a known fraction.

    python benchmarks/coverage_exact.py [--seeds N] [--only WORD] [--out FILE]

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

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks.environment import describe, environment
from benchmarks.exact_tables import TABLES, Table, load

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", default="", metavar="WORD", help="tables with this word in their name")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table to this Markdown file")
    args = parser.parse_args()
    lines = [
        describe(environment()),
        "",
        f"{args.seeds:,} seeds of {DRAWS:,} draws; share of 95 % intervals that hold, and the least over the classes "
        "of one table.",
        "",
        "| table | classes | " + " | ".join(ESTIMATORS) + " |",
        "|---|---|" + "---|" * len(ESTIMATORS),
    ]
    print("\n".join(lines), flush=True)
    for table in TABLES:
        if table.name not in NAMES or args.only not in table.name:
            continue
        cells, classes = [], 0
        for estimator in ESTIMATORS:
            held = np.array([covered(table, estimator, seed) for seed in range(args.seeds)])  # [seeds, K]
            classes = held.shape[1]
            means = held.mean(axis=1)
            error = means.std(ddof=1) / math.sqrt(len(means))
            cells.append(f"{means.mean():.4f} ± {error:.4f}, least {held.mean(axis=0).min():.3f}")
        lines.append(f"| {table.name} | {classes} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(["# Coverage against exact tables", "", *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
