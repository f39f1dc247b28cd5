"""A simplicity prior over functions, beside the counting measure: no network, no parameters.

Every function f of N inputs gets the weight 2^-K(f), K its Lempel-Ziv complexity in bits
(volume.classifiers.lempel_ziv), divided by the sum over all 2^N functions. The shares of classes are exact: all tables
are enumerated, so N is at most 16. K is one computable stand-in for Kolmogorov complexity among many, and depends on
the order of the domain's inputs.

Shape letters: N inputs, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from volume.classifiers.base import Classifier
from volume.classifiers.truth_table import TruthTable
from volume.functions import lempel_ziv
from volume.functions.domains import Domain, Points

MAX_INPUTS = 16  # 65,536 tables; at 32 inputs there are 65,536 times as many


@dataclass(frozen=True, eq=False)
class SimplicityMeasure:
    """The classes of functions, heaviest first, with their share of the simplicity measure and of all functions."""

    num_inputs: int
    log_total: float  # natural log of the sum of 2^-K over all functions
    labels: tuple[str, ...]  # [K], the classes that hold a function
    log_shares: np.ndarray  # [K], natural logs
    num_functions: np.ndarray  # int64 [K]

    def __getitem__(self, label: str) -> float:
        """The natural log of one class's share; KeyError for a class that holds no function."""
        try:
            return float(self.log_shares[self.labels.index(str(label))])
        except ValueError:
            raise KeyError(f"No function is in a class {label!r}; there are {_few(self.labels)}.") from None

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """(label, log share) of every class, heaviest first."""
        return zip(self.labels, self.log_shares.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def log_function_shares(self) -> np.ndarray:
        """The counting measure on the same classes, natural logs [K]."""
        return np.log(self.num_functions) - self.num_inputs * math.log(2)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        rows = zip(self.labels, self.log_shares.tolist(), self.num_functions.tolist(), strict=True)
        return {
            "measure": "2^-K, K the Lempel-Ziv complexity in bits",
            "num_inputs": self.num_inputs,
            "log_total": self.log_total,
            "classes": [{"label": label, "log_share": log, "num_functions": count} for label, log, count in rows],
        }


def simplicity_measure(domain: Domain | int, classifier: Classifier | None = None) -> SimplicityMeasure:
    """Return the exact share of every class in the measure 2^-K over all functions of one output on a domain.

    Args:
        domain: 2 to 16 inputs, or their number where the classifier does not name inputs.
        classifier: any that is a function of the truth table; by default every function is its own class. A share
            within a class is a quotient of two: classify by the product, ``Fits(...) * Accuracy(...)``.

    Raises:
        TypeError: a domain that is none, a `Predicate`, which needs a network's outputs.
        ValueError: fewer than 2 or more than 16 inputs.
    """
    if isinstance(domain, (int, np.integer)) and not isinstance(domain, bool):
        num_inputs, inputs = int(domain), None
    elif isinstance(domain, Domain):
        num_inputs, inputs = domain.num_inputs, domain
    else:
        raise TypeError(f"domain is {domain!r}; give a domain such as volume.BooleanCube(3), or a number of inputs.")
    if not 2 <= num_inputs <= MAX_INPUTS:
        raise ValueError(
            f"The simplicity measure enumerates all 2^N functions, for N from 2 to {MAX_INPUTS} inputs; this domain has"
            f" {num_inputs}: take a part of it."
        )
    inputs = inputs if inputs is not None else Points(np.arange(num_inputs)[:, None])
    bound = (classifier if classifier is not None else TruthTable()).bind(inputs, 1)
    if not bound.of_table:
        raise TypeError(f"{classifier} reads a network's outputs; the simplicity measure knows functions only.")
    # Keys in the order of labels: the first input at the most significant bit.
    keys = np.arange(2**num_inputs, dtype=np.uint64)[:, None] << np.uint64(64 - num_inputs)
    log_weights = -math.log(2) * lempel_ziv.complexity(keys, num_inputs)
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    if bound.num_classes is None:  # every table is its own class
        ids, labels = np.arange(len(keys)), bound.labels(keys)
    else:
        classes, ids = np.unique(bound.classify_keys(keys), return_inverse=True)
        labels = [bound.label(index) for index in classes.tolist()]
    log_total = float(top + math.log(math.fsum(weights)))
    log_shares = np.log(np.bincount(ids, weights)) + top - log_total
    order = np.argsort(-log_shares, kind="stable")
    return SimplicityMeasure(
        num_inputs,
        log_total,
        tuple(labels[i] for i in order),
        log_shares[order],
        np.bincount(ids)[order],
    )


def _few(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
