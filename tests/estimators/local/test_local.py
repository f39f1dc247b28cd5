"""Local volumes by rays: ellipsoids and balls of known mass, and what is said when a ray is not simple.

Where rays are all equal the truth is met to rounding. Elsewhere an assertion allows 6 standard errors of the batches'
mean, t-distributed with 15 degrees of freedom: a false alarm in 4e4 each at seeds that are fixed, so that none comes
back; it would detect an error of 6 times the standard error, at most 0.15 nats unless a test names more.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import volume
from volume.estimators.local.anchor import Anchor
from volume.estimators.local.ray_parts import Met, Tally
from volume.models import MLP, Perceptron
from volume.reports.local_entries import lower_bound
from volume.samplers import Gaussian, Uniform


def ellipsoid(params, data):
    d = params["0.weight"][:, 0] - data["at"]
    return d @ (data["H"] @ d if data["H"].ndim == 2 else data["H"] * d) / 2


def ask(at, matrix, cutoff, prior, fn=ellipsoid, **options) -> Any:
    """A local volume on a perceptron whose weights are the coordinates."""
    at = np.asarray(at, float)
    dim = len(at)
    query = volume.Query(Perceptron(dim, bias=False), prior, volume.Points(np.ones((1, dim))))
    data = {"at": at, "H": np.asarray(matrix, float)}
    options = {"dtype": "float64", "rays": 256, "preconditioner": "identity", **options}
    divergence = volume.DivergenceFunction(fn, data)
    method = volume.Local({"0.weight": at[:, None]}, cutoff, divergence=divergence, **options)
    return volume.estimate(query, method, seed=3)


def log_ellipsoid(values, cutoff):
    """log Lebesgue volume of {d: sum values d^2 / 2 <= cutoff}."""
    dim = len(values)
    ball = dim / 2 * math.log(math.pi) - special.gammaln(dim / 2 + 1)
    return ball + dim / 2 * math.log(2 * cutoff) - np.sum(np.log(values)) / 2


def near(entry, truth, most=0.15):
    error = entry.spread / math.sqrt(len(entry.log_estimates)) + 1e-9
    assert error < most / 6, "the assertion would detect nothing"
    short = 0.006  # radii are the inner ends of brackets
    assert abs(entry.log_volume - truth) < 6 * error + short, (entry.log_volume, truth, error)


def rotation(dim, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


@pytest.mark.parametrize(
    ("dim", "preconditioner"),
    [
        (2, "full"),
        pytest.param(40, "full", marks=pytest.mark.slow),
        pytest.param(5000, "diagonal", marks=pytest.mark.slow),
    ],
)
def test_an_ellipsoid_in_a_box_is_exact_with_its_own_preconditioner(dim, preconditioner):
    """A turned ellipsoid with axes from 1 to 1e-3: every ray is the truth. P transposed would miss it by many nats."""
    values = np.geomspace(1, 1e6, dim)
    basis = rotation(dim) if preconditioner == "full" else None
    matrix = values if basis is None else (basis * values) @ basis.T
    at = np.linspace(-0.3, 0.4, dim)
    cutoff = 1e-4 * dim**0
    prior = Uniform(weight_bound=math.sqrt(dim))  # [-1, 1] each
    report = ask(at, matrix, cutoff, prior, preconditioner=preconditioner, fit=0, rays=64)
    (entry,) = report.entries
    truth = log_ellipsoid(values, cutoff) - dim * math.log(2)
    assert entry.log_volume == pytest.approx(truth, abs=0.05)
    assert entry.spread < 0.05
    assert entry.headline == "bound" or entry.effective_rays > 60


@pytest.mark.slow
def test_a_transposed_preconditioner_would_be_seen(monkeypatch):
    """The same ellipsoid with P' in place of P: many nats below, and no two rays alike."""
    from volume.samplers import Curvature

    right = Curvature.preconditioner

    def transposed(self, weight, dtype):
        made = right(self, weight, dtype)
        return made if made.basis is None else made._replace(basis=made.basis.T)

    values, basis = np.geomspace(1, 1e6, 12), rotation(12)
    matrix, prior = (basis * values) @ basis.T, Uniform(weight_bound=math.sqrt(12))
    options = {"preconditioner": "full", "fit": 0, "rays": 64}
    truth = log_ellipsoid(values, 1e-5) - 12 * math.log(2)
    (entry,) = ask(np.zeros(12), matrix, 1e-5, prior, **options).entries
    assert entry.log_volume == pytest.approx(truth, abs=0.02)
    monkeypatch.setattr(Curvature, "preconditioner", transposed)
    (wrong,) = ask(np.zeros(12), matrix, 1e-5, prior, **options).entries
    assert wrong.log_volume < truth - 2
    assert wrong.effective_rays < 20


@pytest.mark.parametrize("dim", [pytest.param(2, marks=pytest.mark.slow), 5, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("drift", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_gaussian_mass_of_a_ball_off_centre(dim, drift):
    """Noncentral chi-square, at three nested radii; scales that differ by axis are covered below."""
    at = np.zeros(dim)
    at[0], std = 1.5, 0.7
    cutoffs = [0.05 * dim, 0.2 * dim, 0.45 * dim]
    prior = Gaussian(weight_std=std * math.sqrt(dim))
    report = ask(at, np.ones(dim) / std**2, cutoffs, prior, drift=drift, rays=1024, fit=0)
    for entry, cutoff in zip(report.entries, cutoffs, strict=True):
        assert isinstance(entry, volume.LocalVolume)
        near(entry, stats.ncx2.logcdf(2 * cutoff, dim, (1.5 / std) ** 2), most=1.2)


@pytest.mark.slow
def test_a_ball_around_the_centre_in_5000_dimensions_is_exact():
    dim, cutoff = 5000, 2300.0
    report = ask(np.zeros(dim), np.ones(dim), cutoff, Gaussian(weight_std=math.sqrt(dim)), rays=32, fit=0)
    (entry,) = report.entries
    assert entry.log_volume == pytest.approx(stats.chi2.logcdf(2 * cutoff, dim), abs=0.02)
    assert entry.effective_rays == pytest.approx(32, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"preconditioner": "diagonal", "fit": 20}, pytest.param({"drift": False}, marks=pytest.mark.slow)],
    ids=["fitted", "no drift"],
)
def test_an_ellipsoid_under_a_gaussian_off_centre(options):
    """Two dimensions, by quadrature on a grid in polar coordinates."""
    values, at, cutoff = np.array([1.0, 30.0]), np.array([0.8, -0.5]), 0.6
    angle = np.linspace(0, 2 * math.pi, 4001)[:-1]
    share = np.linspace(0, 1, 801)
    share = (share[1:] + share[:-1]) / 2
    edge = np.stack([np.cos(angle), np.sin(angle)]) * np.sqrt(2 * cutoff / values)[:, None]
    points = at[:, None, None] + edge[:, :, None] * share
    density = np.exp(-np.sum(points**2, axis=0) / 2) / (2 * math.pi) * share
    truth = math.log(density.mean() * 2 * math.pi * 2 * cutoff / math.sqrt(values.prod()))
    (entry,) = ask(at, values, cutoff, Gaussian(weight_std=math.sqrt(2)), rays=2048, **options).entries
    near(entry, truth, most=0.5)
    assert entry.headline == "interval"
    assert entry.log_low < entry.log_volume < entry.log_high


@pytest.mark.slow
def test_linear_regression_in_closed_form():
    """Mean squared difference of predictions: an ellipsoid with the inputs' Gram matrix, whatever the labels."""
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(30, 4)) * [1, 3, 0.1, 1]
    query = volume.Query(Perceptron(4, bias=False), Uniform(weight_bound=20.0), volume.Points(inputs))
    at = rng.normal(size=(4, 1))

    def difference(params, data):
        return jnp.mean((data["x"] @ (params["0.weight"] - data["at"])) ** 2)

    divergence = volume.DivergenceFunction(difference, {"x": inputs, "at": at})
    local = volume.Local({"0.weight": at}, [0.01, 0.04], divergence=divergence, rays=512, fit=0, preconditioner="full")
    report = volume.estimate(query, local, seed=0)
    values = np.linalg.eigvalsh(2 * inputs.T @ inputs / 30)
    for entry, cutoff in zip(report.entries, (0.01, 0.04), strict=True):
        assert entry.log_volume == pytest.approx(log_ellipsoid(values, cutoff) - 4 * math.log(20), abs=0.06)
    (slope,) = report.run["slopes"]["rays"]
    assert slope["slope"] == pytest.approx(2, abs=5e-3)  # half the number of parameters
    assert slope["low"] <= slope["slope"] <= slope["high"]


def test_rays_that_leave_and_come_back_end_at_the_first_crossing():
    """D = sin^2 |d|: inside again beyond pi - asin(sqrt c). The star-shaped region is the ball |d| <= asin(sqrt c)."""

    def shells(params, data):
        return jnp.sin(jnp.sqrt(ellipsoid(params, data) * 2 + 1e-30)) ** 2

    cutoff, radius = 0.5, math.pi / 4
    report = ask(np.zeros(3), np.ones(3), cutoff, Gaussian(weight_std=3 * math.sqrt(3)), shells, rays=512, probes=16)
    (entry,) = report.entries
    near(entry, stats.chi2.logcdf((radius / 3) ** 2, 3))
    assert entry.diagnostics["returning_rays"] > 0
    assert "come back" in " ".join(report.warnings)


def test_a_cutoff_that_is_never_reached_takes_the_whole_half_line():
    def bounded(params, data):
        return jnp.tanh(ellipsoid(params, data))

    prior = Gaussian(weight_std=math.sqrt(3))
    inner, outer = ask([0.5, -1.0, 2.0], np.ones(3), [0.5, 2.0], prior, bounded, rays=1024).entries
    near(outer, 0.0)
    # tanh(d^2 / 2) <= 1/2 is a ball around the anchor, whose surface every ray reaches: no cutoff is told another's.
    near(inner, stats.ncx2.logcdf(2 * math.atanh(0.5), 3, 5.25), most=0.2)
    assert (inner.diagnostics["unbounded_rays"], outer.diagnostics["unbounded_rays"]) == (0, 1024)
    assert not any("never reached" in note for note in inner.notes)
    assert [note for note in outer.notes if note.startswith("1,024 of 1,024 radii were never reached")]


def test_parts_of_an_older_version_tell_what_all_cutoffs_met():
    own = Tally(5, 1, 2, Met(3, 4, 1, 0.2), (Met(1, 0, 1, 0.2), Met(3, 4, 0, 0.1)))
    record = own.record()
    assert Tally.from_record(record) == own
    assert Tally.of([own, own]) == Tally(10, 2, 4, Met(6, 8, 2, 0.2), (Met(2, 0, 2, 0.2), Met(6, 8, 0, 0.1)))
    older = Tally.from_record({name: value for name, value in record.items() if name != "by_cutoff"})
    assert Tally.of([own, older]) == Tally(10, 2, 4, Met(6, 8, 2, 0.2), ())
    assert Tally.of([]) == Tally()


@pytest.mark.slow
def test_a_box_inside_the_region_is_all_of_the_prior():
    (box,) = ask([0.5, -0.1, 0.2], np.ones(3), 9.0, Uniform(weight_bound=math.sqrt(3)), rays=2048).entries
    near(box, 0.0, most=0.3)


@pytest.mark.slow
def test_nan_is_outside_and_counted():
    def broken(params, data):
        d = ellipsoid(params, data)
        return jnp.where(d > 0.02, jnp.nan, d)

    report = ask(np.zeros(2), np.ones(2), 0.5, Gaussian(weight_std=math.sqrt(2)), broken, rays=64, fit=0)
    (entry,) = report.entries
    assert entry.log_volume == pytest.approx(stats.chi2.logcdf(0.04, 2), abs=0.01)
    assert report.run["num_nonfinite"] > 0


@pytest.mark.slow
def test_agreement_on_a_circle_is_a_sector():
    """Two inputs in the plane, no bias: the decisions of the anchor are kept in a sector of angle pi - psi."""
    psi = 0.9
    inputs = np.array([[1.0, 0.0], [math.cos(psi), math.sin(psi)]])
    query = volume.Query(Perceptron(2, bias=False), Gaussian(weight_std=math.sqrt(2)), volume.Points(inputs))
    anchor = {"0.weight": np.array([[1.2], [0.4]])}
    method = volume.Local(anchor, 0.0, divergence="agreement", rays=4096, preconditioner="identity")
    report = volume.estimate(query, method, seed=1)
    (entry,) = report.entries
    near(entry, math.log((math.pi - psi) / (2 * math.pi)))
    assert entry.label == "agreement <= 0"
    assert report.run["copies"]["word"] == "bound"


@pytest.mark.slow
def test_copies_of_a_small_network_bound_the_true_class():
    """Agreement on all four inputs: local mass in the anchor's cell times 3! 2^3 copies, against 2 million draws."""
    model, prior = MLP((2, 3, 1), "tanh"), Gaussian(weight_std=1.5, bias_std=1.0)
    query = volume.Query(model, prior, volume.BooleanCube(2))
    table = "0110"
    rng = np.random.default_rng(5)
    while True:
        anchor = {p.name: rng.normal(size=p.shape) * 1.5 for p in model.parameters}
        cast = {name: jnp.asarray(value, jnp.float32) for name, value in anchor.items()}
        outputs = np.asarray(model.apply(cast, jnp.asarray(query.domain.inputs, jnp.float32)))
        if "".join(map(str, (outputs[:, 0] > 0).astype(int))) == table and np.abs(outputs).min() > 0.3:
            break
    local = volume.Local(anchor, 0.0, divergence="agreement", rays=1024, fit=30)
    found = volume.estimate(query, local, seed=0).run["copies"]
    whole = volume.estimate(query, volume.Direct(200_000), seed=0, level=1 - 1e-6)[table]
    assert found["word"] == "bound"
    assert found["log_order"] == pytest.approx(math.log(48))
    assert found["log_bound"] < whole.log_high
    assert found["log_bound"] > whole.log_low - 8, "a bound that says nothing"
    assert found["log_estimate"] < whole.log_high + 0.5


@pytest.mark.slow
def test_symmetric_units_are_reported():
    model = MLP((2, 3, 1), "relu")
    anchor = {p.name: np.ones(p.shape) for p in model.parameters}
    anchor["0.weight"][:, 2] = anchor["0.bias"][2] = 0
    query = volume.Query(model, Gaussian(bias_std=1.0), volume.BooleanCube(2))
    copies = volume.estimate(query, volume.Local(anchor, 0.1, rays=16, fit=0), seed=0).run["copies"]
    assert copies["dead_units"] == {"hidden 0": 1}
    assert copies["repeated_units"] == {"hidden 0": 1}
    assert copies["log_stabiliser"] == pytest.approx(math.log(2))
    assert copies["word"] == "extrapolation"


def test_reports_survive_a_file(tmp_path):
    report = ask(np.zeros(3), np.ones(3), [0.1, 0.2], Gaussian(weight_std=2.0), rays=64, fit=0)
    report.save(tmp_path)
    again = volume.load(tmp_path)
    assert again.to_dict() == report.to_dict()
    entry = again["ellipsoid <= 0.1"]
    assert isinstance(entry, volume.LocalVolume)
    assert "nats" in entry.sentence()
    assert "log V (nats)" in report.summary()


def test_the_lower_bound_holds_for_wild_rays():
    """Lognormal weights of spread 4, where the mean of 64 is mostly far too small: at 95 %, 2,000 groups must fail less
    than 147 times (a rate of 5 % would, in one of 1e6)."""
    logs = np.random.default_rng(0).normal(-8, 4, (2000, 64))  # mean weight 1
    bounds = [
        lower_bound(row, [np.logaddexp.reduce(row[b::16]) - math.log(4) for b in range(16)], 0.05) for row in logs
    ]
    assert np.sum(np.array(bounds) > 0) < 147
    assert np.median(bounds) > -8


def test_what_is_refused_says_why():
    prior = Gaussian(weight_std=1.0)

    def high(params, data):
        return ellipsoid(params, data) + 0.3

    with pytest.raises(ValueError, match="not at zero divergence"):
        ask(np.zeros(2), np.ones(2), 0.1, prior, high)
    with pytest.raises(ValueError, match="outside the prior"):
        ask([3.0, 0.0], np.ones(2), 0.1, Uniform(weight_bound=1.0))
    model = MLP((2, 2, 1))
    local = volume.Local({p.name: np.ones(p.shape) for p in model.parameters}, 0.1)
    with pytest.raises(ValueError, match=r"fixes '0\.bias'"):
        volume.estimate(volume.Query(model, prior, volume.BooleanCube(2)), local)
    with pytest.raises(ValueError, match="neither: ask with"):
        ask(np.zeros(2), np.ones(2), 0.1, volume.samplers.Sphere())
    with pytest.raises(ValueError, match="cutoff=0: give one divergence above 0"):
        volume.Local({"0.weight": np.zeros((2, 1))}, 0)
    with pytest.raises(ValueError, match="Did you mean 'diagonal'"):
        volume.Local({"0.weight": np.zeros((2, 1))}, 0.1, preconditioner="diagnoal")
    quotient = volume.Query(model, Gaussian(bias_std=1.0), volume.BooleanCube(2), symmetry="quotient")
    with pytest.raises(ValueError, match="symmetry='none'"):
        volume.estimate(quotient, local)


@pytest.mark.parametrize("names", [("0", "2"), ("layers.0", "layers.1"), ("fc1", "fc2")])
def test_matrices_named_as_in_pytorch_are_not_taken_untransposed(names):
    model = MLP((3, 3, 3))
    shapes = {"weight": (3, 3), "bias": (3,)}
    state = {f"{name}.{kind}": np.ones(shape) for name in names for kind, shape in shapes.items()}
    with pytest.raises(ValueError, match=r"whose matrices are \[out, in\]; the model's are \[in, out\]"):
        Anchor.of(state).on(model)
    flax = {name.replace("weight", "kernel"): array for name, array in state.items()}
    assert sorted(Anchor.of(flax).on(model)) == sorted(p.name for p in model.parameters)


def trained(num_inputs=4):
    """A network after some steps of Adam, as a Flax training state would hold it: Dense layers and their moments."""
    import optax

    params = {"Dense_0": {"kernel": jnp.full((num_inputs, 1), 0.5)}}
    optimiser = optax.chain(optax.clip(1.0), optax.adam(1e-2))
    state = optimiser.init(params)
    gradients = {"Dense_0": {"kernel": jnp.array([[0.1], [-0.2], [0.3], [0.05]])}}
    for _ in range(3):
        updates, state = optimiser.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return {"params": params, "opt_state": state}, np.array([0.1, -0.2, 0.3, 0.05]) ** 2 * (1 - 0.999**3)


@pytest.mark.slow
def test_adams_second_moments_aim_the_rays(tmp_path):
    from flax import serialization

    state, moments = trained()
    file = tmp_path / "state.msgpack"
    file.write_bytes(serialization.to_bytes(state))
    np.savez(tmp_path / "nu.npz", **{"Dense_0.kernel": moments[:, None]})  # type: ignore[arg-type]  # names as flags
    query = volume.Query(Perceptron(4, bias=False), Gaussian(1.0), volume.BooleanCube(4))
    for anchor, given in ((state, "adam"), (file, "adam"), (file, tmp_path / "nu.npz")):
        method = volume.Local(anchor, preconditioner=given, rays=64)
        assert isinstance(method.preconditioner, Anchor)
        np.testing.assert_allclose(method.preconditioner.values, moments, rtol=1e-5)
        assert method.anchor == volume.Local(state["params"]).anchor
    report: Any = volume.estimate(query, volume.Local(file, preconditioner="adam", rays=64), seed=0)
    assert report.method["preconditioner"] == "given"
    assert math.isfinite(report.entries[0].log_volume)
    with pytest.raises(ValueError, match="the anchor holds none: give the training state"):
        volume.Local(state["params"], preconditioner="adam")
    with pytest.raises(ValueError, match=r"holds several \(opt_state\.1\.0\.nu, other\.0\.nu\)"):
        volume.Local({**state, "other": state["opt_state"][1]}, preconditioner="adam")
    with pytest.raises(ValueError, match=r"The preconditioner has no '0\.weight'"):
        volume.estimate(query, volume.Local(file, preconditioner={"w": np.ones(3)}))


def test_more_points_of_a_ray_are_looked_at_where_the_divergence_jumps():
    anchor = {"w": np.zeros(2)}
    assert volume.Local(anchor).probes == 4
    assert volume.Local(anchor, 0.0, divergence="agreement").probes == 64
    assert volume.Local(anchor, within_class=True).probes == 64
    assert volume.Local(anchor, within_class=True, probes=9).probes == 9
