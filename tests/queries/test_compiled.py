"""A compiled program that is wrong stops a run, by every method; a right one never does."""

from __future__ import annotations

import numpy as np
import pytest
from shared_queries import CUBE

import volume
from volume.models import MLP
from volume.queries import compiled
from volume.samplers import Gaussian, Lattice


class Wrong(MLP):
    """As if every product of a compiled program lost its last term."""

    right = False

    def _layer(self, params, inputs, layer):
        weight = params[f"{layer}.weight"]
        if not Wrong.right:
            params = {**params, f"{layer}.weight": weight.at[-1].set(0)}
        return super()._layer(params, inputs, layer)


@pytest.fixture
def plain(monkeypatch):
    """Traces of plain evaluations, in which products are right."""
    traced, before = [], compiled.Plain

    def trace(*args):
        monkeypatch.setattr(Wrong, "right", True)
        traced.append(before(*args))
        monkeypatch.setattr(Wrong, "right", False)
        return traced[-1]

    monkeypatch.setattr(compiled, "Plain", trace)
    return traced


def anchor(model):
    chance = np.random.default_rng(0)
    return {p.name: chance.standard_normal(p.shape) for p in model.parameters}


LOCAL = {"cutoff": 0.1, "rays": 32, "fit": 0, "preconditioner": "identity"}
SPLIT = {"particles": 16, "moves": 2, "replicates": 2}
LEVELS = {"cutoff": 0.1, "estimator": "splitting", "start_from": "prior", "chain": "levels", **SPLIT}
TABLES, CLASSES, BINARY = volume.TruthTable(), volume.Ones(), Lattice.binary()
FITS = volume.Fits(CUBE.inputs, [0, 1, 1, 0, 1, 0, 0, 1])
NORMAL = Gaussian(1.0, 0.5)
METHODS = {
    "direct, tables": (NORMAL, TABLES, volume.Direct(draws=4000), "decisions"),
    "direct, classes": (NORMAL, CLASSES, volume.Direct(draws=4000), "classes"),
    "direct, alone": (NORMAL, TABLES, volume.Direct(draws=4000, heads=1), "decisions"),
    "splitting": (NORMAL, FITS, volume.Splitting(**SPLIT), "scores"),
    "exact, tables": (BINARY, TABLES, volume.Exact(path="blocks"), "decisions"),
    "exact, classes": (BINARY, CLASSES, volume.Exact(path="blocks"), "classes"),
    "trained": (NORMAL, TABLES, volume.Trained(runs=8, on=FITS, max_steps=2, learning_rate=0.1), "decisions"),
    "rays": (NORMAL, TABLES, lambda model: volume.Local(anchor(model), **LOCAL), "divergences"),
    "local splitting": (NORMAL, TABLES, lambda model: volume.Local(anchor(model), **LEVELS), "scores"),
}


QUICK = ("direct, tables", "direct, classes", "exact, classes")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_a_wrong_program_stops_every_method(name, plain):
    prior, classifier, method, what = METHODS[name]
    model = Wrong((3, 2, 1), "tanh")
    if callable(method):
        method = method(model)
    with pytest.raises(volume.Miscompiled, match=f"gives other {what} than a plain evaluation of the same network"):
        volume.estimate(volume.Query(model, prior, CUBE, classifier), method)
    assert len(plain) == 1
