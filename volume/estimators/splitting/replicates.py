"""The replicates of one class, of a trial or of the run itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jax import Array

from volume.classifiers.base import BoundClassifier
from volume.estimators.smc.replicates import Replicates
from volume.estimators.splitting.group import ClassGroup, Replicate
from volume.estimators.splitting.parts import ClassParts, Phase, StateParts
from volume.estimators.splitting.schemes import ClassScheme
from volume.estimators.splitting.stage import Data, Stage
from volume.runs.checkpoints import Checkpoint


class ClassReplicates(Replicates[ClassGroup]):
    """Replicates of one class.

    Args:
        scheme: of the run; the one who sizes it by a trial replaces it.
        data: of the class.
        num: R.
        store: where they are kept.
    """

    found: dict[int, Replicate]

    def __init__(self, scheme: ClassScheme, data: Data, num: int, store: ClassParts):
        super().__init__(num, store)
        self.scheme, self._data, self._parts = scheme, data, store
        self._split: BoundClassifier | None = None

    def start(
        self,
        phase: Phase,
        stages: Sequence[Stage],
        key: Array,
        share: tuple[int, int],
        split: BoundClassifier | None,
    ) -> None:
        """Begin a phase, with the pilot's stages and a key of its own.

        A trial is made by every process, as each needs its outcome, and kept by the first; it is not ``split``.
        """
        trial = phase.trial is not None
        self._phase, self._stages, self._key = phase, stages, key
        self._split, self._kept = (None if trial else split), not (trial and share[0])
        self.begin(phase, (0, 1) if trial else share)

    @property
    def log_estimates(self) -> list[float]:
        """Of the replicates that have ended, in the order of their numbers."""
        return [one.log_estimate for one in self.results]

    def survey_inputs(self, inputs, rows) -> None:
        """Take the domain's inputs that a split reads, and which of them the importance function reads."""
        self._survey = inputs, rows

    def collect(self, *, all: bool, whole: bool) -> list[Checkpoint]:
        """Those that have ended since the last call, and now and then, where it is ``whole``, the state of a group."""
        group = self.group if whole and self._kept else None
        return self._parts.collect(None if group is None else (group, self._phase), all=all)

    @property
    def _particle_bytes(self) -> int:
        size = sum(math.prod(p.shape) for p in self.scheme.kernel.model.parameters)
        return self._data.inputs.itemsize * size * self.scheme.num_particles

    def _group(self, numbers: Sequence[int]) -> ClassGroup:
        dtype = self._data.inputs.dtype
        return ClassGroup(self.scheme, numbers, self._key, self._data, dtype, self._stages)

    def _numbers(self, state: StateParts) -> list[int]:
        return state.numbers

    def _resumed(self, state: StateParts) -> ClassGroup:
        self._parts.resumed(state)
        group = self._group(state.numbers)
        group.go_on(state.read(self.scheme))
        return group

    def _results(self, group: ClassGroup) -> dict[int, Replicate]:
        return group.found(None if self._split is None else group.survey(self._split, *self._survey))
