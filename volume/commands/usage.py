"""Exit codes, the errors that have one of their own, and the sentence for any error; costs no import."""

from __future__ import annotations

import argparse
import enum
from collections.abc import Callable
from typing import Any


class Exit(enum.IntEnum):
    """What a process of the command line ends with."""

    DONE = 0
    DISAGREE = 1
    USAGE = 2
    STOPPED = 3
    FAILED = 4
    NOT_COMPARABLE = 5

    @property
    def kind(self) -> str:
        """The code in a word, as error records have it: "usage", "not-comparable"."""
        return self.name.lower().replace("_", "-")


EXIT_CODES = (
    "Exit codes: 0 done, 1 disagree or changed, 2 usage (nothing was drawn), 3 stopped before the target, 4 failed, 5"
    " cannot be compared."
)


class CommandError(Exception):
    """What ends a command with an exit code of its own."""

    code = Exit.FAILED
    advice = ""  # for a reader, on a line of its own


class UsageError(argparse.ArgumentTypeError, ValueError, CommandError):
    """The command line asks for something that does not exist or does not fit together."""

    code = Exit.USAGE

    def __init__(self, message: str, advice: str = ""):
        super().__init__(message)
        self.advice = advice


class Stopped(CommandError):
    """The run ended before its target, and there is no report."""

    code = Exit.STOPPED


class NotComparable(CommandError):
    """Two runs that do not answer the same question, or leave nothing to compare."""

    code = Exit.NOT_COMPARABLE


def usage(build: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call ``build``. Nothing has been drawn yet, so what the library refuses is a mistake in the words: UsageError."""
    try:
        return build(*args, **options)
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, FileExistsError) as error:
        raise UsageError(str(error.args[0] if error.args else error)) from error


def flag(name: str) -> str:
    """Return the option of an attribute of the namespace."""
    return f"--{name.replace('_', '-')}"


def sentence(error: Exception) -> str:
    """Return what an error says to somebody who reads no traceback."""
    if isinstance(error, KeyError) and error.args:  # str() of a KeyError is the repr of its message
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, MemoryError):
        return f"Memory ran out{f' ({error})' if str(error) else ''}: ask for less at once."
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"
