"""No result is wrong silently for the scale of weights or inputs: rescaled exactly, or counted and said."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

import volume
from volume.models import MLP
from volume.samplers import Gaussian, Lattice

POINTS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))[1:]
DEEP = MLP((3, 8, 8, 8, 8, 8, 1), bias=False)
TANH = MLP((3, 8, 8, 1), "tanh", bias=False)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])


def per_layer(value, layers=6):
    # One number a layer, as a rescaled prior has it: all of these runs share one program.
    return Gaussian((value,) * layers, (0.0,) * layers, (0.0,) * layers)


def drawn(prior, points=POINTS, draws=20_000, **how):
    query = volume.Query(DEEP, prior, volume.Points(points))
    return volume.estimate(query, volume.Direct(draws=draws, **how), seed=0)


def same_counts(a, b):
    return all(np.array_equal(getattr(a.counts, name), getattr(b.counts, name)) for name in ("keys", "unit", "hits"))


def test_no_scale_of_weights_or_inputs_changes_a_count():
    plain = drawn(per_layer(1.0))
    assert plain["0" * 7].count == 6714  # .336
    for power in (-20, -30, 40, -200):
        moved = drawn(per_layer(2.0**power))
        assert same_counts(moved, plain)
        assert moved.run["near_ties"] == plain.run["near_ties"]
        assert moved.run["vanished"] == moved.num_nonfinite == 0
        assert moved.description["prior"]["weight_std"][0] == 2.0**power  # what was asked, not what was computed
    rows = 2.0 ** np.array([100, -100, 0, 120, -140, 5, -5])[:, None]
    assert same_counts(drawn(per_layer(1.0), POINTS * rows), plain)
    # Of a size that is no power of two the roundings differ: each near tie may fall otherwise.
    other = drawn(per_layer(1e-20))
    assert abs(other["0" * 7].count - 6714) <= plain.run["near_ties"] + other.run["near_ties"]


@pytest.mark.slow
def test_float64_and_biases_keep_their_counts_too():
    for model, priors in (
        (DEEP, (Gaussian(1.0), Gaussian(2.0**-600), Gaussian(2.0**400))),
        (MLP((3, 8, 8, 1)), [Gaussian(2.0**k, tuple(2.0 ** (k * n) for n in (1, 2, 3))) for k in (0, -300, 150)]),
    ):
        reports = [
            volume.estimate(
                volume.Query(model, prior, volume.Points(POINTS)), volume.Direct(draws=20_000, dtype="float64"), seed=1
            )
            for prior in priors
        ]
        assert all(same_counts(report, reports[0]) and report.run["vanished"] == 0 for report in reports)


def test_where_nothing_can_be_rescaled_draws_are_counted_as_undecided():
    query = volume.Query(TANH, Gaussian(2.0**-60), volume.Points(POINTS), volume.Ones())
    report = volume.estimate(query, volume.Direct(draws=4_000), seed=0, level=1 - 1e-7)
    assert report.run["vanished"] == report.num_nonfinite > 3_500
    # Tanh is the identity at this size: the truth is that of a linear network, 1/8 for each number of ones.
    for entry in report.classes():
        assert math.exp(entry.log_low) <= 1 / 8 <= math.exp(entry.log_high)
        assert math.exp(entry.log_high) > 0.9
    assert report.num_classes == 4  # of 8: those never hit hold a half
    assert report.unseen.low <= 1 / 2 <= 0.9 < report.unseen.high
    assert any("vanish or overflow in float32" in sentence for sentence in report.warnings)
    again = volume.merge([report, volume.estimate(query, volume.Direct(draws=4_000), seed=1, level=1 - 1e-7)])
    assert again.run["vanished"] > 7_000
    with pytest.raises(ValueError, match="cannot be compared"):
        volume.compare(report, dataclasses.replace(report, seed=1, run={**report.run, "vanished": 0}))


def test_nothing_is_unseen_where_every_class_was_hit_whatever_is_undecided():
    # At 2^-57 the limits above hold again, and all 8 numbers of ones were hit: what is undecided is one of them.
    query = volume.Query(TANH, Gaussian(2.0**-57), volume.Points(POINTS), volume.Ones())
    report = volume.estimate(query, volume.Direct(draws=4_000), seed=0, level=1 - 1e-7)
    assert report.run["vanished"] > 200
    assert report.unseen_estimate.high > 0.01
    assert (report.unseen.low, report.unseen.mass, report.unseen.high) == (0, 0, 0)
    for entry in report.classes():
        assert math.exp(entry.log_low) <= 1 / 8 <= math.exp(entry.log_high)


@pytest.mark.parametrize(
    "method",
    [volume.Splitting(particles=8, moves=2, replicates=2), volume.Trained(runs=2), volume.Exact()],
    ids=["splitting", "trained", "exact"],
)
def test_methods_that_cannot_count_such_networks_refuse_them(method):
    prior = Lattice((-1e-30, 1e-30)) if isinstance(method, volume.Exact) else Gaussian(1e-30)
    query = volume.Query(TANH, prior, volume.Points(POINTS), volume.Fits(POINTS, LABELS))
    with pytest.raises(ValueError, match="vanish or overflow in float32"):
        volume.estimate(query, method, seed=0)


def test_exact_counts_and_wide_limits_do_not_depend_on_the_scale():
    points = volume.Points(POINTS)
    small = MLP((3, 1, 1), bias=False)
    counts = [
        volume.estimate(volume.Query(small, Lattice((-s, 0, s)), points, volume.Ones()), volume.Exact(), seed=0)
        for s in (1.0, 2.0**-60, 2.0**60)
    ]
    assert all(np.array_equal(each.counts.hits, counts[0].counts.hits) for each in counts)
    values = [
        volume.infinite_width(
            volume.Query(DEEP, Gaussian(size), volume.Points(POINTS * scale), volume.Fits(POINTS * scale, LABELS))
        ).log_probability
        for size, scale in ((1.0, 1.0), (1e-100, 1.0), (1.0, 1e200), (1e150, 1e-100))
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


@pytest.mark.slow
def test_splitting_gives_the_same_at_any_scale():
    estimates = [
        volume.estimate(
            volume.Query(
                MLP((3, 8, 8, 1), bias=False), Gaussian(size), volume.Points(POINTS), volume.Fits(POINTS, LABELS)
            ),
            volume.Splitting(particles=32, moves=4, replicates=4),
            seed=0,
        )
        .entries[0]
        .log_volume
        for size in (1.0, 2.0**-60, 2.0**60)
    ]
    assert len(set(estimates)) == 1
