"""The parts of a splitting run, class by class (their number C, three digits).

pilot-C: the levels that the pilot found, constants of all replicates. One row a level: ``level``, ``next_level``,
``body_step``, ``head_step``, float64.

replicates-C-FIRST and, for trial T, trial-C-T-FIRST: replicates that have ended together, FIRST being the lowest of
their numbers. One row a replicate: ``replicate`` int64; ``log_estimate`` float64, natural, -inf for one that died;
``ideal_variance``, ``ancestors`` float64; ``evaluations``, ``drawn``, ``nonfinite`` int64; ``moved``, a list of float64
by level; where the class is divided, ``split``: a list of float64, the shares of the classes (``words`` is 0), or of
uint64, the packed truth tables that were visited, ``words`` words each.

state-C-pilot and state-C-FIRST: particles between two levels, replaced by later ones and emptied at the end. One row a
particle: ``replicate`` and ``ancestor`` int64, and a list of floats for every parameter's standard normals.

Shape letters: G replicates, N particles of one, L levels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from volume.estimators.smc.scheme import Scheme as Target
from volume.estimators.splitting.group import ClassGroup as Group
from volume.estimators.splitting.group import GroupState, Replicate
from volume.estimators.splitting.pilot import ClassPilot as Pilot
from volume.estimators.splitting.pilot import PilotState
from volume.estimators.splitting.stage import Stage
from volume.runs.columns import rows_column, rows_of
from volume.runs.parts import Part, StoredPart
from volume.runs.states import LatestState, is_state, particle_rows

ORDER = 1  # of what is random about a replicate of a given number; changes when that changes
# Of a replicate: one number each.
COLUMNS = dict.fromkeys(("log_estimate", "ideal_variance", "ancestors"), pa.float64()) | dict.fromkeys(
    ("evaluations", "drawn", "nonfinite"), pa.int64()
)


class Phase(NamedTuple):
    """What replicates belong to."""

    trial: int | None  # its number; None: the run itself
    constants: str  # fingerprint of levels, steps, N and P


def fingerprint(stages: Sequence[Stage], target: Target) -> str:
    """Of the constants of a run of replicates; those with others are not mixed."""
    numbers = np.array([*map(tuple, stages), (target.num_particles, target.num_moves, 0, 0)], np.float64)
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class StateParts:
    """A group that can go on from a state."""

    part: StoredPart

    @property
    def numbers(self) -> list[int]:
        """Of its replicates."""
        return self.part.facts["replicates"]

    def read(self, target: Target) -> GroupState:
        """Its state."""
        facts, table, size = self.part.facts, self.part.read(), len(self.numbers)
        return GroupState(
            level=facts["level"],
            lasted=np.array(facts["lasted"], np.int64),
            log_estimates=np.array([-math.inf if log is None else log for log in facts["log_estimates"]]),
            ideal=np.array([math.nan if one is None else one for one in facts["ideal"]]),
            nonfinite=np.array(facts["nonfinite"], np.int64),
            moved=np.array(facts["moved"], float).reshape(-1, size),
            root=table.column("ancestor").to_numpy().reshape(size, -1),
            z=_particles(table, target, (size, target.num_particles)),
        )


class ClassParts:
    """What is kept of one class, and what is there of it."""

    def __init__(self, number: int):
        self._number = number
        self._stored: list[StoredPart] = []
        self._ended: list[Part] = []
        self._pilot_kept = False
        self._state = LatestState(**{"class": number})

    # --- what is there ---

    def take(self, parts: Sequence[StoredPart]) -> None:
        """Parts to go on from; those of other classes play no part."""
        self._stored = [part for part in parts if part.facts.get("class") == self._number]

    def pilot_into(self, pilot: Pilot) -> None:
        """The pilot as it ended, or where it stood."""
        for part in self._stored:
            if part.name == self._pilot_name:
                table, facts = part.read(), part.facts
                columns = [table.column(name).to_pylist() for name in Stage._fields]
                pilot.end([Stage(*row) for row in zip(*columns, strict=True)], facts["log_volume"], facts["problem"])
                pilot.evaluations = facts["evaluations"]
                self._pilot_kept = True
                return
        for part in self._stored:
            if is_state(part, f"state-{self._number:03d}-pilot"):
                facts, target = part.facts, pilot.scheme
                z = _particles(part.read(), target, (1, target.num_particles))
                stages = [Stage(*map(_read_level, row[:2], (-math.inf, math.inf)), *row[2:]) for row in facts["stages"]]
                key = jax.random.wrap_key_data(jnp.array(facts["key"], jnp.uint32))
                pilot.go_on(
                    PilotState(key, z, stages, tuple(facts["steps"]), facts["log_volume"], facts["evaluations"])
                )
                self._state.resumed(part.name)

    def finished(self, phase: Phase) -> dict[int, Replicate]:
        """Replicates of this phase that have ended, by number."""
        found: dict[int, Replicate] = {}
        for part in self._stored:
            if part.name.startswith(("trial-", "replicates-")) and _phase_of(part) == phase:
                found |= _replicates(part)
        return found

    def states(self, phase: Phase, numbers: Sequence[int]) -> list[StateParts]:
        """Groups of these replicates, none in two of them, that can go on."""
        left, found = set(numbers), []
        for part in sorted(self._stored, key=lambda part: part.name):
            if not part.name.startswith("state-") or _phase_of(part) != phase:
                continue
            if left.issuperset(part.facts["replicates"]):
                left -= set(part.facts["replicates"])
                found.append(StateParts(part))
        return found

    def resumed(self, state: StateParts) -> None:
        """A group goes on from this state, which is of no use once it has ended."""
        self._state.resumed(state.part.name)

    # --- what is kept ---

    @property
    def _pilot_name(self) -> str:
        return f"pilot-{self._number:03d}"

    def ended(self, phase: Phase, found: dict[int, Replicate]) -> None:
        """Keep these replicates."""
        kind = "replicates" if phase.trial is None else "trial"
        middle = "" if phase.trial is None else f"-{phase.trial:03d}"
        name = f"{kind}-{self._number:03d}{middle}-{min(found):06d}"
        self._ended.append(Part(name, self._facts(phase), _table(found)))

    def collect_pilot(self, pilot: Pilot, *, all: bool) -> list[Part]:
        """The pilot where it has ended, or its state where one is due."""
        if not pilot.done:
            state = pilot.state()
            size = 0 if state is None else sum(leaf.size * leaf.dtype.itemsize for leaf in state.z.values())
            name = f"state-{self._number:03d}-pilot"
            if state is None or not self._state.due(name, state.evaluations, size, all=all):
                return []
            facts = {
                "class": self._number,
                "key": np.asarray(jax.random.key_data(state.key)),
                "stages": [list(stage) for stage in state.stages],
                "steps": list(state.steps),
                "log_volume": state.log_volume,
                "evaluations": state.evaluations,
            }
            return [self._state.keep(name, state.evaluations, facts, _normals(state.z))]
        if self._pilot_kept:
            return []
        self._pilot_kept = True
        facts = {
            "class": self._number,
            "problem": pilot.problem,
            "log_volume": pilot.log_volume,
            "evaluations": pilot.evaluations,
        }
        columns = np.array([tuple(stage) for stage in pilot.stages], float).reshape(-1, len(Stage._fields)).T
        table = pa.table(dict(zip(Stage._fields, map(pa.array, columns), strict=True)))
        return [Part(self._pilot_name, facts, table), *self._state.over()]

    def collect(self, active: tuple[Group, Phase] | None, *, all: bool) -> list[Part]:
        """Replicates that have ended, and the state of those under way where one is due."""
        ended, self._ended = self._ended, []
        going = active is not None and active[0].at > 0
        name = f"state-{self._number:03d}-{active[0].numbers[0]:06d}" if active is not None and going else None
        ended += self._state.over(name) if ended else []
        if active is None or name is None:
            return ended
        group, phase = active
        if not self._state.due(name, group.at, group.state_bytes, all=all):
            return ended
        state = group.state()
        facts = self._facts(phase) | {
            "replicates": group.numbers,
            "level": state.level,
            "lasted": state.lasted,
            "log_estimates": state.log_estimates,
            "ideal": state.ideal,
            "nonfinite": state.nonfinite,
            "moved": state.moved,
        }
        number = np.repeat(np.array(group.numbers), state.root.shape[1])
        columns = {"replicate": pa.array(number), "ancestor": pa.array(state.root.ravel().astype(np.int64))}
        return [*ended, self._state.keep(name, state.level, facts, _normals(state.z, columns))]

    def _facts(self, phase: Phase) -> dict[str, Any]:
        return {"class": self._number, "trial": phase.trial, "constants": phase.constants}


def _phase_of(part: StoredPart) -> Phase | None:
    return Phase(part.facts["trial"], part.facts["constants"]) if "constants" in part.facts else None


def _table(found: dict[int, Replicate]) -> pa.Table:
    each = [found[number] for number in sorted(found)]
    columns: dict[str, Any] = {"replicate": pa.array(sorted(found), pa.int64())}
    for name, kind in COLUMNS.items():
        columns[name] = pa.array([getattr(one, name) for one in each], kind)
    columns["moved"] = pa.array([one.moved.tolist() for one in each], pa.list_(pa.float64()))
    if each[0].split is not None:
        split = np.array([one.split for one in each])
        columns["split"] = rows_column(split if split.ndim == 2 else split.astype(np.uint64).reshape(len(each), -1))
        columns["words"] = pa.array([0 if split.ndim == 2 else split.shape[2]] * len(each), pa.int64())
    return pa.table(columns)


def _replicates(part: StoredPart) -> dict[int, Replicate]:
    table = part.read()
    rows = {name: table.column(name).to_pylist() for name in ("replicate", *COLUMNS)}
    count = table.num_rows
    moved = [np.array(one, float) for one in table.column("moved").to_pylist()]
    split: Any = [None] * count
    if "split" in table.column_names:
        words = table.column("words")[0].as_py()
        split = rows_of(table.column("split"), (-1, words) if words else (-1,))
    return {
        rows["replicate"][i]: Replicate(**{name: rows[name][i] for name in COLUMNS}, moved=moved[i], split=split[i])
        for i in range(count)
    }


def _normals(z: Any, columns: dict[str, Any] | None = None) -> pa.Table:
    """Every parameter's normals, beside other columns."""
    return pa.table({**(columns or {}), **{f"z_{key}": rows_column(particle_rows(value)) for key, value in z.items()}})


def _particles(table: pa.Table, target: Target, leading: tuple[int, int]) -> dict[str, np.ndarray]:
    """Particles [G, N, ...] by the names of the parameters."""
    parameters = target.kernel.model.parameters
    return {
        p.name: rows_of(table.column(f"z_{p.name}"), tuple(p.shape)).reshape(*leading, *p.shape) for p in parameters
    }


def _read_level(value: float | None, infinite: float) -> float:
    return infinite if value is None else value
