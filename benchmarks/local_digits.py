"""A trained digits network of 226 parameters: its local volume by splitting, with an interval, and by rays.

scikit-learn's 8 x 8 digits, all ten, pooled to 4 x 4 pixels; 16-8-10 gelu, Adam lr .05 with L2 5e-4 on 1,024 images, as
in the public benchmark on the full images (docs/local.md). Prior: every parameter N(0, 1.3975^2). The region is that of
mean KL <= .01 on the first ``--images`` of the training images. Printed: log V in nats with its interval, spread of the
replicates, evaluations (one network on all images) and processor seconds of each estimator.

    python benchmarks/local_digits.py [--images 200] [--particles 64] [--moves 8] [--replicates 8] [--rays 2048]
"""

from __future__ import annotations

import argparse
import math
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
from benchmarks import script
from benchmarks.record import Record, Row
from volume import models, samplers

MODEL = models.MLP((16, 8, 10), activation="gelu")
STD, CUTOFF, TRAINED, STEPS = 1.3975, 0.01, 1024, 1500
# weight_std / sqrt(fan_in) is the same for both layers.
PRIOR = samplers.Gaussian(weight_std=(STD * 4, STD * math.sqrt(8)), bias_std=STD)


def images() -> tuple[np.ndarray, np.ndarray]:
    """[1797, 16] in [0, 1], and the digits."""
    from sklearn.datasets import load_digits

    x, y = (np.asarray(part) for part in load_digits(return_X_y=True))
    return x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16, y


@partial(jax.jit, static_argnames="steps")
def train(start: models.Params, x: Any, y: Any, steps: int = STEPS) -> models.Params:
    """Adam, all images at once."""
    optimiser = optax.adam(0.05)

    def loss(params: Any) -> Any:
        entropy = optax.softmax_cross_entropy_with_integer_labels(MODEL.apply(params, x), y).mean()
        return entropy + 5e-4 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    def step(carry: Any, _: None) -> Any:
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)[0][0]


def anchor(seed: int = 0) -> dict[str, np.ndarray]:
    """The trained network."""
    rng, (x, y) = np.random.default_rng(seed), images()
    start = {p.name: jnp.asarray(rng.normal(size=p.shape) / math.sqrt(p.fan_in), jnp.float32) for p in MODEL.parameters}
    found = train(start, jnp.asarray(x[:TRAINED], jnp.float32), jnp.asarray(y[:TRAINED]))
    return {name: np.asarray(value) for name, value in found.items()}


def measure(num_images: int, seed: int, **settings: Any) -> tuple[Any, float]:
    """The report of one run of `volume.Local` and its processor seconds."""
    query = volume.Query(MODEL, PRIOR, domain=volume.Points(np.unique(images()[0][:num_images], axis=0)))
    began = time.process_time()
    report = volume.estimate(query, volume.Local(anchor(), CUTOFF, **settings), seed=seed, progress=True)
    return report, time.process_time() - began


def run(options: argparse.Namespace) -> Record:
    rows = []
    sizes = {"particles": options.particles, "moves": options.moves, "replicates": options.replicates}
    if options.quick:
        sizes = {"particles": 16, "moves": 2, "replicates": 3}
    for estimator in ("rays", "splitting"):
        settings = sizes if estimator == "splitting" else {"rays": 64 if options.quick else options.rays}
        report, seconds = measure(options.images, options.seed, estimator=estimator, **settings)
        (entry,) = report.entries
        facts = {"lower bound": entry.log_bound, "evaluations": report.run["evaluations"], "CPU seconds": seconds}
        if estimator == "splitting":
            facts |= {
                "spread": entry.spread,
                "drift": entry.diagnostics["drift"],
                "levels": entry.diagnostics["levels"],
                **settings,
            }
        rows.append(Row(estimator, "nats", entry.log_volume, entry.log_low, entry.log_high, facts=facts))
        script.say(rows[-1])
    return Record(rows, notes=[f"Mean KL <= {CUTOFF:g} on {options.images} images, 226 parameters."])


def main() -> None:
    parser = script.options(__doc__, "few particles and rays")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--particles", type=int, default=64)
    parser.add_argument("--moves", type=int, default=8)
    parser.add_argument("--replicates", type=int, default=8)
    parser.add_argument("--rays", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    script.main("local_digits", run, parser, title="A digits network of 226 parameters, by splitting and by rays")


if __name__ == "__main__":
    main()
