"""The chance that a Gaussian vector lies in a cone, approximately: expectation propagation.

Quantity: o = P(A w > 0) for w ~ N(0, I_d) and rows a_i of unit length. Each condition a_i . w > 0 is stood in for by a
site exp(-tau_i h^2 / 2 + nu_i h), h = a_i . w, chosen so that the Gaussian with the site in place of the condition has
the mean and variance along a_i that the condition gives (Minka 2001; Cunningham, Hennig and Lacoste-Julien 2011, who
report its accuracy for such probabilities). Sites are visited one after the other; each visit changes the covariance
of w by a matrix of rank one.

The value is for guidance: whoever divides by it must estimate o itself without bias (cone.py). So sites that fail are
left as they are, and nothing is iterated until it converges.

Shape letters: m rows, d entries of w, C outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.estimators.integrated.intervals import hazard, log_tail

SWEEPS = 5  # over all sites
IMPOSSIBLE = -1e4  # log value where a condition cannot hold: small, yet finite, for differences of two of them
_FAR = -8.0  # standard deviations below 0 beyond which the variance of a tail is computed by its series


class Cone(NamedTuple):
    """The conditions a_i . w > 0 of a linear last layer."""

    rows: Array  # [m, d] of unit length; 0 where a condition does not depend on w
    active: Array  # [m] bool: the others hold always, or never
    possible: Array  # () bool: none of the others is one that never holds


class Gaussian(NamedTuple):
    """The Gaussian that stands in for w within the cone, and its total."""

    log_value: Array  # () natural, approximately log o
    log_total: Array  # () of exp(-w.w / 2) (2 pi)^(-d / 2) times all sites, exactly
    mean: Array  # [d]
    covariance: Array  # [d, d]
    tau: Array  # [m] of the sites, at least 0
    nu: Array  # [m]


class _Sites(NamedTuple):
    mean: Array
    covariance: Array
    log_determinant: Array  # of the precision
    tau: Array
    nu: Array


def cone(features: Array, labels: Array) -> Cone:
    """Make the cone of heads that give the labels.

    With one output an output of exactly 0 is class 0: where all features are 0 the label 0 holds always and the label 1
    never. With several the label is the argmax, ties going to the lowest index: its output is above each other one,
    and where all features are 0 the label 0 holds always and any other never.

    Args:
        features: [m, C, d]: output c is linear in the weights w_c ~ N(0, I_d) of its own.
        labels: [m], 0 or 1 for one output, else below C.
    """
    num_outputs, size = features.shape[1:]
    if num_outputs == 1:
        rows = features[:, 0] * jnp.where(labels > 0, 1, -1).astype(features.dtype)[:, None]
        holds = labels == 0
    else:
        others = (labels[:, None] + jnp.arange(1, num_outputs)) % num_outputs  # [m, C - 1]
        sign = jax.nn.one_hot(labels, num_outputs)[:, None] - jax.nn.one_hot(others, num_outputs)
        rows = (sign.astype(features.dtype)[..., None] * features[:, None]).reshape(-1, num_outputs * size)
        holds = jnp.repeat(labels == 0, num_outputs - 1)
    largest = jnp.max(jnp.abs(rows), axis=1, keepdims=True)  # first: squares of small numbers vanish
    active = largest[:, 0] > 0
    scaled = rows / jnp.where(active[:, None], largest, 1)
    length = jnp.sqrt(jnp.sum(scaled**2, axis=1, keepdims=True))
    rows = jnp.where(active[:, None], scaled / jnp.where(active[:, None], length, 1), 0)
    return Cone(rows, active, jnp.all(active | holds))


def turned(cone: Cone) -> Cone:
    """Give the same cone in the space of its rows, where that has fewer dimensions: [m, m] rows instead of [m, d].

    For R with A^T = Q R the law of Q^T w is N(0, I_m), and A w = R^T (Q^T w).
    """
    m, d = cone.rows.shape
    if m >= d:
        return cone
    return cone._replace(rows=jnp.linalg.qr(cone.rows.T, mode="r").T)


def gaussian(cone: Cone, sweeps: int = SWEEPS, damping: float = 1.0) -> Gaussian:
    """Fit the sites.

    Args:
        cone: the conditions.
        sweeps: over all sites, in their order.
        damping: part of each change of a site that is made.
    """
    rows, active = cone.rows, cone.active
    m, d = rows.shape
    dtype = rows.dtype

    def visit(number: Array, sites: _Sites) -> _Sites:
        i = number % m
        row = rows[i]
        across = sites.covariance @ row
        variance, mean = row @ across, row @ sites.mean
        tau, nu, usable = _matched(variance, mean, sites.tau[i], sites.nu[i])
        change = jnp.where(usable & active[i], damping * (tau - sites.tau[i]), 0)
        change_nu = jnp.where(usable & active[i], damping * (nu - sites.nu[i]), 0)
        gain = change / (1 + change * variance)
        return _Sites(
            sites.mean + across * (change_nu - gain * (mean + change_nu * variance)),
            sites.covariance - gain * jnp.outer(across, across),
            sites.log_determinant + jnp.log1p(change * variance),
            sites.tau.at[i].add(change),
            sites.nu.at[i].add(change_nu),
        )

    zero = jnp.zeros(m, dtype)
    sites = _Sites(jnp.zeros(d, dtype), jnp.eye(d, dtype=dtype), jnp.zeros((), dtype), zero, zero)
    sites = jax.lax.fori_loop(0, sweeps * m, visit, sites)

    along = rows @ sites.mean
    log_total = 0.5 * (sites.nu @ along - sites.log_determinant)
    each = jnp.where(active, _log_scale(rows, along, sites), 0)
    log_value = jnp.clip(jnp.nan_to_num(log_total + jnp.sum(each), nan=IMPOSSIBLE), IMPOSSIBLE, 0)
    log_value = jnp.where(cone.possible, log_value, IMPOSSIBLE)
    return Gaussian(log_value, log_total, sites.mean, sites.covariance, sites.tau, sites.nu)


def _cavity(variance: Array, mean: Array, tau: Array, nu: Array) -> tuple[Array, Array, Array]:
    """Variance and mean along a row without its site, and whether there is such a Gaussian."""
    precision = 1 / variance - tau
    usable = jnp.isfinite(precision) & (precision > 0)
    precision = jnp.where(usable, precision, 1)
    return 1 / precision, (mean / variance - nu) / precision, usable


def _matched(variance: Array, mean: Array, tau: Array, nu: Array) -> tuple[Array, Array, Array]:
    """The site whose Gaussian has the moments that the condition h > 0 gives, and whether it can be used."""
    cavity_variance, cavity_mean, usable = _cavity(variance, mean, tau, nu)
    deviation = jnp.sqrt(cavity_variance)
    z = cavity_mean / deviation
    ratio = hazard(-z, log_tail(-z))
    # Of a tail far out 1 - ratio (z + ratio) cancels; it is 1 / (z^2 + 6) to within a thousandth there.
    left = jnp.where(z < _FAR, 1 / (z**2 + 6), 1 - ratio * (z + ratio))
    left = jnp.clip(left, jnp.finfo(z.dtype).eps, 1)
    new_tau = (1 / left - 1) / cavity_variance
    new_nu = (cavity_mean + deviation * ratio) / (left * cavity_variance) - cavity_mean / cavity_variance
    usable = usable & jnp.isfinite(new_tau) & jnp.isfinite(new_nu)
    return new_tau, new_nu, usable


def _log_scale(rows: Array, along: Array, sites: _Sites) -> Array:
    """Log of the factor [m] with which a site has the integral of its condition, given the other sites."""
    variance = jnp.einsum("id,de,ie->i", rows, sites.covariance, rows)
    tau, nu = sites.tau, sites.nu
    cavity_variance, cavity_mean, usable = _cavity(variance, along, tau, nu)
    log_chance = log_tail(-cavity_mean / jnp.sqrt(cavity_variance))
    combined = (cavity_mean / cavity_variance + nu) ** 2 / (1 / cavity_variance + tau)
    site = 0.5 * (combined - cavity_mean**2 / cavity_variance - jnp.log1p(tau * cavity_variance))
    return jnp.where(usable, log_chance - site, 0)
