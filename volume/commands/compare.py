"""``volume compare``: two stored runs, class by class."""

from __future__ import annotations

import argparse

from volume.commands.shared import load_report, to_json
from volume.commands.usage import Exit, NotComparable


def run(args: argparse.Namespace) -> int:
    """Print the z-score of every class; exit code 1 when the runs disagree. Training beside volume: 0."""
    from volume.reports.comparison import compare

    reports = load_report(args.path_a), load_report(args.path_b)
    try:
        result = compare(*reports, alpha=args.alpha)
    except (ValueError, TypeError) as error:
        raise NotComparable(str(error)) from error
    print(to_json(result.to_dict()) if args.json else result.summary(args.top))
    return Exit.DONE if getattr(result, "agree", True) else Exit.DISAGREE
