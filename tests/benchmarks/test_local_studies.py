"""The scripts about local volumes, tiny: what they count is right where the answer is known, and they give tables."""

import argparse
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import environment, local, local_copies, local_plain, memorising, script
from benchmarks.local_copies_draws import Case, bits, class_draws, copies, scales, seen, trained
from benchmarks.record import Record
from volume.estimators.local.copies import copies_of
from volume.models import MLP
from volume.samplers import ray_prior

TANH, RELU = Case((2, 3, 1), "tanh", ("0111",)), Case((2, 3, 1), "relu", ("0111",))


def decided(case, params):
    cast = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    outputs = np.asarray(case.model.apply(cast, jnp.asarray(case.domain.inputs, jnp.float32)))
    return "".join(map(str, (outputs[:, 0] > 0).astype(int)))


@pytest.mark.parametrize(("case", "number"), [(TANH, 48), (RELU, 6)])
def test_copies_are_the_same_function_and_as_likely(case, number):
    anchor = {name: value[0] for name, value in class_draws(case, "0111", 1, 1, 3).items()}
    every, inputs = copies(case, anchor), jnp.asarray(case.domain.inputs, jnp.float32)
    assert len(every["1.bias"]) == number
    outputs = [np.asarray(case.model.apply({n: jnp.asarray(v[g]) for n, v in every.items()}, inputs)) for g in (1, -1)]
    own = np.asarray(case.model.apply({n: jnp.asarray(v) for n, v in anchor.items()}, inputs))
    np.testing.assert_allclose(outputs, [own, own], atol=1e-5)
    rows = np.concatenate([(every[n] / s).reshape(number, -1) for n, s in scales(case).items()], axis=1)
    assert len(np.unique(rows.round(5), axis=0)) == number
    np.testing.assert_allclose((rows**2).sum(axis=1), (rows[0] ** 2).sum(), rtol=1e-5)


@pytest.mark.parametrize("case", [TANH, RELU])
def test_both_ways_to_the_nearest_copy_agree(case):
    """Written out one by one here, by an assignment in the library: a draw is in the anchor's cell or it is not."""
    draws = class_draws(case, "0111", 60, 1, 4)
    anchor = {p.name: draws[p.name][0].astype(float) for p in case.model.parameters}  # in the model's order
    scale, prior = scales(case), ray_prior(case.prior, case.model.parameters)
    cell = copies_of(case.query, anchor, prior.centre, prior.scale)
    assert cell is not None
    rows = {n: np.concatenate([v[None], draws[n][1:]]) for n, v in anchor.items()}
    flat = np.concatenate([(rows[n] / scale[n]).reshape(60, -1) for n in rows], axis=1)
    every = copies(case, anchor)
    others = np.concatenate([(every[n] / scale[n]).reshape(len(every[n]), -1) for n in rows], axis=1)
    products = flat @ others.T
    own = products[:, [np.argmin(np.square(others - flat[0]).sum(axis=1))]]
    inside = np.all(products <= own + 1e-6, axis=1)
    exits = cell.exits(flat - flat[0], np.ones(60))
    np.testing.assert_array_equal(np.isinf(exits), inside)
    assert 0 < np.count_nonzero(inside[1:]) < 59


def test_an_anchor_sees_itself_and_its_copies():
    draws = class_draws(TANH, "0111", 40, 1, 5)
    anchor = {name: value[0] for name, value in draws.items()}
    near, any_copy = seen(TANH, "0111", anchor, copies(TANH, anchor))
    assert near.all()
    assert any_copy.all()
    near, any_copy = seen(TANH, "0111", anchor, draws)
    assert (any_copy >= near).all()
    assert near.any()
    assert local_copies.share(near[:0]) is None


@pytest.mark.slow
def test_anchors_are_of_the_class():
    for params in trained(TANH, "0110", 3, 0):
        assert decided(TANH, params) == "0110"
    draws = class_draws(RELU, "0001", 5, 1, 6)
    assert len(draws["1.bias"]) == 5
    for i in range(5):
        assert decided(RELU, {name: value[i] for name, value in draws.items()}) == "0001"
    np.testing.assert_array_equal(bits("01"), [False, True])


def made_up(bound):
    local = {"rays": -9.0, "effective": 3.0, "splitting": -8.8, "word": "bound", "log_copies": 3.9}
    local |= {"apart": -5.1, "cut": -6.0, "bound": bound}
    kl = [{**local, "cutoff": cutoff} for cutoff in local_copies.CUTOFFS]
    whole = {"log_volume": -4.0, "low": -4.1, "high": -3.9, "method": "direct"}
    record = {"network": "2-3-1 tanh", "table": "0110", "anchor": "drawn 1", "kind": "drawn", "class": whole}
    return record | {"agreement": local, "kl": kl, "draws": 10, "nearest": (0.1, 0.0, 0.4), "any": None}


def test_a_bound_above_its_class_is_marked():
    assert local_copies.row_of(made_up(-5.0)).facts["bound violated"] is False
    assert local_copies.row_of(made_up(-3.0)).facts["bound violated"] is True
    (row,) = local_copies.summary([made_up(-5.0)])
    assert row.facts["cut apart - class"] == -2.0
    assert row.facts["bound - class, KL <= 1"] == -1.0
    assert row.facts["seen from any copy"] is None
    assert [row.facts["bound violated"] for row in local_copies.kl_rows(made_up(-3.0))] == [True, True]


def test_plain_radii_are_where_the_cutoff_is():
    """Four times the KL is twice the radius, about; and training gives Adam's second moments."""
    images, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 0])
    model = MLP((3, 2))
    params, moments = local_plain.train(model, images, labels, steps=5, seed=0)
    assert {name: value.shape for name, value in moments.items()} == {n: v.shape for n, v in params.items()}
    assert all((value >= 0).all() for value in moments.values())
    assert np.any(moments["0.weight"] > 0)
    radii = np.asarray(local_plain.plain_radii(model, params, images, jax.random.key(0), 8, 1e-2))
    assert ((radii > 1e-2) & (radii < 10)).all()
    more = np.asarray(local_plain.plain_radii(model, params, images, jax.random.key(0), 8, 4e-2))
    np.testing.assert_array_less(radii, more)
    np.testing.assert_allclose(more / radii, 2, rtol=0.35)  # KL is quadratic near the anchor


def test_the_quadratic_part_grades_intervals():
    rows = local.quadratic_rows(argparse.Namespace(seed=0, quick=True))
    assert [row.name for row in rows][::5] == ["spread 0.5", "spread 6"]
    assert rows[0].facts["intervals given"] == 50
    assert rows[-1].facts["intervals given"] == 0
    assert all(row.facts["bounds that hold"] >= 0.8 for row in rows)  # of 50, at .95 or more each: less than 1e-4
    assert script.page(script.document("local", Record(rows), {}, environment.Load().so_far(), "a date"))


def test_stored_networks_give_tables(tmp_path, capsys):
    tasks = memorising.design(2, True)
    path = tmp_path / "m.jsonl"
    lines = []
    for task in tasks:
        volumes = [
            {"cutoff": 0.03, "estimator": "splitting", "log_volume": -100.0 - task.seed, "spread": 0.4},
            {"cutoff": 0.03, "estimator": "rays", "log_volume": None},
        ]
        row = {"task": task.task, "kind": task.kind, "seed": task.seed, "key": task.key, "volumes": volumes}
        lines.append(json.dumps(row | {"fits": 1.0, "right": 0.5, "entropy": 1e-3, "log_density": -9.0}))
    path.write_text("\n".join(lines) + "\n")
    memorising.main(["--quick", "--stored", "--out", str(path), "--json", str(tmp_path / "r.json")])
    assert "| digits, memorise, KL <= 0.03 | -100.5 | 0.4 |  | +0.0 [+0.0, +0.0] | 2 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert len(found["rows"]) == 12
    assert math.isclose(found["rows"][-1]["ours"], -100.5)
