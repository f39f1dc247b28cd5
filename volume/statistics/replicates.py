"""What R independent replicates of an unbiased estimate say about a volume p, and about shares within it.

Quantity: p in (0, 1], however small. Data: p_hat_1..p_hat_R >= 0, independent, E[p_hat_r] = p, as natural logs;
-inf is a replicate that died (p_hat = 0). Everything here moves with its input: logs shifted by c give limits
shifted by c, so log p = -2302 or -1e5 is as exact as log p = -1.

* Estimate: the mean of p_hat, unbiased (`log_mean`).
* Interval, when all replicates lived (`mean_interval`). Where log p_hat is normal: Krishnamoorthy and Mathew (2003,
  Journal of Statistical Planning and Inference 115, 103-121, section 2). With m and s^2 the mean and variance of
  log p_hat, the percentiles of T = m - Z s sqrt((R-1)/(R W)) + s^2 (R-1)/(2 W), Z ~ N(0, 1), W ~ chi-square with
  R - 1 degrees. Where replicates miss some of several solutions log p_hat is skewed to the left, m + s^2/2 is too high
  and so is that lower limit: the interval takes the lower of it and of Student's for the mean of p_hat itself.
* Lower bound that assumes nothing but E[p_hat] = p and independence: Markov's inequality (`lower_bound`).
* Upper bound from runs with E[1/p_hat] <= 1/p: Markov again (`reverse_upper_bound`).
* Shares of a part within a class: a ratio of sums over replicates, with a jackknife (`share_interval`).

`benchmarks/coverage_rare.py` grades all of it. Shape letters: R replicates, K parts, S groups of replicates (any
leading axes), Q quadrature nodes.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from volume.common.validation import check_fraction, check_level
from volume.statistics.intervals import moment_limits

# Of the error that is allowed on either side, what the limits themselves take. The rest is for what no limit sees: that
# intervals are printed only where all replicates lived and agree.
ALLOWED = 0.6
# Gauss-Legendre nodes, and the part of the chi-square law that is left out on either side. Three times the nodes move
# no limit by more than 1e-8 s, for R from 3 to 1000, s from 1e-9 to 40 and levels up to .9999; R = 2 moves by 2e-6 of
# itself at .9999.
_NODES = 128
_LEFT_OUT = 1e-14
_STEPS = 200  # of Newton or bisection; both end long before
# A part hit (or missed) in fewer replicates has no interval of its own, only an upper (lower) limit (DESIGN section 3).
MIN_HIT = 4


class Share(NamedTuple):
    """The share of a part within a class, linear in [0, 1], and how many of the R replicates hit the part.

    ``low`` is 0 when fewer than 4 replicates hit it: "not resolved, at most ``high``"; ``high`` is 1 when fewer than
    4 replicates missed some of it: "at least ``low``".
    """

    share: float
    low: float
    high: float
    num_hit: int


class Shares(NamedTuple):
    """`Share` of several parts, or of several groups of replicates."""

    share: np.ndarray  # [K] or [...]
    low: np.ndarray
    high: np.ndarray
    num_hit: np.ndarray  # int64


def log_mean(log_estimates: ArrayLike) -> float:
    """Log of the mean of p_hat, natural: the estimate of log p. -inf when all R replicates died."""
    return float(_log_mean(_replicates(log_estimates, at_least=1)))


def spread(log_estimates: ArrayLike) -> float:
    """s, the standard deviation (ddof 1) of log p_hat over R >= 2 replicates, in nats; nan if one died."""
    x = _replicates(log_estimates)
    return float(_mean_and_spread(x)[1]) if np.all(np.isfinite(x)) else math.nan


def log_mean_error(log_estimates: ArrayLike) -> float:
    """Standard error of the log of a lognormal mean, m + s^2/2: sqrt(s^2/R + s^4/(2 (R-1))) nats; nan if one died.

    For z-scores and for sizing a run; Cox's formula (Zhou and Gao 1997, Statistics in Medicine 16, 783-790, section 2).
    """
    s, num = spread(log_estimates), np.size(log_estimates)
    return math.sqrt(s**2 / num + s**4 / (2 * (num - 1)))


def ideal_spread(means: ArrayLike, num_particles: int, variances: ArrayLike | None = None) -> float:
    """Return the spread of log p_hat that independent particles would give, in nats: sqrt(sum_k var_k / (N mean_k^2)).

    ``means`` [K]: the mean weight at each level, in (0, 1]; with fixed levels a weight is 0 or 1 and its mean is the
    level's conditional probability, so that var = mean (1 - mean) is the default for ``variances`` [K]. The delta
    method for a product of K independent means of N weights each. Raises ValueError for means not above 0, negative
    variances or N < 1.
    """
    mean = np.asarray(means, float)
    variance = mean * (1 - mean) if variances is None else np.asarray(variances, float)
    if not (np.all(mean > 0) and np.all(np.isfinite(mean)) and np.all(variance >= 0)) or num_particles < 1:
        raise ValueError(
            f"ideal_spread got means={mean}, variances={variances}, num_particles={num_particles}: "
            "give means above 0 (at most 1 where variances are left out), variances of at least 0 and one particle."
        )
    return float(np.sqrt(np.sum(variance / mean**2) / num_particles))


# ------------------------------------------------------------------------------------------------ the interval


def mean_interval(log_estimates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """(log_low, log_high) for p, natural, from R >= 2 replicates of which none died; `mean_limits` of one group.

    Raises ValueError as `lognormal_mean_interval`.
    """
    x = _all_alive(log_estimates, "mean_interval")
    low, high = mean_limits(x[None], level)
    return float(low[0]), float(high[0])


def mean_limits(x: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of log p, natural, from the logs of groups of replicates, none dead: [S, R] -> [S].

    The upper limit is that of `lognormal_mean_interval`, exact where log p_hat is normal and high where it is skewed
    to the left. The lower limit is the lower of that one and of Student's for the mean of p_hat, exact where p_hat is
    normal and low where it is skewed to the right; but no lower than what assumes nothing (`lower_bound`).
    """
    check_level(level)
    level = 1 - ALLOWED * (1 - level)
    num = x.shape[-1]
    mean, s = _mean_and_spread(x)
    low, high = mean + np.stack(interval_offsets(s, num, level))
    top = _top(x)
    p = np.exp(x - top[..., None])
    average, error = p.mean(axis=-1), p.std(axis=-1, ddof=1) / math.sqrt(num)
    with np.errstate(divide="ignore", invalid="ignore"):
        student = top + np.log(np.maximum(average - special.stdtrit(num - 1, (1 + level) / 2) * error, 0))
    return np.minimum(low, np.maximum(student, lower_bounds(x, (1 - level) / 2))), high


def lognormal_mean_interval(log_estimates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """(log_low, log_high) for p, natural, from R >= 2 replicates of which none died; see the file's first lines.

    Two-sided, half of 1 - level on each side. Computed by quadrature, not by draws: within 1e-8 s of the exact
    percentile (R = 2 at level .9999: within 2e-6 of it). s = 0 gives (m, m). Raises ValueError for a dead replicate,
    fewer than two, or a level outside (0, 1).
    """
    x = _all_alive(log_estimates, "lognormal_mean_interval")
    mean, s = _mean_and_spread(x)
    low, high = interval_offsets(s[None], len(x), level)
    return float(mean + low[0]), float(mean + high[0])


def interval_offsets(s: np.ndarray, num_replicates: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of `lognormal_mean_interval` less m, for spreads ``s`` [S]: (low [S], high [S]) in nats."""
    check_level(level)
    tail = (1 - level) / 2
    s = np.asarray(s, float)
    low, high = np.zeros(s.shape), np.zeros(s.shape)
    some = s > 0
    low[some] = s[some] * _quantile(s[some], num_replicates, tail)
    high[some] = s[some] * _quantile(s[some], num_replicates, 1 - tail)
    return low, high


def _quantile(s: np.ndarray, num: int, probability: float) -> np.ndarray:
    """t with P((T - m)/s <= t) = probability, [S]: Newton's method inside a bracket that bisection closes."""
    low, high = np.full(s.shape, -1.0), np.full(s.shape, 1.0)
    for _ in range(_STEPS):
        short = _cdf(low, s, num)[0] > probability, _cdf(high, s, num)[0] < probability
        if not (short[0].any() or short[1].any()):
            break
        low, high = np.where(short[0], 2 * low, low), np.where(short[1], 2 * high, high)
    t = (low + high) / 2
    for _ in range(_STEPS):
        reached, density = _cdf(t, s, num)
        low, high = np.where(reached < probability, t, low), np.where(reached < probability, high, t)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            new = t - (reached - probability) / density
        new = np.where((new >= low) & (new <= high), new, (low + high) / 2)
        small = np.abs(new - t) <= 1e-11 * (1 + np.abs(t))
        t = new
        if small.all():
            break
    return t


@functools.cache
def _gauss(num: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(num)


def _cdf(t: np.ndarray, s: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """P((T - m)/s <= t) and its derivative in t, [S].

    Given W, (T - m)/s <= t exactly when Z > -A, A = sqrt(R) (t v/sqrt(k) - s sqrt(k)/(2 v)), v = sqrt(W), k = R - 1.
    So the answer is E[Phi(A)] over u = log W, by Gauss-Legendre on the stretch where A lies within +-9: beyond it Phi
    is 0 or 1. For t > 0, A grows with v and the ends solve a quadratic; for t <= 0 there is one stretch, all of it.
    """
    k = num - 1
    first = np.log(2 * special.gammaincinv(k / 2, _LEFT_OUT))
    last = np.log(2 * special.gammainccinv(k / 2, _LEFT_OUT))
    step, positive = 9 * np.sqrt(k / num), t > 0
    root = np.sqrt(step**2 + 2 * np.where(positive, t, 0) * s * k)
    with np.errstate(divide="ignore"):
        ends = 2 * np.log(s * k / (step + root)), 2 * np.log((step + root) / (2 * np.where(positive, t, 1)))
    start = np.where(positive, np.clip(ends[0], first, last), first)[:, None]
    stop = np.where(positive, np.clip(ends[1], first, last), last)[:, None]

    x, weight = _gauss(_NODES)
    u = (start + stop) / 2 + (stop - start) / 2 * x  # [S, Q]
    with np.errstate(under="ignore"):
        v = np.exp(u / 2)
        log_density = k / 2 * (u - math.log(2)) - v**2 / 2 - special.gammaln(k / 2)
        weight = (stop - start) / 2 * weight * np.exp(log_density)
        slope = v * math.sqrt(num / k)
        a = slope * t[:, None] - s[:, None] * math.sqrt(k * num) / (2 * v)
        cdf = np.sum(weight * special.ndtr(a), axis=1) + special.gammaincc(k / 2, np.exp(stop[:, 0]) / 2)
        density = np.sum(weight * slope * np.exp(-(a**2) / 2), axis=1) / math.sqrt(2 * math.pi)
    return cdf, density


# ---------------------------------------------------------------------------------------- bounds by Markov


def lower_bound(log_estimates: ArrayLike, alpha: float = 0.05) -> float:
    """log of a number that p exceeds with probability at least 1 - alpha, whatever the law of p_hat; natural.

    The largest q with E(q) >= 1/alpha, E(q) = mean over k = 1..R of e_k(p_hat_1..p_hat_R) / C(R, k) / q^k, e_k the
    elementary symmetric polynomials (the sum over all sets of k replicates of the product of their p_hat).

    Why it holds. Replicates are independent with mean p, so a product of k different ones has mean p^k, e_k has mean
    C(R, k) p^k, and E(p), the average of R terms of mean 1, is at least 0 with mean 1. By Markov's inequality
    P(E(p) >= 1/alpha) <= alpha. E(q) falls as q grows, so "bound >= p" is the event E(p) >= 1/alpha. Nothing else is
    assumed: not normality, not a variance, not mixing. Large k gains from many replicates, small k survives a law so
    skewed that one replicate carries all.

    The average makes it hold for all k at once, at the price of log(R) / k. A dead replicate (-inf) counts as 0. All
    dead: -inf. Raises ValueError for no replicates, nan or +inf, or an alpha outside (0, 1).
    """
    return float(lower_bounds(_replicates(log_estimates, at_least=1), alpha))


def lower_bounds(log_estimates: np.ndarray, alpha: float = 0.05) -> np.ndarray:
    """`lower_bound` of every group: [..., R] -> [...]."""
    check_fraction("alpha", alpha, "0.05")
    target = -math.log(alpha)
    x = np.asarray(log_estimates, float)
    num = x.shape[-1]
    top = _top(x)
    k = np.arange(1, num + 1)
    log_count = special.gammaln(num + 1) - special.gammaln(k + 1) - special.gammaln(num - k + 1)
    # log(e_k / C(R, k) / R), at q = exp(top): the unknown is log q - top.
    terms = _log_symmetric(x - top[..., None]) - log_count - math.log(num)
    # log E is convex and falls: from the left Newton's steps rise to the root and never pass it. Any one term is
    # less than E, so the root of the best one lies left.
    root = np.asarray(np.max((terms - target) / k, axis=-1))
    root = np.where(np.isfinite(root), root, 0.0)
    for _ in range(_STEPS):
        at = terms - k * root[..., None]
        log_e = np.logaddexp.reduce(at, axis=-1)
        with np.errstate(invalid="ignore"):
            steepness = np.sum(np.exp(at - log_e[..., None]) * k, axis=-1)
            step = np.where(np.isfinite(log_e), (log_e - target) / steepness, 0.0)
        root += step
        if np.all(np.abs(step) < 1e-13 * (1 + np.abs(root))):
            break
    return np.where(np.isneginf(x).all(axis=-1), -np.inf, top + root)


def _log_symmetric(x: np.ndarray) -> np.ndarray:
    """log e_k of exp(x), k = 1..R: [..., R] -> [..., R]. One variable after another: e_k += x_r e_{k-1}."""
    log_e = np.full((*x.shape[:-1], x.shape[-1] + 1), -np.inf)
    log_e[..., 0] = 0.0
    for r in range(x.shape[-1]):
        log_e[..., 1 : r + 2] = np.logaddexp(log_e[..., 1 : r + 2], log_e[..., : r + 1] + x[..., r, None])
    return log_e[..., 1:]


def reverse_upper_bound(log_inverse: ArrayLike, alpha: float = 0.05) -> float:
    """log of a number that p stays below with probability at least 1 - alpha, natural; from runs that were never
    allowed to die.

    ``log_inverse`` [n]: log(1 / p_hat) of n runs around a retained path, each with E[1/p_hat] <= 1/p (DESIGN section
    3). Their mean has that property too, even though the runs share the path and are no replicates, so Markov's
    inequality gives P(mean > 1 / (alpha p)) <= alpha: log p <= -log(mean of 1/p_hat) + log(1/alpha), which for n = 1
    is log p_hat + log(1/alpha). More runs lower the chance of a loose bound; the price log(1/alpha) stays. Raises
    ValueError for no runs or values that are not finite.
    """
    check_fraction("alpha", alpha, "0.05")
    x = _replicates(log_inverse, at_least=1, name="log_inverse")
    if np.any(np.isneginf(x)):
        raise ValueError("log_inverse has -inf, an estimate p_hat that is infinite: give log(1 / p_hat), all finite.")
    return float(-_log_mean(x) - math.log(alpha))


# ------------------------------------------------------------------------------------------------------- shares


def share_interval(log_estimates: ArrayLike, fractions: ArrayLike, level: float = 0.95, cluster: float = 1.0) -> Share:
    """Return the share of a part B within a class A, from R replicates: ``log_estimates`` [R] of log p_hat (A) and
    ``fractions`` [R], the fraction g_r of replicate r's final population that lies in B.

    See `share_intervals`, of which this is the case of one part.
    """
    g = np.asarray(fractions, float)
    if g.ndim != 1:
        raise ValueError(f"fractions has shape {g.shape}: give one per replicate, [R]; share_intervals takes [R, K].")
    shares = share_intervals(log_estimates, g[:, None], level, cluster)
    return Share(float(shares.share[0]), float(shares.low[0]), float(shares.high[0]), int(shares.num_hit[0]))


def share_intervals(
    log_estimates: ArrayLike, fractions: ArrayLike, level: float = 0.95, cluster: float = 1.0
) -> Shares:
    """Return shares of K parts within a class A, linear: sum_r p_hat_r g_r / sum_r p_hat_r, each part by itself.

    ``log_estimates`` [R]: log p_hat of A; ``fractions`` [R, K]: g, the fraction of replicate r's final population in
    each part. Replicates that died are left out (both sums lose nothing); their fractions may be nan.

    Resolved, when at least 4 replicates hit the part and at least 4 missed some of it: the wider, on either side, of
    two intervals on the logit scale. One is the jackknife over replicates with t quantiles, whose degrees of freedom
    are the effective number of replicates that carry the part (or its complement, if fewer), less 1. The other takes
    part and complement for lognormal: their limits are those of `lognormal_mean_interval`, joined by Zou and Donner
    (2008, Statistics in Medicine 27, 1693-1702, section 2) with the correlation seen. Where the volume of a part
    spreads by 1.5 nats between replicates either alone can cover less than .9; together they cover .93 and more
    (docs/replicates.md).

    Not resolved: hit in fewer than 4 replicates, low = 0 and high from one cluster more than was seen, as for counts
    (`moment_limits`); missed in fewer than 4, the mirror image; both, (0, 1). ``cluster`` in (0, 1] is the largest part
    of one replicate's final population that may hang on one accident, say the descendants of one particle. At 1, the
    default, nothing is assumed, and never hit means at most 1 - (alpha/2)^(1/R): .37 with 8 replicates. No data can
    show a part that is carried by rare replicates with a p_hat far above the others.

    All dead: share nan, limits (0, 1), no hits. Raises ValueError for shapes that disagree, fractions outside [0, 1],
    and a level or cluster outside its range.
    """
    x, g = _replicates(log_estimates), np.asarray(fractions, float)
    if g.ndim != 2 or len(g) != len(x):
        raise ValueError(f"fractions has shape {g.shape} for {len(x)} replicates: give one row each, [R, K].")
    alive = np.isfinite(x)
    x, g = x[alive], g[alive].T
    if not np.all((g >= 0) & (g <= 1)):
        raise ValueError("fractions has numbers outside [0, 1] or nan: give the share of each final population.")
    if not 0 < cluster <= 1:
        raise ValueError(f"cluster={cluster}; give the part of a final population, above 0 and at most 1.")
    return share_limits(x, g, level, cluster)


def share_limits(x: np.ndarray, g: np.ndarray, level: float = 0.95, cluster: float = 1.0) -> Shares:
    """`share_intervals` of many groups at once: x and g [..., R], broadcast together, none dead -> [...]."""
    check_level(level)
    tail = (1 - level) / 2
    x, g = np.broadcast_arrays(x, g)
    hit, missed = np.sum(g > 0, axis=-1), np.sum(g < 1, axis=-1)
    low, high = np.zeros(hit.shape), np.ones(hit.shape)
    num = x.shape[-1]
    if num == 0:
        return Shares(np.full(hit.shape, np.nan), low, high, hit)
    with np.errstate(under="ignore"):
        w = np.exp(x - x.max(axis=-1, keepdims=True))
        part, rest = np.sum(w * g, axis=-1), np.sum(w * (1 - g), axis=-1)
    share = part / (part + rest)
    good = (hit >= MIN_HIT) & (missed >= MIN_HIT)
    if np.any(good):
        first, second = _jackknife(x[good], g[good], tail), _two_lognormal(x[good], g[good], level)
        low[good] = special.expit(np.minimum(first[0], second[0]))
        high[good] = special.expit(np.maximum(first[1], second[1]))
    few = (hit < MIN_HIT) != (missed < MIN_HIT)
    if np.any(few) and num > 1:
        bottom, top = _one_cluster_more(w[few] / (part + rest)[few, None], g[few], level, cluster)
        low[few] = np.where(hit[few] < MIN_HIT, 0.0, bottom)
        high[few] = np.where(missed[few] < MIN_HIT, 1.0, top)
    return Shares(share, low, high, hit)


def _jackknife(x: np.ndarray, g: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the log odds of a share, from leaving out one replicate at a time: x, g [S, R] -> [S]."""
    num = x.shape[-1]
    with np.errstate(divide="ignore"):
        part, rest = x + np.log(g), x + np.log1p(-g)
    left_out = np.where(np.eye(num, dtype=bool), -np.inf, 0.0)
    odds = np.logaddexp.reduce(part, axis=-1) - np.logaddexp.reduce(rest, axis=-1)
    without = [np.logaddexp.reduce(each[:, None, :] + left_out, axis=-1) for each in (part, rest)]
    without = without[0] - without[1]
    error = np.sqrt((num - 1) * without.var(axis=-1))
    degrees = np.maximum(np.minimum(_effective(part), _effective(rest)) - 1, 1)
    t = special.stdtrit(degrees, 1 - tail)
    return odds - t * error, odds + t * error


def _effective(x: np.ndarray) -> np.ndarray:
    """(sum w)^2 / sum w^2 of weights exp(x), [..., R] -> [...]: how many replicates carry a sum."""
    return np.exp(2 * np.logaddexp.reduce(x, axis=-1) - np.logaddexp.reduce(2 * x, axis=-1))


def _two_lognormal(x: np.ndarray, g: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the log odds when part and complement are lognormal: x, g [S, R] -> [S].

    A replicate without hits counts as half the least fraction seen, and so for misses: a normal law has no -inf.
    """
    num = x.shape[-1]

    def log_some(g: np.ndarray) -> np.ndarray:
        least = np.min(np.where(g > 0, g, 1), axis=-1, keepdims=True)
        return np.log(np.where(g > 0, g, least / 2))

    part, rest = x + log_some(g), x + log_some(1 - g)
    (a, s), (b, r) = _mean_and_spread(part), _mean_and_spread(rest)
    shared = np.sum((part - a[:, None]) * (rest - b[:, None]), axis=-1) / (num - 1)
    scale = (s**2 / num + s**4 / (2 * (num - 1))) * (r**2 / num + r**4 / (2 * (num - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (shared / num + shared**2 / (2 * (num - 1))) / np.sqrt(scale)
    rho = np.where(np.isfinite(rho), np.clip(rho, -1, 1), 0.0)
    odds = a - b + (s**2 - r**2) / 2
    (a_low, a_high), (b_low, b_high) = (interval_offsets(each, num, level) for each in (s, r))
    # How far each limit lies from its own centre, m + s^2/2.
    a_low, a_high, b_low, b_high = s**2 / 2 - a_low, a_high - s**2 / 2, r**2 / 2 - b_low, b_high - r**2 / 2
    down = np.sqrt(np.maximum(a_low**2 + b_high**2 - 2 * rho * a_low * b_high, 0))
    up = np.sqrt(np.maximum(a_high**2 + b_low**2 - 2 * rho * a_high * b_low, 0))
    return odds - down, odds + up


def _one_cluster_more(w: np.ndarray, g: np.ndarray, level: float, cluster: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of shares with few hits or few misses: weights w [S, R] of sum 1, fractions g [S, R] -> linear [S].

    Clopper-Pearson's idea for R_eff = 1/sum w^2 units: the upper limit adds one cluster of hits, the lower one a
    cluster of misses. A cluster is at least cluster / R_eff, and at least the largest one seen, for few units enlarged.
    """
    num = w.shape[-1]
    share = np.sum(w * g, axis=-1)
    variance = num / (num - 1) * np.sum((w * (g - share[:, None])) ** 2, axis=-1)
    # As in `volume.statistics.intervals.fay_feuer`: a variance from R numbers, and a largest cluster from R units.
    variance = variance * (special.stdtrit(num - 1, (1 - level) / 2) / special.ndtri((1 - level) / 2)) ** 2
    more, fewer = (
        np.maximum(cluster * np.sum(w**2, axis=-1), (1 + 1.5 / math.sqrt(num)) * np.max(w * each, axis=-1))
        for each in (g, 1 - g)
    )
    low, high = moment_limits(share, 1.0, variance, more, fewer, level)
    return np.exp(low), np.exp(high)


# ------------------------------------------------------------------------------------------------------ helpers


def _replicates(values: ArrayLike, at_least: int = 2, name: str = "log_estimates") -> np.ndarray:
    """``given`` as an array [R] of natural logs, checked; -inf is allowed."""
    x = np.asarray(values, float)
    if x.ndim != 1 or len(x) < at_least:
        raise ValueError(
            f"{name} has shape {x.shape}: give one natural log per independent replicate, [R] with R >= {at_least}."
        )
    if np.any(np.isnan(x) | np.isposinf(x)):
        raise ValueError(f"{name} has nan or +inf among {x}: give natural logs, -inf for a replicate that died.")
    return x


def _all_alive(log_estimates: ArrayLike, name: str) -> np.ndarray:
    x = _replicates(log_estimates)
    if not np.all(np.isfinite(x)):
        raise ValueError(
            f"{name} got {int(np.sum(np.isneginf(x)))} of {len(x)} replicates that died "
            "(log estimate -inf): their logs have no mean. Use lower_bound, which counts them, or more particles."
        )
    return x


def _top(x: np.ndarray) -> np.ndarray:
    """The largest log of each group [..., R] -> [...], or 0 where all are dead: what logs are measured from."""
    top = x.max(axis=-1)
    return np.where(np.isfinite(top), top, 0.0)


def _log_mean(x: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(x, axis=-1) - math.log(x.shape[-1])


def _mean_and_spread(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 1) over the last axis, from differences to the largest: 0 for equal ones."""
    top = x.max(axis=-1, keepdims=True)
    return top[..., 0] + (x - top).mean(axis=-1), (x - top).std(axis=-1, ddof=1)
