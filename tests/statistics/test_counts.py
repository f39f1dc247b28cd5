"""The units x classes matrix against dense NumPy sums."""

import numpy as np
import pytest

from volume.estimators.direct.accumulate import DenseAccumulator, TableAccumulator
from volume.statistics.counts import Counts


def dense(seed=0, units=7, classes=5):
    rng = np.random.default_rng(seed)
    matrix = rng.poisson(0.7, (units, classes)) * rng.integers(1, 4, classes)
    matrix[:, 3] = 0  # a class nobody drew
    return matrix


def from_dense(matrix, **changes):
    facts = {"unit_size": 50, "independent": False, "nonfinite": np.zeros(len(matrix))}
    return Counts.from_dense(matrix, **(facts | changes))


@pytest.mark.parametrize(("start", "stop"), [(0, None), (2, None), (0, 3), (1, 5)])
def test_tally_equals_dense_column_sums(start, stop):
    matrix = dense()
    counts = from_dense(matrix)
    part = matrix[start:stop][:, counts.keys[:, 0].astype(int)]
    tally = counts.tally(start, stop)
    np.testing.assert_array_equal(tally.count, part.sum(0))
    np.testing.assert_array_equal(tally.square, (part**2).sum(0))
    np.testing.assert_array_equal(tally.largest, part.max(0))
    np.testing.assert_array_equal(tally.units, (part > 0).sum(0))
    assert list(counts.keys[:, 0]) == [0, 1, 2, 4]


def test_regroup_equals_grouping_the_dense_matrix():
    matrix = dense(1)
    group = np.array([2, 0, 2, 1, 0])
    counts = from_dense(matrix)
    coarse = counts.regroup(group[counts.keys[:, 0].astype(int)], 3)
    expected = np.stack([matrix[:, group == g].sum(1) for g in range(3)], axis=1)
    np.testing.assert_array_equal(coarse.keys[:, 0], [0, 2])
    for column, g in enumerate((0, 2)):
        np.testing.assert_array_equal(coarse.tally().square[column], (expected[:, g] ** 2).sum())


def test_regroup_is_the_same_by_sorting_and_by_counting():
    rng = np.random.default_rng(2)
    cells = [rng.integers(0, high, 4000) for high in (300, 20)] + [rng.integers(1, 9, 4000)]
    facts = {"num_units": 20, "unit_size": 9999, "independent": False, "nonfinite": np.zeros(20)}
    few = Counts.from_cells(*cells, num_classes=300, **facts)
    many = Counts.from_cells(*cells, num_classes=1 << 40, **facts)  # too many cells to count densely
    for name in ("keys", "offsets", "unit", "hits"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name), err_msg=name)


def test_class_numbers_near_2_to_62_do_not_overflow():
    rng = np.random.default_rng(5)
    classes, unit = rng.integers(0, 50, 300), rng.integers(0, 20, 300)
    facts = {"num_units": 20, "unit_size": 9999, "independent": False, "nonfinite": np.zeros(20)}
    small = Counts.from_cells(classes, unit, np.ones(300), num_classes=50, **facts)
    large = Counts.from_cells((1 << 62) - 50 + classes, unit, np.ones(300), num_classes=1 << 62, **facts)
    np.testing.assert_array_equal(large.keys, small.keys + np.uint64((1 << 62) - 50))
    for name in ("offsets", "unit", "hits"):
        np.testing.assert_array_equal(getattr(large, name), getattr(small, name), err_msg=name)


def test_find_walks_the_words_of_a_key():
    keys = np.array([[1, 7], [1, 9], [3, 0], [2**63, 5]], np.uint64)
    counts = Counts(keys, np.arange(5), np.zeros(4, np.int32), np.ones(4, np.int32), 1, 4, False, np.zeros(1))
    assert [counts.find(key) for key in keys] == [0, 1, 2, 3]
    assert counts.find(np.array([1, 8], np.uint64)) is None
    assert counts.find(np.array([3, 9], np.uint64)) is None


def test_empty_counts():
    counts = from_dense(np.zeros((4, 3), int), nonfinite=np.full(4, 50))
    assert counts.num_classes == 0
    assert counts.num_draws == 200
    assert counts.tally().count.shape == (0,)
    assert counts.find(np.array([1], np.uint64)) is None


@pytest.mark.parametrize("rows_per_query", [10**9, 500])
def test_table_accumulator_equals_counting_by_hand(monkeypatch, rows_per_query):
    monkeypatch.setattr("volume.estimators.direct.accumulate.ROWS_PER_QUERY", rows_per_query)
    rng = np.random.default_rng(3)
    unit_size, units = 40, 60
    draws = unit_size * units
    words = np.stack([rng.integers(0, 9, draws), rng.geometric(0.3, draws)], axis=1).astype(np.uint64)
    words[:, 0] <<= np.uint64(60)  # the sign bit is used too
    finite = rng.random(len(words)) < 0.95
    into = TableAccumulator(2, unit_size, unit_size * units, independent=False)
    for a, b in ((0, 15), (15, 16), (16, 60)):
        rows = slice(a * unit_size, b * unit_size)
        into.append([words[rows, 0], words[rows, 1]], finite[rows])
    counts = into.counts()
    kept, unit = words[finite], np.repeat(np.arange(units), unit_size)[finite]
    keys, which = np.unique(kept, axis=0, return_inverse=True)
    np.testing.assert_array_equal(counts.keys, keys)
    expected = np.zeros((units, len(keys)), int)
    np.add.at(expected, (unit, which.ravel()), 1)
    np.testing.assert_array_equal(counts.tally().count, expected.sum(0))
    np.testing.assert_array_equal(counts.tally().square, (expected**2).sum(0))
    np.testing.assert_array_equal(counts.nonfinite, (~finite).reshape(units, unit_size).sum(1))
    assert into.num_units == counts.num_units == units


def test_dense_accumulator_equals_one_dense_matrix():
    matrix = dense(4)
    lost = np.arange(7)
    into = DenseAccumulator(5, 50, independent=False)
    for rows in (slice(0, 2), slice(2, 7)):
        into.append(np.c_[matrix[rows], lost[rows]])
    counts, expected = into.counts(), from_dense(matrix, nonfinite=lost)
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(counts, name), getattr(expected, name), err_msg=name)
    assert into.estimate_classes() == 4


@pytest.mark.parametrize("copies", [1, 6])
def test_tables_may_come_in_any_order_restored_and_with_units_missing(copies):
    """Counts of units 0, 2, 3 and 7 of eight are those of four units, however they came in."""
    rng = np.random.default_rng(8)
    size, numbers = 30, np.array([0, 2, 3, 7])
    words = rng.geometric(0.4, (len(numbers), size)).astype(np.uint64)
    finite = rng.random(words.shape) < 0.9
    weight = rng.integers(1, copies + 1, words.shape).astype(np.int32)

    def accumulator():
        return TableAccumulator(1, size, 8 * size, independent=False, copies=copies)

    def append(into, rows, numbers):
        brought = weight[rows].ravel() if copies > 1 else None
        into.append([words[rows].ravel()], finite[rows].ravel(), brought, numbers)

    straight = accumulator()
    append(straight, np.arange(4), None)
    into = accumulator()
    append(into, np.array([3]), numbers[3:])
    whole = accumulator()  # what a part of units 2 and 3 would hold
    append(whole, np.array([1, 2]), None)
    part = whole.counts()
    keys = np.repeat(part.keys[:, 0], np.diff(part.offsets))
    into.restore([keys], numbers[1:3][part.unit].astype(np.int32), part.hits, numbers[1:3], part.nonfinite)
    append(into, np.array([0]), numbers[:1])
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(into.counts(), name), getattr(straight.counts(), name), err_msg=name)
    assert into.num_units == 4


def test_dense_counts_may_come_in_any_order_restored_and_with_units_missing():
    matrix, numbers = np.c_[dense(4), np.arange(7)], np.array([1, 2, 5, 6, 8, 9, 30])
    straight, into = (DenseAccumulator(5, 50, independent=False) for _ in range(2))
    straight.append(matrix)
    into.append(matrix[5:], numbers[5:])
    unit, classes = np.nonzero(matrix[:3, :-1])
    into.restore(classes, numbers[unit], matrix[unit, classes], numbers[:3], matrix[:3, -1])
    into.append(matrix[3:5], numbers[3:5])
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(into.counts(), name), getattr(straight.counts(), name), err_msg=name)
