"""Runs in several folders, joined in a new one.

Folders of one run (the same question, method and seed) that hold different parts of it: the parts come together, each
once, and the run goes on from there, or is done. Folders of runs that differ in draws only: their reports are merged
(volume.reports.merging).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from volume.reports.loading import load
from volume.reports.merging import merge
from volume.runs.config import agree, read_config
from volume.runs.directory import RunDirectory


def merge_directories(paths: Sequence[str | Path], out: str | Path) -> Any:
    """Join the runs in ``paths``, two folders or more, in the new folder ``out``.

    Returns:
        The merged report, which is saved in ``out``. None where the folders hold parts of one run: then ``out`` is a
        run directory with all of them, and ``volume.estimate(query, method, seed=..., out=out, resume=True)`` makes its
        report, after drawing what is still missing.

    Raises:
        FileNotFoundError, FileExistsError: no run in one of ``paths``, or one in ``out``.
        ValueError: runs that cannot be joined, see `merge`.
    """
    if len(paths) < 2:
        raise ValueError(f"A merge joins two runs or more; got {len(paths)}.")
    if parts_of_one_run(paths):
        join_parts(paths, out)
        return None
    report = merge([load(path) for path in paths])
    if (Path(out) / "config.json").exists() or (Path(out) / "report.json").exists():
        raise FileExistsError(f"{out} holds a run: give another folder.")
    report.save(out)
    return report


def parts_of_one_run(paths: Sequence[str | Path]) -> bool:
    """Whether all folders are run directories of the same question, method and seed."""
    if not all((Path(path) / "config.json").is_file() for path in paths):
        return False
    first, *others = map(read_config, paths)
    return all(agree(first, other) for other in others)


def join_parts(paths: Sequence[str | Path], out: str | Path) -> int:
    """Bring the parts of one run together in ``out``; gives their number.

    Raises:
        ValueError: a folder that has no part of its own. BlockingIOError: a folder in which a process works.
    """
    config = {name: value for name, value in read_config(paths[0]).items() if name not in ("format", "version")}
    with ExitStack() as stack:
        directories = [stack.enter_context(RunDirectory(path, config, resume=True)) for path in paths]
        taken: set[str] = set()
        chosen = []
        for path, directory in zip(paths, directories, strict=True):
            new = [part for part in directory.parts() if part.name not in taken]
            if not new:
                raise ValueError(
                    f"{path} holds no part of the run that the others do not: draws of one seed are the same ones. "
                    "Join runs of different seeds."
                )
            taken |= {part.name for part in new}
            chosen += new
        joined = stack.enter_context(RunDirectory(out, config))
        for part in chosen:
            joined.adopt(part)
        return len(chosen)
