"""The kernel of splitting on windows of points (volume.samplers.Arcs): one step is one move.

Shape letters: Gb, Gh points of a window, M inputs, C outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.estimators.smc.kernel import Move
from volume.estimators.smc.tuning import MAX_TUNING, alone_inside, turned
from volume.estimators.splitting.stage import ClassKernel, Data, Stage, draw_network
from volume.functions.importance import ImportanceFunction
from volume.models import Model, Params, num_parameters
from volume.samplers import Arcs, Prior, Window

# Share of a torus's other points, on either ellipse, that lie inside the level.
OTHERS_INSIDE = 0.1


class Space(NamedTuple):
    """What the moves of a level share."""

    score: ImportanceFunction
    inputs: Array  # [M, ...]


class WindowStep(NamedTuple):
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
        """Draw one of the points inside, uniformly."""
        return self.window.point(choose(key, self.inside))


@dataclass(frozen=True)
class WindowKernel(ClassKernel):
    """Moves to a point of a window inside the level, uniformly."""

    arcs: Arcs
    score: ImportanceFunction  # the importance function, of outputs at the inputs that come along
    num_steps = 1
    draw_cost = 1
    max_tuning = MAX_TUNING

    @property
    def model(self) -> Model:
        return self.arcs.model

    @property
    def prior(self) -> Prior:
        return self.arcs.prior

    @property
    def cost(self) -> int:
        """Network evaluations of one move: bodies; the heads of a window come with one product."""
        return self.arcs.body_points

    @property
    def num_floats(self) -> int:
        """Numbers that one move holds at the same time: the networks and outputs of a window."""
        size = num_parameters(self.model)
        outputs = len(self.score.rows) * self.model.num_outputs * self.arcs.head_points
        return self.arcs.body_points * (size + 2 * outputs)

    @property
    def first_step(self) -> tuple[float, float]:
        """Once around both ellipses."""
        return self.arcs.full_steps

    def init(self, key: Array, data: Data) -> tuple[Params, Array]:
        """Draw from the prior."""
        return draw_network(self.model, self.prior, key, data.inputs)

    def prepare(self, data: Data) -> Space:
        """Windows need nothing but the arrays."""
        return Space(data.fill(self.score), data.inputs)

    def plain_score(self, z: Params, data: Data) -> Array:
        """Return the importance function of the network's outputs."""
        outputs = self.model.apply(self.prior.transform(z, self.model.parameters), data.inputs)
        return data.fill(self.score)(outputs[:, 0] if self.model.num_outputs == 1 else outputs)

    def stay(self, level: float, step: tuple[float, float]) -> Stage:
        """Stay at the level."""
        return Stage(level, math.inf, *step)

    def around(self, key: Array, z: Params, space: Space, stage: Stage, number: Array | int = 0) -> WindowStep:
        """A window of the state z, whatever the step's ``number``; the key is consumed."""
        window = Window(self.arcs, key, z, stage.body_step, stage.head_step)
        score = self._scores(window, space)
        # The state counts as inside whatever the rounding of another matrix product says of it.
        inside = (score >= stage.level) | (jnp.arange(score.size).reshape(score.shape) == window.current)
        return WindowStep(window, score, inside, inside & (score >= stage.next_level))

    def move(self, key: Array, z: Params, space: Space, stage: Stage) -> Move:
        """Return one move of one particle; the key is consumed."""
        key_window, key_next, key_candidate = jax.random.split(key, 3)
        window, score, inside, above = seen = self.around(key_window, z, space, stage)
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

    def tune(self, stage: Stage, others: np.ndarray) -> tuple[tuple[float, float], bool]:
        """Turn the steps until about a tenth of a window's other points on either ellipse lie inside."""
        steps = stage.body_step, stage.head_step
        if stage.level == -math.inf:  # everything is inside: once around is best
            return steps, True
        points = self.arcs.body_points, self.arcs.head_points
        new = []
        for step, full_step, inside, num in zip(steps, self.arcs.full_steps, others, points, strict=True):
            wanted = OTHERS_INSIDE if min(points) > 1 else alone_inside(num)
            new.append(turned(step, float(inside), wanted, full_step) if num > 1 else step)
        return (new[0], new[1]), tuple(new) == steps

    def _scores(self, window: Window, space: Space) -> Array:
        """Scores [Gb, Gh] of a window's points."""
        outputs = window.outputs(space.inputs)
        if self.model.num_outputs == 1:
            outputs = outputs[..., 0]
        return jax.vmap(jax.vmap(space.score))(outputs)


def choose(key: Array, among: Array) -> Array:
    """Index of one of the True entries, uniformly; 0 when there is none."""
    return jnp.argmax(jnp.where(among.ravel(), jax.random.uniform(key, (among.size,)), -1.0))
