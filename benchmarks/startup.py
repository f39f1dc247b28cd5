"""What a process costs before it answers: processor time of the first and of later processes that ask one question.

    python benchmarks/startup.py [--repeats 5] [--quick] [--json FILE]

The first process begins with an empty folder of compiled programs (docs/program_cache.md), the later ones read them
back. Each question is asked at a size where drawing costs next to nothing, so that what is left is importing, tracing,
compiling and reading. Processor time, all threads together: of a busy machine the clock says little. Bytecode is
written, as by default, before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import script
from benchmarks.record import Record, Row

ROOT = Path(__file__).resolve().parent.parent
ASKED = """
import json, sys, time
import jax
import numpy as np
import volume
from volume.models import MLP
from volume.samplers import Gaussian

programs = [0]

def count(event, **_):
    programs[0] += event.endswith("compile_requests_use_cache")

jax.monitoring.register_event_listener(count)
model, cube = MLP((7, 40, 40, 1)), volume.BooleanCube(7)
inputs = np.asarray(cube.inputs)[::13][:10]
anchor = {p.name: np.random.default_rng(0).standard_normal(p.shape) / len(p.shape) for p in model.parameters}
classifier = volume.Fits(inputs, inputs.sum(1).astype(int) % 2) if sys.argv[1] == "splitting" else volume.TruthTable()
method = {
    "direct": lambda: volume.Direct(1e5),
    "splitting": lambda: volume.Splitting(particles=32, moves=4, replicates=4),
    "local": lambda: volume.Local(anchor, cutoff=[1e-3, 1e-2, 1e-1], rays=64),
}[sys.argv[1]]()
volume.estimate(volume.Query(model, Gaussian(1.0, 0.1), cube, classifier), method)
print(json.dumps([time.process_time(), programs[0]]))
"""
QUESTIONS = {
    "direct": "1e5 draws",
    "splitting": "splitting of 10 labels, 32 particles, 4 moves, 4 replicates",
    "local": "local volume, 64 rays, 3 cutoffs",
}


def ask(question: str, folder: str) -> tuple[float, int]:
    """Seconds of processor time and the number of programs of one process."""
    own = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    environment = own | {"XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", ASKED, question]
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    seconds, programs = json.loads(done.stdout)
    return seconds, programs


def measure(question: str, repeats: int) -> Row:
    """One first process, and the median of so many later ones."""
    with tempfile.TemporaryDirectory() as folder:
        first, programs = ask(question, folder)
        later = [ask(question, folder)[0] for _ in range(repeats)]
    facts = {
        "range": f"{min(later):.2f} to {max(later):.2f}",
        "first process": first,
        "programs": programs,
        "repeats": repeats,
    }
    return Row(QUESTIONS[question], "s", statistics.median(later), facts=facts)


def run(options: argparse.Namespace) -> Record:
    repeats = 1 if options.quick else options.repeats
    questions = ("direct",) if options.quick else tuple(QUESTIONS)
    with tempfile.TemporaryDirectory() as folder:
        ask("direct", folder)  # writes bytecode
    rows = []
    for question in questions:
        rows.append(measure(question, repeats))
        script.say(rows[-1])
    return Record(rows, notes=["Seconds of processor time of a whole process; ours is that of a later process."])


def main() -> None:
    parser = script.options(__doc__, "draws alone, once")
    parser.add_argument("--repeats", type=int, default=5)
    script.main("startup", run, parser)


if __name__ == "__main__":
    main()
