"""Compiled programs that tests keep for each other (conftest.py): what is damaged or old is not kept."""

from __future__ import annotations

import os
import time
import zlib

from kept_programs import UNUSED_DAYS, forget


def test_programs_cut_short_or_long_unused_are_forgotten(tmp_path):
    packed = zlib.compress(os.urandom(1000))
    for name, content in {"whole": packed, "cut": packed[:-1], "empty": b"", "old": packed, "other": b"(\xb5"}.items():
        (tmp_path / f"{name}-cache").write_bytes(content)
    then = time.time() - (UNUSED_DAYS + 1) * 86_400
    os.utime(tmp_path / "old-cache", (then, then))
    forget(tmp_path)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"whole-cache", "other-cache"}
    (tmp_path / "whole-cache").write_bytes(packed[:500])  # since the last time
    forget(tmp_path)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"other-cache"}
