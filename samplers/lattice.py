"""Finite priors: every weight and bias is one of a few levels, all combinations alike, so that small networks can be
counted one by one (`volume.Exact`)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from volume.models import Parameter, Params

from .prior import num_layers

Levels = Sequence[float] | Sequence[Sequence[float]]
"""The levels of all layers, or a tuple of such tuples with one entry per layer, in the order of ``Parameter.layer``."""


@dataclass(frozen=True)
class Lattice:
    """Every weight is one of ``weight_levels`` and every bias one of ``bias_levels``, uniform over all combinations.

    Levels are used as they are, not divided by sqrt(fan_in): small whole numbers and halves keep all sums exact in
    float32, and with them the ties. A single level fixes its parameters; scales are fixed at 1.

    Args:
        weight_levels: distinct numbers such as (-1, 0, 1), or a tuple of such tuples, one per layer. Their order plays
            no part: they are kept sorted.
        bias_levels: likewise; None: those of the weights of the same layer.

    Raises:
        TypeError: levels that are no real numbers, or no sequence of them.
        ValueError: no level at all, one that is not finite, or the same one twice.
    """

    weight_levels: Levels = (-1.0, 1.0)
    bias_levels: Levels | None = None

    finite = True  # the parameters can be listed
    has_transform = False
    separable = True

    def __post_init__(self):
        object.__setattr__(self, "weight_levels", _checked_levels("weight_levels", self.weight_levels))
        if self.bias_levels is not None:
            object.__setattr__(self, "bias_levels", _checked_levels("bias_levels", self.bias_levels))

    @classmethod
    def binary(cls) -> Lattice:
        """Return weights and biases -1 or 1."""
        return cls((-1, 1))

    @classmethod
    def ternary(cls) -> Lattice:
        """Return weights and biases -1, 0 or 1."""
        return cls((-1, 0, 1))

    @property
    def sign_symmetric(self) -> bool:
        """Whether all levels of weights and biases are symmetric about 0."""
        tuples = [levels for setting in self._settings() for levels in _per_layer(setting)]
        return all(levels == tuple(sorted(-level for level in levels)) for levels in tuples)

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """There is none: TypeError."""
        raise TypeError(
            "Lattice has finitely many points and is no transform of normals (has_transform is False); use its draw, "
            "list its points with volume.Exact, or take a prior such as Gaussian."
        )

    def draw(self, key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32) -> Params:
        """Draw the parameters once; the key is consumed."""
        drawn = {}
        for p, levels, key_p in zip(
            parameters, self.levels_of(parameters), jax.random.split(key, max(len(parameters), 1)), strict=False
        ):
            index = jax.random.randint(key_p, p.shape, 0, len(levels), jnp.int32)
            drawn[p.name] = jnp.asarray(levels, dtype)[index]
        return drawn

    def levels_of(self, parameters: tuple[Parameter, ...]) -> tuple[tuple[float, ...], ...]:
        """Return the levels of every parameter, ascending, in the order of ``parameters``; those of a scale are
        (1,)."""
        biases = self.weight_levels if self.bias_levels is None else self.bias_levels
        settings = {"weight": self.weight_levels, "bias": biases}
        return tuple(_at_layer(settings[p.kind], p.layer) if p.kind in settings else (1.0,) for p in parameters)

    def sizes(self, parameters: tuple[Parameter, ...]) -> dict[str, float]:
        """Return the largest absolute value of every parameter, for `scaled`."""
        levels = zip(parameters, self.levels_of(parameters), strict=True)
        return {p.name: max(map(abs, each)) for p, each in levels}

    def num_points(self, parameters: tuple[Parameter, ...]) -> int:
        """Return M, the number of parameterisations, all of probability 1/M: an exact integer."""
        pairs = zip(parameters, self.levels_of(parameters), strict=True)
        return math.prod(len(levels) ** math.prod(p.shape) for p, levels in pairs)

    def log_num_points(self, parameters: tuple[Parameter, ...]) -> float:
        """log M in nats, for models whose M nobody wants to write down."""
        pairs = zip(parameters, self.levels_of(parameters), strict=True)
        return math.fsum(math.prod(p.shape) * math.log(len(levels)) for p, levels in pairs)

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """ValueError for levels per layer that do not fit the layers, or when no parameter of this model can vary."""
        expected = num_layers(parameters)
        for name, setting in (("weight_levels", self.weight_levels), ("bias_levels", self.bias_levels)):
            if setting is not None and _is_nested(setting) and len(setting) != expected:
                raise ValueError(
                    f"{name} has levels for {len(setting)} layer{'s' * (len(setting) != 1)} but the model has "
                    f"{expected}; give one tuple of levels for all layers or {expected} of them."
                )
        if all(len(levels) == 1 for levels in self.levels_of(parameters)):
            raise ValueError(f"Under {self} every draw is the same network; give some parameters two levels or more.")

    def describe(self) -> dict[str, Any]:
        """{"name", "weight_levels", "bias_levels": a list, or one list per layer; None: as the weights}."""
        return {
            "name": "lattice",
            "weight_levels": _listed(self.weight_levels),
            "bias_levels": None if self.bias_levels is None else _listed(self.bias_levels),
        }

    def _settings(self) -> tuple[Levels, ...]:
        return (self.weight_levels,) if self.bias_levels is None else (self.weight_levels, self.bias_levels)


def _checked_levels(name: str, levels: Any) -> tuple[float, ...] | tuple[tuple[float, ...], ...]:
    """``given`` as a sorted tuple of floats, or a tuple of such tuples; what a prior keeps, so that it hashes."""
    if isinstance(levels, str) or not (isinstance(levels, Sequence) or hasattr(levels, "__array__")):
        raise TypeError(
            f"{name} is {levels!r}; give a tuple of numbers such as (-1, 0, 1), or one such tuple per layer."
        )
    entries = list(levels)
    nested = [isinstance(entry, Sequence) or getattr(entry, "ndim", 0) == 1 for entry in entries]
    if any(nested) and not all(nested):
        raise TypeError(f"{name} is {levels!r}, which mixes numbers and tuples; give one tuple of numbers per layer.")
    if entries and all(nested):
        return tuple(_checked_tuple(f"{name}[{i}]", entry) for i, entry in enumerate(entries))
    return _checked_tuple(name, entries)


def _checked_tuple(name: str, levels: Any) -> tuple[float, ...]:
    values = []
    for value in levels:
        if isinstance(value, (jax.Array, np.ndarray)) and value.ndim == 0:
            value = value.item()
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} holds {value!r}, a {type(value).__name__}; give numbers such as (-1, 0, 1).")
        if not math.isfinite(value):
            raise ValueError(f"{name} holds {value!r}; every level must be finite.")
        values.append(float(value) + 0.0)  # -0.0 is 0
    if not values:
        raise ValueError(f"{name} is empty; give at least one level, such as (0,) to fix a parameter at 0.")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"{name} holds {twice:g} more than once; give every level once: they are equally likely.")
    return tuple(sorted(values))


def _is_nested(setting: Levels) -> bool:
    return isinstance(setting[0], Sequence)


def _per_layer(setting: Levels) -> tuple[tuple[float, ...], ...]:
    """The tuples of levels that a setting holds, one or one per layer."""
    return cast(tuple[tuple[float, ...], ...], setting if _is_nested(setting) else (setting,))


def _at_layer(setting: Levels, layer: int) -> tuple[float, ...]:
    return cast(tuple[float, ...], setting[layer] if _is_nested(setting) else setting)


def _listed(setting: Levels) -> list[Any]:
    return [list(cast(Sequence[float], entry)) if _is_nested(setting) else entry for entry in setting]
