"""Which classes have equal volumes: maps that are found, and claims that are refused with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.queries.pooling import MAX_TIES, Pooled, pooling

BIASED = samplers.Gaussian(weight_std=1.0, bias_std=0.1)
PLAIN = samplers.Gaussian(weight_std=1.0)
SIGNED = (-1, 1)


def ask(model: Any, prior: Any = PLAIN, coding: tuple[float, float] = (0, 1), symmetry: Any = "pooled", **more: Any):
    domain = more.pop("domain", None) or volume.BooleanCube(model.input_shape[0], coding=coding)
    return volume.Query(model, prior, domain, symmetry=symmetry, **more)


def found(*args: Any, **options: Any):
    query = ask(*args, **options)
    assert isinstance(query.weighting, Pooled)
    return pooling(query, query.weighting)


def mlp(*widths: int, activation: str = "relu", bias: bool = False) -> models.MLP:
    return models.MLP(widths, activation=activation, bias=bias)


# --- what holds ---

WIDE = 2 * 2.0**-40


@pytest.mark.parametrize(
    ("model", "prior", "coding", "order", "fixed", "ties"),
    [
        (mlp(7, 40, 40, 1), PLAIN, (0, 1), 10080, (0,), 127 * WIDE),
        pytest.param(mlp(7, 40, 40, 1), PLAIN, SIGNED, 1290240, (), 128 * WIDE, marks=pytest.mark.slow),
        pytest.param(mlp(7, 40, 40, 1, bias=True), BIASED, (0, 1), 10080, (), 0.0, marks=pytest.mark.slow),
        # Hidden biases alone: x = 0 no longer ties always, and the output may still tie where all features are 0.
        (mlp(3, 40, 40, 1, bias=True), samplers.Gaussian(1.0, (0.1, 0.1, 0.0)), (0, 1), 12, (), 8 * WIDE),
        (mlp(2, 37, 1), PLAIN, (0, 1), 4, (0,), 3 * 2.0**-37),
        (mlp(2, 2, 1, activation="tanh"), PLAIN, (0, 1), 4, (0,), 0.0),
        pytest.param(mlp(2, 2, 1, activation="linear"), PLAIN, (-2, 2), 16, (), 0.0, marks=pytest.mark.slow),
        (mlp(2, 2, 1, activation="sign"), PLAIN, (0, 1), 4, (), 0.0),
        (mlp(2, 3, 1, bias=True), samplers.Uniform(1.0, 0.5), SIGNED, 16, (), 0.0),
        pytest.param(models.Perceptron(3), samplers.Sphere(), (0, 1), 12, (), 0.0, marks=pytest.mark.slow),
        (models.Perceptron(3, bias=False), PLAIN, (0, 1), 12, (0,), 0.0),
        pytest.param(models.Perceptron(3), BIASED, (-1, 2), 12, (), 0.0, marks=pytest.mark.slow),
        (models.Perceptron(2), samplers.Initializer("lecun_normal", bias="normal"), SIGNED, 16, (), 0.0),
    ],
)
def test_maps_that_hold(model, prior, coding, order, fixed, ties):
    pooled = found(model, prior, coding)
    assert pooled.group.order == order
    assert pooled.group.fixed == fixed
    assert pooled.ties == pytest.approx(ties, rel=1e-12)


def test_forms_without_the_head():
    assert found(mlp(2, 3, 1), symmetry="pooled:inputs").group.order == 2
    assert found(mlp(2, 3, 1), coding=SIGNED, symmetry="pooled:inputs").group.order == 8
    assert found(mlp(2, 3, 1), coding=SIGNED, symmetry=Pooled(outputs=False, negations=False)).group.order == 2
    assert found(mlp(7, 40, 40, 1), symmetry=Pooled(inputs=False)).group.order == 2


def test_points_that_the_maps_send_to_each_other():
    plane = volume.Points([[0, 1], [1, 0], [0, 0], [2, 2]])
    assert found(mlp(2, 40, 1), domain=plane).group.describe() == {
        "permutations": True,
        "negations": False,
        "outputs": True,
        "fixed": [2],
        "order": 4,
    }
    cross = volume.Points(np.concatenate([np.eye(3), -np.eye(3)]))
    assert found(mlp(3, 40, 1), domain=cross).group.order == 6 * 8 * 2
    with pytest.raises(ValueError, match="cannot be negated one by one"):
        ask(mlp(2, 40, 1), domain=plane, symmetry=Pooled(negations=True))


def test_conventions_say_what_was_pooled():
    stated = ask(mlp(7, 40, 40, 1)).conventions(dtype="float32", precision="highest")
    assert stated["symmetry"] == "pooled"
    assert stated["symmetry_group"]["order"] == 10080
    assert stated["symmetry_group"]["fixed"] == [0]
    assert 2e-10 < stated["ties_at_most"] < MAX_TIES
    assert "permuting inputs and negating the head" in stated["symmetry_note"]


# --- a user's own model ---


def two_layers(params, x):
    return jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def skipping(params, x):
    return two_layers(params, x) + x @ params["skip"]


SHAPES = {"w1": (3, 5), "b1": (5,), "w2": (5, 1), "b2": (1,)}


def own(function=two_layers, **more: Any) -> Any:
    shapes = SHAPES | ({"skip": (3, 1)} if function is skipping else {})
    return models.from_function(function, shapes, input_shape=3, **more)


def features(params, x):
    return jnp.tanh(x @ params["w1"] + params["b1"])


def test_a_declared_first_layer():
    model = own(features=features, head=("w2", "b2"))
    pooled = found(model, BIASED, SIGNED, symmetry=Pooled(inputs=(("w1", 0),)))
    assert pooled.group.order == 6 * 8 * 2
    skip = own(skipping)
    assert found(skip, BIASED, symmetry=Pooled((("w1", 0), ("skip", 0)), outputs=False)).group.order == 6


@pytest.mark.parametrize(
    ("model", "axes", "problem"),
    [
        (own(), (("w1", 1),), "5 entries"),
        (own(), (("w3", 0),), "a parameter that is not there"),
        (own(skipping), (("w1", 0),), "not the only parameters .* that meet the inputs"),
        (own(), (("w1", 0), ("skip", 0)), "not there"),
        (own(skipping), (("skip", 0),), "not the only parameters"),
    ],
)
def test_a_wrong_declaration_is_refused(model, axes, problem):
    with pytest.raises(ValueError, match=problem):
        ask(model, BIASED, symmetry=Pooled(axes, outputs=False))


# --- what does not hold ---


@dataclass(frozen=True)
class Uneven(samplers.Gaussian):
    """The first input's weights are larger."""

    def transform(self, z, parameters):
        theta = dict(super().transform(z, parameters))
        first = theta["0.weight"]
        return theta | {"0.weight": first * jnp.where(jnp.arange(len(first)) == 0, 2.0, 1.0)[:, None]}


@dataclass(frozen=True)
class Lopsided(samplers.Gaussian):
    """Exchangeable weights whose law is not symmetric about 0."""

    unit: ClassVar = staticmethod(lambda z: z + 0.1)


@dataclass(frozen=True)
class Coarse(samplers.Gaussian):
    """Weights of three levels, told by a prior that does not say that it is finite."""

    unit: ClassVar = staticmethod(lambda z: jnp.round(z))


@pytest.mark.parametrize(
    ("model", "prior", "problem"),
    [
        (mlp(2, 3, 1), PLAIN, "tie at one of 3 inputs with a probability of up to 0.38"),
        (mlp(3, 40, 3, 1), PLAIN, "up to 0.88"),  # one narrow layer is enough
        # gelu underflows to 0: with weights of size 30, P(0000) = .16 and P(1111) = .07.
        (mlp(2, 2, 1, activation="gelu"), samplers.Gaussian(30.0), "2-2-1 gelu networks tie"),
        (mlp(2, 30, 1), PLAIN, "up to 2.8e-09, more than 1e-09"),
        (mlp(2, 40, 1, bias=True), samplers.Lattice.binary(), "is finite"),
        (mlp(2, 40, 1), Lopsided(), "is another law of '1.weight'"),
        (mlp(2, 40, 1), Coarse(), "continuous law"),
        (mlp(2, 40, 1), samplers.Initializer("uniform"), "not symmetric about 0"),
        (mlp(2, 40, 1, bias=True), samplers.Gaussian((0.0, 1.0), (0.1, 0.0)), "a hidden layer's weights"),
    ],
)
def test_a_head_that_must_not_be_negated(model, prior, problem):
    """Refused with the reason and with the form that asks without it, which is then answered."""
    with pytest.raises(ValueError, match=problem) as refused:
        ask(model, prior)
    assert "volume.Pooled(outputs=False)" in str(refused.value)
    assert "pooled:inputs" in str(refused.value)
    assert found(model, prior, symmetry="pooled:inputs").group.order == math.factorial(model.input_shape[0])


def test_priors_that_tell_inputs_apart():
    with pytest.raises(ValueError, match=r"permutes the inputs.* is another law of '0.weight'"):
        ask(mlp(3, 40, 1), Uneven())
    with pytest.raises(ValueError, match="draws from a key"):
        ask(mlp(3, 40, 1), samplers.Initializer(lambda key: PLAIN.draw(key, mlp(3, 40, 1).parameters)))


def test_negated_inputs_need_coding_and_law():
    with pytest.raises(ValueError, match=r"coding \(0.0, 1.0\), which is not symmetric"):
        ask(mlp(3, 40, 1), symmetry=Pooled(negations=True))
    with pytest.raises(ValueError, match=r"another law of '0.weight'"):
        ask(mlp(3, 40, 1), Lopsided(), SIGNED, symmetry=Pooled(negations=True, outputs=False))
    assert found(mlp(3, 40, 1), Lopsided(), SIGNED, symmetry="pooled:inputs").group.order == 6


IMAGES = models.from_function(lambda params, x: x.reshape(-1, 4) @ params["w"], {"w": (4, 1)}, input_shape=(2, 2))


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"model": models.MLP((3, 4, 2))}, "one output; this model has 2"),
        ({"model": mlp(3, 40, 1), "classifier": volume.Ones()}, "report.unpooled.group_by"),
        ({"model": mlp(2, 40, 1), "domain": volume.Points([[0, 1], [1, 1]])}, "not closed under these maps"),
        ({"model": mlp(7, 40, 1), "domain": volume.Points(np.eye(7))}, "10,080 maps of points of 7 numbers"),
        ({"model": IMAGES, "domain": volume.Points(np.zeros((1, 2, 2)))}, r"have the shape \(2, 2\)"),
        ({"model": own(), "prior": BIASED}, r"Pooled\(inputs=\(\('w1', 0\),\)\)"),
        ({"model": own(), "prior": BIASED, "symmetry": Pooled((("w1", 0),))}, "no linear last layer"),
    ],
)
def test_queries_that_cannot_be_pooled(query, problem):
    with pytest.raises(ValueError, match=problem):
        ask(**query)


def test_a_head_that_is_no_head():
    """Features that meet the head's parameters in another way: negating them does not negate the output."""

    def squared(params, x):
        return jnp.square(features(params, x) @ params["w2"] + params["b2"])

    model: Any = own(features=features, head=("w2", "b2"))
    object.__setattr__(model, "function", squared)
    with pytest.raises(ValueError, match="does not negate the outputs"):
        ask(model, BIASED, symmetry=Pooled((("w1", 0),)))


def test_settings():
    assert Pooled.from_word("pooled") == Pooled() == Pooled(True, "auto", True)
    assert Pooled.from_word("pooled:inputs") == Pooled(outputs=False)
    assert hash(Pooled([["w1", 0]])) == hash(Pooled((("w1", 0),)))  # type: ignore[arg-type]  # lists do too
    with pytest.raises(ValueError, match="Did you mean 'pooled:inputs'"):
        ask(mlp(2, 40, 1), symmetry="pooled:input")
    for wrong in ({"inputs": "w1"}, {"inputs": ("w1", 0)}, {"outputs": 1}, {"negations": "yes"}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            Pooled(**wrong)  # type: ignore[arg-type]  # on purpose
    for nothing in ({"inputs": False, "outputs": False}, {"inputs": (), "negations": True}):
        with pytest.raises(ValueError, match="only the negated head"):
            Pooled(**nothing)  # type: ignore[arg-type]  # on purpose
