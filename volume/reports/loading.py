"""What is saved as one JSON record, and loaded again by the format that the record names.

Every kind of result registers itself when its class is made, so that nothing here lists them. A format is a family of
kinds: counted reports are one, and `reads` says which member a record belongs to. What lies in the files byte by byte
is said in `volume.runs.report_files`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from volume.common.records import plain
from volume.reports.stored_numbers import check_numbers
from volume.runs.report_files import paths, read_record, write_record


class Stored:
    """A result that a file can hold: equal to another one when both would write the same record."""

    format: ClassVar[str]  # names the family in a stored record
    file: ClassVar[str] = "report.json"  # its name in a folder
    kinds: ClassVar[list[type[Stored]]] = []  # all that can be loaded, in the order in which they were defined

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "format" in cls.__dict__ or "reads" in cls.__dict__:
            Stored.kinds.append(cls)

    @classmethod
    def reads(cls, record: dict[str, Any]) -> bool:
        """Say whether a record of this kind's format is one of this kind; the kind that was defined last is asked
        first."""
        return True

    @classmethod
    def from_record(cls, record: dict[str, Any], path: Path) -> Self:
        """Return the result whose `record` this is; it lies at ``path``."""
        raise NotImplementedError(f"{cls.__name__} cannot be loaded.")

    def record(self) -> dict[str, Any]:
        """Return all that a file holds of this result, as strict JSON."""
        raise NotImplementedError(f"{type(self).__name__} cannot be saved.")

    def to_dict(self) -> dict[str, Any]:
        """Return a strict JSON record for readers, which may leave out what only loading needs."""
        return self.record()

    def summary(self) -> str:
        """Return the result as text."""
        raise NotImplementedError(f"{type(self).__name__} has no summary.")

    def __str__(self) -> str:
        return self.summary()

    def save(self, path: str | Path) -> Path:
        """Write the result without loss and return the path of its record, for `volume.load`.

        Args:
            path: a name that ends in ``.json``, or a folder, which is made when it is not there.
        """
        path = Path(path)
        path = path if path.suffix == ".json" and not path.is_dir() else path / self.file
        return write_record(path, self.format, plain(self.record()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stored) or type(self) is not type(other):
            return NotImplemented
        return plain(self.record()) == plain(other.record())

    def __hash__(self) -> int:
        return hash(json.dumps(plain(self.record()), sort_keys=True))


def load(path: str | Path) -> Any:
    """Read what a ``save`` wrote, of any kind that is known; nothing in it is executed.

    Args:
        path: a ``.json`` file, or the folder of a report.

    Raises:
        FileNotFoundError: there is none at ``path``.
        ValueError: it cannot be used; the sentence says what is wrong with it.
    """
    record_path, _ = paths(path)
    formats = [kind.format for kind in Stored.kinds]
    format, record = read_record(record_path, formats)
    try:
        check_numbers(record)
        kind = next(kind for kind in reversed(Stored.kinds) if kind.format == format and kind.reads(record))
        return kind.from_record(record, record_path)
    except (KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError, ValueError) as error:
        # Its checksum is right: it was forged, or written by a version with other fields.
        if isinstance(error, ValueError) and str(record_path.parent) in str(error):
            raise  # of a file beside it, which the sentence names
        what = f"there is no {error}" if isinstance(error, KeyError) else f"{error}".rstrip(".")
        raise ValueError(f"{record_path} does not hold what a {format.partition(' ')[2]} holds: {what}.") from error
