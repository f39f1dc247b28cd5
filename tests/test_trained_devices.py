"""Where runs land does not depend on how many devices there are."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import hashlib
import jax, volume
from volume import models, samplers

cube = volume.BooleanCube(3)
query = volume.Query(models.MLP((3, 8, 1)), samplers.Gaussian(1.0, 0.1), cube, volume.TruthTable())
method = volume.Trained(
    60, on=volume.Fits(cube.inputs[:5], [0, 1, 1, 0, 1]), learning_rate=0.1, batch_size=2, max_steps=400
)
counts = volume.estimate(query, method, seed=3).counts
words = b"".join(part.tobytes() for part in (counts.keys, counts.offsets, counts.unit, counts.hits))
print(jax.local_device_count(), hashlib.sha256(words).hexdigest())
"""


def test_one_device_and_four_give_the_same_runs():
    found = {}
    for devices in (1, 4):
        env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
        count, found[devices] = done.stdout.split()
        assert int(count) == devices
    assert found[1] == found[4]
