"""Adding two numbers, as a task of any size: small enough to be measured, or as large as the counting argument likes.

Two numbers of ``digits`` digits in some base are N = base^(2 digits) pairs, and their sum one of C = 2 base^digits - 1
classes. The counting argument is about 4 decimal digits: 10^8 pairs, 19,999 sums. A network's volumes can be measured
in a small base; both can be counted, with the same formulas (volume.functions.counting).

Each digit goes in as a one-hot vector: symbols, as a language model reads them, of which nothing says that 3 comes
after 2. ``coding="numeric"`` gives each as one number d / (base - 1), in which the sum is linear.

Shape letters: N pairs, C sums, D numbers in one input, m training pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.common.logs import share_text
from volume.common.whole_numbers import whole_numbers
from volume.errors import unknown, whole
from volume.functions.counting import Counting
from volume.functions.domains import Points
from volume.functions.targets import split as split_inputs

if TYPE_CHECKING:
    from volume.models import MLP

MAX_PAIRS = 1 << 20  # more are counted, not listed
MAX_DIGITS = 100  # counting needs no list, and takes N up to 1e300
CODINGS = ("one-hot", "numeric")


@dataclass(frozen=True)
class Addition:
    """The pairs of two numbers with so many digits, labelled by their sum.

    Pair i is (a, b) with i = a base^digits + b; an input holds the digits of a, then those of b, the most significant
    first. Properties that list the pairs exist up to 2^20 of them; `counting` always does.

    Args:
        base: 2 or more.
        digits: of each number, 1 or more.
        coding: "one-hot", or "numeric": a digit d as the number d / (base - 1).

    Raises:
        ValueError: anything else.
    """

    base: int
    digits: int
    coding: str = "one-hot"

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", whole("base", self.base, limit=1000))
        object.__setattr__(self, "digits", whole("digits", self.digits, limit=MAX_DIGITS))
        if self.base < 2:
            raise ValueError("base=1 has one digit: give a base of 2 or more.")
        if self.coding not in CODINGS:
            raise ValueError(unknown("coding", self.coding, CODINGS))
        if self.base ** (2 * self.digits) > 10**300:
            raise ValueError(f"{self.digits} digits in base {self.base} are more than 1e300 pairs: give fewer.")

    @property
    def num_inputs(self) -> int:
        """N, the number of pairs."""
        return self.base ** (2 * self.digits)

    @property
    def num_outputs(self) -> int:
        """C, the number of sums: 0 to 2 base^digits - 2."""
        return 2 * self.base**self.digits - 1

    @cached_property
    def pairs(self) -> np.ndarray:
        """The two numbers of every pair, int64 [N, 2]."""
        if self.num_inputs > MAX_PAIRS:
            raise ValueError(
                f"{self.num_inputs:,} pairs are too many to list (limit {MAX_PAIRS:,}): take a smaller base or fewer "
                "digits to measure volumes; counting() answers for any size."
            )
        return np.stack(np.divmod(np.arange(self.num_inputs), self.base**self.digits), axis=1)

    @cached_property
    def inputs(self) -> np.ndarray:
        """What the network sees, float64 [N, D]: D = 2 digits base for one-hot, 2 digits for numeric coding."""
        powers = self.base ** np.arange(self.digits - 1, -1, -1)
        digits = (self.pairs[:, :, None] // powers % self.base).reshape(len(self.pairs), -1)
        if self.coding == "numeric":
            return digits / (self.base - 1)
        return np.eye(self.base)[digits].reshape(len(digits), -1)

    @property
    def labels(self) -> np.ndarray:
        """The sum of every pair, int64 [N]."""
        return self.pairs.sum(axis=1)

    @property
    def domain(self) -> Points:
        return Points(self.inputs)

    def model(self, hidden: Sequence[int] = (40, 40), activation: str = "relu", *, bias: bool = True) -> MLP:
        """Return a fully connected network from one pair to C outputs, whose argmax is its answer."""
        from volume.models import MLP

        width = 2 * self.digits * (self.base if self.coding == "one-hot" else 1)
        return MLP((width, *hidden, self.num_outputs), activation=activation, bias=bias)

    def split(self, num_train: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(training positions [m], test positions [N - m]); see `volume.split`."""
        return split_inputs(len(self.pairs), num_train, seed)

    def fits(self, train: ArrayLike) -> Fits:
        """Right on the pairs at these positions?"""
        at = self._positions("train", train)
        return Fits(self.inputs[at], self.labels[at])

    def given(self, train: ArrayLike, test: ArrayLike, bins: int | Sequence[float] | None = None) -> Given:
        """Return functions that are right on all training pairs, by their accuracy on the test pairs (bins as in
        Accuracy)."""
        at = self._positions("test", test)
        return Given(self.fits(train), Accuracy(self.inputs[at], self.labels[at], bins))

    def _positions(self, name: str, positions: ArrayLike) -> np.ndarray:
        """Return positions as int64; ValueError for anything but positions of pairs."""
        at, bad = whole_numbers(positions)
        if at.ndim != 1 or np.asarray(positions).dtype == bool or (bad | (at < 0) | (at >= self.num_inputs)).any():
            raise ValueError(f"{name} takes positions of pairs, 0 to {self.num_inputs - 1}, as split() gives them.")
        return at

    def counting(self, num_train: int, at_least: int | None = None, *, digits: int = 5) -> Counting:
        """Return the numbers of functions on all pairs, for ``num_train`` labels given; see `Counting`."""
        return Counting(self.num_inputs, self.num_outputs, num_train, at_least, digits)

    def __str__(self) -> str:
        return f"base {self.base}, {self.digits} digit{'s' if self.digits > 1 else ''}"


def count_additions(*cases: tuple[Addition, int, float]) -> str:
    """Return counts for several sizes side by side, as text: one column a case.

    Args:
        cases: (addition, number of training pairs, accuracy): the last line is the share of the functions that fit
            which are right on at least that share of all other pairs.
    """
    names = (
        "pairs",
        "sums",
        "functions",
        "training pairs",
        "functions that fit",
        "as a fraction",
        "of those, right on",
    )
    columns: list[tuple[str, ...]] = [("", *names, "their share")]
    for addition, num_train, accuracy in cases:
        if not 0 <= accuracy <= 1:
            raise ValueError(f"The accuracy is a share of the other pairs, 0 to 1; got {accuracy!r}.")
        free = addition.num_inputs - num_train
        at_least = math.ceil(accuracy * free - 1e-9 * free)  # .7 * 10 is 7, whatever floats say
        count = addition.counting(num_train, at_least)
        assert count.log_share is not None
        columns.append(
            (
                str(addition),
                f"{count.num_inputs:,}",
                f"{count.num_outputs:,}",
                str(count.functions),
                f"{num_train:,}",
                str(count.fitting),
                share_text(count.log_fraction),
                f"{at_least:,}+ of {free:,}",
                share_text(count.log_share),
            )
        )
    widths = [max(map(len, column)) for column in columns]
    first, *others = widths
    return "\n".join(
        "  ".join(
            (row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True)))
        ).rstrip()
        for row in zip(*columns, strict=True)
    )
