"""A standard normal on an interval: its mass and exact draws, in logs, anywhere in the tails.

The difference of two normal probabilities loses its digits where the interval is narrow or far out. So: a narrow
interval takes the first terms of the density's expansion about its middle, a wide one the tail that has the digits.

All functions broadcast; float32 keeps about four digits of a mass, float64 seven (of a draw, as many as a uniform of 23
bits has).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr, ndtri

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
# Below this width times (1 + |middle|) the density is exp(a line) up to w^2 / 8 of itself: 1e-5.
NARROW = 1e-2
# Below this log probability, in reach of float32's exponent, tails are inverted by their asymptotic series.
FAR = -80.0
NEWTON_STEPS = 3


def log_mass(low: Array, high: Array) -> Array:
    """log P(low < Z < high) in nats, Z ~ N(0, 1); -inf for an empty interval."""
    narrow, middle, width = _narrow(low, high)
    thin = jnp.log(width) - middle**2 / 2 - LOG_ROOT_2PI + jnp.log1p(width**2 * (middle**2 - 1) / 24)
    _, near, far = _tails(low, high)
    # An infinite interval has far = -inf; an empty one near <= far, and is told apart below.
    # Beyond 1e19 both ends overflow: an interval there has no mass, and -inf + inf is not to say otherwise.
    wide = jnp.where(near > -jnp.inf, near + jnp.log(-jnp.expm1(jnp.minimum(far - near, -1e-30))), -jnp.inf)
    return jnp.where(high > low, jnp.where(narrow, thin, wide), -jnp.inf)


def quantile(share: Array, low: Array, high: Array) -> Array:
    """Return the point of [low, high] below which ``share`` of the interval's mass lies: a draw for a uniform
    ``share``.

    A share of 0, which a float32 uniform takes once in 2^23 times, stands for the middle of its step.
    """
    share = jnp.clip(share, 2.0**-24, 1 - 2.0**-24)
    narrow, middle, width = _narrow(low, high)
    slope = middle * width  # on the unit interval the density is exp(-slope x)
    safe = jnp.where(jnp.abs(slope) < 1e-3, 1.0, slope)
    curved = -jnp.log1p(share * jnp.expm1(-safe)) / safe
    straight = share - slope * share * (1 - share) / 2
    thin = low + width * jnp.where(jnp.abs(slope) < 1e-3, straight, curved)
    right, near, far = _tails(low, high)
    share = jnp.where(right, 1 - share, share)
    point = _inverse_log_ndtr(jnp.logaddexp(far + jnp.log1p(-share), near + jnp.log(share)))
    return jnp.clip(jnp.where(narrow, thin, jnp.where(right, -point, point)), low, high)


def _tails(low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Whether the interval is reflected to lie left of 0, for the most, where tails have the digits; then its ends'
    log Phi, the nearer to 0 first."""
    right = low > -high
    return right, log_ndtr(jnp.where(right, -low, high)), log_ndtr(jnp.where(right, -high, low))


def _narrow(low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Whether the interval is narrow, and then its middle and its width (else 0 and 1)."""
    finite = jnp.isfinite(low) & jnp.isfinite(high)
    low, high = jnp.where(finite, low, 0), jnp.where(finite, high, 1)
    middle, width = (low + high) / 2, high - low
    narrow = finite & (width > 0) & (width * (1 + jnp.abs(middle)) < NARROW)
    return narrow, jnp.where(narrow, middle, 0), jnp.where(narrow, width, 1)


def _inverse_log_ndtr(log_p: Array) -> Array:
    """x with log Phi(x) = log_p: SciPy's rational function, and far out Newton's method on the concave log Phi."""
    far = log_p < FAR
    tail = jnp.where(far, -log_p, -FAR)
    x = -jnp.sqrt(2 * tail - jnp.log(4 * math.pi * tail))  # -2 log Phi(x) = x^2 + log(2 pi x^2) + O(1 / x^2)
    for _ in range(NEWTON_STEPS):
        # phi(x) / |x| (1 - 1/x^2 + 3/x^4 - 15/x^6) is Phi(x) but for 105 / x^8: 2e-7 there.
        w = 1 / x**2
        value = -(x**2) / 2 - LOG_ROOT_2PI - jnp.log(-x) + jnp.log1p(w * (w * (3 - 15 * w) - 1))
        x = x + (value + tail) / (x + 1 / x)  # d log Phi / dx = -x - 1 / x + O(1 / x^3)
    close = ndtri(jnp.exp(jnp.where(far, FAR, log_p)))
    return jnp.where(far, x, close)
