"""The simplicity measure against brute force with a complexity written anew, in strings."""

import itertools
import json
import math

import numpy as np
import pytest

import volume
from volume import simplicity_measure


def words(s):
    """Lempel-Ziv 1976: each word is the shortest continuation that does not occur earlier, overlap allowed."""
    count, start = 0, 0
    while start < len(s):
        end = start + 1
        while end <= len(s) and s[start:end] in s[: end - 1]:
            end += 1
        count, start = count + 1, end
    return count


def complexity(s):
    """Dingle et al. 2018: constants log2 L, others log2(L) (N_w(s) + N_w(reversed)) / 2."""
    return math.log2(len(s)) * (1 if len(set(s)) == 1 else (words(s) + words(s[::-1])) / 2)


def brute_force(num_inputs):
    """{table: share}, exact to rounding."""
    weights = {s: 2.0 ** -complexity(s) for s in map("".join, itertools.product("01", repeat=num_inputs))}
    total = math.fsum(weights.values())
    return {s: weight / total for s, weight in weights.items()}


@pytest.mark.parametrize("domain", [volume.BooleanCube(1), volume.BooleanCube(2), volume.BooleanCube(3), 2, 3, 7, 11])
def test_every_function_against_brute_force(domain):
    found = simplicity_measure(domain)
    truth = brute_force(found.num_inputs)
    assert len(found) == len(truth) == 2**found.num_inputs
    for label, log_share in found:
        assert log_share == pytest.approx(math.log(truth[label]), abs=1e-12)
    assert math.fsum(np.exp(found.log_shares)) == pytest.approx(1, abs=1e-12)
    assert (np.diff(found.log_shares) <= 0).all()
    assert (found.num_functions == 1).all()


def test_two_inputs_by_hand():
    """L = 2: constants have 1 bit, 01 and 10 two words each way, 2 bits: shares 1/3, 1/3, 1/6, 1/6."""
    found = simplicity_measure(2)
    assert {label: round(6 * math.exp(log)) for label, log in found} == {"00": 2, "11": 2, "01": 1, "10": 1}
    assert found.log_total == pytest.approx(math.log(1.5))


@pytest.mark.parametrize("n", [2, 3])
def test_classes_add_up_their_functions(n):
    cube, truth = volume.BooleanCube(n), brute_force(2**n)
    ones = simplicity_measure(cube, volume.Ones())
    for t in range(2**n + 1):
        members = [s for s in truth if s.count("1") == t]
        assert ones[str(t)] == pytest.approx(math.log(math.fsum(truth[s] for s in members)), abs=1e-12)
        assert ones.num_functions[ones.labels.index(str(t))] == math.comb(2**n, t) == len(members)
    complexities = simplicity_measure(cube, volume.LempelZiv())
    for label, log_share in complexities:
        members = [s for s in truth if complexity(s) == pytest.approx(float(label), rel=1e-5)]
        assert log_share == pytest.approx(math.log(math.fsum(truth[s] for s in members)), abs=1e-12)
    for measure in (ones, complexities):
        assert math.fsum(np.exp(measure.log_shares)) == pytest.approx(1, abs=1e-12)
        assert math.fsum(np.exp(measure.log_function_shares)) == pytest.approx(1, abs=1e-12)


def test_share_within_the_fitting_functions():
    """The reading "it was really a simplicity prior": of what fits 4 labels, how much is right on the 4 others?"""
    cube, target = volume.BooleanCube(3), "00001111"  # the first bit
    train, test = [0, 3, 5, 6], [1, 2, 4, 7]
    fits = volume.Fits(cube.inputs[train], [int(target[i]) for i in train])
    accuracy = volume.Accuracy(cube.inputs[test], [int(target[i]) for i in test])
    found, fitting = simplicity_measure(cube, fits * accuracy), simplicity_measure(cube, fits)
    truth = brute_force(8)
    agree = [s for s in truth if all(s[i] == target[i] for i in train)]
    total = math.fsum(truth[s] for s in agree)
    assert math.exp(fitting["fits"]) == pytest.approx(total, rel=1e-12)
    for right in range(5):
        share = math.fsum(truth[s] for s in agree if sum(s[i] == target[i] for i in test) == right) / total
        assert math.exp(found[f"fits, {right}/4"] - fitting["fits"]) == pytest.approx(share, rel=1e-12)


def test_largest_domain():
    """16 inputs, all 65,536 functions: normalised, and symmetric under negation and reversal as K is."""
    found = simplicity_measure(volume.BooleanCube(4))
    assert len(found) == 2**16
    assert math.fsum(np.exp(found.log_shares)) == pytest.approx(1, abs=1e-12)
    shares = dict(found)
    rng = np.random.default_rng(0)
    for row in rng.integers(0, 2, (200, 16)):
        label = "".join(map(str, row))
        assert shares[label] == shares[label[::-1]] == shares[label.translate(str.maketrans("01", "10"))]
        assert shares[label] == pytest.approx(-math.log(2) * complexity(label) - found.log_total, abs=1e-12)
    assert found.labels[:2] == ("0" * 16, "1" * 16)


def test_record():
    found = simplicity_measure(3, volume.Ones())
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["label"] for row in record["classes"]] == list(found.labels)
    assert sum(row["num_functions"] for row in record["classes"]) == 8
    assert record["num_inputs"] == 3
    with pytest.raises(KeyError, match="No function is in a class '4'; there are 0, 3, "):
        found["4"]


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: simplicity_measure(volume.BooleanCube(5)), ValueError, "from 2 to 16 inputs; this domain has 32"),
        (lambda: simplicity_measure(17), ValueError, "this domain has 17: take a part of it"),
        (lambda: simplicity_measure(1), ValueError, "this domain has 1"),
        (lambda: simplicity_measure(True), TypeError, "domain is True"),
        (lambda: simplicity_measure("cube"), TypeError, "give a domain such as"),  # type: ignore[arg-type]
        (
            lambda: simplicity_measure(3, volume.Predicate(lambda outputs: outputs[0] > 1)),
            TypeError,
            "reads a network's outputs",
        ),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
