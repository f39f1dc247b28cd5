"""A report of any method equals the one that is loaded from where it was saved."""

from __future__ import annotations

import pytest
from checkout import ROOT

import volume

STORED = ROOT / "tests/stored/finished"


@pytest.mark.parametrize("name", sorted(path.name for path in STORED.iterdir() if (path / "report.json").is_file()))
def test_a_report_equals_the_one_that_is_loaded(name, tmp_path):
    report = volume.load(STORED / name)
    assert report == volume.load(STORED / name)
    if name == "direct-disk":
        return  # its counts are as large as the run, and stay there
    again = volume.load(report.save(tmp_path / "again"))
    assert again == report
    assert again.summary() == report.summary()
