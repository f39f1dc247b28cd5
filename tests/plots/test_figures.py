"""The figures' numbers (not their pixels) against counts made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import volume
from volume.common.logs import LN10
from volume.functions import tables
from volume.plots import data as plot_data
from volume.plots import figures as plots
from volume.reports.entries import ClassEstimate, replicated_volume
from volume.reports.local_entries import rays_volume
from volume.statistics.counts import Counts, Tally
from volume.statistics.intervals import interval
from volume.studies.sweep import Sweep, SweepRow

UNITS, UNIT_SIZE = 20, 1000
DRAWS = UNITS * UNIT_SIZE


def report_of(
    labels: list[str], hits: np.ndarray, *, domain=None, classifier=None, num_outputs=1
) -> volume.VolumeReport:
    """A report of hits [K, B] of tables named by ``labels``; nothing is drawn."""
    domain = domain or volume.BooleanCube(len(labels[0]).bit_length() - 1)
    decisions = np.array([[int(digit) for digit in label] for label in labels], np.uint8)
    keys = tables.pack(decisions, num_outputs)
    order = np.lexsort(keys.T[::-1])
    hits = np.asarray(hits)[order]
    which, unit = np.nonzero(hits)
    counts = Counts(
        keys=keys[order],
        offsets=np.searchsorted(which, np.arange(len(labels) + 1)).astype(np.int64),
        unit=unit.astype(np.int32),
        hits=hits[which, unit].astype(np.int32),
        num_units=UNITS,
        unit_size=UNIT_SIZE,
        independent=False,
        nonfinite=np.zeros(UNITS, np.int64),
    )
    return volume.VolumeReport(
        counts=counts,
        domain=domain,
        num_outputs=num_outputs,
        classifier=classifier or volume.TruthTable(),
        description={},
        method={"name": "by hand"},
        seed=0,
        run={},
        conventions={},
        level=0.95,
    )


def spread(total: int, seed: int) -> np.ndarray:
    """``total`` hits thrown into the units, [B]."""
    return np.bincount(np.random.default_rng(seed).integers(0, UNITS, total), minlength=UNITS)


@pytest.fixture(scope="module")
def report() -> volume.VolumeReport:
    """16 inputs; counts 5000, 400, 400, 30, 10, 9, 2, 2 and 12 classes seen once."""
    totals = [5000, 400, 400, 30, 10, 9, 2, 2] + [1] * 12
    labels = ["0" * 16, "0" + "1" * 15] + [f"{i:016b}" for i in range(1, 19)]
    return report_of(labels, np.stack([spread(total, seed) for seed, total in enumerate(totals)]))


def line(ax: Any, label: str) -> Any:
    """The one line whose legend text starts like this."""
    (found,) = [each for each in ax.lines if str(each.get_label()).startswith(label)]
    return found


def legend(ax: Any) -> str:
    return "\n".join(text.get_text() for text in ax.get_legend().get_texts())


# --- rank ---


def test_rank_draws_the_counts_in_falling_order(report):
    ax = plots.rank(report)
    expected = np.array([5000, 400, 400, 30, 10, 9, 2, 2] + [1] * 12) / DRAWS
    head, tail = line(ax, "hits / draws").get_xydata(), ax.lines[2].get_xydata()
    assert np.array_equal(head, np.c_[np.arange(1, 6), expected[:5]])  # 10 hits and more
    assert np.array_equal(tail, np.c_[np.arange(5, 21), expected[4:]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_rank_zipf_line_is_that_of_all_functions(report):
    ax = plots.rank(report)
    zipf = line(ax, "Zipf").get_xydata()
    assert np.allclose(zipf, [[1, 1 / (16 * math.log(2))], [20, 1 / (20 * 16 * math.log(2))]], rtol=1e-12)
    assert r"\ln 2^{16}" in legend(ax)


def test_rank_zipf_line_of_several_outputs():
    labels = ["0000", "0121", "2222"]
    ax = plots.rank(report_of(labels, np.ones((3, UNITS)), domain=volume.BooleanCube(2), num_outputs=3))
    assert line(ax, "Zipf").get_ydata()[0] == pytest.approx(1 / (4 * math.log(3)), rel=1e-12)


def test_rank_has_no_zipf_line_for_coarser_classes(report):
    assert "Zipf" not in legend(plots.rank(report.group_by(volume.Ones())))


def test_rank_interval_band_is_the_report_s_and_ends_at_ten_hits(report):
    data = plot_data.rank_data(report)
    assert np.isfinite(data.low).sum() == np.isfinite(data.high).sum() == data.num_reliable == 5
    tally = report.counts.tally()
    order = np.argsort(-tally.count, kind="stable")[:5]
    kept = Tally(*(column[order] for column in tally))
    _, low, high = interval(kept, UNITS, UNIT_SIZE, independent=False, level=0.95)
    assert np.allclose(data.low[:5], np.exp(low), rtol=1e-12)
    assert np.allclose(data.high[:5], np.exp(high), rtol=1e-12)
    assert (data.low[:5] < data.volume[:5]).all()
    assert (data.volume[:5] < data.high[:5]).all()
    named = report["0" * 16]
    assert data.low[0] == pytest.approx(named.low, rel=1e-9)
    assert "fewer than 10 hits" in legend(plots.rank(report))


def test_thinning_keeps_the_head_the_end_and_few_points():
    kept = plot_data.thin(7_000_000)
    assert kept[:50].tolist() == list(range(50))
    assert kept[-1] == 6_999_999
    assert len(kept) < 400
    assert (np.diff(kept) > 0).all()
    assert np.diff(np.log10(kept[60:] + 1)).max() < 0.03  # no gap that an eye could see
    for size in (0, 1, 49, 50, 51, 60, 1000):
        kept = plot_data.thin(size)
        assert len(set(kept.tolist())) == len(kept) <= size
        assert kept.max(initial=0) == max(size - 1, 0)


# --- complexity ---


def test_complexity_data_are_all_classes_when_few(report):
    data = plot_data.complexity_data(report)
    assert sorted(data.count.tolist(), reverse=True) == [5000, 400, 400, 30, 10, 9, 2, 2] + [1] * 12
    assert (data.weight == 1).all()
    assert data.strata == (("10 hits or more", 5, 5), ("2 to 9 hits", 3, 3), ("1 hit", 12, 12))
    largest = data.count.argmax()
    assert data.complexity[largest] == 4  # a constant: log2 16
    assert data.ones[largest] == 0


def test_complexity_sample_is_weighted_and_uniform():
    # 2000 tables seen once, eight seen 20 times.
    labels = [f"{i:016b}" for i in range(2008)]
    hits = np.zeros((2008, UNITS), int)
    hits[np.arange(2008), np.arange(2008) % UNITS] = 1
    hits[:8] = 1
    report = report_of(labels, hits)
    data = plot_data.complexity_data(report, singletons=500)
    assert data.strata == (("10 hits or more", 8, 8), ("1 hit", 2000, 500))
    assert data.weight[data.count == 1].tolist() == [4.0] * 500
    assert data.weight.sum() == 2008
    # The mean number of ones of a simple random sample of 500 of 2000, against the mean of all. False-alarm rate below
    # 1e-6 (five standard errors, without replacement); it would see a sample from one half of the keys (a shift of .5).
    ones = np.array([label.count("1") for label in labels[8:]])
    error = ones.std() * math.sqrt((1 - 500 / 2000) / 500)
    assert abs(data.ones[data.count == 1].mean() - ones.mean()) < 5 * error
    assert "1 hit: 2,000 classes (1 point = 4.0)" in legend(plots.complexity(report, singletons=500))


def test_complexity_medians_are_weighted():
    bits, count = np.array([10.0] * 10 + [20.0] * 11 + [50.0] * 5), np.array([1] * 21 + [1000] * 5)
    even = plot_data._medians(bits, count, np.ones(26))
    assert even.tolist() == [[1.0, 20.0]]  # bins of fewer than ten points are left out
    assert plot_data._medians(bits, count, np.r_[np.full(10, 3.0), np.ones(16)]).tolist() == [[1.0, 10.0]]


def test_complexity_points_stand_near_their_values(report):
    data = plot_data.complexity_data(report)
    points = np.asarray(plots.complexity(report).collections[0].get_offsets())
    # Shifted by less than half a step (log2(16)/2 = 2 bits) and half a hit, in shuffled order.
    shifted = points[np.argsort(points[:, 1])]
    expected = np.sort(data.count) / DRAWS
    assert (np.abs(shifted[:, 1] - expected) < 0.5 / DRAWS).all()
    steps = np.sort(points[:, 0]) - np.sort(data.complexity)
    assert np.abs(steps).max() < 1


def test_complexity_refuses_what_holds_no_tables(report):
    with pytest.raises(ValueError, match="truth tables of one output"):
        plots.complexity(report.group_by(volume.Ones()))


# --- balance ---


def test_balance_is_the_volume_of_each_number_of_ones(report):
    ax = plots.balance(report)
    data = plot_data.balance_data(report)
    expected = np.zeros(17)
    for label in report:
        expected[label.count("1")] += report[label].count / DRAWS
    assert np.allclose(data.volume, expected, rtol=0, atol=1e-15)
    grouped = report.group_by(volume.Ones())
    for t in (0, 1, 15, 16):
        assert data.low[t] == pytest.approx(grouped[str(t)].low, rel=1e-9)
        assert data.high[t] == pytest.approx(grouped[str(t)].high, rel=1e-9)
    points = ax.containers[0][0].get_xydata()
    seen = expected > 0
    assert np.allclose(points, np.c_[np.flatnonzero(seen), expected[seen]], rtol=1e-12)


def test_balance_marks_upper_limits_of_what_was_never_drawn(report):
    ax, data = plots.balance(report), plot_data.balance_data(report)
    missing = np.flatnonzero(data.volume == 0)
    assert 16 in missing
    marks = line(ax, "never drawn")
    assert marks.get_xdata().tolist() == missing.tolist()
    assert marks.get_ydata() == pytest.approx(data.high[missing])
    assert ax.get_ylim()[0] < data.high[missing].min()
    assert len(ax.texts) == len(missing)  # one arrow each


def test_a_limit_far_below_the_points_stands_where_it_is():
    labels = [f"{2**t - 1:04b}" for t in range(4)]  # every number of ones but 4, a quarter each
    report = report_of(labels, np.full((4, UNITS), UNIT_SIZE // 4))
    report = replace(report, counts=replace(report.counts, independent=True))
    (height,) = line(plots.balance(report), "never drawn").get_ydata()
    assert height == pytest.approx(report.group_by(volume.Ones())["4"].high)
    assert height < 1e-3


def test_balance_of_the_perceptron_line(report):
    reference = line(plots.balance(report), "perceptron")
    assert reference.get_xydata().tolist() == [[0, 1 / 16], [15, 1 / 16]]


def test_balance_has_no_perceptron_line_on_other_inputs():
    labels = ["0000", "0110"]
    for domain in (volume.BooleanCube(2, coding=(-1, 1)), volume.Points(np.arange(8.0).reshape(4, 2))):
        ax = plots.balance(report_of(labels, np.ones((2, UNITS)), domain=domain))
        assert "perceptron" not in legend(ax)


def test_balance_reads_a_report_that_is_grouped_already(report):
    grouped = report.group_by(volume.Ones())
    assert np.array_equal(plot_data.balance_data(grouped).volume, plot_data.balance_data(report).volume)


def test_balance_refuses_several_outputs():
    report = report_of(["0000", "0121"], np.ones((2, UNITS)), domain=volume.BooleanCube(2), num_outputs=3)
    with pytest.raises(ValueError, match="one output; this report's network has 3"):
        plots.balance(report)


# --- sweeps ---


def sweep_of(values, counts) -> Sweep:
    rows = []
    for x, count in zip(values, counts, strict=True):
        low, high = (math.log(count / 2e4), math.log(count / 5e3)) if count else (-math.inf, math.log(4e-4))
        log_volume = math.log(count / 1e4) if count else -math.inf
        rows.append(SweepRow(x, log_volume, low, high, count, 10_000, 1.0, 0, 0))
    return Sweep(tuple(rows), "width", "0000", 0.95, (), 0, (), (), {})


def test_sweep_points_intervals_and_upper_limits():
    ax = plots.sweep(sweep_of([8, 32, 128], [100, 0, 400]))
    points, _, (bars,) = ax.containers[0]
    assert points.get_xydata() == pytest.approx(np.array([[8, 0.01], [128, 0.04]]))
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert ends == pytest.approx(np.array([[0.005, 0.02], [0.02, 0.08]]))
    limit = line(ax, "never drawn")
    assert limit.get_xydata() == pytest.approx(np.array([[32, 4e-4]]))
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "32", "128"]
    assert ax.get_ylabel() == 'volume of "all 0"'
    assert ax.get_xlabel() == "hidden width"


def test_sweep_over_names_places_them_side_by_side():
    ax = plots.sweep(sweep_of(["{0, 1}", "{-1, 1}"], [100, 20]))
    assert ax.containers[0][0].get_xdata().tolist() == [0, 1]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["{0, 1}", "{-1, 1}"]


def test_sweep_where_the_class_was_never_drawn():
    ax = plots.sweep(sweep_of([1, 2], [0, 0]))
    assert line(ax, "never drawn").get_ydata() == pytest.approx([4e-4, 4e-4])


# --- files and state ---


@pytest.mark.parametrize("kind", ["rank", "complexity", "balance"])
@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_files_are_of_their_kind(report, tmp_path, kind, suffix, start):
    path = tmp_path / f"{kind}{suffix}"
    getattr(plots, kind)(report, path=path)
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size < 500_000


def test_missing_folders_are_made(report, tmp_path):
    plots.rank(report, path=tmp_path / "new" / "deep" / "rank.svg")
    assert "<svg" in (tmp_path / "new" / "deep" / "rank.svg").read_text()


def test_a_paper_gets_truetype_fonts(report, tmp_path):
    plots.rank(report, path=tmp_path / "rank.pdf")
    assert b"/Type3" not in (tmp_path / "rank.pdf").read_bytes()


def test_unknown_suffix_is_refused_before_anything_is_drawn(report, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown figure format '.pgn'.*Did you mean '.png'"):
        plots.rank(report, path=tmp_path / "rank.pgn")
    with pytest.raises(ValueError, match="Unknown figure format 'rank'"):
        plots.rank(report, path=tmp_path / "rank")
    assert list(tmp_path.iterdir()) == []


def test_a_given_axes_is_drawn_on(report):
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    assert plots.rank(report, ax=ax) is ax
    assert figure.axes == [ax]


def test_global_state_is_left_alone(report, tmp_path):
    import sys

    before = dict(matplotlib.rcParams)
    plots.rank(report, path=tmp_path / "rank.png")
    assert dict(matplotlib.rcParams) == before
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        assert pyplot.get_fignums() == []


def test_reports_plot_themselves(report, tmp_path):
    for kind in ("rank", "complexity", "balance"):
        getattr(report, f"plot_{kind}")(tmp_path / f"{kind}.png")
    assert len(list(tmp_path.iterdir())) == 3


# --- volumes of named classes ---


def named_report() -> volume.EstimateReport:
    """An interval, a bound, a class that nobody reached, one seldom met, an empty one, and a local volume."""
    rays = np.random.default_rng(0).normal(-30.0, 0.3, 500)
    entries = (
        replicated_volume("interval, a label of some length", [-3000.0, -3000.4, -2999.8, -3000.1]),
        replicated_volume("bound", [-2900.0, -2906.0, -2990.0]),
        replicated_volume("none", [-math.inf] * 3),
        replicated_volume("dead", [-2000.0, -math.inf, -2001.0]),
        ClassEstimate("upper", -math.inf, -math.inf, -2500.0, 0.95),
        ClassEstimate("void", -math.inf, -math.inf, -math.inf, 0.95),
        rays_volume("KL <= 0.1", 0.1, rays, 8),
    )
    facts: dict[str, Any] = {name: {} for name in ("description", "method", "run", "conventions")}
    return volume.EstimateReport(entries, **facts, seed=0)


def test_an_estimate_draws_its_classes_by_volume_with_their_limits(tmp_path):
    report: Any = named_report()
    ax: Any = report.plot(tmp_path / "it.svg")
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == [entry.label for entry in report.classes()]
    assert names[:2] == ["KL <= 0.1", "dead"]
    assert names[4:] == ["none", "upper", "void"]
    exact = [names.index("KL <= 0.1"), names.index("interval, a label of some length")]
    (bars,) = ax.containers
    points, _, (segments,) = bars.lines
    drawn = report["KL <= 0.1"], report["interval, a label of some length"]
    np.testing.assert_allclose(points.get_xdata(), [entry.log10_volume for entry in drawn])
    np.testing.assert_allclose(points.get_ydata(), exact)
    ends = [
        [(entry.log_low / LN10, row), (entry.log_high / LN10, row)] for entry, row in zip(drawn, exact, strict=True)
    ]
    np.testing.assert_allclose(segments.get_segments(), ends)
    mean, lower, upper = (
        line(ax, text) for text in ("mean, without", "lower limit", "\N{LEFTWARDS ARROW} upper limit")
    )
    bounds = report["dead"], report["bound"]
    np.testing.assert_allclose(mean.get_xdata(), [entry.log10_volume for entry in bounds])
    np.testing.assert_allclose(lower.get_xdata(), [entry.log_bound / LN10 for entry in bounds])
    np.testing.assert_allclose(lower.get_ydata(), [names.index("dead"), names.index("bound")])
    assert (upper.get_xdata()[0], upper.get_ydata()[0]) == (-2500.0 / LN10, names.index("upper"))
    words = {text.get_text(): text.get_position()[1] for text in ax.texts if text.get_text()}
    assert words == {"not reached": names.index("none"), "empty": names.index("void")}
    arrows = {each.xy[1]: each.xyann[0] for each in ax.texts if not each.get_text()}
    assert {row: math.copysign(1, away) for row, away in arrows.items()} == {1: 1, names.index("bound"): 1, 5: -1}
    assert ax.yaxis_inverted()
    assert "95 % interval" in legend(ax)


def test_volumes_of_which_nothing_is_known():
    ax = plots.volumes([replicated_volume("none", [-math.inf] * 3)], ["none"])
    assert [text.get_text() for text in ax.texts] == ["not reached"]
    assert not ax.lines


def test_volumes_close_to_each_other_have_ticks_between_whole_powers():
    entries = [ClassEstimate("a", -0.5, -0.6, -0.4, 0.9), ClassEstimate("b", -1.5, -1.8, -1.4, 0.95)]
    ax = plots.volumes(entries, ["a", "b"])
    low, high = ax.get_xlim()
    assert sum(low <= tick <= high for tick in ax.get_xticks()) >= 3
    assert "90 % and 95 % interval" in legend(ax)
