"""Rescaled priors: the same draws but for powers of two, whatever the law."""

import jax
import numpy as np
import pytest

from volume.models import MLP
from volume.samplers import Gaussian, Initializer, Lattice, Sphere, Uniform, log_sizes, rescaled

PARAMETERS = MLP((2, 3, 1)).parameters
POWERS = {"0.weight": 40, "0.bias": -7, "1.weight": 3, "1.bias": 40}


@pytest.mark.parametrize(
    "prior",
    [
        Gaussian(1.0, 0.5),
        Uniform(2.0, 1.0),
        Sphere(2.0),
        Sphere((3.0, 0.7), per_layer=True),
        pytest.param(Lattice((-1, 0.5)), marks=pytest.mark.slow),
        pytest.param(Initializer("lecun_normal", bias="normal"), marks=pytest.mark.slow),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_every_law_is_rescaled_exactly(prior):
    moved = rescaled(prior, PARAMETERS, POWERS)
    key = jax.random.key(3)
    plain, scaled = prior.draw(key, PARAMETERS), moved.draw(key, PARAMETERS)
    for name, power in POWERS.items():
        np.testing.assert_array_equal(np.ldexp(plain[name], power), scaled[name])
    assert moved.separable == prior.separable
    assert moved.has_transform == prior.has_transform
    assert hash(moved) == hash(rescaled(prior, PARAMETERS, POWERS))
    sizes, root = log_sizes(prior, PARAMETERS), {n: float(np.sqrt(np.mean(v**2))) for n, v in plain.items()}
    assert all(abs(sizes[name] - np.log2(root[name])) < 6 for name in POWERS)


def test_laws_that_float32_does_not_hold_are_held_when_rescaled():
    up = dict.fromkeys(POWERS, 200)
    for small, plain in ((Gaussian(2.0**-200, 2.0**-200), Gaussian(1.0, 1.0)), (Sphere(2.0**-200), Sphere(1.0))):
        key = jax.random.key(1)
        drawn = rescaled(small, PARAMETERS, up).draw(key, PARAMETERS)
        wanted = plain.draw(key, PARAMETERS)
        for name in wanted:
            np.testing.assert_array_equal(drawn[name], wanted[name])
