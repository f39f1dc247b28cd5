"""Files that users keep are there whole, on the disk, after a crash or a power cut."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from example_reports import make, table_counts

from volume.checks.baseline import write_record
from volume.common.atomic_files import replacing, write_bytes, write_text


@pytest.fixture
def events(monkeypatch):
    """What is flushed and renamed, in order: ("sync", "file" or "folder", its size) and ("rename", name)."""
    seen: list[tuple[object, ...]] = []
    fsync, replace = os.fsync, os.replace

    def synced(opened: int) -> None:
        found = os.fstat(opened)
        folder = stat.S_ISDIR(found.st_mode)
        seen.append(("sync", "folder" if folder else "file", 0 if folder else found.st_size))
        fsync(opened)

    def renamed(old: str | Path, new: str | Path) -> None:
        seen.append(("rename", Path(new).name))
        replace(old, new)

    monkeypatch.setattr("volume.common.atomic_files.os.fsync", synced)
    monkeypatch.setattr("volume.common.atomic_files.os.replace", renamed)
    return seen


def whole(name: str, size: int) -> list[tuple[object, ...]]:
    """What must happen to a file: all of it is on the disk before it has its name, and then the name is."""
    return [("sync", "file", size), ("rename", name), ("sync", "folder", 0)]


def test_a_file_and_its_folder_are_flushed_in_order(tmp_path, events):
    write_bytes(tmp_path / "a.bin", b"four")
    write_text(tmp_path / "b.txt", "fünf\n")
    assert events == whole("a.bin", 4) + whole("b.txt", 6)
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "fünf\n"


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path, events):
    path = tmp_path / "kept.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_text("half of the n")
            assert path.read_text() == "old"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (path.read_text(), events) == ("old", [])
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]


def test_a_folder_that_is_not_there_is_no_place(tmp_path, events):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "a.json", "{}")
    assert events == []


def test_a_report_is_on_the_disk_before_it_is_said_to_be_saved(tmp_path, events):
    """The counts first: a record never describes counts that may not be there."""
    make(table_counts(np.eye(3, 16, dtype=int))).save(tmp_path / "run.json")
    sizes = {name: (tmp_path / name).stat().st_size for name in ("run.parquet", "run.json")}
    assert events == whole("run.parquet", sizes["run.parquet"]) + whole("run.json", sizes["run.json"])


def test_a_baseline_is_on_the_disk(tmp_path, events):
    path = write_record(tmp_path / "new" / "baseline.json", "a format", 1, {"entries": [1, 2]})
    assert json.loads(path.read_text())["entries"] == [1, 2]
    assert events == whole("baseline.json", path.stat().st_size)
