"""Splitting around an anchor: regions whose mass is known, unbiasedness, what is refused.

False alarms: seeds are fixed, so that what has passed fails by no chance on the same machine. Elsewhere other rounding
gives other draws: p_hat of 16 replicates is held to 8 standard errors of its log (8e-7 by Student's t of 15 degrees), a
mean of thousands of ratios to 5 (6e-7). Errors are asserted to be below .2 nats, so a mistake of 1.6 would be seen.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from scipy import integrate, special, stats

from benchmarks.local_truths import finished, log_ellipsoid, quadratic, quadratic_run, vector_model
from volume import models, samplers
from volume.estimators.local.divergence import BoundDivergence, DivergenceFunction, bind
from volume.estimators.local.splitting import LocalSplitting
from volume.statistics import replicates
from volume.statistics.slopes import slopes


def near(run, truths, least=8.0):
    """Every cutoff within ``least`` standard errors of its truth, and those errors small enough to mean something."""
    for logs, truth in zip(run.log_estimates.T, truths, strict=True):
        error = replicates.log_mean_error(logs)
        assert error < 0.2
        assert abs(replicates.log_mean(logs) - truth) < least * error


def test_own_truths_agree_with_others():
    assert log_ellipsoid(3.0, np.ones(4), [1, -0.5, 0.6, 0]) == pytest.approx(stats.ncx2.logcdf(3, 4, 1.61), rel=1e-10)
    long = integrate.quad(  # 4 (z + .5)^2 + .3 w^2 <= 2
        lambda z: stats.norm.pdf(z) * (2 * special.ndtr(math.sqrt((2 - 4 * (z + 0.5) ** 2) / 0.3)) - 1),
        -0.5 - math.sqrt(0.5),
        -0.5 + math.sqrt(0.5),
    )[0]
    assert log_ellipsoid(2.0, [4.0, 0.3], [0.5, 0]) == pytest.approx(math.log(long), rel=1e-7)


AT, STD = np.array([1.6, -0.5, 1.0, 2.5]), 1.2
OFF_CENTRE: dict[str, Any] = {"particles": 32, "replicates": 16, "moves": 6, "points": 8, "breadth": 1.5}


def off_centre_run():
    """Two cutoffs. The law q is wide here and its centre far from the anchor: with that centre on the other side in
    p / q the volume is wrong by 2 nats."""
    return quadratic_run(AT, np.eye(4), [0.4, 4.0], std=STD, **OFF_CENTRE)


@pytest.fixture(scope="module")
def off_centre():
    return off_centre_run()


@pytest.mark.slow
def test_ball_off_the_priors_centre(off_centre):
    """And the slope between the two cutoffs."""
    assert off_centre.cutoffs == (4.0, 0.4)
    truths = [log_ellipsoid(c / STD**2, np.ones(4), AT / STD) for c in off_centre.cutoffs]
    near(off_centre, truths)
    steep = off_centre.slopes()
    assert len(steep) == 1
    truth = (truths[0] - truths[1]) / math.log(10)
    assert abs(steep[0].slope - truth) < 4 * (steep[0].high - steep[0].low) / 2  # 8 standard errors and more


@pytest.mark.slow
def test_linear_regression_in_closed_form():
    """D is the mean squared difference of predictions: an ellipsoid with the Gram matrix of the inputs."""
    inputs = np.random.default_rng(3).normal(size=(11, 3)) * [2.0, 1.0, 0.3]
    at = {"0.weight": np.array([[0.3], [-0.8], [1.0]])}
    model = models.MLP((3, 1), bias=False)

    def loss(params, data):
        return ((data @ (params["0.weight"] - at["0.weight"])) ** 2).mean()

    prior = samplers.Gaussian(math.sqrt(3) * 0.9)
    run = finished(
        LocalSplitting(
            bind(model, DivergenceFunction(loss)),
            prior,
            at,
            inputs.astype(np.float32),
            [0.02],
            jax.random.key(1),
            particles=32,
            replicates=16,
            moves=6,
            points=8,
        )
    )
    values, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    truth = log_ellipsoid(0.02 / 0.81, values, vectors.T @ at["0.weight"][:, 0] / 0.9)
    near(run, [truth])


@pytest.mark.slow
def test_sixty_dimensions():
    """-98 nats by 16 replicates: an error of a nat would be seen; the spectrum spans four decades."""
    rng = np.random.default_rng(0)
    at = 0.4 * rng.normal(size=60)
    spectrum = np.logspace(0, 4, 60)
    turn = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    half = turn @ np.diag(spectrum) @ turn.T
    run = quadratic_run(at, half, [8.0], particles=32, replicates=16, moves=4, breadth=2.0, points=8, dtype="float64")
    near(run, [log_ellipsoid(8.0, spectrum, turn.T @ at)])


@pytest.mark.slow
def test_agreement_is_a_sector_of_the_plane():
    """A perceptron of two inputs without bias: the anchor's class is a sector, angle / 2 pi, and star-shaped."""
    angles = np.array([0.1, 0.35, 1.3, 2.2])
    inputs = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    at = 2.6  # decisions change where the angle passes an input's by a quarter turn
    edges = np.sort(np.concatenate([angles + math.pi / 2, angles - math.pi / 2]))
    where = np.searchsorted(edges, at)
    truth = math.log((edges[where] - edges[where - 1]) / (2 * math.pi))
    model = models.MLP((2, 1), bias=False)
    anchor = {"0.weight": 0.8 * np.array([[math.cos(at)], [math.sin(at)]])}
    run = finished(
        LocalSplitting(
            BoundDivergence(model, "agreement"),
            samplers.Gaussian(1.0),
            anchor,
            inputs.astype(np.float32),
            [0.0],
            jax.random.key(2),
            particles=32,
            replicates=16,
            moves=6,
            points=8,
            line_points=2,
        )
    )
    near(run, [truth])
    assert run.slopes() == []  # a cutoff of 0 has no logarithm


@pytest.mark.slow
def test_points_of_the_line_tell_the_star_shaped_region_from_the_sublevel_set():
    """D = (w - a)^2 (w - b)^2: {D <= c} is around a and around b, and only the first is seen from a."""
    a, b, cutoff = 0.4, -1.0, 0.03

    def two_wells(params, data):
        return ((params["w"][0] - a) * (params["w"][0] - b)) ** 2

    roots = [np.sort(np.roots([1, -(a + b), a * b + sign * math.sqrt(cutoff)]).real) for sign in (1, -1)]
    outer, inner = roots[1], roots[0]
    one = special.ndtr(outer[1]) - special.ndtr(inner[1])
    both = one + special.ndtr(inner[0]) - special.ndtr(outer[0])
    divergence = bind(vector_model(1), DivergenceFunction(two_wells))
    for line_points, truth in ((1, both), (16, one)):
        run = finished(
            LocalSplitting(
                divergence,
                samplers.Gaussian(1.0, 1.0),
                {"w": np.array([a])},
                np.zeros((1, 1), np.float32),
                [cutoff],
                jax.random.key(4),
                start="prior",
                line_points=line_points,
                particles=32,
                replicates=16,
                moves=4,
                points=8,
            )
        )
        near(run, [math.log(truth)])


@pytest.mark.slow
def test_uniform_prior_counts_the_part_inside_its_box():
    """A disc that the box cuts: its area by one integral."""
    at, radius = np.array([0.7, -0.2]), 0.5
    model = vector_model(2)
    data = {"at": at.astype(np.float32), "half": np.eye(2, dtype=np.float32)}
    run = finished(
        LocalSplitting(
            bind(model, DivergenceFunction(quadratic, data)),
            samplers.Uniform(1.0, 1.0),
            {"w": at},
            np.zeros((1, 2), np.float32),
            [radius**2],
            jax.random.key(5),
            particles=32,
            replicates=16,
            moves=6,
            points=8,
        )
    )
    area = integrate.quad(lambda x: 2 * math.sqrt(max(radius**2 - (x - 0.7) ** 2, 0)), 0.2, 1.0)[0]
    near(run, [math.log(area / 4)])


@pytest.mark.slow
def test_unbiased_however_badly_it_moves():
    """E[p_hat / p] = 1 with 8 particles and 2 moves at three levels and the powers between; 2 % would be seen."""
    at = np.array([0.9, -0.4, 0.3])
    half = np.diag([1.0, 4.0, 9.0])
    run = quadratic_run(at, half, [0.2], particles=16, replicates=2000, moves=2, points=8, breadth=4.0, seed=7)
    assert run.diagnostics()["levels"] >= 2
    assert run.diagnostics()["powers"] >= 1
    truth = log_ellipsoid(0.2, np.diag(half), at)
    ratio = np.exp(run.log_estimates[:, 0] - truth)
    error = ratio.std(ddof=1) / math.sqrt(len(ratio))
    assert error < 0.02
    assert abs(ratio.mean() - 1) < 5 * error


def test_slopes_of_exact_powers():
    cutoffs = (1.0, 0.1, 0.01, 0.0)
    logs = np.array([[2.0, -1.0, -9.0, -20.0], [2.5, -0.5, -8.5, -19.0]])
    found = slopes(cutoffs, logs)
    ten = math.log(10)
    assert [(round(s.least, 9), round(s.largest, 9)) for s in found] == [(0.01, 0.1), (0.1, 1.0), (0.01, 1.0)]
    assert [s.slope for s in found] == pytest.approx([8 / ten, 3 / ten, 11 / (2 * ten)])
    assert [s.high - s.low for s in found] == pytest.approx([0, 0, 0], abs=1e-9)  # both replicates have the same
    spread = slopes((1.0, 0.1), np.array([[0.0, -1.0], [0.0, -2.0], [0.0, -3.0]]))[0]
    assert spread.low < spread.slope < spread.high
    assert slopes((1.0,), logs[:, :1]) == []


BALL = bind(
    vector_model(2), DivergenceFunction(quadratic, {"at": np.zeros(2, np.float32), "half": np.eye(2, dtype=np.float32)})
)


def test_entries_and_progress_of_a_run(off_centre):
    again = off_centre_run()
    first, second = off_centre.entries(0.9)
    assert (first.label, second.label) == ("cutoff 4", "cutoff 0.4")
    assert first.level == 0.9
    assert first.num_replicates == 16
    early, late = first.diagnostics["levels_to_cutoff"]
    assert 0 < early < late == first.diagnostics["levels"]
    assert off_centre.progress().done == 1
    np.testing.assert_array_equal(again.log_estimates, off_centre.log_estimates)


def test_a_floor_ends_the_pilot_and_is_said():
    """The programs of the run off centre."""
    data = {"at": AT.astype(np.float32), "half": np.eye(4, dtype=np.float32)}
    run = LocalSplitting(
        bind(vector_model(4), DivergenceFunction(quadratic, data)),
        samplers.Gaussian(1.0, STD),
        {"w": AT},
        np.zeros((1, 4), np.float32),
        [1e-6, 1e-5],
        jax.random.key(0),
        floor=-2.0,
        **OFF_CENTRE,
    )
    while not run.done:
        run.advance()
    entry = run.entries()[-1]
    assert entry.headline == "none"
    assert "floor" in entry.notes[-1]


FLAT = bind(vector_model(2), DivergenceFunction(lambda params, data: 0 * params["w"].sum()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cutoffs": []}, "give one finite divergence or more"),
        ({"cutoffs": [0.1, -1.0]}, "none below 0"),
        ({"start": "posterior"}, "Unknown start"),
        ({"breadth": 1.0}, "must reach beyond the region"),
        ({"anchor": {"w": np.array([1.0, 0.0])}}, "not at zero divergence"),
        ({"prior": samplers.Sphere(1.0)}, "Gaussian and Uniform"),
        ({"prior": samplers.Lattice((-1, 1))}, "standard normals"),
        ({"divergence": FLAT}, "no curvature"),
    ],
)
def test_what_is_refused(change, sentence):
    settings = {
        "divergence": BALL,
        "prior": samplers.Gaussian(1.0, 1.0),
        "anchor": {"w": np.zeros(2)},
        "inputs": np.zeros((1, 2), np.float32),
        "cutoffs": [0.1],
        "key": jax.random.key(0),
    } | change
    with pytest.raises(ValueError, match=sentence):
        LocalSplitting(**settings).advance()


def test_an_anchor_that_the_prior_cannot_draw_is_refused():
    at = np.array([1.5, 0.0])
    data = {"at": at.astype(np.float32), "half": np.eye(2, dtype=np.float32)}
    run = LocalSplitting(
        bind(vector_model(2), DivergenceFunction(quadratic, data)),
        samplers.Uniform(1.0, 1.0),
        {"w": at},
        np.zeros((1, 2), np.float32),
        [0.1],
        jax.random.key(0),
    )
    with pytest.raises(ValueError, match=r"w\[0\] = 1.5"):
        run.advance()
