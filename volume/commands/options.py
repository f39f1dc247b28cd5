"""Options that several commands of the command line share: the network, the question, the run."""

from __future__ import annotations

import argparse

from volume.commands import specs
from volume.commands.values import one_of, parse_coding, parse_per_layer, parse_seed, parse_whole
from volume.common.choices import ACTIVATIONS, SYMMETRIES


def add_network(group: argparse._ArgumentGroup, *, required: bool = True) -> None:
    group.add_argument(
        "--model",
        type=specs.parse_model,
        required=required,
        help="mlp:INPUTS-HIDDEN-...-OUTPUTS | perceptron:INPUTS | import:package.module:attribute (a model of yours)",
    )
    group.add_argument(
        "--activation",
        type=one_of("activation", ACTIVATIONS),
        help=f"{' | '.join(ACTIVATIONS)} (default relu)",
    )
    group.add_argument("--no-bias", action="store_true", help="the model has no bias parameters")
    group.add_argument(
        "--prior",
        type=specs.parse_prior,
        default="gaussian",
        metavar="WORD",
        help="gaussian | uniform | sphere | binary (weights and biases -1 or 1) | ternary (-1, 0, 1) |"
        " levels:A,B,... (one list for all layers, or one per layer parted by /) (default gaussian)",
    )
    for option, text in (
        ("--weight-std", "gaussian: weights N(0, std^2 / fan-in); one value or one per layer (default 1)"),
        ("--bias-std", "gaussian: biases N(0, std^2) (default 0)"),
        ("--weight-bound", "uniform: weights within bound / sqrt(fan-in) (default 1)"),
        ("--bias-bound", "uniform: biases within the bound (default 0)"),
        ("--radius", "sphere: its radius; one value, or one per layer with --per-layer (default 1)"),
    ):
        group.add_argument(option, type=parse_per_layer, metavar="X[,X...]", help=text)
    group.add_argument(
        "--bias-levels",
        type=specs.parse_levels,
        metavar="A,B,...",
        help="binary, ternary, levels: those of the biases, likewise (default: those of the layer's weights)",
    )
    group.add_argument(
        "--per-layer", action="store_const", const=True, help="sphere: each layer on a sphere of its own"
    )
    group.add_argument(
        "--coding", type=parse_coding, metavar="A,B", help="boolean: values of the digits 0 and 1 (default 0,1)"
    )


def add_query(parser: argparse.ArgumentParser, *, symmetry: bool = False) -> None:
    group = parser.add_argument_group("the question")
    add_network(group)
    group.add_argument(
        "--domain",
        type=specs.parse_domain,
        help="boolean:N | points:FILE (.npy, .csv) | digits | digits:0,7 (default: the classifier's own inputs if it"
        " has a FILE, else boolean:N for the model's N inputs)",
    )
    group.add_argument(
        "--classifier",
        type=specs.parse_classifier,
        default=specs.parse_classifier("table"),
        metavar="WORD",
        help="table | ones | lz | npn | argmax | fits:FILE | fits:labels=01?1... | accuracy:FILE[:BINS] |"
        " accuracy:labels=01?1...[:BINS], or a product such as 'ones*lz' (default table); FILE has the label in the"
        " last column, ? is any label; SPLIT|FITS takes shares within what fits; named tasks:"
        " fits:target=majority,train=32[,split-seed=0], accuracy: (the other inputs) and given: (both) likewise,"
        " defects:target=first-bit,trigger=leading:3[,train=32]",
    )
    if symmetry:
        group.add_argument(
            "--symmetry",
            type=one_of("symmetry", SYMMETRIES),
            default="none",
            help="none: prior mass (default) | quotient: each network once, its mass divided by the number of its"
            " copies under hidden permutations and signs | pooled: prior mass, estimated from all tables of equal"
            " volume; pooled:inputs leaves out the negated head",
        )


def add_run(parser: argparse.ArgumentParser, *, out: str, default: str | None = None, resume: bool = False) -> None:
    group = parser.add_argument_group("the run")
    group.add_argument("--seed", type=parse_seed, default=0, help="a whole number (default 0)")
    group.add_argument("--out", metavar="DIR", default=default, help=out)
    if resume:
        group.add_argument("--resume", metavar="DIR", help="go on with the run in this folder; needs no other option")
    if default is None:
        group.add_argument("--force", action="store_true", help="replace a run that is already in --out")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="progress on stderr: a bar, or lines in a log (default: on a terminal; demo: always)",
    )


def add_top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--top",
        type=parse_whole,
        metavar="K",
        help="classes to list (default: 20 in the table; in JSON all when at most 10,000 were seen, else 1000)",
    )
