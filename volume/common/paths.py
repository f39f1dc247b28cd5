"""Names of files and folders, taken as they are typed: nothing in them is a pattern or an address."""

from __future__ import annotations

from pathlib import Path


def checked_path(path: str | Path) -> Path:
    """Return ``path`` as a `Path`.

    Raises:
        ValueError: it is empty, or no text in UTF-8 that a file can be named by.
    """
    text = str(path)
    if not text:
        raise ValueError('the name of a file or folder is empty: give one, "." for the current folder.')
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not valid UTF-8: rename the file or folder.") from None
    if "\0" in text:
        raise ValueError(f"{text!r} contains a NUL character, which no name can: give another name.")
    return Path(path)


def duckdb_name(path: Path) -> str:
    """Write a path as DuckDB takes it for this one file: absolute, its wildcards escaped."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path.absolute()))
