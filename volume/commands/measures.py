"""``volume measures``: the query and the methods that its options ask for, and the table.

The target is a word of `volume.target` on a Boolean cube, or ``addition:BASExDIGITS`` (`volume.Addition`). Importing
this imports no array library.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.commands import measure_options as options
from volume.commands import methods as method_options
from volume.commands import specs
from volume.commands.shared import check_network, check_study, prior_options, run_options, tell_and_save, to_json
from volume.commands.tasks import TaskWord
from volume.commands.usage import Exit, UsageError, usage

if TYPE_CHECKING:
    from volume.estimators.trained.trained import Trained
    from volume.method import Method
    from volume.queries.query import Query
    from volume.studies.addition import Addition

logger = logging.getLogger(__name__)

# The case that the counting argument is told with, and its number of training examples.
ESSAY, ESSAY_TRAIN, ESSAY_ACCURACY = (10, 4), 992, 0.5


def build_method(args: argparse.Namespace) -> Method[Any] | None:
    """Return the method asked for, None for the automatic choice."""
    return None if args.method == options.AUTO else method_options.build(args)


def build_training(args: argparse.Namespace) -> tuple[Trained, ...]:
    """Return the trainings asked for; ValueError for one that makes no sense, or two that nothing tells apart."""
    if not args.optimisers:
        return ()
    from volume.estimators.trained.trained import Trained
    from volume.studies.columns import training_names

    values = {option.name: getattr(args, options.destination(option.name)) for option in options.SETTINGS.values()}
    values |= {name: getattr(args, name, None) for name in ("dtype", "precision")}
    shared = {name: value for name, value in values.items() if value is not None}
    runs = getattr(args, options.destination("runs")) or options.RUNS
    made = tuple(Trained(runs, optimiser=word.name, **(shared | dict(word.settings))) for word in args.optimisers)
    training_names(made)
    return made


def addition(args: argparse.Namespace) -> Addition | None:
    """Return the addition that the target names."""
    if args.target.addition is None:
        return None
    from volume.studies.addition import Addition

    return Addition(*args.target.addition)


def build_query(args: argparse.Namespace, prior: Any) -> Query:
    """Return the query; ValueError or UsageError when its parts do not fit each other."""
    from volume.functions.domains import BooleanCube
    from volume.queries.query import Query
    from volume.studies.measures import accuracy_edges

    bins = args.bins
    task = addition(args)
    model = None if args.model is None else args.model.build(activation=args.activation, bias=not args.no_bias)
    if task is not None:
        if args.train >= task.num_inputs:
            raise UsageError(f"--train {args.train} leaves none of the {task.num_inputs:,} pairs to be tested on.")
        train, test = task.split(args.train, args.split_seed)
        if model is None:
            model = task.model(activation=args.activation or "relu", bias=not args.no_bias)
        bins = accuracy_edges(len(test)) if bins is None else bins
        if model.num_outputs != task.num_outputs or tuple(model.input_shape) != task.inputs.shape[1:]:
            width = task.inputs.shape[1]
            raise UsageError(
                f"{args.target.word} takes {width} numbers to {task.num_outputs} outputs: give a model such as"
                f" mlp:{width}-40-40-{task.num_outputs}, or none for that one."
            )
        return Query(model, prior, task.domain, task.given(train, test, bins))
    assert model is not None
    cube = BooleanCube(_bits(args), coding=args.coding or (0, 1))
    word = TaskWord("given", args.target.word, args.train, args.split_seed, bins)
    if args.trigger is not None:
        word = replace(word, kind="defects", trigger=args.trigger)
    elif bins is None and args.train < cube.num_inputs:
        word = replace(word, bins=accuracy_edges(cube.num_inputs - args.train))
    return Query(model, prior, cube, word.build(cube))


def labels(args: argparse.Namespace) -> Any:
    """Return the target's label of every input, [N]."""
    task = addition(args)
    if task is not None:
        return task.labels
    from volume.functions.targets import target

    return target(args.target.word, _bits(args))


def _bits(args: argparse.Namespace) -> int:
    return args.inputs or args.model.widths[0]


def counts(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """For an addition: its counts beside those of 4 decimal digits, as text and as a record; else nothing."""
    task = addition(args)
    if task is None:
        return "", {}
    from volume.studies.addition import Addition, count_additions

    essay = Addition(*ESSAY)
    text = count_additions((task, args.train, ESSAY_ACCURACY), (essay, ESSAY_TRAIN, ESSAY_ACCURACY))
    half = -(-(essay.num_inputs - ESSAY_TRAIN) // 2)
    return text, {
        str(task): task.counting(args.train).to_dict(),
        str(essay): essay.counting(ESSAY_TRAIN, half).to_dict(),
    }


def run(args: argparse.Namespace) -> int:
    """Print the table of measures; write it, its figures and the runs behind it.

    Once training has begun, Ctrl-C keeps what was finished, with exit code 3.
    """
    prior = specs.check_prior(args.prior, prior_options(args))
    if args.model is not None:
        check_network(args, prior)
    options.check(args)
    names = ["measures.json", "measures.pdf", "report.json", "counts.parquet"]
    names += ["labels.json", "labels.pdf"] if args.curve else []
    if args.out:
        names += [str(file.relative_to(args.out)) for file in sorted(Path(args.out).glob("training-*/report.json"))]
    check_study(args.out, force=args.force, names=names)
    from volume.estimation import Interrupted
    from volume.studies.label_curve import labels_curve
    from volume.studies.measures import Measures, measure

    query = usage(lambda: build_query(args, specs.build_prior(args.prior, prior_options(args))))
    method = usage(build_method, args)
    settings = run_options(args)
    name = args.target.word + (f", trigger {args.trigger}" if args.trigger else "")
    training, code = usage(build_training, args), Exit.DONE
    try:
        table = measure(query, method, name=name, optimisers=training, **settings)
    except Interrupted as stop:
        if not isinstance(stop.report, Measures):
            raise
        table, code = stop.report, Exit.STOPPED
        logger.info("stopped after %s.", stop.progress.position)
    curve = None
    if args.curve and code == Exit.DONE:
        of = (query.model, query.prior, query.domain, labels(args), args.curve)
        curve = usage(labels_curve, *of, method, name=args.target.word, split_seed=args.split_seed, **settings)
    text, counted = counts(args)
    if args.json:
        record = table.to_dict() | ({"counts": counted} if counted else {})
        text = to_json(record | ({} if curve is None else {"curve": curve.to_dict()}))
    else:
        parts = [table.summary(), text, "" if curve is None else curve.summary()]
        text = "\n\n".join(part for part in parts if part)

    def write(folder: Path) -> None:
        assert table.report is not None  # only a loaded table has none
        table.report.save(folder)
        table.save_training(folder)
        table.save(folder)
        table.plot(folder / "measures.pdf")
        if curve is not None:
            curve.save(folder)
            curve.plot(folder / "labels.pdf")

    tell_and_save(text, args.out, write)
    return code
