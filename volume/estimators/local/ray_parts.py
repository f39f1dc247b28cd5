"""The parts of rays from an anchor (volume.local_rays).

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
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from volume.estimators.local.aim import AimState
from volume.runs.columns import rows_column, rows_of
from volume.runs.parts import Part, StoredPart
from volume.runs.states import LatestState, is_state, like, worded
from volume.samplers import Curvature

PART_SECONDS = 10.0
PART_RAYS = 1 << 20


class Tally(NamedTuple):
    """What the rays met, for reports."""

    evaluations: int = 0  # of networks on the whole domain: pilot, search and probes
    nonfinite: int = 0
    returning: int = 0  # rays that left the region and came back, any cutoff
    unbounded: int = 0  # rays and cutoffs where the prior ended first
    loose: int = 0  # rays and cutoffs whose bracket stayed open
    left: int = 0  # rays that left the anchor's cell within the region
    log_loss: float = 0.0  # the largest, over cutoffs, of what the open brackets may hide

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Tally:
        """All together."""
        counts = {name: sum(getattr(one, name) for one in tallies) for name in cls._fields[:-1]}
        return cls(**counts, log_loss=max([0.0, *(one.log_loss for one in tallies)]))


class Shot(NamedTuple):
    """Rays of one step, or of one part."""

    numbers: np.ndarray  # [S]
    log_values: np.ndarray  # [S, K]
    log_cut: np.ndarray | None  # [S, K]
    tally: Tally


class RayParts:
    """What is kept of one run of rays, and what is there of it."""

    def __init__(self) -> None:
        self._stored: list[StoredPart] = []
        self._fresh: list[Shot] = []  # in no part yet
        self._since = time.monotonic()
        self._aim_kept = False
        self._state = LatestState()

    # --- what is there ---

    def take(self, parts: Sequence[StoredPart]) -> None:
        """Parts to go on from; others play no part."""
        self._stored = list(parts)

    def aim(self) -> AimState | None:
        """How the pilot ended, or where it stood."""
        for name in ("aim", "state-aim"):
            for part in self._stored:
                if is_state(part, name):
                    self._aim_kept = name == "aim"
                    if not self._aim_kept:
                        self._state.resumed(name)
                    return _aim_of(part)
        return None

    def shots(self, aim: AimState, num_cutoffs: int) -> list[Shot]:
        """The rays that are there and were aimed so."""
        own = fingerprint(aim)
        stored = [part for part in self._stored if part.name.startswith("rays-")]
        return [_shot_of(part, num_cutoffs) for part in stored if part.facts["aim"] == own]

    # --- what is kept ---

    def take_shot(self, shot: Shot) -> None:
        """Keep these rays."""
        self._fresh.append(shot)

    def collect_aim(self, state: AimState, *, all: bool) -> list[Part]:
        """The aim where the pilot has ended, or its state where one is due."""
        if state.weights:
            if self._aim_kept:
                return []
            self._aim_kept = True
            return [Part("aim", _facts(state), _table(state)), *self._state.over()]
        size = sum(array.nbytes for array in _arrays(state).values())
        if state.values is None or not self._state.due("state-aim", state.evaluations, size, all=all):
            return []
        return [self._state.keep("state-aim", state.evaluations, _facts(state), _table(state))]

    def collect(self, aim: Callable[[], AimState], *, all: bool) -> list[Part]:
        """Rays of one part, where it is due."""
        shots = self._fresh
        late = time.monotonic() - self._since >= PART_SECONDS
        if not shots or not (all or late or sum(len(shot.numbers) for shot in shots) >= PART_RAYS):
            return []
        self._fresh, self._since = [], time.monotonic()
        columns = {
            "ray": pa.array(np.concatenate([shot.numbers for shot in shots])),
            "log_value": rows_column(np.concatenate([shot.log_values for shot in shots])),
        }
        cut = [shot.log_cut for shot in shots if shot.log_cut is not None]
        if cut:
            columns["log_cut"] = rows_column(np.concatenate(cut))
        first = min(int(shot.numbers[0]) for shot in shots)
        facts = {"aim": fingerprint(aim()), "tally": worded(Tally.of([shot.tally for shot in shots])._asdict())}
        return [Part(f"rays-{first:012d}", facts, pa.table(columns))]


def fingerprint(aim: AimState) -> str:
    """Of the constants of all rays; those with others are not mixed."""
    found = hashlib.sha256(np.array(aim.weights, np.float64).tobytes())
    for array in aim.curvature:
        found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _arrays(state: AimState) -> dict[str, np.ndarray]:
    """Of one row a free parameter each."""
    found: dict[str, Any] = {"curvature": state.curvature.values, "axis": state.curvature.basis, "value": state.values}
    if state.points is not None and len(state.points):
        found["points"] = state.points.T
    if state.columns:
        found["matrix"] = np.concatenate(state.columns).T
    return {name: array for name, array in found.items() if array is not None}


def _facts(state: AimState) -> dict[str, Any]:
    return {
        "weights": state.weights,
        "evaluations": state.evaluations,
        "fitted": state.fitted,
        "log_weight": None if state.log_weight is None else float(state.log_weight),
        "log_weight_type": "" if state.log_weight is None else state.log_weight.dtype.name,
        "columns": [len(piece) for piece in state.columns],
    }


def _table(state: AimState) -> pa.Table:
    return pa.table({n: pa.array(a) if a.ndim == 1 else rows_column(a) for n, a in _arrays(state).items()})


def _aim_of(part: StoredPart) -> AimState:
    facts, table = part.facts, part.read()
    lists = {
        name: rows_of(table.column(name), (-1,)) for name in ("axis", "points", "matrix") if name in table.column_names
    }
    state = AimState(
        Curvature(table.column("curvature").to_numpy(), lists.get("axis")),
        tuple(facts["weights"]),
        facts["evaluations"],
        facts["fitted"],
    )
    if facts["log_weight"] is None:
        return state
    values = table.column("value").to_numpy()
    ends = np.cumsum(facts["columns"])[:-1]
    return state._replace(
        values=values,
        log_weight=np.array(facts["log_weight"], facts["log_weight_type"]),
        points=lists["points"].T if "points" in lists else np.zeros((0, len(values)), values.dtype),
        columns=tuple(np.split(np.ascontiguousarray(lists["matrix"].T), ends)) if "matrix" in lists else (),
    )


def _shot_of(part: StoredPart, num_cutoffs: int) -> Shot:
    table, default = part.read(), Tally()
    tally = Tally(**{name: like(part.facts["tally"][name], getattr(default, name)) for name in Tally._fields})
    shape = (num_cutoffs,)
    cut = rows_of(table.column("log_cut"), shape) if "log_cut" in table.column_names else None
    return Shot(table.column("ray").to_numpy(), rows_of(table.column("log_value"), shape), cut, tally)
