"""A tenth of benchmarks/coverage_splitting.py: what is printed of real splitting runs holds as often as it says."""

import math

import pytest

from benchmarks.coverage_splitting import line

GROUPS = 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "particles", "moves", "points"),
    [
        ("half-space 5-d 1e-2", 25, 4, 16),
        ("orthant 3-d 1e-6", 100, 8, 8),
        ("sine, 5 points", 32, 4, 4),
        ("exclusive or, tanh 2-3-1", 32, 4, 4),
    ],
)
def test_printed_limits_hold(name, particles, moves, points):
    """At a true coverage of .94 fewer than 166 of 200 groups hold with probability 4e-8; a coverage of .75 fails here
    with .99. The mean of 1,600 ratios p_hat / p is within 5 standard errors of 1 (false alarms near 1e-6)."""
    row = line(name, particles, moves, points, groups=GROUPS, seed=11)
    assert row["as_interval"] > 0.5
    # Of what is printed as an interval; at the true rate of .02 fewer than 1e-6 fail here.
    assert row["gated_low"] * row["as_interval"] * GROUPS <= 16
    assert row["gated_high"] * row["as_interval"] * GROUPS <= 16
    assert row["printed"] * GROUPS >= 166
    assert row["bound"] * GROUPS >= 180  # .95 at least, whatever the law
    assert row["z"] is None or abs(row["z"]) < 5
    assert math.isfinite(row["spread"])
