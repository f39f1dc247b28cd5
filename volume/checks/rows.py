"""What a two-sample test of a baseline says of one class, and the critical value that all of them share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scipy import special

from volume.common.records import plain

CAUGHT = 0.99  # probability with which a change of the size that is printed is found
# A forecast from hits and errors that vary themselves falls short now and then: simulated with .99, changes of the
# printed size were found with probability .97 to 1.
PLANNED = 0.997


class TriedClass(NamedTuple):
    """One class in a baseline and in a report; log volumes in nats, -inf where it was not met. z > 0: it fell."""

    label: str
    log_volume_before: float
    log_volume_after: float
    count_before: int | None  # hits; None where nothing was counted
    count_after: int | None
    z: float
    up: float  # a volume this many times as large is caught with probability CAUGHT, and
    down: float  # one this many times as large, below 1; nan: no change that way is

    def to_dict(self) -> dict[str, Any]:
        return plain(self._asdict())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TriedClass:
        """Return the row that wrote this record with :meth:`to_dict`."""
        logs = ("log_volume_before", "log_volume_after")
        before, after = (-math.inf if record[name] is None else record[name] for name in logs)
        z = math.copysign(math.inf, before - after) if record["z"] is None else record["z"]
        sizes = {name: math.nan if record[name] is None else record[name] for name in ("up", "down")}
        return cls(**{**record, "log_volume_before": before, "log_volume_after": after, "z": z, **sizes})

    @property
    def smallest(self) -> float:
        """The larger of both changes, in nats; infinite where one of them cannot be caught."""
        sides = abs(math.log(self.up)), abs(math.log(self.down)) if self.down > 0 else math.inf
        return math.inf if math.isnan(sum(sides)) else max(sides)


def critical(alpha: float, number: int) -> float:
    """Return the |z| beyond which one of ``number`` tests speaks, at a family-wise rate of ``alpha`` (Bonferroni)."""
    return -float(special.ndtri(alpha / max(number, 1) / 2))


def smallest_changes(rows: Iterable[TriedClass]) -> tuple[TriedClass, TriedClass] | None:
    """Return the classes of which the smallest, and of which only the largest change is caught; None where there is
    none."""
    known = sorted((row for row in rows if not math.isnan(row.up + row.down)), key=lambda row: row.smallest)
    return (known[0], known[-1]) if known else None
