"""Confidence intervals for a class's volume p, from the hits that it scored.

Quantity: p in [0, 1]; estimator: p_hat = y / n. Everything is vectorised over classes; logs are natural (nats).

* Independent draws: Clopper and Pearson (1934), exact.
* Draws that share a body or heads: hits come in clusters. Only the units (blocks) are independent, so the
  variance of y is estimated between them, v = B var(k_b, ddof=1). Fay and Feuer (1997, Statistics in Medicine
  16, 791-801) fit a gamma law to (y, v) for the lower limit and to (y + w, v + w^2) for the upper one, w the
  largest cluster: "one cluster more than was seen". `fay_feuer` is that interval with the gamma replaced by the
  beta law of the same moments, which turns into itself when a class is exchanged with its complement, never
  leaves [0, 1], and is exactly Clopper-Pearson at n / d draws when all clusters have size w = d (at n draws
  when there are none). `benchmarks/coverage.py` grades it.

Shape letters: K classes, B units, U draws in one unit, n = B U draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from volume.common.validation import check_level
from volume.statistics.counts import Tally

# The largest cluster seen understates the largest possible one when there are few units. 1 + 1.5 / sqrt(B) was
# graded: on the worst truth (h = 2, p = .03) 20 and 50 units cover .936 and .945 without it, .95 and .955 with
# it, and the width stays below 1.3 times the ideal. At 1000 units it adds 5 % to w, under 1 % to the width.
_FEW_UNITS = 1.5
# Simulated with one body a unit (h = 1, p = .3): 2 and 3 units cover .83 and .78, 5 and more cover .92 and above.
_MIN_UNITS = 5
# Largest cluster of a class's complement in units of its mean cluster v / (n - y), when its minimum is not known.
# Graded at p = .7, .97 and .999: 2 covers .936 on the worst truth, 3 covers .952.
_MEAN_CLUSTERS = 3.0
# Beyond this b the beta law is a gamma law to 1e-12, and SciPy's betainc loses digits and finally gives nan.
_GAMMA_LIMIT = 1e11
# What "no clustering at similar volumes" asks for: see cluster_at_zero.
_RARE_UNITS = 3
_RARE_CLASSES = 1000
_RARE_SHARE = 0.99


def clopper_pearson(count: ArrayLike, draws: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact interval for a binomial proportion (Clopper and Pearson 1934), in nats; for volumes down to 1e-300.

    ``count`` hits in ``draws`` independent draws (broadcast together). A count of 0 gives a lower limit of
    -inf, a count of ``draws`` an upper limit of 0. Raises ValueError for a count outside [0, draws] or a
    level outside (0, 1).
    """
    tail = _tail(level)
    y, n = np.broadcast_arrays(np.asarray(count, float), np.asarray(draws, float))
    if np.any((y < 0) | (y > n)) or np.any(n <= 0):
        raise ValueError(
            "clopper_pearson got a count outside 0..draws (or draws <= 0); give 0 <= count <= draws, draws > 0."
        )
    low, high = np.full(y.shape, -np.inf), np.zeros(y.shape)
    some, missed = y > 0, y < n
    low[some] = _log_beta_quantile(tail, y[some], n[some] - y[some] + 1, upper=False)
    high[missed] = _log_beta_quantile(tail, y[missed] + 1, n[missed] - y[missed], upper=True)
    return low, high


def fay_feuer(
    tally: Tally, num_units: int, unit_size: int, level: float = 0.95, cluster: ArrayLike = 1.0, copies: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Interval for hits that come in clusters, from B independent units of U draws: (log_low, log_high), [K]
    nats.

    ``cluster`` (scalar or [K]) is the w of classes never seen, and of complements never seen: see
    `cluster_at_zero`.

    Details that were graded: v is inflated by (t_{B-1} / z)^2, as it is estimated from B numbers, and is
    never less than the binomial y (1 - y/n), because draws that share anything can only add to it. The limits
    are beta quantiles (`moment_limits`) with mean (y + w)/(n + w) and precision (y + w)(n - y)/(v + w^2 (n -
    y)/n) + 1 above, and with y and n - y exchanged below. Fewer than 5 units hardly show a variance: the
    interval is then (-inf, 0).

    ``copies``: hits that one draw can bring (volume.queries.quotient); n is then B U copies. The least variance is
    still that of draws that bring one hit each, and one cluster more is never less than one draw's most: the draws seen
    do not show how many hits a rarer one brings.
    """
    tail = _tail(level)
    y = tally.count.astype(float)
    draws = float(num_units) * unit_size
    n = draws * copies
    if num_units < _MIN_UNITS:
        return np.full(y.shape, -np.inf), np.zeros(y.shape)
    missed = n - y
    raw = _unit_variance(tally, num_units)
    inflation = special.stdtrit(num_units - 1, tail) / special.ndtri(tail)
    v = np.maximum(raw * inflation**2, y * np.maximum((draws - y) / draws, 0))

    few = 1 + _FEW_UNITS / np.sqrt(num_units)
    mean = y / num_units
    more = np.where(y > 0, np.maximum((tally.largest - mean) * few, copies), cluster)
    # The complement's largest cluster is mean - min k_b. A unit without hits says that the minimum is 0.
    bound = np.minimum(np.sqrt(raw), _MEAN_CLUSTERS * raw / np.maximum(missed, 1))
    fewer = np.where(tally.units < num_units, mean, np.minimum(mean, bound))
    fewer = np.where(missed > 0, np.maximum(fewer * few, 1), cluster)

    return moment_limits(y, n, v, more, fewer, level)


def moment_limits(
    y: np.ndarray, draws: float, variance: np.ndarray, more: np.ndarray, fewer: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Beta limits (log_low, log_high), [K] nats, for ``y`` hits of the given variance in ``draws`` draws.

    ``more`` is the size of one cluster of hits beyond those seen, ``fewer`` that of one cluster of misses.
    """
    tail = _tail(level)
    y = np.asarray(y, float)
    low, high = np.full(y.shape, -np.inf), np.zeros(y.shape)
    above, below = y < draws, y > 0
    missed = draws - y
    high[above] = _quantile(tail, y[above], missed[above], variance[above], more[above], upper=True)
    # The lower limit is 1 - (upper limit of the complement); asking for the lower tail of p itself keeps all
    # digits.
    low[below] = _quantile(tail, y[below], missed[below], variance[below], fewer[below], upper=False)
    return low, high


def interval(
    tally: Tally,
    num_units: int,
    unit_size: int,
    *,
    independent: bool,
    level: float = 0.95,
    simultaneous: int = 1,
    cluster: ArrayLike | None = None,
    complete: bool = False,
    copies: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log_volume, log_low, log_high) of every class in the tally, [K] nats each: what a report prints.

    ``independent``: the draws inside a unit are iid too, so hits are binomial. ``simultaneous``: number of
    classes whose intervals shall hold together; each gets (1 - level) / simultaneous (Bonferroni). ``cluster``:
    the w of classes never seen when draws are clustered; None means a whole unit, the most cautious value.
    ``complete``: every parameterisation was counted, so both ends are the volume itself. ``copies``: hits that one draw
    can bring.
    Raises ValueError for a level outside (0, 1), ``simultaneous < 1`` or a run without draws.
    """
    if simultaneous < 1:
        raise ValueError(
            f"simultaneous={simultaneous} classes; give the number of intervals that shall hold together, >= 1."
        )
    draws = num_units * unit_size * copies
    if draws < 1:
        raise ValueError(f"No interval from {num_units} units of {unit_size} draws; a run needs at least one draw.")
    each = 1 - (1 - level) / simultaneous
    if complete:
        with np.errstate(divide="ignore"):
            exact = np.log(tally.count / draws)
        return exact, exact, exact
    # Millions of classes share a few thousand distinct tallies: most were seen once.
    some, back = _distinct(tally)
    if independent:
        low, high = clopper_pearson(some.count, draws, each)
    else:
        low, high = fay_feuer(
            some, num_units, unit_size, each, unit_size * copies if cluster is None else cluster, copies
        )
    with np.errstate(divide="ignore"):
        middle = np.log(some.count / draws)
    return middle[back], low[back], high[back]


def design_effect(tally: Tally, num_units: int, unit_size: int) -> np.ndarray:
    """Variance of the count over the variance that iid draws would give it, [K]: v / (n p (1 - p)).

    nan where it cannot be told: classes never hit or never missed, or fewer than two units.
    """
    y, n = tally.count.astype(float), float(num_units) * unit_size
    iid = y * ((n - y) / n)
    known = (iid > 0) & (num_units > 1)
    return np.where(known, _unit_variance(tally, num_units) / np.where(known, iid, 1), np.nan)


def largest_share(tally: Tally) -> np.ndarray:
    """Share of a class's hits that its largest unit gave, [K]; nan where it was never hit. Above .2, warn."""
    return np.where(tally.count > 0, tally.largest / np.maximum(tally.count, 1), np.nan)


def cluster_at_zero(tally: Tally, limit: float) -> float:
    """Return the w of classes that were never seen: how many hits one lucky unit may bring at once.

    ``tally`` is that of all classes of the run, ``limit`` the worst case: with H heads on each body, one rare
    body gives at most H hits. With crossed heads a unit is Q bodies x H heads, and the limit is max(H, Q),
    not Q H: one rare body reaches H draws and one rare head Q draws, while every other draw of the block has
    another body and another head. (Reflecting the heads independently for each body makes a head's draws less
    alike still.) A class that needs a rare body and a rare head at once comes in smaller clusters.

    If the class was not seen, the number of its clusters is at most 3.7 (two-sided 95 %), each of mean size E[k
    | k > 0]; so any w at or above that mean is safe. The run itself shows clusters of classes this rare: those
    hit in 1 to 3 units. w is the smallest size such that 99 % of their hits lie in classes whose largest
    cluster is at most w, provided that there are 1000 such classes; fewer prove nothing, and w = limit. In a
    wide network's table w is 1 to 3, in a width-1 network it is about H/2 + 2 sqrt(H)/2, as it must be (its
    bodies give half their heads to a class). What no data can show: a class which is unlike the other rare
    ones, carried by bodies rarer than 1/B.
    """
    return cluster_of_rare(rare_classes(tally), limit)


class RareClasses(NamedTuple):
    """The classes hit in 1 to 3 units."""

    number: int
    hits: np.ndarray  # [L + 1] float64: all hits of those whose largest cluster is 0..L


def rare_classes(tally: Tally) -> RareClasses:
    """Return what `cluster_at_zero` looks at; tallies of other classes of the run add up."""
    rare = (tally.units > 0) & (tally.units <= _RARE_UNITS)
    return RareClasses(int(rare.sum()), np.bincount(tally.largest[rare], weights=tally.count[rare]))


def cluster_of_rare(rare: RareClasses, limit: float) -> float:
    """:func:`cluster_at_zero` from the rare classes of the run."""
    limit = max(float(limit), 1.0)
    if rare.number < _RARE_CLASSES:
        return limit
    w = int(np.searchsorted(np.cumsum(rare.hits), _RARE_SHARE * rare.hits.sum()))
    return float(min(max(w, 1), limit))


def _unit_variance(tally: Tally, num_units: int) -> np.ndarray:
    """v = B var(k_b, ddof=1) = (B sum k^2 - y^2)/(B - 1), [K]; sums are exact integers, the clip removes a
    rounded minus."""
    if num_units < 2:
        return np.zeros(tally.count.shape)
    y = tally.count.astype(float)
    return np.maximum(tally.square - y * (y / num_units), 0) * (num_units / (num_units - 1))


def _quantile(tail, y, missed, v, cluster, *, upper: bool) -> np.ndarray:
    """Log of the beta quantile with `cluster` more hits (upper) or misses (lower) and the variance that goes
    with them."""
    n = y + missed
    hits, misses, other = (y + cluster, missed, missed) if upper else (y, missed + cluster, y)
    precision = hits * misses / (v + cluster**2 * (other / n)) + 1
    return _log_beta_quantile(tail, hits / (n + cluster) * precision, misses / (n + cluster) * precision, upper=upper)


def _log_beta_quantile(tail: float, a: np.ndarray, b: np.ndarray, *, upper: bool) -> np.ndarray:
    """log x with I_x(a, b) = tail, or 1 - I_x(a, b) = tail if `upper`; a, b > 0, one-dimensional or not.

    SciPy's own inverses are not safe here: `stats.beta.ppf(.025, 1000, 1e9)` is off by a factor 2 (a = 1000
    exactly takes another branch), tails below 1e-100 are wrong, and b = 1e300 gives nan. So: Newton on log x
    from the gamma quantile.
    """
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    swap = a > b  # work on the smaller side, whose logarithm has all the digits
    shape, other = np.where(swap, b, a), np.where(swap, a, b)
    right = np.asarray(upper != swap)  # the tail lies to the right of the smaller side's quantile
    with np.errstate(under="ignore", divide="ignore", over="ignore", invalid="ignore"):
        g = np.where(right, special.gammainccinv(shape, tail), special.gammaincinv(shape, tail))
        log_g = np.where(g > 0, np.log(g), (np.log(tail) + special.gammaln(shape + 1)) / shape)
        # -log(1 - x) (b + (a - 1)/2) is nearly a gamma variate of shape a: relative error O((a/b)^2).
        x = log_g - np.log(np.maximum(other + (shape - 1) / 2, 1))
        x = np.where(x > -30, np.log(-np.expm1(-np.exp(np.minimum(x, 3)))), x)
        tiny = other <= 10  # both shapes small: SciPy's inverses are right there, and x may be near 1
        inverse = np.where(right, special.betainccinv(shape, other, tail), special.betaincinv(shape, other, tail))
        x = np.where(tiny & (inverse > 1e-300), np.log(inverse), x)
        polish = ~tiny & (other < _GAMMA_LIMIT) & (x > -300)
        x = np.where(polish & (shape > 20), _large_shapes(tail, shape, other, right), x)
        x[polish] = _newton(tail, shape[polish], other[polish], x[polish], right[polish])
        return np.where(swap, np.log1p(-np.exp(x)), x)


def _large_shapes(tail: float, a: np.ndarray, b: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Log of an approximate beta quantile for large a and b (Abramowitz and Stegun 26.5.22)."""
    z = np.where(right, -1.0, 1.0) * -special.ndtri(tail)
    u, t = 1 / (2 * b - 1), 1 / (2 * a - 1)
    h, curve = 2 / (t + u), (z * z - 3) / 6
    w = z * np.sqrt(np.maximum(h + curve, 0)) / h - (u - t) * (curve + 5 / 6 - 2 / (3 * h))
    return -np.log1p(b / a * np.exp(2 * w))


def _newton(tail: float, a: np.ndarray, b: np.ndarray, x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve log(tail probability at exp(x)) = log tail; both log tails of a beta law are concave in log x."""
    log_beta, target = special.betaln(a, b), np.log(tail)
    step = np.full(x.shape, np.inf)
    for _ in range(60):
        e = np.exp(x)
        reached = np.where(right, special.betaincc(a, b, e), special.betainc(a, b, e))
        density = np.exp(a * x + (b - 1) * np.log1p(-e) - log_beta)  # d I / d log x
        new = (np.log(reached) - target) * reached / density * np.where(right, 1.0, -1.0)
        # A far start may underflow: move by a fixed factor towards the bulk.
        new = np.where(np.isfinite(new), np.clip(new, -0.5, 0.5), np.where(right, -0.1, 0.1))
        # Rounding in betainc stops the fall of |step| before 1e-13 when a is large: accept when it no longer
        # shrinks.
        done = (np.abs(new) < 1e-12) | ((np.abs(new) >= np.abs(step)) & (np.abs(new) < 1e-7))
        x = np.minimum(x + np.where(done & (np.abs(new) >= 1e-12), 0, new), -1e-300)
        step = new
        if done.all():
            break
    return x


def _tail(level: float) -> float:
    check_level(level)
    return (1 - level) / 2


def _distinct(tally: Tally) -> tuple[Tally, np.ndarray]:
    """The distinct columns of a tally, and where each class finds its own among them, [K]."""
    count = tally.count
    back = np.zeros(count.shape, np.int64)
    once = count == 1  # all alike: one hit in one unit
    rest = np.flatnonzero(~once)
    columns = [column[rest] for column in tally]
    order = np.lexsort(columns)
    changed = np.zeros(len(rest), bool)
    for column in columns:
        sorted_column = column[order]
        changed[1:] |= sorted_column[1:] != sorted_column[:-1]
    if len(rest):
        changed[0] = True
    back[rest[order]] = np.cumsum(changed)  # 1, 2, ...; 0 is the class seen once
    one = np.ones(1, count.dtype)
    return Tally(*(np.concatenate([one, column[order][changed]]) for column in columns)), back
