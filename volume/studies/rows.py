"""The rows of the table of measures, and how functions divide among them.

Quantity: the share of the functions that fit which have k of M other inputs right, k in a class b: the sum of
C(M, k) C^-k (1 - 1/C)^(M - k), the counting measure being uniform. Exact up to rounding (relative error 1e-9 for
M up to 1e6, by log-gamma functions).

Shape letters: C classes of one input, M other inputs, K rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from volume.classifiers.defects import BENIGN, DEFECTS, BoundOnTrigger
from volume.classifiers.labels import BoundAccuracy


@dataclass(frozen=True)
class Row:
    """One class of behaviour on the other inputs."""

    label: str  # of the class in the query
    words: str  # for people
    fewest: int | None  # right answers, both ends included; None where they do not decide the class
    most: int | None

    @property
    def counts(self) -> str:
        """For example "58 to 63"."""
        if self.fewest is None:
            return ""
        return f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Row:
        return cls(record["label"], record["words"], record["right_at_least"], record["right_at_most"])

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "words": self.words, "right_at_least": self.fewest, "right_at_most": self.most}


def rows_of(split: BoundAccuracy | BoundOnTrigger) -> tuple[Row, ...]:
    """[K] rows, in the order of the class numbers."""
    return tuple(_row(split, index) for index in range(split.num_classes))


def _row(split: BoundAccuracy | BoundOnTrigger, index: int) -> Row:
    label = split.label(index)
    if isinstance(split, BoundAccuracy):
        total, right = len(split.labels_at), split.counts_in(index)
        if not len(right):
            return Row(label, f"{label} (no count)", None, None)
        if right[0] == right[-1]:
            words = {0: "all wrong", total: "all right"}.get(int(right[0]), f"{right[0]} right")
        elif split.edges is None:
            words = label
        else:
            low, high = (f"{100 * edge:.4g}" for edge in split.edges[index : index + 2])
            last = split.edges[index + 1] > 1 - 0.75 / total
            words = f"{low} % and more" if last else f"{low} to {high} %" if index else f"below {high} %"
            if last and right[-1] < total:
                words = f"{low} %, not all"
        return Row(label, words, int(right[0]), int(right[-1]))
    counted = split.counted(index)
    words = {BENIGN: "benign: all right", DEFECTS: "defects: all wrong"}.get(label, label)
    if label == DEFECTS and split.hit is not None:
        words = "defects: the target label"
    if counted is None or (split.hit is not None and index):
        return Row(label, words, None, None)
    right = counted[1]
    return Row(label, words, int(right[0]), int(right[-1])) if len(right) else Row(label, words, None, None)


def log_binomial(num: int, num_classes: int) -> np.ndarray:
    """log P(Binomial(M, 1/C) = k), k = 0..M, natural [M + 1]."""
    k = np.arange(num + 1)
    ways = special.gammaln(num + 1) - special.gammaln(k + 1) - special.gammaln(num - k + 1)
    return ways - num * math.log(num_classes) + (num - k) * math.log(num_classes - 1)


def function_shares(split: BoundAccuracy | BoundOnTrigger, num_classes: int) -> list[float]:
    """Natural logs [K] of the share of every class among the functions that fit; the other inputs are free."""
    if isinstance(split, BoundAccuracy):
        logs = log_binomial(len(split.labels_at), num_classes)
        return [_log_sum(logs[split.counts_in(index)]) for index in range(split.num_classes)]
    if split.hit is None:
        found = [split.counted(index) for index in range(split.num_classes)]
        logs = log_binomial(len(split.right.labels_at), num_classes)
        return [_log_sum(logs[counted[1]]) for counted in found if counted is not None]
    # One label is the defect: an input is right, hit or neither. All right is benign, not the class of no hit.
    num = len(split.right.labels_at)
    benign = -num * math.log(num_classes)
    hits = log_binomial(num, num_classes)
    others = num * math.log(num_classes - 1)  # functions without a hit, of which one is benign
    hits[0] = benign + (others + math.log(-math.expm1(-others)) if others > 0 else -math.inf)
    classes = split.class_of_wrong()
    return [benign, *(_log_sum(hits[classes == index]) for index in range(1, split.num_classes))]


def _log_sum(logs: np.ndarray) -> float:
    return float(special.logsumexp(logs)) if len(logs) else -math.inf
