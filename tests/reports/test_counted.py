"""What a report answers, against dense sums of hand-made matrices."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from example_reports import LABELS, clustered, make, table_counts

from volume.classifiers.argmax import Argmax
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.classifiers.truth_table import TruthTable
from volume.common.records import plain
from volume.functions.domains import BooleanCube, Points
from volume.functions.tables import pack
from volume.plots import figures as plots
from volume.reports.counted import VolumeReport
from volume.reports.counted_entries import ClassVolume
from volume.reports.text import shorten
from volume.statistics import intervals
from volume.statistics.counts import Counts


def tally_of(column):
    """The tally of one class with these hits in the units [B]."""
    column = np.asarray(column)
    return intervals.Tally(
        *(np.array([int(f(column))]) for f in (np.sum, lambda c: (c**2).sum(), np.max, np.count_nonzero))
    )


@pytest.fixture
def matrix():
    return clustered()


@pytest.fixture
def report(matrix):
    return make(table_counts(matrix))


# --- one class ---


@pytest.mark.parametrize("table", [0, 1, 6, 15])
def test_a_class_named_in_advance_uses_all_draws(report, matrix, table):
    entry = report[LABELS[table]]
    column = matrix[:, table]
    assert entry.label == LABELS[table]
    assert entry.count == column.sum()
    assert entry.num_draws == 12_000
    assert entry.units_hit == (column > 0).sum()
    assert entry.largest_unit_share == column.max() / column.sum()
    assert entry.log_volume == pytest.approx(math.log(column.sum() / 12_000))
    iid = column.sum() * (1 - column.mean() / 200)
    assert entry.design_effect == pytest.approx(60 * column.var(ddof=1) / iid)
    assert report.design_effect(LABELS[table]) == entry.design_effect
    _, low, high = intervals.interval(tally_of(column), 60, 200, independent=False)
    assert (entry.log_low, entry.log_high) == (low[0], high[0])
    assert entry.low < entry.volume < entry.high
    assert entry.log10_volume == pytest.approx(math.log10(entry.volume))


def test_independent_draws_have_the_exact_binomial_interval(matrix):
    entry = make(table_counts(matrix, independent=True))["0001"]
    low, high = intervals.clopper_pearson(entry.count, 12_000)
    assert (entry.log_low, entry.log_high) == (low, high)


def test_a_class_never_drawn_has_an_upper_limit_for_clusters(matrix):
    matrix[:, 6] = 0
    report = make(table_counts(matrix, unit_size=200))
    entry = report["0110"]
    assert "0110" not in report
    assert (entry.count, entry.units_hit, entry.log_volume, entry.log_low) == (0, 0, -math.inf, -math.inf)
    zero = tally_of(np.zeros(60, int))
    # Heads 4, bodies 5: one rare body brings up to 4 hits, one rare head up to 5.
    _, _, high = intervals.interval(zero, 60, 200, independent=False, cluster=5)
    assert entry.log_high == high[0]
    # A run of independent draws knows more.
    iid = make(table_counts(matrix, unit_size=200, independent=True))["0110"]
    assert iid.high == pytest.approx(-math.log(0.025) / 12_000, rel=1e-3)
    assert iid.high < entry.high


@pytest.mark.parametrize("label", ["011", "01101", "0120", "", "no label", 3, None])
def test_what_is_no_label_is_refused_with_a_sentence(report, label):
    assert label not in report
    with pytest.raises(KeyError, match=r"digits|Position"):
        report[label]


def test_non_finite_networks_are_a_class_of_their_own():
    matrix, lost = clustered(units=30), np.zeros(30, int)
    lost[[3, 7]] = 40, 2
    report = make(table_counts(matrix, nonfinite=lost, unit_size=240))
    entry = report["nonfinite"]
    assert entry == report.nonfinite
    assert (entry.count, entry.units_hit, entry.num_draws) == (42, 2, 30 * 240)
    assert entry.largest_unit_share == 40 / 42
    assert "nonfinite" in report
    assert report.num_nonfinite == 42
    assert any("42 of 7,200" in sentence for sentence in report.warnings)
    assert report["0000"].num_draws == 7200  # shares of all draws, not of the finite ones
    clean = make(table_counts(matrix))
    assert "nonfinite" not in clean
    assert (clean["nonfinite"].count, clean.nonfinite.log_volume) == (0, -math.inf)


def test_length_membership_and_iteration_are_over_the_classes_seen(matrix):
    matrix[:, [2, 9]] = 0
    report = make(table_counts(matrix))
    seen = [label for table, label in enumerate(LABELS) if matrix[:, table].any()]
    assert list(report) == seen
    assert len(report) == report.num_classes == len(seen)
    assert LABELS[2] not in report
    assert LABELS[0] in report
    empty = make(table_counts(np.zeros((30, 16), int), nonfinite=np.full(30, 5)))
    assert empty  # no classes, yet a result
    assert (len(empty), len(empty.top()), len(empty.classes())) == (0, 0, 0)
    assert "nonfinite" in empty.summary() or "Non-finite" in empty.summary()


# --- many classes ---


def test_the_first_tenth_chooses_and_the_rest_estimates():
    matrix = np.zeros((20, 16), int)
    matrix[:2, [5, 9, 3]] = [[4, 4, 1], [4, 4, 2]]  # the pilot: 0101 and 1001 tie, 0011 comes third
    matrix[2:, 7] = 50  # largest by far, but the pilot did not see it
    matrix[2:, [3, 5, 9]] = 30, 20, 10
    matrix[2, 3] = 31
    report = make(table_counts(matrix))
    top = report.top(10)
    assert [entry.label for entry in top] == ["0101", "1001", "0011"]
    assert [entry.count for entry in top] == [360, 180, 541]
    assert {entry.num_draws for entry in top} == {18 * report.counts.unit_size}
    assert [entry.units_hit for entry in top] == [18, 18, 18]
    assert [entry.label for entry in report.top(2)] == ["0101", "1001"]
    # A cut list is chosen likewise, and sorted by its estimates; the whole list selects nothing.
    assert [entry.label for entry in report.classes(top=3)] == ["0011", "0101", "1001"]
    assert report.classes(top=3).num_draws == 18 * report.counts.unit_size
    assert [entry.count for entry in report.classes()] == [900, 544, 368, 188]
    assert report.classes(top=4).num_draws == report.classes().num_draws == report.num_draws


def test_selection_does_not_inflate_what_top_shows():
    """16 equal volumes, 40 units of 50 draws: the largest count lies far above 1/16; the class that `top` shows not.

    400 runs of 1,800 estimating draws: standard error of the mean 2.9e-4. The bound is 5 of them (false alarm 6e-7);
    the bias of estimating by the draws that chose is .007, 24 of them.
    """
    rng = np.random.default_rng(5)
    shown, biased = [], []
    for _ in range(400):
        report = make(table_counts(rng.multinomial(50, np.full(16, 1 / 16), 40), independent=True))
        shown.append(report.top(1)[0].volume)
        biased.append(report.classes()[0].volume)
    error = math.sqrt(1 / 16 * 15 / 16 / (1800 * 400))
    assert abs(np.mean(shown) - 1 / 16) < 5 * error
    assert np.mean(biased) - 1 / 16 > 20 * error


def test_equal_counts_stand_in_key_order():
    matrix = np.zeros((30, 16), int)
    matrix[:, [12, 4, 8, 1]] = 3
    report = make(table_counts(matrix))
    assert [entry.label for entry in report.top(3)] == ["0001", "0100", "1000"]
    assert report.classes().labels() == ["0001", "0100", "1000", "1100"]


@pytest.mark.parametrize(("units", "pilot"), [(2, 0), (3, 1), (19, 1), (20, 2), (105, 10)])
def test_short_runs_spare_one_unit_when_they_can(units, pilot):
    report = make(table_counts(clustered(units=units)))
    assert report.pilot_units == pilot
    assert report.top(3).num_draws == (units - pilot) * 200
    assert any("same draws" in sentence for sentence in report.warnings) == (pilot == 0)


def test_a_pilot_that_saw_nothing_leaves_it_to_all_draws():
    matrix, lost = clustered(units=20), np.zeros(20, int)
    matrix[:2], lost[:2] = 0, 200
    report = make(table_counts(matrix, nonfinite=lost))
    assert report.top(3).num_draws == report.num_draws
    assert any("same draws" in sentence for sentence in report.warnings)


def test_simultaneous_intervals_share_alpha(report):
    pointwise, joint = report.top(4), report.top(4, simultaneous=True)
    assert [entry.label for entry in pointwise] == [entry.label for entry in joint]
    assert joint[0].level == pytest.approx(1 - 0.05 / 4)
    assert all(a.low > b.low and a.high < b.high for a, b in zip(pointwise, joint, strict=True))
    # Finite classes are chosen by the draws that estimate them: every class counts.
    ones = report.group_by(Ones())
    assert ones.top(2, simultaneous=True)[0].level == pytest.approx(1 - 0.05 / 5)


def test_finite_classes_are_all_listed_from_all_draws(matrix):
    matrix[:, 15] = 0
    ones = make(table_counts(matrix)).group_by(Ones())
    listed = ones.classes()
    assert sorted(entry.label for entry in listed) == list("01234")
    assert [entry.log_volume for entry in listed] == sorted((e.log_volume for e in listed), reverse=True)
    assert (listed[-1].label, listed[-1].count) == ("4", 0)
    assert len(ones) == 4
    assert [e.label for e in ones.top(2)] == [e.label for e in listed[:2]] == [e.label for e in ones.classes(top=2)]
    assert ones.top(2).num_draws == 12_000


def test_a_table_of_classes_makes_labels_only_for_those_looked_at(report, monkeypatch):
    asked = []
    bound = type(report.bound)
    real = bound.labels
    monkeypatch.setattr(bound, "labels", lambda self, keys: asked.append(len(keys)) or real(self, keys))
    listed = report.classes()
    assert asked == []
    assert listed[-1].label == listed.labels()[-1]
    assert asked == [1, 16]
    assert len(listed[2:5]) == 3
    with pytest.raises(IndexError, match="lists 16"):
        listed[16]


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True])
def test_a_number_of_classes_is_whole_and_positive(report, k):
    for ask in (report.top, report.classes, report.summary):
        with pytest.raises(ValueError, match="whole number"):
            ask(k)


# --- coarser questions ---


def test_group_by_adds_up_the_tables_unit_by_unit(report, matrix):
    ones = report.group_by(Ones())
    for total in range(5):
        column = matrix[:, [table for table in range(16) if table.bit_count() == total]].sum(1)
        entry = ones[total]
        assert entry.count == column.sum()
        _, low, high = intervals.interval(tally_of(column), 60, 200, independent=False)
        assert (entry.log_low, entry.log_high) == (low[0], high[0])
    assert ones.description["classifier"] == Ones().describe()
    assert ones.description["model"] == report.description["model"]
    assert report.group_by(TruthTable()) is report


def test_group_by_lempel_ziv_and_products(report):
    product = report.group_by(Ones() * LempelZiv())
    assert sum(entry.count for entry in product.classes()) == report.num_draws
    constant = report.group_by(LempelZiv())["2"]
    assert constant.count == report["0000"].count + report["1111"].count


def test_group_by_into_more_classes_than_can_be_listed():
    decisions = np.random.default_rng(0).integers(0, 10, (50, 12))
    keys = np.unique(pack(decisions, 10), axis=0)
    hits = np.arange(1, len(keys) + 1, dtype=np.int32)
    units = np.arange(len(keys), dtype=np.int32) % 25
    counts = Counts(keys, np.arange(len(keys) + 1), units, hits, 25, 200, False, np.zeros(25, int))
    domain = Points(np.arange(12.0)[:, None])
    report = make(counts, domain=domain, num_outputs=10)
    coarse = report.group_by(Argmax(domain.inputs))  # 10^12 classes
    assert not coarse.named_in_advance
    assert len(coarse) == len(report)
    assert sorted(e.count for e in coarse.classes()) == sorted(e.count for e in report.classes())
    entry = report.classes()[0]
    assert coarse[entry.label].count == entry.count


def test_group_by_refuses_what_the_tables_cannot_tell(report):
    with pytest.raises(ValueError, match="group the report that was estimated with TruthTable"):
        report.group_by(Ones()).group_by(LempelZiv())
    with pytest.raises(ValueError, match="stores decisions only"):
        report.group_by(Predicate(lambda outputs: outputs.sum() > 1))
    with pytest.raises(TypeError, match=r"such as volume.Ones"):
        report.group_by("ones")  # type: ignore[arg-type]


# --- out ---


def test_records_are_strict_json(matrix):
    matrix[:, 15] = 0
    report = make(table_counts(matrix)).group_by(Ones())
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert record["num_draws"] == 12_000
    assert (record["num_classes"], record["num_nonfinite"], record["seed"]) == (4, 0, 0)
    assert record["method"]["name"] == "direct"
    assert record["query"]["model"]["widths"] == [2, 3, 1]
    assert record["run"]["near_ties"] == 3
    assert record["unseen"]["mass"] == report.unseen.mass
    volumes = [entry["volume"] for entry in record["classes"]]
    assert volumes == sorted(volumes, reverse=True)
    assert sum(volumes) == pytest.approx(matrix.sum() / 12_000)
    never = record["classes"][-1]
    assert (never["count"], never["volume"], never["low"]) == (0, 0.0, 0.0)
    assert never["log_volume"] is never["log_low"] is never["log10_volume"] is never["design_effect"] is None
    assert never["high"] > 0
    assert len(report.to_dict(top=2)["classes"]) == 2


def test_linear_volumes_too_small_for_a_double_are_left_out():
    entry = ClassVolume("0", -2000.0, -2001.0, -690.0, 0.95, 1, 2, 1, 1.0, math.nan)
    record = entry.to_dict()
    assert record["volume"] is record["low"] is None
    assert record["high"] == math.exp(-690)
    assert record["log10_volume"] == pytest.approx(-2000 / math.log(10))
    assert record["design_effect"] is None


def test_plain_data_only():
    given = {"a": (1, np.int64(2)), "b": np.float32(0.5), "c": math.nan, "d": np.bool_(True), "e": np.zeros(2)}
    assert plain(given) == {"a": [1, 2], "b": 0.5, "c": None, "d": True, "e": [0.0, 0.0]}
    with pytest.raises(TypeError, match=r"method\['x'\] is a set"):
        plain({"x": {1}}, "method")


def test_pandas_when_it_is_there(report):
    pandas = pytest.importorskip("pandas")
    frame = report.to_pandas(top=3)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["label"]) == report.classes(3).labels()
    assert list(frame["count"]) == [entry.count for entry in report.classes(3)]


def test_pandas_when_it_is_not(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.to_pandas()


@pytest.mark.parametrize("kind", ["rank", "complexity", "balance"])
def test_plots_are_those_of_the_plots_module(report, monkeypatch, kind):
    monkeypatch.setattr(plots, kind, lambda shown, *, ax, path: (shown, ax, path))
    assert getattr(report, f"plot_{kind}")("figure.pdf", ax="axes") == (report, "axes", "figure.pdf")


def test_summary_says_what_has_to_be_said(report):
    text = report.summary(3)
    for words in (
        "12,000 draws (60 independent units of 200)",
        "95% interval",
        "Unseen mass",
        "Non-finite",
        "Near ties: 3",
    ):
        assert words in text
    assert "output == 0 is class 0" in text
    assert "first 6 units chose" in text
    rows = [line.split() for line in text.splitlines() if "0001" in line]
    assert rows[0][:3] == ["0001", "1", "5"]  # label, T, and log2(4) (3 + 2) / 2 bits
    assert all(len(line) <= 120 for line in text.splitlines() if "Warning" not in line)
    assert str(report) == report.summary()
    assert repr(report) == "<VolumeReport: 12,000 draws by direct, 16 classes seen>"


def test_summary_speaks_of_units_only_where_draws_are_shared(matrix):
    text = make(table_counts(matrix, independent=True)).summary(3)
    assert text.startswith("12,000 independent draws, 16 classes seen")
    assert "The first 1,200 draws chose and ordered these classes; the other 10,800 draws" in text
    assert "units" not in text.partition("Conventions")[0]


def test_summary_states_the_volume_of_non_finite_networks(matrix, report):
    assert "Non-finite networks: 0 (volume below 0.0" in report.summary()
    lost = np.zeros(60, int)
    lost[3], lost[30] = 3, 3
    text = make(table_counts(matrix, independent=True, nonfinite=lost, unit_size=203)).summary()
    # 6 of 12,180 draws, and their Clopper-Pearson interval
    assert "Non-finite networks: 6 (volume 4.926e-04, 95% interval 1.808e-04 - 0.001072)." in text


def test_summary_of_many_outputs_and_of_one_input_has_no_complexity():
    counts = table_counts(clustered())
    text = make(counts, domain=Points(np.eye(2)), num_outputs=4).summary()  # 2 inputs of 4 outputs: 2 bits each
    assert "LZ" not in text
    one = replace(table_counts(clustered()[:, :2]), keys=np.array([[0], [1 << 63]], np.uint64))
    assert "LZ" in make(one, domain=Points(np.ones((1, 1)))).summary()


def test_long_labels_lose_their_middle():
    label = "0123456789" * 10
    assert shorten(label) == "0123456789012345678…01234567890123456789"[:20] + label[-20:]
    assert len(shorten(label)) == 40
    assert shorten(label[:40]) == label[:40]


def test_warnings_name_what_carries_an_estimate(matrix):
    even = np.full((60, 16), 10)
    even[:, 5:] = 0
    even[[0, 20, 30, 40], 15] = 1  # a third of the three hits that estimate is no large share
    assert make(table_counts(even)).warnings == []
    matrix[:] = 0
    matrix[:, 0] = 100
    matrix[:40, 3] = 1
    matrix[10, 3] = 80  # one lucky unit: 80 of the 113 hits in the units that estimate
    matrix[:, 15] = 200 - matrix.sum(1)
    report = make(table_counts(matrix))
    assert any("One unit gave 71% of the hits of 0011" in sentence for sentence in report.warnings)
    assert any("Design effect" in sentence and "independent draws" in sentence for sentence in report.warnings)
    assert all(sentence in report.summary() for sentence in report.warnings)
    few = make(table_counts(clustered(units=10)))
    assert any("Only 10 independent units" in sentence for sentence in few.warnings)
    stopped = make(table_counts(np.full((60, 16), 10)), run={"complete": False})
    assert any("stopped early" in sentence for sentence in stopped.warnings)
    near = make(table_counts(np.full((60, 16), 10)), run={"near_ties": 96, "near_ties_checked": 9600})
    assert any("1.00% of the draws" in sentence for sentence in near.warnings)


def test_unseen_mass_is_that_of_the_counts(report):
    assert report.unseen.mass == 0
    matrix = np.zeros((30, 16), int)
    matrix[:, 0] = 99
    matrix[4, 5], matrix[9, 6] = 1, 1
    matrix[:, 0] -= matrix[:, 1:].sum(1)
    unseen = make(table_counts(matrix)).unseen
    assert unseen.mass == pytest.approx(2 / (30 * 99))
    assert unseen.low < unseen.mass < unseen.high


def test_a_report_is_frozen_and_typed(report):
    with pytest.raises(AttributeError):
        report.level = 0.9
    assert isinstance(report, VolumeReport)
    assert report.domain == BooleanCube(2)
