"""Does a report still say what its baseline says? Exactly where that can be asked, else by a two-sample test.

1. The same question, or it is "changed": model, prior, domain, classifier and conventions.
2. One seed, one version of everything, one kind of machine: every number must be the same ("identical"), else it is
   "changed". Elsewhere the same seed may still give the same numbers; draws near a tie may differ, log volumes by
   rounding ("agrees").
3. Otherwise, and on request, a two-sample test of every class (`volume.checks.counts`, `volume.checks.entries`) with a
   family-wise false-alarm rate. It is meant for draws of their own. A report of the baseline's own seed shares draws
   with it: their difference then varies less than the test believes, which makes false alarms rarer, and changes
   larger than the printed ones are found no less often.
"""

from __future__ import annotations

from collections.abc import Sequence

from volume.checks import counts as check_counts
from volume.checks import entries as check_entries
from volume.checks.baseline import COUNTS, Baseline, differences, elsewhere, made_by, question_of
from volume.checks.baseline_counts import CountedAnswer
from volume.checks.verdict import AGREES, ALPHA, CHANGED, FAILED, IDENTICAL, MAX_CHANGES, Checked
from volume.common.logs import volume_text
from volume.common.validation import check_fraction
from volume.reports.counted import VolumeReport
from volume.reports.counted_text import MANY_NEAR_TIES
from volume.reports.facts import Report
from volume.reports.named import EstimateReport


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
    check_fraction("alpha", alpha, "1e-6")
    checked = asked_otherwise(report, baseline, name)
    if checked is not None:
        return checked
    if report.seed == baseline.seed and not statistical:
        checked = same_seed(report, baseline, name)
        if checked is not None:
            return checked
    return two_sample(report, baseline, alpha, name)


def asked_otherwise(report: Report, baseline: Baseline, name: str) -> Checked | None:
    """Return the verdict where the two answer different questions, or in different kinds; None where they do not."""
    kind = COUNTS if isinstance(report, VolumeReport) else "estimates"
    changes = differences(baseline.question, question_of(report))
    if kind != baseline.kind:
        changes.insert(0, f"answer: was {baseline.kind}, is {kind}")
    if not changes:
        return None
    how = "The question is not the baseline's: put it back, or update the baseline"
    return Checked(name, CHANGED, how, tuple(changes[:MAX_CHANGES]))


def same_seed(report: Report, baseline: Baseline, name: str) -> Checked | None:
    """Return the verdict of a report of the baseline's seed; None where only a two-sample test can give one."""
    places = elsewhere(baseline.made, made_by(report.run))
    try:
        if isinstance(report, VolumeReport):
            answer = _same_counts(report, baseline, places)
        else:
            assert isinstance(report, EstimateReport)  # as asked_otherwise has seen
            answer = _same_entries(report, baseline, places)
    except (ValueError, KeyError) as error:
        return _failed(name, error)
    if answer is None:
        return None
    verdict, how, changes = answer
    if verdict == CHANGED and (how_asked := differences(baseline.method, report.method)):
        changes = [*(f"method.{line}" for line in how_asked), *changes]
    notes = (f"Made elsewhere: {'; '.join(places)}.",) if places else ()
    return Checked(name, verdict, how, tuple(changes[:MAX_CHANGES]), notes=notes)


def _same_counts(report: VolumeReport, baseline: Baseline, places: Sequence[str]) -> tuple[str, str, list[str]] | None:
    base = CountedAnswer.from_dict(baseline.answer, baseline.method)
    differing = check_counts.exact_differences(base, report)
    if not differing:
        return IDENTICAL, f"the same seed gives the same {report.num_draws:,} draws' counts in every class", []
    changes = [f"{one.label}: {one.before:,} -> {one.after:,}" for one in differing.classes]
    certain = base.layout["complete"] or report.complete  # another seed draws nothing else
    if places and differing.by_rounding and differing.near_ties <= MANY_NEAR_TIES * report.num_draws:
        how = f"the same seed moves {differing.moved:,} of {report.num_draws:,} draws; "
        how += f"{differing.near_ties:,} are near a tie"
        return AGREES, how, []
    if places and not certain:
        return None
    moved = f"{differing.moved:,} draws are elsewhere" if differing.moved is not None else "counts differ"
    return CHANGED, f"the same seed gives other counts: {moved}", changes


def _same_entries(
    report: EstimateReport, baseline: Baseline, places: Sequence[str]
) -> tuple[str, str, list[str]] | None:
    base = check_entries.entries_of(baseline.answer["entries"])
    if not (differing := check_entries.exact_differences(base, report, check_entries.SAME)):
        return IDENTICAL, f"the same seed gives the same numbers for all {len(base)} classes", []
    if places:
        if check_entries.exact_differences(base, report, check_entries.ROUNDING):
            return None
        return AGREES, f"the same seed gives the same numbers to rounding ({check_entries.ROUNDING:g} nats)", []
    changes = [f"{one.label}: {volume_text(one.before, 6)} -> {volume_text(one.after, 6)}" for one in differing]
    return CHANGED, f"the same seed gives other numbers for {len(differing)} of {len(base)} classes", changes


def two_sample(report: Report, baseline: Baseline, alpha: float, name: str) -> Checked:
    """Return the verdict of a two-sample test at the family-wise rate ``alpha``."""
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
    verdict = _same_counts(report, baseline, elsewhere(baseline.made, made_by(report.run)))
    assert verdict is not None  # as every difference is certain there
    return Checked(name, verdict[0], verdict[1], tuple(verdict[2][:MAX_CHANGES]))


def _failed(name: str, error: Exception) -> Checked:
    return Checked(name, FAILED, str(error.args[0] if error.args else error))
