"""How much of a class do one network and its symmetric copies account for, where the class's true volume is known?

    python benchmarks/local_copies.py [--anchors 2] [--rays 8192] [--quick] [--table benchmarks/local_copies.md]

Networks with one hidden layer of 3 or 4 units, weights N(0, 2.25 / fan-in), biases N(0, 1), all Boolean inputs. A class
is one truth table; its volume is counted by `volume.Direct`, or measured by `volume.Splitting` where draws hardly find
it. Anchors are drawn from the class, or trained into it (Adam from a draw). Around each, in nats:

* the mass of the region that a straight line reaches without leaving the class (agreement at cutoff 0), by rays and by
  splitting, and of {KL <= cutoff} cut with the class (``within_class``). Rays that keep the class are aimed by the
  prior alone ("identity"): curvatures of KL say little of where decisions turn, and aim too near;
* times the number of copies: as if no two overlapped, which may exceed the class, and cut apart, which may not
  (volume.estimators.local.copies);
* beside the class's volume. A bound above the upper limit of the class would be an error, and is marked.

What rays in a cell estimate is checked by draws of the class that share no code with it
(benchmarks/local_copies_draws.py). Where a bound and an upper limit each hold at 95 %, chance marks fewer than one row
in twenty.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.local_copies_draws import Case, Params, bits, class_draws, seen, trained
from benchmarks.record import Record, Row
from volume.statistics.intervals import clopper_pearson

CASES = (
    Case((2, 3, 1), "tanh", ("0001", "0111", "0110")),
    Case((2, 3, 1), "relu", ("0001", "0111", "0110")),
    Case((3, 4, 1), "tanh", ("00010111", "01101001")),
)
CUTOFFS = (0.1, 1.0)  # KL, nats
PROBES = 64  # of a ray, for returns: with the default of 4 so many are missed that masses are some per cent too large
FEW = 100  # hits of a class below which splitting gives its volume


def truths(case: Case, draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Each class's log volume with its 95 % interval, and the method."""
    report, found = volume.estimate(case.query, volume.Direct(draws), seed=seed), {}
    for table in case.tables:
        entry: Any = report[table]
        method = "direct"
        if entry.count < FEW:
            fits = volume.Fits(np.asarray(case.domain.inputs), bits(table).astype(int))
            query = volume.Query(case.model, case.prior, case.domain, classifier=fits)
            (entry,) = volume.estimate(query, volume.Splitting(particles=1024, replicates=12), seed=seed).entries
            method = "splitting"
        found[table] = {"log_volume": entry.log_volume, "low": entry.log_low, "high": entry.log_high, "method": method}
    return found


def share(hits: np.ndarray) -> tuple[float, float, float] | None:
    """Of draws, with a 95 % interval; None without draws."""
    if not len(hits):
        return None
    low, high = np.exp(clopper_pearson(int(hits.sum()), len(hits)))
    return float(hits.mean()), float(low), float(high)


def around(case: Case, anchor: Params, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """The region of one anchor that keeps the class, and what its copies say."""
    method = volume.Local(
        anchor,
        0.0,
        divergence="agreement",
        estimator="both",
        preconditioner="identity",
        fit=0,
        probes=PROBES,
        **settings,
    )
    report: Any = volume.estimate(case.query, method, seed=seed)
    by = {entry.estimator: entry for entry in report.entries}
    rays, splitting, copies = by["rays"], by["splitting"], report.run["copies"]
    found = {"rays": rays.log_volume, "effective": copies["effective_rays"], "splitting": splitting.log_volume}
    found |= {"splitting_is": splitting.headline, "word": copies["word"]}
    return found | {
        "log_copies": copies["log_order"] - copies["log_stabiliser"],
        "apart": copies["log_if_apart"],
        "cut": copies["log_estimate"],
        "bound": copies["log_bound"],
    }


def within(case: Case, anchor: Params, cutoff: float, rays: int, seed: int) -> dict[str, Any]:
    """The same of {KL <= cutoff} cut with the class, by rays."""
    report: Any = volume.estimate(
        case.query, volume.Local(anchor, cutoff, within_class=True, rays=rays, fit=30, probes=PROBES), seed=seed
    )
    (entry,), copies = report.entries, report.run["copies"]
    return {
        "cutoff": cutoff,
        "rays": entry.log_volume,
        "effective": copies["effective_rays"],
        "word": copies["word"],
        "apart": copies["log_if_apart"],
        "cut": copies["log_estimate"],
        "bound": copies["log_bound"],
    }


def measure(case: Case, table: str, whole: dict[str, Any], sizes: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Every anchor of one class, whose volume is ``whole``."""
    draws = class_draws(case, table, sizes["class_draws"], 2 * sizes["direct"], seed + 1)
    some = min(sizes["anchors"], len(draws["1.bias"]) // 2)
    anchors = [("drawn", {name: value[i] for name, value in draws.items()}) for i in range(some)]
    anchors += [("trained", params) for params in trained(case, table, sizes["anchors"], seed + 2)]
    rest = {name: value[some:] for name, value in draws.items()}  # an anchor sees itself
    found = []
    for number, (kind, anchor) in enumerate(anchors):
        began = time.process_time()
        nearest, some_copy = seen(case, table, anchor, rest) if len(rest["1.bias"]) else (np.empty(0), np.empty(0))
        record = {
            "network": str(case),
            "table": table,
            "anchor": f"{kind} {1 + number - (some if kind == 'trained' else 0)}",
            "kind": kind,
            "class": whole,
            "agreement": around(case, anchor, sizes["settings"], seed),
            "kl": [within(case, anchor, cutoff, sizes["settings"]["rays"] // 2, seed) for cutoff in CUTOFFS],
            "draws": len(nearest),
            "nearest": share(nearest),
            "any": share(some_copy),
        }
        found.append(record | {"cpu_seconds": time.process_time() - began})
        script.say(row_of(found[-1]))
    return found


def limits(value: tuple[float, float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


def with_error(log_share: float, effective: float) -> str:
    """A share that so many rays carry, with its standard error."""
    return f"{math.exp(log_share):.3g} ± {math.exp(log_share) / math.sqrt(max(effective, 1)):.2g}"


def row_of(record: dict[str, Any]) -> Row:
    """One anchor's region that keeps the class."""
    whole, local = record["class"], record["agreement"]
    facts = {
        "class: log V (95 %)": f"{whole['log_volume']:.2f} ({whole['low']:.2f} to {whole['high']:.2f})",
        "local, rays": local["rays"],
        "local, splitting": local["splitting"],
        "log copies": local["log_copies"],
        "sum as if apart": local["apart"],
        "cut apart": local["cut"],
        local["word"]: local["bound"],
        f"{local['word']} - class": local["bound"] - whole["log_volume"],
        "effective rays": local["effective"],
        "share of the class, cut apart": with_error(local["cut"] - whole["log_volume"], local["effective"]),
        "by draws": limits(record["nearest"]),
        "from any copy, by draws": limits(record["any"]),
        "bound violated": local["word"] == "bound" and local["bound"] > whole["high"],
    }
    section = f"{record['network']}: the region that keeps the class"
    return Row(f"{record['table']}, {record['anchor']}", facts=facts, section=section)


def kl_rows(record: dict[str, Any]) -> list[Row]:
    """One anchor's regions within a KL of it, cut with the class."""
    whole, found = record["class"], []
    for local in record["kl"]:
        facts = {
            "KL <=": local["cutoff"],
            "local, rays": local["rays"],
            "sum as if apart": local["apart"],
            "cut apart": local["cut"],
            "effective rays": local["effective"],
            local["word"]: local["bound"],
            f"{local['word']} - class": local["bound"] - whole["log_volume"],
            "bound violated": local["word"] == "bound" and local["bound"] > whole["high"],
        }
        section = f"{record['network']}: the region within a KL of the anchor, cut with the class"
        found.append(Row(f"{record['table']}, {record['anchor']}, {local['cutoff']:g}", facts=facts, section=section))
    return found


def summary(records: list[dict[str, Any]]) -> list[Row]:
    """Medians over the anchors of a kind, by class."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["network"], record["table"], record["kind"]), []).append(record)
    rows = []
    for (network, table, kind), some in groups.items():
        whole = some[0]["class"]["log_volume"]
        facts: dict[str, Any] = {"class: log V": whole, "by": some[0]["class"]["method"], "anchors": len(some)}
        columns = {"sum as if apart - class": "apart", "cut apart - class": "cut", "bound - class": "bound"}
        for words, name in columns.items():
            facts[words] = statistics.median(record["agreement"][name] for record in some) - whole
        for place, cutoff in enumerate(CUTOFFS):
            bounds = [record["kl"][place]["bound"] for record in some]
            facts[f"bound - class, KL <= {cutoff:g}"] = statistics.median(bounds) - whole
        for words, name in (("seen from the nearest copy", "nearest"), ("seen from any copy", "any")):
            known = [record[name][0] for record in some if record[name]]
            facts[words] = statistics.median(known) if known else None
        rows.append(
            Row(f"{network}, {table}, {kind}", facts=facts, section="Medians over anchors, in nats, and shares")
        )
    return rows


def run(options: argparse.Namespace) -> Record:
    sizes = {
        "anchors": options.anchors,
        "direct": 4_000_000,
        "class_draws": 2000,
        "settings": {"rays": options.rays, "particles": 64, "moves": 8, "replicates": 6},
    }
    cases = CASES
    if options.quick:
        cases = (Case((2, 3, 1), "tanh", ("0111",)),)
        sizes |= {"anchors": 1, "direct": 500_000, "class_draws": 200}
        sizes["settings"] = {"rays": 512, "particles": 16, "moves": 4, "replicates": 4}
    began = time.process_time()
    records: list[dict[str, Any]] = []
    for case in cases:
        for table, whole in truths(case, sizes["direct"], options.seed).items():
            records += measure(case, table, whole, sizes, options.seed)
    rows = [*summary(records), *map(row_of, records), *(row for record in records for row in kl_rows(record))]
    order = {section: place for place, section in enumerate(dict.fromkeys(row.section for row in rows))}
    rows.sort(key=lambda row: order[row.section])
    violated = [row.name for row in rows if row.facts.get("bound violated")]
    bounds = sum("bound violated" in row.facts for row in rows)
    notes = [
        'Logarithms are natural. "By draws" and "from any copy" are shares of draws of the class that a straight line '
        'joins to their nearest copy of the anchor, or to any copy, within the class: the first is what "share of the '
        'class, cut apart" estimates, the second what all copies together cover. The error of that share is a guess '
        "where few rays are effective; then the bound is what is claimed.",
        f"{len(violated)} of {bounds} bounds lie above the upper limit of their class"
        + (f": {'; '.join(violated)}." if violated else "."),
        f"{options.rays if not options.quick else 512:,} rays an anchor; {time.process_time() - began:.0f} CPU s.",
    ]
    return Record(rows, notes=notes, details={"anchors": records})


def main(arguments: list[str] | None = None) -> None:
    parser = script.options(__doc__, "one class of one network, two anchors, few rays")
    parser.add_argument("--anchors", type=int, default=2, help="of each class and kind: drawn, and trained")
    parser.add_argument(
        "--rays", type=int, default=8192, help="of the region that keeps the class; half as many within each KL"
    )
    parser.add_argument("--seed", type=int, default=0)
    script.main("local_copies", run, parser, arguments, title="What the copies of one network account for")


if __name__ == "__main__":
    main()
