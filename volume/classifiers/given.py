"""Shares within a class: how the functions that share one property divide by another.

Quantity: for a class A of one classifier and every class b of another, V(A and b), the prior mass of both at once; the
share of b within A is V(A and b) / V(A), a conditional probability under the prior (Bayes). The classes of `Given` are
those of the second classifier inside A, and one more, "outside", for every function that is not in A: together they
are all functions, so any method that answers classifiers answers this one.

Split by truth tables the classes are the single functions in A, too many to be listed in advance: they are counted
under their own keys, and "outside" under that of one function outside A.

Shape letters: N inputs, C outputs, K tables, S classes of the split, W words of a packed table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume.classifiers.base import (
    MAX_CLASSES,
    MAX_DEVICE_CLASSES,
    OUTSIDE,
    Classifier,
    Conditional,
    check_decided_together,
    from_description,
    union_of_inputs,
)
from volume.classifiers.class_numbers import as_index, in_range
from volume.classifiers.truth_table import SingleFunctions
from volume.errors import unknown
from volume.functions import tables
from volume.functions.domains import Domain, Points
from volume.statistics.counts import Counts

_INNER = "inner "


@dataclass(frozen=True, eq=False, init=False)
class Given(Classifier):
    """The classes of ``split`` among the functions that are in one class of ``within``; all others are "outside".

    ``Given(Fits(x, y), Accuracy(test_x, test_y))`` asks how what fits the training labels divides by accuracy on other
    inputs. Class numbers are those of ``split``, 0..S-1, then S for "outside". ``Given(Fits(x, y), TruthTable())`` asks
    for the single functions that fit, P(function | labels): their labels are those of the tables.

    Args:
        within: the classifier that says what is given.
        split: the classifier that divides it. Its labels name the classes; where it has a class "outside" itself, as
            another Given has, that one is called "inner outside".
        label: the class of ``within`` that is given, as its label or natural value. Default: "fits" for `Fits`.

    Raises (the last three when a query is made):
        TypeError: something that is no classifier, or no ``label`` where ``within`` is not `Fits`.
        ValueError: `TruthTable` as ``within``, or parts that cannot be decided together, as in `Product`.
        KeyError: a ``label`` that names no class of ``within``.
    """

    kind: ClassVar[str] = "given"
    within: Classifier
    label: Any
    split: Classifier

    def __init__(self, within: Classifier, split: Classifier, *, label: Any = None) -> None:
        for name, part in (("within", within), ("split", split)):
            if not isinstance(part, Classifier):
                raise TypeError(f"Given takes two classifiers; {name} is {part!r}.")
        if within.single_functions:
            raise ValueError(
                "One truth table has nothing to split: it is one function. Give Fits or another classifier."
            )
        if label is None:
            if within.default_label is None:
                raise TypeError(
                    f"Given needs to know which class of {within!r} is given: pass label=, for example "
                    "Given(Ones(), split, label=5)."
                )
            label = within.default_label
        object.__setattr__(self, "within", within)
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "label", _as_label(label))

    def domain(self) -> Points | None:
        return union_of_inputs((self.within, self.split), "the two parts of this Given")

    def labelled_inputs(self) -> tuple[np.ndarray, np.ndarray] | None:
        return self.within.labelled_inputs() if self.label == self.within.default_label else None

    def bind(self, domain: Domain, num_outputs: int) -> BoundGiven | BoundGivenTables:
        within, split = self.within.bind(domain, num_outputs), self.split.bind(domain, num_outputs)
        if self.split.single_functions:
            if not within.of_table or within.num_classes is None:
                raise ValueError(
                    f"Functions given {self.within!r} are counted from stored truth tables, which do not decide its "
                    "classes: give Fits or another classifier of the decisions."
                )
            bound = BoundGivenTables(self, domain.num_inputs, num_outputs, within, split, within.index(self.label))
            bound.outside_key  # noqa: B018  # ValueError where nothing is outside
            return bound
        size = split.num_classes
        if size is None or size >= MAX_CLASSES:
            raise ValueError(f"Given needs a split whose classes can be numbered; {self.split!r} has too many.")
        check_decided_together((within, split), size + 1)
        return BoundGiven(self, domain.num_inputs, num_outputs, within, split, within.index(self.label))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Given:
        within, split = (from_description(record[part]) for part in ("within", "split"))
        return cls(within, split, label=record["label"])


def _as_label(label: Any) -> Any:
    """Return a label that can be hashed and written to JSON: sequences as tuples, NumPy numbers as Python's."""
    if isinstance(label, (list, tuple, np.ndarray)):
        return tuple(_as_label(part) for part in label)
    return label.item() if isinstance(label, np.generic) else label


def _is_inner(label: str) -> bool:
    """Return whether this is "outside" after any number of "inner "."""
    return label.endswith(OUTSIDE) and not label.removesuffix(OUTSIDE).replace(_INNER, "")


@dataclass(frozen=True, eq=False)
class BoundGiven(Conditional):
    """Classes that are listed in advance: those of the split, 0..S-1, then "outside"."""

    @property
    def num_classes(self) -> int:
        return (self.split.num_classes or 0) + 1

    @property
    def outside(self) -> int:
        """The number of the class "outside", the last one."""
        return self.num_classes - 1

    @property
    def outside_key(self) -> np.ndarray:
        return np.array([self.outside], np.uint64)

    def holds(self, keys: np.ndarray) -> np.ndarray:
        return keys[:, 0] != self.outside

    @property
    def route(self) -> Literal["table", "device"]:
        finite = self.num_classes <= MAX_DEVICE_CLASSES
        device = finite and self.within.route == self.split.route == "device"
        return "device" if device else "table"

    @property
    def needs_outputs(self) -> bool:
        return self.within.needs_outputs or self.split.needs_outputs

    def _combine(self, within: Any, split: Any) -> Any:
        where = jnp.where if isinstance(within, jax.Array) else np.where
        return as_index(where(within == self.wanted, split, self.outside))

    def classify(self, decisions: Any) -> Any:
        return self._combine(self.within.classify(decisions), self.split.classify(decisions))

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        return self._combine(self.within.classify_outputs(outputs), self.split.classify_outputs(outputs))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        result = np.full(len(keys), self.outside, np.int64)
        inside = np.flatnonzero(self.within.classify_keys(keys, chunk) == self.wanted)
        result[inside] = self.split.classify_keys(keys[inside], chunk)  # costly splits only where they are asked for
        return result

    def label(self, index: int) -> str:
        index = in_range(index, self.num_classes)
        if index == self.outside:
            return OUTSIDE
        label = self.split.label(index)
        return _INNER + label if _is_inner(label) else label

    def index(self, label: Any) -> int:
        if isinstance(label, str):
            if label == OUTSIDE:
                return self.outside
            if _is_inner(label):
                label = label.removeprefix(_INNER)
        try:
            return self.split.index(label)
        except KeyError as error:
            if isinstance(label, str) and self.num_classes <= 20:
                known = [self.label(index) for index in range(self.num_classes)]
                raise KeyError(unknown("class", label, known)) from None
            raise KeyError(f"{error.args[0]} Functions that are not given are in the class {OUTSIDE!r}.") from None


@dataclass(frozen=True, eq=False)
class BoundGivenTables(SingleFunctions, Conditional):
    """The single functions in one class of ``within``."""

    @property
    def total_classes(self) -> int | None:
        if (required := self.within.required_labels(self.wanted)) is None:
            return None
        return max(self.num_outputs, 2) ** (self.num_inputs - len(required[0])) + 1

    @cached_property
    def outside_key(self) -> np.ndarray:
        """The key [W] of "outside": that of a function outside the class, under which all of them are counted.

        Raises:
            ValueError: none of the functions tried is outside.
        """
        keys = tables.pack(self.within.examples(), self.num_outputs)
        outside = np.flatnonzero(~self.holds(keys))
        if not len(outside):
            raise ValueError(
                f"No function outside the class {self.within.label(self.wanted)!r} of {self.within.classifier!r} was "
                "found: where it holds all functions estimate TruthTable(), else group a report of TruthTable()."
            )
        return keys[outside[0]]

    def holds(self, keys: np.ndarray) -> np.ndarray:
        return self.within.classify_keys(keys) == self.wanted

    def merged_words(self, words: list[np.ndarray]) -> list[np.ndarray]:
        inside = self.holds(np.stack(words, axis=1))
        return [np.where(inside, word, other) for word, other in zip(words, self.outside_key, strict=True)]

    def classify(self, decisions: Any) -> Any:
        raise TypeError("The functions within a class have no numbers that arrays hold: work with their keys.")

    def of_tables(self, counts: Counts) -> Counts:
        inside = self.holds(counts.keys)
        keys = counts.keys[inside]
        if not inside.all():
            keys = np.concatenate([keys, self.outside_key[None]])
        order = np.lexsort(keys.T[::-1])
        place = np.empty(len(keys), np.int64)
        place[order] = np.arange(len(keys))
        group = np.full(len(inside), place[-1] if len(keys) else 0)
        group[inside] = place[: inside.sum()]
        return replace(counts.regroup(group, max(len(keys), 1)), keys=np.asfortranarray(keys[order]))

    def key(self, label: Any) -> np.ndarray:
        if isinstance(label, str) and label == OUTSIDE:
            return self.outside_key
        key = self.split.key(label)
        if not self.holds(key[None])[0]:
            raise KeyError(
                f"The table {label!r} is not in the class {self.within.label(self.wanted)!r} that is given: name one "
                f"that is, or {OUTSIDE!r} for all that are not."
            )
        return key

    def labels(self, keys: np.ndarray) -> list[str]:
        held = self.holds(np.asarray(keys)).tolist()
        return [name if inside else OUTSIDE for name, inside in zip(self.split.labels(keys), held, strict=True)]

    def label(self, index: int) -> str:
        label = self.split.label(index)
        return label if self.holds(self.split.key(label)[None])[0] else OUTSIDE
