"""The volume of one class in the limit of infinitely wide hidden layers.

Quantity: P(signs of a Gaussian process at the labelled inputs), the process being the wide limit of the query's
network under its prior (nngp.py). Estimator and interval: orthant.py. The correlations are known to within rounding,
and jitter blurs them; what both can move the answer by is part of its error, and where that would be much the answer
is computed again in more digits (precise.py), or only an upper limit is given.

Shape letters: N inputs of the domain, m labelled inputs, d of their outputs that vary and are no multiples of others.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize

from volume.common.validation import check_level
from volume.estimators.infinite_width.orthant import OrthantEstimate, exact, generator, shared_out
from volume.estimators.infinite_width.outputs import Outputs
from volume.estimators.infinite_width.precise import opposed
from volume.estimators.infinite_width.thin import Orthant
from volume.queries.query import Query

_RANK = 1e-13  # eigenvalues of a d x d correlation matrix below d times this are rounding
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
        What jitter and rounding can move the answer by is in its relative error. Where that would be much the answer
        is computed in two hundred digits, and ``jitter`` is what was used; where that fails there is an upper limit
        alone, and ``resolved`` is False.

    Raises:
        TypeError: no query, or a model or prior without a known limit.
        ValueError: several outputs, another classifier, the class "misses", a negative jitter.
        KeyError: a label that the classifier does not know.
    """
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    check_jitter(jitter)
    positions, labels = labelled(query, label)
    draws = shared_out(samples, replicates)
    generator(seed)
    check_level(level)
    m = len(positions)
    outputs = Outputs(query, positions)
    still, first = outputs.still, outputs.first
    if labels[still].any():
        i = positions[np.argmax(still & (labels == 1))]
        return exact(
            -math.inf,
            level,
            m,
            f"The output at input {i} is always 0, a tie, which is class 0: no network gives 1 there.",
        )
    if still.all():
        return exact(0.0, level, m, "The output at every labelled input is always 0, a tie, which is class 0.")
    signs = 2 * labels - 1
    against = ~still & (signs * outputs.side != signs[first])
    if against.any():
        i = int(np.argmax(against))
        return exact(
            -math.inf,
            level,
            m,
            "No function of the limit has these labels: its outputs at inputs "
            f"{positions[first[i]]} and {positions[i]} are multiples of one another.",
        )
    signs = signs[outputs.chosen]
    values, vectors = np.linalg.eigh(outputs.correlation)
    varies = values > _RANK * len(values)
    notes: tuple[str, ...] = ()
    if not varies.all():
        some = _separation(vectors[:, varies] * np.sqrt(values[varies]), signs)
        matrix = outputs.precise(some, signs) if len(some) else None
        if matrix is not None and opposed(matrix):
            return exact(-math.inf, level, m, "No function of the limit has these labels: its outputs are dependent.")
        notes = (f"The outputs have rank {varies.sum()} of {len(values)}: without jitter the kernel has no factor.",)
    answer = Orthant(outputs, signs, values[0], draws, seed, level).answer(float(jitter))
    return replace(answer, num_variables=m, notes=(*notes, *answer.notes))


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


def _separation(factor: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Give the places of the rows that rule out ``factor`` @ a [m] of these signs for every a in [-1, 1]^r.

    Empty where some a gives the signs by a margin beyond the solver's tolerance.
    """
    m, r = factor.shape
    solution = optimize.linprog(
        np.append(np.zeros(r), -1.0),
        A_ub=np.column_stack([-signs[:, None] * factor, np.ones(m)]),
        b_ub=np.zeros(m),
        bounds=[(-1.0, 1.0)] * r + [(0.0, 1.0)],
        method="highs-ds",  # the simplex method: its multipliers name at most r + 1 rows
    )
    if not solution.success or -solution.fun > _MARGIN:
        return np.zeros(0, int)
    weights = -np.asarray(solution.ineqlin.marginals)
    return np.flatnonzero(weights > _MARGIN * weights.max())
