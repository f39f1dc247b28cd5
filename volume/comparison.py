"""Do two reports on one query agree? A z-score for every class that was drawn often enough.

For each class, y_a hits in n_a draws and y_b in n_b. With d the variance of a count over its mean, y/d hits
in n/d draws vary like a Poisson count, and under "equal volumes", given x_a + x_b effective hits, x_a is
binomial with probability f = m_a / (m_a + m_b), m = n/d. So (the conditional test of two Poisson rates:
Przyborowski and Wilenski 1940)

    z = Phi^-1 of the mid-p value,  (P(X_a <= x_a) + P(X_a < x_a)) / 2,
    P(X_a <= x_a) = 1 - I_f(x_a + 1, x_b),  P(X_a < x_a) = 1 - I_f(x_a, x_b + 1),

I the regularised incomplete beta function, which takes the fractional x that clumped counts have. For large counts z is
(p_a - p_b) over its standard error, and that of the logarithms; for small ones it keeps what is exact.

* iid draws: d = 1 - p, p the pooled share.
* Clumped draws: d = v / y, v the variance between units (volume.intervals); pooled over both reports when their units
  are alike, so that chance in v cannot lend weight to one side.

Classes are taken by the hits and units of both together, which under equal volumes tell nothing of their difference:
asking for hits in each would hide the largest differences there are.

Shape letters: K classes compared, W words of a key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from volume.class_volume import tally_nonfinite, tally_of
from volume.classifiers import TruthTable
from volume.counts import Counts, Tally
from volume.domains import BooleanCube
from volume.errors import whole
from volume.logs import finite
from volume.records import short
from volume.report import NONFINITE, VolumeReport

MIN_COUNT = 20  # hits in both together: below, z takes few values
# Below these, v is too uncertain. Simulated with beta-distributed shares of a body's heads, volumes .3 to 3e-4, B from
# 50 to 5000: the standard deviation of z was .95 to 1.04, also where one report had a tenth of the draws. Without the
# second rule, unlike units gave up to 2.3.
MIN_UNITS = 40  # units hit in both together, where they are alike; units of each clumped side, where they are not
MIN_CLUMPS = 20  # clumps that equal volumes would give each clumped side, where they are not


class ComparedClass(NamedTuple):
    """One class in two reports; log volumes in nats, -inf where it was not drawn. z > 0: larger in the first."""

    label: str
    log_volume_a: float
    log_volume_b: float
    count_a: int
    count_b: int
    z: float

    def to_dict(self) -> dict[str, Any]:
        entry = self._asdict()
        return {**entry, "log_volume_a": finite(self.log_volume_a), "log_volume_b": finite(self.log_volume_b)}


@dataclass(frozen=True)
class Comparison:
    """The z-scores of two reports, largest first."""

    rows: tuple[ComparedClass, ...]
    draws_a: int
    draws_b: int
    alpha: float = 1e-3
    of_cube: bool = False  # labels are truth tables on a Boolean cube, for which there are shorter names
    stated_a: dict[str, Any] = field(default_factory=dict)  # what the first report answers and how, see `stated`
    stated_b: dict[str, Any] = field(default_factory=dict)

    @property
    def num_compared(self) -> int:
        return len(self.rows)

    @property
    def max_abs_z(self) -> float:
        return max(abs(row.z) for row in self.rows)

    @property
    def p_value(self) -> float:
        """Family-wise: the chance that equal volumes give a |z| this large in any class (Bonferroni, so at most)."""
        return float(min(1.0, self.num_compared * 2 * special.ndtr(-self.max_abs_z)))

    @property
    def agree(self) -> bool:
        """Whether p_value is at least ``alpha``. Two good reports disagree by chance at most that often."""
        return self.p_value >= self.alpha

    def to_dict(self) -> dict[str, Any]:
        """A strict JSON record."""
        return {
            "classes": [row.to_dict() for row in self.rows],
            "num_compared": self.num_compared,
            "max_abs_z": self.max_abs_z,
            "p_value": self.p_value,
            "alpha": self.alpha,
            "agree": self.agree,
            "draws_a": self.draws_a,
            "draws_b": self.draws_b,
            "a": self.stated_a,
            "b": self.stated_b,
        }

    def summary(self, k: int = 20) -> str:
        """The ``k`` largest differences as text."""
        from volume.summary import compared

        return compared(self, whole("k", k))

    def __str__(self) -> str:
        return self.summary()


def compare(a: VolumeReport, b: VolumeReport, *, min_count: int = MIN_COUNT, alpha: float = 1e-3) -> Comparison:
    """Compare two reports on one query, by any methods.

    Args:
        a: a report.
        b: another one: model, prior, domain and classifier described alike, draws of its own.
        min_count: hits in both together from which on a class is compared.
        alpha: family-wise error rate of ``agree``.

    Raises:
        TypeError: one of them is no report.
        ValueError: they answer different queries (the sentence shows where they differ), share their draws, or have no
            class that was drawn often enough.
    """
    for report in (a, b):
        if not isinstance(report, VolumeReport):
            raise TypeError(
                f"compare takes two reports, as estimate or VolumeReport.load returns them; got {report!r}."
            )
    min_count = whole("min_count", min_count)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} is not between 0 and 1: give for example alpha=1e-3.")
    _check_same_query(a, b)
    _check_independent(a, b)
    keys = _candidates(a.counts, b.counts, min_count)
    tally_a, tally_b = (tally_of(report.counts, look_up(report.counts, keys)) for report in (a, b))
    labels = a.bound.labels(keys) if len(keys) else []
    if a.num_nonfinite or b.num_nonfinite:
        labels = [*labels, NONFINITE]
        tally_a, tally_b = (
            Tally(*map(np.append, tally, tally_nonfinite(report.counts)))
            for tally, report in ((tally_a, a), (tally_b, b))
        )
    alike = _layout(a) == _layout(b)
    kept = np.flatnonzero(
        (tally_a.count + tally_b.count >= min_count) & _enough_clumps(tally_a, a, tally_b, b, alike=alike)
    )
    tally_a, tally_b = Tally(*(c[kept] for c in tally_a)), Tally(*(c[kept] for c in tally_b))
    if not len(kept):
        raise ValueError(
            f"No class can be compared: none has {min_count} hits in both reports together, from enough independent "
            "units to know how hits clump. Draw more, use smaller units, or group both reports by a coarser classifier."
        )
    z = z_scores(tally_a, a.counts, tally_b, b.counts, alike=alike)
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(tally_a.count / a.num_draws), np.log(tally_b.count / b.num_draws)
    rows = [
        ComparedClass(
            labels[kept[i]], float(log_a[i]), float(log_b[i]), int(tally_a.count[i]), int(tally_b.count[i]), float(z[i])
        )
        for i in np.argsort(-np.abs(z), kind="stable")
    ]
    of_cube = isinstance(a.classifier, TruthTable) and isinstance(a.domain, BooleanCube)
    return Comparison(tuple(rows), a.num_draws, b.num_draws, alpha, of_cube, stated(a), stated(b))


def stated(report: VolumeReport) -> dict[str, Any]:
    """What every result of a report has to be read with, as strict JSON: the question, the method, the seed."""
    return {
        "query": short(report.description),
        "method": report.method,
        "seed": report.seed,
        "conventions": report.conventions,
    }


def z_scores(tally_a: Tally, counts_a: Counts, tally_b: Tally, counts_b: Counts, *, alike: bool) -> np.ndarray:
    """z [K] of two column tallies; the counts tell how the draws were made, their classes play no part.

    ``alike``: the units of both are made in the same way, so that hits clump alike.
    """
    draws = np.array([counts_a.num_draws, counts_b.num_draws], float)
    y = np.stack([tally_a.count, tally_b.count]).astype(float)  # [2, K]
    pooled = y.sum(axis=0) / draws.sum()
    iid = np.maximum(1 - pooled, 1 / draws.sum())  # p = 1: no variance, and no difference either
    v = np.stack([_variance(tally_a, counts_a), _variance(tally_b, counts_b)])
    if alike:
        dispersion = np.broadcast_to(v.sum(axis=0) / np.maximum(y.sum(axis=0), 1), y.shape)
    else:
        shared = v.sum(axis=0) / np.maximum(y.sum(axis=0), 1)  # for the side without hits
        dispersion = np.where(y > 0, v / np.maximum(y, 1), shared)
    independent = np.array([[counts_a.independent], [counts_b.independent]])
    # Sharing a body or a head can only add variance: what is measured below the iid value is chance.
    d = np.where(independent, iid, np.maximum(dispersion, iid))
    x, m = y / d, draws[:, None] / d
    f = m[0] / m.sum(axis=0)
    low, high = _mid_p(x, f), _mid_p(x[::-1], 1 - f)
    z = np.where(low < high, special.ndtri(low), -special.ndtri(high))
    return np.where(np.minimum(low, high) > 1e-290, z, _signed_root(x, f))


def _layout(report: VolumeReport) -> tuple[Any, ...]:
    counts = report.counts
    return counts.unit_size, counts.independent, *(report.method.get(name) for name in ("name", "heads", "bodies"))


def _enough_clumps(tally_a: Tally, a: VolumeReport, tally_b: Tally, b: VolumeReport, *, alike: bool) -> np.ndarray:
    """Whether enough clumps of hits, [K], are to be expected for v to mean something."""
    if alike:
        return a.counts.independent | (tally_a.units + tally_b.units >= MIN_UNITS)
    enough = np.ones(len(tally_a.count), bool)
    pooled = (tally_a.count + tally_b.count) / (a.num_draws + b.num_draws)
    for tally, report in ((tally_a, a), (tally_b, b)):
        if not report.counts.independent:
            enough &= report.counts.num_units >= MIN_UNITS
            # Hits per unit hit, with one unit added that brings as many as any can: a side with few hits is taken to be
            # as clumped as it may be, instead of being left out for having few hits.
            clump = (tally.count + report.largest_clump) / (tally.units + 1)
            enough &= pooled * report.num_draws >= MIN_CLUMPS * clump
    return enough


def _mid_p(x: np.ndarray, f: np.ndarray) -> np.ndarray:
    """(P(X <= x_0) + P(X < x_0)) / 2 of a binomial X of x_0 + x_1 trials with probability f, [K]; x is [2, K]."""
    some, other = x[0] > 0, x[1] > 0  # at 0 the probabilities are plain, and SciPy's functions give nan
    at_most = special.betaincc(x[0] + 1, np.where(other, x[1], 1), f)
    below = special.betaincc(np.where(some, x[0], 1), x[1] + 1, f)
    return (np.where(other, at_most, 1) + np.where(some, below, 0)) / 2


def _signed_root(x: np.ndarray, f: np.ndarray) -> np.ndarray:
    """The signed root of the binomial deviance, which z approaches far out, where probabilities underflow."""
    expected = x.sum(axis=0) * np.stack([f, 1 - f])
    deviance = 2 * (special.xlogy(x, x / np.maximum(expected, 1e-300))).sum(axis=0)
    return np.sign(x[0] - expected[0]) * np.sqrt(np.maximum(deviance, 0))


def _variance(tally: Tally, counts: Counts) -> np.ndarray:
    """B var(k_b, ddof=1) [K]: the variance of the count; 0 for one unit alone."""
    units = counts.num_units
    if units < 2:
        return np.zeros(len(tally.count))
    y = tally.count.astype(float)
    return np.maximum(tally.square - y * (y / units), 0) * (units / (units - 1))


def _candidates(a: Counts, b: Counts, min_count: int) -> np.ndarray:
    """Keys [K, W] of the classes that can have ``min_count`` hits in both together: one has half of them."""
    half = math.ceil(min_count / 2)
    often = [counts.keys[counts.tally().count >= half] for counts in (a, b)]
    return np.unique(np.concatenate(often), axis=0)


def look_up(counts: Counts, keys: np.ndarray) -> np.ndarray:
    """Positions [K] of keys [K, W] in the counts, -1 for those never drawn."""
    if not len(keys) or not counts.num_classes:
        return np.full(len(keys), -1)
    table, wanted = _comparable(counts.keys), _comparable(keys)
    at = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where((counts.keys[at] == keys).all(axis=1), at, -1)


def _comparable(keys: np.ndarray) -> np.ndarray:
    """One sortable value per key, in key order: the number itself, or its big-endian bytes."""
    if keys.shape[1] == 1:
        return np.ascontiguousarray(keys[:, 0])
    return np.ascontiguousarray(keys.astype(">u8")).view(f"S{8 * keys.shape[1]}")[:, 0]


def _check_same_query(a: VolumeReport, b: VolumeReport) -> None:
    for part in ("model", "prior", "domain", "classifier"):
        of_a, of_b = a.description.get(part), b.description.get(part)
        if of_a != of_b:
            raise ValueError(
                f"The reports answer different queries: the {part} is {_differing(of_a, of_b)} in the first and "
                f"{_differing(of_b, of_a)} in the second. Compare two reports on one query."
            )


def _differing(mine: Any, other: Any) -> str:
    """The entries of a description that the other one does not share."""
    if isinstance(mine, dict) and isinstance(other, dict) and mine.get("name") == other.get("name"):
        mine = {name: value for name, value in short(mine).items() if name not in other or other[name] != value}
    text = str(short(mine))
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_independent(a: VolumeReport, b: VolumeReport) -> None:
    if _words(a.seed) == _words(b.seed) and a.method.get("name") == b.method.get("name"):
        raise ValueError(
            f"Both reports were drawn by {a.method.get('name')!r} from seed {a.seed}, so they may share draws and "
            "agree for that reason alone: give one of them another seed."
        )


def _words(seed: int | list[int]) -> list[int]:
    """A seed as the two words of its key: the seeds 5 and [0, 5] make the same draws."""
    return [0, seed] if isinstance(seed, int) and seed < 2**32 else [seed] if isinstance(seed, int) else list(seed)
