"""Ctrl-C, SIGTERM and SIGHUP end a run at the end of its step, with what was learnt; none is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from shared_queries import PLANE

import volume
from volume.common.interrupts import stoppable
from volume.common.progress import Progress
from volume.reports.entries import replicated_volume
from volume.reports.named import EstimateReport

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows ends a process that is sent a signal")


@pytest.fixture(autouse=True)
def listening():
    """Children of a shell's background job ignore Ctrl-C."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    assert {number: signal.getsignal(number) for number in usual} == usual  # as they were
    for number, handler in before.items():
        signal.signal(number, handler)


@dataclass
class Ten:
    """A method of ten steps; in its third it sends this process signals, between the two halves of the step."""

    signals: tuple[int, ...] = ()
    halves: list[str] = field(default_factory=list)
    name = "ten"

    def start(self, query, key) -> Any:
        return self

    @property
    def done(self):
        return len(self.halves) >= 20

    def advance(self):
        self.halves.append("first")
        if len(self.halves) == 5:
            for number in self.signals:
                os.kill(os.getpid(), number)
        self.halves.append("second")

    def progress(self):
        return Progress(done=len(self.halves) // 2, total=10)

    def report(self, facts):
        entries = (replicated_volume("a", [-1.0 - i / 100 for i in range(len(self.halves))], facts.level),)
        return EstimateReport.of(facts, entries, method={"name": "ten"}, conventions={}, num_nonfinite=0)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_run_at_the_end_of_its_step(number):
    method: Any = Ten((number,))
    with pytest.raises(volume.Interrupted) as stopped:
        volume.estimate(PLANE, method)
    assert method.halves == ["first", "second"] * 3
    assert stopped.value.report is not None
    assert stopped.value.report.run["complete"] is False
    method = Ten((number,))
    with pytest.raises(KeyboardInterrupt):
        list(volume.running(PLANE, method))
    assert method.halves == ["first", "second"] * 3


def test_a_second_signal_stops_at_once():
    method: Any = Ten((signal.SIGINT, signal.SIGINT))
    with pytest.raises(volume.Interrupted):
        volume.estimate(PLANE, method)
    assert method.halves == ["first", "second"] * 2 + ["first"]


def test_a_signal_that_a_callback_swallows_ends_the_next_step():
    """JAX's callback at a garbage collection prints what is raised in it, and forgets it."""
    method: Any = Ten()

    def swallow(state):
        if state.done == 2:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(volume.Interrupted):
        volume.estimate(PLANE, method, progress=swallow)
    assert len(method.halves) == 6


def test_between_runs_a_signal_raises_at_once_and_the_next_run_is_not_stopped_by_it():
    with stoppable(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    method: Any = Ten()
    volume.estimate(PLANE, method)
    assert method.done


def test_handlers_of_the_callers_own_and_ignored_signals_stay():
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    method: Any = Ten((signal.SIGTERM, signal.SIGHUP))
    try:
        volume.estimate(PLANE, method)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignored)
    assert seen == [signal.SIGTERM]
    assert method.done


def test_in_another_thread_nothing_is_handled():
    methods: list[Any] = [Ten()]
    thread = threading.Thread(target=lambda: volume.estimate(PLANE, methods[0]))
    thread.start()
    thread.join()
    assert methods[0].done
