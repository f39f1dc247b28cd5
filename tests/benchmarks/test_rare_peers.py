"""What the peers of rare-event estimation are given: scores and their ties, costs, refusals (benchmarks/rare_peers.py).

Everything is deterministic; blackjax itself runs only where the `bench` extra is installed, with fixed seeds.
"""

import importlib.util
import math

import jax
import numpy as np
import pytest
from shared_queries import RELU

import volume
from benchmarks.rare_peers import PeerRun, margin_score, monte_carlo_evaluations, nested, num_parameters
from benchmarks.rare_truths import cases
from volume import models, samplers

CUBE = volume.BooleanCube(2)


def drawn(query, label, count, **options):
    """Scores [count] of prior draws, and the outputs [count, N, C] of the same draws."""
    parameters, sizes = query.model.parameters, [math.prod(p.shape) for p in query.model.parameters]
    z = jax.random.normal(jax.random.key(1), (count, sum(sizes)))

    def outputs(one):
        pieces = np.cumsum(sizes)[:-1]
        named = {p.name: x.reshape(p.shape) for p, x in zip(parameters, jax.numpy.split(one, pieces), strict=True)}
        return query.model.apply(query.prior.transform(named, parameters), query.domain.inputs.astype(np.float32))

    return np.asarray(jax.vmap(margin_score(query, label, **options))(z)), np.asarray(jax.vmap(outputs)(z))


@pytest.mark.parametrize("width", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ties_fall_as_the_classifier_says(width):
    """Draws whose margins reach 0 without being in the class score 0, below the class."""
    (case,) = [case for case in cases(["ties"]) if f"2-{width}-1" in case.name]
    score, outputs = drawn(case.query, "fits", 20_000)
    inside = (outputs[..., 0] > 0).all(1)
    np.testing.assert_array_equal(score == 1, inside)
    tied = ~inside & (outputs[..., 0] >= 0).all(1)
    assert tied.mean() > 0.1
    assert (score[tied] == 0).all()
    assert (score[~inside & ~tied] < 0).all()
    assert inside.mean() == pytest.approx(math.exp(case.log_volume), abs=0.02)  # six errors of .003


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [False, True])
def test_several_outputs_and_structural_zeros(normalise):
    labels = np.array([0, 2, 1, 1])
    query = volume.Query(
        models.MLP((2, 5, 3), bias=False), samplers.Gaussian(), classifier=volume.Fits(CUBE.inputs, labels)
    )
    score, outputs = drawn(query, "fits", 5000, normalise=normalise)
    inside = (outputs.argmax(-1) == labels).all(1)
    assert 0 < inside.sum() < 2000
    np.testing.assert_array_equal(score == 1, inside)  # x = 0 has output 0: class 0 for certain, and no margin
    assert (score[~inside] <= 0).all()
    score, outputs = drawn(RELU, "0111", 2000, normalise=normalise)
    np.testing.assert_array_equal(score == 1, (outputs[:, 1:, 0] > 0).all(1))


def test_refusals_name_what_to_do():
    fits = volume.Fits(CUBE.inputs, "0110")
    query = volume.Query(models.MLP((2, 3, 1), bias=False), samplers.Gaussian(), classifier=fits)
    assert num_parameters(query) == 9
    with pytest.raises(ValueError, match="take 'fits'"):
        margin_score(query, "misses")
    table = volume.Query(query.model, query.prior, CUBE)
    with pytest.raises(ValueError, match="the class is empty"):
        margin_score(table, "1111")
    with pytest.raises(ValueError, match="a class of TruthTable"):
        margin_score(volume.Query(query.model, query.prior, CUBE, volume.Ones()), "3")


def test_nested_needs_the_bench_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="bench"):
        nested(cases(["ties"])[0].query, "fits")


def test_plain_monte_carlo_costs_one_over_p():
    assert 10 ** monte_carlo_evaluations(math.log(0.01), 0.1) == pytest.approx(9900)
    assert monte_carlo_evaluations(-1000 * math.log(10), 0.1) == pytest.approx(1002)


@pytest.mark.parametrize("moves", ["slice", "elliptical"])
def test_nested_sampling_finds_a_half_space(moves):
    """1e-6 within six of the run's own errors of .26 nats and half a nat of what its moves leave; fixed seed."""
    pytest.importorskip("blackjax")
    case = next(case for case in cases(["half-space"]) if case.name == "half-space 5-d 1e-6")
    runs = nested(case.query, case.label, live=200, inner_steps=20, replicates=2, seed=3, moves=moves)
    assert all(isinstance(run, PeerRun) and run.finished for run in runs)
    assert runs[0].log_volume != runs[1].log_volume
    for run in runs:
        assert abs(run.log_volume - case.log_volume) < 6 * run.error + 0.5
        assert run.error == pytest.approx(math.sqrt(13.8 / 200), rel=0.15)
        assert 3e4 < run.evaluations < 1e6
    (short,) = nested(case.query, case.label, live=100, inner_steps=5, replicates=1, moves=moves, max_evaluations=500)
    assert not short.finished
    assert short.log_volume > case.log_volume
