"""Tables of checkpoints: arrays and records as columns of a declared schema, and back.

A `Schema` names the columns of one kind of checkpoint, in their order in the file, and says what each holds: one number
a row (`Numbers`), an array a row (`Rows`), a list of any length (`Ragged`), a text (`Texts`), or a function's key
(`Keys`). Named tuples become rows by `columns_of` and `records_of`.

Shape letters: R rows, W 64-bit words of a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from volume.runs.checkpoints import StoredCheckpoint

T = TypeVar("T", bound=tuple)
ROWS_PER_GROUP = 1 << 14  # so few that a range of functions is read from few rows, and the statistics cost nothing
NUMBER = "replicate"  # the column with the number of a record, where records are numbered


class Column(Protocol):
    """What one column holds."""

    def encode(self, values: Any) -> pa.Array: ...

    def decode(self, column: pa.ChunkedArray) -> Any: ...


@dataclass(frozen=True)
class Numbers:
    """One number a row, [R]; without a dtype, of the dtype of the array that is written."""

    dtype: Any = None

    def encode(self, values: Any) -> pa.Array:
        return pa.array(np.asarray(values, self.dtype))

    def decode(self, column: pa.ChunkedArray) -> np.ndarray:
        return column.to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class Rows:
    """An array a row, [R, *shape], as fixed-size lists in C order; one length may be left open as -1."""

    shape: tuple[int, ...] = (-1,)

    def encode(self, values: Any) -> pa.Array:
        values = np.asarray(values)
        return pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(values).ravel()), math.prod(values.shape[1:])
        )

    def decode(self, column: pa.ChunkedArray) -> np.ndarray:
        """Read one row or more, as no file holds the shape of none."""
        chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks if len(chunk)]
        return np.concatenate(chunks).reshape(len(column), *self.shape)


@dataclass(frozen=True)
class Ragged:
    """A list of float64 of any length a row."""

    def encode(self, values: Iterable[Any]) -> pa.Array:
        lists = [one.tolist() if isinstance(one, np.ndarray) else list(one) for one in values]
        return pa.array(lists, pa.list_(pa.float64()))

    def decode(self, column: pa.ChunkedArray) -> list[np.ndarray]:
        return [np.array(one, float) for one in column.to_pylist()]


@dataclass(frozen=True)
class Texts:
    """A text a row."""

    def encode(self, values: Sequence[str]) -> pa.Array:
        return pa.array(list(values), pa.string())

    def decode(self, column: pa.ChunkedArray) -> list[str]:
        return column.to_pylist()


@dataclass(frozen=True)
class Keys:
    """Functions, as keys [R, W] uint64: packed truth tables (volume.functions.tables), or numbers of classes."""

    def encode(self, values: np.ndarray) -> pa.Array:
        return function_column(values)

    def decode(self, column: pa.ChunkedArray) -> np.ndarray:
        return key_words(column.combine_chunks(), column.type.byte_width // 8)


class Schema:
    """The columns of one kind of checkpoint.

    Args:
        columns: what each column holds, by name, in their order in the file.
        nullable: whether the file may mark values as missing; none ever is.
    """

    def __init__(self, columns: Mapping[str, Column], *, nullable: bool = True):
        self._columns, self._nullable = dict(columns), nullable

    def table(self, values: Mapping[str, Any]) -> pa.Table:
        """Make the table of these values by column; a column of None is left out."""
        arrays = {
            name: column.encode(values[name]) for name, column in self._columns.items() if values.get(name) is not None
        }
        fields = [pa.field(name, array.type, nullable=self._nullable) for name, array in arrays.items()]
        return pa.table(list(arrays.values()), schema=pa.schema(fields))

    def read(self, part: StoredCheckpoint) -> dict[str, Any]:
        """Read the values of a stored table by column, None for a column that it does not have."""
        table = part.read()
        there = set(table.column_names)
        return {
            name: column.decode(table.column(name)) if name in there else None for name, column in self._columns.items()
        }


def columns_of(kind: type[T], records: Sequence[T] | Mapping[int, T]) -> dict[str, Any]:
    """List the fields of named tuples, each as a column, or None where it is None in all of them.

    A mapping is of records by number: they come in order, and their numbers are a column too.
    """
    if isinstance(records, Mapping):
        numbers = sorted(records)
        return {NUMBER: numbers, **columns_of(kind, [records[number] for number in numbers])}
    columns = {name: [getattr(one, name) for one in records] for name in kind._fields}  # type: ignore[attr-defined]
    return {name: None if values and all(one is None for one in values) else values for name, values in columns.items()}


def records_of(kind: type[T], columns: Mapping[str, Any]) -> list[T]:
    """Make named tuples of the columns that `columns_of` gave; a column of None is None in every one."""
    names = [name for name in kind._fields if columns.get(name) is not None]  # type: ignore[attr-defined]
    # Of an array of one number a row, Python's own: records are compared and written as JSON.
    plain = [one.tolist() if getattr(one, "ndim", 0) == 1 else one for one in (columns[name] for name in names)]
    missing = {name: None for name in kind._fields if name not in names}  # type: ignore[attr-defined]
    return [kind(**dict(zip(names, row, strict=True)), **missing) for row in zip(*plain, strict=True)]


def function_column(keys: np.ndarray) -> pa.Array:
    """Write keys [R, W] uint64 as fixed-size bytes: the words big-endian, so that byte order is label order."""
    octets = np.ascontiguousarray(keys.astype(">u8"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(8 * keys.shape[1]), len(keys), [None, pa.py_buffer(octets)])


def key_words(column: pa.Array, words: int) -> np.ndarray:
    """Read keys [R, W] of a column of big-endian bytes."""
    data = column.buffers()[1]
    octets = np.frombuffer(data, np.uint8, count=len(column) * 8 * words, offset=column.offset * 8 * words)
    return octets.view(">u8").reshape(-1, words).astype(np.uint64)


def parquet(table: pa.Table) -> memoryview:
    """Encode a table as the content of a Parquet file."""
    # Keys hardly repeat within a file: a dictionary of them would only cost.
    repeating: Any = [field.name for field in table.schema if not pa.types.is_fixed_size_binary(field.type)]
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": repeating}
    pq.write_table(table, sink, row_group_size=ROWS_PER_GROUP, **options)
    return memoryview(sink.getvalue())
