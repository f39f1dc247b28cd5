"""``volume estimate``: the volume of every class of functions."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from volume.commands import distributed
from volume.commands import methods as method_options
from volume.commands.shared import (
    build_method,
    build_query,
    check_question,
    check_run,
    clear_run,
    print_report,
    progress,
)
from volume.commands.usage import DONE, STOPPED, UsageError, usage


def run(args: argparse.Namespace) -> int:
    """Draw, save, print; what was drawn before Ctrl-C is saved and printed too, with exit code 3."""
    check_question(args)
    method_options.check(args)
    distributed.check(args)
    folder, resume = check_run(args)
    from volume import estimation
    from volume.cluster.distributed import share
    from volume.cluster.process_group import ProcessLost
    from volume.estimation import Interrupted
    from volume.runs.directory import RunStopped

    # First: JAX may not have been asked for anything before.
    hosts = distributed.join(args) if args.distributed else None
    query = build_query(args)
    method = build_method(args, query)
    if args.force and folder is not None and (hosts is None or hosts.process_id == 0):
        usage(clear_run, folder)
    options: dict[str, Any] = {"seed": args.seed, "level": args.level, "progress": progress(args)}
    try:
        options |= {"out": folder, "resume": resume, "command": args.begun}
        report = estimation.run(query, method, **options) if hosts is None else share(query, method, hosts, **options)
        code = DONE
        if report is None:  # process 0 has it
            return code
    except (FileExistsError, NotADirectoryError, BlockingIOError) as error:  # nothing was drawn
        raise UsageError(str(error)) from error
    except (RunStopped, ProcessLost) as stop:
        print(f"volume: {stop}", file=sys.stderr)
        return STOPPED
    except Interrupted as stop:
        report, code = stop.report, STOPPED
        print(f"volume: stopped after {stop.progress.position}.", file=sys.stderr)
        if stop.out is not None:
            print(f"volume: kept in {stop.out}: volume estimate --resume {stop.out} goes on.", file=sys.stderr)
        elif report is None:
            raise
        if report is None:
            return code
    if folder is not None:
        print(f"volume: saved in {folder}", file=sys.stderr)
    print_report(report, args)
    return code
