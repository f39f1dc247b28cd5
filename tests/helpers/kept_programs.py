"""The folder of compiled programs that tests keep for each other (conftest.py): its name, and what is thrown away."""

from __future__ import annotations

import hashlib
import platform
import time
import zlib
from pathlib import Path

UNUSED_DAYS = 7.0


def forget(folder: Path) -> None:
    """Removes what was long not used, and what a killed process left half written: a command would warn of it."""
    checked = folder / "checked"
    since = checked.stat().st_mtime - 60 if checked.exists() else 0.0
    checked.touch()
    for program in folder.glob("*-cache"):
        state = program.stat()
        if time.time() - state.st_atime > UNUSED_DAYS * 86_400 or (state.st_mtime > since and cut(program)):
            program.unlink(missing_ok=True)


def cut(program: Path) -> bool:
    content = program.read_bytes()
    if content.startswith(b"\x78"):  # else JAX packed it with Zstandard, where that is installed
        try:
            zlib.decompress(content)
        except zlib.error:
            return True
    return not content


def processor() -> str:
    """One word for what machine code is made for."""
    info, what = Path("/proc/cpuinfo"), ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU ", "Features")
    told = info.read_text().split("\n\n")[0].splitlines() if info.is_file() else []
    words = [platform.machine(), platform.processor(), *(line for line in told if line.startswith(what))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
