"""Parquet files opened by their names alone, and refused where they are damaged or too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MAX_UNPACKED = 1 << 36  # bytes of a Parquet file in memory, by its own account; more is refused
READ = "read_parquet($files, hive_partitioning = false)"  # for DuckDB: a folder named a=b on the way is no column


@contextmanager
def parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file by its name alone: no pattern, no address, no columns from folders named like a=b.

    Raises:
        ValueError: it cannot be read, here or in the block; or it says of itself that it unpacks to more than
            `MAX_UNPACKED`.
    """
    try:
        with path.open("rb") as opened, pq.ParquetFile(opened, memory_map=False) as file:
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if size > MAX_UNPACKED:
                raise ValueError(f"it unpacks to {size:,} bytes, more than the {MAX_UNPACKED:,} that are read")
            yield file
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own, which names the file
        raise ValueError(f"{path} is damaged, or not what this program wrote ({_first_line(error)}).") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
