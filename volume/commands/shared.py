"""What the commands of the command line share: from words to the library's objects, and what is printed.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.commands import methods as method_options
from volume.commands import specs
from volume.commands.usage import Exit, Stopped, UsageError, flag, usage
from volume.common.atomic_files import filling
from volume.common.paths import checked_path
from volume.common.record_reading import check_replaceable

if TYPE_CHECKING:
    from volume.method import Method
    from volume.queries.query import Query
    from volume.reports.facts import Report

logger = logging.getLogger(__name__)

SHOWN = 20  # rows of a table on a screen
# JSON lists every class up to here; a truth-table run has millions, nearly all seen once.
ALL_CLASSES, MOST_CLASSES = 10_000, 1000
MAX_DEFAULT_CUBE = 16


def prior_options(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for names in specs.PRIOR_OPTIONS.values() for name in names}


def check_network(args: argparse.Namespace, prior: dict[str, Any]) -> None:
    """Raise UsageError where activation, biases and the prior's options ``given`` do not go with the model."""
    if args.model.kind != "mlp" and args.activation is not None:
        raise UsageError(f"--activation belongs to mlp:..., not to {args.model.kind}: leave it out.")
    for name in ("bias_std", "bias_bound", "bias_levels"):
        if args.no_bias and prior.get(name):
            raise UsageError(f"{flag(name)} has no bias to act on with --no-bias: leave one of them out.")


def check_question(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together; imports nothing."""
    check_network(args, specs.check_prior(args.prior, prior_options(args)))
    if args.coding is not None and args.domain is not None and args.domain.kind != "boolean":
        raise UsageError(f"--coding belongs to boolean:N, not to {args.domain.kind}: leave it out.")
    if args.model.widths and args.domain is not None and args.domain.kind == "boolean":
        inputs, digits = args.model.widths[0], args.domain.size
        if inputs != digits:
            raise UsageError(
                f"The model takes {inputs} inputs but boolean:{digits} has {digits} digits: change one of them."
            )


def build_query(args: argparse.Namespace) -> Query:
    """Return the question the options ask; UsageError when its parts do not fit each other."""
    from volume.queries.query import Query

    def build() -> Query:
        model = args.model.build(activation=args.activation, bias=not args.no_bias)
        shape = tuple(model.input_shape)
        prior = specs.build_prior(args.prior, prior_options(args))
        domain = None
        if args.domain is not None:
            domain = args.domain.build(coding=args.coding, shape=shape)
        elif not any(word.path for word in args.classifier):
            if len(shape) != 1 or shape[0] > MAX_DEFAULT_CUBE:
                raise UsageError(f"The model takes inputs of shape {shape}: name them with --domain.")
            domain = specs.DomainWord("boolean", size=shape[0]).build(coding=args.coding)
        elif args.coding is not None:
            raise UsageError("--coding belongs to boolean:N, and the inputs are those of the classifier's file.")
        classifier = specs.build_classifier(args.classifier, domain, shape)
        return Query(model, prior, domain, classifier, getattr(args, "symmetry", "none"))  # type: ignore[arg-type]

    return usage(build)


def build_method(args: argparse.Namespace, query: Query) -> Method[Any]:
    """Return the method that answers this query; UsageError when it cannot be answered so."""
    from volume.estimators.direct.direct import Direct
    from volume.estimators.direct.plan import check_memory

    method = usage(method_options.build, args, query)
    if isinstance(method, Direct):
        usage(method.plan, query)
        if getattr(args, "out", None) is None and getattr(args, "resume", None) is None:
            usage(check_memory, query, method.draws, method.memory)
    else:
        from volume.common.seeds import threefry_key

        usage(method.start, query, threefry_key(0))  # to be told now what it refuses; nothing is drawn yet
    return method


def check_out(out: str | None, *, force: bool, names: Iterable[str] = ("report.json",)) -> None:
    """Make the folder, or say why files of these names could not be saved there, before hours are spent on them."""
    if out is None:
        if force:
            raise UsageError("--force replaces what is in --out, which is not given: name a folder, or leave it out.")
        return
    folder = usage(checked_path, out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder.")
    for file in (folder / name for name in names):
        if file.exists() and not force:
            raise UsageError(f"{file} exists: name another folder, or replace it with --force.")
        usage(check_own, file)
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out} is not writable.")


def check_study(out: str | None, *, force: bool, names: Iterable[str]) -> None:
    """Do what `check_out` does, for a folder in which no run may be kept: half of it would be replaced."""
    if out is not None and (Path(out) / "config.json").exists():
        raise UsageError(f"{out} holds a run, of which this would replace the report: name another folder.")
    check_out(out, force=force, names=names)


def check_own(file: Path) -> None:
    """Raise FileExistsError where a file stands that this program did not write."""
    if file.suffix in (".json", ".parquet"):
        from volume.runs.report_files import check_own_counts

        (check_replaceable if file.suffix == ".json" else check_own_counts)(file)
    else:
        from volume.plots.marks import check_own_figure

        check_own_figure(file)


def tell_and_save(text: str, out: str | None, write: Callable[[Path], object]) -> None:
    """Print an answer, and then save it: neither a full disk nor a closed pipe takes both.

    Args:
        text: the answer.
        out: the folder, None for nowhere.
        write: puts the files into an empty folder, from where they move to ``out`` when all are whole.

    Raises:
        FileExistsError: in the meantime somebody has put a file of their own in the place of one.
        OSError: they could not be written; then none is.
    """
    try:
        print(text, flush=True)
    finally:
        if out is not None:
            with filling(out) as beside:
                write(beside)
                places = [Path(out) / file.relative_to(beside) for file in sorted(beside.rglob("*")) if file.is_file()]
                for place in places:
                    check_own(place)
            logger.info("saved in %s", ", ".join(map(str, [out, *places])))


def check_run(args: argparse.Namespace, *names: str) -> tuple[str | None, bool]:
    """Return the folder in which `volume estimate` keeps its run, and whether it goes on with one that is there;
    ``names`` are those of figures beside it."""
    if args.resume is None:
        if args.out is not None and not args.force and (Path(args.out) / "config.json").exists():
            raise UsageError(f"{args.out} holds a run: go on with --resume {args.out}, or replace it with --force.")
        check_out(args.out, force=args.force, names=("report.json", *names))
        return args.out, False
    if args.force:
        raise UsageError("--force replaces a run and --resume goes on with one: leave one of them out.")
    if args.out is not None and Path(args.out) != Path(args.resume):
        raise UsageError(f"--resume {args.resume} goes on in its own folder: leave --out out.")
    check_out(args.resume, force=True, names=names)
    return args.resume, True


def load_report(path: str) -> Report:
    """Return the report in a folder or a file; ValueError when a study was saved there."""
    from volume.reports.facts import Report
    from volume.studies.loading import load

    report = load(path)
    if not isinstance(report, Report):
        raise ValueError(f"{path} holds a {type(report).__name__}, not a report: name the folder of an estimate.")
    return report


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what every estimate takes; without a word about progress it is shown on a terminal."""
    shown = watched() if args.progress is None else args.progress
    return {"seed": args.seed, "level": args.level, "progress": shown}


def watched() -> bool:
    """Say whether somebody sees progress and wants to: stderr is a terminal, and --quiet was not given."""
    return sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


def finish(run: Callable[[], Report | None], command: str) -> tuple[Report | None, int]:
    """Call ``run``, which makes a report, and return it with the exit code; say on stderr why it stopped early.

    Args:
        run: gives None where another process has the report.
        command: that goes on with the run from its folder.

    Raises:
        UsageError: the folder of the run cannot be used; nothing was drawn.
        Stopped: the run could not be written, or another process was lost.
        KeyboardInterrupt: Ctrl-C before anything was learnt or kept.
    """
    from volume.cluster.process_group import ProcessLost
    from volume.estimation import Interrupted
    from volume.runs.directory import RunStopped

    try:
        return run(), Exit.DONE
    except (FileExistsError, NotADirectoryError, BlockingIOError) as error:
        raise UsageError(str(error)) from error
    except (RunStopped, ProcessLost) as stop:
        raise Stopped(str(stop)) from stop
    except Interrupted as stop:
        logger.info("stopped after %s.", stop.progress.position)
        if stop.out is not None:
            logger.info("kept in %s: volume %s --resume %s goes on.", stop.out, command, stop.out)
        elif stop.report is None:
            raise
        return stop.report, Exit.STOPPED


def to_json(value: Any) -> str:
    # allow_nan=False: NaN and Infinity are no JSON, and readers differ on them.
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def print_report(report: Report, args: argparse.Namespace) -> None:
    from volume.reports.counted import VolumeReport

    if args.json:
        few = True
        if isinstance(report, VolumeReport):
            listed = report.bound.num_classes if report.named_in_advance else report.num_classes
            few = listed is not None and listed <= ALL_CLASSES
        print(to_json(report.to_dict(top=args.top or (None if few else MOST_CLASSES))))
    else:
        print(report.summary(args.top or SHOWN))
