"""Fully connected networks: the two models whose volumes the literature knows best.

Shape letters: N inputs, n numbers in one input, F features below the last layer, C outputs.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from volume.common.choices import spelled
from volume.errors import unknown

from .model import Head, Parameter, Params
from .symmetry import Symmetry
from .units import UnitSymmetry


def _sign(a: Array) -> Array:
    # jnp.sign(0) is 0; a threshold unit has two states, and the convention for ties is stated with every result.
    return jnp.where(a > 0, 1, -1).astype(a.dtype)


def _gelu(a: Array) -> Array:
    return jax.nn.gelu(a, approximate=False)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda a: a,
    "relu": lambda a: jnp.maximum(a, 0),
    "tanh": jnp.tanh,
    "erf": jax.lax.erf,
    "gelu": _gelu,
    "sine": jnp.sin,
    "sign": _sign,
}
"""Hidden activations. gelu is the exact form a Phi(a) = a (1 + erf(a / sqrt 2)) / 2, not the tanh approximation;
sign(a) is +1 if a > 0, else -1."""

MAX_LAYERS = 1000  # every layer is compiled

# phi(-a) = -phi(a) for every float a. sign is not among them: sign(0) = -1 = sign(-0), and hidden sums do tie at 0.
ODD_ACTIVATIONS = ("linear", "tanh", "erf", "sine")


@dataclass(frozen=True)
class MLP:
    """A fully connected network; the last layer is linear.

    Parameters are "0.weight" [widths[0], widths[1]], "0.bias" [widths[1]], "1.weight", ...; layer ``l`` computes
    ``activation(a @ weight + bias)``. Without biases no layer has one, so the output at x = 0 is exactly 0 for every
    activation that vanishes at 0.

    Args:
        widths: numbers in one input, hidden widths, outputs: ``(7, 40, 40, 1)``. Two widths: no hidden layer.
        activation: one of `ACTIVATIONS`; every hidden layer has it.
        bias: whether the layers have biases.

    Raises:
        TypeError: widths that are not whole numbers, a ``bias`` that is not a bool.
        ValueError: fewer than two widths, a width below 1, an unknown activation, or one of a network that has no
            hidden layer.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    bias: bool = True

    def __post_init__(self) -> None:
        # Lists and NumPy integers become plain ones, so that equal networks are equal and hash alike.
        object.__setattr__(self, "widths", _checked_widths(self.widths))
        activation = spelled(self.activation, ACTIVATIONS)  # "ReLU", "GELU" and "Tanh" are names of layers elsewhere
        if activation is None:
            raise ValueError(unknown("activation", self.activation, ACTIVATIONS))
        if len(self.widths) == 2 and activation not in ("relu", "linear"):
            raise ValueError(
                f"activation={self.activation!r} would be ignored: a network of widths {self.widths} has no hidden "
                "layer. Leave it out, or give hidden widths."
            )
        object.__setattr__(self, "activation", activation)
        if not isinstance(self.bias, bool):
            raise TypeError(f"bias is {self.bias!r}; give True or False (every layer has biases, or none).")

    @classmethod
    def from_spec(cls, spec: str, *, activation: str = "relu", bias: bool = True) -> MLP:
        """From "7-40-40-1". ValueError for any other spelling."""
        parts = spec.split("-")
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(f"{spec!r} does not spell the widths of a network; write them as in '7-40-40-1'.")
        return cls(tuple(int(part) for part in parts), activation=activation, bias=bias)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.widths[:1]

    @property
    def num_outputs(self) -> int:
        return self.widths[-1]

    @property
    def num_layers(self) -> int:
        """Layers of weights: one less than widths."""
        return len(self.widths) - 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return _parameters(self)

    @property
    def head(self) -> Head:
        last = self.num_layers - 1
        return Head(f"{last}.weight", f"{last}.bias" if self.bias else None, self.widths[-2])

    @property
    def symmetry(self) -> Symmetry:
        """Permutations of every hidden layer's units, and their signs where the activation is odd."""
        return _symmetry(self)

    def features(self, params: Params, inputs: Array) -> Array:
        """Return activations below the last layer, [N, F]; the inputs themselves where there is no hidden layer."""
        activation = ACTIVATIONS[self.activation]
        for layer in range(self.num_layers - 1):
            inputs = activation(self._layer(params, inputs, layer))
        return inputs

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return outputs [N, C] for inputs [N, n]."""
        return self._layer(params, self.features(params, inputs), self.num_layers - 1)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; ``from_description`` reads it back."""
        return {
            "name": "mlp",
            "widths": list(self.widths),
            "activation": self.activation,
            "bias": self.bias,
        }

    def _layer(self, params: Params, inputs: Array, layer: int) -> Array:
        outputs = inputs @ params[f"{layer}.weight"]
        return outputs + params[f"{layer}.bias"] if self.bias else outputs


@lru_cache
def _parameters(network: MLP) -> tuple[Parameter, ...]:
    listed = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(network.widths)):
        listed.append(Parameter(f"{layer}.weight", (fan_in, fan_out), "weight", fan_in, layer))
        if network.bias:
            listed.append(Parameter(f"{layer}.bias", (fan_out,), "bias", fan_in, layer))
    return tuple(listed)


@lru_cache
def _symmetry(network: MLP) -> Symmetry:
    units = []
    for layer, width in enumerate(network.widths[1:-1]):
        axes = [(f"{layer}.weight", 1), (f"{layer}.bias", 0), (f"{layer + 1}.weight", 0)]
        axes = tuple(axis for axis in axes if network.bias or not axis[0].endswith("bias"))
        flips = tuple(name for name, _ in axes) if network.activation in ODD_ACTIVATIONS else ()
        units.append(UnitSymmetry(f"hidden {layer}", width, axes, flips))
    return Symmetry(tuple(units))


@dataclass(frozen=True)
class Perceptron:
    """One linear unit on n numbers, the network (n, 1): "0.weight" [n, 1] and "0.bias" [1]. Its only layer is the head.

    TypeError or ValueError unless ``n`` is a whole number of at least 1 and ``bias`` a bool.
    """

    n: int
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", _checked_width("n", self.n))
        if not isinstance(self.bias, bool):
            raise TypeError(f"bias is {self.bias!r}; give True or False.")

    @cached_property
    def _network(self) -> MLP:
        return MLP((self.n, 1), "linear", self.bias)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def num_outputs(self) -> int:
        return 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self._network.parameters

    @property
    def head(self) -> Head:
        return self._network.head

    @property
    def symmetry(self) -> Symmetry:
        """No hidden units: the trivial group."""
        return Symmetry()

    def features(self, params: Params, inputs: Array) -> Array:
        """Return the inputs, [N, n]."""
        return self._network.features(params, inputs)

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return outputs [N, 1] for inputs [N, n]."""
        return self._network.apply(params, inputs)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; ``from_description`` reads it back."""
        return {"name": "perceptron", "n": self.n, "bias": self.bias}


def _checked_widths(widths: Any) -> tuple[int, ...]:
    if isinstance(widths, str) or not (isinstance(widths, Sequence) or hasattr(widths, "__array__")):
        raise TypeError(f"widths is {widths!r}; give a tuple of whole numbers, for example (7, 40, 40, 1).")
    widths = tuple(widths)
    if len(widths) > MAX_LAYERS + 1:
        raise ValueError(f"widths has {len(widths):,} entries; give at most {MAX_LAYERS + 1:,}.")
    if len(widths) < 2:
        raise ValueError(
            f"widths is {widths!r}; give at least two, the numbers in one input and the outputs, for example (7, 1)."
        )
    return tuple(_checked_width(f"widths[{i}]", width) for i, width in enumerate(widths))


def _checked_width(name: str, width: Any) -> int:
    if isinstance(width, bool) or not isinstance(width, numbers.Integral):
        raise TypeError(f"{name} is {width!r}; give a whole number of at least 1.")
    if width < 1:
        raise ValueError(f"{name} is {width}; give a whole number of at least 1.")
    return int(width)
