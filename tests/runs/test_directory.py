"""Runs in directories: what a stop at any moment costs, what damage is found, and who may write."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import volume
from volume import models, samplers
from volume.common.seeds import to_key
from volume.estimation import Interrupted
from volume.estimators.direct.run import DirectRun
from volume.runs.columns import key_words
from volume.runs.config import read_config
from volume.runs.directory import RunDirectory, RunStopped
from volume.runs.files import Manifest
from volume.runs.ownership import clear

GAUSSIAN = samplers.Gaussian(weight_std=1.0, bias_std=0.3)
COUNTS = ("keys", "offsets", "unit", "hits", "nonfinite")


def sometimes_nan():
    def apply(params, inputs):
        out = inputs @ params["weight"]
        return out.at[0].set(jnp.where(params["weight"][0] > 1.0, jnp.nan, out[0]))

    return models.from_function(apply, {"weight": (3,)}, input_shape=(3,))


@pytest.fixture(scope="module")
def questions():
    """Tables of two words; class numbers; draws that are lost; draws that bring several hits."""
    cube, seven = volume.BooleanCube(3), volume.BooleanCube(7)
    model = models.MLP((3, 4, 1))
    return {
        "table": (volume.Query(models.MLP((7, 5, 1)), GAUSSIAN, seven), volume.Direct(9000, heads=10, bodies=3)),
        "classes": (volume.Query(model, GAUSSIAN, cube, volume.Ones()), volume.Direct(9000, heads=10, bodies=3)),
        "nonfinite": (volume.Query(sometimes_nan(), samplers.Gaussian(1.0), cube), volume.Direct(8000, bodies=40)),
        "weights": (
            volume.Query(
                models.MLP((3, 3, 1), bias=False), samplers.Lattice.ternary(), cube, volume.TruthTable(), "quotient"
            ),
            volume.Direct(8000),
        ),
    }


@pytest.fixture(scope="module")
def straight(questions):
    """Each question's report by a run that was not stopped and not kept."""
    return {name: volume.estimate(query, method, seed=5) for name, (query, method) in questions.items()}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("volume.runs.checkpoints.BATCH_ROWS", 900)


def same_report(a, b):
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(a.counts, name), getattr(b.counts, name), err_msg=name)
    records = [report.to_dict(top=20) for report in (a, b)]
    for record in records:
        record["run"] = {name: value for name, value in record["run"].items() if name != "wall_seconds"}
    assert records[0] == records[1]


def stopping(after):
    """Progress that presses Ctrl-C after so many steps."""
    steps = iter(range(after))

    def show(_):
        if next(steps, None) is None:
            raise KeyboardInterrupt

    return show


def begin(question, out, steps=3, *, resume=False) -> Any:
    """A run that is stopped after a few steps."""
    with pytest.raises(Interrupted) as stop:
        volume.estimate(*question, seed=5, out=out, progress=stopping(steps), resume=resume)
    return stop.value


def files(out):
    return sorted((out / "parts").glob("*.parquet"))


SOME = [pytest.param(name, marks=pytest.mark.slow) for name in ("nonfinite", "weights")]


@pytest.mark.parametrize("name", ["table", "classes", *SOME])
def test_a_run_stopped_again_and_again_ends_as_if_never_stopped(name, questions, straight, tmp_path):
    query, method = questions[name]
    stop = begin(questions[name], tmp_path, steps=0)
    assert "resume=True" in str(stop)
    assert stop.out == tmp_path
    assert 0 < stop.report.num_draws < method.draws
    shown: Any = volume.load(tmp_path)  # the report so far is there to be looked at
    assert shown.num_draws == stop.report.num_draws
    drawn = [stop.report.num_draws]
    for steps in (1, 2, 4):
        drawn.append(begin(questions[name], tmp_path, steps, resume=True).report.num_draws)
    assert drawn == sorted(set(drawn))
    report = volume.estimate(query, method, seed=5, out=tmp_path, resume=True)
    same_report(report, straight[name])
    same_report(volume.load(tmp_path), straight[name])
    assert report.run["wall_seconds"] > 0


def test_a_finished_run_answers_at_once(questions, straight, tmp_path, monkeypatch):
    query, method = questions["table"]
    volume.estimate(query, method, seed=5, out=tmp_path)
    monkeypatch.setattr(DirectRun, "_dispatch", None)
    begun = len((tmp_path / "manifest-0.jsonl").read_text().splitlines())
    same_report(volume.estimate(query, method, seed=5, out=tmp_path, resume=True), straight["table"])
    assert len((tmp_path / "manifest-0.jsonl").read_text().splitlines()) == begun


def test_resume_begins_where_there_is_nothing(questions, straight, tmp_path):
    report = volume.estimate(*questions["classes"], seed=5, out=tmp_path / "new" / "run", resume=True)
    same_report(report, straight["classes"])
    with pytest.raises(ValueError, match="name it with out="):
        volume.estimate(*questions["classes"], resume=True)


def flip(file, rng):
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def cut(file, rng):
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def remove(file, rng):
    file.unlink()


@pytest.mark.parametrize("harm", [flip, cut, remove])
def test_damaged_parts_are_found_and_made_again(harm, questions, straight, tmp_path, caplog, monkeypatch):
    """Any byte: SHA-256 misses none."""
    rng = random.Random(harm.__name__)
    volume.estimate(*questions["table"], seed=5, out=tmp_path)
    chosen = rng.sample(files(tmp_path), 3)
    for file in chosen:
        harm(file, rng)
    caplog.clear()
    # What is drawn again must not become one part across the gaps.
    monkeypatch.setattr("volume.runs.checkpoints.BATCH_ROWS", 10**9)
    same_report(volume.estimate(*questions["table"], seed=5, out=tmp_path, resume=True), straight["table"])
    said = caplog.text
    caplog.clear()
    for file in chosen:
        assert f"{file} is {'missing' if harm is remove else 'damaged'}" in said
    assert said.count("made again") == 3
    aside = sorted(file.name for file in tmp_path.glob("*.damaged"))
    assert aside == ([] if harm is remove else sorted(f"{file.name}.damaged" for file in chosen))
    # Said once: the parts were made again, or listed as lost.
    same_report(volume.estimate(*questions["table"], seed=5, out=tmp_path, resume=True), straight["table"])
    assert not caplog.records


def test_damaged_manifests_are_found(questions, straight, tmp_path, caplog):
    rng = random.Random(7)
    for _ in range(12):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("volume.runs.checkpoints.BATCH_ROWS", rng.choice([400, 900, 2000]))
            volume.estimate(*questions["classes"], seed=5, out=tmp_path, resume=True)
        harm = rng.choice([flip, cut])
        harm(tmp_path / "manifest-0.jsonl", rng)
        same_report(volume.estimate(*questions["classes"], seed=5, out=tmp_path, resume=True), straight["classes"])
    assert "damaged lines in" in caplog.text


def test_what_a_killed_process_left_is_removed(questions, straight, tmp_path):
    begin(questions["table"], tmp_path)
    kept = files(tmp_path)
    half, whole = tmp_path / "parts" / ".blocks-1.parquet.77.tmp", tmp_path / "parts" / "blocks-9-10.parquet"
    half.write_bytes(b"PAR1")
    whole.write_bytes(kept[0].read_bytes())  # renamed, but its line was never written
    same_report(volume.estimate(*questions["table"], seed=5, out=tmp_path, resume=True), straight["table"])
    assert not half.exists()
    assert not whole.exists()
    assert set(kept) <= set(files(tmp_path))


def test_another_run_is_refused_with_the_difference(questions, tmp_path):
    query, method = questions["classes"]
    begin(questions["classes"], tmp_path)
    with pytest.raises(FileExistsError, match="holds a run: resume it"):
        volume.estimate(query, method, seed=5, out=tmp_path)
    other = volume.Query(models.MLP((3, 4, 1), "tanh"), GAUSSIAN, query.domain, volume.Ones())
    changes: tuple[tuple[Any, dict[str, Any], str], ...] = (
        ((other, method), {"seed": 5}, r'its query\.model\.activation is "relu" and this one\'s is "tanh"'),
        ((query, method), {"seed": 6}, "its seed is 5 and this one's is 6"),
        (
            (query, volume.Direct(9000, heads=10, bodies=2)),
            {"seed": 5},
            r"its constants\.blocks is 300 and this one's is 450",
        ),
        ((query, method), {"seed": 5, "level": 0.9}, "its level is 0.95"),
    )
    for changed, settings, where in changes:
        with pytest.raises(ValueError, match=where):
            volume.estimate(*changed, out=tmp_path, resume=True, **settings)
    config = json.loads((tmp_path / "config.json").read_text())
    config["seed"] = 6
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="damaged or was edited"):
        volume.estimate(query, method, seed=6, out=tmp_path, resume=True)
    (tmp_path / "config.json").write_text('{"architectures": ["Other"]}')
    with pytest.raises(ValueError, match="no config of a run"):
        volume.estimate(query, method, seed=6, out=tmp_path, resume=True)


def test_places_that_are_no_folder_of_a_run(questions, tmp_path):
    question = questions["classes"]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        volume.estimate(*question, out=tmp_path / "file")
    volume.estimate(*question).save(tmp_path / "report")
    with pytest.raises(FileExistsError, match="holds a report"):
        volume.estimate(*question, out=tmp_path / "report")
    assert not (tmp_path / "report" / "config.json").exists()
    with pytest.raises(FileNotFoundError, match="holds no run"):
        read_config(tmp_path)


def test_clear_removes_a_run_and_nothing_else(questions, tmp_path):
    volume.estimate(*questions["classes"], seed=5, out=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "classes").mkdir()  # of tables counted on disk
    clear(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lock", "notes.txt", "parts"]
    assert files(tmp_path) == []
    other = tmp_path / "other"
    (other / "parts").mkdir(parents=True)
    for name in ("config.json", "parts/mine.parquet"):
        (other / name).write_text("{}")
    with pytest.raises(FileExistsError, match=r"config\.json is no file of a run and is left as it is"):
        clear(other)
    assert (other / "parts" / "mine.parquet").exists()
    assert (other / "config.json").exists()


def test_the_second_of_two_writers_is_refused(questions, straight, tmp_path):
    query, method = questions["classes"]
    refused = []

    def show(_):
        if not refused:
            with pytest.raises(BlockingIOError, match=r"is in use by process \d+ on \S+: wait") as told:
                volume.estimate(query, method, seed=5, out=tmp_path, resume=True)
            refused.append(told)

    same_report(volume.estimate(query, method, seed=5, out=tmp_path, progress=show), straight["classes"])
    same_report(volume.estimate(query, method, seed=5, out=tmp_path, resume=True), straight["classes"])


@pytest.mark.parametrize("where", ["parts", "manifest", "report"])
def test_a_full_disk_stops_the_run_and_spoils_nothing(where, questions, straight, tmp_path, monkeypatch):
    """Every place where a run writes fails once, the third part's, or the report's."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        if where == "parts":
            from volume.common import atomic_files

            def write(path, content, write=atomic_files.write_bytes, calls=[]):  # noqa: B006 - counts calls
                calls.append(path)
                if path.parent.name == "parts" and len(calls) > 3:
                    (path.parent / f".{path.name}.1.tmp").write_bytes(content[: len(content) // 2])
                    raise full
                write(path, content)

            patch.setattr("volume.runs.directory.write_bytes", write)
        elif where == "manifest":

            def append(self, record, append=Manifest.append, calls=[]):  # noqa: B006 - counts calls
                calls.append(record)
                if len(calls) > 3:
                    with self.path.open("ab") as file:
                        file.write(b'{"name":')
                    raise full
                append(self, record)

            patch.setattr(Manifest, "append", append)
        else:

            def save(*_):
                raise full

            patch.setattr("volume.reports.counted.write_record", save)
        with pytest.raises(RunStopped, match=r"No space left on device.*are whole.*resume"):
            volume.estimate(*questions["table"], seed=5, out=tmp_path)
    assert len(files(tmp_path)) >= 2
    assert not (tmp_path / "report.json").exists()
    report = volume.estimate(*questions["table"], seed=5, out=tmp_path, resume=True)
    same_report(report, straight["table"])
    assert not list((tmp_path / "parts").glob(".*"))


def test_a_small_file_system_that_fills(questions, straight, tmp_path):
    """A real one, where this machine lets us mount it; then it is made larger, and the run goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        with pytest.raises(RunStopped, match="No space left on device"):
            volume.estimate(*questions["table"], seed=5, out=disk / "run")
        listed = Manifest(disk / "run" / "manifest-0.jsonl").read()
        assert listed[1] == 0
        assert 0 < len(listed[0]) <= len(files(disk / "run"))
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
        same_report(volume.estimate(*questions["table"], seed=5, out=disk / "run", resume=True), straight["table"])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_shares_of_a_run_are_together_the_run(questions, straight, tmp_path):
    """Three processes with unequal shares of what a stopped run left, then one that restores it all."""
    query, method = questions["nonfinite"]
    begin(questions["nonfinite"], tmp_path / "a", steps=1)
    key, _ = to_key(5)
    done = []
    for index in range(3):
        with RunDirectory(tmp_path / "a", read_config_body(tmp_path / "a"), resume=True, process=index) as directory:
            run = method.start(query, key)
            run.restore(directory.parts() if index == 0 else done[0])
            done.append(directory.parts())
            run.restrict(index, 3)
            while not run.done:
                run.advance()
                directory.write(run.collect())
            directory.write(run.collect(all=True))
    same_report(volume.estimate(query, method, seed=5, out=tmp_path / "a", resume=True), straight["nonfinite"])


def read_config_body(out):
    config = read_config(out)
    return {name: value for name, value in config.items() if name not in ("format", "version")}


def test_parts_are_what_the_documentation_says(questions, straight, tmp_path):
    volume.estimate(*questions["table"], seed=5, out=tmp_path)
    counts = straight["table"].counts
    schema = pq.read_schema(files(tmp_path)[0])
    assert [(field.name, str(field.type)) for field in schema] == [
        ("function", "fixed_size_binary[16]"),
        ("unit", "int64"),
        ("hits", "int32"),
    ]
    with duckdb.connect() as connection:
        found = connection.sql(
            f"SELECT hex(function), sum(hits)::BIGINT FROM '{tmp_path}/parts/*.parquet' GROUP BY function "
            "ORDER BY function"
        ).fetchall()
    expected = ["".join(f"{word:016X}" for word in key) for key in counts.keys]
    assert [name for name, _ in found] == expected
    assert [hits for _, hits in found] == counts.tally().count.tolist()
    for file in files(tmp_path):
        part = pq.read_table(file).combine_chunks()
        order = list(zip(part["function"].to_pylist(), part["unit"].to_pylist(), strict=True))
        assert order == sorted(set(order))
    assert key_words(part["function"].combine_chunks(), 2).shape == (len(part), 2)


@pytest.mark.parametrize("name", ["table", "classes"])
def test_pandas_reads_parts(name, questions, straight, tmp_path):
    pandas = pytest.importorskip("pandas")
    volume.estimate(*questions[name], seed=5, out=tmp_path)
    frame = pandas.read_parquet(tmp_path / "parts")
    hits = frame.groupby("function")["hits"].sum().sort_index()
    assert hits.tolist() == straight[name].counts.tally().count.tolist()


class Numbered:
    """A method that keeps no parts; it counts how often it was begun."""

    name = "numbered"
    starts = 0

    def start(self, query, key):
        self.starts += 1
        return volume.InfiniteWidth(samples=64, replicates=8).start(query, key)


def test_methods_without_parts_keep_their_report(tmp_path, caplog, monkeypatch):
    """Until it is there they start anew, and then it is given back."""
    fits = volume.Fits(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 1, 1])
    query, method = volume.Query(models.MLP((2, 3, 1), bias=False), samplers.Gaussian(1.0), classifier=fits), Numbered()
    monkeypatch.setattr("volume.estimation.is_resumable", lambda run: False)
    report = volume.estimate(query, method, out=tmp_path)
    assert volume.estimate(query, method, out=tmp_path, resume=True).to_dict() == report.to_dict()
    assert not caplog.records
    (tmp_path / "report.json").unlink()
    again = volume.estimate(query, method, out=tmp_path, resume=True)
    assert again["fits"] == report["fits"]
    assert "keeps no parts of a run: it starts anew" in caplog.text
    assert Path(tmp_path / "report.json").is_file()
