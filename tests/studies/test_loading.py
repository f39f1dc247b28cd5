"""Whatever can be saved comes back equal by `volume.load`, with the numbers that JSON has no word for."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import answer, run
from example_reports import clustered, make, table_counts
from import_graph import graph

import volume
from volume.checks.check import CHANGED, Checked
from volume.checks.rows import TriedClass
from volume.common.logs import volume_text
from volume.estimators.local.curve import LocalCurve
from volume.reports.comparison import ComparedClass, Comparison
from volume.reports.entries import replicated_volume
from volume.reports.facts import Report
from volume.reports.loading import Stored
from volume.reports.local_entries import rays_volume
from volume.reports.named import EstimateReport
from volume.reports.trained_comparison import Landing, Number, TrainingComparison
from volume.statistics.replicates import Share
from volume.studies.columns import FUNCTIONS, VOLUME, Cell, Column
from volume.studies.label_curve import RANDOM, CurvePoint, LabelsCurve
from volume.studies.measures import Measures
from volume.studies.rows import Row
from volume.studies.sweep import Sweep, SweepRow

NAN, INF = math.nan, math.inf


def named(**changes):
    logs = [-30.0, -31.5, -29.7]
    share = Share(0.25, 0.2, NAN, 3)
    entries = (replicated_volume("fits", logs, notes=["Said."]), replicated_volume("part", [-INF, *logs], share=share))
    fields = {"description": {}, "method": {"name": "splitting", "replicates": 3, "particles": 8}, "seed": [1, 2]}
    return EstimateReport(entries, **fields, run={"wall_seconds": 1.5}, conventions={"a": (1, 2)}, **changes)


def measures():
    cells = (Cell(-0.1, -0.2, -0.05), Cell(-INF, -INF, -3.0, False), Cell(NAN, NAN, -800.0, False))
    exact = (Cell(-0.5, -0.5, -0.5),) * 3
    return Measures(
        name="first-bit ×",
        rows=(Row("a", "all right", 3, 3), Row("b", "rest", None, None), Row("c", "0 to 2", 0, 2)),
        columns=(
            Column(FUNCTIONS, -9.0, -9.0, -9.0, exact, True, "counted, exact"),
            Column(VOLUME, -INF, -20.0, 0.0, cells, False, "how", False, ("A note.",)),
            Column("sgd", -0.7, -0.9, -0.4, cells[:1] * 3, False, "runs", of_runs=True),
        ),
        absent={"simplicity": "why"},
        num_inputs=8,
        num_train=5,
        num_other=3,
        num_classes=2,
        log_num_functions=3 * math.log(2),
        report=named(),
        description={"model": {"widths": [2, 3]}, "domain": {"inputs": [[1.0]], "sha256": "x"}},
        seconds=2.5,
    )


def sweep():
    rows = (
        SweepRow(20, -3.0, -3.2, -2.9, 50, 1000, 1.25, 0, 3),
        SweepRow(40, -INF, -INF, -5.0, 0, 1000, NAN, 2, 0),
    )
    query = {"domain": {"inputs": [[0.5]], "sha256": "x"}}
    return Sweep(rows, "width", "0001", 0.9, ({"heads": 1}, {}), 7, (query, {}), ({"a": 1}, {}), {"commit": None})


def labels():
    points = (
        CurvePoint("target", 0, VOLUME, 0.0, 0.0, 0.0, True),
        CurvePoint("target", 9, VOLUME, -INF, -INF, 0.0, False),
        CurvePoint(RANDOM, 9, "infinite width", -2302.5, -2303.0, -2302.0, True),
    )
    return LabelsCurve("target", points, 3, 0.95, {"name": "splitting"}, [4, 5])


def comparison():
    rows = (ComparedClass("0001", -INF, -3.0, 0, 40, -INF), ComparedClass("0111", -2.0, -2.5, None, 30, 1.5))
    return Comparison(rows, 1000, None, 0.01, True, {"seed": 1}, {"seed": 2}, (("0000", "why"),))


def training():
    row = Landing("a", 0.5, 0.4, 0.6, 0.25, 0.2, NAN, 50, 25)
    method = {
        "optimiser": {"name": "sgd", "learning_rate": 0.1, "schedule": "constant", "options": {}},
        "loss": {"name": "mse"},
        **{"batch_size": 2, "on": {"labels": [0, 1, 1]}, "over_training": 0, "max_steps": 9, "stop": "fit"},
    }
    numbers = Number(NAN, NAN, NAN), Number(0.1, 0.0, 0.3)
    return TrainingComparison((row,), row._replace(label="rest"), *numbers, 0.9, (10, 20), method, True)


def checked():
    rows = [TriedClass(f"{n:04b}", -1.0 - n, -1.5 - n, 40 + n, None, 9.0 - n / 4, 1.2, 0.5) for n in range(30)]
    rows[0] = TriedClass("empty", -INF, -2.0, 0, 3, -INF, NAN, NAN)
    return Checked("name", CHANGED, "how", ("a: 1 -> 2",), tuple(rows), 31, 1e-4, ("Note.",), {"seconds": 2.0})


def curve():
    rays = np.random.default_rng(0).normal(-20.0, 1.0, 500)
    entries = (rays_volume("KL <= 0.1", 0.1, rays, 8), rays_volume("KL <= 0.2", 0.2, rays * 3, 8))
    slopes = {"rays": [{"least": 0.1, "largest": 0.2, "slope": 1.5, "low": None, "high": None}]}
    return LocalCurve(entries, slopes, None, 0.95)


MAKERS = {
    "counted": lambda: make(table_counts(clustered())),
    "named": named,
    "measures": measures,
    "sweep": sweep,
    "labels": labels,
    "comparison": comparison,
    "training": training,
    "checked": checked,
    "curve": curve,
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_comes_back_equal(name, tmp_path):
    result = MAKERS[name]()
    written = result.save(tmp_path / "deep" / "it.json")
    loaded = volume.load(written)
    assert type(loaded) is type(result)
    assert loaded == result
    assert hash(loaded) == hash(result)
    assert loaded.save(tmp_path / "deeper" / "it.json").read_text() == written.read_text()
    assert str(loaded) == loaded.summary() == result.summary()
    folder = result.save(tmp_path / "folder")
    assert folder.name == type(result).file
    assert volume.load(folder) == result


@pytest.mark.parametrize("name", MAKERS)
def test_show_prints_what_was_saved(name, tmp_path, capsys):
    result = MAKERS[name]()
    path = result.save(tmp_path / "it.json")
    code, out, err = run(capsys, "show", path)
    assert (code, out) == (0, f"{result.summary(20)}\n" if isinstance(result, Report) else f"{result}\n"), err
    assert answer(capsys, "show", path) == json.loads(json.dumps(volume.load(path).to_dict()))
    if not isinstance(result, Report):
        for argv in (["show", path, "--top", 3], ["show", path, "--label", "0001"]):
            code, out, err = run(capsys, *argv)
            assert (code, out) == (2, "")
            assert f"holds a {type(result).__name__}, not a report: leave --group-by, --label and --top out" in err
        code, out, err = run(capsys, "compare", path, path)
        assert code != 0
        assert f"holds a {type(result).__name__}, not a report: name the folder of an estimate" in err


@pytest.mark.parametrize("name", ["measures", "sweep", "labels"])
def test_the_file_still_holds_what_to_dict_says(name, tmp_path):
    result = MAKERS[name]()
    stored = json.loads(result.save(tmp_path).read_text())
    record = json.loads(json.dumps(result.to_dict()))
    record.pop("queries", None)  # which the file holds with their inputs
    assert {key: stored[key] for key in record} == record


def test_infinite_and_undefined_numbers_are_told_apart(tmp_path):
    cells = volume.load(measures().save(tmp_path))[VOLUME].cells
    assert cells[1].log_share == -INF
    assert math.isnan(cells[2].log_share)
    assert cells[2].log_high == -800.0
    assert volume.load(comparison().save(tmp_path)).rows[0].z == -INF
    smallest = checked().smallest
    assert smallest is not None
    assert volume.load(checked().save(tmp_path)).smallest[0].label == smallest[0].label


def test_results_that_differ_are_not_equal():
    report = make(table_counts(clustered()))
    assert report == make(table_counts(clustered()))
    assert report != make(table_counts(clustered(1)))  # the record is the same, the counts are not
    assert report != make(table_counts(clustered()), level=0.9)
    assert named() != named(level=0.9)
    assert named() != report
    assert sweep() != replace(sweep(), x_name="depth")


def test_a_damaged_study_is_refused(tmp_path):
    path = labels().save(tmp_path)
    path.write_text(path.read_text().replace('"num_classes": 3', '"num_classes": 4'))
    with pytest.raises(ValueError, match="does not match its own SHA-256"):
        volume.load(path)


def test_every_report_has_the_same_interface():
    for report in (make(table_counts(clustered())), named()):
        (first,) = report.top(1)
        assert report[first.label].label == first.label
        assert f"volume {volume_text(first.log_volume)}" in repr(first)
        assert str(first) == first.sentence()
        assert first.label in report
        assert set(report) >= {first.label}
        assert len(report) == len(list(report)) >= 2
        assert set(report.circumstances()) <= set(report.to_dict(1))
        assert {"seed", "level", "run", "warnings"} <= set(report.circumstances())
        assert report.to_dict(1)["classes"][0]["volume"] == pytest.approx(first.volume)
    parts = named().shares()
    assert [(part.label, part.share, part.count, part.num_within) for part in parts] == [("part", 0.25, 3, 4)]
    assert volume.shares(named(), labels=["part"]) == parts or math.isnan(parts[0].high)
    with pytest.raises(KeyError, match="Unknown class with a share 'fits'"):
        named().shares(labels=["fits"])
    with pytest.raises(ValueError, match=r"have level 0\.95"):
        named().shares(0.9)


def test_whatever_can_be_loaded_is_registered_by_the_module_that_loads():
    """Also where nothing else was imported before."""
    edges, reached = graph(), ["volume.studies.loading"]
    for module in reached:
        reached += edges[module].difference(reached)
    assert {kind.__module__ for kind in Stored.kinds if kind.__module__.startswith("volume.")} <= set(reached)
