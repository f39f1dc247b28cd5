"""What this machine has room for."""

from __future__ import annotations

import os


def machine_memory() -> int | None:
    """Give the bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def check_room(what: str, num_bytes: float, instead: str) -> None:
    """Raise ValueError, before anything is allocated, where this machine's memory cannot hold so many bytes.

    Args:
        what: takes them, as the subject of a sentence in the singular.
        num_bytes: the least it takes; what comes on top depends on the compiler.
        instead: what to do about it, as an imperative.
    """
    memory = machine_memory()
    if memory is not None and num_bytes > memory:
        raise ValueError(
            f"{what} takes {num_bytes / 2**30:,.3g} GiB, and this machine has {memory / 2**30:.3g}: {instead}."
        )
