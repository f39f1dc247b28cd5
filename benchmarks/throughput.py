"""Functions per second: this library beside what a user would write, and beside the machine's limits.

    python benchmarks/throughput.py [--draws 4e6] [--repeats 5] [--only-pooling] [--json FILE]

Contenders run in turn (A B C A B C ...), so that a machine whose speed drifts drifts for all; the table gives medians,
and ratios are medians of ratios within a turn. "counted" includes the full table of functions. Effective functions/s
divide by the design effect, the variance of a class's count over that of as many independent draws, measured at classes
of volume near .06, 1e-3 and 1e-5.

Pooling (``symmetry="pooled"``) on (7,40,40,1): the width of an interval from single counts over that from the orbit's,
both of the same draws, for the classes that a report shows and for generic ones, of trivial stabiliser. Effective draws
are draws times the gain, and their time includes the canonical forms. The gain is that in variance, the orbit's size
over the design effect of its count; or the squared ratio of widths, which flatters where a class was never drawn by
itself: its interval is then wider than its variance asks for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import peers
from benchmarks.environment import describe, environment, seconds
from volume.direct import DirectRun
from volume.seeds import to_key

# Functions on {0,1}^7 by the inputs that they map to 1; their volumes are in tests/test_truths.py.
CLASSES = {"near .06": (), "near 1e-3": (0b1000000,), "near 1e-5": (0b1111100,)}


def table_with_ones_at(positions: tuple[int, ...], length: int = 128) -> str:
    return "".join("1" if i in positions else "0" for i in range(length))


def networks() -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
    cube = np.asarray(volume.BooleanCube(7).inputs)
    found: dict[str, tuple[tuple[int, ...], np.ndarray]] = {
        "(7,40,40,1)": ((7, 40, 40, 1), cube),
        "(7,1)": ((7, 1), cube),
    }
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("scikit-learn is not installed: the digits network is left out (pip install param-volume[digits])")
        return found
    return found | {"digits (64,64,10)": ((64, 64, 10), np.asarray(load_digits(return_X_y=True)[0])[:64] / 16.0)}


def limits() -> dict[str, float]:
    """Matrix-product and normal-deviate rates of this machine, by the same library that we sample with."""
    size = 2048
    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(partial(jnp.matmul, precision="highest"))
    normals = jax.jit(lambda key: jax.random.normal(key, (4_000_000,)))
    key = jax.random.key(1)
    for warm in (lambda: product(a, a), lambda: normals(key)):
        jax.block_until_ready(warm())
    flops = 2 * size**3 / min(seconds(lambda: jax.block_until_ready(product(a, a))) for _ in range(5))
    rate = 4e6 / min(seconds(lambda: jax.block_until_ready(normals(key))) for _ in range(5))
    return {"matmul_flops": flops, "normals": rate}


def costs(widths: tuple[int, ...], num_inputs: int, heads: int, bodies: int) -> dict[str, float]:
    """Floating-point operations of matrix products and normal deviates that one function costs us."""
    layers = list(itertools.pairwise(widths))
    body_weights = sum(a * b for a, b in layers[:-1])
    head_weights = layers[-1][0] * layers[-1][1]
    return {
        "flops": 2 * num_inputs * (head_weights + body_weights / heads),
        "normals": body_weights / heads + head_weights / bodies,
    }


class Unreflected(volume.samplers.Gaussian):
    """The same law without the claim that lets bodies reflect the heads they share: what reflections are worth."""

    sign_symmetric = False  # type: ignore[assignment] - a property there


def query(widths: tuple[int, ...], inputs: np.ndarray, prior: volume.samplers.Prior | None = None) -> volume.Query:
    model = volume.models.MLP(widths, activation="relu", bias=False)
    domain = volume.BooleanCube(7) if widths[0] == 7 else volume.Points(inputs)
    return volume.Query(model, prior or volume.samplers.Gaussian(weight_std=1.0), domain)


def draw_only(question: volume.Query, draws: int, seed: int) -> None:
    run = DirectRun(question, volume.Direct(draws), to_key(seed)[0])
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


def show_pooling(found: dict[str, Any]) -> None:
    for coding, row in found.items():
        print(
            f"\npooling on (7,40,40,1), inputs {coding}: {row['maps']:,} maps, {row['classes']:,} classes in "
            f"{row['orbits']:,} orbits, unseen mass {row['unseen']:.3f}, of orbits {row['unseen_orbits']:.3f}; "
            f"{row['seconds_drawing']:.1f} s to draw, {row['seconds_canonical']:.1f} s for canonical forms"
        )
        for name in ("shown", "generic"):
            part = row[name]
            single = np.array(part["single_hits"])
            print(
                f"  {part['classes']} {name} classes (medians): orbit {part['orbit_size']:,.0f}, volume "
                f"{part['volume']:.2g}, hits of the orbit {part['hits']:,.0f}, of the class alone "
                f"{np.median(single):.0f} (most: {single.max(initial=0):,})\n"
                f"    interval {part['width_ratio']:.1f} times narrower, variance {part['variance_ratio']:,.0f} times "
                f"smaller: {part['effective_draws_per_second']:.3g} effective "
                f"draws/s ({part['effective_draws_per_second_by_width']:.3g} by the width)"
            )


def measure(name: str, widths: tuple[int, ...], inputs: np.ndarray, draws: int, repeats: int) -> dict[str, Any]:
    question = query(widths, inputs)
    method = volume.Direct(draws)
    plan = method.plan(question)
    few = {"naive JAX (vmap)": draws // 100, "NumPy": draws // 200, "PyTorch": draws // 200}
    contenders: dict[str, tuple[int, Any]] = {}
    for peer, function in peers.available().items():
        share = max(1000, few[peer] // 1000 * 1000)
        contenders[peer] = (share, partial(function, widths, inputs, share, 0))
        contenders[f"{peer}, counted"] = (share, lambda f=contenders[peer][1]: peers.count(f()))
    contenders["this library"] = (draws, lambda: draw_only(question, draws, 0))
    contenders["this library, counted"] = (draws, lambda: volume.estimate(question, method, seed=0))
    for share, work in contenders.values():  # compile and warm up
        del share
        work()
    turns = [{who: share / seconds(work) for who, (share, work) in contenders.items()} for _ in range(repeats)]
    rates = {who: statistics.median(turn[who] for turn in turns) for who in contenders}
    base = "naive JAX (vmap), counted"
    ratios = {who: statistics.median(turn[who] / turn[base] for turn in turns) for who in contenders}
    result: dict[str, Any] = {
        "network": name,
        "draws": draws,
        "heads": plan.heads,
        "bodies": plan.bodies,
        "functions_per_second": rates,
        "ratio_to_naive_counted": ratios,
        "costs_per_function": costs(widths, len(inputs), plan.heads, plan.bodies),
    }
    if widths == (7, 40, 40, 1):
        blocks = volume.Direct(max(draws, 10_000_000), heads=plan.heads, bodies=plan.bodies)
        effects = design_effects(volume.estimate(question, blocks, seed=1))
        plain = design_effects(volume.estimate(query(widths, inputs, Unreflected(weight_std=1.0)), blocks, seed=1))
        ours = "this library, counted"
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


def show(result: dict[str, Any], peak: dict[str, float]) -> None:
    print(f"\n{result['network']}: blocks of {result['bodies']} bodies x {result['heads']} heads")
    for who, rate in result["functions_per_second"].items():
        ratio = result["ratio_to_naive_counted"][who]
        print(f"  {who:28s} {rate:14,.0f} functions/s  {ratio:8.2f} x naive JAX, counted")
    cost, rate = result["costs_per_function"], result["functions_per_second"]["this library"]
    print(
        f"  while drawing: {100 * rate * cost['flops'] / peak['matmul_flops']:.0f} % of the matrix-product peak, "
        f"{100 * rate * cost['normals'] / peak['normals']:.0f} % of the normal-deviate peak"
    )
    for where, row in result.get("effective", {}).items():
        print(
            f"  class {where}: volume {row['volume']:.3g}, design effect {row['design_effect']:.2f} "
            f"({row['design_effect_without_reflections']:.2f} without reflections): "
            f"{row['functions_per_second']:,.0f} effective functions/s, {row['ratio_to_naive_counted']:.0f} x naive JAX"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=float, default=4e6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-pooling", action="store_true", help="leave the contenders out")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    facts, peak = environment(), limits()
    print(describe(facts))
    print(
        f"limits: {peak['matmul_flops'] / 1e9:.0f} GFLOP/s of matrix products, {peak['normals'] / 1e6:.0f} M normals/s"
    )
    results = []
    for name, (widths, inputs) in ({} if args.only_pooling else networks()).items():
        draws = int(args.draws) if widths[0] == 7 else int(args.draws) // 10
        results.append(measure(name, widths, inputs, draws, args.repeats))
        show(results[-1], peak)
    pooled = pooling(int(args.draws))
    show_pooling(pooled)
    if args.json:
        record = {"environment": facts, "limits": peak, "results": results, "pooling": pooled}
        Path(args.json).write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
