"""Rays from trained networks: a published digits benchmark, a million parameters, and rays beside a plain vmapped loop.

    python benchmarks/local.py [digits|million|plain|quadratic ...] [--rays 384] [--quick] [--json FILE]

* digits: the network of benchmarks/local_plain.py, KL cutoff 1e-2, by how rays are aimed: at random, by the diagonal
  curvature at the anchor, by the fitted one, and by the second moments that Adam kept. Published, best of 3,000 rays
  with a diagonal Hessian: -6578 nats (higher is tighter). About 60,000 evaluations if each ray took 20.
* million: rays on an MLP of a million parameters, with the memory that the process took.
* plain: our rays beside one jitted vmap of 30 evaluations each, on the same network, in turn (A B C A B C ...), the
  first turn of each left out. Ours also weigh each ray and look for returns on it, after a pilot; with the model's
  symmetries they are cut where a copy of the anchor is nearer, too.
* quadratic: how often the printed interval and bound hold for weights as a wrong preconditioner makes them.

An evaluation is one network on all images; a gradient or a curvature product counts as three. The limit is the rate at
which nothing but the matrix products of these evaluations would run.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, script
from benchmarks.local_plain import BISECTIONS, digits, plain_radii, train, wide
from benchmarks.record import Record, Row
from volume import models
from volume.models import MLP
from volume.reports.local_entries import rays_volume

PUBLISHED = -6578.0
PEER = "plain vmap"
CUTOFF = 1e-2
DIGITS, MILLION, FEWER = (64, 64, 10), (64, 960, 960, 10), (64, 128, 128, 10)
SPREADS = (0.5, 1.0, 1.5, 2.0, 3.0, 6.0)


def measured(query: volume.Query, method: volume.Local, seed: int) -> dict[str, Any]:
    """One run: the volume, its bound, and what it cost. Compiling is part of the times."""
    cpu, clock = time.process_time(), time.perf_counter()
    report = volume.estimate(query, method, seed=seed, progress=sys.stderr.isatty())
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    (entry,) = report.entries
    assert isinstance(entry, volume.LocalVolume)
    pilot = entry.diagnostics["pilot_evaluations"]
    return {
        "log_volume": entry.log_volume,
        "log_bound": entry.log_bound,
        "effective": entry.effective_rays,
        "rays": entry.num_rays,
        "evaluations": report.run["evaluations"],
        "per_ray": (report.run["evaluations"] - pilot) / entry.num_rays,
        "cpu": cpu,
        "seconds": clock,
        "copies": report.run.get("copies"),
    }


def facts_of(found: dict[str, Any], flops: float) -> dict[str, Any]:
    """Columns of a run whose evaluations take ``flops`` each."""
    share = found["evaluations"] * flops / (found["seconds"] * limits.measure()["matmul_flops"])
    return {
        "lower bound": found["log_bound"],
        "effective rays": found["effective"],
        "rays": found["rays"],
        "evaluations": found["evaluations"],
        "evaluations a ray": found["per_ray"],
        "CPU ms a ray": 1000 * found["cpu"] / found["rays"],
        "CPU s": found["cpu"],
        "share of matrix products": f"{100 * share:.2g} %",
        "all copies, cut apart": (found["copies"] or {}).get("log_estimate"),
    }


def digits_rows(options: argparse.Namespace) -> list[Row]:
    images, labels = digits()
    images, labels = (images[:128], labels[:128]) if options.quick else (images, labels)
    model, rows = MLP(DIGITS, "gelu"), []
    query, flops = volume.Query(model, wide(model), volume.Points(images)), limits.layer_flops(DIGITS, len(images))
    for steps in (300,) if options.quick else (300, 2000):
        anchor, moments = train(model, images, labels, steps=steps, seed=options.seed)
        outputs = model.apply({name: jnp.asarray(value) for name, value in anchor.items()}, jnp.asarray(images))
        right = float(np.mean(np.asarray(outputs).argmax(axis=1) == labels))
        ways = {
            "identity": ("identity", 0),
            "diagonal at the anchor": ("diagonal", 0),
            "diagonal, fitted": ("diagonal", 10 if options.quick else 100),
            "Adam's second moments": (moments, 0),
        }
        for name, (kind, fit) in ways.items():
            method = volume.Local(anchor, CUTOFF, rays=options.rays, preconditioner=kind, fit=fit)
            found = measured(query, method, options.seed)
            facts = {"right": right, "log V - published": None if options.quick else found["log_volume"] - PUBLISHED}
            facts |= facts_of(found, flops)
            section = f"{len(images):,} digits, 4,810 parameters, KL <= {CUTOFF:g}"
            rows.append(Row(f"{steps} steps, {name}", "nats", found["log_volume"], facts=facts, section=section))
            script.say(rows[-1])
    return rows


def million_rows(options: argparse.Namespace) -> list[Row]:
    """64-960-960-10: 1.0 million parameters, 256 images."""
    widths, number = (FEWER, 64) if options.quick else (MILLION, 256)
    images, labels = digits()
    images, labels, model = images[:number], labels[:number], MLP(widths, "relu")
    query = volume.Query(model, wide(model), volume.Points(images))
    size = sum(math.prod(p.shape) for p in model.parameters)
    anchor, _ = train(model, images, labels, steps=50, seed=options.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = measured(query, volume.Local(anchor, CUTOFF, rays=32, preconditioner="diagonal", fit=20), options.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts = facts_of(found, limits.layer_flops(widths, number))
    facts |= {"peak MiB": peak / 1024, "of which before the rays": before / 1024}
    row = Row(f"{size:,} parameters, {number} images", "nats", found["log_volume"], facts=facts, section="A large MLP")
    script.say(row)
    return [row]


def plain_rows(options: argparse.Namespace) -> list[Row]:
    """Radii to 5e-6 of themselves by both, uniform directions."""
    images, labels = digits()
    count, turns = (64, 2) if options.quick else (512, 5)
    images, labels = (images[:128], labels[:128]) if options.quick else (images, labels)
    model = MLP(DIGITS, "gelu")
    anchor, _ = train(model, images, labels, steps=300, seed=options.seed)
    query = volume.Query(model, wide(model), volume.Points(images))
    method = volume.Local(anchor, CUTOFF, rays=count, preconditioner="identity", drift=False)

    def plain(turn: int) -> dict[str, float]:
        cpu, clock = time.process_time(), time.perf_counter()
        radii = np.asarray(plain_radii(model, anchor, images, jax.random.key(turn), count, CUTOFF))
        if not (np.isfinite(radii) & (radii > 0)).all():
            raise RuntimeError("a plain ray has no radius")
        return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - clock, "per_ray": float(BISECTIONS)}

    bare = models.from_function(model.apply, model.parameters, input_shape=DIGITS[0], num_outputs=DIGITS[-1])
    queries = {"copies not cut": volume.Query(bare, wide(model), query.domain), "copies cut": query}
    contenders: dict[str, Callable[[int], dict[str, Any]]] = {
        name: lambda turn, query=query: measured(query, method, options.seed + turn) for name, query in queries.items()
    }
    contenders[PEER] = plain
    found = [{name: race(turn) for name, race in contenders.items()} for turn in range(1 + turns)][1:]
    per_ray = {name: statistics.median(turn[name]["per_ray"] for turn in found) for name in contenders}
    rows = []
    for name, (words, unit, of) in itertools.product(
        queries, (("by the clock", "rays/s", "seconds"), ("by processor time", "rays/CPU s", "cpu"))
    ):
        rates, theirs = ([count / turn[each][of] for turn in found] for each in (name, PEER))
        ratios = [mine / other for mine, other in zip(rates, theirs, strict=True)]
        most = limits.measure()["matmul_flops"] / (per_ray[name] * limits.layer_flops(DIGITS, len(images)))
        facts = {"evaluations a ray": per_ray[name], f"{PEER}: evaluations a ray": per_ray[PEER]}
        if of == "cpu":
            facts |= {"CPU ms a ray": 1000 / statistics.median(rates)}
            facts |= {f"{PEER}: CPU ms a ray": 1000 / statistics.median(theirs)}
        rows.append(
            Row(
                f"{name}, {words}",
                unit,
                statistics.median(rates),
                peers={PEER: statistics.median(theirs)},
                ratios={PEER: statistics.median(ratios)},
                ranges={PEER: (min(ratios), max(ratios))},
                limits={"matrix products": most} if of == "seconds" else {},
                facts=facts,
                section=f"Rays in uniform directions, {count} at a time, on {len(images):,} digits",
            )
        )
        script.say(rows[-1])
    return rows


def quadratic_rows(options: argparse.Namespace) -> list[Row]:
    """Lognormal weights, as a wrong preconditioner gives them on a quadratic: mean 1, spread s of the logarithm."""
    rng, rows, groups = np.random.default_rng(options.seed), [], 50 if options.quick else 1000
    for s in SPREADS:
        entries = [rays_volume("", 1.0, row, 16) for row in rng.normal(-(s**2) / 2, s, (groups, 1024))]
        exact = [entry for entry in entries if entry.headline == "interval"]
        facts = {
            "groups": groups,
            "intervals given": len(exact),
            "of which hold": float(np.mean([e.log_low <= 0 <= e.log_high for e in exact])) if exact else None,
            "bounds that hold": float(np.mean([entry.log_bound <= 0 for entry in entries])),
            "effective of 1,024 rays": float(np.median([entry.effective_rays for entry in entries])),
        }
        rows.append(Row(f"spread {s:g}", facts=facts, section="Weights of a given spread of the logarithm, at 95 %"))
        script.say(rows[-1])
    return rows


PARTS = {"digits": digits_rows, "million": million_rows, "plain": plain_rows, "quadratic": quadratic_rows}


def run(options: argparse.Namespace) -> Record:
    options.rays = 32 if options.quick else options.rays
    peak = limits.measure()
    rows = [row for name in options.parts or PARTS for row in PARTS[name](options)]
    notes = [
        f"log V is natural; where few rays are effective the lower bound is what is claimed. Published: {PUBLISHED:g} "
        "nats on all 1,024 digits. CPU ms a ray are all of a run's, with its pilot and, but for the turns beside the "
        "plain loop, compiling. Shares of matrix products count the forward products of all evaluations, by the clock."
    ]
    return Record(rows, limits=peak, notes=notes)


def main(arguments: list[str] | None = None) -> None:
    parser = script.options(__doc__, "one digits network of few images, 32 rays, a smaller large network")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rays", type=int, default=384, help="of each digits run")
    parser.add_argument("--seed", type=int, default=0)
    script.main("local", run, parser, arguments, title="Rays from trained networks")


if __name__ == "__main__":
    main()
