"""Ask a query, get a report: `estimate`, and `running` for reports while a run goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from volume.common import interrupts
from volume.common.jax_settings import fixed_settings, local_devices, rounding_settings
from volume.common.paths import checked_path
from volume.common.program_cache import keep_programs
from volume.common.programs import make_room
from volume.common.progress import Progress, rich_progress
from volume.common.provenance import commit, versions
from volume.common.record_reading import check_replaceable
from volume.common.records import ADDED_LATER, plain
from volume.common.seeds import to_key
from volume.common.validation import check_level
from volume.common.version import __version__
from volume.method import Method, R_co, Run, is_resumable
from volume.queries.compiled import new_run
from volume.queries.query import Query
from volume.reports.counted import VolumeReport
from volume.reports.facts import Facts, Report
from volume.reports.loading import load
from volume.reports.pooled import as_asked
from volume.runs.config import read_config
from volume.runs.directory import RunDirectory
from volume.runs.ownership import clear
from volume.runs.report_files import check_own_counts, paths

logger = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP during a run; ``report`` answers from what was learnt so far (None: nothing was)."""

    def __init__(self, report: Report | None, progress: Progress, out: Path | None = None):
        advice = "" if out is None else f"; {out} keeps what was finished: go on from there with resume=True"
        super().__init__(f"stopped before the target{advice}")
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
        Interrupted: on Ctrl-C, SIGTERM and SIGHUP, holding the report of what was learnt. The step that is under way is
            finished first; a second Ctrl-C stops at once. Handlers of the caller's own stay as they are.
        RunStopped: the run could not be written, for example on a full disk. What was written stays whole.
    """
    return run(query, method, seed=seed, level=level, progress=progress, out=out, resume=resume)


def run(
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
    replace: bool = False,
) -> R_co:
    """Do what `estimate` does, for the command line, whose words ``command`` the run directory keeps.

    With draw=False, report what ``out`` holds and draw nothing. With replace=True, remove the run that ``out`` holds
    as soon as nothing more can be wrong with this one.
    """
    if resume and out is None:
        raise ValueError("resume=True goes on with the run in a folder: name it with out=.")
    with ExitStack() as stack:
        stack.enter_context(interrupts.stoppable())
        driver = Driver(query, method, seed, level, kept=out is not None)
        if out is not None:
            stored = driver.open(stack, checked_path(out), resume, command, replace=replace)
            if stored is not None:
                return stored
        show = stack.enter_context(rich_progress(progress))
        try:
            while draw and not driver.run.done:
                driver.step()
                if show is not None:
                    show(driver.progress())
            report = driver.close()
        except KeyboardInterrupt:
            raise Interrupted(driver.close(), driver.progress(), driver.resumable) from None
    if report is None:
        raise RuntimeError(
            f"The method {method.name!r} ended without a report: a method must make one when it is done."
        )
    return report


def running(query: Query, method: Method[R_co], *, seed: Any = 0, level: float = 0.95) -> Iterator[R_co]:
    """Yield reports while a run goes on: whenever what is done has doubled, and at the end.

    The last report equals `estimate`'s. Each interval holds for its own part of the run; stopping because of what a
    report shows invalidates its confidence level.
    """
    driver = Driver(query, method, seed, level)  # raises here, not at the first next()

    def reports() -> Iterator[R_co]:
        due = 0.0
        while not driver.run.done:
            driver.step()
            done = driver.progress().done
            if not driver.run.done and done < due:
                continue
            report = driver.report()
            if report is not None:
                due = 2 * done
                yield report

    return reports()


class Driver:
    """A run from its start to its report, with what the report states and the run does not know: seed, level and time.

    Args:
        query, method, seed, level: as in `estimate`.
        kept: whether the run will be kept in a folder (`open`).

    Raises:
        TypeError, ValueError: as `estimate`, before anything is traced.
    """

    @fixed_settings()
    def __init__(self, query: Query, method: Method[Any], seed: Any, level: float, *, kept: bool = False):
        if not isinstance(query, Query):
            raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
        if isinstance(method, type) or not callable(getattr(method, "start", None)):
            raise TypeError(f"method={method!r} is not a method: pass for example volume.Direct(draws=1_000_000).")
        check_level(level)
        keep_programs()
        key, self._record = to_key(seed)
        self._query, self._method, self._level = query, method, level
        self._start = time.perf_counter()
        make_room()
        new_run()
        local_devices()  # or a sentence that says why there are none
        start = getattr(method, "start_kept", method.start) if kept else method.start
        logger.debug("%s of %s, seed %s", method, query, self._record)
        self.run: Run[Any] = start(query, key)
        self._directory: RunDirectory | None = None
        self._resumable: Any = None  # the run, where it goes on from checkpoints

    @fixed_settings()
    def open(
        self, stack: ExitStack, out: Path, resume: bool, command: list[str] | None, *, replace: bool = False
    ) -> Any:
        """Keep the run in a folder from now on, until the stack is closed.

        With replace=True, what the folder holds is removed first: the last thing that is done before this run begins.

        Returns:
            The report where the folder holds a finished one of a run without checkpoints; else None.
        """
        begun = resume and (out / "config.json").exists()
        run: Any = self.run
        if begun and hasattr(run, "as_begun"):
            run.as_begun(read_config(out).get("constants", {}))
        if not replace:  # else `clear` looks at all that is there
            record, counts = paths(out)
            check_replaceable(record)
            check_own_counts(counts)
        config = self.config(command)
        if is_resumable(self.run):
            self._resumable = self.run
        if replace:
            if hasattr(run, "check_room"):  # beside the run that is there: it goes only where this one can begin
                run.check_room(out)
            clear(out)
        directory = self._directory = stack.enter_context(RunDirectory(out, config, resume=resume))
        if self._resumable is not None:
            parts = directory.parts()
            logger.debug("%d parts found in %s", len(parts), out)
            self._resumable.restore(parts)
            if hasattr(self.run, "check_room"):
                self._resumable.check_room(out)
        elif begun:
            report = load(out) if (out / "report.json").is_file() else None
            if report is not None and report.run.get("complete"):
                return report
            logger.warning("%s keeps no parts of a run: it starts anew.", self._method.name)
        return None

    def config(self, command: list[str] | None) -> dict[str, Any]:
        """Describe the run for its folder: what was asked, what its checkpoints mean, and what it runs on."""
        device = local_devices()[0]
        settings = rounding_settings()
        return {
            "query": self._query.describe(),
            "method": _settings(self._method),
            "seed": self._record,
            "level": self._level,
            "constants": self.run.constants() if is_resumable(self.run) else {},  # type: ignore[attr-defined]
            "volume": __version__,
            "versions": {**versions(), "device": f"{device.platform} {device.device_kind}"},
            "commit": commit(),
            "command": command,
            **({"settings": settings} if settings else {}),
        }

    @fixed_settings()
    def step(self) -> None:
        """Advance the run by a step, and hand what it finished to the folder."""
        make_room()
        with interrupts.step():
            self.run.advance()
        self._store(all=False)

    @fixed_settings()
    def close(self) -> Any:
        """Make the report, of an unfinished run too, and keep it with everything that led to it."""
        self._store(all=True)
        if self._directory is not None:
            self._directory.flush()
            if hasattr(self.run, "stored"):
                self._resumable.stored(self._directory.parts())
        report = self.report()
        logger.debug("%s after %.2f s", self.run.progress().position, self._seconds())
        if self._directory is not None and report is not None:
            self._directory.save(report.save)
        return report

    def _store(self, *, all: bool) -> None:
        if self._directory is not None and self._resumable is not None:
            self._directory.write(self._resumable.collect(all=all))

    @property
    def resumable(self) -> Path | None:
        """The folder from which the run can be resumed."""
        return None if self._directory is None or self._resumable is None else self._directory.path

    @fixed_settings()
    def progress(self) -> Progress:
        """Say where the run stands, with the time."""
        return replace(self.run.progress(), seconds=self._seconds(), last=self.run.done)

    @fixed_settings()
    def report(self) -> Any:
        """Answer from what was learnt so far; None when that is nothing."""
        facts = Facts(self._query, self._record, self._level, self._seconds(), self.run.done)
        report = self.run.report(facts)
        return as_asked(report) if isinstance(report, VolumeReport) else report

    def _seconds(self) -> float:
        earlier = 0.0 if self._directory is None else self._directory.resumed_seconds
        return earlier + time.perf_counter() - self._start


def _settings(method: Method[Any]) -> dict[str, Any]:
    """A method's fields, as JSON; but not where it runs, on which nothing depends."""
    settings: dict[str, Any] = {"name": method.name}
    for field in fields(method) if is_dataclass(method) else ():
        value = getattr(method, field.name)
        if field.name in ("devices", "memory"):
            continue
        if field.metadata == ADDED_LATER and value == field.default:
            continue
        try:
            settings[field.name] = plain(value.describe() if hasattr(value, "describe") else value)
        except TypeError:
            settings[field.name] = repr(value)
    return settings
