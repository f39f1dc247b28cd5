"""Runs before any test module is imported: no accelerator, no window, unless the caller asks for one."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")  # subprocesses inherit both
