"""What is said of one local volume: by rays or by splitting, with the interval or the bound that it carries.

Rays: S independent unbiased estimates of very different size, in B batches. The mean of d-th powers may be one ray's,
so an interval is given only where the effective number of rays (sum w)^2 / sum w^2 is large and the batches agree
(benchmarks/local.py grades that); the lower bound holds always, for it needs no more than independent estimates of the
right mean: the larger of Markov's bound on the mean of all rays and of `volume.statistics.replicates.lower_bound` on
the batches, each at half the error.

Splitting: independent replicates, as everywhere (`volume.reports.entries.replicated_volume`).

Shape letters: S rays, B batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from volume.common.logs import finite, interval_name, volume_text
from volume.reports.entries import DIGITS, MAX_SPREAD, ReplicatedVolume
from volume.reports.notes import notes_of
from volume.statistics import replicates

# Rays that must carry the mean before an interval is given.
MIN_EFFECTIVE = 100.0


@dataclass(frozen=True, repr=False)
class LocalVolume(ReplicatedVolume):
    """The prior mass around an anchor, nats; ``log_estimates`` are of B batches of rays or of R replicates."""

    cutoff: float = math.nan  # in the divergence's unit
    estimator: str = "rays"  # or "splitting"
    num_rays: int = 0
    effective_rays: float = math.nan  # (sum w)^2 / sum w^2

    kind: ClassVar[str] = "local"

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "cutoff": self.cutoff,
            "estimator": self.estimator,
            "num_rays": self.num_rays,
            "effective_rays": finite(self.effective_rays),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> LocalVolume:
        effective = record["effective_rays"]
        return cls.of(
            ReplicatedVolume.from_dict(record),
            cutoff=record["cutoff"],
            estimator=record["estimator"],
            num_rays=record["num_rays"],
            effective_rays=math.nan if effective is None else effective,
        )

    @classmethod
    def of(cls, entry: ReplicatedVolume, **more: Any) -> LocalVolume:
        """Return the entry of a cutoff from that of its replicates."""
        return cls(**{field.name: getattr(entry, field.name) for field in fields(ReplicatedVolume)}, **more)

    @property
    def _knob(self) -> str:
        return "rays" if self.estimator == "rays" else "particles or moves"

    def why_not_compared(self) -> str:
        if self.estimator == "rays" and self.headline != "interval":
            return f"{self.effective_rays:.2g} of {self.num_rays:,} rays carry it"
        why = super().why_not_compared()
        if self.estimator == "splitting" and self.headline != "interval" and not why:
            return "its particles were still on their way, or its replicates spread too far"
        return why

    def cells(self) -> dict[str, str]:
        exact = self.headline == "interval"
        cells = {
            "volume": volume_text(self.log_volume, DIGITS),
            "log V (nats)": f"{self.log_volume:.2f}" if math.isfinite(self.log_volume) else "not reached",
            self._heading: f"{self.log_low:.2f} to {self.log_high:.2f}" if exact else "none",
            "lower bound": f"{self.log_bound:.2f}",
            "spread": "none" if math.isnan(self.spread) else f"{self.spread:.2f}",
        }
        if self.estimator == "rays":
            return cells | {"rays": f"{self.num_rays:,}", "effective": f"{self.effective_rays:.3g}"}
        return cells | {"replicates": f"{self.num_replicates}" + (f", {self.num_dead} died" if self.num_dead else "")}

    def sentence(self) -> str:
        if self.headline == "interval":
            ends = f"{interval_name(self.level)} {self.log_low:.2f} to {self.log_high:.2f}"
            return f"{self.label}: volume {volume_text(self.log_volume)}, log {self.log_volume:.2f} nats, {ends}"
        bound = f"volume above {volume_text(self.log_bound)}, log {self.log_bound:.2f} nats, at level {self.level:g}"
        return f"{self.label}: {bound} (estimate {self.log_volume:.2f})"


def rays_volume(
    label: str,
    cutoff: float,
    log_values: np.ndarray,
    batches: int,
    level: float = 0.95,
    diagnostics: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> LocalVolume:
    """Return the entry of one cutoff from the logs [S] of independent unbiased estimates, one a ray."""
    values = np.asarray(log_values, float)
    batches = min(batches, len(values))
    logs = [_log_mean(values[number::batches]) for number in range(batches)]
    log_volume, log_bound = _log_mean(values), lower_bound(values, logs, 1 - level)
    spread = replicates.spread(logs) if batches > 1 else math.nan
    effective = effective_rays(values)
    ends, headline, why = (log_bound, 0.0), "bound", ""
    if not math.isfinite(log_volume):
        headline = "none"
    elif effective >= MIN_EFFECTIVE and spread <= MAX_SPREAD:
        ends, headline = replicates.lognormal_mean_interval(logs, level), "interval"
    else:
        why = (
            f"{effective:.3g} of {len(values):,} rays carry the mean (an interval needs {MIN_EFFECTIVE:g}): the true "
            "volume may be larger by much, and the bound leads. Splitting answers where it can be afforded."
        )
    return LocalVolume(
        label,
        log_volume,
        *ends,
        level,
        log_estimates=tuple(logs),
        log_bound=log_bound,
        spread=spread,
        headline=headline,
        diagnostics=dict(diagnostics or {}),
        notes=notes_of([*filter(None, [why]), *notes]),
        cutoff=cutoff,
        num_rays=len(values),
        effective_rays=effective,
    )


def lower_bound(log_values: np.ndarray, log_batches: Sequence[float], alpha: float) -> float:
    """Return what the volume exceeds with probability 1 - alpha, whatever the law of a ray's estimate; natural.

    P(mean >= V / a) <= a for an unbiased mean (Markov) gives log V >= log mean - log(1/a).
    """
    return max(_log_mean(log_values) + math.log(alpha / 2), replicates.lower_bound(log_batches, alpha / 2))


def effective_rays(log_values: np.ndarray) -> float:
    """(sum w)^2 / sum w^2 of weights given by their logs [S]; 0 when all are 0."""
    top = np.max(log_values)
    if top == -math.inf:
        return 0.0
    weights = np.exp(log_values - top)
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _log_mean(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values) - math.log(len(values)))
