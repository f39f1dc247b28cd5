"""The independent replicates of a splitting run around an anchor.

Shape letters: R replicates, C cutoffs, n entries of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array

from volume.estimators.local.group import RegionGroup, Replicate
from volume.estimators.local.pilot import LocalPilot
from volume.estimators.local.proposal import Proposal
from volume.estimators.local.region_kernel import RegionKernel
from volume.estimators.local.splitting_parts import SplittingParts, fingerprint
from volume.estimators.smc.replicates import Replicates
from volume.estimators.smc.scheme import Scheme


class RegionReplicates(Replicates[RegionGroup]):
    """Replicates of one run.

    Args:
        scheme: of the run.
        key: a replicate's key is folded from it by its number.
        num: R.
        num_cutoffs: C.
        itemsize: bytes of one of the n numbers of a particle.
        store: where they are kept.
    """

    finished: dict[int, Replicate]
    scheme: Scheme[RegionKernel]

    def __init__(
        self, scheme: Scheme[RegionKernel], key: Array, num: int, num_cutoffs: int, itemsize: int, store: SplittingParts
    ):
        super().__init__(scheme, num, store)
        self._key = key
        self._num_cutoffs, self._itemsize = num_cutoffs, itemsize
        self._pilot: LocalPilot | None = None

    def start(self, proposal: Proposal, pilot: LocalPilot, share: tuple[int, int]) -> None:
        """Begin from the proposal and the pilot as it ended."""
        self._pilot = pilot
        self.begin(fingerprint(proposal, pilot, self.scheme), share)

    # --- what they found ---

    def by_cutoff(self, name: str) -> np.ndarray:
        """What every one has of this name at each cutoff, [R, C], in the order of their numbers."""
        rows = [getattr(one, name) for one in self.results]
        return np.array(rows, float).reshape(-1, self._num_cutoffs)

    @property
    def drifts(self) -> np.ndarray:
        """How far out particles still went (volume.estimators.local.group), in the mean deviation of |x|^2 there,
        [R, C]; nan where one had died."""
        change, deviation = self.by_cutoff("change"), self.by_cutoff("deviation")
        alive = ~np.isnan(deviation)
        mean = np.where(alive, deviation, 0).sum(axis=0) / np.maximum(alive.sum(axis=0), 1)
        return change / np.maximum(mean, np.finfo(float).tiny)

    def diagnostics(self) -> dict[str, Any]:
        """A JSON-able record; empty before one has ended."""
        each = self.results
        if not each:
            return {}
        moved = np.full((len(each), max(len(one.moved) for one in each)), math.nan)
        for row, one in zip(moved, each, strict=True):
            row[: len(one.moved)] = one.moved
        ideal = float(np.sqrt(np.mean([one.ideal for one in each])))
        return {"ideal_spread": ideal, "moved_least": float(np.nanmean(moved, axis=0).min())}

    # --- hooks of the engine ---

    @property
    def _particle_bytes(self) -> int:
        return self._itemsize * self.scheme.kernel.divergence.num_parameters * self.scheme.num_particles

    def _group(self, numbers: Sequence[int]) -> RegionGroup:
        pilot = self._pilot
        assert pilot is not None
        return RegionGroup(self.scheme, numbers, self._key, pilot.data, pilot.stages, pilot.ends)

    def _results(self, group: RegionGroup) -> dict[int, Replicate]:
        return group.replicates()
