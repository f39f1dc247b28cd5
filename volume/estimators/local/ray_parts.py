"""The parts of rays from an anchor (volume.estimators.local.rays).

aim: how the rays are aimed, constants of all of them. One row a free parameter: ``curvature`` float64, and ``axis``, a
list of numbers, its row of the curvature's axes, where these are not the parameters' own. Facts: ``weights``.

rays-FIRST: rays that were shot, FIRST being the lowest of their numbers. One row a ray: ``ray`` int64; ``log_value``
and ``log_cut``, lists of float64 by cutoff, least first: the natural logarithm of its estimate, and of that of the
region within the anchor's cell, where that is known. Facts: what they met (`Tally`).

state-aim: where the pilot stands, replaced by later ones and emptied at the end. One row a free parameter:
``curvature``, ``value``, ``points``, ``matrix``.

Shape letters: S rays, K cutoffs, d free parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from volume.estimators.local.preconditioner import PreconditionerState
from volume.runs.checkpoints import Batch, Checkpoint, Checkpoints, State, StoredCheckpoint, like, worded
from volume.runs.columns import Numbers, Rows, Schema
from volume.samplers import Curvature

AIM = Schema({"curvature": Numbers(), "axis": Rows(), "value": Numbers(), "points": Rows(), "matrix": Rows()})
RAYS = Schema({"ray": Numbers(), "log_value": Rows(), "log_cut": Rows()})


class Met(NamedTuple):
    """What rays met on the way to one cutoff, or to all of them together."""

    returning: int = 0  # rays that left the region and came back
    unbounded: int = 0  # radii where the prior ended first
    loose: int = 0  # radii whose bracket stayed open
    log_loss: float = 0.0  # the most that an open bracket may hide

    @classmethod
    def of(cls, several: Sequence[Met]) -> Met:
        """Add up what different rays met."""
        counts = [sum(column) for column in list(zip(*several, strict=True))[:-1]] or [0, 0, 0]
        return cls(*counts, log_loss=max([0.0, *(one.log_loss for one in several)]))


class Tally(NamedTuple):
    """What the rays met, for reports."""

    evaluations: int = 0  # of networks on the whole domain: pilot, search and probes
    nonfinite: int = 0
    left: int = 0  # rays that left the anchor's cell within the region
    together: Met = Met()  # at all cutoffs; a ray that came back counts once
    by_cutoff: tuple[Met, ...] = ()  # [K]; () where a part of an older version does not say

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Tally:
        """Add up what different rays met."""
        known = all(one.by_cutoff for one in tallies)
        return cls(
            *(sum(getattr(one, name) for one in tallies) for name in cls._fields[:3]),
            together=Met.of([one.together for one in tallies]),
            by_cutoff=tuple(map(Met.of, zip(*(one.by_cutoff for one in tallies), strict=True))) if known else (),
        )

    def record(self) -> dict[str, Any]:
        """Return the facts of a part."""
        record = {**self._asdict(), **self.together._asdict(), "by_cutoff": [met._asdict() for met in self.by_cutoff]}
        del record["together"]
        return worded(record)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Tally:
        met, plain = Met()._asdict(), dict.fromkeys(cls._fields[:3], 0)
        return cls(
            **like(record, plain),
            together=Met(**like(record, met)),
            by_cutoff=tuple(Met(**like(each, met)) for each in record.get("by_cutoff", ())),
        )


class Shot(NamedTuple):
    """Rays of one step, or of one part."""

    numbers: np.ndarray  # [S]
    log_values: np.ndarray  # [S, K]
    log_cut: np.ndarray | None  # [S, K]
    tally: Tally


class RayParts:
    """What is kept of one run of rays, and what is there of it."""

    def __init__(self) -> None:
        self._fresh = Batch[Shot]()  # in no part yet
        self._fit_kept = False
        self._kept = Checkpoints()

    # --- what is there ---

    def take(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Parts to go on from; others play no part."""
        self._kept.restore(parts)

    def preconditioner(self) -> PreconditionerState | None:
        """How the pilot ended, or where it stood."""
        for part in self._kept.stored("aim"):
            self._fit_kept = True
            return _state_of(part)
        for part in self._kept.stored("state-aim"):
            self._kept.resume(part)
            return _state_of(part)
        return None

    def shots(self, aim: PreconditionerState) -> list[Shot]:
        """The rays that are there and were aimed so."""
        own = fingerprint(aim)
        return [_shot_of(part) for part in self._kept.stored("rays-") if part.facts["aim"] == own]

    # --- what is kept ---

    def take_shot(self, shot: Shot) -> None:
        """Keep these rays."""
        self._fresh.add(shot, len(shot.numbers))

    def collect_preconditioner(self, state: PreconditionerState, *, all: bool) -> list[Checkpoint]:
        """The aim where the pilot has ended, or its state where one is due."""
        if self._fit_kept:
            return []
        if state.weights:
            self._fit_kept = True
            self._kept.add(Checkpoint("aim", _facts(state), AIM.table(_columns(state))))
            return self._kept.collect(all=all)
        if state.values is None:
            return []
        columns = _columns(state)
        size = sum(array.nbytes for array in columns.values() if array is not None)
        under_way = State("state-aim", state.evaluations, size, lambda: (_facts(state), AIM.table(columns)))
        return self._kept.collect(under_way, all=all)

    def collect(self, aim: Callable[[], PreconditionerState], *, all: bool) -> list[Checkpoint]:
        """Rays of one part, where it is due."""
        shots = self._fresh.take(all=all)
        if not shots:
            return []
        cut = [shot.log_cut for shot in shots if shot.log_cut is not None]
        columns = {
            "ray": np.concatenate([shot.numbers for shot in shots]),
            "log_value": np.concatenate([shot.log_values for shot in shots]),
            "log_cut": np.concatenate(cut) if cut else None,
        }
        first = min(int(shot.numbers[0]) for shot in shots)
        facts = {"aim": fingerprint(aim()), "tally": Tally.of([shot.tally for shot in shots]).record()}
        return [Checkpoint(f"rays-{first:012d}", facts, RAYS.table(columns))]


def fingerprint(aim: PreconditionerState) -> str:
    """Of the constants of all rays; those with others are not mixed."""
    sha256 = hashlib.sha256(np.array(aim.weights, np.float64).tobytes())
    for array in aim.curvature:
        sha256.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return sha256.hexdigest()[:16]


def _columns(state: PreconditionerState) -> dict[str, np.ndarray | None]:
    """Of one row a free parameter each."""
    points = None if state.points is None or not len(state.points) else state.points.T
    matrix = np.concatenate(state.columns).T if state.columns else None
    curvature = state.curvature
    return {
        "curvature": curvature.values,
        "axis": curvature.basis,
        "value": state.values,
        "points": points,
        "matrix": matrix,
    }


def _facts(state: PreconditionerState) -> dict[str, Any]:
    return {
        "weights": state.weights,
        "evaluations": state.evaluations,
        "fitted": state.fitted,
        "log_weight": None if state.log_weight is None else float(state.log_weight),
        "log_weight_type": "" if state.log_weight is None else state.log_weight.dtype.name,
        "columns": [len(piece) for piece in state.columns],
    }


def _state_of(part: StoredCheckpoint) -> PreconditionerState:
    facts, columns = part.facts, AIM.read(part)
    curvature = Curvature(columns["curvature"], columns["axis"])
    state = PreconditionerState(curvature, tuple(facts["weights"]), facts["evaluations"], facts["fitted"])
    if facts["log_weight"] is None:
        return state
    values, points, matrix = columns["value"], columns["points"], columns["matrix"]
    ends = np.cumsum(facts["columns"])[:-1]
    return state._replace(
        values=values,
        log_weight=np.array(facts["log_weight"], facts["log_weight_type"]),
        points=np.zeros((0, len(values)), values.dtype) if points is None else points.T,
        columns=() if matrix is None else tuple(np.split(np.ascontiguousarray(matrix.T), ends)),
    )


def _shot_of(part: StoredCheckpoint) -> Shot:
    columns = RAYS.read(part)
    return Shot(columns["ray"], columns["log_value"], columns["log_cut"], Tally.from_record(part.facts["tally"]))
