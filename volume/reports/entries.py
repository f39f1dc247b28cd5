"""What every method says of one class: its log volume with an interval. Each method adds what it knows beside that.

Quantity: V(C) = prior{theta : function(theta) in C}. Every way of knowing it is a kind of entry, which registers itself
by its ``kind``: counted draws (`volume.reports.counted_entries`), the limit of infinite width (`limit_entries`), local
volumes (`local_entries`), and here independent replicates of an unbiased estimate: the log of their mean, with the
generalised interval for a lognormal mean and a lower bound that assumes nothing (`volume.statistics.replicates`, which
cites its sources).

Shape letter: R replicates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from volume.common.logs import LN10, finite, interval_name, interval_text, linear, volume_text
from volume.common.records import plain
from volume.errors import unknown
from volume.reports.notes import SUMMARY, Note, from_record, notes_of, to_record
from volume.statistics import replicates
from volume.statistics.replicates import Share

# Above this spread of log p_hat the generalised interval is shaky and the bound leads (docs/estimators.md).
MAX_SPREAD = 1.0
# Families of particles that a replicate must hold of a part on average before its interval is printed: of fewer, the
# replicates that met it are chosen by their luck. Up to twice as many, and its lower end is the bound.
MIN_FAMILIES = 4.0
FAMILIES = "families"  # in the diagnostics of a part
# In the diagnostics of a part of another class's replicates: that class's label. It holds the other diagnostics.
PART_OF = "part_of"
# In the diagnostics of a class whose last layer is integrated: labels that it asks for, and weights of that layer.
LABELS, WEIGHTS = "labels", "head_weights"
DIGITS = 3  # of volumes in a table: all columns of a class then fit a terminal


@dataclass(frozen=True, repr=False)
class ClassEstimate:
    """The prior mass of one class of functions, with its interval. Logarithms are natural unless they say ``log10``."""

    label: str
    log_volume: float  # -inf: nothing of the class was found
    log_low: float  # ends of the interval: it covers the true volume with probability ``level``
    log_high: float
    level: float

    kind: ClassVar[str] = ""  # names the kind in a stored report
    kinds: ClassVar[dict[str, type[ClassEstimate]]] = {}  # those that can be loaded, by name

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            ClassEstimate.kinds[cls.kind] = cls

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ClassEstimate:
        """Return the entry that wrote this record with :meth:`to_dict`."""
        return cls(**stored(record))

    @property
    def volume(self) -> float:
        """The volume itself; underflows to 0 where its logarithm does not."""
        return math.exp(self.log_volume)

    @property
    def low(self) -> float:
        return math.exp(self.log_low)

    @property
    def high(self) -> float:
        return math.exp(self.log_high)

    @property
    def log10_volume(self) -> float:
        return self.log_volume / LN10

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record: infinite and undefined numbers are None, and so are linear volumes in (0,
        1e-300)."""
        return {
            "label": self.label,
            "log_volume": finite(self.log_volume),
            "log_low": finite(self.log_low),
            "log_high": finite(self.log_high),
            "log10_volume": finite(self.log10_volume),
            "volume": linear(self.log_volume),
            "low": linear(self.log_low),
            "high": linear(self.log_high),
            "level": self.level,
        }

    def shifted(self, shift: float) -> Self:
        """Return the same with ``shift`` nats added to every log volume: its class divided by a constant."""
        logs = {name: getattr(self, name) + shift for name in ("log_volume", "log_low", "log_high")}
        return replace(self, **logs)

    # --- for comparisons ---

    @property
    def degrees(self) -> float:
        """Degrees of freedom of Student's t behind the interval; inf for the normal law."""
        return math.inf

    def why_not_compared(self) -> str:
        """Why the interval is no ground for a z-score; empty when it is one."""
        return "" if math.isfinite(self.log_volume) else "nothing of it was found"

    # --- for people ---

    @property
    def limits(self) -> tuple[float, float]:
        """What may be said of the log volume: the ends of an interval, -inf or inf where one end is not known."""
        return self.log_low, self.log_high

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sentence()}>"

    def __str__(self) -> str:
        return self.sentence()

    def cells(self) -> dict[str, str]:
        """Column heading -> text of this class's row in a table."""
        return {"volume": volume_text(self.log_volume, DIGITS), self._heading: self._interval}

    def sentence(self) -> str:
        """Return the class in a line."""
        return (
            f"{self.label}: volume {volume_text(self.log_volume)}, {interval_name(self.level)} "
            f"{interval_text(self.log_low, self.log_high)}"
        )

    @property
    def _heading(self) -> str:
        return interval_name(self.level)

    @property
    def _interval(self) -> str:
        return interval_text(self.log_low, self.log_high, DIGITS)


@dataclass(frozen=True, repr=False)
class ReplicatedVolume(ClassEstimate):
    """A volume from R independent replicates; make it with :func:`replicated_volume`, which keeps the rules.

    ``log_volume`` is the log of the mean of p_hat. With a dead replicate there is no interval: (log_low, log_high) is
    then (log_bound, 0), which covers at the same level.
    """

    log_estimates: tuple[float, ...]  # [R] log p_hat; -inf where the replicate died
    log_bound: float  # the volume exceeds it with probability ``level``, whatever the law of p_hat
    spread: float  # standard deviation of log p_hat; nan when one died
    headline: str  # what to quote: "interval", "bound" or, when every replicate died, "none"
    diagnostics: dict[str, Any] = field(default_factory=dict)  # "ideal_spread" where known, and what the method adds
    notes: tuple[Note, ...] = ()  # sentences that a reader must see beside the number; given as strings, or with a kind
    share: Share | None = None  # of the class that is given in a query with Given

    kind: ClassVar[str] = "replicated"

    def __post_init__(self) -> None:
        object.__setattr__(self, "diagnostics", plain(self.diagnostics, "diagnostics"))
        object.__setattr__(self, "notes", notes_of(self.notes))

    def shifted(self, shift: float) -> Self:
        logs = [value + shift for value in self.log_estimates]
        moved = replicated_volume(self.label, logs, self.level, self.diagnostics)
        notes = self.notes
        if any(note.kind == SUMMARY for note in notes):  # it names a volume
            notes = (*moved.notes, *(note for note in notes if note.kind != SUMMARY))
        # Limits are cut at a volume of 1, which is now exp(shift).
        ends = {"log_low": self.log_low + shift, "log_high": self.log_high + shift, "log_bound": self.log_bound + shift}
        return replace(
            self,
            log_volume=self.log_volume + shift,
            **ends,
            log_estimates=tuple(logs),
            headline=self.headline,
            notes=notes,
        )

    @property
    def num_replicates(self) -> int:
        return len(self.log_estimates)

    @property
    def num_dead(self) -> int:
        return sum(value == -math.inf for value in self.log_estimates)

    @property
    def _lost(self) -> str:
        """What befell a replicate with p_hat = 0."""
        return "did not meet it" if PART_OF in self.diagnostics else "died"

    @property
    def degrees(self) -> float:
        return self.num_replicates - 1

    def why_not_compared(self) -> str:
        if self.num_dead:
            return f"{self.num_dead} of {self.num_replicates} replicates {self._lost}"
        if self.headline != "interval" and self.spread <= MAX_SPREAD:
            return f"replicates hold fewer than {MIN_FAMILIES:g} families of particles of it"
        if self.headline != "interval":
            return f"replicates spread by {self.spread:.2g}, more than {MAX_SPREAD:g}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "kind": self.kind,
            "headline": self.headline,
            "log_bound": finite(self.log_bound),
            "bound": linear(self.log_bound),
            "spread": finite(self.spread),
            "num_replicates": self.num_replicates,
            "num_dead": self.num_dead,
            "log_estimates": [finite(value) for value in self.log_estimates],
            "share": None if self.share is None else plain(self.share._asdict()),
            "diagnostics": self.diagnostics,
            **to_record(self.notes),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ReplicatedVolume:
        share = record["share"]
        return cls(
            **stored(record),
            log_estimates=tuple(map(stored_log, record["log_estimates"])),
            log_bound=stored_log(record["log_bound"]),
            spread=_number(record["spread"]),
            headline=record["headline"],
            diagnostics=record["diagnostics"],
            notes=from_record(record),
            share=None if share is None else Share(**{k: _number(v) for k, v in share.items()}),
        )

    @property
    def limits(self) -> tuple[float, float]:
        if self.headline == "interval":
            return self.log_low, self.log_high
        return self.log_bound if self.headline == "bound" else -math.inf, math.inf

    def cells(self) -> dict[str, str]:
        interval = self._interval if not self.num_dead and self.num_replicates > 1 else "none"
        ideal, bound = self.diagnostics.get("ideal_spread"), volume_text(self.log_bound, DIGITS)
        cells = {
            "volume": {"interval": volume_text(self.log_volume, DIGITS), "bound": f"> {bound}"}.get(
                self.headline, "not reached"
            ),
            # In brackets: kept beside the bound that leads.
            self._heading: f"({interval})" if self.headline == "bound" and interval != "none" else interval,
            "lower bound": bound if self.headline != "none" else "none",
            "spread (ideal)": "none" if math.isnan(self.spread) else f"{self.spread:.2f}",
            "replicates": f"{self.num_replicates}" + (f", {self.num_dead} {self._lost}" if self.num_dead else ""),
        }
        if isinstance(ideal, (int, float)):
            cells["spread (ideal)"] += f" ({ideal:.2f})"
        if self.share is not None:
            share, low, high, hit = self.share
            resolved = hit >= replicates.MIN_HIT
            cells["share within"] = f"{share:.3g} ({low:.3g} - {high:.3g})" if resolved else f"below {high:.3g}"
        return cells

    def sentence(self) -> str:
        if self.headline == "interval":
            start = super().sentence()
        elif self.headline == "bound":
            start = f"{self.label}: volume above {volume_text(self.log_bound)} at level {self.level:g}"
        else:
            start = f"{self.label}: not reached"
        died = f", of which {self.num_dead} {self._lost}" if self.num_dead else f" of spread {self.spread:.2g}"
        return f"{start}; {self.num_replicates} replicates{'' if self.num_replicates == 1 else died}"


def replicated_volume(
    label: str,
    log_estimates: Iterable[float],
    level: float = 0.95,
    diagnostics: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
    share: Share | None = None,
) -> ReplicatedVolume:
    """Return the volume of one class from the logs [R] of independent estimates p_hat with E[p_hat] = V; -inf is p_hat
    = 0.

    With no dead replicate: the interval, which leads while the spread is at most 1; above, or for a part of a class of
    which replicates hold too few families of particles, the bound leads and a note names the knob to turn. With a dead
    one, or one replicate alone: the bound and no interval.

    Raises:
        ValueError: no replicate, NaN or +inf among them, a level outside (0, 1).
    """
    logs = tuple(float(value) for value in log_estimates)
    log_volume = replicates.log_mean(logs)
    log_bound = replicates.lower_bound(logs, 1 - level)
    spread = replicates.spread(logs) if len(logs) > 1 else math.nan
    ends, headline, note = (log_bound, 0.0), "bound", ""
    dead = sum(value == -math.inf for value in logs)
    lost = "did not meet it" if PART_OF in (diagnostics or {}) else "died on the way"
    if dead == len(logs):
        headline = "none"
        note = (
            ""
            if PART_OF in (diagnostics or {})
            else (
                f"None of {dead} replicates reached the class: this run cannot tell its volume from 0. "
                "Give more particles, or check that the class is not empty."
            )
        )
    elif dead:
        note = (
            f"{dead} of {len(logs)} replicates {lost}: they count as 0 in the mean, "
            f"{volume_text(log_volume)}, and in the bound, and there is no interval. Give more particles or moves."
        )
    elif len(logs) == 1:
        note = f"One replicate, {volume_text(log_volume)}, has a bound but no interval: give 8 replicates or more."
    else:
        low, high = replicates.mean_interval(logs, level)
        facts = diagnostics or {}
        families = facts.get(FAMILIES, math.inf)
        more_labels = facts.get(LABELS, 0) > facts.get(WEIGHTS, 0)
        if families < 2 * MIN_FAMILIES:
            low = min(low, replicates.lower_bound(logs, (1 - level) / 2))
        ends = (low, min(high, 0.0))
        if spread <= MAX_SPREAD and families >= MIN_FAMILIES and not more_labels:
            headline = "interval"
        elif spread <= MAX_SPREAD and more_labels:
            note = (
                f"{facts[LABELS]} labels are more than the {facts[WEIGHTS]} weights of the last layer that is "
                "integrated. Bodies then mix slowly, and replicates that agree may all be low: of the mean, "
                f"{volume_text(log_volume)}, the bound leads."
            )
        elif spread <= MAX_SPREAD:
            note = (
                f"Its replicates hold {families:.2g} families of particles of it on average, and an interval needs "
                f"{MIN_FAMILIES:g}: of the mean, {volume_text(log_volume)}, the bound leads. Give more particles."
            )
        else:
            note = (
                f"The replicates spread by {spread:.2g} in log p, more than {MAX_SPREAD:g}: the mean, "
                f"{volume_text(log_volume)}, and its interval are shaky, so the bound leads. "
                "Give more particles or moves."
            )
    return ReplicatedVolume(
        label,
        log_volume,
        *ends,
        level,
        log_estimates=logs,
        log_bound=log_bound,
        spread=spread,
        headline=headline,
        diagnostics=dict(diagnostics or {}),
        notes=notes_of([*([Note(note, SUMMARY)] if note else []), *notes]),
        share=share,
    )


def entry_from_dict(record: Mapping[str, Any]) -> ClassEstimate:
    """Return the entry of a stored report. ValueError for a kind that nobody knows."""
    if record.get("kind") not in ClassEstimate.kinds:
        raise ValueError(unknown("kind of entry", record.get("kind"), ClassEstimate.kinds))
    return ClassEstimate.kinds[record["kind"]].from_dict(record)


def stored(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `ClassEstimate`, from the record of any kind."""
    logs = {name: stored_log(record[name]) for name in ("log_volume", "log_low", "log_high")}
    return {"label": record["label"], "level": record["level"], **logs}


def stored_log(value: float | None) -> float:
    """Read the logarithm of a record: None stands for -inf, the only infinite one that is stored."""
    return -math.inf if value is None else value


def _number(value: Any) -> Any:
    """Records hold None for nan."""
    return math.nan if value is None else value
