"""Where a long enumeration stands, on disk: one file, replaced whole, that says which question it belongs to.

A checkpoint is an .npz file: the number of steps taken in, the counters, and a JSON record of everything that the order
and the meaning of the steps depend on. It is written beside its place, flushed and renamed, so that a killed process
leaves the last whole one behind.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

_VERSION = 1  # of the order in which steps go through a lattice; change it when that changes


class Checkpoint:
    """The file at ``path`` for a run described by ``record`` (plain JSON data)."""

    def __init__(self, path: str | Path, record: dict[str, Any]):
        self._path = Path(path)
        self._record = {"order": _VERSION, **record}
        if self._path.is_dir():
            raise ValueError(f"checkpoint={str(path)!r} is a folder: give the path of a file.")
        if not self._path.parent.is_dir():
            raise ValueError(f"checkpoint={str(path)!r} is in a folder that does not exist: make it first.")

    def load(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """(steps taken in, counters); None when there is no file yet.

        Raises:
            ValueError: the file is damaged, or of another question; the sentence shows where they differ.
        """
        if not self._path.exists():
            return None
        try:
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            record, steps = json.loads(str(held.pop("record"))), int(held.pop("steps"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self._path} is damaged or no checkpoint ({error}): remove it to start anew.") from None
        where = _difference(record, self._record)
        if where is not None:
            raise ValueError(
                f"{self._path} belongs to another run: {where}. Ask the question it was begun with, or give another "
                "file."
            )
        return steps, held

    def save(self, steps: int, counters: dict[str, np.ndarray]) -> None:
        """Replace the file by this state."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:
                np.savez(file, record=np.array(json.dumps(self._record)), steps=np.array(steps), **counters)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        finally:
            beside.unlink(missing_ok=True)


def _difference(theirs: Any, mine: Any, where: str = "") -> str | None:
    """The first place where two records differ, in words; None when they agree."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for name in sorted({*theirs, *mine}, key=lambda name: (name not in theirs or name not in mine, name)):
            found = _difference(theirs.get(name), mine.get(name), f"{where}.{name}" if where else name)
            if found is not None:
                return found
        return None
    if theirs == mine:
        return None
    texts = [text if len(text) <= 80 else f"{text[:80]}..." for text in (json.dumps(theirs), json.dumps(mine))]
    return f"its {where} is {texts[0]} and this one's is {texts[1]}"
