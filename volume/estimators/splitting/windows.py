"""The move of a splitting run on windows of points (volume.samplers.arcs), and what any kind of move gives.

A kind of move is a module: ``prepare`` (what the moves of a level share), ``around`` (one reversible step seen from a
state, given its number), ``move`` (one move of one particle; here one step), ``steps`` (how many steps make a move) and
``cost``. volume.line_moves is the other one.

Shape letters: Gb, Gh points of a window, M inputs, C outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.models import Params
from volume.samplers import Arcs, Window

if TYPE_CHECKING:
    from volume.estimators.smc.step import Target


class Stage(NamedTuple):
    """One level's constants."""

    level: Any  # particles keep score >= level
    next_level: Any
    body_step: Any  # radians between the points of a window
    head_step: Any

    def cast(self, dtype: np.dtype) -> Stage:
        """As scalars of the dtype of the run: a level is data, and no level is compiled anew."""
        return Stage(*(np.asarray(value, dtype) for value in self))


def scores(target: Target, window: Window, inputs: Array) -> Array:
    """Scores [Gb, Gh] of a window's points."""
    outputs = window.outputs(inputs)
    if target.arcs.model.num_outputs == 1:
        outputs = outputs[..., 0]
    return jax.vmap(jax.vmap(target.guide))(outputs)


def choose(key: Array, among: Array) -> Array:
    """Index of one of the True entries, uniformly; 0 when there is none."""
    return jnp.argmax(jnp.where(among.ravel(), jax.random.uniform(key, (among.size,)), -1.0))


class Move(NamedTuple):
    z: Any  # where the particle goes: named normals, or a row of them
    share: Array  # g: of the points inside `level`, those above `next`
    candidate: Any  # one of those; the state itself where there is none
    moved: Array
    others: Array  # [2]
    score: Array  # of the new state


class Around(NamedTuple):
    """The window of one state, seen from a level."""

    window: Window
    score: Array  # [Gb, Gh]
    inside: Array  # [Gb, Gh] bool, and likewise
    above: Array

    @property
    def share(self) -> Array:
        """g: of the points inside the level, those above the next."""
        return jnp.sum(self.above) / jnp.sum(self.inside)

    def somewhere(self, key: Array) -> Params:
        """One of the points inside, uniformly."""
        return self.window.point(choose(key, self.inside))


def around(target: Target, key: Array, z: Params, inputs: Array, stage: Stage, number: Array | int = 0) -> Around:
    """A window of the state z, whatever the step's ``number``; the key is consumed."""
    assert isinstance(target.arcs, Arcs)
    window = Window(target.arcs, key, z, stage.body_step, stage.head_step)
    score = scores(target, window, inputs)
    # The state counts as inside whatever the rounding of another matrix product says of it.
    inside = (score >= stage.level) | (jnp.arange(score.size).reshape(score.shape) == window.current)
    return Around(window, score, inside, inside & (score >= stage.next_level))


def move(target: Target, key: Array, z: Params, inputs: Array, stage: Stage) -> Move:
    """One move of one particle; the key is consumed."""
    key_window, key_next, key_candidate = jax.random.split(key, 3)
    window, score, inside, above = seen = around(target, key_window, z, inputs, stage)
    chosen = choose(key_next, inside)
    others = jnp.stack([jnp.sum(inside[:, window.head_at]), jnp.sum(inside[window.body_at])]) - 1
    return Move(
        z=window.point(chosen),
        share=seen.share,
        candidate=window.point(jnp.where(jnp.any(above), choose(key_candidate, above), window.current)),
        moved=chosen != window.current,
        others=others / jnp.maximum(jnp.array(score.shape) - 1, 1),
        score=score.ravel()[chosen],
    )


def prepare(target: Target, inputs: Array) -> Array:
    """Windows need nothing but the inputs."""
    return inputs


def steps(target: Target) -> int:
    """Reversible steps in one move."""
    return 1


def cost(target: Target) -> int:
    """Network evaluations of one move: bodies; the heads of a window come with one product."""
    return target.arcs.body_points
