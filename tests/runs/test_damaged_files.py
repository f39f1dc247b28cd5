"""A tenth of the damaged files of docs/reliability.md; the rest by tests/helpers/damaged_files.py."""

from __future__ import annotations

import pytest
from damaged_files import KINDS, READ, try_damage


@pytest.mark.parametrize(
    ("cases", "kinds"), [(40, READ), pytest.param(100, KINDS, marks=pytest.mark.slow)], ids=["read", "all"]
)
def test_damaged_files_give_the_same_answer_or_a_sentence(cases, kinds, tmp_path):
    ends = try_damage(cases, 1, tmp_path, kinds)
    assert set(ends) == {"the same answer", "a sentence"}
    assert min(ends.values()) > cases / 20
