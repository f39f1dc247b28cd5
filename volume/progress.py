"""Progress on stderr, so that stdout stays machine-readable: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG_SECONDS = 2.0  # between two lines in a log; the last step always has one


@contextmanager
def rich_progress(progress: bool | Callable[[Any], None] | None) -> Iterator[Callable[[Any], None] | None]:
    """The ``progress`` argument of `volume.estimate` as a function to call after each step, or None for silence."""
    if not progress:
        yield None
        return
    if progress is not True:
        yield progress
        return
    from rich.console import Console

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _log()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} draws"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[classes]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("drawing", total=1, rate="", classes="")  # the first step brings the true total

        def show(state: Any) -> None:
            bar.update(task, completed=state.draws, total=state.total, rate=_rate(state), classes=_classes(state))

        yield show


def _log() -> Callable[[Any], None]:
    shown = time.monotonic()

    def show(state: Any) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= LOG_SECONDS or state.draws >= state.total:
            shown = now
            line = f"{state.draws:,} of {state.total:,} draws, {_rate(state)}, {_classes(state)}"
            print(line, file=sys.stderr, flush=True)

    return show


def _rate(state: Any) -> str:
    return f"{state.rate / 1e6:.2f} M/s" if state.rate >= 1e5 else f"{state.rate:,.0f}/s"


def _classes(state: Any) -> str:
    return f"about {state.classes:,} classes"
