"""Whole numbers in arrays of every dtype: taken at their value or refused, never wrapped."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import volume
from volume.common.whole_numbers import whole_numbers
from volume.functions import lempel_ziv
from volume.functions.tables import read_label

ROWS = [[0, 0], [0, 1], [1, 1]]
LARGEST, SMALLEST = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 1],
        np.array([0, 1, 1], object),
        np.array([False, np.True_, Fraction(1)], object),
        np.array([0.0, np.float32(1), np.int8(1)], object),
        np.array([False, True, True]),
        *(np.array([0, 1, 1], dtype) for dtype in ("u8", "i1", "f2", "f8", "g", ml_dtypes.bfloat16)),
    ],
)
def test_whole_numbers_of_any_dtype_are_taken(values):
    numbers, bad = whole_numbers(values)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [0, 1, 1]
    assert not bad.any()
    for classifier in (volume.Fits(ROWS, values), volume.Accuracy(ROWS, values)):
        assert classifier.labels.tolist() == [0, 1, 1]
    assert read_label(values, 3, 1).tolist() == [0, 1, 1]


def test_the_ends_of_int64_and_what_lies_beyond():
    for values, bad in (
        (np.array([LARGEST, 2**63, 2**64 - 1], np.uint64), [False, True, True]),
        (np.array([LARGEST, SMALLEST, 2**63, SMALLEST - 1, 2**80], object), [False, False, True, True, True]),
        (np.array([-(2.0**63), 2.0**63, 1e300, -1e300]), [False, True, True, True]),
        (np.array([np.nan, np.inf, -np.inf, 0.5, 65504], np.float16), [True, True, True, True, False]),
        (np.array([np.nan, np.inf, 10**400, None, "1"], object), [True] * 5),
        (np.array(["2020-01-01"], "M8[ns]"), [True]),
        (np.array([1 + 0j]), [True]),
        (np.array(["1"]), [True]),
    ):
        numbers, found = whole_numbers(values)
        assert found.tolist() == bad
        assert [number for number, wrong in zip(numbers.tolist(), bad, strict=True) if not wrong] == [
            int(value) for value, wrong in zip(values.tolist(), bad, strict=True) if not wrong
        ]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.array([0, 1, 2**63], np.uint64), r"label 2 \(counted from 0\) is 9223372036854775808\."),
        (np.array([0, 1, 2**64 - 1], np.uint64), r"label 2 .* is 18446744073709551615\."),
        (np.array([0.0, 1e300, 1.0]), r"label 1 .* is 1e\+300\."),
        (np.array([0, None, 1], object), r"label 1 .* is None\."),
        (np.array(["0", "1", "1"], object), r"label 0 .* is '0': turn text into numbers first\."),
        (np.array([0, 1.5, 1], object), r"label 1 .* is 1\.5\."),
        (np.array([0, 10**30, 1], object), r"label 1 .* is 1000000000000000000000000000000\."),
    ],
)
def test_other_labels_are_refused_in_a_sentence(labels, sentence):
    for kind in (volume.Fits, volume.Accuracy):
        with pytest.raises(ValueError, match=sentence):
            kind(ROWS, labels)
    with pytest.raises(ValueError, match="as many numbers from 0 to 1"):
        read_label(labels, 3, 1)


def test_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    for dtype in ("Int64", "object", "boolean", "category"):
        assert volume.Fits(ROWS, pandas.Series([0, 1, 1], dtype=dtype)).labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"label 1 \(counted from 0\) is "):
        volume.Fits(ROWS, pandas.Series([0, None, 1], dtype="Int64"))


def test_positions_and_decisions_of_the_same_kind():
    task = volume.Addition(2, 1)
    for train in ([0.5], [-1], [4], ["0"], [[0]], [True, False]):
        with pytest.raises(ValueError, match="train takes positions of pairs, 0 to 3"):
            task.fits(train)
    assert task.fits(np.array([0, 3], object)).labels.tolist() == [0, 2]
    with pytest.raises(ValueError, match="strings of 0 and 1"):
        lempel_ziv.complexity(np.array([[0, 1, 2, 0]]), 4)
    parts = (volume.models.Perceptron(2), volume.samplers.Gaussian(1.0), volume.BooleanCube(2))
    for labels in ([0, 1, 1], [0, 1, 1, 0.5], np.array([0, 1, 1, 2**63], np.uint64)):
        with pytest.raises(ValueError, match="label"):
            volume.labels_curve(*parts, labels, [2])
