"""Classifiers by how many labels a function gives, and how all functions divide among their classes.

Quantity: the share of the functions that have k of M labels right, k in a class: the sum of
C(M, k) C^-k (1 - 1/C)^(M - k), the counting measure being uniform. Exact up to rounding (relative error 1e-9 for
M up to 1e6, by log-gamma functions).

Shape letters: C classes of one input, M inputs with labels, K classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import special

from volume.classifiers.base import BoundClassifier


@dataclass(frozen=True, eq=False)
class Graded(BoundClassifier):
    """A classifier by right answers to labels: what a table of measures can divide by."""

    @property
    @abstractmethod
    def graded_inputs(self) -> np.ndarray:
        """The inputs of the domain that have labels, int64 [M]."""

    @abstractmethod
    def counts_in(self, index: int) -> np.ndarray:
        """Return the numbers of right answers, ascending, that make up a class; none where they do not decide it."""

    def words(self, index: int) -> str:
        """Return what a class is called in a table for people."""
        return self.label(index)

    def log_function_shares(self, num_classes: int) -> list[float]:
        """Return the natural logs [K] of the share of every class among all functions with ``num_classes`` labels."""
        logs = log_binomial(len(self.graded_inputs), num_classes)
        return [log_sum(logs[self.counts_in(index)]) for index in range(self.num_classes or 0)]


def log_binomial(num: int, num_classes: int) -> np.ndarray:
    """Return log P(Binomial(M, 1/C) = k), k = 0..M, natural [M + 1]."""
    k = np.arange(num + 1)
    ways = special.gammaln(num + 1) - special.gammaln(k + 1) - special.gammaln(num - k + 1)
    return ways - num * math.log(num_classes) + (num - k) * math.log(num_classes - 1)


def log_sum(logs: np.ndarray) -> float:
    """Return the log of the sum of what these are logs of; -inf for none."""
    return float(special.logsumexp(logs)) if len(logs) else -math.inf
