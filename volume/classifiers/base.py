"""What a classifier is to this project: a rule that puts every function of a network in one class.

A :class:`Classifier` is the user's description of the rule. :meth:`Classifier.bind` resolves it against a domain,
raises every early error, and gives the :class:`BoundClassifier` that samplers and reports call.

Shape letters: N inputs, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume.common.content import ByContent
from volume.functions import tables
from volume.functions.domains import Domain, Points
from volume.functions.importance import ImportanceFunction, InTurn, all_right

if TYPE_CHECKING:
    from volume.classifiers.product import Product
    from volume.statistics.counts import Counts

# Above this many classes a dense counter per block of draws costs more than counting whole tables.
MAX_DEVICE_CLASSES = 2**16
MAX_CLASSES = 2**62  # class numbers are int64
OUTSIDE = "outside"  # the label of what a classifier leaves out


class Classifier(ByContent, ABC):
    """A rule that puts functions in classes. Implementations are frozen dataclasses, equal and hashed by content."""

    @abstractmethod
    def bind(self, domain: Domain, num_outputs: int) -> BoundClassifier:
        """The rule on this domain and number of outputs; ValueError when they do not fit."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """A JSON-able record from which :func:`volume.classifiers.from_description` makes an equal classifier."""

    def domain(self) -> Points | None:
        """The distinct inputs that the rule itself names, in order of first mention; None when it names none."""
        return None

    def __mul__(self, other: Classifier) -> Product:
        from volume.classifiers.product import Product

        return Product(self, other)


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

    def classify(self, decisions: Any) -> Any:
        """Class numbers [...] of decisions [N, ...]: int32 for JAX arrays (traced or not), int64 for NumPy ones."""
        raise TypeError(f"{self.classifier} cannot classify decisions alone.")

    def classify_outputs(self, outputs: jax.Array) -> jax.Array:
        """Class number, int32 scalar, of one draw's outputs: [N] for one output, else [N, C]."""
        outputs = jnp.asarray(outputs)
        decided = outputs > 0 if self.num_outputs == 1 else jnp.argmax(outputs, axis=-1).astype(jnp.int32)
        return self.classify(decided)

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        """Class numbers, int64 [K], of packed tables [K, W], ``chunk`` at a time (default: 64 MiB unpacked)."""
        keys = np.asarray(keys, np.uint64)
        result = np.empty(len(keys), np.int64)
        bits = self.num_inputs * tables.bits_per_input(self.num_outputs)
        for rows in tables.chunks(len(keys), bits, chunk):
            decisions = tables.unpack(keys[rows], self.num_inputs, self.num_outputs)
            result[rows] = self.classify(np.ascontiguousarray(decisions.T))
        return result

    def of_tables(self, counts: Counts) -> Counts:
        """The counts of these classes from counts of truth tables, every table classified once."""
        if self.num_classes is None:
            return counts
        return counts.regroup(self.classify_keys(counts.keys), self.num_classes)

    @abstractmethod
    def label(self, index: int) -> str:
        """The name of class number ``index``."""

    @abstractmethod
    def index(self, label: Any) -> int:
        """The number of the class with this label or natural value; KeyError says which there are."""

    def key(self, label: Any) -> np.ndarray:
        """The key, uint64 [W], under which a class is counted: its number, or for TruthTable the packed table."""
        return np.array([self.index(label)], np.uint64)

    def labels(self, keys: np.ndarray) -> list[str]:
        """The labels of keys [K, W] as :meth:`key` makes them."""
        return [self.label(index) for index in np.asarray(keys)[:, 0].tolist()]

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
        return self.classifier.describe()


@dataclass(frozen=True, eq=False)
class Conditional(BoundClassifier):
    """A classifier of the functions in one class of another: they are split, and all others are "outside"."""

    within: BoundClassifier
    split: BoundClassifier
    wanted: int  # the class number of ``within`` that is split

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


def in_range(index: int, num_classes: int) -> int:
    """The class number itself; IndexError outside 0..num_classes - 1."""
    if not 0 <= index < num_classes:
        raise IndexError(f"Class numbers run from 0 to {num_classes - 1}; got {index}.")
    return int(index)


def as_index(count: Any) -> Any:
    """Integers as class numbers: int32 on the device, int64 on the host."""
    return count.astype(jnp.int32 if isinstance(count, jax.Array) else np.int64)


def look_up(table: np.ndarray, index: Any) -> Any:
    """``table[index]`` for NumPy and for traced indices."""
    return as_index((jnp.asarray(table) if isinstance(index, jax.Array) else table)[index])


def select(decisions: Any, positions: np.ndarray, num_inputs: int) -> Any:
    """``decisions[positions]`` [m, ...], without the copy when that is all of them."""
    return decisions if np.array_equal(positions, np.arange(num_inputs)) else decisions[positions]


def is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
