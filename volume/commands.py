"""What each command of the command line does; volume.cli reads the arguments and deals with errors.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume import measure_words, method_options, specs
from volume.usage import UsageError

if TYPE_CHECKING:
    from volume.method import Method, Report
    from volume.query import Query

DONE, FAILED, STOPPED = 0, 1, 3
SHOWN = 20  # rows of a table on a screen
# JSON lists every class up to here; a truth-table run has millions, nearly all seen once.
ALL_CLASSES, MOST_CLASSES = 10_000, 1000
MAX_DEFAULT_CUBE = 16


def estimate(args: argparse.Namespace) -> int:
    """Draw, save, print; what was drawn before Ctrl-C is saved and printed too, with exit code 3."""
    _check_question(args)
    method_options.check(args)
    _check_out(args.out, force=args.force)
    from volume.estimation import Interrupted
    from volume.estimation import estimate as run

    query = build_query(args)
    method = build_method(args, query)
    code = DONE
    try:
        report = run(query, method, seed=args.seed, level=args.level, progress=_progress(args))
    except Interrupted as stop:
        report, code = stop.report, STOPPED
        if report is None:
            if not getattr(args, "checkpoint", None):
                raise
            print(
                f"volume: stopped after {stop.progress.position}; the same command goes on from {args.checkpoint}.",
                file=sys.stderr,
            )
            return STOPPED
        print(f"volume: stopped after {stop.progress.position}.", file=sys.stderr)
    if args.out:
        report.save(args.out)
        print(f"volume: saved in {args.out}", file=sys.stderr)
    _print_report(report, args)
    return code


def measures(args: argparse.Namespace) -> int:
    """Print the table of measures; write it, its figures and the runs behind it.

    Once training has begun, Ctrl-C keeps what was finished, with exit code 3.
    """
    given = specs.check_prior(args.prior, _prior_options(args))
    if args.model is not None:
        _check_network(args, given)
    measure_words.check(args)
    _check_out(args.out, force=args.force, name="measures.json")
    from volume.estimation import Interrupted
    from volume.label_curve import labels_curve
    from volume.measures import Measures, measure

    query = _usage(lambda: measure_words.build_query(args, specs.build_prior(args.prior, _prior_options(args))))
    method = _usage(measure_words.build_method, args)
    options: dict[str, Any] = {"seed": args.seed, "level": args.level, "progress": _progress(args)}
    name = args.target.word + (f", trigger {args.trigger}" if args.trigger else "")
    training, code = _usage(measure_words.build_training, args), DONE
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
        curve = _usage(labels_curve, *of, method, name=args.target.word, split_seed=args.split_seed, **options)
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
        print(_json(record | ({} if curve is None else {"curve": curve.to_dict()})))
    else:
        parts = [found.summary(), text, "" if curve is None else curve.summary()]
        print("\n\n".join(part for part in parts if part))
    return code


def sweep(args: argparse.Namespace) -> int:
    """Estimate one class at every setting; write the table and the figure."""
    over = args.over.replace("-", "_")
    values = _parse_values(over, args.values)
    _check_question(args)
    _check_out(args.out, force=args.force, name="sweep.json")
    from volume.sweeping import sweep as run
    from volume.sweeping import sweep_queries

    query = build_query(args)
    method: Any = build_method(args, query)
    queries = _usage(sweep_queries, query.model, query.prior, query.domain, query.classifier, over=over, values=values)
    label = "0" * query.domain.num_inputs if args.label == "zeros" else args.label
    _usage(query.bound.key, label)
    result = run(
        queries,
        method,
        label,
        seed=args.seed,
        level=args.level,
        progress=_progress(args),
        x_name=over.replace("_", " "),
    )
    if args.out:
        folder = Path(args.out)
        (folder / "sweep.json").write_text(_json(result.to_dict()) + "\n", encoding="utf-8")
        result.plot(folder / "sweep.pdf")
        print(f"volume: saved {folder / 'sweep.json'} and {folder / 'sweep.pdf'}", file=sys.stderr)
    print(_json(result.to_dict()) if args.json else result.summary())
    return DONE


def show(args: argparse.Namespace) -> int:
    """Print a stored run, as it is or grouped by a coarser classifier."""
    from volume.report import VolumeReport

    report = _load(args.path)
    if args.group_by:
        if not isinstance(report, VolumeReport):
            raise UsageError(f"--group-by needs counted draws of truth tables; {args.path} holds {report!r}.")
        classifier = specs.build_classifier(args.group_by, report.domain, tuple(report.domain.input_shape))
        report = _usage(report.group_by, classifier)
    if args.label:
        from volume.comparison import stated

        entries = [report[label] for label in args.label]
        record = {"classes": [entry.to_dict() for entry in entries], **stated(report)}
        print(_json(record) if args.json else "\n".join(entry.sentence() for entry in entries))
    else:
        _print_report(report, args)
    return DONE


def plot(args: argparse.Namespace) -> int:
    """Draw one figure of a stored run."""
    from volume import plots
    from volume.report import VolumeReport

    path = _usage(plots.check_path, args.out)
    report = _load(args.path)
    if not isinstance(report, VolumeReport):
        raise ValueError(f"A figure of kind {args.kind!r} needs counted draws; {args.path} holds {report!r}.")
    getattr(plots, args.kind)(report, path=path)
    print(_json({"kind": args.kind, "path": str(path)}) if args.json else path)
    return DONE


def compare(args: argparse.Namespace) -> int:
    """Print the z-score of every class; exit code 1 when the runs disagree. Training beside volume: 0."""
    from volume.comparison import compare as run

    result = run(_load(args.path_a), _load(args.path_b), alpha=args.alpha)
    print(_json(result.to_dict()) if args.json else result.summary(args.top))
    return DONE if getattr(result, "agree", True) else FAILED


def demo(args: argparse.Namespace) -> int:
    """The tour that ``make demo`` runs; it replaces an earlier one in the same folder."""
    _check_out(args.out, force=True)
    from rich.console import Console

    from volume.demo import run

    # With --json the tables go to stderr, like every message.
    console = Console(file=sys.stderr if args.json else sys.stdout, highlight=False)
    options = {} if args.draws is None else {"draws": args.draws}
    try:
        shown = args.progress is not False  # a tour is watched, if only in a log
        result = run(args.out, seed=args.seed, progress=shown, console=console, **options)
    except KeyboardInterrupt as stop:
        from volume.report import VolumeReport

        report = getattr(stop, "report", None)
        if not isinstance(report, VolumeReport):  # the first part keeps what it has finished
            raise
        print(f"volume: stopped after {report.num_draws:,} draws.", file=sys.stderr)
        report.save(args.out)
        _print_report(report, args)
        return STOPPED
    if args.json:
        print(_json(result.to_dict()))
    return DONE


def count(args: argparse.Namespace) -> int:
    """Count functions; needs no network and imports no array library."""
    from volume.counting import Counting

    found = _usage(Counting, args.inputs, args.outputs, fixed=args.fixed, at_least=args.at_least, digits=args.digits)
    print(_json(found.to_dict()) if args.json else found.summary())
    return DONE


def doctor(args: argparse.Namespace) -> int:
    """Say what is installed and whether a known answer comes out."""
    from volume.doctor import examine

    found = examine()
    print(_json(found.to_dict()) if args.json else found.summary())
    return DONE if found.healthy else FAILED


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": demo,
    "estimate": estimate,
    "measures": measures,
    "sweep": sweep,
    "show": show,
    "plot": plot,
    "compare": compare,
    "count": count,
    "doctor": doctor,
}


# --- from words to the library's objects ---


def _prior_options(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for names in specs.PRIOR_OPTIONS.values() for name in names}


def _check_network(args: argparse.Namespace, given: dict[str, Any]) -> None:
    """Raise UsageError where activation, biases and the prior's options ``given`` do not go with the model."""
    if args.model.kind != "mlp" and args.activation is not None:
        raise UsageError(f"--activation belongs to mlp:..., not to {args.model.kind}: leave it out.")
    for name in ("bias_std", "bias_bound", "bias_levels"):
        if args.no_bias and given.get(name):
            raise UsageError(f"--{name.replace('_', '-')} has no bias to act on with --no-bias: leave one of them out.")


def _check_question(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together; imports nothing."""
    _check_network(args, specs.check_prior(args.prior, _prior_options(args)))
    if args.coding is not None and args.domain is not None and args.domain.kind != "boolean":
        raise UsageError(f"--coding belongs to boolean:N, not to {args.domain.kind}: leave it out.")
    if args.model.widths and args.domain is not None and args.domain.kind == "boolean":
        inputs, digits = args.model.widths[0], args.domain.size
        if inputs != digits:
            raise UsageError(
                f"The model takes {inputs} inputs but boolean:{digits} has {digits} digits: change one of them."
            )


def build_query(args: argparse.Namespace) -> Query:
    """The question the options ask; UsageError when its parts do not fit each other."""
    from volume.query import Query

    def build() -> Query:
        model = args.model.build(activation=args.activation, bias=not args.no_bias)
        shape = tuple(model.input_shape)
        prior = specs.build_prior(args.prior, _prior_options(args))
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

    return _usage(build)


def build_method(args: argparse.Namespace, query: Query) -> Method[Any]:
    """How to answer this query; UsageError when it cannot be answered so."""
    from volume.direct import Direct

    method = _usage(method_options.build, args, query)
    if isinstance(method, Direct):
        _usage(method.plan, query)
    else:
        import jax

        _usage(method.start, query, jax.random.key(0))  # to be told now what it refuses; nothing is drawn yet
    return method


def _usage(build: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Nothing has been drawn yet, so what the library refuses here is a mistake in the words."""
    try:
        return build(*args, **options)
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(str(error.args[0] if error.args else error)) from error


def _parse_values(over: str, text: str) -> list[Any]:
    parts = [part for part in text.split("/" if "/" in text or over == "coding" else ",") if part]
    parse: Callable[[str], Any] = specs.parse_float
    if over == "coding":
        parse = specs.parse_coding
    elif over in ("width", "depth"):
        parse = lambda part: specs.parse_whole(part, least=int(over == "width"))  # noqa: E731
    if not parts:
        raise UsageError("--values is empty: give settings such as 10,20,40.")
    return [parse(part) for part in parts]


# --- input and output ---


def _check_out(out: str | None, *, force: bool, name: str = "report.json") -> None:
    """Make the folder, or say why a run could not be saved there, before hours are spent on it."""
    if out is None:
        return
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder.")
    if (folder / name).exists() and not force:
        raise UsageError(f"{folder / name} exists: name another folder, or replace it with --force.")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out} is not writable.")


def _load(path: str) -> Report:
    from volume.storage import load

    return load(path)


def _progress(args: argparse.Namespace) -> bool:
    return sys.stderr.isatty() if args.progress is None else args.progress


def _json(value: Any) -> str:
    # allow_nan=False: NaN and Infinity are no JSON, and readers differ on them.
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _print_report(report: Report, args: argparse.Namespace) -> None:
    from volume.report import VolumeReport

    if args.json:
        few = True
        if isinstance(report, VolumeReport):
            listed = report.bound.num_classes if report.named_in_advance else report.num_classes
            few = listed is not None and listed <= ALL_CLASSES
        print(_json(report.to_dict(top=args.top or (None if few else MOST_CLASSES))))
    else:
        print(report.summary(args.top or SHOWN))
