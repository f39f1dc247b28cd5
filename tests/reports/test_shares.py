"""Shares within what is given: exact cases, coverage where truths are known, and what is said when little was seen."""

import json
import math

import numpy as np
import pytest
from example_reports import make, table_counts
from scipy import stats

import volume
from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.ones import Ones
from volume.functions.domains import BooleanCube
from volume.reports.shares import ratio_limits
from volume.statistics.counts import Counts

# Input 3 (11) decided 1, split by whether inputs 0 and 1 are 0 and 1.
GIVEN = Given(Fits([[1, 1]], "1"), Accuracy([[0, 0], [0, 1]], "01"))


def by_table(hits, **more):
    """A report of truth tables with these hits, {label: hits of every unit}."""
    units = len(next(iter(hits.values())))
    matrix = np.zeros((units, 16), int)
    for label, column in hits.items():
        matrix[:, int(label, 2)] = column
    return make(table_counts(matrix, **more))


def test_independent_draws_are_binomial_given_what_is_drawn():
    report = by_table(
        {"0000": [50, 30], "0101": [7, 5], "0111": [3, 1], "1011": [2, 0], "0011": [4, 6]}, independent=True
    )
    found = volume.shares(report, 0.9, given=GIVEN)
    assert [share.label for share in found] == ["0/2", "1/2", "2/2"]
    assert [share.count for share in found] == [2, 10, 16]  # 1011: both wrong; 0011: input 1 wrong
    for share in found:
        exact = stats.binomtest(share.count, 28).proportion_ci(0.9, method="exact")
        assert share.share == share.count / 28
        assert (share.low, share.high) == pytest.approx((exact.low, exact.high), rel=1e-9)
        assert (share.num_within, share.units_hit, share.level) == (28, share.count, 0.9)
    assert [share.resolved for share in found] == [False, True, True]
    assert found[0].note == f"not resolved below {found[0].high:.2g}"
    assert found[1].note == ""
    assert volume.shares(report.group_by(GIVEN)) == volume.shares(report, given=GIVEN)
    assert json.loads(json.dumps(found[0].to_dict()))["share"] == 2 / 28


def test_clustered_draws_widen_the_interval_and_units_decide_what_is_resolved():
    rng = np.random.default_rng(0)
    within = rng.integers(0, 41, 60)
    mixed = rng.binomial(within, 0.25)
    whole = np.where(np.arange(60) % 4 == 0, within, 0)  # the same share, in a quarter of the units
    ends = {}
    for name, part in (("mixed", mixed), ("whole", whole)):
        report = by_table({"0000": 100 - within, "0011": part, "0101": within - part})
        _, half, right = volume.shares(report, given=GIVEN)
        assert half.count == part.sum()
        assert half.units_hit == (part > 0).sum()
        assert half.low + right.high == pytest.approx(1, abs=1e-9)  # two shares that sum to 1 mirror each other
        assert half.high + right.low == pytest.approx(1, abs=1e-9)
        assert half.low < half.share < half.high
        ends[name] = half.high - half.low
    assert ends["whole"] > 3 * ends["mixed"]

    three = np.where(np.arange(60) < 3, 5, 0)
    report = by_table({"0000": np.full(60, 80), "0011": three, "0101": 20 - three})
    none, half, right = volume.shares(report, given=GIVEN)
    assert (none.count, none.low, none.share) == (0, 0, 0)
    assert none.note.startswith("not resolved below 0.")
    assert (half.units_hit, half.resolved) == (3, False)
    assert right.resolved
    assert none.high > 1 - 0.025 ** (1 / 1200)  # more than 1,200 independent draws without a hit would say


def test_ratio_limits_cover():
    """Units whose size n_b and share are both clustered, the share rising with n_b: truth in closed form.

    n_b ~ Binomial(50, p), p ~ Beta(2, 8) and a share of p itself: r = E[p^2]/E[p] = 3/11. If truly .95 is covered, 355
    or fewer of 400 runs have probability 4.6e-7; a coverage of .85 is found with probability .99.
    """
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        p = rng.beta(2, 8, 100)
        within = rng.binomial(50, p)
        hits = rng.binomial(within, p)
        low, high = ratio_limits(hits[None], within, 0.95, 50)
        covered += bool(low[0] <= 3 / 11 <= high[0])
    assert stats.binom.cdf(355, 400, 0.95) < 1e-6
    assert covered > 355


def test_few_units_say_nothing():
    hits = {"0000": [90] * 4, "0011": [5] * 4, "0101": [5] * 4}
    found = volume.shares(by_table(hits), given=GIVEN)
    assert [(share.low, share.high) for share in found] == [(0, 1)] * 3
    for independent in (False, True):
        found = volume.shares(by_table({"0000": [90, 10]}, independent=independent), given=GIVEN)
        assert all(math.isnan(share.share) and (share.low, share.high) == (0, 1) for share in found)
        assert all("nothing that is given was drawn" in share.note for share in found)
        assert found[0].to_dict()["share"] is None


def test_a_report_over_given_itself():
    matrix = np.array([[1, 3, 6, 90], [0, 2, 7, 91]])
    counts = Counts.from_dense(matrix, unit_size=100, independent=True, nonfinite=np.zeros(2, int))
    report = make(counts, classifier=GIVEN, domain=BooleanCube(2))
    assert [share.count for share in volume.shares(report)] == [1, 5, 13]
    assert volume.shares(report, given=GIVEN) == volume.shares(report)


def test_sentences_for_misuse():
    report = by_table({"0000": [5, 5]})
    with pytest.raises(ValueError, match=r"one of TruthTable, .* pass given="):
        volume.shares(report)
    with pytest.raises(TypeError, match=r"is no volume\.Given"):
        volume.shares(report, given=Ones())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"takes a report, as volume\.estimate returns it"):
        volume.shares("report.json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level=95"):
        volume.shares(report, 95, given=GIVEN)
