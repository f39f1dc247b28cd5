"""The options of ``volume local``, and which of them go together."""

from __future__ import annotations

import argparse
from pathlib import Path

from volume.commands.usage import UsageError, flag
from volume.commands.values import one_of, parse_float, parse_level, parse_whole
from volume.common.choices import CHAINS, DIVERGENCES, DTYPES, ESTIMATORS, PRECISIONS, PRECONDITIONERS

SPLITTING = ("particles", "moves", "replicates", "line_points", "chain")
RAYS = ("rays", "preconditioner", "fit")


def parse_cutoffs(text: str) -> tuple[float, ...]:
    """Return one divergence or several: "1e-2" or "1e-3,1e-2,1e-1"."""
    values = tuple(parse_float(part) for part in text.split(","))
    if any(value < 0 for value in values):
        raise UsageError(f"expected divergences of 0 or more, got {text!r}")
    return values


def parse_preconditioner(text: str) -> str | Path:
    """Return one of the words, or a file: what is there, has an ending or lies in a folder."""
    if text not in PRECONDITIONERS and (Path(text).exists() or "." in text or "/" in text):
        return Path(text)
    return one_of("preconditioner", PRECONDITIONERS)(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``volume local`` beside those of the question and of the run."""
    group = parser.add_argument_group("the region")
    group.add_argument(
        "--anchor", required=True, metavar="FILE", help="the trained parameters: .npz, Flax .msgpack, an Orbax folder"
    )
    group.add_argument(
        "--cutoff",
        type=parse_cutoffs,
        default=(1e-2,),
        metavar="C[,C...]",
        help="the largest divergence (default 0.01)",
    )
    group.add_argument(
        "--divergence",
        type=one_of("divergence", DIVERGENCES),
        default="kl",
        help="kl: mean KL divergence from the anchor's outputs, in nats | agreement: share of the inputs that are"
        " decided otherwise (default kl)",
    )
    group.add_argument("--within-class", action="store_true", help="keep only networks of the anchor's class")
    group = parser.add_argument_group("the method")
    group.add_argument("--level", type=parse_level, default=0.95, help="coverage of intervals (default 0.95)")
    group.add_argument(
        "--estimator",
        type=one_of("estimator", ESTIMATORS),
        default="rays",
        help="rays | splitting | both (default rays)",
    )
    group.add_argument("--rays", type=parse_whole, metavar="S", help="rays from the anchor (default 1024)")
    group.add_argument(
        "--preconditioner",
        type=parse_preconditioner,
        metavar="WORD|FILE",
        help="curvature by which rays are drawn: auto | identity | diagonal | full | adam (the second moments beside "
        "the anchor's parameters) | FILE with curvatures by parameter, such as an .npz (default auto: full up to 512 "
        "parameters)",
    )
    group.add_argument(
        "--fit", type=lambda text: parse_whole(text, least=0), help="steps that fit the preconditioner (default 100)"
    )
    for name, text in (
        ("particles", "splitting: networks of one replicate (default 64)"),
        ("moves", "splitting: moves of every network at each level (default 8)"),
        ("replicates", "splitting: independent repetitions behind the interval (default 8)"),
        ("line-points", "splitting: points examined on the line to the anchor (default 16)"),
    ):
        group.add_argument(f"--{name}", type=parse_whole, metavar="N", help=text)
    group.add_argument(
        "--chain",
        type=one_of("chain", CHAINS),
        help="splitting: auto | tempered (by gradients) | levels (default auto: levels for agreement)",
    )
    group.add_argument("--dtype", type=one_of("dtype", DTYPES), help="float32 | float64 (default float32)")
    group.add_argument("--precision", type=one_of("precision", PRECISIONS), help="of matrix products (default highest)")


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together, and files that are not there; imports nothing."""
    for names, owners in ((SPLITTING, ("splitting", "both")), (RAYS, ("rays", "both"))):
        for name in names:
            if getattr(args, name) is not None and args.estimator not in owners:
                raise UsageError(f"{flag(name)} belongs to --estimator {' or '.join(owners)}: leave one of them out.")
    if args.divergence != "agreement" and min(args.cutoff) == 0:
        raise UsageError("--cutoff 0 is for --divergence agreement: every other network differs a little.")
    if not Path(args.anchor).exists():
        raise UsageError(f"There is no checkpoint {args.anchor}.")
    if isinstance(args.preconditioner, Path) and not args.preconditioner.exists():
        words = ", ".join(PRECONDITIONERS)
        raise UsageError(f"--preconditioner {args.preconditioner} is no file of curvatures, nor one of {words}.")
