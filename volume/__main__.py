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

    with stoppable():
        code = run(argv)
    if argv is None and code == Exit.STOPPED:
        # JAX may still be compiling in a thread of its own, which crashes when the interpreter takes JAX apart.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a closed pipe
                stream.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
