"""``volume merge``: stored runs that differ in draws only, joined in one."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from volume.commands import local
from volume.commands.parser import parse
from volume.commands.resume import check_trusted
from volume.commands.shared import build_method, build_query, check_out, print_report
from volume.commands.usage import Exit, UsageError

if TYPE_CHECKING:
    from volume.reports.facts import Report

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    """Join stored runs that differ in draws only, or folders that hold parts of one run (then with exit code 3 when
    some are still missing)."""
    if len(args.paths) < 2:
        raise UsageError("merge joins two runs or more: give their folders, or the .json files of their reports.")
    places = [Path(path).resolve() for path in args.paths]
    twice = next((path for path, place in zip(args.paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice: its draws would be counted twice. Name each run once.")
    if Path(args.out).resolve() in places:
        raise UsageError(
            f"--out {args.out} is one of the runs to join, which --force would remove: name another folder."
        )
    check_out(args.out, force=args.force, names=("config.json", "report.json"))
    from volume.reports.run_union import join_parts, merge_directories, parts_of_one_run

    code = Exit.DONE
    if parts_of_one_run(args.paths):
        ask = _question(args.paths[0], trusted=args.trust)  # what is wrong with it is said before anything is written
        number = join_parts(args.paths, args.out, replace=args.force)
        logger.info("%s holds %s parts of one run", args.out, f"{number:,}")
        report = ask(args.out)
        if report is None or not report.run.get("complete", True):
            logger.info("some are missing: volume estimate --resume %s goes on.", args.out)
            code = Exit.STOPPED
        if report is None:
            return code
    else:
        report = merge_directories(args.paths, args.out, replace=args.force)
    logger.info("saved in %s", args.out)
    print_report(report, args)
    return code


def _question(folder: str, *, trusted: bool) -> Callable[[str], Report | None]:
    """Read the question of a run directory; return what reports on the parts in another one, or None of too few."""
    from volume import estimation
    from volume.runs.config import read_config

    command = read_config(folder)["command"]
    if command is None:
        return _begun_in_python
    stored = parse(command)
    check_trusted(stored, trusted=trusted, where=Path(folder) / "config.json")
    query = build_query(stored)
    method = local.build(stored, query) if stored.command == "local" else build_method(stored, query)
    options = {"seed": stored.seed, "level": stored.level, "progress": None, "command": command}
    return lambda out: estimation.run(query, method, **options, out=out, resume=True, draw=False)


def _begun_in_python(out: str) -> None:
    raise ValueError(
        f"{out} holds all parts, of a run that was begun in Python: volume.estimate(query, method, "
        f"out={out!r}, resume=True) makes its report."
    )
