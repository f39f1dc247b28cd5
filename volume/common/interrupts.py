"""Ctrl-C, SIGTERM and SIGHUP: all end a run in the same way, with what was learnt, and none is lost.

Python raises KeyboardInterrupt wherever it happens to be, and what is raised inside a callback of C code, such as JAX's
at a garbage collection, is printed and forgotten. So a signal is noted first. During a step of a run it is only noted,
and the run stops at the end of the step; a second signal, and one that comes at any other time, raises at once. One
that is lost all the same ends the next step.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]

_open = 0  # blocks of `stoppable` that are open
_asked = 0  # signals since the outermost one was opened
_in_step = False


def _note(number: int, frame: FrameType | None) -> None:
    del number, frame
    global _asked
    _asked += 1
    if not _in_step or _asked > 1:
        raise KeyboardInterrupt


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt within the block, as Ctrl-C does; in the main thread.

    Handlers of the caller's own, and signals that are ignored as `nohup` has it, stay as they are.
    """
    global _open, _asked
    # Elsewhere Python takes no signals. Only default handlers are replaced; None is one that C code has left behind.
    usual = (signal.SIG_DFL, signal.default_int_handler, None)
    before: dict[int, object] = {}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _open:
        _asked = 0
    _open += 1
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) in usual:
                before[number] = signal.signal(number, _note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # type: ignore[arg-type]
        _open -= 1


@contextlib.contextmanager
def step() -> Iterator[None]:
    """Hold signals back until the end of the block, or to the second one: a step that is cut short is lost."""
    global _in_step
    with stoppable():
        if threading.current_thread() is not threading.main_thread() or _in_step:
            yield
            return
        _in_step = True
        try:
            yield
        finally:
            _in_step = False
        if _asked:
            raise KeyboardInterrupt
