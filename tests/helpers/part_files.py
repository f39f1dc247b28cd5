"""What the tests of parts share: parts as a run directory would give them back, without a run directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from volume.common.seeds import to_key
from volume.method import is_resumable
from volume.reports.facts import Facts
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint


class Kept:
    """Parts by name, the latest of each, written and read as a run directory does."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.parts: dict[str, StoredCheckpoint] = {}

    def keep(self, parts: Iterable[Checkpoint]) -> None:
        for part in parts:
            path = self.folder / f"{part.name}.parquet"
            pq.write_table(part.table() if callable(part.table) else part.table, path, compression="zstd")
            facts = json.loads(json.dumps(part.facts, allow_nan=False))
            self.parts[part.name] = StoredCheckpoint(part.name, facts, path)

    def without(self, *names: str) -> list[StoredCheckpoint]:
        """All of them but those of these names, in an order that nothing may depend on."""
        return [part for name, part in sorted(self.parts.items(), reverse=True) if name not in names]


def begin(query: Any, method: Any, seed: int = 3, parts: Iterable[StoredCheckpoint] = ()) -> Any:
    """A run that has restored these parts."""
    run = method.start(query, to_key(seed)[0])
    assert is_resumable(run)
    run.restore(list(parts))
    return run


def go(run: Any, kept: Kept | None = None, *, steps: int | None = None, until: Callable[[], bool] | None = None) -> Any:
    """Advance to the end, for so many steps, or until that holds, and keep the parts, small ones too."""
    number = 0
    while not run.done and number != steps and not (until is not None and until()):
        run.advance()
        number += 1
        if kept is not None:
            kept.keep(run.collect())
    if kept is not None:
        kept.keep(run.collect(all=True))
        assert run.collect(all=True) == []
    return run


def report_of(run: Any, query: Any, seed: int = 3, level: float = 0.95) -> Any:
    """What the run has to say."""
    return run.report(Facts(query, seed, level, 0.0, run.done))


def said(run: Any, query: Any) -> Any:
    """All of a report but when it was made."""
    report = report_of(run, query)
    return None if report is None else {**report.to_dict(), "run": {**report.run, "wall_seconds": 0}}
