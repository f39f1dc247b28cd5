"""Packed tables against plain Python: bit order, padding, key order, labels."""

import itertools

import numpy as np
import pytest

from volume.functions import tables


def plain_key(values, num_outputs):
    """The key of one table, by string arithmetic."""
    bits = max(1, int(np.ceil(np.log2(num_outputs))))
    text = "".join(format(value, f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 64)
    return [int(text[start : start + 64], 2) for start in range(0, len(text), 64)]


@pytest.mark.parametrize(("num_outputs", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (10, 4), (16, 4), (17, 5)])
def test_bits_per_input(num_outputs, bits):
    assert tables.bits_per_input(num_outputs) == bits
    assert tables.num_words(65, num_outputs) == -(-65 * bits // 64)


@pytest.mark.parametrize("num_outputs", [1, 2, 3, 5, 10, 37, 300])
@pytest.mark.parametrize("num_inputs", [1, 3, 16, 21, 63, 64, 65, 130])
def test_pack_and_unpack(num_inputs, num_outputs):
    rng = np.random.default_rng(num_inputs)
    decisions = rng.integers(0, max(2, num_outputs), (9, num_inputs)).astype(tables.decision_dtype(num_outputs))
    decisions[0], decisions[1] = 0, max(2, num_outputs) - 1
    keys = tables.pack(decisions, num_outputs)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [plain_key(row, num_outputs) for row in decisions.tolist()]
    again = tables.unpack(keys, num_inputs, num_outputs)
    assert again.dtype == decisions.dtype
    assert again.tolist() == decisions.tolist()
    labels = tables.labels(keys, num_inputs, num_outputs)
    assert labels == [tables.label(row, num_outputs) for row in decisions]
    for text, row in zip(labels, decisions, strict=True):
        assert tables.parse_label(text, num_inputs, num_outputs).tolist() == row.tolist()
        assert tables.read_label(row.tolist(), num_inputs, num_outputs).tolist() == row.tolist()


def test_the_first_input_is_the_highest_bit():
    assert tables.pack(np.array([[1, 0, 0]]), 1).tolist() == [[2**63]]
    assert tables.pack(np.array([[0, 0, 1]]), 1).tolist() == [[2**61]]
    assert tables.pack(np.array([[0, 2, 1]]), 3).tolist() == [[(2 << 60) + (1 << 58)]]


@pytest.mark.parametrize(("num_inputs", "num_outputs"), [(8, 1), (4, 3), (3, 5), (2, 10), (2, 40)])
def test_keys_and_labels_stand_in_one_order(num_inputs, num_outputs):
    every = np.array(list(itertools.product(range(max(2, num_outputs)), repeat=num_inputs)))
    keys = tables.pack(every, num_outputs)[:, 0]
    assert (keys[1:] > keys[:-1]).all()
    labels = tables.labels(keys[:, None], num_inputs, num_outputs)
    assert labels == sorted(labels)
    assert len(set(labels)) == len(every)


def test_chunks_do_not_change_the_answer(monkeypatch):
    decisions = np.random.default_rng(3).integers(0, 10, (50, 70), np.uint8)
    keys = tables.pack(decisions, 10)
    monkeypatch.setattr(tables, "_CHUNK_BITS", 7 * 70 * 4)
    assert (tables.pack(decisions, 10) == keys).all()
    assert (tables.unpack(keys, 70, 10) == decisions).all()


def test_no_tables():
    assert tables.pack(np.zeros((0, 70), np.uint8), 1).shape == (0, 2)
    assert tables.unpack(np.zeros((0, 2), np.uint64), 70, 1).shape == (0, 70)
    assert tables.labels(np.zeros((0, 2), np.uint64), 70, 1) == []


def test_boolean_decisions():
    assert tables.pack(np.array([[False, True, True]]), 1).tolist() == [[3 << 61]]


@pytest.mark.parametrize(
    ("text", "num_outputs", "sentence"),
    [
        ("01", 1, "has 3 digits; '01' has 2"),
        ("", 1, "has 3 digits"),
        ("012", 1, r"Position 2 .* run from 0 to 1"),
        ("0a1", 3, "Position 1"),
        ("0 1", 1, "Position 1"),
        ("03.04.05.06", 40, "has 3 digits"),
        ("03.04.40", 40, "Position 2"),
    ],
)
def test_bad_labels(text, num_outputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        tables.parse_label(text, 3, num_outputs)


@pytest.mark.parametrize("label", [[0, 1], [0, 1, 2], [0, -1, 1], [0.5, 1.0, 1.0], 5, None])
def test_bad_decisions_as_a_label(label):
    with pytest.raises(ValueError, match="named by a string of 3 digits"):
        tables.read_label(label, 3, 1)


def test_keys_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"shape \[K, 2\]; got \(4, 1\)"):
        tables.unpack(np.zeros((4, 1), np.uint64), 65, 1)
