"""Classifiers one by one: labels, edges, domains, routes, predicates; and a sentence for every misuse.

On every table: tests/classifiers/test_every_table.py.
"""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from volume.classifiers.argmax import Argmax
from volume.classifiers.base import MAX_DEVICE_CLASSES, Product, from_description
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.classifiers.truth_table import TruthTable
from volume.functions import tables
from volume.functions.domains import BooleanCube, Points
from volume.models import MLP
from volume.queries.query import Query
from volume.samplers import Gaussian

CUBE = BooleanCube(3)
EVERY = np.array(list(itertools.product((0, 1), repeat=8)), np.uint8)  # all 256 tables of three inputs
THREE = Points([[0.0], [1.0], [2.0], [3.0]])
ROWS, LABELS = [[1, 1, 0], [0, 0, 1], [1, 0, 0]], [0, 1, 1]  # inputs 6, 1 and 4, out of order on purpose


def test_different_classifiers_differ():
    bound = [
        Fits(ROWS, "011").bind(CUBE, 1),
        Fits(ROWS, "010").bind(CUBE, 1),
        Fits(ROWS, "011").bind(CUBE, 2),
        Fits(ROWS, "011").bind(BooleanCube(3, (1, 0)), 1),
        Accuracy(ROWS, "011").bind(CUBE, 1),
        Accuracy(ROWS, "011", 3).bind(CUBE, 1),
        Ones().bind(CUBE, 1),
        (Ones() * Fits(ROWS, "011")).bind(CUBE, 1),
        (Fits(ROWS, "011") * Ones()).bind(CUBE, 1),
    ]
    assert len(set(bound)) == len(bound)
    assert Fits(ROWS, "011") == Fits(np.array(ROWS, np.int8), np.array(LABELS, bool))


def test_truth_table():
    bound = TruthTable().bind(CUBE, 1)
    assert bound.num_classes is None
    assert bound.route == "table"
    keys = tables.pack(EVERY, 1)
    labels = bound.labels(keys)
    assert labels[1:3] == ["00000001", "00000010"]
    assert [bound.key(label).tolist() for label in labels] == keys.tolist()
    assert bound.key((0, 0, 0, 0, 0, 1, 0, 1)).tolist() == bound.key("00000101").tolist()
    assert all(bound.label(bound.index(label)) == label for label in labels)
    wide = TruthTable().bind(Points(np.arange(70.0)[:, None]), 10)
    label = "0123456789" * 7
    assert wide.labels(wide.key(label)[None]) == [label]
    assert wide.label(wide.index(label)) == label
    assert from_description(json.loads(json.dumps(TruthTable().describe()))) == TruthTable()
    for wrong in ("0101", "0000000x", 5, (0, 1), None):
        with pytest.raises(KeyError, match=r"8 inputs|Position 7"):
            bound.key(wrong)
    with pytest.raises(TypeError, match="every table is one"):
        bound.classify_keys(keys)


def test_natural_labels():
    ones = Ones().bind(CUBE, 1)
    assert ones.index("5") == ones.index(5) == ones.index(np.int64(5)) == 5
    for wrong in (9, -1, "9", "05", "5.0", 5.0, True):
        with pytest.raises(KeyError, match="'0' to '8'"):
            ones.index(wrong)
    fits = Fits(ROWS, LABELS).bind(CUBE, 1)
    assert fits.index(True) == fits.index(np.True_) == fits.index("fits")
    with pytest.raises(KeyError, match="'fits' and 'misses'"):
        fits.index(1)
    share = Accuracy(ROWS, LABELS).bind(CUBE, 1)
    assert share.index(2 / 3) == share.index("2/3") == 2
    assert share.index(0) == 0
    assert share.index(1) == 3
    with pytest.raises(KeyError, match=r"'0/3' to '3/3'"):
        share.index(0.5)
    bins = Accuracy(ROWS, LABELS, 2).bind(CUBE, 1)
    assert [bins.index(value) for value in (0, 0.49, 0.5, 0.8, 1.0)] == [0, 0, 1, 1, 1]
    both = (Ones() * Fits(ROWS, LABELS)).bind(CUBE, 1)
    assert both.index((3, True)) == both.index("3, fits") == both.index(("3", "fits"))
    winners = Argmax([[3], [0]]).bind(THREE, 3)
    assert winners.index("20") == winners.index((2, 0)) == 6


def test_bin_edges_written_in_two_ways_are_one():
    # Accuracies k/10 against edges from linspace, whose fourth is .30000000000000004.
    domain = BooleanCube(4)
    inputs, table = domain.inputs[:10], np.tril(np.ones((11, 16), np.uint8), -1)  # row k has ones at the first k inputs
    for bins in (10, np.linspace(0, 1, 11)):
        bound = Accuracy(inputs, [1] * 10, bins).bind(domain, 1)
        assert bound.classify(table.T).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
        assert bound.classify_keys(tables.pack(table, 1)).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
        assert bound.label(3) == "[0.3, 0.4)"


def test_domains_that_classifiers_name():
    assert Fits([*ROWS, ROWS[0]], "0110").domain() == Points(ROWS)
    assert Accuracy(ROWS, "011").domain() == Points(ROWS)
    assert Argmax(ROWS).domain() == Points(ROWS)
    assert Ones().domain() is Argmax().domain() is (Ones() * LempelZiv()).domain() is None
    union = Fits(ROWS, "011") * Ones() * Accuracy([[0, 0, 0], ROWS[1]], "01")
    assert union.domain() == Points([*ROWS, [0, 0, 0]])
    with pytest.raises(ValueError, match="differ in shape"):
        (Fits(ROWS, "011") * Fits([[1]], "0")).domain()


def test_argmax_of_many_inputs_goes_by_tables():
    domain = Points(np.arange(20.0)[:, None])
    bound = Argmax().bind(domain, 3)
    assert bound.route == "table"
    assert bound.num_classes == 3**20 > MAX_DEVICE_CLASSES
    table = np.random.default_rng(0).integers(0, 3, (50, 20), np.uint8)
    ids = bound.classify_keys(tables.pack(table, 3))
    assert [bound.label(index) for index in ids.tolist()] == [tables.label(row, 3) for row in table]
    with pytest.raises(ValueError, match=r"more than 2\*\*62 classes"):
        Argmax().bind(Points(np.arange(40.0)[:, None]), 3)


def test_products_take_the_slowest_route():
    product = Product(Ones(), LempelZiv() * Fits(ROWS, LABELS))
    assert product.factors == (Ones(), LempelZiv(), Fits(ROWS, LABELS))
    bound = product.bind(CUBE, 1)
    assert bound.route == "table"
    ids = bound.classify_keys(tables.pack(EVERY, 1))
    parts = [factor.classify_keys(tables.pack(EVERY, 1)) for factor in bound.factors]
    for index, *each in zip(ids.tolist(), *parts, strict=True):
        names = [factor.label(int(part)) for factor, part in zip(bound.factors, each, strict=True)]
        assert bound.label(index) == ", ".join(names)
        assert bound.index(bound.label(index)) == index
    many = Product(Ones(), Ones(), Ones(), Ones(), Ones(), Ones()).bind(CUBE, 1)  # 9^6 > 2^16
    assert many.route == "table"
    with pytest.raises(ValueError, match=r"more than 2\*\*62"):
        Product(*[Ones()] * 20).bind(CUBE, 1)


def test_predicate_of_the_outputs():
    large = Predicate(lambda outputs: jnp.abs(outputs).max() > 1).bind(CUBE, 1)
    assert large.needs_outputs
    assert not large.of_table
    assert large.route == "device"
    assert large.num_classes == 2
    outputs = jnp.array([[0.5] * 8, [-2.0] * 8])
    assert jax.vmap(large.classify_outputs)(outputs).tolist() == [0, 1]
    assert [large.index(label) for label in ("false", "true", False, True)] == [0, 1, 0, 1]

    level = Predicate(lambda outputs: (outputs[0] // 1).astype(int), 3, ("low", "mid", "high")).bind(CUBE, 1)
    classes = jax.vmap(level.classify_outputs)(jnp.array([0.5, 1.5, 2.5, 3.5, -0.5])[:, None] * jnp.ones(8))
    assert [level.label(index) for index in classes.tolist()] == ["low", "mid", "high", "outside", "outside"]
    assert level.index("mid") == level.index(1) == 1
    with pytest.raises(KeyError, match="'low', 'mid', 'high', 'outside'; got True"):
        level.index(True)

    margin = Predicate(lambda outputs: jnp.ptp(outputs, axis=1).min() > 1).bind(THREE, 3)
    assert margin.classify_outputs(jnp.eye(4, 3) * 2).tolist() == 0
    assert margin.classify_outputs(jnp.arange(12.0).reshape(4, 3)).tolist() == 1


def test_predicate_times_a_finite_classifier():
    product = Predicate(lambda outputs: outputs.max() > 1) * Ones()
    bound = product.bind(CUBE, 1)
    assert bound.needs_outputs
    assert bound.route == "device"
    assert not bound.of_table
    outputs = jnp.array([[2.0, 1, -1, 0, 0, 0, 0, 0], [0.5, -1, -1, -1, -1, -1, -1, -1]])
    assert [bound.label(i) for i in jax.vmap(bound.classify_outputs)(outputs).tolist()] == ["true, 2", "false, 1"]
    with pytest.raises(TypeError, match="stored tables do not hold"):
        bound.classify_keys(tables.pack(EVERY, 1))
    with pytest.raises(ValueError, match=r"A Predicate is decided while drawing, but LempelZiv\(\) is counted"):
        (product * LempelZiv()).bind(CUBE, 1)
    with pytest.raises(ValueError, match="classes are counted from truth tables"):
        Product(product, *[Ones()] * 5).bind(CUBE, 1)


def test_predicate_read_from_a_record_can_only_label():
    record = json.loads(json.dumps(Predicate(lambda outputs: outputs[0] > 0, names=("no", "yes")).describe()))
    bound = from_description(record).bind(CUBE, 1)
    assert [bound.label(0), bound.index("yes")] == ["no", 1]
    with pytest.raises(TypeError, match="its names but not its function"):
        bound.classify_outputs(jnp.zeros(8))


@pytest.mark.parametrize(
    ("inputs", "labels", "sentence"),
    [
        (ROWS, [0, 1], r"one label per input: got 3 inputs and labels of shape \(2,\)"),
        (ROWS, "0110", r"labels of shape \(4,\)"),
        (ROWS, [[0], [1], [1]], r"labels of shape \(3, 1\)"),
        (ROWS, [0, 1, -1], r"label 2 \(counted from 0\) is -1"),
        (ROWS, [0, 0.5, 1], r"label 1 \(counted from 0\) is 0\.5"),
        (ROWS, [0, np.nan, 1], r"label 1 \(counted from 0\) is nan"),
        (ROWS, "0-1", "label 1 .* is '-'"),
        (ROWS, ["a", "b", "c"], "label 0 .* is 'a'"),
        ([*ROWS, ROWS[1]], "0110", "Row 3 of .* repeats row 1 .* label 0 instead of 1"),
        ([[1, 1, np.nan]], "0", "row 0 .* NaN or inf"),
        (np.zeros((0, 3)), [], "at least one input"),
        ([1, 1, 0], [1], "must have shape"),
    ],
)
@pytest.mark.parametrize("kind", [Fits, Accuracy])
def test_bad_labels(kind, inputs, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(inputs, labels)


@pytest.mark.parametrize("kind", [Fits, Accuracy])
def test_labels_that_do_not_fit_the_query(kind):
    with pytest.raises(ValueError, match=r"label 2 for row 1 .* 1 output\(s\) labels run from 0 to 1"):
        kind(ROWS, [0, 2, 1]).bind(CUBE, 1)
    with pytest.raises(ValueError, match=r"label 3 for row 2 .* run from 0 to 2"):
        kind([[0], [1], [2]], [0, 2, 3]).bind(THREE, 3)
    with pytest.raises(ValueError, match=r"Row 1 .* is not among the inputs of BooleanCube"):
        kind([[0, 1, 1], [0, 2, 1]], "01").bind(CUBE, 1)
    with pytest.raises(ValueError, match=r"one input of BooleanCube.* has shape \(3,\)"):
        kind([[0, 1]], "0").bind(CUBE, 1)


@pytest.mark.parametrize(
    ("bins", "sentence"),
    [
        (0, "not a positive whole number"),
        ([], "must lie in"),
        ([0, 1.5], "must lie in"),
        ([-0.1, 1], "must lie in"),
        ([0, np.nan, 1], "must lie in"),
        ([0, 0.5, 0.5, 1], "must rise"),
        ([0, 0.8, 0.5, 1], "must rise"),
    ],
)
def test_bad_bins(bins, sentence):
    with pytest.raises(ValueError, match=sentence):
        Accuracy(ROWS, LABELS, bins)


@pytest.mark.parametrize("bins", [2.5, "ab", True, {"a": 1}])
def test_bins_of_another_kind(bins):
    with pytest.raises(TypeError, match="None, a whole number or a sequence of edges"):
        Accuracy(ROWS, LABELS, bins)


def test_other_misuse():
    with pytest.raises(ValueError, match="this model has 3"):
        Ones().bind(THREE, 3)
    with pytest.raises(ValueError, match="Argmax needs two or more outputs"):
        Argmax().bind(CUBE, 1)
    with pytest.raises(ValueError, match="repeat a row"):
        Argmax([[0], [0]])
    with pytest.raises(ValueError, match="TruthTable cannot be a factor"):
        Product(TruthTable(), Ones())
    with pytest.raises(ValueError, match="two or more classifiers; got 1"):
        Product(Ones())
    with pytest.raises(TypeError, match="Product takes classifiers; got 3"):
        Product(Ones(), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Did you mean 'ones'"):
        from_description({"name": "one"})


@pytest.mark.parametrize(
    "arguments",
    [{"num_classes": 1}, {"num_classes": 2.0}, {"num_classes": 2**16}, {"names": ("a",)}, {"names": ("a", "a")},
     {"names": ("a", "outside")}],
)  # fmt: skip
def test_bad_predicate_classes(arguments):
    with pytest.raises(ValueError, match="Predicate needs"):
        Predicate(lambda outputs: outputs[0] > 0, **arguments)


def test_bad_predicate_functions():
    with pytest.raises(TypeError, match="takes a function of the outputs; got 'f'"):
        Predicate("f")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="are strings"):
        Predicate(lambda outputs: outputs[0] > 0, names=(0, 1))  # type: ignore[arg-type]
    for fn in (lambda outputs: outputs > 0, lambda outputs: outputs.sum(), lambda outputs: (outputs[0] > 0,)):
        with pytest.raises(ValueError, match="one bool or whole number per draw"):
            Predicate(fn).bind(CUBE, 1)


def test_predicate_functions_that_fail_are_named_when_a_query_is_made():
    def branch(outputs):
        return 1 if outputs[0] > 0 else 0

    def misspelt(outputs):
        return outputs.summ() > 0

    for fn, error in ((branch, "TracerBoolConversionError"), (misspelt, "AttributeError: .*summ")):
        sentence = rf"function \S*{fn.__name__} failed on outputs of shape \(\d+,\), with {error}"
        with pytest.raises(ValueError, match=sentence) as found:
            query(fn)
        assert "\n" not in str(found.value)
        assert found.value.__cause__ is not None
    with pytest.raises(ValueError, match=r"lambda> must return .* it returns bool of shape \(4,\)"):
        query(lambda outputs: outputs > 0)
    with pytest.raises(ValueError, match="it returns a tuple"):
        query(lambda outputs: (outputs[0] > 0,))


def query(fn):
    return Query(MLP((2, 1)), Gaussian(), BooleanCube(2), Predicate(fn))
