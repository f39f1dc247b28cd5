"""Runs before any test module is imported: no accelerator, no window, unless the caller asks for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")  # subprocesses inherit both


# Every program that XLA compiles for a CPU maps some twenty regions of memory, and Linux allows 65,530 in one process:
# beyond, compiling ends in a segmentation fault. A worker goes through thousands of programs.
MOST_MAPS = 20_000


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Forgets compiled programs, between two modules, when there are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        import jax

        jax.clear_caches()
