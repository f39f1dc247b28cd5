"""The method `InfiniteWidth`: a query answered class by class as if its hidden layers were infinitely wide.

Shape letters: N inputs of the domain, m labelled inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np
from jax import Array

from volume.common.progress import Progress
from volume.estimators.infinite_width.infinite_width import check_jitter, check_one_output, infinite_width, labelled
from volume.estimators.infinite_width.nngp import nngp_kernel
from volume.estimators.infinite_width.orthant import OrthantEstimate, shared_out
from volume.queries.query import Query
from volume.reports.facts import Facts
from volume.reports.limit_entries import LimitVolume
from volume.reports.named import EstimateReport
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.columns import Numbers, Schema, Texts


@dataclass(frozen=True, kw_only=True)
class InfiniteWidth:
    """Answer a query as if its hidden layers were infinitely wide: the wide limit of `infinite_width`, class by class.

    Args:
        samples: draws in all for each class, as in `log_orthant`.
        replicates: independent randomisations, at least 8.
        jitter: as in `infinite_width`.
        labels: the classes to answer for, one or more. Default for `Fits`: "fits". `TruthTable` needs them.

    Raises:
        ValueError: numbers that are not whole, not positive or too small.
    """

    samples: int = 20_000
    replicates: int = 16
    jitter: float = 1e-10
    labels: tuple[Any, ...] | None = None

    name = "infinite-width"

    def __init__(
        self,
        *,
        samples: float = 20_000,
        replicates: int = 16,
        jitter: float = 1e-10,
        labels: Sequence[Any] | str | None = None,
    ):
        check_jitter(jitter)
        num, _ = shared_out(samples, replicates)
        labels = (labels,) if isinstance(labels, str) else labels
        for name, value in {
            "samples": int(samples),
            "replicates": num,
            "jitter": float(jitter),
            "labels": None if labels is None else tuple(labels),
        }.items():
            object.__setattr__(self, name, value)

    def start(self, query: Query, key: Array) -> WideRun:
        """Begin. ValueError, TypeError and KeyError as in `infinite_width`, before anything is computed."""
        query.refuse_pooling("InfiniteWidth")
        labels = self.labels
        if labels is None:
            check_one_output(query)
            labels = query.bound.default_labels
            if not labels:
                raise ValueError(
                    "InfiniteWidth answers for named classes, each a sign pattern as those of TruthTable or Fits are: "
                    "pass labels=, for example volume.InfiniteWidth(labels=['0111']), or use volume.Direct."
                )
        names = []
        for label in labels:
            labelled(query, label)
            names.append(query.bound.labels(query.bound.key(label)[None])[0])  # as reports write it
        if not names or len(set(names)) < len(names):
            raise ValueError(f"labels={self.labels!r} must name one class or more, each once.")
        try:
            nngp_kernel(query.model, query.prior, query.domain.inputs[:1])  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            first, second = ("Exact", "Direct") if getattr(query.prior, "finite", False) else ("Direct", "Splitting")
            raise type(error)(f"{error} Without a known limit, use volume.{first} or volume.{second}.") from None
        return WideRun(self, query, tuple(names), key)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "samples": self.samples, "replicates": self.replicates, "jitter": self.jitter}


class WideRun:
    """The wide limit of one query, a class a step; each class is a checkpoint.

    A class costs some factorisations of a matrix of its labelled inputs, in NumPy: there is nothing to spread over
    devices.
    """

    def __init__(self, method: InfiniteWidth, query: Query, labels: tuple[str, ...], key: Array):
        self._method, self._query, self._labels, self._key = method, query, labels, key
        self._answers: dict[int, OrthantEstimate] = {}  # by number of the class
        self._todo = list(range(len(labels)))
        self._fresh: list[int] = []  # in no part yet

    @property
    def done(self) -> bool:
        return not self._todo

    def advance(self) -> None:
        index = self._todo[0]
        high, low = np.asarray(jax.random.key_data(jax.random.fold_in(self._key, index)))
        self._answers[index] = infinite_width(
            self._query,
            self._labels[index],
            samples=self._method.samples,
            replicates=self._method.replicates,
            jitter=self._method.jitter,
            seed=(int(high) << 32) | int(low),
        )
        self._todo.pop(0)
        self._fresh.append(index)

    def progress(self) -> Progress:
        latest = next(reversed(self._answers.values()), None)
        note = f"log10 volume {latest.log10_probability:.2f}" if latest is not None else ""
        return Progress(done=len(self._answers), total=len(self._labels), unit="classes", note=note)

    def report(self, facts: Facts) -> EstimateReport | None:
        if not self._answers:
            return None
        conventions = facts.query.conventions(dtype="float64", precision="highest")
        return EstimateReport.of(
            facts,
            tuple(
                LimitVolume.of(self._labels[index], self._answers[index].at_level(facts.level))
                for index in sorted(self._answers)
            ),
            method=self._method.describe(),
            conventions={**conventions, "width": "hidden layers are taken to be infinitely wide"},
        )

    # --- parts ---

    def constants(self) -> dict[str, Any]:
        """Say what the numbers of classes mean."""
        return {"labels": list(self._labels)}

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take the classes that are there."""
        for part in parts:
            if part.name.startswith("class-"):
                self._answers[part.facts["class"]] = _estimate(part)
        self._todo = [index for index in self._todo if index not in self._answers]

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """Hand out the classes answered since the last call."""
        del all  # each is one
        fresh, self._fresh = self._fresh, []
        return [_class_part(index, self._labels[index], self._answers[index]) for index in fresh]

    def restrict(self, index: int, count: int) -> None:
        """Answer for this share of the classes that are left."""
        self._todo = self._todo[index::count]


# Of an answered class: its label, and the fields of the estimate but its notes, which are facts.
CLASSES = Schema(
    {"label": Texts()} | {field.name: Numbers() for field in fields(OrthantEstimate) if field.name != "notes"}
)


def _class_part(index: int, label: str, estimate: OrthantEstimate) -> Checkpoint:
    """Make a checkpoint of one row: the label and the numbers of the estimate, as its fields are called."""
    table = CLASSES.table({"label": [label], **{name: [value] for name, value in vars(estimate).items()}})
    return Checkpoint(f"class-{index:06d}", {"class": index, "notes": list(estimate.notes)}, table)


def _estimate(part: StoredCheckpoint) -> OrthantEstimate:
    columns = CLASSES.read(part)
    del columns["label"]
    return OrthantEstimate(**{name: one.tolist()[0] for name, one in columns.items()}, notes=tuple(part.facts["notes"]))
