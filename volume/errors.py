"""Sentences that several checks share."""

from __future__ import annotations

from collections.abc import Iterable

from volume.common.choices import nearest


class Miscompiled(RuntimeError):
    """A compiled program gave other numbers than a plain evaluation of the same networks: nothing of it is reported."""


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """Return the sentence for a name nobody knows, with the nearest one that somebody does."""
    known = list(known)
    near = nearest(given, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"Unknown {kind} {given!r}; known: {', '.join(known)}.{hint}"


def whole(name: str, given: object, *, limit: int | None = None, least: int = 1) -> int:
    """``given`` as a positive whole number from ``least`` up to ``limit``; 1e7 counts as one."""
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(given, (bool, str)) or not number.is_integer() or number <= 0:
        raise ValueError(f"{name}={given!r} is not a positive whole number: give 1, 2, 3, ... (1e6 will do too).")
    if limit is not None and number > limit:
        raise ValueError(f"{name}={given!r} is more than {limit:,}: give fewer.")
    if number < least:
        raise ValueError(f"{name}={given!r} is too few: give {least} or more.")
    return int(given)  # type: ignore[call-overload]
