"""Ask a query by many processes, get one report: `estimate_distributed` (docs/distributed.md).

    join      processes meet in the run directory, which all of them must see (process_group.py)
    open      process 0 begins the run there or looks through its parts; then all take in the same parts
    work      each does its share of what is left, and writes parts of its own
    report    process 0 reports from the parts of all, as a resumed run does; if one is lost it is made again

Stopped in between, the run goes on from its parts with any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from volume import estimation
from volume.cluster.hosts import Hosts
from volume.cluster.process_group import ProcessGroup
from volume.common.interrupts import stoppable
from volume.common.jax_settings import fixed_settings
from volume.common.progress import Progress, rich_progress
from volume.estimation import Driver, Interrupted
from volume.method import Method, R_co, is_resumable
from volume.queries.query import Query
from volume.runs.directory import RunDirectory
from volume.runs.ownership import clear


def estimate_distributed(
    query: Query,
    method: Method[R_co],
    hosts: Hosts,
    *,
    out: str | Path,
    seed: Any = 0,
    level: float = 0.95,
    progress: bool | Callable[[Progress], None] | None = None,
    resume: bool = False,
) -> R_co | None:
    """Do this process's share of an estimate, which ends as `volume.estimate` does with one process.

    Every process calls it with the same arguments but for ``hosts``::

        hosts = volume.Hosts.join()  # before anything else of JAX
        report = volume.estimate_distributed(query, volume.Direct(draws=1e9), hosts, out="run")

    Args:
        query: what is asked.
        method: how to answer; it uses this process's own devices.
        hosts: which process this is.
        out: the run directory, on a file system that all processes share.
        seed: as for `volume.estimate`.
        level: coverage of the intervals, pointwise.
        progress: as for `volume.estimate`, of the whole run; process 0 alone shows any.
        resume: go on with the run in ``out``, or begin one there.

    Returns:
        Process 0: the report, which is then in ``out`` as well. All others: None, when everyone's share is done.

    Raises:
        TypeError, ValueError: as `volume.estimate`; a method that keeps no parts; ``out`` in use by another launch.
        TimeoutError: processes did not meet in ``out``.
        ProcessLost: another process ended or stopped answering; what was drawn is kept.
        Interrupted: on Ctrl-C and SIGTERM; without a report, and what was drawn is kept.
    """
    return share(query, method, hosts, out=out, seed=seed, level=level, progress=progress, resume=resume, command=None)


def share(
    query: Query,
    method: Method[R_co],
    hosts: Hosts,
    *,
    out: str | Path,
    seed: Any,
    level: float,
    progress: bool | Callable[[Progress], None] | None,
    resume: bool,
    command: list[str] | None,
    replace: bool = False,
) -> R_co | None:
    """Do what `estimate_distributed` does, for the command line, whose words ``command`` the run directory keeps.

    With replace=True, process 0 removes the run that ``out`` holds when all have met.
    """
    out = Path(out)
    if not isinstance(hosts, Hosts):
        raise TypeError(f"hosts={hosts!r} is no place among processes: make one with volume.Hosts.join().")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; a run is kept in a folder.")
    options: dict[str, Any] = {"seed": seed, "level": level}
    with stoppable():
        driver = Driver(query, method, **options, kept=True)
        _together(driver, method, hosts, out, progress, resume, command, replace)
        if hosts.process_id:
            return None
        # What this process held is gone by now, and is taken in once more with the parts of the others.
        return estimation.run(query, method, **options, progress=None, out=out, resume=True, command=command)


@fixed_settings()
def _together(
    driver: Driver,
    method: Method[Any],
    hosts: Hosts,
    out: Path,
    progress: bool | Callable[[Progress], None] | None,
    resume: bool,
    command: list[str] | None,
    replace: bool,
) -> None:
    """Do this process's share, and wait until all have done theirs."""
    run: Any = driver.run
    if not is_resumable(run):
        raise ValueError(f"The method {method.name!r} keeps no parts that processes could share: run it in one.")
    config, first = driver.config(command), hosts.process_id == 0
    group = ProcessGroup(
        out / "hosts",
        hosts.process_id,
        hosts.num_processes,
        timeout=hosts.timeout,
        advice=f"what was drawn is kept: volume estimate --resume {out} goes on, with any number of processes.",
    )
    with rich_progress(progress if first else None) as shown:
        try:
            with group:
                group.join()
                if first:
                    if replace:
                        if hasattr(run, "check_room"):
                            run.check_room(out)
                        clear(out, met=True)
                    with RunDirectory(out, config, resume=resume):
                        pass  # alone there it begins the run, or looks through all parts and moves damaged ones away
                group.barrier("opened")
                with RunDirectory(out, config, resume=True, process=hosts.process_id) as directory:
                    run.restore(directory.parts())
                    if first and hasattr(run, "check_room"):  # what it may write is large
                        run.check_room(out)
                    show = _shown(shown, group, driver)
                    run.restrict(hosts.process_id, hosts.num_processes)
                    show()
                    # Nobody writes before all have read, or they would share out different wholes.
                    group.barrier("restored")
                    _work(driver, group, directory, show)
                group.barrier("finished", show)
        except KeyboardInterrupt:
            raise Interrupted(None, driver.progress(), out) from None


def _work(driver: Driver, group: ProcessGroup, directory: RunDirectory, show: Callable[[], None]) -> None:
    """Do this process's share, and keep it however this ends."""
    run: Any = driver.run
    try:
        while not run.done:
            driver.step()
            directory.write(run.collect())
            show()
            group.check()
    finally:
        directory.write(run.collect(all=True))
        directory.flush()


def _shown(show: Callable[[Progress], None] | None, group: ProcessGroup, driver: Driver) -> Callable[[], None]:
    """Make what tells the others how far this process is, and shows how far all are together; from a restored run."""
    restored = driver.progress().done

    def tell() -> None:
        now = driver.progress()
        group.tell(now.done - restored, now.total - restored)
        if show is not None:
            done, total = group.progress()
            show(Progress(done=restored + done, total=restored + total, unit=now.unit, seconds=now.seconds))

    return tell
