"""Reports as plain data: strict JSON and data frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from volume.common.logs import LN10

if TYPE_CHECKING:
    import pandas

    from volume.reports.counted import VolumeReport
    from volume.reports.counted_entries import ClassTable


def plain(value: Any, where: str = "value") -> Any:
    """``value`` as JSON reads it back: dicts with string keys, lists, strings, numbers, True, False and None.

    NaN and the infinities become None, for which JSON has a word. TypeError for anything else, naming its
    place.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(entry, f"{where}[{name!r}]") for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, (list, tuple)):
        return [plain(entry, where) for entry in value]
    raise TypeError(
        f"{where} is a {type(value).__name__}, which no JSON file can hold: give numbers, strings, lists or dicts."
    )


def to_record(report: VolumeReport, top: int | None) -> dict[str, Any]:
    """:meth:`VolumeReport.to_dict`."""
    return {
        "classes": [entry.to_dict() for entry in report.classes(top)],
        "unseen": plain(report.unseen.to_dict()),
        "nonfinite": report.nonfinite.to_dict(),
        "num_draws": report.num_draws,
        "complete": report.complete,
        "copies": report.counts.copies,
        "num_units": report.counts.num_units,
        "num_classes": report.num_classes,
        "num_nonfinite": report.num_nonfinite,
        "query": short(report.description),
        "method": report.method,
        "seed": report.seed,
        "level": report.level,
        "conventions": report.conventions,
        "run": report.run,
        "warnings": report.warnings,
    }


def short(value: Any) -> Any:
    """A description without the arrays whose SHA-256 stands beside them; run files keep them."""
    if isinstance(value, dict):
        left_out = {"inputs"} if "sha256" in value else set()
        return {name: short(entry) for name, entry in value.items() if name not in left_out}
    return value


def to_frame(classes: ClassTable) -> pandas.DataFrame:
    """One row a class; infinite logarithms stay infinite, as pandas can hold them."""
    try:
        import pandas
    except ImportError:
        raise ImportError(
            "to_pandas needs pandas, which is not installed: pip install pandas, or use to_dict()."
        ) from None
    from volume.reports.counted_entries import COLUMNS

    columns = {column: getattr(classes, column) for column in COLUMNS}
    columns["log10_volume"] = classes.log_volume / LN10
    columns["volume"] = np.exp(classes.log_volume)
    columns["low"], columns["high"] = np.exp(classes.log_low), np.exp(classes.log_high)
    frame = pandas.DataFrame({"label": classes.labels(), **columns})
    return frame.assign(level=classes.level, num_draws=classes.num_draws)
