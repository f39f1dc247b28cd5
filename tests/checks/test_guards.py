"""What compiled programs cost: the numbers are the compiler's, exact here, within a factor elsewhere."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.checks.guards import Call, Program, changes, measure
from volume.checks.step_programs import calls, watched

PROGRAM = Program(flops=1e6, bytes_accessed=4e5, temporary_bytes=1 << 16, argument_bytes=64, output_bytes=8, traces=1)


def test_operations_of_a_matrix_product_are_known():
    product = jax.jit(lambda a, b: a @ b)
    shapes = jax.ShapeDtypeStruct((32, 64), jnp.float32), jax.ShapeDtypeStruct((64, 16), jnp.float32)
    found = measure(product, *shapes)
    assert found.flops == pytest.approx(2 * 32 * 64 * 16, rel=0.05)
    assert found.argument_bytes == 4 * (32 * 64 + 64 * 16)
    assert found.output_bytes == 4 * 32 * 16
    assert found.traces is None
    assert found == measure(product, *shapes)


def test_temporary_memory_is_seen():
    def wide(x):
        rows = jnp.cumsum(x[:, None] * jnp.ones((1, 4096)), axis=0)  # held as a whole
        return jnp.sort(rows, axis=1).sum()

    def narrow(x):
        return jnp.cumsum(x).sum()

    shape = jax.ShapeDtypeStruct((256,), jnp.float32)
    assert measure(jax.jit(wide), shape).temporary_bytes >= 4 * 256 * 4096
    assert measure(jax.jit(narrow), shape).temporary_bytes < 1 << 16


@pytest.mark.parametrize(("sizes", "traces"), [((8, 8, 8), 1), ((8, 7, 8, 9), 3)])
def test_traces_are_counted(sizes, traces):
    """A ragged last step is a second program; what an earlier run compiled is forgotten first."""
    step = jax.jit(lambda x: x + 1)
    step(np.ones(3))

    def run():
        for size in sizes:
            step(np.ones(size, np.float32))

    assert measure(step, np.ones(8, np.float32), during=run).traces == traces


def test_on_one_machine_every_number_counts():
    before = PROGRAM.to_dict()
    assert changes(before, PROGRAM, []) == []
    dearer = replace(PROGRAM, flops=1e6 + 2, output_bytes=12, traces=2)
    assert changes(before, dearer, [], name="step") == [
        "step: flops: 1,000,000 -> 1,000,002",
        "step: output bytes: 8 -> 12",
        "step: traces: 1 -> 2",
    ]


def test_elsewhere_costs_are_held_to_a_factor():
    before, places = PROGRAM.to_dict(), ["jax 0.0.1, here 0.0.2"]
    other = replace(PROGRAM, flops=3.9e6, bytes_accessed=1.1e5, temporary_bytes=1 << 15, output_bytes=12)
    assert changes(before, other, places) == []
    assert changes(before, replace(other, flops=4.1e6), places) == [
        "flops: 1,000,000 -> 4,100,000, more than a factor of 4 apart"
    ]
    assert changes(before, replace(other, flops=4.1e6), places, factor=5) == []
    assert len(changes(before, replace(other, bytes_accessed=0.9e5), places)) == 1
    assert len(changes(before, replace(other, temporary_bytes=1 << 19), places)) == 1
    assert changes({**before, "temporary_bytes": 10}, replace(other, temporary_bytes=1000), places) == []
    assert len(changes(before, replace(other, traces=2), places)) == 1


def test_what_is_not_jitted_is_refused():
    with pytest.raises(TypeError, match=r"no jitted function: give jax\.jit"):
        measure(np.sin, np.ones(3))


def test_direct_offers_its_step_and_compiles_it_once():
    """However the last step ends. The step's outputs are those of a whole step."""
    query = volume.Query(models.MLP((2, 3, 1)), samplers.Gaussian(), volume.BooleanCube(2), volume.Ones())
    method = volume.Direct(30_000, heads=5, bodies=4)
    report, programs = watched(method, query, lambda: volume.estimate(query, method))
    assert report.num_draws == 30_000
    assert programs["step"].traces == 1
    assert programs["step"].flops > 0
    step = calls(method, query)["step"]
    assert isinstance(step, Call)
    blocks = method.plan(query).max_blocks
    assert programs["step"].output_bytes >= 4 * blocks * 6  # five classes and the non-finite


def test_other_methods_offer_theirs():
    query = volume.Query(
        models.Perceptron(2),
        samplers.Gaussian(bias_std=1.0),
        classifier=volume.Fits(np.array([[0.0, 1], [1, 1]]), [0, 1]),
    )
    assert list(calls(volume.Trained(runs=4), query)) == ["step"]
    assert list(calls(volume.Splitting(particles=4, replicates=2), query)) == ["level"]
    assert calls(volume.InfiniteWidth(), query) == {}
