"""The command line: what can be typed, and what becomes of errors.

Results go to stdout (JSON with ``--json``), progress and messages to stderr. Exit codes: 0 done (for ``compare``: the
reports agree), 1 failed (they disagree), 2 usage: nothing was drawn, 3 stopped before the target.

Each command is a module of this package, with a function ``run``; its options are in command_table. Neither parsing nor
a usage error imports JAX, which costs seconds: `run` loads the library.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from volume.commands.parser import parse
from volume.commands.usage import DONE, FAILED, STOPPED, USAGE, UsageError, sentence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` as after the program's name, by default the process's own. Returns the exit code."""
    try:
        args = parse(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as stop:  # --help, --version, or a usage error already explained
        return int(stop.code or 0)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = importlib.import_module(f"volume.commands.{args.command}").run(args)
            sys.stdout.flush()  # a closed pipe shows here, not at the interpreter's exit
        return code
    except BrokenPipeError:
        # `volume show ... | head` has read enough. The interpreter flushes stdout once more when it ends: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("volume: stopped; nothing was saved.", file=sys.stderr)
        return STOPPED
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print(f"volume: error: {sentence(error)}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILED


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"volume: warning: {message}", file=sys.stderr)
