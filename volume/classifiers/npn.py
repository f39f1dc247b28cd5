"""NPN classes: functions of at most 4 binary digits up to permuting and negating inputs and negating the output.

There are 2, 4, 14 and 222 of them for n = 1, 2, 3 and 4 digits (OEIS A000370).

Shape letters: K tables, N = 2^n inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from volume.classifiers.base import BoundClassifier, Classifier
from volume.classifiers.class_numbers import in_range, look_up
from volume.functions import tables
from volume.functions.canonical import TableGroup
from volume.functions.domains import BooleanCube, Domain

MAX_DIGITS = 4  # 65,536 functions, all of them in one table; 5 digits have 4 billion


@dataclass(frozen=True, eq=False)
class NPN(Classifier):
    """The NPN class of a function of 1 to 4 binary digits, labelled by its least table, e.g. "0001" for AND types.

    One output, on a `BooleanCube`. ``report[label]`` takes any table of the class. Whether the members of a class have
    equal volumes is another question, which depends on the prior: ``symmetry="pooled"`` asks it.
    """

    kind: ClassVar[str] = "npn"

    def bind(self, domain: Domain, num_outputs: int) -> BoundNPN:
        if num_outputs != 1:
            raise ValueError(f"NPN classes are of functions with one output; this model has {num_outputs}.")
        if not isinstance(domain, BooleanCube) or domain.n > MAX_DIGITS:
            raise ValueError(
                f"NPN classes are of functions on all inputs of 1 to {MAX_DIGITS} binary digits, "
                f"volume.BooleanCube(1..{MAX_DIGITS}); got {domain!r}."
            )
        return BoundNPN(self, domain.num_inputs, num_outputs)


@dataclass(frozen=True, eq=False)
class BoundNPN(BoundClassifier):
    """Classes are numbered in the order of their least tables."""

    @property
    def num_classes(self) -> int:
        return len(_classes(self.num_inputs)[0])

    def classify(self, decisions: Any) -> Any:
        number = decisions[0].astype(np.int32)  # the table read as a binary number
        for bit in decisions[1:]:
            number = 2 * number + bit
        return look_up(_classes(self.num_inputs)[1], number)

    def label(self, index: int) -> str:
        return f"{_classes(self.num_inputs)[0][in_range(index, self.num_classes)]:0{self.num_inputs}b}"

    def index(self, label: Any) -> int:
        try:
            decisions = tables.read_label(label, self.num_inputs, 1)
        except ValueError as error:
            raise KeyError(f"An NPN class is named by any of its tables. {error}") from None
        return int(self.classify(decisions))


@lru_cache
def _classes(num_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least table of each class, as a number, ascending; and the class of each table, [2^N]."""
    number = np.arange(1 << num_inputs)
    keys = (number.astype(np.uint64) << np.uint64(64 - num_inputs))[:, None]
    forms = TableGroup(num_inputs.bit_length() - 1, True, True, True).forms(keys).keys[:, 0]
    # The first table of each orbit, in the order of tables, is its least one.
    _, least, orbit = np.unique(forms, return_index=True, return_inverse=True)
    order = np.argsort(least)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return least[order], rank[orbit]
