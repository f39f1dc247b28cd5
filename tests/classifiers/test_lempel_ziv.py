"""Lempel-Ziv complexity against the published algorithm, written out slowly, and against values worked out by hand."""

import json
import math

import numpy as np
import pytest

from volume.classifiers.base import from_description
from volume.classifiers.lempel_ziv import LempelZiv
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points
from volume.functions.lempel_ziv import complexity, num_words


def kaspar_schuster(s: str) -> int:
    """Words of the parsing, with the pointers of Kaspar and Schuster (1987), figure 1."""
    n = len(s)
    if n == 1:
        return 1
    i, c, length, k, k_max = 0, 1, 1, 1, 1
    while True:
        if s[i + k - 1] == s[length + k - 1]:
            k += 1
            if length + k > n:
                return c + 1
        else:
            k_max = max(k, k_max)
            i += 1
            if i == length:
                c += 1
                length += k_max
                if length + 1 > n:
                    return c
                i, k_max = 0, 1
            k = 1


def slow(s: str) -> float:
    if len(set(s)) == 1:
        return math.log2(len(s))
    return math.log2(len(s)) * (kaspar_schuster(s) + kaspar_schuster(s[::-1])) / 2


def bits(*strings: str) -> np.ndarray:
    return np.array([[int(digit) for digit in s] for s in strings], np.uint8)


def test_reference_values():
    digits = BooleanCube(7).inputs.sum(axis=1)
    named = {
        "0" * 128: 7,
        "1" * 128: 7,
        "0" * 127 + "1": 17.5,
        "1" + "0" * 127: 17.5,
        "01" * 64: 21,
        "0" * 64 + "1" * 64: 21,
        "0011" * 32: 28,
        "".join(str(int(ones > 3)) for ones in digits): 70,
        "".join(str(int(ones % 2)) for ones in digits): 91,
    }
    assert complexity(bits(*named), 128).tolist() == list(named.values())
    assert [slow(s) for s in named] == list(named.values())


def test_random_strings():
    values = complexity(np.random.default_rng(0).integers(0, 2**64, (20_000, 2), np.uint64), 128)
    # Strings spread by 6.1 around 148.82 (400,000 of another seed), so 20,000 by .043 in the mean: .25 is 5.8 of these,
    # a false alarm of 1e-8; a mean off by .5 would show. The extremes lie 8 spreads out.
    assert abs(values.mean() - 148.82) < 0.25
    assert values.min() > 100
    assert values.max() < 200


@pytest.mark.parametrize("length", [2, 3, 5, 8, 12])
def test_every_string(length):
    strings = [format(index, f"0{length}b") for index in range(2**length)]
    assert complexity(bits(*strings), length).tolist() == [slow(s) for s in strings]


@pytest.mark.parametrize("words", range(5))
def test_every_length_to_130(words):
    rng = np.random.default_rng(words)
    for length in range(max(2, 32 * words), min(32 * words + 32, 131)):
        chance = rng.choice([0.03, 0.2, 0.5, 0.9], (40, 1))  # lopsided strings have long words
        decisions = (rng.random((40, length)) < chance).astype(np.uint8)
        half = -(-length // 2)  # and repeating ones have copies that overlap themselves
        decisions[20:, half:] = decisions[20:, : length - half] ^ (rng.random((20, length - half)) < 0.03)
        expected = [slow("".join(map(str, row))) for row in decisions.tolist()]
        assert complexity(decisions, length).tolist() == expected, length


@pytest.mark.parametrize("length", [300, pytest.param(777, marks=pytest.mark.slow)])
def test_long_strings_take_several_words_a_stage(length):
    rng = np.random.default_rng(length)
    decisions = (rng.random((30, length)) < rng.choice([0.02, 0.5], (30, 1))).astype(np.uint8)
    expected = [slow("".join(map(str, row))) for row in decisions.tolist()]
    assert complexity(tables.pack(decisions, 1), length).tolist() == expected


def test_reversal_and_packing_agree():
    decisions = (np.random.default_rng(5).random((300, 100)) < 0.2).astype(np.uint8)
    forward = num_words(decisions, 100)
    assert (forward == num_words(decisions[:, ::-1], 100)).all()
    assert (forward == num_words(tables.pack(decisions, 1), 100)).all()
    assert (forward == num_words(1 - decisions, 100)).all()
    assert (forward == num_words(decisions.astype(bool), 100)).all()


def test_pieces_of_both_sizes_join(monkeypatch):
    monkeypatch.setattr("volume.functions.lempel_ziv._LARGE_WORDS", 2 * 2 * 300)  # 300 tables of two words in a piece
    decisions = (np.random.default_rng(6).random((1250, 128)) < 0.1).astype(np.uint8)
    expected = np.concatenate([num_words(decisions[start : start + 7], 128) for start in range(0, 1250, 7)])
    assert (num_words(decisions, 128) == expected).all()
    assert num_words(decisions[:0], 128).shape == (0,)


def test_one_compilation_for_many_counts_and_lengths(monkeypatch):
    rng = np.random.default_rng(7)
    complexity(rng.integers(0, 2, (3, 40), np.uint8), 40)
    traces = []
    monkeypatch.setattr("volume.functions.lempel_ziv._parse", traces.append)
    for count, length in [(1, 33), (200, 64), (256, 50)]:
        complexity(rng.integers(0, 2, (count, length), np.uint8), length)
    assert not traces


def test_classifier():
    cube = BooleanCube(3)
    bound = LempelZiv().bind(cube, 1)
    assert bound.route == "table"
    assert bound.of_table
    assert not bound.needs_outputs
    every = bits(*(format(index, "08b") for index in range(256)))
    ids = bound.classify_keys(tables.pack(every, 1))
    assert ids.dtype == np.int64
    assert (ids == bound.classify(every.T)).all()
    assert (ids.reshape(16, 16) == bound.classify(every.T.reshape(8, 16, 16))).all()
    assert 0 < ids.min() <= ids.max() < bound.num_classes
    for row, index in zip(every, ids.tolist(), strict=True):
        value = slow("".join(map(str, row)))
        assert bound.label(index) == f"{value:g}"
        assert bound.index(value) == bound.index(str(value)) == bound.index(bound.label(index)) == index
    assert from_description(json.loads(json.dumps(LempelZiv().describe()))) == LempelZiv()
    assert bound == LempelZiv().bind(BooleanCube(3, (-1, 1)), 1)
    assert bound != LempelZiv().bind(BooleanCube(4), 1)


@pytest.mark.parametrize("length", [2, 100, 3000])
def test_labels_of_any_length_lead_back(length):
    bound = LempelZiv().bind(Points(np.arange(float(length))[:, None]), 1)
    for index in range(bound.num_classes):
        assert bound.index(bound.label(index)) == index
        assert bound.index(index * math.log2(length) / 2) == index


def test_unknown_complexity():
    bound = LempelZiv().bind(BooleanCube(7), 1)
    for label in (17.4, "17.4", -3.5, 1e9, "many", None, math.nan, math.inf):
        with pytest.raises(KeyError, match=r"multiples of 3\.5"):
            bound.index(label)


def test_refusals():
    with pytest.raises(ValueError, match="one output as a bit string; this model has 3"):
        LempelZiv().bind(BooleanCube(3), 3)
    with pytest.raises(ValueError, match="this one has 1"):
        LempelZiv().bind(Points([[1.0]]), 1)
    with pytest.raises(ValueError, match="strings of 2 to 65536 bits"):
        complexity(np.zeros((1, 1), np.uint8), 1)
    with pytest.raises(ValueError, match=r"Decisions of 8 inputs have shape \[K, 8\]; got \(2, 7\)"):
        complexity(np.zeros((2, 7), np.uint8), 8)
    with pytest.raises(ValueError, match=r"Packed tables of 128 inputs have shape \[K, 2\]; got \(2, 3\)"):
        complexity(np.zeros((2, 3), np.uint64), 128)
