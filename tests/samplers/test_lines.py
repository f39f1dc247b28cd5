"""Moves along lines: normals on intervals to their digits, directions that suit the rows, and splitting that is
unbiased and reaches wide limits that windows do not.

False alarms: means are held to 5.5 standard errors (4e-8 each, about ten of them); seeds are fixed besides.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import volume
from benchmarks.rare_logs import log_three
from benchmarks.rare_truths import cases
from volume import models, samplers
from volume.estimators.smc.conditional import conditional_runs
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import advance, draw
from volume.estimators.splitting.hit_and_run import LineKernel, line_kernel
from volume.estimators.splitting.importance import importance_function
from volume.estimators.splitting.stage import Data, Stage
from volume.reports.entries import ReplicatedVolume
from volume.samplers import directions, lines, log_mass, quantile, refreshed

PRIOR = samplers.Gaussian(weight_std=(1.5,), bias_std=0.7)


# --- a normal on an interval ---

LOG_MASS, QUANTILE = jax.jit(log_mass), jax.jit(quantile)


@pytest.mark.parametrize(("x64", "digits"), [(False, 2e-4), (True, 1e-6)])
def test_log_mass_adds_up_anywhere(x64, digits):
    """mass(a, b) + mass(b, c) = mass(a, c) for narrow and wide intervals, near 0 and 60 standard deviations out, and
    the mass of a half-line is the normal's tail."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(x64):
        low = rng.normal(size=500) * 10 ** rng.uniform(-1, 1.7, 500)
        low = jnp.asarray(low, float if x64 else np.float32)
        # Widths that the dtype can tell from nothing at all.
        width = jnp.asarray(10 ** rng.uniform(-6 if x64 else -1, 1.5, (2, 500)))
        middle = (low + width[0]).astype(low.dtype)
        high = (middle + width[1]).astype(low.dtype)
        parts = np.logaddexp(
            np.asarray(LOG_MASS(low, middle), float), np.asarray(LOG_MASS(middle, jnp.asarray(high)), float)
        )
        whole = np.asarray(LOG_MASS(low, high), float)
        assert np.max(np.abs(parts - whole) / (1 + np.abs(whole) * (0 if x64 else 1e-2))) < digits
        tail = np.asarray(LOG_MASS(low, jnp.full_like(low, jnp.inf)), float)
        assert np.allclose(tail, special.log_ndtr(-np.asarray(low, float)), rtol=1e-5, atol=1e-6)
        assert float(LOG_MASS(jnp.asarray(1.0), jnp.asarray(1.0))) == -math.inf
        assert float(LOG_MASS(jnp.asarray(2.0), jnp.asarray(1.0))) == -math.inf
        # A line that leaves a margin as it is crosses its threshold as far out as the dtype goes.
        assert float(LOG_MASS(jnp.asarray(9e36, low.dtype), jnp.asarray(math.inf, low.dtype))) < -1e70
        assert float(LOG_MASS(jnp.asarray(-math.inf, low.dtype), jnp.asarray(-9e36, low.dtype))) < -1e70


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 3.0), (-math.inf, -2.0), (5.0, math.inf), (37.0, 40.0), (-12.0, -11.9)]
)
def test_quantile_inverts_the_mass(low, high):
    with jax.enable_x64(True):
        share = np.linspace(0.02, 0.98, 25)
        point = np.asarray(QUANTILE(jnp.asarray(share), jnp.asarray(low), jnp.asarray(high)))
        below = np.exp(
            np.asarray(LOG_MASS(jnp.full(25, low), jnp.asarray(point)) - LOG_MASS(jnp.asarray(low), jnp.asarray(high)))
        )
    assert np.all(np.diff(point) > 0)
    assert np.max(np.abs(below - share)) < 2e-5


def test_quantile_of_narrow_intervals_follows_the_slope():
    """Far out even a narrow interval leans: at -30, over .0003, by the factor exp(-.009)."""
    with jax.enable_x64(True):
        low, high = jnp.asarray(-30.0), jnp.asarray(-29.9997)
        point = float(QUANTILE(jnp.asarray(0.5), low, high))
    slope = 29.99985 * 0.0003
    assert (point + 30) / 0.0003 == pytest.approx(math.log((1 + math.exp(slope)) / 2) / slope, abs=1e-5)


# --- which networks, and which directions ---


def test_lines_are_for_gaussian_heads_of_one_output():
    assert lines(models.Perceptron(3), PRIOR) is not None
    for model, prior in (
        (models.MLP((3, 2, 1)), samplers.Gaussian(1.0)),
        (models.MLP((3, 2)), PRIOR),
        (models.Perceptron(3), samplers.Uniform(1.0, 1.0)),
        (models.Perceptron(3), samplers.Sphere(1.0)),
    ):
        assert lines(model, prior) is None


def test_rows_are_the_network():
    model = models.Perceptron(3)
    inputs = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)), np.float32)
    found = lines(model, PRIOR)
    assert found is not None
    z = samplers.standard_normal(jax.random.key(0), model.parameters)
    outputs = model.apply(PRIOR.transform(z, model.parameters), inputs)[:, 0]
    assert np.allclose(found.rows(inputs) @ found.flat(z), outputs, atol=1e-5)
    back = found.params(found.flat(z))
    assert all(np.array_equal(back[name], z[name]) for name in z)


def test_directions_change_one_output_or_span_the_rows():
    rows = np.random.default_rng(2).normal(size=(4, 7)).astype(np.float32)
    found = directions(jnp.asarray(rows))
    assert found.vectors.shape == (8, 7)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    own = np.asarray(found.effects[:4])
    assert np.allclose(own - np.diag(np.diagonal(own)), 0, atol=1e-5)
    assert np.all(np.diagonal(own) > 0.1)
    assert np.allclose(rows @ found.space.T @ found.space, rows, atol=1e-5)
    z = jnp.arange(7.0)
    fresh = refreshed(jax.random.key(0), z, found.space)
    assert np.allclose(rows @ fresh, rows @ z, atol=1e-4)
    assert np.linalg.norm(fresh - z) > 1  # what no row reads is new
    assert np.array_equal(refreshed(jax.random.key(0), z, jnp.eye(7)), z)


# --- splitting ---


def three(signs):
    """Three rows in five dimensions with the correlations of R, their labels, and log P that all are right."""
    r = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1.0]])
    spun = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    rows = (np.linalg.cholesky(r) @ spun[:3] * [[1.0], [3.0], [0.2]]).astype(np.float32)
    labels = np.asarray(signs)
    flips = np.where(labels == 1, 1, -1)
    return rows, labels, log_three(r * np.outer(flips, flips))


def scheme_of(query, particles, moves):
    found = importance_function(query.bound, "fits")
    inputs = np.asarray(query.domain.inputs, np.float32)[found.rows]
    kernel = line_kernel(query.model, query.prior, found.onto(found.rows))
    assert kernel is not None
    return Scheme(kernel, particles, moves, 4096, "highest"), Data(inputs)


def ordinary(scheme, data, levels, replicates, key):
    """p_hat [R] of runs with these levels."""
    keys = jax.random.split(key, replicates)
    state, _ = draw(scheme, keys, data)
    p = np.ones(replicates)
    for number, (low, high) in enumerate(zip((-np.inf, *levels), (*levels, np.inf), strict=True)):
        keys = jax.vmap(lambda key, at=number: jax.random.fold_in(key, at))(keys)
        state, info = advance(scheme, keys, state, data, Stage(low, high, 1.0, 1.0).cast(np.dtype(np.float32)))
        p = p * np.asarray(info.factor, float)
    return p


@pytest.mark.parametrize("signs", [(1, 1, 0), pytest.param((0, 1, 1), marks=pytest.mark.slow)])
def test_unbiased_with_a_handful_of_particles(signs):
    """2 particles, 1 move, 20,000 replicates: an error of 2 % would be seen."""
    rows, labels, truth = three(signs)
    query = volume.Query(models.Perceptron(5, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows, labels))
    scheme, data = scheme_of(query, 2, 1)
    p = ordinary(scheme, data, (-0.5, -0.1), 20_000, jax.random.key(3))
    error = p.std(ddof=1) / math.sqrt(len(p))
    assert error < 0.01 * math.exp(truth)
    assert abs(p.mean() - math.exp(truth)) < 5.5 * error


@pytest.mark.slow
def test_what_no_label_reads_is_drawn_anew():
    """Given two labels in five dimensions, the third label's share: correlations of R, by the closed orthants."""
    rows, labels, log_all = three((1, 1, 0))
    two = math.log(0.25 + math.asin(0.6) / (2 * math.pi))  # both labels 1, correlation .6
    query = volume.Query(
        models.Perceptron(5, bias=False),
        samplers.Gaussian(1.0),
        classifier=volume.Given(volume.Fits(rows[:2], labels[:2]), volume.Fits(rows[2:], labels[2:])),
    )
    method = volume.Splitting(particles=8, moves=2, replicates=1000)
    entry = volume.estimate(query, method, seed=4)["fits"]
    assert isinstance(entry, ReplicatedVolume)
    share = entry.share
    assert share is not None
    error = (share.high - share.low) / 4
    assert error < 0.02
    assert abs(share.share - math.exp(log_all - two)) < 5.5 * error


@pytest.mark.slow
def test_candidates_are_draws_from_above():
    """200,000 particles after one move each, against plain rejection: means of coordinates and squares to 1 %."""
    rows, labels, _ = three((0, 1, 1))
    query = volume.Query(models.Perceptron(5, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows, labels))
    scheme, data = scheme_of(query, 200_000, 1)
    state, _ = draw(scheme, jax.random.key(0)[None], data)
    stage = Stage(-np.inf, -0.02, 1.0, 1.0).cast(np.dtype(np.float32))
    found = next(iter(advance(scheme, jax.random.key(1)[None], state, data, stage)[0].z.values()))
    normals = np.random.default_rng(7).standard_normal((2_000_000, 5)).astype(np.float32)
    margins = normals @ rows.T / math.sqrt(5) * np.where(labels == 1, 1, -1)
    truth = normals[margins.min(axis=1) >= -0.02]
    found = np.asarray(found, float).reshape(-1, 5)
    for power in (1, 2):
        apart = (found**power).mean(axis=0) - (truth.astype(float) ** power).mean(axis=0)
        # Resampled particles share parents: their variance is up to three times that of independent draws.
        error = np.sqrt(3 * (found**power).var(axis=0) / len(found) + (truth**power).var(axis=0) / len(truth))
        assert np.all(error < 0.01)
        assert np.all(np.abs(apart) < 5.5 * error), apart / error


def test_a_move_draws_what_no_row_reads_anew():
    rows, labels, _ = three((1, 1, 0))
    query = volume.Query(models.Perceptron(5, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows, labels))
    scheme, data = scheme_of(query, 2, 1)
    space = scheme.kernel.prepare(Data(jnp.asarray(data.inputs)))
    z = samplers.standard_normal(jax.random.key(0), query.model.parameters)
    stage = Stage(-np.inf, np.inf, 1.0, 1.0).cast(np.dtype(np.float32))
    moved = scheme.kernel.move(jax.random.key(1), z, space, stage)
    unread = np.eye(5) - np.asarray(space.directions.space.T @ space.directions.space)
    before, after = (unread @ np.asarray(scheme.kernel.lines.flat(state)) for state in (z, moved.z))
    assert np.linalg.norm(before) > 0.1
    assert np.linalg.norm(before - after) > 0.1


@pytest.mark.slow
def test_inverse_estimates_of_reverse_runs_average_the_inverse_volume():
    """E[p / p_hat] is P(an ordinary run survives). 600 draws from the class by rejection, 8 runs each: a bias of 6 %
    would be seen; one step too many on the way back gives more."""
    rows, labels, truth = three((0, 1, 1))
    query = volume.Query(models.Perceptron(5, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows, labels))
    scheme, data = scheme_of(query, 4, 1)
    stages = [Stage(low, high, 1.0, 1.0) for low, high in [(-math.inf, -0.3), (-0.3, math.inf)]]
    survived = ordinary(scheme, data, [stage.level for stage in stages[1:]], 20_000, jax.random.key(9)) > 0
    z = np.random.default_rng(6).standard_normal((100_000, 5)).astype(np.float32)
    inside = ((z @ rows.T > 0) == (labels == 1)).all(axis=1)
    name = query.model.parameters[0].name
    inverse = []
    for number, one in enumerate(z[inside][:600]):
        logs = conditional_runs(
            scheme, stages, {name: jnp.asarray(one)[:, None]}, data, np.float32, jax.random.key(number), 8
        )
        inverse.append(np.mean(np.exp(truth - logs)))
    error = math.hypot(np.std(inverse, ddof=1) / math.sqrt(len(inverse)), survived.std() / math.sqrt(len(survived)))
    assert error < 0.012
    assert abs(np.mean(inverse) - survived.mean()) < 5.5 * error


def held_to_truth(case, method, seed):
    """z of the case's log volume by the replicates' spread."""
    entry = volume.estimate(case.query, method, seed=seed).entries[0]
    assert isinstance(entry, ReplicatedVolume)
    logs = np.asarray(entry.log_estimates)
    weights = np.exp(logs - logs.max())
    error = weights.std(ddof=1) / weights.mean() / math.sqrt(len(logs))
    assert error < 0.5
    return (entry.log_volume - case.log_volume) / math.hypot(error, case.error)


@pytest.mark.slow
def test_unbiased_where_a_line_leaves_an_output_as_it_is():
    """Four points at multiples of 45 degrees, an eighth of the circle fits: moving along one axis changes no margin of
    the point on the other. 5,000 replicates: an error of 3 % would be seen."""
    rows, labels = np.array([[1, 0], [0, 1], [1, 1], [1, -1]], np.float32), np.array([1, 1, 1, 0])
    query = volume.Query(models.Perceptron(2, bias=False), samplers.Gaussian(1.0), classifier=volume.Fits(rows, labels))
    scheme, data = scheme_of(query, 2, 1)
    for levels in ((), (-0.5,)):
        p = ordinary(scheme, data, levels, 5_000, jax.random.key(3))
        error = p.std(ddof=1) / math.sqrt(len(p))
        assert error < 0.005 * 0.125 * 2
        assert abs(p.mean() - 0.125) < 5.5 * error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["independent signs 20-d", "equicorrelated 100-d"])
def test_orthants_by_lines(name):
    """2^-20 and 1/101. With 15 degrees of freedom |t| stays below 9 but for 2e-7."""
    case = next(case for case in cases(["orthant"]) if case.name == name)
    method = volume.Splitting(particles=32, moves=2, replicates=16, labels=(case.label,))
    run = method.start(case.query, jax.random.key(0)).class_runs[0]
    assert isinstance(run.scheme.kernel, LineKernel)
    assert abs(held_to_truth(case, method, seed=1)) < 9


@pytest.mark.slow
def test_wide_limits_down_to_minus_123_nats():
    """Labels of an infinitely wide network as a linear problem (minimax tilting, .2 %): at 128 random labels the rows
    are nearly dependent, singular values from .04 to 10, and windows on ellipses stand still. Six t of 15 degrees of
    freedom stay below 9 but for 1e-6."""
    found = {case.name: case for case in cases(["wide"])}
    assert min(case.log_volume for case in found.values()) < -123
    for case in found.values():
        many = 48 if case.log_volume < -100 else 8
        method = volume.Splitting(particles=many, moves=2, replicates=16, labels=(case.label,))
        assert abs(held_to_truth(case, method, seed=2)) < 9, case.name
