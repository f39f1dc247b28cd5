"""Baselines: what a report said, kept in one JSON file beside the code that it guards.

A baseline holds the question, the method, the seed, where it was computed, and the answer: of counted reports the
hits of every class (`volume.checks.baseline_counts`), else the entries as they were. `volume.checks.check` compares it
with a new report. Numbers that are the same on one machine may differ on another, in draws so near a tie that rounding
decides them, so `Baseline.elsewhere` says what differs between the two places.

The file is strict JSON with the SHA-256 of its content, and short enough to be read in a review.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.common.atomic_files import write_text
from volume.common.paths import checked_path
from volume.common.record_reading import check_replaceable, read_sealed, seal
from volume.common.records import plain, short
from volume.common.version import __version__
from volume.reports.stored_numbers import check_numbers

if TYPE_CHECKING:
    from volume.reports.facts import Report

FORMAT = "param-volume baseline"
VERSION = 1
COUNTS, ESTIMATES = "counts", "estimates"  # kinds of answers
# What the numbers come from: another version of one of these may round, or draw, otherwise.
PACKAGES = ("volume", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")
MAX_LINE = 110  # lists of numbers that fit are written on one line


@dataclass(frozen=True, eq=False)
class Baseline:
    """What was asked and how, where it was computed, and the answer; make one with :meth:`of`."""

    kind: str  # COUNTS or ESTIMATES
    question: dict[str, Any]  # the query's description, without arrays that a digest stands for, and conventions
    method: dict[str, Any]
    seed: int | list[int]
    level: float
    made: dict[str, Any]  # "versions", "platform", "commit"
    answer: dict[str, Any]
    programs: dict[str, Any] = field(default_factory=dict)  # name -> `volume.guards.Program` as a record
    command: tuple[str, ...] | None = None  # the words of `volume estimate`; None: a report that a test made

    @classmethod
    def of(
        cls, report: Report, *, command: Sequence[str] | None = None, programs: Mapping[str, Any] | None = None
    ) -> Baseline:
        """Return the baseline of a report that was made in this process.

        Args:
            report: of any method.
            command: the words behind ``volume estimate`` that ask for it again.
            programs: what the compiled steps cost, by name (`volume.guards`).

        Raises:
            TypeError: ``report`` is none.
            ValueError: it is of an unfinished run.
        """
        from volume.checks.baseline_counts import CountedAnswer
        from volume.reports.counted import VolumeReport
        from volume.reports.named import EstimateReport

        if not isinstance(report, (VolumeReport, EstimateReport)):
            raise TypeError(f"A baseline is made of a report, as volume.estimate returns it; got {report!r}.")
        if report.run.get("complete") is False:
            raise ValueError("This report is of a run that was stopped early: make the baseline of a finished one.")
        if isinstance(report, VolumeReport):
            kind, answer = COUNTS, CountedAnswer.of(report).to_dict()
        else:
            kind, answer = ESTIMATES, {"entries": [entry.to_dict() for entry in report.entries]}
        return cls(
            kind=kind,
            question=question_of(report),
            method=plain(report.method),
            seed=report.seed,
            level=report.level,
            made=made_by(report.run),
            answer=plain(answer),
            programs=plain(dict(programs or {})),
            command=None if command is None else tuple(command),
        )

    @staticmethod
    def read(path: str | Path) -> Baseline:
        """Return the baseline in a file that :meth:`write` wrote; nothing in it is executed.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, edited, of another format version, or no baseline.
        """
        body = read_record(path, FORMAT, VERSION)
        try:
            check_numbers(body)
            command = body.pop("command")
            return Baseline(**body, command=None if command is None else tuple(command))
        except (KeyError, TypeError, ValueError) as error:  # its checksum is right: it was forged
            raise ValueError(f"{path} does not hold what a baseline holds ({error}): make it again.") from None

    def write(self, path: str | Path) -> Path:
        """Write the file, and the folder where there is none; gives back its path."""
        names = ("kind", "question", "method", "seed", "level", "made", "answer", "programs")
        body = {"command": None if self.command is None else list(self.command)}
        return write_record(path, FORMAT, VERSION, body | {name: getattr(self, name) for name in names})

    @property
    def elsewhere(self) -> list[str]:
        """What differs between where this was computed and here, such as "jax 0.10.2, here 0.12.0"; none: nothing."""
        return elsewhere(self.made)

    def summary(self) -> str:
        """Return what is in it, in a few lines."""
        if self.kind == COUNTS:
            listed, total = len(self.answer["classes"]), self.answer["num_classes"]
            held = f"counts of {total:,} classes" + (f", {listed:,} of them listed" if listed < total else "")
        else:
            held = f"{len(self.answer['entries'])} estimates"
        lines = [f"{held} by {self.method.get('name')}, seed {self.seed}"]
        for name, step in self.programs.items():
            lines.append(
                f"{name}: {step['flops']:,.0f} operations, {step['bytes_accessed']:,.0f} bytes, "
                f"{step['temporary_bytes']:,} bytes of temporary memory, programs compiled: {step['traces']}"
            )
        return "\n".join(lines)

    def fresh_seed(self) -> int:
        """Return a seed whose draws have nothing to do with the baseline's, the same whenever it is asked for."""
        text = json.dumps(["volume check", self.seed])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def question_of(report: Report) -> dict[str, Any]:
    """Return what a report answers, as strict JSON without arrays: two that agree in it answer the same question."""
    return plain({"query": short(report.description), "conventions": short(report.conventions)})


def made_by(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return where numbers were computed, by the ``run`` of a report that this process made."""
    versions = {name: version for name in PACKAGES if (version := _version(name, run.get("versions") or {}))}
    # Not their number: counts do not depend on it.
    device = {name: value for name, value in (run.get("device") or {}).items() if name != "count"}
    return {"versions": versions, "platform": {**device, **_processor(device)}, "commit": run.get("commit")}


def here(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same record for this process, on devices of the kind that JAX would use now."""
    device = {name: made["platform"].get(name) for name in ("platform", "kind")}
    if device["kind"] != "numpy":  # else plain NumPy computed it, here too
        import jax

        first = jax.devices()[0]
        device = {"platform": first.platform, "kind": first.device_kind}
    return made_by({"device": device})


def elsewhere(made: Mapping[str, Any], now: Mapping[str, Any] | None = None) -> list[str]:
    """Return what differs between two places, ``now`` by default here."""
    now = here(made) if now is None else now
    reasons = []
    for part in ("versions", "platform"):
        names = dict.fromkeys([*made[part], *now[part]])
        reasons += [
            f"{name} {made[part].get(name)}, here {now[part].get(name)}"
            for name in names
            if made[part].get(name) != now[part].get(name)
        ]
    return reasons


def _version(name: str, recorded: Mapping[str, str]) -> str | None:
    if name == "volume":
        return recorded.get(name, __version__)
    if name in recorded:
        return recorded[name]
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor(device: Mapping[str, Any]) -> dict[str, Any]:
    """Of a CPU its model, its instructions and its cores: XLA compiles for them, and rounding may depend on it."""
    return dict(_cpu()) if device.get("platform") == "cpu" else {}


@cache
def _cpu() -> tuple[tuple[str, Any], ...]:
    model, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", info.read_text().split("\n\n")[0], flags=re.M))
        model = fields.get("model name", model)
        model += "".join(f", {name} {fields[name]}" for name in ("cpu family", "model", "stepping") if name in fields)
        flags = " ".join(sorted(fields.get("flags", fields.get("Features", "")).split()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    digest = hashlib.sha256(flags.encode()).hexdigest()[:12]
    return (("processor", model), ("instructions", digest), ("cores", cores))


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Return where two plain values differ: "prior.weight_std: was 1.0, is 2.0"."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = dict.fromkeys([*before, *after])
        return [
            line
            for name in names
            for line in differences(before.get(name), after.get(name), f"{where}.{name}" if where else str(name))
        ]
    if before == after:
        return []
    texts = [text if len(text := json.dumps(value)) <= 60 else f"{text[:57]}..." for value in (before, after)]
    return [f"{where}: was {texts[0]}, is {texts[1]}"]


def write_record(path: str | Path, kind: str, version: int, body: Mapping[str, Any]) -> Path:
    """Write a strict JSON record with its own SHA-256, beside its place, and rename it.

    Raises:
        FileExistsError: there is a file that this program did not write.
    """
    path = checked_path(path)
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(seal(kind, version, body), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, re.sub(r"\[\n[^\[\]{}]*\n\s*\]", _on_one_line, text) + "\n")
    return path


def _on_one_line(match: re.Match[str]) -> str:
    line = "[" + re.sub(r"\n\s*", " ", match[0][1:-1]).strip() + "]"
    return line if len(line) <= MAX_LINE else match[0]


def read_record(path: str | Path, kind: str, version: int) -> dict[str, Any]:
    """Return the body of a record, checked. FileNotFoundError, ValueError as in :meth:`Baseline.read`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no baseline at {path}.")
    other = f"no {kind.removeprefix('param-volume ')} of param-volume."
    return read_sealed(path, (kind,), version, other=other, remedy="make it again.")[1]
