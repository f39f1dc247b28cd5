"""Are the outputs of a network on a lattice computed without rounding? Then its ties are ties.

A float with p bits holds every whole number up to 2^p. If inputs, weights and biases are whole multiples of powers of
two, so is every sum of their products; and when the sum of the sizes of all terms stays below 2^p units, no order of
summation rounds. `examine` bounds these sizes layer by layer, for activations that keep whole multiples (linear, relu,
sign). Where the bound fails, or for another activation, outputs may be rounded: what is a tie on paper may then come
out as a tiny number of either sign, and the report says how many networks came that close.

Shape letters: N inputs, n numbers in one input.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from volume.models import MLP, Model, Parameter, Perceptron
from volume.queries.query import Query
from volume.samplers import Lattice

EXACT_ACTIVATIONS = ("linear", "relu", "sign")
MANTISSA_BITS = {"float32": 24, "float64": 53}
MAX_EXPONENT = 100  # units of 2^-100 are still normal float32 numbers


class Multiples(NamedTuple):
    """Numbers as whole multiples of 2^-exponent."""

    values: np.ndarray  # Python integers: they may be larger than any fixed type holds
    exponent: int

    def at(self, exponent: int) -> np.ndarray:
        """Return the same numbers in units of 2^-exponent, at least as fine."""
        return self.values * (1 << (exponent - self.exponent))


class Arithmetic(NamedTuple):
    """What is known of rounding in one network on one lattice and domain."""

    exact: bool
    bits: int  # needed by the largest sum of sizes; 0 when no bound is known
    text: str  # for the report


def lattice_of(query: Query) -> Lattice:
    """Give the query's prior as one whose points can be listed; ValueError when it is none."""
    if not getattr(query.prior, "finite", False):
        raise ValueError(
            "Exact lists the parameterisations of a finite prior such as volume.samplers.Lattice, and "
            f"{query.prior!r} has infinitely many: use volume.Direct."
        )
    return cast(Lattice, query.prior)


def multiples(values: object) -> Multiples:
    """Write finite floats of any shape as whole multiples of one power of two."""
    array = np.asarray(values, np.float64)
    ratios = [float(value).as_integer_ratio() for value in array.ravel()]  # denominators are powers of two
    exponent = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
    numerators = np.array([top << (exponent - bottom.bit_length() + 1) for top, bottom in ratios], object)
    return Multiples(numerators.reshape(array.shape), exponent)


def layers(parameters: tuple[Parameter, ...]) -> list[tuple[Parameter, Parameter | None]]:
    """List (weight, bias) of every layer of an `MLP` or `Perceptron`; None where there are no biases."""
    weights = {p.layer: p for p in parameters if p.kind == "weight"}
    biases = {p.layer: p for p in parameters if p.kind == "bias"}
    return [(weights[layer], biases.get(layer)) for layer in sorted(weights)]


def activation_of(model: Model) -> str | None:
    """Name the hidden activation of a network whose arithmetic is understood here; None for any other model."""
    if isinstance(model, MLP):
        return model.activation if len(model.widths) > 2 else "linear"
    return "linear" if isinstance(model, Perceptron) else None


def as_dtype(levels: tuple[tuple[float, ...], ...], dtype: str) -> tuple[tuple[float, ...], ...]:
    """Round the levels to what the run's dtype holds: 0.1 is another number in float32."""
    return tuple(tuple(float(np.dtype(dtype).type(level)) for level in each) for each in levels)


def examine(
    model: Model, levels: tuple[tuple[float, ...], ...], inputs: np.ndarray, dtype: str, precision: str = "highest"
) -> Arithmetic:
    """Find out whether ``model`` computes its outputs on ``inputs`` [N, n] without rounding in ``dtype``.

    ``levels`` are those of every parameter, in the order of ``model.parameters``. Matrix products of a ``precision``
    below "highest" may round their factors on an accelerator, so that nothing is claimed of them.
    """
    rounded = f"rounded to {dtype}: ties and near ties are decided in floating point"
    activation = activation_of(model)
    if precision != "highest":
        return Arithmetic(False, 0, f"{rounded} (matrix products of {precision} precision may round their factors)")
    if activation is None:
        return Arithmetic(False, 0, f"{rounded} (nothing is known of the sums in this model)")
    if activation not in EXACT_ACTIVATIONS:
        return Arithmetic(False, 0, f"{rounded} ({activation} gives no whole multiples of a power of two)")
    levels_of = dict(zip((p.name for p in model.parameters), as_dtype(levels, dtype), strict=True))
    x = multiples(inputs)
    # The largest sum of sizes over the inputs of the layer, in units of 2^-exponent.
    total, exponent = int(np.abs(x.values.reshape(len(inputs), -1)).sum(axis=1).max(initial=0)), x.exponent
    worst, each = 0, 0
    for number, (weight, bias) in enumerate(layers(model.parameters)):
        w = multiples(levels_of[weight.name])
        b = multiples(levels_of[bias.name] if bias is not None else (0.0,))
        if number:
            total = weight.shape[0] * each
        fine = max(exponent + w.exponent, b.exponent)
        size = total * int(np.abs(w.values).max()) << (fine - exponent - w.exponent)
        each = size + int(np.abs(b.at(fine)).max())
        exponent, worst = fine, max(worst, each)
        if number < len(layers(model.parameters)) - 1 and activation == "sign":
            each, exponent = 1, 0
    bits = worst.bit_length()
    if bits <= MANTISSA_BITS[dtype] and exponent <= MAX_EXPONENT:
        return Arithmetic(True, bits, f"exact: all sums are whole numbers of {bits} bits, and ties are ties")
    return Arithmetic(False, bits, f"{rounded} (sums may need {bits} bits)")
