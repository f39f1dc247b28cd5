"""The error of a command line that cannot be meant; apart from the rest so that it costs no import."""

from __future__ import annotations

import argparse


class UsageError(argparse.ArgumentTypeError, ValueError):
    """The command line asks for something that does not exist or does not fit together: exit code 2."""
