"""The rules that put functions in classes: the public names, and those that need no labels.

Shape letters: N inputs, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume import tables
from volume.classifier import (
    MAX_CLASSES,
    MAX_DEVICE_CLASSES,
    BoundClassifier,
    Classifier,
    as_index,
    in_range,
)
from volume.domains import Domain, Points
from volume.errors import unknown
from volume.labels import Accuracy, Argmax, Fits
from volume.lempel_ziv import LempelZiv

__all__ = [
    "Accuracy",
    "Argmax",
    "BoundClassifier",
    "Classifier",
    "Fits",
    "LempelZiv",
    "Ones",
    "Predicate",
    "Product",
    "TruthTable",
    "from_description",
]


@dataclass(frozen=True, eq=False)
class TruthTable(Classifier):
    """Every function is its own class, labelled by its decisions in the order of the domain's inputs."""

    def bind(self, domain: Domain, num_outputs: int) -> BoundTruthTable:
        return BoundTruthTable(self, domain.num_inputs, num_outputs)

    def describe(self) -> dict[str, Any]:
        return {"name": "truth-table"}


@dataclass(frozen=True, eq=False)
class BoundTruthTable(BoundClassifier):
    """Class numbers are Python integers without bound: the key read as one number. Work with keys where you can."""

    @property
    def num_classes(self) -> None:
        return None

    @property
    def route(self) -> Literal["table", "device"]:
        return "table"

    def classify(self, decisions: Any) -> Any:
        raise TypeError(
            "TruthTable numbers no classes, every table is one: group by Ones, LempelZiv, Fits, ... instead."
        )

    def key(self, label: Any) -> np.ndarray:
        text = label
        if isinstance(label, (tuple, list, np.ndarray)) and len(label):
            text = tables.label(np.asarray(label), self.num_outputs)
        if not isinstance(text, str):
            raise KeyError(f"A truth table is named by a string of {self.num_inputs} digits; got {label!r}.")
        try:
            return tables.pack(tables.parse_label(text, self.num_inputs, self.num_outputs)[None], self.num_outputs)[0]
        except ValueError as error:
            raise KeyError(str(error)) from None

    def labels(self, keys: np.ndarray) -> list[str]:
        return tables.labels(keys, self.num_inputs, self.num_outputs)

    def index(self, label: Any) -> int:
        return int.from_bytes(self.key(label).astype(">u8").tobytes(), "big")

    def label(self, index: int) -> str:
        words = tables.num_words(self.num_inputs, self.num_outputs)
        return self.labels(np.frombuffer(int(index).to_bytes(8 * words, "big"), ">u8").astype(np.uint64)[None])[0]


@dataclass(frozen=True, eq=False)
class Ones(Classifier):
    """The number T of inputs in class 1, the class balance: classes "0" to "N". One output."""

    def bind(self, domain: Domain, num_outputs: int) -> BoundOnes:
        if num_outputs != 1:
            raise ValueError(f"Ones counts the inputs in class 1 of one output; this model has {num_outputs}.")
        return BoundOnes(self, domain.num_inputs, num_outputs)

    def describe(self) -> dict[str, Any]:
        return {"name": "ones"}


@dataclass(frozen=True, eq=False)
class BoundOnes(BoundClassifier):
    @property
    def num_classes(self) -> int:
        return self.num_inputs + 1

    def classify(self, decisions: Any) -> Any:
        return as_index(decisions.sum(axis=0, dtype=np.int32))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        ones = np.zeros(len(keys), np.int64)
        for word in range(keys.shape[1]):  # a sum over the short axis would be slower
            ones += np.bitwise_count(keys[:, word])
        return ones

    def label(self, index: int) -> str:
        return str(in_range(index, self.num_classes))

    def index(self, label: Any) -> int:
        text = label if isinstance(label, str) else str(int(label)) if _is_whole(label) else ""
        if text.isdecimal() and str(int(text)) == text and int(text) <= self.num_inputs:
            return int(text)
        raise KeyError(f"Ones has the classes '0' to '{self.num_inputs}'; got {label!r}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True, eq=False, init=False)
class Predicate(Classifier):
    """Any jittable function of one draw's outputs.

    Args:
        fn: takes the outputs of one draw, [N] for one output, else [N, C], and returns one bool or whole number.
        num_classes: K; the numbers that ``fn`` returns are 0..K-1, or False and True for two classes.
        names: K distinct labels; default "false" and "true" for two classes, else "0" to "K-1".

    When ``fn`` returns whole numbers there is one more class, "outside", for numbers that are none of 0..K-1.
    """

    fn: Callable[[jax.Array], Any] | None
    num_classes: int
    names: tuple[str, ...]

    def __init__(
        self, fn: Callable[[jax.Array], Any] | None, num_classes: int = 2, names: Sequence[str] | None = None
    ) -> None:
        if fn is not None and not callable(fn):
            raise TypeError(f"Predicate takes a function of the outputs; got {fn!r}.")
        if not _is_whole(num_classes) or not 2 <= num_classes < MAX_DEVICE_CLASSES:
            raise ValueError(f"Predicate needs from 2 to {MAX_DEVICE_CLASSES - 1} classes; got {num_classes!r}.")
        if names is None:
            names = ("false", "true") if num_classes == 2 else [str(index) for index in range(num_classes)]
        names = tuple(names)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"The names of a Predicate's classes are strings; got {names!r}.")
        if len(names) != num_classes or len({*names, _OUTSIDE}) != num_classes + 1:
            raise ValueError(
                f"Predicate needs {num_classes} distinct names for its classes, none {_OUTSIDE!r}; got {names!r}."
            )
        object.__setattr__(self, "fn", fn)
        object.__setattr__(self, "num_classes", int(num_classes))
        object.__setattr__(self, "names", names)

    def bind(self, domain: Domain, num_outputs: int) -> BoundPredicate:
        whole = True
        if self.fn is not None:
            shape = (domain.num_inputs,) if num_outputs == 1 else (domain.num_inputs, num_outputs)
            result = jax.eval_shape(self.fn, jax.ShapeDtypeStruct(shape, jnp.float32))
            if getattr(result, "shape", None) != () or result.dtype.kind not in "biu":
                raise ValueError(
                    f"A Predicate's function must return one bool or whole number per draw; for outputs of shape "
                    f"{shape} it returns {result}. Reduce over the inputs, for instance with jnp.all."
                )
            whole = result.dtype.kind != "b"
        return BoundPredicate(self, domain.num_inputs, num_outputs, (*self.names, _OUTSIDE) if whole else self.names)

    def describe(self) -> dict[str, Any]:
        return {"name": "predicate", "num_classes": self.num_classes, "names": list(self.names)}


_OUTSIDE = "outside"


@dataclass(frozen=True, eq=False)
class BoundPredicate(BoundClassifier):
    names: tuple[str, ...]

    @property
    def needs_outputs(self) -> bool:
        return True

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def classify(self, decisions: Any) -> Any:
        raise TypeError("Predicate is a function of the outputs, which stored tables do not hold: draw again with it.")

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        assert isinstance(self.classifier, Predicate)
        if self.classifier.fn is None:
            raise TypeError("This Predicate was read from a record, which holds its names but not its function.")
        index = jnp.asarray(self.classifier.fn(outputs))
        if index.dtype == bool:
            return index.astype(jnp.int32)
        known = self.classifier.num_classes
        return jnp.where((index >= 0) & (index < known), index, known).astype(jnp.int32)

    def label(self, index: int) -> str:
        return self.names[in_range(index, self.num_classes)]

    def index(self, label: Any) -> int:
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        truth = isinstance(label, (bool, np.bool_)) and self.names[:2] == ("false", "true")
        number = int(label) if truth or _is_whole(label) else -1
        if 0 <= number < self.num_classes:
            return number
        raise KeyError(f"This Predicate has the classes {', '.join(map(repr, self.names))}; got {label!r}.")


@dataclass(frozen=True, eq=False, init=False)
class Product(Classifier):
    """One class per combination of the factors' classes: "a-label, b-label", or a tuple of labels."""

    factors: tuple[Classifier, ...]

    def __init__(self, *factors: Classifier) -> None:
        flat: list[Classifier] = []
        for factor in factors:
            if not isinstance(factor, Classifier):
                raise TypeError(f"Product takes classifiers; got {factor!r}.")
            flat += factor.factors if isinstance(factor, Product) else [factor]
        if len(flat) < 2:
            raise ValueError(f"Product needs two or more classifiers; got {len(flat)}.")
        if any(isinstance(factor, TruthTable) for factor in flat):
            raise ValueError(
                "A product with TruthTable splits nothing further, a table already determines its other classes: "
                "use TruthTable alone and group its report."
            )
        object.__setattr__(self, "factors", tuple(flat))

    def domain(self) -> Points | None:
        parts = [part.inputs for factor in self.factors if (part := factor.domain()) is not None]
        if not parts:
            return None
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError("The inputs named by the factors of this product differ in shape: name the domain.")
        rows = np.concatenate(parts)
        _, first = np.unique(rows.reshape(len(rows), -1), axis=0, return_index=True)
        return Points(rows[np.sort(first)])

    def bind(self, domain: Domain, num_outputs: int) -> BoundProduct:
        bound = BoundProduct(
            self, domain.num_inputs, num_outputs, tuple(factor.bind(domain, num_outputs) for factor in self.factors)
        )
        on_table = [factor for factor in bound.factors if factor.route == "table"]
        if bound.needs_outputs and (on_table or bound.num_classes > MAX_DEVICE_CLASSES):
            other = f"{on_table[0].classifier} is" if on_table else f"{bound.num_classes} classes are"
            raise ValueError(
                f"A Predicate is decided while drawing, but {other} counted from truth tables afterwards: "
                "use coarser classifiers beside the Predicate, or two runs."
            )
        if bound.num_classes > MAX_CLASSES:
            raise ValueError(f"This product has {bound.num_classes} classes, more than 2**62: use coarser factors.")
        return bound

    def describe(self) -> dict[str, Any]:
        return {"name": "product", "factors": [factor.describe() for factor in self.factors]}


@dataclass(frozen=True, eq=False)
class BoundProduct(BoundClassifier):
    """Class numbers in mixed radix, the first factor most significant."""

    factors: tuple[BoundClassifier, ...]

    @property
    def _radices(self) -> list[int]:
        return [factor.num_classes or 0 for factor in self.factors]

    @property
    def num_classes(self) -> int:
        return math.prod(self._radices)

    @property
    def route(self) -> Literal["table", "device"]:
        finite = self.num_classes <= MAX_DEVICE_CLASSES
        return "device" if finite and all(factor.route == "device" for factor in self.factors) else "table"

    @property
    def needs_outputs(self) -> bool:
        return any(factor.needs_outputs for factor in self.factors)

    def _combine(self, classes: Sequence[Any]) -> Any:
        result = classes[0]
        for index, radix in zip(classes[1:], self._radices[1:], strict=True):
            result = result * radix + index
        return result

    def classify(self, decisions: Any) -> Any:
        return self._combine([factor.classify(decisions) for factor in self.factors])

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        return self._combine([factor.classify_outputs(outputs) for factor in self.factors])

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        return self._combine([factor.classify_keys(keys, chunk) for factor in self.factors])

    def label(self, index: int) -> str:
        index, labels = in_range(index, self.num_classes), []
        for factor, radix in zip(self.factors[::-1], self._radices[::-1], strict=True):
            index, digit = divmod(index, radix)
            labels.append(factor.label(digit))
        return ", ".join(labels[::-1])

    def index(self, label: Any) -> int:
        if isinstance(label, (tuple, list)) and len(label) == len(self.factors):
            return self._combine([factor.index(part) for factor, part in zip(self.factors, label, strict=True)])
        if isinstance(label, str):
            # Labels may hold ", " themselves ("[0.5, 1.0]"): try every way to cut.
            pieces = label.split(", ")
            for cuts in itertools.combinations(range(1, len(pieces)), len(self.factors) - 1):
                parts = [", ".join(pieces[i:j]) for i, j in itertools.pairwise((0, *cuts, len(pieces)))]
                try:
                    return self.index(tuple(parts))
                except KeyError:
                    continue
        raise KeyError(
            f"A class of this product is named by {len(self.factors)} labels, as {self.label(0)!r} or as a tuple; "
            f"got {label!r}."
        )


def from_description(description: Mapping[str, Any]) -> Classifier:
    """The classifier that ``describe()`` recorded. A Predicate comes back with its names only: it labels, no more."""
    name = description.get("name")
    if name == "fits":
        return Fits(description["inputs"], description["labels"])
    if name == "accuracy":
        return Accuracy(description["inputs"], description["labels"], description["bins"])
    if name == "argmax":
        return Argmax(description["inputs"])
    if name == "predicate":
        return Predicate(None, description["num_classes"], description["names"])
    if name == "product":
        return Product(*(from_description(factor) for factor in description["factors"]))
    plain: dict[Any, type[Classifier]] = {"truth-table": TruthTable, "ones": Ones, "lempel-ziv": LempelZiv}
    if name not in plain:
        raise ValueError(unknown("classifier", name, (*plain, "fits", "accuracy", "argmax", "predicate", "product")))
    return plain[name]()
