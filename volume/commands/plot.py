"""``volume plot``: a figure of a stored run."""

from __future__ import annotations

import argparse

from volume.commands.shared import load_report, to_json
from volume.commands.usage import Exit, UsageError, usage


def run(args: argparse.Namespace) -> int:
    """Draw one figure of a stored run."""
    from volume.plots import figures as plots
    from volume.reports.counted import VolumeReport

    path = usage(plots.check_path, args.out)
    report = load_report(args.path)
    counted = isinstance(report, VolumeReport)
    if args.kind is None:
        report.plot(path)
    elif counted:
        getattr(plots, args.kind)(report, path=path)
    else:
        raise UsageError(f"A figure of kind {args.kind!r} needs counted draws; {args.path} holds {report!r}.")
    kind = args.kind or ("rank" if counted else "volumes")
    print(to_json({"kind": kind, "path": str(path)}) if args.json else path)
    return Exit.DONE
