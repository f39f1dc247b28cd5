"""Classes as thin as the jitter, against closed forms of angles and solid angles that lose no digits.

False alarms: estimates are held to 8 of their standard errors plus rounding, 9e-7 a comparison by t at 15 degrees of
freedom; standard errors are below .002.
"""

import json
import math

import jax
import numpy as np
import pytest

import volume
from volume import infinite_width, models, samplers
from volume.estimators.infinite_width import outputs
from volume.estimators.infinite_width.shares import wide_shares
from volume.reports.entries import entry_from_dict
from volume.reports.limit_entries import LimitVolume
from volume.studies.columns import LIMIT, limit_column
from volume.studies.label_curve import CurvePoint, LabelsCurve
from volume.studies.text import total_words

FLAT = models.Perceptron(2, bias=False)


def asked(model, points, labels, prior=None):
    fits = volume.Fits(np.array(points, float), labels)
    return volume.Query(model, prior or samplers.Gaussian(), classifier=fits)


def close(found, truth):
    assert found.resolved
    assert abs(found.log_probability - truth) <= 8 * found.relative_error + 1e-9
    assert found.log_low < found.log_probability < found.log_high < found.log_bound
    assert "computed in two hundred digits" in " ".join(found.notes)


@pytest.mark.parametrize("eps", [1e-5, 1e-7, 1e-9, 1e-15])
@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e150])
def test_a_wedge_in_the_plane(eps, scale):
    """The inputs' scale is that of the outputs: it changes no class, and 1e-340 underflows."""
    found = infinite_width(asked(FLAT, [(scale, 0), (scale, scale * eps)], "01"))
    close(found, math.log(math.atan(eps) / (2 * math.pi)))
    assert found.jitter == 0


@pytest.mark.parametrize("weight_std", [1e-170, 1e100])
def test_the_scale_of_the_weights_changes_no_class(weight_std):
    model = models.MLP((2, 4, 1), bias=False)
    found = infinite_width(asked(model, [(1, 0), (1, 1)], "01", samplers.Gaussian(weight_std)))
    usual = infinite_width(asked(model, [(1, 0), (1, 1)], "01"))
    assert found.log_probability == pytest.approx(usual.log_probability, abs=1e-9)


def test_what_other_inputs_imply_changes_nothing():
    """Rank 2 of 3 and of 5: the wedge is the same, and dependent outputs keep a jitter of 1e-20 and below."""
    truth = math.log(math.atan(1e-7) / (2 * math.pi))
    for points, labels in (([(1, 1)], "011"), ([(1, 1), (-1, 0), (0, 3)], "01111")):
        found = infinite_width(asked(FLAT, [(1, 0), (1, 1e-7), *points], labels))
        close(found, truth)
        assert 0 < found.jitter <= 1e-20


@pytest.mark.parametrize("eps", [1e-4, 1e-6, 1e-8])
def test_a_thin_triangle(eps):
    """Three inputs in space: the solid angle of the cone of weights, by the formula of van Oosterom and Strackee."""
    points, signs = np.array([(1, 0, 0), (1, eps, 0), (1, 0.3 * eps, 2 * eps)]), np.array([-1, 1, 1])
    rows = points * signs[:, None]
    edges = [np.cross(rows[1], rows[2]), np.cross(rows[2], rows[0]), np.cross(rows[0], rows[1])]
    edges = [edge * np.sign(edge @ row) / np.linalg.norm(edge) for edge, row in zip(edges, rows, strict=True)]
    volume_of = abs(np.linalg.det(edges))
    a, b, c = edges
    solid = 2 * math.atan2(volume_of, 1 + a @ b + b @ c + c @ a) % (2 * math.pi)
    close(infinite_width(asked(models.Perceptron(3, bias=False), points, "011")), math.log(solid / (4 * math.pi)))


def next_angle(theta):
    """The angle of two outputs after a wide ReLU layer without biases, from theta < 1e-2 to full precision."""
    bend = theta**3 / 3 - theta**5 / 30  # sin - theta cos
    return 2 * math.asin(math.sqrt((2 * math.sin(theta / 2) ** 2 - bend / math.pi) / 2))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_wedge_through_relu_layers(depth):
    theta = math.atan(1e-7)
    for _ in range(depth):
        theta = next_angle(theta)
    model = models.MLP((2, *[4] * depth, 1), bias=False)
    close(infinite_width(asked(model, [(1, 0), (1, 1e-7)], "01")), math.log(theta / (2 * math.pi)))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_bend_between_three_inputs(depth):
    """The three-orthant formula: what the angles of ReLU layers lack to add up."""

    def angle(theta):
        for _ in range(depth):
            theta = next_angle(theta)
        return theta

    eps = 1e-4
    first, second, whole = math.atan(eps), math.atan(2 * eps) - math.atan(eps), math.atan(2 * eps)
    truth = math.log((angle(first) + angle(second) - angle(whole)) / (4 * math.pi))
    model = models.MLP((2, *[4] * depth, 1), bias=False)
    found = infinite_width(asked(model, [(1, 0), (1, eps), (1, 2 * eps)], "010"))
    assert abs(found.log_probability - truth) <= 8 * found.relative_error + 1e-6
    assert found.jitter == 0


@pytest.mark.parametrize("eps", [1e-1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("jitter", [1e-6, 1e-8, 1e-10, 0.0])
def test_what_jitter_moves_the_answer_by_is_in_the_error(eps, jitter):
    found = infinite_width(asked(FLAT, [(1, 0), (1, eps)], "01"), jitter=jitter)
    assert found.resolved
    assert abs(found.log_probability - math.log(math.atan(eps) / (2 * math.pi))) <= 8 * found.relative_error
    assert found.relative_error <= 0.07
    assert found.jitter <= max(jitter, 1e-13)


@pytest.mark.parametrize("activation", ["erf", "sine"])
def test_smooth_activations_multiply_a_wedge_by_their_slope(activation):
    """Near inputs at distance eps: angle eps sqrt(d^2 k(x, y) / dx dy) / sqrt(k), by differences at a thousandth."""
    model = models.MLP((2, 4, 4, 1), activation, bias=False)

    def answer(eps):
        return infinite_width(asked(model, [(1, 0), (1, eps)], "01"))

    wide, thin = answer(1e-2), answer(1e-7)
    error = 8 * math.hypot(wide.relative_error, thin.relative_error)
    assert wide.jitter == 1e-10
    assert abs(wide.log_probability - thin.log_probability - math.log(1e5)) <= error + 2e-4


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_a_kernel_that_is_known_in_double_precision_gives_an_upper_limit(activation):
    """The truth from a wedge ten thousand times as wide, as above."""
    model = models.MLP((2, 4, 4, 1), activation, bias=False)
    wide = infinite_width(asked(model, [(1, 0), (1, 1e-3)], "01"))
    assert wide.resolved
    thin = infinite_width(asked(model, [(1, 0), (1, 1e-7)], "01"))
    assert not thin.resolved
    assert (thin.log_probability, thin.log_low) == (-math.inf, -math.inf)
    assert wide.log_probability - math.log(1e4) < thin.log_high < wide.log_probability - math.log(1e4) + 1.5
    assert "an upper limit is all that is known" in thin.notes[-1]


def test_labels_that_no_function_has_stay_impossible():
    """(1, 1e-7) lies between (1, 0) and (1, 1); opposite inputs of the same label; equal inputs of the domain."""
    for points, labels in (([(1, 0), (1, 1e-7), (1, 1)], "010"), ([(1, 0), (2, 0)], "01"), ([(1, 2), (-1, -2)], "11")):
        found = infinite_width(asked(FLAT, points, labels))
        assert (found.log_probability, found.log_low, found.log_high) == (-math.inf,) * 3
        assert "No function" in found.notes[0]
        assert found.resolved


@pytest.mark.parametrize("activation", ["relu", "erf", "sign", "sine", "tanh", "linear"])
def test_outputs_that_are_multiples_of_others_count_once(activation):
    """Opposite inputs of odd networks, and multiples of inputs where the size of an input changes no sign."""
    model = models.MLP((2, 4, 4, 1), activation, bias=False)
    alone = infinite_width(asked(model, [(1, 0.5), (0.125, 1)], "01"))
    odd, scales = activation != "relu", activation in ("relu", "sign", "linear")
    for point, same, dependent in (((-1, -0.5), 1, odd), ((3, 1.5), 0, scales), ((-0.375, -3), 0, odd and scales)):
        both = [infinite_width(asked(model, [(1, 0.5), (0.125, 1), point], f"01{label}")) for label in (same, 1 - same)]
        assert (both[1].log_high == -math.inf) == dependent
        assert (both[0].log_probability == alone.log_probability) == dependent
        assert both[0].num_variables == 3
        if not dependent:
            total = np.logaddexp(both[0].log_probability, both[1].log_probability)
            assert abs(total - alone.log_probability) <= 0.02
    biased = models.MLP((2, 4, 4, 1), activation)
    found = infinite_width(asked(biased, [(1, 0.5), (-1, -0.5), (3, 1.5)], "011", samplers.Gaussian(1.0, 0.5)))
    assert found.resolved


def test_what_is_ruled_out_to_within_a_tolerance_has_an_upper_limit(monkeypatch):
    monkeypatch.setattr(outputs, "LARGEST", 1)
    query = asked(FLAT, [(1, 0), (1, 1e-7)], "01")
    found = infinite_width(query)
    assert (found.log_probability, found.log_low) == (-math.inf, -math.inf)
    assert math.log(math.atan(1e-7) / (2 * math.pi)) < found.log_high < -9
    assert found.log_high == found.at_level(0.5).log_high
    assert not found.resolved
    assert "an upper limit is all that is known" in found.notes[-1]
    report = volume.estimate(query, volume.InfiniteWidth(), seed=0)
    assert "not resolved" in report.summary()
    assert "not resolved" in str(report["fits"])
    entry = report["fits"]
    assert entry_from_dict(json.loads(json.dumps(entry.to_dict()))) == entry


@pytest.mark.parametrize("eps", [1e-5, 1e-7])
def test_the_method_and_shares_follow(eps):
    query = asked(FLAT, [(1, 0), (1, eps)], "01")
    truth = math.log(math.atan(eps) / (2 * math.pi))
    entry = volume.estimate(query, volume.InfiniteWidth(), seed=0)["fits"]
    assert isinstance(entry, LimitVolume)
    assert abs(entry.log_volume - truth) <= 8 * entry.relative_error
    assert entry.jitter == 0
    domain = volume.Points([(1, 0), (1, eps), (0, 1)])
    given = volume.Given(volume.Fits(domain.inputs[:2], "01"), volume.Accuracy(domain.inputs, "001"))
    shares = wide_shares(volume.Query(FLAT, samplers.Gaussian(), domain, given))
    assert abs(shares.total.log_probability - truth) <= 8 * shares.total.relative_error
    assert shares.num_kept == 0
    assert "jitter" in shares.reason


def test_studies_print_an_upper_limit_as_one():
    """The volume is e^-17.9, as above."""
    domain = volume.Points([(1, 0), (1, 1e-7), (0, 1)])
    given = volume.Given(volume.Fits(domain.inputs[:2], "01"), volume.Accuracy(domain.inputs, "001"))
    model = models.MLP((2, 4, 4, 1), "tanh", bias=False)
    column = limit_column(volume.Query(model, samplers.Gaussian(), domain, given), jax.random.key(0), 0.95)
    assert not column.resolved
    assert -17.9 < column.log_total_high < -16
    assert total_words(column).startswith("below ")
    assert "upper limit" in column.notes[-1]
    point = CurvePoint("target", 2, LIMIT, -math.inf, -math.inf, column.log_total_high, False)
    text = LabelsCurve("target", (point,), 2, 0.95, {"name": "splitting"}, 0).summary()
    assert "< 5.9" in text
