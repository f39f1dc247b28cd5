"""NPN classes: how many there are, which functions they hold, and that a report of tables answers them."""

from __future__ import annotations

import numpy as np
import pytest
from example_reports import clustered, make, table_counts

import volume
from volume import models, samplers
from volume.classifiers.base import from_description
from volume.commands import specs
from volume.functions import tables
from volume.functions.canonical import TableGroup
from volume.functions.domains import BooleanCube


def bound(n: int):
    return volume.NPN().bind(BooleanCube(n), 1)


@pytest.mark.parametrize(("n", "classes"), [(1, 2), (2, 4), (3, 14), (4, 222)])  # OEIS A000370
def test_number_of_classes(n, classes):
    assert bound(n).num_classes == classes


@pytest.mark.parametrize("n", [1, 2, 3])
def test_classes_are_the_orbits_and_labels_their_least_tables(n):
    found, group = bound(n), TableGroup(n, True, True, True)
    size = 1 << n
    for table in range(1 << size):
        label = f"{table:0{size}b}"
        orbit = group.orbit(np.array([table << (64 - size)], np.uint64))[:, 0] >> np.uint64(64 - size)
        index = found.index(label)
        assert found.label(index) == f"{int(orbit.min()):0{size}b}"
        assert found.index(list(map(int, label))) == index


def test_the_four_classes_of_two_digits():
    found = bound(2)
    assert [found.label(i) for i in range(4)] == ["0000", "0001", "0011", "0110"]
    assert [found.index(label) for label in ("1111", "0111", "1010", "1001", "0100")] == [0, 1, 2, 3, 1]


def test_tables_keys_and_traced_decisions_agree():
    import jax
    import jax.numpy as jnp

    found = bound(4)
    decisions = np.random.default_rng(0).integers(0, 2, (16, 500)).astype(np.uint8)
    by_table = found.classify(decisions)
    assert by_table.dtype == np.int64
    keys = tables.pack(np.ascontiguousarray(decisions.T), 1)
    np.testing.assert_array_equal(found.classify_keys(keys), by_table)
    traced = jax.jit(found.classify)(jnp.asarray(decisions.astype(bool)))
    assert traced.dtype == jnp.int32
    np.testing.assert_array_equal(traced, by_table)


def test_a_report_of_tables_answers_it():
    report = make(table_counts(clustered())).group_by(volume.NPN())
    raw = make(table_counts(clustered()))
    assert set(report) == {"0000", "0001", "0011", "0110"}
    assert report["1001"].count == raw["0110"].count + raw["1001"].count
    assert report["1111"] == report["0000"]


def test_direct_counts_it_in_its_step():
    """Perceptrons never compute the class of XOR; the AND types on {-1,1}^2 hold 8 acos(23/27)/(4 pi)."""
    prior = samplers.Gaussian(weight_std=2**0.5, bias_std=1.0)
    query = volume.Query(models.Perceptron(2), prior, BooleanCube(2, coding=(-1, 1)), volume.NPN())
    report = volume.estimate(query, volume.Direct(200_000), seed=0, level=1 - 1e-6)  # false alarm: 1e-6
    assert report["0110"].count == 0
    assert report["0001"].low < 8 * 0.0438699140 < report["0001"].high
    assert report["0001"].high - report["0001"].low < 0.015  # so an error of 4 % of the class would show


def test_description_and_word():
    assert from_description(volume.NPN().describe()) == volume.NPN()
    assert specs.build_classifier(specs.parse_classifier("npn"), BooleanCube(3)) == volume.NPN()
    with pytest.raises(specs.UsageError, match="nothing after it"):
        specs.parse_classifier("npn:3")


def test_what_has_no_npn_classes_is_refused():
    with pytest.raises(ValueError, match="one output"):
        volume.NPN().bind(BooleanCube(2), 3)
    with pytest.raises(ValueError, match="1 to 4 binary digits"):
        volume.NPN().bind(BooleanCube(5), 1)
    with pytest.raises(ValueError, match="1 to 4 binary digits"):
        volume.NPN().bind(volume.Points([[0.0, 1.0]]), 1)
    with pytest.raises(KeyError, match="any of its tables"):
        bound(2).index("012")
