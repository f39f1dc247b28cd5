"""Intervals against closed forms, published values and each other; how often they hold is test_coverage.py's matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from volume.statistics.counts import Tally
from volume.statistics.intervals import (
    clopper_pearson,
    cluster_at_zero,
    design_effect,
    fay_feuer,
    interval,
    largest_share,
)


def tally_of(matrix) -> Tally:
    """Column sums of a dense [B, K] matrix of hits."""
    k = np.asarray(matrix, np.int64)
    return Tally(k.sum(0), (k * k).sum(0), k.max(0), (k > 0).sum(0))


def linear(limits) -> np.ndarray:
    return np.exp(np.array(limits, float)).reshape(2, -1)


# ------------------------------------------------------------------------------------------- Clopper-Pearson


def test_one_in_ten_is_the_textbook_interval():
    # R: binom.test(1, 10)$conf.int
    np.testing.assert_allclose(linear(clopper_pearson(1, 10))[:, 0], [0.002528579, 0.445016117], rtol=1e-6)


@pytest.mark.parametrize("draws", [1, 7, 1000, 10**9, 1e100, 1e300])
def test_no_hits_and_only_hits_are_closed_forms(draws):
    low, high = clopper_pearson([0, draws], draws)
    assert low[0] == -np.inf
    assert high[1] == 0.0
    all_missed = math.log(0.025) / draws  # log of (alpha/2)^(1/n), the n-th root of the chance to miss n times
    np.testing.assert_allclose(high[0], math.log(-math.expm1(all_missed)), rtol=1e-10)
    np.testing.assert_allclose(low[1], all_missed, rtol=1e-10)


def test_limits_leave_exactly_half_of_alpha_in_each_tail():
    n, y = 50, np.arange(1, 50)
    low, high = clopper_pearson(y, n, 0.9)
    for k, a, b in zip(y, np.exp(low), np.exp(high), strict=True):
        chance = [math.comb(n, i) * b**i * (1 - b) ** (n - i) for i in range(k + 1)]
        assert math.fsum(chance) == pytest.approx(0.05, rel=1e-10)
        chance = [math.comb(n, i) * a**i * (1 - a) ** (n - i) for i in range(k, n + 1)]
        assert math.fsum(chance) == pytest.approx(0.05, rel=1e-10)


def test_coverage_is_never_below_the_level_summed_over_all_outcomes():
    for n in (10, 97):
        low, high = linear(clopper_pearson(np.arange(n + 1), n))
        for p in np.linspace(0.003, 0.997, 331):
            holds = (low <= p) & (p <= high)
            assert stats.binom.pmf(np.arange(n + 1), n, p)[holds].sum() >= 0.95


@pytest.mark.parametrize("draws", [1e12, 1e30, 1e300])
def test_rare_classes_have_the_poisson_limits(draws):
    count = np.array([1.0, 2, 5, 1000, 12_345])
    low, high = clopper_pearson(count, draws)
    np.testing.assert_allclose(low + math.log(draws), np.log(stats.gamma.ppf(0.025, count)), rtol=0, atol=1e-7)
    np.testing.assert_allclose(high + math.log(draws), np.log(stats.gamma.isf(0.025, count + 1)), rtol=0, atol=1e-7)


def test_a_thousand_hits_in_a_billion_draws():
    # scipy.stats.beta.ppf(.025, 1000, 1e9 - 999) is twice the true value: a = 1000 exactly takes a broken branch.
    low, high = clopper_pearson([999, 1000, 1001], 10**9)
    poisson = stats.gamma.ppf(0.025, [999, 1000, 1001]), stats.gamma.isf(0.025, [1000, 1001, 1002])
    np.testing.assert_allclose(np.exp(low) * 1e9, poisson[0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(high) * 1e9, poisson[1], rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 1e-6, 1e-12])
def test_limits_solve_their_equation_at_all_sizes(alpha):
    rng = np.random.default_rng(0)
    draws = np.round(np.exp(rng.uniform(0, 25, 3000)))
    count = np.round(draws * rng.uniform(0, 1, 3000) ** rng.integers(1, 12, 3000))
    low, high = linear(clopper_pearson(count, draws, 1 - alpha))
    inner = (count > 0) & (low < 1 - 1e-6)
    tail = special.betainc(count[inner], (draws - count + 1)[inner], low[inner])
    np.testing.assert_allclose(tail, alpha / 2, rtol=1e-4)
    inner = (count < draws) & (high < 1 - 1e-6)
    tail = special.betaincc(count[inner] + 1, (draws - count)[inner], high[inner])
    np.testing.assert_allclose(tail, alpha / 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("count", "draws", "level", "word"), [(11, 10, 0.95, "count"), (-1, 10, 0.95, "count"), (1, 10, 95, "level=95")]
)
def test_impossible_arguments_are_refused(count, draws, level, word):
    with pytest.raises(ValueError, match=word):
        clopper_pearson(count, draws, level)


# ------------------------------------------------------------------------------------------------ clustered


def test_without_clusters_it_is_clopper_pearson():
    y = np.array([1, 2, 5, 40, 3000])
    units = 10**6
    clustered = linear(fay_feuer(Tally(y, y, np.ones_like(y), y), units, 10, cluster=1.0))
    np.testing.assert_allclose(clustered, linear(clopper_pearson(y, 10 * units)), rtol=2e-3)


def test_equal_clusters_are_clopper_pearson_at_the_effective_size():
    clusters, size, units = np.array([1, 2, 5, 40, 3000]), 12, 10**6
    y = clusters * size
    clustered = linear(fay_feuer(Tally(y, y * size, np.full_like(y, size), clusters), units, 20))
    np.testing.assert_allclose(clustered, linear(clopper_pearson(clusters, 20 * units / size)), rtol=2e-3)


def test_a_class_and_its_complement_have_mirrored_limits():
    rng = np.random.default_rng(1)
    k = np.where(rng.random((40, 5)) < [0.1, 0.3, 0.5, 0.6, 0.9], 30, 0)  # all or nothing: both minima are 0
    low, high = linear(fay_feuer(tally_of(k), 40, 30))
    other_low, other_high = linear(fay_feuer(tally_of(30 - k), 40, 30))
    np.testing.assert_allclose(low, 1 - other_high, rtol=1e-9)
    np.testing.assert_allclose(high, 1 - other_low, rtol=1e-9)


def test_fay_and_feuer_formula_in_the_middle():
    # Few hits of many draws: the gamma form of Fay and Feuer 1997, with v inflated by (t/z)^2 and w by 1 + 1.5/sqrt(B).
    rng = np.random.default_rng(2)
    units, size = 400, 10**6
    k = rng.negative_binomial(0.2, 0.05, units)
    y, v = k.sum(), units * k.var(ddof=1) * (stats.t.isf(0.025, units - 1) / stats.norm.isf(0.025)) ** 2
    w = (k.max() - k.mean()) * (1 + 1.5 / math.sqrt(units))
    low = v / (2 * y) * stats.chi2.ppf(0.025, 2 * y**2 / v) / (units * size)
    high = (v + w * w) / (2 * (y + w)) * stats.chi2.isf(0.025, 2 * (y + w) ** 2 / (v + w * w)) / (units * size)
    np.testing.assert_allclose(linear(fay_feuer(tally_of(k[:, None]), units, size))[:, 0], [low, high], rtol=2e-3)


def test_no_hits_allow_3_7_clusters():
    low, high = fay_feuer(tally_of(np.zeros((1000, 1))), 1000, 128, cluster=100.0)
    assert low[0] == -np.inf
    np.testing.assert_allclose(np.exp(high[0]), -math.log(0.025) * 100 / 128_000, rtol=2e-3)


def test_only_hits_allow_3_7_clusters_of_misses():
    low, high = fay_feuer(tally_of(np.full((1000, 1), 128)), 1000, 128, cluster=100.0)
    assert high[0] == 0.0
    np.testing.assert_allclose(-low[0], -math.log(0.025) * 100 / 128_000, rtol=3e-3)


def test_equal_hits_in_all_units_are_not_taken_for_certainty():
    k = np.full((30, 1), 4)
    low, high = fay_feuer(tally_of(k), 30, 10)
    binomial = clopper_pearson(120, 300)
    assert low[0] <= binomial[0] + 0.02
    assert high[0] >= binomial[1] - 0.02


def test_one_unit_knows_nothing_and_two_know_little():
    assert [x[0] for x in fay_feuer(tally_of([[5]]), 1, 10)] == [-np.inf, 0.0]
    low, high = linear(fay_feuer(tally_of([[5], [1]]), 2, 10))
    assert 0 <= low[0] < 0.01
    assert 0.9 < high[0] <= 1


@pytest.mark.parametrize("p", [1e-4, 0.02, 0.5, 0.98])
def test_limits_are_ordered_and_inside(p):
    rng = np.random.default_rng(3)
    k = rng.binomial(50, rng.beta(p, 1 - p, (60, 500)))
    tally = tally_of(k)
    log_volume, low, high = interval(tally, 60, 50, independent=False, cluster=50)
    assert np.all(low <= log_volume)
    assert np.all(log_volume <= high)
    assert np.all(high <= 0)
    wider = interval(tally, 60, 50, independent=False, cluster=50, level=0.99)
    assert np.all(wider[1] <= low)
    assert np.all(wider[2] >= high)


# ------------------------------------------------------------------------------------------------ the entry


@pytest.mark.parametrize("independent", [True, False])
def test_millions_of_classes_share_their_limits_with_single_ones(independent):
    rng = np.random.default_rng(4)
    k = rng.binomial(3, rng.beta(0.1, 2, (30, 400)))
    tally = tally_of(k)
    together = interval(tally, 30, 3, independent=independent, cluster=2)
    for i in range(0, 400, 7):
        alone = interval(Tally(*(column[i : i + 1] for column in tally)), 30, 3, independent=independent, cluster=2)
        np.testing.assert_allclose([x[i] for x in together], [x[0] for x in alone], rtol=1e-12)


def test_simultaneous_intervals_spend_alpha_over_k():
    tally = tally_of([[3], [5], [0], [1]])
    together = interval(tally, 4, 10, independent=True, simultaneous=10)
    np.testing.assert_allclose(together[1:], clopper_pearson([9], 40, 0.995), rtol=1e-12)
    with pytest.raises(ValueError, match="simultaneous=0"):
        interval(tally, 4, 10, independent=True, simultaneous=0)


def test_without_a_known_cluster_a_whole_unit_is_assumed():
    nothing = tally_of(np.zeros((100, 1)))
    np.testing.assert_array_equal(
        interval(nothing, 100, 8, independent=False), interval(nothing, 100, 8, independent=False, cluster=8)
    )


def test_no_classes_and_no_draws():
    empty = np.zeros(0, np.int64)
    assert [len(x) for x in interval(Tally(empty, empty, empty, empty), 10, 5, independent=False)] == [0, 0, 0]
    with pytest.raises(ValueError, match="0 units"):
        interval(tally_of([[0]]), 0, 5, independent=True)


# ------------------------------------------------------------------------------------- design effect and clusters


def test_design_effect_is_a_ratio_of_variances():
    k = np.array([[3, 0, 5, 1], [0, 0, 5, 0], [4, 0, 5, 1], [1, 0, 5, 0]])
    effect = design_effect(tally_of(k), 4, 5)
    np.testing.assert_allclose(effect[0], 4 * k[:, 0].var(ddof=1) / (20 * 0.4 * 0.6))
    assert np.isnan(effect[1])
    assert np.isnan(effect[2])
    np.testing.assert_allclose(largest_share(tally_of(k)), [0.5, np.nan, 0.25, 0.5])


def test_cluster_at_zero_reads_the_rare_classes():
    def rare(sizes, counts):
        y = np.repeat(sizes, counts)
        return Tally(y, y * y, y, np.ones_like(y))

    assert cluster_at_zero(rare([1], [999]), 128) == 128  # too few classes to prove anything
    assert cluster_at_zero(rare([1], [1000]), 128) == 1
    assert cluster_at_zero(rare([1, 3], [100_000, 500]), 128) == 3  # 1.5 % of the hits come three at a time
    assert cluster_at_zero(rare([1, 3], [100_000, 200]), 128) == 1  # .6 %
    assert cluster_at_zero(rare([64], [5000]), 128) == 64
    assert cluster_at_zero(rare([64], [5000]), 20) == 20  # never above the limit
    many = Tally(*(np.full(5000, value) for value in (40, 40, 1, 40)))
    assert cluster_at_zero(many, 128) == 128  # classes hit in 40 units are not as rare as those never seen
    assert cluster_at_zero(tally_of(np.zeros((3, 0))), 128) == 128
