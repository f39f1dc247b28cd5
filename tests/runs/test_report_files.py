"""Runs on disk: nothing is lost, and what is damaged is refused with a sentence of its own."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from example_reports import clustered, make, table_counts

from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.common.record_reading import sha256_of
from volume.functions.domains import BooleanCube, Points
from volume.reports.counted import VolumeReport
from volume.runs import report_files as storage
from volume.statistics.counts import Counts

MATRICES = ("keys", "offsets", "unit", "hits", "nonfinite")


def assert_same(a, b):
    for name in MATRICES:
        x, y = getattr(a.counts, name), getattr(b.counts, name)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y, err_msg=name)
    for name in ("num_units", "unit_size", "independent"):
        assert getattr(a.counts, name) == getattr(b.counts, name)
    for name in ("description", "method", "seed", "run", "conventions", "level", "num_outputs", "domain"):
        assert getattr(a, name) == getattr(b, name), name
    assert a.to_dict() == b.to_dict()


@pytest.fixture
def report():
    lost = np.zeros(60, int)
    lost[[5, 59]] = 3, 1
    counts = table_counts(clustered(), nonfinite=lost, unit_size=203)
    return make(counts, seed=[1, 2**32 - 1], level=0.9)


@pytest.mark.parametrize("name", ["run.json", "some/folder", "folder.with.dots"])
def test_a_run_comes_back_bit_for_bit(report, tmp_path, name):
    written = report.save(tmp_path / name)
    loaded = VolumeReport.load(tmp_path / name)
    assert_same(report, loaded)
    assert loaded.classifier == report.classifier
    assert_same(report.group_by(Ones()), loaded.group_by(Ones()))
    assert sorted(path.name for path in written.parent.iterdir()) in (
        ["run.json", "run.parquet"],
        ["counts.parquet", "report.json"],
    )
    assert_same(report, VolumeReport.load(written))


def test_keys_of_several_words_cross_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "ROWS_PER_GROUP", 97)  # classes of up to 60 rows straddle groups
    rng = np.random.default_rng(0)
    counts = table_counts(clustered())
    keys = np.unique(rng.integers(0, 2**64, (len(counts.keys), 2), dtype=np.uint64), axis=0)
    report = make(replace(counts, keys=keys), domain=BooleanCube(7))
    assert len(counts.unit) > 4 * 97
    report.save(tmp_path / "run.json")
    assert pq.ParquetFile(tmp_path / "run.parquet").num_row_groups > 4
    assert_same(report, VolumeReport.load(tmp_path / "run.json"))


def test_the_parquet_file_is_readable_without_this_library(report, tmp_path):
    report.save(tmp_path / "run.json")
    table = pq.read_table(tmp_path / "run.parquet")
    assert table.column_names == ["function", "unit", "hits"]
    assert sum(table.column("hits").to_pylist()) == sum(entry.count for entry in report.classes())
    functions = table.column("function").to_pylist()
    assert functions == sorted(functions)  # byte order is label order
    assert {value[0] >> 4 for value in functions} == {int(label, 2) for label in report}


def test_a_run_without_classes(tmp_path):
    counts = table_counts(np.zeros((4, 16), int), nonfinite=np.full(4, 7))
    make(counts).save(tmp_path)
    loaded = VolumeReport.load(tmp_path)
    assert (loaded.num_classes, loaded.num_nonfinite, loaded.counts.keys.shape) == (0, 28, (0, 1))


X = np.array([[0, 0], [1, 1]])


@pytest.mark.parametrize(
    "classifier",
    [Ones(), LempelZiv(), Fits(X, [0, 1]), Accuracy(X, [0, 1]), Accuracy(X, [0, 1], bins=2), Ones() * Fits(X, [1, 1])],
    ids=lambda classifier: type(classifier).__name__,
)
def test_every_classifier_comes_back(report, tmp_path, classifier):
    grouped = report.group_by(classifier)
    grouped.save(tmp_path)
    loaded = VolumeReport.load(tmp_path)
    assert loaded.classifier == classifier
    assert_same(grouped, loaded)


@pytest.mark.parametrize("whole", [False, True])
def test_a_predicate_comes_back_as_the_names_of_its_classes(tmp_path, whole):
    def rule(outputs):
        some = outputs.sum() > 0
        return some.astype(int) if whole else some

    classifier = Predicate(rule, names=("low", "high")) * Ones()
    bound = classifier.bind(BooleanCube(2), 1)
    matrix = np.random.default_rng(1).poisson(3, (30, bound.num_classes))
    counts = Counts.from_dense(matrix, unit_size=99, independent=False, nonfinite=np.zeros(30))
    report = make(counts, classifier=classifier)
    report.save(tmp_path)
    loaded = VolumeReport.load(tmp_path)
    assert_same(report, loaded)
    for label in ("high, 3", ("low", 2)):
        assert loaded[label] == report[label]
    with pytest.raises(KeyError, match="Did you mean 'high, 3'"):
        loaded["hihg, 3"]
    with pytest.raises(TypeError, match="not its function"):
        loaded.bound.classify_outputs(np.zeros(4))  # type: ignore[arg-type]
    loaded.save(tmp_path / "again")
    assert_same(report, VolumeReport.load(tmp_path / "again"))


def test_points_come_back_bit_for_bit(tmp_path):
    domain = Points(np.random.default_rng(0).normal(size=(4, 3, 2)) / 3)
    make(table_counts(clustered()), domain=domain).save(tmp_path)
    assert VolumeReport.load(tmp_path).domain == domain


# --- damage ---


@pytest.fixture
def saved(report, tmp_path):
    report.save(tmp_path / "run.json")
    return tmp_path / "run.json"


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_no_run_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run at"):
        VolumeReport.load(tmp_path / "run.json")
    with pytest.raises(FileNotFoundError, match=r"no run at .*report\.json"):
        VolumeReport.load(tmp_path)


def test_a_truncated_record(saved):
    text = saved.read_bytes()
    saved.write_bytes(text[: len(text) // 2])
    with pytest.raises(ValueError, match="truncated or damaged: it is no JSON object"):
        VolumeReport.load(saved)


def test_a_record_that_is_no_text(saved):
    saved.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="truncated or damaged"):
        VolumeReport.load(saved)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "another"}'])
def test_another_kind_of_json(saved, text):
    saved.write_text(text)
    with pytest.raises(ValueError, match=r"no saved run|is no JSON object"):
        VolumeReport.load(saved)


def test_another_version(saved):
    edit(saved, lambda record: record.update(version=99))
    with pytest.raises(ValueError, match=r"format version 99 and this library reads 1: load it with"):
        VolumeReport.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(level=0.99),
        lambda record: record["counts"].update(unit_size=1000),
        lambda record: record.pop("seed"),
        lambda record: record.pop("sha256"),
    ],
)
def test_an_edited_record(saved, change):
    edit(saved, change)
    with pytest.raises(ValueError, match="does not match its own SHA-256"):
        VolumeReport.load(saved)


def test_a_missing_sidecar(saved):
    saved.with_suffix(".parquet").unlink()
    with pytest.raises(ValueError, match=r"counts in run\.parquet, which is missing"):
        VolumeReport.load(saved)


@pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda data: data[:40] + b"x" + data[41:]])
def test_a_damaged_sidecar(saved, damage):
    counts = saved.with_suffix(".parquet")
    counts.write_bytes(damage(counts.read_bytes()))
    with pytest.raises(ValueError, match="truncated, damaged, or of another run"):
        VolumeReport.load(saved)


def test_a_sidecar_that_does_not_fit_its_record(saved):
    """Both checksums right, yet the sizes disagree: a faulty writer, not a faulty disk."""

    def shrink(record):
        record["counts"]["classes"] -= 1
        body = {name: value for name, value in record.items() if name not in ("format", "version", "sha256")}
        record["sha256"] = sha256_of(body)

    edit(saved, shrink)
    with pytest.raises(ValueError, match=r"different runs|does not hold the counts|is damaged, or not what"):
        VolumeReport.load(saved)


def test_a_failed_save_leaves_the_old_run(report, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(storage, "sha256", fail)
    with pytest.raises(OSError, match="disk full"):
        report.save(saved)
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_a_record_names_its_sidecar_only_beside_itself(saved):
    """A record from elsewhere cannot make `load` read another place."""

    def point_away(record):
        record["counts"]["file"] = "/etc/../../run.parquet"
        body = {name: value for name, value in record.items() if name not in ("format", "version", "sha256")}
        record["sha256"] = sha256_of(body)

    edit(saved, point_away)
    assert VolumeReport.load(saved).num_draws == 60 * 203
