"""Replicates of a splitting run that go level by level together, each with its own key.

What a replicate finds depends on its number and on the constants of the run alone: neither on the others of its group
nor on the number of devices (volume.levels). So a group can be any of them, and can go on from its state at a level.

Shape letters: G replicates of a group, N particles of one, L levels, V = N P states visited after the last one, K
classes of a split, W words of a table's key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.estimators.smc.pilot import cost
from volume.estimators.smc.step import Target, advance, draw, survey
from volume.estimators.splitting.windows import Stage
from volume.functions.tables import pack
from volume.models import Params
from volume.samplers import replicated


class Replicate(NamedTuple):
    """What one replicate found."""

    log_estimate: float
    ideal_variance: float  # of log p_hat, were particles independent
    ancestors: float  # particles of the first level that the last ones come from
    evaluations: int  # to the level at which it died: what its group does later is of no use to it
    drawn: int  # fresh prior draws
    nonfinite: int  # of them
    moved: np.ndarray  # [L] share of moves that went somewhere, to the level at which it died
    split: np.ndarray | None = None  # [K] shares of the split's classes; [V, W] keys where it is by tables


class GroupState(NamedTuple):
    """Where a group stands between two levels."""

    level: int  # levels done
    lasted: np.ndarray  # [G] int, levels done until each one died
    log_estimates: np.ndarray  # [G]
    ideal: np.ndarray  # [G]
    nonfinite: np.ndarray  # [G] int
    moved: np.ndarray  # [level, G]
    root: np.ndarray  # [G, N] which particle of the first level each one comes from
    z: Any  # {name: [G, N, ...]}


class Group:
    """Replicates ``numbers`` [G] of one class.

    Args:
        target, inputs, stages, data: as in volume.levels.
        numbers: of the replicates.
        key: of the run; a replicate's key is folded from it by its number.
    """

    def __init__(
        self,
        target: Target,
        numbers: Sequence[int],
        key: Array,
        inputs: np.ndarray,
        stages: list[Stage],
        data: tuple[Any, ...] = (),
    ):
        self.numbers, self.size = list(numbers), len(numbers)
        self._keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.array(numbers))
        self._target, self._inputs, self._stages, self._data = target, inputs, stages, data
        self.at = 0  # levels done
        self._lasted: np.ndarray = np.zeros(self.size, np.int64)
        self.log_estimates = np.zeros(self.size)
        self._nonfinite: np.ndarray = np.zeros(self.size, np.int64)
        self._ideal = np.zeros(self.size)
        self._moved: list[np.ndarray] = []  # [G] of every level
        self._root = np.broadcast_to(np.arange(target.num_particles), (self.size, target.num_particles))
        self._z: Params | None = None

    @property
    def done(self) -> bool:
        return self.at == len(self._stages)

    def _level_keys(self, number: int) -> Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self._keys)

    def advance(self) -> None:
        """One level."""
        if self._z is None:
            self._z, finite = draw(self._target, self._level_keys(0), self._inputs)
            self._nonfinite = np.asarray(np.sum(~np.asarray(finite), axis=1, dtype=np.int64))
        stage = self._stages[self.at].cast(self._inputs.dtype)
        found = advance(self._target, self._level_keys(self.at + 1), self._z, self._inputs, stage, self._data)
        self._z = found.z
        factor = np.asarray(found.factor, float)
        alive = self.log_estimates > -math.inf
        self._lasted = self._lasted + alive
        with np.errstate(divide="ignore", invalid="ignore"):
            self.log_estimates = self.log_estimates + np.log(factor)
            relative = np.asarray(found.weight_square, float) / factor**2 - 1
            relative = np.maximum(relative, 0)  # rounding may put it below where all weights are alike
            self._ideal = self._ideal + relative / self._target.num_particles
        come_from = np.take_along_axis(self._root, np.asarray(found.parent), axis=1)
        self._root = np.where(alive[:, None], come_from, self._root)
        self._moved.append(np.asarray(found.moved_each, float))
        self.at += 1
        if np.all(self.log_estimates == -math.inf):
            self.at = len(self._stages)

    @property
    def state_bytes(self) -> int:
        """Size of `state`."""
        leaves = [] if self._z is None else list(self._z.values())
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    def state(self) -> GroupState:
        """Where it stands; after the first level and before the last."""
        assert self._z is not None
        z = {name: np.asarray(value) for name, value in self._z.items()}
        moved = np.array(self._moved).reshape(-1, self.size)
        numbers = self.log_estimates, self._ideal, self._nonfinite
        return GroupState(self.at, self._lasted, *numbers, moved, np.array(self._root), z)

    def go_on(self, state: GroupState) -> None:
        """From that state."""
        self.at, self._lasted = state.level, state.lasted
        self.log_estimates, self._ideal, self._nonfinite = state.log_estimates, state.ideal, state.nonfinite
        self._moved, self._root = list(state.moved), state.root
        mesh = self._target.mesh
        self._z = state.z if mesh is None else replicated(state.z, mesh)

    def survey(self, split: BoundClassifier, inputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Shares [G, K] of the split's classes; nan for a replicate that died. For tables their keys [G, V, W]."""
        assert self._z is not None
        stage = self._stages[-1]._replace(level=math.inf, next_level=math.inf).cast(self._inputs.dtype)
        keys = self._level_keys(len(self._stages) + 1)
        found = np.asarray(survey(self._target, split, keys, self._z, inputs, rows, stage, self._data))
        if split.route == "table":
            packed = pack(found.reshape(-1, found.shape[-1]), split.num_outputs)
            if split.num_classes is None:
                return packed.reshape(self.size, -1, packed.shape[1])
            found = split.classify_keys(packed)
        assert split.num_classes is not None
        met = np.stack([np.bincount(classes, minlength=split.num_classes) for classes in found.reshape(self.size, -1)])
        return np.where((self.log_estimates > -math.inf)[:, None], met / met.sum(axis=1, keepdims=True), np.nan)

    def found(self, split: np.ndarray | None = None) -> dict[int, Replicate]:
        """What every replicate found, by its number; ``split`` [G, ...] is what `survey` gave."""
        more = 0 if split is None else cost(self._target)
        moved = np.array(self._moved).T
        return {
            number: Replicate(
                log_estimate=float(self.log_estimates[i]),
                ideal_variance=float(self._ideal[i]),
                ancestors=float(len(np.unique(self._root[i]))),
                evaluations=self._target.num_particles + int(self._lasted[i]) * cost(self._target) + more,
                drawn=self._target.num_particles,
                nonfinite=int(self._nonfinite[i]),
                moved=moved[i, : self._lasted[i]],
                split=None if split is None else split[i],
            )
            for i, number in enumerate(self.numbers)
        }


def table_shares(keys: np.ndarray, log_estimates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct tables [K, W], in key order, of the keys [R, V, W] that replicates met, and their shares [R, K] of
    each one's; nan for a replicate that died."""
    num, visits, words = keys.shape
    found, which = np.unique(keys.reshape(-1, words), axis=0, return_inverse=True)
    cell = np.repeat(np.arange(num), visits) * len(found) + which.ravel()
    met = np.bincount(cell, minlength=num * len(found)).reshape(num, -1)
    return found, np.where((np.array(log_estimates) > -math.inf)[:, None], met / visits, np.nan)
