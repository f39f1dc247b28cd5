"""The chance that a Gaussian vector lies in a cone, without bias: sequential Monte Carlo along straight lines.

Quantity: o = P(A w > 0) for w ~ N(0, I_d). n particles start from the Gaussian that stands in for w within the cone
(expectation_propagation.py), whose total is known exactly. Then the conditions themselves take the places of their
sites, one at a time, the sharpest site first. With pi the measure before and pi' after such a step, and v a direction
that does not depend on w, the lines along v divide the space, so that for w drawn from pi

    E[ integral of pi' along the line through w / integral of pi along it ] = total of pi' / total of pi,

and each line's measure is a normal between two bounds: both integrals, and a draw from pi' on the line, are exact. The
weights of the conditions themselves, 1 / site, have an infinite variance; these have a finite one. The product of the
mean ratios is unbiased for any n, any directions and any sites (Del Moral 2004, section 7.4.2), and between two
conditions particles move along further lines (Gibbs sampling along directions, Chen and Schmeiser 1996), drawn from the
Gaussian's covariance once for all of them.

Shape letters: n particles, m rows, d entries of w.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.estimators.integrated.expectation_propagation import Cone, Gaussian
from volume.estimators.integrated.intervals import Interval, draw, interval
from volume.estimators.smc.resampling import systematic


class _Line(NamedTuple):
    """A measure along w + x v, as seen from every w: a normal between bounds."""

    centre: Array  # [n] of x
    deviation: Array  # ()
    between: Interval  # [n] bounds, in deviations from the centre
    log_integral: Array  # [n] natural, of the measure over its density at w, up to a constant that all lines share


def log_cone_probability(key: Array, cone: Cone, start: Gaussian, num: int, lines: int = 1) -> tuple[Array, Array]:
    """Estimate log P(A w > 0) by ``num`` particles; the exponential is unbiased.

    Args:
        key: consumed.
        cone: the conditions.
        start: what stands in for w within the cone; any of `gaussian`'s numbers of sweeps will do.
        num: n.
        lines: moves of each particle after each condition.

    Returns:
        The natural log of the estimate, -inf where no particle fulfils all conditions; and whether the estimate as a
        whole failed, in which case it is -inf too. A single particle whose weight is NaN weighs nothing.
    """
    rows, active = cone.rows, cone.active
    m = len(rows)
    # All random numbers at once: every further call takes a second to compile.
    key_normals, key_uniforms = jax.random.split(key)
    normals = jax.random.normal(key_normals, (num + m * lines, rows.shape[1]), rows.dtype)
    uniforms = jax.random.uniform(key_uniforms, (m, 1 + num * (1 + lines)), rows.dtype)
    # Rounding may leave a covariance that has no root: then the whole estimate failed.
    root, spoilt = _root(start.covariance)
    w = start.mean + normals[:num] @ root.T
    h = w @ rows.T  # [n, m]
    order = jnp.argsort(jnp.where(active, -start.tau, jnp.inf))
    sharpening = start.covariance @ rows.T  # [d, m]
    others = normals[num:] @ root.T
    spread = (others @ rows.T).reshape(m, lines, m)
    others = others.reshape(m, lines, rows.shape[1])

    def harden(carry, step):
        w, h, hard, log_total = carry
        i, uniform, directions, effects = step
        chosen, uniform = uniform[0], uniform[1:].reshape(1 + lines, num)
        direction, effect = sharpening[:, i], rows @ sharpening[:, i]
        soft = active & ~hard
        before = _along(w, h, direction, effect, start, soft, hard)
        hard_after, soft_after = hard | (jnp.arange(m) == i), soft & (jnp.arange(m) != i)
        after = _along(w, h, direction, effect, start, soft_after, hard_after)
        # Both integrals are in units of their measure at w, and the measure after has no site there.
        log_site = start.nu[i] * h[:, i] - 0.5 * start.tau[i] * h[:, i] ** 2
        log_weight = jnp.where(active[i], after.log_integral - before.log_integral - log_site, 0)
        log_weight = jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
        largest = jnp.max(log_weight)
        weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(largest), largest, 0))
        log_total = log_total + largest + jnp.log(jnp.mean(weight))
        parent = systematic(chosen, weight)
        kept = jax.tree.map(lambda each: each[parent], after.between)
        x = after.centre[parent] + after.deviation * draw(uniform[0], kept)
        x = jnp.where(active[i], x, 0)[:, None]
        w, h = w[parent] + x * direction, h[parent] + x * effect
        hard = jnp.where(active[i], hard_after, hard)
        soft = jnp.where(active[i], soft_after, soft)
        for number in range(lines):
            v, e = directions[number], effects[number]
            line = _along(w, h, v, e, start, soft, hard)
            x = line.centre + line.deviation * draw(uniform[1 + number], line.between)
            x = jnp.where(jnp.isfinite(x) & (line.between.high > line.between.low), x, 0)[:, None]
            w, h = w + x * v, h + x * e
        return (w, h, hard, log_total), None

    carry = (w, h, jnp.zeros(m, bool), start.log_total)
    steps = (order, uniforms, others, spread)
    (_, _, _, log_total), _ = jax.lax.scan(harden, carry, steps)
    failed = jnp.isnan(log_total) | spoilt
    return jnp.where(failed | ~cone.possible, -jnp.inf, log_total), failed & cone.possible


def _root(covariance: Array) -> tuple[Array, Array]:
    """A Cholesky factor, and whether there is none."""
    root = jnp.linalg.cholesky(covariance)
    return root, ~jnp.all(jnp.isfinite(root))


def _along(w: Array, h: Array, direction: Array, effect: Array, start: Gaussian, soft: Array, hard: Array) -> _Line:
    """See the measure of the conditions ``hard`` and the sites ``soft`` [m] along a line through every w [n, d].

    ``h`` [n, m] is A w, ``direction`` [d] is v and ``effect`` [m] is A v.
    """
    tau, nu = jnp.where(soft, start.tau, 0), jnp.where(soft, start.nu, 0)
    precision = direction @ direction + tau @ effect**2
    slope = -w @ direction + (nu - tau * h) @ effect
    deviation, centre = 1 / jnp.sqrt(precision), slope / precision
    per = 1 / jnp.where(effect == 0, 1, effect)
    crossing = -h * per  # of the conditions' bounds, in x
    low = jnp.max(jnp.where(hard & (effect > 0), crossing, -jnp.inf), axis=1)
    high = jnp.min(jnp.where(hard & (effect < 0), crossing, jnp.inf), axis=1)
    between = interval((low - centre) / deviation, (high - centre) / deviation)
    log_integral = 0.5 * slope * centre - 0.5 * jnp.log(precision) + between.log_probability
    return _Line(centre, deviation, between, log_integral)
