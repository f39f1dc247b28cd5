"""A run is killed at many random moments and goes on each time: nothing is lost, nothing half written is believed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from checkout import ROOT

from volume.runs.files import Manifest, sha256

# One process imports the library and makes a child of itself for every sitting, so that a kill costs no import.
SCRIPT = """
    import json, os, random, signal, sys, time, warnings
    warnings.simplefilter("ignore")  # JAX warns of forks; nothing ran before these
    import jax
    jax.config.update("jax_compilation_cache_dir", {folder!r} + "/cache")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    import volume
    import volume.estimators.direct.direct, volume.runs.directory
    from volume import models, samplers
    from volume.runs import checkpoints
    from volume.estimators.direct import plan
    checkpoints.BATCH_ROWS, plan.MAX_STEP_DRAWS = 300, 600

    query = volume.Query(models.Perceptron(4), samplers.Gaussian(1.0, 0.5), volume.BooleanCube(4))
    method = volume.Direct(60_000, heads=30)

    def sitting(out, told=None):
        pid = os.fork()
        if pid:
            return pid
        code = 9
        try:
            show = None if told is None else lambda state: os.write(told, b".")
            volume.estimate(query, method, seed=1, out=out, resume=True, progress=show)
            code = 0
        except BlockingIOError:
            code = 7
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    def code_of(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert code_of(sitting({folder!r} + "/straight")) == 0
    chance, out, kills, refused = random.Random({seed}), {folder!r} + "/killed", 0, []
    while True:
        told, tell = os.pipe()
        pid = sitting(out, tell)
        os.close(tell)
        last = kills >= {kills}
        if kills % 8 == 1:  # another one while this one draws
            os.read(told, 1)
            refused.append(code_of(sitting(out)))
        for _ in range(0 if last else chance.choice([0, 1, 1, 2, 3, 4, 5, 6, 8])):  # steps; 0 is while it begins
            if not os.read(told, 1):
                break
        if not last:
            time.sleep(chance.random() ** 2 * 0.05)
            os.kill(pid, signal.SIGKILL)
        while os.read(told, 4096):
            pass
        os.close(told)
        code = code_of(pid)
        kills += code == -signal.SIGKILL
        if last or code != -signal.SIGKILL:
            break
    print(json.dumps({{"code": code, "kills": kills, "refused": refused}}))
"""


@pytest.mark.parametrize("num_kills", [2, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_killed_again_and_again_ends_as_if_never_stopped(num_kills, tmp_path):
    script = textwrap.dedent(SCRIPT).format(folder=str(tmp_path), kills=num_kills, seed=11)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, done.stderr
    assert found["kills"] == num_kills, "the run ended before it was killed often enough: give it more draws"
    assert set(found["refused"]) == {7}  # the second writer
    # SIGKILL takes no file back: what a manifest lists was on the disk.
    assert "made again" not in done.stderr
    records = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("straight", "killed")]
    for record in records:
        del record["sha256"], record["run"]["wall_seconds"]
    assert records[0] == records[1]  # with the SHA-256 of the counts
    listed, damaged = Manifest(tmp_path / "killed" / "manifest-0.jsonl").read()
    assert damaged == 0
    folder = tmp_path / "killed" / "parts"
    assert sorted(os.listdir(folder)) == sorted(line["file"] for line in listed)  # one line and one file a part
    assert all(sha256(folder / line["file"]) == line["sha256"] for line in listed)
    ranges = sorted((line["facts"]["first"], line["facts"]["stop"]) for line in listed)
    assert [first for first, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]  # no block twice, none missing


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_runs_of_every_method_end_as_if_never_killed():
    """A tenth of the kills of docs/reliability.md, in a process in which nothing of JAX has run before it forks."""
    script = Path(__file__).parents[1] / "helpers" / "random_kills.py"
    line = [sys.executable, str(script), "--kills", "13", "--seed", "1"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    kills = ast.literal_eval(done.stdout.splitlines()[-1])
    assert (len(kills), set(kills.values())) == (13, {1})
