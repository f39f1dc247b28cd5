"""The parts of a splitting run, class by class (their number C, three digits).

pilot-C: the levels that the pilot found, constants of all replicates. One row a level, float64: ``level``,
``next_level``, and ``body_step``, ``head_step`` or, where the last layer is integrated, ``step``, ``log_scale``.

replicates-C-FIRST and, for trial T, trial-C-T-FIRST: replicates that have ended together, FIRST being the lowest of
their numbers. One row a replicate: ``replicate`` int64; ``log_estimate`` float64, natural, -inf for one that died;
``ideal_variance``, ``ancestors`` float64; ``evaluations``, ``drawn``, ``nonfinite`` int64; ``moved``, a list of float64
by level; where the class is divided, ``split``: a list of float64, the shares of the classes (``words`` is 0), or of
uint64, the packed truth tables that were visited, ``words`` words each.

state-C-pilot and state-C-FIRST: particles between two levels, replaced by later ones and emptied at the end. One row a
particle: ``replicate`` and ``ancestor`` int64, and a list of floats for every array of its state: a parameter's
standard normals, and ``log_approximation`` of a body.

Shape letters: G replicates, N particles of one, L levels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from volume.common.seeds import threefry_key
from volume.estimators.smc.group import GroupState
from volume.estimators.smc.pilot import Pilot, PilotState
from volume.estimators.splitting.group import ClassGroup, Replicate
from volume.estimators.splitting.schemes import ClassScheme
from volume.runs.checkpoints import Checkpoint, Checkpoints, State, StoredCheckpoint, apart, floats, particle_rows
from volume.runs.columns import Numbers, Ragged, Rows, Schema, columns_of, records_of

STREAM_VERSION = 2  # of what is random about a replicate of a given number; changes when that changes

REPLICATES = Schema(
    {"replicate": Numbers(np.int64)}
    | dict.fromkeys(("log_estimate", "ideal_variance", "ancestors"), Numbers(float))
    | dict.fromkeys(("evaluations", "drawn", "nonfinite"), Numbers(np.int64))
    | {"moved": Ragged(), "split": Rows(), "words": Numbers(np.int64)}
)


def stage_columns(kind: Any) -> Schema:
    """Return columns of stages, named tuples of this type."""
    return Schema(dict.fromkeys(kind._fields, Numbers(float)))


def particles(shapes: Mapping[str, tuple[int, ...]]) -> Schema:
    """Return columns of particles: the replicate and the ancestor of each, and the arrays of its state by these names
    and shapes."""
    normals = {f"z_{name}": Rows(tuple(shape)) for name, shape in shapes.items()}
    return Schema({"replicate": Numbers(np.int64), "ancestor": Numbers(np.int64), **normals})


class Phase(NamedTuple):
    """What replicates belong to."""

    trial: int | None  # its number; None: the run itself
    constants: str  # fingerprint of levels, steps, N and P


def fingerprint(stages: Sequence[Any], scheme: ClassScheme) -> str:
    """Of the constants of a run of replicates; those with others are not mixed."""
    numbers = np.array([*map(tuple, stages), (scheme.num_particles, scheme.num_moves, 0, 0)], np.float64)
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


class ClassParts:
    """What is kept of one class, and what is there of it."""

    def __init__(self, number: int):
        self._number = number
        self._pilot_name = f"pilot-{number:03d}"
        self._pilot_kept = False
        self._kept = Checkpoints({"class": number})

    # --- what is there ---

    def take(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Parts to go on from; those of other classes play no part."""
        self._kept.restore(part for part in parts if part.facts.get("class") == self._number)

    def pilot_into(self, pilot: Pilot) -> None:
        """Let the pilot be as it ended, or go on from where it stood."""
        kernel: Any = pilot.scheme.kernel
        kind = kernel.stage_type
        for part in self._kept.stored(self._pilot_name):
            self._pilot_kept = True
            numbers = {"done": True, "problem": part.facts["problem"], "given_up": part.facts.get("given_up", 0)}
            stages = records_of(kind, stage_columns(kind).read(part))
            pilot.go_on(_pilot_state(part, None, None, stages, numbers, kernel.first_level))
            return
        for part in self._kept.stored(f"state-{self._number:03d}-pilot"):
            facts, z = part.facts, _normals(_read_particles(part, kernel), 1)
            levels, next_levels, *steps = (
                zip(*facts["stages"], strict=True) if facts["stages"] else [[]] * len(kind._fields)
            )
            columns = (floats(levels, -math.inf).tolist(), floats(next_levels, math.inf).tolist(), *steps)
            stages = [kind(*row) for row in zip(*columns, strict=True)]
            key = threefry_key(*facts["key"])
            numbers = {"_step": tuple(facts["steps"]), "given_up": facts.get("given_up", 0)}
            pilot.go_on(_pilot_state(part, key, z, stages, numbers, kernel.first_level))
            self._kept.resume(part)

    def finished(self, phase: Phase) -> dict[int, Replicate]:
        """Return replicates of this phase that have ended, by number."""
        stored = self._kept.stored("trial-") + self._kept.stored("replicates-")
        replicates = [_replicates(part) for part in stored if _phase_of(part) == phase]
        return {number: one for each in replicates for number, one in each.items()}

    def states(self, phase: Phase, numbers: Sequence[int]) -> list[StoredCheckpoint]:
        """List states of groups of these replicates, none in two of them."""
        return apart([part for part in self._kept.stored("state-") if _phase_of(part) == phase], numbers)

    def group_into(self, part: StoredCheckpoint, group: ClassGroup) -> None:
        """Let the group of a state's replicates go on from there."""
        self._kept.resume(part)
        scheme, size, facts = group.scheme, group.size, part.facts
        columns, lasted = _read_particles(part, scheme.kernel), np.array(facts["lasted"], np.int64)
        arrays = {
            "log_total": floats(facts["log_estimates"], -math.inf),
            "variance": floats(facts["ideal"], math.nan),
            "lasted": lasted,
            "evaluations": scheme.num_particles * scheme.kernel.draw_cost + lasted * scheme.cost,
            "nonfinite": np.array(facts["nonfinite"], np.int64),
        }
        ancestor, moved = columns["ancestor"].reshape(size, -1), np.array(facts["moved"], float).reshape(-1, size)
        group.go_on(GroupState(facts["level"], _normals(columns, size), ancestor, moved, arrays))

    # --- what is kept ---

    def ended(self, phase: Phase, replicates: dict[int, Replicate]) -> None:
        """Keep these replicates."""
        kind = "replicates" if phase.trial is None else "trial"
        middle = "" if phase.trial is None else f"-{phase.trial:03d}"
        name = f"{kind}-{self._number:03d}{middle}-{min(replicates):06d}"
        self._kept.add(Checkpoint(name, self._facts(phase), _replicates_table(replicates)))

    def collect_pilot(self, pilot: Pilot, *, all: bool) -> list[Checkpoint]:
        """Return the pilot where it has ended, or its state where one is due."""
        if self._pilot_kept:
            return []
        facts: dict[str, Any] = {"class": self._number, "given_up": pilot.given_up}
        if pilot.done:
            self._pilot_kept = True
            facts |= {"problem": pilot.problem, "log_volume": pilot.log_total, "evaluations": pilot.evaluations}
            self._kept.add(Checkpoint(self._pilot_name, facts, _stages_table(pilot)))
            return self._kept.collect(all=all)
        state = pilot.state()
        if state.z is None:
            return []
        facts |= {
            "key": np.asarray(jax.random.key_data(state.key)),
            "stages": [list(stage) for stage in state.stages],
            "steps": list(state.numbers["_step"]),
            "log_volume": pilot.log_total,
            "evaluations": pilot.evaluations,
        }
        name = f"state-{self._number:03d}-pilot"

        def content() -> tuple[dict[str, Any], Any]:
            return facts, _particles_table(state.z)

        return self._kept.collect(State(name, pilot.evaluations, _num_bytes(state.z), content), all=all)

    def collect(self, group: ClassGroup | None, phase: Phase, *, all: bool) -> list[Checkpoint]:
        """Hand out the replicates that have ended, and the state of those under way where one is due."""
        if group is None or not group.at:
            return self._kept.collect(all=all)
        state = group.state()

        def content() -> tuple[dict[str, Any], Any]:
            facts = {
                "replicates": group.numbers,
                "level": group.at,
                "lasted": group.lasted,
                "log_estimates": group.log_total,
                "ideal": group.ideal,
                "nonfinite": group.nonfinite,
                "moved": state.moved,
            }
            ancestor = np.asarray(state.ancestor)
            number = np.repeat(np.array(group.numbers), ancestor.shape[1])
            return self._facts(phase) | facts, _particles_table(state.z, replicate=number, ancestor=ancestor.ravel())

        name = f"state-{self._number:03d}-{group.numbers[0]:06d}"
        return self._kept.collect(State(name, group.at, _num_bytes(state.z), content), all=all)

    def _facts(self, phase: Phase) -> dict[str, Any]:
        return {"class": self._number, "trial": phase.trial, "constants": phase.constants}


def _phase_of(part: StoredCheckpoint) -> Phase | None:
    return Phase(part.facts["trial"], part.facts["constants"]) if "constants" in part.facts else None


def _stages_table(pilot: Pilot) -> Any:
    kernel: Any = pilot.scheme.kernel
    return stage_columns(kernel.stage_type).table(columns_of(kernel.stage_type, pilot.stages))


def _pilot_state(
    part: StoredCheckpoint, key: Any, z: Any, stages: list[Any], numbers: dict[str, Any], first: float
) -> PilotState:
    numbers |= {"log_total": part.facts["log_volume"], "evaluations": part.facts["evaluations"]}
    return PilotState(key, z, stages, numbers | {"_level": stages[-1].next_level if stages else first})


def _replicates_table(replicates: dict[int, Replicate]) -> Any:
    columns = columns_of(Replicate, replicates)
    split = columns.pop("split")
    if split is not None:  # [R, K] shares, or [R, V, W] packed tables
        split = np.array(split)
        words = 0 if split.ndim == 2 else split.shape[2]
        columns["split"] = split.astype(np.uint64).reshape(len(split), -1) if words else split
        columns["words"] = np.full(len(split), words)
    return REPLICATES.table(columns)


def _replicates(part: StoredCheckpoint) -> dict[int, Replicate]:
    columns = REPLICATES.read(part)
    if columns["split"] is not None and (words := int(columns["words"][0])):
        columns["split"] = columns["split"].reshape(len(columns["replicate"]), -1, words)
    return dict(zip(columns["replicate"].tolist(), records_of(Replicate, columns), strict=True))


def _particles_table(z: Any, **columns: np.ndarray) -> Any:
    """Particles {name: [G, N, ...]}, beside other columns [G N]."""
    normals = {f"z_{name}": particle_rows(value) for name, value in z.items()}
    return particles({name: value.shape[2:] for name, value in z.items()}).table(normals | columns)


def _num_bytes(z: Mapping[str, Any]) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in z.values())


def _read_particles(part: StoredCheckpoint, kernel: Any) -> dict[str, Any]:
    return particles(kernel.state_shapes).read(part)


def _normals(columns: dict[str, Any], size: int) -> dict[str, np.ndarray]:
    """Particles {name: [G, N, ...]} of columns, G = ``size``."""
    return {
        name.removeprefix("z_"): value.reshape(size, -1, *value.shape[1:])
        for name, value in columns.items()
        if name.startswith("z_")
    }
