"""Shares within a class: how the functions that share one property divide by another.

Quantity: for a class A of one classifier and every class b of another, V(A and b), the prior mass of both at once; the
share of b within A is V(A and b) / V(A), a conditional probability under the prior (Bayes). The classes of `Given` are
those of the second classifier inside A, and one more, "outside", for every function that is not in A: together they
are all functions, so any method that answers classifiers answers this one.

Shape letters: N inputs, C outputs, K tables, S classes of the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume.classifier import MAX_CLASSES, MAX_DEVICE_CLASSES, BoundClassifier, Classifier, as_index, in_range
from volume.domains import Domain, Points
from volume.errors import unknown
from volume.labels import Fits
from volume.product import check_decided_together, union_of_inputs

OUTSIDE = "outside"
_INNER = "inner "


@dataclass(frozen=True, eq=False, init=False)
class Given(Classifier):
    """The classes of ``split`` among the functions that are in one class of ``within``; all others are "outside".

    ``Given(Fits(x, y), Accuracy(test_x, test_y))`` asks how what fits the training labels divides by accuracy on other
    inputs. Class numbers are those of ``split``, 0..S-1, then S for "outside".

    Args:
        within: the classifier that says what is given.
        split: the classifier that divides it. Its labels name the classes; where it has a class "outside" itself, as
            another Given has, that one is called "inner outside".
        label: the class of ``within`` that is given, as its label or natural value. Default: "fits" for `Fits`.

    Raises (the last three when a query is made):
        TypeError: something that is no classifier, or no ``label`` where ``within`` is not `Fits`.
        ValueError: `TruthTable` as a part, or parts that cannot be decided together, as in `Product`.
        KeyError: a ``label`` that names no class of ``within``.
    """

    within: Classifier
    split: Classifier
    label: Any

    def __init__(self, within: Classifier, split: Classifier, *, label: Any = None) -> None:
        from volume.classifiers import TruthTable  # that module imports this one

        for name, part in (("within", within), ("split", split)):
            if not isinstance(part, Classifier):
                raise TypeError(f"Given takes two classifiers; {name} is {part!r}.")
        if isinstance(within, TruthTable):
            raise ValueError(
                "One truth table has nothing to split: it is one function. Give Fits or another classifier."
            )
        if isinstance(split, TruthTable):
            raise ValueError(
                "Given cannot split by TruthTable, whose classes are not listed in advance: estimate a query with "
                "TruthTable() and group its report, or split by Accuracy, Ones, LempelZiv or Argmax."
            )
        if label is None:
            if not isinstance(within, Fits):
                raise TypeError(
                    f"Given needs to know which class of {within!r} is given: pass label=, for example "
                    "Given(Ones(), split, label=5)."
                )
            label = "fits"
        object.__setattr__(self, "within", within)
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "label", _as_label(label))

    def domain(self) -> Points | None:
        return union_of_inputs((self.within, self.split), "the two parts of this Given")

    def bind(self, domain: Domain, num_outputs: int) -> BoundGiven:
        within, split = self.within.bind(domain, num_outputs), self.split.bind(domain, num_outputs)
        size = split.num_classes
        if size is None or size >= MAX_CLASSES:
            raise ValueError(f"Given needs a split whose classes can be numbered; {self.split!r} has too many.")
        check_decided_together((within, split), size + 1)
        return BoundGiven(self, domain.num_inputs, num_outputs, within, split, within.index(self.label))

    def describe(self) -> dict[str, Any]:
        label = list(self.label) if isinstance(self.label, tuple) else self.label
        return {"name": "given", "within": self.within.describe(), "label": label, "split": self.split.describe()}


def _as_label(label: Any) -> Any:
    """A label that can be hashed and written to JSON: sequences as tuples, NumPy numbers as Python's."""
    if isinstance(label, (list, tuple, np.ndarray)):
        return tuple(_as_label(part) for part in label)
    return label.item() if isinstance(label, np.generic) else label


def _is_inner(label: str) -> bool:
    """Whether this is "outside" after any number of "inner "."""
    return label.endswith(OUTSIDE) and not label.removesuffix(OUTSIDE).replace(_INNER, "")


@dataclass(frozen=True, eq=False)
class BoundGiven(BoundClassifier):
    within: BoundClassifier
    split: BoundClassifier
    wanted: int  # the class number of ``within`` that is given

    @property
    def num_classes(self) -> int:
        return (self.split.num_classes or 0) + 1

    @property
    def outside(self) -> int:
        """The number of the class "outside", the last one."""
        return self.num_classes - 1

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
