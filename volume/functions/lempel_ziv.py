"""Lempel-Ziv complexity of truth tables, as Dingle, Camargo and Louis (2018, Nature Communications 9:761) define it.

For a string s of L bits it is log2(L) (N_w(s) + N_w(s reversed)) / 2, where N_w counts the words of the parsing of
Lempel and Ziv (1976) by Kaspar and Schuster (1987): each word is the shortest continuation that occurs nowhere earlier,
an earlier copy being allowed to overlap the word itself; a last, unfinished word counts. Constant strings have log2(L).

Shape letters: K tables, L inputs (bits of a string), W 64-bit and V = ceil(L / 32) 32-bit words of a packed table.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from volume.common.programs import program
from volume.functions import tables

MAX_INPUTS = 2**16  # the work per table grows as L^2 / 64
# Two sizes only, so that a number of words compiles at most twice. The large one: 1 MiB, about a core's cache.
_SMALL, _LARGE_WORDS = 256, 1 << 18
_MAX_STAGES = 8  # each stage is compiled on its own
_ALL = np.uint32(0xFFFFFFFF)


def complexity(tables_or_keys: np.ndarray, num_inputs: int) -> np.ndarray:
    """Return the bits, float64 [K], of packed tables [K, W] uint64, or of decisions [K, L] of any other dtype."""
    return num_words(tables_or_keys, num_inputs) * (math.log2(num_inputs) / 2)


def num_words(tables_or_keys: np.ndarray, num_inputs: int) -> np.ndarray:
    """Return N_w(s) + N_w(s reversed), int64 [K]; 2 for constant strings. Arguments as in :func:`complexity`."""
    if not 2 <= num_inputs <= MAX_INPUTS:
        raise ValueError(f"Lempel-Ziv complexity needs strings of 2 to {MAX_INPUTS} bits; got {num_inputs}.")
    keys = np.asarray(tables_or_keys)
    is_keys = keys.dtype == np.uint64
    expected = tables.num_words(num_inputs, 1) if is_keys else num_inputs
    if keys.ndim != 2 or keys.shape[1] != expected:
        raise ValueError(
            f"{'Packed tables' if is_keys else 'Decisions'} of {num_inputs} inputs have shape [K, {expected}]; "
            f"got {keys.shape}."
        )
    if not is_keys:
        if not ((keys == 0) | (keys == 1)).all():
            raise ValueError("Lempel-Ziv complexity is of strings of 0 and 1; these decisions hold something else.")
        keys = tables.pack(keys.astype(bool), 1)
    large = max(_SMALL, _LARGE_WORDS // (2 * keys.shape[1]))
    result = np.empty(len(keys), np.int64)
    waiting: list[tuple[slice, jax.Array]] = []
    for start in range(0, len(keys), large):
        rows = slice(start, min(start + large, len(keys)))
        size = _SMALL if rows.stop - start <= _SMALL else large
        words = np.zeros((2 * keys.shape[1], size), np.uint32)
        words[0::2, : rows.stop - start] = keys[rows].T >> np.uint64(32)
        words[1::2, : rows.stop - start] = keys[rows].T & np.uint64(_ALL)
        waiting.append((rows, _both_directions(words[: -(-num_inputs // 32)], np.int32(num_inputs))))
        if len(waiting) > 2:  # a few in flight keep every core busy without holding all the words at once
            _collect(result, *waiting.pop(0))
    for rows, counted in waiting:
        _collect(result, rows, counted)
    return result


def _collect(result: np.ndarray, rows: slice, counted: jax.Array) -> None:
    result[rows] = np.asarray(counted)[: rows.stop - rows.start]


@program()
def _both_directions(words: jax.Array, length: jax.Array) -> jax.Array:
    """[K] int32 from [V, K] uint32, the first bit most significant and zeros after the last."""
    last = jnp.arange(len(words)) == len(words) - 1
    full = jnp.where(last, _ALL << _padding(length), _ALL)[:, None]
    constant = (words == 0).all(axis=0) | (words == full).all(axis=0)
    return jnp.where(constant, 2, _parse(words, length) + _parse(_reverse(words, length), length))


def _padding(length: jax.Array) -> jax.Array:
    """Unused bits of the last word, 0 to 31."""
    return ((32 - length % 32) % 32).astype(jnp.uint32)


def _reverse(words: jax.Array, length: jax.Array) -> jax.Array:
    """The bits of each string in reverse order, [V, K]."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        mask, shift = np.uint32(mask), np.uint32(shift)
        words = ((words >> shift) & mask) | ((words & mask) << shift)
    words = words[::-1]
    pad = _padding(length)
    following = jnp.concatenate([words[1:], jnp.zeros_like(words[:1])])
    return (words << pad) | ((following >> np.uint32(1)) >> (31 - pad))  # in two steps: a shift by 32 is undefined


def _parse(words: jax.Array, length: jax.Array) -> jax.Array:
    """N_w, int32 [K], of strings [V, K], all at once and bit-parallel.

    While position q is read, ``ends`` holds a bit for every position e < q such that the present word, as far as it is
    read, also stands just before e. Those survive whose bit equals the bit at q, and move on by one; when none does,
    the word is new: it ends at q, and the next may start as a copy from anywhere up to q. Bits after q are zero, so
    the strings are gone through in stages, and the early stages leave the later words alone.
    """
    num_tables, one = words.shape[1], np.uint32(1)
    count, ended = jnp.zeros(num_tables, jnp.int32), jnp.zeros(num_tables, bool)
    ends = jnp.zeros((0, num_tables), jnp.uint32)
    per_stage = -(-len(words) // _MAX_STAGES)
    for first in range(0, len(words), per_stage):
        read = words[: first + per_stage]

        def go_through_word(v, state, read=read):
            index = jnp.arange(len(read))[:, None]
            before, here = jnp.where(index < v, _ALL, 0), jnp.where(index == v, _ALL, 0)
            current = read[v]

            def step(position, state):
                count, _, ends = state
                shift = (31 - position).astype(jnp.uint32)
                differs = ((current >> shift) & one) - one  # all ones where the bit is 0: then compare with ~read
                same = ends & (read ^ differs)
                ended = (same == 0).all(axis=0)
                carry = same[:-1] << np.uint32(31)
                moved = (same >> one).at[1:].set((same[1:] >> one) | carry)
                ends = jnp.where(ended, before | (here << shift), moved)
                return count + ended, ended, ends

            return jax.lax.fori_loop(0, jnp.minimum(32, length - 32 * v), step, state)

        # Nothing moves beyond the stage's last position, since e < q: its later words begin empty.
        later = jnp.zeros((len(read) - len(ends), num_tables), jnp.uint32)
        state = (count, ended, jnp.concatenate([ends, later]))
        count, ended, ends = jax.lax.fori_loop(first, len(read), go_through_word, state)
    return count + ~ended
