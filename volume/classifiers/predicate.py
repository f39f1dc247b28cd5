"""Classes that depend on the outputs themselves, not only on the decisions.

A stored run keeps the names of such classes, not the user's function: `Recorded` is its classifier.

Shape letters: N inputs, C outputs, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from volume.classifiers.base import MAX_DEVICE_CLASSES, OUTSIDE, BoundClassifier, Classifier
from volume.classifiers.class_numbers import in_range, is_whole
from volume.errors import unknown
from volume.functions.domains import Domain


@dataclass(frozen=True, eq=False, init=False)
class Predicate(Classifier):
    """Any jittable function of one draw's outputs.

    Args:
        fn: takes the outputs of one draw, [N] for one output, else [N, C], and returns one bool or whole number.
        num_classes: K; the numbers that ``fn`` returns are 0..K-1, or False and True for two classes.
        names: K distinct labels; default "false" and "true" for two classes, else "0" to "K-1".

    When ``fn`` returns whole numbers there is one more class, "outside", for numbers that are none of 0..K-1.

    Predicates are equal only when they are one object, and compiled programs are kept by that: a lambda, or a
    Predicate, that is made afresh for each query is compiled afresh. Make it once and use it in every query.

    Raises (when a query is made, by a trace that computes nothing):
        ValueError: ``fn`` fails on outputs of the query's shape, or returns anything else.
    """

    kind: ClassVar[str] = "predicate"
    fn: Callable[[jax.Array], Any] | None
    num_classes: int
    names: tuple[str, ...]

    def __init__(
        self, fn: Callable[[jax.Array], Any] | None, num_classes: int = 2, names: Sequence[str] | None = None
    ) -> None:
        if fn is not None and not callable(fn):
            raise TypeError(f"Predicate takes a function of the outputs; got {fn!r}.")
        if not is_whole(num_classes) or not 2 <= num_classes < MAX_DEVICE_CLASSES:
            raise ValueError(f"Predicate needs from 2 to {MAX_DEVICE_CLASSES - 1} classes; got {num_classes!r}.")
        if names is None:
            names = ("false", "true") if num_classes == 2 else [str(index) for index in range(num_classes)]
        names = tuple(names)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"The names of a Predicate's classes are strings; got {names!r}.")
        if len(names) != num_classes or len({*names, OUTSIDE}) != num_classes + 1:
            raise ValueError(
                f"Predicate needs {num_classes} distinct names for its classes, none {OUTSIDE!r}; got {names!r}."
            )
        object.__setattr__(self, "fn", fn)
        object.__setattr__(self, "num_classes", int(num_classes))
        object.__setattr__(self, "names", names)

    def bind(self, domain: Domain, num_outputs: int) -> BoundPredicate:
        returns_integers = True
        if self.fn is not None:
            shape = (domain.num_inputs,) if num_outputs == 1 else (domain.num_inputs, num_outputs)
            name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
            try:
                result = jax.eval_shape(self.fn, jax.ShapeDtypeStruct(shape, jnp.float32))
            except Exception as error:
                first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
                message = f"{type(error).__name__}: {first}" if first else type(error).__name__
                raise ValueError(
                    f"The Predicate's function {name} failed on outputs of shape {shape}, with "
                    f"{message}. JAX compiles it: use jax.numpy, and jnp.where instead of if."
                ) from error
            if getattr(result, "shape", None) != () or result.dtype.kind not in "biu":
                raise ValueError(
                    f"The Predicate's function {name} must return one bool or whole number per draw; for outputs of "
                    f"shape {shape} it returns {_words(result)}. Reduce over the inputs, for instance with jnp.all."
                )
            returns_integers = result.dtype.kind != "b"
        names = (*self.names, OUTSIDE) if returns_integers else self.names
        return BoundPredicate(self, domain.num_inputs, num_outputs, names, self.fn, self.num_classes)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Predicate:
        return cls(None, record["num_classes"], record["names"])

    def describe(self) -> dict[str, Any]:
        return {"name": self.kind, "num_classes": self.num_classes, "names": list(self.names)}


def _words(result: Any) -> str:
    """Say what a function returned, by shapes alone."""
    if hasattr(result, "shape"):
        return f"{result.dtype} of shape {tuple(result.shape)}"
    return f"a {type(result).__name__}"


@dataclass(frozen=True, eq=False)
class _BoundNames(BoundClassifier):
    """Named classes of networks, not of functions."""

    names: tuple[str, ...]

    @property
    def needs_outputs(self) -> bool:
        return True

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def label(self, index: int) -> str:
        return self.names[in_range(index, self.num_classes)]


@dataclass(frozen=True, eq=False)
class BoundPredicate(_BoundNames):
    fn: Callable[[jax.Array], Any] | None
    num_inside: int  # K, without "outside"

    def classify(self, decisions: Any) -> Any:
        raise TypeError("Predicate is a function of the outputs, which stored tables do not hold: draw again with it.")

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        if self.fn is None:
            raise TypeError("This Predicate was read from a record, which holds its names but not its function.")
        index = jnp.asarray(self.fn(outputs))
        if index.dtype == bool:
            return index.astype(jnp.int32)
        return jnp.where((index >= 0) & (index < self.num_inside), index, self.num_inside).astype(jnp.int32)

    def index(self, label: Any) -> int:
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        truth = isinstance(label, (bool, np.bool_)) and self.names[:2] == ("false", "true")
        number = int(label) if truth or is_whole(label) else -1
        if 0 <= number < self.num_classes:
            return number
        raise KeyError(f"This Predicate has the classes {', '.join(map(repr, self.names))}; got {label!r}.")


@dataclass(frozen=True, eq=False)
class Recorded(Classifier):
    """The classes of a stored :class:`volume.Predicate`, or of a product with one."""

    description: str  # JSON of the original's describe()
    names: tuple[str, ...]

    def bind(self, domain: Domain, num_outputs: int) -> BoundRecorded:
        return BoundRecorded(self, domain.num_inputs, num_outputs, self.names)

    def describe(self) -> dict[str, Any]:
        return json.loads(self.description)


@dataclass(frozen=True, eq=False)
class BoundRecorded(_BoundNames):
    def classify_outputs(self, outputs: Any) -> Any:
        raise TypeError(
            "This classifier was read from a stored run, which holds the names of its classes but not its function."
        )

    def index(self, label: Any) -> int:
        if isinstance(label, (tuple, list)):
            label = ", ".join(map(str, label))
        if isinstance(label, (bool, np.bool_)):
            label = str(bool(label)).lower()
        if label not in self.names:
            raise KeyError(unknown("class", label, self.names))
        return self.names.index(label)
