"""Volumes against theorems, closed forms and independent computations (sources beside each).

False alarms: each comparison below fails by chance with probability 1e-6 or less, fifty of them together below 5e-5.
"""

import numpy as np
import pytest
from scipy import stats
from shared_queries import AFFINE, CLOSED_FORMS

import volume
from volume import models, samplers

SIX_SIGMA = 6.0  # two-sided 2e-9 for one comparison


def volume_and_error(counts, c):
    """Share of draws in class number c of the matrix, and its standard error over independent units."""
    part = slice(counts.offsets[c], counts.offsets[c + 1])
    share = np.zeros(counts.num_units)
    share[counts.unit[part]] = counts.hits[part] / counts.unit_size
    return share.mean(), share.std(ddof=1) / np.sqrt(len(share))


def estimate_with_error(report):
    """{label: (volume, standard error)} of every class seen."""
    labels = report.classifier.bind(report.domain, report.num_outputs).labels(report.counts.keys)
    return {label: volume_and_error(report.counts, c) for c, label in enumerate(labels)}


def of_label(report, label):
    """(volume, standard error) of one class by its label; None if it was never drawn."""
    c = report.counts.find(report.classifier.bind(report.domain, report.num_outputs).key(label))
    return None if c is None else volume_and_error(report.counts, c)


@pytest.mark.parametrize(
    "n", [3, pytest.param(4, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow), 10]
)  # both laws, narrow and wide
def test_perceptron_class_balance_is_uniform(n):
    """Theorem: P(T = t) = 2^-n for t < 2^n, P(T = 2^n) = 0, any symmetric continuous weights, no bias, {0,1}^n.

    Chi-square on 2^n - 1 degrees at 400,000 draws, alarm below p = 1e-7; a law shifted by a total variation of about
    2 % (n = 10) to 0.5 % (n = 3) would be caught.
    """
    prior = samplers.Gaussian(1.0) if n % 2 else samplers.Uniform(1.0)
    model = models.Perceptron(n, bias=False)
    report = volume.estimate(
        volume.Query(model, prior, volume.BooleanCube(n), volume.Ones()), volume.Direct(400_000), seed=n
    )
    count = np.zeros(2**n + 1)
    count[report.counts.keys[:, 0].astype(int)] = report.counts.tally().count
    assert count[-1] == 0
    assert stats.chisquare(count[:-1]).pvalue > 1e-7


@pytest.mark.parametrize("n", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_perceptron_on_signs_is_always_balanced(n):
    """Theorem: on {-1,1}^n without bias f(-x) = -f(x), so T = 2^(n-1) always; needs float64."""
    question = volume.Query(
        models.Perceptron(n, bias=False), samplers.Gaussian(), volume.BooleanCube(n, coding=(-1, 1)), volume.Ones()
    )
    report = volume.estimate(question, volume.Direct(200_000, dtype="float64"), seed=0)
    assert report[2 ** (n - 1)].count == 200_000


@pytest.mark.slow
def test_sixty_four_bit_runs_leave_the_users_settings_alone():
    import jax
    import jax.numpy as jnp

    question = volume.Query(models.Perceptron(3), samplers.Gaussian(1.0, 1.0), volume.BooleanCube(3))
    volume.estimate(question, volume.Direct(1000, dtype="float64"), seed=0)
    assert not jax.config.read("jax_enable_x64")
    assert jnp.ones(3).dtype == jnp.float32


@pytest.mark.parametrize("coding", CLOSED_FORMS)
@pytest.mark.parametrize("hidden", [(), pytest.param((3,), marks=pytest.mark.slow)])
def test_two_input_tables_match_the_closed_forms(coding, hidden):
    """Sixteen six-sigma comparisons; at 1e6 draws a volume of .05 off by 1.3e-3 would be caught.

    hidden = (3,) takes the same perceptron through crossed heads: a linear network without biases that is fed (x, 1)
    has the same law of directions.
    """
    cube = volume.BooleanCube(2, coding=coding)
    if hidden:
        domain = volume.Points(np.c_[cube.inputs, np.ones(4)])
        model, prior = models.MLP((3, *hidden, 1), activation="linear", bias=False), samplers.Gaussian(1.0)
    else:
        domain, model, prior = cube, AFFINE.model, AFFINE.prior
    report = volume.estimate(volume.Query(model, prior, domain), volume.Direct(1_000_000), seed=11)
    found = estimate_with_error(report)
    for label, exact in CLOSED_FORMS[coding].items():
        if exact == 0:
            assert label not in found
        else:
            value, error = found[label]
            assert abs(value - exact) < SIX_SIGMA * error
            assert error < 2e-3


@pytest.mark.parametrize(
    ("n", "bias", "draws", "functions"),
    [  # OEIS A034997 without bias; A000609 with bias
        pytest.param(1, False, 10_000, 2, marks=pytest.mark.slow),
        pytest.param(2, False, 10_000, 6, marks=pytest.mark.slow),
        (3, False, 100_000, 32),
        pytest.param(4, False, 1_000_000, 370, marks=pytest.mark.slow),
        pytest.param(1, True, 10_000, 4, marks=pytest.mark.slow),
        pytest.param(2, True, 20_000, 14, marks=pytest.mark.slow),
        (3, True, 200_000, 104),
    ],
)
def test_every_threshold_function_is_found(n, bias, draws, functions):
    question = volume.Query(models.Perceptron(n, bias=bias), samplers.Gaussian(1.0, 1.0), volume.BooleanCube(n))
    report = volume.estimate(question, volume.Direct(draws), seed=0)
    assert report.num_classes == functions


def test_two_three_one_relu():
    """.379 and .251, computed independently to the third digit; P(1111) = 0 because f(0) = 0 is a tie."""
    model = models.MLP((2, 3, 1), activation="relu", bias=False)
    report = volume.estimate(
        volume.Query(model, samplers.Gaussian(), volume.BooleanCube(2)), volume.Direct(2_000_000), seed=0
    )
    found = estimate_with_error(report)
    for label, exact in (("0000", 0.379), ("0111", 0.251)):
        value, error = found[label]
        assert abs(value - exact) < 6e-4 + SIX_SIGMA * error
    assert report["1111"].count == 0
    assert all(label[0] == "0" for label in found)


@pytest.fixture(scope="module")
def boolean_seven():
    """3 million draws of the (7,40,40,1) network, whose volumes were computed independently."""
    model = models.MLP((7, 40, 40, 1), activation="relu", bias=False)
    question = volume.Query(model, samplers.Gaussian(weight_std=1.0), volume.BooleanCube(7))
    return volume.estimate(question, volume.Direct(3_000_000), seed=0)


def single_one(position):
    return "".join("1" if i == position else "0" for i in range(128))


def test_boolean_seven_largest_classes(boolean_seven):
    """Values and errors of an independent computation, 73.4 million draws. Six sigma of both errors together."""
    known = {"0" * 128: (0.062282, 3.4e-5), "0" + "1" * 127: (0.062282, 3.4e-5)}
    for bits, value, error in (
        (1, 1.0829e-3, 1.2e-6),
        (2, 3.7374e-4, 3.7e-7),
        (3, 1.3083e-4, 1.6e-7),
        (4, 4.628e-5, 1e-7),
        (5, 1.655e-5, 8e-8),
    ):
        # Input permutations leave the law as it is, so that any input of this weight will do: take an asymmetric one.
        known[single_one(sum(1 << (6 - i) for i in range(7) if i in (0, 2, 3, 5, 6)[:bits]))] = (value, error)
    for label, (exact, exact_error) in known.items():
        entry = boolean_seven[label]
        found = of_label(boolean_seven, label)
        assert found is not None
        error = np.hypot(exact_error, found[1])
        assert abs(np.exp(entry.log_volume) - exact) < SIX_SIGMA * error
        assert entry.log_low < entry.log_volume < entry.log_high


def test_boolean_seven_class_balance(boolean_seven):
    """T = 0..5 of the same computation; T = 128 is impossible: the zero input ties, and a tie is class 0."""
    found = estimate_with_error(boolean_seven.group_by(volume.Ones()))
    known = [
        (0.062282, 34e-6),
        (0.022019, 13e-6),
        (0.016917, 11e-6),
        (0.014035, 10e-6),
        (0.012562, 9e-6),
        (0.011369, 9e-6),
    ]
    for t, (exact, exact_error) in enumerate(known):
        value, error = found[str(t)]
        assert abs(value - exact) < SIX_SIGMA * np.hypot(error, exact_error)
    assert "128" not in found


def test_boolean_seven_complements_and_permutations(boolean_seven):
    """Negating the head complements every bit but x = 0; permuting inputs permutes bits. Equal within six sigma."""
    cube = boolean_seven.domain.inputs.astype(int)
    order = [2, 0, 3, 1, 6, 5, 4]  # an asymmetric permutation of the seven inputs
    moved = cube[:, order] @ (1 << np.arange(6, -1, -1))
    for entry in boolean_seven.top(60):
        label = entry.label
        complement = "0" + label[1:].translate(str.maketrans("01", "10"))
        permuted = "".join(label[i] for i in moved)
        found = of_label(boolean_seven, label)
        assert found is not None
        value, error = found
        for other in (complement, permuted):
            other_value, other_error = of_label(boolean_seven, other) or (0.0, error)
            # Counts here are 100 and more, so that the normal law holds well enough at six sigma plus a little.
            assert abs(value - other_value) < 7 * np.hypot(error, other_error)


def test_boolean_seven_unseen_mass(boolean_seven):
    """After 17.5 million draws .724 was unseen in the same computation; after 3 million more is: it can only fall."""
    unseen = boolean_seven.unseen
    assert 0.724 < unseen.low < unseen.mass < unseen.high < 0.80
