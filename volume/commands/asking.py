"""What each command of the command line does; volume.cli reads the arguments and deals with errors.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from volume.commands import check as check_command
from volume.commands import distributed as distributed_words
from volume.commands import local as local_command
from volume.commands import measures as measure_words
from volume.commands import methods as method_options
from volume.commands import specs
from volume.commands.shared import (
    build_method,
    build_query,
    check_network,
    check_out,
    check_question,
    check_run,
    clear_run,
    parse_values,
    print_report,
    prior_options,
    progress,
    to_json,
    usage,
)
from volume.commands.stored import compare, merge, plot, show
from volume.commands.usage import UsageError

DONE, FAILED, STOPPED = 0, 1, 3


def estimate(args: argparse.Namespace) -> int:
    """Draw, save, print; what was drawn before Ctrl-C is saved and printed too, with exit code 3."""
    check_question(args)
    method_options.check(args)
    distributed_words.check(args)
    folder, resume = check_run(args)
    from volume.cluster.process_group import ProcessLost
    from volume.estimation import Interrupted
    from volume.runs.directory import RunStopped

    # First: JAX may not have been asked for anything before.
    hosts = distributed_words.join(args) if args.distributed else None
    query = build_query(args)
    method = build_method(args, query)
    if args.force and folder is not None and (hosts is None or hosts.process_id == 0):
        usage(clear_run, folder)
    options: dict[str, Any] = {"seed": args.seed, "level": args.level, "progress": progress(args)}
    try:
        options |= {"out": folder, "resume": resume, "command": args.begun}
        report = distributed_words.keep(query, method, hosts, **options)
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


def measures(args: argparse.Namespace) -> int:
    """Print the table of measures; write it, its figures and the runs behind it.

    Once training has begun, Ctrl-C keeps what was finished, with exit code 3.
    """
    given = specs.check_prior(args.prior, prior_options(args))
    if args.model is not None:
        check_network(args, given)
    measure_words.check(args)
    check_out(args.out, force=args.force, name="measures.json")
    from volume.estimation import Interrupted
    from volume.studies.label_curve import labels_curve
    from volume.studies.measures import Measures, measure

    query = usage(lambda: measure_words.build_query(args, specs.build_prior(args.prior, prior_options(args))))
    method = usage(measure_words.build_method, args)
    options: dict[str, Any] = {"seed": args.seed, "level": args.level, "progress": progress(args)}
    name = args.target.word + (f", trigger {args.trigger}" if args.trigger else "")
    training, code = usage(measure_words.build_training, args), DONE
    try:
        found = measure(query, method, name=name, optimisers=training, **options)
    except Interrupted as stop:
        if not isinstance(stop.report, Measures):
            raise
        found, code = stop.report, STOPPED
        print(f"volume: stopped after {stop.progress.position}.", file=sys.stderr)
    curve = None
    if args.curve and code == DONE:
        of = (query.model, query.prior, query.domain, measure_words.labels(args), args.curve)
        curve = usage(labels_curve, *of, method, name=args.target.word, split_seed=args.split_seed, **options)
    text, counts = measure_words.counts(args)
    if args.out:
        folder = Path(args.out)
        saved = [found.report.save(folder), *found.save_training(folder), found.save(folder), folder / "measures.pdf"]
        found.plot(saved[-1])
        if curve is not None:
            saved += [curve.save(folder), folder / "labels.pdf"]
            curve.plot(saved[-1])
        print(f"volume: saved {', '.join(map(str, saved))}", file=sys.stderr)
    if args.json:
        record = found.to_dict() | ({"counts": counts} if counts else {})
        print(to_json(record | ({} if curve is None else {"curve": curve.to_dict()})))
    else:
        parts = [found.summary(), text, "" if curve is None else curve.summary()]
        print("\n\n".join(part for part in parts if part))
    return code


def sweep(args: argparse.Namespace) -> int:
    """Estimate one class at every setting; write the table and the figure."""
    over = args.over.replace("-", "_")
    values = parse_values(over, args.values)
    check_question(args)
    check_out(args.out, force=args.force, name="sweep.json")
    from volume.common.atomic_files import write_text
    from volume.studies.sweep import sweep as run
    from volume.studies.sweep import sweep_queries

    query = build_query(args)
    method: Any = build_method(args, query)
    queries = usage(sweep_queries, query.model, query.prior, query.domain, query.classifier, over=over, values=values)
    label = "0" * query.domain.num_inputs if args.label == "zeros" else args.label
    usage(query.bound.key, label)
    result = run(
        queries,
        method,
        label,
        seed=args.seed,
        level=args.level,
        progress=progress(args),
        x_name=over.replace("_", " "),
    )
    if args.out:
        folder = Path(args.out)
        write_text(folder / "sweep.json", to_json(result.to_dict()) + "\n")
        result.plot(folder / "sweep.pdf")
        print(f"volume: saved {folder / 'sweep.json'} and {folder / 'sweep.pdf'}", file=sys.stderr)
    print(to_json(result.to_dict()) if args.json else result.summary())
    return DONE


def demo(args: argparse.Namespace) -> int:
    """The tour that ``make demo`` runs; it replaces an earlier one in the same folder."""
    check_out(args.out, force=True)
    from rich.console import Console

    from volume.studies.demo import run

    # With --json the tables go to stderr, like every message.
    console = Console(file=sys.stderr if args.json else sys.stdout, highlight=False)
    options = {} if args.draws is None else {"draws": args.draws}
    try:
        shown = args.progress is not False  # a tour is watched, if only in a log
        result = run(args.out, seed=args.seed, progress=shown, console=console, **options)
    except KeyboardInterrupt as stop:
        from volume.reports.counted import VolumeReport

        report = getattr(stop, "report", None)
        if not isinstance(report, VolumeReport):  # the first part keeps what it has finished
            raise
        print(f"volume: stopped after {report.num_draws:,} draws.", file=sys.stderr)
        report.save(args.out)
        print_report(report, args)
        return STOPPED
    if args.json:
        print(to_json(result.to_dict()))
    return DONE


def count(args: argparse.Namespace) -> int:
    """Count functions; needs no network and imports no array library."""
    from volume.functions.counting import Counting

    found = usage(Counting, args.inputs, args.outputs, fixed=args.fixed, at_least=args.at_least, digits=args.digits)
    print(to_json(found.to_dict()) if args.json else found.summary())
    return DONE


def doctor(args: argparse.Namespace) -> int:
    """Say what is installed and whether a known answer comes out."""
    from volume.commands.doctor import examine

    found = examine()
    print(to_json(found.to_dict()) if args.json else found.summary())
    return DONE if found.healthy else FAILED


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": demo,
    "estimate": estimate,
    "measures": measures,
    "sweep": sweep,
    "show": show,
    "plot": plot,
    "compare": compare,
    "merge": merge,
    "check": check_command.run,
    "local": local_command.run,
    "count": count,
    "doctor": doctor,
}
