"""The probability of signs of outputs whose correlations are known to within rounding and need jitter.

Quantity: P(signs of f ~ N(0, C)). The correlations are computed to within an error and given jitter so that they have a
factor. Where the smallest eigenvalue is far above both they hardly move the answer (`_conditioned`). Else the outputs
are f + e with noise e, and the probability is compared with those of the signs' margins above and below 0 that the
noise stays within (`_blurred`). Where that says that the noise matters the correlations are computed in two hundred
digits; where they cannot be, the noise moves the answer's error, or there is an upper limit alone.

Shape letters: d outputs, R replicates, S draws in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri_exp

from volume.estimators.infinite_width.orthant import OrthantEstimate, at_most, estimated, generator, log_orthant
from volume.estimators.infinite_width.outputs import Outputs
from volume.estimators.infinite_width.precise import cholesky
from volume.estimators.infinite_width.tilting import Problem, factored, order, rounding, saddle

_FINE = 1e-3  # nats that rounding and jitter may move an answer by before another is looked for
_COARSE = 0.03  # nats beyond which it is none
_NOTHING = 0.01  # part of the standard error that it is not enlarged by
_RARE = 30.0  # nats: noise rarer than the class by this is left out
_NOISE = 6.0  # standard deviations of noise that upper limits allow for: more has probability 1e-9 an output
_FINER = (1e-20, 1e-26, 1e-32)  # jitters in two hundred digits
_LIMIT = (
    "The class is so thin that jitter or rounding of the kernel decides its volume, or it is empty: an upper limit is "
    "all that is known."
)


class _Answer(NamedTuple):
    """An estimate for outputs that rounding and jitter have moved."""

    estimate: OrthantEstimate
    slack: float  # nats by which that moves the log probability at most

    @property
    def error(self) -> float:
        """The relative error with the slack, twice: Student's quantile is at least 1/2."""
        return self.estimate.relative_error + 2 * self.slack

    @property
    def settled(self) -> bool:
        """Whether another answer would hardly be better."""
        return self.slack <= max(_FINE, self.estimate.relative_error / 4)

    def widened(self) -> OrthantEstimate:
        """Take the slack into the interval."""
        was = self.estimate
        if self.slack <= _NOTHING * was.relative_error:
            return was
        return replace(
            was,
            relative_error=self.error,
            log_bound=was.log_bound + self.slack,
        ).at_level(was.level)


class Orthant:
    """The probability of the signs of d outputs, answered in several ways.

    Args:
        outputs: at inputs of which none is a multiple of another.
        signs: 1 or -1 for each output, [d].
        least: smallest eigenvalue of their correlations.
        draws: (R, S), replicates and the draws of each.
        seed: a whole number in [0, 2^64).
        level: of the interval.
    """

    def __init__(
        self, outputs: Outputs, signs: np.ndarray, least: float, draws: tuple[int, int], seed: int, level: float
    ):
        self._outputs, self._signs, self._least = outputs, signs, float(least) - outputs.error
        self._draws, self._seed, self._level = draws, seed, level
        self._size = len(signs)
        self._flipped = outputs.correlation * np.outer(signs, signs)
        self._bound = self._pairs()  # an upper bound of the log probability

    def answer(self, jitter: float) -> OrthantEstimate:
        """Go on to the first answer that rounding and jitter hardly move; give the best one, else a limit."""
        best = None
        for answer in self._answers(jitter):
            if answer.slack <= _COARSE and (best is None or answer.error < best.error):
                best = answer
            if answer.settled:
                break
        if best is None:
            return at_most(self._bound, self._level, self._size, jitter, _LIMIT)
        return best.widened()

    def _answers(self, jitter: float) -> Iterator[_Answer]:
        """Answer in double precision with this jitter, then in more digits with less of it."""
        slack = self._conditioned(jitter)
        if slack <= _FINE:
            yield _Answer(self._ordinary(jitter), slack)
            return
        problem = self._ordered(max(jitter, 1e-12, 2 * self._outputs.error))
        enough = max(jitter, 2 * self._outputs.error)  # what is added is noise then, and leaves positive pivots
        yield from self._blurred(self._ordered(enough), math.sqrt(enough + self._outputs.error), enough, ())
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

        Where (1 - a) C <= B <= (1 + b) C in the order of definite matrices, the probabilities of a cone under N(0, B)
        and N(0, C) differ by a factor of at most ((1 + b) / (1 - a))^(d / 2): their densities say so.
        """
        error = self._outputs.error
        ratio = (jitter + 2 * error) / self._least if self._least > 0 else math.inf
        return 0.5 * self._size * ratio * (1 + ratio)

    def _ordinary(self, jitter: float) -> OrthantEstimate:
        replicates, each = self._draws
        matrix = self._outputs.correlation + jitter * np.eye(self._size)
        kinds = {"samples": replicates * each, "replicates": replicates, "seed": self._seed, "level": self._level}
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
            return problem._replace(lower=np.full(d, shift * noise) / problem.pivots)

        def at(shift: float) -> OrthantEstimate | None:
            shifted = moved(shift)
            tilt, rng = saddle(shifted), generator(self._seed)
            if not tilt.converged:
                return None
            return estimated(shifted, tilt, d, self._draws, rng, self._level, jitter=jitter, notes=notes)

        middle = at(0.0)
        log_rare = -math.inf if middle is None else middle.log_probability - _RARE
        reach = -float(ndtri_exp(log_rare - math.log(d)))
        low = None if middle is None else at(reach)
        if middle is not None and low is not None and low.resolved and middle.resolved:
            high = at(-reach)
            if high is not None and high.resolved:
                logs = (low.log_probability, middle.log_probability, high.log_probability)
                yield _Answer(middle, max(logs[2] - logs[1], logs[1] - logs[0]) + math.exp(min(log_rare - logs[0], 0)))
        above = saddle(moved(-_NOISE)).bound  # inf where none is found
        self._bound = min(self._bound, above - math.log1p(-d * float(ndtr(-_NOISE))))
        if middle is not None and low is not None and not middle.resolved:
            # Limits alone: the lower one holds for f where it is that of f + e > c noise.
            yield _Answer(replace(low, log_bound=self._bound), math.exp(min(log_rare - low.log_probability, 0)))

    def _pairs(self) -> float:
        """Bound the log probability by that of the least likely pair, with the pair's error."""
        if self._size < 2:
            return math.log(0.5)
        upper = np.triu_indices(self._size, 1)
        least = (self._flipped + self._outputs.pair_error)[upper].min()
        return math.log(math.acos(-min(least, 1.0)) / (2 * math.pi))
