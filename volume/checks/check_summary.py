"""What checks found, as text."""

from __future__ import annotations

from collections.abc import Sequence

from volume.checks.check import Checked, percent
from volume.reports.text import Table, render, short_names, shorten

SHOWN = 10  # changes of one baseline


def told(found: Checked) -> str:
    """One baseline: its verdict, what changed, and the smallest change that would have been seen."""
    verdict = found.verdict if found.agree else found.verdict.upper()
    lines = [f"{found.name or 'baseline'}: {verdict}: {found.how.rstrip('.')}."]
    lines += [f"  {change}" for change in found.changes[:SHOWN]]
    if len(found.changes) > SHOWN:
        lines.append(f"  and {len(found.changes) - SHOWN} more")
    lines += [f"  {note}" for note in found.notes[:SHOWN]]
    if found.smallest is not None:
        best, worst = found.smallest
        lines.append(
            f"  Found with probability .99: {shorten(best.label)} changed by {percent(best.up)} or "
            f"{percent(best.down)}; of the class hardest to see, {shorten(worst.label)}, {percent(worst.up)} or "
            f"{percent(worst.down)}."
        )
    return "\n".join(lines)


def table(found: Sequence[Checked], alpha: float) -> str:
    """All baselines of a call."""
    rows = []
    for name, one in zip(short_names(one.name for one in found), found, strict=True):
        tested, ends = one.max_abs_z is not None, one.smallest
        if ends is None:
            caught = ["any", "any"] if not tested and one.agree else ["-", "-"]
        else:
            caught = [f"{percent(end.up)} / {percent(end.down)}" for end in ends]
        numbers = [f"{one.num_tests:,}", f"{one.max_abs_z:.2f}", f"{one.p_value:.2g}"] if tested else ["-"] * 3
        rows.append([name, one.verdict if one.agree else one.verdict.upper(), *numbers, *caught])
    columns = Table(["baseline", "verdict", "tests", "largest |z|", "p", "change caught: best", "worst"], rows)
    bad = [one for one in found if not one.agree]
    some = "1 baseline" if len(found) == 1 else f"{len(found)} baselines"
    closing = f"{some}: {len(found) - len(bad)} as before, {len(bad)} not."
    if any(one.rows for one in found):
        closing += f" Tests of unchanged volumes raise an alarm somewhere with probability {alpha:g} at most."
    return "\n\n".join([render(columns), *(told(one) for one in found if not one.agree), closing])
