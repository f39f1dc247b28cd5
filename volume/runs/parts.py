"""The finished pieces of a run, as a run directory keeps them (volume.run_directory).

A method whose runs are `Parted` can be stopped at any moment and go on, share its work among processes, and leave
tables that other tools read. docs/run_directories.md lists the parts of every method.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from volume.common.records import plain
from volume.method import R_co, Run

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


class Parted(Run[R_co], Protocol[R_co]):
    """A run that can be kept in a directory, part by part.

    Whoever keeps a run calls `restore` before the first advance, perhaps with nothing, and `collect` after every one; a
    run that nobody restores keeps no parts. What a part holds is a function of the query, the method, the seed and the
    part's name alone, so that a run that restored parts ends bit for bit as one that was never stopped, and a part that
    is lost is made again. A part with the name of an earlier one replaces it.

    A method whose runs differ when they are kept has ``start_kept(query, key)`` beside ``start``.
    """

    def constants(self) -> dict[str, Any]:
        """All that the meaning of parts depends on beyond query, method and seed, as JSON; a run with other constants
        is refused the parts."""
        ...

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Before the first advance: what need not be done again; parts may be missing anywhere."""
        ...

    def collect(self, *, all: bool = False) -> list[Part]:
        """Parts finished since the last call; the run decides how large they get. ``all``: small ones as well."""
        ...

    def restrict(self, index: int, count: int) -> None:
        """After `restore`: do share ``index`` of ``count`` of what is left; `done` then means that the share is done,
        and a report speaks of this process's parts alone."""
        ...


def is_parted(run: Run[Any]) -> bool:
    """Whether a run has what `Parted` asks for."""
    return all(callable(getattr(run, name, None)) for name in ("constants", "restore", "collect", "restrict"))
