"""Names of truth tables: exact texts, and no two tables of one output under one name."""

from __future__ import annotations

import itertools

import pytest

from volume.functions.table_names import table_name

CUBE = 128


def with_ones(*positions: int, size: int = CUBE) -> str:
    return "".join("1" if i in positions else "0" for i in range(size))


def flipped(label: str) -> str:
    return label.translate(str.maketrans("01", "10"))


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("0" * CUBE, "all 0"),
        ("1" * CUBE, "all 1"),
        (flipped(with_ones(0)), "all 1 except x = 0"),
        (with_ones(4), "1 only at 0000100"),
        (with_ones(1, 64), "1 only at 0000001, 1000000"),
        (flipped(with_ones(0, 4)), "all 1 except x = 0, 0000100"),
        (flipped(with_ones(4, 5)), "all 1 except 0000100, 0000101"),
        ("0" * 64 + "1" * 64, "x1"),
        ("01" * 64, "x7"),
        (with_ones(1, 2, 3), "0x70000000000000000000000000000000"),
        ("0110", "0110"),
        ("0000", "all 0"),
        (with_ones(7, size=100), "1 only at #7"),
        (with_ones(7, 8, 9, size=30), "0x01c00000 (30 inputs)"),
        ("2" * 50, "all 2"),
        ("0" * 20 + "2" * 30, "0×20 2×30"),
        ("0123456789" * 5, "012345678…123456789 (50)"),
    ],
)
def test_names(label, name):
    assert table_name(label) == name


def test_names_of_one_output_are_distinct():
    # All tables with at most three ones, or at most three zeros, on 64 inputs; and the coordinate functions.
    size = 64
    labels = {
        with_ones(*positions, size=size) for k in range(4) for positions in itertools.combinations(range(size), k)
    }
    labels |= {flipped(label) for label in labels}
    labels |= {("0" * half + "1" * half) * (size // (2 * half)) for half in (1, 2, 4, 8, 16, 32)}
    assert len({table_name(label) for label in labels}) == len(labels)
