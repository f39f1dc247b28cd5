"""Nothing is unseen where every class was hit: 0 exactly, however few the draws, and whatever is undecided."""

import numpy as np
import pytest
from example_reports import make, table_counts

from volume.checks.baseline import Baseline
from volume.classifiers.given import Given
from volume.classifiers.labels import Fits
from volume.classifiers.npn import NPN
from volume.classifiers.ones import Ones
from volume.classifiers.truth_table import TruthTable
from volume.functions.canonical import TableGroup
from volume.reports.pooled import PooledReport

UNDECIDED = {"near_ties": 0, "near_ties_checked": 100, "vanished": 40}
FITS = Fits([[0, 0], [1, 1]], [0, 1])


def hit(tables, **changes):
    """Ten units that hit each of these tables (numbers of 0 to 15) once or more, and leave four draws undecided."""
    matrix = np.zeros((10, 16), int)
    matrix[:, tables[0]] = 20
    matrix[0, list(tables)] += 1
    matrix[1:, tables[0]] += len(tables)
    return make(table_counts(matrix, nonfinite=np.full(10, 4)), run=UNDECIDED, **changes)


def pooled(report):
    facts = {"symmetry": "pooled", "symmetry_group": TableGroup(2, permutations=True).describe()}
    return PooledReport(**{**report.parts(), "conventions": report.conventions | facts})


# A coarser question, and the least tables that meet all of its classes.
ASKED = {
    "fits": (FITS, (0b0001, 0b0000)),
    "ones": (Ones(), (0b0000, 0b0001, 0b0011, 0b0111, 0b1111)),
    "npn": (NPN(), (0b0000, 0b0011, 0b0001, 0b0110)),
    "given tables": (Given(FITS, TruthTable()), (0b0000, 0b0001, 0b0011, 0b0101, 0b0111)),
    "tables": (None, tuple(range(16))),
    "orbits": ("orbits", tuple(t for t in range(16) if t >> 1 & 3 != 2)),  # 01 and 10 may change places
}


def ask(question, tables):
    report = hit(tables)
    if question == "orbits":
        return pooled(report)
    return report if question is None else report.group_by(question)


@pytest.mark.parametrize("name", ASKED)
def test_the_unseen_mass_is_0_where_every_class_was_hit(name):
    question, tables = ASKED[name]
    report = ask(question, tables)
    assert report.num_vanished == 40
    unseen = report.unseen
    assert (unseen.mass, unseen.low, unseen.high, unseen.standard_error) == (0, 0, 0, 0)
    assert "Unseen mass 0: every" in report.summary()
    assert report.to_dict()["unseen"]["high"] == 0


@pytest.mark.parametrize("name", ASKED)
def test_one_class_missing_and_the_undecided_draws_may_all_be_there(name):
    question, tables = ASKED[name]
    report = ask(question, tables[:-1])
    assert not report.all_seen
    # 40 undecided of at least 240 draws: as if all of them were in the class that is missing.
    assert report.unseen.high > report.unseen_estimate.high
    assert report.unseen.high >= report.num_nonfinite / report.num_draws
    assert "the chance that one more network" in report.summary()


def test_checks_compare_what_the_counts_say_by_themselves():
    """That all classes were hit says nothing of how often: tables hit in one unit only are compared all the same."""
    report = hit(tuple(range(16)))
    assert report.unseen.alone == report.unseen_estimate.alone == 15
    answer = Baseline.of(report).answer
    assert answer["alone"] == 15
    assert answer["alone_variance"] > 0
