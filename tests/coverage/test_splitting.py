"""A tenth of benchmarks/coverage_splitting.py: what is printed of real splitting runs holds as often as it says."""

import math

import pytest

from benchmarks.coverage_splitting import line


def check(row, num_groups, least_printed, least_bound):
    assert row["printed"] * num_groups >= least_printed
    assert row["bound"] * num_groups >= least_bound  # .95 at least, whatever the law
    assert row["z"] is None or abs(row["z"]) < 5
    assert math.isfinite(row["spread"])


def test_limits_of_a_few_groups_hold():
    """Fewer than 11 of 20 groups hold with probability 6e-8 at a coverage of .94, with .98 at one of .3."""
    check(line("half-space 5-d 1e-2", 25, 4, 16, groups=20, seed=11), 20, 11, 11)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "particles", "moves", "points"),
    [("half-space 5-d 1e-2", 25, 4, 16), ("orthant 3-d 1e-6", 100, 8, 8)],
)
def test_printed_limits_hold(name, particles, moves, points):
    """At a true coverage of .94 fewer than 166 of 200 groups hold with probability 4e-8; a coverage of .75 fails here
    with .99. The mean of 1,600 ratios p_hat / p is within 5 standard errors of 1 (false alarms near 1e-6)."""
    check(line(name, particles, moves, points, groups=200, seed=11), 200, 166, 180)
