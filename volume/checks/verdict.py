"""What came of baselines: a record of one, and all of a call as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from scipy import special

from volume.checks.rows import TriedClass, smallest_changes
from volume.common.logs import finite
from volume.reports.loading import Stored
from volume.reports.text import Table, render, short_names, shorten

ALPHA = 1e-6  # family-wise false-alarm rate
IDENTICAL, AGREES, CHANGED, FAILED, UPDATED = "identical", "agrees", "changed", "failed", "updated"
MAX_CHANGES = 20  # kept of a record, largest first
SHOWN = 10  # changes of one baseline that its text lists


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
        """Return a strict JSON record."""
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

    def summary(self) -> str:
        """Return the verdict, what changed, and the smallest change that would have been seen."""
        verdict = self.verdict if self.agree else self.verdict.upper()
        lines = [f"{self.name or 'baseline'}: {verdict}: {self.how.rstrip('.')}."]
        lines += [f"  {change}" for change in self.changes[:SHOWN]]
        if len(self.changes) > SHOWN:
            lines.append(f"  and {len(self.changes) - SHOWN} more")
        lines += [f"  {note}" for note in self.notes[:SHOWN]]
        if self.smallest is not None:
            best, worst = self.smallest
            lines.append(
                f"  Found with probability .99: {shorten(best.label)} changed by {percent(best.up)} or "
                f"{percent(best.down)}; of the class hardest to see, {shorten(worst.label)}, {percent(worst.up)} or "
                f"{percent(worst.down)}."
            )
        return "\n".join(lines)


def table(checked: Sequence[Checked], alpha: float) -> str:
    """Lay out the verdicts of one call, a line for each baseline, and those that are not as before in full."""
    rows = []
    for name, one in zip(short_names(one.name for one in checked), checked, strict=True):
        tested, ends = one.max_abs_z is not None, one.smallest
        if ends is None:
            caught = ["any", "any"] if not tested and one.agree else ["-", "-"]
        else:
            caught = [f"{percent(end.up)} / {percent(end.down)}" for end in ends]
        numbers = [f"{one.num_tests:,}", f"{one.max_abs_z:.2f}", f"{one.p_value:.2g}"] if tested else ["-"] * 3
        rows.append([name, one.verdict if one.agree else one.verdict.upper(), *numbers, *caught])
    columns = Table(["baseline", "verdict", "tests", "largest |z|", "p", "change caught: best", "worst"], rows)
    bad = [one for one in checked if not one.agree]
    some = "1 baseline" if len(checked) == 1 else f"{len(checked)} baselines"
    closing = f"{some}: {len(checked) - len(bad)} as before, {len(bad)} not."
    if any(one.rows for one in checked):
        closing += f" Tests of unchanged volumes raise an alarm somewhere with probability {alpha:g} at most."
    return "\n\n".join([render(columns), *(str(one) for one in checked if not one.agree), closing])


def percent(factor: float) -> str:
    """Return a factor as a change in words: +12 %, -8 %, x3.1, /3.1, to nothing, none."""
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
