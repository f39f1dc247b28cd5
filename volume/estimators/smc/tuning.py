"""How far apart the points of a window lie: as many of them inside a level as mix best.

So few, because wide windows that mostly miss still mix faster than narrow ones that mostly hit (32 random labels on
(7,40,40,1) in a prototype, variance times evaluations: .4 worst, .2 four times better, .1 another five).
"""

from __future__ import annotations

ALONE_INSIDE, ALONE_LEAST = 0.15, 1.1  # share of a single ellipse's other points inside the level, but at least so many
_BAND = (0.6, 1.7)  # of the wanted share, within which steps are left alone
MAX_TUNING = 12  # probes of one level that only turn the steps
SMALLEST_STEP = 1e-7  # radians: below, float32 cannot tell a window's points apart


def alone_inside(num_points: int) -> float:
    """Give the wanted share of the other points of a single ellipse that lie inside."""
    return max(ALONE_INSIDE, ALONE_LEAST / max(num_points - 1, 1))


def turned(step: float, inside: float, wanted: float, largest: float) -> float:
    """Change a step towards the wanted share inside; the step itself where it is near enough."""
    factor = inside / wanted
    if _BAND[0] <= factor <= _BAND[1]:
        return step
    return min(max(step * min(max(factor, 0.4), 1.6), SMALLEST_STEP), largest)
