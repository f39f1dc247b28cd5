"""``volume estimate``: the volume of every class of functions."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from volume.commands import distributed
from volume.commands import methods as method_options
from volume.commands.shared import (
    build_method,
    build_query,
    check_question,
    check_run,
    finish,
    print_report,
    run_options,
)

if TYPE_CHECKING:
    from volume.reports.facts import Report

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    """Draw, save, print; what was drawn before Ctrl-C is saved and printed too, with exit code 3."""
    check_question(args)
    method_options.check(args)
    distributed.check(args)
    folder, resume = check_run(args)
    from volume import estimation
    from volume.cluster.distributed import share

    # First: JAX may not have been asked for anything before.
    hosts = distributed.join(args) if args.distributed else None
    query = build_query(args)
    method = build_method(args, query)
    options = run_options(args) | {"out": folder, "resume": resume, "command": args.begun}
    replace = args.force and folder is not None

    def estimate() -> Report | None:
        if hosts is None:
            return estimation.run(query, method, **options, replace=replace)
        return share(query, method, hosts, **options, replace=replace)

    report, code = finish(estimate, "estimate")
    if report is not None:  # else process 0 has it
        if folder is not None:
            logger.info("saved in %s", folder)
        print_report(report, args)
    return code
