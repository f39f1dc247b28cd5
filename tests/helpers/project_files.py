"""pyproject.toml and the lock, read."""

from __future__ import annotations

import re
import tomllib

from checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def requirement(line: str) -> str:
    """The distribution that a requirement names: "jax[cuda12]>=0.10" -> "jax"."""
    return re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower()


def locked() -> dict[str, set[str]]:
    """Distribution -> versions in the lock (several where they depend on the Python version)."""
    pins: dict[str, set[str]] = {}
    for pin in re.finditer(r"^([a-z0-9._-]+)==([^ ]+)", LOCK, flags=re.M):
        pins.setdefault(pin[1], set()).add(pin[2])
    return pins
