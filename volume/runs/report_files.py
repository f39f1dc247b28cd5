"""The files of a saved report, byte by byte: a JSON record, and counts in a Parquet file beside it; no pickle.

``run.json`` holds everything but the counts, and the SHA-256 and sizes of ``run.parquet``; a folder holds
``report.json`` and ``counts.parquet``. The Parquet file has one row per (class, unit): ``function``, the key's words as
big-endian bytes (so that byte order is label order; a class number where classes are numbered), ``unit`` and ``hits``
(64 bits where every parameterisation was counted). Both files are written beside their places and renamed, the record
last, so that a record never describes counts that are not there. Only records of this program, and counts that stand
beside one or say themselves whose they are, are ever replaced. What a record says is up to `volume.reports.loading`.

Shape letters: B units, K classes, R rows, W words of a key.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from volume.common.atomic_files import replacing, write_text
from volume.common.paths import checked_path
from volume.common.record_reading import check_replaceable, is_record, kind_of, read_sealed, seal
from volume.runs.columns import key_words
from volume.runs.files import sha256
from volume.runs.parquet_files import parquet_file
from volume.statistics.counts import Counts, changes

VERSION = 1
COUNTED = "param-volume run"  # the format of records with counts beside them
MARK = {b"written by": b"param-volume"}  # of counts, in their schema
MAX_ROWS = 1 << 40
ROWS_PER_GROUP = 1 << 20  # 24 MB of rows in memory at a time for a key of two words


def paths(path: str | Path) -> tuple[Path, Path]:
    """Name the record and the counts of a run given by a ``.json`` file, or by a folder (any other name)."""
    path = checked_path(path)
    if path.suffix == ".json" and not path.is_dir():
        return path, path.with_suffix(".parquet")
    return path / "report.json", path / "counts.parquet"


def write_counts(counts: Counts, path: Path) -> dict[str, Any]:
    """Write the Parquet file at ``path``; give what the record has to say of it, for :func:`read_counts`.

    Raises:
        FileExistsError: there is a file that this program did not write.
    """
    check_own_counts(path)
    with replacing(path) as temporary:
        _write_rows(counts, temporary)
        digest = sha256(temporary)
    lossy = np.flatnonzero(counts.nonfinite)
    return {
        "file": path.name,
        "sha256": digest,
        "rows": len(counts.unit),
        "classes": counts.num_classes,
        "words": counts.keys.shape[1],
        "num_units": counts.num_units,
        "unit_size": counts.unit_size,
        "independent": bool(counts.independent),
        "complete": bool(counts.complete),
        "copies": counts.copies,
        "nonfinite": [[int(unit), int(counts.nonfinite[unit])] for unit in lossy],  # [unit, draws]; others are 0
    }


def check_own_counts(path: Path) -> None:
    """Raise FileExistsError where there is a file that this program did not write."""
    if path.exists() and not _is_counts(path):
        raise FileExistsError(f"{path} was not written by this program and is left as it is: name another place.")


def remove_counts(path: Path) -> None:
    """Remove the counts at ``path`` that a report without any replaces, and no file of anybody else."""
    if path.exists() and _is_counts(path):
        path.unlink()


def _is_counts(path: Path) -> bool:
    """Whether a Parquet file holds the counts of a report: it says so, or a record stands beside it."""
    in_folder = path.name == "counts.parquet"
    record = path.with_name("report.json") if in_folder else path.with_suffix(".json")
    if kind_of(record) == COUNTED or (in_folder and is_record(path.with_name("config.json"))):
        return True
    try:
        with parquet_file(path) as file:
            return dict(file.schema_arrow.metadata or {}).items() >= MARK.items()
    except ValueError:
        return False


def read_counts(record_path: Path, sizes: Mapping[str, Any]) -> Counts:
    """Read the counts that lie beside a record. ValueError where they are missing, damaged or of another run."""
    counts_path = record_path.with_name(Path(sizes["file"]).name)
    wholes = [sizes[name] for name in ("rows", "classes", "words", "num_units")]
    if not all(isinstance(number, int) and 0 <= number < MAX_ROWS for number in wholes):
        raise ValueError(f"{record_path} gives sizes that no counts have: {wholes}.")
    if not counts_path.is_file():
        raise ValueError(
            f"{record_path} has its counts in {counts_path.name}, which is missing: keep the two files together."
        )
    if sha256(counts_path) != sizes["sha256"]:
        raise ValueError(
            f"{counts_path} is truncated, damaged, or of another run than {record_path.name}: "
            "its SHA-256 is not the recorded one."
        )
    return _read_rows(counts_path, sizes)


def write_record(path: Path, kind: str, body: dict[str, Any]) -> Path:
    """Write ``body`` with its format, version and SHA-256; give ``path``. Its folder is made.

    Raises:
        FileExistsError: there is a file that this program did not write.
    """
    check_replaceable(checked_path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(seal(kind, VERSION, body), indent=1, allow_nan=False) + "\n")
    return path


def read_record(path: Path, kinds: Container[str]) -> tuple[str, dict[str, Any]]:
    """Read the format, one of ``kinds``, and the checked body of a record.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is damaged, of another version, or no such record.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no run at {path}: give the .json file of a run, or the folder it was saved in."
        )
    return read_sealed(
        path,
        kinds,
        VERSION,
        other="no saved run: give what a report's save wrote.",
        remedy="load it with the version of volume that its record names under run, or save it again.",
    )


def _write_rows(counts: Counts, path: Path) -> None:
    words = counts.keys.shape[1]
    schema = pa.schema(
        [
            pa.field("function", pa.binary(8 * words), nullable=False),
            pa.field("unit", pa.int32(), nullable=False),
            pa.field("hits", pa.int64() if counts.complete else pa.int32(), nullable=False),
        ],
        MARK,
    )
    big_endian = counts.keys.astype(">u8")
    # Keys hardly repeat, so a dictionary of them would only cost; their shared first bytes are zstd's to find.
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
    with path.open("wb") as file, pq.ParquetWriter(file, schema, **options) as writer:
        for start in range(0, len(counts.unit), ROWS_PER_GROUP):
            stop = min(start + ROWS_PER_GROUP, len(counts.unit))
            first = int(np.searchsorted(counts.offsets, start, "right")) - 1
            last = int(np.searchsorted(counts.offsets, stop, "left"))
            size = np.diff(np.clip(counts.offsets[first : last + 1], start, stop))
            function = np.repeat(big_endian[first:last], size, axis=0)
            columns = [
                pa.FixedSizeBinaryArray.from_buffers(schema.types[0], stop - start, [None, pa.py_buffer(function)]),
                pa.array(counts.unit[start:stop]),
                pa.array(counts.hits[start:stop]),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)


def _read_rows(path: Path, sizes: Mapping[str, Any]) -> Counts:
    words, rows, num_units = sizes["words"], sizes["rows"], sizes["num_units"]
    complete, copies = sizes.get("complete", False), sizes.get("copies", 1)
    row = num_classes = 0
    last: np.ndarray | None = None
    with parquet_file(path) as file:
        kind, written = file.schema_arrow.field("function").type, file.metadata.num_rows
        # Before any array is made: a record may name sizes that no memory holds.
        if written != rows or sizes["classes"] > rows or kind != pa.binary(8 * words):
            raise ValueError(f"it has {written:,} rows of {kind}, its record {rows:,} of {words} words")
        unit, hits = np.empty(rows, np.int32), np.empty(rows, np.int64 if complete else np.int32)
        keys, offsets = np.empty((sizes["classes"], words), np.uint64), np.empty(sizes["classes"] + 1, np.int64)
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            stop = row + batch.num_rows
            unit[row:stop], hits[row:stop] = batch.column("unit").to_numpy(), batch.column("hits").to_numpy()
            function = key_words(batch.column("function"), words)
            new = changes(function)
            new[:1] = last is None or bool((function[:1] != last).any())
            start = np.flatnonzero(new)
            keys[num_classes : num_classes + len(start)] = function[start]
            offsets[num_classes : num_classes + len(start)] = row + start
            row, num_classes, last = stop, num_classes + len(start), function[-1:] if len(function) else last
        if row != rows or num_classes != len(keys):
            raise ValueError(f"it has {row:,} rows and {num_classes:,} classes, its record {rows:,} and {len(keys):,}")
    offsets[-1] = rows
    nonfinite = np.zeros(num_units, np.int64)
    for at, draws in sizes["nonfinite"]:
        nonfinite[at] = draws
    shape = (num_units, sizes["unit_size"], sizes["independent"], nonfinite, complete, copies)
    counts = Counts(keys, offsets, unit, hits, *shape)
    try:
        counts.check()
    except ValueError as error:
        raise ValueError(f"{path} holds counts that no run can have made: {error}.") from None
    return counts
