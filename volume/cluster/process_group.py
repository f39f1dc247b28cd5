"""Processes that work on one run: who is there, who stopped answering, and when all have come as far.

JAX's own runtime ends every process with an abort and a stack trace when one of them dies, or when some never come, and
nothing of Python runs any more: no part could be closed and nothing be said. So processes speak through the folder
that they write their parts to and have to share in any case. Each rewrites one small file a few times a minute, its
*record*; process 0 reads all of them, the others read process 0's. Whether a process lives is told by its record's
changing, by the reader's own clock: clocks of hosts need not agree.

A record is rewritten in place and closed, not renamed: network file systems promise that who opens a file sees what was
last closed, while a name may be remembered for a minute. A reader may meet half of a new record: then its first and
last number differ, and it looks again later.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from volume.common.record_reading import parse_object

STAGES = ("joined", "opened", "restored", "finished")
BEATS = 20  # in the time after which a silent process counts as lost
HURRY_SECONDS = 0.1  # between two looks while waiting for the others


class ProcessLost(RuntimeError):
    """Another process of a distributed run ended before the run was done; what was drawn is kept."""


class ProcessGroup:
    """The processes of one launch, from ``with`` to its end.

    Args:
        folder: where records are kept; process 0 makes it.
        process_id: this process, from 0.
        num_processes: how many there are.
        timeout: seconds without a new record after which a process counts as lost.
        advice: ends the sentence about a lost process.
    """

    def __init__(self, folder: str | Path, process_id: int, num_processes: int, *, timeout: float, advice: str = ""):
        self._folder, self._timeout, self._advice = Path(folder), timeout, advice
        self._mine, self._size = process_id, num_processes
        self._others = [k for k in range(num_processes) if k != process_id] if process_id == 0 else [0]
        self._nonce = secrets.token_hex(8)
        self._record: dict[str, Any] = {
            "process": process_id,
            "processes": num_processes,
            "nonce": self._nonce,
            "launch": self._nonce if process_id == 0 else None,  # process 0's nonce
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "stage": None,
            "ended": None,  # why, where this process ended before the run was done
            "done": 0.0,  # of its share, for progress
            "total": 0.0,
        }
        if process_id == 0:
            # Who has joined, the stage that all have reached, and why everybody has to stop.
            self._record |= {"members": {}, "all": None, "verdict": None}
        self._seen: dict[int, dict[str, Any]] = {}  # the last good record of each
        self._changed: dict[int, float] = {}  # and when it was new
        self._first_seen: dict[str, Any] | None = None  # process 0's record when it may still be an old one
        self._verdict: str | None = None
        self._refused: str | None = None  # another launch is at work here
        self._error: OSError | None = None
        self._written = 0.0
        self._length = 0
        self._beat = 0
        self._hurry = False
        self._turned = threading.Condition()
        self._wake = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._watch, name="volume-process-group", daemon=True)

    def __enter__(self) -> ProcessGroup:
        if self._mine == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
        now = time.monotonic()
        self._changed = dict.fromkeys(self._others, now)
        self._written = now
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, ProcessLost):
            stopped = isinstance(error, KeyboardInterrupt)
            self._record["ended"] = "was stopped" if stopped else f"failed ({type(error).__name__}: {error})"
            if self._mine == 0 and self._verdict is None:
                self._record["verdict"] = f"{_who(self._record)} {self._record['ended']}"
        self._over = True
        self._wake.set()
        self._thread.join()

    def join(self) -> None:
        """Wait until all are there.

        Raises:
            TimeoutError: some are not, or do not see the folder.
            ValueError: another launch is at work in the folder.
        """
        try:
            self.barrier("joined", limit=self._timeout)
        except TimeoutError:
            missing = [0] if self._mine else [k for k in self._others if str(k) not in self._record["members"]]
            raise TimeoutError(
                f"Process {self._mine} of {self._size} met no process {_listed(missing)} in {self._folder.parent} "
                f"within {self._timeout:g} s: all processes must see the same folder, on a file system that their "
                "hosts share, and be started with the same options. Nothing was drawn."
            ) from None

    def check(self) -> None:
        """Raise ProcessLost when a process has ended or stopped answering; costs nothing."""
        if self._refused is not None:
            raise ValueError(self._refused)
        if self._verdict is not None:
            kept = self._advice and self._all() in STAGES[STAGES.index("restored") :]
            raise ProcessLost(f"{self._verdict}; {self._advice}" if kept else f"{self._verdict}.")
        if self._error is not None and time.monotonic() - self._written > self._timeout:
            raise self._error

    def tell(self, done: float, total: float) -> None:
        """Say how much of this process's share is done."""
        self._record["done"], self._record["total"] = done, total

    def progress(self) -> tuple[float, float]:
        """Add up what all processes said: (done, total); only process 0 knows of others."""
        records = [self._record, *self._seen.values()]
        done, total = (sum(record.get(name, 0.0) for record in records) for name in ("done", "total"))
        return done, total

    def barrier(self, stage: str, meanwhile: Callable[[], None] | None = None, *, limit: float = math.inf) -> None:
        """Wait until every process has come to a stage.

        Args:
            stage: one of STAGES, in order.
            meanwhile: called now and then.
            limit: seconds to wait at most.

        Raises:
            ProcessLost: a process cannot come.
            TimeoutError: the limit is over.
        """
        self._record["stage"] = stage
        place = STAGES.index(stage)
        start = time.monotonic()
        self._hurry = True
        self._wake.set()
        try:
            with self._turned:
                while not self._there(place):
                    self.check()
                    if time.monotonic() - start > limit:
                        raise TimeoutError
                    self._turned.wait(HURRY_SECONDS)
                    if meanwhile is not None:
                        meanwhile()
        finally:
            self._hurry = False

    def _there(self, place: int) -> bool:
        """Say whether all processes have come to this place in STAGES."""
        if self._mine and self._seen.get(0, {}).get("members", {}).get(str(self._mine)) != self._nonce:
            return False
        reached = self._all()
        return reached is not None and STAGES.index(reached) >= place

    def _watch(self) -> None:
        """Look and write, until the end and once more: the thread."""
        while True:
            last = self._over
            with self._turned:
                self._look()
                self._write()
                self._turned.notify_all()
            if last:
                return
            self._wake.wait(min(HURRY_SECONDS, self._timeout / BEATS) if self._hurry else self._timeout / BEATS)
            self._wake.clear()

    def _look(self) -> None:
        now = time.monotonic()
        for other in self._others:
            record = self._read(other)
            if record is not None and self._is_of_this_launch(other, record):
                if record["beat"] != self._seen.get(other, {}).get("beat"):
                    self._changed[other] = now
                self._seen[other] = record
        joined = self._record["stage"] is not None and len(self._seen) == len(self._others)
        if self._verdict is None and joined:
            self._verdict = self._judge(now)
            if self._mine == 0 and self._verdict is not None:
                self._record["verdict"] = self._verdict
        if self._mine == 0 and self._verdict is None and self._record["stage"] is not None and joined:
            stages = [self._record["stage"], *(record["stage"] for record in self._seen.values())]
            if None not in stages:
                self._record["all"] = min(stages, key=STAGES.index)

    def _judge(self, now: float) -> str | None:
        """Say why the run cannot go on; None when it can."""
        if self._mine and self._seen[0]["verdict"] is not None:
            return self._seen[0]["verdict"]
        if self._all() == STAGES[-1]:
            return None  # who has nothing left to do may leave
        for other in self._others:
            record = self._seen[other]
            if record["ended"] is not None:
                return f"{_who(record)} {record['ended']}"
            if now - self._changed[other] > self._timeout:
                return f"{_who(record)} stopped answering"
        return None

    def _all(self) -> str | None:
        """Give the stage that all processes have reached, as process 0 says."""
        return (self._record if self._mine == 0 else self._seen.get(0, {})).get("all")

    def _is_of_this_launch(self, other: int, record: dict[str, Any]) -> bool:
        """Say whether a record is of this launch; take in its process as a member.

        A process joins by writing the nonce of process 0, which then lists it.
        """
        if self._mine == 0:
            if record["launch"] != self._nonce:
                return False  # left behind by an earlier launch
            return self._record["members"].setdefault(str(other), record["nonce"]) == record["nonce"]
        launch, first = self._record["launch"], self._first_seen
        if launch is None:
            if first is None or (first["nonce"], first["beat"]) == (record["nonce"], record["beat"]):
                self._first_seen = record
                return False  # until it changes this may be left behind by an earlier launch
            mine = record["members"].get(str(self._mine), self._nonce)
            if mine != self._nonce or record["processes"] != self._size:
                self._refused = (
                    f"{self._folder.parent} is in use by another launch, of {record['processes']} processes: "
                    f"{_who(record)}. Wait for its end, or give another folder."
                )
                return False
            self._record["launch"] = record["nonce"]
            return True
        if record["nonce"] != launch:
            return False
        if record["members"].get(str(self._mine), self._nonce) != self._nonce:
            self._refused = (
                f"A second process {self._mine} has joined in {self._folder.parent}: give each its own number."
            )
        return True

    def _read(self, other: int) -> dict[str, Any] | None:
        try:
            record = parse_object(self._path(other).read_bytes())
            return record if record["beat"] == record["end"] else None
        except (OSError, ValueError, KeyError):
            return None  # not there yet, or half written

    def _write(self) -> None:
        if self._mine and self._record["launch"] is None:
            return  # nothing to join yet
        self._beat += 1
        text = json.dumps({"beat": self._beat, **self._record, "end": self._beat})
        data = text.encode().ljust(self._length)  # over the whole of a longer one before
        try:
            with open(self._path(self._mine), "r+b" if self._length else "wb") as file:
                file.write(data)
        except OSError as error:  # for example a full disk; it may pass
            self._error = error
            return
        self._length, self._written, self._error = len(data), time.monotonic(), None

    def _path(self, process: int) -> Path:
        return self._folder / f"process-{process}.json"


def _who(record: dict[str, Any]) -> str:
    return f"process {record['process']} ({record['host']}, pid {record['pid']})"


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown} and {len(numbers) - 8} more"
