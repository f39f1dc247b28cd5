"""``volume compare``: two stored runs, class by class."""

from __future__ import annotations

import argparse

from volume.commands.shared import to_json
from volume.commands.usage import DONE, FAILED


def run(args: argparse.Namespace) -> int:
    """Print the z-score of every class; exit code 1 when the runs disagree. Training beside volume: 0."""
    from volume.reports.comparison import compare
    from volume.reports.loading import load

    result = compare(load(args.path_a), load(args.path_b), alpha=args.alpha)
    print(to_json(result.to_dict()) if args.json else result.summary(args.top))
    return DONE if getattr(result, "agree", True) else FAILED
