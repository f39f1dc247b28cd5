"""The random bits of JAX's Threefry in NumPy, counted as with ``jax_threefry_partitionable``: a number is a function of
its key and its place alone, so that those of one row can be had without the others.

A key is one uint64, its first word above its second.
"""

from __future__ import annotations

import math

import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_LOW = np.uint64(0xFFFFFFFF)


def words(keys: np.ndarray) -> np.ndarray:
    """Both words [..., 2] uint32 of keys [...]."""
    keys = np.asarray(keys, np.uint64)
    return np.stack([keys >> np.uint64(32), keys & _LOW], axis=-1).astype(np.uint32)


def keys_of(words: np.ndarray) -> np.ndarray:
    """Return keys [...] of their words [..., 2]."""
    words = np.asarray(words).astype(np.uint64)
    return (words[..., 0] << np.uint64(32)) | words[..., 1]


def fold_in(keys: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Do what ``jax.random.fold_in`` does, entry by entry."""
    return _hashed(keys, np.asarray(data).astype(np.uint32).astype(np.uint64))


def split(keys: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Do what ``jax.random.split`` does: [*keys, *shape]."""
    return _hashed(*_counted(keys, shape))


def bits(keys: np.ndarray, width: int, shape: tuple[int, ...], first: int = 0) -> np.ndarray:
    """Do what ``jax.random.bits`` does with each key, [*keys, *shape]: of the numbers from ``first`` on."""
    both = words(_hashed(*_counted(keys, shape, first)))
    if width == 64:
        return keys_of(both)
    return (both[..., 0] ^ both[..., 1]).astype(f"uint{width}")


def _counted(keys: np.ndarray, shape: tuple[int, ...], first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys = np.asarray(keys, np.uint64)
    places = np.arange(first, first + math.prod(shape), dtype=np.uint64).reshape(shape)
    return keys.reshape((*keys.shape, *[1] * len(shape))), places


def _hashed(keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Threefry with 20 rounds of 64-bit counts, as 64-bit numbers (Salmon et al. 2011)."""
    key, count = words(keys), words(counts)
    schedule = (key[..., 0], key[..., 1], key[..., 0] ^ key[..., 1] ^ _PARITY)
    with np.errstate(over="ignore"):
        a, b = count[..., 0] + schedule[0], count[..., 1] + schedule[1]
        for turn in range(5):
            for by in _ROTATIONS[turn % 2]:
                a = a + b
                b = ((b << np.uint32(by)) | (b >> np.uint32(32 - by))) ^ a
            a = a + schedule[(turn + 1) % 3]
            b = b + schedule[(turn + 2) % 3] + np.uint32(turn + 1)
    return keys_of(np.stack(np.broadcast_arrays(a, b), axis=-1))
