"""The tour, end to end with few draws: what it prints is what the run says."""

from __future__ import annotations

import io
import json
import math
import re

import numpy as np
import pytest
from rich.console import Console

import volume
from volume.plots.data import complexity_data
from volume.studies import demo, demo_measures

DRAWS = 40_000
TASKS = [("first-bit", 2)]
METHOD = volume.Direct(draws=10_000)


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    screen = Console(file=io.StringIO(), width=80)
    tasks = {"tasks": TASKS, "method": METHOD}
    made = demo.run(folder, draws=DRAWS, seed=3, progress=None, console=screen, suffix=".png", **tasks)
    assert isinstance(screen.file, io.StringIO)
    return made, screen.file.getvalue(), folder


def words(text: str) -> str:
    """Without the line breaks that the screen's width puts in."""
    return " ".join(text.split())


def test_everything_is_written_and_named(tour):
    made, text, folder = tour
    names = sorted(path.name for path in folder.iterdir())
    assert {"rank.png", "complexity.png", "balance.png", "report.json"} <= set(names)
    assert {"measures-first-bit-2.json", "measures-first-bit-2.png"} <= set(names)
    assert all(path.exists() and path.stat().st_size > 0 for path in made.saved)
    assert len(made.saved) == 6
    for path in made.saved:
        assert path.name in text


def test_it_opens_with_the_measures(tour):
    made, text, folder = tour
    (first,) = made.measures
    assert words(text).startswith("A counting argument: of all functions")
    assert text.index("How what fits 2 labels") < text.index("Drawing 40,000 networks")
    assert words(first.text) in words(text)
    record = json.loads((folder / "measures-first-bit-2.json").read_text())
    said = json.loads(json.dumps(first.to_dict()))
    assert {name: record[name] for name in said} == said
    assert volume.load(folder / "measures-first-bit-2.json") == first
    # Its wide limit is within .1 of the network's volume, 10,000 draws within .08 (2 standard errors of these).
    assert abs(first["volume"].log_total - first["infinite width"].log_total) < 0.3


def test_it_opens_with_first_bit_and_majority():
    assert demo_measures.TASKS == (("first-bit", 64), ("majority", 32))


def test_the_stored_run_answers_the_same(tour):
    made, _, folder = tour
    stored = volume.VolumeReport.load(folder)
    assert stored.num_draws == made.report.num_draws == DRAWS
    assert stored["0" * 128].count == made.report["0" * 128].count


def test_the_table_shows_the_largest_classes(tour):
    made, text, _ = tour
    rows = [line for line in text.splitlines() if re.match(r"(all [01]|1 only at|x\d|0x)", line)]
    assert len(rows) == demo.SHOWN
    largest = made.report.classes(top=demo.SHOWN)
    for entry, row in zip(largest, rows, strict=True):
        assert f"{entry.volume:.3e}" in row
        assert f"{entry.low:.2e} - {entry.high:.2e}" in row
        assert re.search(rf"\s{entry.label.count('1')}\s", row)
    assert rows[0].startswith(("all 0 ", "all 1 except x = 0 "))
    constant = next(row for row in rows if row.startswith("all 0 "))
    assert re.search(r"\s0\s+7\.0\s", constant)
    assert max(map(len, text.splitlines()[:-1])) <= 80  # the last line holds paths


def test_the_two_largest_have_their_known_volume(tour):
    """.062282 each, from 73 million draws (standard error 3.4e-5).

    Compared at 5.5 standard errors of a binomial times the run's own design effect: false-alarm rate 4e-8 each. It
    would see an error of 20 %.
    """
    made, _, _ = tour
    for label in ("0" * 128, "0" + "1" * 127):
        entry = made.report[label]
        error = math.sqrt(0.062282 * 0.937718 * max(entry.design_effect, 1) / DRAWS)
        assert abs(entry.volume - 0.062282) < 5.5 * error


def test_balance_table_stands_beside_the_theorem(tour):
    made, text, _ = tour
    for ones in demo.BALANCES:
        entry = made.balance[str(ones)]
        volume_shown = f"{entry.volume:.5f}" if entry.count else "never drawn"
        reference = "0.00781" if ones < 128 else "0"
        assert re.search(rf"^ *{ones} +{re.escape(volume_shown)} .* {re.escape(reference)} *$", text, flags=re.M)
    assert sum(entry.count for entry in made.balance.classes()) == DRAWS


def test_unseen_mass_is_said_and_explained(tour):
    made, text, _ = tour
    mass = made.report.unseen
    assert f"Unseen: {100 * mass.mass:.1f} % of the volume" in words(text)
    assert "would show a new function that often" in words(text)


def test_the_paragraph_is_computed_from_the_run(tour):
    made, text, _ = tour
    assert words(made.text) in words(text)
    first, second = made.report.classes(top=2)
    assert "2^128 = 3.4e+38 functions" in made.text
    assert "2.9e-39" in made.text  # 2^-128
    assert f"has {100 * first.volume:.3g} %, {first.volume * 2.0**128:.1e} times" in made.text
    assert f"{100 * (first.volume + second.volume):.3g} %" in made.text
    assert f"{100 * made.report.unseen.mass:.3g} % of the volume is spread over functions" in made.text
    edge = [*range(6), *range(122, 128)]
    held = sum(made.balance[str(t)].count for t in edge) / DRAWS
    assert f"hold {100 * held:.3g} % of this network's volume and {100 * 12 / 128:.3g} % of a perceptron's" in made.text


def test_complexities_in_the_paragraph_are_medians_of_the_sample(tour):
    made, _, _ = tour
    sample = complexity_data(made.report)
    many, once = sample.count >= 10, sample.count == 1
    low_medians = [np.percentile(sample.complexity[inside], 50, method="inverted_cdf") for inside in (many, once)]
    found = re.search(
        r"complexity is (\d+) bits among .*?, (\d+) among those drawn once and (\d+) for random", made.text
    )
    assert found is not None
    assert [int(found[1]), int(found[2])] == [round(value) for value in low_medians]
    # Random 128-bit strings have 148.9 on average (REFERENCE: Dingle's measure), sd 8: the mean of 300 is within 3.
    assert abs(int(found[3]) - 148.9) < 3


@pytest.mark.slow
def test_other_draws_give_other_numbers(tour, tmp_path):
    made, _, _ = tour
    screen = Console(file=io.StringIO(), width=80)
    other = demo.run(tmp_path, draws=10_000, tasks=(), seed=4, progress=None, console=screen, suffix=".svg")
    assert other.text != made.text
    assert "10,000 draws" in other.text


def test_record_is_strict_json(tour):
    made, _, _ = tour
    record = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert len(record["classes"]) == demo.SHOWN
    assert len(record["balance"]) == 129
    assert record["num_draws"] == DRAWS
    assert record["text"] == made.text
    assert len(record["saved"]) == 6
    assert [one["task"] for one in record["measures"]] == ["first-bit"]


def test_bad_arguments_are_refused_before_drawing(tmp_path):
    with pytest.raises(ValueError, match="draws=0 is not a positive whole number"):
        demo.run(tmp_path / "out", draws=0)
    with pytest.raises(ValueError, match=r"Unknown figure format '\.gif'"):
        demo.run(tmp_path / "out", suffix=".gif")
    assert not (tmp_path / "out").exists()
