"""The finished pieces of a run, as a run directory keeps them (volume.run_directory).

A method whose runs are `Parted` can be stopped at any moment and go on, share its work among processes, and leave
tables that other tools read. docs/run_directories.md lists the parts of every method.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volume.common.records import plain

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # becomes a file's name on any system


@dataclass(frozen=True, eq=False)
class Part:
    """One finished piece of a run.

    Args:
        name: unique in the run and sortable: small letters, digits and hyphens, for example "replicates-000-008".
        facts: what has to be known without reading the table, strict JSON.
        table: what was found, in columns that docs/run_directories.md describes; or a function that makes the table,
            which is called once, in the thread that writes it.

    Raises:
        ValueError: a name that is not such a word.
        TypeError: facts that no JSON can hold.
    """

    name: str
    facts: dict[str, Any]
    table: pa.Table | Callable[[], pa.Table]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"A part is named by small letters, digits and hyphens, as in pilot-0; got {self.name!r}.")
        object.__setattr__(self, "facts", plain(self.facts, f"facts of {self.name}"))


@dataclass(frozen=True)
class StoredPart:
    """A part on disk whose checksum was verified; :meth:`read` gives its table."""

    name: str
    facts: dict[str, Any] = field(hash=False)
    path: Path

    def read(self) -> pa.Table:
        """The table, in memory."""
        import pyarrow.parquet as pq

        # Not read_table, which would take folders named like a=b on the way there for columns.
        with pq.ParquetFile(self.path) as file:
            return file.read()
