"""Runs before any test module is imported: no accelerator, no window, unless the caller asks for one."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from volume.common.program_cache import processor, prune

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")  # subprocesses inherit both


# Two thirds of a test run are XLA's, which compiles one program after another. The same program, compiler, options and
# processor give the same machine code: compiled programs are kept under .pytest_cache, where both workers, the commands
# that tests start and the next run find them. `pytest --cache-clear` forgets them.
LEAST_SECONDS = 0.0  # of compiling: to read the smallest program back takes a tenth of compiling it


def pytest_configure(config: pytest.Config) -> None:
    # What the other worker is writing at this moment is compiled again.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache entry:UserWarning")
    kept = getattr(config, "cache", None)  # none with -p no:cacheprovider
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or kept is None:
        return
    folder = kept.mkdir("programs") / processor()
    folder.mkdir(exist_ok=True)
    if not hasattr(config, "workerinput"):  # once, before the workers begin
        prune(folder, unused_days=7.0)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(LEAST_SECONDS))


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


# Processor time, unlike what a clock says, is about the same on a busy machine. A report carries its own from worker to
# controller; the sum at the end counts the workers' start, imports and collection, too.
SPENT: dict[str, float] = defaultdict(float)  # file -> seconds
STARTED = pytest.StashKey[float]()


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it waited for, in seconds."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    item.stash[STARTED] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report, now = (yield), processor_seconds()
    report.user_properties.append(("processor_seconds", round(now - item.stash[STARTED], 3)))
    item.stash[STARTED] = now
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path = report.nodeid.split("::")[0]
    SPENT[path] += sum(float(str(value)) for name, value in report.user_properties if name == "processor_seconds")


def pytest_terminal_summary(terminalreporter) -> None:
    if SPENT:
        most = sorted(SPENT.items(), key=lambda each: -each[1])
        longest = [f"{path} {seconds:.0f} s" for at, (path, seconds) in enumerate(most) if seconds >= 10 or at < 3]
        total = f"processor time: {processor_seconds() / 60:.1f} minutes, most in\n"
        terminalreporter.write_line(total + "\n".join(f"  {each}" for each in longest))
