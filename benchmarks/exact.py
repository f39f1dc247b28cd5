"""Enumerating a lattice: parameterisations a second, beside NumPy and beside the matrix product alone.

    python benchmarks/exact.py [--repeats 3] [--cpu] [--quick] [--json FILE]

Every case is a network whose parameters are -1, 0 or 1, or -1 or 1; all its parameterisations are put into truth
tables and counted. In one process, best of the repeats:

* "NumPy, networks": batched matmul over blocks of whole networks, decisions packed to numbers, ``np.bincount``.
* "NumPy, heads": the same with every body's features shared by all heads in one matrix product.
* "blocks" and "sums": the two paths of `volume.Exact`, from the query to its counts, compiled before.
* "matrix product": a jitted product of the shapes of one block of "blocks", features below the heads times heads, and
  nothing else but the largest output, which keeps it from being left out. With one hidden layer "blocks" makes this
  product too and cannot be faster; with more it writes the few terms of every sum out instead, and can.

All counts must agree, to the last parameterisation; else the script stops. Peers that would take minutes run on the
first part of the lattice. With ``--cpu`` rates are per second of processor time, all threads together: for machines
that do other work at the same time.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, script
from benchmarks.record import Record, Row
from volume import Exact
from volume.estimators.exact.enumeration import Blocks
from volume.estimators.exact.exact import ExactRun
from volume.models import MLP
from volume.samplers import Lattice

PEER_NETWORKS = 1 << 22  # enough for a rate
PEER_BATCH = 1 << 12  # the fastest of 2^10 to 2^16 on 3-4-1


class Case(NamedTuple):
    name: str
    model: MLP
    prior: Lattice
    domain: volume.BooleanCube


CASES = (
    Case("3-4-1 relu ternary", MLP((3, 4, 1), bias=False), Lattice.ternary(), volume.BooleanCube(3)),
    Case("4-4-1 sign binary", MLP((4, 4, 1), "sign"), Lattice.binary(), volume.BooleanCube(4, coding=(-1, 1))),
    Case("3-3-2-1 relu binary", MLP((3, 3, 2, 1)), Lattice.binary(), volume.BooleanCube(3)),
)


def digits(case: Case, index: np.ndarray) -> np.ndarray:
    """The parameters [B, entries] of parameterisations ``index`` [B]."""
    levels = np.asarray(case.prior.levels_of(case.model.parameters)[0], np.float32)
    entries = sum(int(np.prod(p.shape)) for p in case.model.parameters)
    place = len(levels) ** np.arange(entries - 1, -1, -1, dtype=np.int64)
    return levels[index[:, None] // place % len(levels)]


def numpy_networks(case: Case, total: int) -> np.ndarray:
    """Counts of the tables of the first ``total`` parameterisations, by batched matmul of whole networks."""
    inputs = np.asarray(case.domain.inputs, np.float32)
    counts = np.zeros(1 << len(inputs), np.int64)
    for start in range(0, total, PEER_BATCH):
        entries = digits(case, np.arange(start, min(start + PEER_BATCH, total)))
        hidden, used = np.broadcast_to(inputs, (len(entries), *inputs.shape)), 0
        for depth, (fan_in, fan_out) in enumerate(itertools.pairwise(case.model.widths)):
            hidden = hidden @ entries[:, used : used + fan_in * fan_out].reshape(-1, fan_in, fan_out)
            used += fan_in * fan_out
            if case.model.bias:
                hidden = hidden + entries[:, None, used : used + fan_out]
                used += fan_out
            if depth < case.model.num_layers - 1:
                hidden = activated(case, hidden)
        counts += tally(hidden[:, :, 0] > 0)
    return counts


def numpy_heads(case: Case, total: int) -> np.ndarray:
    """The same, with every head on the features of a body in one matrix product."""
    inputs = np.asarray(case.domain.inputs, np.float32)
    features, levels = case.model.widths[-2], case.prior.levels_of(case.model.parameters)[0]
    last = np.array(list(itertools.product(levels, repeat=features + case.model.bias)), np.float32).T  # [F (+ 1), H]
    body = case._replace(model=MLP((*case.model.widths[:-1],), case.model.activation, case.model.bias))
    counts = np.zeros(1 << len(inputs), np.int64)
    batch = max(1, PEER_BATCH // last.shape[1])
    for start in range(0, total // last.shape[1], batch):
        entries = digits(body, np.arange(start, min(start + batch, total // last.shape[1])))
        hidden, used = np.broadcast_to(inputs, (len(entries), *inputs.shape)), 0
        for fan_in, fan_out in itertools.pairwise(case.model.widths[:-1]):
            hidden = hidden @ entries[:, used : used + fan_in * fan_out].reshape(-1, fan_in, fan_out)
            used += fan_in * fan_out
            if case.model.bias:
                hidden = hidden + entries[:, None, used : used + fan_out]
                used += fan_out
            hidden = activated(case, hidden)
        outputs = hidden.reshape(-1, features) @ last[:features]
        if case.model.bias:
            outputs += last[features]
        counts += tally(np.moveaxis(outputs.reshape(len(entries), len(inputs), -1), 1, 2).reshape(-1, len(inputs)) > 0)
    return counts


def activated(case: Case, hidden: np.ndarray) -> np.ndarray:
    return np.maximum(hidden, 0) if case.model.activation == "relu" else np.where(hidden > 0, np.float32(1), -1)


def tally(decisions: np.ndarray) -> np.ndarray:
    """Counts of decisions [B, N] by the number that their bits spell."""
    num_inputs = decisions.shape[1]
    bits = np.packbits(decisions, axis=1)
    numbers = bits[:, 0].astype(np.int64) if num_inputs <= 8 else bits.view(">u2")[:, 0].astype(np.int64)
    return np.bincount(numbers >> (-num_inputs % 8), minlength=1 << num_inputs)


@partial(jax.jit, static_argnames="blocks")
def product(features: jax.Array, heads: jax.Array, blocks: int) -> jax.Array:
    """The largest outputs of ``blocks`` products of features [S, Q N, F] and heads [F, H]."""
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda one: jnp.max(one @ heads), features[:blocks])


def limit(run: ExactRun, case: Case) -> Callable[[], int]:
    """One step's worth of bare matrix products; gives the networks in it."""
    blocks = run.steps
    assert isinstance(blocks, Blocks)
    sizes = blocks.layout()
    num_features = case.model.widths[-2] + case.model.bias
    rng = np.random.default_rng(0)
    rows = sizes["bodies"] * sizes["middle"] * case.domain.num_inputs  # of features below the heads
    shape = (sizes["blocks_per_step"], rows, num_features)
    features = jnp.asarray(rng.integers(0, 3, shape), jnp.float32)
    heads = jnp.asarray(rng.integers(-1, 2, (num_features, sizes["heads"])), jnp.float32)

    def work() -> int:
        jax.block_until_ready(product(features, heads, shape[0]))
        return sizes["blocks_per_step"] * blocks.block_networks

    return work


def rate(work: Callable[[], int], repeats: int, clock: Callable[[], float]) -> float:
    """Networks a second, the best of so many."""
    work()  # compiles, and fills the caches
    best = 0.0
    for _ in range(repeats):
        start = clock()
        networks = work()
        best = max(best, networks / (clock() - start))
    return best


def measure(case: Case, repeats: int, clock: Callable[[], float], peer_networks: int = PEER_NETWORKS) -> dict[str, Any]:
    query = volume.Query(case.model, case.prior, case.domain)
    total = case.prior.num_points(case.model.parameters)
    reports = {}

    def exact(path: str) -> int:
        reports[path] = volume.estimate(query, Exact(path=path))
        return total

    some = min(total, peer_networks)
    entries = case.model.widths[-2] + case.model.bias
    heads = len(case.prior.levels_of(case.model.parameters)[0]) ** entries
    some -= some % heads
    tables = {}

    def peer(count: Callable[[Case, int], np.ndarray]) -> int:
        tables[count.__name__] = count(case, some)
        return some

    row = {
        "case": case.name,
        "parameterisations": total,
        "NumPy, networks": rate(lambda: peer(numpy_networks), repeats, clock),
        "NumPy, heads": rate(lambda: peer(numpy_heads), repeats, clock),
        "blocks": rate(lambda: exact("blocks"), repeats, clock),
    }
    if case.model.num_layers == 2:
        row["sums"] = rate(lambda: exact("sums"), repeats, clock)
    start = time.perf_counter()
    jax.clear_caches()
    exact("blocks")
    row["seconds, compiled anew"] = time.perf_counter() - start
    row["matrix product"] = rate(limit(ExactRun(query, Exact(path="blocks")), case), repeats, clock)
    check(case, reports, tables, some == total)
    return row


def check(case: Case, reports: dict[str, Any], tables: dict[str, np.ndarray], whole: bool) -> None:
    """Stop unless all ways of counting agree."""
    first, *others = reports.values()
    for other in others:
        if not np.array_equal(first.counts.keys, other.counts.keys) or not np.array_equal(
            first.counts.hits, other.counts.hits
        ):
            raise SystemExit(f"{case.name}: the two paths disagree.")
    counted = np.zeros(1 << case.domain.num_inputs, np.int64)
    counted[(first.counts.keys[:, 0] >> np.uint64(64 - case.domain.num_inputs)).astype(np.int64)] = first.counts.hits
    a, b = tables.values()
    if not np.array_equal(a, b) or (whole and not np.array_equal(a, counted)):
        raise SystemExit(f"{case.name}: NumPy counts something else.")


PEERS = ("NumPy, networks", "NumPy, heads")


def rows_of(row: dict[str, Any]) -> list[Row]:
    """Both paths beside NumPy; the bare matrix product bounds the one that makes it."""
    rows = []
    for path in ("blocks", "sums"):
        if path in row:
            facts = {"parameterisations": row["parameterisations"]}
            if path == "blocks":
                facts["seconds, compiling anew"] = row["seconds, compiled anew"]
            rows.append(
                Row(
                    f"{row['case']}, {path}",
                    "parameterisations/s",
                    row[path],
                    peers={peer: row[peer] for peer in PEERS},
                    limits={"the bare matrix product": row["matrix product"]} if path == "blocks" else {},
                    facts=facts,
                )
            )
    return rows


def run(options: argparse.Namespace) -> Record:
    clock = time.process_time if options.cpu else time.perf_counter
    repeats, networks = (1, PEER_NETWORKS >> 4) if options.quick else (options.repeats, PEER_NETWORKS)
    found, rows = [], []
    for case in CASES[: 1 if options.quick else None]:
        found.append(measure(case, repeats, clock, networks))
        rows += rows_of(found[-1])
        for row in rows_of(found[-1]):
            script.say(row)
    notes = [f"Rates by {'processor time' if options.cpu else 'wall time'}, best of {repeats}."]
    return Record(rows, limits=limits.measure(), notes=notes, details={"cases": found})


def main() -> None:
    parser = script.options((__doc__ or "").splitlines()[0], "the first network, one repeat, NumPy on a sixteenth")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="rates per second of processor time")
    script.main("exact", run, parser)


if __name__ == "__main__":
    main()
