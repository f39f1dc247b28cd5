"""Moves along straight lines, for networks that are all head: outputs linear in a standard normal.

With features phi that no parameter changes (a perceptron's inputs) and independent Gaussian weights, the outputs are
rows . z, z ~ N(0, I). Along a unit vector d the coordinate z.d is N(0, 1) given the rest of z, and on a polyhedron
{rows z >= thresholds} it is that normal on an interval, which can be drawn from exactly: no step to tune, nothing
rejected (Gibbs sampling along chosen directions; Kotecha and Djuric 1999 for the coordinate axes).

Two sets of directions, because each is slow where the other is quick. Moving along a column of the pseudo-inverse of
the rows changes one output alone: a random direction would have to respect all of them at once, and goes D times less
far. Moving along a right singular vector changes a combination of outputs that the rows make large: outputs that are
nearly one another's sums move together.

Shape letters: N rows, D entries of z, K directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from volume.models import Model, Params

from .blocks import can_share_heads
from .independent import Gaussian
from .prior import Prior

# Singular values below this share of the largest belong to rounding (float32, a few hundred rows).
RANK_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Lines:
    """A network of which every output is linear in the normals. Static under ``jax.jit``; :func:`lines` makes it."""

    model: Model
    prior: Prior

    # One window with one point, for who counts evaluations or tunes steps: there is none.
    body_points = head_points = 1
    full_steps = (1.0, 1.0)

    def rows(self, inputs: Array) -> Array:
        """[N, D] with outputs = rows @ flat(z), for inputs [N, ...]."""
        model, head = self.model, self.model.head
        assert head is not None  # lines
        features = model.features({}, inputs)
        # The prior is linear in z, entry by entry: where every normal is 1 it shows its sizes.
        ones = {p.name: jnp.ones(p.shape, features.dtype) for p in model.parameters}
        sizes = self.prior.transform(ones, model.parameters)
        parts = {head.weight: features * sizes[head.weight][:, 0]}
        if head.bias is not None:
            parts[head.bias] = jnp.broadcast_to(sizes[head.bias], (len(features), 1))
        return jnp.concatenate([parts[p.name] for p in model.parameters], axis=1)

    def flat(self, z: Params) -> Array:
        """[D], in the order of the model's parameters."""
        return jnp.concatenate([z[p.name].ravel() for p in self.model.parameters])

    def params(self, flat: Array) -> Params:
        """Return the inverse of :meth:`flat`."""
        params, start = {}, 0
        for p in self.model.parameters:
            size = math.prod(p.shape)
            params[p.name] = flat[start : start + size].reshape(p.shape)
            start += size
        return params


def lines(model: Model, prior: Prior) -> Lines | None:
    """Return moves along lines for a network of one output that is all head under a Gaussian prior; None for any
    other."""
    head = model.head
    if head is None or model.num_outputs != 1 or not isinstance(prior, Gaussian):
        return None
    if len(model.parameters) > 1 + (head.bias is not None) or not can_share_heads(model, prior):
        return None
    return Lines(model, prior)


class Directions(NamedTuple):
    """Unit vectors to move along, and what each changes."""

    vectors: Array  # [K, D] of length 1
    effects: Array  # [K, N] what one unit along each changes
    space: Array  # [r, D] an orthonormal basis that holds all rows


def directions(rows: Array) -> Directions:
    """Return the directions that suit these rows [N, D], none of them 0."""
    combine, sizes, space = jnp.linalg.svd(rows, full_matrices=False)
    inverse = jnp.where(sizes > RANK_TOLERANCE * sizes[0], 1 / sizes, 0)
    own = (combine * inverse) @ space  # [N, D], the columns of the pseudo-inverse
    own = own / jnp.maximum(jnp.linalg.norm(own, axis=1, keepdims=True), jnp.finfo(rows.dtype).tiny)
    vectors = jnp.concatenate([own, space])
    return Directions(vectors, vectors @ rows.T, space)


def refreshed(key: Array, z: Array, space: Array) -> Array:
    """z [D] with what no row reads, its part outside of ``space`` [r, D], drawn anew; the key is consumed."""
    if space.shape[0] == space.shape[1]:
        return z
    fresh = jax.random.normal(key, z.shape, z.dtype)
    return fresh + space.T @ (space @ (z - fresh))
