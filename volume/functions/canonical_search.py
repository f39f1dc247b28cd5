"""Canonical forms of truth tables under input permutations, by counting ones and enumerating only ties.

A table is a function of n binary digits; a *literal* is a digit or its negation. Its colour is a hash of how many
ones the table has where the literal is 1, block by block of the digits that are already placed. Colours decide, for
no map of the group changes them: of a digit's two literals the one of smaller colour is taken (where negations belong
to the group), and the digits whose colour is their own are placed first, in the order of colours. They make finer
blocks, by which the others are counted anew. Where all that remain tie, every literal of the smallest tied set is
tried in the next place: each such choice is a *node*. At every step only those nodes of a table go on whose colours,
hashed, come first, and of the finished ones the least table is the canonical form.

Correct whatever the hash: every choice is the same for all tables of an orbit, and a collision only leaves a tie.

* Stabiliser. The automorphisms of a table permute its nodes and fix none, so it has as many as there are finished
  nodes that give the least table.
* Two tied literals may be copies: exchanging them, with their negations, leaves the table as it is (a reflection).
  Then one is tried, with the size of its orbit under reflections as the weight. It makes constants, thresholds and
  parity cheap.

Individualisation, refinement and pruning by automorphisms: McKay and Piperno (2014, Journal of Symbolic Computation
60, 94-112). Matching inputs by cofactor counts: Debnath and Sasao (2004, ASP-DAC, 591-596).

Shape letters: K nodes, W words of a table, n digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from volume.functions import canonical_bits as bits
from volume.functions.canonical_bits import Layout

MAX_NODES = 1 << 20  # beyond, the tables are gone on with in two halves
_RANK, _ONE = np.uint64(bits.HASH_BITS), np.uint64(1)


@dataclass(frozen=True)
class Nodes:
    """Tables on their way: the placed digits stand first."""

    words: np.ndarray  # [W, K] the table with its digits moved
    colour: np.ndarray  # [n, K] of the digit at each place
    negated: np.ndarray  # [n, K] of its negation; [0, K] where negations do not belong to the group
    table: np.ndarray  # [K] which table this is a copy of, ascending
    weight: np.ndarray  # [K] int64, copies that this node stands for
    placed: np.ndarray  # [K] int8, digits placed so far

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray | slice) -> Nodes:
        return Nodes(
            np.ascontiguousarray(self.words[:, rows]),
            np.ascontiguousarray(self.colour[:, rows]),
            np.ascontiguousarray(self.negated[:, rows]),
            self.table[rows],
            self.weight[rows],
            self.placed[rows],
        )


def start(of: Layout, words: np.ndarray, table: np.ndarray, negations: bool) -> Nodes:
    """Return a node for each of these tables [W, K], nothing placed."""
    count = words.shape[1]
    return Nodes(
        words.copy(),
        np.zeros((of.digits, count), np.uint64),
        np.zeros((of.digits if negations else 0, count), np.uint64),
        table,
        np.ones(count, np.int64),
        np.zeros(count, np.int8),
    )


def search(of: Layout, nodes: Nodes) -> list[Nodes]:
    """Return the finished nodes of all tables, in any order."""
    finished: list[Nodes] = []
    waiting = [nodes]
    while waiting:
        nodes = waiting.pop()
        while len(nodes):
            if len(nodes) > MAX_NODES and nodes.table[0] != nodes.table[-1]:
                middle = int(np.searchsorted(nodes.table, nodes.table[len(nodes) // 2]))
                middle = middle or int(np.searchsorted(nodes.table, nodes.table[0], "right"))
                waiting.append(nodes.take(slice(middle, None)))
                nodes = nodes.take(slice(middle))
            nodes, rank, invariant = _refine(of, nodes)
            nodes, rank = _prune(nodes, rank, invariant)
            done = nodes.placed == of.digits
            if done.any():
                finished.append(nodes.take(np.flatnonzero(done)))
                going = np.flatnonzero(~done)
                nodes, rank = nodes.take(going), rank[going]
            nodes = _branch(of, nodes, rank)
    return finished


def _refine(of: Layout, nodes: Nodes) -> tuple[Nodes, np.ndarray, np.ndarray]:
    """Colours counted anew and digits placed.

    Also, [K] each: how many literals the set to branch on has (0 where a digit was placed), and what nodes are kept by.
    """
    rank, invariant = np.zeros(len(nodes), np.int64), np.empty(len(nodes), np.uint64)
    placed = nodes.placed.copy()
    for first in np.unique(nodes.placed).tolist():
        rows = np.flatnonzero(nodes.placed == first)
        every = len(rows) == len(nodes)
        part = nodes if every else nodes.take(rows)
        settled, least, hashed = _refine_from(of, part, first)
        rows = slice(None) if every else rows
        if not every:
            nodes.words[:, rows], nodes.colour[:, rows] = part.words, part.colour
            nodes.negated[:, rows] = part.negated
        placed[rows], rank[rows], invariant[rows] = first + settled, least, hashed
    return Nodes(nodes.words, nodes.colour, nodes.negated, nodes.table, nodes.weight, placed), rank, invariant


def _refine_from(of: Layout, nodes: Nodes, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same in place, for nodes with ``first`` digits placed: digits placed now, literals to branch on, hash."""
    words, colour, negated = nodes.words, nodes.colour, nodes.negated
    both = len(negated) > 0
    places = range(first, of.digits)
    for place in places:
        colour[place] = bits.mix(colour[place] + bits.signature(of, bits.half(of, words, place, 1), first))
        if both:
            negated[place] = bits.mix(negated[place] + bits.signature(of, bits.half(of, words, place, 0), first))
            flip = negated[place] < colour[place]
            if flip.any():
                mask = bits.as_mask(flip)
                bits.negate(of, words, place, mask)
                _exchange_rows(colour[place], negated[place], mask)
    # One number for a digit: what its two literals show. Its last bit tells whether it ties with its own negation.
    key, size = [], []
    for place in places:
        if both:
            shown = bits.mix(colour[place] + (negated[place] << np.uint64(3)))
            key.append((shown & ~_ONE) | (colour[place] == negated[place]))
        else:
            key.append(colour[place] & ~_ONE)
        size.append(np.ones(len(nodes), np.uint64))
    for i in range(len(key)):
        for j in range(i):
            same = key[i] == key[j]
            size[i] += same
            size[j] += same
    for digits, shown in zip(size, key, strict=True):
        digits <<= shown & _ONE
        digits *= digits > 1  # 0: it is told from all others, and from its negation
        shown |= digits << _RANK
    _sort(of, nodes, key, first)
    settled = sum(shown < (_ONE << _RANK) for shown in key)
    least = np.where(settled > 0, 0, (key[0] >> _RANK).astype(np.int64)) if key else np.zeros(len(nodes), np.int64)
    hashed = np.zeros(len(nodes), np.uint64)
    for shown in key:
        hashed = bits.mix(hashed + shown)
    return np.asarray(settled), least, hashed


def _sort(of: Layout, nodes: Nodes, key: list[np.ndarray], first: int) -> None:
    """Bubble the digits from place ``first`` on into the order of their keys, in place."""
    for end in range(len(key) - 1, 0, -1):
        for i in range(end):
            wrong = key[i + 1] < key[i]
            if not wrong.any():
                continue
            mask, place = bits.as_mask(wrong), first + i
            _exchange_rows(key[i], key[i + 1], mask)
            _exchange_rows(nodes.colour[place], nodes.colour[place + 1], mask)
            if len(nodes.negated):
                _exchange_rows(nodes.negated[place], nodes.negated[place + 1], mask)
            bits.exchange(of, nodes.words, place, place + 1, mask)


def _exchange_rows(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> None:
    changed = (one ^ other) & mask
    one ^= changed
    other ^= changed


def _prune(nodes: Nodes, rank: np.ndarray, invariant: np.ndarray) -> tuple[Nodes, np.ndarray]:
    """Of each table only the nodes of least invariant."""
    if not len(nodes):
        return nodes, rank
    first = np.flatnonzero(np.r_[True, nodes.table[1:] != nodes.table[:-1]])
    if len(first) == len(nodes):
        return nodes, rank
    invariant = invariant ^ nodes.placed.astype(np.uint64)
    least = np.minimum.reduceat(invariant, first)
    kept = np.flatnonzero(invariant == np.repeat(least, np.diff(np.r_[first, len(nodes)])))
    return (nodes, rank) if len(kept) == len(nodes) else (nodes.take(kept), rank[kept])


def _branch(of: Layout, nodes: Nodes, rank: np.ndarray) -> Nodes:
    """Nodes with nothing placed just now are replaced by one for each literal of their smallest tied set."""
    if not rank.any():
        return nodes
    parts = [nodes.take(np.flatnonzero(rank == 0))]
    tied = nodes.colour, nodes.negated
    for placed, literals, undecided in _kinds(nodes, rank):
        chosen = (nodes.placed == placed) & (rank == literals)
        if len(tied[1]):
            chosen &= (tied[0][placed] == tied[1][placed]) == undecided
        rows = np.flatnonzero(chosen)
        if len(rows):
            parts += _children(of, nodes.take(rows), placed, literals >> undecided, bool(undecided))
    columns = zip(*((p.words, p.colour, p.negated, p.table, p.weight, p.placed) for p in parts), strict=True)
    joined = Nodes(*(np.concatenate(column, axis=-1) for column in columns))
    return joined.take(np.argsort(joined.table, kind="stable"))


def _kinds(nodes: Nodes, rank: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(digits placed, literals tied, 1 where a digit ties with its own negation) that occur."""
    branching = rank > 0
    code = np.unique(nodes.placed[branching].astype(np.int64) << 8 | rank[branching])
    for value in code.tolist():
        placed, literals = value >> 8, value & 255
        yield placed, literals, 0
        if len(nodes.negated) and literals % 2 == 0:
            yield placed, literals, 1


def _children(of: Layout, nodes: Nodes, placed: int, count: int, undecided: bool) -> list[Nodes]:
    """Nodes with one of ``count`` tied digits placed next, as it is or (``undecided``) negated; one of each orbit."""
    signs = (0, 1) if undecided else (0,)
    copies = _copies(of, nodes.words, placed, count, signs)
    literals = [(i, s) for i in range(count) for s in signs]
    made = []
    for at, (i, sign) in enumerate(literals):
        linked = [copies[min(at, other), max(at, other)] for other in range(len(literals)) if other != at]
        earlier = linked[:at]
        rows = np.flatnonzero(~np.any(earlier, axis=0)) if earlier else np.arange(len(nodes))
        if not len(rows):
            continue
        child = nodes.take(rows)
        place = placed + i
        if i:
            bits.exchange(of, child.words, placed, place)
            for colours in (child.colour, child.negated):
                if len(colours):
                    colours[[placed, place]] = colours[[place, placed]]
        if sign:
            bits.negate(of, child.words, placed)
        orbit = 1 + sum(link[rows].astype(np.int64) for link in linked)
        made.append(
            Nodes(
                child.words, child.colour, child.negated, child.table, child.weight * orbit, child.placed + np.int8(1)
            )
        )
    return made


def _copies(
    of: Layout, words: np.ndarray, placed: int, count: int, signs: tuple[int, ...]
) -> dict[tuple[int, int], np.ndarray]:
    """Whether reflections map one tied literal to another, [K] for each pair of positions in the list of literals."""
    straight, crossed = {}, {}
    alone = [np.zeros(words.shape[1], bool) for _ in range(count)]
    for j in range(count):
        for i in range(j):
            image = words.copy()
            bits.exchange(of, image, placed + i, placed + j)
            straight[i, j] = (image == words).all(axis=0)
            if len(signs) > 1:
                bits.negate(of, image, placed + i)
                bits.negate(of, image, placed + j)
                crossed[i, j] = (image == words).all(axis=0)
                # Both at once make the group negate two digits together: literals and their negations are copies.
                both = straight[i, j] & crossed[i, j]
                alone[i] |= both
                alone[j] |= both
    if len(signs) > 1:
        for i in range(count):
            image = words.copy()
            bits.negate(of, image, placed + i)
            alone[i] |= (image == words).all(axis=0)
    literals = [(i, s) for i in range(count) for s in signs]
    copies = {}
    for b, (j, t) in enumerate(literals):
        for a, (i, s) in enumerate(literals[:b]):
            copies[a, b] = alone[i] if i == j else straight[i, j] if s == t else crossed[i, j]
    return copies
