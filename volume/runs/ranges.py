"""Ranges of numbered steps or blocks, of which each checkpoint of a run holds one: ``first`` to ``stop``, excluded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from volume.runs.checkpoints import StoredCheckpoint


def disjoint(parts: Iterable[StoredCheckpoint], prefix: str) -> list[StoredCheckpoint]:
    """Choose the checkpoints with this prefix by their first number, without those that overlap an earlier one."""
    chosen: list[StoredCheckpoint] = []
    named = (part for part in parts if part.name.startswith(prefix))
    for part in sorted(named, key=lambda part: (part.facts["first"], part.facts["stop"])):
        if not chosen or part.facts["first"] >= chosen[-1].facts["stop"]:
            chosen.append(part)
    return chosen


def missing(parts: Sequence[StoredCheckpoint], total: int) -> list[tuple[int, int]]:
    """List the ranges of ``total`` numbers that none of these checkpoints, which are `disjoint`, holds."""
    stops = [0, *(part.facts["stop"] for part in parts)]
    firsts = [*(part.facts["first"] for part in parts), total]
    return [(stop, first) for stop, first in zip(stops, firsts, strict=True) if stop < first]


def share(ranges: Sequence[tuple[int, int]], index: int, count: int) -> list[tuple[int, int]]:
    """Cut the share of process ``index`` of ``count``: an equal piece of these ranges, one after the other."""
    left = sum(stop - first for first, stop in ranges)
    low, high = left * index // count, left * (index + 1) // count
    pieces, before = [], 0
    for first, stop in ranges:
        piece = (max(first, first + low - before), min(stop, first + high - before))
        if piece[0] < piece[1]:
            pieces.append(piece)
        before += stop - first
    return pieces
