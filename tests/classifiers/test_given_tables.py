"""The single functions within a class: counted under their own keys; their shares by draws, by splitting, exactly."""

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_reports import make, table_counts
from scipy import special

import volume
from volume import models, samplers
from volume.classifiers.base import from_description
from volume.classifiers.given import Given
from volume.classifiers.labels import Fits
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.classifiers.truth_table import TruthTable
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points

SQUARE = BooleanCube(2)
FITS = Fits([[1, 1], [0, 1]], "10")  # inputs 3 and 1
GIVEN = Given(FITS, TruthTable())
BOUND = GIVEN.bind(SQUARE, 1)
WITHIN = ["0001", "0011", "1001", "1011"]
# Input angles in degrees of a perceptron without bias in the plane: every function is a sector of the weights' angle.
ANGLES = (0.0, 40.0, 110.0, 110.02, 150.0)
ROWS = np.column_stack([np.cos(np.radians(ANGLES)), np.sin(np.radians(ANGLES))])
# Given input 0 is 1, weights at -90 < a < 90; an input at b is 1 for b - 90 < a < b + 90: cuts at -50, 20, 20.02, 60.
SECTORS = {"10000": 40 / 180, "11000": 70 / 180, "11110": 39.98 / 180, "11111": 30 / 180}
SLIVER, SLIVER_SHARE = "11100", 0.02 / 180
ONE = Fits(ROWS[:1], "1")
PLANE = volume.Query(models.Perceptron(2, bias=False), samplers.Gaussian(1.0), Points(ROWS), Given(ONE, TruthTable()))
SPLITTING = volume.Splitting(particles=64, moves=8, replicates=8)
Z, T7 = 4.9, float(-special.stdtrit(7, 5e-7))  # a normal variable, or Student's t of 7 degrees, exceeds it in 1e-6


def estimate(query: volume.Query, method: Any, *, seed: int = 0) -> Any:
    return volume.estimate(query, method, seed=seed)


def by_table(hits, **more):
    matrix = np.zeros((len(next(iter(hits.values()))), 16), int)
    for label, column in hits.items():
        matrix[:, int(label, 2)] = column
    return make(table_counts(matrix, **more))


def test_every_table_has_its_own_class_or_is_outside():
    every = ["".join(bits) for bits in itertools.product("01", repeat=4)]
    keys = np.array([TruthTable().bind(SQUARE, 1).key(label) for label in every])
    assert BOUND.labels(keys) == [label if label in WITHIN else "outside" for label in every]
    for label in WITHIN:
        assert BOUND.label(BOUND.index(label)) == label
        assert BOUND.labels(BOUND.key(label)[None]) == [label]
    assert BOUND.label(BOUND.index("outside")) == "outside"
    assert (BOUND.num_classes, BOUND.route, BOUND.of_table) == (None, "table", True)
    again = from_description(json.loads(json.dumps(BOUND.describe())))
    assert again == GIVEN
    assert again.bind(SQUARE, 1) == BOUND


@pytest.mark.parametrize(
    ("within", "label", "outputs"),
    [(FITS, None, 1), (FITS, "misses", 1), (Ones(), 0, 1), (Ones(), 4, 1), (Fits([[1, 1], [0, 0]], [2, 1]), None, 3)],
)
def test_outside_is_counted_under_a_function_outside(within, label, outputs):
    bound: Any = Given(within, TruthTable(), label=label).bind(SQUARE, outputs)
    key = bound.outside_key
    assert within.bind(SQUARE, outputs).classify_keys(key[None])[0] != bound.wanted
    assert bound.labels(key[None]) == ["outside"]


def test_grouping_keeps_functions_within_and_joins_the_others():
    """Three units. Hits of 0001 and 1011 stay; 0000, 0100 and 1111 are one class, unit by unit."""
    hits = {"0000": [5, 0, 2], "0001": [1, 4, 0], "0100": [0, 2, 1], "1011": [0, 0, 3], "1111": [4, 4, 4]}
    report = by_table(hits).group_by(GIVEN)
    assert sorted(report) == ["0001", "1011", "outside"]
    assert {label: report[label].count for label in report} == {"0001": 5, "1011": 3, "outside": 22}
    assert report["0011"].count == 0
    cells = dict(zip(report, np.split(report.counts.hits, report.counts.offsets[1:-1]), strict=True))
    assert cells["outside"].tolist() == [9, 6, 7]
    assert (np.diff(report.counts.keys[:, 0].astype(object)) > 0).all()
    none = by_table({"0000": [5, 0, 2]}).group_by(GIVEN)
    assert list(none) == ["outside"]
    every = by_table({"0001": [1, 4, 0], "1011": [0, 0, 3]}).group_by(GIVEN)
    assert list(every) == ["0001", "1011"]


def test_shares_of_named_functions_and_of_those_the_first_tenth_chose():
    """Ten units: the first chooses 0011 (5 hits) before 0001 (3); they have 9 and 27 of the 63 hits in the others."""
    hits = {"0011": [5] + [1] * 9, "0001": [3] + [3] * 9, "1001": [0] + [3] * 9, "0000": [2] + [3] * 9}
    report = by_table(hits, independent=True)
    named = volume.shares(report, given=GIVEN, labels=["1001", "1011", "0011"])
    assert [(share.label, share.count, share.num_within) for share in named] == [
        ("1001", 27, 71),
        ("1011", 0, 71),
        ("0011", 14, 71),
    ]
    assert [share.resolved for share in named] == [True, False, True]
    chosen = volume.shares(report.group_by(GIVEN))
    assert [(share.label, share.count, share.num_within) for share in chosen] == [("0011", 9, 63), ("0001", 27, 63)]
    assert volume.shares(report, given=GIVEN, top=1) == chosen[:1]
    clustered = volume.shares(by_table(hits), given=GIVEN, labels=["0011"])[0]
    assert clustered.share == named[2].share
    with pytest.raises(KeyError, match="not in the class 'fits'"):
        volume.shares(report, given=GIVEN, labels=["0000"])
    with pytest.raises(ValueError, match="leave 'outside' out"):
        volume.shares(report, given=GIVEN, labels=["outside"])
    with pytest.raises(ValueError, match="here all 2 classes are listed"):
        volume.shares(report, given=Given(FITS, FITS), labels=["fits"])


def test_sectors_of_a_plane_by_direct_draws(tmp_path):
    """Each share within Z standard errors of its sector (false alarms 4e-6 in all): an error of 3 % of one is seen."""
    report = estimate(PLANE, volume.Direct(draws=40_000), seed=3)
    found = volume.shares(report, labels=list(SECTORS))
    for share, (label, truth) in zip(found, SECTORS.items(), strict=True):
        assert share.label == label
        assert abs(share.share - truth) < Z * math.sqrt(truth * (1 - truth) / share.num_within)
        assert share.low < share.share < share.high
    assert {share.label for share in volume.shares(report, top=4)} == set(SECTORS)
    table = estimate(replace(PLANE, classifier=TruthTable()), volume.Direct(draws=40_000), seed=3)
    assert volume.shares(table, given=Given(ONE, TruthTable())) == volume.shares(report)
    again = volume.VolumeReport.load(report.save(tmp_path / "functions.json"))
    assert again.classifier == PLANE.classifier
    assert volume.shares(again) == volume.shares(report)


@pytest.mark.slow
def test_sectors_of_a_plane_by_splitting():
    """Shares and volumes within T7 jackknife errors, taken from the interval's width (false alarms below 1e-5).

    A sliver that few replicates meet is "not resolved", or gets a run of its own.
    """
    labels = [*SECTORS, SLIVER]
    report = estimate(PLANE, replace(SPLITTING, labels=labels, resolve=True), seed=4)
    assert [entry.label for entry in report.entries] == ["fits", *labels]
    t95 = float(-special.stdtrit(7, 0.025))
    for label, truth in SECTORS.items():
        share = report[label].share
        error = (special.logit(share.high) - special.logit(share.low)) / (2 * t95)
        assert error < 0.25  # detects an error of 1.7 times of the odds
        assert abs(special.logit(share.share) - special.logit(truth)) < T7 * error
        assert report[label].log_volume == pytest.approx(report["fits"].log_volume + math.log(share.share))
    own = report[SLIVER]  # by another run
    assert abs(own.log_volume - math.log(SLIVER_SHARE / 2)) < T7 * max(own.spread, 0.05) / math.sqrt(8)
    assert own.spread < 0.5
    assert own.share.low < SLIVER_SHARE < own.share.high


@pytest.mark.slow
def test_functions_that_the_run_chose_are_estimated_by_the_other_replicates():
    report = estimate(PLANE, SPLITTING, seed=5)
    parts = [entry for entry in report.entries if entry.label != "fits"]
    assert {entry.label for entry in parts} >= set(SECTORS)
    assert all(entry.num_replicates == 7 for entry in parts)
    assert all(entry.diagnostics["chosen_by_replicates"] == 1 for entry in parts)
    assert report["fits"].num_replicates == 8
    again = estimate(PLANE, replace(SPLITTING, labels=["11000", SLIVER]), seed=5)  # the same run
    assert again["11000"].log_estimates[1:] == report["11000"].log_estimates
    sliver = again[SLIVER]
    assert sliver.share.num_hit < 4
    assert sliver.share.low == 0 < SLIVER_SHARE < sliver.share.high
    assert "its share is not resolved" in sliver.notes[-1]


@pytest.mark.slow
def test_training_beside_draws_by_functions():
    """A perceptron trained until it fits: runs and draws of every function, given the label, and the same by tables."""
    method = volume.Trained(300, learning_rate=0.5)
    trained = estimate(PLANE, method, seed=1)
    by_tables = volume.Trained(300, learning_rate=0.5, on=ONE)
    tables_of = estimate(replace(PLANE, classifier=TruthTable()), by_tables, seed=1)
    assert {label: trained[label].count for label in SECTORS} == {label: tables_of[label].count for label in SECTORS}
    draws = estimate(PLANE, volume.Direct(draws=40_000), seed=3)
    found = volume.compare(draws, trained)
    assert {row.label for row in found.rows} >= set(SECTORS)
    counts = {share.label: (share.count, share.num_within) for share in volume.shares(draws)}
    assert all((row.hits, found.fits[0]) == counts[row.label] for row in found.rows)
    assert found.fits[1] == 270  # a tenth of the runs chose


def test_exact_counts_within():
    lattice = samplers.Lattice.binary()
    query = volume.Query(models.MLP((2, 2, 1), "relu", bias=False), lattice, SQUARE, TruthTable())
    table = estimate(query, volume.Exact())
    label = max((label for label in table if label[3] == "1"), key=lambda label: table[label].count)
    given = Given(Fits([[1, 1]], "1"), TruthTable())
    report = estimate(replace(query, classifier=given), volume.Exact())
    within = [each for each in table if each[3] == "1"]
    assert sorted(report) == sorted([*within, "outside"])
    assert report[label].count == table[label].count
    (share,) = volume.shares(report, labels=[label])
    assert share.share == share.low == share.high == table[label].count / sum(table[each].count for each in within)


def test_misuse_is_explained():
    large = Predicate(lambda outputs: outputs.max() > 1, names=("small", "large"))
    with pytest.raises(ValueError, match="do not decide its classes"):
        Given(large, TruthTable(), label="large").bind(SQUARE, 1)
    with pytest.raises(ValueError, match="do not decide its classes"):
        Given(GIVEN, TruthTable(), label="0001").bind(SQUARE, 1)
    with pytest.raises(ValueError, match="cannot be combined"):
        (GIVEN * Ones()).bind(SQUARE, 1)
    with pytest.raises(TypeError, match="no numbers that arrays hold"):
        BOUND.classify_keys(tables.pack(np.zeros((1, 4), np.uint8), 1))
    with pytest.raises(KeyError, match="'0000' is not in the class 'fits'"):
        BOUND.index("0000")
    query = volume.Query(models.MLP((2, 3, 1)), samplers.Gaussian(1.0, 0.5), SQUARE, GIVEN)
    for labels, error, sentence in (
        (["0000"], KeyError, "not in the class 'fits'"),
        (["outside"], ValueError, "leave 'outside' out"),
        (["0001", "0001"], ValueError, "each class once"),
    ):
        with pytest.raises(error, match=sentence):
            estimate(query, volume.Splitting(labels=labels))
    with pytest.raises(ValueError, match="cannot both choose functions and estimate them"):
        estimate(query, volume.Splitting(replicates=2))
