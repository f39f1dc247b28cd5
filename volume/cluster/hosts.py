"""One run on many hosts: which process this is, and its share of the work.

Processes meet through `jax.distributed`, which knows Slurm, Open MPI, Kubernetes and Cloud TPU pods and takes explicit
addresses elsewhere. Draws need nothing more of it: every process works on its own devices, writes its own parts into
the directory that all of them share, and process 0 reports from the parts of all. So JAX's runtime is let go as soon as
everybody is there: as long as it is held, the death of one process aborts all others from C++, in the middle of a part.
process_group.py watches over them instead.

What a process draws is keyed by (seed, number) as in any run, so the report is that of one process on one device.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import jax

from volume.errors import whole

TIMEOUT = 60.0  # as long as a network file system may show an old state of a folder
MEETING = 5  # times as long may pass until all processes have been started: 300 s, as in jax.distributed
_NEVER = 10**6  # seconds: JAX aborts the process when its own time limits are over, so ours have to come first


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The place of this process among those that share a run, on one host or many.

    Args:
        process_id: this process, from 0.
        num_processes: how many there are.
        timeout: seconds without a sign of life after which a process counts as lost.

    Raises:
        ValueError: numbers that are not whole or do not go together.
    """

    process_id: int
    num_processes: int
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_processes", whole("num_processes", self.num_processes, limit=1 << 20))
        number = self.process_id
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < self.num_processes:
            raise ValueError(
                f"process_id={number!r} is not one of the {self.num_processes} processes: number them 0, 1, 2, ..."
            )
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, (int, float)) or not self.timeout > 0:
            raise ValueError(f"timeout={self.timeout!r} is no positive number of seconds.")

    @classmethod
    def join(
        cls,
        coordinator: str | None = None,
        num_processes: int | None = None,
        process_id: int | None = None,
        *,
        timeout: float = TIMEOUT,
    ) -> Hosts:
        """Meet the other processes, before anything else is asked of JAX.

        Args:
            coordinator: "HOST:PORT", a free port on the host of process 0 that all others can reach. Default, as for
                the next two: what JAX finds out about the cluster (Slurm, Open MPI, Kubernetes, Cloud TPU).
            num_processes: how many processes there are.
            process_id: this one, from 0.
            timeout: as for `Hosts`; five times as long may pass until all have been started.

        Raises:
            ValueError: JAX knows no such cluster, and not all three were given; or numbers that make no sense.
            TimeoutError: some processes did not come.
            RuntimeError: JAX has been asked to compute before.
        """
        if num_processes is not None and process_id is not None:
            cls(process_id=process_id, num_processes=num_processes, timeout=timeout)
        else:
            cls(process_id=0, num_processes=1, timeout=timeout)
        if coordinator is not None:
            host, colon, port = coordinator.rpartition(":")
            if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(f"coordinator={coordinator!r} is no address: give HOST:PORT, for example node1:9876.")
        if jax.distributed.is_initialized():  # by the caller, who then also answers for its end
            return cls(process_id=jax.process_index(), num_processes=jax.process_count(), timeout=timeout)
        return cls(**_meet(coordinator, num_processes, process_id, MEETING * timeout), timeout=timeout)


def _meet(coordinator: str | None, num_processes: int | None, process_id: int | None, limit: float) -> dict[str, int]:
    """Let JAX find the processes and connect them, and let go of it again; give what it calls this one."""
    # Only here does JAX say, before it makes devices, which process this is.
    from jax._src.distributed import global_state as state

    outcome: list[dict[str, int] | BaseException] = []

    def connect() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                num_processes,
                process_id,
                initialization_timeout=_NEVER,
                heartbeat_timeout_seconds=_NEVER,
                shutdown_timeout_seconds=_NEVER,
            )
            outcome.append({"process_id": state.process_id, "num_processes": state.num_processes})
            jax.distributed.shutdown()
            # Else its devices would still be numbered as one process's among many, and their topology be asked for.
            state.process_id, state.num_processes = 0, 1
        except BaseException as error:
            outcome.insert(0, error)

    # In a thread, because waiting inside JAX ends in an abort or never.
    thread = threading.Thread(target=connect, name="volume-hosts", daemon=True)
    thread.start()
    thread.join(limit)
    if outcome and isinstance(outcome[0], ValueError) and "should be defined" in str(outcome[0]):
        raise ValueError(
            "No cluster that JAX knows was detected (Slurm, Open MPI, Kubernetes, Cloud TPU): give every process the "
            "coordinator's address, the number of processes and its own number (--coordinator HOST:PORT "
            "--num-processes N --process-id K)."
        ) from None
    if outcome and isinstance(outcome[0], BaseException):
        raise outcome[0]
    if thread.is_alive():
        where = coordinator or state.coordinator_address or "the coordinator"
        raise TimeoutError(
            f"The processes did not all meet at {where} within {limit:g} s: is each started, with its own number, with "
            "the same address and number of processes, and can it reach that address? Nothing was drawn."
        )
    assert isinstance(outcome[0], dict)  # the thread has ended without an error
    return outcome[0]
