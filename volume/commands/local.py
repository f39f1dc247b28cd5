"""``volume local``: how much room there is around a trained network.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.commands import specs
from volume.commands.methods import DTYPES, PRECISIONS, one_of
from volume.commands.usage import UsageError

if TYPE_CHECKING:
    from volume.estimators.local.local import Local
    from volume.queries.query import Query

DONE, STOPPED = 0, 3
# Of volume.local; a test compares.
DIVERGENCES = ("kl", "agreement")
ESTIMATORS = ("rays", "splitting", "both")
PRECONDITIONERS = ("auto", "identity", "diagonal", "full", "adam")
CHAINS = ("auto", "tempered", "levels")
SPLITTING = ("particles", "moves", "replicates", "line_points", "chain")
RAYS = ("rays", "preconditioner", "fit")


def parse_cutoffs(text: str) -> tuple[float, ...]:
    """One divergence or several: "1e-2" or "1e-3,1e-2,1e-1"."""
    values = tuple(specs.parse_float(part) for part in text.split(","))
    if any(value < 0 for value in values):
        raise UsageError(f"expected divergences of 0 or more, got {text!r}")
    return values


def parse_preconditioner(text: str) -> str | Path:
    """One of the words, or a file: what is there, has an ending or lies in a folder."""
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
        help="kl: mean KL from the anchor's outputs, nats | agreement: share of the inputs decided otherwise"
        " (default kl)",
    )
    group.add_argument("--within-class", action="store_true", help="cut the region with the anchor's class")
    group = parser.add_argument_group("the method")
    group.add_argument("--level", type=specs.parse_level, default=0.95, help="coverage of intervals (default 0.95)")
    group.add_argument(
        "--estimator",
        type=one_of("estimator", ESTIMATORS),
        default="rays",
        help="rays | splitting | both (default rays)",
    )
    group.add_argument("--rays", type=specs.parse_whole, metavar="S", help="rays from the anchor (default 1024)")
    group.add_argument(
        "--preconditioner",
        type=parse_preconditioner,
        metavar="WORD|FILE",
        help="how rays are aimed: auto | identity | diagonal | full | adam: the second moments beside the anchor's "
        "parameters | FILE: curvatures by parameter, such as an .npz (default auto: full up to 512 parameters)",
    )
    group.add_argument(
        "--fit", type=lambda text: specs.parse_whole(text, least=0), help="steps that fit the aim (default 100)"
    )
    for name, text in (
        ("particles", "splitting: networks of one replicate (default 64)"),
        ("moves", "splitting: moves of every network at each level (default 8)"),
        ("replicates", "splitting: independent repetitions behind the interval (default 8)"),
        ("line-points", "splitting: points of the line to the anchor that are looked at (default 16)"),
    ):
        group.add_argument(f"--{name}", type=specs.parse_whole, metavar="N", help=text)
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
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} belongs to --estimator {' or '.join(owners)}: leave one of them out.")
    if args.divergence != "agreement" and min(args.cutoff) == 0:
        raise UsageError("--cutoff 0 is for --divergence agreement: every other network differs a little.")
    if not Path(args.anchor).exists():
        raise UsageError(f"There is no checkpoint {args.anchor}.")
    if isinstance(args.preconditioner, Path) and not args.preconditioner.exists():
        words = ", ".join(PRECONDITIONERS)
        raise UsageError(f"--preconditioner {args.preconditioner} is no file of curvatures, nor one of {words}.")


def build(args: argparse.Namespace, query: Query) -> Local:
    """The method that the options ask for; UsageError for an anchor that does not fit the query."""
    import jax

    from volume.commands.shared import usage
    from volume.estimators.local.local import Local

    names = (*RAYS, *SPLITTING, "dtype", "precision")
    options: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options |= {"divergence": args.divergence, "within_class": args.within_class, "estimator": args.estimator}
    method = usage(Local, args.anchor, args.cutoff, **options)
    usage(method.start, query, jax.random.key(0))  # to be told now what it refuses; nothing is drawn yet
    return method


def run(args: argparse.Namespace) -> int:
    """Measure and print, the slopes too, and draw the curve in ``--out``; Ctrl-C keeps what was found."""
    from volume.commands.shared import build_query, check_question, check_run, clear_run, print_report, to_json, usage
    from volume.commands.shared import progress as shown

    check(args)
    check_question(args)
    folder, resume = check_run(args)
    from volume import estimation
    from volume.estimation import Interrupted
    from volume.estimators.local.curve import Curve
    from volume.runs.directory import RunStopped

    query = build_query(args)
    method = build(args, query)
    if args.force and folder is not None:
        usage(clear_run, folder)
    code = DONE
    options: dict[str, Any] = {"seed": args.seed, "level": args.level, "progress": shown(args)}
    try:
        report = estimation.run(query, method, **options, out=folder, resume=resume, command=args.begun)
    except (FileExistsError, NotADirectoryError, BlockingIOError) as error:  # nothing was drawn
        raise UsageError(str(error)) from error
    except RunStopped as stop:
        print(f"volume: {stop}", file=sys.stderr)
        return STOPPED
    except Interrupted as stop:
        report, code = stop.report, STOPPED
        print(f"volume: stopped after {stop.progress.position}.", file=sys.stderr)
        if stop.out is not None:
            print(f"volume: kept in {stop.out}: volume local --resume {stop.out} goes on.", file=sys.stderr)
        if report is None:
            return code
    curve = Curve.of(report)
    if folder is not None:
        drawn = [curve.plot(Path(folder) / "curve.pdf")] if len(args.cutoff) > 1 else []
        print(f"volume: saved in {', '.join(map(str, [folder, *drawn]))}", file=sys.stderr)
    if args.json:
        print(to_json(report.to_dict()))
    else:
        args.top = None
        print_report(report, args)
        print("\n" + curve.summary())
    return code
