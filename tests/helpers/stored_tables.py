"""Parts on disk of counts in memory, as a run of draws writes them, and reports of both."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from example_reports import make

from volume.functions import tables
from volume.reports.on_disk import TableReport
from volume.runs.checkpoints import StoredCheckpoint
from volume.runs.columns import function_column
from volume.runs.table_store import TableStore
from volume.statistics.counts import Counts


def drawn(seed=0, *, units=50, unit_size=60, num_inputs=9, num_outputs=1, pool=400, fresh=0.4, lost=0.0, copies=1):
    """Counts of tables that cluster and of many that come once, with ``lost`` of the draws not finite.

    Every unit has a few tables of its own; a share ``fresh`` of the draws is of tables made at random.
    """
    rng = np.random.default_rng(seed)
    highest = max(num_outputs, 2)
    known = rng.integers(0, highest, (pool, num_inputs))
    draws = units * unit_size
    unit = np.repeat(np.arange(units), unit_size)
    place = np.minimum(rng.geometric(0.03, draws) + rng.integers(0, 3, units)[unit], pool) - 1
    decisions = np.where(
        rng.random(draws)[:, None] < fresh, rng.integers(0, highest, (draws, num_inputs)), known[place]
    )
    own = rng.integers(0, highest, (units, 3, num_inputs))  # tables that one unit alone has, or few do
    chosen = np.flatnonzero(rng.random(draws) < 0.1)
    decisions[chosen] = own[unit[chosen], rng.integers(0, 3, len(chosen))]
    decisions[rng.random(draws) < 0.2] = 0  # one table in every unit
    finite = rng.random(draws) >= lost
    brought = rng.integers(1, copies + 1, draws)
    keys, which = np.unique(tables.pack(decisions[finite], num_outputs), axis=0, return_inverse=True)
    matrix = np.zeros((units, len(keys)), np.int64)
    np.add.at(matrix, (unit[finite], which.ravel()), brought[finite])
    nonfinite = np.bincount(unit[~finite], weights=brought[~finite], minlength=units)
    counts = Counts.from_dense(matrix, unit_size=unit_size, independent=False, nonfinite=nonfinite)
    return Counts(
        keys=np.asfortranarray(keys),
        offsets=counts.offsets,
        unit=counts.unit,
        hits=counts.hits,
        num_units=units,
        unit_size=unit_size,
        independent=False,
        nonfinite=nonfinite.astype(np.int64),
        copies=copies,
    )


def write_parts(counts: Counts, folder: Path, *, size=7, first=0, rows_per_group=40) -> list[StoredCheckpoint]:
    """Parts of ``size`` units each, the first unit of all being block ``first``."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    keys = np.repeat(counts.keys, np.diff(counts.offsets), axis=0)
    parts = []
    for start in range(0, counts.num_units, size):
        stop = min(start + size, counts.num_units)
        inside = (counts.unit >= start) & (counts.unit < stop)
        table = pa.table(
            {
                "function": function_column(keys[inside]),
                "unit": pa.array(counts.unit[inside].astype(np.int64) + first),
                "hits": pa.array(counts.hits[inside].astype(np.int32)),
            }
        )
        name = f"blocks-{start + first:012d}-{stop + first:012d}"
        path = folder / "parts" / f"{name}.parquet"
        pq.write_table(table, path, row_group_size=rows_per_group)
        lost = [[unit + first, int(counts.nonfinite[unit])] for unit in range(start, stop) if counts.nonfinite[unit]]
        facts = {"first": start + first, "stop": stop + first, "near_ties": 0, "nonfinite": lost}
        parts.append(StoredCheckpoint(name, facts, path))
    return parts


def store_of(counts: Counts, folder: Path, *, memory=60_000, **options) -> TableStore:
    """A store that takes a handful of ranges for the counts."""
    return TableStore(
        write_parts(counts, folder, **options),
        folder,
        num_words=counts.keys.shape[1],
        unit_size=counts.unit_size,
        independent=counts.independent,
        copies=counts.copies,
        memory=memory,
    )


def both(counts: Counts, folder: Path, *, memory=60_000, **facts):
    """The report of these counts from memory, and from disk."""
    inside = make(counts, **facts)
    names = ("domain", "num_outputs", "classifier", "description", "method", "seed", "run", "conventions", "level")
    stored = store_of(counts, folder, memory=memory)
    return inside, TableReport(counts=stored, **{name: getattr(inside, name) for name in names})
