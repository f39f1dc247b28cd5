"""A normal between two bounds, against SciPy in float64.

False alarms: of 14 Kolmogorov-Smirnov tests of 20,000 draws each at 1e-5, less than 2e-4 were the seed drawn anew.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from volume.estimators.integrated.intervals import draw, interval, log_tail

BOUNDS = [(-1, 2), (3, 4), (9, 9.5), (20, 21), (-30, -29), (5, np.inf), (-np.inf, -12), (-np.inf, 3), (0.3, 0.302)]
BOUNDS += [(-np.inf, np.inf), (-0.004, 0.001), (1, 1.5), (-8, 0.5), (60, np.inf)]


def truth(low, high):
    """Log P(low < N(0, 1) < high), by quadrature of the density over its largest value."""
    peak = min(max(low, 0.0), high)
    low, high = max(low, peak - 40), min(high, peak + 40)
    scale = 1 / max(1.0, abs(peak))
    parts = np.clip([low, peak - 30 * scale, peak, peak + 30 * scale, high], low, high)
    pairs = itertools.pairwise(parts)
    area = sum(integrate.quad(lambda x: np.exp(-0.5 * (x * x - peak * peak)), a, b)[0] for a, b in pairs)
    return np.log(area) - 0.5 * peak**2 - 0.5 * np.log(2 * np.pi)


def test_log_tail():
    x = np.concatenate([np.linspace(-12, 12, 1001), [-1e4, -60, 60, 1e4]])
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 3e-7)):
        with jax.enable_x64(dtype is np.float64):
            found = np.asarray(log_tail(jnp.asarray(x, dtype)), float)
        exact = special.log_ndtr(-x.astype(dtype).astype(float))
        np.testing.assert_allclose(found, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_probability_and_draws(low, high):
    low32, high32 = np.float32(low), np.float32(high)
    seen = interval(jnp.asarray(low32), jnp.asarray(high32))
    exact = truth(float(low32), float(high32))
    assert float(seen.log_probability) == pytest.approx(exact, rel=1e-6, abs=3e-6)
    x = np.asarray(
        draw(
            jax.random.uniform(jax.random.key(1), (20_000,)),
            interval(jnp.full(20_000, low32), jnp.full(20_000, high32)),
        )
    )
    assert np.all((x >= low32) & (x <= high32))

    def cdf(points):  # from the nearer tail, where SciPy's difference keeps its digits
        sign = -1.0 if low32 > -high32 else 1.0
        a, b = sorted((sign * float(low32), sign * float(high32)))
        below = special.log_ndtr(sign * points.astype(float))
        whole = special.log_ndtr(b)
        share = np.expm1(special.log_ndtr(a) - below) * np.exp(below - whole) / np.expm1(special.log_ndtr(a) - whole)
        return share if sign > 0 else 1 - share

    assert stats.kstest(x, cdf).pvalue > 1e-5


def test_nothing_between():
    seen = interval(jnp.array([1.0, 2.0]), jnp.array([1.0, -2.0]))
    assert np.all(np.asarray(seen.log_probability) == -np.inf)
    assert np.all(np.isfinite(draw(jnp.array([0.3, 0.9]), seen)))
