"""Exit codes, the error of a command line that cannot be meant, and the sentence for any error; costs no import."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 3


class UsageError(argparse.ArgumentTypeError, ValueError):
    """The command line asks for something that does not exist or does not fit together: exit code 2."""


def usage(build: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call ``build``. Nothing has been drawn yet, so what the library refuses is a mistake in the words: UsageError."""
    try:
        return build(*args, **options)
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(str(error.args[0] if error.args else error)) from error


def flag(name: str) -> str:
    """Return the option of an attribute of the namespace."""
    return f"--{name.replace('_', '-')}"


def sentence(error: Exception) -> str:
    """What an error says to somebody who reads no traceback."""
    if isinstance(error, KeyError) and error.args:  # str() of a KeyError is the repr of its message
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"
