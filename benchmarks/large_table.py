"""Truth tables larger than memory: what drawing, adding up and asking cost in time, memory and disk.

    python benchmarks/large_table.py [--draws 1e8] [--folder DIR] [--memory 4] [--quick] [--json FILE]

Draws truth tables of a (7, 40, 40, 1) ReLU network on {0,1}^7 (biases of .1) into a run directory, adds them up there,
and asks the report for a class, for the largest ones and for a coarser classifier. Peak memory is that of the process.
A run that was stopped goes on with the same --folder; rates are then those of the last sitting. Without --folder the
run is removed at the end.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.record import Record, Row
from volume import TableReport, models, samplers
from volume.common.progress import Progress

GIB = 2**30
LABELS = ("0" * 128, "01" * 64)


class Watch:
    """Time, processor time and peak memory, from one call to the next."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> dict[str, Any]:
        now, used = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        facts = {"s": now - getattr(self, "_now", now), "CPU s": used - getattr(self, "_used", used)}
        self._now, self._used = now, used
        return {**facts, "peak GiB so far": peak / GIB}


def disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.parquet"))


def run(options: argparse.Namespace) -> Record:
    draws = 1_000_000 if options.quick else int(options.draws)
    memory = int((0.02 if options.quick else options.memory) * GIB)
    query = volume.Query(
        models.MLP((7, 40, 40, 1), activation="relu"),
        samplers.Gaussian(weight_std=1.0, bias_std=0.1),
        volume.BooleanCube(7),
        volume.TruthTable(),
    )
    method = volume.Direct(draws, heads=200, bodies=50, memory=memory)
    watch, drawn = Watch(), {}
    began: list[float] = []

    def progress(state: Progress) -> None:
        if not began:  # the first step compiles
            began.append(state.done)
            watch.lap()
        elif state.done >= state.total and not drawn:
            drawn.update(watch.lap())

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or Path(scratch) / "run")
        report = volume.estimate(query, method, seed=0, out=folder, resume=True, progress=progress)
        if not isinstance(report, TableReport):
            raise SystemExit(f"{draws:,} draws fit in {memory / GIB:.3g} GiB: give a smaller --memory or more draws.")
        added = watch.lap()
        store, merged = report.counts, report.counts.merged
        size = disk(folder / "parts"), disk(folder / "classes")
        rows = [Row("add up", "rows/s", store.num_rows / added["s"], facts=added)]
        if drawn:
            rows.insert(0, Row("draw, and write parts", "draws/s", (draws - began[0]) / drawn["s"], facts=drawn))
        for row in rows:
            script.say(row)
        asked = {
            "report[label], a common class": lambda: report[LABELS[0]],
            "report[label], a class never seen": lambda: report[LABELS[1]],
            "report.top(20)": lambda: report.top(20),
            "report.unseen": lambda: report.unseen,
            "report.group_by(Ones())": lambda: report.group_by(volume.Ones()),
        }
        for name, ask in asked.items():
            watch.lap()
            ask()
            facts = watch.lap()
            rows.append(Row(name, "s", facts.pop("s"), facts=facts, section="questions"))
            script.say(rows[-1])
        facts = {
            "draws": report.num_draws,
            "rows": store.num_rows,
            "classes": report.num_classes,
            "hit once": merged.once,
            "unseen mass": report.unseen.mass,
        }
        rows.append(Row("parts", "bytes a draw", size[0] / draws, facts={"GB": size[0] / 1e9, **facts}, section="disk"))
        rows.append(Row("class tables", "bytes a draw", size[1] / draws, facts={"GB": size[1] / 1e9}, section="disk"))
    notes = [
        f"Memory allowed for a range of keys: {store.memory / GIB:.3g} GiB, {len(store.cuts()) + 1} ranges. Times hold "
        "for a machine that does nothing else; processor times nearly hold for a busy one."
    ]
    return Record(rows, notes=notes)


def main() -> None:
    parser = script.options(__doc__, "a million draws in 20 MiB")
    parser.add_argument("--draws", type=float, default=1e8)
    parser.add_argument("--folder", help="keep the run here, and go on with one that is there")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB that counts may take (default 4)")
    script.main("large_table", run, parser)


if __name__ == "__main__":
    main()
