"""No answer depends on the number of devices: every method on one and on eight forced CPU devices, bit for bit.

Direct draws on three as well, of which no power of two is a multiple.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

import volume
from volume import samplers

PROGRAM = """
    import hashlib, json, jax, numpy as np, volume
    from volume import models, samplers
    from volume.estimators.exact import enumeration
    from volume.estimators.splitting import schemes

    schemes.BATCH_FLOATS = 1 << 17
    cube, found = volume.BooleanCube(3), {}
    labels = volume.Fits(cube.inputs[:5], [0, 1, 1, 0, 1])
    net, gaussian, ternary = models.MLP((3, 4, 1)), samplers.Gaussian(1.0, 0.1), samplers.Lattice.ternary()

    def digest(*arrays):
        return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)).hexdigest()

    def ask(name, model, prior, classifier, method, devices):
        query = volume.Query(model, prior, cube, classifier)
        report = volume.estimate(query, method, seed=3)
        assert report.run["device"]["count"] == devices, name
        if hasattr(report, "counts"):
            counts = report.counts
            found[name] = digest(counts.keys, counts.offsets, counts.unit, counts.hits, counts.nonfinite)
        else:
            found[name] = digest(*(entry.log_estimates for entry in report.entries))

    def draw(devices, count):
        found.clear()
        for name, classifier in (("table", volume.TruthTable()), ("ones", volume.Ones())):
            direct = volume.Direct(21_000, heads=10, bodies=2, devices=devices)
            ask(f"direct {name}", net, gaussian, classifier, direct, count)
        return dict(found)

    def ask_all(devices, count):
        draw(devices, count)
        # Eleven blocks a step: no multiple of the devices, and the last step is short.
        enumeration.STEP_OUTPUTS = 11 * 6561 * 8
        ask("exact blocks", models.MLP((3, 3, 1), bias=False), ternary, volume.TruthTable(),
            volume.Exact(path="blocks", devices=devices), count)
        ask("exact sums", models.MLP((3, 4, 1), bias=False), ternary, volume.TruthTable(),
            volume.Exact(path="sums", devices=devices), count)
        # Six batches, fewer than devices: a loop of several on one is one of length 1 on each.
        splitting = volume.Splitting(particles=64, moves=2, replicates=6, devices=devices)
        ask("splitting", net, gaussian, labels, splitting, count)
        trained = volume.Trained(60, on=labels, learning_rate=0.2, batch_size=2, max_steps=200, devices=devices)
        ask("trained", net, gaussian, volume.TruthTable(), trained, min(count, 4))
        return dict(found)

    batch = volume.Splitting(particles=64, moves=2, replicates=6).start(
        volume.Query(net, gaussian, cube, labels), jax.random.key(0)
    ).class_runs[0].scheme.batch
    few, all_ = ask_all(jax.local_devices()[:1], 1), ask_all(None, 8)
    three = draw(jax.local_devices()[:3], 3)
    print(json.dumps({"one": few, "three": three, "eight": all_, "batches": -(-64 * 6 // batch)}))
"""


@pytest.mark.slow
def test_one_device_and_eight_answer_alike():
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["one"] == found["eight"]
    assert len(found["one"]) == 6
    assert len(found["three"]) == 2
    assert found["three"].items() <= found["one"].items()
    assert found["batches"] == 6


@pytest.mark.parametrize("make", [volume.Exact, volume.Splitting, lambda devices: volume.Trained(5, devices=devices)])
def test_devices_that_are_none_are_refused(make):
    with pytest.raises(TypeError, match="are no JAX devices"):
        make(devices="cpu")
    with pytest.raises(ValueError, match="one device or more, each once"):
        make(devices=())


def test_a_method_is_the_same_whatever_its_devices():
    assert volume.Splitting(devices=tuple(samplers.block_mesh().devices.flat)) == volume.Splitting()
