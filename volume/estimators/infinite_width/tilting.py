"""Minimax exponential tilting for Gaussian boxes: order of the variables, saddle point, weighted draws.

P(lower < X < upper) for X ~ N(0, L' L'^T) is an integral over one coordinate at a time (Genz 1992). With row k of L'
divided by its pivot, L the strictly lower part of the result, and x drawn coordinate by coordinate from N(mu_k, 1)
restricted to (l_k - c_k, u_k - c_k), c = L x, the log weight of a draw is (Botev 2017, JRSS-B 79, 125-148, eq. 8)

    psi(x; mu) = sum_k  mu_k^2 / 2 - x_k mu_k + log P(l_k - mu_k - c_k < N(0, 1) < u_k - mu_k - c_k).

Its mean of exp(psi) is the probability for every mu. The minimax tilt min_mu max_x psi is the saddle point that solves
grad psi = 0 in 2 (d - 1) unknowns; there psi bounds the log weight of every draw and so the log probability.

Shape letters: d variables, S draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtri_exp

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_NEWTON_STEPS = 40  # plain Newton takes 5 to 15; the rest is for halved steps
_RESIDUAL = 1e-8


class Problem(NamedTuple):
    """A box after reordering and division by the pivots."""

    factor: np.ndarray  # [d, d] strictly lower triangular
    lower: np.ndarray  # [d], finite
    upper: np.ndarray  # [d], may be inf
    pivots: np.ndarray  # [d], what was divided by
    index: np.ndarray  # [d], the place of each variable before reordering


class Tilt(NamedTuple):
    """The saddle point, or mu = 0 where none was found."""

    mu: np.ndarray  # [d], the last entry 0
    bound: float  # psi at the saddle point, an upper bound of the log probability; inf without one
    converged: bool


def log_interval(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """log P(lower < N(0, 1) < upper), also far out in either tail."""
    flip = lower + upper < 0
    a = np.where(flip, -upper, lower)
    b = np.where(flip, -lower, upper)
    log_a = log_ndtr(-a)  # P(N > a), the tail that does not cancel
    with np.errstate(divide="ignore"):
        return log_a + np.log1p(-np.exp(log_ndtr(-b) - log_a))


def order(correlation: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Problem:
    """Cholesky factor with the least likely variable, given the means of those before it, always next.

    Gibson, Glasbey and Elston (1994); Botev (2017), section 4. Raises LinAlgError when a pivot is not positive.
    """
    d = len(lower)
    work = correlation.copy()
    lower, upper = lower.copy(), upper.copy()
    factor, index = np.zeros((d, d)), np.arange(d)
    # Variance that the variables chosen so far leave, and the conditional mean given theirs.
    variance, centre = np.diagonal(work).copy(), np.zeros(d)
    for k in range(d):
        if variance[k:].min() <= 0:
            raise np.linalg.LinAlgError("a pivot is not positive")
        spread = np.sqrt(variance[k:])
        low, high = (lower[k:] - centre[k:]) / spread, (upper[k:] - centre[k:]) / spread
        least = k + int(np.argmin(log_interval(low, high)))
        for array in (lower, upper, variance, centre, index):
            array[[k, least]] = array[[least, k]]
        work[:, [k, least]] = work[:, [least, k]]
        work[[k, least]] = work[[least, k]]
        factor[[k, least], :k] = factor[[least, k], :k]
        factor[k, k] = spread[least - k]
        factor[k + 1 :, k] = (work[k + 1 :, k] - factor[k + 1 :, :k] @ factor[k, :k]) / factor[k, k]
        at_low, at_high = _edge_densities(low[least - k], high[least - k])
        variance[k + 1 :] -= factor[k + 1 :, k] ** 2
        centre[k + 1 :] += factor[k + 1 :, k] * (at_low - at_high)  # the mean of N(0, 1) restricted to (low, high)
    pivots = np.diagonal(factor)
    return Problem(np.tril(factor / pivots[:, None], -1), lower / pivots, upper / pivots, pivots, index)


def _edge_densities(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal density at both ends over the probability between them."""
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    log_mass = log_interval(lower, upper)
    # erfcx keeps the hazard's digits where density and tail both underflow.
    hazard = np.sqrt(2 / np.pi) / erfcx(np.clip(lower, -25, None) / np.sqrt(2))
    with np.errstate(over="ignore"):
        low = np.where(
            np.isinf(upper) & (lower > -25), hazard, np.exp(np.minimum(-0.5 * lower**2 - _LOG_SQRT_2PI - log_mass, 700))
        )
        high = np.exp(np.minimum(-0.5 * upper**2 - _LOG_SQRT_2PI - log_mass, 700))
    return low, high


def _gradient(problem: Problem, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d psi / dx, d psi / dmu) [2 (d - 1)] at y = (x, mu), and the slope of the mean shift in the centre [d]."""
    m = len(y) // 2
    x, mu = y[:m], y[m:]
    centre = problem.factor[:, :m] @ x + np.append(mu, 0.0)
    low, high = problem.lower - centre, problem.upper - centre
    at_low, at_high = _edge_densities(low, high)
    shift = at_low - at_high
    slope = -(shift**2) + low * at_low - np.where(np.isinf(high), 0.0, high) * at_high
    return np.concatenate([problem.factor[:, :m].T @ shift - mu, mu - x + shift[:m]]), slope


def _jacobian(problem: Problem, slope: np.ndarray) -> np.ndarray:
    m = len(slope) - 1
    rows = problem.factor[:, :m]
    across = slope[:m, None] * rows[:m] - np.eye(m)
    return np.block([[rows.T @ (slope[:, None] * rows), across.T], [across, np.diag(1 + slope[:m])]])


def _newton(problem: Problem, start: np.ndarray) -> tuple[np.ndarray, bool]:
    """Newton's method for grad psi = 0, steps halved until the residual falls: the last point, and if it solves."""
    y = start
    gradient, slope = _gradient(problem, y)
    size = float(np.linalg.norm(gradient))
    for _ in range(_NEWTON_STEPS):
        if size <= _RESIDUAL:
            break
        try:
            step = np.linalg.solve(_jacobian(problem, slope), -gradient)
        except np.linalg.LinAlgError:
            break
        length = 1.0
        while length > 1e-4:
            trial = y + length * step
            trial_gradient, trial_slope = _gradient(problem, trial)
            trial_size = float(np.linalg.norm(trial_gradient))
            if np.isfinite(trial_size) and trial_size < (1 - 1e-4 * length) * size:
                break
            length /= 2
        else:
            break
        y, gradient, slope, size = trial, trial_gradient, trial_slope, trial_size
    # Where pivots are tiny the last digits of the gradient are rounding; what is left moves psi in second order only.
    return y, size <= _RESIDUAL + 1e-7 * float(np.abs(problem.factor).max())


def _conditional_means(problem: Problem) -> np.ndarray:
    """x [d - 1], each the mean of its coordinate given the ones before it: inside the box, and mu = 0 belongs to it."""
    m = len(problem.lower) - 1
    x = np.zeros(m)
    for k in range(m):
        centre = problem.factor[k, :k] @ x[:k]
        at_low, at_high = _edge_densities(problem.lower[k] - centre, problem.upper[k] - centre)
        x[k] = at_low - at_high
    return x


def saddle(problem: Problem) -> Tilt:
    """The saddle point by Newton's method from the origin; then in steps from no correlation; then from inside."""
    d = len(problem.lower)
    m = d - 1
    y, converged = _newton(problem, np.zeros(2 * m))
    if not converged:
        largest = float(np.abs(problem.factor).max())
        y = np.zeros(2 * m)
        for part in np.geomspace(min(0.5, 1 / largest), 1.0, 4 + int(2 * np.log2(1 + largest))):
            y, converged = _newton(problem._replace(factor=part * problem.factor), y)
    if not converged:
        y, converged = _newton(problem, np.append(_conditional_means(problem), np.zeros(m)))
    if not converged:
        return Tilt(np.zeros(d), np.inf, False)
    x, mu = y[:m], np.append(y[m:], 0.0)
    centre = problem.factor[:, :m] @ x + mu
    psi = log_interval(problem.lower - centre, problem.upper - centre) + 0.5 * mu**2
    return Tilt(mu, float(np.sum(psi) - x @ mu[:m]), True)


def weighted_draws(problem: Problem, mu: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give psi [S] and tilted draws X [d, S] of the variables, in the order before reordering, of uniforms [d, S]."""
    psi, x = tilted_draws(problem, mu, uniforms)
    values = np.empty_like(x)
    values[problem.index] = problem.pivots[:, None] * (x + problem.factor @ x)
    return psi, values


def tilted_draws(problem: Problem, mu: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give psi [S] and x [m, S] of uniforms [m, S], m = d or d - 1: the last coordinate's weight needs no draw."""
    d, (m, count) = len(mu), uniforms.shape
    x = np.empty((m, count))
    total = np.zeros(count)
    for k in range(d):
        centre = mu[k] + problem.factor[k, :k] @ x[:k]
        low = problem.lower[k] - centre
        one_sided = np.isinf(problem.upper[k])
        log_low = log_ndtr(-low)
        if one_sided:
            total += log_low
        else:
            high = problem.upper[k] - centre
            total += log_interval(low, high)
        if k == m:
            break
        if one_sided:
            x[k] = mu[k] - ndtri_exp(log_low + np.log(uniforms[k]))
        else:
            x[k] = mu[k] + _between(low, high, uniforms[k])
        total += mu[k] * (0.5 * mu[k] - x[k])
    return total, x


def _between(lower: np.ndarray, upper: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Quantiles of N(0, 1) restricted to (lower, upper), reflected into the upper tail where that keeps digits."""
    flip = lower + upper < 0
    a, b = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
    inside = -ndtri_exp(np.logaddexp(log_ndtr(-a) + np.log(uniform), log_ndtr(-b) + np.log1p(-uniform)))
    return np.where(flip, -1, 1) * np.clip(inside, a, b)
