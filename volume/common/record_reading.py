"""Records in files: strict JSON with a format, a version and a SHA-256; nothing in them is executed.

Every record begins with its format, which begins with the name of this program: so it is known for one that may be
replaced, whatever damage it has further on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

SEAL = ("format", "version", "sha256")
MAX_BYTES = 1 << 30  # of a record or a manifest; larger ones are not read
_OURS = re.compile(rb'\s*\{\s*"format"\s*:\s*"(param-volume [ a-z]+)"')


def seal(kind: str, version: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Put the format, its version and the SHA-256 before a body."""
    return {"format": kind, "version": version, "sha256": sha256_of(body), **body}


def sha256_of(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a body, whatever the order of its names."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def parse_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object. ValueError for bad UTF-8, bad JSON, nesting without end, and any other value."""
    try:
        record = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, got a {type(record).__name__}")
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read_file(path: Path) -> bytes:
    """Read a file whole. FileNotFoundError where there is no regular file; ValueError where it is too large."""
    if not path.is_file():  # nor a pipe or device, whose end may never come
        raise FileNotFoundError(f"There is no file {path}.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} that are read.")
    return path.read_bytes()


def kind_of(path: Path) -> str | None:
    """Return the format of a record, as far as its beginning tells; None where this program did not write the file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = _OURS.match(file.read(100))
    return None if found is None else found[1].decode()


def is_record(path: Path) -> bool:
    """Say whether this program wrote the file."""
    return kind_of(path) is not None


def check_replaceable(path: Path) -> None:
    """Raise FileExistsError where ``path`` is something else than a record of this program or an empty file."""
    if path.exists() and not is_record(path) and not (path.is_file() and path.stat().st_size == 0):
        raise FileExistsError(f"{path} was not written by this program and is left as it is: name another place.")


def read_json(path: Path, kinds: Container[str], version: int, *, other: str, remedy: str = "") -> dict[str, Any]:
    """Read a record, its SHA-256 not yet looked at.

    Args:
        path: of an existing file.
        kinds: the formats that will do.
        version: of the format.
        other: the end of the sentence for a file of another format, "PATH is JSON, but ...".
        remedy: what to do with another version.

    Raises:
        ValueError: bad JSON, another format or another version.
    """
    content = read_file(path)
    try:
        record = parse_object(content)
    except ValueError as error:  # bad JSON and bad UTF-8
        raise ValueError(f"{path} is truncated or damaged: it is no JSON object to its end ({error}).") from None
    if not isinstance(record.get("format"), str) or record["format"] not in kinds:
        raise ValueError(f"{path} is JSON, but {other}")
    if record.get("version") != version:
        after = f": {remedy}" if remedy else "."
        raise ValueError(f"{path} has format version {record.get('version')!r} and this library reads {version}{after}")
    return record


def check_seal(path: Path, sha256: Any, body: Mapping[str, Any]) -> None:
    """Raise ValueError where a body is not what its SHA-256 says."""
    if sha256 != sha256_of(body):
        raise ValueError(f"{path} is damaged or was edited: its content does not match its own SHA-256.")


def read_sealed(
    path: Path, kinds: Container[str], version: int, *, other: str, remedy: str = ""
) -> tuple[str, dict[str, Any]]:
    """Return the format and the checked body of a record that `seal` made; arguments and errors as of `read_json`."""
    record = read_json(path, kinds, version, other=other, remedy=remedy)
    body = {name: value for name, value in record.items() if name not in SEAL}
    check_seal(path, record.get("sha256"), body)
    return record["format"], body
