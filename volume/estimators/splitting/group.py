"""Replicates of one class: the engine's group, the record from which it goes on, and how what is found divides.

Shape letters: G replicates of a group, N particles of one, P moves, L levels, V = N P states visited after the last
one, K classes of a split, W words of a table's key, M inputs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.common.programs import program
from volume.estimators.smc.group import Group
from volume.estimators.smc.kernel import Move
from volume.estimators.smc.step import walk
from volume.estimators.splitting.schemes import ClassScheme
from volume.estimators.splitting.stage import Data, Stage
from volume.functions.tables import decision_dtype, pack


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


class ClassGroup(Group):
    """Replicates of one class."""

    scheme: ClassScheme
    _data: Data

    @property
    def ideal(self) -> np.ndarray:
        """Variance of log p_hat were particles independent, [G]; nan for a replicate that died."""
        return np.where(self._alive, self.variance, math.nan)

    def survey(self, split: BoundClassifier, inputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return shares [G, K] of the split's classes; nan for a replicate that died. For tables their keys [G, V, W].

        Args:
            split: how to divide.
            inputs: [M, ...] those that the split reads.
            rows: of them, those that the importance function reads.
        """
        assert self._state is not None
        stage = self.stages[-1]._replace(level=math.inf, next_level=math.inf).cast(self._dtype)
        keys = self._level_keys(len(self.stages) + 1)
        data = self._data._replace(inputs=inputs)
        tables = np.asarray(survey(self.scheme, split, keys, self._state.z, data, rows, stage))
        self.evaluations = self.evaluations + self.scheme.cost
        if split.route == "table":
            packed = pack(tables.reshape(-1, tables.shape[-1]), split.num_outputs)
            if split.num_classes is None:
                return packed.reshape(self.size, -1, packed.shape[1])
            tables = split.classify_keys(packed)
        assert split.num_classes is not None
        met = np.stack([np.bincount(classes, minlength=split.num_classes) for classes in tables.reshape(self.size, -1)])
        return np.where(self._alive[:, None], met / met.sum(axis=1, keepdims=True), np.nan)

    def replicates(self, split: np.ndarray | None = None) -> dict[int, Replicate]:
        """Return what every replicate found, by its number; ``split`` [G, ...] is what `survey` gave."""
        assert self._state is not None
        ancestor = np.asarray(self._state.ancestor)
        return {
            number: Replicate(
                log_estimate=float(self.log_total[i]),
                ideal_variance=float(self.ideal[i]),
                ancestors=float(len(np.unique(ancestor[i]))),
                evaluations=int(self.evaluations[i]),
                drawn=self.scheme.num_particles,
                nonfinite=int(self.nonfinite[i]),
                moved=self._moved_by(i),
                split=None if split is None else split[i],
            )
            for i, number in enumerate(self.numbers)
        }


@program(static_argnames=("scheme", "split"))
def survey(
    scheme: ClassScheme,
    split: BoundClassifier,
    keys: Array,
    z: Any,
    data: Data,
    rows: Array,
    stage: Stage,
) -> Array:
    """Say how the class divides: the classes [G, N, P] of ``split`` that P more moves of every particle meet.

    ``data`` has the inputs [M, ...] that the split reads; ``rows`` of them are those that the importance function
    reads. For a split that is decided from truth tables, which nothing compiled can do, the decisions [G, N, P, M]
    instead.
    """
    kernel, inputs = scheme.kernel, data.inputs

    def see(made: Move) -> Array:
        outputs = kernel.model.apply(kernel.prior.transform(made.z, kernel.model.parameters), inputs)
        if split.route == "device":
            return split.classify_outputs(outputs[:, 0] if split.num_outputs == 1 else outputs)
        decided = outputs[:, 0] > 0 if split.num_outputs == 1 else jnp.argmax(outputs, axis=1)
        return decided.astype(decision_dtype(split.num_outputs))

    with jax.default_matmul_precision(scheme.precision):
        space = kernel.prepare(data._replace(inputs=inputs[rows]))
        return walk(scheme, keys, z, space, stage, see)[1]


def table_shares(keys: np.ndarray, log_estimates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct tables [K, W], in key order, of the keys [R, V, W] that replicates met, and their shares [R,
    K] of each one's; nan for a replicate that died."""
    num, visits, words = keys.shape
    tables, which = np.unique(keys.reshape(-1, words), axis=0, return_inverse=True)
    cell = np.repeat(np.arange(num), visits) * len(tables) + which.ravel()
    met = np.bincount(cell, minlength=num * len(tables)).reshape(num, -1)
    return tables, np.where((np.array(log_estimates) > -math.inf)[:, None], met / visits, np.nan)
