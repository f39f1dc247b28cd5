"""What splitting's kernels share: the constants of a level, and the arrays of a class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.functions.importance import ImportanceFunction
from volume.models import Model, Params
from volume.samplers import Prior, standard_normal


class Stage(NamedTuple):
    """One level's constants."""

    level: Any  # particles keep score >= level
    next_level: Any
    body_step: Any  # radians between the points of a window
    head_step: Any

    @property
    def log_scale(self) -> float:
        """Of a set's indicator nothing is scaled."""
        return 0.0

    def cast(self, dtype: np.dtype) -> Stage:
        """Give the constants as scalars of the dtype of the run: a level is data, and no level is compiled anew."""
        return Stage(*(np.asarray(value, dtype) for value in self))


class Data(NamedTuple):
    """The arrays of one class: classes of one shape share their compiled steps."""

    inputs: Any  # [M, ...] that the importance function reads
    score: tuple[Any, ...] = ()  # data of a blank importance function; none where it is not blank

    def fill(self, score: ImportanceFunction) -> ImportanceFunction:
        """Put the data into a blank importance function, inside a traced function."""
        return score.filled(iter(self.score)) if self.score else score


class ClassKernel:
    """What the kernels of one class's run say of their stages and states."""

    first_level = -math.inf  # of the prior
    stage_type: Any = Stage

    @property
    def state_shapes(self: Any) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the arrays that a particle is: a network's normals."""
        return {p.name: p.shape for p in self.model.parameters}


def draw_network(model: Model, prior: Prior, key: Array, inputs: Array) -> tuple[Params, Array]:
    """Draw a network's standard normals; the number is NaN where an output at ``inputs`` is not finite, else 0."""
    z = standard_normal(key, model.parameters, inputs.dtype)
    outputs = model.apply(prior.transform(z, model.parameters), inputs)
    return z, jnp.where(jnp.all(jnp.isfinite(outputs)), 0.0, jnp.nan)
