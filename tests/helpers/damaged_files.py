"""Stored files with bytes flipped, cut, added, taken out or doubled at random: the same answer, or a sentence.

    python tests/helpers/damaged_files.py --cases 1000 --seed 0     # prints how they ended

One file of a stored run, report, study, baseline or checkpoint of a network is damaged at one place, and it is read;
one case in six resumes a stopped run instead, whose parts may then be made again.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import volume
from volume.estimators.local.anchor import Anchor

STORED = Path(__file__).parents[1] / "stored"
SECONDS = 10.0  # of processor time for one case
DAMAGES = ("flip", "cut", "add", "take out", "double")
# What compiles in no time: one run of every way to keep parts but those of splitting and local volumes.
RESUMED = ("direct-1e3", "direct-3e5", "direct-disk", "direct-pooled", "exact", "exact-sums", "trained")
KINDS = ("run", "report", "study", "baseline", "checkpoint", "resumed")
READ = ("run", "report", "baseline", "checkpoint")  # which compiles nothing


def questions_module() -> Any:
    """The module of tests/stored that made the runs."""
    specification = importlib.util.spec_from_file_location("make_stored", STORED / "make.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def damaged(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Damage bytes at one place; return how, and what they are then."""
    changed, at, how = bytearray(content), chance.randrange(len(content)), chance.choice(DAMAGES)
    if how == "flip":
        changed[at] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del changed[at:]
    elif how == "add":
        changed[at:at] = chance.randbytes(chance.randint(1, 9))
    elif how == "take out":
        del changed[at : at + chance.randint(1, 9)]
    else:
        changed[at:at] = changed[at : at + chance.randint(1, 99)]
    return how, bytes(changed)


def sources(made: Path, make: Any, kinds: Sequence[str]) -> dict[str, list[Path]]:
    """Everything that can be read, by kind; what tests/stored has none of is made in the empty folder ``made``.

    Checkpoints of Flax are left out, as their format has no checksum: a flipped bit of a number is another number.
    """
    studies = [STORED / "studies" / "measures"]
    if "study" in kinds:
        small, direct = make.questions()["direct-1e3"].query, make.questions()["direct-1e3"].method
        studies.append(volume.sweep({1.0: small}, direct, "0000", seed=3).save(made / "sweep.json"))
        curve = volume.labels_curve(small.model, small.prior, small.domain, [0, 1, 1, 1], [2], direct, seed=3)
        studies.append(curve.save(made / "labels.json"))
    checkpoints = made / "checkpoints"
    checkpoints.mkdir()
    params = {"layers.0.weight": np.arange(12.0).reshape(3, 4), "layers.0.bias": np.ones(4, np.float32)}
    np.savez(checkpoints / "plain.npz", **params)  # type: ignore[arg-type]  # names of arrays
    np.savez_compressed(checkpoints / "packed.npz", **params)  # type: ignore[arg-type]
    runs = [*(STORED / "finished").iterdir(), *(STORED / "half").iterdir()]
    found = {
        "run": [path for path in runs if (path / "report.json").exists()],
        "report": [path for path in (STORED / "reports").iterdir() if path.suffix != ".parquet"],
        "study": [*studies, STORED / "studies" / "measures" / "training-sgd"],
        "baseline": list((STORED / "baselines").iterdir()),
        "checkpoint": list(checkpoints.iterdir()),
        "resumed": [STORED / "half" / name for name in RESUMED],
    }
    return {kind: sorted(paths) for kind, paths in found.items()}


def answer(kind: str, path: Path, make: Any) -> str:
    """All that is read of what lies at ``path``, as text."""
    if kind == "checkpoint":
        anchor = Anchor.of(path)
        return json.dumps([anchor.names, anchor.shapes, anchor.values.tolist()])
    if kind == "baseline":
        baseline = volume.Baseline.read(path)
        return json.dumps([vars(baseline), baseline.summary()], sort_keys=True)
    if kind == "resumed":
        question = make.questions()[make.HALF[path.name]]
        report = volume.estimate(question.query, question.method, seed=question.seed, out=path, resume=True)
        return json.dumps(make.numbers(report), sort_keys=True)
    result = volume.load(path)
    return json.dumps(result.to_dict(20) if kind in ("run", "report") else result.to_dict(), sort_keys=True) + str(
        result
    )


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to)
        return
    shutil.copy(source, to)
    if source.with_suffix(".parquet").exists():
        shutil.copy(source.with_suffix(".parquet"), to.parent)


def try_damage(cases: int, seed: int, folder: Path, kinds: Sequence[str] = KINDS) -> collections.Counter[str]:
    """How so many random cases end: "the same answer" or "a sentence".

    Args:
        cases: how many.
        seed: of the cases.
        folder: an empty one to work in.
        kinds: what is damaged, some of `KINDS`.

    Raises:
        AssertionError: another answer, another error, a sentence that names no file, or a case that took long.
    """
    chance, ends, make = random.Random(seed), collections.Counter[str](), questions_module()
    (folder / "made").mkdir()
    found, truth = sources(folder / "made", make, kinds), dict[tuple[str, Path], str]()
    for number in range(cases):
        kind = chance.choice(kinds)
        source = chance.choice(found[kind])
        if (kind, source) not in truth:
            whole = folder / f"whole-{number}" / source.name
            _copy(source, whole)
            truth[kind, source] = answer(kind, whole, make)
        scratch = folder / f"case-{number}"
        path = scratch / source.name
        _copy(source, path)
        file = chance.choice(sorted(file for file in scratch.rglob("*") if file.is_file() and file.stat().st_size))
        how, content = damaged(file.read_bytes(), chance)
        file.write_bytes(content)
        case, begun = f"case {number} of seed {seed}, {source}: {how} in {file.name}", time.process_time()
        try:
            told = answer(kind, path, make)
        except (ValueError, OSError, volume.RunStopped) as error:
            if str(scratch) not in str(error):
                raise AssertionError(f"{case}: no file is named in {error!r}") from error
            end = "a sentence"
        except Exception as error:
            raise AssertionError(f"{case}: {error!r}") from error
        else:
            assert told == truth[kind, source], f"{case}: another answer"
            end = "the same answer"
        assert time.process_time() - begun < SECONDS, f"{case}: took long"
        ends[end] += 1
        shutil.rmtree(scratch)
    return ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # of parts that are made again
    with tempfile.TemporaryDirectory() as scratch:
        print(dict(sorted(try_damage(args.cases, args.seed, Path(scratch)).items())), file=sys.stdout)
