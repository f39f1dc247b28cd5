"""DuckDB as this library opens it: silent, in a notebook too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb


def connect(settings: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that draws no progress bar: it would stand on stdout, between our JSON."""
    connection = duckdb.connect(config=dict(settings))
    # Asked first: in a notebook without ipywidgets the setting cannot even be turned off.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")
    return connection
