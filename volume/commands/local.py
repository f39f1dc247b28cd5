"""``volume local``: how much room there is around a trained network.

Everything that can be told from the words alone is checked before the library, and so JAX, is imported.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from volume.commands.local_options import RAYS, SPLITTING, check
from volume.commands.shared import (
    SHOWN,
    build_query,
    check_question,
    check_run,
    finish,
    run_options,
    tell_and_save,
    to_json,
)
from volume.commands.usage import usage

if TYPE_CHECKING:
    from volume.estimators.local.local import Local
    from volume.queries.query import Query


def build(args: argparse.Namespace, query: Query) -> Local:
    """Return the method that the options ask for; UsageError for an anchor that does not fit the query."""
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
    figures = ["curve.pdf"] if len(args.cutoff) > 1 else []
    folder, resume = check_run(args, *figures)
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
    text = to_json(report.to_dict()) if args.json else f"{report.summary(SHOWN)}\n\n{curve.summary()}"
    tell_and_save(text, folder, lambda beside: [curve.plot(beside / name) for name in figures])
    return code
