"""The codec of checkpoints: what is written is read back to the bit, and states come and go as they should."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from volume.runs.checkpoints import (
    BATCH_ROWS,
    Batch,
    Checkpoint,
    Checkpoints,
    State,
    StoredCheckpoint,
    apart,
    floats,
    like,
    worded,
)
from volume.runs.columns import Keys, Numbers, Ragged, Rows, Schema, Texts, columns_of, records_of


class Outcome(NamedTuple):
    evaluations: int
    log_estimate: float
    by_cutoff: np.ndarray
    moved: np.ndarray
    split: np.ndarray | None = None


SCHEMA = Schema(
    {
        "replicate": Numbers(np.int64),
        "log_estimate": Numbers(float),
        "evaluations": Numbers(np.int64),
        "by_cutoff": Rows(),
        "moved": Ragged(),
        "split": Rows((-1, 2)),
    }
)
RECORDS = {
    7: Outcome(1 << 60, -math.inf, np.array([0.1, math.nan, -3.0]), np.array([])),
    2: Outcome(5, -1.5, np.array([1e-300, 2.0, math.inf]), np.array([0.25, 0.5])),
}


def stored(table: pa.Table, folder, facts: dict[str, Any] | None = None, name="part-0") -> StoredCheckpoint:
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=2)
    return StoredCheckpoint(name, facts or {}, folder / f"{name}.parquet")


def same(a: Outcome, b: Outcome) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_records_come_back_in_the_order_of_their_numbers(tmp_path):
    table = SCHEMA.table(columns_of(Outcome, RECORDS))
    assert table.column_names == ["replicate", "log_estimate", "evaluations", "by_cutoff", "moved"]
    columns = SCHEMA.read(stored(table, tmp_path))
    assert columns["split"] is None
    assert columns["replicate"].tolist() == [2, 7]
    low, high = records_of(Outcome, columns)
    same(low, RECORDS[2])
    same(high, RECORDS[7])
    assert (type(low.evaluations), type(high.log_estimate)) == (int, float)  # as JSON and == want them


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint64, bool])
def test_arrays_keep_shape_and_dtype(dtype, tmp_path):
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 2 if dtype is bool else 99, 5).astype(dtype)
    block = rng.integers(0, 2 if dtype is bool else 99, (5, 3, 2)).astype(dtype)
    schema = Schema({"flat": Numbers(), "block": Rows((3, -1))})
    columns = schema.read(stored(schema.table({"flat": flat, "block": block}), tmp_path))
    for name, written in {"flat": flat, "block": block}.items():
        assert columns[name].dtype == dtype
        np.testing.assert_array_equal(columns[name], written)


def test_keys_sort_as_bytes_and_a_schema_may_forbid_missing_values(tmp_path):
    keys = np.array([[1, 2], [1 << 63, 3], [256, 1]], np.uint64)
    schema = Schema({"function": Keys(), "label": Texts()}, nullable=False)
    table = schema.table({"function": keys, "label": ["a", "", "ü"]})
    assert not any(field.nullable for field in table.schema)
    octets = table["function"].to_pylist()
    assert sorted(range(3), key=octets.__getitem__) == [0, 2, 1]
    columns = schema.read(stored(table, tmp_path))
    np.testing.assert_array_equal(columns["function"], keys)
    assert columns["label"] == ["a", "", "ü"]


def test_facts_hold_what_json_has_no_word_for():
    old = {"_level": -math.inf, "count": 3, "done": False, "text": "", "_each": np.zeros((2, 2))}
    new = {"_level": math.inf, "count": 4, "done": True, "text": "why", "_each": np.array([[math.nan, 1], [2, -1e-9]])}
    facts = json.loads(json.dumps(worded(new), allow_nan=False))
    assert set(facts) == {"level", "count", "done", "text", "each"}
    read = like(facts, old)
    np.testing.assert_array_equal(read.pop("_each"), new.pop("_each"))
    assert read == new
    np.testing.assert_array_equal(floats([1.5, None], -math.inf), [1.5, -math.inf])


# --- states ---


def state(name: str, at: Any, size: int = 100) -> State:
    return State(name, at, size, lambda: ({"at": at}, pa.table({"x": [at]})))


@pytest.fixture
def clock(monkeypatch):
    time = [0.0]
    monkeypatch.setattr("volume.runs.checkpoints.time.monotonic", lambda: time[0])
    return time


def names(parts: list[Checkpoint]) -> list[str]:
    return [part.name + (" over" if part.facts.get("over") else "") for part in parts]


def test_a_state_is_due_after_some_seconds_and_once_for_each_place(clock):
    kept = Checkpoints()
    assert kept.collect(state("state-a", 1), all=False) == []
    assert names(kept.collect(state("state-a", 1), all=True)) == ["state-a"]
    clock[0] = 11.0
    assert kept.collect(state("state-a", 1), all=False) == []  # nothing is new
    assert names(kept.collect(state("state-a", 2), all=False)) == ["state-a"]
    clock[0] = 20.0
    assert kept.collect(state("state-a", 3), all=False) == []
    clock[0] = 22.0
    assert kept.collect(state("state-a", 3, size=100_000_000), all=False) == []  # 20 s of what a disk takes
    assert names(kept.collect(state("state-a", 3), all=False)) == ["state-a"]


def test_a_state_is_emptied_when_there_is_a_result(clock):
    kept = Checkpoints({"class": 4})
    result = Checkpoint("replicates-0", {}, pa.table({"replicate": [0]}))
    kept.add(result)
    assert kept.collect(all=True) == [result]  # there was no state
    kept.collect(state("state-0", 1), all=True)
    kept.add(result)
    parts = kept.collect(state("state-8", 1), all=False)
    assert names(parts) == ["replicates-0", "state-0 over"]
    assert parts[1].facts == {"class": 4, "over": True}
    kept.add(result)
    assert names(kept.collect(all=True)) == ["replicates-0"]  # once


def test_a_run_goes_on_from_a_state_and_not_from_an_emptied_one(tmp_path):
    kept = Checkpoints()
    parts = [
        stored(pa.table({"x": [1]}), tmp_path, {"replicates": [4, 5]}, "state-4"),
        stored(pa.table({"x": [1]}), tmp_path, {"replicates": [5, 6]}, "state-5"),
        stored(pa.table({"x": [1]}), tmp_path, {"over": True}, "state-0"),
        stored(pa.table({"x": [1]}), tmp_path, {}, "state"),
    ]
    kept.restore(reversed(parts))
    found = kept.stored("state-")
    assert [part.name for part in found] == ["state-4", "state-5"]
    assert [part.name for part in kept.stored("state")] == ["state"]
    assert apart(found, range(10)) == found[:1]
    assert apart(found, [5, 6, 7]) == found[1:]
    kept.resume(found[0])
    kept.add(Checkpoint("replicates-4", {}, pa.table({"replicate": [4]})))
    assert names(kept.collect(all=False)) == ["replicates-4", "state-4 over"]


def test_a_batch_waits_for_rows_or_for_time(clock):
    batch = Batch[str]()
    batch.add("a", 3)
    assert batch.take(all=False) == []
    batch.add("b", BATCH_ROWS - 3)
    assert batch.take(all=False) == ["a", "b"]
    assert batch.take(all=True) == []
    batch.add("c", 1)
    assert batch.take(all=True) == ["c"]
    batch.add("d", 1)
    clock[0] = 10.0
    assert batch.take(all=False) == ["d"]
