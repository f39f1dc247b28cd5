"""Classifiers that compare a function with labels the user gives for some inputs: Fits and Accuracy.

Shape letters: N inputs of the domain, m rows with labels, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from volume.classifiers.base import MAX_DEVICE_CLASSES, BoundClassifier, Classifier
from volume.classifiers.class_numbers import as_index, in_range, look_up, select
from volume.classifiers.graded import Graded
from volume.common.content import frozen
from volume.common.whole_numbers import whole_numbers
from volume.errors import whole
from volume.functions import tables
from volume.functions.domains import Domain, Points, as_inputs, first_rows
from volume.functions.importance import ImportanceFunction, right_counts

_SLACK = 1e-9  # accuracies k/m and bin edges closer than this are one number written in two ways


def _as_labels(labels: ArrayLike | str, num_rows: int, what: str) -> np.ndarray:
    """Return labels as read-only int64 [m]; ValueError for a wrong length or anything but class numbers 0, 1, ..."""
    given = np.array(list(labels)) if isinstance(labels, str) else np.asarray(labels)
    if given.ndim != 1 or len(given) != num_rows:
        raise ValueError(f"{what} needs one label per input: got {num_rows} inputs and labels of shape {given.shape}.")
    digits = [tables.DIGITS.find(character) for character in labels] if isinstance(labels, str) else given
    array, bad = whole_numbers(digits)
    if (bad := bad | (array < 0)).any():
        at = int(np.argmax(bad))
        label = given[at].item() if isinstance(given[at], np.generic) else given[at]
        hint = ": turn text into numbers first" if isinstance(label, str) and not isinstance(labels, str) else ""
        raise ValueError(
            f"{what} takes class numbers 0, 1, ... as labels; label {at} (counted from 0) is {label!r}{hint}."
        )
    return frozen(array, np.int64)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Labelled(Classifier):
    """Inputs [m, ...] with a class number each [m]: checked for themselves here, against the domain in ``bind``."""

    inputs: np.ndarray
    labels: np.ndarray

    def __init__(self, inputs: ArrayLike, labels: ArrayLike | str) -> None:
        name = type(self).__name__
        array = as_inputs(inputs, f"The inputs of {name}")
        checked = _as_labels(labels, len(array), name)
        first = first_rows(array)
        if (differs := checked[first] != checked).any():
            position = int(np.argmax(differs))
            other = first[position]
            raise ValueError(
                f"Row {position} of {name} repeats row {other} (counted from 0) with label {checked[position]} "
                f"instead of {checked[other]}: no function does both."
            )
        object.__setattr__(self, "inputs", array)
        object.__setattr__(self, "labels", checked)

    def domain(self) -> Points:
        return Points(self.inputs[np.unique(first_rows(self.inputs))])

    def _resolve(self, domain: Domain, num_outputs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions in the domain [m] and the labels [m], in ascending order of position."""
        highest = max(num_outputs, 2) - 1
        if self.labels.max() > highest:
            at = int(np.argmax(self.labels > highest))
            raise ValueError(
                f"{type(self).__name__} has label {self.labels[at]} for row {at} (counted from 0), but with "
                f"{num_outputs} output(s) labels run from 0 to {highest}."
            )
        positions = domain.index_of(self.inputs)
        order = np.argsort(positions, kind="stable")
        return positions[order], self.labels[order]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.labels)} labelled inputs)"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Fits(Labelled):
    """Does a function give these labels on these inputs? Classes "fits" (number 1) and "misses" (0).

    Args:
        inputs: rows of the domain, [m, *input_shape].
        labels: class numbers [m], 0..C-1 (0 and 1 for one output), or a string of digits such as "0110".
    """

    kind: ClassVar[str] = "fits"
    default_label: ClassVar[str] = "fits"

    def bind(self, domain: Domain, num_outputs: int) -> BoundFits:
        positions, labels = self._resolve(domain, num_outputs)
        return BoundFits(self, domain.num_inputs, num_outputs, frozen(positions, np.int64), labels)

    def labelled_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs, self.labels


@dataclass(frozen=True, eq=False)
class _BoundRows(BoundClassifier):
    positions: np.ndarray  # [m] rows of the domain, ascending
    labels_at: np.ndarray  # [m]

    def _right(self, decisions: Any) -> Any:
        """Return where a function agrees with the labels, bool [m, ...]."""
        rows = select(decisions, self.positions, self.num_inputs)
        return rows == self.labels_at.astype(rows.dtype).reshape(-1, *(1,) * (rows.ndim - 1))

    @cached_property
    def _mask_and_target(self) -> tuple[np.ndarray, np.ndarray]:
        """Words [1, W]: all bits of the labelled inputs, and the labels there."""
        bits = tables.bits_per_input(self.num_outputs)
        mask = np.zeros((1, self.num_inputs), tables.decision_dtype(self.num_outputs))
        target = mask.copy()
        mask[0, self.positions] = (1 << bits) - 1
        target[0, self.positions] = self.labels_at
        return tables.pack(mask, self.num_outputs), tables.pack(target, self.num_outputs)


@dataclass(frozen=True, eq=False)
class BoundFits(_BoundRows):
    def examples(self) -> np.ndarray:
        constant = super().examples()
        highest = max(self.num_outputs, 2) - 1
        wrong, right = constant, constant.copy()
        wrong[:, self.positions] = highest - (self.labels_at > 0) * highest
        right[:, self.positions] = self.labels_at
        return np.concatenate([wrong, right])

    @property
    def num_classes(self) -> int:
        return 2

    def classify(self, decisions: Any) -> Any:
        return as_index(self._right(decisions).all(axis=0))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        mask, target = self._mask_and_target
        fits = np.ones(len(keys), bool)
        for word in np.flatnonzero(mask[0]):
            fits &= (keys[:, word] & mask[0, word]) == target[0, word]
        return fits.astype(np.int64)

    def required_labels(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        return (self.positions, self.labels_at) if index == 1 else None

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        if index == 1:
            return super().importance_function(index, chain=chain)
        return right_counts(self.positions, self.labels_at, 0, len(self.labels_at) - 1)

    def label(self, index: int) -> str:
        return ("misses", "fits")[in_range(index, 2)]

    def index(self, label: Any) -> int:
        known = {"fits": 1, "misses": 0, True: 1, False: 0}
        if not isinstance(label, (str, bool, np.bool_)) or label not in known:
            raise KeyError(f"Fits has the classes 'fits' and 'misses' (or True and False); got {label!r}.")
        return known[label]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Accuracy(Labelled):
    """How many of these labels does a function give? Classes by rising accuracy.

    Args:
        inputs: rows of the domain, [m, *input_shape]; a repeated row counts as often as it stands there.
        labels: class numbers [m] as in :class:`Fits`.
        bins: None makes every accuracy k/m a class "k/m"; a whole number that many equal bins of [0, 1]; a rising
            sequence its edges, with 0 and 1 added where missing. A bin holds its lower edge, the last one both.
    """

    kind: ClassVar[str] = "accuracy"
    bins: int | tuple[float, ...] | None

    def __init__(
        self, inputs: ArrayLike, labels: ArrayLike | str, bins: int | Sequence[float] | np.ndarray | None = None
    ) -> None:
        super().__init__(inputs, labels)
        object.__setattr__(self, "bins", _as_bins(bins))

    def bind(self, domain: Domain, num_outputs: int) -> BoundAccuracy:
        positions, labels = self._resolve(domain, num_outputs)
        edges = tuple(i / self.bins for i in range(self.bins + 1)) if isinstance(self.bins, int) else self.bins
        return BoundAccuracy(self, domain.num_inputs, num_outputs, frozen(positions, np.int64), labels, edges)


def _as_bins(bins: int | Sequence[float] | np.ndarray | None) -> int | tuple[float, ...] | None:
    if bins is None:
        return None
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool):
        return whole("bins", bins, limit=MAX_DEVICE_CLASSES)
    try:
        edges = [float(edge) for edge in bins]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise TypeError(f"bins must be None, a whole number or a sequence of edges; got {bins!r}.") from None
    if not edges or not all(0 <= edge <= 1 for edge in edges):
        raise ValueError(f"Bin edges are accuracies and must lie in [0, 1]; got {edges}.")
    if edges[0] > 0:
        edges = [0.0, *edges]
    if edges[-1] < 1:
        edges = [*edges, 1.0]
    if any(high - low <= _SLACK for low, high in itertools.pairwise(edges)):
        raise ValueError(f"Bin edges must rise; got {edges}.")
    return tuple(edges)


@dataclass(frozen=True, eq=False)
class BoundAccuracy(_BoundRows, Graded):
    edges: tuple[float, ...] | None

    @property
    def default_labels(self) -> tuple[str]:
        return (self.label(self.num_classes - 1),)

    @property
    def graded_inputs(self) -> np.ndarray:
        return self.positions

    @property
    def num_classes(self) -> int:
        return len(self.labels_at) + 1 if self.edges is None else len(self.edges) - 1

    @cached_property
    def _class_of(self) -> np.ndarray:
        """[m + 1]: the class of k right answers."""
        right = np.arange(len(self.labels_at) + 1)
        return right if self.edges is None else self._bin(right / len(self.labels_at))

    def counts_in(self, index: int) -> np.ndarray:
        return np.flatnonzero(self._class_of == index)

    def words(self, index: int) -> str:
        label, total, right = self.label(index), len(self.labels_at), self.counts_in(index)
        if not len(right):
            return f"{label} (no count)"
        if right[0] == right[-1]:
            return {0: "all wrong", total: "all right"}.get(int(right[0]), f"{right[0]} right")
        if self.edges is None:
            return label
        low, high = (f"{100 * edge:.4g}" for edge in self.edges[index : index + 2])
        if self.edges[index + 1] > 1 - 0.75 / total:
            return f"{low} %, not all" if right[-1] < total else f"{low} % and more"
        return f"{low} to {high} %" if index else f"below {high} %"

    def _bin(self, accuracy: Any) -> np.ndarray:
        inner = np.array((self.edges or ())[1:-1])
        return np.searchsorted(inner, np.asarray(accuracy) + _SLACK, side="right")

    def classify(self, decisions: Any) -> Any:
        return look_up(self._class_of, self._right(decisions).sum(axis=0, dtype=np.int32))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        repeated = len(np.unique(self.positions)) < len(self.positions)
        if repeated or tables.bits_per_input(self.num_outputs) > 1:
            return super().classify_keys(keys, chunk)
        mask, target = self._mask_and_target
        right = np.full(len(keys), len(self.labels_at), np.int64)
        for word in np.flatnonzero(mask[0]):
            right -= np.bitwise_count((keys[:, word] ^ target[0, word]) & mask[0, word])
        return self._class_of[right]

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        if not len(right := self.counts_in(index)):
            return super().importance_function(index, chain=chain)
        return right_counts(self.positions, self.labels_at, int(right[0]), int(right[-1]))

    def label(self, index: int) -> str:
        in_range(index, self.num_classes)
        if self.edges is None:
            return f"{index}/{len(self.labels_at)}"
        low, high = (repr(float(f"{edge:.9g}")) for edge in self.edges[index : index + 2])
        return f"[{low}, {high}{']' if index == self.num_classes - 1 else ')'}"

    def index(self, label: Any) -> int:
        if isinstance(label, str):
            known = {self.label(index): index for index in range(self.num_classes)}
            if label in known:
                return known[label]
        elif isinstance(label, (int, float, np.integer, np.floating)) and 0 <= label <= 1:
            nearest = round(float(label) * len(self.labels_at))
            if self.edges is not None:
                return int(self._bin(label))
            if abs(float(label) * len(self.labels_at) - nearest) <= 1e-6:
                return nearest
        last = self.num_classes - 1
        raise KeyError(
            f"Accuracy has {self.num_classes} classes, {self.label(0)!r} to {self.label(last)!r}, "
            f"also found by an accuracy in [0, 1]; got {label!r}."
        )
