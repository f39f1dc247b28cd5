"""Files that are there whole, or not at all.

A file is written beside its place, flushed to the disk and renamed, and then its folder is flushed. After a crash or a
power cut there is the old file or the new one, and what was written before the new one is there as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


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
