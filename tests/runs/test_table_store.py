"""Tables on disk answer as the same counts do in memory, to the last bit."""

import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
from stored_tables import both, drawn, store_of, write_parts

from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.truth_table import TruthTable
from volume.functions.domains import BooleanCube, Points
from volume.functions.tables import labels
from volume.plots.data import rank_data
from volume.reports.comparison import compare
from volume.reports.counted_entries import COLUMNS
from volume.reports.on_disk import TableReport
from volume.runs.table_merge import merge
from volume.runs.table_store import TableStore
from volume.statistics.intervals import cluster_at_zero
from volume.statistics.unseen import unseen_mass


def points(size):
    return Points(np.random.default_rng(7).normal(size=(size, 2)))


def same(a, b, what=""):
    """Two lists of classes are equal in every number."""
    assert a.labels() == b.labels(), what
    np.testing.assert_array_equal(a.keys, b.keys, err_msg=what)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column), err_msg=f"{what} {column}")
    assert (a.level, a.num_draws) == (b.level, b.num_draws)


QUOTIENT = {"dtype": "float32", "symmetry": "quotient", "symmetry_group": {"log_order": np.log(3)}}
CASES = {
    "one word": ({}, {}),
    "words": ({"num_inputs": 70, "fresh": 0.5}, {}),
    "argmax": ({"num_inputs": 45, "num_outputs": 3, "seed": 1}, {}),
    "nonfinite": ({"lost": 0.1, "seed": 2}, {}),
    "weighed": ({"copies": 3, "lost": 0.05, "seed": 3}, {"conventions": QUOTIENT}),
    "clusters": (
        {"units": 40, "unit_size": 400, "num_inputs": 20, "seed": 4},
        {},
    ),  # enough rare classes to show theirs
    "two units": ({"units": 2, "seed": 5}, {}),
    "four units": ({"units": 4, "seed": 6}, {}),
    "independent": ({"seed": 8}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_reports_from_disk_and_from_memory_are_the_same(case, tmp_path):
    made, facts = CASES[case]
    counts = drawn(**made)
    if case == "independent":
        counts = replace(counts, independent=True)
    inputs, outputs = made.get("num_inputs", 9), made.get("num_outputs", 1)
    inside, stored = both(counts, tmp_path, domain=points(inputs), num_outputs=outputs, **facts)
    assert len(stored.counts.cuts()) >= 1 or counts.num_units < 5, "only one range of keys: nothing is put together"
    assert stored.num_classes == inside.num_classes
    for k in (20, counts.num_classes + 5):
        same(inside.top(k, simultaneous=True), stored.top(k, simultaneous=True), f"top {k}")
    same(inside.classes(), stored.classes())
    assert stored.unseen == inside.unseen
    assert stored.nonfinite.to_dict() == inside.nonfinite.to_dict()
    for label in [*(inside.classes()[row].label for row in (0, -1)), "01" * (inputs // 2) + "0" * (inputs % 2)]:
        assert stored[label].to_dict() == inside[label].to_dict()
        assert (label in stored) == (label in inside)
    assert list(stored) == list(inside)
    assert stored.summary(7) == inside.summary(7)
    assert json.dumps(stored.to_dict(5)) == json.dumps(inside.to_dict(5))


def test_the_pieces_are_what_the_whole_is():
    """The cases above meet what is particular in a merge: else their agreement would say little."""
    clusters = drawn(**CASES["clusters"][0])
    assert cluster_at_zero(clusters.tally(), 400) < 400  # taken from the rare classes
    for case in ("words", "argmax", "weighed", "clusters"):
        counts = drawn(**CASES[case][0])
        found = unseen_mass(counts)
        size, total = np.diff(counts.offsets), counts.tally().count
        assert (size == 2).sum() > 10, f"{case}: hardly a class is shared by two units alone"
        assert ((size == 1) & (total > 1)).sum() > 5, f"{case}: no clusters in one unit"
        assert 0 < found.mass < 1


def test_missing_blocks_are_left_out(tmp_path):
    counts = drawn()
    parts = write_parts(counts, tmp_path, first=1000)
    left = parts[:2] + parts[4:]
    gone = (counts.unit >= 14) & (counts.unit < 28)
    kept = counts.unit[~gone]
    keys = np.repeat(counts.keys, np.diff(counts.offsets), axis=0)[~gone]
    store = TableStore(left[::-1], tmp_path, num_words=1, unit_size=60, independent=False, memory=40_000)
    found = store.counts()
    assert store.num_units == 36
    np.testing.assert_array_equal(found.unit, np.where(kept < 14, kept, kept - 14))
    np.testing.assert_array_equal(np.repeat(found.keys, np.diff(found.offsets), axis=0), keys)
    np.testing.assert_array_equal(found.hits, counts.hits[~gone])
    np.testing.assert_array_equal(store.merged.alone, TableStore(
        write_parts(found, tmp_path / "again"), tmp_path / "again", num_words=1, unit_size=60, independent=False
    ).merged.alone)  # fmt: skip


def test_comparisons_and_ranks_read_the_disk(tmp_path):
    made = [drawn(seed, num_inputs=16, units=60, unit_size=100, lost=0.01) for seed in (1, 2)]
    pairs = [
        both(counts, tmp_path / str(n), domain=BooleanCube(4), seed=n, memory=200_000)
        for n, counts in enumerate(made, 1)
    ]
    (inside_a, stored_a), (inside_b, stored_b) = pairs
    expected = compare(inside_a, inside_b)
    assert expected.num_compared > 10
    for a, b in ((stored_a, stored_b), (stored_a, inside_b), (inside_a, stored_b)):
        assert compare(a, b).to_dict() == expected.to_dict()
    for a, b in zip(rank_data(cast(Any, stored_a)), rank_data(inside_a), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("classifier", [Ones(), LempelZiv()])
def test_a_coarser_classifier_from_one_pass_over_the_parts(classifier, tmp_path):
    counts = drawn(num_inputs=16, lost=0.02)
    inside, stored = both(counts, tmp_path, domain=BooleanCube(4))
    expected, found = inside.group_by(classifier), stored.group_by(classifier)
    assert not isinstance(found, TableReport)
    for name in ("keys", "offsets", "unit", "hits", "nonfinite"):
        np.testing.assert_array_equal(getattr(found.counts, name), getattr(expected.counts, name), err_msg=name)
    assert found.to_dict() == expected.to_dict()
    assert stored.group_by(TruthTable()) is stored


def test_a_coarser_classifier_that_does_not_fit_either_is_refused(tmp_path):
    _, stored = both(drawn(num_inputs=16), tmp_path, domain=BooleanCube(4), memory=6000)
    with pytest.raises(ValueError, match=r"do not fit .* group by a coarser classifier"):
        stored.group_by(LempelZiv())


def test_a_stopped_merge_goes_on_and_a_finished_one_is_read(tmp_path, monkeypatch):
    counts = drawn(num_inputs=20)
    store = store_of(counts, tmp_path)
    whole = merge(store)
    plain = (tmp_path / "classes" / "_table.json").read_bytes()
    calls, cells = [], TableStore.cells

    def stopping(self, *limits):
        calls.append(limits[1:])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cells(self, *limits)

    monkeypatch.setattr(TableStore, "cells", stopping)
    assert merge(store) is not whole  # read from disk: nothing is merged
    assert TableStore(store.parts, tmp_path, num_words=1, unit_size=60, independent=False).num_classes == len(
        counts.keys
    )
    assert calls == []  # nor where there is more memory
    again = store_of(counts, tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        merge(again)
    assert not (again.folder / "classes" / "_table.json").exists()
    shares: list[float] = []
    merge(again, shares.append)
    ranges = len(again.cuts()) + 1
    assert ranges > 3
    assert len(calls) == ranges + 1  # two ranges were kept, the third was begun twice
    assert shares == [(n + 1) / ranges for n in range(ranges)]
    assert (again.folder / "classes" / "_table.json").read_bytes() == plain
    assert not (again.folder / "merge").exists()
    for file in sorted((tmp_path / "classes").glob("*.parquet")):
        assert file.read_bytes() == (again.folder / "classes" / file.name).read_bytes()


def test_other_parts_are_merged_anew(tmp_path):
    counts = drawn()
    parts = write_parts(counts, tmp_path)
    options = {"num_words": 1, "unit_size": 60, "independent": False, "memory": 40_000}
    assert TableStore(parts[:1], tmp_path, **options).num_classes < counts.num_classes
    assert TableStore(parts, tmp_path, **options).num_classes == counts.num_classes


def test_class_tables_hold_what_their_documentation_says(tmp_path):
    counts = drawn()
    merged = store_of(counts, tmp_path).merged
    table = pq.read_table(tmp_path / "classes")
    tally, rest = counts.tally(), counts.tally(5)
    often = tally.count > 1
    assert merged.once == (~often).sum()
    assert table.column("function").to_pylist() == [key.astype(">u8").tobytes() for key in counts.keys[often]]
    expected = {"count": tally.count, "square": tally.square, "largest": tally.largest, "units": tally.units}
    expected |= {"pilot": tally.count - rest.count, "rest_square": rest.square}
    expected |= {"rest_largest": rest.largest, "rest_units": rest.units}
    for name, column in expected.items():
        np.testing.assert_array_equal(table.column(name).to_numpy(), column[often], err_msg=name)


def test_what_memory_alone_can_hold_is_refused(tmp_path, monkeypatch):
    _, stored = both(drawn(), tmp_path, domain=points(9))
    monkeypatch.setattr("volume.runs.table_store.MAX_LISTED", 100)
    for ask in (stored.classes, stored.to_dict, stored.counts.tally, lambda: stored.counts.keys):
        with pytest.raises(ValueError, match=r"does not fit in memory: the table lies in .*report\.top"):
            ask()
    assert len(stored.top(5)) == 5


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    store = store_of(drawn(), tmp_path)
    monkeypatch.setattr("volume.runs.table_merge.BYTES_PER_CLASS", 10**15)
    with pytest.raises(OSError, match=r"may take .* GB more and the disk of .* GB left: make room"):
        merge(store)
    assert not (tmp_path / "merge").exists()


def test_bad_stores_are_refused(tmp_path):
    parts = write_parts(drawn(), tmp_path)
    options = {"num_words": 1, "unit_size": 60, "independent": False}
    with pytest.raises(ValueError, match="Block 0 is in two parts"):
        TableStore([*parts, parts[0]], tmp_path, **options)
    with pytest.raises(ValueError, match="none was given"):
        TableStore([], tmp_path, **options)
    with pytest.raises(ValueError, match="memory=0 is no number of bytes"):
        TableStore(parts, tmp_path, memory=0, **options)


def test_a_table_without_a_finite_draw(tmp_path):
    inside, stored = both(drawn(units=5, lost=1.0), tmp_path, domain=points(9))
    assert stored.num_classes == 0
    assert stored.unseen == inside.unseen
    assert stored.summary() == inside.summary()
    assert stored["0" * 9].to_dict() == inside["0" * 9].to_dict()


def test_labels_of_leaders_follow_ties_by_key(tmp_path):
    """Classes hit once in the first tenth come in the order of their keys, whether or not a class table has them."""
    counts = drawn(fresh=1.0, num_inputs=30)
    keys, start = store_of(counts, tmp_path).leaders(200)
    pilot = counts.tally(0, 5).count
    expected = np.argsort(-pilot, kind="stable")[:200]
    assert start == 5
    assert labels(keys, 30, 1) == labels(counts.keys[expected], 30, 1)
