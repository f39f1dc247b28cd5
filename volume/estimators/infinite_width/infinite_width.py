"""The volume of one class in the limit of infinitely wide hidden layers.

Quantity: P(signs of a Gaussian process at the labelled inputs), the process being the wide limit of the query's
network under its prior (nngp.py). Estimator and interval: orthant.py.

Shape letters: N inputs of the domain, m labelled inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import ndtr

from volume.common.validation import check_level
from volume.estimators.infinite_width.nngp import nngp_kernel
from volume.estimators.infinite_width.orthant import (
    OrthantEstimate,
    at_most,
    estimated,
    exact,
    generator,
    log_orthant,
    shared_out,
)
from volume.estimators.infinite_width.precise import LARGEST, Kernel, cholesky, correlations, opposed, precise_kernel
from volume.estimators.infinite_width.tilting import Problem, factored, order, saddle
from volume.queries.query import Query

_RANK = 1e-13  # eigenvalues of an m x m correlation matrix below m times this are rounding
_MARGIN = 1e-7  # of linear programming's feasibility, in standard deviations of an output
_RANGE = 1e-200, 1e200  # of variances whose products and roots are safe in double precision
_THIN = 1e4  # times the jitter: an eigenvalue above it is not moved by the jitter
_NOISE = 6.0  # standard deviations of the jitter's noise that limits allow for: more has probability 1e-9 an output
_SENSITIVE = 0.05  # nats by which that noise may move the probability before the jitter is said to decide
_FINER = (0.0, 1e-20, 1e-26, 1e-32)  # jitters in a hundred digits; without any unless outputs are dependent


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
        Where the jitter would decide the answer is computed without it in a hundred digits, and ``jitter`` is what was
        used; where that fails there is an upper limit alone, and ``resolved`` is False.

    Raises:
        TypeError: no query, or a model or prior without a known limit.
        ValueError: several outputs, another classifier, the class "misses", a negative jitter.
        KeyError: a label that the classifier does not know.
    """
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    check_jitter(jitter)
    positions, labels = labelled(query, label)
    draws, rng = shared_out(samples, replicates), generator(seed)
    check_level(level)
    m = len(positions)
    kernel = _Kernel(query, positions)
    if labels[kernel.still].any():
        i = positions[np.argmax(kernel.still & (labels == 1))]
        return exact(
            -math.inf,
            level,
            m,
            f"The output at input {i} is always 0, a tie, which is class 0: no network gives 1 there.",
        )
    labels = labels[~kernel.still]
    if not len(labels):
        return exact(0.0, level, m, "The output at every labelled input is always 0, a tie, which is class 0.")
    signs = 2 * labels - 1
    values, vectors = np.linalg.eigh(kernel.correlation)
    varies = values > _RANK * len(values)
    notes: tuple[str, ...] = ()
    ruled_out = False
    if not varies.all():
        against = _separation(vectors[:, varies] * np.sqrt(values[varies]), signs)
        if len(against) and opposed(kernel.precise(against, signs)):
            return exact(-math.inf, level, m, "No function of the limit has these labels: its outputs are dependent.")
        ruled_out = len(against) > 0
        notes = (f"The outputs have rank {varies.sum()} of {len(values)}: without jitter the kernel has no factor.",)
    thin = values[0] < _THIN * jitter or not varies.all()
    bound = math.inf
    if thin:
        flipped = (kernel.correlation * np.outer(signs, signs) + jitter * np.eye(len(signs))) / (1 + jitter)
        if jitter:
            zero, free = np.zeros(len(signs)), np.full(len(signs), np.inf)
            bound, decides = _sensitivity(lambda shift: order(flipped, zero + shift, free), jitter, ruled_out)
        else:
            decides = True
        if decides:
            return _in_a_hundred_digits(kernel, signs, m, jitter, bound, draws, rng, level)
    estimate = log_orthant(
        kernel.correlation + jitter * np.eye(len(signs)),
        signs,
        samples=samples,
        replicates=replicates,
        seed=seed,
        level=level,
    )
    return replace(estimate, num_variables=m, jitter=float(jitter), notes=(*notes, *estimate.notes))


class _Kernel:
    """Correlations of the outputs at some inputs, in double precision and, where asked, in a hundred digits."""

    def __init__(self, query: Query, positions: np.ndarray):
        self._query = query
        inputs = query.domain.inputs[positions]
        with np.errstate(all="ignore"):
            kernel = nngp_kernel(query.model, query.prior, inputs)  # type: ignore[arg-type]
        variances = np.diagonal(kernel)
        safe = (variances > _RANGE[0]) & (variances < _RANGE[1])
        if (safe | ~inputs.any(axis=1)).all():
            self.still = variances == 0  # [m] whether the output is always 0
            self._inputs = inputs[~self.still]
            kernel = kernel[~self.still][:, ~self.still]
            scale = np.sqrt(np.diagonal(kernel))
            self.correlation = kernel / np.outer(scale, scale)
        else:  # it underflows or overflows
            exact_kernel = precise_kernel(query.model, query.prior, inputs)  # type: ignore[arg-type]
            self.still = np.diagonal(exact_kernel) == 0
            self._inputs = inputs[~self.still]
            self.correlation = self.precise(np.arange(len(self._inputs)), np.ones(len(self._inputs), int)).astype(float)

    def precise(self, chosen: np.ndarray, signs: np.ndarray) -> Kernel:
        """Give correlations [k, k] in a hundred digits, times signs, at some places of the outputs that vary."""
        kernel = precise_kernel(self._query.model, self._query.prior, self._inputs[chosen])  # type: ignore[arg-type]
        return correlations(kernel, signs[chosen])


def _sensitivity(problem: Callable[[float], Problem], jitter: float, decides: bool = False) -> tuple[float, bool]:
    """Give an upper bound of the log probability without jitter, and whether the jitter decides.

    Outputs f with noise e of standard deviation delta = sqrt(jitter) are above -6 delta wherever f is positive and e is
    above -6 delta, so P(f > 0) P(e > -6 delta) <= P(f + e > -6 delta), which the saddle point bounds. The same bound at
    +6 delta, beyond which f is positive, says how much of that is the noise.
    """
    shift = _NOISE * math.sqrt(jitter)
    low = problem(-shift)
    above = saddle(low).bound - math.log1p(-len(low.lower) * float(ndtr(-_NOISE)))
    return above, decides or not above - saddle(problem(shift)).bound <= _SENSITIVE


def _in_a_hundred_digits(
    kernel: _Kernel,
    signs: np.ndarray,
    num_variables: int,
    jitter: float,
    bound: float,
    draws: tuple[int, int],
    rng: np.random.Generator,
    level: float,
) -> OrthantEstimate:
    """Answer for a class that the jitter blurs: by a factor without it, or with far less, else by an upper limit."""
    decides = f"The class is about as thin as a jitter of {jitter:g}, or is ruled out to within it"
    d = len(signs)
    if d <= LARGEST:
        precise = kernel.precise(np.arange(d), signs)
        blurred = kernel.correlation * np.outer(signs, signs)
        coarse = max(jitter, 1e-12)
        index = order((blurred + coarse * np.eye(d)) / (1 + coarse), np.zeros(d), np.full(d, np.inf)).index
        for finer in _FINER:
            factor = cholesky(precise[index][:, index], finer)
            if factor is None:
                continue
            problem = factored(factor, np.zeros(d), index)
            if finer:
                above, still_decides = _sensitivity(lambda s, f=factor: factored(f, np.full(d, s), index), finer)
                bound = min(bound, above)
                if still_decides:
                    continue
            tilt = saddle(problem)
            if tilt.converged:
                how = f"with a jitter of {finer:g}" if finer else "without jitter"
                note = f"{decides}: it was computed in a hundred digits {how}."
                return estimated(problem, tilt, num_variables, draws, rng, level, jitter=finer, notes=(note,))
    return at_most(bound, level, num_variables, jitter, f"{decides}: an upper limit is all that is known.")


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
