"""The volume around one network against the cutoff, its slope, and what its symmetric copies say: text and a figure.

The slope d log V / d log c is the local learning coefficient where c is small (Watanabe 2009, section 6: V(c) ~
c^lambda up to powers of log c); half the number of parameters where the divergence is quadratic in all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from volume.reports.loading import Stored
from volume.reports.local_entries import LocalVolume
from volume.reports.named import EstimateReport


@dataclass(frozen=True, eq=False)
class LocalCurve(Stored):
    """log V against the cutoff, by estimator; make it of a report by `volume.Local` with :meth:`of`."""

    format: ClassVar[str] = "param-volume local curve"
    file: ClassVar[str] = "curve.json"

    entries: tuple[LocalVolume, ...]
    slopes: dict[str, list[dict[str, Any]]]  # by estimator: "least", "largest" cutoff, "slope", "low", "high"
    copies: dict[str, Any] | None  # as in the report's ``run``
    level: float

    @classmethod
    def of(cls, report: Any) -> LocalCurve:
        """ValueError for a report that holds no local volumes."""
        entries = tuple(e for e in getattr(report, "entries", ()) if isinstance(e, LocalVolume))
        if not isinstance(report, EstimateReport) or not entries:
            raise ValueError(f"A curve needs a report by volume.Local; got {report!r}.")
        return cls(entries, report.run.get("slopes", {}), report.run.get("copies"), report.level)

    def record(self) -> dict[str, Any]:
        own = {"slopes": self.slopes, "copies": self.copies, "level": self.level}
        return {"entries": [entry.to_dict() for entry in self.entries], **own}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(**{**record, "entries": tuple(map(LocalVolume.from_dict, record["entries"]))})

    def of_estimator(self, estimator: str) -> tuple[LocalVolume, ...]:
        """Return entries in ascending order of the cutoff."""
        return tuple(sorted((e for e in self.entries if e.estimator == estimator), key=lambda e: e.cutoff))

    def summary(self) -> str:
        """Say how far splitting lies above the rays where both ran, slopes and copies, a line each."""
        lines = [
            f"Splitting lies {entry.diagnostics['splitting_above_rays']:.2f} nats above the mean of the rays at cutoff "
            f"{entry.cutoff:g}"
            for entry in self.of_estimator("rays")
            if "splitting_above_rays" in entry.diagnostics
        ]
        for estimator, slopes in self.slopes.items():
            for slope in slopes:
                value = "not known" if slope["slope"] is None else f"{slope['slope']:.4g}"
                known = slope["low"] is not None
                limits = f" ({slope['low']:.4g} to {slope['high']:.4g})" if known else ", no interval"
                stretch = f"from {slope['least']:.3g} to {slope['largest']:.3g}"
                lines.append(f"d log V / d log cutoff {stretch}: {value}{limits}, by {estimator}")
        return "\n".join([*lines, *self._copies_lines()])

    def _copies_lines(self) -> list[str]:
        copies = self.copies
        if copies is None:
            return ["The model declares no symmetries, so that copies are not counted."]
        dead = sum(copies["dead_units"].values())
        repeated = sum(copies["repeated_units"].values())
        stabiliser = copies["log_stabiliser"]
        known = "unknown" if stabiliser is None else f"{stabiliser:.4g}"
        group = f"log|G| = {copies['log_order']:.6g}, log|Stab| = {known}"
        lines = [f"Copies: {group}; {dead} dead and {repeated} repeated units"]
        if "log_bound" in copies:
            lines.append(
                f"  cut where a copy is nearer ({100 * copies['rays_leaving_the_cell']:.3g} % of the rays leave the "
                f"anchor's cell), all copies together: log V {copies['log_estimate']:.2f}, above "
                f"{copies['log_bound']:.2f} at level {self.level:g}"
            )
        if "log_if_apart" in copies:
            lines.append(f"  were no two copies to overlap: {copies['log_if_apart']:.2f}, an extrapolation")
        if copies["word"] == "bound":
            return [*lines, "  a bound: the class's volume is at least that"]
        return [*lines, f"  an extrapolation, no bound on a class's volume: {'; '.join(copies['because'])}"]

    def plot(self, path: str | Path) -> Path:
        """Write the figure: log V with intervals, and lower bounds as arrows where rays carry no interval.

        ValueError for a name that ends neither in .pdf nor .svg nor .png.
        """
        from volume.plots.figures import BLUE, VERMILLION, check_path, new_axes, write

        path = check_path(path)
        axes = new_axes()
        for estimator, colour in (("rays", BLUE), ("splitting", VERMILLION)):
            entries = [e for e in self.of_estimator(estimator) if math.isfinite(e.log_volume) and e.cutoff > 0]
            if not entries:
                continue
            exact = all(e.headline == "interval" for e in entries)
            label = estimator if exact else f"{estimator}: mean, and lower bound (triangle)"
            x, y = [e.cutoff for e in entries], [e.log_volume for e in entries]
            axes.plot(x, y, "o-" if exact else "o--", color=colour, label=label, markersize=4, linewidth=1)
            for e in entries:
                if e.headline == "interval":
                    axes.plot([e.cutoff] * 2, [e.log_low, e.log_high], color=colour, linewidth=4, alpha=0.35)
                else:
                    axes.plot([e.cutoff], [e.log_bound], "^", color=colour, markersize=6)
        axes.set_xscale("log")
        axes.set_xlabel(f"cutoff on {self.entries[0].label.split(' <=')[0]} from the anchor", fontsize=10)
        axes.set_ylabel("log V (nats)", fontsize=10)
        axes.legend(fontsize=8, frameon=False)
        write(axes, path)
        return path
