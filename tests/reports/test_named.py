"""Entries that no draws are counted for: the rules that choose a headline, text, JSON and files."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_reports import make, table_counts
from scipy import stats

import volume
from volume.classifiers.labels import Fits
from volume.common.logs import volume_text
from volume.reports.comparison import compare, interval_z
from volume.reports.entries import ReplicatedVolume, entry_from_dict, replicated_volume
from volume.reports.limit_entries import LimitVolume
from volume.reports.loading import load
from volume.reports.named import EstimateReport
from volume.statistics import replicates
from volume.statistics.counts import Counts
from volume.statistics.replicates import Share

RNG = np.random.default_rng(0)
SHAPE = RNG.normal(size=8)
SHAPE = (SHAPE - SHAPE.mean()) / SHAPE.std(ddof=1)  # spread exactly 1


def entry(label="fits", *, middle=-30.0, spread=0.3, dead=0, level=0.95, **more):
    logs = middle + spread * SHAPE
    logs[:dead] = -math.inf
    return replicated_volume(label, logs, level, **more)


LIMIT = LimitVolume(
    "limit", -50.0, -50.1, -49.9, 0.95, 0.04, -49.0, num_variables=32, num_draws=20_000, num_replicates=16, jitter=1e-10
)


def report(*entries, seed: int | list[int] = 0, method="splitting", **changes: Any):
    description = {"model": {"name": "mlp"}, "prior": {}, "domain": {"name": "points"}, "classifier": {"name": "fits"}}
    facts = {
        "entries": entries or (entry(),),
        "description": description,
        "method": {"name": method, "particles": 1024},
        "seed": seed,
        "run": {"wall_seconds": 3.25, "complete": True},
        "conventions": {"ties": "output == 0 is class 0", "dtype": "float32"},
    }
    return EstimateReport(**(facts | changes))


# --- the rules for replicates ---


def test_alike_replicates_have_an_interval_and_the_bound_beside_it():
    found = entry(spread=0.3)
    logs = found.log_estimates
    assert found.headline == "interval"
    assert found.log_volume == replicates.log_mean(logs)
    assert (found.log_low, found.log_high) == replicates.mean_interval(logs, 0.95)
    assert found.log_bound == replicates.lower_bound(logs, 1 - 0.95)
    assert found.log_bound < found.log_low < found.log_volume < found.log_high
    assert found.spread == pytest.approx(0.3)
    assert found.notes == ()
    assert entry(spread=1 - 1e-9).headline == "interval"


def test_replicates_that_differ_too_much_put_the_bound_first_and_name_the_knob():
    found = entry(spread=1.01, notes=["From the method."])
    assert found.headline == "bound"
    assert (found.log_low, found.log_high) == replicates.mean_interval(found.log_estimates, 0.95)
    assert "more particles or moves" in found.notes[0]
    assert volume_text(found.log_volume) in found.notes[0]
    assert found.notes[1] == "From the method."
    cells = found.cells()
    assert cells["volume"] == f"> {volume_text(found.log_bound, 3)}"
    assert cells["95% interval"].startswith("(")


def test_a_dead_replicate_leaves_the_bound_and_no_interval():
    found = entry(dead=1)
    assert found.headline == "bound"
    assert (found.log_low, found.log_high) == (found.log_bound, 0.0)
    assert found.log_volume == pytest.approx(np.logaddexp.reduce(found.log_estimates[1:]) - math.log(8))
    assert math.isnan(found.spread)
    assert "1 of 8 replicates died" in found.notes[0]
    assert found.cells()["95% interval"] == "none"
    assert found.cells()["replicates"] == "8, 1 died"


def test_a_class_that_nobody_reached_has_nothing():
    found = entry(dead=8)
    assert found.headline == "none"
    assert (found.log_volume, found.log_low, found.log_bound, found.log_high) == (-math.inf, -math.inf, -math.inf, 0.0)
    assert "None of 8 replicates reached the class" in found.notes[0]
    assert found.cells()["volume"] == "not reached"
    assert "not reached" in found.sentence()


def test_one_replicate_has_a_bound():
    found = replicated_volume("fits", [-5.0])
    assert found.headline == "bound"
    assert found.log_low == found.log_bound == pytest.approx(-5 + math.log(0.05))
    assert "give 8 replicates or more" in found.notes[0]


def test_an_interval_never_leaves_the_unit():
    found = entry(middle=-0.1, spread=0.9)
    assert found.log_high == 0.0


# --- the report ---


def test_entries_by_label_and_by_volume():
    dead, rare, common = entry("dead", dead=8), entry("rare", middle=-2000.0), entry("common", middle=-2.0)
    found = report(dead, rare, common)
    assert list(found) == ["dead", "rare", "common"]
    assert [one.label for one in found.classes()] == ["common", "rare", "dead"]
    assert found.classes(1) == (common,)
    assert found["rare"] is rare
    assert "rare" in found
    assert "fits" not in found
    assert len(found) == 3
    with pytest.raises(KeyError, match="Unknown class of this report 'rar'; known: dead, rare, common"):
        found["rar"]
    with pytest.raises(ValueError, match="'rare' is given 2 times"):
        report(rare, rare)


def test_summary_says_all_in_120_columns(monkeypatch):
    monkeypatch.setattr("volume.reports.text.terminal_width", lambda: 120)
    share = Share(0.25, 0.2, 0.31, 8)
    unresolved = Share(0.001, 0.0, 0.004, 2)
    found = report(
        entry("fits", middle=-2302.0, diagnostics={"ideal_spread": 0.21, "levels": 33, "steps": [[1]]}, share=share),
        entry("x" * 100, spread=1.5, share=unresolved),
        entry("dead", dead=2),
        entry("nobody", dead=8),
    )
    text = found.summary()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0] == "4 classes by splitting, 3.25 s"
    row = next(line for line in lines if line.startswith("fits"))
    for cell in ("e-1000", "0.30 (0.21)", "0.25 (0.2 - 0.31)", "  8  "):
        assert cell in row
    assert "below 0.004" in text
    for word in ("levels=33", "2 of 8 replicates died", "spread by 1.5", "None of 8", "Conventions", "dtype: float32"):
        assert word in text
    assert "ideal_spread" not in text  # it stands in the table
    assert "steps" not in text  # a table of numbers, for the JSON record
    assert "stopped early" not in text
    assert "stopped early" in str(report(run={"complete": False}))
    assert found.summary(1).splitlines()[2].startswith("xxx")  # the largest alone
    limit = str(report(LIMIT))
    assert "4.25e-22 - " not in limit
    for cell in ("1.93e-22", "1.75e-22 - 2.13e-22", "5.24e-22", "0.04", "32"):
        assert cell in limit


def test_records_are_strict_json():
    found = report(entry(middle=-2302.0), entry("dead", dead=1), entry("nobody", dead=8), LIMIT)
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    by_label = {one["label"]: one for one in record["classes"]}
    fits = by_label["fits"]
    assert (fits["volume"], fits["low"], fits["bound"]) == (None, None, None)
    assert fits["log10_volume"] == pytest.approx(-2302 / math.log(10), abs=0.2)
    assert by_label["dead"]["log_estimates"][0] is None
    assert by_label["nobody"]["volume"] == 0
    assert by_label["limit"]["relative_error"] == 0.04
    assert {"query", "method", "seed", "level", "conventions", "run", "warnings", "num_classes"} <= set(record)


@pytest.mark.parametrize("name", ["run.json", "folder"])
def test_a_report_comes_back_bit_for_bit(tmp_path, name):
    share = Share(0.25, 0.2, math.nan, 8)
    found = report(
        entry(spread=1 / 3, diagnostics={"acceptance": (0.1, 1 / 3)}, notes=["Said."], share=share),
        entry("dead", dead=1),
        entry("nobody", dead=8),
        LIMIT,
        seed=[1, 2],
    )
    written = found.save(tmp_path / name)
    loaded = volume.load(tmp_path / name)
    assert isinstance(loaded, EstimateReport)
    assert [type(one) for one in loaded.entries] == [ReplicatedVolume] * 3 + [LimitVolume]
    assert loaded.to_dict() == found.to_dict()
    for one, other in zip(loaded.entries, found.entries, strict=True):
        assert one.to_dict() == other.to_dict()
    assert [path.name for path in written.parent.iterdir()] == [written.name]
    with pytest.raises(ValueError, match="has no counts behind it: read it with volume"):
        volume.VolumeReport.load(written)


def test_a_counted_run_is_loaded_as_one_and_replaced_whole(tmp_path):
    counted = make(table_counts(np.ones((4, 16), int)))
    counted.save(tmp_path)
    assert isinstance(volume.load(tmp_path), volume.VolumeReport)
    report().save(tmp_path)
    assert isinstance(volume.load(tmp_path), EstimateReport)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]  # no counts of another run beside it


def test_damage_is_found(tmp_path):
    path = report().save(tmp_path)
    path.write_text(path.read_text().replace('"level": 0.95', '"level": 0.9', 1))
    with pytest.raises(ValueError, match="does not match its own SHA-256"):
        load(path)
    with pytest.raises(ValueError, match="Unknown kind of entry 'replicate'"):
        entry_from_dict({"kind": "replicate"})


# --- comparisons ---


def test_two_estimates_of_one_volume_agree_and_a_planted_difference_is_found():
    a, b = report(), report(entry(middle=-30.2), seed=1)
    result = compare(a, b)
    assert result.agree
    assert (result.rows[0].count_a, result.draws_a, result.left_out) == (None, None, ())
    # 8 replicates of spread .3 on both sides: error about .16; 4 nats are 25 of them, on 14 degrees z = 6.8.
    far = compare(a, report(entry(middle=-34.0), seed=1))
    assert not far.agree
    assert far.rows[0].z > 6
    assert compare(report(entry(middle=-34.0), seed=1), a).rows[0].z == pytest.approx(-far.rows[0].z)


def test_z_is_the_normal_score_of_t():
    """Against a volume known exactly the difference is 1/q of the interval's half width for each unit of t."""
    for known, side in ((-31.0, "log_low"), (-29.5, "log_high")):
        a = entry()
        half = abs(getattr(a, side) - a.log_volume)
        t = (a.log_volume - known) / (half / 2.364624251592785)  # Student's t, 7 degrees, two-sided 95 %
        b = replace(LIMIT, log_volume=known, log_low=known, log_high=known, num_draws=0)
        z = interval_z(a, b)
        assert stats.norm.cdf(-abs(z)) == pytest.approx(stats.t.cdf(-abs(t), 7), rel=1e-9)
        assert math.copysign(1, z) == math.copysign(1, t)


@pytest.mark.slow
def test_z_against_a_known_volume_is_standard_normal():
    """500 groups of 8 lognormal replicates of spread .5. The mean square of z has standard error .063, of which .45 is
    7; a tail of probability .005 has 2.5 of them, more than 16 with probability 1e-9. Fixed seed."""
    rng = np.random.default_rng(1)
    known = replace(LIMIT, log_volume=-100.0, log_low=-100.0, log_high=-100.0, num_draws=0)
    groups = -100 - 0.125 + 0.5 * rng.normal(size=(500, 8))
    z = np.array([interval_z(replicated_volume("fits", logs), known) for logs in groups])
    assert abs(np.mean(z**2) - 1) < 0.45
    assert np.sum(z < -2.576) <= 16
    assert np.sum(z > 2.576) <= 16


def counted_fits(hits, draws=100_000):
    """A counted report of Fits, ``hits`` of ``draws`` independent draws."""
    classifier = Fits(np.eye(2), "01")
    matrix = np.array([[draws - hits, hits]])
    counts = Counts.from_dense(matrix, unit_size=draws, independent=True, nonfinite=np.zeros(1, int))
    return make(counts, classifier=classifier, domain=classifier.domain())


def test_counts_are_compared_with_estimates():
    counted = counted_fits(1000)
    log_p = math.log(0.01)
    question: dict[str, Any] = {"description": counted.description}
    same = report(entry(middle=log_p, spread=0.1), **question)
    result = compare(counted, same)
    assert result.agree
    assert [row.label for row in result.rows] == ["fits"]
    assert (result.rows[0].count_a, result.rows[0].count_b) == (1000, None)
    assert result.left_out == (("misses", "not in the second report"),)
    assert "Not compared: misses: not in the second report." in result.summary()
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["left_out"] == [{"label": "misses", "why": "not in the second report"}]
    # Half the volume: log 2 over sqrt(.032^2 + .035^2), t = 14.5 on 7 to 30 degrees.
    assert not compare(report(entry(middle=log_p - math.log(2), spread=0.1), **question), counted).agree


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (entry(middle=-4.6, dead=1), "1 of 8 replicates died"),
        (entry(middle=-4.6, spread=1.2), "replicates spread by 1.2, more than 1"),
        (replace(LIMIT, label="fits", relative_error=0.2), "its relative error is 0.2"),
        (replace(LIMIT, label="fits", log_volume=-math.inf, log_low=-math.inf), "it is empty in the wide limit"),
    ],
)
def test_entries_without_a_standard_error_are_left_out(given, why):
    counted = counted_fits(1000)
    misses = replace(LIMIT, label="misses", log_volume=math.log(0.99), log_low=math.log(0.98), log_high=math.log(0.995))
    other = report(given, misses, description=counted.description)
    result = compare(counted, other)
    assert [row.label for row in result.rows] == ["misses"]
    assert result.left_out[0][0] == "fits"
    assert why in result.left_out[0][1]
    with pytest.raises(ValueError, match="No class can be compared"):
        compare(counted, report(given, description=counted.description))


def test_few_hits_are_left_out():
    counted = counted_fits(19)
    other = report(entry(middle=math.log(19e-5)), description=counted.description)
    with pytest.raises(ValueError, match="it has 19 hits, fewer than 20"):
        compare(counted, other)
    assert compare(counted, other, min_count=19).agree


def test_shared_draws_and_other_queries_are_refused():
    with pytest.raises(ValueError, match="give one of them another seed"):
        compare(report(), report())
    with pytest.raises(ValueError, match="different queries"):
        compare(report(), report(seed=1, description={"model": {}}))
    assert compare(report(), report(method="other")).agree
