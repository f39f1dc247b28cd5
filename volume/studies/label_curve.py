"""How the volume that fits falls with the number of labels fitted: for a target, and for random labels.

Quantity: V(first m labels of a fixed order), for several m, beside C^-m, the share of functions. With random labels
there is nothing to learn, so what both curves differ by is what the prior says of the target. Estimators: `Splitting`
(or another method) for every m, and the wide limit by `volume.infinite_width` where it answers.

Shape letters: N inputs, m labels, C classes of one input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from volume.classifiers.labels import Fits
from volume.common.interrupts import stoppable
from volume.common.logs import LN10, finite, volume_text
from volume.common.progress import Progress
from volume.common.seeds import to_key
from volume.errors import whole
from volume.estimation import estimate
from volume.estimators.infinite_width.infinite_width import infinite_width
from volume.estimators.splitting.splitting import Splitting
from volume.functions.domains import Domain
from volume.method import Method
from volume.models import Model
from volume.queries.query import Query
from volume.reports.entries import ReplicatedVolume
from volume.reports.loading import Stored
from volume.reports.text import Table, render
from volume.samplers import Prior
from volume.studies.columns import LIMIT, VOLUME

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANDOM = "random labels"


@dataclass(frozen=True)
class CurvePoint:
    """The volume of what fits so many labels; natural logs."""

    labels: str  # the target's name, or "random labels"
    num_labels: int  # m
    measure: str  # "volume" or "infinite width"
    log_volume: float
    log_low: float
    log_high: float
    resolved: bool  # if not, log_low is a lower bound and the rest says nothing

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        logs = {"log_volume": self.log_volume, "log_low": self.log_low, "log_high": self.log_high}
        record: dict[str, Any] = {name: finite(value) for name, value in logs.items()}
        return {**vars(self), **record, "log10_volume": finite(self.log_volume / LN10)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CurvePoint:
        """Return the point that wrote this record with :meth:`to_dict`."""
        stored = {field.name: record[field.name] for field in fields(cls)}
        known: dict[str, Any] = {name: -math.inf if value is None else value for name, value in stored.items()}
        return cls(**known)


@dataclass(frozen=True, eq=False)
class LabelsCurve(Stored):
    """Volumes along the number of labels; `labels_curve` makes it."""

    format: ClassVar[str] = "param-volume labels"
    file: ClassVar[str] = "labels.json"

    name: str  # of the target
    points: tuple[CurvePoint, ...]
    num_classes: int
    level: float
    method: dict[str, Any]
    seed: Any

    def record(self) -> dict[str, Any]:
        return {**vars(self), "points": [point.to_dict() for point in self.points]}

    def summary(self) -> str:
        """One line a size."""
        sizes = sorted({point.num_labels for point in self.points})
        kinds = list(dict.fromkeys((point.labels, point.measure) for point in self.points))
        known = {(p.labels, p.measure, p.num_labels): p for p in self.points}
        rows = [
            [
                str(size),
                volume_text(-size * math.log(self.num_classes), 3),
                *(_words(known.get((*kind, size))) for kind in kinds),
            ]
            for size in sizes
        ]
        return render(Table(["labels", "share of functions", *map(", ".join, kinds)], rows))

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        return cls(**{**record, "points": tuple(map(CurvePoint.from_dict, record["points"]))})

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """log10 volume against the number of labels; see `volume.studies.figures`."""
        from volume.studies.figures import curve

        return curve(self, ax=ax, path=path)


@stoppable()
def labels_curve(
    model: Model,
    prior: Prior,
    domain: Domain,
    labels: ArrayLike,
    sizes: Sequence[int],
    method: Method[Any] | None = None,
    *,
    name: str = "target",
    split_seed: int = 0,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
) -> LabelsCurve:
    """Estimate the volume that fits the first m labels, for every m of ``sizes``.

    Args:
        model: as of a query.
        prior: likewise.
        domain: likewise.
        labels: the target's class numbers, [N].
        sizes: numbers m of labels, 1 to N, each a run; m = 0 is added, where the volume is 1.
        method: of every run. Default: ``Splitting(particles=128, moves=8, replicates=8)``.
        name: of the target.
        split_seed: the order of the inputs is ``default_rng(split_seed).permutation(N)``, as in `volume.split`; the
            random labels are the same generator's next ``integers(0, C, N)``, so both curves fit the same inputs.
        seed: as in `volume.estimate`.
        level: likewise.
        progress: likewise.

    Raises:
        TypeError, ValueError: sizes outside 1..N, and what `volume.estimate` refuses.
        Interrupted: on Ctrl-C.
    """
    num_inputs, classes = domain.num_inputs, max(model.num_outputs, 2)
    chosen = sorted({whole("a size of the curve", size, limit=num_inputs) for size in sizes if size != 0})
    if not chosen:
        raise ValueError(f"sizes={sizes!r} is empty: give numbers of labels, 1 to {num_inputs}.")
    method = Splitting(particles=128, moves=8, replicates=8) if method is None else method
    rng = np.random.default_rng(split_seed)
    order = rng.permutation(num_inputs)
    right = Fits(domain.inputs, labels).labels[order]  # checked, all of them, whatever the sizes
    tossed = rng.integers(0, classes, num_inputs)
    key, record = to_key(seed)
    points = [CurvePoint(what, 0, VOLUME, 0.0, 0.0, 0.0, True) for what in (name, RANDOM)]
    number, record_of_method = 0, {}
    for what, values in ((name, right), (RANDOM, tossed)):
        for size in chosen:
            fits = Fits(domain.inputs[order[:size]], values[:size])
            query = Query(model, prior, domain, fits)
            number += 1
            own = jax.random.fold_in(key, number)
            report = estimate(query, method, seed=own, level=level, progress=progress)
            record_of_method = report.method
            points.append(_point(what, size, report["fits"]))
            points += _limit(query, what, size, level)
    return LabelsCurve(name, tuple(points), classes, level, record_of_method, record)


def _point(what: str, size: int, entry: Any) -> CurvePoint:
    resolved, low = entry.log_volume > -math.inf, entry.log_low
    if isinstance(entry, ReplicatedVolume):
        resolved = entry.headline == "interval"
        low = low if resolved else entry.log_bound
    return CurvePoint(what, size, VOLUME, entry.log_volume, low, entry.log_high, resolved)


def _limit(query: Query, what: str, size: int, level: float) -> list[CurvePoint]:
    try:
        limit = infinite_width(query, samples=4000, level=level)
    except (TypeError, ValueError):  # no limit is known for this network
        return []
    return [CurvePoint(what, size, LIMIT, limit.log_probability, limit.log_low, limit.log_high, True)]


def _words(point: CurvePoint | None) -> str:
    if point is None:
        return ""
    if not point.resolved:
        return f"> {volume_text(point.log_low, 3)}" if point.log_low > -math.inf else "not reached"
    if point.log_low == point.log_high:
        return volume_text(point.log_volume, 3)
    ends = f"{volume_text(point.log_low, 2)} - {volume_text(point.log_high, 2)}"
    return f"{volume_text(point.log_volume, 2)} ({ends})"
