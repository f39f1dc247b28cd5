"""Checks of arguments that many functions take, with one sentence for each flaw; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from volume.common.choices import DTYPES, PRECISIONS
from volume.errors import unknown


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ValueError, with the nearest word, where ``given`` is none of the ``known`` ones."""
    if value not in known:
        raise ValueError(unknown(name, value, known))


def check_arithmetic(dtype: object, precision: object) -> None:
    """Raise ValueError for a floating-point type or a precision of matrix products that no method has."""
    check_choice("dtype", dtype, DTYPES)
    check_choice("precision", precision, PRECISIONS)


def refuse_ignored(settings: Any, names: Iterable[str], why: str) -> None:
    """Raise ValueError for one of these fields of a dataclass that is not at its default, although nothing reads it.

    Args:
        settings: the dataclass.
        names: of the fields.
        why: they are ignored, and what to do instead of leaving the field out, as the end of a sentence.
    """
    for field in (field for field in fields(settings) if field.name in names):
        value = getattr(settings, field.name)
        plain = isinstance(value, (str, int, float))
        if value is not field.default and not (plain and value == field.default):
            shown = repr(value) if plain else "..."
            raise ValueError(f"{field.name}={shown} would be ignored: {why}. Leave it out.")


def check_fraction(name: str, value: object, example: str) -> None:
    """Raise ValueError unless ``given`` is a number strictly between 0 and 1, such as ``example``."""
    # NumPy's numbers are no int or float, except float64: comparing tells.
    try:
        inside = not isinstance(value, (bool, str)) and bool(0 < value < 1)  # type: ignore[operator]
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"{name}={value!r} is not between 0 and 1: give for example {name}={example}.")


def check_level(level: object) -> None:
    """Raise ValueError for a confidence level that is not strictly between 0 and 1."""
    check_fraction("level", level, "0.95")
