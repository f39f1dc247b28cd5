"""Parts, manifests and locks, each on its own: what a run directory is made of."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from volume.estimators.direct.accumulate import Rows
from volume.estimators.direct.parts import OpenPart
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint
from volume.runs.directory import RunDirectory
from volume.runs.files import Manifest
from volume.runs.ranges import disjoint, missing, share


def table(value):
    return pa.table({"x": [value]})


def test_a_line_torn_by_a_crash_is_no_line_and_spoils_no_other(tmp_path):
    manifest = Manifest(tmp_path / "manifest-0.jsonl")
    manifest.append({"name": "a"})
    manifest.close()
    with manifest.path.open("a") as file:
        file.write('{"name":"b","che')
    assert manifest.read() == ([{"name": "a"}], 0)
    manifest.append({"name": "c"})
    manifest.close()
    assert manifest.read() == ([{"name": "a"}, {"name": "c"}], 0)


def test_processes_that_share_a_run_lock_out_others(tmp_path):
    config = {"query": 1}
    with (
        RunDirectory(tmp_path, config, process=0) as one,
        RunDirectory(tmp_path, config, resume=True, process=1) as two,
    ):
        with pytest.raises(BlockingIOError):
            RunDirectory(tmp_path, config, resume=True, process=1)
        with pytest.raises(BlockingIOError):
            RunDirectory(tmp_path, config, resume=True)
        one.write([Checkpoint("a-0", {"at": 1}, table(1))])
        two.write([Checkpoint("b-0", {"at": 2}, lambda: table(2))])
        for directory in (one, two):
            directory.flush()
        for directory in (one, two):
            assert [(part.name, part.facts, part.read().to_pylist()) for part in directory.parts()] == [
                ("a-0", {"at": 1}, [{"x": 1}]),
                ("b-0", {"at": 2}, [{"x": 2}]),
            ]
    assert [len(Manifest(tmp_path / f"manifest-{k}.jsonl").read()[0]) for k in (0, 1)] == [1, 1]


def test_a_part_of_the_same_name_replaces_the_earlier_one(tmp_path):
    with RunDirectory(tmp_path, {}) as directory:
        for value in range(4):
            directory.write([Checkpoint("state-0", {"level": value}, table(value))])
            directory.flush()
            assert [part.read().to_pylist() for part in directory.parts()] == [[{"x": value}]]
            assert len(list((tmp_path / "parts").iterdir())) == 1
    with RunDirectory(tmp_path, {}, resume=True) as directory:
        assert [(part.facts, part.read().to_pylist()) for part in directory.parts()] == [({"level": 3}, [{"x": 3}])]


def test_parts_that_make_no_sense():
    for name in ("A", "a b", "../a", "", "a-"):
        with pytest.raises(ValueError, match="small letters"):
            Checkpoint(name, {}, table(0))
    with pytest.raises(TypeError, match="no JSON"):
        Checkpoint("a", {"x": object()}, table(0))


def test_an_error_of_a_part_is_its_own(tmp_path):
    def bad():
        raise ZeroDivisionError("of a method")

    with RunDirectory(tmp_path, {}) as directory:
        directory.write([Checkpoint("a", {}, bad), *(Checkpoint(f"b-{i}", {}, table(i)) for i in range(20))][:1])
        with pytest.raises(ZeroDivisionError, match="of a method"):
            directory.flush()
        with pytest.raises(ZeroDivisionError):
            directory.write([Checkpoint("c", {}, table(0))])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_part_ranges_evenly_and_without_gaps(count):
    left = [(3, 10), (12, 13), (20, 41)]
    shares = [share(left, index, count) for index in range(count)]
    blocks = [[b for first, stop in each for b in range(first, stop)] for each in shares]
    assert list(chain(*blocks)) == [b for first, stop in left for b in range(first, stop)]
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


def test_a_part_has_no_gaps():
    part = OpenPart()
    one = np.ones(1, np.int32)
    for first in (3, 4, 9):
        rows = Rows([np.array([7], np.uint64)], one * first, one, np.zeros(1))
        part.add(np.array([first]), rows, 0)
    found = part.collect(all=True)
    assert [(each.facts["first"], each.facts["stop"]) for each in found] == [(3, 5), (9, 10)]
    assert part.collect(all=True) == []


def test_parts_that_overlap_an_earlier_one_are_left_out():
    ranges = [(9, 12), (0, 4), (3, 9), (4, 6), (5, 7)]
    parts = [StoredCheckpoint(f"steps-{a}", {"first": a, "stop": b}, Path()) for a, b in ranges]
    parts.append(StoredCheckpoint("blocks-6", {"first": 6, "stop": 9}, Path()))
    chosen = disjoint(parts, "steps-")
    assert [part.facts["first"] for part in chosen] == [0, 4, 9]
    assert missing(chosen, 15) == [(6, 9), (12, 15)]
    assert missing([], 2) == [(0, 2)]
