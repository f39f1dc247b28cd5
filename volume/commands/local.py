"""``volume local``: how much room there is around a trained network.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.commands.local_options import RAYS, SPLITTING, check
from volume.commands.shared import (
    build_query,
    check_question,
    check_run,
    finish,
    print_report,
    run_options,
    to_json,
)
from volume.commands.usage import usage

if TYPE_CHECKING:
    from volume.estimators.local.local import Local
    from volume.queries.query import Query

logger = logging.getLogger(__name__)


def build(args: argparse.Namespace, query: Query) -> Local:
    """The method that the options ask for; UsageError for an anchor that does not fit the query."""
    from volume.common.seeds import threefry_key
    from volume.estimators.local.local import Local

    names = (*RAYS, *SPLITTING, "dtype", "precision")
    options: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options |= {"divergence": args.divergence, "within_class": args.within_class, "estimator": args.estimator}
    method = usage(Local, args.anchor, args.cutoff, **options)
    usage(method.start, query, threefry_key(0))  # to be told now what it refuses; nothing is drawn yet
    return method


def run(args: argparse.Namespace) -> int:
    """Measure and print, the slopes too, and draw the curve in ``--out``; Ctrl-C keeps what was found."""
    check(args)
    check_question(args)
    folder, resume = check_run(args)
    from volume import estimation
    from volume.estimators.local.curve import LocalCurve

    query = build_query(args)
    method = build(args, query)
    options = run_options(args) | {"out": folder, "resume": resume, "command": args.begun}
    options["replace"] = args.force and folder is not None
    report, code = finish(lambda: estimation.run(query, method, **options), "local")
    if report is None:
        return code
    curve = LocalCurve.of(report)
    if folder is not None:
        drawn = [curve.plot(Path(folder) / "curve.pdf")] if len(args.cutoff) > 1 else []
        logger.info("saved in %s", ", ".join(map(str, [folder, *drawn])))
    if args.json:
        print(to_json(report.to_dict()))
    else:
        args.top = None
        print_report(report, args)
        print("\n" + curve.summary())
    return code
