"""A tenth of the damaged files of docs/reliability.md; the rest by tests/helpers/damaged_files.py."""

from __future__ import annotations

import pytest
from damaged_files import try_damage


@pytest.mark.parametrize(
    ("cases", "resumed"), [(100, 0.0), pytest.param(50, 1.0, marks=pytest.mark.slow)], ids=["read", "resumed"]
)
def test_damaged_files_give_the_same_answer_or_a_sentence(cases, resumed, tmp_path):
    ends = try_damage(cases, 1, tmp_path, resumed=resumed)
    assert set(ends) == {"the same answer", "a sentence"}
    assert min(ends.values()) > cases / 20
