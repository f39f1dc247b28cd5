"""Levels: unbiased for any number of particles, however they are resampled, batched or grouped; one trace for all.

False alarms: means are held to 5.5 standard errors (4e-8 each), about fifteen of them; seeds are fixed besides.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.estimators.smc.resampling import resample
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import advance, draw, fresh_state, probe
from volume.estimators.splitting.group import survey
from volume.estimators.splitting.importance import importance_function
from volume.estimators.splitting.stage import Data, Stage
from volume.estimators.splitting.windows import WindowKernel
from volume.samplers import arcs


def sector(labels, angle):
    """A plane's perceptron and two inputs whose labels leave a sector of this angle: volume angle / 2 pi."""
    rows = np.array([[1.0, 0.0], [math.cos(math.pi - angle), math.sin(math.pi - angle)]])
    signs = np.where(np.array(labels), 1, -1)
    return volume.Query(
        models.Perceptron(2, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows * signs[:, None], labels)
    )


def scheme_of(query, label, particles, moves, batch, body_points=3, head_points=4):
    found = importance_function(query.bound, label)
    around = arcs(query.model, query.prior, body_points=body_points, head_points=head_points)
    inputs = np.asarray(query.domain.inputs, np.float32)[found.rows]
    kernel = WindowKernel(around, found.onto(found.rows))
    return Scheme(kernel, particles, moves, batch, "highest"), Data(inputs)


def run(scheme, data, levels, steps, key, replicates):
    """p_hat [R], and the factors [L, R]."""
    keys = jax.random.split(key, replicates)
    state, score = draw(scheme, keys, data)
    assert bool(np.isfinite(score).all())
    factors = []
    for number, (low, high) in enumerate(zip((-np.inf, *levels), (*levels, np.inf), strict=True)):
        keys = jax.vmap(lambda key, at=number: jax.random.fold_in(key, at))(keys)
        state, info = advance(scheme, keys, state, data, Stage(low, high, *steps).cast(np.dtype(np.float32)))
        factors.append(np.asarray(info.factor, float))
    return np.prod(factors, axis=0), np.array(factors)


def num_traces() -> int:
    step: Any = advance
    return step._cache_size()


def z_score(values, truth):
    values = np.asarray(values, float)
    return (values.mean() - truth) / (values.std(ddof=1) / math.sqrt(len(values)))


@pytest.mark.parametrize(("particles", "moves"), [(2, 1), pytest.param(5, 3, marks=pytest.mark.slow)])
def test_unbiased_with_a_handful_of_particles(particles, moves):
    """Many replicates die, and the mean is the truth all the same; 2 % (5 particles) to 5 % would be seen."""
    truth = 0.07
    scheme, data = scheme_of(sector([1, 0], 2 * math.pi * truth), "fits", particles, moves, 4096)
    before = num_traces()
    p, factors = run(scheme, data, (-0.6, -0.15), (0.3, 0.25), jax.random.key(1), 30_000)
    assert num_traces() == before + 1  # levels and steps are data
    assert abs(z_score(p, truth)) < 5.5
    assert 0.01 < np.mean(p == 0) < 0.8
    assert p.std() / truth / math.sqrt(len(p)) < 0.012
    # A dead replicate stays dead only by the product: its particles go on.
    assert ((factors[0] == 0) & (factors[1] > 0)).any() or particles > 2


@pytest.mark.slow
def test_unbiased_on_a_torus():
    """Body and head turn apart on a ReLU network with ties: P(0111) on 2-3-1, by direct draws to .2 %."""
    query = volume.Query(
        models.MLP((2, 3, 1), bias=False), samplers.Gaussian(1.0), volume.BooleanCube(2), volume.TruthTable()
    )
    direct = volume.estimate(query, volume.Direct(1_000_000), seed=3)["0111"]
    error = (direct.high - direct.low) / 4  # of two standard errors on either side
    scheme, data = scheme_of(query, "0111", 3, 2, 4096, body_points=2, head_points=3)
    p, _ = run(scheme, data, (-0.8, -0.2), (0.5, 0.4), jax.random.key(2), 20_000)
    mine = p.std(ddof=1) / math.sqrt(len(p))
    assert abs(p.mean() - direct.volume) < 5.5 * math.hypot(error, mine)
    assert math.hypot(error, mine) < 0.01


@pytest.mark.slow
def test_batches_and_groups_change_nothing():
    """Up to rounding: a matrix product of another size may add in another order."""
    scheme, data = scheme_of(sector([1, 0], 0.4), "fits", 4, 2, 3)
    keys = jax.random.split(jax.random.key(7), 6)
    stages = [Stage(low, high, 0.3, 0.25) for low, high in ((-np.inf, -0.6), (-0.6, -0.15))]

    def levels(scheme, keys):
        state, _ = draw(scheme, keys, data)
        for stage in stages:
            state, info = advance(scheme, keys, state, data, stage.cast(np.dtype(np.float32)))
            yield state, np.asarray(info.factor)

    # 16 particles in batches of 5: 4 batches, of which the last repeats particles.
    whole, part = levels(scheme, keys), levels(replace(scheme, batch=5), keys[2:])
    for (all_, factors), (some, found) in zip(whole, part, strict=True):
        np.testing.assert_allclose(found, factors[2:], 1e-5)
        np.testing.assert_array_equal(some.ancestor, all_.ancestor[2:])
        for name in some.z:
            np.testing.assert_allclose(some.z[name], all_.z[name][2:], rtol=1e-5)


@pytest.mark.parametrize("independent", [False, True])
def test_parents_are_drawn_in_proportion(independent):
    weight = jnp.array([0.0, 0.3, 0.0, 1.7, 1e-3, 0.0, 0.55, 0.0])
    keys = jax.random.split(jax.random.key(3), 40_000)
    parents = jax.jit(jax.vmap(lambda key: resample(key, weight, independent=independent)))(keys)
    counts = np.stack([(np.asarray(parents) == i).sum(axis=1) for i in range(8)], axis=1)
    expected = 8 * np.asarray(weight) / float(weight.sum())
    assert (counts[:, expected == 0] == 0).all()
    for i in np.flatnonzero(expected):
        assert abs(z_score(counts[:, i], expected[i])) < 5.5
    if not independent:
        assert (np.abs(counts - expected) < 1).all()
    nobody = resample(jax.random.key(1), jnp.zeros(5), independent=independent)
    assert nobody.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_nobody_above_keeps_the_particles():
    scheme, data = scheme_of(sector([1, 0], 0.4), "fits", 4, 2, 3)
    keys = jax.random.split(jax.random.key(7), 6)
    start, _ = draw(scheme, keys, data)
    stage = Stage(-np.inf, 3.0e38, 0.3, 0.3).cast(np.dtype(np.float32))
    found, info = advance(scheme, keys, start, data, stage)
    dead = np.asarray(info.factor) == 0
    assert dead.any()
    np.testing.assert_array_equal(found.alive, ~dead)
    np.testing.assert_array_equal(np.asarray(found.z["0.weight"])[dead], np.asarray(start.z["0.weight"])[dead])
    # What a dead replicate's particles do later is no part of where it came from.
    again, _ = advance(scheme, keys, found, data, stage._replace(next_level=np.float32(-np.inf)))
    np.testing.assert_array_equal(np.asarray(again.ancestor)[dead], np.asarray(found.ancestor)[dead])


@pytest.mark.slow
def test_probes_stay_inside_and_surveys_count_classes():
    """Particles made to lie in the class stay there; the shares of a split are those of the sector: 1 to 3."""
    angle = 0.8
    query = sector([1, 1], angle)
    scheme, data = scheme_of(query, "fits", 64, 8, 512, head_points=8)
    a, b = (math.atan2(y, x) for x, y in data.inputs)
    start = max(a, b) - math.pi / 2  # the sector is start..start + angle
    turns = jax.random.uniform(jax.random.key(1), (20, 64)) * angle + start
    z = {"0.weight": jnp.stack([jnp.cos(turns), jnp.sin(turns)], axis=-1)[..., None] * 1.3}
    keys = jax.random.split(jax.random.key(2), 20)
    stage = Stage(np.inf, np.inf, 0.1, 0.2).cast(np.dtype(np.float32))
    seen = probe(scheme, keys, z, data, stage)
    assert np.isposinf(seen.score).all()
    assert seen.score.shape == (20, 64, 8)
    _, info = advance(scheme, keys, fresh_state(z), data, stage)
    assert 0.3 < float(info.moved.mean()) < 1
    cut = start + angle / 4
    extra = np.array([[-math.sin(cut), math.cos(cut)]], np.float32)
    everything = np.concatenate([data.inputs, extra])
    split = volume.Fits(extra, [1]).bind(volume.Points(everything), 1)
    classes = np.asarray(survey(scheme, split, keys, seen.z, Data(everything), np.arange(2), stage))
    assert classes.shape == (20, 64, 8)
    assert abs(z_score((classes == 1).mean(axis=(1, 2)), 0.75)) < 6.5  # Student's t of 19 degrees: 3e-6
