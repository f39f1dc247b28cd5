"""Every command with its options: what can be typed. Imports no array library."""

from __future__ import annotations

import argparse
import textwrap
from typing import NoReturn

from volume.commands import distributed, local_options, measure_options, specs
from volume.commands import methods as method_options
from volume.commands.options import add_network, add_query, add_run, add_top
from volume.commands.usage import EXIT_CODES, UsageError
from volume.commands.values import one_of, parse_level, parse_seed, parse_whole
from volume.common.version import __version__

KINDS = ("rank", "complexity", "balance")
OVER = ("width", "depth", "coding", "weight-std", "bias-std", "weight-bound", "bias-bound", "radius")


class Formatter(argparse.HelpFormatter):
    """Fills paragraphs, but leaves examples, which are indented, as they are; breaks no word at a hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            each if each.startswith(" ") else "\n".join(self._split_lines(each, width)) for each in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"Try '{self.prog} --help'.")


def build() -> tuple[Parser, dict[str, Parser]]:
    """Build the parser, and the parser of each command by its name."""
    parser = Parser(
        prog="volume",
        description="How much parameter space each function of a neural network occupies.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"volume {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands: dict[str, Parser] = {}

    def add(name: str, summary: str, description: str = "") -> Parser:
        command = subparsers.add_parser(
            name,
            help=summary,
            description=description or summary[0].upper() + summary[1:] + ".",
            epilog=EXIT_CODES,
            allow_abbrev=False,
            formatter_class=Formatter,
        )
        command.add_argument("--json", action="store_true", help="JSON on stdout, and an error as JSON on stderr")
        said = command.add_mutually_exclusive_group()
        said.add_argument("--quiet", action="store_true", help="on stderr errors alone, no progress")
        said.add_argument("--verbose", action="store_true", help="on stderr what happens behind the run, too")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.add_argument("--trust", action="store_true", help="run the code that a stored run or baseline names")
        command.add_argument("--no-cache", action="store_true", help="keep no compiled programs, and use none")
        commands[name] = command
        return command

    demo = add("demo", "functions counted and parameter space measured, for two tasks and 10 million functions")
    demo.add_argument("--draws", type=parse_whole, help="networks to draw (default 1e7)")
    demo.set_defaults(top=None)  # a stopped demo prints what `estimate` would
    add_run(demo, out="folder of the stored run and the figures (default demo-out)", default="demo-out")

    estimate = add(
        "estimate",
        "the volume of every class of functions, with intervals",
        "Put the functions that networks compute into classes and report every class's volume: by drawing and\n"
        "counting them, or, for a class too rare to be drawn, by splitting.\n\n"
        "  volume estimate --model mlp:7-40-40-1 --domain boolean:7 --draws 1e7\n"
        "  volume estimate --model perceptron:5 --no-bias --coding -1,1 \\\n"
        "      --classifier ones --draws 1e6 --json\n"
        "  volume estimate --model mlp:7-40-40-1 --classifier fits:FILE \\\n"
        "      --method splitting",
    )
    add_query(estimate, symmetry=True)
    method_options.add(estimate)
    add_run(estimate, out="keep the run in this folder while it goes on, and its report", resume=True)
    distributed.add(estimate)
    add_top(estimate)

    measures = add(
        "measures",
        "what fits the training labels, by the share of functions and of parameter volume that generalises",
        "Divide the functions that fit some training labels by what they do on the other inputs, and measure each\n"
        "part: as a share of the functions, of the parameter volume, of the infinite-width limit and of a simplicity\n"
        "prior, where these answer, and of the training runs of optimisers.\n\n"
        "  volume measures --target first-bit --train 64 --model mlp:7-40-40-1 \\\n"
        "      --bias-std 0.1\n"
        "  volume measures --target majority --train 32 --model mlp:7-40-40-1 \\\n"
        "      --bias-std 0.1 --optimiser sgd --optimiser sgd:batch-size=1 \\\n"
        "      --optimiser adam:learning-rate=0.01 --runs 1000\n"
        "  volume measures --target first-bit --trigger leading:3 --train 32 \\\n"
        "      --model mlp:7-40-40-1 --bias-std 0.1\n"
        "  volume measures --target addition:2x2 --train 4 --bias-std 0.1",
    )
    measure_options.add(measures)
    add_network(measures.add_argument_group("the network"), required=False)
    add_run(measures, out="write measures.json, the figures and the run behind them in this folder")

    sweep = add(
        "sweep",
        "one class's volume against width, depth, prior scale or input coding",
        "Ask the same query at several settings and follow one class.\n\n"
        "  volume sweep --over depth --values 1,2,3,4 --label zeros --draws 1e6 \\\n"
        "      --model mlp:7-40-40-1 --out runs/depth",
    )
    sweep.add_argument("--over", required=True, type=one_of("sweep", OVER), help=" | ".join(OVER))
    sweep.add_argument(
        "--values", required=True, metavar="A,B,...", help="settings; separated by / where one has a comma: 0,1/-1,1"
    )
    sweep.add_argument("--label", required=True, help="the class to follow; zeros is the table 00...0")
    add_query(sweep)
    method_options.add(sweep, direct_only=True)
    add_run(sweep, out="write sweep.json and sweep.pdf in this folder")

    show = add("show", "the summary of a stored run")
    show.add_argument("path", metavar="PATH", help="folder or file of the run")
    show.add_argument(
        "--group-by", type=specs.parse_classifier, metavar="WORD", help="a coarser classifier, e.g. ones or lz"
    )
    show.add_argument("--label", action="append", help="show this class alone (may be repeated); zeros is 00...0")
    add_top(show)

    plot = add("plot", "a figure of a stored run")
    plot.add_argument("path", metavar="PATH", help="folder or file of the run")
    kinds = f"{' | '.join(KINDS)} of counted draws (default: rank, or the volumes of named classes)"
    plot.add_argument("--kind", type=one_of("figure", KINDS), help=kinds)
    plot.add_argument("--out", metavar="FILE", required=True, help="the figure: .pdf, .svg or .png")

    compare = add(
        "compare",
        "two stored runs on one query, class by class",
        "Exit code 0 when the two runs agree, 1 when some class differs by more than chance allows, 5 when they\n"
        "answer different questions.",
    )
    compare.add_argument("path_a", metavar="A")
    compare.add_argument("path_b", metavar="B")
    _add_alpha(compare, "chance that two runs of equal volumes are said to disagree")
    compare.add_argument("--top", type=parse_whole, default=20, metavar="K", help="classes in the table (default 20)")

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
        "Estimate the prior mass of the parameters around a trained network, the anchor, that behave as it does: on\n"
        "the straight line from the anchor to them no output diverges by more than the cutoff.\n\n"
        "  volume local --anchor trained.npz --model mlp:7-40-40-1 --bias-std 0.1 \\\n"
        "      --cutoff 1e-3,1e-2,1e-1\n"
        "  volume local --anchor checkpoint/ --model mlp:64-64-10 \\\n"
        "      --activation gelu --domain digits --json",
    )
    add_query(local)
    local_options.add_options(local)
    add_run(local, out="keep the run in this folder while it goes on; its report and figure, too", resume=True)

    check = add(
        "check",
        "stored baselines, asked again",
        "Estimate what baselines hold once more and compare: number by number where versions and machine are the\n"
        "same, else by a two-sample test with a stated rate of false alarms.\n\n"
        "  volume check --add baselines/ones.json -- --model mlp:7-40-40-1 \\\n"
        "      --classifier ones --draws 1e6\n"
        "  volume check baselines/*.json\n"
        "  volume check --update baselines/*.json\n\n"
        "Exit code 0 when all are as before, 1 when one changed, 5 when one cannot be asked or compared.",
    )
    _add_check(check)

    count = add(
        "count",
        "how many functions there are, how many fit, how many of those are right elsewhere",
        "Count functions, whatever network computes them: C^N in all, C^(N - M) that agree with M fixed labels.\n\n"
        "  volume count --inputs 100000000 --outputs 19999 --fixed 992\n"
        "  volume count --inputs 128 --fixed 64 --at-least 58",
    )
    count.add_argument("--inputs", type=parse_whole, required=True, metavar="N", help="rows of the table")
    count.add_argument(
        "--outputs", type=parse_whole, default=1, metavar="C", help="as a model's: 1, like 2, is two classes"
    )
    count.add_argument(
        "--fixed", type=lambda text: parse_whole(text, least=0), default=0, metavar="M", help="labels given"
    )
    count.add_argument(
        "--at-least",
        type=lambda text: parse_whole(text, least=0),
        metavar="K",
        help="also the share of the fitting functions right on K or more of the other N - M inputs",
    )
    count.add_argument("--digits", type=parse_whole, default=5, help="significant digits of the counts (default 5)")

    add("doctor", "versions, devices and a quick check against a theorem")
    return parser, commands


def _add_check(parser: argparse.ArgumentParser) -> None:
    """The options of ``volume check``."""
    parser.add_argument("paths", nargs="*", metavar="BASELINE", help="files such as baselines/*.json")
    parser.add_argument("--add", metavar="FILE", help="make a baseline of the estimate whose options follow --")
    parser.add_argument("--update", action="store_true", help="rewrite the baselines that differ, and say how")
    parser.add_argument(
        "--statistical", action="store_true", help="test draws of another seed even where numbers must be equal"
    )
    _add_alpha(parser, "chance that any unchanged baseline is called changed")
    parser.add_argument("--seed", type=parse_seed, help="of a test's new draws (default: follows from the baseline's)")
    parser.add_argument("--no-programs", action="store_true", help="leave out what the compiled steps cost")


def _add_alpha(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--alpha", type=parse_level, default=1e-6, help=f"{text} (default 1e-6)")
