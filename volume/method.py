"""What a method is to this project: something that answers a query step by step.

`volume.estimate` needs no more of a method than this file says; docs/methods.md says how to write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from volume.common.progress import Progress
from volume.reports.facts import Facts, Report
from volume.runs.parts import Part, StoredPart

if TYPE_CHECKING:
    from jax import Array

    from volume.queries.query import Query


R_co = TypeVar("R_co", bound=Report, covariant=True)


class Run(Protocol[R_co]):
    """One query being answered: advance it until it is done; a report may be asked for at any time."""

    @property
    def done(self) -> bool: ...

    def advance(self) -> None:
        """One step: long enough (.1 to 2 s) to hide its overhead, short enough for progress and Ctrl-C."""

    def progress(self) -> Progress:
        """Where the run stands; its caller fills in the time."""
        ...

    def report(self, facts: Facts) -> R_co | None:
        """The answer, of an unfinished run from what was learnt so far; None when that is nothing."""
        ...


class Method(Protocol[R_co]):
    """How to answer a query: a frozen value that can be used for any number of queries."""

    @property
    def name(self) -> str: ...  # as in the report's ``method["name"]``

    def start(self, query: Query, key: Array) -> Run[R_co]:
        """Begin; the key is consumed. ValueError or TypeError, before anything is traced, for a query that this method
        cannot answer: the sentence names a method that can."""
        ...


class Parted(Run[R_co], Protocol[R_co]):
    """A run that can be kept in a directory, part by part.

    Whoever keeps a run calls `restore` before the first advance, perhaps with nothing, and `collect` after every one; a
    run that nobody restores keeps no parts. What a part holds is a function of the query, the method, the seed and the
    part's name alone, so that a run that restored parts ends bit for bit as one that was never stopped, and a part that
    is lost is made again. A part with the name of an earlier one replaces it.

    A method whose runs differ when they are kept has ``start_kept(query, key)`` beside ``start``.
    """

    def constants(self) -> dict[str, Any]:
        """All that the meaning of parts depends on beyond query, method and seed, as JSON; a run with other constants
        is refused the parts."""
        ...

    def restore(self, parts: Sequence[StoredPart]) -> None:
        """Before the first advance: what need not be done again; parts may be missing anywhere."""
        ...

    def collect(self, *, all: bool = False) -> list[Part]:
        """Parts finished since the last call; the run decides how large they get. ``all``: small ones as well."""
        ...

    def restrict(self, index: int, count: int) -> None:
        """After `restore`: do share ``index`` of ``count`` of what is left; `done` then means that the share is done,
        and a report speaks of this process's parts alone."""
        ...


def is_parted(run: Run[Any]) -> bool:
    """Whether a run has what `Parted` asks for."""
    return all(callable(getattr(run, name, None)) for name in ("constants", "restore", "collect", "restrict"))
