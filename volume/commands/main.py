"""The command line: what can be typed, and what becomes of errors.

Results go to stdout (JSON with ``--json``), progress and messages to stderr. The exit codes are those of `Exit`.

Each command is a module of this package, with a function ``run``; its options are in command_table. Neither parsing nor
a usage error imports JAX, which costs seconds: `run` loads the library.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from volume.commands.messages import LOGGER, messages, set_level
from volume.commands.parser import parse
from volume.commands.usage import CommandError, Exit, sentence
from volume.common.program_cache import keep_programs


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` as after the program's name, by default the process's own. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    own = words[: words.index("--")] if "--" in words else words
    traceback = "--debug" in own
    with messages(as_json="--json" in own):
        try:
            args = parse(words)
            set_level(quiet=args.quiet, verbose=args.verbose)
            keep_programs(off=args.no_cache)
            code = importlib.import_module(f"volume.commands.{args.command}").run(args)
            sys.stdout.flush()  # a closed pipe shows here, not at the interpreter's exit
            return code
        except SystemExit as stop:  # --help and --version
            return int(stop.code or 0)
        except BrokenPipeError:
            # `volume show ... | head` has read enough. The interpreter flushes stdout once more when it ends: into
            # nothing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.DONE
        except KeyboardInterrupt as error:
            return _failed(error, Exit.STOPPED, "stopped; nothing was saved.")
        except CommandError as error:
            return _failed(error, error.code, str(error), error.advice, traceback=traceback)
        except Exception as error:
            return _failed(error, Exit.FAILED, sentence(error), traceback=traceback)


def _failed(error: BaseException, code: Exit, text: str, advice: str = "", *, traceback: bool = False) -> Exit:
    """Say why the command ended, and return its exit code."""
    record = {"kind": code.kind, "exit_code": int(code), "type": type(error).__name__, "message": text}
    shown = f"{text}\n{advice}" if advice else text
    LOGGER.error("%s", shown, exc_info=error if traceback else None, extra={"error": record})
    return code
