"""Parts of methods: a run that restored some of them ends bit for bit as one that was never stopped.

Nothing here is left to chance: the same seed, the same numbers, compared for equality.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from local_questions import CHAINS, RAYS
from part_files import Kept, begin, go, report_of, said

import volume
from volume import models, samplers
from volume.estimators.exact.exact import Exact
from volume.estimators.smc.pilot import probe
from volume.samplers import Lattice

# --- Exact ---

# Tables of 4 bits are counted by number, those of 32 bits are sorted; a quotient counts orbits.
LATTICES: dict[str, tuple[Any, Any]] = {
    "numbered": (
        volume.Query(models.MLP((2, 3, 1), bias=False), Lattice.ternary(), volume.BooleanCube(2)),
        Exact(path="blocks", block=700),
    ),
    "sums": (
        volume.Query(models.MLP((2, 3, 1), bias=False), Lattice.ternary(), volume.BooleanCube(2), symmetry="quotient"),
        Exact(path="sums", block=20),
    ),
    "sorted": (
        volume.Query(models.MLP((5, 2, 1), "sign", bias=False), Lattice.ternary(), volume.BooleanCube(5)),
        Exact(path="blocks", block=20_000),
    ),
    "classes": (
        volume.Query(models.MLP((2, 3, 1), "tanh"), Lattice((-2, -1, 1), (0, 1)), volume.BooleanCube(2), volume.Ones()),
        Exact(block=700),
    ),
}


def same_counts(found, whole):
    for part in ("keys", "hits", "offsets", "unit", "nonfinite"):
        np.testing.assert_array_equal(getattr(found, part), getattr(whole, part))


@pytest.mark.parametrize("name", LATTICES)
def test_exact_goes_on_from_parts(name, tmp_path):
    query, method = LATTICES[name]
    whole = go(begin(query, method))
    num = whole.steps.num_steps
    assert num > 6
    kept = Kept(tmp_path)
    for steps in (2, 3, num - 7):  # three processes, one after the other, each killed
        go(begin(query, method, parts=kept.without()), kept, steps=steps)
    last = begin(query, method, parts=kept.without())
    assert last.progress().done == whole.steps.progress(num - 2)[0]
    assert report_of(last, query) is None
    go(last, kept)
    same_counts(last.counts(), whole.counts())
    assert last.near_ties == whole.near_ties
    # A part that is lost is counted again, and a run that is over needs no step.
    over = begin(query, method, parts=kept.without())
    assert over.done
    same_counts(report_of(over, query).counts, report_of(whole, query).counts)
    assert over.constants() == whole.constants()
    names = sorted(kept.parts)
    assert len(names) == 4
    mended = go(begin(query, method, parts=kept.without(names[1])), kept)
    same_counts(mended.counts(), whole.counts())
    assert sorted(kept.parts) == names  # it has its name again


def test_exact_is_shared_among_processes(tmp_path):
    query, method = LATTICES["sorted"]
    whole = go(begin(query, method))
    kept = Kept(tmp_path)
    go(begin(query, method), kept, steps=3)
    done = []
    before = kept.without()
    for index in range(3):
        run = begin(query, method, parts=before)
        run.restrict(index, 3)
        go(run, kept)
        assert run.done
        assert report_of(run, query) is None
        done.append(run.progress().done)
    assert max(done) < whole.progress().total
    same_counts(begin(query, method, parts=kept.without()).counts(), whole.counts())


def test_parts_of_long_tables_stay_small_beside_what_they_stand_for(monkeypatch):
    """After ten seconds a part is due, but where nearly every network has a function of its own, later."""
    clock = [0.0]
    monkeypatch.setattr("volume.estimators.exact.parts.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("volume.estimators.exact.parts.NETWORKS_PER_ROW", 1)
    query, method = LATTICES["sorted"]
    run = begin(query, method)
    for _ in range(2):
        run.advance()
        assert run.collect() == []
    clock[0] = 11.0
    (part,) = run.collect()
    assert (part.facts["first"], part.facts["stop"]) == (0, 2)
    monkeypatch.setattr("volume.estimators.exact.parts.NETWORKS_PER_ROW", 1e9)
    run.advance()
    clock[0] = 100.0
    assert run.collect() == []
    clock[0] = 400.0
    assert [part.facts["first"] for part in run.collect()] == [2]


# --- Trained ---

CUBE = volume.BooleanCube(3)
TRAINED: dict[str, tuple[Any, Any]] = {
    "tables": (
        volume.Query(models.MLP((3, 8, 1)), samplers.Gaussian(1.0, 0.1), CUBE),
        volume.Trained(
            100,
            on=volume.Fits(CUBE.inputs[:5], [0, 1, 1, 0, 1]),
            learning_rate=0.2,
            batch_size=2,
            max_steps=400,
            pool=16,
        ),
    ),
    # Some of these diverge, and no class takes them.
    "classes": (
        volume.Query(models.MLP((3, 8, 1)), samplers.Gaussian(1.0, 0.1), CUBE, volume.Fits(CUBE.inputs, "00010111")),
        volume.Trained(100, loss="mse", learning_rate=0.6, max_steps=400, pool=16),
    ),
}


@pytest.mark.parametrize("name", ["tables", pytest.param("classes", marks=pytest.mark.slow)])
def test_training_goes_on_from_parts(name, tmp_path, monkeypatch):
    monkeypatch.setattr("volume.estimators.trained.run.TURN_SECONDS", 0.0)
    query, method = TRAINED[name]
    whole = report_of(go(begin(query, method)), query)
    kept = Kept(tmp_path)
    for least in (1, 40):
        run = begin(query, method, parts=kept.without())
        go(run, kept, until=lambda run=run, least=least: run.progress().done >= least)
    begun = begin(query, method, parts=kept.without())
    assert 40 <= begun.progress().done < 100
    found = report_of(go(begun, kept), query)
    assert len(kept.parts) >= 3
    same_counts(found.counts, whole.counts)
    assert found.run["training"] == whole.run["training"]
    over = begin(query, method, parts=kept.without())
    assert over.done
    assert report_of(over, query).run["training"] == whole.run["training"]
    mended = go(begin(query, method, parts=kept.without(min(kept.parts))))
    same_counts(report_of(mended, query).counts, whole.counts)


def test_training_is_shared_among_processes(tmp_path):
    query, method = TRAINED["tables"]
    whole = report_of(go(begin(query, method)), query)
    kept = Kept(tmp_path)
    go(begin(query, method), kept, until=None, steps=1)
    before = kept.without()
    for index in range(2):
        run = begin(query, method, parts=before)
        run.restrict(index, 2)
        assert go(run, kept).done
    same_counts(report_of(begin(query, method, parts=kept.without()), query).counts, whole.counts)


# --- Splitting ---

# All of one network, so that little is compiled: particles and replicates are the same everywhere.
NETWORK = models.MLP((3, 3, 1), "tanh")
PRIOR = samplers.Gaussian(1.0, 0.5)
SIX = volume.Fits(CUBE.inputs[:6], "011010")
FOUR = volume.Splitting(particles=48, moves=2, replicates=4)
SPLITTINGS: dict[str, tuple[Any, Any]] = {
    "shares": (volume.Query(NETWORK, PRIOR, CUBE, volume.Given(SIX, volume.Ones())), FOUR),
    "tables": (volume.Query(NETWORK, PRIOR, CUBE, volume.Given(SIX, volume.TruthTable())), FOUR),
}


def levels(run):
    return len(run.class_runs[0].stages)


@pytest.fixture(scope="module")
def whole_runs():
    """Return the run of a name that was never stopped; each is made once, when it is first asked for."""
    return functools.cache(lambda name: go(begin(*SPLITTINGS[name])))


@pytest.mark.parametrize("name", ["shares", pytest.param("tables", marks=pytest.mark.slow)])
def test_splitting_goes_on_from_parts(name, tmp_path, whole_runs):
    """Killed twice in the pilot and twice among the replicates."""
    query, method = SPLITTINGS[name]
    whole = whole_runs(name)
    kept = Kept(tmp_path)
    for steps in (1, 1, levels(whole) - 1, 1):
        run = go(begin(query, method, parts=kept.without()), kept, steps=steps)
        assert not run.done
    assert {"pilot-000", "state-000-000000"} <= set(kept.parts)
    begun = begin(query, method, parts=kept.without())
    assert report_of(begun, query).run["evaluations"] == whole.class_runs[0].pilot.evaluations  # nothing is done again
    go(begun, kept)
    assert report_of(begun, query).entries == report_of(whole, query).entries
    assert kept.parts["state-000-000000"].read().num_rows == 0  # what it stood for is in another part
    over = begin(query, method, parts=kept.without())
    assert over.done
    assert report_of(over, query).entries == report_of(whole, query).entries
    assert report_of(over, query).run["nonfinite_checked"] == 4 * 48
    mended = go(begin(query, method, parts=kept.without("pilot-000")))
    assert report_of(mended, query).entries == report_of(whole, query).entries


@pytest.mark.slow
def test_splitting_is_shared_among_processes(tmp_path, whole_runs):
    """Groups of other sizes find the same, bit for bit; only the first process keeps the pilot."""
    query, method = SPLITTINGS["shares"]
    whole = report_of(whole_runs("shares"), query).entries
    kept = Kept(tmp_path)
    for index in range(2):
        run = begin(query, method)
        run.restrict(index, 2)
        assert ("pilot-000" in kept.parts) == (index > 0)
        go(run, kept)
        assert len(run.class_runs[0].log_estimates) == 2
    assert {"replicates-000-000000", "replicates-000-000002"} <= set(kept.parts)
    over = begin(query, method, parts=kept.without())
    assert over.done
    assert report_of(over, query).entries == whole
    # Two replicates are lost, and made again.
    again = begin(query, method, parts=kept.without("replicates-000-000000"))
    assert not again.done
    go(again)
    assert report_of(again, query).entries == whole


def test_replicates_of_other_levels_are_led_by_the_pilot_that_is_there(tmp_path, whole_runs):
    """Its levels, with this seed's replicates."""
    query, method = SPLITTINGS["shares"]
    kept = Kept(tmp_path)
    go(begin(query, method, seed=4), kept)
    pilot = [part for part in kept.without() if part.name == "pilot-000"]
    led = begin(query, method, parts=pilot)
    assert led.class_runs[0].stages == begin(query, method, seed=4, parts=pilot).class_runs[0].stages
    assert led.class_runs[0].stages != whole_runs("shares").class_runs[0].stages


@pytest.mark.slow
def test_a_trial_goes_on(tmp_path):
    """The trial sizes the replicates; the run is stopped after every step, and goes on."""
    query, _ = SPLITTINGS["shares"]
    method = volume.Splitting(particles=16, moves=2, replicates=4, target_error=4.0)
    whole = go(begin(query, method))
    assert whole.class_runs[0].scheme.num_particles > 16
    kept = Kept(tmp_path)
    run = begin(query, method)
    for _ in range(200):
        go(run, kept, steps=1)
        run = begin(query, method, parts=kept.without())
        if run.done:
            break
    assert "trial-000-000-000000" in kept.parts
    assert report_of(run, query).entries == report_of(whole, query).entries
    assert report_of(run, query).run["evaluations"] == report_of(whole, query).run["evaluations"]


def test_states_are_kept_now_and_then(monkeypatch, tmp_path):
    clock = [0.0]
    monkeypatch.setattr("volume.runs.checkpoints.time.monotonic", lambda: clock[0])
    query, method = SPLITTINGS["shares"]
    run = begin(query, method)
    run.advance()
    assert run.collect() == []
    clock[0] = 11.0
    (state,) = run.collect()
    assert state.name == "state-000-pilot"
    assert run.collect() == []
    run.advance()
    clock[0] = 20.0
    assert run.collect() == []
    monkeypatch.setattr("volume.runs.checkpoints.STATE_RATE", 1.0)  # a state of so many bytes takes a disk long
    clock[0] = 40.0
    assert run.collect() == []


# --- InfiniteWidth ---


def test_wide_classes_go_on_from_parts(tmp_path):
    query = volume.Query(models.MLP((2, 40, 1)), PRIOR, volume.BooleanCube(2))
    method = volume.InfiniteWidth(labels=("0111", "0110", "0001"), samples=800, replicates=8)
    whole = report_of(go(begin(query, method)), query).entries
    kept = Kept(tmp_path)
    go(begin(query, method), kept, steps=1)
    for index in range(2):
        run = begin(query, method, parts=[part for part in kept.without() if part.facts["class"] == 0])
        run.restrict(index, 2)
        go(run, kept)
    over = begin(query, method, parts=kept.without())
    assert over.done
    assert report_of(over, query).entries == whole


# --- What all that go on by steps have in common ---

STEPPED = {"shares": SPLITTINGS["shares"], "levels": CHAINS["levels"], "diagonal": RAYS["diagonal"]}


@pytest.fixture(scope="module")
def whole():
    """What a run says that was never stopped, each made once."""
    return functools.cache(lambda name: said(go(begin(*STEPPED[name])), STEPPED[name][0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shares", "levels"])
def test_a_step_cut_short_leaves_no_state(name, tmp_path, monkeypatch, whole):
    """Ctrl-C between two draws of the pilot: it goes on from the last whole step."""
    query, method = STEPPED[name]
    kept, calls = Kept(tmp_path), 0
    run = go(begin(query, method), kept, steps=2)

    def cut(*args):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return probe(*args)

    with monkeypatch.context() as patch:
        patch.setattr("volume.estimators.smc.pilot.probe", cut)
        with pytest.raises(KeyboardInterrupt):
            go(run)
    kept.keep(run.collect(all=True))
    assert said(go(begin(query, method, parts=kept.without())), query) == whole(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "constants"),
    [("shares", ["pilot-000"]), ("levels", ["law-000", "pilot"]), ("diagonal", ["aim"])],
)
def test_what_was_found_with_other_constants_is_left_out(name, constants, tmp_path, whole):
    """Another seed sets levels and aims otherwise: its replicates and rays are none of this run."""
    query, method = STEPPED[name]
    kept = Kept(tmp_path)
    go(begin(query, method, seed=4), kept)
    mixed = go(begin(query, method, parts=kept.without(*constants)))
    assert said(mixed, query) == whole(name)


# --- In a folder ---

WIDE = volume.Query(models.MLP((2, 40, 1)), PRIOR, volume.BooleanCube(2))
KEPT: dict[str, tuple[Any, Any]] = {
    "exact": LATTICES["numbered"],
    "trained": TRAINED["tables"],
    "splitting": SPLITTINGS["shares"],
    "wide": (WIDE, volume.InfiniteWidth(labels=("0111", "0110", "0001"), samples=800, replicates=8)),
}


@pytest.mark.parametrize("name", KEPT)
def test_every_method_goes_on_in_a_folder(name, tmp_path, monkeypatch):
    """Stopped by Ctrl-C again and again, with a byte of its largest part flipped in between."""
    monkeypatch.setattr("volume.estimators.trained.run.TURN_SECONDS", 0.0)
    query, method = KEPT[name]
    whole: Any = volume.estimate(query, method, seed=3)
    left = 0  # steps of this sitting; networks in training begin anew in the next, so each is longer

    def stop(_):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    found: Any = None
    for stops in range(12):
        left = 2**stops
        try:
            found = volume.estimate(query, method, seed=3, out=tmp_path, resume=stops > 0, progress=stop)
            break
        except volume.Interrupted:
            files = sorted((tmp_path / "parts").glob("*.parquet"), key=lambda file: file.stat().st_size)
            if stops == 1 and files:
                content = bytearray(files[-1].read_bytes())
                content[len(content) // 2] ^= 1
                files[-1].write_bytes(content)
    assert found is not None
    assert stops > 0
    loaded: Any = volume.load(tmp_path)
    for report in (found, loaded):
        if isinstance(whole, volume.VolumeReport):
            same_counts(report.counts, whole.counts)
        else:
            assert report.entries == whole.entries
