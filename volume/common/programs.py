"""Compiled programs of this library: made in one place, so that a process that asks many questions can forget old ones.

Every distinct query brings programs of its own, and JAX keeps them as long as the process lives. On Linux each maps
some hundred regions of memory, of which a process may have 65,530 (vm.max_map_count): beyond, compiling ends in a
segmentation fault. So `make_room`, at the start of every run and between its steps, forgets this library's programs
when there are too many. What is in use goes on; what is needed again is compiled again, or comes from a cache on disk.
Programs of the caller are never forgotten, as ``jax.clear_caches()`` would.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

logger = logging.getLogger(__name__)

MOST_PROGRAMS = 400  # of this library that are kept: about a gigabyte
MOST_MAPS = 20_000  # of the process, the caller's programs included, before those of this library go
LOOK_AFTER = 16  # new programs: counting tens of thousands of maps takes a hundredth of a second
_MAPS, _MAX_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")

_functions: list[Any] = []  # that `program` made
_looked_at = 0  # programs that were kept when maps were last counted
_warned = False


def program(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a module's function with ``jax.jit``, as a decorator, and remember it for `make_room`.

    A function that is jitted for one use needs no registration: its programs go with the last reference to it.

    Args:
        options: of ``jax.jit``, such as static_argnames.
    """

    def jit(function: Callable[..., Any]) -> Any:
        jitted: Any = jax.jit(function, **options)
        _functions.append(jitted)
        return jitted

    return jit


def num_kept() -> int:
    """Count the programs of this library that this process keeps."""
    return sum(function._cache_size() for function in _functions)


def make_room() -> None:
    """Forget this library's programs if there are many, or if the process maps too many regions of memory.

    Between two steps of a run: it costs microseconds unless programs were made meanwhile.
    """
    global _looked_at, _warned
    kept = num_kept()
    _looked_at = min(_looked_at, kept)
    if kept <= MOST_PROGRAMS and kept - _looked_at < LOOK_AFTER:
        return
    if kept <= MOST_PROGRAMS and num_maps() <= MOST_MAPS:
        _looked_at = kept
        return
    for function in _functions:
        function.clear_cache()
    _looked_at = 0
    left = num_maps()
    if not _warned and left > 0.8 * _limit():
        _warned = True
        logger.warning(
            f"This process maps {left:,} regions of memory, of {_limit():,.0f} that Linux allows (vm.max_map_count); "
            "beyond, compiling ends in a crash. This library has forgotten its own programs: jax.clear_caches() would "
            "forget the others."
        )


def num_maps() -> int:
    """Count the regions of memory that this process maps; 0 where the system does not say."""
    try:
        return _MAPS.read_bytes().count(b"\n")
    except OSError:
        return 0


def _limit() -> float:
    try:
        return float(_MAX_MAPS.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return float("inf")
