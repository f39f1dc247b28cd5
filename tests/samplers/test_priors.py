"""The priors' laws against exact distribution functions.

A law is tested by Kolmogorov-Smirnov at a false-alarm rate of 1e-9, fewer than 50 times in this file: 5e-8 in all. Over
``SAMPLES`` entries it sees any distance between distribution functions above sqrt(ln(2e9) / (2 SAMPLES)) = .0073: a
standard deviation off by 3 % (a relative error e makes a distance of .242 e), or a shift of .019 standard deviations.
Keys are fixed, so a failure repeats.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from scipy import special, stats

from volume.models import MLP, Parameter, flat_names, from_linen, from_nnx
from volume.samplers import Gaussian, Initializer, Prior, Sphere, Uniform, fan_scale, from_description, standard_normal

DRAWS = 25_000
SAMPLES = 8 * DRAWS  # entries of all the parameters below but 1.bias

# Widths 3-8-2: no fan-in equals its fan-out, so a transposed or forgotten scaling shows. Layer 0 is normalised.
PARAMETERS = (
    Parameter("0.weight", (3, 8), "weight", 3, 0),
    Parameter("0.bias", (8,), "bias", 3, 0),
    Parameter("0.scale", (8,), "scale", 1, 0),
    Parameter("1.weight", (8, 2), "weight", 8, 1),
    Parameter("1.bias", (2,), "bias", 8, 1),
)
PLAIN = tuple(p for p in PARAMETERS if p.kind != "scale")
PRIORS = (
    Gaussian(1.5, 0.5, 0.1),
    Gaussian((1.0, 2.0), (0.0, 0.5)),
    Uniform(1.5, 0.5, 0.1),
    Uniform((1.0, 2.0), (0.5, 0.0)),
    Sphere(2.0),
    Sphere((1.0, 3.0), per_layer=True),
    Initializer("lecun_normal"),
)
TRANSFORMS = PRIORS[:-1]


def draws(prior, parameters=PARAMETERS, num=DRAWS, seed=0, dtype=jnp.float32):
    """``num`` draws, name -> [num, *shape]."""
    keys = jax.random.split(jax.random.key(seed), num)
    # Not under jit: the single operations are compiled once for all priors, which takes a third of the time.
    drawn = jax.vmap(lambda key: prior.draw(key, parameters, dtype))(keys)
    return {name: np.asarray(values) for name, values in drawn.items()}


def assert_law(values, law):
    sample = np.ravel(values)[:SAMPLES]
    test = stats.kstest(sample, law.cdf, method="asymp")
    assert test.pvalue > 1e-9, f"distance {test.statistic:.4f}, p {test.pvalue:.1e}"


# --- laws


def test_gaussian_has_the_stated_standard_deviations_layer_by_layer():
    drawn = draws(Gaussian((1.5, 0.7), (0.5, 2.0), 0.1))
    assert_law(drawn["0.weight"], stats.norm(scale=1.5 / math.sqrt(3)))
    assert_law(drawn["1.weight"], stats.norm(scale=0.7 / math.sqrt(8)))
    assert_law(drawn["0.bias"], stats.norm(scale=0.5))
    assert_law(drawn["0.scale"], stats.norm(loc=1, scale=0.1))
    # 50,000 entries: it sees a standard deviation off by 6 %.
    assert_law(drawn["1.bias"], stats.norm(scale=2.0))


def test_uniform_has_the_stated_bounds_layer_by_layer():
    drawn = draws(Uniform((1.5, 0.7), (0.5, 2.0), 0.1))
    for name, centre, bound in (
        ("0.weight", 0, 1.5 / math.sqrt(3)),
        ("1.weight", 0, 0.7 / math.sqrt(8)),
        ("0.bias", 0, 0.5),
        ("0.scale", 1, 0.1),
        ("1.bias", 0, 2.0),
    ):
        assert_law(drawn[name], stats.uniform(centre - bound, 2 * bound))
        assert np.abs(drawn[name] - centre).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("prior", [Gaussian(1.5, 0.5), Uniform(math.sqrt(3) * 1.5, math.sqrt(3) * 0.5)])
def test_first_two_moments(prior):
    """Mean 0, variance weight_std^2 / fan_in (Gaussian) or bound^2 / (3 fan_in): the same for these two."""
    drawn = draws(prior)
    for name, std in (("0.weight", 1.5 / math.sqrt(3)), ("1.weight", 1.5 / math.sqrt(8)), ("0.bias", 0.5)):
        n = drawn[name].size
        # False-alarm rate 2e-9 each (6 standard errors; 12 assertions). Sees a mean off by 6 / sqrt(n) < .014 standard
        # deviations, a variance off by 6 sqrt(2 / n) < 2 %.
        assert abs(drawn[name].mean()) < 6 * std / math.sqrt(n)
        assert abs(drawn[name].var() / std**2 - 1) < 6 * math.sqrt(2 / n)


def test_entries_are_uncorrelated_within_and_between_parameters():
    drawn = draws(Gaussian(1.0, 1.0, 1.0))
    flat = np.concatenate([values.reshape(len(values), -1) for values in drawn.values()], axis=1)
    correlation = np.corrcoef(flat, rowvar=False) - np.eye(flat.shape[1])
    # 58 entries, 1,653 pairs, each N(0, 1/n): 7.2 standard errors has a false-alarm rate of 1e-9; sees .046.
    assert np.abs(correlation).max() < 7.2 / math.sqrt(len(flat))


def test_sphere_has_exactly_the_radius_and_spreads_evenly():
    drawn = draws(Sphere(2.5), PLAIN)
    flat = np.concatenate([values.reshape(len(values), -1) for values in drawn.values()], axis=1)
    size = flat.shape[1]
    np.testing.assert_allclose(np.linalg.norm(flat.astype(np.float64), axis=1), 2.5, rtol=1e-6)
    # (1 + coordinate / radius) / 2 is Beta((D-1)/2, (D-1)/2) on a sphere in R^D. 25,000 entries of one coordinate,
    # false-alarm rate 1e-9 each: sees a distance of .021.
    beta = stats.beta((size - 1) / 2, (size - 1) / 2)
    for coordinate in (0, 25, size - 1):
        assert_law((1 + flat[:, coordinate] / 2.5) / 2, beta)
    # E[x_i x_j] = radius^2 / D if i == j, else 0. Standard error below 1.5 radius^2 / (D sqrt(n)); 7.5 of the largest
    # unit has a false-alarm rate below 1e-9 over 1,275 entries; sees 7 %.
    second = flat.T @ flat / len(flat) * size / 2.5**2
    assert np.abs(second - np.eye(size)).max() < 7.5 * 1.5 / math.sqrt(len(flat))


def test_sphere_per_layer_gives_each_layer_its_own_radius_and_leaves_scales_at_one():
    drawn = draws(Sphere((1.0, 3.0), per_layer=True))
    for layer, radius, size in ((0, 1.0, 32), (1, 3.0, 18)):
        flat = np.concatenate(
            [drawn[f"{layer}.{kind}"].reshape(len(drawn["0.bias"]), -1) for kind in ("weight", "bias")], axis=1
        )
        np.testing.assert_allclose(np.linalg.norm(flat.astype(np.float64), axis=1), radius, rtol=1e-6)
        for coordinate in (0, size - 1):  # a weight and a bias; 25,000 entries as above
            assert_law((1 + flat[:, coordinate] / radius) / 2, stats.beta((size - 1) / 2, (size - 1) / 2))
    assert (drawn["0.scale"] == 1).all()
    assert (Sphere(2.0).draw(jax.random.key(0), PARAMETERS)["0.scale"] == 1).all()


@pytest.mark.parametrize(
    ("name", "law"),
    [
        # JAX rescales the truncated normal so that its standard deviation is 1 / sqrt(fan_in).
        ("lecun_normal", lambda fan_in, _: stats.truncnorm(-2, 2, scale=math.sqrt(1 / fan_in) / 0.87962566103423978)),
        ("xavier_uniform", lambda i, o: stats.uniform(-math.sqrt(6 / (i + o)), 2 * math.sqrt(6 / (i + o)))),
    ],
)
def test_initializers_by_name(name, law):
    drawn = draws(Initializer(name, bias="normal"))
    assert_law(drawn["0.weight"], law(3, 8))
    assert_law(drawn["1.weight"], law(8, 2))
    assert_law(drawn["0.bias"], stats.norm(scale=0.01))
    assert (drawn["0.scale"] == 1).all()
    assert (Initializer(name).draw(jax.random.key(0), PARAMETERS)["0.bias"] == 0).all()


# --- what the estimators rely on


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_protocol_and_determinism(prior):
    assert isinstance(prior, Prior)
    prior.check(PARAMETERS)
    one, again, other = (prior.draw(jax.random.key(seed), PARAMETERS) for seed in (3, 3, 4))
    assert {name: value.shape for name, value in one.items()} == {p.name: p.shape for p in PARAMETERS}
    for p in PARAMETERS:
        np.testing.assert_array_equal(one[p.name], again[p.name])
    assert (np.asarray(one["0.weight"]) != np.asarray(other["0.weight"])).all()
    assert prior.has_transform is prior.sign_symmetric is not isinstance(prior, Initializer)


@pytest.mark.parametrize("prior", TRANSFORMS, ids=str)
def test_a_draw_is_the_transform_of_standard_normals(prior):
    key = jax.random.key(5)
    drawn, made = prior.draw(key, PARAMETERS), prior.transform(standard_normal(key, PARAMETERS), PARAMETERS)
    for name in drawn:
        np.testing.assert_array_equal(drawn[name], made[name])


@pytest.mark.parametrize("prior", TRANSFORMS, ids=str)
def test_transform_of_whole_layers_is_the_restriction_exactly_when_separable(prior):
    z = standard_normal(jax.random.key(6), PARAMETERS)
    whole = prior.transform(z, PARAMETERS)
    for layers in ((), (0,), (1,)):
        some = tuple(p for p in PARAMETERS if p.layer in layers)
        part = prior.transform({p.name: z[p.name] for p in some}, some)
        assert set(part) == {p.name for p in some}
        same = all(np.array_equal(part[name], whole[name]) for name in part)
        assert same == (prior.separable or not some)
    assert prior.separable == (prior != Sphere(2.0))


@pytest.mark.parametrize("prior", TRANSFORMS, ids=str)
def test_transform_commutes_with_sign_flips_of_weights_and_biases(prior):
    """Heads shared between bodies are reflected by random signs: a reflected draw must be as likely as the draw."""
    z = standard_normal(jax.random.key(7), PARAMETERS)
    keys = jax.random.split(jax.random.key(8), len(PARAMETERS))
    signs = {p.name: jax.random.rademacher(k, p.shape, jnp.float32) for p, k in zip(PARAMETERS, keys, strict=True)}
    theta = prior.transform(z, PARAMETERS)
    flipped = prior.transform({name: signs[name] * z[name] for name in z}, PARAMETERS)
    for p in PLAIN:
        np.testing.assert_array_equal(flipped[p.name], signs[p.name] * theta[p.name])


def test_uniform_is_the_error_function_of_the_normal():
    z = standard_normal(jax.random.key(9), PARAMETERS)
    theta = Uniform(2.0, 3.0).transform(z, PARAMETERS)
    expected = 2.0 / math.sqrt(8) * special.erf(np.asarray(z["1.weight"], np.float64) / math.sqrt(2))
    np.testing.assert_allclose(theta["1.weight"], expected, rtol=2e-6)


@pytest.mark.parametrize("prior", [Gaussian(1.5, 0.5, 0.1), Uniform(1.5, 0.5, 0.1), Sphere(2.0), PRIORS[-1]], ids=str)
def test_float64_is_float64_throughout(prior):
    with jax.enable_x64(True):
        drawn = prior.draw(jax.random.key(10), PARAMETERS, jnp.float64)
        assert {value.dtype for value in drawn.values()} == {jnp.dtype(jnp.float64)}
        weight = np.asarray(drawn["0.weight"])
        z = np.asarray(standard_normal(jax.random.key(10), PARAMETERS, jnp.float64)["0.weight"])
        assert (weight != weight.astype(np.float32)).any()
        assert (z != z.astype(np.float32)).any()
        if isinstance(prior, Sphere):
            square = sum(float(jnp.sum(drawn[p.name] ** 2)) for p in PLAIN)
            assert math.isclose(square, 4.0, rel_tol=1e-14)
        if isinstance(prior, Uniform):
            np.testing.assert_allclose(weight, 1.5 / math.sqrt(3) * special.erf(z / math.sqrt(2)), rtol=1e-14)
    assert prior.draw(jax.random.key(10), PARAMETERS)["0.weight"].dtype == jnp.float32


def test_equal_priors_share_one_trace():
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def draw(prior, key):
        traces.append(prior)
        return prior.draw(key, PARAMETERS)

    twos: list[Any] = [2, 2.0, np.float32(2), np.array(2), jnp.float32(2)]
    for seed, two in enumerate(twos):
        draw(Gaussian(two), jax.random.key(seed))
    radii: list[Any] = [[1, 2], (1.0, 2.0), np.array([1, 2])]
    for seed, radius in enumerate(radii):
        draw(Sphere(radius, per_layer=True), jax.random.key(seed))
    assert traces == [Gaussian(2.0), Sphere((1.0, 2.0), per_layer=True)]


def test_settings_become_plain_floats():
    """Or a record of them would not be JSON, and a NumPy scalar would decide the dtype of the draws."""
    values: list[Any] = [2, np.float32(2), np.array(2), jnp.float32(2), np.array([1, 2]), [1, np.int64(2)]]
    for value in values:
        kept = Gaussian(value).weight_std
        assert {type(x) for x in (kept if isinstance(kept, tuple) else (kept,))} == {float}


def test_equality_and_hash_are_by_value():
    assert len({Gaussian(1), Gaussian(1.0, 0), Gaussian([1, 1]), Gaussian((1.0, 1.0)), Gaussian(2)}) == 3
    assert len({Sphere(1.0), Sphere(1.0, per_layer=True), Uniform(1.0), Uniform(1.0, 0.0, 0.0)}) == 3
    assert Gaussian(1.0, 1.0) != Uniform(1.0, 1.0)
    assert len({Initializer("lecun_normal"), Initializer("lecun_normal", bias="zeros"), Initializer("he_normal")}) == 2


def test_standard_normal_and_fan_scale():
    z = standard_normal(jax.random.key(0), PARAMETERS)
    flat = np.concatenate([np.ravel(z[p.name]) for p in PARAMETERS])
    np.testing.assert_array_equal(flat, jax.random.normal(jax.random.key(0), flat.shape))
    assert {name: array.shape for name, array in z.items()} == {p.name: p.shape for p in PARAMETERS}
    assert standard_normal(jax.random.key(0), ()) == {}
    assert fan_scale(3.0, 9) == 1.0


# --- descriptions


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_description_survives_json(prior):
    again = from_description(json.loads(json.dumps(prior.describe())))
    assert again == prior
    assert hash(again) == hash(prior)


def test_description_says_what_it_says():
    assert Gaussian((1, 2), 0.5).describe() == {
        "name": "gaussian",
        "weight_std": [1.0, 2.0],
        "bias_std": 0.5,
        "scale_std": 0.0,
    }
    assert Sphere(2).describe() == {"name": "sphere", "radius": 2.0, "per_layer": False}


def test_descriptions_that_are_none():
    with pytest.raises(ValueError, match=r"Unknown prior 'gausian'.*Did you mean 'gaussian'"):
        from_description({"name": "gausian"})
    with pytest.raises(ValueError, match=r"setting of the gaussian prior 'weight_sdt'.*Did you mean 'weight_std'"):
        from_description({"name": "gaussian", "weight_sdt": 1.0})
    with pytest.raises(ValueError, match="cannot be made from its record"):
        from_description(json.loads(json.dumps(Initializer(lambda key: {"w": key}).describe())))


# --- bad input


@pytest.mark.parametrize(
    ("prior", "settings", "error", "sentence"),
    [
        (Gaussian, [True], TypeError, "weight_std is True, a bool"),
        (Gaussian, ["1"], TypeError, "weight_std is '1', a str"),
        (Gaussian, [(1.0, None)], TypeError, r"weight_std\[1\] is None"),
        (Gaussian, [np.ones((2, 2))], TypeError, "one number"),
        (Gaussian, [1j], TypeError, "one number"),
        (Gaussian, [np.array(True)], TypeError, "bool"),
        (Gaussian, [-1], ValueError, r"weight_std is -1\.0; it must be finite and >= 0"),
        (Gaussian, [1, math.nan], ValueError, "bias_std is nan"),
        (Gaussian, [1, 0, math.inf], ValueError, "scale_std is inf"),
        (Gaussian, [(1, -2)], ValueError, r"weight_std\[1\] is -2\.0"),
        (Gaussian, [()], ValueError, "empty"),
        (Gaussian, [0], ValueError, "weight_std and bias_std are both 0"),
        (Gaussian, [(0, 0), (0, 0), 1.0], ValueError, "weight_std and bias_std are both 0"),
        (Uniform, [0, 0], ValueError, "weight_bound and bias_bound are both 0"),
        (Uniform, [-0.5], ValueError, r"weight_bound is -0\.5"),
        (Sphere, [0], ValueError, r"radius is 0\.0; it must be finite and > 0"),
        (Sphere, [(1, 0), True], ValueError, r"radius\[1\] is 0\.0"),
        (Sphere, [(1, 2)], ValueError, "radius has 2 values but all layers share one sphere"),
        (Sphere, [1, 2], TypeError, "per_layer is 2"),
        (Initializer, ["lecun_norml"], ValueError, "Did you mean 'lecun_normal'"),
        (Initializer, ["he_normal", None, "zeroes"], ValueError, "Did you mean 'zeros'"),
        (Initializer, [3], TypeError, "Initializer got a int"),
        (Initializer, [nnx.Linear(2, 3, rngs=nnx.Rngs(0))], TypeError, "factory of an nnx module"),
        (Initializer, [MLP((3, 2, 1))], TypeError, "Initializer got a MLP"),
        (Initializer, [linen.Dense, (3,)], TypeError, "give a name from"),
        (Initializer, [linen.Dense(3)], ValueError, "give input_shape"),
        (Initializer, [lambda key: {}, None, "ones"], ValueError, "bias goes with an initializer given by name"),
    ],
)
def test_bad_settings(prior, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        prior(*settings)


@pytest.mark.parametrize(
    ("prior", "parameters", "sentence"),
    [
        (Gaussian((1, 2, 3)), PARAMETERS, "weight_std has 3 values but the model has 2 layers"),
        (Gaussian(1, (1,)), PARAMETERS, "bias_std has 1 value but the model has 2 layers"),
        (Uniform(1, 1, (0, 0, 0)), PARAMETERS, "scale_bound has 3 values but the model has 2 layers"),
        (Sphere((1, 2, 3), True), PARAMETERS, "radius has 3 values but the model has 2 layers"),
        (Sphere((1, 2), True), PARAMETERS[:3], "radius has 2 values but the model has 1 layer;"),
        (Gaussian(0, 1), PARAMETERS[::3], "every draw is the same network"),  # weights only
        (Gaussian(), (), "every draw is the same network"),
        (Sphere(), PARAMETERS[2:3], "weights and biases"),
        (Initializer("lecun_normal"), (Parameter("w", (7,), "weight", 7, 0),), "cannot initialise w of shape"),
    ],
)
def test_priors_that_do_not_fit_the_model(prior, parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        prior.check(parameters)


# --- a module's own initialiser


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Dense(4, bias_init=linen.initializers.normal(2.0))(x))
        return linen.Dense(1, name="out")(x)


class NnxNet(nnx.Module):
    def __init__(self, width, *, rngs):
        self.hidden = nnx.Linear(3, width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)  # its running statistics are no parameters
        self.out = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.hidden(x))))


def parameters_like(tree):
    return tuple(Parameter(name, tuple(v.shape), "weight", 1, 0) for name, v in flat_names(tree).items())


def test_initializer_of_a_linen_module_is_its_init():
    key = jax.random.key(2)
    expected = flat_names(LinenNet().init(key, jnp.zeros((1, 3)))["params"])
    prior, parameters = Initializer(LinenNet(), input_shape=(3,)), parameters_like(expected)
    prior.check(parameters)
    assert prior == Initializer(LinenNet(), input_shape=(3,))
    drawn = prior.draw(key, parameters)
    assert set(drawn) == {"Dense_0.kernel", "Dense_0.bias", "out.kernel", "out.bias"}
    for name, value in expected.items():
        np.testing.assert_array_equal(drawn[name], value)
    biases = draws(prior, parameters, num=20_000)["Dense_0.bias"]
    assert_law(biases, stats.norm(scale=2.0))  # 80,000 entries: sees a standard deviation off by 5 %


@pytest.mark.parametrize("factory", [lambda rngs: NnxNet(4, rngs=rngs), functools.partial(NnxNet, 4)])
def test_initializer_of_an_nnx_factory_is_its_constructor(factory):
    key = jax.random.key(2)
    expected = flat_names(nnx.to_pure_dict(nnx.state(NnxNet(4, rngs=nnx.Rngs(key)), nnx.Param)))
    prior, parameters = Initializer(factory), parameters_like(expected)
    prior.check(parameters)
    drawn = prior.draw(key, parameters)
    assert set(drawn) == {f"{a}.{b}" for a in ("hidden", "out") for b in ("kernel", "bias")} | {
        "norm.scale",
        "norm.bias",
    }
    for name, value in expected.items():
        np.testing.assert_array_equal(drawn[name], value)
    kernels = draws(prior, parameters, num=1000)["hidden.kernel"]
    assert len(np.unique(kernels)) > 0.99 * kernels.size  # a new network for every key, under jit and vmap


def test_initializer_of_a_function_of_a_key():
    nested = Initializer(lambda key: {"a": {0: jax.random.normal(key, (2, 3))}})
    flat = Initializer(lambda key: {"a.0": jax.random.normal(key, (2, 3))})
    parameters = (Parameter("a.0", (2, 3), "weight", 2, 0),)
    for prior in (nested, flat):
        prior.check(parameters)
        drawn = prior.draw(jax.random.key(1), parameters)
        np.testing.assert_array_equal(drawn["a.0"], jax.random.normal(jax.random.key(1), (2, 3)))
    with pytest.raises(TypeError, match="is no transform of normals"):
        nested.transform(standard_normal(jax.random.key(0), parameters), parameters)
    assert nested != flat


def test_initializers_name_parameters_as_the_models_do():
    Initializer(LinenNet(), input_shape=3).check(from_linen(LinenNet(), 3).parameters)
    module = NnxNet(4, rngs=nnx.Rngs(0))
    module.eval()
    Initializer(functools.partial(NnxNet, 4)).check(from_nnx(module, 3).parameters)
    Initializer("he_normal").check(MLP((7, 5, 1)).parameters)


@pytest.mark.slow
def test_initializer_of_another_model():
    prior = Initializer(LinenNet(), input_shape=(3,))
    good = parameters_like(LinenNet().init(jax.random.key(0), jnp.zeros((1, 3)))["params"])
    with pytest.raises(ValueError, match=r"Unknown parameter 'Dense_0.kernl'.*Did you mean 'Dense_0.kernel'"):
        prior.check((Parameter("Dense_0.kernl", (3, 4), "weight", 3, 0), *good))
    with pytest.raises(ValueError, match=r"gives Dense_0.kernel the shape \(5, 4\), the model has \(3, 4\)"):
        Initializer(LinenNet(), input_shape=(5,)).check(good)
    with pytest.raises(ValueError, match="which the model does not have"):
        prior.check(good[1:])
    with pytest.raises(TypeError, match="returned a list"):
        Initializer(lambda key: [key]).check(good)
    with pytest.raises(ValueError, match=r"Two parameters have the name 'a\.0'"):
        flat_names({"a": {0: 1}, "a.0": 2})
