"""A report as text for people: the table of the largest classes, and what has to be said beside it."""

from __future__ import annotations

import math

import numpy as np

from volume.common.logs import interval_name, interval_text, volume_text
from volume.functions import lempel_ziv
from volume.functions.domains import BooleanCube
from volume.functions.table_names import table_name
from volume.reports.counted_classes import CountedClasses
from volume.reports.counted_entries import ClassTable, ClassVolume
from volume.reports.text import Table, conventions, render, short_names, shorten, took

MAX_WRITTEN = 10**7  # orders of groups up to here are written as numbers
# Warnings (docs/estimators.md says why): a share above .2 means that a handful of units carries the estimate.
LARGE_SHARE = 0.2
LARGE_DESIGN_EFFECT = 5.0  # the interval is more than twice as wide as iid draws would make it
FEW_UNITS = 20
MANY_NEAR_TIES = 1e-3  # share of draws whose decision could differ on another device


def warn(report: CountedClasses, shown: ClassTable) -> list[str]:
    """Return sentences for what should not be overlooked, about the run and the classes shown."""
    counts, warnings = report.counts, []
    if report.complete:
        return warnings + _exact_warnings(report)
    if report.run.get("complete") is False:
        warnings.append(f"The run was stopped early, after {report.num_draws:,} draws.")
    if report.num_vanished:
        warnings.append(
            f"{report.num_vanished:,} of {report.counts.num_possible:,} draws are undecided: numbers inside these "
            f"networks vanish or overflow in {report.conventions['dtype']}. They are in no class but 'nonfinite', and "
            "upper limits allow for all of them in each class. Change the scale of weights, biases or inputs"
            + (", or take float64." if report.conventions["dtype"] == "float32" else ".")
        )
    if others := report.num_nonfinite - report.num_vanished:
        warnings.append(
            f"{others:,} of {report.counts.num_possible:,} networks gave NaN or inf; they are in no class but "
            "'nonfinite', and the other volumes are shares of all draws."
        )
    if not counts.independent and counts.num_units < FEW_UNITS:
        warnings.append(
            f"Only {counts.num_units} independent units: how much they differ is hardly known. "
            "Draw more, or use fewer heads and bodies a unit."
        )
    if not report.named_in_advance and shown.num_draws == report.num_draws and report.num_classes:
        warnings.append(
            "The same draws chose and estimated the classes shown, too few to be split: their volumes read too high."
        )
    if not counts.independent:
        # One hit is its unit's whole share, and that says nothing.
        narrow = (shown.units_hit > 0) & (shown.count > shown.units_hit) & (shown.largest_unit_share > LARGE_SHARE)
        if narrow.any():
            worst = shown[int(np.argmax(np.where(narrow, shown.largest_unit_share, 0)))]
            warnings.append(
                f"One unit gave {worst.largest_unit_share:.0%} of the hits of {shorten(worst.label)}"
                + (
                    f", and more than {LARGE_SHARE:.0%} of those of {narrow.sum() - 1} other classes shown"
                    if narrow.sum() > 1
                    else ""
                )
                + ": such a class may be carried by bodies too rare for these intervals."
            )
        effect = np.nan_to_num(shown.design_effect, nan=0.0)
        if effect.max(initial=0) > LARGE_DESIGN_EFFECT:
            worst = shown[int(np.argmax(effect))]
            warnings.append(
                f"Design effect {worst.design_effect:.3g} for {shorten(worst.label)}: its interval is that of "
                f"{worst.num_draws / worst.design_effect:,.0f} independent draws."
            )
    near, checked = report.run.get("near_ties"), report.run.get("near_ties_checked")
    if near and checked and near / checked > MANY_NEAR_TIES:
        warnings.append(
            f"{near / checked:.2%} of the draws have an output so near a tie that another device or dtype "
            "may decide it otherwise."
        )
    return warnings


def _exact_warnings(report: CountedClasses) -> list[str]:
    """The same where every parameterisation was counted: nothing is left to chance, but rounding may decide ties."""
    warnings = []
    if report.num_nonfinite:
        warnings.append(
            f"{report.num_nonfinite:,} of {report.num_draws:,} parameterisations gave NaN or inf; they are in no class "
            "but 'nonfinite', and the other volumes are shares of all parameterisations."
        )
    near = report.run.get("near_ties")
    if near:
        warnings.append(
            f"{near:,} of {report.num_draws:,} parameterisations have an output so near a tie that rounding may have "
            "decided it."
        )
    return warnings


def summarise(report: CountedClasses, k: int) -> str:
    """Return the text of :meth:`VolumeReport.summary`."""
    shown = report.top(k)
    parts = [title(report), *([_table(report, shown)] if len(shown) else []), "\n".join(_below(report, shown))]
    return render(*parts)


def title(report: CountedClasses) -> str:
    classes = f"{report.num_classes:,} classes seen"
    if report.named_in_advance:
        classes += f" of {report.bound.num_classes:,}"
    counts = report.counts
    drawn = f"{counts.num_draws:,} independent draws"
    if counts.complete:
        drawn = f"all {counts.num_draws:,} parameterisations"
    elif not counts.independent:
        drawn = f"{counts.num_draws:,} draws ({counts.num_units:,} independent units of {counts.unit_size:,})"
    return f"{drawn}, {classes}{took(report)}"


def _table(report: CountedClasses, shown: ClassTable) -> Table:
    tables = report.classifier.single_functions
    complexity = _complexity(report, shown) if tables and report.num_outputs == 1 else None
    heads = ["class", *(["T", "LZ"] if complexity is not None else []), "volume"]
    heads += [] if report.complete else [interval_name(report.level)]
    heads += ["share"] if report.quotient else []
    if report.complete:
        heads.append("orbits" if report.quotient else "parameterisations")
    else:
        heads.append("hits")
    names = short_names(class_name(report, entry.label) for entry in shown)
    rows = []
    for row, (name, entry) in enumerate(zip(names, shown, strict=True)):
        cells = [name]
        if complexity is not None:
            bits = complexity[row]
            cells += [str(entry.label.count("1")), "" if np.isnan(bits) else f"{bits:.4g}"]
        cells.append(volume_text(entry.log_volume))
        cells += [] if report.complete else [interval_text(entry.log_low, entry.log_high)]
        cells += [_share(entry)] if report.quotient else []
        rows.append([*cells, f"{entry.count:,}"])
    return Table(heads, rows)


def _complexity(report: CountedClasses, shown: ClassTable) -> np.ndarray:
    """Lempel-Ziv complexity of the classes shown [K], bits; nan where it is not defined."""
    if not 2 <= report.domain.num_inputs <= lempel_ziv.MAX_INPUTS:
        return np.full(len(shown), np.nan)
    return lempel_ziv.complexity(shown.keys, report.domain.num_inputs)


def class_name(report: CountedClasses, label: str) -> str:
    """Return the label, or a shorter name of a table such as "1 only at 0000100"."""
    # Such names read the inputs as binary numbers, which only a cube's are.
    named = report.classifier.single_functions and isinstance(report.domain, BooleanCube)
    return table_name(label) if named else label


def _share(entry: ClassVolume) -> str:
    share = volume_text(entry.log_share, 3)
    return share if entry.complete else f"{share} ({interval_text(entry.log_share_low, entry.log_share_high, 3)})"


def _quotient(report: CountedClasses) -> list[str]:
    """What the numbers are where each network is counted once."""
    if not report.quotient:
        return []
    log_order = (report.conventions.get("symmetry_group") or {}).get("log_order", math.nan)
    order = (
        f"|G| = {round(math.exp(log_order)):,}" if log_order < math.log(MAX_WRITTEN) else f"log |G| = {log_order:.6g}"
    )
    if report.complete:
        total = int(report.counts.tally().count.sum()) + report.num_nonfinite
        how = f"{total:,} orbits under symmetries, {order}; a class's volume is its orbits over all parameterisations"
    elif report.counts.copies > 1:
        how = f"a draw brings as many hits, up to {order}, as there are symmetries that leave it as it is"
    else:
        how = f"volumes are prior mass divided by the number of symmetries, {order}"
    return [
        f"Each network is counted once: {how}.",
        "A share is a class's volume over that of all classes. Rescaling of relu units is not finite: it changes no "
        "class's mass.",
    ]


def _below(report: CountedClasses, shown: ClassTable) -> list[str]:
    lines = ["", *_quotient(report)]
    if report.complete:
        lines.append("Every parameterisation was counted: volumes are exact, and a class that was not seen is empty.")
        if arithmetic := report.run.get("arithmetic"):
            lines.append(f"Arithmetic is {arithmetic}.")
        lines.append(f"Non-finite networks: {report.num_nonfinite:,}.")
        lines += [f"Warning: {sentence}" for sentence in warn(report, shown)]
        return lines + conventions(report)
    if len(shown) and shown.num_draws < report.num_draws:
        pilot = f"{report.pilot_units:,} units"
        if report.counts.independent:
            pilot = f"{report.num_draws - shown.num_draws:,} draws"
        lines.append(
            f"The first {pilot} chose and ordered these classes; the other "
            f"{shown.num_draws:,} draws estimate them. Intervals are pointwise."
        )
    elif len(shown):
        lines.append("All draws estimate these classes. Intervals are pointwise.")
    lines.append(_unseen(report))
    lines.append(f"Non-finite networks: {report.num_nonfinite:,} ({nonfinite(report)}).")
    lines += near_ties(report)
    lines += [f"Warning: {sentence}" for sentence in warn(report, shown)]
    return lines + conventions(report)


def near_ties(report: CountedClasses) -> list[str]:
    """Say how many draws rounding may have decided, where that was looked at."""
    near, checked = report.run.get("near_ties"), report.run.get("near_ties_checked")
    if near is None or not checked:
        return []
    return [f"Near ties: {near:,} of {checked:,} draws ({near / checked:.2g}), within rounding of the boundary."]


def nonfinite(report: CountedClasses) -> str:
    entry = report.nonfinite
    if not report.num_nonfinite:
        return f"volume below {volume_text(entry.log_high)}"
    ends = interval_text(entry.log_low, entry.log_high)
    return f"volume {volume_text(entry.log_volume)}, {interval_name(report.level)} {ends}"


def _unseen(report: CountedClasses) -> str:
    meaning = "the chance that one more network is in a class that these draws did not hit"
    if report.counts.copies > 1:
        meaning = "the volume, each network counted once, of the classes that these draws did not hit"
    if not report.num_classes:
        meaning = "no network was in any class"
    return unseen_line(report, meaning, "class")


def unseen_line(report: CountedClasses, meaning: str, class_word: str, name: str = "mass") -> str:
    """Return the unseen mass in a sentence: what an estimate means, or that every class was hit."""
    if report.all_seen:
        return f"Unseen {name} 0: every {class_word} was hit."
    unseen = report.unseen
    return f"Unseen {name} {unseen.mass:.4g} ({unseen.low:.4g} - {unseen.high:.4g}): {meaning}."
