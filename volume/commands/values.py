"""Values on the command line: numbers, and words from a list. Each parser raises UsageError with one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from volume.commands.usage import UsageError
from volume.common.choices import spelled
from volume.errors import unknown


def parse_whole(text: str, *, least: int = 1) -> int:
    """Return a whole number of ``least`` or more; "1e7" and "10_000_000" count as whole."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = None
    # The bound on the exponent keeps int() from building a number of a billion digits.
    if value is None or not value.is_finite() or value.adjusted() > 30 or value != value.to_integral_value():
        raise UsageError(f"expected a whole number such as 1000 or 1e7, got {text!r}")
    if value < least:
        raise UsageError(f"expected {least} or more, got {text!r}")
    return int(value)


def parse_seed(text: str) -> int:
    """Return a whole number in [0, 2^64)."""
    value = parse_whole(text, least=0)
    if value >= 2**64:
        raise UsageError(f"expected a whole number below 2^64, got {text!r}")
    return value


def parse_float(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"expected a number, got {text!r}")
    return value


def parse_level(text: str) -> float:
    """Return a confidence level, strictly between 0 and 1."""
    value = parse_float(text)
    if not 0 < value < 1:
        raise UsageError(f"expected a level between 0 and 1, such as 0.95, got {text!r}")
    return value


def parse_per_layer(text: str) -> float | tuple[float, ...]:
    """Return one number, or one per layer: "1" or "1,1.4,1"."""
    values = tuple(parse_float(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def parse_coding(text: str) -> tuple[float, float]:
    """Return the two values that stand for the digits 0 and 1: "0,1" or "-1,1"."""
    values = tuple(parse_float(part) for part in text.split(","))
    if len(values) != 2 or values[0] == values[1]:
        raise UsageError(f"expected two different numbers such as 0,1 or -1,1, got {text!r}")
    low, high = (int(value) if value.is_integer() else value for value in values)
    return low, high


def one_of(kind: str, known: tuple[str, ...]) -> Callable[[str], str]:
    """Return a parser of words from a list, whatever their case; UsageError with the nearest one."""

    def parse(text: str) -> str:
        word = spelled(text, known)
        if word is None:
            raise UsageError(unknown(kind, text, known))
        return word

    return parse
