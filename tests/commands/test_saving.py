"""Files behind ``--out``: none of somebody else's is replaced, and an answer is printed before it is saved."""

from __future__ import annotations

import errno
import io
import json
import shutil
import sys
import xml.etree.ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from cli_runs import answer, run

from volume.checks.baseline import Baseline
from volume.common.record_reading import SEAL, sha256_of
from volume.plots.figures import new_axes, write
from volume.plots.marks import check_own_figure

STORED = Path(__file__).parents[1] / "stored"
NETWORK = ["--model", "mlp:2-3-1", "--no-bias", "--draws", "1e3"]
SWEEP = ["sweep", "--over", "weight-std", "--values", "1", "--label", "zeros", *NETWORK]
MEASURES = ["measures", "--target", "majority", "--train", "2", "--method", "direct", *NETWORK]
LOCAL = ["local", "--model", "mlp:2-3-1", "--no-bias", "--cutoff", "1e-2,1e-1", "--rays", "8"]
PLACES = [
    *((SWEEP, name) for name in ("sweep.json", "sweep.pdf")),
    *((MEASURES, name) for name in ("measures.json", "measures.pdf", "report.json", "counts.parquet")),
    *(([*MEASURES, "--curve", "2"], name) for name in ("labels.json", "labels.pdf")),
    *(
        (["demo"], name)
        for name in ("rank.pdf", "report.json", "measures-majority-32.pdf", "measures-majority-32.json")
    ),
    (LOCAL, "curve.pdf"),
]


@pytest.fixture
def nothing_begins(monkeypatch):
    """Fail where a refusal comes after work has begun."""

    def begun(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr("volume.estimation.Driver.__init__", begun)
    monkeypatch.setattr("volume.studies.sweep.sweep", begun)


@pytest.mark.parametrize(("words", "name"), PLACES, ids=lambda one: one if isinstance(one, str) else one[0])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.usefixtures("nothing_begins")
def test_files_of_somebody_else_stay(words, name, force, tmp_path, capsys):
    if words[0] == "local":
        np.savez(tmp_path / "a.npz", w=[1.0])
        words = [*words, "--anchor", tmp_path / "a.npz"]
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"%PDF-1.4 mine")
    code, _, err = run(capsys, *words, "--out", out, *["--force"] * (force and words[0] != "demo"))
    assert (code, str(out / name) in err) == (2, True), err
    assert [(file.name, file.read_bytes()) for file in out.iterdir()] == [(name, b"%PDF-1.4 mine")]


@pytest.mark.parametrize("words", [SWEEP, MEASURES, ["demo"]], ids=lambda words: words[0])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.usefixtures("nothing_begins")
def test_the_report_of_a_run_is_not_replaced_by_a_study(words, force, tmp_path, capsys):
    folder = shutil.copytree(STORED / "finished" / "direct-2e4", tmp_path / "run")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    code, _, err = run(capsys, *words, "--out", folder, *["--force"] * (force and words[0] != "demo"))
    assert (code, "holds a run" in err) == (2, True), err
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png", ".PNG"])
def test_only_figures_of_this_program_are_replaced(suffix, tmp_path, capsys):
    run_, path = STORED / "reports" / "pooled", tmp_path / f"figure{suffix}"
    path.write_bytes(b"mine")
    code, _, err = run(capsys, "plot", run_, "--out", path)
    assert (code, path.read_bytes(), str(path) in err) == (2, b"mine", True)
    path.unlink()
    for _ in range(2):  # the second one replaces the first
        assert run(capsys, "plot", run_, "--out", path)[0] == 0
    figure = path.read_bytes()
    if suffix == ".svg":
        xml.etree.ElementTree.fromstring(figure)
    if suffix == ".png":
        assert matplotlib.image.imread(path).ndim == 3
    for at in (len(figure) // 2, len(figure) - 30, 0):
        path.write_bytes(figure[:at] + bytes([figure[at] ^ 1]) + figure[at + 1 :])
        with pytest.raises(FileExistsError, match="changed since"):
            check_own_figure(path)
    with pytest.raises(FileExistsError):
        write(new_axes(), path)


def test_a_baseline_takes_no_place_of_another_file(tmp_path):
    path = tmp_path / "b.json"
    path.write_text('{"mine": 1}')
    baseline = Baseline.read(STORED / "baselines" / "ones.json")
    with pytest.raises(FileExistsError, match="was not written by this program"):
        baseline.write(path)
    path.unlink()
    for _ in range(2):
        assert Baseline.read(baseline.write(path)).answer == baseline.answer


@pytest.mark.parametrize(("name", "value"), [("level", 1.5), ("volume", 2.0), ("num_draws", -1), ("command", None)])
def test_forged_numbers_of_a_baseline(name, value, tmp_path):
    record = json.loads((STORED / "baselines" / "ones.json").read_text())
    if name == "command":
        del record[name]
    else:
        (record if name == "level" else record["answer"])[name] = value
    record["sha256"] = sha256_of({key: held for key, held in record.items() if key not in SEAL})
    (tmp_path / "b.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"does not hold what a baseline holds .*{name}"):
        Baseline.read(tmp_path / "b.json")


def test_a_full_disk_takes_no_answer(tmp_path, capsys, monkeypatch):
    """And nothing stays in the folder that would stand in the way of the next try."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("volume.studies.sweep.Sweep.plot", full)
        code, printed, err = run(capsys, *SWEEP, "--out", out, "--json")
    assert (code, "No space left" in err) == (4, True)
    assert len(json.loads(printed)["rows"]) == 1
    assert list(out.iterdir()) == []
    assert answer(capsys, *SWEEP, "--out", out)["rows"] == json.loads(printed)["rows"]
    assert sorted(file.name for file in out.iterdir()) == ["sweep.json", "sweep.pdf"]
    assert run(capsys, *SWEEP, "--out", out)[0] == 2
    assert run(capsys, *SWEEP, "--out", out, "--force")[0] == 0


def test_a_closed_pipe_does_not_keep_an_answer_from_its_folder(tmp_path, monkeypatch):
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def fileno(self):
            return 99

    from volume.__main__ import main

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr("volume.commands.main.os.dup2", lambda *_: None)
    assert main([*SWEEP, "--out", str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["sweep.json", "sweep.pdf"]


def test_a_file_that_came_meanwhile_stays(tmp_path, capsys, monkeypatch):
    from volume.studies import sweep

    out, made = tmp_path / "out", sweep.sweep

    def slow(*args, **options):
        (out / "sweep.pdf").write_bytes(b"mine")
        return made(*args, **options)

    monkeypatch.setattr("volume.studies.sweep.sweep", slow)
    code, printed, err = run(capsys, *SWEEP, "--out", out, "--json")
    assert (code, str(out / "sweep.pdf") in err, "rows" in json.loads(printed)) == (4, True, True)
    assert [(file.name, file.read_bytes()) for file in out.iterdir()] == [("sweep.pdf", b"mine")]
