"""A tenth of the random command lines of docs/reliability.md; the rest by tests/helpers/random_lines.py."""

from __future__ import annotations

from random_lines import try_lines


def test_random_lines_end_in_a_sentence(tmp_path):
    ends = try_lines(100, 1, tmp_path)
    assert sum(ends.values()) == 100
    assert ends["exit code 2"] > 30
    assert ends["would run"] > 0
