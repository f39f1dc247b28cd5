"""The volume of one class in the limit of infinitely wide hidden layers.

Quantity: P(signs of a Gaussian process at the labelled inputs), the process being the wide limit of the query's
network under its prior (nngp.py). Estimator and interval: orthant.py. The correlations are known to within rounding,
and jitter blurs them; what both can move the answer by is part of its error, and where that would be much the answer
is computed again in more digits (precise.py), or only an upper limit is given.

Shape letters: N inputs of the domain, m labelled inputs, d of their outputs that vary and are no multiples of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import ndtr, ndtri_exp

from volume.common.validation import check_level
from volume.estimators.infinite_width.orthant import (
    OrthantEstimate,
    at_most,
    estimated,
    exact,
    generator,
    log_orthant,
    shared_out,
)
from volume.estimators.infinite_width.outputs import Outputs
from volume.estimators.infinite_width.precise import cholesky, opposed
from volume.estimators.infinite_width.tilting import Problem, factored, order, rounding, saddle
from volume.queries.query import Query

_RANK = 1e-13  # eigenvalues of a d x d correlation matrix below d times this are rounding
_MARGIN = 1e-7  # of linear programming's feasibility, in standard deviations of an output
_FINE = 1e-3  # nats that rounding and jitter may move an answer by before another is looked for
_COARSE = 0.03  # nats beyond which it is none
_RARE = 30.0  # nats: noise rarer than the class by this is left out
_NOISE = 6.0  # standard deviations of noise that upper limits allow for: more has probability 1e-9 an output
_FINER = (1e-20, 1e-26, 1e-32)  # jitters in two hundred digits


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
        pair = f"those at inputs {positions[first[i]]} and {positions[i]} are multiples of one another"
        return exact(
            -math.inf, level, m, f"No function of the limit has these labels: its outputs are dependent, {pair}."
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
    class_ = _Class(outputs, signs, values[0], draws, samples, seed, level)
    best: _Answer | None = None
    for answer in class_.answers(float(jitter)):
        if best is None or answer.slack < best.slack:
            best = answer
        if best.slack <= _FINE:
            break
    if best is None or best.slack > _COARSE:
        limit = at_most(class_.bound, level, m, float(jitter), *notes, _LIMIT)
    else:
        limit = best.widened(m, notes)
    return limit


_LIMIT = (
    "The class is so thin that jitter or rounding of the kernel decides its volume, or it is empty: an upper limit is "
    "all that is known."
)


class _Answer(NamedTuple):
    """An estimate for outputs that rounding and jitter have moved."""

    estimate: OrthantEstimate
    slack: float  # nats by which that moves the log probability at most

    def widened(self, num_variables: int, notes: tuple[str, ...]) -> OrthantEstimate:
        """Take the slack into the interval: it is twice in the error, for Student's quantile is at least 1/2."""
        was = self.estimate
        return replace(
            was,
            relative_error=was.relative_error + 2 * self.slack,
            log_bound=was.log_bound + self.slack,
            num_variables=num_variables,
            notes=(*notes, *was.notes),
        ).at_level(was.level)


class _Class:
    """The orthant of d outputs that must have these signs, answered in several ways."""

    def __init__(
        self,
        outputs: Outputs,
        signs: np.ndarray,
        least: float,
        draws: tuple[int, int],
        samples: int,
        seed: int,
        level: float,
    ):
        self._outputs, self._signs, self._least = outputs, signs, least - outputs.error
        self._draws, self._samples, self._seed, self._level = draws, samples, seed, level
        self._size = len(signs)
        self._flipped = outputs.correlation * np.outer(signs, signs)
        self.bound = self._pairs()  # an upper bound of the log probability

    def answers(self, jitter: float) -> Iterator[_Answer]:
        """Answer in double precision with this jitter, then in more digits with less of it."""
        slack = self._conditioned(jitter)
        if slack <= _FINE:
            yield _Answer(self._ordinary(jitter), slack)
            return
        problem = self._ordered(max(jitter, 1e-12, 2 * self._outputs.error))
        if jitter >= self._outputs.error:
            yield from self._blurred(self._ordered(jitter), math.sqrt(jitter + self._outputs.error), jitter, ())
        if slack <= _COARSE:
            yield _Answer(self._ordinary(jitter), slack)
        matrix = self._outputs.precise(np.arange(self._size), self._signs)
        if matrix is None:
            return
        matrix = matrix[problem.index][:, problem.index]
        note = f"A jitter of {jitter:g} or rounding would decide: computed in two hundred digits "
        factor = cholesky(matrix, 0.0)
        if factor is not None:
            yield from self._sharp(factored(factor, problem.index), (note + "without jitter.",))
            return
        for finer in _FINER:
            factor = cholesky(matrix, finer)
            if factor is not None:
                finest = factored(factor, problem.index)
                yield from self._blurred(finest, math.sqrt(finer), finer, (f"{note}with a jitter of {finer:g}.",))

    def _conditioned(self, jitter: float) -> float:
        """Give the nats that jitter and rounding move the log probability by at most, from the least eigenvalue.

        Where (1 - a) C <= B <= (1 + b) C in the order of definite matrices, densities of N(0, B) and N(0, C) and so
        the probabilities of cones differ by factors of at most (1 + b)^(d / 2) and (1 - a)^(-d / 2) or so.
        """
        error = self._outputs.error
        ratio = (jitter + 2 * error) / self._least if self._least > 0 else math.inf
        return 0.5 * self._size * ratio * (1 + ratio)

    def _ordinary(self, jitter: float) -> OrthantEstimate:
        replicates = self._draws[0]
        matrix = self._outputs.correlation + jitter * np.eye(self._size)
        kinds = {"samples": self._samples, "replicates": replicates, "seed": self._seed, "level": self._level}
        return replace(log_orthant(matrix, self._signs, **kinds), jitter=jitter)

    def _ordered(self, jitter: float) -> Problem:
        matrix = (self._flipped + jitter * np.eye(self._size)) / (1 + jitter)
        return order(matrix, np.zeros(self._size), np.full(self._size, np.inf))

    def _sharp(self, problem: Problem, notes: tuple[str, ...]) -> Iterator[_Answer]:
        """Answer from a factor that is exact but for the last digit of its entries."""
        tilt = saddle(problem)
        if tilt.converged:
            rng = generator(self._seed)
            moved = rounding(problem, tilt.mu, rng.random((self._size, 256)))
            estimate = estimated(problem, tilt, self._size, self._draws, rng, self._level, notes=notes)
            yield _Answer(estimate, moved)

    def _blurred(self, problem: Problem, noise: float, jitter: float, notes: tuple[str, ...]) -> Iterator[_Answer]:
        """Answer for outputs f from those with noise, f + e, e of standard deviations of at most ``noise``.

        Up to e beyond c noise, which has probability d Phi(-c), f > 0 where f + e > c noise, and only where f + e >
        -c noise: what the probability is there and there says how far the noise moves it. The bound at the saddle point
        of the latter is one for f.
        """
        d = self._size

        def moved(shift: float) -> Problem:
            return problem._replace(lower=np.full(d, shift) / problem.pivots)

        loose = saddle(moved(-_NOISE * noise))
        self.bound = min(self.bound, loose.bound - math.log1p(-d * float(ndtr(-_NOISE))))
        reach = -float(ndtri_exp(self.bound - _RARE - math.log(d)))
        found = []
        for shift in (reach, 0.0, -reach):
            shifted = moved(shift * noise)
            tilt = saddle(shifted)
            if not tilt.converged:
                return
            found.append(
                estimated(shifted, tilt, d, self._draws, generator(self._seed), self._level, jitter=jitter, notes=notes)
            )
        if not all(each.resolved for each in found):
            return
        low, middle, high = (each.log_probability for each in found)
        left_out = math.exp(min(self.bound - _RARE - low, 0.0))
        yield _Answer(found[1], max(high - middle, middle - low) + left_out)

    def _pairs(self) -> float:
        """Bound the log probability by that of the least likely pair, with the pair's error."""
        if self._size < 2:
            return math.log(0.5)
        upper = np.triu_indices(self._size, 1)
        least = (self._flipped + self._outputs.pair_error)[upper].min()
        return math.log(math.acos(-min(least, 1.0)) / (2 * math.pi))


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
