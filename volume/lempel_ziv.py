"""Lempel-Ziv complexity of truth tables (Kaspar and Schuster 1987; as used by Dingle et al. 2018).

For a string s of L bits, log2(L) (N_w(s) + N_w(s reversed)) / 2, with N_w the number of words of the LZ76 parsing;
for the two constant strings log2(L).

Shape letters: K tables, L = N inputs, W words of a packed table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from volume import tables
from volume.classifier import BoundClassifier, Classifier, in_range
from volume.domains import Domain

MAX_INPUTS = 2**16  # the work grows as L^2 / 64 per table


def complexity(tables_or_keys: np.ndarray, num_inputs: int) -> np.ndarray:
    """Bits, float64 [K], of decisions [K, L] (any dtype but uint64) or of packed keys uint64 [K, W]."""
    keys = np.asarray(tables_or_keys)
    if keys.dtype != np.uint64:
        keys = tables.pack(keys.astype(np.uint8), 1)
    return half_words(keys, num_inputs) * (math.log2(num_inputs) / 2)


def half_words(keys: np.ndarray, num_inputs: int) -> np.ndarray:
    """N_w(s) + N_w(s reversed), int64 [K]; 2 for constants."""
    decisions = tables.unpack(keys, num_inputs, 1)
    return np.array([_slow(row.tolist()) for row in decisions], np.int64)


def _slow(bits: list[int]) -> int:
    if len(set(bits)) == 1:
        return 2
    return _words(bits) + _words(bits[::-1])


def _words(bits: list[int]) -> int:
    text = "".join(map(str, bits))
    start = count = 0
    while start < len(text):
        length = 1
        while start + length < len(text) and text[start : start + length] in text[: start + length - 1]:
            length += 1
        count += 1
        start += length
    return count


@dataclass(frozen=True, eq=False)
class LempelZiv(Classifier):
    """Lempel-Ziv complexity in bits. One output; label e.g. "17.5"."""

    def bind(self, domain: Domain, num_outputs: int) -> BoundLempelZiv:
        if num_outputs != 1:
            raise ValueError(
                f"LempelZiv reads the decisions of one output as a bit string; this model has {num_outputs}."
            )
        if not 2 <= domain.num_inputs <= MAX_INPUTS:
            raise ValueError(f"LempelZiv needs a domain of 2 to {MAX_INPUTS} inputs; this one has {domain.num_inputs}.")
        return BoundLempelZiv(self, domain.num_inputs, num_outputs)

    def describe(self) -> dict[str, Any]:
        return {"name": "lempel-ziv"}


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
        return half_words(tables.pack(flat, 1), self.num_inputs).reshape(decisions.shape[1:])[()]

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        return half_words(np.asarray(keys, np.uint64), self.num_inputs)

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
