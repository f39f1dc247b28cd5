"""Canonical forms of truth tables against the whole group, element by element.

Random tables here are inputs of exact checks: nothing stochastic is asserted.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import volume
from volume.functions import canonical_bits, tables
from volume.functions.canonical import CHUNK, TableGroup
from volume.functions.canonical_points import PointGroup

KINDS = list(itertools.product((False, True), repeat=3))  # permutations, negations, outputs


def all_tables(digits: int) -> np.ndarray:
    """Every function of a few binary digits, packed."""
    inputs = 1 << digits
    return tables.pack(((np.arange(1 << inputs)[:, None] >> np.arange(inputs)) & 1).astype(np.uint8), 1)


def structured(digits: int) -> dict[str, np.ndarray]:
    """Tables with many symmetries, or with few that simple counts would show."""
    x = (np.arange(1 << digits)[:, None] >> np.arange(digits - 1, -1, -1)) & 1
    ones = x.sum(axis=1)
    select = x[:, 0] * 2 + x[:, 1]
    pairs = sum(x[:, i] * x[:, i + 1] for i in range(0, digits - 1, 2))
    cycle = sum(x[:, i] * x[:, (i + 1) % digits] for i in range(digits))
    found = {
        "constant 0": ones < 0,
        "constant 1": ones >= 0,
        "parity": ones % 2 == 1,
        "parity of all but the second digit": (ones - x[:, 1]) % 2 == 1,
        "majority": 2 * ones > digits,
        "threshold of unequal weights": x @ np.arange(1, digits + 1) > digits,
        "first digit": x[:, 0] == 1,
        "last digit is 0": x[:, -1] == 0,
        "a single one": np.arange(1 << digits) == 5,
        "multiplexer": np.where(select == 0, x[:, 2], np.where(select == 1, x[:, 3], x[:, digits - 1])) == 1,
        "exactly two": ones == 2,
        "sum of products of pairs": pairs % 2 == 1,  # bent for an even number of digits
        "sum of products around a circle": cycle % 2 == 1,
        "circle": cycle >= 2,
    }
    return {name: tables.pack(table[None].astype(np.uint8), 1)[0] for name, table in found.items()}


def check(group: TableGroup, keys: np.ndarray, *, members: int | None = None) -> None:
    """Form and stabiliser of every key against all images: a member, the same for all members, and counted right."""
    found = group.forms(keys)
    rng = np.random.default_rng(0)
    for key, form, stabiliser in zip(keys, found.keys, found.stabiliser, strict=True):
        images = group.images(key)
        assert len(images) == group.order
        assert stabiliser == (images == key).all(axis=1).sum()
        orbit = np.unique(images, axis=0)
        assert len(orbit) * stabiliser == group.order
        assert (orbit == form).all(axis=1).any()
        some = orbit if members is None else orbit[rng.choice(len(orbit), min(members, len(orbit)), replace=False)]
        again = group.forms(some)
        assert (again.keys == form).all()
        assert (again.stabiliser == stabiliser).all()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_every_table_of_up_to_three_digits(digits, kinds):
    group = TableGroup(digits, *kinds)
    keys = all_tables(digits)
    check(group, keys)
    found = group.forms(keys)
    # As many forms as orbits, and Burnside's lemma counts those from the stabilisers.
    assert len(np.unique(found.keys, axis=0)) * group.order == found.stabiliser.sum()


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        ((True, False, False), 3984),  # OEIS A003180: functions up to permutations of the inputs
        ((True, True, False), 402),  # A000616: NP
        ((True, True, True), 222),  # A000370: NPN
        ((False, True, False), 4336),
        ((True, False, True), 1992),
    ],
)
def test_every_table_of_four_digits(kinds, classes):
    """Constant on orbits, as the images under generators show, and as many forms as Burnside's lemma says."""
    group, keys = TableGroup(4, *kinds), all_tables(4)
    found = group.forms(keys)
    assert len(np.unique(found.keys, axis=0)) == classes
    assert found.stabiliser.sum() == classes * group.order
    number = (found.keys[:, 0] >> np.uint64(48)).astype(int)
    stabiliser = dict(zip((keys[:, 0] >> np.uint64(48)).astype(int).tolist(), found.stabiliser.tolist(), strict=True))
    assert all(stabiliser[n] == s for n, s in zip(number.tolist(), found.stabiliser.tolist(), strict=True))
    images = list(group.generators(keys.T))
    assert len(images) == 3 * kinds[0] + 4 * kinds[1] + kinds[2]
    for image in images:
        np.testing.assert_array_equal(group.forms(np.ascontiguousarray(image.T)).keys, found.keys)


@pytest.mark.parametrize("kinds", [(True, False, False), (True, False, True), (True, True, False), (True, True, True)])
@pytest.mark.parametrize("digits", [5, 6])
def test_larger_tables_against_the_whole_group(digits, kinds):
    rng = np.random.default_rng(digits)
    words = max(1, (1 << digits) // 64)
    random = tables.pack((rng.random((4, 1 << digits)) < np.array([0.5, 0.5, 0.1, 0.03])[:, None]).astype(np.uint8), 1)
    assert random.shape == (4, words)
    check(TableGroup(digits, *kinds), np.stack([*structured(digits).values(), *random]), members=200)


@pytest.mark.slow
def test_seven_digits_against_all_permutations():
    rng = np.random.default_rng(7)
    random = tables.pack((rng.random((3, 128)) < np.array([0.5, 0.1, 0.03])[:, None]).astype(np.uint8), 1)
    random[:, 0] &= ~np.uint64(1 << 63)
    check(TableGroup(7, outputs=True, fixed=(0,)), np.stack([*structured(7).values(), *random]), members=300)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parity", "multiplexer", "sum of products around a circle", "circle"])
def test_seven_digits_against_the_whole_npn_group(name):
    check(TableGroup(7, True, True, True), structured(7)[name][None], members=300)


def test_orbits_of_known_size():
    """At 7 digits with all three kinds: sizes by hand."""
    group = TableGroup(7, True, True, True)
    assert group.order == math.factorial(7) * 2**8
    found = group.forms(np.stack([*structured(7).values()])).stabiliser.tolist()
    size = {name: group.order // stabiliser for name, stabiliser in zip(structured(7), found, strict=True)}
    assert size["constant 0"] == size["constant 1"] == 2
    assert size["parity"] == 2
    assert size["parity of all but the second digit"] == 14
    assert size["first digit"] == size["last digit is 0"] == 14
    assert size["a single one"] == 256
    assert size["majority"] == 128  # negating all inputs negates it
    assert size["exactly two"] == 256


def test_more_than_64_digits_of_words():
    """Tables of 9 digits, 8 words: images under random elements have one form."""
    group, rng = TableGroup(9, True, True, True), np.random.default_rng(1)
    keys = np.stack([*structured(9).values(), *rng.integers(0, 2**64, (20, 8), dtype=np.uint64)])
    found = group.forms(keys)
    moved = keys.T.copy()
    for _ in range(30):
        moved = list(group.generators(moved))[rng.integers(18)]
    again = group.forms(np.ascontiguousarray(moved.T))
    np.testing.assert_array_equal(again.keys, found.keys)
    np.testing.assert_array_equal(again.stabiliser, found.stabiliser)


@pytest.mark.parametrize("kinds", KINDS)
def test_points_that_are_a_cube_have_its_orbits(kinds):
    """The same group on the inputs given as points, in another order: orbits and stabilisers agree."""
    order = np.array([3, 1, 0, 2, 7, 6, 4, 5])
    cube, keys = volume.BooleanCube(3, coding=(-1, 1)), all_tables(3)
    group, other = TableGroup(3, *kinds), PointGroup(volume.Points(cube.inputs[order]), *kinds)
    assert other.order == group.order
    moved = tables.pack(tables.unpack(keys, 8, 1)[:, order], 1)
    found, again = group.forms(keys), other.forms(moved)
    np.testing.assert_array_equal(again.stabiliser, found.stabiliser)
    _, orbit = np.unique(found.keys[:, 0], return_inverse=True)
    _, same = np.unique(again.keys[:, 0], return_inverse=True)
    assert len(set(zip(orbit.tolist(), same.tolist(), strict=True))) == orbit.max() + 1 == same.max() + 1
    for key, form in zip(moved[::17], again.keys[::17], strict=True):
        np.testing.assert_array_equal(other.orbit(key)[0], form)


def test_points_with_a_fixed_one():
    points = volume.Points([[0, 0], [0, 1], [1, 0]])
    group = PointGroup(points, outputs=True, fixed=(0,))
    assert tables.labels(group.orbit(tables.pack(np.array([[0, 0, 1]], np.uint8), 1)[0]), 3, 1) == ["001", "010"]
    assert tables.labels(group.orbit(np.zeros(1, np.uint64)), 3, 1) == ["000", "011"]
    with pytest.raises(ValueError, match="are sent to others"):
        PointGroup(points, outputs=True, fixed=(1,))
    with pytest.raises(ValueError, match="flat point"):
        PointGroup(volume.Points(np.zeros((1, 2, 2))))


def test_fixed_inputs_keep_their_bit():
    group = TableGroup(2, outputs=True, fixed=(0,))
    zero, single, rest = (
        tables.pack(np.array([[int(c) for c in text]], np.uint8), 1) for text in ("0000", "0100", "0111")
    )
    np.testing.assert_array_equal(group.forms(zero).keys, group.forms(rest).keys)
    members = tables.labels(group.orbit(single[0]), 4, 1)
    assert members == ["0010", "0011", "0100", "0101"]
    assert not (group.forms(zero).keys == TableGroup(2).forms(rest).keys).all()


def test_chunks_do_not_matter():
    """One table more than a chunk holds, with ties that differ from table to table."""
    rng = np.random.default_rng(2)
    some = np.unique(
        rng.integers(0, 2**64, (CHUNK + 1, 1), dtype=np.uint64) & rng.integers(0, 2**64, 1, np.uint64), axis=0
    )
    group = TableGroup(6, True, True, True)
    found = group.forms(some)
    for part in (slice(0, 5), slice(CHUNK - 2, None)):
        np.testing.assert_array_equal(group.forms(some[part]).keys, found.keys[part])
    assert (group.forms(found.keys[:1000]).keys == found.keys[:1000]).all()


def test_many_nodes_are_gone_on_with_in_parts(monkeypatch):
    group, keys = TableGroup(6, True, True, True), np.stack([*structured(6).values()])
    found = group.forms(keys)
    monkeypatch.setattr("volume.functions.canonical_search.MAX_NODES", 2)
    again = group.forms(keys)
    np.testing.assert_array_equal(again.keys, found.keys)
    np.testing.assert_array_equal(again.stabiliser, found.stabiliser)


def test_a_blind_hash_gives_forms_too(monkeypatch):
    """Where every colour collides all literals tie, and the answer is the same orbits, found the long way round."""
    group, keys = TableGroup(3, True, True, True), all_tables(3)
    monkeypatch.setattr(canonical_bits, "signature", lambda of, words, first: np.zeros(len(words[0]), np.uint64))
    check(group, keys[::5])
    assert len(np.unique(group.forms(keys).keys, axis=0)) == 14


@pytest.mark.parametrize(("digits", "problem"), [(0, "1 to 12"), (13, "1 to 12"), (True, "1 to 12"), (2.0, "1 to 12")])
def test_wrong_sizes_are_refused(digits, problem):
    with pytest.raises(ValueError, match=problem):
        TableGroup(digits)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="not a union of orbits"):
        TableGroup(3, outputs=True, fixed=(1,))
    with pytest.raises(ValueError, match="not a union of orbits"):
        TableGroup(3, negations=True, outputs=True, fixed=(0,))
    with pytest.raises(ValueError, match="give outputs=True"):
        TableGroup(3, fixed=(0,))
    with pytest.raises(ValueError, match="distinct numbers from 0 to 7"):
        TableGroup(3, outputs=True, fixed=(8,))
    with pytest.raises(ValueError, match=r"2 word\(s\)"):
        TableGroup(7).forms(np.zeros((3, 1), np.uint64))
    with pytest.raises(ValueError, match="zeros after them"):
        TableGroup(3).forms(np.ones((1, 1), np.uint64))
