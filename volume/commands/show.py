"""``volume show``: the summary of a stored run or study."""

from __future__ import annotations

import argparse

from volume.commands import specs
from volume.commands.shared import print_report, to_json
from volume.commands.usage import Exit, UsageError, usage


def run(args: argparse.Namespace) -> int:
    """Print a stored run, as it is or grouped by a coarser classifier, or any study that was saved."""
    from volume.reports.counted import VolumeReport
    from volume.reports.facts import Report
    from volume.studies.loading import load

    if args.label and args.top:
        raise UsageError("--top cuts the list of all classes, and --label shows the named ones alone: leave one out.")
    report = load(args.path)
    if not isinstance(report, Report):
        if args.group_by or args.label or args.top:
            kind = type(report).__name__
            raise UsageError(f"{args.path} holds a {kind}, not a report: leave --group-by, --label and --top out.")
        print(to_json(report.to_dict()) if args.json else report)
        return Exit.DONE
    if args.group_by:
        if not isinstance(report, VolumeReport):
            raise UsageError(f"--group-by needs counted draws of truth tables; {args.path} holds {report!r}.")
        classifier = usage(specs.build_classifier, args.group_by, report.domain, tuple(report.domain.input_shape))
        report = usage(report.group_by, classifier)
    if args.label:
        from volume.reports.comparison import stated

        entries = [usage(report.__getitem__, label) for label in args.label]
        record = {"classes": [entry.to_dict() for entry in entries], **stated(report)}
        print(to_json(record) if args.json else "\n".join(entry.sentence() for entry in entries))
    else:
        print_report(report, args)
    return Exit.DONE
