"""Conditional sequential Monte Carlo: runs in which particle 0 follows a path that is never killed.

Quantity: 1 / p_hat of a run that keeps a path to a given state, a draw from the last measure. The kernel's steps are
reversible, so running them backwards from that state, level by level, gives a path that an ordinary run might have
taken to it; a run in which particle 0 follows that path (Andrieu, Doucet and Holenstein 2010, section 4.3) has

    E[1 / p_hat] = P(an ordinary run survives) / p <= 1 / p.

One level backwards, from the state x' that enters the next level: the path left its chain at step t, uniform on 1..P. A
step seen from x' holds the chain's states before and after that step, each a draw from what is inside; from the first,
t - 1 steps lead back to where the chain began, from the second, P - t steps lead to where it ended. The weight is the
mean share over those P steps, as for any particle (volume.estimators.smc.step).

Shape letters: R runs, P reversible steps of a chain at one level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program
from volume.estimators.smc.kernel import Kernel
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import Retained, advance, draw


@program(static_argnames="scheme")
def backwards(scheme: Scheme[Kernel], keys: Array, z: Any, data: Any, stage: Any) -> Retained:
    """Lead the states z [R, ...] that entered the next level back to those that entered this one, with weights [R]."""
    kernel, num = scheme.kernel, scheme.num_moves * scheme.kernel.num_steps

    def steps(space: Any, key: Array, z: Any, first: Array, by: int, count: Array) -> tuple[Any, Array]:
        """Return the state after ``count`` of P - 1 steps, number ``first`` and on by ``by``, and the sum of their
        shares."""

        def step(state: tuple[Any, Array], at: tuple[Array, Array]) -> tuple[tuple[Any, Array], None]:
            (z, total), (key, number) = state, at
            key_around, key_next = jax.random.split(key)
            seen = kernel.around(key_around, z, space, stage, first + by * number)
            goes = number < count
            kept = jax.tree.map(partial(jnp.where, goes), seen.somewhere(key_next), z)
            return (kept, total + jnp.where(goes, seen.share, 0)), None

        state, _ = jax.lax.scan(step, (z, jnp.zeros(())), (jax.random.split(key, num - 1), jnp.arange(num - 1)))
        return state

    def one(space: Any, key: Array, z: Any) -> Retained:
        key_step, key_window, key_before, key_after, key_back, key_on = jax.random.split(key, 6)
        left = jax.random.randint(key_step, (), 0, num)  # t, counted from 0
        seen = kernel.around(key_window, z, space, stage, left)
        start, back = steps(space, key_back, seen.somewhere(key_before), left - 1, -1, left)
        _, on = steps(space, key_on, seen.somewhere(key_after), left + 1, 1, num - 1 - left)
        return Retained(start, (seen.share + back + on) / num)

    with jax.default_matmul_precision(scheme.precision):
        space = kernel.prepare(data)
        return jax.vmap(partial(one, space))(keys, z)


def conditional_runs(
    scheme: Scheme[Kernel], stages: Sequence[Any], z: Any, data: Any, dtype: Any, key: Array, num_runs: int
) -> np.ndarray:
    """Run several times with a path to one state.

    Args:
        scheme: kernel and sizes.
        stages: of a pilot, all constants.
        z: the state, a draw from the last measure.
        data: arrays that the kernel reads.
        dtype: of the run.
        key: consumed.
        num_runs: R.

    Returns:
        log p_hat, natural, [R].
    """
    keys, dtype = jax.random.split(key, num_runs), np.dtype(dtype)

    def at(number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)

    here = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_runs, *leaf.shape)), z)
    path: list[Retained] = []  # by level, from the last: where the path enters the next one, and its weight
    for number, stage in reversed(list(enumerate(stages))):
        backward = backwards(scheme, at(2 * number + 1), here, data, stage.cast(dtype))
        path.append(Retained(here, backward.weight))
        here = backward.z
    state, _ = draw(scheme, at(0), data)
    state = state._replace(z=jax.tree.map(lambda all_, one: all_.at[:, 0].set(one), state.z, here))
    total = np.zeros(num_runs)
    for number, (stage, retained) in enumerate(zip(stages, reversed(path), strict=True)):
        cast = stage.cast(dtype)
        state, info = advance(scheme, at(2 * number + 2), state, data, cast, retained)
        total += np.log(np.asarray(info.factor, float)) - float(cast.log_scale)
    return total
