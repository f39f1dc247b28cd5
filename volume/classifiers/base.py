"""What a classifier is: a rule that puts every function of a network in one class.

A :class:`Classifier` is the user's description of the rule. :meth:`Classifier.bind` resolves it against a domain,
raises every early error, and gives the :class:`BoundClassifier` that estimators and reports call. They ask it what they
need to know (its labels, its importance functions, what a class requires), never which classifier it is: a new one is a
new file.

Shape letters: N inputs, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume.classifiers.class_numbers import in_range
from volume.common.content import ByContent
from volume.errors import unknown
from volume.functions import tables
from volume.functions.domains import Domain, Points, first_rows
from volume.functions.importance import Every, ImportanceFunction, InTurn, all_right
from volume.statistics.counts import Counts

# Above this many classes a dense counter per block of draws costs more than counting whole tables.
MAX_DEVICE_CLASSES = 2**16
MAX_CLASSES = 2**62  # class numbers are int64
OUTSIDE = "outside"  # the label of what a classifier leaves out


class Classifier(ByContent, ABC):
    """A rule that puts functions in classes. Implementations are frozen dataclasses, equal and hashed by content."""

    kind: ClassVar[str] = ""
    """The name in a description, by which :func:`from_description` finds the class that can read it."""
    default_label: ClassVar[Any] = None
    """The class that is meant where none is named; None when there is no such class."""
    single_functions: ClassVar[bool] = False
    """Whether every function is a class of its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not (kind := cls.__dict__.get("kind")):
            return
        known = _KINDS.setdefault(kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.__qualname__} is of kind {kind!r}, as {known.__qualname__} is: give another name.")
        _KINDS[kind] = cls

    @abstractmethod
    def bind(self, domain: Domain, num_outputs: int) -> BoundClassifier:
        """Return the rule on this domain and number of outputs; ValueError when they do not fit."""

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record from which :func:`from_description` makes an equal classifier."""
        settings = fields(self)  # type: ignore[arg-type]  # a dataclass
        return {"name": self.kind, **{field.name: _as_json(getattr(self, field.name)) for field in settings}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Classifier:
        """Return the classifier that ``describe`` recorded."""
        settings = fields(cls)  # type: ignore[arg-type]  # a dataclass
        return cls(**{field.name: record[field.name] for field in settings})

    def domain(self) -> Points | None:
        """Return the distinct inputs that the rule itself names, in order of first mention; None when it names none."""
        return None

    def labelled_inputs(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the inputs [m, *input_shape] and labels [m] to train on; None when the rule names no such labels."""
        return None

    def __mul__(self, other: Classifier) -> Product:
        return Product(self, other)


_KINDS: dict[str, type[Classifier]] = {}


def _as_json(value: Any) -> Any:
    """Return a setting as its record holds it: arrays and tuples as lists, classifiers as their own records."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [_as_json(part) for part in value]
    return value.describe() if isinstance(value, Classifier) else value


def from_description(description: Mapping[str, Any]) -> Classifier:
    """Return the classifier that ``describe()`` recorded.

    A Predicate comes back with its names only: it labels, no more.

    Raises:
        ValueError: a kind that no imported class has.
    """
    name = description.get("name")
    if name not in _KINDS:
        raise ValueError(unknown("classifier", name, sorted(_KINDS)))
    return _KINDS[name].from_record(description)


@dataclass(frozen=True, eq=False)
class BoundClassifier(ByContent, ABC):
    """A classifier on a domain: numbers classes 0..num_classes - 1 and names them. Static under ``jax.jit``."""

    classifier: Classifier
    num_inputs: int  # N
    num_outputs: int  # C

    @property
    def route(self) -> Literal["table", "device"]:
        """Where classes are counted: "device", inside the jitted step; "table", from distinct truth tables after it."""
        return "device"

    @property
    def needs_outputs(self) -> bool:
        """True when the class depends on the outputs themselves: call ``classify_outputs``."""
        return False

    @property
    def of_table(self) -> bool:
        """True when the class is a function of the truth table, so that stored tables answer it."""
        return not self.needs_outputs

    @property
    @abstractmethod
    def num_classes(self) -> int | None:
        """Number of classes; None when every table is its own."""

    @property
    def total_classes(self) -> int | None:
        """How many classes there are, whether they are numbered or not; None where that is not known."""
        return self.num_classes

    def classify(self, decisions: Any) -> Any:
        """Return the class numbers [...] of decisions [N, ...]: int32 for JAX arrays, traced or not, else int64."""
        raise TypeError(f"{self.classifier} cannot classify decisions alone.")

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        """Return the class number, an int32 scalar, of one draw's outputs: [N] for one output, else [N, C]."""
        return self.classify(self.decide(outputs))

    def decide(self, outputs: Any) -> jax.Array:
        """Return the decisions [N] of one draw's outputs: [N] for one output, else [N, C]."""
        outputs = jnp.asarray(outputs)
        return outputs > 0 if self.num_outputs == 1 else jnp.argmax(outputs, axis=-1).astype(jnp.int32)

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        """Return the class numbers, int64 [K], of packed tables [K, W], ``chunk`` at a time (default: 64 MiB)."""
        keys = np.asarray(keys, np.uint64)
        result = np.empty(len(keys), np.int64)
        bits = self.num_inputs * tables.bits_per_input(self.num_outputs)
        for rows in tables.chunks(len(keys), bits, chunk):
            decisions = tables.unpack(keys[rows], self.num_inputs, self.num_outputs)
            result[rows] = self.classify(np.ascontiguousarray(decisions.T))
        return result

    def of_tables(self, counts: Counts) -> Counts:
        """Return the counts of these classes from counts of truth tables, every table classified once."""
        if self.num_classes is None:
            return counts
        return counts.regroup(self.classify_keys(counts.keys), self.num_classes)

    @abstractmethod
    def label(self, index: int) -> str:
        """Return the name of class number ``index``."""

    @abstractmethod
    def index(self, label: Any) -> int:
        """Return the number of the class with this label or natural value; KeyError says which there are."""

    def key(self, label: Any) -> np.ndarray:
        """Return the key, uint64 [W], under which a class is counted: its number, or a packed table."""
        return np.array([self.index(label)], np.uint64)

    def labels(self, keys: np.ndarray) -> list[str]:
        """Return the labels of keys [K, W] as :meth:`key` makes them."""
        return [self.label(index) for index in np.asarray(keys)[:, 0].tolist()]

    @property
    def default_labels(self) -> tuple[Any, ...]:
        """The classes that methods for named classes answer for where none is named; () where they have to be named."""
        default = self.classifier.default_label
        return () if default is None else (default,)

    def examples(self) -> np.ndarray:
        """Return the decisions [T, N] of a few functions, chosen so that not all of them are in one class."""
        constant = np.array([[0], [max(self.num_outputs, 2) - 1]], tables.decision_dtype(self.num_outputs))
        return np.repeat(constant, self.num_inputs, axis=1)

    def label_of(self, outputs: jax.Array) -> str:
        """Return the label of the class of one network's outputs, [N] for one output, else [N, C]; not traced."""
        if self.num_classes is not None:
            return self.label(int(self.classify_outputs(outputs)))
        decisions = np.asarray(self.decide(outputs)).astype(tables.decision_dtype(self.num_outputs))
        return self.labels(tables.pack(decisions[None], self.num_outputs))[0]

    def merged_words(self, words: list[np.ndarray]) -> list[np.ndarray]:
        """Return the words of drawn tables, [D] each, with one table for all that are counted under one key.

        Few distinct tables are grouped fast. Most classifiers count each table under its own key.
        """
        return words

    def required_labels(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the inputs [m] and their class numbers [m] that make up class number ``index``.

        A function is in the class exactly when it gives these labels. None where the class is no such set of labels.
        """
        return None

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        """Return a score of the outputs that rises on the way to class number ``index``, and is +inf inside it.

        Args:
            index: of the class.
            chain: reach labels one after the other, in the order of the domain, instead of all at once.

        Raises:
            ValueError: no margin leads to this class.
        """
        if (required := self.required_labels(index)) is not None:
            return all_right(*required, chain=chain)
        raise ValueError(
            f"No margin leads to the class {self.label(index)!r} of {self.classifier!r}: give score=, a function of "
            "one network's outputs that rises on the way to the class, or use volume.Direct."
        )

    def describe(self) -> dict[str, Any]:
        """Return the record of the classifier that was bound."""
        return self.classifier.describe()


@dataclass(frozen=True, eq=False)
class Conditional(BoundClassifier):
    """A classifier of the functions in one class of another: they are split, and all others are "outside"."""

    within: BoundClassifier
    split: BoundClassifier
    wanted: int  # the class number of ``within`` that is split

    @property
    def num_inside(self) -> int | None:
        """Number of classes inside, listed before "outside"; None when every table is its own."""
        return None if self.num_classes is None else self.num_classes - 1

    @property
    @abstractmethod
    def outside_key(self) -> np.ndarray:
        """The key, uint64 [W], under which all functions outside are counted."""

    @abstractmethod
    def holds(self, keys: np.ndarray) -> np.ndarray:
        """Return whether each of the keys [K, W] is that of a class inside, bool [K]."""

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        if self.label(index) == OUTSIDE:
            return super().importance_function(index, chain=chain)
        within = self.within.importance_function(self.wanted, chain=chain)
        return InTurn((within, self.split.importance_function(index, chain=chain)))


def union_of_inputs(classifiers: Sequence[Classifier], what: str) -> Points | None:
    """Return the distinct inputs that these classifiers name, in order of first mention; None when they name none."""
    parts = [part.inputs for each in classifiers if (part := each.domain()) is not None]
    if not parts:
        return None
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"The inputs named by {what} differ in shape: name the domain.")
    rows = np.concatenate(parts)
    return Points(rows[np.unique(first_rows(rows))])


def check_decided_together(parts: Sequence[BoundClassifier], num_classes: int) -> None:
    """Check that the parts of a classifier can be decided together.

    Raises:
        ValueError: one part needs the outputs and another is only decided from stored truth tables, or the classes of
            one cannot be numbered.
    """
    for part in parts:
        if part.num_classes is None:
            raise ValueError(
                f"The classes of {part.classifier!r} are single functions, not listed in advance: they cannot be "
                "combined with others. Estimate it alone."
            )
    on_table = [part for part in parts if part.route == "table"]
    if any(part.needs_outputs for part in parts) and (on_table or num_classes > MAX_DEVICE_CLASSES):
        other = f"{on_table[0].classifier} is" if on_table else f"{num_classes} classes are"
        raise ValueError(
            f"A Predicate is decided while drawing, but {other} counted from truth tables afterwards: "
            "use coarser classifiers beside the Predicate, or two runs."
        )


@dataclass(frozen=True, eq=False, init=False)
class Product(Classifier):
    """One class per combination of the factors' classes: "a-label, b-label", or a tuple of labels."""

    kind: ClassVar[str] = "product"
    factors: tuple[Classifier, ...]

    def __init__(self, *factors: Classifier) -> None:
        flat: list[Classifier] = []
        for factor in factors:
            if not isinstance(factor, Classifier):
                raise TypeError(f"Product takes classifiers; got {factor!r}.")
            flat += factor.factors if isinstance(factor, Product) else [factor]
        if len(flat) < 2:
            raise ValueError(f"Product needs two or more classifiers; got {len(flat)}.")
        if any(factor.single_functions for factor in flat):
            raise ValueError(
                "TruthTable cannot be a factor: a table already determines every class that the decisions decide. "
                "Use TruthTable alone and group its report."
            )
        object.__setattr__(self, "factors", tuple(flat))

    def domain(self) -> Points | None:
        return union_of_inputs(self.factors, "the factors of this product")

    def bind(self, domain: Domain, num_outputs: int) -> BoundProduct:
        bound = BoundProduct(
            self, domain.num_inputs, num_outputs, tuple(factor.bind(domain, num_outputs) for factor in self.factors)
        )
        check_decided_together(bound.factors, bound.num_classes)
        if bound.num_classes > MAX_CLASSES:
            raise ValueError(f"This product has {bound.num_classes} classes, more than 2**62: use coarser factors.")
        return bound

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Product:
        return cls(*map(from_description, record["factors"]))


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

    def importance_function(self, index: int, *, chain: bool = False) -> Every:
        numbered = zip(self.factors, self.digits(index), strict=True)
        return Every(tuple(factor.importance_function(digit, chain=chain) for factor, digit in numbered))

    def label(self, index: int) -> str:
        return ", ".join(factor.label(digit) for factor, digit in zip(self.factors, self.digits(index), strict=True))

    def digits(self, index: int) -> list[int]:
        """Return the class number of every factor."""
        index, digits = in_range(index, self.num_classes), []
        for radix in self._radices[::-1]:
            index, digit = divmod(index, radix)
            digits.append(digit)
        return digits[::-1]

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
