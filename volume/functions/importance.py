"""Importance functions: scores of a network's outputs that rise as the network comes nearer to a class.

A score is for guidance only. Which networks are in the class is decided by the decisions themselves, with their tie
rule: inside the class every importance function is +inf, so that no choice of a score can lose part of the class or let
anything else in. For labels the score is the smallest margin y_i f(x_i) over the root mean square of the outputs; for
"at least k right" it is the k-th largest margin; for several parts it is the smallest of their scores, or, where they
are reached one after the other, that of the first part not reached yet. For single labels the latter gives the levels
of the chain rule p(f) = prod_k P(y_k | y_1..y_{k-1}).

Of a network that can shrink all of its outputs together, by its last layer, the score does not depend on their size. By
any other a wrong network comes near the class as it shrinks, and particles are caught where all outputs are nearly 0.
Where outputs cannot shrink (thresholds), their size leads to the class, and the score does see it.

Shape letters: N inputs of the domain, M inputs that the score reads, C outputs, m labelled inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from volume.common.content import ByContent, frozen

# A decision on a tie (a ReLU network that is dead there) has margin 0, yet a wrong one is far from right, and a right
# one from wrong: it counts by the size of a typical output, or dead networks would crowd out the others.
TIE_MARGIN = 1.0


class Seen(NamedTuple):
    """What some networks drawn from the prior give at each input."""

    zero: np.ndarray  # [N] bool: every output of every network was exactly 0
    mean_square: np.ndarray  # [N] over networks and outputs; finite
    shrinks: bool = False  # all outputs go to 0 as the parameters of the last layer do
    num_outputs: int = 1


@dataclass(frozen=True, eq=False)
class ImportanceFunction(ByContent, ABC):
    """A score of one network's outputs at the inputs it reads, [M] for one output or [M, C]. Static under ``jit``."""

    @property
    @abstractmethod
    def rows(self) -> np.ndarray:
        """The inputs of the domain that matter here, ascending, int64."""

    @abstractmethod
    def inside(self, outputs: Array) -> Array:
        """Return whether the network is in the class, a bool."""

    @abstractmethod
    def score(self, outputs: Array) -> Array:
        """Return how near the network is, a float that rises on the way; any value where it is inside."""

    @abstractmethod
    def seen(self, seen: Seen, rows: np.ndarray | None = None) -> ImportanceFunction:
        """Return the importance function of the same class whose score knows what prior draws show.

        ``rows``: those of the whole of which this is a part. Default: its own.
        """

    @abstractmethod
    def onto(self, rows: np.ndarray) -> ImportanceFunction:
        """Return the same function, reading outputs at ``rows`` alone (ascending, all of its own among them)."""

    def data(self) -> tuple[Any, ...]:
        """Return what differs between classes of one shape: passed to compiled steps instead of compiled into them."""
        return ()

    def blank(self) -> ImportanceFunction:
        """Return the function without its data, alike for all classes of one shape."""
        return self

    def filled(self, data: Iterator[Any]) -> ImportanceFunction:
        """Return a blank function with its data, traced or not, taken in order."""
        return self

    def __call__(self, outputs: Array) -> Array:
        """Return the score; +inf inside the class, -inf where it is NaN or an output is not finite."""
        score = jnp.minimum(self.score(outputs), jnp.finfo(outputs.dtype).max)
        score = jnp.where(self.inside(outputs), jnp.inf, score)
        return jnp.where(jnp.all(jnp.isfinite(outputs)) & ~jnp.isnan(score), score, -jnp.inf)


@dataclass(frozen=True, eq=False)
class Right(ImportanceFunction):
    """From ``least`` to ``most`` of the labels are right. All of them: ``least = most = m``."""

    positions: np.ndarray  # [m] inputs of the domain
    labels: np.ndarray  # [m]
    least: int
    most: int
    # Mean square of an output under the prior. None: margins are scaled by all outputs that are read, and nothing else.
    size: float | None = 0.0
    scored: np.ndarray | None = None  # which of the m make up the score; None: all
    always: int = 0  # of the others, right for every network: their output is 0, a tie, class 0, as labelled

    @property
    def rows(self) -> np.ndarray:
        return np.unique(self.positions)

    def seen(self, seen: Seen, rows: np.ndarray | None = None) -> Right:
        """Return the function with a score of the inputs whose output is not always 0, and of their scale.

        Raises:
            ValueError: no network gives the labels that the other inputs need.
        """
        zero = seen.zero[self.positions]
        kept = np.flatnonzero(~zero)
        always = int(np.sum(zero & (self.labels == 0)))
        if self.least - always > len(kept) or self.most < always:
            at = self.positions[np.flatnonzero(zero & (self.labels != 0))]
            where = f" at input {at[0]}" if len(at) else ""
            raise ValueError(
                f"No network is in this class: the output{where} was exactly 0, a tie, which is class 0, in every "
                "network tried. Give the model biases and the prior a bias_std, or change the label."
            )
        alive = np.sum(~seen.zero[self.rows if rows is None else rows])
        size = float(np.mean(seen.mean_square[self.positions[kept]])) if len(kept) else 0.0
        if seen.shrinks and alive * max(1, seen.num_outputs - 1) > 1:  # one margin over its own size is a sign
            size = None
        return replace(self, size=size, scored=frozen(kept, np.int64), always=always)

    def data(self) -> tuple[Any, ...]:
        return (self.labels,) if self.size is None else (self.labels, np.float64(self.size))

    def blank(self) -> Right:
        size = None if self.size is None else 0.0
        return replace(self, labels=frozen(np.zeros_like(self.labels), np.int32), size=size)

    def filled(self, data: Iterator[Any]) -> Right:
        return replace(self, labels=next(data), size=None if self.size is None else next(data))

    def onto(self, rows: np.ndarray) -> Right:
        return replace(self, positions=frozen(np.searchsorted(rows, self.positions), np.int64))

    def _right(self, outputs: Array) -> Array:
        """[m] bool."""
        at = outputs[self.positions]
        decided = at > 0 if outputs.ndim == 1 else jnp.argmax(at, axis=-1)
        return decided.astype(jnp.int32) == self.labels

    def margins(self, outputs: Array, scored: np.ndarray) -> Array:
        """Return by how much each scored label is given (> 0) or missed (< 0), in units of a typical output."""
        at, labels = outputs[self.positions[scored]], self.labels[scored]
        sized = outputs if self.size is None else at
        if outputs.ndim == 1:
            margin, size = at * (2 * labels - 1), jnp.mean(sized**2)
        else:
            own = jnp.take_along_axis(at, labels[:, None], axis=1)
            others = jnp.where(np.arange(at.shape[1]) == labels[:, None], -jnp.inf, at)
            margin = own[:, 0] - jnp.max(others, axis=1)
            size = jnp.mean((sized - sized.mean(axis=1, keepdims=True)) ** 2)
        if self.size is not None:
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
        least, most = self.least - self.always, self.most - self.always
        if least == m:
            return jnp.min(margins)
        rising = jnp.sort(margins)
        enough = rising[m - least] if least > 0 else jnp.inf  # the least-th largest: > 0 where enough are right
        few = -rising[m - 1 - most] if most < m else jnp.inf  # the next one: < 0 where not too many are
        return jnp.minimum(enough, few)


@dataclass(frozen=True, eq=False)
class Every(ImportanceFunction):
    """In all of several classes at once."""

    parts: tuple[ImportanceFunction, ...]

    @property
    def rows(self) -> np.ndarray:
        return np.unique(np.concatenate([part.rows for part in self.parts]))

    def seen(self, seen: Seen, rows: np.ndarray | None = None) -> Every:
        rows = self.rows if rows is None else rows
        return replace(self, parts=tuple(part.seen(seen, rows) for part in self.parts))

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


def right_counts(positions: ArrayLike, labels: ArrayLike, least: int, most: int) -> Right:
    """Return the importance function of "from ``least`` to ``most`` of these labels [m] are right"."""
    return Right(frozen(positions, np.int64), frozen(labels, np.int32), least, most)


def all_right(positions: np.ndarray, labels: np.ndarray, *, chain: bool = False) -> ImportanceFunction:
    """Return the importance function of "all of these labels [m] are right".

    Args:
        positions: inputs of the domain, [m].
        labels: class numbers there, [m].
        chain: reach the labels one after the other, in this order, instead of all at once.
    """
    m = len(positions)
    if chain and m > 1:
        return InTurn(tuple(right_counts(positions[i : i + 1], labels[i : i + 1], 1, 1) for i in range(m)))
    return right_counts(positions, labels, m, m)
