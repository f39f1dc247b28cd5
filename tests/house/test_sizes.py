"""Files are short enough to be read at one sitting, and the top of the library short enough to be a map."""

from __future__ import annotations

import statistics

import pytest
from checkout import ROOT
from import_graph import PACKAGES, name_of, python_files

MOST, MEDIAN = 500, 220  # lines
AT_THE_TOP = 8  # modules directly in volume/


def num_lines(path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_no_file_is_too_long(path):
    assert num_lines(path) <= MOST


def test_the_median_file_is_short():
    sizes = [num_lines(path) for path in python_files(*PACKAGES) if path.name != "__init__.py"]
    assert statistics.median(sizes) <= MEDIAN


def test_few_modules_stand_at_the_top():
    assert len(list((ROOT / "volume").glob("*.py"))) <= AT_THE_TOP


def test_the_two_folders_are_flat():
    """setuptools' mapping lists packages one by one: a folder inside one of these would vanish from the wheel."""
    nested = [name_of(path) for folder in ("samplers", "models") for path in (ROOT / folder).glob("*/*.py")]
    assert nested == []
