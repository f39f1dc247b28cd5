"""The volume of one class from the hits of its orbit, and of many at once as columns.

Shape letter: K orbits listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from volume.reports.counted_entries import COLUMNS, ClassTable, ClassVolume

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class PooledVolume(ClassVolume):
    """The volume of one class from the hits of its orbit: ``log_volume`` is log(count / num_draws / orbit_size)."""

    orbit_size: int = 1  # classes of this volume; ``count`` and what follows it are of all of them together

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "orbit_size": self.orbit_size}

    def sentence(self) -> str:
        return f"{super().sentence()} of the {self.orbit_size:,} classes of its orbit"


@dataclass(frozen=True, eq=False)
class PooledTable(ClassTable):
    """Many orbits, column by column, each labelled by its canonical form; volumes are those of one member."""

    orbit_size: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K] int64

    @classmethod
    def divided(cls, orbits: ClassTable, size: np.ndarray) -> PooledTable:
        """Return the members' volumes from those of their orbits."""
        log_size = np.log(size)
        columns: dict[str, Any] = {entry.name: getattr(orbits, entry.name) for entry in fields(ClassTable)}
        for name in COLUMNS:
            if name.startswith("log_"):
                columns[name] = columns[name] - log_size
        return cls(**columns, orbit_size=size)

    @overload
    def __getitem__(self, index: int) -> PooledVolume: ...
    @overload
    def __getitem__(self, index: slice) -> PooledTable: ...
    def __getitem__(self, index: int | slice) -> PooledVolume | PooledTable:
        return cast(PooledVolume | PooledTable, super().__getitem__(index))

    def __iter__(self) -> Iterator[PooledVolume]:
        return cast(Iterator[PooledVolume], super().__iter__())

    def take(self, rows: np.ndarray) -> PooledTable:
        return self._with(super().take(rows), self.orbit_size[rows])

    def by_volume(self) -> PooledTable:
        """Sorted by falling estimated volume of one member; equal ones by key."""
        return self.take(np.lexsort([*self.keys.T[::-1], -self.log_volume]))

    def to_pandas(self) -> pandas.DataFrame:
        return super().to_pandas().assign(orbit_size=self.orbit_size)

    def _with(self, table: ClassTable, size: np.ndarray) -> PooledTable:
        return PooledTable(**{entry.name: getattr(table, entry.name) for entry in fields(ClassTable)}, orbit_size=size)

    def _record(self, row: int, label: str) -> PooledVolume:
        entry = super()._record(row, label)
        known = {column.name: getattr(entry, column.name) for column in fields(ClassVolume)}
        return PooledVolume(**known, orbit_size=int(self.orbit_size[row]))
