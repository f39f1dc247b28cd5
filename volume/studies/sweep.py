"""One class's volume along a row of queries: against width, depth, a prior's scale or the input coding.

Every query is estimated by itself with a key of its own, so the rows are independent and each interval is the one that
`volume.estimate` prints. The class is named in advance, so all draws count for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import jax

from volume.classifiers.base import Classifier
from volume.classifiers.labels import Fits
from volume.classifiers.truth_table import TruthTable
from volume.common.interrupts import stoppable
from volume.common.logs import LN10, finite, interval_name, interval_text, linear, volume_text
from volume.common.progress import Progress
from volume.common.records import plain, short
from volume.common.seeds import to_key
from volume.errors import unknown
from volume.estimation import estimate
from volume.estimators.direct.direct import Direct
from volume.functions import tables
from volume.functions.domains import BooleanCube, Domain
from volume.functions.table_names import table_name
from volume.models import MLP, Model
from volume.queries.query import Query
from volume.reports.loading import Stored
from volume.reports.text import Table, render
from volume.samplers import Prior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Apart from the words that key blocks of one run: those count from 0 and never come this far.
_ROW = 0x73776565


class SweepRow(NamedTuple):
    """The class's volume at one setting; logs are natural."""

    x: float | str
    log_volume: float  # -inf when the class was never drawn
    log_low: float
    log_high: float
    count: int  # hits
    num_draws: int
    design_effect: float  # variance over that of independent draws; NaN when the hits are too few to tell
    num_nonfinite: int
    near_ties: int


@dataclass(frozen=True, eq=False)
class Sweep(Stored):
    """The answer of `sweep`: one row per query, in the order given."""

    format: ClassVar[str] = "param-volume sweep"
    file: ClassVar[str] = "sweep.json"

    rows: tuple[SweepRow, ...]
    x_name: str
    label: str
    level: float
    methods: tuple[dict[str, Any], ...]  # row by row: blocks are sized by the network
    seed: int | list[int]
    queries: tuple[dict[str, Any], ...]  # what was asked, row by row
    conventions: tuple[dict[str, Any], ...]  # row by row
    run: dict[str, Any]  # versions, commit, device, wall seconds of all rows

    @property
    def name(self) -> str:
        """The class, by a name short enough for a heading."""
        return table_name(self.label) if set(self.label) <= set(tables.DIGITS) else self.label

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: logs are natural, infinite or undefined numbers are null."""
        return {
            "x_name": self.x_name,
            "label": self.label,
            "name": self.name,
            "level": self.level,
            "rows": [
                plain(row._asdict()) | {"log10_volume": finite(row.log_volume / LN10), "volume": linear(row.log_volume)}
                for row in self.rows
            ],
            "methods": list(self.methods),
            "seed": self.seed,
            "queries": [short(query) for query in self.queries],
            "conventions": list(self.conventions),
            "run": self.run,
        }

    def record(self) -> dict[str, Any]:
        return {**self.to_dict(), "queries": list(self.queries)}

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        known = {field.name: record[field.name] for field in dataclasses.fields(cls)}
        for name in ("methods", "queries", "conventions"):
            known[name] = tuple(known[name])
        return cls(**{**known, "rows": tuple(map(_row_from_dict, record["rows"]))})

    def summary(self) -> str:
        """Return the table as text."""
        rows = [
            [
                f"{row.x:g}" if isinstance(row.x, (int, float)) else row.x,
                volume_text(row.log_volume, 3) if row.count else "never drawn",
                interval_text(row.log_low, row.log_high, 3),
                f"{row.count:,}",
                f"{row.num_draws:,}",
                f"{row.design_effect:.2f}" if math.isfinite(row.design_effect) else "-",
            ]
            for row in self.rows
        ]
        heads = [self.x_name, "volume", interval_name(self.level), "hits", "draws", "design effect"]
        return render(f"Volume of {self.name}", Table(heads, rows))

    def plot(self, path: str | Path | None = None, *, ax: Axes | None = None) -> Axes:
        """Return the figure (`volume.plots.sweep`); written to ``path`` when one is given (.pdf, .svg or .png)."""
        from volume.plots import figures as plots

        return plots.sweep(self, ax=ax, path=path)


def _row_from_dict(record: Mapping[str, Any]) -> SweepRow:
    known = {name: record[name] for name in SweepRow._fields}
    unknown_logs = {name: -math.inf for name in ("log_volume", "log_low", "log_high") if known[name] is None}
    effect = math.nan if known["design_effect"] is None else known["design_effect"]
    return SweepRow(**{**known, **unknown_logs, "design_effect": effect})


@stoppable()
def sweep(
    queries: Mapping[Any, Query],
    method: Direct,
    label: Any,
    *,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
    x_name: str = "width",
) -> Sweep:
    """Return the volume of one class in each of ``queries``.

    Args:
        queries: setting -> query; settings are all numbers, or all names. `sweep_queries` builds the usual ones.
        method: how to answer, for example ``volume.Direct(draws=1_000_000)``.
        label: the class, known to every query's classifier. A single truth table is counted against all others
            together, so that no table has to be stored; its hits are the same.
        seed: a whole number or a JAX key. Row i draws from its own key, folded from the seed and i.
        level: coverage of each interval.
        progress: as in `volume.estimate`, once per query.
        x_name: what the settings are, for the table and the figure.

    Raises:
        TypeError, ValueError, KeyError: before anything is drawn, naming the setting at fault.
    """
    checked = _checked(queries, method, label)
    key, seed_record = to_key(seed)
    root = jax.random.fold_in(key, _ROW)
    rows, reports = [], []
    for index, (x, (query, name)) in enumerate(checked.items()):
        report = estimate(query, method, seed=jax.random.fold_in(root, index), level=level, progress=progress)
        entry = report[name]
        rows.append(
            SweepRow(
                x=x,
                log_volume=entry.log_volume,
                log_low=entry.log_low,
                log_high=entry.log_high,
                count=entry.count,
                num_draws=report.num_draws,
                design_effect=entry.design_effect,
                num_nonfinite=report.num_nonfinite,
                near_ties=report.run["near_ties"],
            )
        )
        reports.append((report.method, report.conventions, report.run))
    methods, conventions, runs = zip(*reports, strict=True)
    bound = next(iter(queries.values())).bound
    return Sweep(
        rows=tuple(rows),
        x_name=x_name,
        label=bound.label(bound.index(label)),
        level=level,
        methods=methods,
        seed=seed_record,
        queries=tuple(query.describe() for query in queries.values()),
        conventions=conventions,
        run={name: runs[0][name] for name in ("versions", "commit", "device")}
        | {"wall_seconds": sum(run["wall_seconds"] for run in runs)},
    )


def _checked(queries: Any, method: Any, label: Any) -> dict[float | str, tuple[Query, Any]]:
    """Setting -> (the query to run, the class's label in it)."""
    if not isinstance(queries, Mapping):
        raise TypeError(f"queries must map settings to queries, such as {{20: query, 40: query}}; got {queries!r}.")
    if not queries:
        raise ValueError("queries is empty: give at least one setting, such as {20: query}.")
    if not isinstance(method, Direct):
        raise TypeError(f"method={method!r} is not a method: pass for example volume.Direct(draws=1_000_000).")
    numbers = [isinstance(x, (int, float)) and not isinstance(x, bool) for x in queries]
    names = [isinstance(x, str) for x in queries]
    if not (all(numbers) or all(names)) or any(isinstance(x, float) and not math.isfinite(x) for x in queries):
        raise ValueError(f"The settings of a sweep are all finite numbers or all names; got {list(queries)!r}.")
    checked: dict[float | str, tuple[Query, Any]] = {}
    for x, query in queries.items():
        if not isinstance(query, Query):
            raise TypeError(
                f"Setting {x!r} holds {query!r}, not a query: make one with volume.Query(model, prior, ...)."
            )
        try:
            checked[x] = _two_classes(query, label)
        except (KeyError, ValueError) as error:
            sentence = f"Setting {x!r}: {error.args[0]}"
            raise type(error)(sentence) from None
        method.plan(checked[x][0])
    return checked


def _two_classes(query: Query, label: Any) -> tuple[Query, Any]:
    """A truth table against all others is a question of two classes, counted on the device."""
    bound = query.bound
    required = bound.required_labels(bound.index(label))  # KeyError for a class that the classifier does not know
    if bound.num_classes is not None or required is None:
        return query, label
    positions, labels = required
    return dataclasses.replace(query, classifier=Fits(query.domain.inputs[positions], labels)), "fits"


# ------------------------------------------------------------------------------------------------------- usual sweeps

_OF_MODEL = ("width", "depth")
MAX_SETTING = {"width": 1 << 31, "depth": 1000}  # beyond any machine, and beyond what is compiled


@stoppable()
def sweep_queries(
    model: Model,
    prior: Prior,
    domain: Domain,
    classifier: Classifier | None = None,
    *,
    over: str,
    values: Iterable[Any],
) -> dict[float | str, Query]:
    """Return queries that differ from (model, prior, domain, classifier) in one respect.

    Args:
        model: the network; for a sweep over width or depth an `MLP`.
        prior: the measure over its parameters.
        domain: the inputs; for a sweep over coding a `BooleanCube`.
        classifier: default `TruthTable`.
        over: "width" (every hidden layer gets it), "depth" (number of hidden layers, each of the first one's
        width; 0 is
            a perceptron), "coding" (the two input values, such as (0, 1)), or a number of the prior's, such as
            "weight_std", "bias_std" or "radius".
        values: the settings, all different.

    Raises:
        ValueError, TypeError: a word or value that does not fit, before anything is drawn.
    """
    known = (*_OF_MODEL, "coding", *_sizes(prior))
    if over not in known:
        raise ValueError(unknown("sweep", over, known))
    if over.startswith("bias") and all(parameter.kind != "bias" for parameter in model.parameters):
        raise ValueError(f"A sweep over {over} changes nothing in a model without biases: give it biases (bias=True).")
    queries: dict[float | str, Query] = {}
    for value in values:
        x, changed = _setting(model, prior, domain, over, value)
        if x in queries:
            raise ValueError(f"The setting {over} = {x} is given twice: give each value once.")
        queries[x] = Query(*changed, classifier or TruthTable())
    if not queries:
        raise ValueError(f"A sweep over {over} needs at least one value.")
    return queries


def _sizes(prior: Prior) -> list[str]:
    """The prior's settings that are numbers (or one number per layer)."""
    fields = dataclasses.fields(prior) if dataclasses.is_dataclass(prior) else ()
    values = {field.name: getattr(prior, field.name) for field in fields}
    return [
        name for name, value in values.items() if isinstance(value, (int, float, tuple)) and not isinstance(value, bool)
    ]


def _setting(
    model: Model, prior: Prior, domain: Domain, over: str, value: Any
) -> tuple[float | str, tuple[Model, Prior, Domain]]:
    """The setting's name in the table, and the parts of its query."""
    if over in _OF_MODEL:
        if not isinstance(model, MLP):
            raise ValueError(f"A sweep over {over} builds the networks itself, so it needs an MLP; got {model!r}.")
        widths = _widths(model.widths, over, value)
        activation = (
            model.activation if len(widths) > 2 else "relu"
        )  # nothing has one in a network without hidden layers
        return int(value), (MLP(widths, activation, model.bias), prior, domain)
    if over == "coding":
        if not isinstance(domain, BooleanCube):
            raise ValueError(f"A sweep over coding needs a BooleanCube domain; got {domain!r}.")
        cube = dataclasses.replace(domain, coding=value)
        return f"{{{cube.coding[0]:g}, {cube.coding[1]:g}}}", (model, prior, cube)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"A sweep over {over} takes numbers, one for all layers; got {value!r}.")
    return value, (model, dataclasses.replace(prior, **{over: value}), domain)  # type: ignore[type-var]


def _widths(widths: tuple[int, ...], over: str, value: Any) -> tuple[int, ...]:
    least = 1 if over == "width" else 0
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if number > MAX_SETTING[over]:
        raise ValueError(f"A sweep over {over} takes at most {MAX_SETTING[over]:,}; got {value!r}.")
    if not number.is_integer() or number < least:
        raise ValueError(f"A sweep over {over} takes whole numbers of {least} or more; got {value!r}.")
    hidden = len(widths) - 2
    if over == "width":
        if not hidden:
            raise ValueError(f"A sweep over width needs a hidden layer; got widths {widths}.")
        return (widths[0], *[int(number)] * hidden, widths[-1])
    if hidden < 1 and number > 0:
        raise ValueError(f"A sweep over depth takes its width from a hidden layer; got widths {widths}.")
    return (widths[0], *[widths[1]] * int(number), widths[-1])
