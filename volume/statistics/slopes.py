"""d log V / d log c of a local volume between cutoffs: the local learning coefficient, where c is small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special


class Slope(NamedTuple):
    """d log V / d log c over a stretch of cutoffs: the local learning coefficient, where c is small (Watanabe 2009,
    Algebraic Geometry and Statistical Learning Theory, section 6: V(c) ~ c^lambda up to logs)."""

    least: float  # cutoff
    largest: float
    slope: float
    low: float
    high: float


def slopes(cutoffs: Sequence[float], log_estimates: np.ndarray, level: float = 0.95) -> list[Slope]:
    """Return slopes of log V against log c from replicates: ``cutoffs`` [C] and log p_hat [R, C] in the same order.

    Between neighbouring cutoffs, and with more than two the least-squares slope over all of them, last. The slope is
    that of the logs of the mean p_hat; limits are a jackknife over replicates with t quantiles of R - 1 degrees.
    Replicates that died at a cutoff count as 0 there. A cutoff of 0 has no slope and is left out. nan limits where a
    mean is 0 or R is 1.
    """
    some = np.asarray(cutoffs) > 0
    order = np.argsort(np.asarray(cutoffs)[some])
    x = np.log(np.asarray(cutoffs)[some][order])
    logs = np.asarray(log_estimates, float)[:, some][:, order]
    num = len(logs)
    if len(x) < 2 or not num:
        return []
    stretches = [slice(i, i + 2) for i in range(len(x) - 1)] + ([slice(0, len(x))] if len(x) > 2 else [])

    def slope(kept: np.ndarray, part: slice) -> float:
        with np.errstate(invalid="ignore"):
            y = np.logaddexp.reduce(logs[kept][:, part], axis=0)
            centred = x[part] - x[part].mean()
            return float(centred @ (y - y.mean()) / (centred @ centred))

    fitted = []
    for part in stretches:
        pooled = slope(np.ones(num, bool), part)
        limits = (math.nan, math.nan)
        if num > 1:
            without = np.array([slope(np.arange(num) != r, part) for r in range(num)])
            error = math.sqrt((num - 1) / num * np.sum((without - without.mean()) ** 2))
            t = special.stdtrit(num - 1, (1 + level) / 2)
            limits = (pooled - t * error, pooled + t * error)
        least, largest = np.exp(x[part][[0, -1]])
        fitted.append(Slope(float(least), float(largest), pooled, *limits))
    return fitted
