"""``volume plot``: a figure of a stored run."""

from __future__ import annotations

import argparse

from volume.commands.shared import to_json
from volume.commands.usage import DONE, usage


def run(args: argparse.Namespace) -> int:
    """Draw one figure of a stored run."""
    from volume.plots import figures as plots
    from volume.reports.counted import VolumeReport
    from volume.reports.loading import load

    path = usage(plots.check_path, args.out)
    report = load(args.path)
    if not isinstance(report, VolumeReport):
        raise ValueError(f"A figure of kind {args.kind!r} needs counted draws; {args.path} holds {report!r}.")
    getattr(plots, args.kind)(report, path=path)
    print(to_json({"kind": args.kind, "path": str(path)}) if args.json else path)
    return DONE
