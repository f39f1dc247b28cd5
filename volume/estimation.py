"""Ask a query, get a report: `estimate`, and `running` for reports while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from volume.common.progress import Progress, rich_progress
from volume.common.seeds import to_key
from volume.method import Method, R_co, Run, is_parted
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts, Report
from volume.reports.pooled import as_asked


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; ``report`` answers from what was learnt so far (None when that is nothing)."""

    def __init__(self, report: Report | None, progress: Progress, out: Path | None = None):
        kept = "" if out is None else f"; {out} keeps what was finished: go on from there with resume=True"
        super().__init__(f"stopped before the target{kept}")
        self.report = report
        self.progress = progress  # where the run stood
        self.out = out  # the run directory, where there is one that can be resumed


def estimate(
    query: Query,
    method: Method[R_co],
    *,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
) -> R_co:
    """Estimate the volumes of the classes of ``query`` by ``method``.

    Args:
        query: what is asked.
        method: how to answer, for example ``volume.Direct(draws=1_000_000)``.
        seed: a whole number in [0, 2^64) or a JAX threefry key. The same query, method and seed give the same answer.
        level: coverage of the intervals, pointwise.
        progress: True for a bar on stderr, or a function that is called with a `Progress` after every step.
        out: a folder in which the run is kept while it goes on (docs/run_directories.md), and the report at its end.
        resume: go on with the run in ``out``, or begin one there. It ends as if it had never been stopped.

    Returns:
        The method's report, a `VolumeReport` where draws are counted and else an `EstimateReport`; its log volumes are
        natural logarithms.

    Raises:
        TypeError, ValueError: arguments that make no sense, queries that this method cannot answer, and a run in
            ``out`` that is another one, before anything is traced.
        FileExistsError: ``out`` holds a run and ``resume`` was not given; BlockingIOError: another process works there.
        Interrupted: on Ctrl-C, holding the report of what was learnt.
        RunStopped: the run could not be written, for example on a full disk. What was written stays whole.
    """
    return keep(query, method, seed=seed, level=level, progress=progress, out=out, resume=resume)


def keep(
    query: Query,
    method: Method[R_co],
    *,
    seed: Any,
    level: float,
    progress: bool | Callable[[Progress], None] | None,
    out: str | Path | None,
    resume: bool,
    command: list[str] | None = None,
    draw: bool = True,
) -> R_co:
    """`estimate`, with the words of the command line that asked; not to ``draw`` is to report what ``out`` holds."""
    if resume and out is None:
        raise ValueError("resume=True goes on with the run in a folder: name it with out=.")
    with ExitStack() as stack:
        watched = Watched(query, method, seed, level, kept=out is not None)
        if out is not None and (stored := watched.enter(stack, Path(out), resume, command)) is not None:
            return stored
        show = stack.enter_context(rich_progress(progress))
        try:
            while draw and not watched.run.done:
                watched.run.advance()
                watched.collect()
                if show is not None:
                    show(watched.progress())
            report = watched.end()
        except KeyboardInterrupt:
            raise Interrupted(watched.end(), watched.progress(), watched.resumable) from None
    if report is None:
        raise RuntimeError(
            f"The method {method.name!r} ended without a report: a method must make one when it is done."
        )
    return report


def running(query: Query, method: Method[R_co], *, seed: Any = 0, level: float = 0.95) -> Iterator[R_co]:
    """Yield reports while a run goes on: whenever what is done has doubled, and at the end.

    The last report equals `estimate`'s. Each interval holds for its own part of the run; a rule that stops at a report
    it likes does not keep the level.
    """
    watched = Watched(query, method, seed, level)  # raises here, not at the first next()

    def reports() -> Iterator[R_co]:
        due = 0.0
        while not watched.run.done:
            watched.run.advance()
            done = watched.progress().done
            if not watched.run.done and done < due:
                continue
            report = watched.report()
            if report is not None:
                due = 2 * done
                yield report

    return reports()


class Watched:
    """A run with what its reports state and it does not know: the seed, the level, the time; and where it is kept."""

    def __init__(self, query: Query, method: Method[Any], seed: Any, level: float, *, kept: bool = False):
        if not isinstance(query, Query):
            raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
        if isinstance(method, type) or not callable(getattr(method, "start", None)):
            raise TypeError(f"method={method!r} is not a method: pass for example volume.Direct(draws=1_000_000).")
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
            raise ValueError(f"level={level!r} is not between 0 and 1: give for example level=0.95.")
        key, self._record = to_key(seed)
        self._query, self._method, self._level = query, method, level
        self._start = time.perf_counter()
        start = getattr(method, "start_kept", method.start) if kept else method.start
        self.run: Run[Any] = start(query, key)
        self._directory: Any = None
        self._parted: Any = None  # the run, where it can be kept part by part

    def enter(self, stack: ExitStack, out: Path, resume: bool, command: list[str] | None) -> Any:
        """Keep the run in a folder from now on. Gives the report where it is there and need not be made again."""
        from volume.runs.directory import RunDirectory

        begun = resume and (out / "config.json").exists()
        self._directory = stack.enter_context(RunDirectory(out, self.config(command), resume=resume))
        if is_parted(self.run):
            self._parted = self.run
            self._parted.restore(self._directory.parts())
            if hasattr(self.run, "check_room"):  # what it may write is large
                self._parted.check_room(out)
        elif begun:
            report = _stored(out)
            if report is not None:
                return report
            print(f"volume: {self._method.name} keeps no parts of a run: it starts anew.", file=sys.stderr)
        return None

    def config(self, command: list[str] | None) -> dict[str, Any]:
        """What the run is, for its directory."""
        from volume.runs.directory import describe

        return describe(self._query, self._method, self.run, seed=self._record, level=self._level, command=command)

    def collect(self, *, all: bool = False) -> None:
        """Hand what is finished to the directory."""
        if self._parted is not None:
            self._directory.write(self._parted.collect(all=all))

    def end(self) -> Any:
        """The report, of an unfinished run too; kept with everything that led to it."""
        self.collect(all=True)
        if self._directory is not None:
            self._directory.flush()
            if hasattr(self.run, "stored"):  # a run that reports from its parts on disk
                self._parted.stored(self._directory.parts())
        report = self.report()
        if self._directory is not None and report is not None:
            self._directory.save(report)
        return report

    @property
    def resumable(self) -> Path | None:
        """The folder from which the run can go on."""
        return None if self._parted is None else self._directory.path

    def progress(self) -> Progress:
        return replace(self.run.progress(), seconds=self._seconds(), last=self.run.done)

    def report(self) -> Any:
        facts = Facts(self._query, self._record, self._level, self._seconds(), self.run.done)
        report = self.run.report(facts)
        return as_asked(report) if isinstance(report, VolumeReport) else report

    def _seconds(self) -> float:
        earlier = 0.0 if self._directory is None else self._directory.resumed_seconds
        return earlier + time.perf_counter() - self._start


def _stored(out: Path) -> Any:
    """The finished report in a folder, or None."""
    from volume.reports.loading import load

    try:
        report = load(out)
    except FileNotFoundError:
        return None
    return report if report.run.get("complete") else None
