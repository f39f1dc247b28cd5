"""Figures of complete counts: nothing is uncertain, and classes known to be empty have no place on a log axis."""

import math

import numpy as np
import pytest
from example_reports import make
from shared_queries import SQUARE

import volume
from volume.plots import figures as plots
from volume.statistics.counts import Counts
from volume.studies.sweep import Sweep, SweepRow

# The 729 ternary 2-2-1 networks without biases, counted: table number -> parameterisations; none is 1 at 00.
TABLES = {0b0000: 506, 0b0001: 4, 0b0010: 41, 0b0011: 43, 0b0100: 41, 0b0101: 43, 0b0110: 2, 0b0111: 49}


@pytest.fixture(scope="module")
def report():
    keys = np.array(list(TABLES), np.uint64)[:, None] << np.uint64(60)
    counts = Counts.of_all(keys, np.array(list(TABLES.values())), num_points=729, nonfinite=0)
    return make(counts, method={"name": "exact"}, run={"wall_seconds": 1.0})


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_balance_leaves_out_what_is_empty_and_says_so(report, tmp_path):
    ax = plots.balance(report, path=tmp_path / "balance.png")
    assert legend(ax)[:2] == ["this network, hits / parameterisations", "empty, not shown: 1"]
    points = ax.containers[0][0].get_xydata()
    assert points == pytest.approx(np.array([[0, 506], [1, 86], [2, 88], [3, 49]]) / [1, 729])
    assert 0 < ax.get_ylim()[0] < 49 / 729


def test_complexity_and_rank_show_the_volumes_themselves(report):
    points = plots.complexity(report).collections[0].get_offsets()
    assert sorted(points[:, 1]) == pytest.approx(sorted(count / 729 for count in TABLES.values()))
    ax = plots.rank(report)
    assert legend(ax)[1:] == ["hits / parameterisations"]
    assert not any("1 hit" in text for text in legend(plots.complexity(report)))


def test_a_sweep_over_classes_that_are_all_empty():
    rows = [SweepRow(x, -math.inf, -math.inf, -math.inf, 0, 729, math.nan, 0, 0) for x in (1, 2)]
    ax = plots.sweep(Sweep(tuple(rows), "width", "1111", 0.95, (), 0, (), (), {}))
    assert legend(ax) == ["empty, not shown: 2"]


@pytest.mark.parametrize("kind", ["rank", "complexity", "balance"])
def test_an_exact_run_as_it_is_counted(kind, tmp_path):
    query = volume.Query(
        volume.models.MLP((2, 2, 1), bias=False), volume.samplers.Lattice.ternary(), SQUARE, volume.TruthTable()
    )
    exact = volume.estimate(query, volume.Exact(), seed=0)
    assert {int(label, 2): exact[label].count for label in exact} == TABLES
    getattr(plots, kind)(exact, path=tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
