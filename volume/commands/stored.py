"""The commands that read stored runs: show, plot, compare, merge."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from volume.commands import local as local_command
from volume.commands import specs
from volume.commands.shared import (
    build_method,
    build_query,
    check_out,
    clear_run,
    load_report,
    print_report,
    to_json,
    usage,
)
from volume.commands.usage import UsageError

if TYPE_CHECKING:
    from volume.reports.facts import Report

DONE, FAILED, STOPPED = 0, 1, 3


def show(args: argparse.Namespace) -> int:
    """Print a stored run, as it is or grouped by a coarser classifier."""
    from volume.reports.counted import VolumeReport

    report = load_report(args.path)
    if args.group_by:
        if not isinstance(report, VolumeReport):
            raise UsageError(f"--group-by needs counted draws of truth tables; {args.path} holds {report!r}.")
        classifier = usage(specs.build_classifier, args.group_by, report.domain, tuple(report.domain.input_shape))
        report = usage(report.group_by, classifier)
    if args.label:
        from volume.reports.comparison import stated

        entries = [report[label] for label in args.label]
        record = {"classes": [entry.to_dict() for entry in entries], **stated(report)}
        print(to_json(record) if args.json else "\n".join(entry.sentence() for entry in entries))
    else:
        print_report(report, args)
    return DONE


def plot(args: argparse.Namespace) -> int:
    """Draw one figure of a stored run."""
    from volume.plots import figures as plots
    from volume.reports.counted import VolumeReport

    path = usage(plots.check_path, args.out)
    report = load_report(args.path)
    if not isinstance(report, VolumeReport):
        raise ValueError(f"A figure of kind {args.kind!r} needs counted draws; {args.path} holds {report!r}.")
    getattr(plots, args.kind)(report, path=path)
    print(to_json({"kind": args.kind, "path": str(path)}) if args.json else path)
    return DONE


def compare(args: argparse.Namespace) -> int:
    """Print the z-score of every class; exit code 1 when the runs disagree. Training beside volume: 0."""
    from volume.reports.comparison import compare as run

    result = run(load_report(args.path_a), load_report(args.path_b), alpha=args.alpha)
    print(to_json(result.to_dict()) if args.json else result.summary(args.top))
    return DONE if getattr(result, "agree", True) else FAILED


def merge(args: argparse.Namespace) -> int:
    """Join stored runs that differ in draws only, or folders that hold parts of one run (then with exit code 3 when
    some are still missing)."""
    if len(args.paths) < 2:
        raise UsageError("merge joins two runs or more: give their folders, or the .json files of their reports.")
    check_out(args.out, force=args.force, name="config.json")
    check_out(args.out, force=args.force)
    if args.force:
        clear_run(args.out)
    from volume.reports.run_union import join_parts, merge_directories, parts_of_one_run

    code = DONE
    if parts_of_one_run(args.paths):
        number = join_parts(args.paths, args.out)
        print(f"volume: {args.out} holds {number:,} parts of one run", file=sys.stderr)
        report = _of_parts(args.out)
        if report is None or not report.run.get("complete", True):
            print(f"volume: some are missing: volume estimate --resume {args.out} goes on.", file=sys.stderr)
            code = STOPPED
        if report is None:
            return code
    else:
        report = merge_directories(args.paths, args.out)
    print(f"volume: saved in {args.out}", file=sys.stderr)
    print_report(report, args)
    return code


def _of_parts(folder: str) -> Report | None:
    """The report of what a run directory holds; None where nothing can be said yet."""
    from volume import estimation
    from volume.commands.main import parse
    from volume.runs.directory import read_config

    command = read_config(folder)["command"]
    if command is None:
        raise ValueError(
            f"{folder} holds all parts, of a run that was begun in Python: volume.estimate(query, method, "
            f"out={folder!r}, resume=True) makes its report."
        )
    asked = parse(command)
    query = build_query(asked)
    method = local_command.build(asked, query) if asked.command == "local" else build_method(asked, query)
    options = {"seed": asked.seed, "level": asked.level, "progress": None, "command": command}
    return estimation.run(query, method, **options, out=folder, resume=True, draw=False)
