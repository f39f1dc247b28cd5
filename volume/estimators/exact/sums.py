"""Outputs of a shallow network on a lattice as sums of whole numbers: the fast path of `Exact`.

With one hidden layer the outputs on the domain are a sum over units (and the output biases), one vector of N C whole
numbers each, in units of a power of two. Every unit takes its vector from the same list, so the number of
parameterisations behind each vector of outputs is a convolution of these lists: equal partial sums are merged, their
numbers of parameterisations add up, and networks that no input can tell apart are never listed one by one. The
units are divided into two sides; the decisions of every pair of partial sums, one from each, finish the count (meet in
the middle). Without a hidden layer the terms are those of the inputs.

Orbits under permutations of the hidden units are multisets of h unit types. Their generating function in the group ring
of these vectors is the complete homogeneous symmetric one, so Newton's identity (Macdonald 1995, Symmetric Functions
and Hall Polynomials, I.2.10) counts them by the same convolutions, all in whole numbers:

    h H_h = sum_{k=1..h} P_k H_{h-k},   P_k = sum over unit types u of x^(k v_u).

Where units may be negated as well (an odd activation), the types are classes of units up to sign.

A vector is held as a few 64-bit integers, its coordinates being balanced digits of them: a linear map, so that vectors
are added and scaled as integers are.

Shape letters: R vectors, M coordinates (N inputs x C outputs), W 64-bit words of a code, h hidden units.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from volume.estimators.exact.arithmetic import Multiples, activation_of, as_dtype, lattice_of, layers, multiples
from volume.estimators.exact.counters import merged
from volume.queries.query import Query

MAX_UNIT_CELLS = 1 << 25  # combinations of one unit's incoming weights and bias, times inputs: 256 MB
MAX_ROWS = 1 << 22  # partial sums of one side
MAX_PRODUCT = 1 << 24  # words of sums made at once on the way to one: 128 MB, and 2 s of sorting
MAX_HITS = 1 << 62  # counts are int64
CODE_BITS = 62  # of a word: room for the sign, and for the sum of two codes


class Sums(NamedTuple):
    """Distinct vectors, and how many (partial) parameterisations give each."""

    codes: np.ndarray  # [R, W] int64
    weight: np.ndarray  # [R] int64


@dataclass(frozen=True)
class Code:
    """How vectors [R, M] are packed: coordinate j is a balanced digit of ``bits[j]`` bits in word ``word[j]``."""

    bits: tuple[int, ...]
    word: tuple[int, ...]
    shift: tuple[int, ...]

    @staticmethod
    def of(bounds: np.ndarray) -> Code:
        """For coordinates whose sizes stay within ``bounds`` [M]."""
        bits = tuple(int(bound).bit_length() + 1 for bound in bounds)  # -bound..bound, and a digit more on either side
        word, shift, used, current = [], [], 0, 0
        for width in bits:
            if used + width > CODE_BITS:
                current, used = current + 1, 0
            word.append(current)
            shift.append(used)
            used += width
        return Code(bits, tuple(word), tuple(shift))

    @property
    def num_words(self) -> int:
        return self.word[-1] + 1

    def pack(self, vectors: np.ndarray) -> np.ndarray:
        """Return codes [R, W] int64 of vectors [R, M] int64."""
        codes = np.zeros((len(vectors), self.num_words), np.int64)
        for column, (word, shift) in enumerate(zip(self.word, self.shift, strict=True)):
            codes[:, word] += vectors[:, column] << shift
        return codes

    def unpack(self, codes: np.ndarray) -> np.ndarray:
        """Return vectors [R, M] int64 of codes [R, W]."""
        vectors = np.empty((len(codes), len(self.bits)), np.int64)
        rest = codes.copy()
        for column, (bits, word) in enumerate(zip(self.bits, self.word, strict=True)):
            half = 1 << (bits - 1)
            vectors[:, column] = ((rest[:, word] + half) & (2 * half - 1)) - half
            rest[:, word] = (rest[:, word] - vectors[:, column]) >> bits
        return vectors


class Terms(NamedTuple):
    """What the outputs are a sum of."""

    code: Code
    unit: Sums | None  # one hidden unit; None without a hidden layer
    units: int  # h
    others: list[Sums]  # output biases, or the terms of the inputs
    exponent: int  # vectors are in units of 2^-exponent
    still: int  # unit types that negation leaves as they are: 1 if a unit with all weights and its bias 0 exists


def terms(query: Query, inputs: np.ndarray, dtype: str) -> Terms | None:
    """Give the terms of a network with at most one hidden layer; None where there are too many, or more layers.

    The caller has made sure that arithmetic is exact (arithmetic.py), and that counts fit in 62 bits.
    """
    model = query.model
    listed = layers(model.parameters)
    prior = lattice_of(query)
    levels = as_dtype(prior.levels_of(model.parameters), dtype)
    levels_of = {p.name: multiples(each) for p, each in zip(model.parameters, levels, strict=True)}
    if len(listed) > 2:
        return None
    x = multiples(inputs)
    columns = x.values.reshape(len(inputs), -1).T  # [n, N]
    weight, bias = listed[-1]
    num_outputs = model.num_outputs
    if len(listed) == 1:
        units, features, counts = 0, columns, np.ones(len(columns), np.int64)
        fine = x.exponent + levels_of[weight.name].exponent
    else:
        features_of_unit = _features(columns, x.exponent, levels_of, listed[0], activation_of(model) or "")
        if features_of_unit is None:
            return None
        features, exponent, counts = features_of_unit  # [R, N]
        units, fine = model.parameters[0].shape[1], exponent + levels_of[weight.name].exponent
    out = _combinations([levels_of[weight.name].values] * num_outputs)  # [O, C]
    b = levels_of[bias.name] if bias is not None else Multiples(np.array([0], object), 0)
    common = max(fine, b.exponent)
    out = out * (1 << (common - fine))
    biases = _combinations([b.at(common)] * num_outputs)
    # The largest output of each coordinate, all terms together.
    largest = np.abs(features).max(axis=0) * units if units else np.abs(features).sum(axis=0)  # [N]
    bounds = np.repeat(largest, num_outputs) * np.abs(out).max() + np.abs(biases).max()
    code = Code.of(bounds)
    if len(features) * len(out) * code.num_words > MAX_PRODUCT:
        return None
    spread = [_on_output(code, features.astype(np.int64), c, num_outputs) for c in range(num_outputs)]  # C of [R, W]
    scaled = np.array([sum(int(a) * part for a, part in zip(row, spread, strict=True)) for row in out])  # [O, R, W]
    rows = np.repeat(biases.astype(np.int64)[:, None], len(inputs), axis=1).reshape(len(biases), -1)
    others = [_merge(code.pack(rows), np.ones(len(rows), np.int64))] if bias is not None else []
    if not units:
        one = np.ones(len(out), np.int64)
        return Terms(code, None, 0, [_merge(scaled[:, r], one) for r in range(len(features))] + others, common, 0)
    unit = _merge(scaled.reshape(-1, code.num_words), np.tile(counts, len(out)))
    still = int(all(0 in levels_of[p.name].values for p in model.parameters if bias is None or p.name != bias.name))
    return Terms(code, unit, units, others, common, still)


def _features(
    columns: np.ndarray, exponent: int, levels_of: dict[str, Multiples], layer: tuple, activation: str
) -> tuple[np.ndarray, int, np.ndarray] | None:
    """Give distinct activations [R, N] of one hidden unit in units of 2^-exponent, and how many settings give each."""
    weight, bias = layer
    w = levels_of[weight.name]
    b = levels_of[bias.name] if bias is not None else Multiples(np.array([0], object), 0)
    if len(w.values) ** len(columns) * len(b.values) * columns.shape[1] > MAX_UNIT_CELLS:
        return None
    fine = max(exponent + w.exponent, b.exponent)
    steps = (w.values * (1 << (fine - exponent - w.exponent))).astype(np.int64)
    total = b.at(fine).astype(np.int64)[:, None] + np.zeros(columns.shape[1], np.int64)  # [., N]
    number = np.ones(len(total), np.int64)
    for column in columns.astype(np.int64):  # merged input by input: {0, 1} inputs make few different sums
        total = (total[:, None] + steps[:, None] * column).reshape(-1, columns.shape[1])
        total, number = merged(total, np.repeat(number, len(steps)))
    if activation == "relu":
        total = np.maximum(total, 0)
    elif activation == "sign":
        total, fine = np.where(total > 0, 1, -1), 0
    total, number = merged(total, number)
    return total.astype(object), fine, number


def _combinations(levels: list[np.ndarray]) -> np.ndarray:
    """List all choices of one number from every list, [., len(levels)] of Python integers."""
    return np.array(list(itertools.product(*levels)), object)


def _on_output(code: Code, features: np.ndarray, output: int, num_outputs: int) -> np.ndarray:
    """Codes [R, W] of vectors that hold ``features`` [R, N] at one output and 0 at the others."""
    vectors = np.zeros((*features.shape, num_outputs), np.int64)
    vectors[:, :, output] = features
    return code.pack(vectors.reshape(len(features), -1))


def _merge(codes: np.ndarray, weight: np.ndarray) -> Sums:
    return Sums(*merged(codes, weight))


def _add(a: Sums, b: Sums) -> Sums | None:
    """Form all sums of a vector of one and a vector of the other; None when they are too many."""
    if len(a.codes) * b.codes.size > MAX_PRODUCT:
        return None
    codes = (a.codes[:, None] + b.codes).reshape(-1, a.codes.shape[1])
    total = _merge(codes, np.outer(a.weight, b.weight).ravel())
    return total if len(total.codes) <= MAX_ROWS else None


class Product(NamedTuple):
    """Outputs are any vector of ``left`` plus any of ``right``, and weights multiply."""

    left: Sums
    right: Sums

    @property
    def pairs(self) -> int:
        return len(self.left.codes) * len(self.right.codes)


def halves(summands: Terms) -> list[Product] | None:
    """Make two sides whose sums are all outputs, every parameterisation counted once; None when they grow too large."""
    pending = [summands.unit] * summands.units if summands.unit is not None else []
    pending = sorted([*pending, *summands.others], key=lambda each: -len(each.codes))
    zero = Sums(np.zeros((1, summands.code.num_words), np.int64), np.ones(1, np.int64))
    sides = [zero, zero]
    for term in pending:  # always to the smaller side
        sides.sort(key=lambda side: len(side.codes))
        grown = _add(sides[0], term)
        if grown is None:
            return None
        sides[0] = grown
    return [Product(*sorted(sides, key=lambda side: -len(side.codes)))]


def multisets(summands: Terms, *, flips: bool) -> list[Product] | None:
    """Make products whose total is h times the number of orbits; None when they grow too large, or without units.

    Args:
        summands: the terms; the weight of a vector of ``unit`` is its number of unit types.
        flips: units may be negated too, so that types are classes up to sign.
    """
    if summands.unit is None:
        return None
    unit = summands.unit
    if flips:
        # A unit and its negative give the same vector; only the unit of zeros is its own negative, and gives 0.
        zero = (unit.codes == 0).all(axis=1)
        unit = Sums(unit.codes, (unit.weight + np.where(zero, summands.still, 0)) // 2)
    powers = [Sums(k * unit.codes, unit.weight) for k in range(1, summands.units + 1)]  # P_1..P_h
    zero_sum = Sums(np.zeros((1, summands.code.num_words), np.int64), np.ones(1, np.int64))
    complete = [zero_sum]  # H_0, H_1, ...
    for size in range(1, summands.units):
        parts = [_add(powers[k - 1], complete[size - k]) for k in range(1, size + 1)]
        if any(part is None for part in parts):
            return None
        total = _merge(*(np.concatenate(column) for column in zip(*parts, strict=True)))  # type: ignore[arg-type]
        complete.append(Sums(total.codes, total.weight // size))
    products = []
    for k in range(1, summands.units + 1):
        left, right = complete[summands.units - k], powers[k - 1]
        for other in summands.others:
            grown = _add(right, other)
            if grown is None:
                return None
            right = grown
        products.append(Product(left, right))
    return products
