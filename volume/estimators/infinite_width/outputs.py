"""The outputs that a class is about: those that vary, each once, with their correlations.

Shape letters: N inputs, d outputs that vary and of which none is a multiple of another.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from volume.estimators.infinite_width.nngp import layers, output_correlations
from volume.estimators.infinite_width.precise import (
    HAS_CLOSED_FORM,
    LARGEST,
    Kernel,
    correlations,
    precise_kernel,
    told_apart,
)
from volume.models import MLP, Perceptron
from volume.queries.query import Query
from volume.samplers import Gaussian

_ODD = frozenset({"linear", "erf", "sign", "sine", "tanh"})  # phi(-a) = -phi(a)
_HOMOGENEOUS = frozenset({"linear", "relu"})  # phi(s a) = s phi(a) for s > 0


class Outputs:
    """The outputs at some inputs.

    Attributes:
        still: [N] whether the output is always 0.
        first: [N] place of the first output of which this one is a multiple; its own where it is none.
        side: [N] sign of the multiple.
        chosen: [d] places of the outputs that vary and are no multiples of others before them.
        correlation: [d, d] in double precision.
        error: largest absolute row sum of the errors of ``correlation``, which its eigenvalues move by at most.
    """

    def __init__(self, query: Query, positions: np.ndarray):
        self._query = query
        inputs = query.domain.inputs[positions]
        std, correlation, error = output_correlations(query.model, query.prior, inputs)  # type: ignore[arg-type]
        self.still = std == 0
        self.first, self.side = _multiples(query.model, query.prior, inputs)  # type: ignore[arg-type]
        self.chosen = np.flatnonzero(~self.still & (self.first == np.arange(len(inputs))))
        self._inputs = inputs[self.chosen]
        kept = np.ix_(self.chosen, self.chosen)
        self.correlation = correlation[kept]
        self.pair_error = error[kept]
        self.error = float(self.pair_error.sum(axis=1).max(initial=0.0))

    def precise(self, some: np.ndarray, signs: np.ndarray) -> Kernel | None:
        """Give the correlations of ``some`` of the d outputs, times signs [d], in far more digits.

        None where they are not to be had: no closed form, too many outputs, inputs too close for these digits too.
        """
        model = self._query.model
        if len(some) > LARGEST or (activation_of(model) not in HAS_CLOSED_FORM):  # type: ignore[arg-type]
            return None
        kernel = precise_kernel(model, self._query.prior, self._inputs[some])  # type: ignore[arg-type]
        matrix = correlations(kernel, signs[some])
        return matrix if told_apart(matrix) else None


def _multiples(model: MLP | Perceptron, prior: Gaussian, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give for each output the first one of which it is a multiple whatever the parameters are, and the sign.

    Exact, in rational numbers: opposite inputs of an odd network without biases, inputs that are multiples of one
    another where the network is homogeneous. Of the other outputs none has correlation 1 or -1 with another.
    """
    steps = layers(model, prior)
    activation = activation_of(model)
    first, side = np.arange(len(inputs)), np.ones(len(inputs), int)
    if not all(weight for weight, _ in steps):  # nothing of the inputs comes through
        return np.zeros_like(first), side
    unbiased = not any(bias for _, bias in steps)
    odd = unbiased and activation in _ODD
    scales = (unbiased and activation in _HOMOGENEOUS) or (activation == "sign" and not steps[0][1])
    seen: dict[bytes, int] = {}
    for i, row in enumerate(inputs):
        lead = row[np.flatnonzero(row)[0]] if row.any() else 1.0
        side[i] = -1 if odd and lead < 0 else 1
        with np.errstate(over="ignore", under="ignore"):
            # Equal multiples have equal quotients; equal quotients are rounded ones, hence `_proportional`.
            key = row * side[i] / (abs(lead) if scales else 1.0) + 0.0
        j = seen.setdefault(key.tobytes(), i)
        if j == i or _proportional(inputs[i], inputs[j]):
            first[i] = j
    return first, side * side[first]


def _proportional(one: np.ndarray, other: np.ndarray) -> bool:
    a, b = [Fraction(x) for x in one.tolist()], [Fraction(x) for x in other.tolist()]
    lead = next((k for k, x in enumerate(b) if x), 0)
    return all(x * b[lead] == y * a[lead] for x, y in zip(a, b, strict=True))


def activation_of(model: MLP | Perceptron) -> str:
    """Name the activation that matters: without a hidden layer there is none."""
    return model.activation if isinstance(model, MLP) and model.num_layers > 1 else "linear"
