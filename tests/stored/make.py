"""Make the runs stored in this folder: what every method and study wrote before the library was rearranged.

    python tests/stored/make.py

replaces them, in about two minutes. They are meant to be kept: tests/runs/test_stored.py loads, shows, resumes and
merges them with the library as it is now, so make them anew only when a change of numbers is intended.

    finished/NAME/    a run directory of a finished run       reports/NAME      a report saved by itself
    half/NAME/        a run directory of a stopped run        studies/NAME      the record of a study
    baselines/NAME    baselines of `volume check`             expected.json     numbers that the test compares
                                                              texts.json        summaries, for readers only

Only the public interface is called, here and in the test.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pyarrow.parquet as pq

import volume
from volume import models, samplers
from volume.__main__ import main as command

HERE = Path(__file__).resolve().parent
FOLDERS = ("finished", "half", "reports", "studies", "baselines")

# Where and when something was computed, and prose, which may change.
NOT_COMPARED = {"wall_seconds", "seconds", "versions", "commit", "device", "text"}

# A run begun at the command line remembers its words. These are the question "direct-2e4".
WORDS = [
    "--model",
    "mlp:3-4-1",
    "--activation",
    "tanh",
    "--bias-std",
    "0.1",
    "--draws",
    "2e4",
    "--heads",
    "20",
    "--bodies",
    "10",
    "--seed",
    "3",
]
CHECK = {
    "ones.json": [
        "--model",
        "perceptron:3",
        "--bias-std",
        "0.3",
        "--classifier",
        "ones",
        "--draws",
        "2e4",
        "--seed",
        "5",
    ],
    "wide.json": [
        "--model",
        "mlp:3-4-1",
        "--bias-std",
        "0.1",
        "--classifier",
        "fits:labels=0110?1??",
        "--method",
        "infinite-width",
    ],
}


class Question(NamedTuple):
    """What is asked, and after how many steps the half-done run of it is stopped (none: there is none)."""

    query: volume.Query
    method: Any
    seed: int
    stop: int | None


# The questions of most methods share one network, so that few programs are compiled.
NETWORK = models.MLP((3, 4, 1), "tanh")
PRIOR = samplers.Gaussian(1.0, 0.1)
CUBE = volume.BooleanCube(3)
LABELS = [0, 1, 1, 1, 0, 1, 0, 1]
FIVE = volume.Fits(CUBE.inputs[:5], LABELS[:5])
TRAINING = {"learning_rate": 0.2, "batch_size": 2, "max_steps": 400, "pool": 16}


@functools.cache
def questions() -> dict[str, Question]:
    """Every question by name."""
    tables = volume.Query(NETWORK, PRIOR, CUBE)
    small = volume.Query(models.MLP((2, 3, 1), bias=False), samplers.Gaussian(1.0), volume.BooleanCube(2))
    large = volume.Query(models.MLP((5, 3, 2, 1)), samplers.Gaussian(1.3, 0.2), volume.BooleanCube(5), volume.Ones())
    ternary = {
        symmetry: volume.Query(
            models.MLP((2, 3, 1), bias=False), samplers.Lattice.ternary(), volume.BooleanCube(2), symmetry=symmetry
        )
        for symmetry in ("none", "quotient")
    }
    pooled = volume.Query(NETWORK, PRIOR, CUBE, symmetry="pooled")
    given = volume.Query(NETWORK, PRIOR, CUBE, volume.Given(FIVE, volume.Ones()))
    middle = volume.Direct(2e4, heads=20, bodies=10)
    splitting = volume.Splitting(particles=48, moves=2, replicates=4)
    trained = volume.Trained(100, on=FIVE, **TRAINING)
    wide = volume.InfiniteWidth(samples=1600, replicates=8, labels=["01110101", "01101111"])
    rng = np.random.default_rng(0)
    anchor = {p.name: rng.normal(size=p.shape).round(3) for p in NETWORK.parameters}
    chains = {"particles": 16, "moves": 2, "replicates": 4, "line_points": 2, "estimator": "splitting"}
    return {
        "direct-1e3": Question(small, volume.Direct(1e3, heads=4, bodies=5), 3, 5),
        "direct-2e4": Question(tables, middle, 3, 6),
        "direct-3e5": Question(large, volume.Direct(3e5, heads=50, bodies=40), 3, 7),
        # Counted on disk.
        "direct-disk": Question(tables, volume.Direct(2e4, heads=20, bodies=10, memory=60_000), 4, 6),
        "direct-pooled": Question(pooled, middle, 3, 6),
        "exact": Question(ternary["none"], volume.Exact(path="blocks", block=700), 3, 17),
        "exact-sums": Question(ternary["quotient"], volume.Exact(path="sums", block=20), 3, 40),
        "splitting": Question(given, splitting, 3, 5),  # amid the levels of its replicates
        "trained": Question(tables, trained, 3, 1),
        "infinite-width": Question(tables, wide, 3, 1),
        "local-rays": Question(tables, volume.Local(anchor, [0.01, 0.1], rays=150, fit=25), 3, 6),
        "local-levels": Question(tables, volume.Local(anchor, [0.02, 0.1], chain="levels", **chains), 3, 9),
        "local-tempered": Question(tables, volume.Local(anchor, [0.02, 0.1], chain="tempered", **chains), 3, 14),
        # Other seeds, to be merged.
        "direct-2e4-other": Question(tables, middle, 5, None),
        "splitting-other": Question(given, splitting, 5, None),
        "trained-other": Question(tables, trained, 5, None),
    }


# Stopped runs by name: the question whose answer they end in.
HALF = {
    **{name: name for name, question in questions().items() if question.stop is not None},
    "splitting-pilot": "splitting",
    "direct-command": "direct-2e4",
}
STOPS_IN_PILOT = 2

MERGED = {  # reports/NAME: of these two finished runs
    "merged-direct": ("direct-2e4", "direct-2e4-other"),
    "merged-splitting": ("splitting", "splitting-other"),
    "merged-trained": ("trained", "trained-other"),
}


def reports() -> dict[str, Callable[[], Any]]:
    """The reports saved by themselves, as what is made of the finished runs."""

    def finished(name: str) -> Any:
        return volume.load(HERE / "finished" / name)

    return {
        "counts.json": lambda: finished("direct-1e3"),
        "complete": lambda: finished("exact"),
        "quotient": lambda: finished("exact-sums"),
        "pooled": lambda: finished("direct-pooled"),
        "trained": lambda: finished("trained"),
        "trained-given-fit": lambda: finished("trained").given_fit(),
        "estimates.json": lambda: finished("splitting"),
        "limits": lambda: finished("infinite-width"),
        "local": lambda: finished("local-rays"),
        **{
            name: functools.partial(lambda pair: volume.merge([finished(each) for each in pair]), pair)
            for name, pair in MERGED.items()
        },
    }


def studies() -> dict[str, Callable[[], Any]]:
    """The studies, whose records are studies/NAME."""
    direct = volume.Direct(2e4, heads=20, bodies=10)
    tables = volume.Query(NETWORK, PRIOR, CUBE)
    others = volume.Given(FIVE, volume.Accuracy(CUBE.inputs[5:], LABELS[5:]))

    def finished(name: str) -> Any:
        return volume.load(HERE / "finished" / name)

    return {
        "measures/measures.json": lambda: volume.measure(
            volume.Query(NETWORK, PRIOR, CUBE, others),
            direct,
            name="seven",
            optimisers={"sgd": volume.Trained(100, **TRAINING)},
            seed=3,
        ),
        "labels.json": lambda: volume.labels_curve(NETWORK, PRIOR, CUBE, LABELS, [5], direct, name="seven", seed=3),
        "sweep.json": lambda: volume.sweep(
            {0.3: tables, 1.0: volume.Query(NETWORK, samplers.Gaussian(1.0, 1.0), CUBE)},
            direct,
            "01110101",
            seed=3,
            x_name="bias_std",
        ),
        "comparison.json": lambda: volume.compare(finished("direct-2e4"), finished("direct-2e4-other")),
        "estimates-comparison.json": lambda: volume.compare(finished("splitting"), finished("splitting-other")),
        "training-comparison.json": lambda: volume.compare_training(
            finished("direct-2e4"), finished("trained"), head=3
        ),
    }


# --- what is compared ---


def compared(value: Any) -> Any:
    """Of a record its numbers and labels; of notes and warnings how many there are."""
    if isinstance(value, Mapping):
        kept = {name: compared(each) for name, each in value.items() if name not in NOT_COMPARED}
        return {name: each for name, each in kept.items() if not isinstance(each, str) or name == "label"}
    if isinstance(value, (list, tuple)):
        texts = value and all(isinstance(each, str) for each in value)
        return {"sentences": len(value)} if texts else [compared(each) for each in value]
    return value


def numbers(report: Any) -> dict[str, Any]:
    """What is compared of a report: its record, and how often every class was hit where draws were counted."""
    found = {"kind": type(report).__name__, "record": compared(report.to_dict(top=5))}
    if isinstance(report, volume.TableReport):  # each class by itself is a question to the disk
        found["hits"] = {entry["label"]: entry["count"] for entry in report.to_dict(top=1000)["classes"]}
    elif isinstance(report, volume.VolumeReport):
        found["hits"] = {label: [report[label].count, report[label].units_hit] for label in sorted(report)}
    return json.loads(json.dumps(found, allow_nan=False))


def columns(folder: Path) -> dict[str, list[str]]:
    """The columns of every kind of part, as "name: type", by the part's name without its numbers."""
    found: dict[str, list[str]] = {}
    for manifest in sorted(folder.glob("manifest-*.jsonl")):
        latest = {line["name"]: line for line in map(json.loads, manifest.read_text().splitlines())}
        for line in latest.values():  # earlier lines of a state name files that later ones have taken
            file = folder / "parts" / line["file"]
            if file.exists() and not line["facts"].get("over"):
                found[re.sub(r"-?\d+", "", line["name"])] = [f"{c.name}: {c.type}" for c in pq.read_schema(file)]
    return dict(sorted(found.items()))


def stopping(steps: int) -> Callable[[Any], None]:
    """A progress callback that presses Ctrl-C after so many steps."""

    def stop(_: Any) -> None:
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise KeyboardInterrupt

    return stop


# --- making ---


def _stopped(name: str) -> None:
    folder = HERE / "half" / name
    query, method, seed, stop = questions()[HALF[name]]
    if name == "direct-command":
        shown = mock.patch("volume.estimation.rich_progress", return_value=contextlib.nullcontext(stopping(6)))
        with shown, contextlib.redirect_stdout(io.StringIO()):
            assert command(["estimate", *WORDS, "--out", str(folder)]) == 3
    else:
        stop = STOPS_IN_PILOT if name == "splitting-pilot" else stop
        try:
            volume.estimate(query, method, seed=seed, out=folder, progress=stopping(stop or 1))
        except volume.Interrupted:
            pass
        else:
            raise AssertionError(f"{name} ended before it was stopped")
    assert any((folder / "parts").glob("*.parquet")), f"{name} has nothing half-done"


def main() -> None:
    """Make everything."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    for name in FOLDERS:
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
    expected: dict[str, Any] = {name: {} for name in ("finished", "half", "reports", "columns", "steps")}
    texts: dict[str, str] = {}
    for name, (query, method, seed, _) in questions().items():
        steps: list[Any] = []
        report = volume.estimate(query, method, seed=seed, out=HERE / "finished" / name, progress=steps.append)
        expected["steps"][name] = len(steps)
        expected["finished"][name], texts[f"finished/{name}"] = numbers(report), report.summary()
        expected["columns"][name] = columns(HERE / "finished" / name)
    for name in HALF:
        _stopped(name)
        folder = HERE / "half" / name
        if (folder / "report.json").exists():
            report = volume.load(folder)
            expected["half"][name], texts[f"half/{name}"] = numbers(report), report.summary()
        else:
            expected["half"][name] = None
    for name, report_of in reports().items():
        report = report_of()
        report.save(HERE / "reports" / name)
        expected["reports"][name], texts[f"reports/{name}"] = numbers(report), report.summary()
    for name, study in studies().items():
        result, path = study(), HERE / "studies" / name
        if hasattr(result, "save"):
            result.save(path)
        else:
            record = json.dumps(result.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            path.write_text(record + "\n", encoding="utf-8")
        if (
            isinstance(result, volume.Measures) and result.report is not None
        ):  # with the runs behind it, as the command keeps them
            result.report.save(path.parent)
            result.save_training(path.parent)
    for name, words in CHECK.items():
        path = HERE / "baselines" / name
        asking = [sys.executable, "-m", "volume", "check", "--add", str(path), "--no-programs", "--", *words]
        subprocess.run(asking, check=True, stdout=subprocess.DEVNULL)
    for lock in HERE.rglob("lock*"):
        lock.unlink()
    text = json.dumps(expected, indent=1, sort_keys=True, allow_nan=False)
    # Lists of numbers on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
    (HERE / "texts.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
