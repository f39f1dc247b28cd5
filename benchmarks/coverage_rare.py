"""How often the limits printed for rare classes hold: volumes from replicates, and shares within a class.

    python benchmarks/coverage_rare.py --json benchmarks/coverage_rare.json --table benchmarks/coverage_rare.md

Truths are exact: log p = 0 after subtraction, or a share that is a ratio of known means. Three designs:

* lognormal replicates, for which the interval was made;
* ideal splitting: at each of K levels Binomial(N, q) / N particles survive, so that p_hat is the product and p = q^K;
  replicates may die. No splitting on real moves does better at the same N and levels;
* shares: part and complement have volumes of their own in every replicate, spread differently, so that p_hat and the
  fraction g go together; the part may be absent from a replicate; g is seen through n particles.

"Printed" is what a report prints first, over ALL groups: the interval where no replicate died and the spread is at
most 1, else the lower bound (`volume.reports.entries`). "Interval" grades the interval in every group without a dead
replicate, "after the gate" only where it was printed. Real splitting runs: benchmarks/coverage_splitting.py. NumPy on
the CPU in double precision.

Shape letters: S groups, R replicates, N particles, K levels.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import script
from benchmarks.record import Record, Row
from volume.reports.entries import MAX_SPREAD
from volume.statistics.replicates import MIN_HIT, lower_bounds, mean_limits, share_limits

LEVEL = 0.95


def grade_volumes(
    x: np.ndarray, level: float = LEVEL, withheld: np.ndarray | None = None, **case: Any
) -> dict[str, Any]:
    """One row from log(p_hat / p), [S, R]: 0 is the truth and -inf a dead replicate.

    ``withheld`` [S]: groups for which no interval is printed for another reason than their spread.
    """
    num = x.shape[1]
    alive = np.isfinite(x).all(axis=1)
    y = x[alive]
    s = y.std(axis=1, ddof=1)
    low, high = mean_limits(y, level)
    holds, gate = (low <= 0) & (high >= 0), s <= MAX_SPREAD
    if withheld is not None:
        gate &= ~withheld[alive]
    bound = lower_bounds(x, 1 - level) <= 0
    printed = bound.copy()
    printed[np.flatnonzero(alive)[gate]] = holds[gate]
    ratio = np.exp(x)
    return {
        **case,
        "level": level,
        "replicates": num,
        "groups": len(x),
        "spread": float(np.median(s)) if len(s) else None,
        "died": float(1 - alive.mean()),
        "printed": float(printed.mean()),
        "as_interval": float(gate.sum() / len(x)),
        "interval": mean(holds),
        "low_misses": mean(low > 0),
        "high_misses": mean(high < 0),
        "gated": mean(holds[gate]) if gate.sum() > len(x) / 100 else None,
        "gated_low": mean((low > 0)[gate]) if gate.sum() > len(x) / 100 else None,
        "gated_high": mean((high < 0)[gate]) if gate.sum() > len(x) / 100 else None,
        "width": float(np.median(high - low)) if len(s) else None,
        "bound": float(bound.mean()),
        "below": float(-np.median(lower_bounds(x, 1 - level))),
        # Heavy tails hide the mean and its error alike: with a spread above 1.5 it proves nothing.
        "mean_ratio": float(ratio.mean()),
        "z": float((ratio.mean() - 1) / ratio.std() * math.sqrt(x.size)) if len(s) and np.median(s) < 1.5 else None,
    }


def mean(holds: np.ndarray) -> float | None:
    return float(holds.mean()) if len(holds) else None


@dataclass(frozen=True)
class Lognormal:
    """log(p_hat / p) ~ N(-s^2/2, s^2)."""

    s: float
    replicates: int
    level: float = LEVEL
    section: ClassVar[str] = "Lognormal replicates"

    def grade(self, rng: np.random.Generator, groups: int) -> dict[str, Any]:
        x = rng.normal(-(self.s**2) / 2, self.s, (groups, self.replicates))
        return grade_volumes(x, self.level, s=self.s)


@dataclass(frozen=True)
class Ideal:
    """Splitting with independent particles: p = q^K, log10 p about ``depth``."""

    depth: float
    q: float
    particles: int
    replicates: int
    section: ClassVar[str] = "Ideal splitting"

    @property
    def num_levels(self) -> int:
        return round(self.depth / math.log10(self.q))

    def grade(self, rng: np.random.Generator, groups: int) -> dict[str, Any]:
        if self.num_levels > 300:
            groups = max(groups // 5, 1)  # a thousand binomials for every replicate
        x = np.zeros((groups, self.replicates))
        with np.errstate(divide="ignore"):
            for _ in range(self.num_levels):
                x += np.log(rng.binomial(self.particles, self.q, x.shape) / (self.particles * self.q))
        return grade_volumes(x, depth=self.depth, q=self.q, particles=self.particles)


@dataclass(frozen=True)
class HiddenPart:
    """What no interval can show: half of the class is a part that one replicate in 1/chance finds, 1/chance times over.

    The other half spreads by s. The bound must hold all the same; the interval cannot.
    """

    chance: float
    s: float
    replicates: int
    section: ClassVar[str] = "A part that few replicates find"

    def grade(self, rng: np.random.Generator, groups: int) -> dict[str, Any]:
        shape = groups, self.replicates
        found = (rng.random(shape) < self.chance) / self.chance
        x = np.log(0.5 + 0.5 * found) + rng.normal(-(self.s**2) / 2, self.s, shape)
        return grade_volumes(x, s=self.s, chance=self.chance)


@dataclass(frozen=True)
class Part:
    """A part with the given share; its volume spreads by ``s_part`` between replicates, that of the rest by ``s_rest``.

    A replicate holds the part with probability ``present`` (its volume is divided by that), and sees its fraction
    through ``particles`` independent ones. The truth is exact: E[p_hat g] / E[p_hat] = share.
    """

    share: float
    s_part: float
    s_rest: float
    present: float
    particles: int
    replicates: int
    cluster: float = 1.0
    section: ClassVar[str] = "Shares"

    def grade(self, rng: np.random.Generator, groups: int) -> dict[str, Any]:
        shape = groups, self.replicates
        here = (rng.random(shape) < self.present) / self.present
        part = self.share * here * np.exp(rng.normal(-(self.s_part**2) / 2, self.s_part, shape))
        rest = (1 - self.share) * np.exp(rng.normal(-(self.s_rest**2) / 2, self.s_rest, shape))
        g = rng.binomial(self.particles, part / (part + rest)) / self.particles
        x = np.log(part + rest)
        found = share_limits(x, g, LEVEL, self.cluster)
        low, high = found.low, found.high
        holds = (low <= self.share) & (self.share <= high)
        resolved = (found.num_hit >= MIN_HIT) & ((g < 1).sum(axis=1) >= MIN_HIT)
        limit = np.where(found.num_hit < MIN_HIT, high, 1 - low)[~resolved]
        a, b = low[resolved], high[resolved]
        with np.errstate(divide="ignore"):  # so wide that it ends at 1 in double precision
            wide = np.log(b) - np.log1p(-b) - np.log(a) + np.log1p(-a)
        return {
            "share": self.share,
            "s_part": self.s_part,
            "s_rest": self.s_rest,
            "present": self.present,
            "particles": self.particles,
            "cluster": self.cluster,
            "replicates": self.replicates,
            "groups": groups,
            "spread": float(np.median(x.std(axis=1, ddof=1))),
            "printed": float(holds.mean()),
            "low_misses": float(np.mean(low > self.share)),
            "high_misses": float(np.mean(high < self.share)),
            "resolved": float(resolved.mean()),
            "interval": mean(holds[resolved]),
            "width": float(np.median(wide)) if len(wide) else None,
            "limit": float(np.median(limit)) if len(limit) else None,
        }


Job = Lognormal | Ideal | HiddenPart | Part

# share, spread of the part, spread of the rest, chance that a replicate holds it, particles that show it.
PARTS = (
    (0.5, 0.3, 0.3, 1.0, 100),
    (0.5, 1.0, 0.5, 1.0, 100),
    (0.5, 1.0, 1.0, 1.0, 100),
    (0.5, 1.5, 0.5, 1.0, 100),
    (0.05, 0.3, 0.3, 1.0, 100),
    (0.05, 1.0, 0.5, 1.0, 100),
    (0.05, 1.0, 0.5, 0.5, 100),
    (0.003, 0.5, 0.3, 1.0, 1000),
    (0.003, 1.0, 0.5, 0.5, 1000),
    (0.003, 1.0, 0.5, 0.2, 1000),
    (0.003, 1.5, 0.5, 1.0, 1000),
    (0.95, 0.3, 0.3, 1.0, 100),
    (0.95, 0.5, 1.0, 1.0, 100),
    (0.95, 1.0, 1.0, 0.8, 100),
    (0.95, 0.5, 1.5, 1.0, 100),
)


def jobs() -> list[Job]:
    """Every line of the tables, in order."""
    todo: list[Job] = [Lognormal(s, r) for s in (0.2, 0.5, 1.0, 2.0, 3.0) for r in (8, 16, 32)]
    todo += [Lognormal(s, 16, level) for level in (0.5, 0.9, 0.99) for s in (0.5, 1.0)]
    for depth, q in ((-6, 0.1), (-6, 0.5), (-30, 0.1), (-30, 0.5)):
        todo += [Ideal(depth, q, n, r) for n in (50, 100, 200, 1000) for r in (8, 16, 32) if r < 32 or n == 100]
    todo += [
        Ideal(-300, 0.1, 3000, 8),
        Ideal(-300, 0.5, 1000, 8),
        Ideal(-300, 0.5, 1000, 16),
        Ideal(-300, 0.5, 200, 16),
    ]
    todo += [HiddenPart(chance, 0.3, r) for chance in (0.02, 0.1) for r in (8, 32)]
    todo += [Part(*part, r) for part in PARTS for r in (8, 16, 32)]
    todo += [Part(0.003, 1.0, 0.5, 0.2, 1000, 16, cluster=0.1)]
    return todo


COLUMNS = {
    "runs": "runs",
    "depth": "log10 p",
    "q": "q",
    "s": "s",
    "chance": "found by",
    "share": "share",
    "s_part": "s part",
    "s_rest": "s rest",
    "present": "present",
    "particles": "N",
    "cluster": "cluster",
    "replicates": "R",
    "level": "level",
    "groups": "groups",
    "spread": "median spread",
    "died": "with a dead one",
    "printed": "printed holds",
    "as_interval": "printed as interval",
    "resolved": "resolved",
    "interval": "interval holds",
    "low_misses": "low above",
    "high_misses": "high below",
    "gated": "after the gate",
    "gated_low": "its low above",
    "gated_high": "its high below",
    "width": "median width (nats)",
    "limit": "limit if not resolved",
    "bound": "bound holds",
    "below": "bound below p by (nats)",
    "mean_ratio": "mean p_hat/p",
    "z": "z",
}


def rows_of(found: list[dict[str, Any]], section: str = "") -> list[Row]:
    """Rows of a table, their columns in the order of COLUMNS; what names a line comes first."""
    made = []
    for row in found:
        facts = {words: row[name] for name, words in COLUMNS.items() if name in row and name != "runs"}
        made.append(Row(str(row.get("runs", len(made) + 1)), facts=facts, section=section))
    return made


def run_job(job: Job, stream: np.random.SeedSequence, groups: int) -> dict[str, Any]:
    return job.grade(np.random.default_rng(stream), groups)


def run(options: argparse.Namespace) -> Record:
    todo = jobs()
    groups = 500 if options.quick else options.groups
    streams = np.random.SeedSequence(options.seed).spawn(len(todo))
    sections: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        for job, row in zip(todo, pool.map(run_job, todo, streams, [groups] * len(todo)), strict=True):
            sections.setdefault(job.section, []).append(row)
            script.say(rows_of([row], job.section)[0])
    rows = [row for name, found in sections.items() for row in rows_of(found, name)]
    notes = [f"{groups:,} groups a line (-300: a fifth)."]
    return Record(rows, notes=notes, details={"sections": sections}, dtype="float64")


def main() -> None:
    parser = script.options(__doc__, "500 groups a line")
    parser.add_argument("--groups", type=int, default=10_000, help="groups of replicates graded per line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    script.main("coverage_rare", run, parser, title="Coverage of the 95 % limits for rare classes")


if __name__ == "__main__":
    main()
