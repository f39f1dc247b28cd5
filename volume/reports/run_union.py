"""Runs in several folders, joined in a new one.

Folders of one run (the same question, method and seed) that hold different parts of it: the parts come together, each
once, and the run goes on from there, or is done. Folders of runs that differ in draws only: their reports are merged
(volume.reports.merging).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from volume.common.atomic_files import filling
from volume.common.paths import checked_path
from volume.reports.loading import load
from volume.reports.merging import merge
from volume.runs.config import agree, read_config
from volume.runs.directory import RunDirectory
from volume.runs.ownership import check_free, clear, own_files


def merge_directories(paths: Sequence[str | Path], out: str | Path, *, replace: bool = False) -> Any:
    """Join the runs in ``paths``, two folders or more, in the new folder ``out``.

    With replace=True, what ``out`` holds is removed when all of the runs are read and joined.

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
        join_parts(paths, out, replace=replace)
        return None
    report = merge([load(path) for path in paths])
    with _new_folder(out, replace=replace) as beside:
        report.save(beside)
    return report


def parts_of_one_run(paths: Sequence[str | Path]) -> bool:
    """Say whether all folders are run directories of the same question, method and seed."""
    if not all((Path(path) / "config.json").is_file() for path in paths):
        return False
    first, *others = map(read_config, paths)
    return all(agree(first, other) for other in others)


def join_parts(paths: Sequence[str | Path], out: str | Path, *, replace: bool = False) -> int:
    """Bring the parts of one run together in ``out``; gives their number.

    With replace=True, what ``out`` holds is removed when all parts are there.

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
        with _new_folder(out, replace=replace) as beside, RunDirectory(beside, config) as joined:
            for part in chosen:
                joined.adopt(part)
        return len(chosen)


@contextmanager
def _new_folder(out: str | Path, *, replace: bool) -> Iterator[Path]:
    """Yield an empty folder, whose files move to ``out`` at the end of the block.

    Raises:
        FileExistsError: ``out`` holds a run, which is not to be replaced, or a file that this program did not write.
    """
    own_files(checked_path(out)) if replace else check_free(checked_path(out))
    with filling(out) as beside:
        yield beside
        if replace:
            clear(out)
