"""How much volume the classes hold that no draw has hit: the missing mass M.

Estimator: U, the share of draws whose class occurs in no other independent unit. A unit that was left out is
a fresh sample for the other B - 1, so E[U] is the missing mass after B - 1 units. For iid draws (a unit is
one draw) it is f1 / n, f1 the number of classes seen exactly once (Good 1953, Biometrika 40, 237-264).

Interval: U and M are both random. With X_b the share of unit b's draws whose class occurs in no other unit, and
D_ij the hits in unit i of classes that were seen in units i and j only,

    E (U - M)^2  ~  (1/B^2) sum_b (X_b - U)^2  +  (2/n^2) sum_{i<j} D_ij D_ji.

The first term is U's variance between units. The second comes from pairs of units that hide each other: both
would have counted those draws, had the other one not been there. (Expand the square for two units and fresh
draws: P(neither draw's class elsewhere), less twice the same with one hidden, plus both hidden, leaves the
probability that each hides the other. It is not a sum class by class: on a width-1 network, whose bodies reach
two classes at once, that would cover .90.) For iid draws the sum is Esty's (1983, Annals of Statistics 11,
905-912) f1 (1 - f1/n)/n^2 + 2 f2/n^2.

The limits are those of a beta law of that variance, with one more cluster above and one more below (`moment_limits`),
so they stay in [0, 1] and mean something at 0 and 1. The lower one is no higher than the normal limit: where
rare classes are few, M itself is often 0 while U is not.

* U = 0: the upper limit is log(2/alpha) clusters of draws, more when classes were seen twice. With few rare classes M
  is a lattice and no limit is exact; summed over all outcomes of worlds of one or two groups of equal rare classes,
  the worst found misses .042 (tests/statistics/test_unseen.py holds a grid of them to .05).
* U = 1: no two draws share a class. With S = 1 - M the chance of that is about exp(-n S / 2), as S grows from 0 to
  its value during the run; so S <= 2 log(2/alpha)/n: the cluster of a collision is two draws.

Graded in benchmarks/coverage.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from volume.common.validation import check_level
from volume.statistics.counts import Counts, Units
from volume.statistics.intervals import moment_limits


@dataclass(frozen=True)
class Unseen:
    """Estimated volume of all classes that were not drawn, with its interval. Linear, in [0, 1]: it is rarely
    tiny."""

    mass: float  # U; 0 where every class is known to have been hit
    low: float
    high: float
    level: float
    draws: int  # n
    alone: int  # draws whose class occurs in no other independent unit; an estimated U is alone / draws
    standard_error: float  # root mean square of U - M, times Student's t over z for B units

    def to_dict(self) -> dict:
        return asdict(self)


def unseen_mass(counts: Counts, level: float = 0.95, cluster: float | None = None) -> Unseen:
    """Missing mass of a run (see the top of this file).

    ``cluster``: largest number of hits that one unit may give a class that is seen nowhere else, when the run
    itself shows none (U = 0); None means a whole unit. Draws that gave NaN or inf count as draws of a class
    of their own. Fewer than two units, or no draws, know nothing: the interval is [0, 1]. Complete counts have
    seen everything: all of it is 0. Where a draw brings several hits (volume.queries.quotient) all is in hits, of those
    possible. Raises ValueError for a level outside (0, 1).
    """
    check_level(level)
    draws = counts.num_possible
    if counts.complete:
        return Unseen(0.0, 0.0, 0.0, level, draws, 0, 0.0)
    if draws < 1:
        return Unseen(1.0, 0.0, 1.0, level, draws, 0, 1.0)
    return missing_mass(_independent(counts) if counts.independent else _clustered(counts), counts, level, cluster)


def missing_mass(singletons: Alone, counts: Units, level: float, cluster: float | None = None) -> Unseen:
    """:func:`unseen_mass` from what its interval needs."""
    alone, variance, largest, smallest, biggest, units = singletons
    draws = counts.num_possible
    if units < 2:
        return Unseen(alone / draws, 0.0, 1.0, level, draws, alone, 1.0)
    tail = (1 - level) / 2
    variance *= (special.stdtrit(units - 1, tail) / special.ndtri(tail)) ** 2  # it is estimated from B numbers
    mean = alone / units
    unknown = 1 if counts.independent else (cluster or counts.unit_size)
    more = max(largest - mean, biggest) if alone else unknown
    fewer = max(mean - smallest, 2 * biggest)
    low, high = moment_limits(
        np.array([alone]), draws, np.array([variance]), np.array([float(more)]), np.array([fewer]), level
    )
    normal = (alone + special.ndtri(tail) * np.sqrt(variance)) / draws
    return Unseen(
        mass=alone / draws,
        low=max(0.0, min(float(np.exp(low[0])), normal)),
        high=float(np.exp(high[0])),
        level=level,
        draws=draws,
        alone=alone,
        standard_error=float(np.sqrt(variance)) / draws,
    )


class Alone(NamedTuple):
    """What the interval needs, in draws (not shares)."""

    alone: int  # draws whose class occurs in no other unit
    variance: float  # n^2 E (U - M)^2
    largest: float  # most such draws in a unit
    smallest: float  # fewest
    biggest: float  # most hits of one such class
    units: int  # B


def alone_of_independent(ones: int, twos: int, draws: int) -> Alone:
    """From the classes drawn once and twice: a unit is one draw, whatever was stored together."""
    return Alone(ones, ones * (1 - ones / draws) + 2 * twos, 1.0, 0.0, 1.0, draws)


def alone_of_clustered(inside: np.ndarray, biggest: float, pairs: float) -> Alone:
    """From the draws of each unit [B] whose class occurs in no other, the most of one such class, and 2 sum D_ij D_ji.

    All are whole numbers, and the sum over units of their squares stays exact below 2^53.
    """
    inside = np.asarray(inside, float)
    return Alone(
        alone=int(inside.sum()),
        variance=float(((inside - inside.mean()) ** 2).sum()) + pairs,
        largest=float(inside.max()),
        smallest=float(inside.min()),
        biggest=biggest,
        units=len(inside),
    )


def _independent(counts: Counts) -> Alone:
    total = counts.tally().count
    return alone_of_independent(int((total == 1).sum()), int((total == 2).sum()), counts.num_draws)


def _clustered(counts: Counts) -> Alone:
    inside, biggest = draws_alone(counts)
    pair, first, second = shared_pairs(counts)
    _, pair = np.unique(pair, return_inverse=True)
    pairs = 2.0 * float(np.bincount(pair, first) @ np.bincount(pair, second))
    return alone_of_clustered(inside, biggest, pairs)


def draws_alone(counts: Counts) -> tuple[np.ndarray, float]:
    """Return draws of each unit [B] whose class occurs in no other unit, float64, and the most of one such class (or
    1)."""
    single = counts.offsets[:-1][np.diff(counts.offsets) == 1]  # no stored entry is zero
    hits = counts.hits[single]
    return np.bincount(counts.unit[single], weights=hits, minlength=counts.num_units), float(hits.max(initial=1))


def shared_pairs(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes that two units share: the pair as one number, the hits in its first and in its second unit.

    Two units hide each other with all classes that only they have, not class by class: these are to be added up first.
    """
    double = counts.offsets[:-1][np.diff(counts.offsets) == 2]
    pair = counts.unit[double].astype(np.int64) * counts.num_units + counts.unit[double + 1]
    return pair, counts.hits[double].astype(np.int64), counts.hits[double + 1].astype(np.int64)
