"""Guides: +inf exactly where the classifier says the class, for every kind of class, and a number below elsewhere.

Deterministic: seeds are fixed, and what is compared is decided twice from the same outputs.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.classifiers.argmax import Argmax
from volume.classifiers.defects import Defects, OnTrigger
from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.ones import Ones
from volume.classifiers.predicate import Predicate
from volume.classifiers.truth_table import TruthTable
from volume.estimators.splitting.importance import importance_function
from volume.estimators.splitting.look import look
from volume.functions.domains import BooleanCube, Points
from volume.functions.importance import TIE_MARGIN, Every, InTurn, Seen

CUBE = BooleanCube(3)
X = np.asarray(CUBE.inputs)
FOUR = Points([[0.0], [1.0], [2.0], [3.0]])
SOME = Fits(X[[6, 1, 3]], [0, 1, 1])
ACCURACY = Accuracy(X[[7, 2, 0, 4, 5]], [1, 1, 0, 0, 1], bins=[0.3, 0.7])
DEFECTS = Defects(X[[1, 2]], [0, 1], X[[5, 6, 7]], [1, 1, 0], bins=2)
LARGE = Predicate(lambda outputs: jnp.max(outputs) > 2, names=("small", "large"))


def own_score(outputs):
    return jnp.max(outputs)


CASES = {  # classifier, outputs, labels (None: all), the user's score
    "fits": (SOME, 1, None, None),
    "fits, three outputs": (Fits([[1.0], [3.0]], [2, 0]), 3, None, None),
    "one table": (TruthTable(), 1, ["00000000"], None),
    "one table, three outputs": (TruthTable(), 3, ["0120"], None),
    "accuracy": (Accuracy(X[[7, 2, 0]], [1, 1, 0]), 1, ["0/3", "2/3"], None),
    "accuracy, repeated rows": (Accuracy(X[[7, 7, 2, 0]], [1, 1, 1, 0]), 1, ["1/4", "3/4"], None),
    "accuracy, bins": (ACCURACY, 1, ["[0.0, 0.3)", "[0.3, 0.7)"], None),
    "accuracy, three outputs": (Accuracy([[0.0], [2.0], [3.0]], [0, 1, 2], bins=2), 3, None, None),
    "ones": (Ones(), 1, ["3"], None),
    "argmax": (Argmax([[2.0], [0.0]]), 3, ["21"], None),
    "product": (SOME * ACCURACY, 1, ["fits, [0.3, 0.7)", "misses, [0.7, 1.0]"], None),
    "given": (Given(SOME, ACCURACY), 1, ["[0.3, 0.7)", "[0.7, 1.0]"], None),
    "given misses": (Given(SOME, Ones(), label="misses"), 1, ["5"], None),
    "defects": (DEFECTS, 1, ["benign", "mixed [0.5, 1.0]", "defects"], None),
    "on a trigger": (OnTrigger(X[[5, 6]], [1, 0]), 1, None, None),
    "one target label": (
        OnTrigger([[1.0], [3.0]], [1, 2], target_label=0),
        3,
        ["benign", "defects"],
        None,
    ),
    "predicate": (LARGE, 1, None, own_score),
    "predicate in a product": (LARGE * SOME, 1, ["large, fits", "small, misses"], own_score),
    "part of a table, own score": (SOME, 1, None, own_score),
}


def outputs_of(num_inputs, num_outputs, num=3000):
    """Random outputs, of which half the networks have whole ones, with many ties, and some are not finite."""
    rng = np.random.default_rng(num_inputs + num_outputs)
    found = rng.standard_normal((num, num_inputs, num_outputs)) * np.exp(rng.standard_normal((num, 1, 1)))
    found[::2] = rng.integers(-1, 2, found[::2].shape)
    found[1] = 0.0
    found[5, 0, 0], found[7, -1, -1], found[9] = np.nan, np.inf, -np.inf
    return jnp.asarray(found[..., 0] if num_outputs == 1 else found, jnp.float32)


# Two shapes of outputs, or two classifiers put together, of which either has a case of its own.
TWICE = (
    *("one table, three outputs", "accuracy, repeated rows", "accuracy, three outputs", "given misses"),
    *("one target label", "predicate in a product", "part of a table, own score"),
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in TWICE)) for name in CASES])
@pytest.mark.parametrize("chain", [False, True])
def test_infinite_exactly_in_the_class(name, chain):
    classifier, num_outputs, labels, score = CASES[name]
    if chain and name not in ("fits", "argmax", "given"):
        pytest.skip("one part in any case")
    domain = CUBE if num_outputs == 1 else FOUR
    bound = classifier.bind(domain, num_outputs)
    outputs = outputs_of(domain.num_inputs, num_outputs)
    if bound.route == "device" or bound.needs_outputs:
        classes = np.asarray(jax.jit(jax.vmap(bound.classify_outputs))(outputs))
        truth = {bound.label(i): classes == i for i in range(bound.num_classes or 0)}
    else:
        decided = np.asarray(outputs > 0 if num_outputs == 1 else jnp.argmax(outputs, axis=-1)).astype(int)
        tables = ["".join(map(str, row)) for row in decided]
        truth = {label: np.array([table == label for table in tables]) for label in labels or ()}
    zero = np.arange(domain.num_inputs) == 0  # said to be always 0, which it is not: the class must not mind
    for label in labels or truth:
        plain = importance_function(bound, label, score=score, chain=chain)
        assert (bound.num_classes or 0) > 20 or any(truth[label])
        guides = [plain]
        with contextlib.suppress(ValueError):  # it may be refused
            guides.append(plain.seen(Seen(zero, np.full(domain.num_inputs, 1.5))))
        for found in guides:
            looked_at = outputs[:, found.rows]
            values = np.asarray(jax.jit(jax.vmap(found.onto(found.rows)))(looked_at))
            usable = np.isfinite(np.asarray(looked_at)).reshape(len(outputs), -1).all(axis=1)
            np.testing.assert_array_equal(values == np.inf, truth[label] & usable)
            assert (values[~usable] == -np.inf).all()
            assert np.isfinite(values[usable & ~truth[label]]).all()


def test_scores_rise_towards_the_class():
    """Raising the worst margin, the k-th, or the first part not reached raises the score; ties count as far off."""
    fits = importance_function(Fits(X[[1, 2, 3]], [1, 0, 1]).bind(CUBE, 1), "fits")

    compiled = functools.cache(jax.jit)

    def at(guide, *three):
        return float(
            compiled(guide)(jnp.zeros(8, jnp.float32).at[jnp.array([1, 2, 3])].set(jnp.array(three, jnp.float32)))
        )

    assert at(fits, 1, 1, -0.2) < at(fits, 1, 0.5, 1) < at(fits, 1, 0.1, 1) < 0 < at(fits, 1, -1, 1) == np.inf
    assert at(fits, 1, -1, 0) == -TIE_MARGIN
    two = importance_function(Accuracy(X[[1, 2, 3]], [1, 0, 1]).bind(CUBE, 1), "2/3")
    assert at(two, 1, 1, -0.2) < at(two, 1, 1, -0.1) < 0 < at(two, 1, 1, 0.1) == np.inf
    assert at(two, 1, -1, 1) < at(two, 1, -0.1, 1) < 0  # too many are right: the nearest to being wrong leads
    chain = importance_function(Fits(X[[1, 2, 3]], [1, 0, 1]).bind(CUBE, 1), "fits", chain=True)
    chain = chain.seen(Seen(np.zeros(8, bool), np.ones(8)))
    assert isinstance(chain, InTurn)
    assert at(chain, -0.1, -1, 1) < at(chain, 0.1, 3, 1) < at(chain, 0.1, 1, 1) < at(chain, 0.1, -1, -3) < 6
    both = importance_function((SOME * Ones()).bind(CUBE, 1), ("fits", 4))
    assert type(both) is Every


def test_scale_plays_no_part():
    found = importance_function(SOME.bind(CUBE, 1), "fits")
    outputs = outputs_of(8, 1)[11::2][:50]
    np.testing.assert_allclose(jax.vmap(found)(outputs), jax.vmap(found)(outputs * 1024), rtol=1e-6)


def scaled_with_the_last_layer(classifier, label, num_inputs=8, num_outputs=1, domain: BooleanCube | Points = CUBE):
    seen = Seen(np.zeros(num_inputs, bool), np.full(num_inputs, 2.0), shrinks=True, num_outputs=num_outputs)
    return importance_function(classifier.bind(domain, num_outputs), label).seen(seen)


@pytest.mark.parametrize(
    ("classifier", "label", "num_outputs"),
    [
        (SOME, "fits", 1),
        (SOME, "misses", 1),
        (ACCURACY, "[0.3, 0.7)", 1),
        (Ones(), "3", 1),
        (SOME * ACCURACY, "fits, [0.3, 0.7)", 1),
        (Given(SOME, ACCURACY), "[0.7, 1.0]", 1),
        (DEFECTS, "mixed [0.5, 1.0]", 1),
        (Given(SOME, Fits(X[[7]], [1])), "fits", 1),  # a single label, beside others
        (Fits([[1.0]], [2]), "fits", 3),
        (Argmax([[2.0], [0.0]]), "21", 3),
        (Fits([[1.0], [2.0]], [1, 0]), "fits", 2),
    ],
    ids=str,
)
def test_a_network_that_shrinks_comes_no_nearer(classifier, label, num_outputs):
    """Where all outputs go to 0 with the last layer, no class is led to by their size, whatever its parts."""
    domain = CUBE if num_outputs == 1 else FOUR
    found = scaled_with_the_last_layer(classifier, label, domain.num_inputs, num_outputs, domain)
    outputs = outputs_of(domain.num_inputs, num_outputs)[11::2][:200][:, found.rows]
    of_all = jax.jit(jax.vmap(found.onto(found.rows)))
    large, small = of_all(outputs), of_all(outputs * 2.0**-20)
    assert np.isfinite(large).sum() > 20
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_a_single_output_has_a_score_of_its_own_size():
    """One margin over its own size is a sign: the score would stand still."""
    found = scaled_with_the_last_layer(Fits(X[[1]], [1]), "fits")
    values = [float(found.onto(found.rows)(jnp.array([value]))) for value in (-2.0, -1.0, -0.1)]
    assert values[0] < values[1] < values[2] < 0


def test_users_scores():
    """NaN is the lowest score, +inf no more than the largest number outside the class."""
    bound = LARGE.bind(CUBE, 1)
    outputs = jnp.ones(8, jnp.float32)
    for score, expected in ((lambda o: o[0] * jnp.nan, -np.inf), (lambda o: o[0] * jnp.inf, 3.4028235e38)):
        found = importance_function(bound, "large", score=score)
        assert float(found(outputs)) == np.float32(expected)
        assert float(found(3 * outputs)) == np.inf
    with pytest.raises(ValueError, match=r"score .* failed on outputs of shape \(8,\), with ConcretizationTypeError"):
        importance_function(bound, "large", score=lambda outputs: float(outputs[0]))
    with pytest.raises(ValueError, match=r"returned shape \(8,\) .* return one number"):
        importance_function(bound, "large", score=lambda outputs: outputs)


def test_classes_without_a_way():
    with pytest.raises(ValueError, match=r"No margin leads to the class 'large' .* give score="):
        importance_function(LARGE.bind(CUBE, 1), "large")
    with pytest.raises(ValueError, match="No margin leads to the class 'outside'"):
        importance_function(Given(SOME, Ones()).bind(CUBE, 1), "outside")
    complexity = LempelZiv().bind(CUBE, 1)
    with pytest.raises(ValueError, match="decided from stored truth tables"):
        importance_function(complexity, complexity.label(5), score=own_score)
    with pytest.raises(KeyError, match="no such"):
        importance_function(SOME.bind(CUBE, 1), "no such")


def test_equal_guides_compile_once():
    again = Fits(X[[6, 1, 3]], [0, 1, 1])
    assert importance_function(SOME.bind(CUBE, 1), "fits") == importance_function(again.bind(CUBE, 1), "fits")
    assert hash(importance_function(SOME.bind(CUBE, 1), "fits")) == hash(
        importance_function(again.bind(CUBE, 1), "fits")
    )
    assert importance_function(SOME.bind(CUBE, 1), "fits") != importance_function(SOME.bind(CUBE, 1), "misses")


def squares(params, inputs):
    return jnp.sum(params["t"] ** 2) - inputs[:, 0]


@pytest.mark.parametrize(
    ("model", "prior", "shrinks"),
    [
        (models.MLP((1, 2, 1)), samplers.Gaussian(1.0, 0.5), True),
        (models.MLP((1, 2, 3), "tanh"), samplers.Uniform(2.0), True),
        (models.Perceptron(1), samplers.Gaussian(1.0, 0.5), True),
        (models.from_function(squares, [models.Parameter("t", (3,), "weight", 1, 0)], input_shape=1),
         samplers.Gaussian(1.0), False),
    ],
    ids=["relu", "uniform", "perceptron", "thresholds"],
)  # fmt: skip
def test_what_shrinks_with_the_last_layer(model, prior, shrinks):
    domain = Points([[5.0], [6.0]])
    query = volume.Query(model, prior, domain, Fits([[5.0], [6.0]], [1, 0]))
    seen = look(query, np.asarray(domain.inputs, np.float32), "highest")
    assert seen.shrinks == shrinks
    assert seen.num_outputs == model.num_outputs


def threshold(params, inputs):
    return jnp.maximum(params["t"][0] - inputs[:, 0], 0)


@pytest.mark.parametrize(
    ("model", "domain", "zero"),
    [
        (models.MLP((2, 2, 1), bias=False), BooleanCube(2), [True, False, False, False]),
        (models.MLP((2, 2, 1)), BooleanCube(2), [False] * 4),
        (models.MLP((1, *[1] * 9, 1), bias=False), Points([[-1.0], [0.0], [1.0]]), [False, True, False]),
        (models.from_function(threshold, [models.Parameter("t", (1,), "weight", 1, 0)], input_shape=1),
         Points([[5.0], [60.0]]), [False, False]),
    ],
    ids=["cube", "biases", "a deep narrow network", "far thresholds"],
)  # fmt: skip
def test_what_is_always_zero(model, domain, zero):
    """Rarely is not never: 2^-10 of the narrow networks are alive, and none of 10^6 draws is above 5."""
    query = volume.Query(model, samplers.Gaussian(1.0, 0.5), domain, TruthTable())
    seen = look(query, np.asarray(domain.inputs, np.float32), "highest")
    assert seen.zero.tolist() == zero
    assert np.isfinite(seen.mean_square).all()


def test_labels_of_outputs_that_are_always_zero():
    """At x = 0 without biases: label 1 is refused, label 0 costs nothing."""
    seen = Seen(np.arange(4) == 0, np.ones(4))
    square = BooleanCube(2)
    bound = TruthTable().bind(square, 1)
    with pytest.raises(ValueError, match="output at input 0 was exactly 0, a tie, which is class 0"):
        importance_function(bound, "1000").seen(seen)
    outputs = jnp.array([0.0, -0.3, 1.0, 1.0])
    assert float(importance_function(bound, "0011")(outputs)) == np.inf
    assert float(importance_function(bound, "0111").seen(seen)(outputs)) == pytest.approx(
        -0.3 / np.sqrt(2.09 / 3 + 1 / 3)
    )
    accuracy = Accuracy(np.asarray(square.inputs), [1, 1, 1, 1]).bind(square, 1)
    with pytest.raises(ValueError, match="No network"):
        importance_function(accuracy, 1.0).seen(seen)
    assert float(importance_function(accuracy, 0.75).seen(seen)(outputs)) < 0
    every = importance_function(Fits([[0, 0]], [0]).bind(square, 1), "fits").seen(seen)
    assert float(every(outputs)) == np.inf
