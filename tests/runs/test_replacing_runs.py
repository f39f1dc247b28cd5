"""What ``--force`` replaces is removed when nothing more can be wrong with what takes its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import SMALL, run

STORED = Path(__file__).parents[1] / "stored"
FINISHED = STORED / "finished"


def content(folder):
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: held for name, held in found.items() if not name.startswith("lock")}


@pytest.fixture
def there(tmp_path):
    """A finished run, which another command is to replace, and a file of the user's own beside it."""
    folder = shutil.copytree(FINISHED / "direct-1e3", tmp_path / "there")
    (folder / "notes.txt").write_text("mine")
    return folder


def _damaged(folder):
    file = folder / "report.json"
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize("flaw", ["none", "damaged", "another question", "the same seed", "no part of its own"])
def test_a_merge_that_fails_replaces_nothing(flaw, there, tmp_path, capsys):
    first = shutil.copytree(FINISHED / "direct-2e4", tmp_path / "first")
    names = {"another question": "direct-3e5", "the same seed": "direct-2e4", "no part of its own": "direct-2e4"}
    second = tmp_path / "second"
    if flaw != "none":
        shutil.copytree(FINISHED / names.get(flaw, "direct-2e4-other"), second)
    if flaw == "damaged":
        _damaged(second)
    if flaw == "the same seed":  # by their reports alone
        (first / "config.json").unlink()
    before = content(there)
    code, _, err = run(capsys, "merge", first, second, "--out", there, "--force")
    assert code not in (0, 3), err
    assert content(there) == before
    assert sorted(file.name for file in there.iterdir() if file.name.startswith(".")) == []


def test_a_merge_replaces_a_run(there, tmp_path, capsys):
    paths = [FINISHED / "direct-2e4", FINISHED / "direct-2e4-other"]
    copies = [shutil.copytree(path, tmp_path / path.name) for path in paths]
    assert run(capsys, "merge", *copies, "--out", there, "--force")[0] == 0
    assert sorted(content(there)) == ["counts.parquet", "notes.txt", "report.json"]


def test_parts_joined_replace_a_run(there, tmp_path, capsys):
    whole, half = (shutil.copytree(STORED / kind / "direct-3e5", tmp_path / kind) for kind in ("finished", "half"))
    code, _, err = run(capsys, "merge", half, whole, "--out", there, "--force")
    assert (code, "begun in Python" in err) == (4, True)  # its report takes the query
    assert (there / "notes.txt").read_text() == "mine"
    assert not (there / "report.json").exists()
    assert len(list((there / "parts").iterdir())) == 2


def test_an_estimate_that_does_not_begin_replaces_nothing(there, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError("the disk has too little room")

    before = content(there)
    monkeypatch.setattr("volume.estimators.direct.accumulators.InMemory.check_room", full)
    code, _, err = run(capsys, *SMALL, "--out", there, "--force")
    assert (code, "too little room" in err) == (4, True)
    assert content(there) == before
