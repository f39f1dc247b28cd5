"""The parts of splitting around an anchor (volume.local_splitting).

law-L: a starting law, L > 0 after so many fits to where a pilot was. One row a parameter: ``centre`` float64, and
``root``, a list of float64: the rows of the root. Facts: ``log_det``, ``beta``; ``run``, the run's numbers where a
fresh pilot began from it, None where one that was under way went over to it.

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

from volume.estimators.local.cover import Cover
from volume.estimators.local.group import GroupState, Replicate
from volume.estimators.local.group import RegionGroup as Group
from volume.estimators.local.pilot import Closing, LocalPilot, PilotState
from volume.estimators.local.region_kernel import RegionKernel, RegionStage
from volume.estimators.smc.scheme import Scheme
from volume.runs.columns import rows_column, rows_of
from volume.runs.parts import Part, StoredPart
from volume.runs.states import LatestState, is_state, like, particle_rows, worded

# Of a replicate: one number each, and one a cutoff.
COLUMNS = {"ideal": pa.float64()} | dict.fromkeys(("evaluations", "drawn", "nonfinite"), pa.int64())
BY_CUTOFF = ("log_estimates", "change", "deviation")


def fingerprint(cover: Cover, pilot: LocalPilot, scheme: Scheme[RegionKernel]) -> str:
    """Of the constants of all replicates; those with others are not mixed."""
    kernel = scheme.kernel
    sizes = [scheme.num_particles, scheme.num_moves, kernel.points, kernel.guide_points, kernel.line_points]
    ends = [[end.at, *end.stage, end.factor] for end in pilot.ends]
    pieces = (cover.centre, cover.root, np.array(pilot.stages), np.array(ends), np.array(sizes))
    content = b"".join(np.ascontiguousarray(piece, np.float64).tobytes() for piece in pieces)
    return hashlib.sha256(content).hexdigest()[:16]


class SplittingParts:
    """What is kept of one run of `LocalSplitting`, and what is there of it."""

    def __init__(self) -> None:
        self._stored: list[StoredPart] = []
        self._ended: list[Part] = []
        self._cover: Cover | None = None  # the present law
        self._law, self._law_kept = 0, False  # its number
        self._pilot_kept = False
        self._state = LatestState()

    # --- what is there ---

    def take(self, parts: Sequence[StoredPart]) -> None:
        """Parts to go on from; others play no part."""
        self._stored = list(parts)

    def begun(self) -> tuple[Cover, Mapping[str, Any], StoredPart | None] | None:
        """The law to go on from, the run's numbers there, and the pilot as it ended or where it stood; without one a
        fresh pilot begins. None: the run does."""
        laws = {part.facts["law"]: part for part in self._stored if part.name.startswith("law-")}
        latest = max((law for law, part in laws.items() if part.facts["run"] is not None), default=-1)
        pilot = None
        for name in ("state-pilot", "pilot"):  # of two the one that has ended
            for part in self._stored:
                if is_state(part, name) and part.facts["law"] in laws and part.facts["law"] >= latest:
                    pilot = part
        if pilot is None and latest < 0:
            return None
        self._law, self._law_kept = latest if pilot is None else pilot.facts["law"], True
        facts, table = laws[self._law].facts, laws[self._law].read()
        centre, root = table.column("centre").to_numpy(), rows_of(table.column("root"), (-1,))
        self._cover = Cover(centre, root, facts["log_det"], facts["beta"], facts["evaluations"])
        return self._cover, (facts if pilot is None else pilot.facts)["run"], pilot

    def pilot_into(self, part: StoredPart, pilot: LocalPilot) -> None:
        """The pilot as it ended, or where it stood."""
        facts, table = part.facts, part.read()
        x = None
        if part.name == "pilot":
            self._pilot_kept = True
            rows = np.array([table.column(field).to_numpy() for field in RegionStage._fields]).T
        else:
            self._state.resumed(part.name)
            x = jnp.asarray(rows_of(table.column("x"), (-1,))[None])
            rows = _so_far(table)[0].reshape(-1, len(RegionStage._fields))
        numbers = {key: like(facts["numbers"][key.strip("_")], getattr(pilot, key)) for key in pilot.NUMBERS}
        ends = [Closing(at, _stage(stage), factor) for at, stage, factor in facts["ends"]]
        key = jax.random.wrap_key_data(jnp.array(facts["key"], jnp.uint32))
        pilot.go_on(PilotState(key, x, [_stage(row) for row in rows.tolist()], ends, numbers))

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
        self, fits: int, cover: Cover, pilot: LocalPilot, run: Mapping[str, Any], *, all: bool
    ) -> list[Part]:
        """The pilot where it has ended, or its state where one is due, with the law that it stands on, after so many
        fits; and a law that a fresh pilot begins from."""
        if cover is not self._cover:
            self._cover, self._law, self._law_kept = cover, fits, False
        state, parts = pilot.state(), list[Part]()
        facts = {
            "law": self._law,
            "run": dict(run),
            "key": np.asarray(jax.random.key_data(state.key)),
            "ends": [[end.at, _words(end.stage), bool(end.factor)] for end in state.ends],
            "numbers": {name.strip("_"): worded(value) for name, value in state.numbers.items()},
        }
        stages = np.array(state.stages, float).reshape(-1, len(RegionStage._fields))
        if pilot.done:
            if not self._pilot_kept:
                self._pilot_kept = True
                table = pa.table(dict(zip(RegionStage._fields, map(pa.array, stages.T), strict=True)))
                parts = [Part("pilot", facts, table), *self._state.over()]
        elif state.x is not None:
            at = fits, pilot.evaluations
            if self._state.due("state-pilot", at, state.x.size * state.x.dtype.itemsize, all=all):
                parts = [self._state.keep("state-pilot", at, facts, _particles([0], state.x, stages.reshape(1, -1)))]
        fresh = state.x is None
        if self._law_kept or not (fresh or parts):
            return parts
        self._law_kept = True
        law = {"law": self._law, "log_det": cover.log_det, "beta": cover.beta, "evaluations": cover.evaluations}
        table = pa.table({"centre": pa.array(cover.centre), "root": rows_column(cover.root)})
        return [Part(f"law-{self._law:03d}", law | {"run": dict(run) if fresh else None}, table), *parts]

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
