"""The command line that all benchmarks share: `--json FILE`, `--table FILE`, progress on stderr, tables on stdout.

A benchmark is a function from its options to a `Record`. Run as a script, it prints its tables; `python -m benchmarks`
runs the same script in a process of its own and reads what ``--json`` wrote.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import Load, describe, environment
from benchmarks.record import FORMAT, VERSION, Record, Row, body, sentence, strict, write_json

HIDDEN = ("json", "table")  # where results go is no part of what was measured


def options(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes; each adds its own. ``quick`` says what ``--quick`` leaves."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the record here")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the tables here, as Markdown")
    return parser


def say(what: Row | str) -> None:
    """A line for whoever watches."""
    print(what if isinstance(what, str) else sentence(what), file=sys.stderr, flush=True)


def document(name: str, record: Record, given: dict[str, Any], load: dict[str, Any], date: str) -> dict[str, Any]:
    """Everything about one finished run, strict JSON."""
    found = {
        "format": FORMAT,
        "version": VERSION,
        "benchmark": name,
        "options": {key: value for key, value in given.items() if key not in HIDDEN},
        "environment": environment(record.precision, record.dtype),
        "date": date,
        "load": load,
        "limits": record.limits,
        "missing": record.missing,
        "rows": [row.to_dict() for row in record.rows],
        "notes": record.notes,
        "failure": record.failure,
        "details": record.details,
    }
    return strict(found)


def page(found: dict[str, Any], title: str = "") -> str:
    """A finished run as Markdown."""
    heading = f"{describe(found['environment'])}; {found['date']}; {found['load']['seconds']:.0f} s"
    return "\n\n".join([*([f"# {title}"] if title else []), heading, body(found)]) + "\n"


def main(
    name: str,
    run: Callable[[argparse.Namespace], Record],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None = None,
    *,
    title: str = "",
) -> None:
    """Parse, run, print, write. Exits with 1 when the record says that its figures must not be believed.

    ``title`` heads what ``--table`` writes.
    """
    given = parser.parse_args(arguments)
    load, date = Load(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = run(given)
    found = document(name, record, vars(given), load.so_far(), date)
    print(page(found))
    if given.table:
        given.table.parent.mkdir(parents=True, exist_ok=True)
        given.table.write_text(page(found, title or name), encoding="utf-8")
    if given.json:
        write_json(given.json, found)
    if record.failure:
        sys.exit(record.failure)
