"""The volume of one class in the limit of infinitely wide hidden layers.

Quantity: P(signs of a Gaussian process at the labelled inputs), the process being the wide limit of the query's
network under its prior (nngp.py). Estimator and interval: orthant.py.

Shape letters: N inputs of the domain, m labelled inputs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize

from volume.estimators.infinite_width.nngp import nngp_kernel
from volume.estimators.infinite_width.orthant import OrthantEstimate, exact, log_orthant
from volume.queries.query import Query

_RANK = 1e-13  # eigenvalues of an m x m correlation matrix below m times this are rounding
_MARGIN = 1e-7  # of linear programming's feasibility, in standard deviations of an output


def infinite_width(
    query: Query,
    label: Any = "fits",
    *,
    samples: int = 20_000,
    replicates: int = 16,
    seed: int = 0,
    level: float = 0.95,
    jitter: float = 1e-10,
) -> OrthantEstimate:
    """Estimate the volume of one class of ``query`` were its hidden layers infinitely wide.

    Args:
        query: an `MLP` or `Perceptron` of one output under a `Gaussian` prior, with the classifier `TruthTable` or
            `Fits`. Hidden widths are not looked at; a perceptron's answer is no limit but its volume.
        label: the truth table; for `Fits` "fits".
        samples: draws in all, as in `log_orthant`.
        replicates: independent randomisations, at least 8.
        seed: a whole number in [0, 2^64).
        level: coverage of the interval.
        jitter: fraction of each output's variance that is added to it as independent noise, so that the kernel can be
            factorised. Stated in the result.

    Returns:
        The log probability with its interval. Inputs whose output is exactly 0 tie, and a tie is class 0: a 0 there
        costs nothing. A class that no function of the limit is in has log probability -inf, and a note that says why.

    Raises:
        TypeError: no query, or a model or prior without a known limit.
        ValueError: several outputs, another classifier, the class "misses", a negative jitter.
        KeyError: a label that the classifier does not know.
    """
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    check_jitter(jitter)
    positions, labels = labelled(query, label)
    kernel = nngp_kernel(query.model, query.prior, query.domain.inputs[positions])  # type: ignore[arg-type]
    m = len(positions)
    still = np.diagonal(kernel) == 0
    if labels[still].any():
        i = positions[np.argmax(still & (labels == 1))]
        return exact(
            -math.inf,
            level,
            m,
            f"The output at input {i} is always 0, a tie, which is class 0: no network gives 1 there.",
        )
    kernel, labels = kernel[~still][:, ~still], labels[~still]
    if not len(labels):
        return exact(0.0, level, m, "The output at every labelled input is always 0, a tie, which is class 0.")
    signs = 2 * labels - 1
    scale = np.sqrt(np.diagonal(kernel))
    values, vectors = np.linalg.eigh(kernel / np.outer(scale, scale))
    varies = values > _RANK * len(values)
    notes: tuple[str, ...] = ()
    if not varies.all():
        if not _separable(vectors[:, varies] * np.sqrt(values[varies]), signs):
            return exact(-math.inf, level, m, "No function of the limit has these labels: its outputs are dependent.")
        notes = (f"The outputs have rank {varies.sum()} of {len(values)}: without jitter the kernel has no factor.",)
    estimate = log_orthant(
        kernel + jitter * np.diag(np.diagonal(kernel)),
        signs,
        samples=samples,
        replicates=replicates,
        seed=seed,
        level=level,
    )
    return replace(estimate, num_variables=m, jitter=float(jitter), notes=(*notes, *estimate.notes))


def check_jitter(jitter: Any) -> None:
    """Raise ValueError unless ``jitter`` is a finite number of at least 0."""
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter < math.inf:
        raise ValueError(f"jitter={jitter!r} is not a number of at least 0: give for example jitter=1e-10.")


def check_one_output(query: Query) -> None:
    """Raise ValueError unless the model has one output, for which the limit is answered."""
    if query.model.num_outputs != 1:
        raise ValueError(
            f"The wide limit is answered for one output, this model has {query.model.num_outputs}: use volume.Direct."
        )


def labelled(query: Query, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give the positions in the domain and the labels 0 or 1 that make up a class, [m] each.

    Raises:
        ValueError: several outputs, or a class that is no sign pattern.
        KeyError: a label that the classifier does not know.
    """
    check_one_output(query)
    bound = query.bound
    required = bound.required_labels(bound.index(label))
    if required is None:
        raise ValueError(
            f"The class {label!r} of {query.classifier!r} is no sign pattern: ask for TruthTable or Fits ('misses' has "
            "1 minus the probability of 'fits'), or use volume.Direct."
        )
    positions, first = np.unique(required[0], return_index=True)  # a row may be given twice
    return positions, required[1][first].astype(int)


def _separable(factor: np.ndarray, signs: np.ndarray) -> bool:
    """Whether some a in [-1, 1]^r gives factor @ a [m] these signs, by a margin beyond the solver's tolerance."""
    m, r = factor.shape
    solution = optimize.linprog(
        np.append(np.zeros(r), -1.0),
        A_ub=np.column_stack([-signs[:, None] * factor, np.ones(m)]),
        b_ub=np.zeros(m),
        bounds=[(-1.0, 1.0)] * r + [(0.0, 1.0)],
    )
    return not (solution.success and -solution.fun <= _MARGIN)
