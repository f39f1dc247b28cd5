"""Polynomial regression: the closed form against hand-worked cases and Monte Carlo by another route.

False alarms: three Monte Carlo tests of a few comparisons each at 6 standard errors (2e-9 a comparison), below 1e-7.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import volume
from volume import models, samplers
from volume.models import Head, Parameter, Polynomial
from volume.studies.extrapolation import _log_interval, extrapolation

SIX_SIGMA = 6.0


def sampled_share(degree, x, y, x_test, y_test, eps, std, draws, seed):
    """Share and standard error by Matheron's rule: prior draws, corrected to meet the training points exactly.

    c' = c + S V^T (V S V^T)^-1 (y - V c) is a draw of c given V c = y; it shares no step with the library's own route.
    """
    rng = np.random.default_rng(seed)
    std = np.broadcast_to(np.asarray(std, float), degree + 1)
    powers, test_powers = (np.asarray(p)[:, None] ** np.arange(degree + 1) for p in (x, x_test))
    gain = (std[:, None] ** 2 * powers.T) @ np.linalg.inv((powers * std**2) @ powers.T)
    hits = 0
    for _ in range(10):
        c = rng.normal(size=(draws // 10, degree + 1)) * std
        c += (np.asarray(y) - c @ powers.T) @ gain.T
        hits += int((np.abs(c @ test_powers.T - np.asarray(y_test)) <= eps).all(axis=1).sum())
    p = hits / draws
    return p, math.sqrt(p * (1 - p) / draws)


# --- the model ---


def test_model_is_the_polynomial():
    model = Polynomial(3)
    x = np.array([-1.5, -1.0, 0.0, 0.5, 2.0], np.float32)
    c = np.array([0.3, -1.0, 0.25, 2.0], np.float32)
    params = {"0.weight": jnp.asarray(c[:, None])}
    values = np.asarray(model.apply(params, jnp.asarray(x[:, None])))
    np.testing.assert_allclose(values[:, 0], np.polynomial.polynomial.polyval(x, c), rtol=1e-6)
    features = np.asarray(model.features({}, jnp.asarray(x[:, None])))
    np.testing.assert_array_equal(features, x[:, None] ** np.arange(4))  # x^0 is 1 at 0 too
    assert values.dtype == features.dtype == np.float32


def test_model_protocol():
    model = Polynomial(4)
    assert isinstance(model, models.Model)
    assert model.parameters == (Parameter("0.weight", (5, 1), "weight", 1, 0),)
    assert model.head == Head("0.weight", None, 5)
    assert (model.input_shape, model.num_outputs) == ((1,), 1)
    models.check_outputs(model)
    assert models.from_description(model.describe()) == model
    assert hash(Polynomial(4)) == hash(Polynomial(np.int64(4)))  # type: ignore[arg-type]
    assert Polynomial(4) != Polynomial(5)
    with pytest.raises(ValueError, match="degree is -1"):
        Polynomial(-1)
    with pytest.raises(TypeError, match=r"degree is 2\.0; give a whole number"):
        Polynomial(2.0)  # type: ignore[arg-type]


def test_fan_in_leaves_the_coefficients_alone():
    """``weight_std`` is every coefficient's standard deviation, whatever the degree."""
    z = {"0.weight": jnp.ones((7, 1))}
    theta = samplers.Gaussian(weight_std=2.5).transform(z, Polynomial(6).parameters)
    np.testing.assert_allclose(theta["0.weight"], 2.5)


def test_volumes_of_lines():
    """Degree 1 on two inputs: sectors of angle / 2 pi, angle between (1, a) and (1, b).

    400,000 draws, 6 standard errors over units: an error of about .005 in a volume would be caught.
    """
    a, b = 0.5, -2.0
    report = volume.estimate(
        volume.Query(Polynomial(1), samplers.Gaussian(), volume.Points([[a], [b]])), volume.Direct(400_000), seed=0
    )
    angle = math.acos((1 + a * b) / math.sqrt((1 + a * a) * (1 + b * b)))
    for label, truth in {"11": 0.5 - angle / (2 * math.pi), "10": angle / (2 * math.pi)}.items():
        error = math.sqrt(truth * (1 - truth) / 400_000)  # no body: every draw is independent
        assert abs(report[label].volume - truth) < SIX_SIGMA * error


# --- the closed form ---


def test_line_through_one_point_by_hand():
    """c0 + c1 = 1, so c1 is N(1/2, 1/2), and p(2) = 1 + c1 is near 2 when c1 is near 1."""
    for eps in (0.3, 1e-3, 1e-9, 1e-200, 3.0):
        found = volume.extrapolation(1, [1.0], [1.0], [2.0], [2.0], eps)
        truth = stats.norm.cdf((0.5 + eps) / math.sqrt(0.5)) - stats.norm.cdf((0.5 - eps) / math.sqrt(0.5))
        if eps < 1e-5:
            truth = 2 * eps * stats.norm.pdf(0.5, scale=math.sqrt(0.5))
        assert found.log_share == pytest.approx(math.log(truth), abs=1e-9)
        assert (found.num_free, found.relative_error) == (1, 0.0)
        np.testing.assert_allclose((found.means[0], found.stds[0]), (1.5, math.sqrt(0.5)))


def test_different_prior_widths_by_hand():
    """sd 3 for c0, 1 for c1: c1 given c0 + c1 = 1 is N(1/10, 9/10)."""
    found = volume.extrapolation(1, [1.0], [1.0], [2.0], [2.0], 0.25, weight_std=[3.0, 1.0])
    truth = stats.norm(0.1, math.sqrt(0.9))
    assert found.share == pytest.approx(truth.cdf(1.25) - truth.cdf(0.75), rel=1e-12)


def test_far_from_the_label_in_logs():
    """The share at labels 100 standard deviations away, 1e-2173, against the tail itself."""
    found = volume.extrapolation(1, [1.0], [1.0], [2.0], [1.5 + 100 * math.sqrt(0.5)], 0.5 * math.sqrt(0.5))
    tail = special.log_ndtr(-99.5) + math.log1p(-math.exp(special.log_ndtr(-100.5) - special.log_ndtr(-99.5)))
    assert found.log_share == pytest.approx(tail, rel=1e-13)
    assert found.share == 0


def test_one_interpolant_left():
    """Two points, degree 1: the line 1 + 2x. It is right within .1 at 3.05 (label 7) and wrong at 3.2 (label 7.2)."""
    assert volume.extrapolation(1, [0, 1], [1, 3], [3.05], [7.0], 0.11).log_share == 0
    wrong = volume.extrapolation(1, [0, 1], [1, 3], [3.05, 3.2], [7.0, 7.2], 0.11)
    assert (wrong.num_free, wrong.log_share, wrong.share) == (0, -math.inf, 0)
    assert wrong.to_dict()["log_share"] is None


def test_one_free_dimension_meets_all_points():
    """Lines through (0, 0): the slope alone, within eps/|x_i| of y_i/x_i at every point."""
    found = volume.extrapolation(1, [0.0], [0.0], [1.0, -2.0, 0.5], [0.5, -1.2, 0.1], 0.3)
    low = max(0.2, (1.2 - 0.3) / 2, (0.1 - 0.3) / 0.5)
    high = min(0.8, (1.2 + 0.3) / 2, (0.1 + 0.3) / 0.5)
    assert found.share == pytest.approx(stats.norm.cdf(high) - stats.norm.cdf(low), rel=1e-12)
    assert found.relative_error == 0
    apart = volume.extrapolation(1, [0.0], [0.0], [1.0, 2.0], [1.0, -2.0], 0.3)
    assert apart.log_share == -math.inf


CASES = [
    # degree, training, test, eps, std: free dimensions above, at and below the number of test points
    (5, [-0.8, 0.1, 0.7], [-1.2, 1.1], 0.8, 1.0),
    (4, [-0.8, 0.1], [-1.2, 0.5, 1.1], 0.7, 1.5),
    (3, [-0.8, 0.1], [-1.3, -0.4, 0.5, 0.9, 1.2], 0.6, 1.0),
    (6, [-0.8, 0.1, 0.7, 1.0], [-1.2, -0.4, 0.4, 0.85], 0.25, [1.0, 2.0, 1.0, 0.5, 1.0, 0.7, 1.0]),
    (9, [0.3], [-0.9, -0.5, 0.0, 0.8], 1.0, 1.0),
]


@pytest.mark.parametrize(("degree", "x", "x_test", "eps", "std"), CASES)
def test_several_points_against_monte_carlo(degree, x, x_test, eps, std):
    """400,000 conditional draws: 6 standard errors, and as many of the stated error; 2e-9 a case.

    At shares of .05 to .5 an error of 1 to 4 % of the share would be caught.
    """

    def target(t):
        return 0.3 - 0.5 * np.asarray(t) + 0.4 * np.asarray(t) ** 2

    found = volume.extrapolation(degree, x, target(x), x_test, target(x_test), eps, weight_std=std)
    p, error = sampled_share(degree, x, target(x), x_test, target(x_test), eps, std, 400_000, 1)
    assert 0.02 < p < 0.9
    assert found.relative_error < 2e-3
    assert abs(found.share - p) < SIX_SIGMA * math.hypot(error, found.relative_error * found.share)


def test_two_points_against_scipy():
    """A bivariate box by SciPy's own routine (abs. error 1e-10 asked of a two-dimensional integral)."""
    x, x_test, eps = [0.2, -0.5], [0.9, -1.0], 0.4
    found = volume.extrapolation(4, x, [0.1, 0.4], x_test, [0.3, 0.2], eps)
    powers, test_powers = (np.asarray(p)[:, None] ** np.arange(5) for p in (x, x_test))
    gain = test_powers @ powers.T @ np.linalg.inv(powers @ powers.T)
    mean, cov = gain @ [0.1, 0.4], test_powers @ test_powers.T - gain @ powers @ test_powers.T
    np.testing.assert_allclose(found.means, mean, rtol=1e-10)
    np.testing.assert_allclose(found.stds, np.sqrt(np.diag(cov)), rtol=1e-10)
    law = stats.multivariate_normal(mean, cov, abseps=1e-10, releps=1e-10, maxpts=10**6, seed=0)  # type: ignore[arg-type]
    truth = law.cdf(np.array([0.3, 0.2]) + eps, lower_limit=np.array([0.3, 0.2]) - eps)
    assert found.share == pytest.approx(truth, rel=max(1e-4, SIX_SIGMA * found.relative_error))


def test_wide_and_small_boxes():
    everything = volume.extrapolation(6, [0.1, 0.4], [1.0, 2.0], [0.9, -0.7, 0.0], [0.0, 0.0, 0.0], math.inf)
    assert everything.log_share == pytest.approx(0, abs=1e-12)
    # A small box holds the density times its size: at eps and eps / 10, three points, a factor of 1000.
    logs = [volume.extrapolation(6, [0.1], [1.0], [0.9, -0.7, 0.0], [1, 1, 1], eps).log_share for eps in (1e-6, 1e-7)]
    assert logs[0] - logs[1] == pytest.approx(3 * math.log(10), abs=1e-4)


def test_a_flat_prior_leaves_nothing():
    """Widening the prior by 10 costs a factor of 10 for each dimension tested: no share is left of a uniform count."""
    logs = [
        volume.extrapolation(6, [0.1, 0.5], [0.3, 0.2], [0.9, -0.7], [0.1, 0.4], 0.1, weight_std=s).log_share
        for s in (1e3, 1e4)
    ]
    assert logs[0] - logs[1] == pytest.approx(2 * math.log(10), abs=1e-4)


@pytest.mark.parametrize("middle", [0.0, 0.4, 3.0, 30.0, -300.0])
def test_intervals_join_where_the_formula_changes(middle):
    """Both sides of the switch between Taylor's series and the difference of tails, against a fine quadrature."""
    for width in (1e-6, 2.9e-3 / max(1, abs(middle)), 3.1e-3 / max(1, abs(middle)), 0.1):
        nodes, weights = np.polynomial.legendre.leggauss(60)
        x = width / 2 * nodes
        truth = math.log(width / 2 * np.sum(weights * np.exp(-middle * x - x**2 / 2)))
        truth += -(middle**2) / 2 - math.log(2 * math.pi) / 2
        assert _log_interval(np.array([middle]), np.array([width]))[0] == pytest.approx(truth, rel=1e-11, abs=1e-9)


def test_seed_changes_only_within_the_error():
    arguments = (9, [0.3], [0.5], [-0.9, -0.5, 0.0, 0.8], [0.0, 0.5, 0.5, 0.2], 0.5)
    a, b = (volume.extrapolation(*arguments, seed=seed) for seed in (0, 1))
    assert a.log_share == volume.extrapolation(*arguments).log_share
    # 16 scramblings each: t of 15 degrees at 12 standard errors, false alarm 4e-9.
    assert 0 < abs(a.log_share - b.log_share) < 12 * math.hypot(a.relative_error, b.relative_error)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"degree": 1}, ValueError, "its 2 coefficients cannot meet 3 points; give a degree of 2 or more"),
        ({"degree": -1}, ValueError, "cannot meet"),
        ({"degree": 3.0}, TypeError, "degree is 3"),
        ({"inputs": [0, 1, 1]}, ValueError, "inputs names a point twice"),
        ({"inputs": [0, 1]}, ValueError, r"have shapes \(2,\) and \(3,\)"),
        ({"inputs": ["a", "b", "c"]}, TypeError, "inputs must be real numbers"),
        ({"labels": [0, 1, math.nan]}, ValueError, "must be finite"),
        ({"test_inputs": [1.0]}, ValueError, "1 is a training input and a test input"),
        ({"test_inputs": [], "test_labels": []}, ValueError, "give one label for each of 1 or more"),
        ({"eps": 0.0}, ValueError, r"eps is 0\.0"),
        ({"eps": math.nan}, ValueError, "eps is nan"),
        ({"degree": 2, "eps": 1e-12}, ValueError, "more test points than free dimensions"),
        ({"weight_std": 0.0}, ValueError, "finite one > 0"),
        ({"weight_std": [1.0, 2.0]}, ValueError, "weight_std has 2 values; degree 5 has 6 coefficients"),
        ({"inputs": [0.0, 1e-7, 2e-7]}, ValueError, "too nearly dependent for float64"),
    ],
)
def test_errors(change, error, sentence):
    arguments = {
        "degree": 5,
        "inputs": [0.0, 1.0, -1.0],
        "labels": [0.0, 1.0, 2.0],
        "test_inputs": [2.0],
        "test_labels": [1.0],
        "eps": 0.5,
    }
    with pytest.raises(error, match=sentence):
        volume.extrapolation(**(arguments | change))


def test_interpolants_meet_their_points_and_have_the_conditional_law():
    """Any w gives a polynomial through the points, and the values' means and deviations are the closed form's."""
    model = models.Interpolants(6, [-0.9, -0.2, 0.5], [0.3, -1.0, 2.0], weight_std=0.7)
    w = np.random.default_rng(0).standard_normal((4, 1)).astype(np.float32)
    at_points = model.apply({"0.weight": jnp.asarray(w)}, jnp.array([[-0.9], [-0.2], [0.5]]))
    np.testing.assert_allclose(at_points[:, 0], [0.3, -1.0, 2.0], atol=1e-5)
    found = extrapolation(6, [-0.9, -0.2, 0.5], [0.3, -1.0, 2.0], [0.9, 0.1], [0.0, 0.0], 1.0, weight_std=0.7)
    tests = jnp.array([[0.9], [0.1]])
    mean = model.apply({"0.weight": jnp.zeros((4, 1))}, tests)[:, 0]
    np.testing.assert_allclose(mean, found.means, rtol=1e-4)
    columns = [model.apply({"0.weight": jnp.eye(4)[:, i : i + 1]}, tests)[:, 0] - mean for i in range(4)]
    np.testing.assert_allclose(np.linalg.norm(columns, axis=0), found.stds, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((2, [0.0, 0.5, 1.0], [1, 2, 3]), "leave nothing free"),
        ((5, [0.0, 0.0], [1, 2]), "twice"),
        ((5, [0.0, 1.0], [1]), "as many"),
        ((5, [0.0, 1.0], [1, 2], 0.0), "above 0"),
    ],
)
def test_interpolants_refuse_what_makes_no_sense(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.Interpolants(*arguments)


def worst(outputs):
    """Minus the largest error at the test points: a user's score."""
    return -jnp.max(jnp.abs(outputs - jnp.array([0.2, 0.1])))


@pytest.mark.slow
def test_splitting_finds_the_share_that_extrapolates():
    """Degree 8 through 4 points, within .001 at two more: about 8e-11 of the interpolants, by closed form (Sobol error
    stated there) and by splitting on the user's score. |z| < 4.8 with t_7 tails: false alarms 2e-3 at worst over
    seeds, none with this one."""
    x, y, tests, labels = [-1.0, -0.4, 0.2, 0.8], [1.0, 0.1, -0.3, 0.6], [0.5, -0.7], [0.2, 0.1]
    truth = extrapolation(8, x, y, tests, labels, 0.001)
    within = volume.Predicate(lambda outputs: worst(outputs) >= -0.001, names=("far", "near"))
    query = volume.Query(
        models.Interpolants(8, x, y), samplers.Gaussian(1.0), volume.Points(np.array(tests)[:, None]), within
    )
    method = volume.Splitting(particles=100, moves=8, labels=["near"], score=worst)
    (entry,) = volume.estimate(query, method, seed=1).entries
    assert -26 < truth.log_share < -20
    assert entry.log_low - 0.5 < truth.log_share < entry.log_high + 0.5
    assert abs(entry.log_volume - truth.log_share) < 1.0
