"""Polynomials in one variable, linear in their coefficients: the textbook case of the counting argument.

Shape letters: N inputs, F = degree + 1 powers.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from .model import Head, Parameter, Params

MAX_DEGREE = 1000  # powers beyond are 0 or infinite in float32 unless |x| is 1 to two digits


class OneNumber:
    """What models from one number to one number share: their one parameter is "0.weight" [num_free, 1]."""

    @property
    def num_free(self) -> int:
        raise NotImplementedError

    input_shape = (1,)
    num_outputs = 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("0.weight", (self.num_free, 1), "weight", 1, 0),)


@dataclass(frozen=True)
class Polynomial(OneNumber):
    """The polynomial sum_k c_k x^k of one number x, k = 0..degree.

    Its one parameter is "0.weight" [degree + 1, 1], the coefficients from the constant upward. They are weights with
    fan_in = 1 rather than degree + 1: ``Gaussian(weight_std=s)`` gives each coefficient the law N(0, s^2), whatever the
    degree, as regression texts do. The whole polynomial is the head; the powers of x are its features. A query decides
    class 1 iff the polynomial is > 0; `volume.extrapolation` answers for its values.

    TypeError or ValueError unless ``degree`` is a whole number from 0 to 1000.
    """

    degree: int

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, numbers.Integral):
            raise TypeError(f"degree is {self.degree!r}; give a whole number from 0 to {MAX_DEGREE}.")
        if not 0 <= self.degree <= MAX_DEGREE:
            raise ValueError(f"degree is {self.degree}; give a whole number from 0 to {MAX_DEGREE}.")
        object.__setattr__(self, "degree", int(self.degree))

    @property
    def num_free(self) -> int:
        return self.degree + 1

    @property
    def head(self) -> Head:
        return Head("0.weight", None, self.num_free)

    def features(self, params: Params, inputs: Array) -> Array:
        """Return the powers x^0..x^degree, [N, F], of inputs [N, 1]."""
        return jnp.vander(inputs[:, 0], self.degree + 1, increasing=True)

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return values [N, 1] for inputs [N, 1]."""
        return self.features(params, inputs) @ params["0.weight"]

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; ``from_description`` reads it back."""
        return {"name": "polynomial", "degree": self.degree}
