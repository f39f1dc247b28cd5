"""The run before the run: a pilot finds levels and steps, and is thrown away.

One replicate climbs adaptively. At each level it first tunes the kernel's step, then sets the next level at the score
that a fifth of the states exceed. What it found becomes constants of the replicates that follow; nothing it drew enters
any estimate.

A fifth, as the variance per evaluation of K = log p / log p0 independent levels is least at p0 = .2032 (Botev and
Kroese 2008, Methodology and Computing in Applied Probability 10, section 3).

Shape letters: N particles, P moves.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jax import Array

from volume.common.seeds import alone, fold_in, halves
from volume.estimators.smc.kernel import Kernel
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import Probe, advance, check_particles, count_nonfinite, draw, fresh_state, probe

SHARE_ABOVE = 0.2  # of the states that go on to the next level
MAX_STALLED = 6  # probes in a row that see no score above the level


class PilotState(NamedTuple):
    """Where a pilot stands between two levels, or how it ended."""

    key: Any  # None of a finished one that was stored
    z: Any  # [1, N, ...]; None before the first level
    stages: list[Any]
    numbers: dict[str, Any]  # those of `Pilot.NUMBERS`


class Pilot:
    """Levels and steps on the way to score +inf, found level by level; ``advance`` until ``done``.

    Args:
        scheme: with the particles of one replicate.
        data: arrays that the kernel reads.
        dtype: of the run.
        key: consumed.
        floor: natural log of the volume at which to give up.
        tries: pilots, each with draws of its own, of which the first that reaches the end counts. One that stalls may
            have been led astray; only when all of them have is there a problem.
    """

    # All that changes on the way, beside key, particles and stages: numbers, truth values and a text.
    NUMBERS: ClassVar[tuple[str, ...]] = ("log_total", "evaluations", "num_drawn", "num_nonfinite", "done", "problem")
    NUMBERS += ("_level", "_step")

    def __init__(self, scheme: Scheme[Kernel], data: Any, dtype: Any, key: Array, floor: float, tries: int = 1):
        self.scheme, self.data, self.tries = scheme, data, tries
        self.evaluations = 0
        self.num_drawn = self.num_nonfinite = 0
        self.done = False
        self.problem = ""  # why the end was not reached; empty when it was
        self.given_up = 0  # tries that did not reach it
        self._dtype, self._first_key, self._floor = np.dtype(dtype), key, floor
        self._begin(key)

    def _begin(self, key: Array) -> None:
        self.stages: list[Any] = []
        self.log_total = 0.0  # log of the total of the measure that is reached; adaptive and so slightly biased
        kernel = self.scheme.kernel
        self._key, self._level, self._step = key, kernel.first_level, kernel.first_step
        self._z: Any = None  # [1, N, ...]

    @property
    def level(self) -> float:
        """The score that all particles have now."""
        return self._level

    def state(self) -> PilotState:
        """Give where it stands, or how it ended."""
        names = (*self.NUMBERS, "given_up") if self.tries > 1 else self.NUMBERS
        numbers = {name: getattr(self, name) for name in names}
        return PilotState(self._key, self._z, list(self.stages), numbers)

    def go_on(self, state: PilotState) -> None:
        """Resume from the state of a pilot with the same arguments; what it leaves out of the numbers stays."""
        self._key, self._z, self.stages, numbers = state
        for name, value in numbers.items():
            setattr(self, name, value)

    def advance(self) -> None:
        """Take one level."""
        if self._z is None:
            state, score = draw(self.scheme, self._next_key(), self.data)
            self._z = state.z
            self.num_drawn += score.size
            self.num_nonfinite += int(count_nonfinite(score).sum())
            self.evaluations += score.size * self.scheme.kernel.draw_cost
        self._advance()

    def _advance(self) -> None:
        """Go to the next level; replace this where stages are chosen in another way."""
        seen = self._tuned()
        level = self._next_level(self._scores(seen))
        if level is None:
            self._stall()
        elif not self._take(self._stay()._replace(next_level=level)):
            return
        elif level == math.inf:
            self.done = True
        elif self.log_total < self._floor:
            self._sink()

    # --- what a pilot is made of ---

    def _stay(self) -> Any:
        """The stage whose moves leave the present measure as it is."""
        return self.scheme.kernel.stay(self._level, self._step)

    def _scores(self, seen: Probe) -> np.ndarray:
        """The scores of all states on the way, flat."""
        return np.asarray(seen.score).ravel()

    def _probe(self) -> Probe:
        stage = self._stay().cast(self._dtype)
        seen = probe(self.scheme, self._next_key(), self._z, self.data, stage)
        self._z = seen.z
        last = np.asarray(seen.score)[:, :, -1]
        check_particles(self.scheme, "probe", seen.z, self.data, last.reshape(*last.shape[:2], -1)[..., 0])
        self.evaluations += self.scheme.cost
        return seen

    def _tuned(self) -> Probe:
        """Probe at a step that the kernel finds good, or the last of a few."""
        kernel = self.scheme.kernel
        for _ in range(kernel.max_tuning):
            seen = self._probe()
            self._step, good = kernel.tune(self._stay(), np.asarray(seen.others))
            if good:
                break
        return seen

    def _next_level(self, score: np.ndarray, highest: float = math.inf) -> float | None:
        """The next level from scores at this one; None when nothing higher is seen after several probes."""
        for _ in range(MAX_STALLED):
            score = np.where(np.isnan(score), -math.inf, score)
            level = min(float(np.quantile(score, 1 - SHARE_ABOVE, method="lower")), highest)
            if level > self._level:
                return level
            # A plateau holds the quantile: go to the first score above it, as long as any is seen.
            higher = score[score > self._level]
            if len(higher):
                return min(float(higher.min()), highest)
            score = self._scores(self._probe())
        return None

    def _take(self, stage: Any) -> bool:
        """Go to the next measure; False where too few particles got there to be met again: the level stays, and is
        tried once more."""
        cast = stage.cast(self._dtype)
        state, info = advance(self.scheme, self._next_key(), fresh_state(self._z), self.data, cast)
        self.evaluations += self.scheme.cost
        factor = float(np.asarray(info.factor)[0])
        if not factor > 0:
            return False
        self.stages.append(stage)
        self.log_total += math.log(factor) - stage.log_scale
        self._z, self._level = state.z, stage.next_level
        return True

    # --- giving up ---

    def _stall(self) -> None:
        self._give_up(
            f"the score stands still at {self._level:.6g}: none of {self._stalled_moves:,} moves found a higher one. "
            "The class may be empty, the score flat (give score= one that rises further), or the moves too few"
        )

    def _sink(self) -> None:
        self._give_up(f"it went below {self._floor_words}, the floor of this method")

    @property
    def _stalled_moves(self) -> int:
        return MAX_STALLED * self.scheme.num_particles * self.scheme.num_moves

    @property
    def _floor_words(self) -> str:
        return f"10^{self._floor / math.log(10):.0f}"

    def _give_up(self, problem: str) -> None:
        self.given_up += 1
        if self.given_up < self.tries:
            self._begin(fold_in(self._first_key, self.given_up))
        else:
            self.problem, self.done = problem, True

    def _next_key(self) -> Array:
        self._key, key = halves(self._key)
        return alone(key)
