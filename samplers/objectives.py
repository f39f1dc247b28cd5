"""What training lowers: losses of labelled examples, and policy gradients on the same task as a one-step bandit.

An objective turns the outputs on a batch into one number per example, whose weighted mean is differentiated. Losses,
f the outputs, y the label, and s = 2 y - 1 with one output:

| name | one output | several |
|---|---|---|
| "cross-entropy" | log(1 + exp(-s f)) | log sum_c exp f_c - f_y |
| "mse" | (f - s)^2 | mean over c of (f_c - [c = y])^2 |
| "hinge" | max(0, 1 - s f) | max(0, 1 + max_{c != y} f_c - f_y) (Crammer and Singer 2001) |

The bandit: an action is a label, drawn from pi (sigmoid(f) for label 1 with one output, softmax(f) with several); the
reward r is 1 for the right label and 0 for others; there is no second step. `Reinforce` (Williams 1992) follows
A grad log pi(a) with the advantage A = r - b. Without a baseline b its mean over actions is

    sum_a pi(a) [a = y] grad log pi(a) = pi(y) grad log pi(y),

the gradient of cross-entropy times pi(y): reward only scales the step. A baseline that does not depend on the action
keeps that mean, but a wrong action then has A < 0: the single step pushes it away instead of doing nothing. `PPO`
(Schulman et al. 2017, equation 7) takes several steps on the same actions, clipping the ratio of new to old policy.

Shape letters: B examples of a batch, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from volume.common.choices import LOSSES, POLICY_GRADIENTS
from volume.errors import unknown, whole

BASELINES = ("none", "mean", "value")
DECAY = 0.9  # of the moving average of rewards, the baseline "mean"


class Rollout(NamedTuple):
    """What a policy gradient remembers of the last actions it drew; of a loss, nothing: all arrays are empty."""

    actions: Array  # [B] int32
    log_old: Array  # [B] log pi(action) when it was drawn
    advantage: Array  # [B]
    mean: Array  # [] moving average of the rewards


@runtime_checkable
class Objective(Protocol):
    """Implementations are frozen and hashable: they are static under ``jax.jit``."""

    @property
    def repeats(self) -> int:
        """Steps taken on one batch, one after the other."""
        ...

    @property
    def samples(self) -> bool:
        """Whether actions are drawn: then every step has a key of its own."""
        ...

    def start(self, num_examples: int, dtype: Any) -> Rollout:
        """Return the rollout before the first step."""
        ...

    def act(self, key: Array, outputs: Array, labels: Array, weight: Array, rollout: Rollout) -> Rollout:
        """Draw new actions from the policy of outputs [B, C]; the key is consumed."""
        ...

    def values(self, outputs: Array, labels: Array, rollout: Rollout) -> Array:
        """Return what is lowered, [B], of outputs [B, C]."""
        ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Loss:
    """A loss of labelled examples by name, one of `LOSSES`; ValueError for another."""

    name: str = "cross-entropy"

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise ValueError(unknown("loss", self.name, LOSSES))

    repeats = 1
    samples = False

    def start(self, num_examples: int, dtype: Any) -> Rollout:
        """Return an empty one."""
        del num_examples
        empty = jnp.zeros(0, dtype)
        return Rollout(jnp.zeros(0, jnp.int32), empty, empty, jnp.zeros((), dtype))

    def act(self, key: Array, outputs: Array, labels: Array, weight: Array, rollout: Rollout) -> Rollout:
        """Nothing is drawn."""
        return rollout

    def values(self, outputs: Array, labels: Array, rollout: Rollout) -> Array:
        """Return the losses [B] of outputs [B, C] and labels [B]; see the file's table."""
        one = outputs.shape[1] == 1
        if self.name == "cross-entropy":
            return -log_policy(outputs, labels)
        right = labels[:, None] == jnp.arange(outputs.shape[1])
        signed = outputs[:, 0] * _sign(labels, outputs.dtype)
        if self.name == "mse":
            wanted = _sign(labels, outputs.dtype)[:, None] if one else right.astype(outputs.dtype)
            return jnp.mean((outputs - wanted) ** 2, axis=1)
        if one:
            return jnp.maximum(0, 1 - signed)
        rival = jnp.max(jnp.where(right, -jnp.inf, outputs), axis=1)
        return jnp.maximum(0, 1 + rival - jnp.sum(jnp.where(right, outputs, 0), axis=1))

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return {"name": self.name}


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE on the one-step bandit: what is lowered is -A log pi(a), one action an example and step.

    Args:
        baseline: "none"; "mean", a moving average of earlier rewards (decay .9, 0 at the start); "value", pi(y), the
            expected reward itself, which no critic has to learn here.

    Raises:
        ValueError: an unknown baseline.
    """

    baseline: str = "none"

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ValueError(unknown("baseline", self.baseline, BASELINES))

    samples = True

    @property
    def repeats(self) -> int:
        """1: actions are drawn anew for every step."""
        return 1

    def start(self, num_examples: int, dtype: Any) -> Rollout:
        """No action yet, and an average reward of 0."""
        empty = jnp.zeros(num_examples, dtype)
        return Rollout(jnp.zeros(num_examples, jnp.int32), empty, empty, jnp.zeros((), dtype))

    def act(self, key: Array, outputs: Array, labels: Array, weight: Array, rollout: Rollout) -> Rollout:
        """Return actions [B] from the policy, with their advantages; examples of ``weight`` 0 count in no average."""
        if outputs.shape[1] == 1:
            actions = jax.random.bernoulli(key, jax.nn.sigmoid(outputs[:, 0])).astype(jnp.int32)
        else:
            actions = jax.random.categorical(key, outputs).astype(jnp.int32)
        reward = (actions == labels).astype(outputs.dtype)
        seen = jnp.sum(weight * reward) / jnp.sum(weight)
        advantage = reward
        if self.baseline == "mean":
            advantage = reward - rollout.mean
        elif self.baseline == "value":
            advantage = reward - jnp.exp(log_policy(outputs, labels))
        mean = DECAY * rollout.mean + (1 - DECAY) * seen
        return Rollout(actions, log_policy(outputs, actions), advantage, mean)

    def values(self, outputs: Array, labels: Array, rollout: Rollout) -> Array:
        """-A log pi(a), [B]; its gradient is the estimate of Williams."""
        return -rollout.advantage * log_policy(outputs, rollout.actions)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return {"name": "reinforce", "baseline": self.baseline}


@dataclass(frozen=True)
class PPO(Reinforce):
    """Proximal policy optimisation, clipped: ``steps`` steps on the same actions, ratio q = pi(a) / pi_old(a),

        lowered: -min(q A, clip(q, 1 - clip, 1 + clip) A).

    The first of these steps has q = 1 and is that of `Reinforce` with the same baseline. An example whose ratio has
    left the clip range in the direction of its advantage has no gradient.

    Args:
        baseline: as in `Reinforce`; "mean" by default.
        clip: half the width of the range, in (0, 1).
        steps: on one batch of actions.

    Raises:
        ValueError: an unknown baseline, a clip outside (0, 1), steps that are not a positive whole number.
    """

    baseline: str = "mean"
    clip: float = 0.2
    steps: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.clip, bool) or not isinstance(self.clip, (int, float)) or not 0 < self.clip < 1:
            raise ValueError(f"clip={self.clip!r} is not between 0 and 1: give for example clip=0.2.")
        object.__setattr__(self, "steps", whole("steps", self.steps))

    @property
    def repeats(self) -> int:
        """``steps``."""
        return self.steps

    def values(self, outputs: Array, labels: Array, rollout: Rollout) -> Array:
        """Return the clipped surrogate [B], negated."""
        ratio = jnp.exp(log_policy(outputs, rollout.actions) - rollout.log_old)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        return -jnp.minimum(ratio * rollout.advantage, clipped * rollout.advantage)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return {"name": "ppo", "baseline": self.baseline, "clip": self.clip, "steps": self.steps}


# What `Trained` takes by name.
OBJECTIVES: dict[str, Objective] = {
    **{name: Loss(name) for name in LOSSES},
    **dict(zip(POLICY_GRADIENTS, (Reinforce(), Reinforce("mean"), PPO()), strict=True)),
}


def objective(loss: Any) -> Objective:
    """Return the objective of a name in `OBJECTIVES`, or ``given`` itself where it is one; ValueError or TypeError
    else."""
    if isinstance(loss, str):
        if loss not in OBJECTIVES:
            raise ValueError(unknown("loss", loss, OBJECTIVES))
        return OBJECTIVES[loss]
    if isinstance(loss, type) or not isinstance(loss, Objective):
        raise TypeError(f"{loss!r} is no loss: give one of {', '.join(OBJECTIVES)}, or for example samplers.PPO().")
    return loss


def log_policy(outputs: Array, actions: Array) -> Array:
    """log pi(action) [B] for outputs [B, C]: sigmoid for one output, softmax for several."""
    if outputs.shape[1] == 1:
        return -jax.nn.softplus(-outputs[:, 0] * _sign(actions, outputs.dtype))
    chosen = actions[:, None] == jnp.arange(outputs.shape[1])
    # Picked by a mask: a gather's gradient is a scatter, which does not vectorise over networks.
    return jnp.sum(jnp.where(chosen, outputs, 0), axis=1) - jax.nn.logsumexp(outputs, axis=1)


def _sign(labels: Array, dtype: Any) -> Array:
    return jnp.where(labels > 0, 1, -1).astype(dtype)
