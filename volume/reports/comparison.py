"""Do two reports on one query agree? A z-score for every class that both know well enough.

* Two counted reports: the conditional test of their hits (`volume.reports.counted_comparison`).
* Otherwise the log volumes and the intervals that the reports print:

      z = (log V_a - log V_b) / sqrt(e_a^2 + e_b^2),   e = (distance to the interval's end on the other's side) / q,

  q the quantile of Student's t (or the normal law, for counts) behind that interval. The degrees of freedom of both
  are combined by Welch's formula (1947), and t is turned into the normal score of the same tail. Taking each error on
  the side where it is needed keeps the skewness of the logs. Simulated on lognormal estimates of 8 and 16 replicates
  with spreads from .1 to 1 against a known volume, intervals of level .95: |z| > 2.576 came in .0048 to .0061 of cases
  on either side (nominal .005), where one symmetric error from their variance gave up to .02 on one side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, overload

import numpy as np
from scipy import special

from volume.common.logs import finite, volume_text
from volume.common.records import plain, short
from volume.common.seeds import seeds_of
from volume.errors import whole
from volume.functions.domains import BooleanCube
from volume.functions.table_names import table_name
from volume.reports.counted import VolumeReport
from volume.reports.counted_comparison import MIN_COUNT, compare_counts
from volume.reports.counted_entries import ClassVolume
from volume.reports.entries import ClassEstimate
from volume.reports.facts import Report
from volume.reports.loading import Stored
from volume.reports.named import EstimateReport
from volume.reports.text import Table, render, short_names, shorten, words
from volume.reports.trained import TrainedReport
from volume.reports.trained_comparison import TrainingComparison, compare_training

_ROUNDING = 1e-12  # of a log volume: exact answers have no other error
FEW_CLASSES = 100  # up to so many classes named in advance are listed as left out


class ComparedClass(NamedTuple):
    """One class in two reports; log volumes in nats, -inf where it was not drawn. z > 0: larger in the first.

    Two exact volumes have z = 0 or, where they differ, infinity (None in a record).
    """

    label: str
    log_volume_a: float
    log_volume_b: float
    count_a: int | None  # hits; None where nothing was counted
    count_b: int | None
    z: float

    def to_dict(self) -> dict[str, Any]:
        return plain(self._asdict())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ComparedClass:
        """Return the row that wrote this record with :meth:`to_dict`."""
        a, b = (-math.inf if record[name] is None else record[name] for name in ("log_volume_a", "log_volume_b"))
        z = math.copysign(math.inf, a - b) if record["z"] is None else record["z"]
        return cls(**{**record, "log_volume_a": a, "log_volume_b": b, "z": z})


@dataclass(frozen=True, eq=False)
class Comparison(Stored):
    """The z-scores of two reports, largest first."""

    format: ClassVar[str] = "param-volume comparison"
    file: ClassVar[str] = "comparison.json"

    rows: tuple[ComparedClass, ...]
    draws_a: int | None  # None where nothing was counted
    draws_b: int | None
    alpha: float = 1e-3
    of_cube: bool = False  # labels are truth tables on a Boolean cube, for which there are shorter names
    stated_a: dict[str, Any] = field(default_factory=dict)  # what the first report answers and how, see `stated`
    stated_b: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()  # (label, why) of classes in a report of named classes

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
        """Return a strict JSON record."""
        return {
            "classes": [row.to_dict() for row in self.rows],
            "num_compared": self.num_compared,
            "left_out": [{"label": label, "why": why} for label, why in self.left_out],
            "max_abs_z": finite(self.max_abs_z),
            "p_value": self.p_value,
            "alpha": self.alpha,
            "agree": self.agree,
            "draws_a": self.draws_a,
            "draws_b": self.draws_b,
            "a": self.stated_a,
            "b": self.stated_b,
        }

    def record(self) -> dict[str, Any]:
        return {**self.to_dict(), "of_cube": self.of_cube}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(
            rows=tuple(map(ComparedClass.from_dict, record["classes"])),
            **{name: record[name] for name in ("draws_a", "draws_b", "alpha", "of_cube")},
            stated_a=record["a"],
            stated_b=record["b"],
            left_out=tuple((row["label"], row["why"]) for row in record["left_out"]),
        )

    def summary(self, k: int = 20) -> str:
        """Return the ``k`` largest differences as text."""
        return _text(self, whole("k", k))


def _text(result: Comparison, k: int) -> str:
    """The text of :meth:`Comparison.summary`."""
    shown = result.rows[:k]
    names = short_names(table_name(row.label) if result.of_cube else row.label for row in shown)
    rows = []
    for name, row in zip(names, shown, strict=True):
        hits = " / ".join("-" if count is None else f"{count:,}" for count in (row.count_a, row.count_b))
        volumes = volume_text(row.log_volume_a), volume_text(row.log_volume_b)
        rows.append([name, *volumes, hits, f"{round(row.z, 2) + 0.0:+.2f}"])
    table = Table(["class", "volume (first)", "volume (second)", "hits", "z"], rows)
    verdict = "They agree" if result.agree else "They DISAGREE"
    chance = f"{result.p_value:.3g}" if result.p_value < 1 else "1"
    classes = "1 class" if result.num_compared == 1 else f"{result.num_compared:,} classes"
    left_out = [f"Not compared: {shorten(label)}: {why}." for label, why in result.left_out[:k]]
    closing = (
        f"{classes} compared, largest |z| {result.max_abs_z:.2f}; equal volumes give one this large somewhere with "
        f"probability {chance} or less.\n{verdict} at the family-wise level {result.alpha:g}."
    )
    return render(table, *left_out, "", closing)


@overload
def compare(a: TrainedReport, b: TrainedReport, *, min_count: int = ..., alpha: float = ...) -> Comparison: ...
@overload
def compare(a: VolumeReport, b: TrainedReport, *, min_count: int = ..., alpha: float = ...) -> TrainingComparison: ...
@overload
def compare(a: TrainedReport, b: VolumeReport, *, min_count: int = ..., alpha: float = ...) -> TrainingComparison: ...
@overload
def compare(a: Report, b: Report, *, min_count: int = ..., alpha: float = ...) -> Comparison: ...
def compare(
    a: Report, b: Report, *, min_count: int = MIN_COUNT, alpha: float = 1e-3
) -> Comparison | TrainingComparison:
    """Compare two reports on one query, by any methods.

    A share of training runs is no volume. So where one report is of `Trained`, both are taken given that the training
    labels fit, and the answer is a `TrainingComparison`, by :func:`volume.compare_training` (without ``min_count`` and
    ``alpha``: there is no null hypothesis to test). Two trained reports are compared like any two.

    Args:
        a: a report.
        b: another one: model, prior, domain and classifier described alike, draws of its own.
        min_count: hits from which on a class is compared: in both reports together when both count, else in each that
            does.
        alpha: family-wise error rate of ``agree``.

    Raises:
        TypeError: one of them is no report.
        ValueError: they answer different queries (the sentence shows where they differ), share their draws, or have no
            class that both know well enough.
    """
    for report in (a, b):
        if not isinstance(report, (VolumeReport, EstimateReport)):
            raise TypeError(f"compare takes two reports, as estimate or volume.load returns them; got {report!r}.")
    trained = [report for report in (a, b) if report.method.get("name") == "trained"]
    if len(trained) == 1:
        (other,) = (report for report in (a, b) if report is not trained[0])
        return compare_training(other, trained[0])  # type: ignore[arg-type]  # it says what it needs
    _check_same_quantity(a, b)
    min_count = whole("min_count", min_count)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} is not between 0 and 1: give for example alpha=1e-3.")
    _check_same_query(a, b)
    _check_independent(a, b)
    left_out: tuple[tuple[str, str], ...] = ()
    if isinstance(a, VolumeReport) and isinstance(b, VolumeReport):
        rows = _counted_rows(a, b, min_count)
    else:
        rows, left_out = _estimated_rows(a, b, min_count)
    rows.sort(key=lambda row: -abs(row.z))
    of_cube = any(
        isinstance(report, VolumeReport)
        and report.classifier.single_functions
        and isinstance(report.domain, BooleanCube)
        for report in (a, b)
    )
    return Comparison(tuple(rows), _draws(a), _draws(b), alpha, of_cube, stated(a), stated(b), left_out)


def _draws(report: Report) -> int | None:
    return report.num_draws if isinstance(report, VolumeReport) else None


def stated(report: Report) -> dict[str, Any]:
    """Return what every result of a report has to be read with, as strict JSON: the question, the method, the seed."""
    return {
        "query": short(report.description),
        "method": report.method,
        "seed": report.seed,
        "conventions": report.conventions,
    }


def _counted_rows(a: VolumeReport, b: VolumeReport, min_count: int) -> list[ComparedClass]:
    labels, tally_a, tally_b, z = compare_counts(a, b, min_count)
    with np.errstate(divide="ignore"):
        logs = [
            np.log(tally.count / report.counts.num_possible) + report.log_shift
            for tally, report in ((tally_a, a), (tally_b, b))
        ]
    columns = (logs[0], logs[1], tally_a.count, tally_b.count, z)
    return [ComparedClass(*row) for row in zip(labels, *(column.tolist() for column in columns), strict=True)]


def _estimated_rows(a: Report, b: Report, min_count: int) -> tuple[list[ComparedClass], tuple[tuple[str, str], ...]]:
    """The classes that both reports know, and (label, why) of the others."""
    rows, left_out = [], []
    for label in _labels(a, b):
        entries: list[ClassEstimate] = []
        for place, report in (("first", a), ("second", b)):
            try:
                entries.append(report[label])
            except KeyError:
                left_out.append((label, f"not in the {place} report"))
                break
            why = _why_not(entries[-1], min_count)
            if why:
                left_out.append((label, f"in the {place} report {why}"))
                break
        else:
            first, second = entries
            z = interval_z(first, second)
            rows.append(ComparedClass(label, first.log_volume, second.log_volume, _hits(first), _hits(second), z))
    if not rows:
        reasons = "; ".join(f"{label}: {why}" for label, why in left_out[:5])
        raise ValueError(f"No class can be compared ({reasons}): estimate the same classes by both methods, with care.")
    return rows, tuple(left_out)


def _hits(entry: ClassEstimate) -> int | None:
    return entry.count if isinstance(entry, ClassVolume) else None


def _labels(a: Report, b: Report) -> list[str]:
    """Every class of a report of named classes, and those a counted one lists in advance."""
    labels: dict[str, None] = {}
    for report in (a, b):
        if isinstance(report, EstimateReport):
            labels |= dict.fromkeys(report)
        elif isinstance(report, VolumeReport) and report.named_in_advance:
            num_classes = report.bound.num_classes or 0
            if num_classes <= FEW_CLASSES:
                labels |= dict.fromkeys(report.bound.label(index) for index in range(num_classes))
    return list(labels)


def _why_not(entry: ClassEstimate, min_count: int) -> str:
    """Why this entry cannot be compared; empty when it can."""
    if isinstance(entry, ClassVolume) and entry.count < min_count and not entry.complete:
        return f"it has {entry.count} hits, fewer than {min_count}"
    return entry.why_not_compared() or ("" if math.isfinite(entry.log_low) else "its interval has no lower end")


def interval_z(a: ClassEstimate, b: ClassEstimate) -> float:
    """Return the normal score of the difference of two independent log volumes, by their own intervals; see the file's
    top."""
    difference = a.log_volume - b.log_volume
    errors = one_sided_error(a, down=difference > 0), one_sided_error(b, down=difference <= 0)
    variances = [error**2 for error in errors]
    total = sum(variances)
    share = sum((v / total) ** 2 / entry.degrees for v, entry in zip(variances, (a, b), strict=True))
    t = difference / math.sqrt(total)
    if share == 0:  # normal laws on both sides
        return t
    tail = float(special.stdtr(1 / share, -abs(t)))
    # Far out the probability underflows; the score then is about sqrt(n log(1 + t^2 / n)), n degrees (Wallace 1959).
    score = -float(special.ndtri(tail)) if tail > 1e-290 else math.sqrt(math.log1p(t * t * share) / share)
    return math.copysign(score, t)


def one_sided_error(entry: ClassEstimate, *, down: bool) -> float:
    """Standard error [nats] on one side, from the interval and the law behind it."""
    q = (1 + entry.level) / 2
    quantile = float(special.ndtri(q) if entry.degrees == math.inf else special.stdtrit(entry.degrees, q))
    below, above = entry.log_volume - entry.log_low, entry.log_high - entry.log_volume
    if entry.log_high >= 0:  # cut at a volume of 1
        above = max(above, below)
    return max((below if down else above) / quantile, _ROUNDING * (1 + abs(entry.log_volume)))


def _check_same_query(a: Report, b: Report) -> None:
    for part in ("model", "prior", "domain", "classifier"):
        of_a, of_b = a.description.get(part), b.description.get(part)
        if of_a != of_b:
            raise ValueError(
                f"The reports answer different queries: the {part} is {_differing(of_a, of_b)} in the first and "
                f"{_differing(of_b, of_a)} in the second. Compare two reports on one query."
            )
    of_a, of_b = _estimand(a), _estimand(b)
    if of_a != of_b:
        raise ValueError(
            f"The reports answer different queries: the first holds {_words_of(of_a)}, the second {_words_of(of_b)}. "
            "Ask both with the same symmetry."
        )


def _check_same_quantity(a: Report, b: Report) -> None:
    """Shares of all training runs with those, shares of runs that fit with those, and on the same labels."""
    of_a, of_b = (report.conventions.get("quantity") for report in (a, b))
    if of_a != of_b:
        raise ValueError(f"The first report holds: {of_a}; the second: {of_b}. Take given_fit() of both or of neither.")
    if a.method.get("name") == b.method.get("name") == "trained" and a.method["on"] != b.method["on"]:
        raise ValueError("The two reports were trained on different labels: train both on the same.")


def _estimand(report: Report) -> dict[str, Any] | None:
    """The group that a report divides by; None for prior mass, pooled or not."""
    if report.conventions.get("symmetry") != "quotient":
        return None
    return report.conventions.get("symmetry_group") or {}


def _words_of(group: dict[str, Any] | None) -> str:
    return "prior mass" if group is None else f"each network once, its copies under {words(group)}"


def _differing(mine: Any, other: Any) -> str:
    """The entries of a description that the other one does not share."""
    if isinstance(mine, dict) and isinstance(other, dict) and mine.get("name") == other.get("name"):
        mine = {name: value for name, value in short(mine).items() if name not in other or other[name] != value}
    text = str(short(mine))
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_independent(a: Report, b: Report) -> None:
    if any(isinstance(report, VolumeReport) and report.complete for report in (a, b)):
        return  # nothing was drawn
    if seeds_of(a) & seeds_of(b) and a.method.get("name") == b.method.get("name"):
        raise ValueError(
            f"Both reports were drawn by {a.method.get('name')!r} from seed {a.seed}, so they may share draws and "
            "agree for that reason alone: give one of them another seed."
        )
