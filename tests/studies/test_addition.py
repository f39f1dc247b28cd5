"""Addition: its table against Python's own sums, counts against every function of four pairs, shares by Direct."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.truth_table import TruthTable
from volume.functions import tables
from volume.functions.domains import Points
from volume.studies.addition import Addition, count_additions


@pytest.mark.parametrize(
    ("base", "digits", "pairs", "sums"), [(2, 1, 4, 3), (2, 2, 16, 7), (3, 2, 81, 17), (10, 1, 100, 19)]
)
def test_every_pair(base, digits, pairs, sums):
    addition = Addition(base, digits)
    assert (addition.num_inputs, addition.num_outputs) == (pairs, sums)
    assert addition.inputs.shape == (pairs, 2 * digits * base)
    seen = []
    for row, label in zip(addition.inputs, addition.labels.tolist(), strict=True):
        symbols = row.reshape(2 * digits, base)
        assert (symbols.sum(axis=1) == 1).all()
        text = [str(int(np.argmax(symbol))) for symbol in symbols]
        a, b = int("".join(text[:digits]), base), int("".join(text[digits:]), base)
        assert label == a + b
        seen.append((a, b))
    assert seen == list(itertools.product(range(base**digits), repeat=2))
    assert addition.pairs.tolist() == [list(pair) for pair in seen]
    assert set(addition.labels.tolist()) == set(range(sums))
    assert addition.domain == Points(addition.inputs)


def test_numeric_coding_makes_the_sum_linear():
    addition = Addition(3, 2, coding="numeric")
    assert addition.inputs.shape == (81, 4)
    assert (addition.inputs.min(), addition.inputs.max()) == (0, 1)
    assert np.allclose(addition.inputs @ [6, 2, 6, 2], addition.labels)
    assert addition.model().widths == (4, 40, 40, 17)


def test_model_and_splits():
    addition = Addition(10, 1)
    assert addition.model() == models.MLP((20, 40, 40, 19))
    assert addition.model((8,), "tanh", bias=False) == models.MLP((20, 8, 19), activation="tanh", bias=False)
    train, test = addition.split(30, seed=1)
    assert train.tolist() == volume.split(100, 30, 1)[0].tolist()
    assert sorted([*train, *test]) == list(range(100))
    given = addition.given(train, test, bins=[0.5])
    assert given.within == addition.fits(train) == Fits(addition.inputs[train], addition.labels[train])
    assert given.split == Accuracy(addition.inputs[test], addition.labels[test], [0.5])
    bound = given.bind(addition.domain, 19)
    right = tables.pack(addition.labels[None], 19)
    assert bound.label(int(bound.classify_keys(right)[0])) == "[0.5, 1.0]"


def test_counts_against_every_function():
    """Base 2, 1 digit: all 3^4 functions. Two pairs given."""
    addition = Addition(2, 1)
    labels, train, test = addition.labels.tolist(), [0, 3], [1, 2]
    every = list(itertools.product(range(3), repeat=4))
    fitting = [f for f in every if all(f[i] == labels[i] for i in train)]
    for at_least in (0, 1, 2):
        right = [f for f in fitting if sum(f[i] == labels[i] for i in test) >= at_least]
        count = addition.counting(2, at_least)
        assert (count.functions.exact, count.fitting.exact) == (81, 9) == (len(every), len(fitting))
        assert math.exp(count.log_share or 0) == pytest.approx(len(right) / len(fitting), rel=1e-12)
    bound = addition.given(train, test).bind(addition.domain, 3)
    ids = bound.classify_keys(tables.pack(np.array(every), 3)).tolist()
    assert [ids.count(bound.index(label)) for label in ("0/2", "1/2", "2/2", "outside")] == [4, 4, 1, 72]


def test_four_digits_are_counted_but_not_listed():
    addition = Addition(10, 4)
    count = addition.counting(992)
    assert (count.num_inputs, count.num_outputs) == (10**8, 19_999)
    assert str(count.functions) == "1.0957e430100828"
    assert str(count.fitting) == "2.7510e430096561"
    assert count.log_fraction / math.log(10) == pytest.approx(-4266.60, abs=5e-3)
    with pytest.raises(ValueError, match=r"100,000,000 pairs are too many to list .* counting\(\)"):
        _ = addition.inputs
    text = count_additions((Addition(3, 2), 30, 0.9), (addition, 992, 0.9))
    lines = text.splitlines()
    assert lines[0].split("  ")[-1] == "base 10, 4 digits"
    assert "1.0957e430100828" in text
    assert "10^-4266.60" in text
    assert "46+ of 51" in lines[7]  # 45.9 rounded up
    assert count_additions((Addition(2, 2), 6, 0.7)).splitlines()[7].endswith(" 7+ of 10")


def test_shares_of_parameter_volume_are_those_of_plain_counting():
    """The same draws counted by loops over their tables: no chance is involved."""
    addition = Addition(2, 1)
    query = volume.Query(addition.model((6,)), samplers.Gaussian(1.0), addition.domain, TruthTable())
    report = volume.estimate(query, volume.Direct(draws=4_000), seed=0)
    train, test = addition.split(2, seed=3)
    labels = addition.labels
    hits = {f"{right}/2": 0 for right in range(3)}
    for label in report:
        table = np.array([int(digit) for digit in label])
        if (table[train] == labels[train]).all():
            hits[f"{(table[test] == labels[test]).sum()}/2"] += report[label].count
    found = volume.shares(report, given=addition.given(train, test))
    assert {share.label: share.count for share in found} == hits
    assert sum(hits.values()) > 100


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Addition(1, 2), "base of 2 or more"),
        (lambda: Addition(2, 0), "digits=0 is not a positive whole number"),
        (
            lambda: Addition(float("2.5"), 1),  # type: ignore[arg-type]
            "base=2.5 is not a positive whole number",
        ),
        (lambda: Addition(2, 1, coding="onehot"), "Did you mean 'one-hot'"),
        (lambda: Addition(1000, 60), "more than 1e300 pairs"),
        (lambda: Addition(2, 1).split(5), "num_train is 5"),
        (lambda: Addition(2, 1).counting(5), "fixed is 5"),
        (lambda: count_additions((Addition(2, 1), 2, 90)), "0 to 1; got 90"),
    ],
)
def test_sentences_for_misuse(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
