"""Text for people: no number is cut, whatever the width, and a file gets the full table."""

import io
import re
import sys

import numpy as np
import pytest
from example_reports import clustered, make, table_counts

import volume
from volume.reports import text
from volume.reports.entries import replicated_volume
from volume.reports.named import EstimateReport
from volume.reports.text import Table, render, short_names
from volume.statistics.replicates import Share

LABELS = ("accuracy 10 to 12 of 14", "accuracy 13 to 14 of 14", "outside")
NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]\d+)?")


def given_report():
    """Replicates of a class that is given and of its parts, with labels of more than 10 characters."""
    logs = -12 + 0.3 * np.random.default_rng(1).normal(size=8)
    shares = (Share(0.9231, 0.8812, 0.9544, 8), Share(3.807e-05, 1.113e-05, 4.471e-05, 6))
    parts = [
        replicated_volume(label, logs + np.log(share.share), 0.95, share=share)
        for label, share in zip(LABELS, shares, strict=False)
    ]
    return EstimateReport(
        (replicated_volume("fits", logs, diagnostics={"ideal_spread": 0.21}), *parts),
        description={},
        method={"name": "splitting"},
        seed=0,
        run={"wall_seconds": 2.0},
        conventions={"dtype": "float32"},
    )


def numbers(lines):
    return sorted(NUMBER.findall(" ".join(lines)))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_number_stands_whole_in_every_width(width, monkeypatch):
    report = given_report()
    full = report.summary()
    monkeypatch.setattr(text, "terminal_width", lambda: width)
    fitted = report.summary()
    assert max(map(len, fitted.splitlines())) <= width
    assert "…" not in fitted
    # Labels repeat where columns go to a further table: every cell is looked for by itself.
    for entry in report.entries:
        for cell in entry.cells().values():
            for number in NUMBER.findall(cell):
                assert number in fitted.split() or number in NUMBER.findall(fitted), (number, width)
    assert set(numbers(full.splitlines())) == set(numbers(fitted.splitlines()))


def test_a_table_in_a_pipe_has_its_full_width(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    lines = given_report().summary().splitlines()
    row = next(line for line in lines if line.startswith(LABELS[1]))
    assert "1.113e-05"[:4] in row
    assert "3.81e-05 (1.11e-05 - 4.47e-05)" in row


def test_a_terminal_is_asked_for_its_columns(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr(sys, "stdout", Screen())
    report = make(table_counts(clustered()))
    assert 60 < max(map(len, report.summary().splitlines())) <= 72
    assert max(map(len, str(given_report()).splitlines())) <= 72


def test_a_notebook_gets_the_text(monkeypatch):
    """Rich takes a console for a notebook's where IPython's shell is one, and then prints nothing here."""
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    report = make(table_counts(clustered()))
    assert str(report).startswith("12,000 draws")
    assert str(given_report()).startswith("3 classes by splitting")
    assert str(volume.compare(report, make(table_counts(clustered(1)), seed=1)))


def test_long_labels_stay_apart():
    labels = ["0" * 60 + "1" + "0" * 60, "0" * 59 + "11" + "0" * 60]
    names = short_names(labels)
    assert names[0] != names[1]
    assert all("…" in name for name in short_names(["a" * 50, "b" * 50]))


def test_columns_that_have_no_room_stand_below():
    heads = ["class", *(f"column {n}" for n in range(6))]
    table = Table(heads, [["a label", *(f"{n}.2345e-0{n}" for n in range(6))]])
    lines = render(table, width=30).splitlines()
    assert max(map(len, lines)) <= 30
    assert sum(line.startswith("a label") for line in lines) > 1
    assert all(f"{n}.2345e-0{n}" in "\n".join(lines) for n in range(6))
    assert render(table, width=300).splitlines()[1].count("e-0") == 6


def test_labels_stand_to_the_left_and_numbers_to_the_right():
    table = Table(("class", "hits"), (("a", "7"), ("long", "12,345")))
    assert render(table, width=40).splitlines() == ["class    hits", "a           7", "long   12,345"]


def test_a_word_longer_than_the_line_stays_whole():
    path = "runs/of-the-night/seven-inputs/report.json"
    assert path in render(f"Kept in {path}: go on from there.", width=20).splitlines()[1]
