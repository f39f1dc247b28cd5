"""Given: its parts, costly splits, predicates; volumes and shares against exact truths.

On every table: tests/classifiers/test_every_table.py; split by truth tables: tests/classifiers/test_given_tables.py.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared_queries import PLANE

import volume
from volume import models, samplers
from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.classifiers.truth_table import TruthTable
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points

CUBE = BooleanCube(3)
EVERY = np.array(list(itertools.product((0, 1), repeat=8)), np.uint8)  # all 256 tables of three inputs
FITS = Fits([[1, 1, 0], [0, 0, 1]], [0, 1])  # inputs 6 and 1
TEST = Accuracy([[1, 1, 1], [0, 1, 0], [0, 0, 0]], [1, 1, 0])  # inputs 7, 2 and 0


def fits(table):
    return table[6] == 0 and table[1] == 1


def test_parts_attributes_and_domain():
    given = Given(FITS, TEST)
    assert (given.within, given.split, given.label) == (FITS, TEST, "fits")
    assert given.domain() == Points([[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 0]])
    assert Given(Ones(), LempelZiv(), label=1).domain() is None
    assert given != Given(FITS, TEST, label="misses")
    bound: Any = given.bind(CUBE, 1)
    assert (bound.wanted, bound.outside) == (1, 4)
    assert Given(Ones(), TEST, label=np.int64(2)) == Given(Ones(), TEST, label=2)
    with pytest.raises(ValueError, match="two parts of this Given differ in shape"):
        Given(FITS, Fits([[1.0]], "1")).domain()


def test_costly_splits_go_by_tables():
    bound = Given(FITS, LempelZiv()).bind(CUBE, 1)
    assert bound.route == "table"
    split = LempelZiv().bind(CUBE, 1)
    keys = tables.pack(EVERY, 1)
    expected = [bound.label(int(c)) for c in bound.classify_keys(keys)]
    plain = [split.label(int(c)) for c in split.classify_keys(keys)]
    assert expected == [name if fits(row) else "outside" for name, row in zip(plain, EVERY.tolist(), strict=True)]


def test_a_predicate_on_either_side():
    large = Predicate(lambda outputs: jnp.abs(outputs).max() > 1, names=("small", "large"))
    outputs = jnp.where(jnp.asarray(EVERY, bool), 0.5, -0.5) * jnp.where(jnp.arange(256) % 3 == 0, 4.0, 1.0)[:, None]
    bound = Given(FITS, large).bind(CUBE, 1)
    assert bound.needs_outputs
    assert not bound.of_table
    found = [bound.label(int(c)) for c in jax.jit(jax.vmap(bound.classify_outputs))(outputs)]
    size = ["large" if row % 3 == 0 else "small" for row in range(256)]
    assert found == [size[i] if fits(row) else "outside" for i, row in enumerate(EVERY.tolist())]
    other = Given(large, FITS, label="large").bind(CUBE, 1)
    found = [other.label(int(c)) for c in jax.jit(jax.vmap(other.classify_outputs))(outputs)]
    assert found == [
        ("fits" if fits(row) else "misses") if size[i] == "large" else "outside" for i, row in enumerate(EVERY.tolist())
    ]
    with pytest.raises(ValueError, match="decided while drawing"):
        Given(large, LempelZiv(), label=True).bind(CUBE, 1)
    with pytest.raises(TypeError, match="stored tables"):
        bound.classify_keys(tables.pack(EVERY, 1))


def test_sentences_for_misuse():
    with pytest.raises(TypeError, match="two classifiers; split is 'ones'"):
        Given(FITS, "ones")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"which class of .* is given: pass label="):
        Given(Ones(), TEST)
    with pytest.raises(ValueError, match="it is one function"):
        Given(TruthTable(), Ones(), label="0110")
    with pytest.raises(KeyError, match="'0' to '8'; got 9"):
        Given(Ones(), TEST, label=9).bind(CUBE, 1)
    with pytest.raises(KeyError, match="Did you mean 'outside'"):
        Given(FITS, TEST).bind(CUBE, 1).index("outsid")


# --- volumes against exact truths ---


def test_no_bias_perceptron_by_direct_and_by_grouping():
    """Sectors of the weights' plane: given f(01) = 1, that is w2 > 0, how many of f(10) = 1 and f(11) = 0 are right?

    w1 > 0, a quarter: 10 is right and 11 is not. -w2 < w1 < 0, an eighth: none. w1 < -w2, an eighth: 11 only.
    """
    fits01 = Fits([[0, 1]], "1")  # half of the space: w2 > 0
    given = Given(fits01, Accuracy([[1, 0], [1, 1]], "10"))
    draws = 40_000
    report = volume.estimate(PLANE, volume.Direct(draws=draws), seed=1).group_by(given)
    # 4.9 standard deviations: false alarms below 1e-6 each.
    for label, truth in (("0/2", 1 / 8), ("1/2", 3 / 8), ("2/2", 0.0), ("outside", 1 / 2)):
        assert abs(report[label].count / draws - truth) <= 4.9 * math.sqrt(truth * (1 - truth) / draws)
    direct = volume.estimate(
        volume.Query(PLANE.model, PLANE.prior, PLANE.domain, given), volume.Direct(draws=draws), seed=1
    )
    assert [direct[label].count for label in ("0/2", "1/2", "2/2", "outside")] == [
        report[label].count for label in ("0/2", "1/2", "2/2", "outside")
    ]


def test_plane_sectors_given_a_half_plane(tmp_path):
    """Inputs at angles 0, 40 and 110 degrees, no bias: given f(0) > 0, the other decisions cut 180 degrees in three.

    Weights at angle a decide 1 where the angle between is below 90. Given -90 < a < 90: input 40 is 1 for
    -50 < a < 130, input 110 for 20 < a < 200. Sectors: 00: (-90, -50) 40 of 180; 10: (-50, 20) 70; 11: (20, 90) 70.
    """
    angles = np.radians([0.0, 40.0, 110.0])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    given = Given(Fits(rows[:1], "1"), Fits(rows[1:2], "1") * Fits(rows[2:], "1"))
    query = volume.Query(models.Perceptron(2, bias=False), samplers.Gaussian(1.0), classifier=given)
    assert query.domain == Points(rows)
    draws = 40_000
    report = volume.estimate(query, volume.Direct(draws=draws), seed=2)
    expected = {
        "misses, misses": 40 / 360,
        "fits, misses": 70 / 360,
        "fits, fits": 70 / 360,
        "misses, fits": 0.0,
        "outside": 0.5,
    }
    for label, truth in expected.items():  # 4.9 standard deviations: false alarms below 1e-6 each
        assert abs(report[label].count / draws - truth) <= 4.9 * math.sqrt(truth * (1 - truth) / draws)
    path = report.save(tmp_path / "given.json")
    again = volume.VolumeReport.load(path)
    assert again.classifier == given
    assert again["fits, misses"].count == report["fits, misses"].count
