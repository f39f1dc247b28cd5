"""Targets against a plain loop over the digits of every input; splits against numbers written down."""

from __future__ import annotations

import numpy as np
import pytest

from volume.functions import targets
from volume.functions.domains import BooleanCube
from volume.functions.targets import random_labels, split, target

RULES = {
    "first-bit": lambda digits, i: digits[0] == "1",
    "majority": lambda digits, i: digits.count("1") > digits.count("0"),
    "parity": lambda digits, i: digits.count("1") % 2 == 1,
    "constant": lambda digits, i: False,
    "constant:0": lambda digits, i: False,
    "constant:1": lambda digits, i: True,
    "0011": lambda digits, i: i % 4 >= 2,
    "pattern:0011": lambda digits, i: i % 4 >= 2,
    "01": lambda digits, i: digits[-1] == "1",
    "pattern:110": lambda digits, i: i % 3 < 2,  # a length that divides no power of two
    "leading:3": lambda digits, i: digits.startswith("111"),
    "at-least:3": lambda digits, i: digits.count("1") >= 3,
}


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize("word", RULES)
def test_every_input(word, n):
    labels = target(word, n)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [RULES[word](f"{i:0{n}b}", i) for i in range(2**n)]
    inputs = BooleanCube(n).inputs  # in that order
    if word == "first-bit":
        assert (labels == inputs[:, 0]).all()
    if word == "leading:3":
        assert labels.mean() == 1 / 8


def test_majority_of_an_even_number_ties_to_0():
    assert target("majority", 2).tolist() == [0, 0, 0, 1]
    assert target("majority", 4).sum() == 5


def test_random_targets():
    assert (target("random", 5) == target("random:0", 5)).all()
    assert (target("random:3", 5) == np.random.default_rng(3).integers(0, 2, 32)).all()
    assert not (target("random:3", 5) == target("random:4", 5)).all()


def test_splits_are_those_of_numpys_generator():
    train, test = split(128, 32, seed=0)
    order = np.random.default_rng(0).permutation(128)
    assert train.tolist() == order[:32].tolist()
    assert test.tolist() == order[32:].tolist()
    assert train[:4].tolist() == [125, 53, 102, 34]
    assert split(4, 4)[1].tolist() == []
    positions, labels = random_labels(128, 32, seed=0)
    assert positions.tolist() == np.random.default_rng(0).choice(128, 32, replace=False).tolist()
    assert positions[:4].tolist() == [108, 62, 32, 7]
    assert len(set(positions.tolist())) == len(labels) == 32
    assert set(labels.tolist()) == {0, 1}


def test_every_target_has_its_word():
    for name, (make, kind, _) in targets.TARGETS.items():
        word = {"": name, "whole": f"{name}:1", "digits": f"{name}:011"}[kind]
        arguments = {"": (), "whole": (1,), "digits": ("011",)}[kind]
        assert (target(word, 4) == make(4, *arguments)).all()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("majorty", "Unknown target 'majorty'.*Did you mean 'majority'"),
        ("", "Unknown target ''"),
        ("0012", "Unknown target '0012'"),
        ("parity:2", "parity takes nothing after it"),
        ("leading", "such as leading:3; got 'leading'"),
        ("leading:x", "such as leading:3"),
        ("leading:0", "first 1 to 4 bits; got 0"),
        ("leading:5", "first 1 to 4 bits; got 5"),
        ("at-least:-1", "such as at-least:3"),
        ("at-least:5", "1 to 4 ones"),
        ("constant:2", "0 or 1; got 2"),
        ("random:", "such as random:3; got 'random:'"),
        ("pattern", "such as pattern:0011"),
        ("pattern:012", "such as pattern:0011"),
        ("0" * 17, "1 to 16 digits"),
    ],
)
def test_sentences_for_misuse(word, sentence):
    with pytest.raises(ValueError, match=sentence):
        target(word, 4)


def test_sizes_out_of_range():
    for n in (0, 25, 2.0, True):
        with pytest.raises(ValueError, match="whole number of bits, 1 to 24"):
            target("majority", n)  # type: ignore[arg-type]
    for draw in (split, random_labels):
        for m in (0, 9):
            with pytest.raises(ValueError, match=f"num_train is {m}; give how many of the 8 inputs"):
                draw(8, m)
