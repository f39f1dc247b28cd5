"""Orthant probabilities by minimax tilting: time and error, beside SciPy's multivariate normal integral.

    python benchmarks/orthant.py [--repeats 5] [--json FILE]

Cases: alternating signs of a Markov chain with unequal neighbour correlations, whose truth is one integral after
another; and random labels in the wide limit of a (7, *, *, 1) ReLU network, whose truth is unknown. Times are medians
in one process; "z" is (estimate - truth) over the stated standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks.environment import describe, environment
from volume import models, samplers

SIZES = (16, 64, 128)


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


def measure(repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, case in (("chain", chain), ("wide limit", wide)):
        for d in SIZES:
            cov, signs, truth = case(d)
            for who, work, calls, runs in (("tilting", ours, 1, repeats), ("scipy cdf", peer, 5, 1)):
                if who == "scipy cdf" and d > 16:
                    continue  # its five calls at d = 64 take minutes and return 0
                work(cov, signs)
                times = []
                for _ in range(runs):
                    start = time.perf_counter()
                    log_probability, error = work(cov, signs)
                    times.append((time.perf_counter() - start) / calls)
                rows.append(
                    {
                        "case": name,
                        "d": d,
                        "who": who,
                        "log_probability": log_probability,
                        "truth": truth,
                        "relative_error": error,
                        "seconds": statistics.median(times),
                    }
                )
                print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    truth = row["truth"]
    z = (
        ""
        if truth is None
        else f"  truth {truth:9.3f}  z {(row['log_probability'] - truth) / row['relative_error']:5.1f}"
    )
    return (
        f"{row['case']:>10}  d {row['d']:>3}  {row['who']:>9}  log P {row['log_probability']:9.3f}  "
        f"relative error {row['relative_error']:.1e}  {row['seconds']:.3f} s{z}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    facts = environment(dtype="float64")
    print(describe(facts))
    rows = measure(arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps({"environment": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
