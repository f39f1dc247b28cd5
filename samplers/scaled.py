"""A prior whose parameters are multiplied by powers of two, and the sizes by which these are chosen.

A rescaled prior stands in for the prior where a network's decisions are the same on both (volume.models.ranges). Entry
by entry it draws the same numbers but for their exponents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from volume.common.seeds import threefry_key
from volume.models import Parameter, Params

from .prior import Prior

SAMPLED = 8  # draws that show the sizes of a law that does not tell them


@dataclass(frozen=True)
class Scaled:
    """The prior with each of these parameters times 2^power."""

    prior: Any
    powers: tuple[tuple[str, int], ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "prior":  # copies ask before there is one
            raise AttributeError(name)
        return getattr(self.prior, name)

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        return self._moved(self.prior.transform(z, parameters))

    def draw(self, key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32) -> Params:
        return self._moved(self.prior.draw(key, parameters, dtype))

    def levels_of(self, parameters: tuple[Parameter, ...]) -> tuple[tuple[float, ...], ...]:
        """Return the levels of a `Lattice`, rescaled likewise."""
        powers = dict(self.powers)
        levels = zip(parameters, self.prior.levels_of(parameters), strict=True)
        return tuple(tuple(math.ldexp(level, powers.get(p.name, 0)) for level in each) for p, each in levels)

    def _moved(self, theta: Params) -> Params:
        powers = dict(self.powers)
        # In two steps: 2^power itself may be more than the format holds.
        halves = {name: (powers.get(name, 0) // 2, -(-powers.get(name, 0) // 2)) for name in theta}
        return {name: value * 2.0 ** halves[name][0] * 2.0 ** halves[name][1] for name, value in theta.items()}


def rescaled(prior: Prior, parameters: tuple[Parameter, ...], powers: Mapping[str, int]) -> Prior:
    """Return the prior with these parameters multiplied by 2^power, where it can by another prior of its kind."""
    powers = {name: power for name, power in powers.items() if power}
    if not powers:
        return prior
    own = getattr(prior, "rescaled", None)
    if own is not None and (moved := own(parameters, powers)) is not None:
        return moved
    return cast(Prior, Scaled(prior, tuple(sorted(powers.items()))))  # the rest it takes from the prior


def log_sizes(prior: Prior, parameters: tuple[Parameter, ...]) -> dict[str, float]:
    """Return the log2 of a typical absolute value of every parameter; -inf where it is always 0."""
    own = getattr(prior, "sizes", None)
    sizes = _seen_sizes(prior, parameters) if own is None else own(parameters)
    return {name: math.log2(size) if size > 0 else -math.inf for name, size in sizes.items()}


@lru_cache(maxsize=64)
def _seen_sizes(prior: Prior, parameters: tuple[Parameter, ...]) -> dict[str, float]:
    """The root mean squares of the entries that are not 0, in float64: float32 may hold none of them."""
    with jax.enable_x64(True):
        keys = jax.random.split(threefry_key(0), SAMPLED)
        drawn = jax.jit(jax.vmap(lambda key: prior.draw(key, parameters, jnp.float64)))(keys)
    sizes = {}
    for name, values in drawn.items():
        values = np.abs(np.asarray(values, np.float64))
        largest = values.max(initial=0.0)
        some = values[values > 0] / largest if 0 < largest < math.inf else np.zeros(0)  # whose squares stay in range
        sizes[name] = float(largest * np.sqrt(np.mean(some**2))) if some.size else float(largest)
    return sizes
