"""The command line: what can be typed, and what becomes of errors.

Results go to stdout (JSON with ``--json``), progress and messages to stderr. Exit codes: 0 done (for ``compare``: the
reports agree), 1 failed (they disagree), 2 usage: nothing was drawn, 3 stopped before the target.

Neither parsing nor a usage error imports JAX, which costs seconds: commands load the library (volume.commands).
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from volume.commands import check as check_command
from volume.commands import distributed as distributed_words
from volume.commands import local as local_command
from volume.commands import measures as measure_words
from volume.commands import methods as method_options
from volume.commands import specs
from volume.commands.methods import one_of
from volume.commands.options import add_network, add_query, add_run, add_top
from volume.commands.resume import own_words, resumed
from volume.commands.usage import UsageError
from volume.common.version import __version__
from volume.errors import unknown

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 3
KINDS = ("rank", "complexity", "balance")
OVER = ("width", "depth", "coding", "weight-std", "bias-std", "weight-bound", "bias-bound", "radius")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"volume: error: {message}\nTry '{self.prog} --help'.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` as after the program's name, by default the process's own. Returns the exit code."""
    try:
        args = parse(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as stop:  # --help, --version, or a usage error already explained
        return int(stop.code or 0)
    from volume.commands import asking as commands

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = commands.COMMANDS[args.command](args)
            sys.stdout.flush()  # a closed pipe shows here, not at the interpreter's exit
        return code
    except BrokenPipeError:
        # `volume show ... | head` has read enough. The interpreter flushes stdout once more when it ends: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("volume: stopped; nothing was saved.", file=sys.stderr)
        return STOPPED
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print(f"volume: error: {_sentence(error)}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILED


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments as a namespace with ``command``; SystemExit after a message on stderr when they make no sense."""
    parser, commands = _build()
    command = next((word for word in argv if not word.startswith("-")), None)
    if command is not None and command not in commands:
        parser.error(unknown("command", command, commands))
    words = None
    if command == "check" and "--" in argv:  # what stands behind it are the words of another command
        at = argv.index("--")
        argv, words = argv[:at], argv[at + 1 :]
    argv = _join_negative(argv)
    # Before argparse, which would first complain of a required option where one was merely mistyped.
    here = commands.get(command or "", parser)
    known = [option for action in here._actions for option in action.option_strings]
    for word in argv:
        option = word.partition("=")[0]
        if word.startswith("-") and option not in known:
            near = difflib.get_close_matches(option, known, n=1, cutoff=0.4)
            here.error(f"Unknown option {option!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    args = None
    kept = command in ("estimate", "local")  # their runs are kept in a folder and can go on
    if kept:
        try:
            args = resumed(argv, here, parser.parse_args)
        except UsageError as error:
            here.error(str(error))
    args = args or parser.parse_args(argv)
    if args.command is None:
        parser.error(f"give a command: {', '.join(commands)}.")
    if kept and not hasattr(args, "begun"):
        args.begun = own_words(argv, here)
    if words is not None:
        args.words = words
    return args


def _join_negative(argv: list[str]) -> list[str]:
    """``--coding -1,1`` as ``--coding=-1,1``: argparse would take a value that starts with a minus for an option."""
    joined: list[str] = []
    for word in argv:
        if re.match(r"-[\d.]", word) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _sentence(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:  # str() of a KeyError is the repr of its message
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"volume: warning: {message}", file=sys.stderr)


def _build() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="volume",
        description="How much parameter space each function of a neural network occupies.",
        epilog="Exit codes: 0 done, 1 failed (compare: the reports disagree), 2 usage, 3 stopped before the target.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"volume {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands: dict[str, _Parser] = {}

    def add(name: str, summary: str, description: str = "") -> _Parser:
        command = subparsers.add_parser(
            name,
            help=summary,
            description=description or summary[0].upper() + summary[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="JSON on stdout")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        commands[name] = command
        return command

    demo = add("demo", "functions counted and parameter space measured, for two tasks and 10 million functions")
    demo.add_argument("--draws", type=specs.parse_whole, help="networks to draw (default 1e7)")
    demo.set_defaults(top=None)  # a stopped demo prints what `estimate` would
    add_run(demo, out="folder of the stored run and the figures (default demo-out)", default="demo-out")

    estimate = add(
        "estimate",
        "the volume of every class of functions, with intervals",
        "Put the functions that networks compute into classes and report every class's volume: by drawing and\n"
        "counting them, or, for a class too rare to be drawn, by splitting.\n\n"
        "  volume estimate --model mlp:7-40-40-1 --domain boolean:7 --draws 1e7\n"
        "  volume estimate --model perceptron:5 --no-bias --coding -1,1 --classifier ones --draws 1e6 --json\n"
        "  volume estimate --model mlp:7-40-40-1 --classifier fits:FILE --method splitting",
    )
    add_query(estimate, symmetry=True)
    method_options.add(estimate)
    add_run(estimate, out="keep the run in this folder while it goes on, and its report", resume=True)
    distributed_words.add(estimate)
    add_top(estimate)

    measures = add(
        "measures",
        "what fits the training labels, by the share of functions and of parameter volume that generalises",
        "Take what fits some training labels, divide it by what it does on the other inputs, and measure each part:\n"
        "as a share of the functions, of the parameter volume, of the limit of infinite width, of a simplicity prior,\n"
        "where these answer, and of the runs of optimisers.\n\n"
        "  volume measures --target first-bit --train 64 --model mlp:7-40-40-1 --bias-std 0.1\n"
        "  volume measures --target majority --train 32 --model mlp:7-40-40-1 --bias-std 0.1 \\\n"
        "      --optimiser sgd --optimiser sgd:batch-size=1 --optimiser adam:learning-rate=0.01 --runs 1000\n"
        "  volume measures --target first-bit --trigger leading:3 --train 32 --model mlp:7-40-40-1 --bias-std 0.1\n"
        "  volume measures --target addition:2x2 --train 4 --bias-std 0.1",
    )
    measure_words.add(measures)
    add_network(measures.add_argument_group("the network"), required=False)
    add_run(measures, out="write measures.json, the figures and the run behind them in this folder")

    sweep = add(
        "sweep",
        "one class's volume against width, depth, prior scale or input coding",
        "Ask the same query at several settings and follow one class.\n\n"
        "  volume sweep --over depth --values 1,2,3,4 --label zeros --draws 1e6 --out runs/depth",
    )
    sweep.add_argument("--over", required=True, type=one_of("sweep", OVER), help=" | ".join(OVER))
    sweep.add_argument(
        "--values", required=True, metavar="A,B,...", help="settings; part them by / where one has a comma: 0,1/-1,1"
    )
    sweep.add_argument("--label", required=True, help="the class to follow; zeros is the truth table 00...0")
    add_query(sweep)
    method_options.add(sweep, direct_only=True)
    add_run(sweep, out="write sweep.json and sweep.pdf in this folder")

    show = add("show", "the summary of a stored run")
    show.add_argument("path", metavar="PATH", help="folder or file of the run")
    show.add_argument(
        "--group-by", type=specs.parse_classifier, metavar="WORD", help="a coarser classifier, e.g. ones or lz"
    )
    show.add_argument("--label", action="append", help="show this class alone (may be repeated)")
    add_top(show)

    plot = add("plot", "a figure of a stored run")
    plot.add_argument("path", metavar="PATH", help="folder or file of the run")
    plot.add_argument("--kind", type=one_of("figure", KINDS), default="rank", help=" | ".join(KINDS))
    plot.add_argument("--out", metavar="FILE", required=True, help="the figure: .pdf, .svg or .png")

    compare = add(
        "compare",
        "two stored runs on one query, class by class",
        "Exit code 0 when the two runs agree, 1 when some class differs by more than chance allows.",
    )
    compare.add_argument("path_a", metavar="A")
    compare.add_argument("path_b", metavar="B")
    compare.add_argument(
        "--alpha", type=specs.parse_level, default=1e-6, help="chance that two good runs differ (default 1e-6)"
    )
    compare.add_argument(
        "--top", type=specs.parse_whole, default=20, metavar="K", help="classes in the table (default 20)"
    )

    merge = add(
        "merge",
        "stored runs that differ in draws only, joined in one",
        "Join the draws, training runs or replicates of runs of different seeds; or folders that hold parts of one\n"
        "run, which then goes on from there.\n\n"
        "  volume merge runs/seed-0 runs/seed-1 --out runs/both",
    )
    merge.add_argument("paths", nargs="+", metavar="RUN", help="folders or files of the runs, two or more")
    merge.add_argument("--out", metavar="DIR", required=True, help="the folder of the joined run")
    merge.add_argument("--force", action="store_true", help="replace a run that is already in --out")
    add_top(merge)

    local = add(
        "local",
        "how much room there is around a trained network",
        "The prior mass of the parameters around a trained network that behave as it does: no further from its\n"
        "outputs than the cutoff, all the way from the anchor.\n\n"
        "  volume local --anchor trained.npz --model mlp:7-40-40-1 --bias-std 0.1 --cutoff 1e-3,1e-2,1e-1\n"
        "  volume local --anchor checkpoint/ --model mlp:64-64-10 --activation gelu --domain digits --json",
    )
    add_query(local)
    local_command.add_options(local)
    add_run(local, out="keep the run in this folder while it goes on; its report and figure, too", resume=True)

    check = add(
        "check",
        "stored baselines, asked again",
        "Estimate what baselines hold once more and compare: number by number where versions and machine are the\n"
        "same, else by a two-sample test with a stated rate of false alarms.\n\n"
        "  volume check --add baselines/ones.json -- --model mlp:7-40-40-1 --classifier ones --draws 1e6\n"
        "  volume check baselines/*.json\n"
        "  volume check --update baselines/*.json\n\n"
        "Exit code 0 when all are as before, 1 when one changed or cannot be asked.",
    )
    check_command.add_options(check)

    count = add(
        "count",
        "how many functions there are, how many fit, how many of those are right elsewhere",
        "Count functions, whatever network computes them: C^N in all, C^(N - M) that agree with M fixed labels.\n\n"
        "  volume count --inputs 100000000 --outputs 19999 --fixed 992\n"
        "  volume count --inputs 128 --fixed 64 --at-least 58",
    )
    count.add_argument("--inputs", type=specs.parse_whole, required=True, metavar="N", help="rows of the table")
    count.add_argument(
        "--outputs", type=specs.parse_whole, default=1, metavar="C", help="as a model's: 1, like 2, is two classes"
    )
    count.add_argument(
        "--fixed", type=lambda text: specs.parse_whole(text, least=0), default=0, metavar="M", help="labels given"
    )
    count.add_argument(
        "--at-least",
        type=lambda text: specs.parse_whole(text, least=0),
        metavar="K",
        help="also the share of the fitting functions right on K or more of the other N - M inputs",
    )
    count.add_argument(
        "--digits", type=specs.parse_whole, default=5, help="significant digits of the counts (default 5)"
    )

    add("doctor", "versions, devices and a quick check against a theorem")
    return parser, commands
