"""What prior draws of a network show before anything is estimated.

Shape letters: N inputs, T networks, C outputs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program
from volume.common.seeds import threefry_key
from volume.functions.importance import Seen
from volume.models import Model
from volume.queries.query import Query
from volume.samplers import Prior, standard_normal

TRIED = 256  # networks of each kind in `look`
# Kinds: normals as they are, all positive, positive above the first layer; times a size. Large ones find outputs that
# are 0 unless a parameter is far out.
KINDS = tuple((kind, size) for kind in range(3) for size in (1.0, 5.0, 50.0))
SHRUNK = 3  # a kind: normals as they are, those of the last layer times `SHRINKING`
SHRINKING = 1e-3


def look(query: Query, inputs: np.ndarray, precision: str) -> Seen:
    """Look at what networks give at each input: which outputs are always 0, and how large the others are.

    A narrow ReLU network is mostly dead, and one with thresholds mostly below them: neither must be taken for one that
    can give nothing but 0. So networks with positive weights and with large ones are tried beside prior draws.
    """
    with jax.default_matmul_precision(precision), jax.enable_x64(inputs.dtype == np.float64):
        found = [_tried(query.model, query.prior, inputs, *kind) for kind in (*KINDS, (SHRUNK, 1.0))]
    zero, square = (np.array(each) for each in zip(*found, strict=True))
    square = np.nan_to_num(square.astype(float), posinf=np.finfo(inputs.dtype).max ** 0.5)
    shrinks = bool(np.all(square[-1] <= 10 * SHRINKING**2 * square[0]))
    return Seen(np.all(zero[:-1], axis=0), square[0], shrinks, query.model.num_outputs)


@program(static_argnames=("model", "prior"))
def _tried(model: Model, prior: Prior, inputs: Array, kind: int, size: float) -> tuple[Array, Array]:
    """At each input [N]: whether every output of every network was 0, and the mean square of the finite outputs."""

    last = max(p.layer for p in model.parameters)

    def outputs(key: Array) -> Array:
        z = standard_normal(key, model.parameters, inputs.dtype)
        shrunk = [p.name for p in model.parameters if p.layer == last]
        z = {**z, **{name: z[name] * jnp.where(kind == SHRUNK, SHRINKING, 1.0) for name in shrunk}}
        positive = {p.name: (kind == 1) | ((kind == 2) & (p.layer > 0)) for p in model.parameters}
        z = {name: size * jnp.where(positive[name], jnp.abs(value), value) for name, value in z.items()}
        return model.apply(prior.transform(z, model.parameters), inputs)

    keys = jax.random.split(threefry_key(0), TRIED)
    values = jax.lax.map(outputs, keys, batch_size=16)  # [T, N, C]
    finite = jnp.where(jnp.isfinite(values), values, 0)
    return jnp.all(values == 0, axis=(0, 2)), jnp.mean(finite**2, axis=(0, 2))
