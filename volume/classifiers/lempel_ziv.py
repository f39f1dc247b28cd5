"""Lempel-Ziv complexity of a function's truth table, as `volume.functions.lempel_ziv` defines it.

Shape letters: K tables, L inputs (bits of a string).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from volume.classifiers.base import BoundClassifier, Classifier
from volume.classifiers.class_numbers import in_range
from volume.functions.domains import Domain
from volume.functions.lempel_ziv import MAX_INPUTS, num_words


@dataclass(frozen=True, eq=False)
class LempelZiv(Classifier):
    """Lempel-Ziv complexity in bits. One output; label e.g. "17.5"."""

    kind: ClassVar[str] = "lempel-ziv"

    def bind(self, domain: Domain, num_outputs: int) -> BoundLempelZiv:
        if num_outputs != 1:
            raise ValueError(
                f"LempelZiv reads the decisions of one output as a bit string; this model has {num_outputs}."
            )
        if not 2 <= domain.num_inputs <= MAX_INPUTS:
            raise ValueError(f"LempelZiv needs a domain of 2 to {MAX_INPUTS} inputs; this one has {domain.num_inputs}.")
        return BoundLempelZiv(self, domain.num_inputs, num_outputs)


@dataclass(frozen=True, eq=False)
class BoundLempelZiv(BoundClassifier):
    """Class number: words of the parsing summed over both directions; 2 for constants."""

    @property
    def num_classes(self) -> int:
        return 2 * self.num_inputs + 1

    @property
    def route(self) -> Literal["table", "device"]:
        return "table"

    def classify(self, decisions: Any) -> Any:
        decisions = np.asarray(decisions)
        flat = np.ascontiguousarray(decisions.reshape(self.num_inputs, -1).T).astype(np.uint8)
        return num_words(flat, self.num_inputs).reshape(decisions.shape[1:])[()]

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        return num_words(np.asarray(keys, np.uint64), self.num_inputs)

    def label(self, index: int) -> str:
        return f"{in_range(index, self.num_classes) * math.log2(self.num_inputs) / 2:.6g}"

    def index(self, label: Any) -> int:
        step = math.log2(self.num_inputs) / 2
        try:
            value = float(label)
            nearest = round(value / step)
            if 0 <= nearest < self.num_classes and abs(value - nearest * step) <= 1e-5 * max(1, value):
                return nearest
        except (TypeError, ValueError, OverflowError):
            pass
        raise KeyError(f"Lempel-Ziv complexities of {self.num_inputs} bits are multiples of {step:.6g}; got {label!r}.")
