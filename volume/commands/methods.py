"""Methods on the command line: which options each one takes, and the method that they ask for.

Importing this imports no array library: an option that belongs to another method is a usage error at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volume.commands import specs
from volume.commands.usage import UsageError, flag
from volume.commands.values import one_of, parse_float, parse_level, parse_whole
from volume.common.choices import (
    DTYPES,
    LAST_LAYERS,
    LOSSES,
    OPTIMISERS,
    PATHS,
    POLICY_GRADIENTS,
    PRECISIONS,
    SCHEDULES,
    STOPS,
)

if TYPE_CHECKING:
    from volume.method import Method
    from volume.queries.query import Query


@dataclass(frozen=True)
class Option:
    """One option ``--name`` of some methods; unset it is left to the method's own default."""

    name: str
    methods: tuple[str, ...]
    parse: Callable[[str], Any]
    metavar: str | None
    help: str
    many: bool = False  # may be repeated, and gives a tuple
    argument: str = ""  # of the method, where it is not the option's name
    switch: bool = False  # takes nothing after it: True where it is given

    @property
    def flag(self) -> str:
        return flag(self.name)

    def add(self, group: argparse._ArgumentGroup, text: str, destination: str = "", *, required: bool = False) -> None:
        """Add the option with this help, its value under ``destination`` (default: its name)."""
        options: dict[str, Any] = {"dest": destination or self.name, "help": text, "required": required}
        if self.switch:
            group.add_argument(self.flag, action="store_true", default=None, **options)
            return
        options |= {"type": self.parse, "metavar": self.metavar or self.name.upper()}
        group.add_argument(self.flag, action="append" if self.many else "store", **options)


DIRECT, EXACT, SPLITTING, WIDE, TRAINED = "direct", "exact", "splitting", "infinite-width", "trained"
CLASSES = {  # of the library
    DIRECT: "Direct",
    EXACT: "Exact",
    SPLITTING: "Splitting",
    WIDE: "InfiniteWidth",
    TRAINED: "Trained",
}
METHODS = tuple(CLASSES)
OBJECTIVES = (*LOSSES, *POLICY_GRADIENTS)
_CLASSES = "answer for this class (may be repeated; default: fits, where the classifier has it)"
OPTIONS = (
    Option("draws", (DIRECT,), parse_whole, None, "networks to draw, e.g. 1e7; needed"),
    Option("heads", (DIRECT,), parse_whole, "H", "last layers drawn for each body"),
    Option("bodies", (DIRECT,), parse_whole, "Q", "bodies that share their heads"),
    Option("memory", (DIRECT,), parse_whole, "BYTES", "for counts of tables; more goes to --out (default: all)"),
    Option("path", (EXACT,), one_of("path", PATHS), None, f"{' | '.join(PATHS)} (default auto)"),
    Option("limit", (EXACT,), parse_whole, "N", "networks to evaluate at most (default 2^36)"),
    Option("particles", (SPLITTING,), parse_whole, "N", "networks of one replicate (default 256)"),
    Option("moves", (SPLITTING,), parse_whole, "M", "moves of every network at each level (default 16)"),
    Option(
        "last_layer",
        (SPLITTING,),
        one_of("last_layer", LAST_LAYERS),
        None,
        "moved | integrated: each body counts by the chance that a last layer gives the labels (default moved)",
    ),
    Option("target_error", (SPLITTING,), parse_float, "X", "size the run for an interval of +-X in log10"),
    Option("replicates", (SPLITTING, WIDE), parse_whole, "R", "independent repetitions behind the interval"),
    Option(
        "resolve",
        (SPLITTING,),
        bool,
        None,
        "give each class of a given split that fewer than 4 replicates met a run of its own",
        switch=True,
    ),
    Option("label", (SPLITTING, WIDE), str, None, _CLASSES, many=True, argument="labels"),
    Option("samples", (WIDE,), parse_whole, "S", "draws for each class (default 20,000)"),
    Option("jitter", (WIDE,), parse_float, "X", "noise added to each output's variance, as a fraction of it"),
    Option("runs", (TRAINED,), parse_whole, None, "networks to train, e.g. 1e4; needed"),
    Option(
        "on",
        (TRAINED,),
        specs.parse_classifier,
        "FITS",
        "labels to train on, fits:... as for --classifier (default: those of the classifier)",
    ),
    Option(
        "optimiser",
        (TRAINED,),
        one_of("optimiser", OPTIMISERS),
        None,
        "sgd | momentum | adam | adamw | ... (default sgd)",
    ),
    Option("learning_rate", (TRAINED,), parse_float, "X", "(default 0.1)"),
    Option("schedule", (TRAINED,), one_of("schedule", SCHEDULES), None, f"{' | '.join(SCHEDULES)} (default constant)"),
    Option("batch_size", (TRAINED,), parse_whole, "B", "examples of a step (default: all)"),
    Option("loss", (TRAINED,), one_of("loss", OBJECTIVES), None, f"{' | '.join(OBJECTIVES)} (default cross-entropy)"),
    Option("stop", (TRAINED,), one_of("stop", STOPS), None, "fit (zero training error) | steps (all) (default fit)"),
    Option("max_steps", (TRAINED,), parse_whole, "T", "updates after which a run is given up (default 10,000)"),
    Option("over_training", (TRAINED,), parse_whole, "E", "epochs to go on after the fit (default 0)"),
    Option(
        "dtype",
        (DIRECT, EXACT, SPLITTING, TRAINED),
        one_of("dtype", DTYPES),
        None,
        "float32 | float64 (default float32)",
    ),
    Option(
        "precision",
        (DIRECT, EXACT, SPLITTING, TRAINED),
        one_of("precision", PRECISIONS),
        None,
        "of matrix products: default | high | highest (default highest)",
    ),
)


def add(parser: argparse.ArgumentParser, *, direct_only: bool = False) -> None:
    """Add ``--method``, ``--level`` and the options of every method, grouped; or those of Direct alone."""
    group = parser.add_argument_group("the method")
    methods = (DIRECT,) if direct_only else METHODS
    if not direct_only:
        words = f"{' | '.join(METHODS)} (default {DIRECT})"
        group.add_argument("--method", type=one_of("method", METHODS), default=DIRECT, help=words)
    else:
        parser.set_defaults(method=DIRECT)
    group.add_argument("--level", type=parse_level, default=0.95, help="coverage of intervals (default 0.95)")
    for option in OPTIONS:
        takers = [method for method in option.methods if method in methods]
        if not takers:
            continue
        title = " and ".join(f"--method {method}" for method in takers)
        required = direct_only and option.name == "draws"
        option.add(group if direct_only else _group(parser, title), option.help, required=required)


def _group(parser: argparse.ArgumentParser, title: str) -> Any:
    existing = (group for group in parser._action_groups if group.title == title)
    return next(existing, None) or parser.add_argument_group(title)


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that belong to another method, and for draws that were not given."""
    for option in OPTIONS:
        if getattr(args, option.name, None) is not None and args.method not in option.methods:
            owners = " and ".join(option.methods)
            raise UsageError(f"{option.flag} belongs to --method {owners}, not to {args.method}: leave it out.")
    if args.method == TRAINED and args.runs is None:
        raise UsageError("the following arguments are required: --runs (how many networks to train, e.g. 1e4).")
    if args.method == DIRECT and args.draws is None:
        raise UsageError("the following arguments are required: --draws (how many networks to draw, e.g. 1e7).")


def build(args: argparse.Namespace, query: Query | None = None) -> Method[Any]:
    """Return the method that the options ask for, of a query whose domain they may name. Errors are the method's
    own."""
    options: dict[str, Any] = {
        option.argument or option.name: tuple(value) if option.many else value
        for option in OPTIONS
        if args.method in option.methods and (value := getattr(args, option.name, None)) is not None
    }
    if "on" in options and query is not None:
        options["on"] = specs.build_classifier(args.on, query.domain, tuple(query.domain.input_shape))
    import volume

    return getattr(volume, CLASSES[args.method])(**options)
