"""Do the functions that training finds follow the parameter volume of what fits?

Two conditional laws over classes, given that the training labels fit: P, by prior volume, from a counted report, and W,
by the share of training runs, from a trained one. Three answers, over the K classes of the *head* and all others
together as one more class:

* every class's two shares, with intervals: the log-log scatter;
* Spearman's rank correlation of the shares in the head. Its interval is the percentile interval of a bootstrap over
  independent units (blocks of draws, runs), and is given where every class of the head was hit 5 times or more on both
  sides. Noise in small counts lowers the correlation, and more draws raise it.
* total variation TV = max over sets A of classes of P(A) - W(A). The plug-in estimate reads too high, because it picks
  the best set for the very draws that estimate it. So the interval is made of two limits that err on the wide side: the
  lower one takes the set that is best in the first half of the draws and estimates P(A) - W(A) in the other half, which
  no choice has touched; the upper one is that of the plug-in estimate, not corrected for the bias that raises it. Each
  is meant for (1 + level) / 2.

Classes named in advance, no more than fit in the head, are all listed, from all draws. Others are chosen by the first
tenth of the units of both reports, by the larger share, and all else is estimated on the other units, as in
`VolumeReport.top`. Classes are the population here, not a sample of one.

Reference: Mingard et al. 2021 ("Is SGD a Bayesian sampler? Well, almost", J. Mach. Learn. Res. 22).

Shape letters: K classes of the head, B units, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy import stats

from volume.classifiers.base import Conditional
from volume.classifiers.labels import Fits
from volume.common.logs import interval_name, volume_text
from volume.common.records import plain
from volume.common.validation import check_level
from volume.errors import whole
from volume.functions.domains import BooleanCube
from volume.functions.table_names import table_name
from volume.reports.counted import VolumeReport
from volume.reports.counted_comparison import look_up
from volume.reports.loading import Stored
from volume.reports.shares import ratio_limits
from volume.reports.text import Table, render, short_names
from volume.reports.trained import TrainedReport, training_words
from volume.statistics.counts import Counts
from volume.statistics.intervals import clopper_pearson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD = 50  # classes
RESAMPLES = 1000
MIN_HITS = 5  # of every class of the head: below, resampled counts keep what was not met at 0, and stand too close
MIN_UNITS = 20  # that hold a fit, on either side: fewer say nothing of how shares vary


class Landing(NamedTuple):
    """One class: its share of the volume that fits and of the runs that fit, with intervals; linear."""

    label: str
    volume: float
    volume_low: float
    volume_high: float
    runs: float
    runs_low: float
    runs_high: float
    hits: int  # draws behind the volume
    count: int  # runs

    def to_dict(self) -> dict[str, Any]:
        return plain(self._asdict())


class Number(NamedTuple):
    """An estimate with its interval; nan where it cannot be told."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        return plain(self._asdict())


@dataclass(frozen=True, eq=False)
class TrainingComparison(Stored):
    """Volume and training over the same classes, both given that the training labels fit."""

    format: ClassVar[str] = "param-volume training comparison"
    file: ClassVar[str] = "comparison.json"

    rows: tuple[Landing, ...]  # the head, by falling share of volume
    rest: Landing  # all other classes together
    rank_correlation: Number
    total_variation: Number  # over the head and the rest; 0: alike, 1: no class in common
    level: float
    fits: tuple[int, int]  # draws that fit, runs that fit, of those that estimate
    method: dict[str, Any] = field(default_factory=dict)  # of the training
    of_cube: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a strict JSON record."""
        return {
            "classes": [row.to_dict() for row in self.rows],
            "rest": self.rest.to_dict(),
            "rank_correlation": self.rank_correlation.to_dict(),
            "total_variation": self.total_variation.to_dict(),
            "level": self.level,
            "draws_that_fit": self.fits[0],
            "runs_that_fit": self.fits[1],
            "training": self.method,
        }

    def record(self) -> dict[str, Any]:
        return {**self.to_dict(), "of_cube": self.of_cube}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(
            rows=tuple(Landing(**_defined(row)) for row in record["classes"]),
            rest=Landing(**_defined(record["rest"])),
            rank_correlation=Number(**_defined(record["rank_correlation"])),
            total_variation=Number(**_defined(record["total_variation"])),
            level=record["level"],
            fits=(record["draws_that_fit"], record["runs_that_fit"]),
            method=record["training"],
            of_cube=record["of_cube"],
        )

    def summary(self, k: int = 20) -> str:
        """Return the ``k`` classes of largest volume, and the two numbers, as text."""
        shown = self.rows[: whole("k", k)]
        names = short_names(table_name(row.label) if self.of_cube else row.label for row in shown)
        interval = interval_name(self.level)
        heads = ["class", "share of volume", interval, "hits", "share of runs", interval, "runs"]
        rows = [
            [
                name,
                _text(row.volume),
                f"{_text(row.volume_low)} - {_text(row.volume_high)}",
                f"{row.hits:,}",
                _text(row.runs),
                f"{_text(row.runs_low)} - {_text(row.runs_high)}",
                f"{row.count:,}",
            ]
            for name, row in zip([*names, self.rest.label], [*shown, self.rest], strict=True)
        ]
        closing = (
            f"Given that the training labels fit: {self.fits[0]:,} draws of the prior, {self.fits[1]:,} runs of "
            f"{training_words(self.method)}.\n"
            f"Rank correlation of {len(self.rows)} classes: {_number(self.rank_correlation)}.\n"
            f"Total variation over them and the rest: {_number(self.total_variation)} (0: alike, 1: nothing in common)."
        )
        return render(Table(heads, rows), "", closing)

    def plot(self, path: str | Path | None = None, ax: Axes | None = None) -> Axes:
        """Share of runs against share of volume on logarithmic axes; classes without a hit or run are left out."""
        from volume.plots.figures import scatter_of_shares

        return scatter_of_shares(self, ax=ax, path=path)


def _defined(record: dict[str, Any]) -> dict[str, Any]:
    """A record's numbers, nan where it holds None."""
    return {name: math.nan if value is None else value for name, value in record.items()}


def compare_training(
    volume: VolumeReport, trained: TrainedReport, *, head: int = HEAD, level: float | None = None
) -> TrainingComparison:
    """Set where training ends beside the volume of what fits.

    Args:
        volume: a counted report (`Direct`, `Exact`) of the same model, domain and classifier: truth tables, or `Given`
            within the training labels.
        trained: a report of `Trained`.
        head: classes to list.
        level: of the intervals; default: that of the trained report.

    Raises:
        TypeError: a report of another kind.
        ValueError: different questions, labels that lie outside the domain, or too few draws or runs that fit.
    """
    if isinstance(volume, TrainedReport) or not isinstance(volume, VolumeReport):
        raise TypeError(f"volume={volume!r} is no counted report: estimate the query by volume.Direct or volume.Exact.")
    if not isinstance(trained, TrainedReport):
        raise TypeError(f"trained={trained!r} is no report of training: estimate the query by volume.Trained.")
    head, level = whole("head", head), trained.level if level is None else level
    check_level(level)
    for part in ("model", "domain", "classifier"):
        if volume.description.get(part) != trained.description.get(part):
            raise ValueError(f"The two reports differ in their {part}: estimate one query by both methods.")
    if volume.conventions.get("symmetry") == "quotient":
        raise ValueError(
            "Training draws each symmetric copy by itself: compare it with symmetry='none', not 'quotient'."
        )
    parts = _given(volume.counts, volume, trained), _given(trained.given_fit().counts, trained, trained)
    for counts, what in zip(parts, ("draws", "runs"), strict=True):
        units = counts.num_units if counts.complete else len(np.unique(counts.unit))
        if units < MIN_UNITS and not counts.complete:
            raise ValueError(f"Only {units} independent units of {what} fit the training labels: take more of them.")
    named = _named(trained)
    keys = _head(parts, head) if named is None or len(named) > head else named
    pilots = [_pilot(counts) if keys is not named else 0 for counts in parts]
    sides = _Side.of(parts[0], keys, pilots[0]), _Side.of(parts[1], keys, pilots[1])
    limits = [side.limits(level) for side in sides]
    labels = [*trained.bound.labels(keys), "all others"]
    columns = [sides[0].share, *limits[0], sides[1].share, *limits[1]]
    totals = [side.total.astype(int) for side in sides]
    rows = [
        Landing(label, *row)
        for label, *row in zip(labels, *(column.tolist() for column in (*columns, *totals)), strict=True)
    ]
    return TrainingComparison(
        rows=tuple(sorted(rows[:-1], key=lambda row: -row.volume)),
        rest=rows[-1],
        rank_correlation=_rank_correlation(sides, level),
        total_variation=_total_variation(sides, level),
        level=level,
        fits=(int(totals[0].sum()), int(totals[1].sum())),
        method=trained.method,
        of_cube=trained.classifier.single_functions and isinstance(trained.domain, BooleanCube),
    )


def _given(counts: Counts, report: VolumeReport, trained: TrainedReport) -> Counts:
    """The hits of classes that fit the training labels."""
    on = Fits(trained.method["on"]["inputs"], trained.method["on"]["labels"])
    bound = report.bound
    if isinstance(bound, Conditional) and bound.within.classifier == on and bound.within.index("fits") == bound.wanted:
        fits = bound.holds(counts.keys)
    elif report.classifier.single_functions:
        fits = on.bind(report.domain, report.num_outputs).classify_keys(counts.keys) == 1
    else:
        raise ValueError(
            f"A report of {type(report.classifier).__name__} does not say which functions fit the training labels: "
            "estimate TruthTable(), or Given(Fits(...), ...) with the labels that were trained on."
        )
    cells = np.repeat(fits, np.diff(counts.offsets))
    size = np.diff(counts.offsets)[fits]
    return Counts(
        keys=counts.keys[fits],
        offsets=np.r_[0, np.cumsum(size)],
        unit=counts.unit[cells],
        hits=counts.hits[cells],
        num_units=counts.num_units,
        unit_size=counts.unit_size,
        independent=counts.independent,
        nonfinite=counts.nonfinite,
        complete=counts.complete,
    )


def _named(report: TrainedReport) -> np.ndarray | None:
    """Keys [K, 1] of all classes within the labels where they are named in advance."""
    bound = report.bound
    if not isinstance(bound, Conditional) or bound.num_inside is None or not report.named_in_advance:
        return None
    return np.arange(bound.num_inside, dtype=np.uint64)[:, None]


def _pilot(counts: Counts) -> int:
    """Units that choose the head; none of complete counts, which hold no chance."""
    return 0 if counts.complete else max(1, counts.num_units // 10)


def _head(parts: tuple[Counts, Counts], head: int) -> np.ndarray:
    """Keys [K, W] of the classes with the largest share on either side in the first tenth of the units."""
    keys = np.unique(np.concatenate([counts.keys for counts in parts]), axis=0)
    share = np.zeros(len(keys))
    for counts in parts:
        pilot = counts.tally(0, _pilot(counts) or None).count
        rows = look_up(counts, keys)
        share = np.maximum(share, np.where(rows >= 0, pilot[rows], 0) / max(pilot.sum(), 1))
    order = np.argsort(-share, kind="stable")[:head]
    return keys[np.sort(order[share[order] > 0])]


@dataclass(frozen=True)
class _Side:
    """Hits [K + 1, B] of the head's classes and of the rest, in the units that chose nothing.

    B: the independent units that hold a fit; for independent draws and complete counts two columns, the first half of
    the draws and the second, which is all that has to be known of them.
    """

    hits: np.ndarray
    complete: bool
    independent: bool

    @classmethod
    def of(cls, counts: Counts, keys: np.ndarray, pilot: int) -> _Side:
        row = np.full(counts.num_classes, len(keys))
        at = look_up(counts, keys)
        row[at[at >= 0]] = np.flatnonzero(at >= 0)
        kept = counts.unit >= pilot
        classes = np.repeat(row, np.diff(counts.offsets))[kept]
        units, unit = np.unique(counts.unit[kept], return_inverse=True)
        columns = len(units)
        if counts.independent or counts.complete:
            unit, columns = (unit >= columns // 2).astype(int), 2
        hits = np.zeros((len(keys) + 1, columns))
        np.add.at(hits, (classes, unit), counts.hits[kept])
        return cls(hits, counts.complete, counts.independent)

    @property
    def total(self) -> np.ndarray:
        return self.hits.sum(axis=1)

    @property
    def share(self) -> np.ndarray:
        total = self.total
        return total / total.sum()

    def half(self, which: int) -> _Side:
        """Return the first half of the units (0) or the second (1); complete counts have no halves."""
        if self.complete:
            return self
        middle = self.hits.shape[1] // 2
        return replace(self, hits=self.hits[:, :middle] if which == 0 else self.hits[:, middle:])

    def limits(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return limits of every share, [K + 1] each."""
        if self.complete:
            return self.share, self.share
        if self.independent:
            low, high = clopper_pearson(self.total, self.total.sum(), level)
            return np.exp(low), np.exp(high)
        return ratio_limits(self.hits, self.hits.sum(axis=0), level, float(self.hits.max()))

    def of_set(self, chosen: np.ndarray, level: float) -> tuple[float, float, float]:
        """Return the share of a set of classes, and its limits: Clopper and Pearson's, for as many independent draws as
        make its variance (that of a ratio of sums over units); as many as there are clusters where none or all is
        inside."""
        inside, within = self.hits[chosen].sum(axis=0), self.hits.sum(axis=0)
        total = within.sum()
        if not total:
            return math.nan, 0.0, 1.0
        share = min(float(inside.sum() / total), 1.0)
        if self.complete:
            return share, share, share
        effect = 1.0
        if not self.independent:
            binomial = total * share * (1 - share)
            residual = np.square(inside - share * within).sum() * len(within) / max(len(within) - 1, 1)
            effect = max(residual / binomial, 1.0) if binomial else float(within.max())
        draws = total / effect
        low, high = clopper_pearson(share * draws, draws, level)
        return share, float(np.exp(low)), float(np.exp(high))

    def again(self, rng: np.random.Generator) -> np.ndarray:
        """Return hits [K + 1] of as many units drawn with replacement from these."""
        if self.complete:
            return self.total
        if self.independent:
            return rng.multinomial(int(self.total.sum()), self.share).astype(float)
        units = self.hits.shape[1]
        return self.hits @ np.bincount(rng.integers(units, size=units), minlength=units)


def _total_variation(sides: tuple[_Side, _Side], level: float) -> Number:
    def difference(pair: tuple[_Side, _Side], chosen: np.ndarray) -> Number:
        """Return P(A) - W(A), with limits from those of the two shares (Newcombe 1998, Stat. Med. 17, 873-890, method
        10)."""
        (p, p_low, p_high), (w, w_low, w_high) = (side.of_set(chosen, level) for side in pair)
        return Number(p - w, p - w - math.hypot(p - p_low, w_high - w), p - w + math.hypot(p_high - p, w - w_low))

    chosen = sides[0].share > sides[1].share
    estimate = difference(sides, chosen)
    # Where the two are close, chance may have turned the sign: the best set may be the other one.
    high = max(estimate.high, difference(sides, ~chosen).high)
    first, second = ((sides[0].half(i), sides[1].half(i)) for i in (0, 1))
    low = 0.0
    if all(side.total.sum() > 0 for side in first):
        low = difference(second, first[0].share > first[1].share).low
    low = 0.0 if math.isnan(low) else low
    return Number(estimate.value, min(max(low, 0.0), estimate.value), min(high, 1.0))


def _rank_correlation(sides: tuple[_Side, _Side], level: float) -> Number:
    """Spearman's, over the head without the rest; nan with fewer than three classes or none that differ. The interval
    is nan where a class was hit fewer than MIN_HITS times."""
    value = _spearman(*(side.total[:-1] for side in sides))
    if math.isnan(value) or any(not side.complete and side.total[:-1].min() < MIN_HITS for side in sides):
        return Number(value, math.nan, math.nan)
    rng = np.random.default_rng(0)
    drawn = [_spearman(*(side.again(rng)[:-1] for side in sides)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Number(value, float(low), float(high))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _text(share: float) -> str:
    return volume_text(math.log(share) if share > 0 else -math.inf, 3)


def _number(number: Number) -> str:
    if math.isnan(number.value):
        return "not defined (fewer than three classes, or all alike)"
    if math.isnan(number.low):
        return f"{number.value:.3f} (no interval: a class of them has fewer than {MIN_HITS} hits)"
    return f"{number.value:.3f} ({number.low:.3f} - {number.high:.3f})"
