"""Where the messages of a command go: through the logger ``volume``, which the library writes to, to stderr.

Results go to stdout and progress has its own bar; what is left, remarks, warnings and the error that ends a command, is
logged. With ``--json`` that error is one JSON object, on the last line of stderr.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from volume.commands.usage import Exit

LOGGER = logging.getLogger("volume")
_PREFIX = {logging.DEBUG: "debug: ", logging.INFO: "", logging.WARNING: "warning: ", logging.ERROR: "error: "}


class _Format(logging.Formatter):
    """``volume: warning: ...``, after the traceback where there is one."""

    def __init__(self, *, as_json: bool):
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        error = getattr(record, "error", None)  # the record of what ended the command
        if error is not None and self._as_json:
            text = json.dumps({"error": error}, ensure_ascii=False)
        else:
            stopped = error is not None and error["exit_code"] == Exit.STOPPED  # on purpose, often
            prefix = "" if stopped else _PREFIX.get(record.levelno, "")
            text = f"volume: {prefix}{record.getMessage()}"
        return f"{self.formatException(record.exc_info)}\n{text}" if record.exc_info else text


class _Stderr(logging.Handler):
    """Writes to whatever stderr is when a message comes."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:
            print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def messages(*, as_json: bool) -> Iterator[None]:
    """Show messages and warnings on stderr, until the end of the block."""
    handler = _Stderr()
    handler.setFormatter(_Format(as_json=as_json))
    before = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.propagate = False  # the root's handlers would say everything once more
    set_level()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]


def set_level(*, quiet: bool = False, verbose: bool = False) -> None:
    """Choose what is said: errors alone, everything, or what is neither asked for nor superfluous."""
    LOGGER.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)


def _log_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    LOGGER.warning("%s", message)
