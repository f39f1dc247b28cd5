"""How many particles give the interval that is wanted, from the spread of a trial's replicates.

Shape letters: R replicates, N particles of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special

from volume.estimators.smc.scheme import MAX_PARTICLES
from volume.reports.entries import MAX_SPREAD
from volume.statistics import replicates

SPREAD_MARGIN = 1.25  # a spread seen in 8 replicates may be a third too small


class Sizing(NamedTuple):
    """What a trial says."""

    num_particles: int  # N
    again: bool  # whether the spread was too wide to be trusted: another trial with N particles
    note: str  # empty when there is nothing to say


def sized(log_estimates: Sequence[float], num_particles: int, target_error: float) -> Sizing:
    """Choose N by a trial of ``num_particles``.

    Args:
        log_estimates: natural, [R].
        num_particles: of one of its replicates.
        target_error: half-width of the interval wanted, in nats.
    """
    spread = replicates.spread(list(log_estimates))
    # A wider interval than a spread of 1 gives would not lead (volume.reports.entries).
    wanted = min(_spread_for(target_error, len(log_estimates)), MAX_SPREAD)
    again = math.isnan(spread) or spread > 1.5
    factor = 4.0 if math.isnan(spread) else max(1.0, (SPREAD_MARGIN * spread / wanted) ** 2)
    if again:
        factor = min(max(factor, 4.0), 16.0)
    num = max(num_particles, min(MAX_PARTICLES, math.ceil(num_particles * factor)))
    if factor > 1 and num >= MAX_PARTICLES:
        note = f"The interval wanted would take more than {MAX_PARTICLES:,} particles: give more moves or replicates."
        return Sizing(num, False, note)
    return Sizing(num, again, "")


@cache  # a run that goes on from its checkpoints sizes its trials again
def _spread_for(half_width: float, num: int) -> float:
    """The spread of log p_hat at which R replicates give an interval of this half-width, in nats."""
    scores = special.ndtri((np.arange(num) + 0.5) / num)
    scores /= scores.std(ddof=1)
    low, high = 1e-6, 3.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        below, above = replicates.mean_interval(middle * scores)
        low, high = (middle, high) if (above - below) / 2 < half_width else (low, middle)
    return low
