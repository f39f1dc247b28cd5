"""Moves that leave a standard normal invariant: windows of points on a random ellipse.

For z and nu independent N(0, I), every point z cos t + nu sin t is N(0, I) too, and rotating the pair (z, nu) changes
nothing (Murray, Adams and MacKay 2010, elliptical slice sampling, section 2). Put G points at angles (i - j) * step,
i = 0..G-1, with j uniform on 0..G-1, so that z itself is point j: given the set of points, each is equally likely to
have been the current one. Choosing the next point uniformly among those in a set A, where z is in A, is then a
reversible move for N(0, I) restricted to A, at a fixed cost of G evaluations and one draw of nu; and the share of
those points that lie in a subset B of A has expectation P(B | A) whatever the window (Rao and Blackwell). Unlike a
slice that shrinks until it hits, nothing waits for the slowest particle of a batch, and no evaluation is wasted.

Where the last layer is linear and drawn apart (`can_share_heads`), body and head turn on ellipses of their own: a
window is then a torus of Gb x Gh points, which costs Gb evaluations of the body and one matrix product.

Shape letters: Gb, Gh points of the body's and the head's ellipse, N inputs, F features, C outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.models import Model, Params

from .blocks import can_share_heads
from .prior import Prior, standard_normal


@dataclass(frozen=True)
class Arcs:
    """Where the points of a window lie. Static under ``jax.jit``; :func:`arcs` makes it for a model and a prior."""

    model: Model
    prior: Prior
    body_points: int  # Gb
    head_points: int  # Gh

    @property
    def head_names(self) -> tuple[str, ...]:
        """Parameters that turn with the head; none where the network is moved as a whole."""
        head = self.model.head
        if head is None or not can_share_heads(self.model, self.prior):
            return ()
        return (head.weight,) if head.bias is None else (head.weight, head.bias)

    @property
    def full_steps(self) -> tuple[float, float]:
        """Steps at which a window goes once around its ellipses."""
        return 2 * math.pi / self.body_points, 2 * math.pi / self.head_points


def arcs(model: Model, prior: Prior, *, body_points: int, head_points: int) -> Arcs:
    """Return the windows that suit a network: where all of it is the head, or nothing is, the other side has one point.

    A network that cannot be split is moved as a whole, with the body's number of points.
    """
    curves = Arcs(model, prior, body_points, head_points)
    if not curves.head_names:
        return Arcs(model, prior, body_points, 1)
    if len(curves.head_names) == len(model.parameters):
        # Evaluating heads on fixed features costs next to nothing.
        return Arcs(model, prior, 1, head_points)
    return curves


class Window:
    """The points around one state, inside a traced function.

    Args:
        arcs: how many points.
        key: consumed.
        z: the state: standard normals of the parameters' names and shapes.
        body_step, head_step: radians between neighbours.
    """

    def __init__(self, arcs: Arcs, key: Array, z: Params, body_step: Array, head_step: Array):
        self.arcs, self.z = arcs, z
        key_nu, key_at = jax.random.split(key)
        dtype = next(iter(z.values())).dtype
        self.nu = standard_normal(key_nu, arcs.model.parameters, dtype)
        # Not `randint`, which compiles several times as long. Uniforms have 23 bits: exact for a power of two.
        at = jax.random.uniform(key_at, (2,)) * np.array([arcs.body_points, arcs.head_points])
        self.body_at, self.head_at = at.astype(jnp.int32)
        self.body_angles = (jnp.arange(arcs.body_points) - self.body_at) * body_step  # [Gb]
        self.head_angles = (jnp.arange(arcs.head_points) - self.head_at) * head_step  # [Gh]

    @property
    def current(self) -> Array:
        """Index of the state itself among the Gb * Gh points."""
        return self.body_at * self.arcs.head_points + self.head_at

    def outputs(self, inputs: Array) -> Array:
        """Return outputs [Gb, Gh, N, C] of the networks at all points."""
        model, prior = self.arcs.model, self.arcs.prior
        names = self.arcs.head_names
        body = tuple(p for p in model.parameters if p.name not in names)
        turned = jax.vmap(lambda angle: self._turn(angle, [p.name for p in body]))(self.body_angles)
        if not names:
            return jax.vmap(lambda z: model.apply(prior.transform(z, body), inputs))(turned)[:, None]
        head = model.head
        assert head is not None  # head_names
        last = tuple(p for p in model.parameters if p.name in names)
        features = jax.vmap(
            lambda z: model.features(prior.transform(z, body), inputs), axis_size=len(self.body_angles)
        )(turned)  # [Gb, N, F]
        theta = jax.vmap(lambda angle: prior.transform(self._turn(angle, names), last))(self.head_angles)
        weight = theta[head.weight]  # [Gh, F, C]
        if weight.shape[-1] == 1:
            outputs = jnp.einsum("bnf,hf->bhn", features, weight[..., 0])[..., None]
        else:
            outputs = jnp.einsum("bnf,hfc->bhnc", features, weight)
        return outputs if head.bias is None else outputs + theta[head.bias][None, :, None, :]

    def point(self, index: Array) -> Params:
        """Return the state at one of the Gb * Gh points."""
        body, head = jnp.divmod(index, self.arcs.head_points)
        names = self.arcs.head_names
        rest = [name for name in self.z if name not in names]
        return self._turn(self.body_angles[body], rest) | self._turn(self.head_angles[head], names)

    def _turn(self, angle: Array, names: list[str] | tuple[str, ...]) -> dict[str, Array]:
        return {name: self.z[name] * jnp.cos(angle) + self.nu[name] * jnp.sin(angle) for name in names}
