"""The line every benchmark prints with its figures: device, precision, versions, commit."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax

from volume.provenance import commit, device_record, versions


def environment(precision: str = "highest", dtype: str = "float32") -> dict[str, Any]:
    return {
        "device": device_record(jax.local_devices()),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
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


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
