"""How many programs a question takes: each is traced, compiled or read back, and most of what a user waits for is that.

None is a single operation: those that JAX compiles one at a time are done in NumPy.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys

import pytest

COUNTED = """
import collections, json, logging, sys
import jax, numpy as np
import volume
from volume.models import MLP
from volume.samplers import Gaussian

names = collections.Counter()

class Handler(logging.Handler):
    def emit(self, record):
        head, found, rest = record.getMessage().partition("Finished XLA compilation of ")
        if found:
            names[rest.partition(" in ")[0]] += 1

jax.config.update("jax_log_compiles", True)
logging.getLogger("jax").addHandler(Handler())
logging.getLogger("jax").propagate = False
model, cube = MLP((3, 5, 1)), volume.BooleanCube(3)
anchor = {p.name: np.random.default_rng(0).standard_normal(p.shape) for p in model.parameters}
classifier = volume.Fits(cube.inputs, [0, 1, 1, 0, 1, 0, 0, 1]) if sys.argv[1] == "splitting" else volume.TruthTable()
method = {
    "direct": lambda: volume.Direct(2000),
    "splitting": lambda: volume.Splitting(particles=16, moves=2, replicates=3),
    "local": lambda: volume.Local(anchor, cutoff=[1e-2, 1e-1], rays=64, fit=10),
}[sys.argv[1]]()
volume.estimate(volume.Query(model, Gaussian(1.0, 0.1), cube, classifier), method)
print(json.dumps(names))
"""
# Programs, and how many of each.
PROGRAMS = {
    "direct": {"step": 1},
    "splitting": {"_tried": 1, "draw": 1, "probe": 1, "advance": 1},
    # Networks are drawn for the diagonal, for the whole matrix and to balance it; its columns and sizes come once.
    "local": {"_networks": 3, "_normal": 2, "squares": 1, "columns": 1, "shoot": 1, "ray_directions": 1}
    | {"apply": 1, "of": 1, "_values": 1, "_fit_step": 1, "_sizes": 1},
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("splitting", "local")]


@pytest.mark.parametrize("method", ["direct", *SLOW])
def test_a_question_takes_so_many_programs(method):
    done = subprocess.run([sys.executable, "-c", COUNTED, method], capture_output=True, text=True, check=True)
    names = collections.Counter(json.loads(done.stdout))
    assert {name.removeprefix("jit(").removesuffix(")"): number for name, number in names.items()} == PROGRAMS[method]
