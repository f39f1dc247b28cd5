"""What leads a splitting run towards a class: a score of the outputs that rises as a network comes nearer.

A score only guides. Which networks are in the class is decided by the decisions themselves, with their tie rule:
inside, every guide is +inf, so that no choice of a score can lose part of the class or let anything else in. For labels
the score is the smallest margin y_i f(x_i) over the root mean square of the outputs; for "at least k right" the k-th
largest (Accuracy); for several parts the smallest of theirs, or, part after part, that of the first part not reached
yet, which for single labels gives the levels of the chain rule p(f) = prod_k P(y_k | y_1..y_{k-1}).

Shape letters: N inputs of the domain, M inputs looked at, C outputs, m labelled inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.argmax import BoundArgmax
from volume.classifiers.base import BoundClassifier
from volume.classifiers.defects import BoundOnTrigger
from volume.classifiers.descriptions import BoundOnes, BoundTruthTable
from volume.classifiers.given import OUTSIDE, BoundGiven, BoundGivenTables
from volume.classifiers.labels import BoundAccuracy, BoundFits
from volume.classifiers.product import BoundProduct
from volume.common.content import ByContent, frozen
from volume.functions import tables

# A decision on a tie (a ReLU network that is dead there) has margin 0, yet a wrong one is far from right, and a right
# one from wrong: it counts by the size of a typical output, or dead networks would crowd out the others.
TIE_MARGIN = 1.0


class Seen(NamedTuple):
    """What some networks drawn from the prior give at each input."""

    zero: np.ndarray  # [N] bool: every output of every network was exactly 0
    mean_square: np.ndarray  # [N] over networks and outputs; finite


@dataclass(frozen=True, eq=False)
class Guide(ByContent, ABC):
    """A score of one network's outputs at the inputs looked at, [M] for one output or [M, C]. Static under ``jit``."""

    @property
    @abstractmethod
    def rows(self) -> np.ndarray:
        """Inputs of the domain that matter here, ascending, int64."""

    @abstractmethod
    def inside(self, outputs: Array) -> Array:
        """Whether the network is in the class, a bool."""

    @abstractmethod
    def score(self, outputs: Array) -> Array:
        """How near it is, a float that rises on the way; any value where it is inside."""

    @abstractmethod
    def seen(self, seen: Seen) -> Guide:
        """The same class with a score that knows what prior draws show."""

    @abstractmethod
    def onto(self, rows: np.ndarray) -> Guide:
        """The same guide, reading outputs at the inputs ``rows`` (ascending, all of its own among them) alone."""

    def data(self) -> tuple[Any, ...]:
        """What differs between classes of one shape: passed to the compiled steps instead of compiled into them."""
        return ()

    def blank(self) -> Guide:
        """The guide without its data, alike for all classes of one shape."""
        return self

    def filled(self, data: Iterator[Any]) -> Guide:
        """A blank guide with its data, traced or not, taken in order."""
        return self

    def __call__(self, outputs: Array) -> Array:
        """The score; +inf inside the class, -inf where it is NaN or an output is not finite."""
        score = jnp.minimum(self.score(outputs), jnp.finfo(outputs.dtype).max)
        score = jnp.where(self.inside(outputs), jnp.inf, score)
        return jnp.where(jnp.all(jnp.isfinite(outputs)) & ~jnp.isnan(score), score, -jnp.inf)


@dataclass(frozen=True, eq=False)
class Right(Guide):
    """``least`` to ``most`` of the labels are given. All of them: ``least = most = m``."""

    positions: np.ndarray  # [m] inputs of the domain
    labels: np.ndarray  # [m]
    least: int
    most: int
    size: float = 0.0  # mean square of an output under the prior
    scored: np.ndarray | None = None  # which of the m make up the score; None: all
    given: int = 0  # of the others, right for every network: their output is 0, a tie, class 0, as asked

    @property
    def rows(self) -> np.ndarray:
        return np.unique(self.positions)

    def seen(self, seen: Seen) -> Right:
        """With a score of the inputs whose output is not always 0, and their scale.

        ValueError when no network gives the labels that are asked of the others.
        """
        zero = seen.zero[self.positions]
        kept = np.flatnonzero(~zero)
        given = int(np.sum(zero & (self.labels == 0)))
        if self.least - given > len(kept) or self.most < given:
            at = self.positions[np.flatnonzero(zero & (self.labels != 0))]
            where = f" at input {at[0]}" if len(at) else ""
            raise ValueError(
                f"No network is in this class: the output{where} was exactly 0, a tie, which is class 0, in every "
                "network tried. Give the model biases and the prior a bias_std, or change the label."
            )
        size = float(np.mean(seen.mean_square[self.positions[kept]])) if len(kept) else 0.0
        return replace(self, size=size, scored=frozen(kept, np.int64), given=given)

    def data(self) -> tuple[Any, ...]:
        return self.labels, np.float64(self.size)

    def blank(self) -> Right:
        return replace(self, labels=frozen(np.zeros_like(self.labels), np.int32), size=0.0)

    def filled(self, data: Iterator[Any]) -> Right:
        return replace(self, labels=next(data), size=next(data))

    def onto(self, rows: np.ndarray) -> Right:
        return replace(self, positions=frozen(np.searchsorted(rows, self.positions), np.int64))

    def _right(self, outputs: Array) -> Array:
        """[m] bool."""
        at = outputs[self.positions]
        decided = at > 0 if outputs.ndim == 1 else jnp.argmax(at, axis=-1)
        return decided.astype(jnp.int32) == self.labels

    def margins(self, outputs: Array, scored: np.ndarray) -> Array:
        """By how much each scored label is given (> 0) or missed (< 0), in units of a typical output."""
        at, labels = outputs[self.positions[scored]], self.labels[scored]
        if outputs.ndim == 1:
            margin, size = at * (2 * labels - 1), jnp.mean(at**2)
        else:
            own = jnp.take_along_axis(at, labels[:, None], axis=1)
            others = jnp.where(np.arange(at.shape[1]) == labels[:, None], -jnp.inf, at)
            margin, size = own[:, 0] - jnp.max(others, axis=1), jnp.mean((at - at.mean(axis=1, keepdims=True)) ** 2)
        # The part from the prior keeps the score from standing still: one margin over its own size is a sign.
        size = size + self.size / len(labels)
        scaled = margin / jnp.sqrt(jnp.maximum(size, jnp.finfo(at.dtype).tiny))
        return jnp.where(margin == 0, jnp.where(self._right(outputs)[scored], TIE_MARGIN, -TIE_MARGIN), scaled)

    def inside(self, outputs: Array) -> Array:
        right = self._right(outputs)
        if self.least == len(self.labels):
            return jnp.all(right)
        count = jnp.sum(right)
        return (count >= self.least) & (count <= self.most)

    def score(self, outputs: Array) -> Array:
        scored = np.arange(len(self.labels)) if self.scored is None else self.scored
        if not len(scored):
            return jnp.zeros((), outputs.dtype)
        margins, m = self.margins(outputs, scored), len(scored)
        least, most = self.least - self.given, self.most - self.given
        if least == m:
            return jnp.min(margins)
        rising = jnp.sort(margins)
        enough = rising[m - least] if least > 0 else jnp.inf  # the least-th largest: > 0 where enough are right
        few = -rising[m - 1 - most] if most < m else jnp.inf  # the next one: < 0 where not too many are
        return jnp.minimum(enough, few)


@dataclass(frozen=True, eq=False)
class Every(Guide):
    """In all of several classes at once."""

    parts: tuple[Guide, ...]

    @property
    def rows(self) -> np.ndarray:
        return np.unique(np.concatenate([part.rows for part in self.parts]))

    def seen(self, seen: Seen) -> Every:
        return replace(self, parts=tuple(part.seen(seen) for part in self.parts))

    def onto(self, rows: np.ndarray) -> Every:
        return replace(self, parts=tuple(part.onto(rows) for part in self.parts))

    def data(self) -> tuple[Any, ...]:
        return sum((part.data() for part in self.parts), ())

    def blank(self) -> Every:
        return replace(self, parts=tuple(part.blank() for part in self.parts))

    def filled(self, data: Iterator[Any]) -> Every:
        return replace(self, parts=tuple(part.filled(data) for part in self.parts))

    def inside(self, outputs: Array) -> Array:
        return jnp.all(jnp.stack([part.inside(outputs) for part in self.parts]))

    def score(self, outputs: Array) -> Array:
        return jnp.min(jnp.stack([part(outputs) for part in self.parts]))  # a part that is reached says +inf


@dataclass(frozen=True, eq=False)
class InTurn(Every):
    """In all of several classes, reached one after the other: the score is 2 k + s / (1 + |s|) where the first k are
    reached and s is the score of the next."""

    def score(self, outputs: Array) -> Array:
        scores = jnp.stack([part(outputs) for part in self.parts])
        first = jnp.argmax(scores < jnp.inf)
        return 2.0 * first + scores[first] / (1 + jnp.abs(scores[first]))


@dataclass(frozen=True, eq=False)
class InClass(ByContent):
    """What a classifier decides, without a way there."""

    bound: BoundClassifier
    index: int

    def inside(self, outputs: Array) -> Array:
        return self.bound.classify_outputs(outputs) == self.index


@dataclass(frozen=True, eq=False)
class Scored(Guide):
    """A class led to by the user's score."""

    decided: Guide | InClass
    num_inputs: int
    user_score: Callable[[Array], Any]

    @property
    def rows(self) -> np.ndarray:
        return np.arange(self.num_inputs)  # who knows what a user's score reads

    def seen(self, seen: Seen) -> Scored:
        return self

    def onto(self, rows: np.ndarray) -> Scored:
        return self

    def inside(self, outputs: Array) -> Array:
        return self.decided.inside(outputs)

    def score(self, outputs: Array) -> Array:
        return jnp.asarray(self.user_score(outputs), outputs.dtype)


def guide(
    bound: BoundClassifier, label: Any, *, score: Callable[[Array], Any] | None = None, chain: bool = False
) -> Guide:
    """The guide to one class.

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
        return _of(bound, index, chain)
    _check_score(score, bound)
    try:  # most classes are decided by their labels
        return Scored(_of(bound, index, False), bound.num_inputs, score)
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


def _of(bound: BoundClassifier, index: int, chain: bool) -> Guide:
    if isinstance(bound, BoundFits):
        m = len(bound.labels_at)
        if index == 1:
            return _labels(bound.positions, bound.labels_at, chain)
        return _right(bound.positions, bound.labels_at, 0, m - 1)
    if isinstance(bound, BoundAccuracy) and len(right := bound.counts_in(index)):
        return _right(bound.positions, bound.labels_at, int(right[0]), int(right[-1]))
    if isinstance(bound, BoundOnTrigger) and (found := bound.counted(index)) is not None:
        labelled, right = found
        return _right(labelled.positions, labelled.labels_at, int(right[0]), int(right[-1]))
    if isinstance(bound, BoundGivenTables) and bound.label(index) != OUTSIDE:
        return InTurn((_of(bound.within, bound.wanted, chain), _of(bound.split, index, chain)))
    if isinstance(bound, BoundTruthTable):
        table = tables.unpack(bound.key(bound.label(index))[None], bound.num_inputs, bound.num_outputs)[0]
        return _labels(np.arange(bound.num_inputs), table, chain)
    if isinstance(bound, BoundOnes) and bound.num_outputs == 1:
        return _right(np.arange(bound.num_inputs), np.ones(bound.num_inputs, int), index, index)
    if isinstance(bound, BoundArgmax):
        return _labels(
            bound.positions, tables.read_label(bound.label(index), len(bound.positions), bound.num_outputs), chain
        )
    if isinstance(bound, BoundProduct):
        return Every(tuple(_of(part, i, chain) for part, i in zip(bound.factors, bound.digits(index), strict=True)))
    if isinstance(bound, BoundGiven) and index != bound.outside:
        return InTurn((_of(bound.within, bound.wanted, chain), _of(bound.split, index, chain)))
    raise ValueError(
        f"No margin leads to the class {bound.label(index)!r} of {bound.classifier!r}: give score=, a function of one "
        "network's outputs that rises on the way to the class, or use volume.Direct."
    )


def _labels(positions: np.ndarray, labels: np.ndarray, chain: bool) -> Guide:
    m = len(positions)
    if chain and m > 1:
        return InTurn(tuple(_right(positions[i : i + 1], labels[i : i + 1], 1, 1) for i in range(m)))
    return _right(positions, labels, m, m)


def _right(positions: np.ndarray, labels: np.ndarray, least: int, most: int) -> Right:
    return Right(frozen(positions, np.int64), frozen(labels, np.int32), least, most)
