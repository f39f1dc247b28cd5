"""The class balance: how many inputs a function puts into class 1.

Shape letters: N inputs, K tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from volume.classifiers.base import BoundClassifier, Classifier
from volume.classifiers.class_numbers import as_index, in_range, is_whole
from volume.functions.domains import Domain
from volume.functions.importance import ImportanceFunction, right_counts


@dataclass(frozen=True, eq=False)
class Ones(Classifier):
    """The number T of inputs in class 1, the class balance: classes "0" to "N". One output."""

    kind: ClassVar[str] = "ones"

    def bind(self, domain: Domain, num_outputs: int) -> BoundOnes:
        if num_outputs != 1:
            raise ValueError(f"Ones counts the inputs in class 1 of one output; this model has {num_outputs}.")
        return BoundOnes(self, domain.num_inputs, num_outputs)


@dataclass(frozen=True, eq=False)
class BoundOnes(BoundClassifier):
    @property
    def num_classes(self) -> int:
        return self.num_inputs + 1

    def classify(self, decisions: Any) -> Any:
        return as_index(decisions.sum(axis=0, dtype=np.int32))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        ones = np.zeros(len(keys), np.int64)
        for word in range(keys.shape[1]):  # a sum over the short axis would be slower
            ones += np.bitwise_count(keys[:, word])
        return ones

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        return right_counts(np.arange(self.num_inputs), np.ones(self.num_inputs, int), index, index)

    def label(self, index: int) -> str:
        return str(in_range(index, self.num_classes))

    def index(self, label: Any) -> int:
        text = label if isinstance(label, str) else str(int(label)) if is_whole(label) else ""
        if text.isdecimal() and str(int(text)) == text and int(text) <= self.num_inputs:
            return int(text)
        raise KeyError(f"Ones has the classes '0' to '{self.num_inputs}'; got {label!r}.")
