"""Rays from trained networks: the public digits benchmark, a million parameters, and rays against a plain vmapped loop.

    python benchmarks/local.py [digits|million|plain|quadratic ...] [--rays 384] [--seed 0] [--json FILE]

* digits: an MLP 64-64-10 of GELU units on 1,024 of scikit-learn's digits, Adam at .05, l2 5e-4 / 2 (which makes the
  trained network the posterior mode under the prior of standard deviation 1 / sqrt(1024 * 5e-4) = 1.3975 on all 4,810
  parameters), KL cutoff 1e-2. Published, best of 3,000 rays with a diagonal Hessian: -6578 nats (higher is tighter).
* million: rays on an MLP of a million parameters, with the memory that the process took.
* plain: our rays against one jitted vmap of 30 bisections each, on the same network: evaluations and CPU time a ray.
* quadratic: how often the printed interval and bound hold for weights as a wrong preconditioner makes them.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks.environment import describe, environment
from volume.local_estimate import rays_volume
from volume.models import MLP
from volume.samplers import Gaussian

SIGMA, L2, RATE, IMAGES = 1.3975, 5e-4, 0.05, 1024
PUBLISHED = -6578.0
PUBLISHED_EVALUATIONS = 3000 * 20  # a ray's doubling and bisection, an estimate: the published code does not count


def wide(model: MLP) -> Gaussian:
    """Standard deviation 1.3975 on every parameter, whatever its fan-in."""
    fan_in = {p.layer: p.fan_in for p in model.parameters if p.kind == "weight"}
    return Gaussian(weight_std=tuple(SIGMA * math.sqrt(fan_in[layer]) for layer in sorted(fan_in)), bias_std=SIGMA)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 1,024 images in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    return (images[:IMAGES] / 16.0).astype(np.float32), labels[:IMAGES]


def train(model: MLP, images: np.ndarray, labels: np.ndarray, *, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Adam on cross-entropy with weight decay in the loss."""
    rng = np.random.default_rng(seed)
    params = {
        p.name: jnp.asarray(rng.normal(size=p.shape) * (p.kind == "weight") / math.sqrt(p.fan_in), jnp.float32)
        for p in model.parameters
    }

    given = jnp.asarray(images)

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        fit = optax.softmax_cross_entropy_with_integer_labels(model.apply(params, given), labels).mean()
        return fit + L2 / 2 * sum(jnp.sum(value**2) for value in params.values())

    optimiser = optax.adam(RATE)

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return {name: np.asarray(value) for name, value in params.items()}


def measured(query: volume.Query, method: volume.Local, seed: int) -> dict[str, Any]:
    """One run: the volume, its bound, and what it cost."""
    start = time.process_time()
    report = volume.estimate(query, method, seed=seed, progress=sys.stderr.isatty())
    cpu = time.process_time() - start
    (entry,) = report.entries
    assert isinstance(entry, volume.LocalVolume)
    pilot = entry.diagnostics["pilot_evaluations"]
    return {
        "preconditioner": entry.diagnostics["preconditioner"],
        "rays": entry.num_rays,
        "log_volume": entry.log_volume,
        "log_bound": entry.log_bound,
        "effective_rays": entry.effective_rays,
        "evaluations": report.run["evaluations"],
        "pilot_evaluations": pilot,
        "evaluations_per_ray": (report.run["evaluations"] - pilot) / entry.num_rays,
        "cpu_seconds": cpu,
        "copies": report.run.get("copies"),
    }


def show(name: str, record: dict[str, Any]) -> None:
    copies = record.get("copies") or {}
    print(
        f"{name:>22s}: log V {record['log_volume']:.1f}, above {record['log_bound']:.1f} at .95; "
        f"{record['effective_rays']:.3g} of {record['rays']} rays; {record['evaluations']:,} evaluations "
        f"({record['evaluations_per_ray']:.1f} a ray), {record['cpu_seconds']:.1f} CPU s"
        + (f"; all copies, cut apart: {copies['log_estimate']:.1f}" if "log_estimate" in copies else ""),
        flush=True,
    )


def digits_benchmark(args: argparse.Namespace) -> dict[str, Any]:
    images, labels = digits()
    model = MLP((64, 64, 10), "gelu")
    query = volume.Query(model, wide(model), volume.Points(images))
    found: dict[str, Any] = {"published": PUBLISHED, "published_evaluations": PUBLISHED_EVALUATIONS}
    for steps in (300, 2000):
        anchor = train(model, images, labels, steps=steps, seed=args.seed)
        right = float(np.mean(np.argmax(model.apply(anchor, jnp.asarray(images)), axis=1) == labels))  # type: ignore[arg-type]  # NumPy arrays do
        print(f"digits, {steps} steps of Adam: {100 * right:.1f} % right, D = 4,810, cutoff 1e-2")
        for kind, fit in (("identity", 0), ("diagonal", 0), ("diagonal", 100)):
            method = volume.Local(anchor, 1e-2, rays=args.rays, preconditioner=kind, fit=fit)
            record = measured(query, method, args.seed)
            name = f"{kind}, fit {fit}"
            found[f"{steps} steps, {name}"] = record
            show(name, record)
    return found


def million(args: argparse.Namespace) -> dict[str, Any]:
    """64-960-960-10: 1.0 million parameters, 256 images."""
    images, labels = digits()
    images, labels = images[:256], labels[:256]
    model = MLP((64, 960, 960, 10), "relu")
    query = volume.Query(model, wide(model), volume.Points(images))
    size = sum(math.prod(p.shape) for p in model.parameters)
    anchor = train(model, images, labels, steps=50, seed=args.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = measured(query, volume.Local(anchor, 1e-2, rays=32, preconditioner="diagonal", fit=20), args.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record |= {"parameters": size, "peak_mib": peak / 1024, "peak_before_mib": before / 1024}
    show(f"{size:,} parameters", record)
    print(f"{'':>22s}  peak memory {peak / 1024:.0f} MiB, of which {before / 1024:.0f} MiB before the rays")
    return record


@partial(jax.jit, static_argnames=("model", "steps"))
def plain_radii(model: MLP, anchor: Any, images: Any, key: Any, count: Any, cutoff: float, steps: int) -> Any:
    """What one would write first: vmapped rays, each by doubling from 1e-3 and bisection, ``steps`` evaluations."""
    log_p = jax.nn.log_softmax(model.apply(anchor, images))

    def one(key: Any) -> Any:
        leaves, tree = jax.tree.flatten(anchor)
        keys = jax.random.split(key, len(leaves))
        v = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        size = jnp.sqrt(sum(jnp.sum(x * x) for x in v))

        def divergence(r: Any) -> Any:
            theta = jax.tree.unflatten(tree, [leaf + r * x / size for leaf, x in zip(leaves, v, strict=True)])
            log_q = jax.nn.log_softmax(model.apply(theta, images))
            return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1))

        def body(_: int, state: Any) -> Any:
            low, high = state
            r = jnp.where(jnp.isinf(high), 2 * low, (low + high) / 2)
            inside = divergence(r) <= cutoff
            return jnp.where(inside, r, low), jnp.where(inside, high, r)

        return jax.lax.fori_loop(0, steps, body, (1e-3, jnp.inf))[0]

    return jax.vmap(one)(jax.random.split(key, count.shape[0]))


def plain(args: argparse.Namespace) -> dict[str, Any]:
    """Radii to 5e-6 of themselves by both, uniform directions."""
    images, labels = digits()
    model = MLP((64, 64, 10), "gelu")
    anchor = train(model, images, labels, steps=300, seed=args.seed)
    query = volume.Query(model, wide(model), volume.Points(images))
    found = {}
    for name in ("plain", "ours", "plain", "ours"):  # the second time without compiling
        start = time.process_time()
        if name == "plain":
            radii = plain_radii(model, anchor, images, jax.random.key(0), jnp.zeros(256), 1e-2, 30)
            assert np.isfinite(np.asarray(radii)).all()
            evaluations = 30.0
        else:
            method = volume.Local(anchor, 1e-2, rays=256, preconditioner="identity", drift=False)
            report = volume.estimate(query, method, seed=args.seed)
            (entry,) = report.entries
            evaluations = (report.run["evaluations"] - entry.diagnostics["pilot_evaluations"]) / 256  # type: ignore[attr-defined]  # a LocalVolume
        cpu = time.process_time() - start
        found[name] = {"cpu_milliseconds_per_ray": 1000 * cpu / 256, "evaluations_per_ray": evaluations}
    for name, record in found.items():
        print(
            f"{name:>22s}: {record['cpu_milliseconds_per_ray']:.1f} CPU ms a ray, "
            f"{record['evaluations_per_ray']:.1f} evaluations"
        )
    return found


def quadratic(args: argparse.Namespace) -> dict[str, Any]:
    """Lognormal weights, as a wrong preconditioner gives them on a quadratic: mean 1, spread s of the logarithm."""
    rng, found = np.random.default_rng(args.seed), {}
    for s in (0.5, 1.0, 1.5, 2.0, 3.0, 6.0):
        logs = rng.normal(-(s**2) / 2, s, (1000, 1024))
        entries = [rays_volume("", 1.0, row, 16) for row in logs]
        exact = [entry for entry in entries if entry.headline == "interval"]
        covered = [entry.log_low <= 0 <= entry.log_high for entry in exact]
        bounded = float(np.mean([entry.log_bound <= 0 for entry in entries]))
        effective = float(np.median([entry.effective_rays for entry in entries]))
        found[s] = {"intervals": len(exact), "covered": sum(covered), "bound_holds": bounded, "effective": effective}
        share = f"{np.mean(covered):.3f} of {len(exact)}" if exact else "none given"
        print(f"{s:>22g}: interval covers {share}, bound holds {bounded:.3f}; {effective:.4g} of 1,024 rays")
    return found


PARTS = {"digits": digits_benchmark, "million": million, "plain": plain, "quadratic": quadratic}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rays", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(describe(environment()))
    found: dict[str, Any] = {"environment": environment()}
    for name in args.parts or PARTS:
        print(f"\n{name}")
        found[name] = PARTS[name](args)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
