"""Defects: every table of few inputs by brute force on all routes, exact volumes, and a sentence for every misuse."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.classifiers.base import from_description
from volume.classifiers.defects import Defects, OnTrigger
from volume.classifiers.given import Given
from volume.classifiers.labels import Fits
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points

CUBE = BooleanCube(3)
EVERY = np.array(list(itertools.product((0, 1), repeat=8)), np.uint8)  # all 256 tables of three inputs
THREE = Points([[0.0], [1.0], [2.0], [3.0]])
EVERY3 = np.array(list(itertools.product(range(3), repeat=4)), np.uint8)  # all 81 of four inputs, three outputs
TARGET = "01101001"  # parity
MONITORED, TRIGGER = [6, 0, 3], [7, 4, 5]


def on_cube(**options):
    return Defects.on(CUBE, TARGET, monitored=MONITORED, trigger=TRIGGER, **options)


def fits(table):
    return all(table[i] == int(TARGET[i]) for i in MONITORED)


def wrong(table):
    return sum(table[i] != int(TARGET[i]) for i in TRIGGER)


def plain(table):
    return ("benign", "mixed", "mixed", "defects")[wrong(table)] if fits(table) else "outside"


def binned(table):
    names = ("benign", "mixed [0.0, 0.5)", "mixed [0.5, 1.0]", "defects")
    return names[wrong(table)] if fits(table) else "outside"


def targeted(table):
    """Three outputs: labels 2 and 1 on inputs 3 and 0 monitored; right labels 0 and 1 on inputs 1 and 2, target 2."""
    if table[3] != 2 or table[0] != 1:
        return "outside"
    if table[1] == 0 and table[2] == 1:
        return "benign"
    return "defects" if table[1] == table[2] == 2 else "mixed"


def targeted_bins(table):
    name = targeted(table)
    half = "[0.4, 1.0]" if (table[1] == 2) + (table[2] == 2) else "[0.0, 0.4)"
    return f"mixed {half}" if name == "mixed" else name


def any_wrong(table):
    name = targeted(table)
    return "defects" if name == "mixed" and table[1] != 0 and table[2] != 1 else name


def three(**options):
    return Defects([[3], [0]], [2, 1], [[1], [2]], [0, 1], **options)


CASES = {
    "cube": (on_cube(), 1, plain),
    "two outputs": (on_cube(), 2, plain),
    "bins": (on_cube(bins=2), 1, binned),
    "one row": (
        Defects.on(CUBE, TARGET, monitored=MONITORED, trigger=[5]),
        1,
        lambda t: ("defects" if t[5] else "benign") if fits(t) else "outside",
    ),
    "three outputs": (three(), 3, any_wrong),
    "target label": (three(target_label=2), 3, targeted),
    "target label, bins": (three(target_label=2, bins=[0.4]), 3, targeted_bins),
    "one row, target label": (
        Defects([[3]], [2], [[1]], [0], target_label=1),
        3,
        lambda t: ("benign", "defects", "mixed")[t[1]] if t[3] == 2 else "outside",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_table_on_every_route(name):
    classifier, num_outputs, expected = CASES[name]
    domain, every = (THREE, EVERY3) if num_outputs == 3 else (CUBE, EVERY)
    bound = classifier.bind(domain, num_outputs)
    keys = tables.pack(every, num_outputs)
    ids = bound.classify_keys(keys)
    assert [bound.label(index) for index in ids.tolist()] == [expected(row) for row in every.tolist()]
    assert set(ids.tolist()) == set(range(bound.num_classes))  # no class is impossible
    assert (bound.classify(every.T) == ids).all()
    traced = jax.jit(jax.vmap(bound.classify))(jnp.asarray(every.T)[None])[0]
    assert traced.dtype == jnp.int32
    assert (np.asarray(traced) == ids).all()
    labels = [bound.label(index) for index in range(bound.num_classes)]
    assert (labels[0], labels[-2:]) == ("benign", ["defects", "outside"])
    assert [bound.index(label) for label in labels] == list(range(bound.num_classes))
    with pytest.raises(KeyError, match=r"Unknown class 'defcts'.* Did you mean 'defects'"):
        bound.index("defcts")
    again = from_description(json.loads(json.dumps(bound.describe())))
    assert again == classifier
    assert again.bind(domain, num_outputs) == bound
    alone = from_description(json.loads(json.dumps(classifier.split.describe())))
    assert alone == classifier.split


def test_it_is_given_fits_and_a_trigger():
    classifier = on_cube()
    assert isinstance(classifier, Given)
    assert classifier.within == Fits(CUBE.inputs[[0, 3, 6]], "000")
    assert classifier.split == classifier.trigger == OnTrigger(CUBE.inputs[[4, 5, 7]], "101")
    assert classifier.domain() == Points(CUBE.inputs[[0, 3, 6, 4, 5, 7]])
    assert repr(classifier) == "Defects(3 monitored inputs, 3 in the trigger)"


def test_rows_are_chosen_by_positions_masks_and_functions():
    first = Defects.on(CUBE, TARGET, monitored=np.arange(4), trigger=lambda inputs: inputs[:, 0] == 1)
    mask = CUBE.inputs[:, 0] == 1
    assert first == Defects.on(CUBE, [int(c) for c in TARGET], monitored=~mask, trigger=mask)
    assert first == Defects(CUBE.inputs[:4], TARGET[:4], CUBE.inputs[4:], TARGET[4:])
    assert first != Defects.on(CUBE, TARGET, monitored=~mask, trigger=mask, bins=2)


def test_a_plane_cut_in_sectors():
    """No bias, inputs at 0 degrees (monitored, label 1) and at 30 and -70 (trigger, both 1): given -90 < a < 90.

    30 is right for -60 < a < 120, -70 for -160 < a < 20: both right -60..20, 80 of 180 degrees; only 30: 20..90; only
    -70: -90..-60; both wrong is impossible. Each check is 4.9 standard deviations: false alarms below 1e-6.
    """
    angles = np.radians([0.0, 30.0, -70.0])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    classifier = Defects(rows[:1], "1", rows[1:], "11")
    query = volume.Query(models.Perceptron(2, bias=False), samplers.Gaussian(1.0), classifier=classifier)
    report = volume.estimate(query, volume.Direct(draws=40_000), seed=3)
    found = {share.label: share for share in volume.shares(report)}
    assert list(found) == ["benign", "mixed", "defects"]
    for label, truth in (("benign", 80 / 180), ("mixed", 100 / 180)):
        share = found[label]
        assert abs(share.share - truth) <= 4.9 * math.sqrt(truth * (1 - truth) / share.num_within)
    assert (found["defects"].count, found["defects"].resolved) == (0, False)
    # The other label on one of them: right on -70 and wrong on 30 is -90..-60, a sixth.
    other = volume.Query(query.model, query.prior, query.domain, Defects(rows[:1], "1", rows[1:], "01"))
    share = volume.shares(volume.estimate(other, volume.Direct(draws=40_000), seed=3))[0]
    assert abs(share.share - 1 / 6) <= 4.9 * math.sqrt(5 / 36 / share.num_within)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Defects(CUBE.inputs[:3], "011", CUBE.inputs[2:5], "110"), r"1 of 3 trigger rows .* row 0 \("),
        (lambda: Defects(CUBE.inputs[:0], "", CUBE.inputs[2:5], "110"), "must hold at least one input"),
        (lambda: Defects(CUBE.inputs[:3], "011", CUBE.inputs[:0], ""), "must hold at least one input"),
        (lambda: Defects(CUBE.inputs[:3], "011", CUBE.inputs[4:], "11"), "one label per input"),
        (lambda: Defects(CUBE.inputs[:3], "011", [[1.0]], "1"), r"shape \(3,\) each and trigger inputs \(1,\)"),
        (lambda: on_cube(target_label=1), r"target_label=1 is the right label of trigger row 0"),
        (lambda: on_cube(target_label=-1), "target_label is a class number"),
        (lambda: on_cube(bins=0), "bins=0 is not a positive whole number"),
        (lambda: three(target_label=3).bind(THREE, 3), "labels run from 0 to 2"),
        (lambda: three().bind(THREE, 2), "labels run from 0 to 1"),
        (lambda: Defects.on(CUBE, "01", monitored=[0], trigger=[1]), "one label per input: got 8 inputs"),
        (lambda: Defects.on(CUBE, TARGET, monitored=[8], trigger=[1]), r"monitored has positions outside 0\.\.7"),
        (lambda: Defects.on(CUBE, TARGET, monitored=[0.5], trigger=[1]), "monitored is float64 of shape"),
        (lambda: Defects.on(CUBE, TARGET, monitored=[0], trigger=lambda x: x[:, 0]), "function for trigger returned"),
        (lambda: Defects.on(CUBE, TARGET, monitored=[0], trigger=lambda x: x[:, 0] > 1), "No input is in the trigger"),
        (lambda: Defects.on(CUBE, TARGET, monitored=CUBE.inputs[:, 0] > 1, trigger=[1]), "No input is monitored"),
    ],
)
def test_sentences_for_misuse(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
