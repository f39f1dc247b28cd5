"""The files of a run directory, one by one: locked, and listed with checksums (volume.common.atomic_files writes them).

* A manifest is lines of JSON that are appended and flushed. Each carries a check of its own, so that a torn or damaged
  line is known for one. What a line with a right check says is checked as well: somebody else may have written it.
* A lock is held by the kernel for as long as the process lives: nothing has to be removed after a kill or a power cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from volume.common.atomic_files import sync_folder
from volume.common.record_reading import parse_object, read_file
from volume.runs.checkpoints import check_name

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None

CHECK = 16  # hex digits of a line's own SHA-256
MANIFEST = re.compile(r"manifest-\d+\.jsonl")
LOCK = re.compile(r"lock(-\d+)?")
_HOLDER = re.compile(rb"(process \d+ on [^\n]*\n)?")  # what a lock holds


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def packed(record: dict[str, Any]) -> str:
    """Write one line of JSON, always the same for the same record."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Manifest:
    """Lines of one writer, read by everyone."""

    def __init__(self, path: Path):
        self.path = path
        self._file: Any = None

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Give the records, and the number of lines that are damaged; a last line without an end is no line yet."""
        try:
            lines = read_file(self.path).split(b"\n")[:-1]
        except FileNotFoundError:
            return [], 0
        records = [_checked(line) for line in lines]
        return [record for record in records if record is not None], records.count(None)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record and flush it. Only the holder of the writer's lock may."""
        if self._file is None:
            check_no_link(self.path)
            self._file = self.path.open("ab", buffering=0)
            if (size := self._file.tell()) > 0:  # a line torn by a crash would spoil the one that follows it
                end = self.path.read_bytes().rfind(b"\n") + 1
                if end < size:
                    self._file.truncate(end)
            else:
                sync_folder(self.path.parent)
        line = f"{packed({**record, 'check': _check(record)})}\n".encode()
        if self._file.write(line) != len(line):
            raise OSError(28, os.strerror(28), str(self.path))  # ENOSPC: a short write says no more
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def listed(folder: Path) -> tuple[list[dict[str, Any]], dict[Path, int]]:
    """List the lines of all manifests in a folder, and the number of damaged ones by file.

    Raises:
        ValueError: a line that names no part, or a file outside ``parts``, or lacks something.
    """
    lines: list[dict[str, Any]] = []
    damaged: dict[Path, int] = {}
    for file in sorted(folder.glob("manifest-*.jsonl")):
        records, bad = Manifest(file).read()
        for number, record in enumerate(records, 1):
            try:
                check_line(record)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file} was not written by this program: line {number} of it ({error}).") from None
        lines += records
        if bad:
            damaged[file] = bad
    return lines, damaged


def latest(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Choose the line that counts of each part: a part may be replaced, or lost and made again."""
    chosen = {line["name"]: line for line in sorted(lines, key=lambda line: line["at"])}
    return {name: line for name, line in chosen.items() if not line.get("lost")}


def check_line(line: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for a line of a manifest that this program did not write."""
    name = check_name(line["name"])
    numbers = [line["at"], line.get("seconds", 0.0)]
    if not line.get("lost"):
        check_file_name(name, line["file"])
        numbers.append(line["bytes"])
        if not isinstance(line["facts"], dict) or not re.fullmatch("[0-9a-f]{64}", line["sha256"]):
            raise ValueError(f"facts or checksum of {name}")
    if not all(isinstance(number, (int, float)) and number >= 0 for number in numbers):
        raise ValueError(f"numbers of {name}")


def check_file_name(name: str, file: object) -> str:
    """Return the name of a part's file. ValueError where it is none of the two that the part may have."""
    if file not in (f"{check_name(name)}.parquet", f"{name}.replaced.parquet"):
        raise ValueError(f"the part {name} lies in {name}.parquet; got {file!r}")
    return str(file)


def check_no_link(path: Path) -> None:
    """Raise ValueError where a place in a run directory leads elsewhere, so that nothing is written there."""
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link: a run is kept in one folder. Move there what it points to.")


def _check(record: dict[str, Any]) -> str:
    return hashlib.sha256(packed(record).encode()).hexdigest()[:CHECK]


def _checked(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_object(line)
        check = record.pop("check")
    except (ValueError, KeyError):
        return None
    return record if check == _check(record) else None


class Lock:
    """A lock on ``path``: exclusive, or shared with others that hold it shared."""

    def __init__(self, path: Path, *, shared: bool = False):
        if fcntl is None:
            raise OSError(
                "A run directory is guarded by file locks, which this system does not have (Python's fcntl): leave "
                "the directory out, and save the report when it is there."
            )
        check_no_link(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 1000).decode(errors="replace").strip()
            os.close(self._file)
            raise BlockingIOError(
                f"{path.parent} is in use by {holder or 'another process'}: wait until it is done, or stop it."
            ) from None
        except OSError as error:
            os.close(self._file)
            raise OSError(
                f"{path.parent} is on a file system without file locks ({error.strerror}): give a folder on another."
            ) from None
        if not _HOLDER.fullmatch(os.pread(self._file, 1000, 0)):
            self.release()
            raise FileExistsError(f"{path} was not written by this program: give another folder.")
        # For the message above only: who holds the lock is the kernel's to know.
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
