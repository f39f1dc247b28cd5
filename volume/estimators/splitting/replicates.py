"""The replicates of one class, of a trial or of the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.estimators.smc.replicates import Replicates
from volume.estimators.splitting.group import ClassGroup, Replicate
from volume.estimators.splitting.parts import ClassParts, Phase
from volume.estimators.splitting.routes import route
from volume.estimators.splitting.schemes import ClassScheme
from volume.estimators.splitting.stage import Data
from volume.models import num_parameters


class ClassReplicates(Replicates[ClassGroup]):
    """Run the replicates of one class.

    Args:
        scheme: of the run; the one who sizes it by a trial replaces it.
        data: of the class.
        num: R.
        store: where they are kept.
        inputs: of the domain, [N, ...], which a split reads.
        rows: of them, those that the importance function reads.
    """

    finished: dict[int, Replicate]
    scheme: ClassScheme

    def __init__(
        self, scheme: ClassScheme, data: Data, num: int, store: ClassParts, inputs: np.ndarray, rows: np.ndarray
    ):
        super().__init__(scheme, num, store)
        self._data, self._inputs, self._rows = data, inputs, rows
        self._split: BoundClassifier | None = None

    def start(
        self,
        phase: Phase,
        stages: Sequence[Any],
        key: Array,
        share: tuple[int, int],
        split: BoundClassifier | None,
    ) -> None:
        """Begin a phase, with the pilot's stages and a key of its own.

        A trial is made by every process, as each needs its outcome, and kept by the first; it is not ``split``.
        """
        trial = phase.trial is not None
        self._stages, self._key = stages, key
        self._split, self._kept = (None if trial else split), not (trial and share[0])
        self.begin(phase, (0, 1) if trial else share)

    @property
    def _particle_bytes(self) -> int:
        size = num_parameters(self.scheme.kernel.model)
        return self._data.inputs.itemsize * size * self.scheme.num_particles

    def _group(self, numbers: Sequence[int]) -> ClassGroup:
        dtype = self._data.inputs.dtype
        return route(self.scheme.kernel).group(self.scheme, numbers, self._key, self._data, dtype, self._stages)

    def _results(self, group: ClassGroup) -> dict[int, Replicate]:
        return group.replicates(None if self._split is None else group.survey(self._split, self._inputs, self._rows))
