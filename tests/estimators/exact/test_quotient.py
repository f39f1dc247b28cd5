"""Orbits counted: every network once, however many parameterisations are copies of it."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from exact_lists import CUBE2, SIGNED2, SMALL, listed

import volume
from volume.estimators.exact.exact import Exact
from volume.models import MLP, Perceptron, UnitSymmetry, from_function
from volume.samplers import Lattice


def quotient(model, prior, domain, classifier=None, **options):
    query = volume.Query(model, prior, domain, classifier or volume.TruthTable(), symmetry="quotient")
    return volume.estimate(query, Exact(**options))


def units_of(model, *, flips=False):
    """A function of a parameterisation of a network with one hidden layer that is the same on its orbit."""
    n, hidden, outputs = model.widths

    def form(point):
        values = iter(point)
        incoming = np.array([next(values) for _ in range(n * hidden)]).reshape(n, hidden)
        bias = np.array([next(values) for _ in range(hidden)]) if model.bias else np.zeros(hidden)
        outgoing = np.array([next(values) for _ in range(hidden * outputs)]).reshape(hidden, outputs)
        units = [(*incoming[:, u], bias[u], *outgoing[u]) for u in range(hidden)]
        if flips:
            units = [max(unit, tuple(-value + 0.0 for value in unit)) for unit in units]
        return tuple(sorted(units)), tuple(values)

    return form


ONE_LAYER = [
    "binary sign",
    "uneven sign",
    "ternary relu",
    "relu with biases",
    "levels per layer",
    "two outputs",
    "linear hidden",
]


@pytest.mark.parametrize("name", ONE_LAYER)
@pytest.mark.parametrize("path", ["sums", "blocks"])
def test_orbits_are_those_of_a_list_made_by_hand(name, path):
    model, prior, domain = SMALL[name]
    expected = listed(model, prior, domain, form=units_of(model, flips=name == "linear hidden"))
    report = quotient(model, prior, domain, path=path, block=500)
    assert {label: report[label].count for label in report} == dict(expected)
    assert report.num_draws == prior.num_points(model.parameters)
    assert report.method["path"] == path
    total = sum(expected.values())
    for entry in report.top(5):
        assert entry.log_volume == math.log(entry.count / report.num_draws)
        assert entry.log_share == pytest.approx(math.log(entry.count / total), rel=1e-14)


def test_two_hidden_layers_are_permuted_together():
    """Binary 2-2-2-1: 312 orbits of 1,024, where a product over layers would say 308. Form: least of the 4 copies."""
    model, prior, domain = MLP((2, 2, 2, 1), "sign", bias=False), Lattice.binary(), SIGNED2

    def form(point):
        values = np.array(point)
        first, second, last = values[:4].reshape(2, 2), values[4:8].reshape(2, 2), values[8:]
        orders = [(0, 1), (1, 0)]
        return min(
            (*first[:, list(a)].ravel(), *second[list(a)][:, list(b)].ravel(), *last[list(b)])
            for a, b in itertools.product(orders, orders)
        )

    expected = listed(model, prior, domain, form=form)
    assert sum(expected.values()) == 312
    report = quotient(model, prior, domain)
    assert {label: report[label].count for label in report} == dict(expected)
    assert report.method["path"] == "blocks"


def test_orbits_of_millions_by_both_paths():
    """3-4-1 ternary: 3^16 points and C(84, 4) multisets of its 81 unit types; both paths to the last orbit on 3-3-1."""
    big = quotient(MLP((3, 4, 1), bias=False), Lattice.ternary(), volume.BooleanCube(3))
    assert int(big.counts.hits.sum()) == math.comb(84, 4)
    small = MLP((3, 3, 1), bias=False), Lattice.ternary(), volume.BooleanCube(3)
    sums, blocks = (quotient(*small, path=path) for path in ("sums", "blocks"))
    assert int(sums.counts.hits.sum()) == math.comb(83, 3)
    np.testing.assert_array_equal(sums.counts.keys, blocks.counts.keys)
    np.testing.assert_array_equal(sums.counts.hits, blocks.counts.hits)


def test_without_hidden_units_every_point_is_its_own_orbit():
    model, prior, domain = Perceptron(2), Lattice.ternary(), CUBE2
    plain = volume.estimate(volume.Query(model, prior, domain), Exact())
    np.testing.assert_array_equal(quotient(model, prior, domain).counts.hits, plain.counts.hits)


def test_orbits_of_a_coarser_class_add_up():
    model, prior, domain = SMALL["relu with biases"]
    grouped = quotient(model, prior, domain).group_by(volume.Ones())
    direct = quotient(model, prior, domain, volume.Ones())
    np.testing.assert_array_equal(grouped.counts.hits, direct.counts.hits)


def test_a_group_too_large_for_whole_numbers_is_refused():
    with pytest.raises(ValueError, match=r"parameterisations"):
        quotient(MLP((1, 20, 1), bias=False), Lattice.binary(), volume.Points([[1.0]]), path="blocks", limit=2**50)


def test_orbits_of_networks_that_overflow():
    """A unit above 2 is infinite: of the 10 multisets of 2 of 4 types, 3 have none such. Float32 has no
    room for both 1e30 x 1e30 and 1 x 1."""
    units = UnitSymmetry("hidden", 2, (("w1", 1), ("w2", 0)))
    shapes = {"w1": (1, 2), "w2": (2, 1)}
    model = from_function(_infinite_above_two, shapes, input_shape=1, symmetry=[units])
    report = quotient(model, Lattice((1, 3)), volume.Points([[1.0]]))
    assert report.method["path"] == "blocks"
    assert (report.num_nonfinite, report["1"].count) == (7, 3)
    big = MLP((1, 2, 1), bias=False), Lattice((1, 1e30)), volume.Points([[1.0]])
    assert quotient(*big, dtype="float64")["1"].count == 10
    with pytest.raises(ValueError, match="vanish or overflow in float32"):
        quotient(*big)


def _infinite_above_two(params, inputs):
    hidden = inputs @ params["w1"]
    return jnp.where(hidden > 2, jnp.inf, hidden) @ params["w2"]


def test_copies_that_rounding_parts_are_refused():
    """On levels of a tenth sums tie on paper and not in float32, in an order that relabelling changes: 323 orbits would
    be left of 330. In whole numbers of the same sizes all are there."""
    model, signed = MLP((2, 4, 1), bias=False), volume.BooleanCube(2, coding=(-1, 1))
    with pytest.raises(ValueError, match=r"different classes.*whole numbers"):
        quotient(model, Lattice((-0.1, 0.1)), signed, path="blocks")
    assert quotient(model, Lattice((-1, 1)), signed, path="blocks").counts.tally().count.sum() == 330


def test_levels_that_the_dtype_cannot_tell_apart_are_refused():
    prior, signed = Lattice((-1, 1, 1 + 1e-9)), volume.BooleanCube(2, coding=(-1, 1))
    with pytest.raises(ValueError, match="the same in float32"):
        quotient(MLP((2, 2, 1), bias=False), prior, signed)
    assert quotient(MLP((2, 2, 1), bias=False), prior, signed, dtype="float64", path="blocks").complete
