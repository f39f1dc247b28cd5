"""A run on disk while it goes on: config, parts, manifests, locks, and at the end the report.

    DIR/config.json           what was asked: query, method, seed, level, the run's constants; versions
    DIR/parts/NAME.parquet    a checkpoint of the run, written beside its place, flushed and renamed
    DIR/manifest-K.jsonl      the parts of process K, one line each: name, file, facts, bytes, sha256
    DIR/lock, DIR/lock-K      held while a process works here
    DIR/report.json           what `report.save` writes, with counts.parquet where draws were counted

A part counts when its line is in a manifest and its file has the SHA-256 of that line; everything else is made again.

A folder is this program's where its config, or its report, is. Only names that this program writes are ever removed
from it, and a folder in which others stand in the way is refused.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from volume.common.atomic_files import write_bytes
from volume.common.paths import checked_path
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.columns import parquet
from volume.runs.config import settle_config
from volume.runs.files import Lock, Manifest, check_no_link, latest, listed, sha256
from volume.runs.ownership import check_free, is_own, unused

logger = logging.getLogger(__name__)

WAITING = 4  # parts that may wait for the disk before the run waits for them


class RunStopped(RuntimeError):
    """A run that could not go on, for example on a full disk; what was finished is kept, and it can be resumed."""


class RunDirectory:
    """The directory of one run, for one process; a context manager, which lets go of it at the end.

    Args:
        path: the folder; made when it is not there.
        config: what the run is, as JSON; ``versions``, ``command`` and ``commit`` may differ when it is resumed.
        resume: go on with a run that is there. Without it a folder that holds a run is refused.
        process: the number of this process among those that share the run; None when there is one alone.

    Raises:
        ValueError: another run is there (the sentence shows the first difference), or its config is damaged.
        FileExistsError: a run is there and ``resume`` was not given; NotADirectoryError: ``path`` is a file.
        BlockingIOError: another process works there.
    """

    def __init__(self, path: str | Path, config: dict[str, Any], *, resume: bool = False, process: int | None = None):
        self.path = checked_path(path)
        self._alone = process is None
        self._began = time.monotonic()
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is a file; a run is kept in a folder.")
        if not (self.path / "config.json").exists():
            check_free(self.path)
        check_no_link(self.path / "parts")
        (self.path / "parts").mkdir(parents=True, exist_ok=True)
        self._locks = [Lock(self.path / "lock", shared=process is not None)]
        self._thread: threading.Thread | None = None
        try:
            if process is not None:
                self._locks.append(Lock(self.path / f"lock-{process}"))
            settle_config(self.path, config, resume=resume)
            self._manifest = Manifest(self.path / f"manifest-{process or 0}.jsonl")
            self._stored: dict[str, StoredCheckpoint] = {}
            self._checked: dict[str, tuple[str, StoredCheckpoint]] = {}  # by file: its SHA-256, once it was verified
            self.resumed_seconds = 0.0
            self._read()
        except BaseException:
            self.close()
            raise
        self._queue: queue.Queue[Checkpoint | None] = queue.Queue(WAITING)
        self._failure: BaseException | None = None

    # --- what is there ---

    def parts(self) -> list[StoredCheckpoint]:
        """List the parts of all processes, verified, by name; those of others as of now."""
        if not self._alone:
            self._read()
        return [self._stored[name] for name in sorted(self._stored)]

    @property
    def seconds(self) -> float:
        """Wall time of all sittings at this run, as far as parts tell."""
        return self.resumed_seconds + time.monotonic() - self._began

    def _read(self) -> None:
        """Take in all manifests; say what is damaged or missing, once."""
        lines, damaged = listed(self.path)
        for manifest, number in damaged.items():
            if self._alone:
                logger.warning("%d damaged lines in %s: the parts they list are made again.", number, manifest)
        self._stored = {}
        for name, line in latest(lines).items():
            file = line["file"]
            if file in self._checked and self._checked[file][0] == line["sha256"]:
                self._stored[name] = self._checked[file][1]
                continue
            part = self._verified(line)
            if part is not None:
                self._stored[name] = part
                self._checked[file] = line["sha256"], part
        self.resumed_seconds = max([self.resumed_seconds, *(line.get("seconds", 0.0) for line in lines)])
        if self._alone:
            self._tidy()

    def _verified(self, line: dict[str, Any]) -> StoredCheckpoint | None:
        file = self.path / "parts" / line["file"]
        if not file.is_file():
            what = "is missing"
        elif file.stat().st_size != line["bytes"] or sha256(file) != line["sha256"]:
            what = f"is damaged and was moved to {self.path / file.name}.damaged"
            if not self._alone:
                what = "is damaged"
        else:
            return StoredCheckpoint(line["name"], line["facts"], file, line["sha256"])
        logger.warning("%s %s: this part is made again.", file, what)
        if self._alone:
            if file.is_file():
                file.replace(self.path / f"{file.name}.damaged")  # not beside the others, which readers take together
            self._manifest.append({"name": line["name"], "lost": True, "at": time.time()})
        return None

    def _tidy(self) -> None:
        """Remove what a killed process left: files half written, and parts that no manifest lists."""
        known = {part.path.name for part in self._stored.values()}
        for file in [*(self.path / "parts").iterdir(), *self.path.glob(".*.tmp")]:
            if file.name not in known and is_own(file.name, known):
                file.unlink()

    # --- what is written ---

    def write(self, parts: Iterable[Checkpoint]) -> None:
        """Hand parts to the thread that writes them; RunStopped when it could not write an earlier one."""
        for part in parts:
            self._raise()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="run directory", daemon=True)
                self._thread.start()
            self._queue.put(part)

    def flush(self) -> None:
        """Wait until all parts are on the disk. RunStopped when one is not."""
        self._queue.join()
        self._raise()

    def save(self, write: Callable[[Path], Any]) -> None:
        """Call ``write`` with this folder, to put the report beside the parts; RunStopped when that cannot be."""
        try:
            write(self.path)
        except OSError as failure:
            self._failure = failure
            self._raise()

    def close(self) -> None:
        """Finish what waits, and let go of the directory."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if hasattr(self, "_manifest"):
            self._manifest.close()
        for lock in self._locks:
            lock.release()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (part := self._queue.get()) is not None:
            if self._failure is None:  # after a failure the rest is only taken off the queue
                try:
                    self._store(part)
                except BaseException as failure:
                    self._failure = failure
            self._queue.task_done()
        self._queue.task_done()

    def _raise(self) -> None:
        if self._failure is None:
            return
        if isinstance(self._failure, OSError):
            why = self._failure.strerror or str(self._failure)
            raise RunStopped(
                f"{self.path} could not be written ({why}); the {len(self._stored):,} parts that are there are whole: "
                f"mend that and go on from there (volume estimate --resume {self.path}, or resume=True)."
            ) from self._failure
        raise self._failure

    def _store(self, part: Checkpoint) -> None:
        table = part.table() if callable(part.table) else part.table
        self._put(part.name, part.facts, parquet(table))

    def adopt(self, part: StoredCheckpoint) -> None:
        """Take in a part of another directory of the same run."""
        self._put(part.name, part.facts, memoryview(part.path.read_bytes()))

    def _put(self, name: str, facts: dict[str, Any], content: memoryview) -> None:
        earlier, file = self._stored.get(name), f"{name}.parquet"
        if earlier is not None and file == earlier.path.name:  # the earlier one counts until the line is there
            file = f"{name}.replaced.parquet"
        path = self.path / "parts" / file
        if path.exists() and all(path != part.path for part in self._stored.values()):
            path.replace(unused(self.path / f"{file}.unlisted"))  # whoever made it: it is not overwritten
        write_bytes(path, content)
        line = {"name": name, "file": file, "facts": facts, "bytes": len(content)}
        line |= {"sha256": hashlib.sha256(content).hexdigest(), "seconds": round(self.seconds, 3), "at": time.time()}
        self._manifest.append(line)
        stored = StoredCheckpoint(name, facts, path, line["sha256"])
        self._stored[name], self._checked[file] = stored, (line["sha256"], stored)
        if earlier is not None:
            earlier.path.unlink(missing_ok=True)
