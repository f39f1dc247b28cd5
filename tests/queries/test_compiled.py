"""A compiled program that is wrong stops a run, by every method; a right one never does."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared_queries import CUBE

import volume
from volume.commands.main import main
from volume.models import ACTIVATIONS, MLP
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


LOCAL: dict[str, Any] = {"cutoff": 0.1, "rays": 32, "fit": 0, "preconditioner": "identity"}
SPLIT: dict[str, Any] = {"particles": 16, "moves": 2, "replicates": 2}
LEVELS: dict[str, Any] = {"cutoff": 0.1, "estimator": "splitting", "start_from": "prior", "chain": "levels", **SPLIT}
TABLES, CLASSES, BINARY = volume.TruthTable(), volume.Ones(), Lattice.binary()
FITS = volume.Fits(CUBE.inputs, [0, 1, 1, 0, 1, 0, 0, 1])
NORMAL = Gaussian(1.0, 0.5)
METHODS: dict[str, tuple[Any, Any, Any, str]] = {
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
    made: Any = method(model) if callable(method) else method
    with pytest.raises(volume.Miscompiled, match=f"gives other {what} than a plain evaluation of the same network"):
        volume.estimate(volume.Query(model, prior, CUBE, classifier), made)
    assert len(plain) == 1


def test_the_command_line_says_so_and_fails(monkeypatch, capsys):
    def wrong(*args, **more):
        raise volume.Miscompiled("A compiled program is wrong.")

    monkeypatch.setattr(compiled, "check", wrong)
    assert main(["estimate", "--model", "perceptron:2", "--draws", "2000", "--json"]) == 4
    assert '"type": "Miscompiled"' in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rounding_raises_no_alarm_at_any_scale(activation, dtype):
    """128 networks of each: no alarm among 1,792, at sizes where numbers vanish and overflow too."""
    model, chance = MLP((3, 20, 20, 2), activation), np.random.default_rng(1)
    with jax.enable_x64(dtype == "float64"):
        together = jax.jit(jax.vmap(model.apply, (0, None)))
        inputs = chance.standard_normal((9, 3)).astype(dtype)
        for scale in (1e-20, 1e-13, 1e-3, 1.0, 1e3, 1e10, 1e13, 1e20):
            params = {p.name: scale * chance.standard_normal((16, *p.shape)).astype(dtype) for p in model.parameters}
            outputs = np.asarray(together(params, inputs))
            cases = [({name: value[at] for name, value in params.items()}, inputs) for at in range(16)]
            compiled.check("outputs", model.apply, cases, list(outputs), precision="highest", remedy="none")


@pytest.mark.parametrize("factor", [1 + 1e-3, 0.9, 0.0])
def test_a_small_error_of_one_output_is_seen(factor):
    model, chance = MLP((3, 20, 20, 2)), np.random.default_rng(1)
    params = {p.name: chance.standard_normal(p.shape).astype(np.float32) for p in model.parameters}
    inputs = chance.standard_normal((9, 3)).astype(np.float32)
    outputs = np.array(model.apply(jax.tree.map(jnp.asarray, params), jnp.asarray(inputs)))
    outputs[np.unravel_index(np.abs(outputs).argmax(), outputs.shape)] *= factor
    with pytest.raises(volume.Miscompiled, match=r"\(1 of 18 numbers of network 1 of 1\)"):
        compiled.check("outputs", model.apply, [(params, inputs)], [outputs], precision="highest", remedy="none")
