"""The kernel of splitting with an integrated last layer: particles are bodies, the layers below the last.

Given a body the outputs are linear in the last layer's normals w, so that its labels hold with the chance o of a cone
(volume.estimators.integrated). Particles of the measure prior x o^^t, o^ an approximation of o and t the temperature,
move by steps that leave the prior invariant,

    z' = z cos(step) + nu sin(step),  nu ~ N(0, I),  accepted with min(1, (o^(z') / o^(z))^t)

(preconditioned Crank-Nicolson; Cotter, Roberts, Stuart and White 2013, section 4), and the last stage, to the class
itself, weighs a body by an unbiased estimate of o over o^^t (Andrieu and Roberts 2009: an unbiased estimate leaves the
measure as it is). Whatever o^ is, as long as it is positive and a function of the body alone, nothing is biased.

Shape letters: m labelled inputs, d entries of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.estimators.integrated.cone import log_cone_probability
from volume.estimators.integrated.expectation_propagation import SWEEPS, Cone, Gaussian, cone, gaussian, turned
from volume.estimators.smc.kernel import Move
from volume.estimators.smc.tuning import MAX_TUNING
from volume.estimators.smc.tuning import turned as turned_step
from volume.estimators.splitting.stage import ClassKernel, Data
from volume.functions.importance import ImportanceFunction, Right
from volume.models import Model, Params
from volume.samplers import Gaussian as GaussianPrior
from volume.samplers import Prior, can_share_heads, standard_normal

LOG_APPROXIMATION = "log_approximation"  # of a particle, beside its normals: log o^, natural
INNER = 16  # particles of the unbiased estimate of o
ACCEPTED = 0.3  # share of proposals, to which the step is tuned


class Temperatures(NamedTuple):
    """One stage's constants: from prior x o^^level to prior x o^^next_level, or to the class itself (+inf)."""

    level: Any
    next_level: Any
    step: Any  # radians towards a fresh draw
    log_scale: Any  # keeps the weights o^^(next_level - level) near 1

    def cast(self, dtype: np.dtype) -> Temperatures:
        """Give the constants as scalars of the dtype of the run."""
        return Temperatures(*(np.asarray(value, dtype) for value in self))


class Space(NamedTuple):
    """What the moves of a stage share."""

    inputs: Array  # [m, ...]
    labels: Array  # [m]


def why_moved(model: Model, prior: Prior, score: ImportanceFunction) -> str:
    """Say why the last layer cannot be integrated: the middle of a sentence; empty where it can be."""
    if not (isinstance(score, Right) and score.least == len(score.labels)):
        return "the class is not a set of labels"
    if model.head is None:
        return "the network has no linear last layer that its model declares"
    if not isinstance(prior, GaussianPrior) or not can_share_heads(model, prior):
        return f"the prior {prior!r} does not draw the last layer from independent Gaussians, apart from the others"
    if any(p.kind == "scale" for p in model.parameters if p.name in (model.head.weight, model.head.bias)):
        return "the last layer has a scale, which is drawn around 1"
    return ""


@dataclass(frozen=True)
class BodyKernel(ClassKernel):
    """Moves bodies by steps that leave the prior invariant, accepted by the approximate chance of the labels."""

    model: Model
    prior: Prior
    score: Right  # blank: which labels comes along as data
    last: bool = False  # for the stage to the class itself: bodies stay, and are weighed by the unbiased estimate
    sweeps: int = SWEEPS
    inner: int = INNER

    num_steps = cost = draw_cost = 1
    first_step = (math.pi / 2,)
    max_tuning = MAX_TUNING
    first_level = 0.0
    stage_type = Temperatures

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The normals of a body, and log o^."""
        return {p.name: p.shape for p in self._body} | {LOG_APPROXIMATION: ()}

    @property
    def num_labels(self) -> int:
        """Labels that the class asks for, m."""
        return len(self.score.labels)

    @property
    def num_weights(self) -> int:
        """Weights of each output, its bias among them, d."""
        assert self.model.head is not None  # why_moved
        return self.model.head.num_features + (self.model.head.bias is not None)

    @property
    def num_floats(self) -> int:
        """Numbers that one move holds at the same time: the body and the Gaussian of its cone."""
        outputs = self.model.num_outputs
        m, d = self.num_labels * max(1, outputs - 1), self.num_weights * outputs
        d = m if _turns(m, d) else d
        return sum(math.prod(shape) for shape in self.state_shapes.values()) + 2 * d * d + 2 * m * d

    def init(self, key: Array, data: Data) -> tuple[Params, Array]:
        """Draw a body from the prior."""
        z = standard_normal(key, self._body, data.inputs.dtype)
        z = self._seen(z, self.prepare(data))
        return z, jnp.where(jnp.isfinite(z[LOG_APPROXIMATION]), 0.0, jnp.nan)

    def prepare(self, data: Data) -> Space:
        """Find the labels among the arrays."""
        score = data.fill(self.score)
        assert isinstance(score, Right)
        return Space(data.inputs[score.positions], jnp.asarray(score.labels))

    def move(self, key: Array, z: Params, space: Space, stage: Temperatures) -> Move:
        """Return one move of one body; the key is consumed."""
        if self.last:
            return self._weighed(key, z, space, stage)
        key_new, key_accept, key_candidate = jax.random.split(key, 3)
        fresh = standard_normal(key_new, self._body, space.inputs.dtype)
        new = {name: z[name] * jnp.cos(stage.step) + fresh[name] * jnp.sin(stage.step) for name in fresh}
        new = self._seen(new, space)
        before, after = z[LOG_APPROXIMATION], new[LOG_APPROXIMATION]
        chance = jnp.exp(jnp.minimum(stage.level * (after - before), 0))
        accepted = jax.random.uniform(key_accept) < chance
        arrived = {name: jnp.where(accepted, new[name], z[name]) for name in z}
        # Both ends count, by the chance to arrive there.
        change = stage.next_level - stage.level
        stays, goes = (jnp.exp(change * log + stage.log_scale) for log in (before, after))
        share = (1 - chance) * stays + chance * goes
        first = jax.random.uniform(key_candidate) * share < chance * goes
        candidate = {name: jnp.where(first, new[name], z[name]) for name in z}
        others = jnp.stack([chance, jnp.zeros_like(chance)])
        return Move(arrived, share, candidate, accepted, others, arrived[LOG_APPROXIMATION])

    def around(self, key: Array, z: Params, space: Space, stage: Temperatures, number: Array | int = 0) -> Any:
        """Conditional runs have no such steps: a `bracket` takes moved last layers."""
        raise NotImplementedError

    def plain_score(self, z: Params, data: Data) -> Array:
        """Return log o^ of the body."""
        return self._seen(z, self.prepare(data))[LOG_APPROXIMATION]

    def stay(self, level: float, step: tuple[float]) -> Temperatures:
        """Stay at the temperature."""
        return Temperatures(level, math.inf, *step, 0.0)

    def tune(self, stage: Temperatures, others: np.ndarray) -> tuple[tuple[float], bool]:
        """Turn the step until about a third of the proposals is accepted."""
        if stage.level == 0 or not self._body:  # everything is accepted: a fresh draw is best
            return (stage.step,), True
        step = turned_step(stage.step, float(others[0]), ACCEPTED, *self.first_step)
        return (step,), step == stage.step

    # --- the last layer ---

    @property
    def _head(self) -> tuple[str, ...]:
        head = self.model.head
        assert head is not None  # why_moved
        return (head.weight,) if head.bias is None else (head.weight, head.bias)

    @property
    def _body(self) -> tuple[Any, ...]:
        return tuple(p for p in self.model.parameters if p.name not in self._head)

    def cone(self, z: Params, space: Space) -> Cone:
        """Make the cone of heads that give a body's labels."""
        head = self.model.head
        assert head is not None
        last = tuple(p for p in self.model.parameters if p.name in self._head)
        body = self.prior.transform({p.name: z[p.name] for p in self._body}, self._body)
        features = self.model.features(body, space.inputs)
        # The prior is linear in the head's normals, entry by entry: where each is 1 it shows its sizes.
        sizes = self.prior.transform({p.name: jnp.ones(p.shape, features.dtype) for p in last}, last)
        parts = [features[:, None] * sizes[head.weight].T]  # [m, C, F]
        if head.bias is not None:
            parts.append(jnp.broadcast_to(sizes[head.bias][:, None], (*parts[0].shape[:2], 1)))
        made = cone(jnp.concatenate(parts, axis=2), space.labels)
        return turned(made) if _turns(*made.rows.shape) else made

    def _gaussian(self, z: Params, space: Space) -> tuple[Cone, Gaussian]:
        made = self.cone(z, space)
        return made, gaussian(made, self.sweeps)

    def _seen(self, z: Params, space: Space) -> dict[str, Array]:
        """The body with its log o^; NaN where an output is not finite."""
        made, found = self._gaussian(z, space)
        log_value = jnp.where(jnp.all(jnp.isfinite(made.rows)), found.log_value, jnp.nan)
        return {p.name: z[p.name] for p in self._body} | {LOG_APPROXIMATION: log_value}

    def _weighed(self, key: Array, z: Params, space: Space, stage: Temperatures) -> Move:
        """The body as it is, with an unbiased estimate of o over o^^level; 0 for an estimate that failed."""
        log_estimate, _ = log_cone_probability(key, *self._gaussian(z, space), self.inner)
        share = jnp.exp(log_estimate - stage.level * z[LOG_APPROXIMATION] + stage.log_scale)
        return Move(z, share, z, jnp.array(True), jnp.ones(2, share.dtype), z[LOG_APPROXIMATION])


def _turns(num_rows: int, num_weights: int) -> bool:
    """Whether a cone is better looked at in the space of its rows, which a QR factorisation finds."""
    return 2 * num_rows <= num_weights
