"""Chances of cones, against closed forms: angles, three rows, equal correlations.

False alarms: means of 4,000 ratios are held to 5.5 standard errors (4e-8 each) and .003, which rounding may take.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from volume.estimators.integrated.cone import log_cone_probability
from volume.estimators.integrated.expectation_propagation import IMPOSSIBLE, cone, gaussian, turned

RUNS, ROWS = 4000, 8


@partial(jax.jit, static_argnames="turn")
def estimates_of(features, labels, sweeps, damping, turn=False):
    made = cone(features, labels)
    made = turned(made) if turn else made
    found = gaussian(made, sweeps, damping)
    keys = jax.random.split(jax.random.key(0), RUNS)
    logs, failed = jax.vmap(lambda key: log_cone_probability(key, made, found, 16))(keys)
    return found.log_value, logs, failed


def estimated(features, labels, sweeps=5, damping=1.0, turn=False):
    """With rows of zeros and label 0, which change nothing, and weights that do not either: one program for all."""
    features, labels = np.asarray(features, np.float32), np.asarray(labels, np.int32)
    m, d = features.shape
    padded = np.zeros((ROWS, 2 * ROWS if turn else ROWS), np.float32)
    padded[:m, :d] = features
    return estimates_of(padded[:, None], np.pad(labels, (0, ROWS - m)), sweeps, damping, turn)


def ratios(features, labels, truth, **settings):
    value, logs, failed = estimated(features, labels, **settings)
    assert not np.any(failed)
    ratio = np.exp(np.asarray(logs, float) - truth)
    assert abs(ratio.mean() - 1) < 5.5 * ratio.std(ddof=1) / np.sqrt(RUNS) + 0.003
    return float(value) - truth, float(np.std(np.log(ratio[ratio > 0])))


def angle(features, labels):
    """Log of the share of directions in the plane that give the labels, from their own half-planes."""
    t = np.linspace(-np.pi, np.pi, 200_001)[:-1]
    outputs = np.asarray(features, float) @ np.stack([np.cos(t), np.sin(t)])
    inside = np.all((outputs > 0) == np.asarray(labels, bool)[:, None], axis=0)
    return np.log(inside.mean())


PLANE = np.random.default_rng(3).normal(size=(8, 2)) * np.random.default_rng(4).lognormal(0, 3, size=(8, 1))


@pytest.mark.parametrize(("m", "w"), [(1, (1, 0.3)), (2, (1, 0.3)), (3, (-0.4, 1)), (8, (0.2, -1))])
def test_angles(m, w):
    """Of rows of any size, and of many more rows than weights."""
    labels = PLANE[:m] @ w > 0
    off, spread = ratios(PLANE[:m], labels, angle(PLANE[:m], labels))
    assert abs(off) < 0.4
    assert spread < 0.1


def test_three_rows_in_closed_form():
    """1/8 + (arcsin r12 + arcsin r13 + arcsin r23) / 4 pi, mixed labels."""
    rows = np.array([[1.0, 0.2, -0.4], [0.3, 1, 0.8], [-0.7, 0.4, 1]])
    labels = np.array([1, 0, 1])
    signed = rows * (2 * labels - 1)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
    r = signed @ signed.T
    truth = np.log(1 / 8 + np.arcsin([r[0, 1], r[0, 2], r[1, 2]]).sum() / (4 * np.pi))
    ratios(rows, labels, truth)


@pytest.mark.slow
def test_turned_into_the_space_of_its_rows():
    rows = PLANE[:3]
    labels = rows @ (-0.4, 1) > 0
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    spread = np.concatenate([rows, np.zeros((3, 10))], axis=1) @ rotation  # over twelve weights
    ratios(spread, labels, angle(rows, labels), turn=True)


@pytest.mark.slow
def test_several_outputs():
    """Orthogonal inputs of 3 outputs: each label has 1/3, whichever it is; no features: a tie, the lowest index."""
    features = np.zeros((3, 3, 2), np.float32)
    features[:2] = np.array([[0.6, -0.8], [8.0, 6.0]])[:, None]
    for labels, truth in (([2, 1, 0], 1 / 9), ([0, 0, 0], 1 / 9), ([1, 2, 1], 0.0)):
        _, logs, failed = estimates_of(features, np.array(labels), 5, 1.0)
        assert not np.any(failed)
        estimate = np.exp(np.asarray(logs, float))
        assert abs(estimate.mean() - truth) <= 5.5 * estimate.std(ddof=1) / np.sqrt(RUNS) + 1e-3 * truth


@pytest.mark.parametrize("settings", [{}, {"sweeps": 1, "damping": 0.5}])
def test_equal_correlations(settings):
    """1 / (m + 1) at a correlation of one half; whatever the sites are worth the mean is right."""
    rows = np.linalg.cholesky(np.full((ROWS, ROWS), 0.5) + 0.5 * np.eye(ROWS))
    off, spread = ratios(rows, np.ones(ROWS, int), -np.log(ROWS + 1), **settings)
    assert abs(off) < (0.6 if settings else 0.05)
    assert spread < (0.6 if settings else 0.05)


@pytest.mark.parametrize("width", [1e-2, 1e-4])
def test_thin_cones(width):
    off, _ = ratios([[1, 0], [-1, width]], [1, 1], np.log(np.arctan(width) / (2 * np.pi)))
    assert abs(off) < 0.3


def test_rows_of_no_use():
    """Equal rows count once; a row of zeros gives label 0; one weight alone has a sign."""
    rows = [[1.0, 2], [1, 2], [3, 1]]
    ratios(rows, [1, 1, 1], angle(rows, [1, 1, 1]))
    ratios([[1.0, 2], [0, 0], [3, 1]], [1, 0, 1], angle(rows, [1, 1, 1]))
    ratios([[1.0], [2.0], [1e-20]], [1, 1, 1], np.log(0.5))
    ratios([[0.0], [0.0]], [0, 0], 0.0)


@pytest.mark.parametrize(("features", "labels"), [([[1.0, 2], [0, 0]], [1, 1]), ([[1.0, 2], [1, 2]], [1, 0])])
def test_what_no_head_gives(features, labels):
    value, logs, failed = estimated(features, labels)
    assert np.all(np.asarray(logs) == -np.inf)
    assert not np.any(failed)
    assert np.isfinite(value)
    if 0 in np.abs(features).sum(axis=1):
        assert value == IMPOSSIBLE


def sites_in_float64(rows, sweeps):
    """The same fixed point from its definition: moments of one row's normal above 0, and plain inverses."""
    m, d = rows.shape
    tau, nu = np.zeros(m), np.zeros(m)
    for _ in range(sweeps):
        for i in range(m):
            others = np.arange(m) != i
            precision = np.eye(d) + (rows[others].T * tau[others]) @ rows[others]
            variance = rows[i] @ np.linalg.solve(precision, rows[i])
            mean = rows[i] @ np.linalg.solve(precision, rows[others].T @ nu[others])
            x = mean / np.sqrt(variance)
            hazard = np.exp(-0.5 * x * x - 0.5 * np.log(2 * np.pi) - special.log_ndtr(x))
            new_mean = mean + np.sqrt(variance) * hazard
            new_variance = variance * (1 - hazard * (x + hazard))
            tau[i], nu[i] = 1 / new_variance - 1 / variance, new_mean / new_variance - mean / variance
    return tau, nu


def test_sites_against_a_slow_fit():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(6, 4))
    labels = rng.integers(0, 2, 6)
    made = cone(jnp.asarray(rows, jnp.float32)[:, None], jnp.asarray(labels))
    for sweeps in (1, 5):
        found = gaussian(made, sweeps)
        tau, nu = sites_in_float64(np.asarray(made.rows, float), sweeps)
        np.testing.assert_allclose(found.tau, tau, rtol=2e-3)
        np.testing.assert_allclose(found.nu, nu, rtol=2e-3)
        signed = np.asarray(made.rows, float)
        precision = np.eye(4) + (signed.T * tau) @ signed
        np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), atol=1e-4)
        weighted = signed.T @ nu
        total = 0.5 * weighted @ np.linalg.solve(precision, weighted) - 0.5 * np.linalg.slogdet(precision)[1]
        assert float(found.log_total) == pytest.approx(total, rel=2e-4)
