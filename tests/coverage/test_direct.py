"""Do the printed 95 % intervals hold? A tenth of benchmarks/coverage.py, and the whole library on exact plane
truths.

How lines are judged: with n intervals a line, misses are compared with the 1e-9 quantile of Binomial(n, .055)
(coverage .945); all lines of a section together with 5 standard deviations (3e-7). About 140 lines and 5
sums: false alarm below 2e-6 for intervals that cover .945, and below 1e-9 for those of the full grade, which
cover .95 or more nearly everywhere. Detects: a line of 1,000 whose coverage is below .87, or a section whose
mean coverage is below .940.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

import volume
from benchmarks import coverage as bench
from volume import models, samplers

SEEDS = 1000  # the full grade takes 10,000


def rows_of(jobs: Sequence[Any], seeds: int = SEEDS) -> list[dict[str, Any]]:
    streams = np.random.SeedSequence(20).spawn(len(jobs))
    return [job.grade(np.random.default_rng(stream), seeds) for job, stream in zip(jobs, streams, strict=True)]


def check_coverage(rows: list[dict[str, Any]]) -> None:
    total = misses = 0
    for row in rows:
        n, missed = row["intervals"], round((1 - row["coverage"]) * row["intervals"])
        assert missed <= stats.binom.isf(1e-9, n, 0.055), row
        total, misses = total + n, misses + missed
    assert misses <= 0.055 * total + 5 * np.sqrt(0.055 * total), f"{misses} of {total} intervals missed"


def check_width(rows: list[dict[str, Any]], most: float) -> None:
    """The requirement is 1.3 for expected counts of 5 and more; 1,000 runs know a mean width to 1 %."""
    for row in rows:
        if row["expected"] >= 5 and row["p"] <= 0.5:
            assert 0.95 < row["width"] < most, row


def test_independent_draws():
    rows = rows_of([job for job in bench.jobs() if isinstance(job, bench.Independent)])
    check_coverage(rows)
    check_width(rows, 1.05)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 8])
def test_heads_on_bodies(width):
    rows = rows_of([job for job in bench.cases() if job.bodies == 1 and job.width == width and job.level == 0.95])
    assert len(rows) >= 19
    check_coverage(rows)
    check_width(rows, 1.33)


@pytest.mark.slow
def test_crossed_heads():
    rows = rows_of([job for job in bench.cases() if job.bodies > 1])
    check_coverage(rows)
    check_width(rows, 1.33)


def test_rare_classes_with_the_cluster_that_the_run_suggests():
    rows = rows_of([bench.Rare(1, 4000), bench.Rare(2, 4000), bench.Rare(64, 1000)])
    check_coverage(rows)
    one, two, wide = (row["clump_at_zero"] for row in rows)
    assert 50 < one <= 100  # half of 100 heads, and fluctuations
    assert two <= 5
    assert wide == 1  # no clustering: the limits of independent draws


@pytest.mark.slow
def test_unseen_mass():
    check_coverage(rows_of(list(bench.worlds())))


def test_an_interval_that_forgets_clusters_is_caught():
    """The grade itself has power: binomial limits on clustered counts fail it."""
    tally = bench.plane.heads_on_bodies(np.random.default_rng(0), 200, 1000, 128, 1, 0.03)
    low, high = bench.clopper_pearson(tally.count, 128_000)
    row = bench.grade("naive", 0.03, tally, 1000, 128, low, high, effect=None)
    assert row["coverage"] < 0.5
    with pytest.raises(AssertionError):
        check_coverage([row])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "method"),
    [
        (1, volume.Direct(draws=16_000, heads=20, bodies=8)),
        (2, volume.Direct(draws=4_000, heads=20, bodies=1)),
        (8, volume.Direct(draws=4_000, heads=1)),
    ],
)
def test_estimate_on_the_plane(width, method):
    """The whole library: 200 runs of `volume.estimate`, whose six classes are sectors with p = angle / 2
    pi."""
    angles = np.array([0.0, 0.06 * np.pi, 0.4 * np.pi])
    points = volume.Points(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    model = models.MLP((2, width, 1), activation="linear", bias=False)
    query = volume.Query(model, samplers.Gaussian(), points)
    # The output at x is u.x, u of uniform direction: going round, the signs change at angle +- pi/2, one at a
    # time. Sectors of angle .06, .34, .6 pi; each twice, u and -u.
    truth = {"100": 0.03, "011": 0.03, "110": 0.17, "001": 0.17, "111": 0.3, "000": 0.3}
    runs = 200
    missed = dict.fromkeys(truth, 0)
    counts = np.empty((runs, len(truth)))
    for seed in range(runs):
        report = volume.estimate(query, method, seed=seed)
        for i, (label, p) in enumerate(truth.items()):
            found = report[label]
            counts[seed, i] = found.count / report.counts.num_draws
            missed[label] += not found.log_low <= np.log(p) <= found.log_high
    # 18 lines with alarm 1e-9 each at coverage .945; detects coverage below .75 (binomial limits at h = 1:
    # .4).
    for label, misses in missed.items():
        assert misses <= stats.binom.isf(1e-9, runs, 0.055), (label, missed)
    # |z| > 6.5: 3e-9 with 199 degrees of freedom, 18 means. Detects biases of 7 standard errors: 3 % to 17 %
    # of p.
    error = counts.std(axis=0, ddof=1) / np.sqrt(runs)
    assert np.all(np.abs(counts.mean(axis=0) - list(truth.values())) < 6.5 * error)
