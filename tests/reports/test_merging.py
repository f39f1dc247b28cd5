"""Reports that differ in draws only become one; what differs in more, or would count draws twice, is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cli_runs import SMALL, answer, run, stop_after_first_step

import volume
from volume import models, samplers
from volume.reports.entries import replicated_volume
from volume.reports.merging import join_counts
from volume.reports.named import EstimateReport
from volume.statistics.counts import Counts
from volume.statistics.replicates import interval_offsets, share_interval

GAUSSIAN = samplers.Gaussian(weight_std=1.0, bias_std=0.3)
MERGED = ("keys", "offsets", "unit", "hits", "nonfinite")


def ask(seed, *, draws=4000, classifier=None, widths=(7, 4, 1), symmetry="none", **settings) -> Any:
    classifier = classifier or volume.TruthTable()
    query = volume.Query(models.MLP(widths), GAUSSIAN, volume.BooleanCube(widths[0]), classifier, symmetry)
    return volume.estimate(query, volume.Direct(draws, heads=10, bodies=4), seed=seed, **settings)


def split_at(counts, at):
    """Counts of the units before ``at``, and of the others."""
    halves = []
    for low, high in ((0, at), (at, counts.num_units)):
        inside = (counts.unit >= low) & (counts.unit < high)
        column = np.repeat(np.arange(counts.num_classes), np.diff(counts.offsets))[inside]
        seen, first = np.unique(column, return_index=True)
        halves.append(
            replace(
                counts,
                keys=counts.keys[seen],
                offsets=np.r_[first, len(column)],
                unit=counts.unit[inside] - np.int32(low),
                hits=counts.hits[inside],
                num_units=high - low,
                nonfinite=counts.nonfinite[low:high],
            )
        )
    return halves


@pytest.mark.parametrize("classifier", [volume.TruthTable(), volume.Ones()])
def test_two_halves_joined_are_the_whole_bit_for_bit(classifier):
    counts = ask(1, classifier=classifier).counts
    joined = join_counts(split_at(counts, 37))
    for name in MERGED:
        whole = getattr(counts, name)
        np.testing.assert_array_equal(getattr(joined, name), whole, err_msg=name)
        assert getattr(joined, name).dtype == whole.dtype
    assert joined.num_units == counts.num_units


def test_counts_of_two_seeds_add_up():
    a, b = ask(1), ask(2, draws=6000)
    both = volume.merge([a, b])
    assert both.seed == [1, 2]
    assert both.num_draws == 10_000
    assert both.method == {**a.method, "draws": 10_000}
    assert both.run["merged"] == [
        {"seed": 1, "draws": 4000, "units": 100},
        {"seed": 2, "draws": 6000, "units": 150},
    ]
    assert both.run["near_ties_checked"] == 10_000
    labels = {*a, *b}
    assert set(both) == labels
    for label in list(labels)[:50]:
        assert both[label].count == a[label].count + b[label].count
        assert both[label].units_hit == a[label].units_hit + b[label].units_hit
    assert both.num_nonfinite == a.num_nonfinite + b.num_nonfinite
    three = volume.merge([both, ask(3)])
    assert three.seed == [1, 2, 3]
    assert three.num_draws == 14_000


def test_a_merged_report_is_stored_shown_and_compared(tmp_path, capsys):
    a, b = ask(1, out=tmp_path / "a"), ask(2, out=tmp_path / "b")
    found = answer(capsys, "merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    both = volume.merge([a, b])
    assert found["classes"][:3] == json.loads(json.dumps(both.to_dict()["classes"][:3]))
    loaded: Any = volume.load(tmp_path / "c")
    assert loaded.to_dict() == {**both.to_dict(), "run": loaded.run}
    assert loaded.seed == [1, 2]
    assert "seed: [1, 2]" in run(capsys, "show", tmp_path / "c")[1].replace("(1, 2)", "[1, 2]")
    assert volume.compare(loaded, ask(3)).agree
    with pytest.raises(ValueError, match="may share draws"):
        volume.compare(loaded, b)
    code, _, err = run(capsys, "merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert code == 2
    assert "--force" in err
    assert run(capsys, "merge", tmp_path / "a", tmp_path / "c", "--out", tmp_path / "d")[0] == 4
    assert not (tmp_path / "d" / "report.json").exists()


@pytest.mark.slow
def test_pooled_reports_stay_pooled():
    settings: dict[str, Any] = {"widths": (3, 4, 1), "symmetry": "pooled"}
    a, b = ask(1, **settings), ask(2, **settings)
    both = volume.merge([a, b])
    assert type(both) is type(a)
    assert both.unpooled["00000000"].count == a.unpooled["00000000"].count + b.unpooled["00000000"].count
    assert both["00000001"].count == a["00000001"].count + b["00000001"].count


def test_what_is_refused():
    a = ask(1)
    with pytest.raises(ValueError, match="two reports or more"):
        volume.merge([a])
    with pytest.raises(TypeError, match="takes reports"):
        volume.merge([a, a.counts])  # type: ignore[list-item]  # the point of the test
    for same in (ask(1), ask(np.array([0, 1], np.uint32))):
        with pytest.raises(ValueError, match="comes twice"):
            volume.merge([a, same])
    with pytest.raises(ValueError, match="comes twice"):
        volume.merge([volume.merge([a, ask(2)]), ask(2)])
    for other, where in (
        (ask(2, widths=(7, 5, 1)), r"question\.model\.widths"),
        (ask(2, classifier=volume.Ones()), r"question\.classifier\.name"),
        (ask(2, level=0.9), "its level is 0.95 and this one's is 0.9"),
    ):
        with pytest.raises(ValueError, match=f"differ in more than draws: of the first, .*{where}"):
            volume.merge([a, other])
    lattice = volume.Query(models.MLP((2, 2, 1)), samplers.Lattice.binary(), volume.BooleanCube(2))
    exact = volume.estimate(lattice, volume.Exact())
    with pytest.raises(ValueError, match="counted every parameterisation: one such report says all"):
        volume.merge([exact, exact])
    fits = volume.Fits(np.array([[0.0, 1.0], [1.0, 0.0]]), [0, 1])
    wide = volume.estimate(
        volume.Query(models.MLP((2, 3, 1), bias=False), samplers.Gaussian(1.0), classifier=fits),
        volume.InfiniteWidth(samples=64),
    )
    with pytest.raises(ValueError, match="drew nothing to be joined"):
        volume.merge([wide, wide])


def test_units_that_differ_are_refused():
    counts = [
        Counts.from_dense(np.eye(3, dtype=int), unit_size=s, independent=False, nonfinite=np.zeros(3)) for s in (4, 5)
    ]
    with pytest.raises(ValueError, match="unit_size is 4 and 5"):
        join_counts(counts)


# --- replicates ---


def replicated(seed, logs, *, level=0.95, **more) -> EstimateReport:
    entries = tuple(
        replicated_volume(label, values, level, {"particles": 64, "moves": 4, "evaluations": 10, "ideal_spread": 0.2})
        for label, values in {"fits": logs, **more}.items()
    )
    return EstimateReport(
        entries=entries,
        description={"model": {"name": "mlp"}},
        method={"name": "splitting", "replicates": len(logs), "particles": 64},
        seed=seed,
        run={"complete": True, "evaluations": 10, "wall_seconds": 1.0},
        conventions={},
        level=level,
    )


def test_replicates_join():
    """Every number of the joined entry is that of all replicates together."""
    rng = np.random.default_rng(0)
    logs = [rng.normal(-20, 0.4, 8), rng.normal(-20, 0.3, 12)]
    both = volume.merge([replicated(seed, each) for seed, each in zip((4, 5), logs, strict=True)])
    expected = replicated_volume("fits", [*logs[0], *logs[1]])
    for name in ("log_volume", "log_low", "log_high", "log_bound", "spread", "log_estimates", "headline", "notes"):
        assert getattr(both["fits"], name) == getattr(expected, name), name
    assert both.seed == [4, 5]
    assert both.method["replicates"] == 20
    assert both["fits"].diagnostics["evaluations"] == 20
    assert both.run["evaluations"] == 20
    dead = volume.merge([replicated(1, logs[0]), replicated(2, [-20.0, -np.inf])])
    assert dead["fits"].num_dead == 1
    assert dead["fits"].headline == "bound"
    with pytest.raises(ValueError, match="different classes"):
        volume.merge([replicated(1, logs[0]), replicated(2, logs[0], other=logs[1])])
    other = replicated(2, logs[0])
    with pytest.raises(ValueError, match=r"its method\.particles is 64 and this one's is 128"):
        volume.merge([replicated(1, logs[0]), replace(other, method={**other.method, "particles": 128})])


def given(seed, logs, fractions, chosen=0):
    """What splitting says of a class of the split, met by these fractions of each replicate's last population."""
    report = replicated(seed, logs)
    x, g = np.array(logs)[chosen:], np.array(fractions)[chosen:]
    part = np.full(len(x), -np.inf)
    part[g > 0] = x[g > 0] + np.log(g[g > 0])
    diagnostics = {"part_of": "fits"} | ({"chosen_by_replicates": chosen} if chosen else {})
    entry = replicated_volume("right", part, 0.95, diagnostics, share=share_interval(x, g))
    return replace(report, entries=(*report.entries, entry))


@pytest.mark.parametrize("chosen", [0, 1])
def test_shares_within_a_class_are_those_of_all_replicates(chosen):
    """A replicate that died, one that did not meet the class, and some that did."""
    rng = np.random.default_rng(5)
    logs = [[*rng.normal(-9, 0.4, 7), -np.inf], list(rng.normal(-9, 0.4, 12))]
    met = [[*rng.uniform(0.1, 0.3, 7), np.nan], [0.0, *rng.uniform(0.1, 0.3, 11)]]
    reports = [given(seed, *each, chosen) for seed, each in enumerate(zip(logs, met, strict=True))]
    both: Any = volume.merge(reports)
    assert set(both) == {"fits", "right"}
    x = np.concatenate([each[chosen:] for each in logs])
    expected = share_interval(x, np.concatenate([each[chosen:] for each in met]))
    np.testing.assert_allclose(both["right"].share, expected, rtol=1e-12)
    assert both["right"].num_replicates == 20 - 2 * chosen
    assert both["fits"].num_dead == 1


@pytest.mark.parametrize("spreads", [(0.25, 0.5), (0.6, 0.9)])
def test_the_interval_of_replicates_of_unlike_spread_covers(spreads):
    """Two runs of 8 replicates whose pilots chose levels of unlike quality: lognormals of mean 1 and these spreads.

    Coverage of 95 % intervals over 20,000 joined runs; its standard error is .0015. The truths are .953 and .951 (and
    .952 where both spread by .25): an alarm is false once in 1e12, and coverage of .935 or .97 gives one.
    """
    rng = np.random.default_rng(1)
    s = np.repeat(spreads, 8)
    logs = rng.normal(-(s**2) / 2, s, (20_000, 16))
    mean, spread = logs.mean(axis=1), logs.std(axis=1, ddof=1)
    grid = np.linspace(spread.min(), spread.max(), 400)  # the offsets are smooth in the spread
    low, high = interval_offsets(grid, 16)
    covered = (mean + np.interp(spread, grid, low) <= 0) & (mean + np.interp(spread, grid, high) >= 0)
    assert 0.940 < covered.mean() < 0.966


# --- training runs ---


@pytest.mark.slow
def test_training_runs_join():
    fits = volume.Fits(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 1])
    query = volume.Query(models.MLP((2, 4, 1)), GAUSSIAN, classifier=fits)
    a, b = (volume.estimate(query, volume.Trained(runs, max_steps=60), seed=seed) for seed, runs in ((1, 40), (2, 24)))
    both: Any = volume.merge([a, b])
    assert both.num_runs == 64
    np.testing.assert_array_equal(both.fit, np.r_[a.fit, b.fit])
    np.testing.assert_array_equal(both.steps_to_fit, np.sort(np.r_[a.steps_to_fit, b.steps_to_fit]))
    for end in a.ends:
        record = (report.run["training"]["ends"][end] for report in (a, b))
        assert both.run["training"]["ends"][end] == sum(record)
    assert both["fits"].count == a["fits"].count + b["fits"].count
    with pytest.raises(ValueError, match="conditioned on the fit"):
        volume.merge([a.given_fit(), b])


# --- parts of one run ---


def test_folders_with_parts_of_one_run_become_it(tmp_path, capsys, monkeypatch):
    """Two copies of a stopped run, of which one went on: together they are the run, bit for bit."""
    monkeypatch.setattr("volume.runs.checkpoints.BATCH_ROWS", 4000)
    words = [*SMALL, "--seed", "3"]
    straight = answer(capsys, *words, "--out", tmp_path / "straight")
    with monkeypatch.context() as patch:
        stop_after_first_step(patch)
        run(capsys, *words, "--out", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    answer(capsys, "estimate", "--resume", tmp_path / "b")
    for file in sorted((tmp_path / "b" / "parts").iterdir())[:2]:
        file.unlink()  # b alone is no longer the whole
    code, out, err = run(capsys, "merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", "--json")
    assert code == 3
    assert f"some are missing: volume estimate --resume {tmp_path / 'c'} goes on" in err
    assert 0 < json.loads(out)["num_draws"] < straight["num_draws"]
    resumed = answer(capsys, "estimate", "--resume", tmp_path / "c")
    del resumed["run"], straight["run"]
    assert resumed == straight
    shutil.copytree(tmp_path / "straight", tmp_path / "again")
    with pytest.raises(ValueError, match="holds no part of the run that the others do not"):
        volume.merge_directories([tmp_path / "straight", tmp_path / "again"], tmp_path / "d")
    assert not (tmp_path / "d").exists()
