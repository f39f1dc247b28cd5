"""Files that are there whole, or not at all.

A file is written beside its place, flushed to the disk and renamed, and then its folder is flushed. After a crash or a
power cut there is the old file or the new one, and what was written before the new one is there as well. Several files
of one folder are likewise written beside it first, so that a full disk leaves none of them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")  # where a file of the name in it is written; a killed process leaves it


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a place beside ``path`` to write to; at the end of the block the file takes the place of ``path``.

    When the block raises, what was at ``path`` stays, and nothing stays beside it.

    Args:
        path: in a folder that is there.

    Raises:
        OSError: the file could not be written, flushed or renamed.
    """
    path = Path(path)
    beside = _beside(path)
    try:
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def filling(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder to write to; at the end of the block its files move to ``folder``, in order of names.

    Moving takes no room on the disk. When the block raises, ``folder`` stays as it was.

    Args:
        folder: is made where it is not there; files of the same names are replaced.

    Raises:
        OSError: a file could not be written, flushed or moved.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside = _beside(folder / folder.absolute().name)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        files = sorted(file for file in beside.rglob("*") if file.is_file())
        for file in files:
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())
        for file in files:
            place = folder / file.relative_to(beside)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
            sync_folder(place.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Put ``content`` at ``path``, as `replacing` does."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Put ``text`` at ``path`` in UTF-8, as `replacing` does."""
    write_bytes(path, text.encode())


def sync_folder(path: str | Path) -> None:
    """Make what was renamed in a folder and removed from it last; Windows, which opens no folder, does so itself."""
    if os.name == "nt":
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
