"""The parts of splitting around an anchor (volume.estimators.local.splitting).

law-L: a proposal, L > 0 after so many fits to where a pilot was. One row a parameter: ``centre`` float64, and
``root``, a list of float64: the rows of the root. Facts: ``log_det``, ``beta``; ``run``, the run's numbers where a
fresh pilot began from it, None where one that was under way went over to it.

pilot: how the last pilot ended, constants of all replicates. One row a level: the fields of
volume.estimators.local.region_kernel.RegionStage, float64. Facts: where each cutoff's volume is taken (``ends``),
``numbers``.

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

from volume.common.seeds import threefry_key
from volume.estimators.local.group import RegionGroup, Replicate
from volume.estimators.local.pilot import Closing, LocalPilot
from volume.estimators.local.proposal import Proposal
from volume.estimators.local.region_kernel import RegionKernel, RegionStage
from volume.estimators.smc.group import GroupState
from volume.estimators.smc.pilot import PilotState
from volume.estimators.smc.scheme import Scheme
from volume.runs.checkpoints import Checkpoint, Checkpoints, State, StoredCheckpoint, apart, like, particle_rows, worded
from volume.runs.columns import Numbers, Ragged, Rows, Schema, columns_of, records_of

LAW = Schema({"centre": Numbers(), "root": Rows()})
STAGES = Schema(dict.fromkeys(RegionStage._fields, Numbers(float)))
REPLICATES = Schema(
    {"replicate": Numbers(np.int64), "ideal": Numbers(float)}
    | dict.fromkeys(("evaluations", "drawn", "nonfinite"), Numbers(np.int64))
    | dict.fromkeys(("log_estimates", "change", "deviation"), Rows())  # by cutoff
    | {"moved": Ragged()}
)
PARTICLES = Schema({"replicate": Numbers(np.int64), "x": Rows(), "so_far": Ragged()})


def fingerprint(proposal: Proposal, pilot: LocalPilot, scheme: Scheme[RegionKernel]) -> str:
    """Of the constants of all replicates; those with others are not mixed."""
    kernel = scheme.kernel
    sizes = [scheme.num_particles, scheme.num_moves, kernel.points, kernel.guide_points, kernel.line_points]
    ends = [[end.at, *end.stage, end.factor] for end in pilot.ends]
    pieces = (proposal.centre, proposal.root, np.array(pilot.stages), np.array(ends), np.array(sizes))
    content = b"".join(np.ascontiguousarray(piece, np.float64).tobytes() for piece in pieces)
    return hashlib.sha256(content).hexdigest()[:16]


class SplittingParts:
    """What is kept of one run of `LocalSplitting`, and what is there of it."""

    def __init__(self) -> None:
        self._proposal: Proposal | None = None  # the present proposal
        self._law, self._law_kept = 0, False  # its number
        self._pilot_kept = False
        self._kept = Checkpoints()

    # --- what is there ---

    def take(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Parts to go on from; others play no part."""
        self._kept.restore(parts)

    def begun(self) -> tuple[Proposal, Mapping[str, Any], StoredCheckpoint | None] | None:
        """Find the proposal to go on from, the run's numbers there, and the pilot as it ended or where it stood.

        Without a pilot a fresh one begins. None: the run does.
        """
        laws = {part.facts["law"]: part for part in self._kept.stored("law-")}
        latest = max((law for law, part in laws.items() if part.facts["run"] is not None), default=-1)
        pilots = self._kept.stored("pilot") + self._kept.stored("state-pilot")  # of two the one that has ended
        pilot = next((part for part in pilots if part.facts["law"] in laws and part.facts["law"] >= latest), None)
        if pilot is None and latest < 0:
            return None
        self._law, self._law_kept = latest if pilot is None else pilot.facts["law"], True
        facts, columns = laws[self._law].facts, LAW.read(laws[self._law])
        self._proposal = Proposal(
            columns["centre"], columns["root"], facts["log_det"], facts["beta"], facts["evaluations"]
        )
        return self._proposal, (facts if pilot is None else pilot.facts)["run"], pilot

    def pilot_into(self, part: StoredCheckpoint, pilot: LocalPilot) -> None:
        """Let the pilot be as it ended, or go on from where it stood."""
        facts, x = part.facts, None
        if part.name == "pilot":
            self._pilot_kept = True
            stages = records_of(RegionStage, STAGES.read(part))
        else:
            self._kept.resume(part)
            columns = PARTICLES.read(part)
            x = jnp.asarray(columns["x"][None])
            stages = [RegionStage(*row) for row in _so_far(columns)[0].reshape(-1, len(RegionStage._fields)).tolist()]
        numbers = like(facts["numbers"], {name: getattr(pilot, name) for name in pilot.NUMBERS})
        pilot.ends = [Closing(at, RegionStage(*map(float, stage)), factor) for at, stage, factor in facts["ends"]]
        key = threefry_key(*facts["key"])
        pilot.go_on(PilotState(key, x, stages, numbers))

    def finished(self, constants: str) -> dict[int, Replicate]:
        """Return replicates that have ended, by number."""
        replicates: dict[int, Replicate] = {}
        for part in self._kept.stored("replicates-"):
            if part.facts["constants"] == constants:
                columns = REPLICATES.read(part)
                replicates |= zip(columns["replicate"].tolist(), records_of(Replicate, columns), strict=True)
        return replicates

    def states(self, constants: str, numbers: Sequence[int]) -> list[StoredCheckpoint]:
        """Return states of groups of these replicates, none in two of them."""
        stored = self._kept.stored("state-replicates-")
        return apart([part for part in stored if part.facts["constants"] == constants], numbers)

    def group_into(self, part: StoredCheckpoint, group: RegionGroup) -> None:
        """Let the group of a state's replicates go on from there."""
        self._kept.resume(part)
        facts, columns = part.facts, PARTICLES.read(part)
        x = jnp.asarray(columns["x"])
        arrays = like(facts["arrays"], {name: getattr(group, name) for name in group.ARRAYS})
        moved = np.array(_so_far(columns)).T
        group.taken = facts["taken"]
        group.go_on(GroupState(facts["at"], x.reshape(group.size, -1, x.shape[1]), None, moved, arrays))

    # --- what is kept ---

    def ended(self, constants: str, replicates: dict[int, Replicate]) -> None:
        """Keep these replicates."""
        table = REPLICATES.table(columns_of(Replicate, replicates))
        self._kept.add(Checkpoint(f"replicates-{min(replicates):06d}", {"constants": constants}, table))

    def collect_pilot(
        self, fits: int, proposal: Proposal, pilot: LocalPilot, run: Mapping[str, Any], *, all: bool
    ) -> list[Checkpoint]:
        """Hand out the pilot where it has ended, or its state where one is due, with its proposal after so many fits;
        and a proposal that a fresh pilot begins from."""
        if proposal is not self._proposal:
            self._proposal, self._law, self._law_kept = proposal, fits, False
        state, parts = pilot.state(), list[Checkpoint]()
        facts = {
            "law": self._law,
            "run": dict(run),
            "key": np.asarray(jax.random.key_data(state.key)),
            "ends": [[end.at, worded([*map(float, end.stage)]), bool(end.factor)] for end in pilot.ends],
            "numbers": worded(state.numbers),
        }
        if pilot.done:
            if not self._pilot_kept:
                self._pilot_kept = True
                self._kept.add(Checkpoint("pilot", facts, STAGES.table(columns_of(RegionStage, state.stages))))
                parts = self._kept.collect(all=all)
        elif state.z is not None:
            stages = np.array(state.stages, float).reshape(1, -1)
            size = state.z.size * state.z.dtype.itemsize
            under_way = State(
                "state-pilot", (fits, pilot.evaluations), size, lambda: (facts, _particles_table([0], state.z, stages))
            )
            parts = self._kept.collect(under_way, all=all)
        fresh = state.z is None
        if self._law_kept or not (fresh or parts):
            return parts
        self._law_kept = True
        law = {
            "law": self._law,
            "log_det": proposal.log_det,
            "beta": proposal.beta,
            "evaluations": proposal.evaluations,
        }
        table = LAW.table({"centre": proposal.centre, "root": proposal.root})
        return [Checkpoint(f"law-{self._law:03d}", law | {"run": dict(run) if fresh else None}, table), *parts]

    def collect(self, group: RegionGroup | None, constants: str, *, all: bool) -> list[Checkpoint]:
        """Replicates that have ended, and the state of those under way where one is due."""
        if group is None or (group.at, group.taken) == (0, 0):
            return self._kept.collect(all=all)
        state, taken = group.state(), group.taken

        def content() -> tuple[dict[str, Any], Any]:
            facts = {"constants": constants, "replicates": group.numbers, "at": state.at, "taken": taken}
            table = _particles_table(group.numbers, state.z, state.moved.T)
            return facts | {"arrays": worded(state.arrays)}, table

        name, size = f"state-replicates-{group.numbers[0]:06d}", state.z.size * state.z.dtype.itemsize
        return self._kept.collect(State(name, (group.at, taken), size, content), all=all)


def _particles_table(numbers: Sequence[int], x: Any, so_far: np.ndarray) -> Any:
    """Particles [G, N, n] of these replicates [G], and what has been noted of each [G, .]."""
    number = np.repeat(np.array(numbers), x.shape[1])
    noted: list[Any] = [()] * len(number)
    noted[:: x.shape[1]] = so_far
    return PARTICLES.table({"replicate": number, "x": particle_rows(x), "so_far": noted})


def _so_far(columns: Mapping[str, Any]) -> list[np.ndarray]:
    """What had been noted of each replicate, in the order of their particles."""
    first = np.unique(columns["replicate"], return_index=True)[1]
    return [columns["so_far"][at] for at in first]
