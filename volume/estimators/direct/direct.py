"""Direct estimation: draw parameters from the prior, classify the function, count.

Quantity: V(C) = prior{theta : function(theta) in C}. Estimator: hits / draws. Interval: Clopper-Pearson when draws are
independent, Fay-Feuer over the blocks when networks share a body or a head (volume.statistics.intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jax import Array

from volume.common.validation import check_arithmetic
from volume.errors import whole
from volume.estimators.direct.accumulators import InMemory, OnDisk
from volume.estimators.direct.plan import (
    MAX_DRAWS,
    Plan,
    check_memory,
    choose_block,
    fits_memory,
    make_plan,
    why_not_on_disk,
)
from volume.estimators.direct.run import DirectRun
from volume.queries.query import Query
from volume.runs.table_cells import working_memory

MAX_MEMORY = 1 << 60  # bytes


@dataclass(frozen=True, kw_only=True)
class Direct:
    """Draw, classify, count.

    Args:
        draws: networks to draw; rounded up to whole blocks (the report states how many were drawn).
        heads: last layers drawn for each body, 1 for fully independent draws. Default: by the width of the last hidden
            layer, up to 200, and fewer in short runs, so that there are at least 1,000 independent blocks.
        bodies: bodies of a block, which share its heads up to random reflections. Default: up to 50, likewise.
        dtype: "float32" or "float64".
        precision: matrix-product precision, as in ``jax.default_matmul_precision``; the default never rounds to TF32 or
            bfloat16, which would flip signs near zero.
        devices: JAX devices to spread blocks over. Default: all local ones. Counts do not depend on it.
        memory: bytes that the counts of truth tables may take. A run kept in a directory that may need more counts them
            from disk (docs/large_tables.md), any other is refused. Default: the machine's memory, and a quarter of it
            for the work from disk. Counts do not depend on it.

    Raises:
        ValueError: a number that is not whole or not positive, or an unknown dtype or precision.
    """

    draws: int
    heads: int | None = None
    bodies: int | None = None
    dtype: str = "float32"
    precision: str = "highest"
    devices: tuple[Any, ...] | None = None
    memory: int | None = None

    name = "direct"

    def __init__(
        self,
        draws: float,
        *,
        heads: int | None = None,
        bodies: int | None = None,
        dtype: str = "float32",
        precision: str = "highest",
        devices: Sequence[Any] | None = None,
        memory: float | None = None,
    ):
        check_arithmetic(dtype, precision)
        values = {
            "draws": whole("draws", draws, limit=MAX_DRAWS),
            "heads": None if heads is None else whole("heads", heads, limit=MAX_DRAWS),
            "bodies": None if bodies is None else whole("bodies", bodies, limit=MAX_DRAWS),
            "dtype": dtype,
            "precision": precision,
            "devices": None if devices is None else tuple(devices),
            "memory": None if memory is None else whole("memory", memory, limit=MAX_MEMORY),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def plan(self, query: Query) -> Plan:
        """Choose the concrete block from the query's shapes and the number of draws alone."""
        bodies, heads = choose_block(query, self.draws, heads=self.heads, bodies=self.bodies)
        return make_plan(
            query, self.draws, bodies, heads, dtype=self.dtype, precision=self.precision, devices=self.devices
        )

    def start(self, query: Query, key: Array) -> DirectRun:
        """Begin to draw; errors as in :meth:`plan`, and ValueError when the draws would not fit in memory."""
        check_memory(query, self.draws, self.memory)
        return self._start(query, key, on_disk=False)

    def start_kept(self, query: Query, key: Array) -> DirectRun:
        """Begin a run that is kept in a directory, where tables that do not fit in memory are counted."""
        if fits_memory(query, self.draws, self.memory) or why_not_on_disk(query) is not None:
            return self.start(query, key)
        return self._start(query, key, on_disk=True)

    def _start(self, query: Query, key: Array, *, on_disk: bool) -> DirectRun:
        plan = self.plan(query)
        draws = -(-self.draws // plan.block_draws) * plan.block_draws
        into = OnDisk(plan, draws, working_memory(self.memory)) if on_disk else InMemory(plan, draws)
        return DirectRun(query, plan, key, draws, into, self.describe(plan))

    def describe(self, plan: Plan) -> dict[str, Any]:
        return {
            "name": self.name,
            "draws": self.draws,
            "heads": plan.heads,
            "bodies": plan.bodies,
            "unit_size": plan.block_draws,
            "independent_draws": plan.independent,
            "dtype": self.dtype,
            "precision": self.precision,
        }
