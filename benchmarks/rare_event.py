"""Rare classes by splitting: truth, estimate, evaluations and time, beside nested sampling and plain Monte Carlo.

    python benchmarks/rare_event.py [--quick | --deep | --direct] [--only WORD] [--no-peers]
                                     [--explore | --last-layer]

Part 1: classes of known volume from 1e-6 to 1e-1000 (benchmarks/rare_truths.py), with the z-score of each estimate
against the truth, its error being that of a lognormal mean. Part 2: 32 random labels on (7,40,40,1), about 1e-13, whose
truth nobody knows: what one minute and three give. Part 3: the same class by blackjax, and what each pays for a spread
of one nat between runs, evaluations times variance. Plain Monte Carlo's cost is extrapolated: 1 / (p e^2) draws for a
relative error e. --explore compares windows, moves and chain-rule levels instead, --deep takes every family of known
truth to 1e-300 and 1e-1000, --direct sets splitting beside direct draws where both reach. --last-layer sets integrated
last layers beside moved ones: variance times processor time, programs warm.

An evaluation is one network (its body) on all labelled inputs. Seconds are wall time with compiling.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, script
from benchmarks.rare_peers import monte_carlo_evaluations, nested
from benchmarks.rare_truths import cases
from benchmarks.record import Record, Row
from benchmarks.registry import missing
from volume import ReplicatedVolume, models, random_labels, samplers
from volume.common.logs import LN10, volume_text
from volume.statistics.replicates import log_mean_error

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
# With --deep: every family of known truth at 1e-300 and 1e-1000, two to twenty minutes each. At 1e-1000 particles are
# few: replicates spread by several nats, and what is tried is whether the limits still hold.
DEEP = (
    ("orthant 3-d 1e-300", 1024, 16),
    ("two correlated -.6 1e-300", 1024, 16),
    ("three correlated 1e-300", 1024, 16),
    ("corner 140-d 1e-300", 512, 16),
    ("outside a ball 6-d 1e-300", 512, 16),
    ("cap 400-d 1e-300", 512, 16),
    ("orthant 3-d 1e-1000", 512, 16),
    ("two correlated -.6 1e-1000", 512, 16),
    ("three correlated 1e-1000", 512, 16),
    ("corner 380-d 1e-1000", 128, 16),
    ("cap 1300-d 1e-1000", 48, 16),
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


def in_tens(row: dict[str, Any]) -> tuple[float, float, float]:
    """The estimate and its limits in log10."""
    return row["log_volume"] / LN10, row["log_low"] / LN10, row["log_high"] / LN10


def truths(wanted: Iterable[tuple[str, int, int]], into: dict[str, Any]) -> Iterable[Row]:
    """Classes of known volume."""
    known = {case.name: case for case in cases()}
    for name, particles, moves in wanted:
        case = known[name]
        score = smallest_margin(case.label) if case.family == "orthant" and case.log_volume < FAR else None
        row = ours(case.query, case.label, particles=particles, moves=moves, dtype=case.dtype, score=score)
        z = (row["log_volume"] - case.log_volume) / math.hypot(row["error"], case.error)
        into.setdefault("truths", []).append({"case": name, "log_truth": case.log_volume, "z": z, **row})
        facts: dict[str, Any] = {
            "log10 truth": case.log10_volume,
            "z": z,
            "spread": row["spread"],
            "levels": row["levels"],
            "evaluations": row["evaluations"],
            "log10 of Monte Carlo's": monte_carlo_evaluations(case.log_volume, row["error"]),
            "s": row["seconds"],
        }
        yield Row(name, "log10 volume", *in_tens(row), facts=facts, section="Classes of known volume")


def network(settings: Iterable[tuple[int, int]], peak: dict[str, float], into: dict[str, Any]) -> Iterable[Row]:
    """32 random labels, whose truth nobody knows."""
    most = peak["matmul_flops"] / limits.layer_flops(NETWORK, 32)
    for particles, moves in settings:
        row = ours(random_label_query(), "fits", particles=particles, moves=moves)
        into.setdefault("network", []).append(row)
        facts: dict[str, Any] = {
            "log10 volume": row["log_volume"] / LN10,
            "half-width of the 95 % interval, log10": (row["log_high"] - row["log_low"]) / 2 / LN10,
            "spread": row["spread"],
            "evaluations": row["evaluations"],
            "s": row["seconds"],
        }
        yield Row(
            f"{particles} particles, {moves} moves",
            "evaluations/s",
            row["evaluations"] / row["seconds"],
            limits={"matrix products": most},
            facts=facts,
            section=f"32 random labels on {NETWORK}",
        )


def direct_too(into: dict[str, Any]) -> Iterable[Row]:
    """Classes that both methods reach: Direct's interval beside splitting's, z of the difference of their logs."""
    for num, draws in BOTH:
        query = random_label_query(num)
        start = time.perf_counter()
        direct = volume.estimate(query, volume.Direct(draws), seed=2)["fits"]
        seconds = time.perf_counter() - start
        row = ours(query, "fits", particles=256, moves=16)
        error = (direct.log_high - direct.log_low) / (2 * NORMAL)
        z = (row["log_volume"] - direct.log_volume) / math.hypot(row["error"], error)
        found = {"labels": num, "direct": direct.to_dict(), "direct_seconds": seconds, "z": z, **row}
        into.setdefault("direct", []).append(found)
        texts = [volume_text(value) for value in (direct.log_volume, direct.log_low, direct.log_high)]
        facts: dict[str, Any] = {
            "s": row["seconds"],
            "Direct": f"{texts[0]} ({texts[1]} to {texts[2]})",
            "hits": direct.count,
            "Direct, s": seconds,
            "z": z,
        }
        yield Row(f"{num} random labels", "log10 volume", *in_tens(row), facts=facts, section="Beside direct draws")


def peers(best: dict[str, Any], replicates: int, max_seconds: float, into: dict[str, Any]) -> Iterable[Row]:
    """Nested sampling on the random labels. Its price is evaluations a run times the square of what a run is off by:
    the spread between runs, or the error about our best estimate, as runs that agree on a wrong value are not better
    for it."""
    trusted, evaluations = best["log_volume"], best["evaluations_a_run"]
    prices: dict[str, dict[str, float | None]] = {"spread^2": {}, "error^2": {}}
    rows = [{"peer": "volume", "price": best["spread"] ** 2 * evaluations}]
    into["peers"] = rows
    section = "The same by nested sampling"
    for moves, steps, live in (("slice", 40, 200), ("elliptical", 25, 200)):
        runs = nested(
            random_label_query(), "fits", live=live, inner_steps=steps, replicates=replicates, seed=0, delete=20,
            moves=moves, normalise=True, max_seconds=max_seconds,
        )  # fmt: skip
        name = f"blackjax nested sampling, {moves}, {steps} steps"
        found = [run.log_volume for run in runs if run.finished]
        each = statistics.mean(run.evaluations for run in runs)
        row: dict[str, Any] = {"peer": name, "log_volumes": found, "evaluations": each, "num_runs": len(runs)}
        rows.append(row)
        facts: dict[str, Any] = {"runs that ended": f"{len(found)} of {len(runs)}", "evaluations a run": each}
        for words in prices:
            prices[words][name] = None
        if len(found) >= 2:
            spread, mean = statistics.stdev(found), statistics.mean(found)
            error = math.sqrt(statistics.mean((value - trusted) ** 2 for value in found))
            row |= {"spread": spread, "mean": mean, "price": error**2 * each}
            facts |= {"log10 volume": mean / LN10, "spread, nats": spread, "off, nats": mean - trusted}
            prices["spread^2"][name], prices["error^2"][name] = spread**2 * each, error**2 * each
        yield Row(name, facts=facts, section=section)
    mine: dict[str, Any] = {
        "runs that ended": "8 of 8",
        "evaluations a run": evaluations,
        "log10 volume": trusted / LN10,
        "spread, nats": best["spread"],
    }
    yield Row("this library", facts=mine, section=section)
    for words, theirs in prices.items():
        price = best["spread"] ** 2 * evaluations
        yield Row(f"evaluations x {words}", "evaluations", price, peers=theirs, section="Price of a spread of one nat")


def explore(into: dict[str, Any]) -> Iterable[Row]:
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
    for variant in variants:
        row = ours(random_label_query(), "fits", **(base | variant))
        into.setdefault("explore", []).append({"variant": variant, **row})
        facts: dict[str, Any] = {
            "log10 volume": row["log_volume"] / LN10,
            "spread": row["spread"],
            "evaluations a run": row["evaluations_a_run"],
        }
        price = row["spread"] ** 2 * row["evaluations_a_run"]
        words = ", ".join(f"{name} {value}" for name, value in variant.items()) or "default"
        yield Row(words, "evaluations x variance", price, facts=facts)


# Labels, and particles and moves with an integrated last layer and with a moved one, if that reaches.
LAST_LAYERS: tuple[tuple[int, tuple[int, int], tuple[int, int] | None], ...] = (
    (16, (64, 8), (128, 16)),
    (32, (64, 12), (128, 16)),
    (64, (64, 16), None),
)
SEEDS = 3  # runs of 16 replicates each, after one that compiles


def last_layers(wanted: Iterable[tuple[int, Any, Any]], into: dict[str, Any]) -> Iterable[Row]:
    """What a spread of one nat between replicates costs in processor time, by both."""
    for num, integrated, moved in wanted:
        query = random_label_query(num)
        prices: dict[str, float] = {}
        for how, setting in (("integrated", integrated), ("moved", moved)):
            if setting is None:
                continue
            method = volume.Splitting(particles=setting[0], moves=setting[1], replicates=16, last_layer=how)
            start = time.process_time()
            volume.estimate(query, method, seed=0)
            cold, start = time.process_time() - start, time.process_time()
            entries: list[Any] = [volume.estimate(query, method, seed=1 + seed)["fits"] for seed in range(SEEDS)]
            seconds = (time.process_time() - start) / SEEDS / 16
            variance = statistics.mean(entry.spread**2 for entry in entries)
            prices[how] = variance * seconds
            logs = [entry.log_volume / LN10 for entry in entries]
            found = {"labels": num, "last_layer": how, "log10_volumes": logs, "variance": variance, "seconds": seconds}
            into.setdefault("last_layers", []).append(found | {"cold": cold})
            facts: dict[str, Any] = {
                "log10 volume": statistics.mean(logs),
                "its sd between runs": statistics.stdev(logs),
                "spread, nats": math.sqrt(variance),
                "processor s a replicate": seconds,
                "evaluations a run": entries[0].diagnostics["evaluations"],
                "first run, processor s": cold,
            }
            name = f"{num} labels, {how}, {setting[0]} x {setting[1]}"
            yield Row(
                name, "variance x processor s", prices[how], facts=facts, section="Integrated and moved last layers"
            )
        if len(prices) == 2:
            ratio = prices["moved"] / prices["integrated"]
            yield Row(f"{num} labels", "moved over integrated", ratio, section="Price of a spread of one nat")


def run(options: argparse.Namespace) -> Record:
    details: dict[str, Any] = {}
    peak = limits.measure()
    rows: list[Row] = []

    def take(found: Iterable[Row]) -> None:
        for row in found:
            rows.append(row)
            script.say(row)

    whole = not (options.only or options.quick or options.deep)
    if options.explore:
        take(explore(details))
    elif options.direct:
        take(direct_too(details))
    elif options.last_layer:
        take(last_layers(LAST_LAYERS[: 1 if options.quick else None], details))
    else:
        listed = DEEP if options.deep else TRUTHS[: QUICK if options.quick else None]
        take(truths([one for one in listed if options.only in one[0]], details))
        if whole:
            take(network(SETTINGS, peak, details))
        if whole and not options.no_peers and not missing(("blackjax",)):
            best = min(details["network"], key=lambda row: row["spread"])
            take(peers(best, options.peer_runs, options.peer_seconds, details))
    worst = max((abs(row["z"]) for row in details.get("truths", details.get("direct", []))), default=0.0)
    bad = np.isfinite(worst) and worst > 5
    notes = [
        "An evaluation is one network on all labelled inputs; seconds are wall time with compiling, and so are rates. "
        "Where the spread is above 1 a report leads with the lower bound."
    ]
    return Record(
        rows,
        missing=missing(("blackjax",)),
        limits=peak,
        notes=notes,
        details=details,
        failure=f"an estimate is {worst:.1f} standard errors from what it should be." if bad else "",
    )


def main() -> None:
    parser = script.options(__doc__, "a few shallow cases alone")
    parser.add_argument("--deep", action="store_true", help="all families of known truth at 1e-300 and 1e-1000 alone")
    parser.add_argument("--direct", action="store_true", help="classes at 1e-4 to 1e-7 by Direct too, alone")
    parser.add_argument("--only", default="", metavar="WORD", help="cases with this word in their name")
    parser.add_argument("--no-peers", action="store_true", help="leave blackjax out")
    parser.add_argument("--peer-runs", type=int, default=4)
    parser.add_argument("--peer-seconds", type=float, default=600.0, help="of all runs of one setting")
    parser.add_argument("--explore", action="store_true", help="compare variants of our own moves instead")
    parser.add_argument("--last-layer", action="store_true", help="integrated last layers beside moved ones, alone")
    script.main("rare_event", run, parser)


if __name__ == "__main__":
    main()
