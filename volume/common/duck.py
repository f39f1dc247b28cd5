"""DuckDB as this library opens it: silent, in a notebook too."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import duckdb


def connect(settings: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that draws no progress bar: it would stand on stdout, between our JSON."""
    connection = duckdb.connect(config=dict(settings))
    with contextlib.suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets has none to turn off
        connection.execute("SET enable_progress_bar = false")
    return connection
