"""Records in files: strict JSON with a format, a version and a SHA-256; nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

SEAL = ("format", "version", "sha256")


def seal(kind: str, version: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Put the format, its version and the SHA-256 before a body."""
    return {"format": kind, "version": version, "sha256": sha256_of(body), **body}


def sha256_of(body: Mapping[str, Any]) -> str:
    """The SHA-256 of a body, whatever the order of its names."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def parse_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object. ValueError for bad UTF-8, bad JSON and any other value."""
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, got a {type(record).__name__}")
    return record


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
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad JSON and bad UTF-8
        raise ValueError(f"{path} is truncated or damaged: it is not JSON to its end ({error}).") from None
    if not isinstance(record, dict) or not isinstance(record.get("format"), str) or record["format"] not in kinds:
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
    """The format and the checked body of a record that `seal` made; arguments and errors as of `read_json`."""
    record = read_json(path, kinds, version, other=other, remedy=remedy)
    body = {name: value for name, value in record.items() if name not in SEAL}
    check_seal(path, record.get("sha256"), body)
    return record["format"], body
