"""``volume`` and ``python -m volume``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (volume.commands.main)."""
    from volume.commands.main import main as run
    from volume.commands.usage import Exit
    from volume.common.interrupts import stoppable

    unheard = argv is None and _open_streams()
    with stoppable():
        code = run(argv)
    if argv is None and code == Exit.STOPPED:
        # JAX may still be compiling in a thread of its own, which crashes when the interpreter takes JAX apart.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a closed pipe
                stream.flush()
        os._exit(code)
    return code or int(unheard)


def _open_streams() -> bool:
    """Put what swallows all in the place of streams that are closed, as a shell's ``>&-`` has it.

    Else the next file that is opened would take a stream's number, and `print` would send errors to stdout.

    Returns:
        Whether standard output was closed: nobody can hear the answer.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    unheard = sys.stdout is None
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end of the process
    return unheard


if __name__ == "__main__":
    sys.exit(main())
