"""A pytest plugin: reports and compiled programs beside baselines that stand next to the tests.

    def test_ones(volume_regression):
        volume_regression(volume.estimate(query, volume.Direct(100_000), seed=0))

    def test_step(volume_program):
        volume_program("step", jax.jit(step), example)

The baseline of ``test_ones`` in tests/test_model.py is tests/baselines/test_model/test_ones.json. ``--volume-update``
writes it; without that a missing one is a failure that says so. pytest loads this file at every start, in whatever
project: it imports nothing of the library until a fixture is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from volume.checks.guards import Program
    from volume.checks.verdict import Checked
    from volume.reports.facts import Report

PROGRAM = "param-volume program"  # format of a guard's file
VERSION = 1
FOLDER = "baselines"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("param-volume")
    group.addoption(
        "--volume-update", action="store_true", help="write baselines of volume_regression and volume_program"
    )
    group.addoption(
        "--volume-alpha",
        type=_rate,
        default=1e-6,
        metavar="A",
        help="chance that a test of unchanged volumes fails (default 1e-6)",
    )


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise pytest.UsageError(f"--volume-alpha {text}: give a chance between 0 and 1, for example 1e-6.")
    return value


@pytest.fixture
def volume_regression(request: pytest.FixtureRequest) -> Callable[..., Checked | None]:
    """``volume_regression(report, name="")``: fails where the report is no longer what its baseline says.

    A test that checks several reports gives each a ``name``, which is added to the file's. Returns what was found, a
    `volume.Checked`, or None where the baseline was written.
    """
    place, used = _place(request), set()

    def check(report: Report, name: str = "") -> Checked | None:
        __tracebackhide__ = True
        from volume.checks.baseline import Baseline
        from volume.checks.check import check_report
        from volume.checks.verdict import IDENTICAL

        path = _path(place, name, used)
        baseline = None
        if request.config.getoption("--volume-update"):
            if path.is_file():
                try:
                    baseline = Baseline.read(path)
                except ValueError:  # damaged, or of another version: written anew
                    baseline = None
            same = baseline is not None and check_report(report, baseline, name=str(path)).verdict == IDENTICAL
            if baseline is None or not same or baseline.elsewhere:
                Baseline.of(report).write(path)
            return None
        baseline = _read(Baseline.read, path)
        alpha: Any = request.config.getoption("--volume-alpha")
        checked = check_report(report, baseline, alpha=alpha, name=str(path))
        if not checked.agree:
            pytest.fail(f"{checked}\nIf that is meant: pytest --volume-update", pytrace=False)
        return checked

    return check


@pytest.fixture
def volume_program(request: pytest.FixtureRequest) -> Callable[..., Program]:
    """``volume_program(name, jitted, *args)``: fails where a compiled program costs otherwise than its baseline says.

    ``during=run`` calls ``run()`` and counts the programs of ``jitted`` that it compiles; ``factor`` is what costs may
    differ by on another machine or version (default 4). Returns the `volume.guards.Program`.
    """
    place, used = _place(request), set()

    def check(
        name: str,
        jitted: Any,
        *args: Any,
        during: Callable[[], Any] | None = None,
        factor: float = 4.0,
        **options: Any,
    ) -> Program:
        __tracebackhide__ = True
        from volume.checks import baseline as baselines
        from volume.checks import guards
        from volume.common.provenance import commit, device_record

        path = _path(place, f"program-{name}", used)
        program = guards.measure(jitted, *args, during=during, **options)
        import jax

        made = baselines.made_by({"device": device_record(jax.devices()[:1]), "commit": commit()})
        if request.config.getoption("--volume-update"):
            baselines.write_record(path, PROGRAM, VERSION, {"made": made, "program": program.to_dict()})
            return program
        record = _read(baselines.read_record, path, PROGRAM, VERSION)
        places = baselines.elsewhere(record["made"], made)
        changes = guards.changes(record["program"], program, places, factor, name)
        if changes:
            where = f" (made elsewhere: {'; '.join(places)})" if places else ""
            lines = "\n  ".join(changes)
            pytest.fail(f"{path}{where}:\n  {lines}\nIf that is meant: pytest --volume-update", pytrace=False)
        return program

    return check


def _read(read: Callable[..., Any], path: Path, *args: Any) -> Any:
    """What is in a baseline; a failure that says how to write it where there is none, or none that can be read."""
    __tracebackhide__ = True
    try:
        return read(path, *args)
    except (FileNotFoundError, ValueError) as error:
        why = str(error)
    return pytest.fail(f"{why} Write it with: pytest --volume-update", pytrace=False)


def _place(request: pytest.FixtureRequest) -> Path:
    """The test's baseline without the end of its name: baselines/MODULE/TEST beside the test."""
    module = Path(str(request.node.path))
    name = request.node.nodeid.partition("::")[2].replace("::", ".")
    return module.parent / FOLDER / module.stem / re.sub(r"[^\w.\-]+", "-", name).strip("-")


def _path(place: Path, name: str, used: set[Path]) -> Path:
    """The file of one call; a failure where two calls of one test would share it."""
    path = place.with_name(f"{place.name}{'.' if name else ''}{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.json")
    if path in used:
        pytest.fail(f"{path} is checked twice by one test: give each call a name of its own.", pytrace=False)
    used.add(path)
    return path
