"""Parts of local volumes: a run that restored some of them ends bit for bit as one that was never stopped.

Nothing here is left to chance: the same seed, the same numbers, compared for equality.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from checkout import ROOT
from cli_runs import answer, run
from local_questions import AT, BOTH, CHAINS, DIVERGENCE, HALF, QUERY, RAYS, SMALL, WEIGHTS, local
from part_files import Kept, begin, go, said

import volume
from benchmarks.local_truths import quadratic
from volume.estimators.local.pilot import LevelPilot
from volume.estimators.local.region_kernel import RegionKernel, Space
from volume.estimators.local.tempered_pilot import TemperedPilot
from volume.estimators.smc.scheme import Scheme


@pytest.fixture(scope="module")
def whole() -> Any:
    """What runs say that were never stopped, each made once."""
    made: dict[str, Any] = {}

    def of(name: str, query: Any, method: Any) -> Any:
        if name not in made:
            made[name] = said(go(begin(query, method)), query)
        return made[name]

    return of


@pytest.mark.parametrize("name", ["diagonal", pytest.param("network", marks=pytest.mark.slow)])
def test_rays_go_on_from_parts(name, tmp_path, whole, monkeypatch):
    query, method = RAYS[name]
    monkeypatch.setattr("volume.estimators.local.preconditioner.COLUMNS", 4)
    kept = Kept(tmp_path)
    run = begin(query, method)
    stops = 0
    while not run.done:
        go(run, kept, steps=1)
        run = begin(query, method, parts=kept.without())
        stops += 1
    assert stops >= 5
    assert said(run, query) == whole(name, query, method)
    assert kept.parts["state-aim"].read().num_rows == 0
    rays = sorted(part for part in kept.parts if part.startswith("rays-"))
    assert rays == [f"rays-{first:012d}" for first in (0, 64, 128)]
    for lost in (["aim"], rays[:1], [*rays[1:], "state-aim"]):
        mended = begin(query, method, parts=kept.without(*lost))
        assert not mended.done
        assert said(go(mended), query) == whole(name, query, method)


@pytest.mark.parametrize("name", ["levels", pytest.param("tempered", marks=pytest.mark.slow)])
def test_splitting_goes_on_from_parts(name, tmp_path, whole):
    """Stopped after every step."""
    query, method = CHAINS[name]
    kept = Kept(tmp_path)
    run = begin(query, method)
    stops = 0
    while not run.done:
        go(run, kept, steps=1)
        run = begin(query, method, parts=kept.without())
        stops += 1
    assert stops > 10
    assert said(run, query) == whole(name, query, method)
    assert {"law-000", "pilot", "replicates-000000"} <= set(kept.parts)
    for state in ("state-pilot", "state-replicates-000000"):
        assert kept.parts[state].read().num_rows == 0  # what it stood for is in another part
    last = max(part for part in kept.parts if part.startswith("law-"))
    assert (last > "law-000") == (name == "tempered")
    for lost in (["pilot"], [last], ["replicates-000000", *kept.parts.keys() - {last}]):
        mended = begin(query, method, parts=kept.without(*lost))
        assert not mended.done
        assert said(go(mended), query) == whole(name, query, method)


@pytest.mark.slow
def test_a_law_that_is_lost_is_found_again(tmp_path, whole):
    """A pilot under way stands on it: without it, it begins from the last law that a fresh one began from."""
    query, method = CHAINS["tempered"]
    kept = Kept(tmp_path)
    go(begin(query, method), kept, steps=3)
    assert set(kept.parts) == {"law-000", "law-001", "state-pilot"}
    assert kept.parts["law-001"].facts["run"] is None
    mended = go(begin(query, method, parts=kept.without("law-001")))
    assert said(mended, query) == whole("tempered", query, method)


@pytest.mark.slow
def test_shares_of_processes_are_the_whole(tmp_path):
    """Groups of other sizes find the same, bit for bit, though replicates die and end some groups early; only the first
    process keeps laws and the pilot."""
    query, method = QUERY, local(chain="levels", **{**SMALL, "particles": 2, "moves": 1})
    straight = go(begin(query, method, seed=4))
    dead = np.isinf(straight.splitting.log_estimates).sum(axis=0)
    np.testing.assert_array_equal(dead, [2, 3])  # of 4, at each cutoff
    kept = Kept(tmp_path)
    for index in range(3):
        run = begin(query, method, seed=4)
        run.restrict(index, 3)
        assert ("pilot" in kept.parts) == (index > 0)
        go(run, kept)
        assert len(run.splitting.log_estimates) == (1, 1, 2)[index]
    over = begin(query, method, seed=4, parts=kept.without())
    assert over.done
    assert said(over, query) == said(straight, query)


def test_shares_of_rays_are_the_whole(tmp_path, whole):
    query, method = RAYS["diagonal"]
    kept = Kept(tmp_path)
    for index in range(2):
        run = begin(query, method)
        run.restrict(index, 2)
        go(run, kept)
        assert run.rays.num_rays == (64, 86)[index]
    over = begin(query, method, parts=kept.without())
    assert over.done
    assert said(over, query) == whole("diagonal", query, method)


@pytest.mark.parametrize("chain", [LevelPilot, TemperedPilot])
def test_a_state_holds_all_that_changes(chain):
    """What a pilot has beside its state is what it was made of."""
    nothing: Any = None
    scheme = Scheme(RegionKernel(nothing, nothing, 1, 1, points=4), 2, 1, 1, "highest")
    space = Space(None, {}, np.zeros(2, np.float32), None, None)
    more = {"beta": 1.0} if chain is TemperedPilot else {}
    pilot = chain(scheme, space, [0.1], None, -1.0, weighted=True, **more)
    made_of = {"scheme", "data", "tries", "given_up", "_first_key", "_targets", "_floor", "_dtype", "_beta"}
    assert set(vars(pilot)) - made_of == {*pilot.NUMBERS, "stages", "ends", "_key", "_z"}


def test_states_are_kept_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("volume.runs.checkpoints.time.monotonic", lambda: clock[0])
    run = begin(*CHAINS["levels"])
    run.advance()
    assert [part.name for part in run.collect()] == ["law-000"]
    run.advance()
    assert run.collect() == []
    clock[0] = 11.0
    assert [part.name for part in run.collect()] == ["state-pilot"]
    run = begin(*RAYS["diagonal"])
    while not run.rays.num_rays:
        run.advance()
    assert [part.name for part in run.collect()] == ["aim"]
    clock[0] = 22.0
    assert [part.name for part in run.collect()] == ["rays-000000000000"]


# --- In a folder ---


def stopping(after: int) -> Any:
    """Ctrl-C after so many steps."""

    def stop(_: Any) -> None:
        nonlocal after
        after -= 1
        if after == 0:
            raise KeyboardInterrupt

    return stop


def test_a_local_volume_goes_on_in_a_folder_and_knows_its_anchor(tmp_path):
    """Both estimators, from memory; a byte of the largest part is flipped on the way."""
    query, method = (
        QUERY,
        local(rays=150, preconditioner="diagonal", fit=0, **BOTH),
    )
    straight: Any = volume.estimate(query, method, seed=3)
    for sitting, after in enumerate((4, 3, 4, 2)):
        with pytest.raises(volume.Interrupted, match="go on from there"):
            volume.estimate(query, method, seed=3, out=tmp_path, resume=sitting > 0, progress=stopping(after))
        largest = max((tmp_path / "parts").glob("*.parquet"), key=lambda file: file.stat().st_size)
        if sitting == 1:
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 1
            largest.write_bytes(content)
    moved = volume.Local(
        {"w": AT + 1e-9}, method.cutoff, divergence=DIVERGENCE, chain="levels", **{**SMALL, "estimator": "both"}
    )
    with pytest.raises(ValueError, match=r"belongs to another run: its method\.anchor"):
        volume.estimate(query, moved, seed=3, out=tmp_path, resume=True)
    # A function of another process is the same one where its name and its data are.
    again = volume.DivergenceFunction(quadratic, {"at": AT.astype(np.float32), "half": HALF.copy()})
    same = volume.Local(method.anchor, method.cutoff, divergence=again, **local_settings(method))
    found: Any = volume.estimate(query, same, seed=3, out=tmp_path, resume=True)
    stored: Any = volume.load(tmp_path)
    for report in (found, stored):
        assert report.entries == straight.entries
        assert report.run["slopes"] == straight.run["slopes"]
    other = volume.DivergenceFunction(quadratic, {"at": AT.astype(np.float32), "half": 2 * HALF})
    with pytest.raises(ValueError, match=r"belongs to another run: its method\.divergence"):
        volume.estimate(
            query,
            volume.Local(method.anchor, method.cutoff, divergence=other, **local_settings(method)),
            seed=3,
            out=tmp_path,
            resume=True,
        )


def local_settings(method: volume.Local) -> dict[str, Any]:
    """All but anchor, cutoff and divergence."""
    names = method.__dataclass_fields__.keys() - {"anchor", "cutoff", "divergence"}
    return {name: getattr(method, name) for name in names}


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    run = {name: value for name, value in record["run"].items() if name != "wall_seconds"}
    return {**record, "run": run}


@pytest.mark.slow
def test_the_command_goes_on(tmp_path, capsys, monkeypatch):
    anchor, curvatures = tmp_path / "a.npz", tmp_path / "h.npz"
    np.savez(curvatures, **{name: value**2 for name, value in WEIGHTS.items()})  # type: ignore[arg-type]  # as below
    np.savez(anchor, **WEIGHTS)  # type: ignore[arg-type]  # numpy's stub types names as flags
    words = ["local", "--anchor", anchor, "--model", "mlp:2-3-1", "--activation", "tanh", "--bias-std", 1]
    words += ["--cutoff", "1e-2,1e-1", "--rays", 400, "--preconditioner", curvatures, "--seed", 5]
    folder = tmp_path / "run"
    straight = answer(capsys, *words)
    for again in ([*words, "--out"], ["local", "--resume"], ["estimate", "--resume"]):
        with monkeypatch.context() as patch:
            patch.setattr("volume.estimation.rich_progress", lambda _: contextlib.nullcontext(stopping(2)))
            code, _, err = run(capsys, *again, folder)
        assert code == 3
        assert f"volume: kept in {folder}: volume local --resume {folder} goes on." in err
    np.savez(anchor, **{name: 2 * value for name, value in WEIGHTS.items()})  # type: ignore[arg-type]  # as above
    code, _, err = run(capsys, "local", "--resume", folder)
    assert code == 4
    assert "belongs to another run: its method.anchor" in err
    np.savez(anchor, **WEIGHTS)  # type: ignore[arg-type]  # as above
    code, _, err = run(capsys, "local", "--resume", folder, "--rays", 500)
    assert code == 2
    assert "--rays is not as in the run" in err
    assert numbers(answer(capsys, "local", "--resume", folder)) == numbers(straight)
    assert (folder / "curve.pdf").stat().st_size > 1000
    assert numbers(answer(capsys, "show", folder)) == numbers(straight)
    # Folders of one run are joined part by part.
    shutil.copytree(folder, tmp_path / "copy")
    (folder / "parts" / "aim.parquet").unlink()
    assert numbers(answer(capsys, "merge", folder, tmp_path / "copy", "--out", tmp_path / "joined")) == numbers(
        straight
    )
    code, _, err = run(capsys, *words, "--out", folder)
    assert code == 2
    assert f"go on with --resume {folder}" in err


KILLED = """
    import os, signal, time
    from local_questions import QUERY, SMALL, local
    import volume
    from volume.runs import checkpoints as state_parts
    state_parts.STATE_SECONDS, state_parts.STATE_RATE = 0.0, 1e12
    left = {steps}
    def stop(_):
        global left
        left -= 1
        if left == 0:
            time.sleep(1)  # for the thread that writes
            os.kill(os.getpid(), signal.SIGKILL)
    volume.estimate(QUERY, local(chain="tempered", **SMALL), seed=3, out={out!r}, resume=True, progress=stop)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_costs_the_step_under_way(tmp_path, whole):
    """Killed in the pilot and among the replicates, each time in a process of its own."""
    query, method = CHAINS["tempered"]
    for steps in (6, 6):
        script = textwrap.dedent(KILLED).format(steps=steps, out=str(tmp_path))
        paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "helpers")))
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, timeout=200)
        assert done.returncode == -signal.SIGKILL
    steps = 0

    def count(_: Any) -> None:
        nonlocal steps
        steps += 1

    found: Any = volume.estimate(query, method, seed=3, out=tmp_path, resume=True, progress=count)
    assert found.to_dict()["classes"] == whole("tempered", query, method)["classes"]
    assert steps <= 10  # of 18, 12 of them done before; the rest for a disk as slow as that
