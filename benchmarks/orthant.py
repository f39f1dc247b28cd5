"""Orthant probabilities by minimax tilting: time and error, beside SciPy's multivariate normal integral.

    python benchmarks/orthant.py [--repeats 5] [--quick] [--json FILE]

Cases: alternating signs of a Markov chain with unequal neighbour correlations, whose truth is one integral after
another; and random labels in the wide limit of a (7, *, *, 1) ReLU network, whose truth is unknown. Times are medians
in one process; "z" is (estimate - truth) over the stated standard error.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.record import Record, Row
from volume import models, samplers

SIZES = (16, 64, 128)
PEER = "SciPy cdf"


def chain(d: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Covariance [d, d], alternating signs [d] and the log probability of those signs."""
    rhos = np.linspace(0.7, 0.97, d - 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(rhos))])
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 4.5 * (x + 1), 4.5 * w
    density, truth = stats.norm.pdf(x), 0.0
    for rho in rhos:
        spread = math.sqrt(1 - rho**2)
        density = stats.norm.pdf((x[:, None] + rho * x) / spread) / spread @ (w * density)
        truth += math.log(w @ density)
        density /= w @ density
    return np.exp(-np.abs(np.subtract.outer(logs, logs))), np.where(np.arange(d) % 2, -1, 1), truth


def wide(d: int) -> tuple[np.ndarray, np.ndarray, None]:
    """Kernel [d, d] of d inputs of {0,1}^7 and random signs [d]."""
    rng = np.random.default_rng(0)
    inputs = volume.BooleanCube(7).inputs[rng.permutation(128)[:d]]
    prior = samplers.Gaussian(weight_std=1.0, bias_std=0.1)
    return volume.nngp_kernel(models.MLP((7, 40, 40, 1)), prior, inputs), rng.choice([-1, 1], d), None


def ours(cov: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    found = volume.log_orthant(cov, signs)
    return found.log_probability, found.relative_error


def peer(cov: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """SciPy's integral (Genz's transformation, 1e6 points at most); its error over five generators."""
    turned = cov * np.outer(signs, signs)
    law = stats.multivariate_normal(np.zeros(len(cov)), turned, allow_singular=True)  # type: ignore[arg-type]
    values = []
    for seed in range(5):
        rng: Any = np.random.default_rng(seed)
        values.append(float(law.cdf(np.zeros(len(cov)), rng=rng)))
    mean = statistics.mean(values)
    return (math.log(mean), statistics.stdev(values) / mean) if mean > 0 else (-math.inf, math.nan)


def timed(work: Callable[[], tuple[float, float]], runs: int) -> tuple[float, float, float]:
    """Its answer, and the median of so many times, after one call that warms up."""
    answer, times = work(), []
    for _ in range(runs):
        start = time.perf_counter()
        answer = work()
        times.append(time.perf_counter() - start)
    return *answer, statistics.median(times)


def measure(name: str, d: int, repeats: int) -> Row:
    cov, signs, truth = (chain if name == "chain" else wide)(d)
    log_probability, error, seconds = timed(lambda: ours(cov, signs), repeats)
    facts: dict[str, Any] = {"log P": log_probability, "relative error": error, "truth": truth}
    if truth is not None:
        facts["z"] = (log_probability - truth) / error
    peers: dict[str, float | None] = {PEER: None}
    if d == SIZES[0]:  # its five calls at d = 64 take minutes and return 0
        theirs, their_error, their_seconds = timed(lambda: peer(cov, signs), 1)
        peers[PEER] = their_seconds / 5
        facts |= {f"{PEER}: log P": theirs, f"{PEER}: relative error": their_error}
    return Row(f"{name}, d = {d}", "s", seconds, peers=peers, facts=facts)


def run(options: argparse.Namespace) -> Record:
    repeats, sizes = (1, SIZES[:2]) if options.quick else (options.repeats, SIZES)
    rows = []
    for name in ("chain", "wide limit"):
        for d in sizes:
            rows.append(measure(name, d, repeats))
            script.say(rows[-1])
    notes = [
        "Seconds of one answer: a ratio below 1 is faster. log P is natural. SciPy's error is the spread over five "
        "generators; from d = 64 on its calls take minutes and return 0."
    ]
    return Record(rows, notes=notes, dtype="float64")


def main() -> None:
    parser = script.options(__doc__, "two sizes, one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    script.main("orthant", run, parser)


if __name__ == "__main__":
    main()
