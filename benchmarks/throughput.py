"""Functions per second: this library beside what a user would write, and beside the machine's limits.

    python benchmarks/throughput.py [--draws 4e6] [--repeats 5] [--only-pooling] [--quick] [--json FILE]

Every peer draws in batches of the size at which it was fastest in this run. Contenders run in turn (A B C A B C ...),
so that a machine whose speed drifts drifts for all; the table gives medians, and ratios are medians of ratios within
a turn, with the least and the largest. "counted" includes the full table of functions. Effective functions/s divide
by the design effect, the variance of a class's count over that of as many independent draws, measured at classes of
volume near .06, 1e-3 and 1e-5.

Pooling (``symmetry="pooled"``) on (7,40,40,1): the width of an interval from single counts over that from the orbit's,
both of the same draws, for the classes that a report shows and for generic ones, of trivial stabiliser. Effective draws
are draws times the gain, and their time includes the canonical forms. The gain is that in variance, the orbit's size
over the design effect of its count; or the squared ratio of widths, which flatters where a class was never drawn by
itself: its interval is then wider than its variance asks for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, peers, script
from benchmarks.environment import seconds
from benchmarks.record import OURS, Record, Row
from benchmarks.registry import missing
from volume.common.seeds import to_key
from volume.functions.data_files import load_digits

# Functions on {0,1}^7 by the inputs that they map to 1; their volumes are in tests/estimators/test_truths.py.
CLASSES = {"near .06": (), "near 1e-3": (0b1000000,), "near 1e-5": (0b1111100,)}
NAIVE = "naive JAX (vmap)"


def table_with_ones_at(positions: tuple[int, ...], length: int = 128) -> str:
    return "".join("1" if i in positions else "0" for i in range(length))


def networks() -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
    cube = np.asarray(volume.BooleanCube(7).inputs)
    found: dict[str, tuple[tuple[int, ...], np.ndarray]] = {
        "(7,40,40,1)": ((7, 40, 40, 1), cube),
        "(7,1)": ((7, 1), cube),
    }
    if missing(("sklearn",)):
        return found
    return found | {"digits (64,64,10)": ((64, 64, 10), load_digits()[0][:64])}


class Unreflected(volume.samplers.Gaussian):
    """The same law without the claim that lets bodies reflect the heads they share: what reflections are worth."""

    sign_symmetric = False  # type: ignore[assignment] - a property there


def query(widths: tuple[int, ...], inputs: np.ndarray, prior: volume.samplers.Prior | None = None) -> volume.Query:
    model = volume.models.MLP(widths, activation="relu", bias=False)
    domain = volume.BooleanCube(7) if widths[0] == 7 else volume.Points(inputs)
    return volume.Query(model, prior or volume.samplers.Gaussian(weight_std=1.0), domain)


def draw_only(question: volume.Query, draws: int, seed: int) -> None:
    run = volume.Direct(draws).start(question, to_key(seed)[0])
    while not run.done:
        run.advance()


def design_effects(report: volume.VolumeReport) -> dict[str, tuple[float, float]]:
    """(volume, design effect) at each of CLASSES."""
    found = {}
    for name, ones in CLASSES.items():
        entry = report[table_with_ones_at(ones)]
        found[name] = (float(np.exp(entry.log_volume)), float(entry.design_effect))
    return found


def pooling(draws: int, shown: int = 20) -> dict[str, Any]:
    """What pooling is worth on (7,40,40,1) without biases, by the coding of the inputs."""
    found: dict[str, Any] = {}
    model, prior = volume.models.MLP((7, 40, 40, 1), bias=False), volume.samplers.Gaussian(weight_std=1.0)
    for coding in ((0, 1), (-1, 1)):
        question = volume.Query(model, prior, volume.BooleanCube(7, coding=coding), symmetry="pooled")
        volume.estimate(question, volume.Direct(draws // 100), seed=0).top(1)  # compile
        reports: list[Any] = []
        drawing = seconds(
            lambda q=question, into=reports: into.append(volume.estimate(q, volume.Direct(draws), seed=1))
        )
        report = reports[0]
        forms = seconds(lambda r=report: r.orbits)
        largest = report.top(100_000)
        generic = largest.take(np.flatnonzero(largest.orbit_size == report.group.order)[:shown])
        row: dict[str, Any] = {
            "maps": report.group.order,
            "classes": report.num_classes,
            "orbits": report.num_orbits,
            "unseen": report.unpooled.unseen.mass,
            "unseen_orbits": report.unseen.mass,
            "seconds_drawing": drawing,
            "seconds_canonical": forms,
        }
        for name, table in (("shown", largest[:shown]), ("generic", generic)):
            ratio = float(np.median(report.width_ratios(table)))
            gain = float(np.median(table.orbit_size / np.fmax(table.design_effect, 1.0)))
            row[name] = {
                "classes": len(table),
                "orbit_size": float(np.median(table.orbit_size)),
                "hits": float(np.median(table.count)),
                "single_hits": [report.unpooled[label].count for label in table.labels()],
                "volume": float(np.exp(np.median(table.log_volume))),
                "width_ratio": ratio,
                "variance_ratio": gain,
                "effective_draws_per_second": draws * gain / (drawing + forms),
                "effective_draws_per_second_by_width": draws * ratio**2 / (drawing + forms),
            }
        found[str(coding)] = row
    return found


def pooling_rows(found: dict[str, Any]) -> list[Row]:
    rows = []
    for coding, row in found.items():
        for name in ("shown", "generic"):
            part = row[name]
            if not part["hits"]:
                continue  # of so few draws nothing can be said
            facts = {
                "orbit": part["orbit_size"],
                "volume": part["volume"],
                "hits of the orbit": part["hits"],
                "of the class alone": float(np.median(np.array(part["single_hits"]))),
                "interval narrower": part["width_ratio"],
                "variance smaller": part["variance_ratio"],
                "by width^2": part["effective_draws_per_second_by_width"],
                "drawing, s": row["seconds_drawing"],
                "canonical forms, s": row["seconds_canonical"],
            }
            ours = part["effective_draws_per_second"]
            section = "Pooling on (7,40,40,1), medians over 20 classes"
            rows.append(Row(f"inputs {coding}, {name}", "effective draws/s", ours, facts=facts, section=section))
    return rows


def measure(
    name: str,
    widths: tuple[int, ...],
    inputs: np.ndarray,
    draws: int,
    repeats: int,
    *,
    least: int = 10_000_000,
    batches: tuple[int, ...] = peers.BATCHES,
) -> dict[str, Any]:
    """Rates of all contenders, each peer at its fastest batch; design effects from ``least`` draws or more."""
    question = query(widths, inputs)
    method = volume.Direct(draws)
    plan = method.plan(question)
    few = {NAIVE: draws // 100, "NumPy": draws // 200, "PyTorch": draws // 200}
    contenders: dict[str, tuple[int, Any]] = {}
    chosen: dict[str, int] = {}
    for peer, function in peers.available().items():
        chosen[peer] = peers.fastest_batch(function, widths, inputs, batches)
        share = max(1, few[peer] // batches[-1]) * batches[-1]
        contenders[peer] = (share, partial(function, widths, inputs, share, 0, chosen[peer]))
        contenders[f"{peer}, counted"] = (share, lambda f=contenders[peer][1]: peers.count(f()))
    contenders[OURS] = (draws, lambda: draw_only(question, draws, 0))
    contenders[f"{OURS}, counted"] = (draws, lambda: volume.estimate(question, method, seed=0))
    for share, work in contenders.values():  # compile and warm up
        del share
        work()
    turns = [{who: share / seconds(work) for who, (share, work) in contenders.items()} for _ in range(repeats)]
    rates = {who: statistics.median(turn[who] for turn in turns) for who in contenders}
    base = f"{NAIVE}, counted"
    ratios = {who: statistics.median(turn[who] / turn[base] for turn in turns) for who in contenders}
    result: dict[str, Any] = {
        "network": name,
        "draws": draws,
        "heads": plan.heads,
        "bodies": plan.bodies,
        "batches": chosen,
        "functions_per_second": rates,
        "ratio_to_naive_counted": ratios,
        "turns": turns,
        "costs_per_function": {
            "flops": limits.layer_flops(widths, len(inputs), heads=plan.heads),
            "normals": limits.layer_normals(widths, heads=plan.heads, bodies=plan.bodies),
        },
    }
    if widths == (7, 40, 40, 1):
        blocks = volume.Direct(max(draws, least), heads=plan.heads, bodies=plan.bodies)
        effects = design_effects(volume.estimate(question, blocks, seed=1))
        plain = design_effects(volume.estimate(query(widths, inputs, Unreflected(weight_std=1.0)), blocks, seed=1))
        ours = f"{OURS}, counted"
        result["effective"] = {
            where: {
                "volume": v,
                "design_effect": d,
                "design_effect_without_reflections": plain[where][1],
                "functions_per_second": rates[ours] / max(d, 1.0),
                "ratio_to_naive_counted": ratios[ours] / max(d, 1.0),
            }
            for where, (v, d) in effects.items()
        }
    return result


def rows_of(result: dict[str, Any], peak: dict[str, float]) -> list[Row]:
    """Functions/s, drawn and counted, and effective ones."""
    rates, turns, cost = result["functions_per_second"], result["turns"], result["costs_per_function"]
    name, block = result["network"], f"{result['bodies']} bodies x {result['heads']} heads"
    rows = []
    for suffix, words in (("", "drawn"), (", counted", "drawn and counted")):
        against = [who for who in rates if who != f"{OURS}{suffix}" and who.endswith(", counted") == bool(suffix)]
        ratios = {who: [turn[f"{OURS}{suffix}"] / turn[who] for turn in turns] for who in against}
        plain = {who: who.removesuffix(", counted") for who in against}
        rows.append(
            Row(
                f"{name}, {words}",
                "functions/s",
                rates[f"{OURS}{suffix}"],
                peers={plain[who]: rates[who] for who in against},
                ratios={plain[who]: statistics.median(found) for who, found in ratios.items()},
                ranges={plain[who]: (min(found), max(found)) for who, found in ratios.items()},
                limits={}
                if suffix
                else {
                    "matrix products": peak["matmul_flops"] / cost["flops"],
                    "normal deviates": peak["normals"] / cost["normals"],
                },
                facts={"blocks": block, **{f"batch of {peer}": batch for peer, batch in result["batches"].items()}},
                section="Functions per second",
            )
        )
    for where, row in result.get("effective", {}).items():
        facts = {
            "volume": row["volume"],
            "design effect": row["design_effect"],
            "without reflections": row["design_effect_without_reflections"],
        }
        section = f"Effective functions per second, {name}, counted"
        ratios = {NAIVE: row["ratio_to_naive_counted"]}
        rows.append(Row(where, "functions/s", row["functions_per_second"], ratios=ratios, facts=facts, section=section))
    return rows


def run(options: argparse.Namespace) -> Record:
    draws, repeats = (200_000, 2) if options.quick else (int(options.draws), options.repeats)
    peak = limits.measure()
    results, rows = [], []
    for name, (widths, inputs) in ({} if options.only_pooling else networks()).items():
        each = draws if widths[0] == 7 else draws // 10
        few = {"least": draws, "batches": (50, 1000)} if options.quick else {}
        results.append(measure(name, widths, inputs, each, repeats, **few))
        rows += rows_of(results[-1], peak)
        for row in rows[-5 if "effective" in results[-1] else -2 :]:
            script.say(row)
    pooled = pooling(draws)
    rows += pooling_rows(pooled)
    notes = [
        "Times are medians over turns in which all contenders took part; ratios have their range over the turns. "
        "Each peer draws in batches of the size that was fastest here of those tried."
    ]
    return Record(
        rows,
        missing=missing(("torch", "sklearn")),
        limits=peak,
        notes=notes,
        details={"results": results, "pooling": pooled},
    )


def main() -> None:
    parser = script.options(__doc__, "200,000 draws, 2 turns")
    parser.add_argument("--draws", type=float, default=4e6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-pooling", action="store_true", help="leave the contenders out")
    script.main("throughput", run, parser)


if __name__ == "__main__":
    main()
