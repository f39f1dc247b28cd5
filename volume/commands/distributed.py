"""The options of `volume estimate` for many processes; imports no array library."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from volume.commands.usage import UsageError, flag
from volume.commands.values import parse_float, parse_whole

if TYPE_CHECKING:
    from volume.cluster.hosts import Hosts

OPTIONS = ("coordinator", "num_processes", "process_id", "process_timeout")


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many processes, on one host or many (docs/distributed.md)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes that share the run in --out (or --resume); a cluster is detected (Slurm,"
        " Open MPI, Kubernetes, Cloud TPU), else give the next three",
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="a free port on the host of process 0, which all others reach"
    )
    group.add_argument("--num-processes", type=parse_whole, metavar="N", help="how many processes there are")
    group.add_argument(
        "--process-id", type=lambda text: parse_whole(text, least=0), metavar="K", help="this one: 0 ... N - 1"
    )
    group.add_argument(
        "--process-timeout",
        type=parse_float,
        metavar="SECONDS",
        help="a process that is silent for so long is lost, and the others end (default 60)",
    )


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together."""
    used = [name for name in OPTIONS if getattr(args, name) is not None]
    if used and not args.distributed:
        raise UsageError(f"{flag(used[0])} belongs to --distributed: add that.")
    if args.distributed and args.out is None and getattr(args, "resume", None) is None:
        raise UsageError("--distributed needs --out DIR: a folder on a file system that all processes share.")
    if args.process_timeout is not None and not args.process_timeout > 0:
        raise UsageError(f"--process-timeout {args.process_timeout:g} is no positive number of seconds.")
    if None not in (args.process_id, args.num_processes) and args.process_id >= args.num_processes:
        raise UsageError(
            f"--process-id {args.process_id} is not one of {args.num_processes} processes: they are numbered from 0."
        )


def join(args: argparse.Namespace) -> Hosts:
    """Meet the others; UsageError when JAX knows of none."""
    from volume.cluster.hosts import TIMEOUT, Hosts

    timeout = TIMEOUT if args.process_timeout is None else args.process_timeout
    try:
        return Hosts.join(args.coordinator, args.num_processes, args.process_id, timeout=timeout)
    except ValueError as error:
        raise UsageError(str(error)) from error
