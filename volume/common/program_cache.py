"""Compiled programs on disk: most of what a user waits for is compiling, and the same program is compiled only once.

JAX's persistent compilation cache does the work. This module chooses its folder, unless the user has chosen one
(``JAX_COMPILATION_CACHE_DIR``, ``jax.config``) or wants none (``--no-cache``, ``VOLUME_CACHE=0``,
``JAX_ENABLE_COMPILATION_CACHE=0``):

    <the user's cache folder>/param-volume/programs/<jaxlib's version>-<kind of processor>/

Programs are code, so a folder that somebody else owns, or that is reached by a link, is refused, and what is made is
the user's alone (mode 0700). Machine code for one processor may crash on another, hence the last name; JAX's own keys
tell accelerators apart. What cannot be read or written is compiled, as if there were no cache: answers never depend on
it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import stat
import sys
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

OFF = "VOLUME_CACHE"  # environment variable: 0 is no cache
MOST_BYTES = 2**30  # a program has 10 to 500 kB; beyond, those that were not used for longest go
UNUSED_DAYS = 90.0  # what was not used for so long goes
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class ProgramCache:
    """Where compiled programs are kept: a folder, or None and the reason."""

    folder: Path | None
    reason: str  # who chose the folder, or why there is none


_chosen: ProgramCache | None = None


def keep_programs(*, off: bool = False) -> ProgramCache:
    """Keep compiled programs in the user's cache folder, once a process; before JAX is imported this costs nothing.

    Args:
        off: keep none.
    """
    global _chosen
    if off:
        no_programs()
        _chosen = ProgramCache(None, "--no-cache")
    if _chosen is None:
        _chosen = _users_choice() or _own_folder()
        if _chosen.folder is not None and _chosen.reason == "default":
            prune(_chosen.folder)
            _tell_jax(_chosen.folder)
    return _chosen


def no_programs() -> None:
    """Read and write no compiled programs in this process, and in those that it starts."""
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_compilation_cache", False)


def prune(folder: Path, *, most_bytes: int = MOST_BYTES, unused_days: float = UNUSED_DAYS) -> None:
    """Remove programs that were long not used, are too many, or that a killed process left half written.

    Another process may use the folder meanwhile: what it misses it compiles.
    """
    checked = folder / "checked"
    try:
        since = checked.stat().st_mtime - 60 if checked.exists() else 0.0
        checked.touch()
        programs = [(path, path.stat()) for path in folder.glob("*-cache")]
    except OSError:  # read-only, or another process was quicker
        return
    size = 0
    for path, state in sorted(programs, key=lambda each: -max(each[1].st_atime, each[1].st_mtime)):
        size += state.st_size
        unused = time.time() - max(state.st_atime, state.st_mtime) > unused_days * 86_400
        try:
            if size > most_bytes or unused or (state.st_mtime > since and _is_cut(path)):
                path.unlink(missing_ok=True)
                size -= state.st_size
        except OSError:
            continue


def processor() -> str:
    """Name in one word what machine code is made for."""
    info, what = Path("/proc/cpuinfo"), ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU ", "Features")
    lines = info.read_text().split("\n\n")[0].splitlines() if info.is_file() else []
    words = [platform.machine(), platform.processor(), *(line for line in lines if line.startswith(what))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def users_cache_folder() -> Path:
    """Return the folder for caches by the platform's convention; RuntimeError where there is no home."""
    if (chosen := os.environ.get("XDG_CACHE_HOME", "")) and Path(chosen).is_absolute():
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    return Path.home() / ".cache"


def _users_choice() -> ProgramCache | None:
    """Return what the environment or JAX's configuration says; None where they say nothing."""
    if os.environ.get(OFF, "").lower() in _FALSE:
        no_programs()
        return ProgramCache(None, f"{OFF}={os.environ[OFF]}")
    jax = sys.modules.get("jax")
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") if jax is None else jax.config.jax_compilation_cache_dir
    enabled = os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "true").lower() not in _FALSE
    if jax is not None:
        enabled = jax.config.jax_enable_compilation_cache
    if not enabled:
        return ProgramCache(None, "JAX's compilation cache is switched off")
    return ProgramCache(Path(folder), "chosen for JAX") if folder else None


def _own_folder() -> ProgramCache:
    """Make the default folder, or say why it is refused."""
    try:
        base = users_cache_folder()
        own = base / "param-volume"
        folder = own / "programs" / f"{importlib.metadata.version('jaxlib')}-{processor()}"
        base.mkdir(parents=True, exist_ok=True)
        for path in (own, folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
            if problem := _problem(path):
                return ProgramCache(None, problem)
    except (OSError, RuntimeError) as error:
        return ProgramCache(None, f"no cache folder: {error}")
    if not os.access(folder, os.W_OK):
        return ProgramCache(None, f"{folder} cannot be written")
    return ProgramCache(folder, "default")


def _problem(path: Path) -> str | None:
    """Say why programs in this folder are not to be trusted; take access from others where it is the user's own."""
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode):
        return f"{path} is a link or a file, not a folder"
    if hasattr(os, "getuid"):
        if state.st_uid != os.getuid():
            return f"{path} belongs to another user"
        if stat.S_IMODE(state.st_mode) & 0o077:
            path.chmod(0o700)
    return None


def _tell_jax(folder: Path) -> None:
    """Set JAX's cache: by environment variables before it is imported, so that the command line need not import it."""
    # Whatever goes wrong with the cache changes no answer, and would be said once for every program.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")
    settings = {"jax_compilation_cache_dir": str(folder), "jax_persistent_cache_min_compile_time_secs": 0.0}
    if "jax" not in sys.modules:
        os.environ.update({name.upper(): str(value) for name, value in settings.items()})
        return
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # else what was compiled before has decided that there is none


def _is_cut(program: Path) -> bool:
    content = program.read_bytes()
    if content.startswith(b"\x78"):  # else JAX packed it with Zstandard, where that is installed
        try:
            zlib.decompress(content)
        except zlib.error:
            return True
    return not content
