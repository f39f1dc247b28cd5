"""Pooled volumes: the arithmetic by hand, coverage against exact truths, and agreement with unpooled runs.

Truths on two inputs are closed forms (REFERENCE_VALUES of the project; docs/estimators.md says how they arise).
Classes of different volume stand side by side in them: 1000, 0010 and 0001 with a bias on {0,1}^2.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from example_reports import LABELS, clustered, make, table_counts
from scipy import stats

import volume
from volume import models, samplers
from volume.functions.canonical import TableGroup
from volume.functions.canonical_points import PointGroup
from volume.functions.tables import labels
from volume.reports.comparison import interval_z
from volume.reports.loading import load
from volume.reports.pooled import PooledReport, PooledTable, PooledVolume, as_asked
from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson

BOTH = TableGroup(2, outputs=True)
ORBITS = [
    {"0000", "1111"},
    {"0011", "0101", "1010", "1100"},
    {"1000", "0111"},
    {"0010", "0100", "1011", "1101"},
    {"0001", "1110"},
    {"0110", "1001"},
]  # of BOTH


def pooled(counts, group: TableGroup = BOTH, **changes) -> PooledReport:
    conventions = {"symmetry": "pooled", "symmetry_group": group.describe(), "ties_at_most": 0.0}
    report = as_asked(make(counts, conventions=conventions, **changes))
    assert isinstance(report, PooledReport)
    return report


def estimate(query: volume.Query, method: volume.Direct, seed: int, level: float = 0.95) -> PooledReport:
    report = volume.estimate(query, method, seed=seed, level=level)
    assert isinstance(report, PooledReport)
    return report


# --- the arithmetic ---


def test_a_class_is_its_share_of_its_orbit():
    matrix = np.zeros((10, 16), int)
    matrix[:, 0b0010], matrix[:3, 0b1101], matrix[:, 0] = 7, 2, 5
    matrix[:, 0b0110] = 100 - matrix.sum(1)
    report = pooled(table_counts(matrix, independent=True))
    for label in ("0010", "0100", "1011", "1101"):  # two of them were never drawn
        entry = report[label]
        assert isinstance(entry, PooledVolume)
        assert (entry.label, entry.orbit_size, entry.count, entry.num_draws) == (label, 4, 76, 1000)
        assert entry.volume == pytest.approx(76 / 1000 / 4, rel=1e-14)
        low, high = clopper_pearson(76, 1000, 0.95)
        assert entry.log_low == pytest.approx(float(low) - math.log(4), rel=1e-14)
        assert entry.log_high == pytest.approx(float(high) - math.log(4), rel=1e-14)
        assert entry.to_dict()["orbit_size"] == 4
    assert report["0001"].volume == 0
    assert report["0001"].log_high == pytest.approx(math.log(1 - 0.025 ** (1 / 1000)) - math.log(2), rel=1e-10)
    assert report.unpooled["0100"].count == 0
    assert report.unpooled["0010"].count == 70
    assert (report.num_classes, report.num_orbits) == (4, 3)
    assert "0010" in report
    assert "0100" not in report  # drawn or not is said of the single class


@pytest.mark.parametrize("group", [BOTH, TableGroup(2, negations=True), TableGroup(2, False, False, True)])
def test_every_class_and_its_interval_from_the_total_of_its_orbit(group):
    counts = table_counts(clustered(1), independent=False)
    report, single = pooled(counts, group), make(counts)
    for table, label in enumerate(LABELS):
        orbit = (group.orbit(np.array([table << 60], np.uint64))[:, 0] >> np.uint64(60)).astype(int).tolist()
        hits = clustered(1)[:, orbit].sum(axis=1)
        alone = make(table_counts(np.stack([hits, 200 - hits], axis=1) @ np.eye(2, 16, dtype=int)))["0000"]
        entry = report[label]
        assert entry.count == sum(single[LABELS[member]].count for member in orbit) == alone.count
        assert entry.units_hit == alone.units_hit
        for end in ("log_volume", "log_low", "log_high"):
            assert getattr(entry, end) == pytest.approx(getattr(alone, end) - math.log(len(orbit)), rel=1e-12)


def test_tables_list_orbits_by_the_volume_of_a_member():
    report = pooled(table_counts(clustered(2)))
    everything = report.classes()
    assert isinstance(everything, PooledTable)
    assert len(everything) == report.num_orbits <= 6
    assert (np.diff(everything.log_volume) <= 0).all()
    assert sum(entry.volume * entry.orbit_size for entry in everything) == pytest.approx(1)
    assert everything.orbit_size.sum() == 16
    for entry in everything:
        assert entry == report[entry.label]
    shown = report.top(3)
    assert len(shown) == 3
    assert shown.num_draws == 54 * 200  # the first 6 of 60 units chose
    pilot = clustered(2)[:6].sum(axis=0)
    volumes = [pilot[[int(label, 2) for label in orbit]].sum() / len(orbit) for orbit in ORBITS]
    order = [ORBITS[i] for i in np.argsort(volumes)[::-1][:3]]
    assert all(entry.label in orbit for entry, orbit in zip(shown, order, strict=True))
    assert report.classes(2)[0].log_volume >= report.classes(2)[1].log_volume
    assert [entry.label for entry in report.top(2, simultaneous=True)] == [entry.label for entry in shown[:2]]
    frame = report.to_pandas()
    assert frame["orbit_size"].tolist() == everything.orbit_size.tolist()


def test_unseen_is_the_mass_of_orbits_never_met():
    matrix = np.zeros((40, 16), int)
    matrix[:, 0] = 9
    for unit in range(40):  # every unit has another table of one orbit
        matrix[unit, [0b0010, 0b0100, 0b1011, 0b1101][unit % 4]] = 1
    matrix[7, 0], matrix[7, 0b0110] = 8, 1
    report = pooled(table_counts(matrix))
    assert report.unseen.alone == 1
    assert report.unseen.mass == 1 / 400
    assert report.nonfinite.to_dict() == report.unpooled.nonfinite.to_dict()


def test_stored_and_read_again(tmp_path):
    report = pooled(table_counts(clustered(3)))
    again = load(report.save(tmp_path / "run"))
    assert isinstance(again, PooledReport)
    assert again.to_dict() == report.to_dict()
    for column in ("keys", "offsets", "unit", "hits"):
        np.testing.assert_array_equal(getattr(again.counts, column), getattr(report.counts, column))
    assert load(report.unpooled.save(tmp_path / "single")).to_dict() == report.unpooled.to_dict()
    assert type(again.unpooled) is volume.VolumeReport
    assert again.unpooled.conventions["symmetry"] == "none"
    assert "symmetry_group" not in again.unpooled.conventions


def test_what_it_says():
    report = pooled(table_counts(clustered(4)))
    text = report.summary(4)
    assert "4 maps" in text
    assert "orbit of" in text
    assert "hits of the orbit" in text
    median = np.median(report.width_ratios(report.top(4)))
    assert f"{median:.3g} times (median) narrower" in text
    record = report.to_dict()["pooling"]
    assert record["group"]["order"] == 4
    assert record["num_orbits"] == 6
    assert record["median_width_ratio"] == pytest.approx(np.median(report.width_ratios(report.top(10))))
    assert repr(report).endswith("6 orbits>")
    assert max(len(line) for line in text.splitlines()[:8]) <= 120


def test_coarser_questions_go_to_the_single_classes():
    report = pooled(table_counts(clustered(5)))
    grouped = report.group_by(volume.Ones())
    assert type(grouped) is volume.VolumeReport
    assert grouped.conventions["symmetry"] == "none"
    assert grouped["1"].count == make(table_counts(clustered(5))).group_by(volume.Ones())["1"].count


def test_complete_counts_stay_exact():
    """2-2-1 sign networks of binary weights on {-1,1}^2, all 64: negating inputs leaves the volumes as they are."""
    hits = [20 if t == 0 else {1: 7, 2: 2, 3: 1, 4: 0}[t.bit_count()] for t in range(16)]
    matrix = np.array([hits], np.int64)
    counts = Counts.from_dense(matrix, unit_size=64, independent=False, nonfinite=np.zeros(1))
    counts = replace(counts, keys=counts.keys << np.uint64(60), complete=True)
    report = pooled(counts, TableGroup(2, negations=True))
    for table, label in enumerate(LABELS):
        entry = report[label]
        assert entry.volume == pytest.approx(hits[table] / 64)
        assert entry.log_low == entry.log_volume == entry.log_high
    assert report.unseen.mass == 0
    assert "parameterisations" in report.summary()


def test_an_enumeration_is_pooled_to_itself():
    """Relu networks of levels -1, 1, 2: tied outputs, a prior that is not symmetric, and only permutations left."""
    domain, prior = volume.BooleanCube(2), samplers.Lattice((-1, 1, 2))
    network = models.MLP((2, 2, 1), bias=False)
    single = volume.estimate(volume.Query(network, prior, domain), volume.Exact())
    report = volume.estimate(volume.Query(network, prior, domain, symmetry="pooled:inputs"), volume.Exact())
    assert isinstance(report, PooledReport)
    assert report.group.order == 2
    for label in LABELS:
        entry = report[label]
        assert isinstance(entry, PooledVolume)
        assert entry.volume == pytest.approx(single[label].volume, rel=1e-14)
        assert entry.count == single[label].count * entry.orbit_size
    assert report["0010"].count > 0
    assert "parameterisations" in report.summary()


def test_orbits_of_several_words_are_numbered_right():
    """Seven digits: hits of every orbit against a dictionary of canonical forms."""
    rng, group = np.random.default_rng(6), TableGroup(7, outputs=True)
    base = rng.integers(0, 2**64, (5, 2), dtype=np.uint64)
    tables = np.unique(np.concatenate([group.images(key)[rng.integers(0, group.order, 40)] for key in base]), axis=0)
    hits = rng.integers(1, 9, (1, len(tables)))
    counts = Counts.from_dense(hits, unit_size=int(hits.sum()), independent=True, nonfinite=np.zeros(1))
    report = pooled(replace(counts, keys=tables), group, domain=volume.BooleanCube(7))
    assert report.num_orbits == 5
    for key in base:
        form = group.forms(key[None]).keys[0]
        mine = (group.forms(tables).keys == form).all(axis=1)
        label = "".join(labels(key[None], 128, 1))
        assert report[label].count == hits[0, mine].sum()


@pytest.mark.slow
def test_points_are_pooled_and_read_again(tmp_path):
    """The cube's inputs as points, in another order: the same volumes, bit by bit."""
    cube = volume.BooleanCube(2, coding=(-1, 1))
    order = np.array([2, 0, 3, 1])
    network = models.MLP((2, 40, 1), bias=False)
    reports = [
        estimate(volume.Query(network, samplers.Gaussian(), domain, symmetry="pooled"), volume.Direct(3000), 0)
        for domain in (cube, volume.Points(cube.inputs[order]))
    ]
    again = load(reports[1].save(tmp_path / "points"))
    for label in LABELS:
        moved = "".join(label[i] for i in order)
        assert reports[1][moved].volume == again[moved].volume == pytest.approx(reports[0][label].volume)
        assert reports[1][moved].low == pytest.approx(reports[0][label].low)
    assert "16 maps" in reports[1].summary()


# --- truths ---

# Perceptron with bias on {0,1}^2, weights and bias N(0, 1).
BIASED_TRUTH = dict.fromkeys(LABELS, 0.0)
for orbit, volume_of_one in zip(ORBITS, (0.27704336, 0.04787670, 1 / 24, 0.03545664, 0.01462330, 0.0), strict=True):
    BIASED_TRUTH |= dict.fromkeys(orbit, volume_of_one)
# On {-1,1}^2: AND types, and six others; all NPN maps hold.
SIGNED_TRUTH = {
    label: 0.0 if label in ("0110", "1001") else 0.0438699140 if label.count("1") % 2 else 0.1081734480
    for label in LABELS
}
CASES = [((0, 1), BIASED_TRUTH, 4), ((-1, 1), SIGNED_TRUTH, 16)]
PRIOR = samplers.Gaussian(weight_std=2**0.5, bias_std=1.0)


def graded(
    reports, truth: dict[str, float], group: TableGroup | PointGroup
) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Misses of the interval and all estimates of one class of each orbit."""
    forms = group.forms(np.arange(16, dtype=np.uint64)[:, None] << np.uint64(60)).keys[:, 0]
    one_each = [LABELS[i] for i in np.unique(forms, return_index=True)[1]]
    missed = dict.fromkeys(one_each, 0)
    volumes: dict[str, list[float]] = {label: [] for label in one_each}
    for report in reports:
        for label in one_each:
            entry = report[label]
            missed[label] += not entry.low <= truth[label] * (1 + 1e-7) or not truth[label] * (1 - 1e-7) <= entry.high
            volumes[label].append(entry.volume)
    return missed, {label: np.array(values) for label, values in volumes.items()}


@pytest.mark.parametrize(("coding", "truth", "order"), [CASES[0], pytest.param(*CASES[1], marks=pytest.mark.slow)])
def test_coverage_and_mean_of_independent_draws(coding, truth, order):
    """500 runs of 2,000 draws of the truth, intervals of level .95.

    False alarm 1e-8 a class for misses and means alike, 2e-7 in all. Detects: a coverage below .89, an estimate off by
    1.5 % at a volume of .035.
    """
    assert sum(truth.values()) == pytest.approx(1, abs=2e-7)
    group = TableGroup(2, True, coding == (-1, 1), True)
    assert group.order == order
    rng, p = np.random.default_rng(10), np.array(list(truth.values()))
    draws = rng.multinomial(2000, p / p.sum(), 500)
    reports = (pooled(table_counts(row[None], independent=True), group) for row in draws)
    missed, volumes = graded(reports, truth, group)
    for label, misses in missed.items():
        assert misses <= stats.binom.isf(1e-8, 500, 0.05), (label, misses)
        size = len(group.orbit(np.array([int(label, 2) << 60], np.uint64)))
        error = math.sqrt(max(truth[label] * size * (1 - truth[label] * size), 0) / 1e6) / size
        assert abs(volumes[label].mean() - truth[label]) <= 5.8 * error + 1e-7, label


def test_pooling_by_a_wrong_map_is_seen():
    """The same grade fails where negations are pooled on {0,1}^2: 1000 and 0001 differ."""
    rng, p = np.random.default_rng(11), np.array(list(BIASED_TRUTH.values()))
    group = TableGroup(2, True, True, True)
    draws = rng.multinomial(2000, p / p.sum(), 200)
    missed, _ = graded((pooled(table_counts(row[None], independent=True), group) for row in draws), BIASED_TRUTH, group)
    assert max(missed.values()) > 190


@pytest.mark.parametrize(("coding", "truth", "order"), [CASES[0], pytest.param(*CASES[1], marks=pytest.mark.slow)])
def test_the_library_on_perceptrons(coding, truth, order):
    """60 real runs of 4,000 draws; false alarm 1e-7 a class, 2e-6 in all.

    Detects a coverage below .7, or a mean that is off by 3 % at a volume of .035.
    """
    query = volume.Query(models.Perceptron(2), PRIOR, volume.BooleanCube(2, coding=coding), symmetry="pooled")
    reports = [estimate(query, volume.Direct(4000), seed) for seed in range(60)]
    group = reports[0].group
    assert group.order == order
    missed, volumes = graded(reports, truth, group)
    assert max(missed.values()) <= stats.binom.isf(1e-7, 60, 0.05)
    for label, values in volumes.items():
        size = len(group.orbit(np.array([int(label, 2) << 60], np.uint64)))
        error = math.sqrt(truth[label] * size * (1 - truth[label] * size) / 240_000) / size
        assert abs(values.mean() - truth[label]) <= 5.4 * error + 1e-7, label


@pytest.mark.slow
def test_coverage_of_draws_that_share_bodies():
    """Linear 2-2-1 networks without biases have the perceptron's volumes: 1/4 for 0000 and 0111, 1/8 for four others.

    120 runs of 200 bodies with 20 heads. False alarm 1e-7 a class at a coverage of .945. Detects a coverage below .78.
    """
    model = models.MLP((2, 2, 1), activation="linear", bias=False)
    query = volume.Query(model, samplers.Gaussian(), volume.BooleanCube(2), symmetry="pooled")
    method = volume.Direct(draws=4000, heads=20, bodies=1)
    reports = [estimate(query, method, seed) for seed in range(120)]
    group = reports[0].group
    assert group.fixed == (0,)
    truth = dict.fromkeys(LABELS, 0.0) | {"0000": 0.25, "0111": 0.25}
    truth |= dict.fromkeys(["0010", "0011", "0100", "0101"], 0.125)
    assert sorted(int(reports[0][label].count > 0) for label in truth) == [0] * 10 + [1] * 6
    missed, volumes = graded(reports, truth, group)
    assert max(missed.values()) <= stats.binom.isf(1e-7, 120, 0.055)
    assert abs(volumes["0010"].mean() - 0.125) < 0.005


def test_narrow_relu_is_right_without_the_head_and_wrong_with_it():
    """P(0000) = .379 and P(0111) = .251 on 2-3-1, to the third digit: negating the head would make both about .315."""
    query = volume.Query(
        models.MLP((2, 3, 1), bias=False), samplers.Gaussian(), volume.BooleanCube(2), symmetry="pooled:inputs"
    )
    report = estimate(query, volume.Direct(400_000), 1, level=1 - 1e-7)  # false alarm 2e-7
    assert report["0000"].low < 0.3795
    assert report["0000"].high > 0.3785
    assert report["0111"].low < 0.2515
    assert report["0111"].high > 0.2505
    assert report["0010"].count == report["0100"].count > report.unpooled["0010"].count
    wrong = pooled(report.counts, TableGroup(2, outputs=True, fixed=(0,)), level=1 - 1e-7)
    assert wrong["0000"].high < 0.3785


@pytest.mark.slow
@pytest.mark.parametrize(("coding", "shown"), [((0, 1), 10), ((-1, 1), 3)])
def test_wide_networks_class_by_class_with_an_unpooled_run(coding, shown):
    """(7,40,40,1): all members of the largest orbits, if drawn often enough, against a pooled run of another seed.

    z of both intervals; Bonferroni at 1e-7, with a margin of one for tails that are not normal. Detects members that
    differ by 50 % at a volume of 1e-3.
    """
    model, prior = models.MLP((7, 40, 40, 1), bias=False), samplers.Gaussian()
    domain, method = volume.BooleanCube(7, coding=coding), volume.Direct(300_000)
    run = estimate(volume.Query(model, prior, domain, symmetry="pooled"), method, 1)
    single = volume.estimate(volume.Query(model, prior, domain), method, seed=2)
    z, members = [], 0
    for orbit in run.top(shown):
        for key in run.group.orbit(run.bound.key(orbit.label)) if orbit.orbit_size <= 500 else ():
            entry = single[single.bound.labels(key[None])[0]]
            if entry.count >= 30:
                z.append(interval_z(run[entry.label], entry))
                members += 1
    assert members >= 10
    assert max(map(abs, z)) < stats.norm.isf(0.5e-7 / members) + 1
    ratios = run.width_ratios(run.top(10))
    assert np.median(ratios) > 2


def test_comparing_pooled_and_single_counts():
    first = pooled(table_counts(clustered(8)), seed=1)
    second = make(table_counts(clustered(9)), seed=2)
    assert volume.compare(first, second).agree
