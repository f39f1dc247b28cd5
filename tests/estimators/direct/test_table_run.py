"""Runs whose tables do not fit in the memory allowed: the same draws, counted from disk."""

import json
import shutil

import duckdb
import numpy as np
import pytest
from cli_runs import run as volume_command

import volume
from volume import models, samplers
from volume.estimation import Interrupted
from volume.reports.counted_entries import COLUMNS
from volume.reports.on_disk import TableReport

DRAWS = 30_000
LITTLE = 400_000  # bytes: not enough for the draws, enough for a coarser classifier


def query(classifier=None, symmetry="none", prior=None):
    model = models.MLP((5, 12, 1))
    prior = prior or samplers.Gaussian(bias_std=0.3)
    return volume.Query(model, prior, volume.BooleanCube(5), classifier or volume.TruthTable(), symmetry)


def method(memory=LITTLE, draws=DRAWS, **options):
    return volume.Direct(draws, memory=memory, **options)


@pytest.fixture(scope="module")
def inside():
    return volume.estimate(query(), volume.Direct(DRAWS), seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The directory of a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("stored") / "run"
    volume.estimate(query(), method(), seed=3, out=folder)
    return folder


def same(a, b):
    assert a.labels() == b.labels()
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column), err_msg=column)


def without_times(report, top=20):
    found = report.to_dict(top)
    return {**found, "run": {**found["run"], "wall_seconds": None}}


def test_a_run_that_does_not_fit_is_counted_from_disk(inside, folder):
    stored = volume.load(folder)
    assert isinstance(stored, TableReport)
    same(stored.top(30), inside.top(30))
    assert without_times(stored) == without_times(inside)
    assert not list(folder.glob("counts.parquet"))


def test_without_a_folder_it_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"GiB and memory=400000 allows .*: keep the run in a folder.*out=DIR.*--out"):
        volume.estimate(query(), method(), seed=3)
    with pytest.raises(ValueError, match=r"this machine has .*out=DIR"):
        volume.estimate(query(), volume.Direct(10**13), seed=3)


def test_pooled_classes_are_refused_even_with_a_folder(tmp_path):
    pooled = query(symmetry="pooled", prior=samplers.Gaussian(bias_std=0.3))
    with pytest.raises(ValueError, match=r"draw fewer \(classes are pooled in memory\)"):
        volume.estimate(pooled, method(), seed=3, out=tmp_path / "run")


def test_few_functions_come_back_to_memory(tmp_path):
    few = volume.Query(models.Perceptron(3), samplers.Gaussian(bias_std=0.5), volume.BooleanCube(3))
    found = volume.estimate(few, method(memory=500_000, heads=1, bodies=1000), seed=1, out=tmp_path / "run")
    expected = volume.estimate(few, volume.Direct(DRAWS, heads=1, bodies=1000), seed=1)
    assert not isinstance(found, TableReport)
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(found.counts, name), getattr(expected.counts, name), err_msg=name)


@pytest.mark.slow
def test_classes_of_tables_are_grouped_from_disk(tmp_path):
    found = volume.estimate(query(volume.LempelZiv()), method(3 << 20), seed=3, out=tmp_path / "run")
    expected = volume.estimate(query(volume.LempelZiv()), volume.Direct(DRAWS), seed=3)
    same(found.classes(), expected.classes())


@pytest.mark.slow
def test_each_network_counted_once(tmp_path):
    """Draws of a finite prior bring as many hits as symmetries leave them as they are."""
    lattice = volume.Query(
        models.MLP((5, 3, 1)), samplers.Lattice((-1.0, 0.0, 1.0)), volume.BooleanCube(5), symmetry="quotient"
    )
    found = volume.estimate(lattice, method(memory=90_000), seed=2, out=tmp_path / "run")
    expected = volume.estimate(lattice, volume.Direct(DRAWS), seed=2)
    assert isinstance(found, TableReport)
    assert expected.counts.copies == 6
    same(found.top(20), expected.top(20))
    assert found.unseen == expected.unseen


def test_a_stopped_run_and_a_stopped_merge_end_alike(inside, tmp_path, monkeypatch):
    monkeypatch.setattr("volume.runs.checkpoints.BATCH_ROWS", 4000)
    monkeypatch.setattr("volume.estimators.direct.run.STEP_SECONDS", 0.0)  # one block a step

    def stop(progress):
        if progress.done > DRAWS / 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        volume.estimate(query(), method(), seed=3, out=tmp_path / "run", progress=stop)
    assert stopped.value.report is None, "a table on disk is added up when all of it is there"
    assert len(list((tmp_path / "run" / "parts").iterdir())) > 1

    def broken(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("volume.runs.table_merge._add_up", broken)
        with pytest.raises(Interrupted, match="go on from there") as stopped:
            volume.estimate(query(), method(), seed=3, out=tmp_path / "run", resume=True)
        assert stopped.value.report is None
    report = volume.estimate(query(), method(memory=500_000), seed=3, out=tmp_path / "run", resume=True)
    assert isinstance(report, TableReport)
    assert report.classes(50).labels() == inside.classes(50).labels()
    assert without_times(report) == without_times(inside)


def test_a_disk_without_room_is_told_before_the_first_draw(tmp_path, monkeypatch):
    monkeypatch.setattr("volume.runs.table_merge.BYTES_PER_ROW", 10**15)
    with pytest.raises(OSError, match=r"30,000 rows of tables may take .* GB more .* or draw fewer"):
        volume.estimate(query(), method(), seed=3, out=tmp_path / "run")
    assert not list((tmp_path / "run" / "parts").iterdir())


def test_the_folder_can_be_moved_and_is_saved_into_itself_only(folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    report = volume.load(moved)
    with pytest.raises(ValueError, match=r"save the report there, and copy that folder"):
        report.save(tmp_path / "elsewhere")
    assert report.save(moved) == moved / "report.json"
    assert volume.load(moved)["0" * 32] == report["0" * 32]
    part = next((moved / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"missing or damaged: keep the folder together"):
        volume.load(moved)


def test_other_tools_read_what_is_there(folder, inside):
    """The lines of docs/large_tables.md."""
    pandas = pytest.importorskip("pandas")
    classes = pandas.read_parquet(folder / "classes")
    labels = [format(int.from_bytes(key), "064b")[:32] for key in classes["function"]]
    often = [entry for entry in inside.classes() if entry.count > 1]
    assert dict(zip(labels, classes["count"], strict=True)) == {entry.label: entry.count for entry in often}
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        top = connection.sql(
            f"SELECT hex(function), count FROM '{folder}/classes/*.parquet' ORDER BY count DESC LIMIT 20"
        ).fetchall()
        once = connection.sql(
            f"SELECT count(*) FROM (SELECT function FROM '{folder}/parts/*.parquet' GROUP BY function "
            "HAVING sum(hits) = 1)"
        ).fetchall()
    assert [count for _, count in top] == [entry.count for entry in often[:20]]
    assert top[0][0] == f"{int(often[0].label, 2) << 32:016X}"
    assert once == [(inside.num_classes - len(often),)]


def test_the_command_line_shows_a_stored_table(folder, inside, capsys):
    code, out, _ = volume_command(capsys, "show", str(folder), "--json", "--top", "5")
    assert code == 0
    assert [entry["label"] for entry in json.loads(out)["classes"]] == inside.classes(5).labels()
    code, out, _ = volume_command(capsys, "show", str(folder), "--group-by", "ones", "--json")
    assert json.loads(out)["classes"] == inside.group_by(volume.Ones()).to_dict()["classes"]
    code, out, err = volume_command(capsys, "show", str(folder), "--label", "0" * 32)
    assert code == 0, err
    assert out.strip() == inside["0" * 32].sentence()
