"""Classes that several classifiers make together.

Shape letters: N inputs, C outputs, K tables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from volume.classifiers.base import MAX_CLASSES, MAX_DEVICE_CLASSES, BoundClassifier, Classifier, in_range
from volume.functions.domains import Domain, Points
from volume.functions.importance import Every


def union_of_inputs(classifiers: Sequence[Classifier], what: str) -> Points | None:
    """The distinct inputs that these classifiers name, in order of first mention; None when they name none."""
    parts = [part.inputs for each in classifiers if (part := each.domain()) is not None]
    if not parts:
        return None
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"The inputs named by {what} differ in shape: name the domain.")
    rows = np.concatenate(parts)
    _, first = np.unique(rows.reshape(len(rows), -1), axis=0, return_index=True)
    return Points(rows[np.sort(first)])


def check_decided_together(parts: Sequence[BoundClassifier], num_classes: int) -> None:
    """ValueError when one part needs the outputs and another is only decided from stored truth tables, or when the
    classes of one cannot be numbered."""
    for part in parts:
        if part.num_classes is None:
            raise ValueError(
                f"The classes of {part.classifier!r} are single functions, not listed in advance: they cannot be "
                "combined with others. Estimate it alone."
            )
    on_table = [part for part in parts if part.route == "table"]
    if any(part.needs_outputs for part in parts) and (on_table or num_classes > MAX_DEVICE_CLASSES):
        other = f"{on_table[0].classifier} is" if on_table else f"{num_classes} classes are"
        raise ValueError(
            f"A Predicate is decided while drawing, but {other} counted from truth tables afterwards: "
            "use coarser classifiers beside the Predicate, or two runs."
        )


@dataclass(frozen=True, eq=False, init=False)
class Product(Classifier):
    """One class per combination of the factors' classes: "a-label, b-label", or a tuple of labels."""

    factors: tuple[Classifier, ...]

    def __init__(self, *factors: Classifier) -> None:
        from volume.classifiers.descriptions import TruthTable  # that module imports this one

        flat: list[Classifier] = []
        for factor in factors:
            if not isinstance(factor, Classifier):
                raise TypeError(f"Product takes classifiers; got {factor!r}.")
            flat += factor.factors if isinstance(factor, Product) else [factor]
        if len(flat) < 2:
            raise ValueError(f"Product needs two or more classifiers; got {len(flat)}.")
        if any(isinstance(factor, TruthTable) for factor in flat):
            raise ValueError(
                "TruthTable cannot be a factor: a table already determines every class that the decisions decide. "
                "Use TruthTable alone and group its report."
            )
        object.__setattr__(self, "factors", tuple(flat))

    def domain(self) -> Points | None:
        return union_of_inputs(self.factors, "the factors of this product")

    def bind(self, domain: Domain, num_outputs: int) -> BoundProduct:
        bound = BoundProduct(
            self, domain.num_inputs, num_outputs, tuple(factor.bind(domain, num_outputs) for factor in self.factors)
        )
        check_decided_together(bound.factors, bound.num_classes)
        if bound.num_classes > MAX_CLASSES:
            raise ValueError(f"This product has {bound.num_classes} classes, more than 2**62: use coarser factors.")
        return bound

    def describe(self) -> dict[str, Any]:
        return {"name": "product", "factors": [factor.describe() for factor in self.factors]}


@dataclass(frozen=True, eq=False)
class BoundProduct(BoundClassifier):
    """Class numbers in mixed radix, the first factor most significant."""

    factors: tuple[BoundClassifier, ...]

    @property
    def _radices(self) -> list[int]:
        return [factor.num_classes or 0 for factor in self.factors]

    @property
    def num_classes(self) -> int:
        return math.prod(self._radices)

    @property
    def route(self) -> Literal["table", "device"]:
        finite = self.num_classes <= MAX_DEVICE_CLASSES
        return "device" if finite and all(factor.route == "device" for factor in self.factors) else "table"

    @property
    def needs_outputs(self) -> bool:
        return any(factor.needs_outputs for factor in self.factors)

    def _combine(self, classes: Sequence[Any]) -> Any:
        result = classes[0]
        for index, radix in zip(classes[1:], self._radices[1:], strict=True):
            result = result * radix + index
        return result

    def classify(self, decisions: Any) -> Any:
        return self._combine([factor.classify(decisions) for factor in self.factors])

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        return self._combine([factor.classify_outputs(outputs) for factor in self.factors])

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        return self._combine([factor.classify_keys(keys, chunk) for factor in self.factors])

    def importance_function(self, index: int, *, chain: bool = False) -> Every:
        numbered = zip(self.factors, self.digits(index), strict=True)
        return Every(tuple(factor.importance_function(digit, chain=chain) for factor, digit in numbered))

    def label(self, index: int) -> str:
        return ", ".join(factor.label(digit) for factor, digit in zip(self.factors, self.digits(index), strict=True))

    def digits(self, index: int) -> list[int]:
        """The class number of every factor."""
        index, digits = in_range(index, self.num_classes), []
        for radix in self._radices[::-1]:
            index, digit = divmod(index, radix)
            digits.append(digit)
        return digits[::-1]

    def index(self, label: Any) -> int:
        if isinstance(label, (tuple, list)) and len(label) == len(self.factors):
            return self._combine([factor.index(part) for factor, part in zip(self.factors, label, strict=True)])
        if isinstance(label, str):
            # Labels may hold ", " themselves ("[0.5, 1.0]"): try every way to cut.
            pieces = label.split(", ")
            for cuts in itertools.combinations(range(1, len(pieces)), len(self.factors) - 1):
                parts = [", ".join(pieces[i:j]) for i, j in itertools.pairwise((0, *cuts, len(pieces)))]
                try:
                    return self.index(tuple(parts))
                except KeyError:
                    continue
        raise KeyError(
            f"A class of this product is named by {len(self.factors)} labels, as {self.label(0)!r} or as a tuple; "
            f"got {label!r}."
        )
