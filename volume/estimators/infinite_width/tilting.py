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

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import lu_factor, lu_solve, solve_triangular
from scipy.special import erfcx, log_ndtr, ndtri_exp

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_NEWTON_STEPS = 120  # 5 to 15 where no pivot is small, 50 at pivots of 1e-13
_CORRECTION = 1e-9  # of a solution: what Newton's method would still add to it
_SHORTEST = 1e-8  # part of a step
_FAR = 25.0  # beyond so many standard deviations what lies above a lower limit is computed as such, not as a difference


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


def factored(factor: np.ndarray, index: np.ndarray) -> Problem:
    """Take variables above 0, in the order ``index``, from a Cholesky factor [d, d] in that order."""
    pivots = np.diagonal(factor)
    zero, free = np.zeros(len(factor)), np.full(len(factor), np.inf)
    return Problem(np.tril(factor / pivots[:, None], -1), zero, free, pivots, index)


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


def _moments(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of N(0, 1) restricted to (lower, upper), less ``lower``, and its variance, to full relative precision.

    Far out they are about 1 / lower and 1 / lower^2, and would be differences of numbers that agree in all digits.
    """
    one_sided, far = np.isinf(upper), lower > _FAR
    low, high = np.where(one_sided & far, 0.0, lower), np.where(one_sided, 1.0, upper)
    at_low, at_high = _edge_densities(low, np.where(one_sided, np.inf, high))
    mean = at_low - at_high
    excess, variance = mean - low, 1 - mean**2 + low * at_low - np.where(one_sided, 0.0, high) * at_high
    out = np.where(far, lower, _FAR)
    q = out**-2.0  # the asymptotic series of Mills' ratio: at _FAR the first term left out is 1e-11
    tail = (1 + q * (-2 + q * (10 + q * (-74 + q * (706 + q * (-8162 + q * 110410)))))) / out
    tail_variance = q * (1 + q * (-6 + q * (50 + q * (-518 + q * (6354 + q * (-89782 + q * 1435330))))))
    use = one_sided & far
    return np.where(use, tail, excess), np.where(use, tail_variance, variance)


def _gradient(problem: Problem, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d psi / dx, d psi / dmu) [2 (d - 1)] at y = (x, mu), and the variances of the restricted normals [d]."""
    m = len(y) // 2
    x, mu = y[:m], y[m:]
    centre, tilt = problem.factor[:, :m] @ x, np.append(mu, 0.0)
    least = problem.lower - centre
    excess, variance = _moments(least - tilt, problem.upper - centre - tilt)
    shift = least - tilt + excess
    return np.concatenate([problem.factor[:, :m].T @ shift - mu, least[:m] - x + excess[:m]]), variance


def _jacobian(problem: Problem, variance: np.ndarray) -> np.ndarray:
    m = len(variance) - 1
    rows, slope = problem.factor[:, :m], variance - 1
    across = slope[:m, None] * rows[:m] - np.eye(m)
    return np.block([[rows.T @ (slope[:, None] * rows), across.T], [across, np.diag(variance[:m])]])


def _newton(problem: Problem, start: np.ndarray) -> tuple[np.ndarray, bool]:
    """Damped Newton's method for grad psi = 0: the last point, and whether it solves.

    A step is shortened until the next simplified Newton correction, which uses the same Jacobian, is smaller (the
    natural monotonicity test, Deuflhard 2011, section 3.3): unlike the residual it does not depend on the scale of the
    equations, which pivots of 1e-10 stretch by 1e20. Corrections are measured in x |mu| and mu / |mu|.
    """
    m = len(start) // 2
    y = start
    gradient, variance = _gradient(problem, y)
    length = 1.0
    for _ in range(_NEWTON_STEPS):
        size = np.maximum(1.0, np.abs(y[m:]))
        unit = np.concatenate([1 / size, size])
        scaled = _jacobian(problem, variance) * unit
        with np.errstate(divide="ignore"):
            rows = 1 / np.abs(scaled).max(axis=1)
        try:
            factors = lu_factor(scaled * rows[:, None])
            step = lu_solve(factors, -gradient * rows)
        except (ValueError, np.linalg.LinAlgError):  # not finite
            return y, False
        error = float(np.linalg.norm(step))
        if error <= _CORRECTION * math.sqrt(2 * m):
            return y + unit * step, True
        length = min(1.0, 4 * length)
        while length > _SHORTEST:
            trial = y + length * unit * step
            trial_gradient, trial_variance = _gradient(problem, trial)
            if np.isfinite(trial_gradient).all():
                correction = np.linalg.norm(lu_solve(factors, -trial_gradient * rows))
                if correction <= (1 - length / 4) * error:
                    break
            length /= 2
        else:
            return y, False
        y, gradient, variance = trial, trial_gradient, trial_variance
    return y, False


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
    """Return the saddle point by Newton's method from the origin, or from inside the box."""
    d = len(problem.lower)
    m = d - 1
    y, converged = _newton(problem, np.zeros(2 * m)) if m else (np.zeros(0), True)
    if not converged:
        y, converged = _newton(problem, np.append(_conditional_means(problem), np.zeros(m)))
    if not converged:
        return Tilt(np.zeros(d), np.inf, False)
    x, mu = y[:m], np.append(y[m:], 0.0)
    centre = problem.factor[:, :m] @ x
    least = problem.lower - centre
    excess = np.append(x - least[:m], 0.0)
    return Tilt(mu, float(np.sum(_log_weights(least, problem.upper - centre, mu, excess))), True)


def _log_weights(lower: np.ndarray, upper: np.ndarray, mu: np.ndarray | float, excess: np.ndarray) -> np.ndarray:
    """Terms of psi for x = lower + excess, limits given without mu; the last variable's excess does not count (mu = 0).

    Far out mu^2 / 2 and log P would cancel: there the square that both hold is left out.
    """
    away = lower - mu
    far = np.isinf(upper) & (away > _FAR)
    near = np.where(far, 0.0, away)
    direct = log_interval(near, np.where(far, np.inf, upper - mu)) + mu * (0.5 * mu - lower - excess)
    tail = np.log(erfcx(np.where(far, away, 0.0) / math.sqrt(2)) / 2) - 0.5 * lower**2 - mu * excess
    return np.where(far, tail, direct)


def weighted_draws(problem: Problem, mu: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give psi [S] and tilted draws X [d, S] of the variables, in the order before reordering, of uniforms [d, S]."""
    psi, excess = tilted_draws(problem, mu, uniforms)
    values = np.empty_like(excess)
    values[problem.index] = problem.pivots[:, None] * (problem.lower[:, None] + excess)
    return psi, values


def tilted_draws(problem: Problem, mu: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give psi [S] and how far draws lie above their lower limits [m, S], in units of the pivots, of uniforms [m, S].

    m = d or d - 1: the last coordinate's weight needs no draw.
    """
    d, (m, count) = len(mu), uniforms.shape
    x, excess = np.empty((m, count)), np.zeros((m, count))
    total, none = np.zeros(count), np.zeros(count)
    for k in range(d):
        centre = problem.factor[k, :k] @ x[:k]
        low, high = problem.lower[k] - centre, problem.upper[k] - centre
        if k < m:
            excess[k] = _quantiles(low - mu[k], high - mu[k], uniforms[k])
            x[k] = low + excess[k]
        total += _log_weights(low, high, mu[k], excess[k] if k < m else none)
    return total, excess


def rounding(problem: Problem, mu: np.ndarray, uniforms: np.ndarray) -> float:
    """Estimate from draws of uniforms [d, S] how many nats rounding of the factor moves the log probability by.

    An entry's last digit moves the lower limit of its row by that part of the product it is in; a limit that far out
    counts by the hazard, about its distance.
    """
    _, excess = tilted_draws(problem, mu, uniforms)
    least = problem.lower[:, None] + excess
    x = solve_triangular(problem.factor + np.eye(len(mu)), least, lower=True, unit_diagonal=True)
    moves = len(mu) * np.finfo(float).eps * (np.abs(problem.factor) @ np.abs(x))
    hazard = 1 + np.maximum(x - excess - mu[:, None], 0)
    return float((moves * hazard).sum(axis=0).mean())


def _quantiles(lower: np.ndarray, upper: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Quantiles of N(0, 1) restricted to (lower, upper), less ``lower``; one-sided ones from above."""
    if not np.isinf(upper).any():
        return _between(lower, upper, uniform) - lower
    far = lower > _FAR
    inside = -ndtri_exp(log_ndtr(-np.where(far, 0.0, lower)) + np.log(uniform)) - lower
    if not far.any():
        return inside
    # log P(N > lower + t) - log P(N > lower) = log uniform for t, by Newton's method from the exponential's answer.
    away = np.where(far, lower, _FAR)
    wanted = np.log(uniform)
    t = -2 * wanted / (away + np.sqrt(away**2 - 2 * wanted))
    start = np.log(erfcx(away / math.sqrt(2)))
    for _ in range(3):
        value = erfcx((away + t) / math.sqrt(2))
        t = t + (np.log(value) - start - t * (away + 0.5 * t) - wanted) * value * math.sqrt(math.pi / 2)
    return np.where(far, t, inside)


def _between(lower: np.ndarray, upper: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Quantiles of N(0, 1) restricted to (lower, upper), reflected into the upper tail where that keeps digits."""
    flip = lower + upper < 0
    a, b = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
    inside = -ndtri_exp(np.logaddexp(log_ndtr(-a) + np.log(uniform), log_ndtr(-b) + np.log1p(-uniform)))
    return np.where(flip, -1, 1) * np.clip(inside, a, b)
