"""Progress on stderr, so that stdout stays machine-readable: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LOG_SECONDS = 2.0  # between two lines in a log; the last step always has one


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands, for progress bars and logs."""

    done: float  # of ``total``, in ``unit``
    total: float  # may be a guess
    unit: str = "steps"
    words: str = ""  # in place of "7 of 20 steps, 3/s", such as "level 7 of about 20"
    note: str = ""  # what is known so far, such as "about 1,234 classes"
    seconds: float = 0.0  # since the run began, filled in by its caller, and likewise
    last: bool = False  # whether the run is over

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def position(self) -> str:
        """How far the run has come, in the method's own words where it has some."""
        return self.words or f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"

    @property
    def text(self) -> str:
        """All of it, as one line."""
        rate = f"{self.rate:,.0f}/s" if self.rate >= 10 else f"{self.rate:.2g}/s"
        rate = f"{self.rate / 1e6:.2f} M/s" if self.rate >= 1e5 else rate
        return ", ".join(filter(None, [self.position, "" if self.words else rate, self.note]))


@contextmanager
def rich_progress(
    progress: bool | Callable[[Progress], None] | None,
) -> Iterator[Callable[[Progress], None] | None]:
    """Return the ``progress`` argument of `volume.estimate` as a function to call after each step, or None for
    silence."""
    if not progress:
        yield None
        return
    if progress is not True:
        yield progress
        return
    from rich.console import Console

    console = Console(file=sys.stderr, force_jupyter=False)
    if not console.is_terminal:
        yield _log()
        return
    from rich import progress as rich

    columns = (
        rich.BarColumn(bar_width=20),  # leaves room for words on 80 columns
        rich.TextColumn("{task.description}", markup=False),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=1)  # the first step brings the true total

        def show(state: Progress) -> None:
            bar.update(task, completed=state.done, total=state.total, description=state.text)

        yield show


def _log() -> Callable[[Progress], None]:
    shown = time.monotonic()

    def show(state: Progress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= LOG_SECONDS or state.last:
            shown = now
            print(state.text, file=sys.stderr, flush=True)

    return show
