"""What a kernel of sequential Monte Carlo is: a frozen, hashable object that draws, moves and tunes one particle.

A kernel holds all that a compiled step depends on beside sizes: the parameters' prior, the importance function whose
levels are climbed, the geometry of its moves. Arrays are no part of it: they come along as ``data``, so that targets of
one shape share their programs. `volume.estimators.smc.step` runs any kernel over replicates and particles.

A new kernel takes one file: this class's methods, and a `Stage` with what its moves need.

Shape letters: P moves of a particle at one level, K reversible steps of a move.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from jax import Array


class Stage(Protocol):
    """One level's constants, a named tuple: from the present measure to the next one.

    Its fields are chosen by the kernel; ``level`` and ``next_level`` are among them.
    """

    @property
    def level(self) -> Any: ...  # particles keep score >= level

    @property
    def next_level(self) -> Any: ...

    @property
    def log_scale(self) -> Any: ...  # added to the log of the next measure's density; whoever sums takes it off

    def cast(self, dtype: np.dtype) -> Any:
        """Give the constants as scalars of the dtype of the run: a level is data, and no level is compiled anew."""
        ...

    def _replace(self, **changes: Any) -> Any: ...


class Move(NamedTuple):
    """Where a particle goes, and what its move has seen."""

    z: Any  # the new state
    share: Array  # g: the next measure over the present one, as seen from the old state
    candidate: Any  # a state of the next measure; the state itself where none was seen
    moved: Array  # whether it went anywhere; of several steps, their share
    others: Array  # [2] shares of the other points that the present measure is spread over; of the kernel's two steps
    score: Array  # importance function of the new state; more numbers where the kernel's pilot reads them


class ReversibleStep(Protocol):
    """One reversible step, seen from a state."""

    @property
    def share(self) -> Array: ...  # g

    def somewhere(self, key: Array) -> Any:
        """Draw the state that follows; the key is consumed."""
        ...


class Kernel(Protocol):
    """A Markov kernel that leaves each level's measure invariant. Static under ``jax.jit``."""

    @property
    def num_steps(self) -> int: ...  # K

    @property
    def cost(self) -> int: ...  # evaluations of one move

    @property
    def draw_cost(self) -> int: ...  # evaluations of one draw of `init`

    @property
    def first_step(self) -> Any: ...  # of a move, before anything is known

    @property
    def first_level(self) -> float: ...  # of the first measure

    @property
    def max_tuning(self) -> int: ...  # probes of one level that only change the step

    def init(self, key: Array, data: Any) -> tuple[Any, Array]:
        """Draw one particle of the first measure, and a number that is NaN where its outputs are not finite."""
        ...

    def prepare(self, data: Any) -> Any:
        """Compute what all moves of a level share, once."""
        ...

    def move(self, key: Array, z: Any, space: Any, stage: Any) -> Move:
        """Move one particle; the key is consumed. ``space`` is what `prepare` gave."""
        ...

    def around(self, key: Array, z: Any, space: Any, stage: Any, number: Array | int) -> ReversibleStep:
        """See step ``number``, counted from 0, of a chain from the state z, for conditional runs."""
        ...

    def plain_score(self, z: Any, data: Any) -> Array:
        """Compute the score of a particle from its network alone, as `Move.score` begins: what moves say is held to
        it (volume.queries.compiled)."""
        ...

    def stay(self, level: float, step: Any) -> Any:
        """Make the `Stage` whose moves of this step stay at ``level``."""
        ...

    def tune(self, stage: Any, others: np.ndarray) -> tuple[Any, bool]:
        """Choose the step from the share [2] of other points that moves at ``stage`` met, and say whether it will do.

        ``others`` is the mean of `Move.others`.
        """
        ...
