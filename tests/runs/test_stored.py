"""What an earlier version of the library wrote loads, shows, resumes and merges, and the numbers are the same.

tests/stored/make.py made it all; expected.json there holds the numbers. Nothing here is left to chance: the same seed
gives the same numbers. Rounding, though, may differ on another processor or with other versions, and one draw decided
otherwise changes whatever follows it: where the fixtures were not made, what is computed anew has to pass the
two-sample test of `volume check` instead. What is only read must be the same everywhere.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import volume
from volume.__main__ import main

STORED = Path(__file__).resolve().parent.parent / "stored"
BASELINES = STORED.parent / "baselines"

# How far the numbers of a resumed run may lie from the stored ones; log volumes are in nats. Whole numbers are always
# equal: counts, hits, evaluations.
TOLERANCE = {
    "direct": 0.0,
    "exact": 0.0,
    "trained": 0.0,
    "infinite-width": 1e-9,
    "splitting": 1e-9,
    "local-rays": 1e-9,
    "local-levels": 1e-9,  # by splitting
    "local-tempered": 1e-9,  # by splitting
}
# What takes long to compile; of its kind there is a quicker one.
SLOW = (
    *("direct-2e4", "local-levels", "local-rays", "local-tempered", "splitting", "splitting-pilot"),
    *("measures/measures.json", "sweep.json"),
)
READ = 1e-12  # of what is loaded and not computed anew
STUDIES = 1e-9
ALPHA = 1e-8  # chance that one of some twenty two-sample tests fails for nothing, where such a test is made


def _made() -> Any:
    specification = importlib.util.spec_from_file_location("make_stored", STORED / "make.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


make = _made()
EXPECTED = json.loads((STORED / "expected.json").read_text(encoding="utf-8"))
# What rounding depends on; the number of cores and the version of this library are no part of it.
ELSEWHERE = [
    line
    for line in volume.Baseline.read(STORED / "baselines" / "ones.json").elsewhere
    if not line.startswith(("cores ", "volume "))
]


def with_slow(names: Iterable[str]) -> list[Any]:
    """Names as parameters, sorted."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(names)]


def tolerance(name: str) -> float:
    return max(value for method, value in TOLERANCE.items() if name.startswith(method))


def assert_same(found: Any, expected: Any, tolerance: float, where: str = "") -> None:
    """All that is expected is there and the same; there may be more."""
    if isinstance(expected, Mapping):
        assert isinstance(found, Mapping), where
        for name, value in expected.items():
            assert name in found, f"{where}.{name} is missing"
            assert_same(found[name], value, tolerance, f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list), where
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            assert_same(found[index], value, tolerance, f"{where}[{index}]")
    elif isinstance(expected, float) and isinstance(found, (int, float)):
        assert math.isclose(found, expected, rel_tol=min(tolerance, READ), abs_tol=tolerance), (
            f"{where}: {found} is no {expected}"
        )
    else:
        assert found == expected, where


def without_limits(found: Any, expected: Any) -> Any:
    """What is expected, without limits and notes of volumes from replicates, which are made anew from what is stored.

    Those of earlier versions held less often than they said: the present ones hold them. What rays met is told cutoff
    by cutoff now, in fewer warnings; earlier versions told all cutoffs together.
    """
    if isinstance(expected, Mapping) and expected.get("log_estimates") and not expected.get("num_rays"):
        if not expected["num_dead"]:
            assert found["log_low"] <= expected["log_low"] + STUDIES
            assert found["log_high"] >= expected["log_high"] - STUDIES
        names = ("low", "high", "log_low", "log_high", "notes")
        return {name: each for name, each in expected.items() if name not in names}
    if isinstance(expected, Mapping) and expected.get("num_rays"):
        for name, together in (diagnostics := dict(expected["diagnostics"])).copy().items():
            if name in ("returning_rays", "unbounded_rays", "loose_rays", "log_loss"):
                assert found["diagnostics"][name] <= together
                del diagnostics[name]
        return {**{name: each for name, each in expected.items() if name != "notes"}, "diagnostics": diagnostics}
    if isinstance(expected, Mapping) and any(
        isinstance(each, Mapping) and each.get("num_rays") for each in expected.get("classes", ())
    ):
        assert found["warnings"]["sentences"] <= expected["warnings"]["sentences"]
        expected = {name: each for name, each in expected.items() if name != "warnings"}
    if isinstance(expected, Mapping):
        return {name: without_limits(found.get(name), each) for name, each in expected.items()}
    if isinstance(expected, list) and isinstance(found, list):
        return [without_limits(*each) for each in zip(found, expected, strict=True)]
    return expected


def assert_computed(report: Any, name: str) -> None:
    """The answer of a finished run, within its method's tolerance, or by a test where the fixtures were not made."""
    if not ELSEWHERE:
        found = make.numbers(report)
        assert_same(found, without_limits(found, EXPECTED["finished"][name]), tolerance(name), name)
        return
    stored: Any = volume.load(STORED / "finished" / name)
    if isinstance(report, volume.TableReport):  # whose counts are on disk, where the test does not go
        report, stored = report.group_by(volume.Ones()), stored.group_by(volume.Ones())
    checked = volume.check_report(report, volume.Baseline.of(stored), alpha=ALPHA, statistical=True, name=name)
    untestable = name == "local-rays"  # so few rays have no interval
    assert checked.agree or untestable, str(checked)


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command prints that must succeed."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_everything_is_there():
    """No row without a folder, no folder without a row, and as many as were made."""
    sizes = {"finished": 16, "half": 15, "reports": 12, "studies": 6, "baselines": 2}
    for folder, size in sizes.items():
        names = {path.name for path in (STORED / folder).iterdir() if path.suffix != ".parquet"}
        assert len(names) == size, folder
        if folder in EXPECTED:
            assert names == set(EXPECTED[folder]), folder
    assert set(EXPECTED["finished"]) == set(EXPECTED["columns"]) == set(make.questions())
    assert set(EXPECTED["half"]) == set(make.HALF)
    assert set(EXPECTED["reports"]) == set(make.reports())
    kinds = {row["kind"] for part in ("finished", "reports") for row in EXPECTED[part].values()}
    assert kinds == {"VolumeReport", "TableReport", "PooledReport", "TrainedReport", "EstimateReport"}
    methods = {volume.load(STORED / "finished" / name).method["name"] for name in EXPECTED["finished"]}
    assert methods == {"direct", "exact", "splitting", "trained", "infinite-width", "local"}
    assert len(list(BASELINES.glob("*.json"))) == 6


READABLE = [
    (folder, name)
    for folder in ("finished", "half", "reports")
    for name, row in sorted(EXPECTED[folder].items())
    if row is not None
]


@pytest.mark.parametrize(("folder", "name"), READABLE)
def test_it_loads_and_shows(folder, name, tmp_path, capsys):
    row, path = EXPECTED[folder][name], STORED / folder / name
    if (path / "classes").is_dir():  # of a version without checksums, and so added up anew in the folder
        path = shutil.copytree(path, tmp_path / name)
    report = volume.load(path)
    assert_same(make.numbers(report), row, READ, name)
    if folder == "finished":
        assert make.columns(path) == EXPECTED["columns"][name]
    capsys.readouterr()
    record = json.loads(shown(capsys, "show", path, "--json", "--top", 5))
    assert_same(make.compared(record), row["record"], READ, name)
    text = shown(capsys, "show", path)
    warned = "Warning" in json.loads((STORED / "texts.json").read_text(encoding="utf-8"))[f"{folder}/{name}"]
    assert ("Warning" in text) == warned
    assert len(text.splitlines()) > 10


@pytest.mark.parametrize("name", with_slow(make.HALF))
def test_a_stopped_run_ends_as_one_that_never_stopped(name, tmp_path, capsys):
    folder = tmp_path / name
    shutil.copytree(STORED / "half" / name, folder)
    asked = make.HALF[name]
    query, method, seed, stop = make.questions()[asked]
    before = {file.name: file.read_bytes() for file in (folder / "parts").iterdir() if "state" not in file.name}
    if name == "direct-command":
        shown(capsys, "estimate", "--resume", folder)
        report = volume.load(folder)
    else:
        steps: list[Any] = []
        report = volume.estimate(query, method, seed=seed, out=folder, resume=True, progress=steps.append)
        assert_same(make.numbers(volume.load(folder)), make.numbers(report), READ, name)
        if not name.startswith(("direct", "trained")):  # whose steps grow, or depend on the clock
            left = EXPECTED["steps"][asked] - stop
            if name == "splitting-pilot":  # four replicates that went together now take their 3 levels one by one
                left = EXPECTED["steps"][asked] - make.STOPS_IN_PILOT + (4 - 1) * 3
            assert len(steps) == left  # what was half-done is taken up
    assert_computed(report, asked)
    for file, content in before.items():
        assert (folder / "parts" / file).read_bytes() == content, f"{file} was made again"
    assert make.columns(folder) == EXPECTED["columns"][asked]
    assert "made again" not in capsys.readouterr().err  # no part was damaged, lost, or of another run


# Everything that a process may set, as JAX_DEFAULT_PRNG_IMPL and its like do, and that must not reach the numbers.
SETTINGS = {
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 5,
    "jax_enable_x64": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_default_matmul_precision": "bfloat16",
}


@pytest.fixture
def odd_settings():
    import jax

    before = {name: getattr(jax.config, name) for name in SETTINGS}
    for name, value in SETTINGS.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


# The whole of what is quick, the rest of what was half-done: each with programs that the tests above have compiled.
QUICK_UNDER_SETTINGS = ("direct-1e3", "exact", "local-rays", "trained")


@pytest.mark.parametrize(
    "name", [name if name in QUICK_UNDER_SETTINGS else pytest.param(name, marks=pytest.mark.slow) for name in make.HALF]
)
def test_the_numbers_of_a_seed_do_not_depend_on_what_jax_is_set_to(name, tmp_path, odd_settings):
    asked = make.HALF[name]
    if name.startswith("splitting") or name in ("local-levels", "local-tempered"):  # begun in an earlier stream
        shutil.copytree(STORED / "half" / name, tmp_path / "run")
    make.questions.cache_clear()  # a query is made under these settings, too
    query, method, seed, _ = make.questions()[asked]
    report = volume.estimate(query, method, seed=seed, out=tmp_path / "run", resume=True)
    make.questions.cache_clear()
    assert_computed(report, asked)


def test_what_rounds_otherwise_is_recorded_and_not_mixed(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_dump_to=x")
    query, method, seed, _ = make.questions()["direct-1e3"]
    assert "settings" not in volume.estimate(query, method, seed=seed).run  # on these no number depends
    shutil.copytree(STORED / "half" / "direct-1e3", tmp_path / "run")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert volume.estimate(query, method, seed=seed).run["settings"] == {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    with pytest.raises(ValueError, match=r"set otherwise .*fast_math.*set them as they were"):
        volume.estimate(query, method, seed=seed, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", sorted(make.MERGED))
def test_finished_runs_merge(name, tmp_path, capsys):
    folders = [STORED / "finished" / each for each in make.MERGED[name]]
    merged = make.numbers(volume.merge([volume.load(folder) for folder in folders]))
    assert_same(merged, without_limits(merged, EXPECTED["reports"][name]), READ)
    shown(capsys, "merge", *folders, "--out", tmp_path / "both")
    assert_same(make.numbers(volume.load(tmp_path / "both")), merged, READ, name)


@pytest.mark.parametrize("name", ["exact", "direct-pooled", "splitting"])
def test_a_report_that_is_saved_again_is_the_same(name, tmp_path):
    report: Any = volume.load(STORED / "finished" / name)
    report.save(tmp_path)
    assert_same(make.numbers(volume.load(tmp_path)), EXPECTED["finished"][name], READ, name)


@pytest.mark.parametrize("name", with_slow(make.studies()))
def test_studies_say_the_same(name):
    stored = json.loads((STORED / "studies" / name).read_text(encoding="utf-8"))
    if ELSEWHERE and "comparison" not in name:
        pytest.skip(f"draws may be decided otherwise here: {'; '.join(ELSEWHERE)}")
    found = json.loads(json.dumps(make.studies()[name]().to_dict(), allow_nan=False))
    assert_same(make.compared(found), make.compared(stored), STUDIES, name)


@pytest.mark.parametrize("path", ["measures", "measures/training-sgd"])
def test_runs_behind_the_measures_load(path):
    stored = json.loads((STORED / "studies" / "measures" / "measures.json").read_text(encoding="utf-8"))
    report = volume.load(STORED / "studies" / path)
    seed = stored["seed"] if path == "measures" else stored["training"]["sgd"]["seed"]
    assert report.seed == seed
    assert len(list(report)) >= 2


@pytest.mark.parametrize(
    "path",
    [*sorted((STORED / "baselines").glob("*.json")), BASELINES / "exact.json"],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_baselines_hold(path, capsys):
    """Where it was made number by number; elsewhere it fails for nothing with a chance of 1e-7."""
    record = json.loads(shown(capsys, "check", "--json", "--no-programs", "--alpha", "1e-7", path))
    assert record["agree"]
    assert len(record["baselines"]) == 1


def test_a_byte_that_is_flipped_is_told(tmp_path, caplog):
    """Of the counts of a report, and of a part of a stopped run, which is then made again."""
    finished, half = tmp_path / "finished", tmp_path / "half"
    shutil.copytree(STORED / "finished" / "exact", finished)
    shutil.copytree(STORED / "half" / "exact", half)
    for file in (finished / "counts.parquet", next((half / "parts").iterdir())):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match="truncated, damaged, or of another run"):
        volume.load(finished)
    query, method, seed, _ = make.questions()["exact"]
    report = volume.estimate(query, method, seed=seed, out=half, resume=True)
    assert "is damaged" in caplog.text
    assert_computed(report, "exact")
