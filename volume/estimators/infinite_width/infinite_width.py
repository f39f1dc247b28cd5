"""The volume of a class in the limit of infinitely wide hidden layers.

`infinite_width` answers for one class, the method `InfiniteWidth` for a query, as any other method does.

Quantity: P(signs of a Gaussian process at the labelled inputs), the process being the wide limit of the query's
network under its prior (`volume.nngp`). Estimator and interval: `volume.orthant`.

Shape letters: N inputs of the domain, m labelled inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pyarrow as pa
from jax import Array
from scipy import optimize

from volume.common.progress import Progress
from volume.estimators.infinite_width.nngp import nngp_kernel
from volume.estimators.infinite_width.orthant import OrthantEstimate, exact, log_orthant, shared_out
from volume.queries.query import Query
from volume.reports.entries import LimitVolume
from volume.reports.facts import Facts
from volume.reports.named import EstimateReport
from volume.runs.parts import Part, StoredPart

_RANK = 1e-13  # eigenvalues of an m x m correlation matrix below m times this are rounding
_MARGIN = 1e-7  # of linear programming's feasibility, in standard deviations of an output


def infinite_width(
    query: Query,
    label: Any = "fits",
    *,
    samples: int = 20_000,
    replicates: int = 16,
    seed: int = 0,
    level: float = 0.95,
    jitter: float = 1e-10,
) -> OrthantEstimate:
    """Estimate the volume of one class of ``query`` were its hidden layers infinitely wide.

    Args:
        query: an `MLP` or `Perceptron` of one output under a `Gaussian` prior, with the classifier `TruthTable` or
            `Fits`. Hidden widths are not looked at; a perceptron's answer is no limit but its volume.
        label: the truth table; for `Fits` "fits".
        samples: draws in all, as in `log_orthant`.
        replicates: independent randomisations, at least 8.
        seed: a whole number in [0, 2^64).
        level: coverage of the interval.
        jitter: fraction of each output's variance that is added to it as independent noise, so that the kernel can be
            factorised. Stated in the result.

    Returns:
        The log probability with its interval. Inputs whose output is exactly 0 tie, and a tie is class 0: a 0 there
        costs nothing. A class that no function of the limit is in has log probability -inf, and a note that says why.

    Raises:
        TypeError: no query, or a model or prior without a known limit.
        ValueError: several outputs, another classifier, the class "misses", a negative jitter.
        KeyError: a label that the classifier does not know.
    """
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    _check_jitter(jitter)
    positions, labels = _labelled(query, label)
    kernel = nngp_kernel(query.model, query.prior, query.domain.inputs[positions])  # type: ignore[arg-type]
    m = len(positions)
    still = np.diagonal(kernel) == 0
    if labels[still].any():
        i = positions[np.argmax(still & (labels == 1))]
        return exact(
            -math.inf,
            level,
            m,
            f"The output at input {i} is always 0, a tie, which is class 0: no network gives 1 there.",
        )
    kernel, labels = kernel[~still][:, ~still], labels[~still]
    if not len(labels):
        return exact(0.0, level, m, "The output at every labelled input is always 0, a tie, which is class 0.")
    signs = 2 * labels - 1
    scale = np.sqrt(np.diagonal(kernel))
    values, vectors = np.linalg.eigh(kernel / np.outer(scale, scale))
    kept = values > _RANK * len(values)
    notes: tuple[str, ...] = ()
    if not kept.all():
        if not _separable(vectors[:, kept] * np.sqrt(values[kept]), signs):
            return exact(-math.inf, level, m, "No function of the limit has these labels: its outputs are dependent.")
        notes = (f"The outputs have rank {kept.sum()} of {len(values)}: without jitter the kernel has no factor.",)
    found = log_orthant(
        kernel + jitter * np.diag(np.diagonal(kernel)),
        signs,
        samples=samples,
        replicates=replicates,
        seed=seed,
        level=level,
    )
    return replace(found, num_variables=m, jitter=float(jitter), notes=(*notes, *found.notes))


def _check_jitter(jitter: Any) -> None:
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter < math.inf:
        raise ValueError(f"jitter={jitter!r} is not a number of at least 0: give for example jitter=1e-10.")


def _check_one_output(query: Query) -> None:
    if query.model.num_outputs != 1:
        raise ValueError(
            f"The wide limit is answered for one output, this model has {query.model.num_outputs}: use volume.Direct."
        )


def _labelled(query: Query, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the domain and labels 0 or 1 that make up the class, [m] each."""
    _check_one_output(query)
    bound = query.bound
    required = bound.required_labels(bound.index(label))
    if required is None:
        raise ValueError(
            f"The class {label!r} of {query.classifier!r} is no sign pattern: ask for TruthTable or Fits ('misses' has "
            "1 minus the probability of 'fits'), or use volume.Direct."
        )
    positions, first = np.unique(required[0], return_index=True)  # a row may be given twice
    return positions, required[1][first].astype(int)


def _separable(factor: np.ndarray, signs: np.ndarray) -> bool:
    """Whether some a in [-1, 1]^r gives factor @ a [m] these signs, by a margin beyond the solver's tolerance."""
    m, r = factor.shape
    found = optimize.linprog(
        np.append(np.zeros(r), -1.0),
        A_ub=np.column_stack([-signs[:, None] * factor, np.ones(m)]),
        b_ub=np.zeros(m),
        bounds=[(-1.0, 1.0)] * r + [(0.0, 1.0)],
    )
    return not (found.success and -found.fun <= _MARGIN)


# ---------------------------------------------------------------------------------------------------------- the method


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
        _check_jitter(jitter)
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
            _check_one_output(query)
            labels = query.bound.default_labels
            if not labels:
                raise ValueError(
                    "InfiniteWidth answers for named classes, each a sign pattern as those of TruthTable or Fits are: "
                    "pass labels=, for example volume.InfiniteWidth(labels=['0111']), or use volume.Direct."
                )
        names = []
        for label in labels:
            _labelled(query, label)
            names.append(query.bound.labels(query.bound.key(label)[None])[0])  # as reports write it
        if not names or len(set(names)) < len(names):
            raise ValueError(f"labels={self.labels!r} must name one class or more, each once.")
        try:
            nngp_kernel(query.model, query.prior, query.domain.inputs[:1])  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            others = "volume.Exact or volume.Direct" if getattr(query.prior, "finite", False) else _SAMPLERS
            raise type(error)(f"{error} Without a known limit, use {others}.") from None
        return WideRun(self, query, tuple(names), key)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "samples": self.samples, "replicates": self.replicates, "jitter": self.jitter}


class WideRun:
    """The wide limit of one query, a class a step; a class is a part (volume.parts).

    A class costs some factorisations of a matrix of its labelled inputs, in NumPy: there is nothing to spread over
    devices.
    """

    def __init__(self, method: InfiniteWidth, query: Query, labels: tuple[str, ...], key: Array):
        self._method, self._query, self._labels, self._key = method, query, labels, key
        self._found: dict[int, OrthantEstimate] = {}  # by number of the class
        self._todo = list(range(len(labels)))
        self._fresh: list[int] = []  # in no part yet

    @property
    def done(self) -> bool:
        return not self._todo

    def advance(self) -> None:
        index = self._todo[0]
        high, low = np.asarray(jax.random.key_data(jax.random.fold_in(self._key, index)))
        self._found[index] = infinite_width(
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
        latest = next(reversed(self._found.values()), None)
        note = f"log10 volume {latest.log10_probability:.2f}" if latest is not None else ""
        return Progress(done=len(self._found), total=len(self._labels), unit="classes", note=note)

    def report(self, facts: Facts) -> EstimateReport | None:
        if not self._found:
            return None
        conventions = facts.query.conventions(dtype="float64", precision="highest")
        return EstimateReport.of(
            facts,
            tuple(
                LimitVolume.of(self._labels[index], self._found[index].at_level(facts.level))
                for index in sorted(self._found)
            ),
            method=self._method.describe(),
            conventions={**conventions, "width": "hidden layers are taken to be infinitely wide"},
        )

    # --- parts ---

    def constants(self) -> dict[str, Any]:
        """What the numbers of classes mean."""
        return {"labels": list(self._labels)}

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Take the classes that are there."""
        for part in parts:
            if part.name.startswith("class-"):
                self._found[part.facts["class"]] = _estimate(part)
        self._todo = [index for index in self._todo if index not in self._found]

    def collect(self, *, all: bool = False) -> list[Part]:
        """The classes answered since the last call."""
        del all  # each is one
        fresh, self._fresh = self._fresh, []
        return [_class_part(index, self._labels[index], self._found[index]) for index in fresh]

    def restrict(self, index: int, count: int) -> None:
        """Answer for this share of the classes that are left."""
        self._todo = self._todo[index::count]


def _class_part(index: int, label: str, found: OrthantEstimate) -> Part:
    """One row: the label and the numbers of the estimate, as its fields are called."""
    numbers = {name: pa.array([value]) for name, value in vars(found).items() if name != "notes"}
    table = pa.table({"label": pa.array([label]), **numbers})
    return Part(f"class-{index:06d}", {"class": index, "notes": list(found.notes)}, table)


def _estimate(part: StoredPart) -> OrthantEstimate:
    row = part.read().to_pylist()[0]
    del row["label"]
    return OrthantEstimate(**row, notes=tuple(part.facts["notes"]))


_SAMPLERS = "volume.Direct or volume.Splitting"
