"""Ask a query, get a report: `estimate`, and `running` for reports while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from volume.method import Facts, Method, R_co, Report, Run
from volume.pooled_report import as_asked
from volume.progress import Progress, rich_progress
from volume.query import Query
from volume.report import VolumeReport
from volume.seeds import to_key


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; ``report`` answers from what was learnt so far (None when that is nothing)."""

    def __init__(self, report: Report | None, progress: Progress):
        super().__init__("stopped before the target")
        self.report = report
        self.progress = progress  # where the run stood


def estimate(
    query: Query,
    method: Method[R_co],
    *,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
) -> R_co:
    """Estimate the volumes of the classes of ``query`` by ``method``.

    Args:
        query: what is asked.
        method: how to answer, for example ``volume.Direct(draws=1_000_000)``.
        seed: a whole number in [0, 2^64) or a JAX threefry key. The same query, method and seed give the same answer.
        level: coverage of the intervals, pointwise.
        progress: True for a bar on stderr, or a function that is called with a `Progress` after every step.

    Returns:
        The method's report, a `VolumeReport` where draws are counted and else an `EstimateReport`; its log volumes are
        natural logarithms.

    Raises:
        TypeError, ValueError: arguments that make no sense, and queries that this method cannot answer, before
            anything is traced.
        Interrupted: on Ctrl-C, holding the report of what was learnt.
    """
    watched = _Watched(query, method, seed, level)
    with rich_progress(progress) as show:
        try:
            while not watched.run.done:
                watched.run.advance()
                if show is not None:
                    show(watched.progress())
        except KeyboardInterrupt:
            raise Interrupted(watched.report(), watched.progress()) from None
    report = watched.report()
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
    watched = _Watched(query, method, seed, level)  # raises here, not at the first next()

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


class _Watched:
    """A run with what its reports state and it does not know: the seed, the level, the time."""

    def __init__(self, query: Query, method: Method[Any], seed: Any, level: float):
        if not isinstance(query, Query):
            raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
        if isinstance(method, type) or not callable(getattr(method, "start", None)):
            raise TypeError(f"method={method!r} is not a method: pass for example volume.Direct(draws=1_000_000).")
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
            raise ValueError(f"level={level!r} is not between 0 and 1: give for example level=0.95.")
        key, self._record = to_key(seed)
        self._query, self._level = query, level
        self._start = time.perf_counter()
        self.run: Run[Any] = method.start(query, key)

    def progress(self) -> Progress:
        return replace(self.run.progress(), seconds=self._seconds(), last=self.run.done)

    def report(self) -> Any:
        facts = Facts(self._query, self._record, self._level, self._seconds(), self.run.done)
        report = self.run.report(facts)
        return as_asked(report) if isinstance(report, VolumeReport) else report

    def _seconds(self) -> float:
        return time.perf_counter() - self._start
