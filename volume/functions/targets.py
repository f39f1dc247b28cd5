"""Named functions of n bits, as labels, and the ways to choose training inputs.

A target is an array of labels in the order of `BooleanCube(n)`: input i is i in binary, its first digit the most
significant. `read` takes the words of the command line, such as "majority" or "leading:3".

Splits are drawn by NumPy's default generator, so a seed names the same inputs everywhere: `split` is
``default_rng(seed).permutation(N)[:m]``, `random_labels` draws its inputs by ``default_rng(seed).choice``.

Shape letters: N inputs, n bits, m training inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from volume.common.choices import spelled
from volume.errors import unknown
from volume.functions.domains import MAX_CUBE


def first_bit(n: int) -> np.ndarray:
    """1 where the first bit is 1. Labels uint8 [2^n], as of every target below."""
    return _bits(n)[:, 0]


def majority(n: int) -> np.ndarray:
    """1 where more than half of the bits are 1; a tie, which an even n has, is 0."""
    return (2 * _ones(n) > n).astype(np.uint8)


def parity(n: int) -> np.ndarray:
    """1 where the number of ones is odd."""
    return (_ones(n) % 2).astype(np.uint8)


def constant(n: int, label: int = 0) -> np.ndarray:
    """Return the same label, 0 or 1, everywhere."""
    if label not in (0, 1):
        raise ValueError(f"The label of a constant target is 0 or 1; got {label!r}.")
    return np.full(2 ** _size(n), label, np.uint8)


def random(n: int, seed: int = 0) -> np.ndarray:
    """Fair coin tosses, ``default_rng(seed).integers(0, 2, 2^n)``."""
    return np.asarray(np.random.default_rng(seed).integers(0, 2, 2 ** _size(n)), np.uint8)


def pattern(n: int, digits: str) -> np.ndarray:
    """These digits over and over: "0011" is 0011 0011 ..., the second last bit (Mingard et al. 2021 write it so)."""
    if not digits or set(digits) - {"0", "1"} or len(digits) > 2 ** _size(n):
        raise ValueError(f"A pattern is 1 to {2**n} digits 0 and 1, such as 0011; got {digits!r}.")
    return np.resize(np.array([int(digit) for digit in digits], np.uint8), 2**n)


def leading(n: int, k: int) -> np.ndarray:
    """1 where the first k bits are all 1: a rare pattern, 2^-k of the inputs. k = 1 is the first bit."""
    if not 1 <= k <= _size(n):
        raise ValueError(f"leading asks for the first 1 to {n} bits; got {k}.")
    return np.asarray(_bits(n)[:, :k].all(axis=1), np.uint8)


def at_least(n: int, k: int) -> np.ndarray:
    """1 where k or more of the bits are 1: rare when k is near n."""
    if not 1 <= k <= _size(n):
        raise ValueError(f"at-least asks for 1 to {n} ones; got {k}.")
    return (_ones(n) >= k).astype(np.uint8)


# Name -> the target, and what its argument after the colon is: its kind, and whether it may be left out.
TARGETS: dict[str, tuple[Callable[..., np.ndarray], str, bool]] = {
    "first-bit": (first_bit, "", False),
    "majority": (majority, "", False),
    "parity": (parity, "", False),
    "constant": (constant, "whole", False),
    "random": (random, "whole", False),
    "pattern": (pattern, "digits", True),
    "leading": (leading, "whole", True),
    "at-least": (at_least, "whole", True),
}


def check_word(word: str) -> tuple[str, tuple[Any, ...]]:
    """Return a target's word as its name and arguments: "leading:3", "random:7", "0011"; ValueError for what is
    none."""
    name, colon, rest = word.partition(":")
    if not colon and name and not set(name) - {"0", "1"}:
        return "pattern", (name,)
    name = spelled(name, TARGETS) or name
    if name not in TARGETS:
        raise ValueError(unknown("target", name, (*TARGETS, "0011")))
    _, kind, needed = TARGETS[name]
    if not rest and not colon and not needed:
        return name, ()
    if not kind:
        raise ValueError(f"The target {name} takes nothing after it; got {word!r}.")
    if not rest or set(rest) - set("01" if kind == "digits" else "0123456789"):
        example = "pattern:0011" if kind == "digits" else f"{name}:{1 if name == 'constant' else 3}"
        raise ValueError(f"Expected a target such as {example}; got {word!r}.")
    return name, (rest if kind == "digits" else int(rest),)


def target(word: str, n: int) -> np.ndarray:
    """Return the labels, uint8 [2^n], of a target on ``BooleanCube(n)``.

    Args:
        word: "first-bit"; "majority" (ties are 0); "parity"; "constant" or "constant:1"; "random" or "random:SEED";
            digits that repeat, "0011" or "pattern:0011"; "leading:K", 1 where the first K bits are all 1; "at-least:K",
            1 where K or more bits are 1.
        n: number of bits, 1 to 24.

    Raises:
        ValueError: an unknown word, or one that does not fit n bits.
    """
    name, arguments = check_word(word)
    return TARGETS[name][0](n, *arguments)


def split(num_inputs: int, num_train: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(training positions [m], the others [N - m]), int64, both in the order drawn.

    ``default_rng(seed).permutation(N)`` cut after m. ValueError unless 1 <= m <= N.
    """
    if not 1 <= num_train <= num_inputs:
        raise ValueError(f"num_train is {num_train}; give how many of the {num_inputs} inputs to train on, 1 or more.")
    order = np.random.default_rng(seed).permutation(num_inputs)
    return order[:num_train], order[num_train:]


def random_labels(num_inputs: int, num_train: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(positions [m], fair labels 0 and 1 [m]), int64: something to memorise, where no other input has a right label.

    Positions are ``default_rng(seed).choice(N, m, replace=False)``; the same generator's next ``integers(0, 2, m)`` are
    the labels. ValueError unless 1 <= m <= N.
    """
    if not 1 <= num_train <= num_inputs:
        raise ValueError(f"num_train is {num_train}; give how many of the {num_inputs} inputs to label, 1 or more.")
    rng = np.random.default_rng(seed)
    return rng.choice(num_inputs, num_train, replace=False), rng.integers(0, 2, num_train)


def _size(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_CUBE:
        raise ValueError(f"A target needs a whole number of bits, 1 to {MAX_CUBE}; got {n!r}.")
    return int(n)


def _bits(n: int) -> np.ndarray:
    """[2^n, n] uint8, the digits of 0..2^n - 1."""
    return ((np.arange(2 ** _size(n))[:, None] >> np.arange(n - 1, -1, -1)) & 1).astype(np.uint8)


def _ones(n: int) -> np.ndarray:
    """[2^n], the number of ones of 0..2^n - 1."""
    return np.bitwise_count(np.arange(2 ** _size(n)))  # uint8: sums up to 24
