"""Symmetric copies of a local region: how many, whether they overlap, and what they say of the class's volume.

Copies g R of the region R around the anchor, g in the finite group G of the model's symmetries, have the same mass when
G keeps the prior, and there are |G| / |Stab(anchor)| of them. But they may overlap: those of a wide network do. So R is
cut with the anchor's cell, the points that are at least as near to the anchor as to any copy of it (distance in the
prior's standard deviations about its centre, where G acts by isometries). Cells of different copies do not overlap:

    V(union of all copies) >= |G| / |Stab(anchor)| * mass(R within the cell).

A point theta lies in the cell when <theta, anchor> >= <theta, g anchor> for all g. With one set of units the best g is
an assignment problem, solved exactly. The cell is convex, so that a ray leaves it once, where the first copy comes as
near: the cut mass comes from the same rays, its bound from the same inequality. With several sets of units no
exact test is made here, and the sum is an extrapolation.

Shape letters: S rays, P parameters, d of them free, n units of a set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from volume.estimators.local.anchor import by_name, row_of
from volume.models import Symmetry, UnitSymmetry
from volume.queries.query import Query
from volume.queries.quotient import declared, why_not_kept

MAX_ASSIGNMENTS = 100  # a few are enough
# Larger networks: an assignment of n units takes n^3 steps, and every ray needs a few.
MAX_UNITS = 128
MAX_FLOATS = 2**27  # of directions kept on the host


@dataclass(frozen=True)
class Copies:
    """The copies of one anchor under a query's symmetries."""

    query: Query
    symmetry: Symmetry
    anchor: dict[str, np.ndarray]  # in the prior's standard deviations, about its centre
    log_order: float  # log |G|
    log_stabiliser: float  # log |Stab(anchor)|; nan where it is not known
    dead: dict[str, int]  # units that no input reaches or that reach no output, by set
    repeated: dict[str, int]  # units beyond the first of a group of identical ones, by set
    why_not: str  # why the prior is not shown to be kept; empty where it is

    @property
    def log_copies(self) -> float:
        """log of the number of different copies, natural."""
        return self.log_order - self.log_stabiliser

    @property
    def exact(self) -> bool:
        """Whether the cell is tested exactly: one set of units that can change places."""
        moving = [unit for unit in self.symmetry.units if unit.order > 1]
        return len(moving) <= 1 and all(unit.size <= MAX_UNITS for unit in moving)

    def exits(self, rows: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Return where rays [S, P], in the prior's standard deviations, leave the cell; inf: not within ``radii``
        [S]."""
        moving = [unit for unit in self.symmetry.units if unit.order > 1]
        exits = np.full(len(radii), np.inf)
        if not moving:
            return exits
        unit = moving[0]
        own, shapes = _slices(self.anchor, unit), {name: value.shape for name, value in self.anchor.items()}
        for ray, radius in enumerate(radii):
            along = _slices(by_name(rows[ray], shapes), unit)
            exits[ray] = _exit(own, along, float(radius))
        return exits


def copies_of(query: Query, anchor: dict[str, np.ndarray], centre: np.ndarray, scale: np.ndarray) -> Copies | None:
    """Return the copies of an anchor; None for a model that declares no symmetries.

    ``centre`` and ``scale`` [P] of the prior, in the model's order; parameters that it fixes count as they are.
    """
    if not isinstance(getattr(query.model, "symmetry", None), Symmetry):
        return None
    symmetry = declared(query.model)
    try:
        log_stabiliser = math.log(symmetry.stabiliser_size(anchor))
    except ValueError:
        log_stabiliser = math.nan if symmetry.unresolved(anchor) else 0.0
    dead, repeated = {}, {}
    for unit in symmetry.units:
        flip, still = _slices(anchor, unit)
        rows = np.concatenate([flip, still], axis=1)
        dead[unit.name] = _num_dead(anchor, unit)
        repeated[unit.name] = len(rows) - len(np.unique(rows, axis=0))
    whys = [why_not_kept(query.prior, query.model, unit) for unit in symmetry.units if unit.order > 1]
    row = (row_of(anchor) - centre) / np.where(scale > 0, scale, 1)
    scaled = by_name(row, {name: np.shape(value) for name, value in anchor.items()})
    why_not = next(filter(None, whys), "")
    return Copies(query, symmetry, scaled, symmetry.log_order, log_stabiliser, dead, repeated, why_not)


def _slices(params: dict[str, np.ndarray], unit: UnitSymmetry) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, ...] of a set's units: the numbers that change sign with a unit, and those that do not."""
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for name, axis in unit.axes:
        parts[name not in unit.flips].append(_rows(params[name], axis, unit.size))
    return tuple(np.concatenate([np.empty((unit.size, 0)), *part], axis=1) for part in parts)  # type: ignore[return-value]  # two of them


def _rows(value: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Fold an array into rows [n, ...], one for each unit along the axis."""
    moved = np.moveaxis(np.asarray(value, float), axis, 0)
    return moved.reshape(-1, size, moved[0].size).swapaxes(0, 1).reshape(size, -1)


def _exit(own: tuple[np.ndarray, ...], along: tuple[np.ndarray, ...], radius: float) -> float:
    """Where anchor + r * step, r <= radius, comes nearer to a copy of the anchor than to the anchor; inf: nowhere.

    From the far end inward: the copy that is nearest there is as far away as the anchor at a smaller r, which is the
    next one to be looked at, until no copy is nearer (a few assignments; the least r of all copies, exactly).
    """
    n, r, exit = len(own[0]), radius, math.inf
    here = sum(float(np.vdot(part, one)) for part, one in zip(own, own, strict=True))
    moving = sum(float(np.vdot(part, one)) for part, one in zip(along, own, strict=True))
    flip, still = (part @ one.T for part, one in zip(own, own, strict=True))  # [n, n]: unit i with unit j of the anchor
    flip_along, still_along = (part @ one.T for part, one in zip(along, own, strict=True))
    for _ in range(MAX_ASSIGNMENTS):
        turned = flip + r * flip_along
        gain = np.abs(turned) + still + r * still_along
        at = linear_sum_assignment(gain, maximize=True)
        sign = np.sign(turned[at])
        # By how much nearer the copy is: start + r * slope, with this order and these signs.
        start = float(np.sum(sign * flip[at] + still[at]) - here)
        slope = float(np.sum(sign * flip_along[at] + still_along[at]) - moving)
        if start + r * slope <= 1e-9 * (1 + np.abs(gain).max() * n):
            return exit
        r = exit = min(max(-start, 0.0) / max(slope, np.finfo(float).tiny), r)
    return exit


def _num_dead(params: dict[str, np.ndarray], unit: UnitSymmetry) -> int:
    """Units whose every weight on one side is 0: all that come in, or all that go out."""
    by_side: dict[int, list[np.ndarray]] = {}
    for name, axis in unit.axes:
        # A tensor's first axis is summed over: the units are its inputs there, its outputs otherwise.
        by_side.setdefault(0 if axis == 0 and np.ndim(params[name]) > 1 else 1, []).append(
            _rows(params[name], axis, unit.size)
        )
    zero = [np.all(np.concatenate(rows, axis=1) == 0, axis=1) for rows in by_side.values()]
    return int(np.sum(np.any(zero, axis=0))) if zero else 0


def statement(copies: Copies, inside_class: bool) -> dict[str, Any]:
    """Return the facts of a report, with the word that they allow: "bound" or "extrapolation", and why."""
    reasons = []
    if not inside_class:
        reasons.append("the region is not cut with the class (agreement at cutoff 0, or within_class=True)")
    if copies.why_not:
        reasons.append(f"the prior is not shown to be kept: it {copies.why_not}")
    if math.isnan(copies.log_stabiliser):
        reasons.append("the stabiliser of the anchor is not known")
    if not copies.exact:
        reasons.append("with several sets of units, or wide ones, copies are not shown to be apart")
    return {
        "word": "extrapolation" if reasons else "bound",
        "because": reasons,
        "log_order": copies.log_order,
        "log_stabiliser": None if math.isnan(copies.log_stabiliser) else copies.log_stabiliser,
        "dead_units": copies.dead,
        "repeated_units": copies.repeated,
    }
