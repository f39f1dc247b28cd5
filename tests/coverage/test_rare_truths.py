"""Truths of rare classes against other formulas and against direct draws (benchmarks/rare_truths.py).

False alarms: the comparisons with draws use exact binomial tails of 1e-8 or six standard errors (2e-9), about twenty of
them; seeds are fixed besides. All else is deterministic.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import volume
from benchmarks import rare_logs as logs
from benchmarks.rare_truths import DEPTHS, FAMILIES, cases

QUICK = cases([name for name in FAMILIES if name != "wide"])
DRAWN = (
    "half-space 5-d 1e-2",
    "cap 8-d 1e-2",
    "outside a ball 6-d 1e-2",
    "corner 3-d 1e-2",
    "two correlated -.6 1e-2",
    "three correlated 1e-2",
    "independent signs 7-d",
    "sector 1e-2",
    "ReLU 2-2-1 ties",
    "ReLU 2-3-1 ties",
)  # one of every kind
SHALLOW = [case for case in QUICK if case.name in DRAWN]
FEW = ("corner 3-d 1e-2", "ReLU 2-2-1 ties")  # whose draws are quick enough for the quick tier


def by_name(case):
    return case.name


def test_every_case_is_whole():
    """Distinct names, the depth that the name says, labels that exist, numbers that float32 holds exactly."""
    assert len({case.name for case in QUICK}) == len(QUICK)
    assert len(SHALLOW) == len(DRAWN)
    for case in QUICK:
        assert case.family in FAMILIES
        assert case.query.bound.index(case.label) >= 0
        assert case.dimension == sum(math.prod(p.shape) for p in case.query.model.parameters)
        if "1e-" in case.name and case.family != "ball":
            assert case.log10_volume == pytest.approx(-int(case.name.split("1e-")[1]), rel=1e-6, abs=1e-5)
        inputs = np.asarray(case.query.domain.inputs)
        if case.query.classifier.describe()["name"] == "truth-table" and case.dtype == "float32":
            np.testing.assert_array_equal(inputs, inputs.astype(np.float32))
    for family in ("half-space", "cap", "ball", "corner", "orthant"):
        deepest = min(case.log10_volume for case in QUICK if case.family == family)
        assert deepest == pytest.approx(-1000, abs=0.01)
    with pytest.raises(ValueError, match="half-spaces"):
        cases(["half-spaces"])


@pytest.mark.parametrize(
    "case", [case if case.name in FEW else pytest.param(case, marks=pytest.mark.slow) for case in SHALLOW], ids=by_name
)
def test_shallow_cases_by_direct_draws(case):
    """100,000 draws: at 1e-2 an error of 18 % would be caught, in the ties one of 3 %."""
    report = volume.estimate(case.query, volume.Direct(100_000, heads=1, bodies=1), seed=5)
    found = report[case.label]
    assert found.log_low < 0
    truth = math.exp(case.log_volume)
    tail = min(stats.binom.cdf(found.count, 100_000, truth), stats.binom.sf(found.count - 1, 100_000, truth))
    assert tail > 1e-8


def test_caps_by_quadrature_and_closed_forms():
    assert logs.log_cap(0.4, 3) == pytest.approx(math.log(0.3), rel=1e-13)  # Archimedes: (1 - h) / 2
    assert logs.log_cap(0.4, 2) == pytest.approx(math.log(math.acos(0.4) / math.pi), rel=1e-13)
    x, w = np.polynomial.legendre.leggauss(300)
    for height, dimension in [(0.1, 8), (0.7, 8), (0.9, 41), (0.98, 400), (0.98, 1300), (0.9999, 1300)]:
        # s = 1 - (1 - h) u^2, u in [0, 1]: (1 - s^2)^((D-3)/2) is then a power of u times a smooth function
        u, weight = (x + 1) / 2, w / 2
        gap = (1 - height) * u**2
        terms = (dimension - 3) / 2 * np.log(gap * (2 - gap)) + np.log(2 * (1 - height) * u * weight)
        whole = special.gammaln(dimension / 2) - special.gammaln((dimension - 1) / 2) - 0.5 * math.log(math.pi)
        assert logs.log_cap(height, dimension) == pytest.approx(special.logsumexp(terms) + whole, rel=1e-11)


@pytest.mark.parametrize(("dimension", "square"), [(2, 3.0), (6, 20.0), (6, 4600.0), (40, 10.0), (40, 3000.0)])
def test_tails_of_the_squared_radius(dimension, square):
    """Outside: e^-x times Gauss-Laguerre of (x + u)^(D/2-1), exact for a polynomial. Inside: the shallow sum to one."""
    a, x = dimension / 2, square / 2
    u, w = np.polynomial.laguerre.laggauss(int(a) + 1)
    outside = -x + special.logsumexp((a - 1) * np.log(x + u) + np.log(w)) - special.gammaln(a)
    assert logs.log_outside_ball(square, dimension) == pytest.approx(outside, rel=1e-10)
    both = np.logaddexp(logs.log_outside_ball(square, dimension), logs.log_inside_ball(square, dimension))
    assert both == pytest.approx(0, abs=1e-10)
    with pytest.raises(ValueError, match="even"):
        logs.log_outside_ball(1.0, 3)


@pytest.mark.parametrize(("dimension", "square"), [(5, 1e-3), (40, 1.2), (400, 0.0029)])
def test_small_balls(dimension, square):
    """x^a int_0^1 v^(a-1) e^(-x v) dv / Gamma(a), with v = e^-s/a so that the integrand stays of order one."""
    a, x = dimension / 2, square / 2
    inside, _ = integrate.quad(lambda s: math.exp(-s - x * math.exp(-s / a)), 0, np.inf, epsabs=0, epsrel=1e-11)
    truth = a * math.log(x) + math.log(inside) - special.gammaln(a + 1)
    assert logs.log_inside_ball(square, dimension) == pytest.approx(truth, rel=1e-10)


def test_shell_is_the_integral_of_the_density():
    density, _ = integrate.quad(lambda s: math.exp(stats.chi2.logpdf(s, 6) + 70), 150, 150.5)
    assert logs.log_shell(150, 150.5, 6) == pytest.approx(math.log(density) - 70, rel=1e-11)


def test_corners_by_integrating_one_coordinate_after_another():
    """P_d(s) = (1/c) int_0^s P_{d-1}: polynomials, so Gauss-Legendre is exact."""
    x, w = np.polynomial.legendre.leggauss(200)
    c = 1 + 0.2 * np.sin(np.arange(380)) ** 2
    u, weight = (x + 1) / 2, w / 2
    for d in (3, 24, 140, 380):
        log_p = math.log(0.3 / c[0])  # P_1(.3); P_{k-1}(u s) = u^(k-1) P_{k-1}(s)
        for k in range(2, d + 1):
            log_p += math.log(0.3 / c[k - 1] * (u ** (k - 1) @ weight))
        assert logs.log_corner(0.3, c[:d]) == pytest.approx(log_p, rel=1e-11)
    with pytest.raises(ValueError, match="simplex"):
        logs.log_corner(1.1, c)


@pytest.mark.parametrize("size", [-0.5, 0.0, 2.0, 20.0, 67.0])
@pytest.mark.parametrize("common", [(0.8, 0.625), (0.9, -2 / 3), (0.9, 0.5, -0.4), (0.3, 0.99, 0.2)])
def test_one_factor_integrals_by_minimax_tilting(common, size):
    """Eight standard errors of 1e-7 to 1e-4: another estimator of the same box, good at any depth."""
    a = np.array(common)
    thresholds = size * np.array([1.0, 0.7, 0.3])[: len(a)]
    cov = np.outer(a, a)
    np.fill_diagonal(cov, 1)
    found = volume.log_orthant(cov, lower=thresholds, upper=np.inf)
    truth = logs.log_one_factor(a, np.sqrt(1 - a * a), thresholds)
    assert abs(found.log_probability - truth) < 8 * found.relative_error + 1e-12 * abs(truth)
    assert found.relative_error < 1e-3


def test_one_factor_integrals_at_closed_forms():
    half = math.sqrt(0.5)
    for d in (1, 10, 200):
        found = logs.log_one_factor(np.full(d, half), np.full(d, half), np.zeros(d))
        assert found == pytest.approx(-math.log(d + 1), abs=1e-11)
    found = logs.log_one_factor([0.9, -2 / 3], np.sqrt([0.19, 5 / 9]), [0, 0])
    assert found == pytest.approx(math.log(0.5 - math.acos(-0.6) / (2 * math.pi)), rel=1e-12)
    for t in (1.0, 30.0, 68.0):  # one event: scale and threshold alone
        assert logs.log_one_factor([3.0], [4.0], [5 * t]) == pytest.approx(special.log_ndtr(-t), rel=1e-12)


@pytest.mark.parametrize("width", [2, 3])
def test_relu_ties_by_quasi_monte_carlo(width):
    """v r of head v and Rayleigh radius r has Laplace's law: an independent route to the same outputs. Six errors."""
    means = []
    for seed in range(16):
        u = stats.qmc.Sobol(2 * width, seed=seed).random(2**14)  # type: ignore[call-arg]  # rng from SciPy 1.15
        turn = 2 * math.pi * u[:, :width]
        reach = stats.laplace.ppf(np.clip(u[:, width:], 1e-12, 1 - 1e-12))
        x, y = np.cos(turn), np.sin(turn)
        outputs = [(reach * np.maximum(part, 0)).sum(1) for part in (y, x, x + y)]
        means.append(np.mean(np.minimum.reduce(outputs) > 0))
    truth, error = logs.log_relu_ties(width)
    assert abs(np.mean(means) - math.exp(truth)) < 6 * np.std(means, ddof=1) / 4 + error
    assert np.std(means, ddof=1) / 4 < 3e-4


def test_relu_ties_other_widths_are_unknown():
    with pytest.raises(ValueError, match="widths 2, 3"):
        logs.log_relu_ties(4)


def edge(case):
    """A parameter vector on the edge of the class and a direction that leads into it, both [D] and in float64."""
    inputs = np.asarray(case.query.domain.inputs)
    row, t, dimension = inputs[0, :-1], inputs[0, -1], case.dimension
    if case.family in ("half-space", "cap"):
        point = row * t / (row @ row)
        if case.family == "cap":  # on the sphere, off the axis
            side = np.roll(row, 1) - row * (np.roll(row, 1) @ row) / (row @ row)
            point += side / np.linalg.norm(side) * math.sqrt(1 - point @ point)
        return point, row
    if case.family == "corner":
        return 1 - 2 * t / (dimension * row), np.ones(dimension)
    point = np.full(dimension, math.sqrt(inputs[0, 0] / dimension))
    return point, point if case.label == "1" else -point


@pytest.mark.parametrize(
    "case",
    [case for case in QUICK if case.family in ("half-space", "cap", "ball", "corner") and len(case.label) == 1],
    ids=by_name,
)
def test_the_class_begins_where_the_formula_says(case):
    """Deep classes cannot be drawn: a step of 1e-4 to either side of the edge decides the label, in float32."""
    point, inward = edge(case)
    model, (parameter,) = case.query.model, case.query.model.parameters
    for step, inside in ((1e-4, True), (-1e-4, False)):
        theta = point + step * inward * np.linalg.norm(point) / np.linalg.norm(inward)
        params = {parameter.name: theta.astype(np.float32)}
        decided = np.asarray(model.apply(params, case.query.domain.inputs.astype(np.float32)))[:, 0] > 0
        assert (decided == (np.array(list(case.label)) == "1")).all() == inside


@pytest.mark.parametrize("depth", DEPTHS)
def test_orthants_by_tilted_draws(depth):
    """Importance sampling in the network itself: one-sided exponential tails of every margin, weights bounded.

    40,000 draws of the margins' own law beyond their thresholds; six standard errors of about 1 %.
    """
    case = next(case for case in QUICK if case.name == f"orthant 3-d 1e-{depth}")
    labels = np.array(list(case.label)) == "1"
    rows = np.asarray(case.query.domain.inputs) * np.where(labels, 1, -1)[:, None]
    scales, t = np.diagonal(rows[:, :3]), rows[:, 3] / np.diagonal(rows[:, :3])
    excess = np.random.default_rng(depth).exponential(1 / t, (40_000, 3))
    theta = t + excess
    log_weight = stats.norm.logpdf(theta).sum(1) - np.log(t).sum() + (t * excess).sum(1)
    (parameter,) = case.query.model.parameters
    inputs = jnp.asarray(case.query.domain.inputs, jnp.float32)
    outputs = jax.vmap(lambda one: case.query.model.apply({parameter.name: one}, inputs))(
        jnp.asarray(theta, jnp.float32)
    )
    right = ((np.asarray(outputs)[..., 0] > 0) == labels).all(1)
    assert right.mean() > 0.97  # float32 loses a few that lie on the edge
    assert (scales > 0).all()
    weight = np.exp(log_weight - log_weight.max()) * right
    error = weight.std() / weight.mean() / 200
    assert error < 0.02
    assert abs(log_weight.max() + math.log(weight.mean()) - case.log_volume) < 6 * error + 0.03


def test_wide_limits_agree_with_the_kernel_in_float64():
    """The rows of a case are a square root of the kernel, its labels the signs: log_orthant of both must agree."""
    found = {case.name: case for case in cases(["wide"])}
    signed = volume.BooleanCube(5, coding=(-1, 1)).inputs
    prior = volume.samplers.Gaussian(weight_std=(1.0, math.sqrt(2), math.sqrt(2)), bias_std=0.1)
    kernel = volume.nngp_kernel(volume.models.MLP((5, 8, 8, 1)), prior, signed)
    truth = volume.log_orthant(kernel, np.where(signed[:, 0] > 0, 1, -1), seed=1)
    case = found["wide limit, first input"]
    assert abs(case.log_volume - truth.log_probability) < 8 * math.hypot(truth.relative_error, case.error)
    assert found["wide limit, 128 random labels"].log_volume < -120
    for case in found.values():
        assert 0 < case.error < 0.05
        assert dataclasses.replace(case).query.bound.index("fits") == 1
