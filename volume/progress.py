"""A progress bar on stderr, so that stdout stays machine-readable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} draws"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[classes]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("drawing", total=1, rate="", classes="")  # the first step brings the true total

        def show(state: Any) -> None:
            bar.update(
                task,
                completed=state.draws,
                total=state.total,
                rate=f"{state.rate / 1e6:.2f} M/s" if state.rate >= 1e5 else f"{state.rate:,.0f}/s",
                classes=f"about {state.classes:,} classes",
            )

        yield show
