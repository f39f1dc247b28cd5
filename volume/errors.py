"""Sentences that several checks share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """The sentence for a name nobody knows, with the nearest one that somebody does."""
    known = list(known)
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Unknown {kind} {given!r}; known: {', '.join(known)}.{hint}"


def whole(name: str, given: object) -> int:
    """``given`` as a positive whole number; 1e7 counts as one."""
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(given, (bool, str)) or not number.is_integer() or number <= 0:
        raise ValueError(f"{name}={given!r} is not a positive whole number: give for example {name}=1_000_000.")
    return int(given)  # type: ignore[call-overload]
