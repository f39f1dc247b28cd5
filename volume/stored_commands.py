"""The commands that read stored runs: show, plot, compare."""

from __future__ import annotations

import argparse

from volume import specs
from volume.command_words import load_report, print_report, to_json, usage
from volume.usage import UsageError

DONE, FAILED = 0, 1


def show(args: argparse.Namespace) -> int:
    """Print a stored run, as it is or grouped by a coarser classifier."""
    from volume.report import VolumeReport

    report = load_report(args.path)
    if args.group_by:
        if not isinstance(report, VolumeReport):
            raise UsageError(f"--group-by needs counted draws of truth tables; {args.path} holds {report!r}.")
        classifier = specs.build_classifier(args.group_by, report.domain, tuple(report.domain.input_shape))
        report = usage(report.group_by, classifier)
    if args.label:
        from volume.comparison import stated

        entries = [report[label] for label in args.label]
        record = {"classes": [entry.to_dict() for entry in entries], **stated(report)}
        print(to_json(record) if args.json else "\n".join(entry.sentence() for entry in entries))
    else:
        print_report(report, args)
    return DONE


def plot(args: argparse.Namespace) -> int:
    """Draw one figure of a stored run."""
    from volume import plots
    from volume.report import VolumeReport

    path = usage(plots.check_path, args.out)
    report = load_report(args.path)
    if not isinstance(report, VolumeReport):
        raise ValueError(f"A figure of kind {args.kind!r} needs counted draws; {args.path} holds {report!r}.")
    getattr(plots, args.kind)(report, path=path)
    print(to_json({"kind": args.kind, "path": str(path)}) if args.json else path)
    return DONE


def compare(args: argparse.Namespace) -> int:
    """Print the z-score of every class; exit code 1 when the runs disagree. Training beside volume: 0."""
    from volume.comparison import compare as run

    result = run(load_report(args.path_a), load_report(args.path_b), alpha=args.alpha)
    print(to_json(result.to_dict()) if args.json else result.summary(args.top))
    return DONE if getattr(result, "agree", True) else FAILED
