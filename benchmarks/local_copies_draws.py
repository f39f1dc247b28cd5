"""Anchors of a class, and what their copies see of it by draws: a check of volume.estimators.local.copies that shares
none of it.

A parameter vector of the class is *seen* from a copy of the anchor when the straight line between them stays in the
class. All copies cover the vectors that are seen from any of them. Cut apart, they cover those that are seen from their
nearest copy: the share of such draws is what rays in the anchor's cell estimate, times the number of copies, over the
class's volume. Copies are written out one by one here, and lines are looked at in `POINTS` points.

Shape letters: M draws of the class, G copies, P parameters, N inputs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import volume
from volume import models, samplers

POINTS = 64  # of a line between a draw and a copy
CHUNK = 1 << 17  # prior draws at once
STEPS, RATE = 500, 0.05  # Adam, all inputs at once, from a draw of the prior
STARTS = 64  # training runs at once

Params = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A network with one hidden layer, and the truth tables that are looked at."""

    widths: tuple[int, int, int]
    activation: str
    tables: tuple[str, ...]

    @property
    def model(self) -> models.MLP:
        return models.MLP(self.widths, self.activation)

    @property
    def prior(self) -> samplers.Gaussian:
        return samplers.Gaussian(weight_std=1.5, bias_std=1.0)

    @property
    def domain(self) -> volume.BooleanCube:
        return volume.BooleanCube(self.widths[0])

    @property
    def query(self) -> volume.Query:
        return volume.Query(self.model, self.prior, self.domain)

    @property
    def size(self) -> int:
        """P."""
        return sum(math.prod(p.shape) for p in self.model.parameters)

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))} {self.activation}"


def bits(table: str) -> np.ndarray:
    return np.array(list(table)) == "1"


@partial(jax.jit, static_argnames=("case", "count"))
def _drawn(case: Case, key: Any, count: int) -> tuple[Any, Any]:
    """Parameters of so many prior draws, and their outputs [count, N]."""
    params = jax.vmap(lambda k: dict(case.prior.draw(k, case.model.parameters)))(jax.random.split(key, count))
    inputs = jnp.asarray(case.domain.inputs, jnp.float32)
    return params, jax.vmap(case.model.apply, (0, None))(params, inputs)[..., 0]


def class_draws(case: Case, table: str, wanted: int, most: int, seed: int) -> Params:
    """Up to ``wanted`` prior draws of the class, stacked by parameter [M, ...], out of ``most`` at most."""
    found: list[Params] = []
    key, count = jax.random.key(seed), 0
    for chunk in range(max(1, most // CHUNK)):
        params, outputs = _drawn(case, jax.random.fold_in(key, chunk), CHUNK)
        hit = np.flatnonzero(((np.asarray(outputs) > 0) == bits(table)).all(axis=1))
        found.append({name: np.asarray(value[hit]) for name, value in params.items()})
        count += len(hit)
        if count >= wanted:
            break
    return {name: np.concatenate([part[name] for part in found])[:wanted] for name in found[0]}


@partial(jax.jit, static_argnames="case")
def _trained(case: Case, start: Any, labels: Any) -> tuple[Any, Any]:
    """Adam on cross-entropy from each start; the parameters and outputs [., N] at the end."""
    inputs, optimiser = jnp.asarray(case.domain.inputs, jnp.float32), optax.adam(RATE)
    sign = 2.0 * labels - 1

    def loss(params: Any) -> Any:
        return jnp.mean(jax.nn.softplus(-sign * case.model.apply(params, inputs)[:, 0]))

    def step(carry: Any, _: None) -> Any:
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    def one(params: Any) -> Any:
        params = jax.lax.scan(step, (params, optimiser.init(params)), None, length=STEPS)[0][0]
        return params, case.model.apply(params, inputs)[:, 0]

    return jax.vmap(one)(start)


def trained(case: Case, table: str, count: int, seed: int) -> list[Params]:
    """The first networks that training brought into the class, of `STARTS`; fewer where few got there."""
    start, _ = _drawn(case, jax.random.key(seed), STARTS)
    params, outputs = _trained(case, start, jnp.asarray(bits(table), jnp.float32))
    fit = np.flatnonzero(((np.asarray(outputs) > 0) == bits(table)).all(axis=1))[:count]
    return [{name: np.asarray(value[i]) for name, value in params.items()} for i in fit]


def scales(case: Case) -> Params:
    """The prior's standard deviation of every parameter."""
    prior = samplers.ray_prior(case.prior, case.model.parameters)
    ends = np.cumsum([math.prod(p.shape) for p in case.model.parameters])[:-1]
    pieces = np.split(prior.scale, ends)
    return {p.name: piece.reshape(p.shape) for p, piece in zip(case.model.parameters, pieces, strict=True)}


def copies(case: Case, anchor: Params) -> Params:
    """Every permutation of the hidden units, with every choice of signs for tanh, stacked [G, ...]."""
    width = case.widths[1]
    signs = [np.array(s) for s in itertools.product((1, -1), repeat=width)]
    signs = signs if case.activation == "tanh" else [np.ones(width)]
    found = []
    for order in itertools.permutations(range(width)):
        units = list(order)
        for sign in signs:
            found.append(
                {
                    "0.weight": anchor["0.weight"][:, units] * sign,
                    "0.bias": anchor["0.bias"][units] * sign,
                    "1.weight": anchor["1.weight"][units] * sign[:, None],
                    "1.bias": anchor["1.bias"],
                }
            )
    return {name: np.stack([one[name] for one in found]) for name in anchor}


@partial(jax.jit, static_argnames="case")
def _sees(case: Case, copy: Any, draws: Any, labels: Any) -> Any:
    """Whether the lines from a copy to draws stay in the class, [M]."""
    inputs = jnp.asarray(case.domain.inputs, jnp.float32)
    steps = jnp.arange(1, POINTS) / POINTS

    def one(draw: Any) -> Any:
        def at(t: Any) -> Any:
            theta = jax.tree.map(lambda a, b: a + t * (b - a), copy, draw)
            return jnp.all((case.model.apply(theta, inputs)[:, 0] > 0) == labels)

        return jnp.all(jax.vmap(at)(steps))

    return jax.vmap(one)(draws)


def seen(case: Case, table: str, anchor: Params, draws: Params) -> tuple[np.ndarray, np.ndarray]:
    """Of draws of the class [M]: whether each is seen from its nearest copy of the anchor, and from any copy."""
    every, scale, labels = copies(case, anchor), scales(case), jnp.asarray(bits(table))

    def flat(params: Params) -> np.ndarray:
        return np.concatenate([(params[n] / scale[n]).reshape(len(params[n]), -1) for n in scale], axis=1)

    nearest = (flat(draws) @ flat(every).T).argmax(axis=1)  # copies are all as far from the prior's centre
    cast = {name: jnp.asarray(value, jnp.float32) for name, value in draws.items()}
    answers = np.stack(
        [
            np.asarray(_sees(case, {n: jnp.asarray(v[g], jnp.float32) for n, v in every.items()}, cast, labels))
            for g in range(len(next(iter(every.values()))))
        ]
    )  # [G, M]
    return answers[nearest, np.arange(answers.shape[1])], np.any(answers, axis=0)
