"""Rare classes by splitting: truth, estimate, evaluations and time, beside nested sampling and plain Monte Carlo.

    python benchmarks/rare_event.py [--quick | --deep | --direct] [--only WORD] [--no-peers] [--explore] [--json FILE]

Part 1: classes of known volume from 1e-6 to 1e-1000 (benchmarks/rare_truths.py), with the z-score of each estimate
against the truth, its error being that of a lognormal mean. Part 2: 32 random labels on (7,40,40,1), about 1e-13, whose
truth nobody knows: what one minute and three give. Part 3: the same class by blackjax, and what each pays for a spread
of one nat between runs, evaluations times variance. Plain Monte Carlo's cost is extrapolated: 1 / (p e^2) draws for a
relative error e. --explore compares windows, moves and chain-rule levels instead, --deep takes every family of known
truth to 1e-300 and 1e-1000, --direct sets splitting beside direct draws where both reach.

An evaluation is one network (its body) on all labelled inputs. Seconds are wall time with compiling.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks.environment import describe, environment
from benchmarks.rare_peers import monte_carlo_evaluations, nested
from benchmarks.rare_truths import cases
from volume import models, samplers
from volume.class_estimate import ReplicatedVolume
from volume.logs import LN10, volume_text
from volume.replicates import log_mean_error
from volume.targets import random_labels

# (case, particles, moves): enough for a spread of log p_hat below 1.
TRUTHS = (
    ("half-space 5-d 1e-6", 256, 16),
    ("two correlated -.6 1e-6", 256, 16),
    ("independent signs 20-d", 256, 16),
    ("corner 24-d 1e-30", 256, 16),
    ("three correlated 1e-30", 512, 32),
    ("wide limit, 32 random labels", 512, 32),
    ("half-space 5-d 1e-300", 512, 16),
    ("half-space 5-d 1e-1000", 1024, 16),
    ("wide limit, 128 random labels", 64, 4),
)
# With --deep: every family of known truth at 1e-300 and 1e-1000, two to twenty minutes each.
DEEP = (
    ("orthant 3-d 1e-300", 1024, 16),
    ("two correlated -.6 1e-300", 1024, 16),
    ("three correlated 1e-300", 1024, 16),
    ("corner 140-d 1e-300", 512, 16),
    ("outside a ball 6-d 1e-300", 512, 16),
    ("cap 400-d 1e-300", 512, 16),
    ("orthant 3-d 1e-1000", 2048, 16),
    ("two correlated -.6 1e-1000", 2048, 16),
    ("three correlated 1e-1000", 2048, 16),
    ("corner 380-d 1e-1000", 512, 16),
    ("cap 1300-d 1e-1000", 256, 16),
)
QUICK = 3  # of the first ones
FAR = -100 * LN10  # orthants below have their thresholds far out
NETWORK = (7, 40, 40, 1)
# With --direct: so many random labels (about 1e-4 to 1e-7), and draws for a hundred hits or more.
BOTH = ((10, 10_000_000), (13, 50_000_000), (16, 200_000_000), (18, 600_000_000))
NORMAL = 1.96
SETTINGS = ((128, 16), (256, 32))  # particles and moves for the random labels


def random_label_query(num: int = 32) -> volume.Query:
    """Random labels of so many inputs of {0,1}^7, for a (7,40,40,1) network."""
    positions, labels = random_labels(128, num, seed=0)
    fits = volume.Fits(volume.BooleanCube(7).inputs[positions], labels)
    return volume.Query(models.MLP(NETWORK), samplers.Gaussian(weight_std=1.0, bias_std=0.1), classifier=fits)


def header(*names: str) -> None:
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|", flush=True)


def ours(query: volume.Query, label: str, seed: int = 1, level: float = 0.95, **settings: Any) -> dict[str, Any]:
    """One report's figures; logs are natural."""
    start = time.perf_counter()
    report = volume.estimate(query, volume.Splitting(labels=(label,), **settings), seed=seed, level=level)
    (entry,) = report.entries
    assert isinstance(entry, ReplicatedVolume)
    return {
        "settings": {name: value for name, value in settings.items() if name != "score"},
        "log_volume": entry.log_volume,
        "log_low": entry.log_low,
        "log_high": entry.log_high,
        "log_bound": entry.log_bound,
        "spread": entry.spread,
        "error": log_mean_error(entry.log_estimates),
        "levels": entry.diagnostics["levels"],
        "evaluations": entry.diagnostics["evaluations"],
        "evaluations_a_run": (entry.diagnostics["evaluations"] - entry.diagnostics["pilot_evaluations"])
        / entry.num_replicates,
        "seconds": time.perf_counter() - start,
    }


def smallest_margin(label: str) -> Callable[[Array], Array]:
    """The score of far thresholds: margins as they are. Over the outputs' size, which grows with the distance to the
    corner, they say little there (spread 4.8 instead of 1.5 nats at 1e-300 in three dimensions)."""
    signs = np.where(np.array(list(label)) == "1", 1, -1).astype(np.float32)
    return lambda outputs: jnp.min(outputs * signs)


def truths(wanted: tuple[tuple[str, int, int], ...]) -> list[dict[str, Any]]:
    known = {case.name: case for case in cases()}
    print(
        "| class | log10 truth | log10 estimate, 95 % interval | z | spread | levels | evaluations | Monte Carlo | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name, particles, moves in wanted:
        case = known[name]
        score = smallest_margin(case.label) if case.family == "orthant" and case.log_volume < FAR else None
        row = ours(case.query, case.label, particles=particles, moves=moves, dtype=case.dtype, score=score)
        z = (row["log_volume"] - case.log_volume) / math.hypot(row["error"], case.error)
        rows.append({"case": name, "log_truth": case.log_volume, "z": z, **row})
        low, middle, high = (row[name] / LN10 for name in ("log_low", "log_volume", "log_high"))
        plain = monte_carlo_evaluations(case.log_volume, row["error"])
        print(
            f"| {name} | {case.log10_volume:.3f} | {middle:.3f} ({low:.3f} to {high:.3f}) | {z:+.1f} "
            f"| {row['spread']:.2f} | {row['levels']} | {row['evaluations'] / 1e6:.1f} M | 1e{plain:.0f} "
            f"| {row['seconds']:.0f} |",
            flush=True,
        )
    return rows


def network() -> list[dict[str, Any]]:
    print(f"\n32 random labels on {NETWORK}: the half-width is of the 95 % interval, in log10.\n")
    print(
        "| particles, moves | volume | half-width | spread | evaluations | s |\n|---|---|---|---|---|---|", flush=True
    )
    rows = []
    for particles, moves in SETTINGS:
        row = ours(random_label_query(), "fits", particles=particles, moves=moves)
        rows.append(row)
        half = (row["log_high"] - row["log_low"]) / 2 / LN10
        print(
            f"| {particles}, {moves} | {volume_text(row['log_volume'])} | {half:.2f} | {row['spread']:.2f} "
            f"| {row['evaluations'] / 1e6:.1f} M | {row['seconds']:.0f} |",
            flush=True,
        )
    return rows


def direct_too() -> list[dict[str, Any]]:
    """Classes that both methods reach: Direct's interval beside splitting's, z of the difference of their logs."""
    header("random labels", "Direct, 95 % interval", "hits", "s", "splitting, 95 % interval", "s", "z")
    rows = []
    for num, draws in BOTH:
        query = random_label_query(num)
        start = time.perf_counter()
        direct = volume.estimate(query, volume.Direct(draws), seed=2)["fits"]
        seconds = time.perf_counter() - start
        row = ours(query, "fits", particles=256, moves=16)
        error = (direct.log_high - direct.log_low) / (2 * NORMAL)
        z = (row["log_volume"] - direct.log_volume) / math.hypot(row["error"], error)
        rows.append({"labels": num, "direct": direct.to_dict(), "direct_seconds": seconds, "z": z, **row})
        texts = [volume_text(value) for value in (direct.log_volume, direct.log_low, direct.log_high)]
        mine = [volume_text(row[name]) for name in ("log_volume", "log_low", "log_high")]
        print(
            f"| {num} | {texts[0]} ({texts[1]} to {texts[2]}) | {direct.count:,} | {seconds:.0f} "
            f"| {mine[0]} ({mine[1]} to {mine[2]}) | {row['seconds']:.0f} | {z:+.1f} |",
            flush=True,
        )
    return rows


def peers(best: dict[str, Any], replicates: int, max_seconds: float) -> list[dict[str, Any]]:
    """Nested sampling on the random labels: variance times evaluations, beside ours."""
    trusted = best["log_volume"]
    print(
        "\n| | runs | log10 volume | spread, nats | off, nats | evaluations a run | evaluations x error^2 | ours / it |"
    )
    print("|---|---|---|---|---|---|---|---|")
    ours_price = best["spread"] ** 2 * best["evaluations_a_run"]
    print(
        f"| this library | 8 | {trusted / LN10:.2f} | {best['spread']:.2f} | - "
        f"| {best['evaluations_a_run'] / 1e6:.2f} M | {ours_price / 1e6:.3f} M | 1 |",
        flush=True,
    )
    rows = [{"peer": "volume", "price": ours_price}]
    for moves, steps, live in (("slice", 40, 200), ("elliptical", 25, 200)):
        runs = nested(
            random_label_query(), "fits", live=live, inner_steps=steps, replicates=replicates, seed=0, delete=20,
            moves=moves, normalise=True, max_seconds=max_seconds,
        )  # fmt: skip
        name = f"blackjax nested sampling, {moves}, {steps} steps"
        found = [run.log_volume for run in runs if run.finished]
        evaluations = statistics.mean(run.evaluations for run in runs)
        row: dict[str, Any] = {"peer": name, "log_volumes": found, "evaluations": evaluations, "num_runs": len(runs)}
        rows.append(row)
        if len(found) < 2:
            print(f"| {name} | {len(found)} of {len(runs)} ended | | | | {evaluations / 1e6:.2f} M | | |", flush=True)
            continue
        spread, mean = statistics.stdev(found), statistics.mean(found)
        # Runs that agree on a wrong value are not better for it: the error is about the trusted one.
        error = math.sqrt(statistics.mean((value - trusted) ** 2 for value in found))
        row |= {"spread": spread, "mean": mean, "price": error**2 * evaluations}
        print(
            f"| {name} | {len(found)} | {mean / LN10:.2f} | {spread:.2f} | {mean - trusted:+.2f} "
            f"| {evaluations / 1e6:.2f} M | {row['price'] / 1e6:.3f} M | 1 / {row['price'] / ours_price:.0f} |",
            flush=True,
        )
    return rows


def explore() -> list[dict[str, Any]]:
    """Spread and price of variants at about the same number of evaluations, 16 replicates each."""
    base = {"particles": 100, "moves": 16, "replicates": 16}
    variants: tuple[dict[str, Any], ...] = (
        {},
        {"particles": 200, "moves": 8},
        {"particles": 50, "moves": 32},
        {"particles": 50, "body_points": 8},
        {"particles": 133, "body_points": 3},
        {"head_points": 8},
        {"head_points": 32},
        {"chain": True},
    )
    header("variant", "log10 volume", "spread", "evaluations a run", "x variance")
    rows = []
    for variant in variants:
        row = ours(random_label_query(), "fits", **(base | variant))
        rows.append({"variant": variant, **row})
        price = row["spread"] ** 2 * row["evaluations_a_run"]
        print(
            f"| {variant or 'default'} | {row['log_volume'] / LN10:.2f} | {row['spread']:.2f} "
            f"| {row['evaluations_a_run'] / 1e6:.3f} M | {price / 1e6:.3f} M |",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few shallow cases and the network's first setting")
    parser.add_argument("--deep", action="store_true", help="all families of known truth at 1e-300 and 1e-1000 alone")
    parser.add_argument("--direct", action="store_true", help="classes at 1e-4 to 1e-7 by Direct too, alone")
    parser.add_argument("--only", default="", metavar="WORD", help="cases with this word in their name")
    parser.add_argument("--no-peers", action="store_true", help="leave blackjax out")
    parser.add_argument("--peer-runs", type=int, default=4)
    parser.add_argument("--peer-seconds", type=float, default=600.0, help="of all runs of one setting")
    parser.add_argument("--explore", action="store_true", help="compare variants of our own moves instead")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    args = parser.parse_args()
    facts = environment()
    print(describe(facts) + "\n", flush=True)
    record: dict[str, Any] = {"environment": facts}
    if args.explore:
        record["explore"] = explore()
    elif args.direct:
        record["direct"] = direct_too()
    else:
        listed = DEEP if args.deep else TRUTHS[: QUICK if args.quick else None]
        record["truths"] = truths(tuple(one for one in listed if args.only in one[0]))
        if not args.only and not args.quick and not args.deep:
            record["network"] = network()
            if not args.no_peers:
                best = min(record["network"], key=lambda row: row["spread"])
                record["peers"] = peers(best, args.peer_runs, args.peer_seconds)
    if args.json:
        clean = json.loads(json.dumps(record, default=float), parse_constant=lambda _: None)
        Path(args.json).write_text(json.dumps(clean, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    worst = max((abs(row["z"]) for row in record.get("truths", record.get("direct", []))), default=0.0)
    if np.isfinite(worst) and worst > 5:
        sys.exit(f"An estimate is {worst:.1f} standard errors from what it should be.")


if __name__ == "__main__":
    main()
