"""Every classifier of tables against plain Python on every table of few inputs, on all routes; labels lead back."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume.classifiers.argmax import Argmax
from volume.classifiers.base import Product, from_description
from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.ones import Ones
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points

CUBE = BooleanCube(3)
EVERY = np.array(list(itertools.product((0, 1), repeat=8)), np.uint8)  # all 256 tables of three inputs
THREE = Points([[0.0], [1.0], [2.0], [3.0]])
EVERY3 = np.array(list(itertools.product(range(3), repeat=4)), np.uint8)  # all 81 tables of four inputs, three outputs
ROWS, LABELS = [[1, 1, 0], [0, 0, 1], [1, 0, 0]], [0, 1, 1]  # inputs 6, 1 and 4, out of order on purpose
FITS = Fits([[1, 1, 0], [0, 0, 1]], [0, 1])  # inputs 6 and 1
REST = Accuracy([[1, 1, 1], [0, 1, 0], [0, 0, 0]], [1, 1, 0])  # inputs 7, 2 and 0


def right(table):
    return (table[6] == 0) + (table[1] == 1) + (table[4] == 1)


def right3(table):
    return (table[3] == 2) + (table[0] == 1)


def fits(table):
    return table[6] == 0 and table[1] == 1


def right_rest(table):
    return (table[7] == 1) + (table[2] == 1) + (table[0] == 0)


def nested_fits(table):
    return "fits" if fits(table) else "misses"


def nested(table):
    if not fits(table):
        return "outside"
    return f"{right_rest(table)}/3" if sum(table) == 4 else "inner outside"


CASES = {
    "ones": (Ones(), 1, lambda t: str(sum(t))),
    "fits": (Fits(ROWS, LABELS), 1, lambda t: "fits" if right(t) == 3 else "misses"),
    "fits, string": (Fits(ROWS, "011"), 1, lambda t: "fits" if right(t) == 3 else "misses"),
    "fits, all rows": (
        Fits(CUBE.inputs, "00010111"),
        1,
        lambda t: "fits" if t == [0, 0, 0, 1, 0, 1, 1, 1] else "misses",
    ),
    "fits, repeats": (Fits([*ROWS, [0, 0, 1]], [*LABELS, 1]), 1, lambda t: "fits" if right(t) == 3 else "misses"),
    "fits, two outputs": (Fits(ROWS, LABELS), 2, lambda t: "fits" if right(t) == 3 else "misses"),
    "accuracy": (Accuracy(ROWS, LABELS), 1, lambda t: f"{right(t)}/3"),
    "accuracy, two outputs": (Accuracy(ROWS, LABELS), 2, lambda t: f"{right(t)}/3"),
    "accuracy, repeats": (
        Accuracy([*ROWS, [0, 0, 1]], [*LABELS, 1]),
        1,
        lambda t: f"{right(t) + (t[1] == 1)}/4",
    ),
    "accuracy, two bins": (Accuracy(ROWS, LABELS, 2), 1, lambda t: "[0.5, 1.0]" if right(t) > 1 else "[0.0, 0.5)"),
    "accuracy, edges": (
        Accuracy(ROWS, LABELS, [1 / 3, 1]),
        1,
        lambda t: "[0.333333333, 1.0]" if right(t) else "[0.0, 0.333333333)",
    ),
    "argmax": (Argmax([[1, 1, 0], [0, 0, 1]]), 2, lambda t: f"{t[6]}{t[1]}"),
    "argmax, all rows": (Argmax(), 2, lambda t: "".join(map(str, t))),
    "product": (Ones() * Fits(ROWS, LABELS), 1, lambda t: f"{sum(t)}, {'fits' if right(t) == 3 else 'misses'}"),
    "product, bins": (
        Product(Accuracy(ROWS, LABELS, 2), Ones(), Accuracy(ROWS, LABELS)),
        1,
        lambda t: f"{'[0.5, 1.0]' if right(t) > 1 else '[0.0, 0.5)'}, {sum(t)}, {right(t)}/3",
    ),
    "fits, three outputs": (Fits([[3], [0]], [2, 1]), 3, lambda t: "fits" if right3(t) == 2 else "misses"),
    "accuracy, three outputs": (Accuracy([[3], [0]], [2, 1]), 3, lambda t: f"{right3(t)}/2"),
    "argmax, three outputs": (Argmax([[3], [0], [2]]), 3, lambda t: f"{t[3]}{t[0]}{t[2]}"),
    "product, three outputs": (
        Argmax([[3]]) * Accuracy([[3], [0]], [2, 1]),
        3,
        lambda t: f"{t[3]}, {right3(t)}/2",
    ),
    "given, accuracy": (Given(FITS, REST), 1, lambda t: f"{right_rest(t)}/3" if fits(t) else "outside"),
    "given, misses": (Given(FITS, REST, label="misses"), 1, lambda t: "outside" if fits(t) else f"{right_rest(t)}/3"),
    "given, misses, natural": (Given(FITS, Ones(), label=False), 1, lambda t: "outside" if fits(t) else str(sum(t))),
    "given, balance given": (Given(Ones(), FITS, label=3), 1, lambda t: nested_fits(t) if sum(t) == 3 else "outside"),
    "given, product given": (
        Given(Ones() * FITS, REST, label=(4, True)),
        1,
        lambda t: f"{right_rest(t)}/3" if sum(t) == 4 and fits(t) else "outside",
    ),
    "given, product split": (
        Given(FITS, Ones() * REST),
        1,
        lambda t: f"{sum(t)}, {right_rest(t)}/3" if fits(t) else "outside",
    ),
    "given, nested": (Given(FITS, Given(Ones(), REST, label=4)), 1, nested),
    "given, twice nested": (
        Given(Accuracy([[0, 1, 1]], "1"), Given(FITS, Given(Ones(), REST, label=4)), label=1.0),
        1,
        lambda t: (
            ({"outside": "inner outside", "inner outside": "inner inner outside"}.get(nested(t), nested(t)))
            if t[3]
            else "outside"
        ),
    ),
    "given, two outputs": (Given(FITS, REST), 2, lambda t: f"{right_rest(t)}/3" if fits(t) else "outside"),
    "given, three outputs": (
        Given(Fits([[3], [0]], [2, 1]), Argmax([[2], [1]])),
        3,
        lambda t: f"{t[2]}{t[1]}" if t[3] == 2 and t[0] == 1 else "outside",
    ),
}


def setting(name):
    classifier, num_outputs, expected = CASES[name]
    domain, every = (THREE, EVERY3) if num_outputs == 3 else (CUBE, EVERY)
    return classifier, domain, num_outputs, every, [expected(row) for row in every.tolist()]


@pytest.mark.parametrize("name", CASES)
def test_every_table_on_every_route(name):
    classifier, domain, num_outputs, every, expected = setting(name)
    bound = classifier.bind(domain, num_outputs)
    assert bound.route == "device"
    assert bound.of_table
    assert not bound.needs_outputs

    keys = tables.pack(every, num_outputs)
    ids = bound.classify_keys(keys)
    assert ids.dtype == np.int64
    assert [bound.label(index) for index in ids.tolist()] == expected
    assert (bound.classify_keys(keys, chunk=7) == ids).all()
    assert bound.classify_keys(keys[:0]).tolist() == []
    assert (bound.classify(every.T) == ids).all()
    assert bound.classify(every[3]) == ids[3]

    if num_outputs == 1:
        outputs = np.where(every, 0.5, 0.0)  # a tie is class 0
    else:
        # The winner has 2, the lowest index among equals wins.
        outputs = np.where(np.arange(num_outputs) >= every[:, :, None], 2.0, -1.0)

    @jax.jit
    def traced(decisions, outputs):
        """All routes in one program."""
        routes = {
            "one block": bound.classify(decisions),
            "blocks": jax.vmap(bound.classify)(decisions[None])[0],  # as a sampler calls it, one more axis
            "outputs": jax.vmap(bound.classify_outputs)(outputs),
        }
        return routes | ({"bool": bound.classify(decisions.astype(bool))} if num_outputs == 1 else {})

    for route, classes in traced(jnp.asarray(every.T), jnp.asarray(outputs)).items():
        assert classes.dtype == jnp.int32, route
        assert (np.asarray(classes) == ids).all(), route


@pytest.mark.parametrize("name", CASES)
def test_labels_lead_back_and_descriptions_survive_json(name):
    classifier, domain, num_outputs, _, _ = setting(name)
    bound = classifier.bind(domain, num_outputs)
    labels = [bound.label(index) for index in range(bound.num_classes)]
    assert len(set(labels)) == bound.num_classes
    assert not isinstance(classifier, Given) or labels[-1] == "outside"
    assert [bound.index(label) for label in labels] == list(range(bound.num_classes))
    keys = np.array([bound.key(label) for label in labels])
    assert keys.dtype == np.uint64
    assert bound.labels(keys) == labels
    for wrong in ("no such class", object()):
        with pytest.raises(KeyError, match=r"class|named by"):
            bound.index(wrong)
    for outside in (-1, bound.num_classes):
        with pytest.raises(IndexError, match="Class numbers run from 0"):
            bound.label(outside)

    again = from_description(json.loads(json.dumps(bound.describe())))
    assert again == classifier
    assert again.bind(domain, num_outputs) == bound
    assert hash(again.bind(domain, num_outputs)) == hash(bound)


def test_equal_classifiers_share_one_trace():
    traces = []

    def count(decisions, bound):
        traces.append(bound)
        return bound.classify(decisions)

    jitted = jax.jit(count, static_argnums=1)
    for _ in range(3):
        for name in ("ones", "fits", "accuracy", "argmax", "product"):
            classifier, _, num_outputs, every, _ = setting(name)
            again = from_description(classifier.describe()).bind(BooleanCube(3), num_outputs)
            jitted(jnp.asarray(every.T), again)
    assert len(traces) == 5
