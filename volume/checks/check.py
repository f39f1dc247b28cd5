"""Does a report still say what its baseline says? Exactly where that can be asked, else by a two-sample test.

1. The same question, or it is "changed": model, prior, domain, classifier and conventions.
2. One seed, one version of everything, one kind of machine: every number must be the same ("identical"), else it is
   "changed". Elsewhere the same seed may still give the same numbers; draws near a tie may differ, log volumes by
   rounding ("agrees").
3. Otherwise, and on request, a two-sample test of every class (`volume.check_counts`, `volume.check_entries`) with a
   family-wise false-alarm rate. It is meant for draws of their own. A report of the baseline's own seed shares draws
   with it: their difference then varies less than the test believes, which makes false alarms rarer, and changes
   larger than the printed ones are found no less often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from scipy import special

from volume.checks import counts as check_counts
from volume.checks import entries as check_entries
from volume.checks.baseline import COUNTS, Baseline, differences, elsewhere, made_by, question_of
from volume.checks.baseline_counts import CountedAnswer
from volume.checks.rows import TriedClass, smallest_changes
from volume.common.logs import finite, volume_text
from volume.reports.counted import VolumeReport
from volume.reports.counted_text import MANY_NEAR_TIES
from volume.reports.facts import Report
from volume.reports.loading import Stored
from volume.reports.named import EstimateReport

ALPHA = 1e-6  # family-wise false-alarm rate
IDENTICAL, AGREES, CHANGED, FAILED, UPDATED = "identical", "agrees", "changed", "failed", "updated"
MAX_CHANGES = 20  # kept of a record, largest first


@dataclass(frozen=True, eq=False)
class Checked(Stored):
    """What came of one baseline."""

    format: ClassVar[str] = "param-volume check"
    file: ClassVar[str] = "check.json"

    name: str
    verdict: str  # IDENTICAL, AGREES, CHANGED, UPDATED; FAILED: it could not be compared
    how: str  # a sentence
    changes: tuple[str, ...] = ()  # one line for each class, or what else is not as it was
    rows: tuple[TriedClass, ...] = ()  # of a two-sample test, largest |z| first
    num_tests: int = 0
    alpha: float = ALPHA
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def agree(self) -> bool:
        return self.verdict in (IDENTICAL, AGREES, UPDATED)

    @property
    def max_abs_z(self) -> float | None:
        return max((abs(row.z) for row in self.rows), default=None)

    @property
    def p_value(self) -> float | None:
        """Family-wise within this baseline: the chance that equal volumes give a |z| this large anywhere, at most."""
        worst = self.max_abs_z
        return None if worst is None else float(min(1.0, 2 * self.num_tests * special.ndtr(-worst)))

    @property
    def smallest(self) -> tuple[TriedClass, TriedClass] | None:
        """The classes of which the smallest, and of which only the largest change is caught."""
        return smallest_changes(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """A strict JSON record."""
        ends = self.smallest
        return {
            "name": self.name,
            "verdict": self.verdict,
            "agree": self.agree,
            "how": self.how,
            "changes": list(self.changes),
            "num_tests": self.num_tests,
            "alpha": self.alpha,
            "max_abs_z": None if self.max_abs_z is None else finite(self.max_abs_z),
            "p_value": self.p_value,
            "smallest_change": None
            if ends is None
            else {
                name: {"label": row.label, "up": finite(row.up), "down": finite(row.down)}
                for name, row in zip(("best", "worst"), ends, strict=True)
            },
            "classes": [row.to_dict() for row in self.rows[:MAX_CHANGES]],
            "notes": list(self.notes),
            **self.facts,
        }

    def record(self) -> dict[str, Any]:
        own = {
            name: getattr(self, name) for name in ("name", "verdict", "how", "changes", "num_tests", "alpha", "notes")
        }
        return {**self.to_dict(), **own, "classes": [row.to_dict() for row in self.rows], "facts": self.facts}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        known = {name: record[name] for name in ("name", "verdict", "how", "num_tests", "alpha", "facts")}
        rows = tuple(map(TriedClass.from_dict, record["classes"]))
        return cls(**known, changes=tuple(record["changes"]), rows=rows, notes=tuple(record["notes"]))

    def __str__(self) -> str:
        from volume.checks.check_summary import told

        return told(self)


def check_report(
    report: Report, baseline: Baseline, *, alpha: float = ALPHA, statistical: bool = False, name: str = ""
) -> Checked:
    """Compare a report that this process made with a baseline.

    Args:
        report: the new answer.
        baseline: the old one.
        alpha: family-wise false-alarm rate of a two-sample test.
        statistical: go to the two-sample test although numbers ought to be the same.
        name: of the baseline, for messages.

    Raises:
        TypeError: ``report`` is none.
        ValueError: ``alpha`` is not between 0 and 1.
    """
    if not isinstance(report, (VolumeReport, EstimateReport)):
        raise TypeError(f"check_report takes a report, as volume.estimate returns it; got {report!r}.")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} is not between 0 and 1: give for example alpha=1e-6.")
    found = asked_otherwise(report, baseline, name)
    if found is not None:
        return found
    if report.seed == baseline.seed and not statistical:
        found = same_seed(report, baseline, name)
        if found is not None:
            return found
    return two_sample(report, baseline, alpha, name)


def asked_otherwise(report: Report, baseline: Baseline, name: str) -> Checked | None:
    """The verdict where the two answer different questions, or in different kinds; None where they do not."""
    kind = COUNTS if isinstance(report, VolumeReport) else "estimates"
    found = differences(baseline.question, question_of(report))
    if kind != baseline.kind:
        found.insert(0, f"answer: was {baseline.kind}, is {kind}")
    if not found:
        return None
    how = "The question is not the baseline's: put it back, or update the baseline"
    return Checked(name, CHANGED, how, tuple(found[:MAX_CHANGES]))


def same_seed(report: Report, baseline: Baseline, name: str) -> Checked | None:
    """The verdict of a report of the baseline's seed; None where only a two-sample test can give one."""
    places = elsewhere(baseline.made, made_by(report.run))
    try:
        if isinstance(report, VolumeReport):
            found = _same_counts(report, baseline, places)
        else:
            assert isinstance(report, EstimateReport)  # as asked_otherwise has seen
            found = _same_entries(report, baseline, places)
    except (ValueError, KeyError) as error:
        return _failed(name, error)
    if found is None:
        return None
    verdict, how, changes = found
    if verdict == CHANGED and (how_asked := differences(baseline.method, report.method)):
        changes = [*(f"method.{line}" for line in how_asked), *changes]
    notes = (f"Made elsewhere: {'; '.join(places)}.",) if places else ()
    return Checked(name, verdict, how, tuple(changes[:MAX_CHANGES]), notes=notes)


def _same_counts(report: VolumeReport, baseline: Baseline, places: Sequence[str]) -> tuple[str, str, list[str]] | None:
    base = CountedAnswer.from_dict(baseline.answer, baseline.method)
    found = check_counts.exact_differences(base, report)
    if not found:
        return IDENTICAL, f"the same seed gives the same {report.num_draws:,} draws' counts in every class", []
    changes = [f"{one.label}: {one.before:,} -> {one.after:,}" for one in found.found]
    certain = base.layout["complete"] or report.complete  # another seed draws nothing else
    if places and found.by_rounding and found.near_ties <= MANY_NEAR_TIES * report.num_draws:
        how = f"the same seed moves {found.moved:,} of {report.num_draws:,} draws; {found.near_ties:,} are near a tie"
        return AGREES, how, []
    if places and not certain:
        return None
    moved = f"{found.moved:,} draws are elsewhere" if found.moved is not None else "counts differ"
    return CHANGED, f"the same seed gives other counts: {moved}", changes


def _same_entries(
    report: EstimateReport, baseline: Baseline, places: Sequence[str]
) -> tuple[str, str, list[str]] | None:
    base = check_entries.entries_of(baseline.answer["entries"])
    if not (found := check_entries.exact_differences(base, report, check_entries.SAME)):
        return IDENTICAL, f"the same seed gives the same numbers for all {len(base)} classes", []
    if places:
        if check_entries.exact_differences(base, report, check_entries.ROUNDING):
            return None
        return AGREES, f"the same seed gives the same numbers to rounding ({check_entries.ROUNDING:g} nats)", []
    changes = [f"{one.label}: {volume_text(one.before, 6)} -> {volume_text(one.after, 6)}" for one in found]
    return CHANGED, f"the same seed gives other numbers for {len(found)} of {len(base)} classes", changes


def two_sample(report: Report, baseline: Baseline, alpha: float, name: str) -> Checked:
    """The verdict of a two-sample test at the family-wise rate ``alpha``."""
    notes: list[str] = []
    try:
        if isinstance(report, VolumeReport):
            base = CountedAnswer.from_dict(baseline.answer, baseline.method)
            if base.layout["complete"] or report.complete:
                return _complete(report, baseline, name)
            rows, number = check_counts.two_sample(base, report, alpha)
        else:
            assert isinstance(report, EstimateReport)  # as asked_otherwise has seen
            base = check_entries.entries_of(baseline.answer["entries"])
            rows, number, notes = check_entries.two_sample(base, report, alpha)
    except (ValueError, KeyError) as error:
        return _failed(name, error)
    rows.sort(key=lambda row: -abs(row.z))
    least = check_counts.critical(alpha, number)
    beyond = [row for row in rows if abs(row.z) > least]
    changes = [
        f"{row.label}: {volume_text(row.log_volume_before)} -> {volume_text(row.log_volume_after)}, z = {-row.z:+.2f}"
        for row in beyond
    ]
    classes = "1 test" if number == 1 else f"{number:,} tests"
    draws = "draws of another seed" if report.seed != baseline.seed else "draws of the same seed"
    how = f"{classes} against {draws} at the family-wise rate {alpha:g}: |z| up to {abs(rows[0].z):.2f} of {least:.2f}"
    verdict = CHANGED if beyond else AGREES
    notes = [f"Not compared: {note}." for note in notes]
    return Checked(name, verdict, how, tuple(changes[:MAX_CHANGES]), tuple(rows), number, alpha, tuple(notes))


def _complete(report: VolumeReport, baseline: Baseline, name: str) -> Checked:
    """Where every parameterisation was counted there is nothing to test: counts are the same, or they are not."""
    found = _same_counts(report, baseline, elsewhere(baseline.made, made_by(report.run)))
    assert found is not None  # as every difference is certain there
    return Checked(name, found[0], found[1], tuple(found[2][:MAX_CHANGES]))


def _failed(name: str, error: Exception) -> Checked:
    return Checked(name, FAILED, str(error.args[0] if error.args else error))


def percent(factor: float) -> str:
    """A factor as a change in words: +12 %, -8 %, x3.1, /3.1, to nothing, none."""
    if math.isnan(factor):
        return "none"
    if factor >= 2:
        return f"x{factor:.3g}"
    if factor < 1e-3:
        return "to nothing"
    if factor <= 0.5:
        return f"/{1 / factor:.3g}"
    change = 100 * (factor - 1)
    return f"{change:+.2g} %" if abs(change) < 10 else f"{change:+.0f} %"
