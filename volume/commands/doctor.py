"""``volume doctor``: what is installed, which devices there are, and whether a known answer comes out.

The check: a perceptron without bias on {0,1}^n puts the same mass, 2^-n, on every number T of inputs in class 1 from 0
to 2^n - 1, and none on T = 2^n (the perceptron theorem). With n = 3 and 100,000 draws each of the 8 counts is binomial
with standard deviation 105; one that lies further than 6 of those from its mean is a failure. A correct machine fails
once in 60 million runs (8 P(|Z| > 6) = 1.6e-8); a volume wrong by 7 % is found 99 times in 100.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from volume.commands.shared import to_json
from volume.commands.usage import Exit
from volume.common.machine import machine_memory
from volume.common.program_cache import keep_programs

NUM_INPUTS = 3  # n
DRAWS = 100_000
MAX_Z = 6.0
OPTIONAL = {  # package -> what is missing without it
    "scikit-learn": "the domain digits",
    "pandas": "report.to_pandas()",
    "torch": "the comparison with it in benchmarks/",
}


@dataclass(frozen=True)
class Examination:
    """What `examine` found."""

    versions: dict[str, str]
    devices: tuple[str, ...]
    matmul_precision: str  # what products get when no precision is asked for; the library asks for "highest"
    program_cache: str  # the folder of compiled programs and what it holds, or why there is none
    optional: dict[str, str | None]  # package -> version, None when it is missing
    memory_gib: float | None  # None where the system does not say
    largest_z: float  # of the check: distance from the theorem in standard deviations
    impossible: int  # draws in the class that the theorem gives no mass
    seconds: float  # of the check, compilation included
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way of a run; optional packages do not count."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"healthy": self.healthy, **asdict(self)}

    def summary(self) -> str:
        """Return the findings as text."""
        lines = [f"{name:<16} {version}" for name, version in self.versions.items()]
        lines += [f"{'device':<16} {device}" for device in self.devices]
        lines.append(f"{'matrix products':<16} {self.matmul_precision} by default; this library asks for highest")
        lines.append(f"{'program cache':<16} {self.program_cache}")
        if self.memory_gib is not None:
            lines.append(f"{'memory':<16} {self.memory_gib:.1f} GiB")
        for name, version in self.optional.items():
            lines.append(f"{name:<16} {version or f'not installed; needed for {OPTIONAL[name]}'}")
        lines.append(
            f"{'self-check':<16} perceptron theorem, n = {NUM_INPUTS}, {DRAWS:,} draws, {self.seconds:.1f} s:"
            f" largest deviation {self.largest_z:.1f} standard deviations"
        )
        lines += [f"PROBLEM: {problem}" for problem in self.problems] or ["Everything works."]
        return "\n".join(lines)


def examine() -> Examination:
    """Look at the installation and run the check; takes a few seconds."""
    import jax

    from volume.common.jax_settings import local_devices
    from volume.common.provenance import versions

    local_devices()  # or a sentence that says why there are none
    memory = machine_memory()
    start = time.perf_counter()
    largest, impossible = perceptron_check()
    seconds = time.perf_counter() - start
    problems = []
    if not largest <= MAX_Z:
        problems.append(
            f"The perceptron theorem misses by {largest:.1f} standard deviations (more than {MAX_Z:g} does not happen)"
            ": do not trust volumes from this machine, and report it."
        )
    if impossible:
        problems.append(f"{impossible} draws fell in a class of volume 0: x = 0 is not decided as class 0.")
    problems += _unwritable(Path.cwd(), Path(tempfile.gettempdir()))
    return Examination(
        versions=versions(),
        devices=tuple(f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()),
        matmul_precision=str(jax.config.values.get("jax_default_matmul_precision") or "the backend's own"),
        program_cache=_program_cache(),
        optional={name: _version(name) for name in OPTIONAL},
        memory_gib=None if memory is None else memory / 2**30,
        largest_z=largest,
        impossible=impossible,
        seconds=seconds,
        problems=tuple(problems),
    )


def perceptron_check(seed: int = 0) -> tuple[float, int]:
    """Return the largest |z| over T = 0..2^n - 1, and the number of draws with T = 2^n, which has volume 0."""
    import volume
    from volume import models, samplers

    query = volume.Query(
        models.Perceptron(NUM_INPUTS, bias=False),
        samplers.Gaussian(),
        volume.BooleanCube(NUM_INPUTS),
        volume.Ones(),
    )
    # heads=1: independent draws, whose counts are binomial.
    report = volume.estimate(query, volume.Direct(DRAWS, heads=1), seed=seed)
    p, draws = 2.0**-NUM_INPUTS, report.num_draws
    counts = [report[str(ones)].count for ones in range(2**NUM_INPUTS + 1)]
    deviation = math.sqrt(draws * p * (1 - p))
    return max(abs(count - draws * p) / deviation for count in counts[:-1]), counts[-1]


def _unwritable(*folders: Path) -> list[str]:
    problems = []
    for folder in dict.fromkeys(folders):
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            problems.append(f"{folder} cannot be written ({error.strerror}): runs cannot be saved there.")
    return problems


def _program_cache() -> str:
    cache = keep_programs()
    if cache.folder is None:
        return f"none: {cache.reason}"
    sizes = [path.stat().st_size for path in cache.folder.glob("*-cache")]
    return f"{cache.folder} ({cache.reason}): {len(sizes):,} programs, {sum(sizes) / 2**20:.1f} MiB"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(args: argparse.Namespace) -> int:
    """Say what is installed and whether a known answer comes out."""
    examination = examine()
    print(to_json(examination.to_dict()) if args.json else examination.summary())
    return Exit.DONE if examination.healthy else Exit.FAILED
