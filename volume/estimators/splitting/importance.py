"""The importance function of a class as splitting uses it: the classifier's own, or the user's score.

Shape letters: N inputs of the domain, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.content import ByContent
from volume.functions.importance import ImportanceFunction, Seen


@dataclass(frozen=True, eq=False)
class InClass(ByContent):
    """What a classifier decides, without a way there."""

    bound: BoundClassifier
    index: int

    def inside(self, outputs: Array) -> Array:
        return self.bound.classify_outputs(outputs) == self.index


@dataclass(frozen=True, eq=False)
class Scored(ImportanceFunction):
    """A class led to by the user's score."""

    decided: ImportanceFunction | InClass
    num_inputs: int
    user_score: Callable[[Array], Any]

    @property
    def rows(self) -> np.ndarray:
        return np.arange(self.num_inputs)  # who knows what a user's score reads

    def seen(self, seen: Seen, rows: np.ndarray | None = None) -> Scored:
        return self

    def onto(self, rows: np.ndarray) -> Scored:
        return self

    def inside(self, outputs: Array) -> Array:
        return self.decided.inside(outputs)

    def score(self, outputs: Array) -> Array:
        return jnp.asarray(self.user_score(outputs), outputs.dtype)


def importance_function(
    bound: BoundClassifier, label: Any, *, score: Callable[[Array], Any] | None = None, chain: bool = False
) -> ImportanceFunction:
    """Give the importance function of one class.

    Args:
        bound: the query's classifier.
        label: the class.
        score: the user's own score of one network's outputs, [N] or [N, C], for a class that has no margins.
        chain: reach labels one after the other, in the order of the domain, instead of all at once.

    Raises:
        KeyError: a label that the classifier does not know.
        ValueError: a class that no margin leads to, without a ``score``, or a score that does not trace.
    """
    index = bound.index(label)
    if score is None:
        return bound.importance_function(index, chain=chain)
    _check_score(score, bound)
    try:  # most classes are decided by their labels
        return Scored(bound.importance_function(index), bound.num_inputs, score)
    except ValueError:
        if bound.route == "table":
            raise ValueError(
                f"{bound.classifier!r} is decided from stored truth tables, not inside the compiled steps of "
                "splitting: name one truth table, use Given(..., that classifier) for its shares within a class, or "
                "volume.Direct."
            ) from None
    return Scored(InClass(bound, index), bound.num_inputs, score)


def _check_score(score: Callable[[Array], Any], bound: BoundClassifier) -> None:
    """ValueError unless ``score`` traces and returns one number."""
    shape = (bound.num_inputs,) if bound.num_outputs == 1 else (bound.num_inputs, bound.num_outputs)
    name = getattr(score, "__qualname__", type(score).__name__)
    try:
        result = jax.eval_shape(score, jax.ShapeDtypeStruct(shape, jnp.float32))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"The score {name} failed on outputs of shape {shape}, with {type(error).__name__}: {first}. "
            "JAX compiles it: use jax.numpy, and jnp.where instead of if."
        ) from error
    if np.shape(result) != ():
        raise ValueError(
            f"The score {name} returned shape {np.shape(result)} for outputs of shape {shape}: return one number, for "
            "example the smallest of several with jnp.min."
        )
