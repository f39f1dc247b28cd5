"""``volume sweep``: one class's volume against one setting."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from volume.commands.shared import (
    build_method,
    build_query,
    check_question,
    check_study,
    run_options,
    tell_and_save,
    to_json,
)
from volume.commands.usage import Exit, UsageError, usage
from volume.commands.values import parse_coding, parse_float, parse_whole


def parse_values(over: str, text: str) -> list[Any]:
    parts = [part for part in text.split("/" if "/" in text or over == "coding" else ",") if part]
    parse: Callable[[str], Any] = parse_float
    if over == "coding":
        parse = parse_coding
    elif over in ("width", "depth"):
        parse = lambda part: parse_whole(part, least=int(over == "width"))  # noqa: E731
    if not parts:
        raise UsageError("--values is empty: give settings such as 10,20,40.")
    return [parse(part) for part in parts]


def run(args: argparse.Namespace) -> int:
    """Estimate one class at every setting; write the table and the figure."""
    over = args.over.replace("-", "_")
    values = parse_values(over, args.values)
    check_question(args)
    check_study(args.out, force=args.force, names=("sweep.json", "sweep.pdf"))
    from volume.studies.sweep import sweep, sweep_queries

    query = build_query(args)
    method: Any = build_method(args, query)
    queries = usage(sweep_queries, query.model, query.prior, query.domain, query.classifier, over=over, values=values)
    label = query.bound.labels(usage(query.bound.key, args.label)[None])[0]
    result = sweep(queries, method, label, **run_options(args), x_name=over.replace("_", " "))

    def write(folder: Path) -> None:
        result.save(folder)
        result.plot(folder / "sweep.pdf")

    tell_and_save(to_json(result.to_dict()) if args.json else result.summary(), args.out, write)
    return Exit.DONE
