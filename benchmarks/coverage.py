"""How often the printed 95 % intervals hold: the full grade behind docs and tests.

    python benchmarks/coverage.py --json benchmarks/coverage.json --table benchmarks/coverage_results.md

Truths are exact and cost nothing: sectors of the plane (benchmarks/plane.py).

Cases: heads on bodies (a unit is one body and H heads), crossed heads (a unit is Q bodies that share H heads
up to random reflections), independent draws, classes never seen, and the unseen mass. Graded: the share of
intervals that hold, the shares that miss on either side, and the mean width over that of the ideal interval,
Clopper-Pearson at n over the TRUE design effect, among the runs that saw the class. With crossed heads
several disjoint sectors of one run are graded as if they were runs of their own. NumPy on the CPU in double
precision; about 7 minutes on 2 cores.

Shape letters: S graded intervals, B units, Q bodies, H heads, h width, K classes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import stats

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import plane, script
from benchmarks.record import Record, Row
from volume.statistics.counts import Counts, Tally
from volume.statistics.intervals import clopper_pearson, cluster_at_zero, fay_feuer, interval
from volume.statistics.unseen import unseen_mass

LEVEL = 0.95


def grade(
    name: str,
    p: float,
    tally: Tally,
    units: int,
    unit_size: int,
    low,
    high,
    *,
    effect: float | None,
    level: float = LEVEL,
    **case: Any,
) -> dict[str, Any]:
    """One row: coverage and width of log intervals [S] on a truth p; ``effect`` None: measured over all
    runs."""
    n = units * unit_size
    if effect is None:
        mean = unit_size * p  # known, so that runs can be pooled around it
        per_unit = np.mean(tally.square - 2 * mean * tally.count) / units + mean**2
        effect = max(float(per_unit) / (mean * (1 - p)), 1 / unit_size)
    y = np.minimum(tally.count / effect, n / effect)
    tail = (1 - level) / 2
    best_low = np.where(y > 0, stats.beta.ppf(tail, np.maximum(y, 1e-9), n / effect - y + 1), 0)
    best_high = np.where(y < n / effect, stats.beta.isf(tail, y + 1, np.maximum(n / effect - y, 1e-9)), 1)
    seen = tally.count > 0
    ends = np.exp(low), np.exp(high)
    expected = n * min(p, 1 - p)
    return {
        "case": name,
        **case,
        "level": level,
        "p": p,
        "units": units,
        "expected": expected,
        "effective": expected / effect,
        "effect": effect,
        "intervals": len(seen),
        "coverage": float(np.mean((ends[0] <= p) & (p <= ends[1]))),
        "low_misses": float(np.mean(ends[0] > p)),
        "high_misses": float(np.mean(ends[1] < p)),
        "width": float((ends[1] - ends[0])[seen].sum() / (best_high - best_low)[seen].sum()) if seen.any() else None,
        "never": float(1 - seen.mean()),
    }


@dataclass(frozen=True)
class Case:
    """One line of the tables; `bodies` > 1 means crossed heads, width 0 the residual network."""

    p: float
    units: int
    heads: int
    width: int
    bodies: int = 1
    level: float = LEVEL

    @property
    def section(self) -> str:
        return "Draws that share bodies or heads" if self.level == LEVEL else "Other levels"

    def grade(self, rng: np.random.Generator, seeds: int) -> dict[str, Any]:
        rare = min(self.p, 1 - self.p)
        unit_size = self.bodies * self.heads
        if self.bodies > 1:
            sectors = max(1, min(100, int(0.5 / rare)))
            runs = max(1, round(seeds / sectors))
            tally = plane.crossed(rng, runs, self.units, self.bodies, self.heads, self.width, rare, sectors)
        else:
            tally = plane.heads_on_bodies(rng, seeds, self.units, self.heads, self.width, rare)
        if rare != self.p:
            tally = plane.complement(tally, self.units, unit_size)
        low, high = fay_feuer(tally, self.units, unit_size, self.level, cluster=max(self.heads, self.bodies))
        case = {"width_h": self.width or "residual", "heads": self.heads, "bodies": self.bodies}
        effect = plane.design_effect(self.width, rare, self.heads) if self.width else None
        name = "crossed" if self.bodies > 1 else "heads"
        return grade(name, self.p, tally, self.units, unit_size, low, high, effect=effect, level=self.level, **case)


def cases() -> Iterator[Case]:
    """Every truth of the grade. Units are chosen so that the expected number of effective hits is a few or
    more."""
    for width in (1, 2, 8):
        for p in (0.3, 0.03, 1e-3, 1e-4, 1e-5):
            few = {round(2.5 / p)} if width == 1 and p < 0.1 else set()  # 5 clusters
            for units in sorted({20, 50, 100, 1000, 10_000, 100_000, 1_000_000} | few):
                hits = units * (min(2 * p, 1) if width == 1 else 128 * p)  # clusters, roughly
                if hits >= 4 and (hits <= 500 or units <= 1000) and (width == 1 or units <= 10_000):
                    yield Case(p, units, 128, width)
        for p in (0.5, 0.7, 0.97, 0.999):
            for units in (20, 100, 1000):
                if units * (1 - p) * (2 if width == 1 else 128) >= 4:
                    yield Case(p, units, 128, width)
    for width in (0, 1, 2, 8):
        for p, units in ((0.3, 100), (0.03, 100), (0.03, 1000), (1e-3, 1000), (1e-4, 1000), (1e-5, 5000)):
            if width != 1 or units * 8 * 2 * p >= 2:
                yield Case(p, units, 25, width, bodies=8)
    for p, units in ((0.03, 100), (1e-3, 200), (1e-4, 200)):
        for width in (0, 2):
            yield Case(p, units, 20, width, bodies=50)
    for level in (0.5, 0.9, 0.99, 0.999):
        for width, p, units in ((1, 0.3, 100), (1, 0.001, 2500), (2, 0.03, 100), (2, 0.03, 1000), (8, 0.001, 1000)):
            yield Case(p, units, 128, width, level=level)


@dataclass(frozen=True)
class Independent:
    """Clopper-Pearson on binomial counts: at least .95 by theorem, so that a miss shows a slip in the
    code."""

    p: float
    expected: int
    section: ClassVar[str] = "Independent draws"

    def grade(self, rng: np.random.Generator, seeds: int) -> dict[str, Any]:
        n = max(round(self.expected / self.p), 20)
        y = rng.binomial(n, self.p, seeds)
        tally = Tally(y, y, np.minimum(y, 1), y)
        low, high = clopper_pearson(y, n, LEVEL)
        return grade("independent", self.p, tally, n, 1, low, high, effect=1.0, width_h="any", heads=1, bodies=1)


@dataclass(frozen=True)
class Rare:
    """Classes about as rare as one hit in the whole run, graded with the w that the run itself suggests.

    100,000 sectors of p = 1e-5 each, all classes of one run; a width of 64 stands for networks without
    clustering.
    """

    width: int
    units: int
    heads: int = 100
    num_classes: int = 100_000
    section: ClassVar[str] = "Rare classes, with the run's own w"

    def grade(self, rng: np.random.Generator, seeds: int) -> dict[str, Any]:
        rows, clusters = [], []
        for _ in range(max(1, seeds // 1000)):
            turn = plane.turns(rng, self.units, self.heads, self.width)
            classes = np.minimum((turn * self.num_classes).astype(np.int64), self.num_classes - 1)
            counts = count(classes, self.num_classes, independent=False)
            tally = counts.tally()
            never = np.zeros(self.num_classes - counts.num_classes, np.int64)
            clusters.append(cluster_at_zero(tally, self.heads))
            tally = Tally(*(np.concatenate([column, never]) for column in tally))
            _, low, high = interval(tally, self.units, self.heads, independent=False, level=LEVEL, cluster=clusters[-1])
            rows.append((*tally, low, high))
        *tally, low, high = (np.concatenate(column) for column in zip(*rows, strict=True))
        row = grade(
            "rare",
            1 / self.num_classes,
            Tally(*tally),
            self.units,
            self.heads,
            low,
            high,
            effect=plane.design_effect(self.width, 1 / self.num_classes, self.heads),
            width_h=self.width,
            heads=self.heads,
            bodies=1,
        )
        return {**row, "clump_at_zero": float(np.mean(clusters))}


def count(classes: np.ndarray, num_classes: int, *, independent: bool) -> Counts:
    """Counts of a [B, H] array of class numbers."""
    units, heads = classes.shape
    return Counts.from_cells(
        classes.ravel(),
        np.repeat(np.arange(units), heads),
        np.ones(classes.size, np.int64),
        num_classes=num_classes,
        num_units=units,
        unit_size=heads,
        independent=independent,
        nonfinite=np.zeros(units, np.int64),
    )


@dataclass(frozen=True)
class World:
    """Classes of known volume; draws are iid, or `heads` heads on each of `units` bodies of a width-h network."""

    name: str
    volumes: tuple[float, ...]
    units: int
    heads: int = 1
    width: int = 0  # 0: independent draws
    section: ClassVar[str] = "Unseen mass"

    def run(self, rng: np.random.Generator, volumes: np.ndarray, edges: np.ndarray) -> tuple[Counts, float]:
        """One run's counts and the missing mass it really left."""
        turn = plane.turns(rng, self.units, self.heads, self.width)
        classes = np.minimum(np.searchsorted(edges, turn * edges[-1], "right"), len(edges) - 1)
        counts = count(classes, len(edges), independent=not self.width)
        seen = np.bincount(classes.ravel(), minlength=len(edges)) > 0
        return counts, float(volumes[~seen].sum() / edges[-1])

    def grade(self, rng: np.random.Generator, seeds: int) -> dict[str, Any]:
        """A fifth of the seeds: a whole run for each interval."""
        result = np.empty((max(seeds // 5, 1), 4))
        volumes = np.asarray(self.volumes)
        edges = np.cumsum(volumes)
        for row in result:
            counts, missing = self.run(rng, volumes, edges)
            unseen = unseen_mass(counts, LEVEL, cluster=self.heads)
            row[:] = missing, unseen.mass, unseen.low, unseen.high
        missing, mass, low, high = result.T
        error = float(np.sqrt(np.mean((mass - missing) ** 2)))
        return {
            "case": "unseen",
            "world": self.name,
            "width_h": self.width or "independent",
            "units": self.units,
            "unit_size": self.heads,
            "intervals": len(result),
            "missing": float(missing.mean()),
            "mass": float(mass.mean()),
            "coverage": float(np.mean((low <= missing) & (missing <= high))),
            "low_misses": float(np.mean(low > missing)),
            "high_misses": float(np.mean(high < missing)),
            # The ideal is the interval of a known, normal error.
            "width": float(np.mean(high - low) / (2 * 1.96 * error)) if error > 0 else None,
        }


def worlds() -> Iterator[World]:
    def zipf(classes: int, power: float = 1.0) -> tuple[float, ...]:
        volumes = np.arange(1, classes + 1.0) ** -power
        # Mixed around the circle, so that neighbours differ; always the same way.
        return tuple(np.random.default_rng(0).permutation(volumes / volumes.sum()))

    def even(classes: int) -> tuple[float, ...]:
        return (1 / classes,) * classes

    worst = (0.93 / 300,) * 6
    yield World("one class", (1.0,), 100)
    yield World("even 20", even(20), 60)
    yield World("even 20", even(20), 200)
    yield World("few rare classes", (*worst, 1 - sum(worst)), 300)
    yield World("even 1000", even(1000), 3000)
    yield World("even 100000", even(100_000), 300)
    yield World("even 100000", even(100_000), 2000)
    for draws in (50, 1000, 5000):
        yield World("Zipf 100000", zipf(100_000), draws)
    yield World("Zipf 1000, power 2", zipf(1000, 2.0), 1000)
    for width in (1, 2, 8):
        for units in (20, 100, 500):
            yield World("Zipf 10000", zipf(10_000), units, 20, width)
        yield World("even 20", even(20), 50, 20, width)
        yield World("even 1000", even(1000), 300, 20, width)
        yield World("even 100000", even(100_000), 200, 20, width)


Job = Independent | Case | Rare | World


def jobs() -> list[Job]:
    """Every line of the tables, in order."""
    independent = [Independent(p, hits) for p in (0.3, 0.03, 1e-3, 1e-4, 1e-5) for hits in (1, 5, 20, 1000)]
    rare = [Rare(width, units) for width in (1, 2, 8, 64) for units in (1000, 4000)]
    return [*independent, *cases(), *rare, *worlds()]


COLUMNS = {
    "case": "case",
    "width_h": "h",
    "world": "world",
    "bodies": "Q",
    "heads": "H",
    "unit_size": "unit",
    "level": "level",
    "p": "p",
    "units": "units",
    "expected": "expected hits",
    "effective": "effective hits",
    "missing": "true missing mass",
    "intervals": "intervals",
    "coverage": "coverage",
    "low_misses": "low limit above",
    "high_misses": "high limit below",
    "width": "width / ideal",
    "never": "never seen",
    "clump_at_zero": "w",
}


def rows_of(sections: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Coverage beside what was asked for; everything else in further columns."""
    return [
        Row(
            str(row["case"]),
            facts={words: row.get(name) for name, words in COLUMNS.items() if name in row and name != "case"},
            section=section,
        )
        for section, rows in sections.items()
        for row in rows
    ]


def run_job(job: Job, stream: np.random.SeedSequence, seeds: int) -> dict[str, Any]:
    return job.grade(np.random.default_rng(stream), seeds)


def run(options: argparse.Namespace) -> Record:
    todo = jobs()
    seeds = 500 if options.quick else options.seeds
    streams = np.random.SeedSequence(options.seed).spawn(len(todo))
    sections: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        for job, row in zip(todo, pool.map(run_job, todo, streams, [seeds] * len(todo)), strict=True):
            sections.setdefault(job.section, []).append(row)
            script.say(rows_of({job.section: [row]})[0])
    return Record(
        rows_of(sections), notes=[f"{seeds:,} intervals a line."], details={"sections": sections}, dtype="float64"
    )


def main() -> None:
    parser = script.options(__doc__, "500 intervals a line")
    parser.add_argument("--seeds", type=int, default=10_000, help="intervals graded per line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    script.main("coverage", run, parser, title="Coverage of the 95 % intervals")


if __name__ == "__main__":
    main()
