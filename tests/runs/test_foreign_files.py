"""Files of the user's own are never removed, and files from somebody else run no code and lead nowhere else."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_runs import SMALL, run
from shared_queries import PLANE

import volume
from volume.__main__ import main
from volume.common.record_reading import SEAL, sha256_of
from volume.reports.run_union import merge_directories
from volume.runs.files import CHECK, Manifest, packed

STORED = Path(__file__).parents[1] / "stored"
TWO_CLASSES = [*SMALL, "--classifier", "ones"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a finished run on the command line."""
    folder = tmp_path_factory.mktemp("run") / "begun"
    assert main([*TWO_CLASSES, "--out", str(folder)]) == 0
    return folder


def resealed(record):
    """The record with the checksum of what it holds now."""
    return {**record, "sha256": sha256_of({name: value for name, value in record.items() if name not in SEAL})}


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


MINE = ["parts/mine.parquet", "parts/draft.tmp", "report.json", "config.json", "counts.parquet"]
NAMES = [
    "run-12:30:00",
    "run[1]",
    "run*",
    "a?b",
    "it's",
    'a "b" c',
    "50%",
    "a#b",
    "a=b",
    "-dash",
    "größe",
    "s3:x",
    " a ",
]


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("force", [False, True])
def test_files_of_the_users_own_stay(name, force, tmp_path, capsys):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"mine")
    code, _, err = run(capsys, *TWO_CLASSES, "--out", tmp_path, *["--force"] * force)
    assert code != 0
    assert str(tmp_path) in err
    assert content(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("name", ["mine.parquet", "mine.tmp"])
def test_force_removes_nothing_where_a_file_is_not_ours(name, begun, tmp_path, capsys):
    folder = shutil.copytree(begun, tmp_path / "run")
    (folder / "parts" / name).write_bytes(b"mine")
    before = content(folder)
    code, _, err = run(capsys, *TWO_CLASSES, "--out", folder, "--force")
    assert (code != 0, name in err) == (True, True)
    assert content(folder) == before


@pytest.mark.parametrize("name", NAMES)
def test_any_name_in_utf_8(name, tmp_path, monkeypatch):
    """No library takes a name for an address or a pattern: not in memory, and not on disk."""
    monkeypatch.chdir(tmp_path)
    report = volume.estimate(PLANE, volume.Direct(1000), seed=1, out=name)
    assert volume.load(name) == report
    again = volume.estimate(PLANE, volume.Direct(1000), seed=1, out=name, resume=True)
    assert [one.volume for one in again.classes()] == [one.volume for one in report.classes()]
    assert sorted(file.name for file in tmp_path.iterdir()) == [name]


def test_a_name_that_begins_with_a_dash(begun, tmp_path, monkeypatch, capsys):
    """It stands behind --, as everywhere."""
    monkeypatch.chdir(tmp_path)
    for name in ("-dash", "--json", "-1"):
        shutil.copytree(begun, name)
    plain = run(capsys, "show", "./-dash")
    assert plain[0] == 0
    for name in ("-dash", "--json", "-1"):
        assert run(capsys, "show", "--", name) == plain
    assert run(capsys, "compare", "--json", "--", "-dash", "-1")[0] == 5  # the same draws
    code, _, err = run(capsys, "merge", "--out=-both", "--", "-dash", "-1")
    assert (code, "no part of the run" in err) == (4, True)


def test_a_pattern_names_no_other_run(tmp_path):
    """Two runs kept on disk, and the names of classes that must be added up anew."""
    stored = STORED / "finished" / "direct-disk"
    for name in ("run1", "run[1]"):
        shutil.copytree(stored, tmp_path / name)
    shutil.rmtree(tmp_path / "run1")
    with pytest.raises((ValueError, FileNotFoundError)):
        volume.load(tmp_path / "run1")
    report = volume.load(tmp_path / "run[1]")
    assert report.top(3)[0].volume == volume.load(shutil.copytree(stored, tmp_path / "other")).top(3)[0].volume


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff"])
def test_names_that_no_file_has(name):
    with pytest.raises(ValueError, match=r"is empty|NUL character|not valid UTF-8"):
        volume.estimate(PLANE, volume.Direct(1000), out=name)


def test_an_empty_out_is_a_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *TWO_CLASSES, "--out", "")
    assert code == 2, err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_of_a_table_on_disk_is_told(seed, tmp_path):
    folder = shutil.copytree(STORED / "finished" / "direct-disk", tmp_path / "run")
    expected = [(one.label, one.volume) for one in volume.load(folder).top(5)]
    rng = np.random.default_rng(seed)
    files = [*sorted((folder / "parts").iterdir()), *sorted((folder / "classes").glob("*.parquet"))]
    file = files[seed % len(files)]
    damaged = bytearray(file.read_bytes())
    damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    file.write_bytes(damaged)
    try:
        top = volume.load(folder).top(5)
    except ValueError as error:
        told = str(error)
    else:
        told, found = str(folder), [(one.label, one.volume) for one in top]
        assert found == expected
    assert str(folder) in told


def test_a_part_is_named_for_no_other_place(begun, tmp_path):
    for name in ("../../../x", "/x", "a/b", "", "A"):
        folder = shutil.copytree(begun, tmp_path / f"run{len(name)}")
        lines, _ = Manifest(folder / "manifest-0.jsonl").read()
        forged = {**lines[0], "name": name, "file": f"{name}.parquet"}
        forged.pop("check", None)
        record = {**forged, "check": _check(forged)}
        (folder / "manifest-0.jsonl").write_text(packed(record) + "\n")
        with pytest.raises(ValueError, match="was not written by this program"):
            merge_directories([folder, begun], tmp_path / f"out{len(name)}")
        assert not (tmp_path / f"out{len(name)}" / "report.json").exists()


def _check(record):
    import hashlib

    return hashlib.sha256(packed(record).encode()).hexdigest()[:CHECK]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("counts", "num_units"), 10),
        (("counts", "num_units"), -1),
        (("level",), 1.5),
        (("level",), "high"),
        (("counts",), []),
    ],
)
def test_forged_numbers_with_a_right_checksum(path, value, tmp_path):
    report = volume.estimate(PLANE, volume.Direct(1000), seed=1)
    saved = report.save(tmp_path / "report.json")
    record = json.loads(saved.read_text())
    *to, last = path
    inside = record
    for name in to:
        inside = inside[name]
    inside[last] = value
    saved.write_text(json.dumps(resealed(record)))
    with pytest.raises(ValueError, match="report"):
        volume.load(saved)


@pytest.mark.parametrize("what", ["resume", "check", "merge"])
def test_no_file_imports_a_module_unasked(what, begun, tmp_path, monkeypatch, capsys):
    """Nor where its own words say that it may be trusted."""
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("raise SystemExit('this code ran')\n")
    words = ["--model", "import:evil:make", "--draws", "2e4", "--classifier", "ones", "--seed", "0"]
    if what == "check":
        baseline = json.loads((STORED / "baselines" / "ones.json").read_text())
        baseline["command"] = words
        Path("b.json").write_text(json.dumps(resealed(baseline)))
        line = ["check", "b.json"]
    else:
        folder = shutil.copytree(begun, tmp_path / "run")
        config = json.loads((folder / "config.json").read_text())
        config["command"] = ["estimate", *words, "--trust"]
        (folder / "config.json").write_text(json.dumps(resealed(config)))
        line = ["estimate", "--resume", "run"]
        if what == "merge":
            shutil.copytree(folder, tmp_path / "other")
            line = ["merge", "run", "other", "--out", "both"]
    code, out, err = run(capsys, *line)
    assert code != 0
    assert "evil" not in sys.modules
    assert "this code ran" not in out + err
    if what != "merge":  # where the parts may differ in more than the words
        assert "add --trust" in out + err


def test_a_run_named_twice(begun, tmp_path, capsys):
    code, _, err = run(capsys, "merge", begun, begun, "--out", tmp_path / "out")
    assert (code, "is named twice" in err) == (2, True)


def test_a_run_is_not_replaced_by_what_it_is_joined_to(begun, tmp_path, capsys):
    folder, other = shutil.copytree(begun, tmp_path / "run"), shutil.copytree(begun, tmp_path / "other")
    before = content(folder)
    code, _, err = run(capsys, "merge", folder, other, "--out", folder, "--force")
    assert (code, "is one of the runs to join" in err) == (2, True)
    assert content(folder) == before
