"""Radial integrals against quadrature and closed forms; what an anchor's file may be."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from flax import serialization
from scipy import integrate, special

import volume
from volume.commands import main as cli
from volume.estimators.local.anchor import Anchor
from volume.estimators.local.copies import copies_of
from volume.estimators.local.curve import LocalCurve
from volume.models import MLP
from volume.samplers import Gaussian, log_radial, log_radial_centred


@pytest.mark.parametrize("dim", [1, 2, 7, 60])
def test_radial_integrals_against_quadrature(dim):
    """Tilts of both signs, radii before and beyond the mode: 1e-9 of the integral."""
    for a, b, radius in itertools.product([0.01, 1.0, 50.0], [-30.0, -0.1, 0.1, 3.0, 60.0], [0.01, 1.0, 6.0, math.inf]):
        top = min((b + math.sqrt(b * b + 4 * a * dim)) / (2 * a), radius)
        end = min(radius, top + 12 / math.sqrt(a))

        def g(r, a=a, b=b):
            return (dim - 1) * math.log(r) - a * r * r / 2 + b * r

        width = 1 / math.sqrt(a + dim / top**2)
        steps = [top + sign * width * 2.0**k for sign in (-1, 1) for k in range(-1, 16)]
        cuts = sorted({0.0, end, top, *(step for step in steps if 0 < step < end)})

        def scaled(r, g=g, top=top):
            return math.exp(g(r) - g(top)) if r else float(dim == 1) * math.exp(-g(top))

        whole = sum(integrate.quad(scaled, x, y, epsabs=0, epsrel=1e-12)[0] for x, y in itertools.pairwise(cuts))
        assert float(log_radial(dim, a, b, radius)) == pytest.approx(g(top) + math.log(whole), abs=1e-9)


@pytest.mark.parametrize("dim", [1, 10, 4810, 10**6])
def test_radial_integrals_in_many_dimensions(dim):
    """The incomplete gamma function, whole and cut at and around the mode: the logarithm to its last digits."""
    for a, share in itertools.product([1e-3, 7.0], [0.9, 1.0, 1.1]):
        radius = share * math.sqrt(dim / a)
        whole = special.gammaln(dim / 2) + dim / 2 * math.log(2 / a) - math.log(2)
        part = special.gammainc(dim / 2, a * radius**2 / 2)
        assert float(log_radial_centred(dim, a)) == pytest.approx(whole, rel=1e-15, abs=1e-13)
        assert float(log_radial(dim, a, 0.0)) == pytest.approx(whole, rel=1e-15, abs=1e-13)
        if part > 1e-290:
            assert float(log_radial(dim, a, 0.0, radius)) == pytest.approx(whole + math.log(part), rel=1e-12, abs=1e-10)
    assert float(log_radial(dim, 1.0, 1.0, 0.0)) == -math.inf


MODEL = MLP((3, 4, 2), "tanh")
PARAMS = {p.name: np.random.default_rng(0).normal(size=p.shape).astype(np.float32) for p in MODEL.parameters}


def nested(names=("Dense_0", "Dense_1"), weight="kernel"):
    return {
        name: {weight: PARAMS[f"{layer}.weight"], "bias": PARAMS[f"{layer}.bias"]} for layer, name in enumerate(names)
    }


def written(path, what):
    if what == "npz":
        np.savez(path / "a.npz", **PARAMS)  # type: ignore[arg-type]  # names of arrays, none of them allow_pickle
        return path / "a.npz"
    if what == "msgpack":
        (path / "a.msgpack").write_bytes(serialization.to_bytes({"params": nested()}))
        return path / "a.msgpack"
    checkpoint = pytest.importorskip("orbax.checkpoint")
    with checkpoint.PyTreeCheckpointer() as saver:
        saver.save((path / "a").resolve(), {"params": nested(("l10", "l9")[::-1])})
    return path / "a"


@pytest.mark.parametrize("what", ["npz", "msgpack", "orbax"])
@pytest.mark.filterwarnings("ignore")  # Orbax's own, about its options
def test_checkpoints_of_every_kind_are_the_same_anchor(tmp_path, what):
    on = Anchor.of(written(tmp_path, what)).on(MODEL)
    assert list(on) == [p.name for p in MODEL.parameters]
    for name, value in PARAMS.items():
        np.testing.assert_array_equal(on[name], value)


def test_anchors_that_do_not_fit_say_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        Anchor.of(tmp_path / "none.npz")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="is no checkpoint"):
        Anchor.of(tmp_path / "a.txt")
    (tmp_path / "a.npz").write_text("x")
    with pytest.raises(ValueError, match=r"no \.npz"):
        Anchor.of(tmp_path / "a.npz")
    with pytest.raises(TypeError, match="holds no parameters"):
        Anchor.of(3)
    with pytest.raises(ValueError, match="no array of finite numbers"):
        Anchor.of({"w": np.array([np.nan])})
    with pytest.raises(ValueError, match=r"has no '0\.weight'"):
        Anchor.of({**{k: v for k, v in PARAMS.items() if k != "0.weight"}, "0.wieght": PARAMS["0.weight"].T}).on(MODEL)
    assert Anchor.of(PARAMS) == Anchor.of(dict(PARAMS))
    assert hash(Anchor.of(PARAMS)) == hash(Anchor.of(dict(PARAMS)))


def test_the_cell_of_an_anchor_is_where_it_is_the_nearest_copy():
    """Against all 3! 2^3 copies, one by one."""
    model = MLP((2, 3, 1), "tanh")
    rng = np.random.default_rng(1)
    anchor = {p.name: rng.normal(size=p.shape) for p in model.parameters}
    query = volume.Query(model, Gaussian(bias_std=1.0), volume.BooleanCube(2))
    size = sum(value.size for value in anchor.values())
    copies = copies_of(query, anchor, np.zeros(size), np.ones(size))
    assert copies is not None
    assert copies.exact
    row = np.concatenate([np.ravel(value) for value in anchor.values()])
    others = [
        np.concatenate([np.ravel(value) for value in model.symmetry.act(anchor, g).values()])
        for g in model.symmetry.elements()
    ]
    steps = rng.normal(size=(20, size))
    exits = copies.exits(steps, np.full(20, 50.0))
    assert np.isfinite(exits).sum() > 0
    for step, end in zip(steps, exits, strict=True):
        for radius in (0.999999 * min(end, 50.0), 1.000001 * end):
            if radius < 50:
                point = row + radius * step
                nearest = min(np.sum((point - other) ** 2) for other in others)
                assert (np.sum((point - row) ** 2) <= nearest + 1e-9) == (radius < end)


@pytest.mark.slow
def test_the_command_measures_and_draws(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **PARAMS)  # type: ignore[arg-type]  # as above
    words = ["local", "--anchor", str(tmp_path / "a.npz"), "--model", "mlp:3-4-2", "--activation", "tanh"]
    words += ["--bias-std", "1", "--cutoff", "1e-2,1e-1", "--rays", "64", "--fit", "10", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [entry["kind"] for entry in record["classes"]] == ["local", "local"]
    assert record["run"]["slopes"]["rays"][0]["slope"] > 0
    assert (tmp_path / "out" / "curve.pdf").stat().st_size > 1000
    curve = LocalCurve.of(volume.load(tmp_path / "out"))
    assert "d log V / d log cutoff" in curve.summary()
    assert "Copies: log|G|" in curve.summary()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cutoff", "0"], "for --divergence agreement"),
        (["--particles", "8"], "belongs to --estimator splitting"),
        (["--anchor", "nowhere.npz"], "no checkpoint nowhere.npz"),
        (["--preconditioner", "nowhere.npz"], "nowhere.npz is no file of curvatures, nor one of auto, identity"),
        (["--preconditioner", "diag"], "Did you mean 'diagonal'?"),
        (["--preconditioner", "adam"], "the anchor holds none: give the training state"),
        (["--resume", "nowhere"], "nowhere holds no run that could go on"),
    ],
)
def test_usage_errors(tmp_path, capsys, words, said):
    np.savez(tmp_path / "a.npz", **PARAMS)  # type: ignore[arg-type]  # as above
    begin = ["local", "--anchor", str(tmp_path / "a.npz"), "--model", "mlp:3-4-2"]
    assert cli.main([*begin, *words]) == 2
    assert said in capsys.readouterr().err
