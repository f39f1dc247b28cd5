"""What a compiled program costs, in numbers that do not flake: traces, operations, bytes, temporary memory.

Times vary with the machine and its load; what XLA says of a program that it compiled does not. On one machine with one
version of everything the numbers are the same to the last byte. Elsewhere the compiler fuses otherwise, so there they
are held to a factor.

XLA counts the body of a loop once, whatever its length: a guard sees that a step became dearer, not that it is taken
more often.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

FACTOR = 4.0  # within which costs elsewhere stay
# Bytes below which temporary memory elsewhere is not held to the factor: small programs are all constants and padding.
SMALL_BYTES = 1 << 14


class Call(NamedTuple):
    """A jitted function with arguments that stand for all it gets: arrays, or shapes (`jax.ShapeDtypeStruct`)."""

    jitted: Any
    args: tuple[Any, ...]
    x64: bool = False


@dataclass(frozen=True)
class Program:
    """One compiled program."""

    flops: float  # floating-point operations
    bytes_accessed: float  # read and written
    temporary_bytes: int  # held beside arguments and results at the worst moment
    argument_bytes: int
    output_bytes: int
    traces: int | None = None  # programs that a run compiled of this function; None: no run was watched

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record."""
        return asdict(self)


def measure(jitted: Any, *args: Any, during: Callable[[], Any] | None = None, **options: Any) -> Program:
    """Return what ``jitted`` costs for arguments like these.

    Args:
        jitted: a function that `jax.jit` made.
        args: its arguments, arrays or `jax.ShapeDtypeStruct`; nothing is computed with them.
        during: a run, to be called once, whose programs of ``jitted`` are counted; what was compiled before is
            forgotten first.
        options: its keyword arguments.

    Raises:
        TypeError: ``jitted`` is no jitted function.
        ValueError: this platform does not say what its programs cost.
    """
    if not hasattr(jitted, "lower") or not hasattr(jitted, "clear_cache"):
        raise TypeError(f"{jitted!r} is no jitted function: give jax.jit(function).")
    traces = None
    if during is not None:
        with counted([jitted]) as counts:
            during()
        traces = counts[0]
    compiled = jitted.lower(*args, **options).compile()
    cost: Any = compiled.cost_analysis()
    memory = compiled.memory_analysis()
    cost = cost[0] if isinstance(cost, (list, tuple)) and cost else cost  # one entry a program on some platforms
    if not cost or memory is None:
        raise ValueError("This platform does not say what its programs cost: nothing can be guarded on it.")
    return Program(
        flops=float(cost.get("flops", 0.0)),
        bytes_accessed=float(cost.get("bytes accessed", 0.0)),
        temporary_bytes=int(memory.temp_size_in_bytes),
        argument_bytes=int(memory.argument_size_in_bytes),
        output_bytes=int(memory.output_size_in_bytes),
        traces=traces,
    )


@contextlib.contextmanager
def counted(jitted: Sequence[Any]):
    """``with counted([f, g]) as found``: at its end ``found`` lists how many programs of each were compiled within."""
    for function in jitted:
        function.clear_cache()
    counts: list[int] = []
    yield counts
    counts += [int(function._cache_size()) for function in jitted]


def changes(
    before: Mapping[str, Any], after: Program, places: Sequence[str], factor: float = FACTOR, name: str = ""
) -> list[str]:
    """Return what a program costs otherwise than in a baseline's record, one line each.

    ``places``: what differs between where the baseline was made and here; where nothing does, every number must be the
    same. Else operations, bytes and temporary memory may differ by ``factor`` either way, and the rest is not compared:
    a program's arguments and traces are its caller's matter, and the same everywhere but for padding.
    """
    lines = []
    now, head = after.to_dict(), f"{name}: " if name else ""
    for what in now:
        old, new = before.get(what), now[what]
        if old is None or new is None or old == new:
            continue
        line = f"{head}{what.replace('_', ' ')}: {old:,.0f} -> {new:,.0f}"
        if not places or what == "traces":
            lines.append(line)
        elif what in ("flops", "bytes_accessed", "temporary_bytes"):
            small = what == "temporary_bytes" and max(old, new) <= SMALL_BYTES
            if not small and not old <= factor * new <= factor**2 * old:
                lines.append(f"{line}, more than a factor of {factor:g} apart")
    return lines
