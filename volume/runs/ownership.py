"""Which files in a folder are this program's, and so may be removed or replaced.

A folder is a run's where its config is, or a report's where that is. Only names that this program writes are ever
removed from it; where something else stands in their way, nothing is.
"""

from __future__ import annotations

import re
from pathlib import Path

from volume.common.atomic_files import TEMPORARY, sync_folder
from volume.common.record_reading import is_record
from volume.runs.checkpoints import OWN_FILE
from volume.runs.files import MANIFEST, Lock, Manifest, check_no_link

_REPORT = ("report.json", "counts.parquet")
# Folders beside ``parts``, of tables counted on disk and of processes that share a run, and the files in them.
_FOLDERS = {
    "classes": re.compile(r"\d{5}\.parquet|_table\.json"),
    "merge": re.compile(r"\d{5}\.npz|pairs-\d{5}\.parquet|plan\.json|done\.jsonl|spill|duckdb_temp_.*"),
    "hosts": re.compile(r"process-\d+\.json"),
}


def clear(path: str | Path, *, met: bool = False) -> None:
    """Remove the run, or the report, in a folder and nothing else there.

    Args:
        path: the folder.
        met: leave what processes say there that are to share the next run, and have met already.

    Raises:
        FileExistsError: something that this program did not write stands in its way; then nothing is removed.
        BlockingIOError: a process works on the run.
    """
    path = Path(path)
    files = [file for file in own_files(path) if not (met and file.parent.name == "hosts")]
    if not files:
        return
    lock = Lock(path / "lock")
    try:
        for file in files:
            file.unlink(missing_ok=True)
        for name in _FOLDERS:
            if (path / name).is_dir() and not any((path / name).iterdir()):
                (path / name).rmdir()
        sync_folder(path)
    finally:
        lock.release()


def own_files(path: Path) -> list[Path]:
    """List the files of the run, or of the report, in a folder, its config last; none where there is nothing of ours.

    Raises:
        FileExistsError: something that this program did not write stands where a run writes.
    """
    config, report, counts = (path / name for name in ("config.json", *_REPORT))
    if not is_record(config) and not is_record(report):
        check_free(path, empty=True)
        return []
    for file in (config, report):
        if file.exists() and not is_record(file) and file.stat().st_size:
            raise FileExistsError(_in_the_way(file))
    files = [file for file in (report, counts) if file.exists()]
    if not is_record(config):
        check_free(path, apart=(report, counts))
        return files
    lines = [line for manifest in path.glob("manifest-*.jsonl") for line in Manifest(manifest).read()[0]]
    known = {str(line.get("file")) for line in lines}
    for folder, pattern in (("parts", None), *_FOLDERS.items()):
        check_no_link(path / folder)
        for file in (path / folder).iterdir() if (path / folder).is_dir() else ():
            ours = is_own(file.name, known) if pattern is None else _matches(pattern, file.name)
            if not ours:
                raise FileExistsError(_in_the_way(file))
            files += sorted(file.glob("duckdb_temp_*")) if file.is_dir() else [file]
    files += [file for file in path.glob("*.damaged") if is_own(file.name.removesuffix(".damaged"), known)]
    files += [file for file in path.glob(".*.tmp") if is_own(file.name, known)]
    files += [file for file in path.glob("manifest-*.jsonl") if MANIFEST.fullmatch(file.name)]
    return [*files, config]


def emptied(path: Path) -> Path:
    """Make ``classes`` or ``merge`` of a run directory empty and return it.

    Raises:
        FileExistsError: a file in it was not written by this program; then nothing is removed.
    """
    check_no_link(path)
    path.mkdir(parents=True, exist_ok=True)
    files = list(path.iterdir())
    for file in files:
        if not _matches(_FOLDERS[path.name], file.name):
            raise FileExistsError(_in_the_way(file))
    for file in files:
        for inside in file.glob("duckdb_temp_*") if file.is_dir() else [file]:
            inside.unlink()
        if file.is_dir():
            file.rmdir()
    return path


def check_free(path: Path, *, apart: tuple[Path, ...] = (), empty: bool = False) -> None:
    """Raise FileExistsError where something stands in a place that a run writes to; ``empty`` files of ours may."""
    places = [path / name for name in ("config.json", *_REPORT, "parts", *_FOLDERS)]
    for place in [*places, *path.glob("manifest-*.jsonl")]:
        listed = place.iterdir() if place.is_dir() else [place] if place.exists() else ()
        if place.name == "hosts":  # processes that share a run say so there before it begins
            listed = [file for file in listed if not _matches(_FOLDERS["hosts"], file.name)]
        inside = next(iter(listed), None)
        blank = empty and inside == place and place.name in ("config.json", "report.json") and not place.stat().st_size
        if inside is not None and inside not in apart and not blank:
            raise FileExistsError(_in_the_way(inside))


def _in_the_way(file: Path) -> str:
    if is_record(file):
        return f"{file} holds a report or run: give another folder, or replace it (on the command line --force)."
    return f"{file} is no file of a run and is left as it is: give another folder, or move it."


def _matches(pattern: re.Pattern[str], name: str) -> bool:
    inside = TEMPORARY.fullmatch(name)
    return pattern.fullmatch(inside[1] if inside else name) is not None


def is_own(name: str, known: set[str]) -> bool:
    """Say whether a file in a run directory is a part, or half of one: its name, or one that a manifest lists."""
    inside = TEMPORARY.fullmatch(name)
    if inside and inside[1] in ("config.json", *_REPORT):
        return True
    return OWN_FILE.fullmatch(inside[1] if inside else name) is not None or name in known


def unused(path: Path) -> Path:
    """Return a name that nothing has: ``path``, or one with a number."""
    number = 0
    while (chosen := path.with_name(f"{path.name}-{number}") if number else path).exists():
        number += 1
    return chosen
