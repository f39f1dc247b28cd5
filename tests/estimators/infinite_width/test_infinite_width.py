"""Kernels of wide networks against quadrature and finite networks; volumes in the wide limit against closed forms."""

import functools
import math

import numpy as np
import pytest
from scipy.special import erf, ndtr
from shared_queries import AFFINE, CLOSED_FORMS, RELU

import volume
from volume import infinite_width, models, nngp_kernel, samplers
from volume.estimators.infinite_width.nngp import EXPECTATIONS

PHI = {
    "linear": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "erf": erf,
    "sign": lambda a: np.where(a > 0, 1.0, -1.0),
    "sine": np.sin,
    "tanh": np.tanh,
    "gelu": lambda a: a * ndtr(a),
}
KERNEL = np.array([[1, 0.6, -0.9, 0.99], [0.6, 2, 0.1, 0.59], [-0.9, 0.1, 1.5, -0.88], [0.99, 0.59, -0.88, 1.0]])
SIGNED = volume.BooleanCube(5, coding=(-1, 1))


@pytest.mark.parametrize("activation", list(EXPECTATIONS))
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_expectations_against_integrals_in_the_plane(activation, scale):
    """The kinks of relu and sign limit the quadrature, not the closed forms."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / math.sqrt(2 * math.pi)
    kernel = KERNEL * scale
    found = EXPECTATIONS[activation](kernel)
    phi = PHI[activation]
    tolerance = {"relu": 2e-3, "sign": 0.08}.get(activation, 1e-7)
    for i in range(4):
        for j in range(4):
            a, b = math.sqrt(kernel[i, i]), math.sqrt(kernel[j, j])
            r = min(kernel[i, j] / (a * b), 1.0)
            second = b * (r * nodes[:, None] + math.sqrt(1 - r * r) * nodes)
            expected = weights @ (phi(a * nodes)[:, None] * phi(second)) @ weights
            assert abs(found[i, j] - expected) <= tolerance * math.sqrt(found[i, i] * found[j, j])


@pytest.mark.parametrize("activation", list(EXPECTATIONS))
@pytest.mark.parametrize("bias", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_wide_networks_have_this_covariance(activation, bias):
    """40 networks of two hidden layers of 512 units, the last layer integrated out given its features.

    Held to 8 standard errors (1e-9 each by t_39, some 200 of them) plus 1 % for the finite width; errors are at most
    3 %, so that a factor of 2, a lost bias or a wrong fan-in is caught.
    """
    rng = np.random.default_rng(1)
    width, runs = 512, 40
    inputs = np.array([[1.0, 0.5, -0.2], [0.0, 0.0, 0.0], [-1.0, 2.0, 0.3], [0.1, 0.4, 1.0]])
    weight, biases = (1.3, 0.8, 1.5), (0.4, 0.7, 0.2) if bias else (0.0, 0.0, 0.0)
    seen = np.empty((runs, 4, 4))
    for run in range(runs):
        hidden = inputs
        for layer, fan_out in enumerate((width, width)):
            fan_in = hidden.shape[1]
            hidden = hidden @ rng.standard_normal((fan_in, fan_out)) * (weight[layer] / math.sqrt(fan_in))
            hidden = PHI[activation](hidden + biases[layer] * rng.standard_normal(fan_out))
        seen[run] = weight[2] ** 2 * hidden @ hidden.T / width + biases[2] ** 2
    model = models.MLP((3, 5, 7, 1), activation, bias=bias)
    found = nngp_kernel(model, samplers.Gaussian(weight, biases), inputs)
    error = seen.std(0, ddof=1) / math.sqrt(runs)
    size = np.sqrt(np.outer(np.diagonal(found), np.diagonal(found)))
    assert (np.abs(seen.mean(0) - found) <= 8 * error + 0.01 * size).all()
    assert (error <= 0.03 * size + 1e-15).all()


def test_kernels_of_no_hidden_layer_are_exact():
    inputs = np.array([[1.0, 2.0], [0.0, -1.0]])
    expected = inputs @ inputs.T * 9 / 2 + 0.25
    prior = samplers.Gaussian(weight_std=3.0, bias_std=0.5)
    np.testing.assert_allclose(nngp_kernel(models.Perceptron(2), prior, inputs), expected)
    np.testing.assert_allclose(nngp_kernel(models.MLP((2, 1)), prior, inputs), expected)
    np.testing.assert_allclose(nngp_kernel(models.Perceptron(2, bias=False), prior, inputs), expected - 0.25)


def test_zero_input_without_biases_is_zero_except_for_sign():
    inputs = volume.BooleanCube(2).inputs
    for activation in EXPECTATIONS:
        kernel = nngp_kernel(models.MLP((2, 4, 4, 1), activation, bias=False), samplers.Gaussian(2.0), inputs)
        if activation == "sign":  # sign(0) = -1: a constant -1 in every hidden unit
            assert kernel[0, 0] == pytest.approx(4.0)
            np.testing.assert_allclose(kernel[0, 1:], 0, atol=1e-15)
        else:
            assert (kernel[0] == 0).all()
        assert np.linalg.eigvalsh(kernel).min() > -1e-12


def wide_signed():
    prior = samplers.Gaussian(weight_std=(1.0, math.sqrt(2), math.sqrt(2)), bias_std=0.1)
    return volume.Query(models.MLP((5, 8, 8, 1)), prior, SIGNED)


@pytest.mark.parametrize(
    ("decide", "log_volume", "error"),
    [
        (lambda x: x[:, 0] > -9, -3.055, 0.005),  # constant
        (lambda x: x[:, 0] > 0, -9.938, 0.009),
        (lambda x: x[:, :3].sum(1) > 0, -14.21, 0.01),
    ],
)
def test_reference_values(decide, log_volume, error):
    """Computed elsewhere with the errors given; 5 joint standard errors (6e-7), which catch 7 % at the last."""
    found = infinite_width(wide_signed(), decide(SIGNED.inputs).astype(int))
    assert found.log_probability == pytest.approx(log_volume, abs=5 * math.hypot(error, found.relative_error) + 0.005)
    assert found.jitter == 1e-10
    assert found.relative_error < 0.01


def test_perceptron_volumes_although_the_kernel_is_singular():
    """Closed forms by the three-orthant formula; 6 standard errors."""
    for label in ("0000", "0011", "1000", "0010", "0001"):
        found, truth = infinite_width(AFFINE, label), CLOSED_FORMS[0, 1][label]
        # Noise of size sqrt(jitter) = 1e-5 blurs each edge.
        assert abs(found.log_probability - math.log(truth)) <= 6 * found.relative_error + 1e-4
        assert "rank 3 of 4" in found.notes[0]
    empty = infinite_width(AFFINE, "0110")
    assert empty.log_probability == -math.inf
    assert "No function" in empty.notes[0]


def test_ties_belong_to_class_0():
    query = RELU
    empty = infinite_width(query, "1111")
    assert (empty.log_probability, empty.log_low, empty.log_high) == (-math.inf,) * 3
    assert "input 0" in empty.notes[0]
    rest = volume.Fits(query.domain.inputs[1:], "111")
    whole = infinite_width(query, "0111")
    part = infinite_width(volume.Query(query.model, query.prior, query.domain, rest), "fits")
    assert whole.log_probability == part.log_probability
    assert (whole.num_variables, part.num_variables) == (4, 3)
    zero = volume.Fits(query.domain.inputs[:1], [0])
    assert infinite_width(volume.Query(query.model, query.prior, classifier=zero)).log_probability == 0


def test_odd_networks_without_biases_oppose_opposite_inputs():
    cube = volume.BooleanCube(2, coding=(-1, 1))
    query = volume.Query(models.MLP((2, 3, 1), "tanh", bias=False), samplers.Gaussian(), cube)
    assert infinite_width(query, "1111").log_probability == -math.inf
    # Two independent directions: a quarter each.
    assert infinite_width(query, "0011").log_probability == pytest.approx(math.log(0.25), abs=1e-4)


def test_fits_takes_rows_in_any_order():
    """Six labels out of 32 and their truth by the same kernel, picked by hand."""
    query = wide_signed()
    rows = np.array([20, 3, 7, 31, 0, 12, 3])
    labels = np.array([1, 0, 1, 1, 0, 0, 0])
    fits = volume.Fits(SIGNED.inputs[rows], labels)
    found = infinite_width(volume.Query(query.model, query.prior, SIGNED, fits), True)
    kernel = nngp_kernel(query.model, query.prior, SIGNED.inputs[rows[:6]])  # type: ignore[arg-type]
    other = volume.log_orthant(kernel, 2 * labels[:6] - 1, seed=9)
    error = math.hypot(found.relative_error, other.relative_error)
    assert abs(found.log_probability - other.log_probability) <= 6 * error + 1e-6
    assert found.num_variables == 6


@pytest.mark.slow
@pytest.mark.parametrize(("label", "near"), [("00110011", -3.71), ("00000001", -4.71), ("01000000", -4.72)])
def test_a_wide_network_agrees_with_its_limit(label, near):
    """Width 512, 65,536 draws, volumes .025, .0090 and .0089: 6 sampling errors (2e-9) plus 2 % for the finite width.

    Differences of 17 % to 27 % are caught.
    """
    cube = volume.BooleanCube(3, coding=(-1, 1))
    prior = samplers.Gaussian(weight_std=(1.0, 1.5, 1.0), bias_std=(0.2, 0.5, 0.3))
    query = volume.Query(models.MLP((3, 512, 512, 1), "erf"), prior, cube)
    found = infinite_width(query, label)
    assert found.log_probability == pytest.approx(near, abs=0.02)
    seen = finite_width_report(query)[label]
    error = math.sqrt(max(seen.design_effect, 1.0) / seen.count)
    assert abs(seen.log_volume - found.log_probability) <= 6 * math.hypot(error, found.relative_error) + 0.02


@functools.lru_cache
def finite_width_report(query):
    return volume.estimate(query, volume.Direct(65_536), seed=0)


def query_with(**parts):
    given = {"model": models.MLP((2, 3, 1)), "prior": samplers.Gaussian(), "domain": volume.BooleanCube(2)}
    return volume.Query(**(given | parts))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: infinite_width("query", "00"), TypeError, "volume.Query"),  # type: ignore[arg-type]
        (lambda: infinite_width(query_with(model=models.MLP((2, 3, 2))), "0000"), ValueError, "one output"),
        (lambda: infinite_width(query_with(classifier=volume.Ones()), "1"), ValueError, "TruthTable or Fits"),
        (lambda: infinite_width(query_with(classifier=volume.Fits([[0, 1]], [1])), "misses"), ValueError, "1 minus"),
        (lambda: infinite_width(query_with(classifier=volume.Fits([[0, 1]], [1])), "fit"), KeyError, "fits"),
        (lambda: infinite_width(query_with(), "000"), KeyError, "digits"),
        (lambda: infinite_width(query_with(), "0000", jitter=-1), ValueError, "jitter=-1"),
        (lambda: infinite_width(query_with(), "0000", seed="a"), ValueError, "seed='a'"),  # type: ignore[arg-type]
        (lambda: infinite_width(query_with(prior=samplers.Uniform()), "0000"), TypeError, "Gaussian"),
        (lambda: nngp_kernel(models.MLP((2, 3, 1)), samplers.Gaussian(), [[1.0]]), ValueError, "shape"),
        (
            lambda: nngp_kernel(models.MLP((2, 3, 1)), samplers.Gaussian((1.0, 1.0, 1.0)), [[1.0, 2.0]]),
            ValueError,
            "layer",
        ),
        (lambda: nngp_kernel("mlp", samplers.Gaussian(), [[1.0]]), TypeError, "MLP or Perceptron"),  # type: ignore[arg-type]
    ],
)
def test_errors_say_what_was_given(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_every_activation_has_a_kernel():
    assert set(EXPECTATIONS) == set(models.ACTIVATIONS)
