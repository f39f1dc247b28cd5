"""What a method is to this project: something that answers a query step by step.

`volume.estimate` needs no more of a method than this file says; docs/methods.md says how to write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from volume.common.progress import Progress
from volume.reports.facts import Facts, Report
from volume.runs.checkpoints import Checkpoint, StoredCheckpoint

if TYPE_CHECKING:
    from jax import Array

    from volume.queries.query import Query


R_co = TypeVar("R_co", bound=Report, covariant=True)


class Run(Protocol[R_co]):
    """One query being answered: advance it until it is done. A report may be asked for at any time."""

    @property
    def done(self) -> bool: ...

    def advance(self) -> None:
        """Do one step: long enough (.1 to 2 s) to hide its overhead, short enough for progress and Ctrl-C."""

    def progress(self) -> Progress:
        """Say where the run stands; its driver fills in the time."""
        ...

    def report(self, facts: Facts) -> R_co | None:
        """Answer, in an unfinished run from what was learnt so far; None when that is nothing."""
        ...


class Method(Protocol[R_co]):
    """How to answer a query: a frozen value that can be used for any number of queries."""

    @property
    def name(self) -> str: ...  # as in the report's ``method["name"]``

    def start(self, query: Query, key: Array) -> Run[R_co]:
        """Begin a run; the key is consumed.

        Raises:
            ValueError, TypeError: a query that this method cannot answer, before anything is traced; the sentence names
                a method that can.
        """
        ...


class Resumable(Run[R_co], Protocol[R_co]):
    """A run that can be stopped and resumed: it hands out checkpoints, and goes on from them.

    Its driver calls `restore` before the first advance, perhaps with nothing, and `collect` after every one; a run that
    is never restored hands out nothing. What a checkpoint holds is a function of the query, the method, the seed and
    its name alone, so a run that was resumed ends bit for bit as one that was never stopped, and a checkpoint that is
    lost is made again. A checkpoint with the name of an earlier one replaces it.

    Where more results are to come than memory holds, a method has ``start_kept(query, key)`` beside ``start``. The run
    that it begins has ``check_room(folder)``, which raises OSError where its checkpoints have no room on the disk, and
    ``stored(parts)``, which is called with all of them before a report is asked for.

    A run that can still do what an earlier version did has ``as_begun(constants)``, called first with those of the
    folder: its own `constants` are the same afterwards.
    """

    def constants(self) -> dict[str, Any]:
        """Give, as JSON, all that the meaning of checkpoints depends on beyond query, method and seed; a run with
        other constants is refused them."""
        ...

    def restore(self, parts: Sequence[StoredCheckpoint]) -> None:
        """Take, before the first advance, what need not be done again; anything may be missing."""
        ...

    def collect(self, *, all: bool = False) -> list[Checkpoint]:
        """Hand out what was finished since the last call; the run decides how large checkpoints get. ``all``: small
        ones as well."""
        ...

    def restrict(self, index: int, count: int) -> None:
        """After `restore`, do share ``index`` of ``count`` of what is left; `done` then means that the share is done,
        and a report speaks of this process's results alone."""
        ...


def is_resumable(run: Run[Any]) -> bool:
    """Whether a run has what `Resumable` asks for."""
    return all(callable(getattr(run, name, None)) for name in ("constants", "restore", "collect", "restrict"))
