"""What a table on disk is added up to, range of keys by range of keys (table_cells.py).

Beside the parts of a run directory there are then

    classes/NNNNN.parquet   one row per class hit more than once, sorted by ``function``; the files are in key order
    classes/_table.json     what was added up over all classes, what it was made from, and the SHA-256 of every file
    merge/                  ranges that are finished, while others are not; done.jsonl lists them with checksums

A table whose files have other checksums, or that an earlier version left without any, is added up anew. Classes hit
once are only counted: they are most of a large table, and the parts tell which they are. A merge that was stopped goes
on after the last range it finished. Columns of a class table, over all units unless said otherwise: ``count`` hits,
``square`` the sum over units of their squares, ``largest`` of a unit, ``units`` hit; ``pilot``, the hits in the first
tenth of the units, which choose the classes that a report shows; ``rest_square``, ``rest_largest`` and ``rest_units``,
the same sums over the other units, which estimate them.

Shape letters: B independent units, K classes, R rows.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from volume.common.array_files import read_npz
from volume.common.atomic_files import write_bytes, write_text
from volume.common.paths import duckdb_name
from volume.common.record_reading import read_sealed, seal
from volume.runs.columns import function_column, parquet
from volume.runs.files import Manifest, sha256
from volume.runs.ownership import emptied
from volume.statistics.counts import Counts
from volume.statistics.intervals import RareClasses, rare_classes
from volume.statistics.unseen import Alone, alone_of_clustered, alone_of_independent, draws_alone, shared_pairs

if TYPE_CHECKING:
    from volume.runs.table_cells import TableCells

logger = logging.getLogger(__name__)

FORMAT = "param-volume table"
VERSION = 2  # 1 had no checksums
# Bytes of a class table for a class of two keys' words, and of the pairs of units beside it, at most: a check of room.
BYTES_PER_CLASS = 24
BYTES_PER_ROW = 3  # of parts, beside the key: blocks and hits compress well


@dataclass(frozen=True)
class Merged:
    """Sums over all classes of a table."""

    num_classes: int  # K
    once: int  # classes hit once, which are in no class table
    pilot_hits: int  # hits in the first tenth of the units
    alone: Alone  # what the unseen mass needs
    rare: RareClasses  # what the largest cluster of classes never seen needs
    within: np.ndarray  # [B] int64, hits of all classes in each unit
    files: tuple[Path, ...]  # the class tables, in key order


def merge(store: TableCells, progress: Callable[[float], None] | None = None) -> Merged:
    """Add up a table, or read what an earlier merge of the same parts left.

    ``progress`` is called with the share of the ranges that are done.

    Raises OSError, in a sentence, when the disk has too little room, before anything is written.
    """
    classes, work = store.folder / "classes", store.folder / "merge"
    source = _source(store)
    done, started = classes / "_table.json", work / "plan.json"
    record = _read_record(done)
    if record.pop("source", None) == source and _named(record["files"]) and _whole(classes, record["files"]):
        return _merged(store, record)
    plan = _read_record(started)  # whose cuts stay, though this machine's memory may ask for others
    if plan.get("source") != source:
        check_room(store.folder, store.num_rows, store.num_words)
        for folder in (classes, work):
            emptied(folder)
        plan = {"source": source, "cuts": [cut.hex() for cut in store.cuts()]}
        _write_record(started, plan)
    text = "adding up %s rows of tables in %s; this may be stopped and gone on with."
    logger.info(text, f"{store.num_rows:,}", store.folder)
    cuts = [bytes.fromhex(cut) for cut in plan["cuts"]]
    limits = list(zip([None, *cuts], [*cuts, None], strict=True))
    manifest = Manifest(work / "done.jsonl")
    try:
        finished = {line["number"]: line["files"] for line in manifest.read()[0]}
        with store.connect() as connection:
            for number, (low, high) in enumerate(limits):
                if number not in finished or not _whole(store.folder, finished[number]):
                    files = _merge_range(store.cells(connection, low, high), number, classes, work)
                    finished[number] = {str(file.relative_to(store.folder)): sha256(file) for file in files}
                    manifest.append({"number": number, "files": finished[number]})
                if progress is not None:
                    progress((number + 1) / len(limits))
            pairs = 0 if store.independent else _pairs(connection, work, len(limits))
        record = _add_up(store, work, len(limits), pairs)
    finally:
        manifest.close()
    digests = [finished[number][f"classes/{number:05d}.parquet"] for number in range(len(limits))]
    record["files"] = {f"{number:05d}.parquet": digest for number, digest in enumerate(digests)}
    _write_record(done, {"source": source, **record})
    emptied(work).rmdir()
    return _merged(store, record)


def _source(store: TableCells) -> dict[str, Any]:
    """List all that the class tables depend on."""
    return {
        "parts": [[part.name, part.sha256 or sha256(part.path)] for part in store.parts],
        "units": [store.num_units, store.unit_size, store.copies, store.independent, store.pilot_units],
    }


def check_room(folder: Path, rows: int, num_words: int, *, new: int = 0) -> None:
    """Raise OSError where the disk has too little room for the class tables of so many rows, and for parts with ``new``
    rows that are still to be written: what they may take at most, when keys do not compress and no two draws agree but
    in pairs."""
    needed = rows // 2 * (BYTES_PER_CLASS + 8 * num_words) + new * (BYTES_PER_ROW + 8 * num_words)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{rows:,} rows of tables may take {needed / 1e9:.1f} GB more and the disk of {folder} has "
            f"{free / 1e9:.1f} GB left: make room, and resume the run (what is there is kept), or draw fewer."
        )


# --- one range ---


def _merge_range(counts: Counts, number: int, classes: Path, work: Path) -> list[Path]:
    """Write the class table of a range, and what is added up of it, and return the files."""
    files = [classes / f"{number:05d}.parquet", work / f"{number:05d}.npz"]
    size = np.diff(counts.offsets)
    total = np.add.reduceat(counts.hits, counts.offsets[:-1], dtype=np.int64) if len(size) else size
    more = np.flatnonzero(total > 1)
    often = _some(counts, more)
    tally, rest = often.tally(), often.tally(counts.pilot_units)
    columns = {
        "count": tally.count,
        "square": tally.square,
        "largest": tally.largest.astype(np.int32),
        "units": tally.units.astype(np.int32),
        "pilot": tally.count - rest.count,
        "rest_square": rest.square,
        "rest_largest": rest.largest.astype(np.int32),
        "rest_units": rest.units.astype(np.int32),
    }
    table = pa.table({"function": function_column(often.keys), **{name: pa.array(c) for name, c in columns.items()}})
    write_bytes(files[0], parquet(table))
    inside, biggest = np.zeros(counts.num_units), 1.0
    if not counts.independent:
        inside, biggest = draws_alone(counts)
        files.append(work / f"pairs-{number:05d}.parquet")
        write_bytes(files[-1], parquet(_pair_table(counts)))
    # A class hit once is one of one unit and one hit; the others' sums are those of ``often``.
    once = len(size) - len(more)
    rare = rare_classes(tally)
    hits = np.zeros(max(len(rare.hits), 2))
    hits[: len(rare.hits)] = rare.hits
    hits[1] += once
    pilot_hits = counts.hits[counts.unit < counts.pilot_units].sum(dtype=np.int64)
    sums = {
        "num_classes": len(size),
        "once": once,
        "twice": int((total == 2).sum()),
        "pilot_hits": int(pilot_hits),
        "rare": rare.number + once,
        "biggest": biggest,
    }
    content = io.BytesIO()
    within = np.bincount(counts.unit, counts.hits, minlength=counts.num_units)
    np.savez_compressed(content, **sums, inside=inside, rare_hits=hits, within=within)
    write_bytes(files[1], content.getbuffer())
    return files


def _some(counts: Counts, rows: np.ndarray) -> Counts:
    """Take the counts of the classes at these rows alone."""
    keep = np.zeros(counts.num_classes, bool)
    keep[rows] = True
    size = np.diff(counts.offsets)
    cells = np.repeat(keep, size)
    return replace(
        counts,
        keys=counts.keys[rows],
        offsets=np.r_[0, np.cumsum(size[rows])],
        unit=counts.unit[cells],
        hits=counts.hits[cells],
    )


def _pair_table(counts: Counts) -> pa.Table:
    """Add up the hits that two units alone share, by pair of units."""
    pair, first, second = shared_pairs(counts)
    pair, which = np.unique(pair, return_inverse=True)
    sums = [np.bincount(which, hits, minlength=len(pair)).astype(np.int64) for hits in (first, second)]
    return pa.table({"pair": pair, "first": sums[0], "second": sums[1]})


# --- all of them ---


def _pairs(connection: Any, work: Path, ranges: int) -> int:
    """Sum over pairs of units D_ij D_ji (volume.statistics.unseen)."""
    files = [duckdb_name(work / f"pairs-{number:05d}.parquet") for number in range(ranges)]
    query = (
        "SELECT sum(first) AS a, sum(second) AS b FROM read_parquet($files, hive_partitioning = false) GROUP BY pair"
    )
    (total,) = connection.execute(f"SELECT sum(a * b) FROM ({query})", {"files": files}).fetchone()
    return int(total or 0)


def _add_up(store: TableCells, work: Path, ranges: int, pairs: int) -> dict[str, Any]:
    """Add up all ranges to the record of the table, strict JSON."""
    names = ("num_classes", "once", "twice", "pilot_hits", "rare")
    sums = dict.fromkeys(names, 0)
    inside, within, rare_hits, biggest = np.zeros(store.num_units), np.zeros(store.num_units), np.zeros(2), 1.0
    for number in range(ranges):
        piece = read_npz(work / f"{number:05d}.npz")
        for name in names:
            sums[name] += int(piece[name])
        inside, within = inside + piece["inside"], within + piece["within"]
        longer = np.zeros(max(len(rare_hits), len(piece["rare_hits"])))
        longer[: len(rare_hits)] += rare_hits
        longer[: len(piece["rare_hits"])] += piece["rare_hits"]
        rare_hits, biggest = longer, max(biggest, float(piece["biggest"]))
    room = (store.unit_size - store.nonfinite) * store.copies
    if (within > room).any() or (store.copies == 1 and (within != room).any()):
        raise ValueError(f"The parts of {store.folder} hold more or fewer hits than draws: they are no run's.")
    twice = sums.pop("twice")
    alone = alone_of_clustered(inside, biggest, 2.0 * pairs)
    if store.independent:
        alone = alone_of_independent(sums["once"], twice, store.num_draws)
    return {
        **sums,
        "rare_hits": rare_hits.tolist(),
        "alone": [float(value) if isinstance(value, float) else int(value) for value in alone],
        "within": within.astype(np.int64).tolist() if store.copies > 1 else [],
    }


def _merged(store: TableCells, record: dict[str, Any]) -> Merged:
    return Merged(
        num_classes=record["num_classes"],
        once=record["once"],
        pilot_hits=record["pilot_hits"],
        alone=Alone(*record["alone"]),
        rare=RareClasses(record["rare"], np.array(record["rare_hits"])),
        within=np.array(record["within"], np.int64),
        files=tuple(store.folder / "classes" / name for name in record["files"]),
    )


def _named(files: dict[str, str]) -> bool:
    """Whether class tables have the names that this program gives them, which lead nowhere else."""
    return list(files) == [f"{number:05d}.parquet" for number in range(len(files))]


def _whole(folder: Path, files: dict[str, str]) -> bool:
    """Whether these files in a folder have these checksums."""
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items())


def _read_record(path: Path) -> dict[str, Any]:
    """Read what `_write_record` wrote; nothing where there is no such file, or it is damaged or older."""
    try:
        return read_sealed(path, (FORMAT,), VERSION, other="no table")[1]
    except (FileNotFoundError, ValueError):
        return {}


def _write_record(path: Path, body: dict[str, Any]) -> None:
    write_text(path, f"{json.dumps(seal(FORMAT, VERSION, body), allow_nan=False)}\n")
