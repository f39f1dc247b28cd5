"""Counts of every parameterisation: no interval, nothing unseen, and comparisons that know one side."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from example_reports import LABELS, clustered, make, table_counts
from scipy import stats

from volume.classifiers.given import Given
from volume.classifiers.labels import Fits
from volume.classifiers.ones import Ones
from volume.functions.domains import BooleanCube, Points
from volume.reports.comparison import compare
from volume.reports.counted import VolumeReport
from volume.reports.loading import load
from volume.reports.shares import shares
from volume.statistics.counts import Counts

# Asymmetric hits of the sixteen tables of two binary inputs, label order; four are empty.
HITS = np.array([20, 7, 7, 2, 7, 1, 0, 3, 11, 0, 2, 1, 2, 0, 1, 0])


def enumeration(hits=HITS, *, nonfinite=0, **changes):
    """The report of an enumeration that met table t of LABELS ``hits[t]`` times."""
    keys = np.arange(len(hits), dtype=np.uint64)[:, None] << np.uint64(60)
    num_points = int(sum(map(int, hits))) + nonfinite
    counts = Counts.of_all(keys, hits, num_points=num_points, nonfinite=nonfinite)
    facts = {"method": {"name": "exact"}, "run": {"wall_seconds": 1.0}}
    return make(counts, **(facts | changes))


def test_volumes_are_counts_over_all_parameterisations():
    report = enumeration(nonfinite=3)
    assert report.complete
    assert report.num_draws == HITS.sum() + 3
    assert report.num_classes == 12
    for label, hits in zip(LABELS, HITS, strict=True):
        entry = report[label]
        volume = math.log(hits / report.num_draws) if hits else -math.inf
        assert entry.log_volume == entry.log_low == entry.log_high == volume
        assert entry.count == hits
        assert entry.complete
        assert (label in report) == (hits > 0)
    assert report.nonfinite.log_low == report.nonfinite.log_volume == math.log(3 / report.num_draws)
    unseen = report.unseen
    assert (unseen.mass, unseen.low, unseen.high, unseen.standard_error) == (0, 0, 0, 0)


def test_nothing_is_spared_to_choose_the_classes_shown():
    report = enumeration()
    assert report.pilot_units == 0
    top = report.top(3)
    assert [entry.label for entry in top] == ["0000", "1000", "0001"]  # equal ones in the order of labels
    assert [entry.count for entry in top] == [20, 11, 7]
    assert all(entry.num_draws == HITS.sum() for entry in report.top(20))
    np.testing.assert_array_equal(report.top(12).log_low, report.top(12, simultaneous=True).log_low)


def test_group_by_adds_whole_numbers():
    grouped = enumeration(nonfinite=2).group_by(Ones())
    assert grouped.complete
    ones = [label.count("1") for label in LABELS]
    for t in range(5):
        assert grouped[t].count == sum(hits for hits, count in zip(HITS, ones, strict=True) if count == t)
        assert grouped[t].log_low == grouped[t].log_high
    assert grouped["4"].volume == 0
    assert grouped.num_nonfinite == 2


def test_counts_beyond_the_digits_of_a_float_stay_exact(tmp_path):
    """2^61 + 1 is no float64; sums, groups and files must keep its last digit."""
    hits = np.zeros(16, np.int64)
    hits[0], hits[1], hits[3] = 2**61 + 1, 1, 2**60 + 1
    report = enumeration(hits)
    assert report.num_draws == 2**61 + 2**60 + 3
    assert report["0000"].count == 2**61 + 1
    assert report["0000"].log_volume == pytest.approx(math.log((2**61 + 1) / (2**61 + 2**60 + 3)), rel=1e-15)
    loaded = load(report.save(tmp_path / "run.json"))
    assert isinstance(loaded, VolumeReport)
    assert loaded["0011"].count == 2**60 + 1
    constant = Fits(BooleanCube(2).inputs[:3], "000")
    assert report.group_by(constant)["fits"].count == 2**61 + 2
    other = enumeration(hits + np.eye(16, dtype=np.int64)[1])
    assert compare(report, other).max_abs_z == math.inf


def test_a_saved_enumeration_comes_back_bit_for_bit(tmp_path):
    report = enumeration(nonfinite=1)
    loaded = VolumeReport.load(report.save(tmp_path / "run.json"))
    assert loaded.complete
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        mine, theirs = getattr(report.counts, name), getattr(loaded.counts, name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert loaded.to_dict() == report.to_dict()
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_summary_says_that_everything_was_counted():
    text = enumeration().summary(3)
    assert "all 64 parameterisations" in text
    assert "Every parameterisation was counted" in text
    for word in ("interval", "Unseen", "draws", "Warning"):
        assert word not in text
    lossy = enumeration(nonfinite=3, run={"near_ties": 4}).summary(3)
    assert "3 of 67 parameterisations gave NaN or inf" in lossy
    assert "4 of 67 parameterisations have an output so near a tie" in lossy
    assert "exactly 20 of 64 parameterisations" in enumeration()["0000"].sentence()


def test_shares_are_exact():
    within = Given(Fits(BooleanCube(2).inputs[:2], "00"), Ones())
    found = shares(enumeration(), given=within)  # 0000, 0001, 0010, 0011: 20, 7, 7, 2
    values = {share.label: share for share in found}
    assert [share.share for share in values.values() if share.count] == [20 / 36, 14 / 36, 2 / 36]
    assert all(share.low == share.share == share.high and share.resolved for share in found)


def test_complete_counts_are_one_unit():
    with pytest.raises(ValueError, match="one unit"):
        replace(table_counts(clustered()), complete=True)


# --- comparisons ---


def test_two_enumerations_agree_exactly_or_not_at_all():
    twice = compare(enumeration(), enumeration(2 * HITS))  # another number of parameterisations, the same shares
    assert twice.agree
    assert twice.max_abs_z == 0
    assert twice.num_compared == 12
    moved = HITS + np.eye(16, dtype=int)[0] - np.eye(16, dtype=int)[5]
    other = compare(enumeration(), enumeration(moved))
    assert not other.agree
    assert {row.label: row.z for row in other.rows if row.z} == {"0000": -math.inf, "0101": math.inf}
    json.dumps(other.to_dict(), allow_nan=False)


def drawn(rng, shares, *, units, unit_size, heads=1):
    """A direct report: iid, or units of ``unit_size / heads`` bodies whose heads all fall into one class."""
    bodies = unit_size // heads
    matrix = heads * np.stack([rng.multinomial(bodies, shares) for _ in range(units)])
    lost = np.zeros(units, int)
    counts = Counts.from_dense(matrix, unit_size=unit_size, independent=heads == 1, nonfinite=lost)
    counts = replace(counts, keys=counts.keys << np.uint64(55))
    return make(counts, domain=NINE, seed=1, method={"name": "direct", "heads": heads, "bodies": bodies})


NINE = Points(np.arange(9.0)[:, None])


@pytest.mark.parametrize(("heads", "units"), [(1, 500), (10, 2500)])
def test_z_beside_a_known_volume_is_standard_normal(heads, units):
    """About 1,000 classes with 20 expected clusters or more, whose counts depend on each other by little.

    Kolmogorov-Smirnov at 1e-6 bounds D by 2.7/sqrt(1000) = .085: a shift of .22 is found. The variance within
    6.5 sqrt(2/n) of 1 (false alarm below 1e-7) finds 1.3; clusters of 10 taken for iid hits would give 10.
    """
    rng = np.random.default_rng(5)
    z = []
    for _ in range(6):
        hits = np.floor(2000 / np.arange(1, 401) ** 0.7).astype(int)
        rng.shuffle(hits)
        keys = np.arange(len(hits), dtype=np.uint64)[:, None] << np.uint64(55)
        counts = Counts.of_all(keys, hits, num_points=int(hits.sum()), nonfinite=0)
        exact = make(counts, domain=NINE, method={"name": "exact"})
        one = drawn(rng, hits / hits.sum(), units=units, unit_size=100, heads=heads)
        result = compare(one, exact, alpha=1e-7)
        assert result.agree
        z += [row.z for row in result.rows]
    assert len(z) > 900
    assert stats.kstest(z, "norm").pvalue > 1e-6
    assert abs(np.var(z) - 1) < 6.5 * np.sqrt(2 / len(z))


def test_a_class_that_cannot_be_hit_disagrees_by_one_hit():
    exact = enumeration()
    matrix = np.tile(HITS, (40, 1))
    assert compare(exact, make(table_counts(matrix, independent=True), seed=3)).agree
    matrix[7, 0] -= 1
    matrix[7, 6] += 1  # table 0110 is empty
    result = compare(exact, make(table_counts(matrix, independent=True), seed=3))
    assert not result.agree
    assert (result.rows[0].label, result.rows[0].z) == ("0110", -math.inf)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["max_abs_z"] is None
