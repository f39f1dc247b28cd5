"""What stands beside every figure: device, precision, versions, commit; and how busy the machine was."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from time import perf_counter
from typing import Any


def environment(precision: str = "highest", dtype: str = "float32") -> dict[str, Any]:
    import jax  # here, so that lists and comparisons need no array library

    from volume.common.provenance import commit, device_record, versions

    return {
        "device": device_record(jax.local_devices()),
        "cpu": cpu_name(),
        "cores": len(affinity()) or os.cpu_count(),
        "precision": precision,
        "dtype": dtype,
        "versions": versions(),
        "commit": commit(),
    }


def describe(facts: dict[str, Any]) -> str:
    device, found = facts["device"], facts["versions"]
    return (
        f"{device['count']} x {device['kind']} ({device['platform']}), {facts['cores']} cores of {facts['cpu']}; "
        f"{facts['dtype']}, matmul precision {facts['precision']}; volume {found['volume']} at {facts['commit']}, "
        f"jax {found['jax']}, numpy {found['numpy']}, Python {found['python']}"
    )


def machine(facts: dict[str, Any]) -> str:
    """The same for benchmarks of several number formats: each says its own beside its figures."""
    return describe(facts | {"dtype": "float32 unless said"})


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def affinity() -> set[int]:
    """The processors that this process may use; empty where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class Load:
    """Other work on the same processors, from when this was made to `so_far`.

    Processor time of all processes on our processors (Linux: /proc/stat, with what a hypervisor gave to others) less
    ours and that of children that ended, over the time that passed. A load average cannot tell us from others.
    """

    def __init__(self) -> None:
        self._average = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
        self._start, self._all, self._own = perf_counter(), busy_seconds(), own_seconds()

    def so_far(self) -> dict[str, Any]:
        """``average``: load averages of 1, 5 and 15 minutes at the start; ``others``: processors that others kept busy,
        None where unknown; ``seconds`` and ``cpu_seconds``: ours."""
        passed, busy, own = perf_counter() - self._start, busy_seconds(), own_seconds()
        others = None
        if busy is not None and self._all is not None and passed > 0.1:
            others = max(0.0, (busy - self._all - (own - self._own)) / passed)
        return {"average": self._average, "others": others, "seconds": passed, "cpu_seconds": own - self._own}


def own_seconds() -> float:
    """Processor time of this process and of its children that ended."""
    return sum(os.times()[:4])


def busy_seconds() -> float | None:
    """Processor time that anything took on our processors since the machine started."""
    try:
        with open("/proc/stat") as lines:
            rows = [line.split() for line in lines if line.startswith("cpu") and not line.startswith("cpu ")]
        mine = affinity()
        # user, nice, system, (idle, iowait,) irq, softirq, steal
        ticks = sum(int(row[k]) for row in rows if int(row[0][3:]) in mine for k in (1, 2, 3, 6, 7, 8))
        return ticks / os.sysconf("SC_CLK_TCK") if mine else None
    except (OSError, ValueError, IndexError):
        return None


def seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
