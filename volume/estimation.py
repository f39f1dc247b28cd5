"""Ask a query, get a report: `estimate`, and `running` for reports while draws accumulate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from volume.direct import Direct, DirectRun
from volume.progress import rich_progress
from volume.provenance import commit, device_record, versions
from volume.query import Query
from volume.report import VolumeReport
from volume.seeds import to_key


class Progress(NamedTuple):
    """Where a run stands, for progress bars and logs."""

    draws: int
    total: int
    seconds: float
    classes: int  # seen so far; for open-ended tables an estimate within about a per cent

    @property
    def rate(self) -> float:
        """Draws a second."""
        return self.draws / self.seconds if self.seconds > 0 else 0.0


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; ``report`` answers from the draws made so far (None when there are none)."""

    def __init__(self, report: VolumeReport | None):
        super().__init__("stopped before the target")
        self.report = report


def estimate(
    query: Query,
    method: Direct,
    *,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
) -> VolumeReport:
    """Estimate the volume of every class of ``query`` by ``method``.

    Args:
        query: what is asked.
        method: how to answer, for example ``volume.Direct(draws=1_000_000)``.
        seed: a whole number in [0, 2^64) or a JAX threefry key. The same query, method and seed give the same counts.
        level: coverage of the intervals, pointwise.
        progress: True for a bar on stderr, or a function that is called with a `Progress` after every step.

    Returns:
        The report; its log volumes are natural logarithms.

    Raises:
        TypeError, ValueError: arguments that make no sense, before anything is traced.
        Interrupted: on Ctrl-C, holding the report of what was drawn.
    """
    run, record = _start(query, method, seed, level)
    start = time.perf_counter()
    with rich_progress(progress) as show:
        try:
            while not run.done:
                run.advance()
                if show is not None:
                    show(Progress(run.draws, run.total_draws, time.perf_counter() - start, run.estimate_classes()))
        except KeyboardInterrupt:
            seconds = time.perf_counter() - start
            partial = _report(run, query, method, record, level, seconds) if run.done_blocks else None
            raise Interrupted(partial) from None
    return _report(run, query, method, record, level, time.perf_counter() - start)


def running(query: Query, method: Direct, *, seed: Any = 0, level: float = 0.95) -> Iterator[VolumeReport]:
    """Yield reports while draws accumulate: whenever they have doubled, and at the end.

    The last report equals `estimate`'s. Each interval holds at its own number of draws; a rule that stops at a report
    it likes does not keep the level.
    """
    run, record = _start(query, method, seed, level)  # raises here, not at the first next()

    def reports() -> Iterator[VolumeReport]:
        start = time.perf_counter()
        due = 1
        while not run.done:
            run.advance()
            if run.done or run.done_blocks >= due:
                due = 2 * run.done_blocks
                yield _report(run, query, method, record, level, time.perf_counter() - start)

    return reports()


def _start(query: Query, method: Direct, seed: Any, level: float) -> tuple[DirectRun, int | list[int]]:
    if not isinstance(query, Query):
        raise TypeError(f"query={query!r} is not a query: make one with volume.Query(model, prior, ...).")
    if not isinstance(method, Direct):
        raise TypeError(f"method={method!r} is not a method: pass for example volume.Direct(draws=1_000_000).")
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
        raise ValueError(f"level={level!r} is not between 0 and 1: give for example level=0.95.")
    key, record = to_key(seed)
    return DirectRun(query, method, key), record


def _report(
    run: DirectRun, query: Query, method: Direct, seed: int | list[int], level: float, seconds: float
) -> VolumeReport:
    return VolumeReport(
        counts=run.counts(),
        domain=query.domain,
        num_outputs=query.model.num_outputs,
        classifier=query.classifier,
        description=query.describe(),
        method=method.describe(run.plan),
        seed=seed,
        run={
            "versions": versions(),
            "commit": commit(),
            "device": device_record(list(run.plan.mesh.devices.flat)),
            "wall_seconds": seconds,
            "near_ties": run.near_ties,
            "near_ties_checked": run.draws,
            "complete": run.done,
        },
        conventions=query.conventions(dtype=method.dtype, precision=method.precision),
        level=level,
    )
