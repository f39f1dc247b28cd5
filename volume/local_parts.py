"""The parts of splitting around an anchor (volume.local_splitting).

law-L: the starting law number L, 0 the first one and L > 0 fitted to where a pilot came to. One row a parameter:
``centre`` float64, and ``root``, a list of float64: the rows of the root. Facts: ``log_det``, ``beta``.

pilot: how the last pilot ended, constants of all replicates. One row a level: the fields of
volume.region_moves.RegionStage, float64. Facts: where each cutoff's volume is taken (``ends``), ``numbers``.

replicates-FIRST: replicates that have ended together, FIRST being the lowest of their numbers. One row a replicate:
``replicate`` int64; ``log_estimates``, ``change``, ``deviation``: lists of float64 by cutoff, largest first (-inf, nan:
died before); ``ideal`` float64; ``moved``, a list of float64 by step; ``evaluations``, ``drawn``, ``nonfinite`` int64.

state-pilot and state-replicates-FIRST: particles between two levels, replaced by later ones and emptied at the end. One
row a particle: ``replicate`` int64; ``x``, a list of floats; ``so_far``, a list of float64 with the first particle of
each replicate, else empty: the pilot's stages one after the other, a replicate's ``moved``. (Facts stay in the
manifest, once for every state: what grows with the levels is no fact.)

In facts infinities and NaN are words, for which JSON has none. Shape letters: G replicates, N particles of one, n
parameters, C cutoffs, L levels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from volume.local_cover import Cover
from volume.local_group import Group, GroupState, Replicate
from volume.local_pilot import Closing, LocalPilot, PilotState
from volume.part_columns import rows_column, rows_of
from volume.parts import Part, StoredPart
from volume.region_moves import Region, RegionStage
from volume.state_parts import LatestState, is_state, like, particle_rows, worded

# Of a replicate: one number each, and one a cutoff.
COLUMNS = {"ideal": pa.float64()} | dict.fromkeys(("evaluations", "drawn", "nonfinite"), pa.int64())
BY_CUTOFF = ("log_estimates", "change", "deviation")


def fingerprint(cover: Cover, pilot: LocalPilot, region: Region) -> str:
    """Of the constants of all replicates; those with others are not mixed."""
    sizes = [region.num_particles, region.num_moves, region.points, region.guide_points, region.line_points]
    ends = [[end.at, *end.stage, end.factor] for end in pilot.ends]
    pieces = (cover.centre, cover.root, np.array(pilot.stages), np.array(ends), np.array(sizes))
    content = b"".join(np.ascontiguousarray(piece, np.float64).tobytes() for piece in pieces)
    return hashlib.sha256(content).hexdigest()[:16]


class SplittingParts:
    """What is kept of one run of `LocalSplitting`, and what is there of it."""

    def __init__(self) -> None:
        self._stored: list[StoredPart] = []
        self._ended: list[Part] = []
        self._law: int | None = None  # the latest that is kept
        self._pilot_kept = False
        self._state = LatestState()

    # --- what is there ---

    def take(self, parts: Sequence[StoredPart]) -> None:
        """Parts to go on from; others play no part."""
        self._stored = list(parts)

    def law(self) -> tuple[Cover, Mapping[str, Any]] | None:
        """The last starting law, and the run's numbers where it had been found."""
        laws = [part for part in self._stored if part.name.startswith("law-")]
        if not laws:
            return None
        part = max(laws, key=lambda part: part.facts["law"])
        facts, table = part.facts, part.read()
        self._law = facts["law"]
        centre, root = table.column("centre").to_numpy(), rows_of(table.column("root"), (-1,))
        return Cover(centre, root, facts["log_det"], facts["beta"], facts["evaluations"]), facts["run"]

    def pilot_into(self, pilot: LocalPilot) -> Mapping[str, Any] | None:
        """The pilot from the last law as it ended, or where it stood, with the run's numbers there; None where neither
        is known."""
        for name in ("pilot", "state-pilot"):
            for part in self._stored:
                if not is_state(part, name) or part.facts["law"] != self._law:
                    continue
                facts, table = part.facts, part.read()
                x = None
                if name == "pilot":
                    self._pilot_kept = True
                    rows = np.array([table.column(field).to_numpy() for field in RegionStage._fields]).T
                else:
                    self._state.resumed(name)
                    x = jnp.asarray(rows_of(table.column("x"), (-1,))[None])
                    rows = _so_far(table)[0].reshape(-1, len(RegionStage._fields))
                stages = [_stage(row) for row in rows.tolist()]
                numbers = {key: like(facts["numbers"][key.strip("_")], getattr(pilot, key)) for key in pilot.NUMBERS}
                ends = [Closing(at, _stage(stage), factor) for at, stage, factor in facts["ends"]]
                key = jax.random.wrap_key_data(jnp.array(facts["key"], jnp.uint32))
                pilot.go_on(PilotState(key, x, stages, ends, numbers))
                return facts["run"]
        return None

    def finished(self, constants: str) -> dict[int, Replicate]:
        """Replicates that have ended, by number."""
        found: dict[int, Replicate] = {}
        for part in self._stored:
            if part.name.startswith("replicates-") and part.facts["constants"] == constants:
                found |= _replicates(part)
        return found

    def states(self, constants: str, numbers: Sequence[int]) -> list[StoredPart]:
        """States of groups of these replicates, none in two of them."""
        left, found = set(numbers), []
        for part in sorted(self._stored, key=lambda part: part.name):
            if not is_state(part, "state-replicates-") or part.facts["constants"] != constants:
                continue
            if left.issuperset(part.facts["replicates"]):
                left -= set(part.facts["replicates"])
                found.append(part)
        return found

    def group_into(self, part: StoredPart, group: Group) -> None:
        """The group of a state's replicates goes on from there."""
        self._state.resumed(part.name)
        facts, table = part.facts, part.read()
        x = jnp.asarray(rows_of(table.column("x"), (-1,)))
        arrays = {name: like(facts["arrays"][name.strip("_")], getattr(group, name)) for name in group.ARRAYS}
        moved = np.array(_so_far(table)).T
        group.go_on(GroupState(facts["at"], facts["taken"], x.reshape(group.size, -1, x.shape[1]), moved, arrays))

    # --- what is kept ---

    def ended(self, constants: str, found: dict[int, Replicate]) -> None:
        """Keep these replicates."""
        self._ended.append(Part(f"replicates-{min(found):06d}", {"constants": constants}, _table(found)))

    def collect_pilot(
        self, law: int, cover: Cover, pilot: LocalPilot, run: Mapping[str, Any], *, all: bool
    ) -> list[Part]:
        """The law where it is new, and the pilot where it has ended, or its state where one is due."""
        parts: list[Part] = []
        if law != self._law:
            self._law = law
            facts = {"law": law, "log_det": cover.log_det, "beta": cover.beta, "evaluations": cover.evaluations}
            table = pa.table({"centre": pa.array(cover.centre), "root": rows_column(cover.root)})
            parts.append(Part(f"law-{law:03d}", facts | {"run": dict(run)}, table))
        state = pilot.state()
        facts = {
            "law": law,
            "run": dict(run),
            "key": np.asarray(jax.random.key_data(state.key)),
            "ends": [[end.at, _words(end.stage), bool(end.factor)] for end in state.ends],
            "numbers": {name.strip("_"): worded(value) for name, value in state.numbers.items()},
        }
        stages = np.array(state.stages, float).reshape(-1, len(RegionStage._fields))
        if pilot.done:
            if not self._pilot_kept:
                self._pilot_kept = True
                columns = stages.T
                table = pa.table(dict(zip(RegionStage._fields, map(pa.array, columns), strict=True)))
                parts += [Part("pilot", facts, table), *self._state.over()]
        elif state.x is not None:
            at = law, pilot.evaluations
            if self._state.due("state-pilot", at, state.x.size * state.x.dtype.itemsize, all=all):
                parts.append(
                    self._state.keep("state-pilot", at, facts, _particles([0], state.x, stages.reshape(1, -1)))
                )
        return parts

    def collect(self, group: Group | None, constants: str, *, all: bool) -> list[Part]:
        """Replicates that have ended, and the state of those under way where one is due."""
        ended, self._ended = self._ended, []
        going = group is not None and group.steps_done != (0, 0)
        name = f"state-replicates-{group.numbers[0]:06d}" if group is not None and going else None
        ended += self._state.over(name) if ended else []
        if group is None or name is None:
            return ended
        state = group.state()
        if not self._state.due(name, group.steps_done, state.x.size * state.x.dtype.itemsize, all=all):
            return ended
        facts = {
            "constants": constants,
            "replicates": group.numbers,
            "at": state.at,
            "taken": state.taken,
            "arrays": {name.strip("_"): worded(value) for name, value in state.arrays.items()},
        }
        return [
            *ended,
            self._state.keep(name, group.steps_done, facts, _particles(group.numbers, state.x, state.moved.T)),
        ]


def _words(stage: RegionStage) -> list[Any]:
    return [worded(float(value)) for value in stage]


def _stage(row: Sequence[Any]) -> RegionStage:
    return RegionStage(*map(float, row))


def _particles(numbers: Sequence[int], x: Any, so_far: np.ndarray) -> pa.Table:
    """Particles [G, N, n] of these replicates [G], and what has been noted of each [G, .]."""
    number = np.repeat(np.array(numbers), x.shape[1])
    noted: list[list[float]] = [[]] * len(number)
    noted[:: x.shape[1]] = so_far.tolist()
    column = pa.array(noted, pa.list_(pa.float64()))
    return pa.table({"replicate": pa.array(number), "x": rows_column(particle_rows(x)), "so_far": column})


def _so_far(table: pa.Table) -> list[np.ndarray]:
    """What had been noted of each replicate, in the order of their particles."""
    first = np.unique(table.column("replicate").to_numpy(), return_index=True)[1]
    return [np.array(table.column("so_far")[int(at)].as_py(), float) for at in first]


def _table(found: dict[int, Replicate]) -> pa.Table:
    each = [found[number] for number in sorted(found)]
    columns: dict[str, Any] = {"replicate": pa.array(sorted(found), pa.int64())}
    columns |= {name: pa.array([getattr(one, name) for one in each], kind) for name, kind in COLUMNS.items()}
    columns |= {name: rows_column(np.array([getattr(one, name) for one in each])) for name in BY_CUTOFF}
    columns["moved"] = pa.array([one.moved.tolist() for one in each], pa.list_(pa.float64()))
    return pa.table(columns)


def _replicates(part: StoredPart) -> dict[int, Replicate]:
    table = part.read()
    rows: dict[str, Any] = {name: table.column(name).to_pylist() for name in ("replicate", *COLUMNS)}
    rows |= {name: rows_of(table.column(name), (-1,)) for name in BY_CUTOFF}
    rows["moved"] = [np.array(one, float) for one in table.column("moved").to_pylist()]
    return {
        number: Replicate(**{name: rows[name][i] for name in Replicate._fields})
        for i, number in enumerate(rows["replicate"])
    }
