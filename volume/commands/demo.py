"""``volume demo``: the tour."""

from __future__ import annotations

import argparse
import logging
import sys

from volume.commands.shared import check_study, print_report, to_json
from volume.commands.usage import Exit

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    """The tour that ``make demo`` runs; it replaces an earlier one in the same folder."""
    check_study(args.out, force=True, names=())
    from rich.console import Console

    from volume.studies.demo import files
    from volume.studies.demo import run as tour

    check_study(args.out, force=True, names=files())

    # With --json the tables go to stderr, like every message.
    console = Console(file=sys.stderr if args.json else sys.stdout, highlight=False, force_jupyter=False)
    options = {} if args.draws is None else {"draws": args.draws}
    try:
        shown = not args.quiet if args.progress is None else args.progress  # a tour is watched, if only in a log
        result = tour(args.out, seed=args.seed, progress=shown, console=console, **options)
    except KeyboardInterrupt as stop:
        from volume.reports.counted import VolumeReport

        report = getattr(stop, "report", None)
        if not isinstance(report, VolumeReport):  # the first part keeps what it has finished
            raise
        logger.info("stopped after %s draws.", f"{report.num_draws:,}")
        report.save(args.out)
        print_report(report, args)
        return Exit.STOPPED
    if args.json:
        print(to_json(result.to_dict()))
    return Exit.DONE
