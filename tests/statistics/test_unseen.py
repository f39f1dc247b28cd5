"""The missing mass by hand-worked cases and complete enumeration; coverage is test_coverage.py's matter."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from volume.statistics.counts import Counts
from volume.statistics.unseen import unseen_mass


def counts_of(matrix, *, unit_size: int, independent: bool = False, nonfinite=None) -> Counts:
    """From hits [B, K]."""
    matrix = np.asarray(matrix, np.int64)
    nonfinite = np.zeros(len(matrix), np.int64) if nonfinite is None else np.asarray(nonfinite)
    return Counts.from_dense(matrix, unit_size=unit_size, independent=independent, nonfinite=nonfinite)


def test_good_turing_and_esty_on_independent_draws():
    # Totals 1, 1, 1, 2, 2, 4, 9: f1 = 3, f2 = 2 of n = 20.
    matrix = [[1, 0, 1, 1, 2, 1, 4], [0, 1, 0, 1, 0, 3, 5]]
    unseen = unseen_mass(counts_of(matrix, unit_size=10, independent=True))
    assert (unseen.alone, unseen.draws, unseen.mass) == (3, 20, 0.15)
    esty = math.sqrt(3 * (1 - 3 / 20) + 2 * 2) / 20
    # The standard error carries Student's factor of 19 degrees of freedom.
    assert unseen.standard_error == pytest.approx(esty * 2.093024 / 1.959964, rel=1e-5)
    assert unseen.low == 0.0  # 3 singles and 2 pairs: all classes may have been seen
    assert 0.3 < unseen.high < 0.5


def test_clusters_count_once_per_unit():
    # Class 0 in unit 0 only, 3 hits; class 1 in units 0 and 1; class 2 in units 1 and 2; class 3 everywhere.
    matrix = [[3, 1, 0, 1], [0, 2, 1, 2], [0, 0, 2, 3]]
    unseen = unseen_mass(counts_of(matrix, unit_size=5))
    assert unseen.mass == 3 / 15
    spread = (3 - 1) ** 2 + 1 + 1  # hits 3, 0, 0 around their mean 1
    hidden = 2 * (1 * 2) + 2 * (1 * 2)
    factor = 4.302653 / 1.959964  # Student's t with 2 degrees of freedom over the normal quantile
    assert unseen.standard_error == pytest.approx(math.sqrt(spread + hidden) / 15 * factor, rel=1e-5)


def test_two_units_hide_all_their_common_classes_from_each_other():
    # Classes 0 and 1 are in units 0 and 1 only: 2 (1 + 2) (3 + 1) and not 2 (1 * 3) + 2 (2 * 1).
    matrix = [[1, 2, 7], [3, 1, 6], [0, 0, 10]]
    unseen = unseen_mass(counts_of(matrix, unit_size=10))
    assert unseen.mass == 0
    assert unseen.standard_error == pytest.approx(math.sqrt(2 * 3 * 4) / 30 * 4.302653 / 1.959964, rel=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_expectation_is_the_missing_mass_one_unit_earlier(together):
    """All outcomes of 3 units of 2 draws; `together`: both draws of a unit fall in the same class."""
    volumes = np.array([0.6, 0.3, 0.1])
    units = [(a, a) for a in range(3)] if together else list(itertools.product(range(3), repeat=2))
    chance = {unit: volumes[unit[0]] * (1 if together else volumes[unit[1]]) for unit in units}
    expected = sum(
        math.prod(chance[unit] for unit in run)
        * unseen_mass(counts_of([np.bincount(unit, minlength=3) for unit in run], unit_size=2)).mass
        for run in itertools.product(units, repeat=3)
    )
    absent = (1 - volumes) if together else (1 - volumes) ** 2  # from one unit
    assert expected == pytest.approx(float(np.sum(volumes * absent**2)), abs=1e-12)


def test_nothing_alone_leaves_an_upper_limit_of_3_7_clusters():
    matrix = np.full((500, 4), 5)
    assert unseen_mass(counts_of(matrix, unit_size=20, independent=True)).low == 0
    upper = -math.log(0.025)
    assert unseen_mass(counts_of(matrix, unit_size=20, independent=True)).high == pytest.approx(
        upper / 10_000, rel=2e-3
    )
    assert unseen_mass(counts_of(matrix, unit_size=20)).high == pytest.approx(upper / 500, rel=1e-2)
    assert unseen_mass(counts_of(matrix, unit_size=20), cluster=4).high == pytest.approx(upper / 2500, rel=1e-2)


def test_everything_alone_leaves_a_lower_limit_of_collisions():
    matrix = np.eye(500, dtype=int)
    unseen = unseen_mass(counts_of(matrix, unit_size=1, independent=True))
    assert (unseen.mass, unseen.high) == (1.0, 1.0)
    assert 1 - unseen.low == pytest.approx(2 * -math.log(0.025) / 500, rel=1e-2)
    clustered = unseen_mass(counts_of(matrix * 10, unit_size=10))
    assert 1 - clustered.low == pytest.approx(2 * -math.log(0.025) / 500, rel=1e-2)


@pytest.mark.parametrize("expected", [0.5, 0.93, 1.0, 2.0, 3.69, 5.0])
@pytest.mark.parametrize("classes", [1, 3, 4, 6])
def test_worlds_of_few_rare_classes_are_covered(expected, classes):
    """Exact: `classes` rare classes, each hit Poisson(`expected`) times in n draws, summed over all outcomes."""
    draws = 10**6
    chance = [math.exp(-expected) * expected**k / math.factorial(k) for k in range(3)]
    chance.append(1 - sum(chance))
    missed = 0.0
    for unseen, single, double in itertools.product(range(classes + 1), repeat=3):
        more = classes - unseen - single - double
        if more < 0:
            continue
        ways = math.factorial(classes) / math.prod(math.factorial(k) for k in (unseen, single, double, more))
        hits = [1] * single + [2] * double + [5] * more
        answer = unseen_mass(counts_of([[*hits, draws - sum(hits)]], unit_size=draws, independent=True))
        mass = unseen * expected / draws
        if not answer.low <= mass <= answer.high:
            missed += ways * math.prod(c**k for c, k in zip(chance, (unseen, single, double, more), strict=True))
    assert missed <= 0.05


def test_draws_without_a_finite_network_are_not_unseen():
    unseen = unseen_mass(counts_of([[3, 0], [2, 1], [3, 0]], unit_size=4, nonfinite=[1, 1, 1]))
    assert unseen.mass == 1 / 12


def test_no_draws_or_one_unit_know_nothing():
    nothing = unseen_mass(counts_of(np.zeros((0, 0)), unit_size=5))
    assert (nothing.mass, nothing.low, nothing.high) == (1.0, 0.0, 1.0)
    alone = unseen_mass(counts_of([[2, 3]], unit_size=5))
    assert (alone.mass, alone.low, alone.high) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("independent", [True, False])
def test_limits_are_ordered_and_widen_with_the_level(independent):
    rng = np.random.default_rng(0)
    for classes in (2, 10, 100, 10_000):
        drawn = rng.integers(classes, size=(40, 6))
        matrix = np.stack([np.bincount(unit, minlength=classes) for unit in drawn])
        counts = counts_of(matrix, unit_size=6, independent=independent)
        inner, outer = unseen_mass(counts, 0.8), unseen_mass(counts, 0.99)
        assert 0 <= outer.low <= inner.low <= inner.mass <= inner.high <= outer.high <= 1
    with pytest.raises(ValueError, match="level=1"):
        unseen_mass(counts, 1)


def test_record_is_plain():
    record = unseen_mass(counts_of([[3, 0], [2, 1]], unit_size=3)).to_dict()
    assert record["draws"] == 6
    assert all(type(value) in (int, float) for value in record.values())
