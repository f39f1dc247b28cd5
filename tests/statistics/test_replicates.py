"""What replicates say, against closed forms and brute force; how often it holds is test_coverage_rare.py's matter."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import special, stats

from volume.statistics import replicates
from volume.statistics.replicates import (
    ideal_spread,
    interval_offsets,
    log_mean,
    log_mean_error,
    lognormal_mean_interval,
    lower_bound,
    lower_bounds,
    reverse_upper_bound,
    share_interval,
    share_intervals,
    share_limits,
    spread,
)

DEAD = -math.inf
LOGS = np.array([-1.3, -0.2, -2.9, -0.7, -1.1, -4.0, -0.4, -1.8])  # skewed to one side: a sign error shows
PARTS = np.array([0.02, 0.3, 0.11, 0.08, 0.01, 0.4, 0.15, 0.05])


# ----------------------------------------------------------------------------------------------- point summaries


def test_mean_spread_and_error_are_the_textbook_ones():
    assert log_mean(LOGS) == pytest.approx(math.log(np.mean(np.exp(LOGS))), abs=1e-13)
    assert spread(LOGS) == pytest.approx(np.std(LOGS, ddof=1), abs=1e-13)
    s = np.std(LOGS, ddof=1)
    assert log_mean_error(LOGS) == pytest.approx(math.sqrt(s**2 / 8 + s**4 / 14), abs=1e-13)


def test_dead_replicates_count_as_zero_and_have_no_spread():
    assert log_mean([0.0, DEAD, DEAD, DEAD]) == pytest.approx(math.log(1 / 4))
    assert log_mean([DEAD, DEAD]) == DEAD
    assert math.isnan(spread([0.0, DEAD]))
    assert math.isnan(log_mean_error([0.0, DEAD]))


def test_ideal_spread():
    assert ideal_spread([0.1] * 6, 100) == pytest.approx(math.sqrt(6 * 0.9 / (0.1 * 100)))
    assert ideal_spread([0.5, 0.2], 50, [0.01, 0.03]) == pytest.approx(math.sqrt((0.01 / 0.25 + 0.03 / 0.04) / 50))
    assert ideal_spread([1.0], 10) == 0


# ------------------------------------------------------------------------------------------------- the interval


@pytest.mark.parametrize("num", [2, 3, 8, 40])
def test_small_spreads_give_students_interval(num):
    # s -> 0: T = m - s t_{R-1} / sqrt(R).
    low, high = interval_offsets(np.array([1e-7]), num, 0.9)
    half = 1e-7 * stats.t.isf(0.05, num - 1) / math.sqrt(num)
    np.testing.assert_allclose([low[0], high[0]], [-half, half], rtol=2e-5)


@pytest.mark.parametrize("num", [2, 8, 40])
def test_large_spreads_give_the_chi_square_interval(num):
    # s -> infinity: T / s^2 = (R-1) / (2 W).
    low, high = interval_offsets(np.array([1e6]), num, 0.9)
    ends = (num - 1) / (2 * stats.chi2.isf([0.05, 0.95], num - 1))
    np.testing.assert_allclose([low[0] / 1e12, high[0] / 1e12], ends, rtol=2e-5)


@pytest.mark.parametrize("num", [2, 3, 8, 32])
@pytest.mark.parametrize("s", [0.05, 0.5, 1.0, 3.0])
def test_percentiles_agree_with_draws_of_t(num, s):
    rng = np.random.default_rng(num)
    z, w = rng.standard_normal(100_000), rng.chisquare(num - 1, 100_000)
    t = -z * s * np.sqrt((num - 1) / (num * w)) + s**2 * (num - 1) / (2 * w)
    for level in (0.5, 0.95):
        low, high = interval_offsets(np.array([s]), num, level)
        tail = (1 - level) / 2
        # 6 standard deviations of a share of 100,000 draws: 2e-9 each, 64 of them. The largest slip is 6e-3 in
        # probability.
        margin = 6 * math.sqrt(tail * (1 - tail) / 100_000)
        assert abs(np.mean(t <= low) - tail) < margin
        assert abs(np.mean(t > high) - tail) < margin


def test_more_nodes_change_nothing(monkeypatch):
    s = np.array([1e-9, 1e-3, 0.2, 1.0, 3.0, 40.0])
    cases = [(num, level) for num in (2, 3, 8, 1000) for level in (0.5, 0.95, 0.9999)]
    before = [np.array(interval_offsets(s, *case)) / s for case in cases]
    monkeypatch.setattr(replicates, "_NODES", 384)
    for case, old in zip(cases, before, strict=True):
        new = np.array(interval_offsets(s, *case)) / s
        np.testing.assert_allclose(new, old, rtol=2e-6 if case[0] == 2 else 1e-8, atol=1e-8, err_msg=str(case))


def test_equal_replicates_have_no_width():
    for value, num in ((-0.1, 7), (-2302.3, 11)):  # plain sums would round to a spread above 0
        assert lognormal_mean_interval([value] * num) == (value, value)


def test_the_upper_side_is_the_long_one():
    low, high = lognormal_mean_interval(LOGS)
    centre = LOGS.mean() + spread(LOGS) ** 2 / 2
    assert 2 * (centre - low) < high - centre


@pytest.mark.parametrize("shift", [-2302.0, -1e5, 40.0])
def test_everything_moves_with_its_input(shift):
    there = [f(LOGS + shift) - shift for f in (log_mean, lower_bound)]
    there += [end - shift for end in lognormal_mean_interval(LOGS + shift)]
    here = [log_mean(LOGS), lower_bound(LOGS), *lognormal_mean_interval(LOGS)]
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-9)
    np.testing.assert_allclose(spread(LOGS + shift), spread(LOGS), atol=1e-9)
    moved, still = share_interval(LOGS + shift, PARTS), share_interval(LOGS, PARTS)
    np.testing.assert_allclose(moved, still, rtol=1e-8)
    assert reverse_upper_bound(LOGS + shift) == pytest.approx(reverse_upper_bound(LOGS) - shift, abs=1e-9)


# ---------------------------------------------------------------------------------------------- bounds by Markov


def e_value(p_hat: np.ndarray, q: float) -> float:
    """E(q) by brute force: all sets of k replicates, one after another."""
    num = len(p_hat)
    terms = [np.mean([np.prod(each) for each in combinations(p_hat, k)]) / q**k for k in range(1, num + 1)]
    return float(np.mean(terms))


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1e-6])
@pytest.mark.parametrize("logs", [[-1.0, -2.0, -4.5], [-1.0, -1.5, DEAD], [0.0, DEAD, DEAD], list(LOGS)])
def test_lower_bound_solves_its_equation(logs, alpha):
    bound = lower_bound(logs, alpha)
    assert e_value(np.exp(logs), math.exp(bound)) == pytest.approx(1 / alpha, rel=1e-9)


def test_lower_bound_of_one_replicate_is_markovs():
    assert lower_bound([-7.0], 0.05) == pytest.approx(-7 + math.log(0.05), abs=1e-12)


def test_two_equal_replicates_solve_a_quadratic():
    # (x + x^2) / 2 = 20, x = p_hat / q.
    x = (-1 + math.sqrt(1 + 160)) / 2
    assert lower_bound([-3.0, -3.0]) == pytest.approx(-3 - math.log(x), abs=1e-12)


def test_lower_bound_with_dead_replicates():
    assert lower_bound([DEAD] * 5) == DEAD
    # One of R alive: only e_1 is left, p_hat / R / R / q = 1 / alpha.
    assert lower_bound([-2.0, *[DEAD] * 7], 0.1) == pytest.approx(-2 + math.log(0.1 / 64), abs=1e-12)
    values = [lower_bound([*LOGS, *[DEAD] * n]) for n in range(4)]
    assert values == sorted(values, reverse=True)


def test_lower_bound_lies_below_the_mean_and_nears_it_with_replicates():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, 256)
    gaps = [log_mean(x[:num]) - lower_bound(x[:num]) for num in (4, 16, 64, 256)]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 0.1


def test_groups_at_once_are_groups_one_by_one():
    x = np.stack([LOGS, LOGS[::-1] - 300, np.where(LOGS < -2, DEAD, LOGS), np.full(8, DEAD)])
    np.testing.assert_allclose(lower_bounds(x, 0.01), [lower_bound(row, 0.01) for row in x], atol=1e-12)


def test_lower_bound_misses_at_most_alpha_where_normal_theory_breaks():
    """p_hat is 0 or 20 p: E[p_hat] = p, one replicate in 20 alive."""
    rng = np.random.default_rng(1)
    x = np.where(rng.random((20_000, 16)) < 0.05, math.log(20), DEAD)
    # Misses are binomial with p <= .2: 6 standard deviations above .2, 1e-9.
    for alpha in (0.05, 0.2):
        assert np.mean(lower_bounds(x, alpha) > 0) <= alpha + 6 * math.sqrt(alpha / 20_000)


def test_reverse_bound_averages_the_inverse_first():
    assert reverse_upper_bound([5.0], 0.05) == pytest.approx(-5 + math.log(20))
    given = [2.0, 5.0, 3.0]
    assert reverse_upper_bound(given, 0.1) == pytest.approx(-math.log(np.mean(np.exp(given))) + math.log(10))


# ------------------------------------------------------------------------------------------------------- shares


def test_share_is_the_ratio_of_sums():
    found = share_interval(LOGS, PARTS)
    p = np.exp(LOGS)
    assert found.share == pytest.approx((p * PARTS).sum() / p.sum())
    assert found.low < found.share < found.high
    assert found.num_hit == 8


def test_share_interval_is_the_wider_of_jackknife_and_two_lognormals():
    p, odds = np.exp(LOGS), []
    for left in range(8):
        q, g = np.delete(p, left), np.delete(PARTS, left)
        odds.append(math.log((q * g).sum() / (q * (1 - g)).sum()))
    error = math.sqrt(7 / 8 * np.sum((np.array(odds) - np.mean(odds)) ** 2))
    part, rest = p * PARTS, p * (1 - PARTS)
    degrees = min(each.sum() ** 2 / (each**2).sum() for each in (part, rest)) - 1
    centre, t = math.log(part.sum() / rest.sum()), stats.t.isf(0.025, degrees)

    a, b = np.log(part), np.log(rest)
    (s2, c), (_, r2) = np.cov(a, b)
    rho = (c / 8 + c**2 / 14) / math.sqrt((s2 / 8 + s2**2 / 14) * (r2 / 8 + r2**2 / 14))
    l1, u1 = lognormal_mean_interval(a)
    l2, u2 = lognormal_mean_interval(b)
    m1, m2 = a.mean() + s2 / 2, b.mean() + r2 / 2
    low = m1 - m2 - math.sqrt((m1 - l1) ** 2 + (u2 - m2) ** 2 - 2 * rho * (m1 - l1) * (u2 - m2))
    high = m1 - m2 + math.sqrt((u1 - m1) ** 2 + (m2 - l2) ** 2 - 2 * rho * (u1 - m1) * (m2 - l2))

    found = share_interval(LOGS, PARTS)
    assert special.logit(found.low) == pytest.approx(min(low, centre - t * error), abs=1e-8)
    assert special.logit(found.high) == pytest.approx(max(high, centre + t * error), abs=1e-8)


def test_a_replicate_without_hits_counts_as_half_the_least_fraction():
    g = np.where(np.arange(8) == 2, 0.0, PARTS)
    x = -np.log1p(-g)  # the complement is then the same in all replicates, and only the part's interval is left
    low, high = replicates._two_lognormal(x[None], g[None], 0.9)
    expected = lognormal_mean_interval(x + np.log(np.where(g > 0, g, 0.005)), 0.9)
    np.testing.assert_allclose([low[0], high[0]], expected, atol=1e-9)


@pytest.mark.parametrize("num_hit", [0, 1, 3, 4, 5, 7, 8])
def test_a_part_and_its_complement_have_mirrored_limits(num_hit):
    g = np.where(np.arange(8) < num_hit, PARTS, 0.0)
    part, rest = share_interval(LOGS, g), share_interval(LOGS, 1 - g)
    np.testing.assert_allclose([rest.share, rest.low, rest.high], [1 - part.share, 1 - part.high, 1 - part.low])
    assert part.num_hit == num_hit
    assert (part.low > 0) == (num_hit >= 4)


@pytest.mark.parametrize("num", [4, 8, 32])
def test_never_hit_has_clopper_and_pearsons_limit(num):
    found = share_interval(np.full(num, -2302.0), np.zeros(num))
    assert (found.share, found.low, found.num_hit) == (0, 0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / num), rel=1e-9)
    small = share_interval(np.full(num, -2302.0), np.zeros(num), cluster=0.01)
    assert small.high == pytest.approx(-math.log(0.025) * 0.01 / num, rel=0.02)  # 3.7 clusters


def test_unequal_replicates_count_for_fewer_and_hits_raise_the_limit():
    even = share_interval(np.zeros(8), np.zeros(8)).high
    assert share_interval(LOGS, np.zeros(8)).high > even
    limits = [share_interval(np.zeros(8), np.where(np.arange(8) < n, 0.5, 0.0)).high for n in range(4)]
    assert limits == sorted(limits)


def test_few_replicates_resolve_nothing():
    assert share_interval([-1.0, -2.0], [0.3, 0.4])[1:3] == (0, 1)
    assert share_interval([-1.0, -2.0, DEAD], [0.3, 0.0, math.nan])[1:] == (0, 1, 1)
    found = share_interval([DEAD, DEAD], [math.nan, math.nan])
    assert math.isnan(found.share)
    assert found[1:] == (0, 1, 0)


def test_dead_replicates_are_left_out():
    dead = share_interval([*LOGS, DEAD, DEAD], [*PARTS, math.nan, 0.5])
    assert dead == share_interval(LOGS, PARTS)


def test_several_parts_are_the_parts_one_by_one():
    g = np.stack([PARTS, np.zeros(8), 1 - PARTS, np.where(LOGS < -1, 0.1, 0)], axis=1)
    together = share_intervals(LOGS, g, 0.9)
    for k in range(4):
        one = share_interval(LOGS, g[:, k], 0.9)
        np.testing.assert_allclose([column[k] for column in together], one, rtol=1e-9, atol=1e-12)
    swapped = share_limits(LOGS, g.T, 0.9)
    np.testing.assert_array_equal(swapped.low, together.low)


def test_one_replicate_that_carries_all_is_told_apart_from_many():
    heavy = np.array([0.0, *[-20.0] * 7])
    found = share_interval(heavy, PARTS)
    assert found.low < 0.005  # the others lie between .01 and .4
    assert found.high > 0.5


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: log_mean([]), r"shape \(0,\).*R >= 1"),
        (lambda: spread([-1.0]), r"shape \(1,\).*R >= 2"),
        (lambda: lognormal_mean_interval([[-1.0, -2.0]]), r"shape \(1, 2\)"),
        (lambda: lognormal_mean_interval([-1.0, DEAD, DEAD]), "2 of 3 replicates that died.*lower_bound"),
        (lambda: lognormal_mean_interval([-1.0, math.nan]), "nan"),
        (lambda: lognormal_mean_interval([-1.0, -2.0], 95), "level=95"),
        (lambda: lower_bound([math.inf]), "inf"),
        (lambda: lower_bound([-1.0], 0.0), "alpha=0.0"),
        (lambda: reverse_upper_bound([DEAD]), "log_inverse has -inf"),
        (lambda: share_interval(LOGS, PARTS[:4]), r"\(4, 1\) for 8 replicates"),
        (lambda: share_interval(LOGS, PARTS[:, None]), "share_intervals takes"),
        (lambda: share_interval(LOGS, PARTS * 5), "outside"),
        (lambda: share_interval(LOGS, np.where(LOGS < -3, math.nan, PARTS)), "nan"),
        (lambda: share_interval(LOGS, PARTS, 1.0), "level=1.0"),
        (lambda: share_interval(LOGS, PARTS, cluster=0), "cluster=0"),
        (lambda: ideal_spread([0.0, 0.5], 10), "means above 0"),
        (lambda: ideal_spread([0.5], 0), "num_particles=0"),
    ],
)
def test_impossible_arguments_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
