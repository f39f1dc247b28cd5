"""Exact counts of small networks with finitely many parameterisations, as files that anybody can use.

    python benchmarks/exact_tables.py [--check] [--only WORD] [--out FOLDER] [--quick]

Each file of tests/exact_tables holds one network, its lattice and inputs, the conventions behind the numbers, and for
every function that occurs how many parameterisations compute it and how many of them differ after relabelling hidden
units (docs/exact_tables.md). Without options the files are written anew; --check compares, byte for byte, and exits
with 1 where one differs. All of them take some ten seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.record import Record, Row
from volume import models, samplers

FORMAT, VERSION = "param-volume exact table", 1
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "exact_tables"
BINARY, TERNARY = (-1, 1), (-1, 0, 1)


@dataclass(frozen=True)
class Table:
    """One file: a network without randomness left but which of its parameterisations it is."""

    name: str
    widths: tuple[int, ...]
    activation: str
    weight_levels: Any
    coding: tuple[int, int]
    bias: bool = False

    def query(self, symmetry: str = "none") -> volume.Query:
        """The truth tables of this network under its lattice."""
        return volume.Query(
            models.MLP(self.widths, self.activation, self.bias),
            samplers.Lattice(self.weight_levels),
            volume.BooleanCube(self.widths[0], coding=self.coding),
            volume.TruthTable(),
            symmetry=symmetry,
        )

    @property
    def path(self) -> str:
        return f"{self.name}.json"


TABLES = (
    Table("2-1-sign-ternary-bias-01", (2, 1), "linear", TERNARY, (0, 1), bias=True),
    Table("2-2-1-sign-binary-pm", (2, 2, 1), "sign", BINARY, (-1, 1)),
    Table("2-2-1-sign-binary-01", (2, 2, 1), "sign", BINARY, (0, 1)),
    Table("2-2-1-relu-ternary-bias-01", (2, 2, 1), "relu", TERNARY, (0, 1), bias=True),
    Table("2-2-2-1-sign-binary-pm", (2, 2, 2, 1), "sign", BINARY, (-1, 1)),
    Table("2-3-1-relu-uneven-01", (2, 3, 1), "relu", ((-2, 1), (-1, 0, 2)), (0, 1)),
    Table("3-3-1-sign-binary-pm", (3, 3, 1), "sign", BINARY, (-1, 1)),
    Table("3-3-1-sign-ternary-01", (3, 3, 1), "sign", TERNARY, (0, 1)),
    Table("3-3-1-relu-binary-pm", (3, 3, 1), "relu", BINARY, (-1, 1)),
    Table("3-3-1-relu-ternary-pm", (3, 3, 1), "relu", TERNARY, (-1, 1)),
    Table("3-2-2-1-relu-binary-01", (3, 2, 2, 1), "relu", BINARY, (0, 1)),
    Table("4-3-1-relu-binary-01", (4, 3, 1), "relu", BINARY, (0, 1)),
    Table("4-3-1-sign-binary-pm", (4, 3, 1), "sign", BINARY, (-1, 1)),
)


def record(table: Table) -> dict[str, Any]:
    """What the file says."""
    counted, orbits = (volume.estimate(table.query(symmetry), volume.Exact()) for symmetry in ("none", "quotient"))
    asked = table.query()
    functions = {label: [counted[label].count, orbits[label].count] for label in sorted(counted)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "command": f"python benchmarks/exact_tables.py --only {table.name}",
        "model": asked.model.describe(),
        "prior": asked.prior.describe(),
        "domain": {"boolean": table.widths[0], "coding": list(table.coding)},
        "conventions": {
            "label": "one digit an input, inputs in order; input i is i in binary, first digit first",
            "ties": "output > 0 is class 1, output == 0 is class 0; a hidden sign(a) is +1 if a > 0, else -1",
            "levels": "parameters take the levels as they are, each with the same probability; nothing is scaled",
            "counts": "[parameterisations, parameterisations up to permutations of hidden units]",
        },
        "parameterisations": sum(count for count, _ in functions.values()),
        "orbits": sum(orbit for _, orbit in functions.values()),
        "functions": functions,
    }


def text(found: dict[str, Any]) -> str:
    """The file: one line a function, so that a difference shows where it is."""
    head = json.dumps({name: value for name, value in found.items() if name != "functions"}, indent=1)
    rows = ",\n".join(f'  "{label}": {json.dumps(pair)}' for label, pair in found["functions"].items())
    return f'{head[:-2]},\n "functions": {{\n{rows}\n }}\n}}\n'


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """A stored table by its name. ValueError for a file of another format."""
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"{name}.json is no {FORMAT!r} of version {VERSION}.")
    return found


def wanted(only: str) -> Iterator[Table]:
    return (table for table in TABLES if only in table.name)


def run(options: argparse.Namespace) -> Record:
    if options.quick and not options.check:
        raise SystemExit("--quick takes the first tables alone: give it with --check, which writes nothing.")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for table in list(wanted(options.only))[: 3 if options.quick else None]:
        found = record(table)
        path, made = options.out / table.path, text(found)
        if options.check:
            same = path.is_file() and path.read_text(encoding="utf-8") == made
        else:
            path.write_text(made, encoding="utf-8")
            same = True
        facts = {name: found[name] for name in ("parameterisations", "orbits")}
        facts |= {"functions": len(found["functions"]), "as stored": same}
        rows.append(Row(table.name, facts=facts))
        script.say(rows[-1])
    different = [row.name for row in rows if not row.facts["as stored"]]
    notes = ["Orbits: parameterisations that differ by more than permutations of hidden units."]
    return Record(rows, notes=notes, failure=f"not as stored: {', '.join(different)}" if different else "")


def main() -> None:
    parser = script.options(__doc__, "the first three tables, with --check")
    parser.add_argument("--check", action="store_true", help="compare with the stored files instead of writing them")
    parser.add_argument("--only", default="", metavar="WORD", help="tables with this word in their name")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER")
    script.main("exact_tables", run, parser)


if __name__ == "__main__":
    main()
