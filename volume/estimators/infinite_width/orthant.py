"""The probability of a sign pattern, or a box, under a centred Gaussian, in log space.

Quantity: P(X > 0 where signs are +1, X < 0 where they are -1), X ~ N(0, cov), or P(lower < X < upper).
Estimator: minimax exponential tilting (Botev 2017; tilting.py), the mean of bounded weights over R independently
shifted lattices. Interval: Student's t with R - 1 degrees on the R means, carried to the logarithm by the delta method;
where the relative error is above .1, Markov's inequality below and the bound at the saddle point above, and the mean is
then no estimate.

Shape letters: d variables, R replicates, S draws in each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from volume.common.logs import LN10
from volume.common.machine import check_room
from volume.common.validation import check_level
from volume.errors import whole
from volume.estimators.infinite_width.tilting import Problem, Tilt, order, saddle, tilted_draws
from volume.reports.limit_entries import MAX_RELATIVE_ERROR

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class OrthantEstimate:
    """The probability of one sign pattern or box, with its interval. Logarithms are natural unless they say log10."""

    log_probability: float  # -inf for an event that cannot happen; quote it only where ``resolved``
    log_low: float  # ends of the interval: it covers the truth with probability ``level``
    log_high: float
    level: float
    relative_error: float  # standard error of the probability over the probability; inf where only limits are known
    log_bound: float  # an upper bound of the log probability that owes nothing to chance; inf when there is none
    num_variables: int  # d
    num_draws: int  # all replicates together; 0 for an exact answer
    num_replicates: int  # R
    jitter: float = 0.0  # what was added to each variance, as a fraction of it
    notes: tuple[str, ...] = ()  # sentences that a reader must see beside the number

    @property
    def resolved(self) -> bool:
        """Whether there is an estimate: else the limits are all that is known, and the mean is likely far too low."""
        return self.relative_error <= MAX_RELATIVE_ERROR

    @property
    def log10_probability(self) -> float:
        return self.log_probability / LN10

    def at_level(self, level: float) -> OrthantEstimate:
        """Give the same draws an interval of another level."""
        if not self.num_draws:
            return replace(self, level=level)
        log_p, error = self.log_probability, self.relative_error
        if self.resolved:
            half = float(stats.t.ppf((1 + level) / 2, self.num_replicates - 1)) * error
            ends = log_p - half, min(log_p + half, 0.0)
        else:  # P(mean > p / alpha) <= alpha whatever the law of the weights (Markov)
            ends = log_p + math.log1p(-level), min(self.log_bound, 0.0)
        return replace(self, log_low=ends[0], log_high=ends[1], level=level)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record: infinite logarithms are None."""
        record = dict(vars(self)) | {"notes": list(self.notes), "log10_probability": self.log10_probability}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def log_orthant(
    cov: ArrayLike,
    signs: ArrayLike | None = None,
    *,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    samples: int = 20_000,
    replicates: int = 16,
    seed: int = 0,
    level: float = 0.95,
) -> OrthantEstimate:
    """Estimate log P of a sign pattern under N(0, cov), or of a box.

    Args:
        cov: covariance, [d, d], symmetric and positive definite. Its scale does not matter for signs.
        signs: +1 or -1 for each variable, [d]; default all +1.
        lower: lower ends of a box, [d] or one number, in place of ``signs``; -inf leaves a side open.
        upper: its upper ends; inf leaves a side open.
        samples: draws in all, shared out over the replicates.
        replicates: R, independent randomisations, at least 8; the interval rests on their spread.
        seed: a whole number in [0, 2^64); the same arguments give the same estimate.
        level: coverage of the interval.

    Raises:
        ValueError: a matrix that is not square, symmetric, finite or positive definite; signs other than +1 and -1;
            empty or undefined boxes; too few replicates or samples.
    """
    num_replicates, per_replicate = shared_out(samples, replicates)
    check_level(level)
    rng = generator(seed)
    matrix = _checked_cov(cov)
    low, high = _limits(len(matrix), signs, lower, upper)
    scale = np.sqrt(np.diagonal(matrix))
    correlation = matrix / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    low, high = low / scale, high / scale
    _check_definite(correlation)

    free = np.isneginf(low) & np.isposinf(high)  # a variable without limits drops out of a Gaussian
    correlation, low, high = correlation[~free][:, ~free], low[~free], high[~free]
    if not len(low):
        return exact(0.0, level, len(matrix))
    flip = np.where(np.isneginf(low), -1.0, 1.0)  # X -> -X, so that every lower limit is finite
    correlation = correlation * np.outer(flip, flip)
    low, high = np.where(flip < 0, -high, low), np.where(flip < 0, -low, high)

    problem = order(correlation, low, high)
    return estimated(problem, saddle(problem), len(matrix), (num_replicates, per_replicate), rng, level)


def estimated(
    problem: Problem,
    tilt: Tilt,
    num_variables: int,
    draws: tuple[int, int],
    rng: np.random.Generator,
    level: float,
    *,
    jitter: float = 0.0,
    notes: tuple[str, ...] = (),
) -> OrthantEstimate:
    """Estimate the probability of a reordered box from ``draws`` = (R, S)."""
    num_replicates, per_replicate = draws
    what = f"One replicate of {per_replicate:,} draws of {len(tilt.mu):,} variables"
    check_room(what, 8 * per_replicate * len(tilt.mu), "give fewer samples")
    means = np.array([_log_mean(problem, tilt.mu, per_replicate, rng) for _ in range(num_replicates)])
    top = means.max()
    shares = np.exp(means - top)
    mean = shares.mean()
    log_probability = float(top + np.log(mean))
    # Rounding: d log-normal tails of relative error eps are added up.
    rounding = _EPS * (len(problem.lower) + abs(log_probability))
    relative = float(np.hypot(shares.std(ddof=1) / mean / math.sqrt(num_replicates), rounding))
    return OrthantEstimate(
        log_probability=log_probability,
        log_low=-math.inf,  # `at_level` makes the interval
        log_high=0.0,
        level=level,
        relative_error=relative,
        log_bound=tilt.bound,
        num_variables=num_variables,
        num_draws=num_replicates * per_replicate,
        num_replicates=num_replicates,
        jitter=jitter,
        notes=(*notes, *_notes(relative, tilt.converged)),
    ).at_level(level)


def at_most(log_bound: float, level: float, num_variables: int, jitter: float, *notes: str) -> OrthantEstimate:
    """Record that nothing but an upper bound is known."""
    ends = (-math.inf, -math.inf, min(log_bound, 0.0))
    return OrthantEstimate(*ends, level, math.inf, log_bound, num_variables, 0, 0, jitter, notes)


def exact(
    log_probability: float, level: float, num_variables: int, *notes: str, jitter: float = 0.0
) -> OrthantEstimate:
    """Record an answer that needed no draw."""
    ends = (log_probability, log_probability, log_probability)
    return OrthantEstimate(*ends, level, 0.0, log_probability, num_variables, 0, 0, jitter, notes)


def generator(seed: Any) -> np.random.Generator:
    """Make NumPy's generator for a whole number in [0, 2^64); ValueError for anything else."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r} is not a whole number from 0 to 2^64 - 1.")
    return np.random.default_rng(int(seed))


def shared_out(samples: Any, replicates: Any) -> tuple[int, int]:
    """Share draws out: (R, S), replicates and the draws of each. ValueError for too few of either."""
    num, total = whole("replicates", replicates, limit=1 << 16), whole("samples", samples, limit=1 << 40)
    if num < 8:  # Student's t on fewer means is wide, and their normality hard to rely on
        raise ValueError(f"replicates={num} is too few for an interval: give at least 8.")
    if total < 2 * num:
        raise ValueError(f"samples={total} leaves fewer than two for each of {num} replicates: give more samples.")
    return num, -(-total // num)


def _checked_cov(cov: ArrayLike) -> np.ndarray:
    matrix = np.array(cov, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"cov has shape {matrix.shape}; give a square matrix [d, d].")
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"cov[{i}, {j}] is {matrix[i, j]}: every entry of a covariance must be finite.")
    asymmetry = np.abs(matrix - matrix.T)
    if asymmetry.max() > 1e-9 * np.abs(matrix).max():
        i, j = np.unravel_index(int(np.argmax(asymmetry)), matrix.shape)
        raise ValueError(
            f"cov is not symmetric: cov[{i}, {j}] is {matrix[i, j]!r} but cov[{j}, {i}] is {matrix[j, i]!r}; "
            "give (cov + cov.T) / 2 if that is meant."
        )
    variances = np.diagonal(matrix)
    if variances.min() <= 0:
        i = int(np.argmin(variances))
        raise ValueError(f"cov[{i}, {i}] is {variances[i]:g}: leave out variables that do not vary.")
    return (matrix + matrix.T) / 2


def _check_definite(correlation: np.ndarray) -> None:
    smallest = float(np.linalg.eigvalsh(correlation)[0])
    # Below this an eigenvalue of a d x d matrix cannot be told from 0 in double precision.
    if smallest <= 4 * _EPS * len(correlation):
        raise ValueError(
            f"cov is not positive definite: scaled to unit variances its smallest eigenvalue is {smallest:.3g}. "
            "Add jitter to its diagonal, for example cov + 1e-10 * numpy.diag(numpy.diag(cov)), and say so."
        )


def _limits(d: int, signs: Any, lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    if lower is None and upper is None:
        values = np.ones(d) if signs is None else np.asarray(signs)
        if values.dtype.kind not in "if" or values.shape != (d,) or not np.isin(values, (-1, 1)).all():
            raise ValueError(f"signs must be {d} numbers, each +1 or -1; got {signs!r}.")
        return np.where(values > 0, 0.0, -np.inf), np.where(values > 0, np.inf, 0.0)
    if signs is not None:
        raise ValueError("Both signs and a box were given: give signs, or lower and upper.")
    ends = []
    for name, value, default in (("lower", lower, -np.inf), ("upper", upper, np.inf)):
        array = np.asarray(default if value is None else value, np.float64)
        if array.shape not in ((), (d,)) or np.isnan(array).any():
            raise ValueError(f"{name} must be one number or {d} of them, without NaN; got {value!r}.")
        ends.append(np.broadcast_to(array, (d,)).copy())
    empty = (ends[0] >= ends[1]) | np.isposinf(ends[0]) | np.isneginf(ends[1])
    if empty.any():
        i = int(np.argmax(empty))
        raise ValueError(f"The box is empty: variable {i} runs from {ends[0][i]} to {ends[1][i]}.")
    return ends[0], ends[1]


def _log_mean(problem: Problem, mu: np.ndarray, count: int, rng: np.random.Generator) -> float:
    """Give the log of the mean weight over one randomly shifted lattice of ``count`` points."""
    psi, _ = tilted_draws(problem, mu, _lattice(len(mu) - 1, count, rng))
    top = psi.max()
    return float(top + np.log(np.mean(np.exp(psi - top)))) if np.isfinite(top) else float(top)


def _lattice(dimensions: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Richtmyer's lattice (steps sqrt(prime) mod 1), shifted at random, folded by the baker's map: [dimensions, count].

    Each point is uniform, so each replicate is unbiased; all entries lie strictly inside (0, 1).
    """
    steps = np.sqrt(_primes(dimensions)) % 1
    points = (steps[:, None] * np.arange(count) + rng.random((dimensions, 1))) % 1
    return np.clip(np.abs(2 * points - 1), 2.0**-53, 1 - 2.0**-53)


def _primes(count: int) -> np.ndarray:
    """The first ``count`` primes; the n-th is below n (log n + log log n) for n >= 6 (Rosser 1941)."""
    limit = 15 if count < 6 else int(count * (math.log(count) + math.log(math.log(count)))) + 1
    sieve = np.ones(limit + 1, bool)
    sieve[:2] = False
    for k in range(2, math.isqrt(limit) + 1):
        if sieve[k]:
            sieve[k * k :: k] = False
    return np.flatnonzero(sieve)[:count].astype(float)


def _notes(relative_error: float, converged: bool) -> tuple[str, ...]:
    notes = []
    if not converged:
        notes.append("No saddle point was found: draws are not tilted, and there is no upper bound.")
    if relative_error > MAX_RELATIVE_ERROR:
        notes.append(
            f"The relative error is {relative_error:.2g}, too large for an estimate: the limits are all that is "
            "known, Markov's bound below and the saddle point's above; raise samples."
        )
    return tuple(notes)
