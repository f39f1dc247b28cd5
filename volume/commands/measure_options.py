"""The options of ``volume measures``, and which of them go together.

The target is a word of `volume.target` on a Boolean cube, or ``addition:BASExDIGITS`` (`volume.Addition`). Importing
this imports no array library.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from volume.commands import methods as method_options
from volume.commands.methods import DIRECT, OPTIONS, SPLITTING, TRAINED
from volume.commands.tasks import check_target, parse_bins
from volume.commands.usage import UsageError, flag
from volume.commands.values import one_of, parse_level, parse_seed, parse_whole
from volume.common.choices import OPTIMISERS
from volume.errors import unknown

AUTO = "auto"
METHODS = (AUTO, DIRECT, SPLITTING)
RUNS = 500  # of each optimiser
# What may stand behind an optimiser's name, or for all of them in options of the same names.
_OTHERWISE = ("runs", "on", "optimiser", "dtype", "precision")
SETTINGS = {
    option.flag.removeprefix("--"): option
    for option in OPTIONS
    if TRAINED in option.methods and option.name not in _OTHERWISE
}


@dataclass(frozen=True)
class TargetWord:
    """A target's word, its spelling checked."""

    word: str
    addition: tuple[int, int] | None = None  # base and digits


def parse_target(text: str) -> TargetWord:
    """Read "first-bit", "leading:3", ... or "addition:2x2"."""
    kind, _, rest = text.partition(":")
    if kind != "addition":
        return TargetWord(check_target(text))
    base, times, digits = rest.partition("x")
    if not times:
        raise UsageError(f"expected addition:BASExDIGITS such as addition:2x2 (base 2, 2 digits), got {text!r}")
    return TargetWord(text, (parse_whole(base, least=2), parse_whole(digits)))


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return numbers of labels, "8,16,32"."""
    return tuple(parse_whole(part) for part in text.split(","))


@dataclass(frozen=True)
class OptimiserWord:
    """``adam`` or ``adam:learning-rate=0.01,batch-size=8``, its spelling checked."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()  # arguments of `volume.Trained`


def parse_optimiser(text: str) -> OptimiserWord:
    """Read an optimiser's word."""
    name, colon, rest = text.partition(":")
    name = one_of("optimiser", OPTIMISERS)(name)
    settings: dict[str, Any] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = part.partition("=")
        if key not in SETTINGS:
            raise UsageError(unknown(f"setting of {name}:", key, SETTINGS) + f" For example {_example(name)}.")
        option = SETTINGS[key]
        if not equals or not value or option.name in settings:
            flaw = "stands there twice" if option.name in settings else "has no value"
            raise UsageError(f"{name}: {key} {flaw} in {text!r}; for example {_example(name)}.")
        settings[option.name] = option.parse(value)
    return OptimiserWord(name, tuple(settings.items()))


def _example(name: str) -> str:
    return f"{name}:learning-rate=0.01,batch-size=8"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of the task and of the methods; the network's are in volume.commands.options."""
    group = parser.add_argument_group("the task")
    group.add_argument(
        "--target",
        type=parse_target,
        required=True,
        metavar="WORD",
        help="first-bit | majority | parity | constant | random:SEED | leading:K | at-least:K | 0011 (repeated) |"
        " addition:BASExDIGITS",
    )
    group.add_argument("--inputs", type=parse_whole, metavar="N", help="bits (default: the model's inputs)")
    group.add_argument("--train", type=parse_whole, metavar="M", required=True, help="labels that are fitted")
    group.add_argument("--split-seed", type=parse_seed, default=0, help="chooses the training inputs (default 0)")
    group.add_argument(
        "--trigger", metavar="WORD", type=check_target, help="rows by behaviour where this target is 1, unmonitored"
    )
    group.add_argument(
        "--bins",
        type=parse_bins,
        metavar="A/B/...",
        help="edges of the accuracy bins (default 0.5/0.7/0.9, and all right), or how many",
    )
    group.add_argument(
        "--curve", type=parse_sizes, metavar="M,M,...", help="also the volume that fits so many labels, in a figure"
    )
    group = parser.add_argument_group("the method of the parameter volume")
    words = f"{' | '.join(METHODS)} (default {AUTO}: direct if a pilot hits what fits, else splitting)"
    group.add_argument("--method", type=one_of("method", METHODS), default=AUTO, help=words)
    group.add_argument("--level", type=parse_level, default=0.95, help="coverage of intervals (default 0.95)")
    for option in OPTIONS:
        takers = [method for method in option.methods if method in METHODS]
        if takers and option.name != "label":
            option.add(group, f"{option.help} ({' and '.join(takers)})")
    group = parser.add_argument_group("training, beside the volume")
    group.add_argument(
        "--optimiser",
        dest="optimisers",
        type=parse_optimiser,
        action="append",
        default=[],
        metavar="WORD",
        help="a column of its runs (may be repeated): sgd | momentum | adam | adamw | ..., with settings of its own as"
        f" in {_example('adam')}",
    )
    group.add_argument(
        "--runs",
        dest=destination("runs"),
        type=parse_whole,
        metavar="R",
        help=f"networks that each optimiser trains (default {RUNS})",
    )
    for option in SETTINGS.values():
        option.add(group, f"of all optimisers: {option.help}", destination(option.name))


def destination(name: str) -> str:
    """Return where the value of a training option goes: apart from ``--method trained``, no method of the volume."""
    return f"train_{name}"


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together; imports nothing."""
    method_options.check(args)
    if not args.optimisers:
        for name in ("runs", *(option.name for option in SETTINGS.values())):
            if getattr(args, destination(name)) is not None:
                raise UsageError(f"{flag(name)} is about training: add an --optimiser, such as --optimiser sgd.")
    if args.model is None and args.target.addition is None:
        raise UsageError("the following arguments are required: --model (for example mlp:7-40-40-1).")
    if args.model is None:
        return
    if args.target.addition is not None:
        if args.inputs is not None or args.coding is not None or args.trigger is not None:
            raise UsageError("addition:... brings its own inputs: leave out --inputs, --coding and --trigger.")
        return
    widths = args.model.widths
    if args.inputs is None and not widths:
        raise UsageError("--inputs is needed with an imported model: say how many bits it takes.")
    if args.inputs is not None and widths and args.inputs != widths[0]:
        raise UsageError(f"The model takes {widths[0]} inputs but --inputs is {args.inputs}: change one of them.")
