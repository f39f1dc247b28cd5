"""What a result must say so that it can be repeated: versions, device, commit."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from volume.common.version import __version__


@cache
def versions() -> dict[str, str]:
    installed = {"volume": __version__, "python": platform.python_version()}
    for package in ("jax", "jaxlib", "flax", "numpy", "scipy", "duckdb"):
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "unknown"
    return installed


@cache
def commit() -> str | None:
    """Return the checkout's commit, with a ``+`` when tracked files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = ["git", "rev-parse", "--short=12", "HEAD"]
        name = subprocess.run(head, cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return name.stdout.strip() + ("+" if changed.returncode else "")


def device_record(devices: list[Any] | None) -> dict[str, Any]:
    """Return what computed: JAX devices of one kind, or None for plain NumPy."""
    if devices is None:
        return {"platform": "cpu", "kind": "numpy", "count": 1}
    return {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}
