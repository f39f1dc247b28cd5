"""Among networks that fit what is monitored, how many are right and how many are wrong where nobody looks?

Quantity: for a target, m monitored inputs and a trigger of t other inputs, the prior mass of networks that fit all m
labels, the shares of it that are right on the whole trigger ("benign"), wrong on the whole trigger ("defects") and
between ("mixed"), and the ratio benign : defects. Among functions the shares are 2^-t, 2^-t and the rest, whatever the
target, and the ratio is 1. Each cell is repeated over draws of the monitored inputs.

Estimators: `Direct` where its draws reach the class, with the intervals of `volume.reports.shares` (after Cochran 1977
and Clopper and Pearson 1934); else `Splitting`, one run to "fits" and an independent one to "defects"
(`volume.statistics.replicates`, which cites its sources). Which one answers a cell is part of the design below, the
same for all its draws; it was chosen after trials on the first draw of some cells.

Run `python benchmarks/defects.py` (`--quick`: a minute). Every finished cell is a line of benchmarks/defects.jsonl; run
it again after Ctrl-C or a kill and it goes on. The tables and the figure: benchmarks/defects_tables.py.

Shape letters: B independent units of draws, R replicates.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.environment import environment
from benchmarks.record import Record, Row
from volume import ReplicatedVolume, VolumeReport, models, samplers
from volume.classifiers.defects import BENIGN, DEFECTS, MIXED
from volume.common.logs import volume_text
from volume.reports import shares as sharing
from volume.reports.entries import replicated_volume
from volume.statistics import replicates
from volume.statistics.intervals import clopper_pearson, cluster_at_zero

BITS, LEVEL = 7, 0.95
PRIOR = samplers.Gaussian(weight_std=1.0, bias_std=0.1)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell:
    """One question; ``draw`` is the seed of `volume.split` over the inputs outside the trigger."""

    target: str = "first-bit"
    trigger: str = "leading:4"
    monitored: int = 8  # m
    width: int = 40
    depth: int = 2  # hidden layers
    draw: int = 0

    @property
    def words(self) -> str:
        layers = ",".join(map(str, self.layers))
        return f"{self.target}, trigger {self.trigger}, m = {self.monitored}, ({layers}), draw {self.draw}"

    @property
    def layers(self) -> tuple[int, ...]:
        return BITS, *[self.width] * self.depth, 1

    @property
    def trigger_size(self) -> int:
        """t."""
        return int(volume.target(self.trigger, BITS).sum())

    def query(self) -> volume.Query:
        cube, hidden = volume.BooleanCube(BITS), volume.target(self.trigger, BITS) == 1
        rows = np.flatnonzero(~hidden)
        monitored = rows[volume.split(len(rows), self.monitored, self.draw)[0]]
        labels = volume.target(self.target, BITS)
        # The domain is the m + t inputs that matter: the others would only cost time.
        question = volume.Defects.on(cube, labels, monitored=monitored, trigger=hidden)
        return volume.Query(models.MLP(self.layers), PRIOR, classifier=question)


@dataclass(frozen=True)
class Task:
    """A cell and how it is answered: by so many direct draws, or by splitting with so many particles."""

    cell: Cell
    draws: int = 0
    particles: int = 0
    moves: int = 16
    replicates: int = 8

    @property
    def key(self) -> str:
        """The same cell answered in the same way, in a file of results."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def seed(self) -> int:
        """Of the networks: another one for every task."""
        return zlib.crc32(self.key.encode())


DIRECT, MORE, MOST = 5_000_000, 10_000_000, 40_000_000
PARTICLES, BODY_POINTS = 256, 4
FIRST, MAJORITY = Cell(), Cell("majority")
OTHERS = [Cell(target) for target in ("0011", "random:0", "parity", "at-least:6", "constant:0")]


def around(cell: Cell) -> list[Cell]:
    """Each cell that differs from this one in the trigger, the width or the depth."""
    triggers = [replace(cell, trigger=f"leading:{k}") for k in (3, 5, 2)]
    networks = [replace(cell, width=width) for width in (20, 80)] + [replace(cell, depth=depth) for depth in (1, 3)]
    return triggers + networks


def design(quick: bool = False) -> list[Task]:
    """Every task, in an order in which a run that is cut short has the same share of the draws of every cell."""
    if quick:
        return [Task(replace(cell, draw=draw), draws=2_000_000) for draw in range(3) for cell in (FIRST, MAJORITY)]
    sixteen = replace(FIRST, monitored=16)
    four = [replace(FIRST, monitored=4), replace(MAJORITY, monitored=4)]
    ones = [replace(FIRST, trigger="at-least:6"), replace(MAJORITY, trigger="at-least:6")]  # t = 8 too, another shape
    parts = [  # training draws, networks drawn or particles, cells
        (16, {"draws": DIRECT}, [FIRST, MAJORITY]),
        (16, {"draws": MORE}, [sixteen]),
        (8, {"draws": DIRECT}, [*around(FIRST), *around(MAJORITY), *four, *ones, *OTHERS]),
        (8, {"draws": MORE}, [*around(sixteen), replace(FIRST, monitored=12)]),
        (8, {"draws": MOST}, [replace(MAJORITY, monitored=12), replace(FIRST, monitored=24)]),
        (4, {"particles": PARTICLES}, [replace(MAJORITY, monitored=16), replace(FIRST, monitored=32)]),
    ]
    tasks = [
        (d / num, Task(replace(cell, draw=d), **how)) for num, how, cells in parts for d in range(num) for cell in cells
    ]
    return [task for _, task in sorted(tasks, key=lambda each: each[0])]


# ------------------------------------------------------------------------------------------------- one cell


def answer(task: Task) -> dict[str, Any]:
    """The task's record: natural logs; None where there is no number.

    "fits": log volume and its limits. "shares": for each class [share, low, high, resolved]. "ratio": log of benign
    over defects and its limits, None in place of -inf and inf; "resolved": both classes were hit in at least 4
    independent units, or by every replicate, so that the ratio has an interval. "spreads" (splitting): of log p_hat,
    to "fits", "benign" and "defects"; above 1 an interval is shaky.
    """
    start = time.perf_counter()
    query = task.cell.query()
    found = _by_draws(query, task) if task.draws else _by_splitting(query, task)
    t = task.cell.trigger_size
    return {
        **asdict(task),
        "key": task.key,
        "seed": task.seed,
        "level": LEVEL,
        "trigger_size": t,
        "functions": {BENIGN: 2.0**-t, MIXED: 1 - 2.0 ** (1 - t), DEFECTS: 2.0**-t},
        **found,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _by_draws(query: volume.Query, task: Task) -> dict[str, Any]:
    report = volume.estimate(query, volume.Direct(draws=task.draws), seed=task.seed)
    shares = volume.shares(report, LEVEL)
    assert isinstance(query.classifier, volume.Defects)
    fits = merged(report, query.classifier.within, [1, 1, 1, 0])["fits"]
    ratio = ratio_of_counts(report)
    return {
        "fits": _logs(fits.log_volume, fits.log_low, fits.log_high),
        "shares": {s.label: _plain(s.share, s.low, s.high, s.resolved) for s in shares},
        "ratio": _logs(*ratio),
        "resolved": shares[0].resolved and shares[2].resolved,
        "counts": [s.count for s in shares],
    }


def merged(report: VolumeReport, classifier: Any, group: list[int]) -> VolumeReport:
    """The report with its classes (benign, mixed, defects, outside) merged into those of a coarser classifier."""
    into = np.array(group)[report.counts.keys[:, 0].astype(int)]
    return replace(report, classifier=classifier, counts=report.counts.regroup(into, max(group) + 1))


def ratio_of_counts(report: VolumeReport) -> tuple[float, float, float]:
    """Log of benign over defects and its limits, from the share of benign among the two."""
    hits = np.zeros((4, report.counts.num_units))
    counts = report.counts
    hits[np.repeat(counts.keys[:, 0].astype(int), np.diff(counts.offsets)), counts.unit] = counts.hits
    benign, defects = hits[0], hits[2]
    if not (benign + defects).any():
        return math.nan, -math.inf, math.inf
    count, either = benign.sum(), (benign + defects).sum()
    if counts.independent:
        low, high = (np.exp(end).reshape(1) for end in clopper_pearson(count, either, LEVEL))
    else:
        cluster = cluster_at_zero(counts.tally(), report.largest_cluster)
        low, high = sharing.ratio_limits(benign[None], benign + defects, LEVEL, cluster)
    return log_odds(float(count / either)), log_odds(float(low[0])), log_odds(float(high[0]))


def log_odds(share: float) -> float:
    return -math.inf if share <= 0 else math.inf if share >= 1 else math.log(share) - math.log1p(-share)


def _by_splitting(query: volume.Query, task: Task) -> dict[str, Any]:
    sizes: Any = {"particles": task.particles, "moves": task.moves, "replicates": task.replicates}
    method = volume.Splitting(**sizes, body_points=BODY_POINTS)
    inside: Any = volume.estimate(query, method, seed=task.seed, level=LEVEL)
    own: Any = volume.estimate(query, replace(method, labels=(DEFECTS,)), seed=task.seed ^ 1, level=LEVEL)
    alone = own[DEFECTS]
    fits, benign, mixed = (inside[label] for label in ("fits", BENIGN, MIXED))
    shares = {each.label: _met(each.share) for each in (benign, mixed)}
    share, low, high = (math.exp(min(x, 0.0)) for x in quotient(alone, fits))
    shares[DEFECTS] = _plain(share, low, high, alone.num_dead == 0)
    return {
        "fits": _logs(fits.log_volume, fits.log_low, fits.log_high),
        "shares": {label: shares[label] for label in (BENIGN, MIXED, DEFECTS)},
        "ratio": _logs(*quotient(benign, alone)),
        "resolved": alone.num_dead == benign.num_dead == 0,
        "spreads": [_number(each.spread) for each in (fits, benign, alone)],
        # The same share from the run to "fits": independent of the run to "defects", so a check.
        "defects_within": _met(inside[DEFECTS].share),
        "evaluations": inside.run["evaluations"] + own.run["evaluations"],
    }


def quotient(above: ReplicatedVolume, below: ReplicatedVolume) -> tuple[float, float, float]:
    """Log of one volume over another from independent runs: intervals at (1 + level)/2, so that both hold at once."""
    half = (1 + LEVEL) / 2
    a, b = (replicated_volume(each.label, each.log_estimates, half) for each in (above, below))
    with np.errstate(invalid="ignore"):
        ends = np.subtract([a.log_volume, a.log_low, a.log_high], [b.log_volume, b.log_high, b.log_low])
    return float(ends[0]), float(ends[1]), float(ends[2])


def _met(share: replicates.Share) -> list[Any]:
    return _plain(share.share, share.low, share.high, share.num_hit >= replicates.MIN_HIT)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _logs(*values: float) -> list[float | None]:
    return [_number(value) for value in values]


def _plain(share: float, low: float, high: float, resolved: bool) -> list[Any]:
    return [_number(share), _number(low), _number(high), bool(resolved)]


# ------------------------------------------------------------------------------------------------- the file


def read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(cells, environments) of a file of results; a last line that a kill cut short is left out."""
    cells, environments = [], []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        (environments if "environment" in record else cells).append(record)
    return cells, [each["environment"] for each in environments]


def append(path: Path, record: dict[str, Any]) -> None:
    """One line more, on the disk before the next cell begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a") as file:
        file.write(("\n" if cut else "") + json.dumps(record, allow_nan=False) + "\n")


def run(tasks: list[Task], path: Path) -> Generator[dict[str, Any]]:
    """Answer every task that the file lacks, and append it."""
    yield from complete(tasks, path, answer)


def complete(tasks: Sequence[Any], path: Path, answer: Callable[[Any], dict[str, Any]]) -> Generator[dict[str, Any]]:
    """The same for any study whose tasks have a ``key`` that their records repeat."""
    known = {record["key"] for record in read(path)[0]}
    missing = [task for task in tasks if task.key not in known]
    if missing:
        append(path, {"environment": environment()})
    for task in missing:
        record = answer(task)
        append(path, record)
        yield record


def sentence(record: dict[str, Any]) -> str:
    """A finished cell in a line."""
    ratio = [None if x is None else math.exp(x) for x in record["ratio"]]
    said = ["none" if x is None else f"{x:.3g}" for x in ratio]
    fits = "none" if record["fits"][0] is None else volume_text(record["fits"][0], 3)
    return (
        f"{Cell(**record['cell']).words}: fits {fits}, benign : defects {said[0]} ({said[1]} to {said[2]}), "
        f"{record['seconds']:.0f} s"
    )


def finished(
    tasks: Sequence[Any],
    path: Path,
    going: Generator[dict[str, Any]],
    words: Callable[[dict[str, Any]], str],
) -> list[dict[str, Any]]:
    """All records of a study's tasks, those that its file lacks answered now. A Ctrl-C ends with exit code 3."""
    keys = {task.key for task in tasks}
    done = sum(record["key"] in keys for record in read(path)[0])
    script.say(f"{len(tasks)} cells, {done} in {path.name} already")
    try:
        for number, record in enumerate(going, done + 1):
            script.say(f"{number} of {len(tasks)}: {words(record)}")
    except KeyboardInterrupt:
        script.say(f"Stopped. Run it again: it goes on from {path.name}.")
        raise SystemExit(3) from None
    return [record for record in read(path)[0] if record["key"] in keys]


def row_of(record: dict[str, Any]) -> Row:
    """A cell as the tables of all benchmarks show it."""
    value, low, high = (None if x is None else math.exp(x) for x in record["ratio"])
    log_fits = record["fits"][0]
    facts: dict[str, Any] = {
        "fits": None if log_fits is None else volume_text(log_fits, 3),
        "s": record["seconds"],
    }
    return Row(Cell(**record["cell"]).words, "benign : defects", value, low, high, facts=facts)


def study(options: argparse.Namespace) -> Record:
    path = options.out or HERE / ("defects_quick.jsonl" if options.quick else "defects.jsonl")
    tasks = [task for task in design(options.quick) if task.draws or not options.direct]
    found = finished(tasks, path, run(tasks, path), sentence)
    notes = [
        "Volume right on the whole trigger over volume wrong on all of it, of what fits where monitored; "
        "95 % intervals within one draw of the monitored inputs. Over draws: benchmarks/defects_tables.py."
    ]
    return Record([row_of(record) for record in found], notes=notes)


def main(arguments: list[str] | None = None) -> None:
    parser = script.options((__doc__ or "").splitlines()[0], "six cells of few draws, into a file of their own")
    parser.add_argument(
        "--direct", action="store_true", help="leave out the cells that splitting answers, the slow ones"
    )
    parser.add_argument("--out", type=Path, help="file of results (default: defects.jsonl beside this script)")
    script.main("defects", study, parser, arguments)


if __name__ == "__main__":
    main()
