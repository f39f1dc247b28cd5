"""Seeds: whole numbers and JAX keys, and the key of every block of draws."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common import threefry

GENERATOR = "threefry2x32"  # its numbers do not depend on how draws are batched
_WORD = 0xFFFFFFFF


def threefry_key(*words: int) -> Array:
    """Make the threefry key of a whole number in [0, 2^32), whatever generator and offset JAX is set to.

    With two ``words``, that of a key that was stored.
    """
    return _key_of(np.array(words if len(words) == 2 else (0, *words), np.uint32))


def fold_in(key: Array, data: int | np.ndarray) -> Array:
    """Do what ``jax.random.fold_in`` does, by NumPy: nothing is compiled.

    Of several numbers [...] the keys [...]; of keys [R], each with its own number or all with one.
    """
    return _key_of(threefry.words(threefry.fold_in(_number_of(key), np.asarray(data))))


def split(key: Array, num: int = 2) -> Array:
    """Do what ``jax.random.split`` does, by NumPy: nothing is compiled."""
    return _key_of(threefry.words(threefry.split(_number_of(key), (num,))))


def halves(key: Array) -> tuple[Array, Array]:
    """Both keys of `split`."""
    first, second = threefry.words(threefry.split(_number_of(key), (2,)))
    return _key_of(first), _key_of(second)


def alone(key: Array) -> Array:
    """Return an array [1] of a key."""
    return _key_of(np.asarray(jax.random.key_data(key))[None])


def _key_of(words: np.ndarray) -> Array:
    return jax.random.wrap_key_data(words, impl=GENERATOR)  # type: ignore[arg-type]  # jnp.asarray would compile


def _number_of(key: Array) -> np.ndarray:
    return threefry.keys_of(np.asarray(jax.random.key_data(key)))


def to_key(seed: Any) -> tuple[Array, int | list[int]]:
    """Return a threefry key for ``seed`` and the record of it that a report keeps.

    Args:
        seed: a whole number in [0, 2^64) or a JAX key (typed or raw).

    Raises:
        ValueError: a number out of range, a batch of keys, or a key of another generator.
        TypeError: anything else.
    """
    if isinstance(seed, (jax.Array, np.ndarray)) and seed.ndim == 0 and jnp.issubdtype(seed.dtype, jnp.integer):
        seed = int(seed)
    key: Array
    typed = isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    if typed or isinstance(seed, (jax.Array, np.ndarray)):
        if not typed and (seed.dtype != np.uint32 or seed.shape != (2,)):
            raise ValueError(f"seed is an array of {seed.dtype} of shape {seed.shape}, not a key: give a whole number.")
        key = jnp.asarray(seed) if typed else jax.random.wrap_key_data(jnp.asarray(seed), impl=GENERATOR)
        if key.shape != ():
            raise ValueError(f"seed is an array of keys of shape {key.shape}; give one key, for example keys[0].")
        if str(jax.random.key_impl(key)) != GENERATOR:
            raise ValueError(
                f"seed is a key of the generator {jax.random.key_impl(key)}; give a threefry2x32 key, for example "
                "jax.random.key(0, impl='threefry2x32'): only its numbers do not depend on how draws are batched."
            )
        return key, [int(word) for word in np.asarray(jax.random.key_data(key))]
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"seed={seed!r} is neither a whole number nor a JAX key: pass for example seed=0.") from None
    if isinstance(seed, bool) or not 0 <= number < 2**64:
        raise ValueError(f"seed={seed!r} is not a whole number from 0 to 2^64 - 1.")
    key = threefry_key(number & _WORD)
    if number > _WORD:
        key = fold_in(key, number >> 32)
    return key, number


def seed_words(seed: int | list[int]) -> tuple[int, ...]:
    """Return a report's seed as the words of its key: the seeds 5 and [0, 5] make the same draws."""
    return (0, seed) if isinstance(seed, int) and seed <= _WORD else (seed,) if isinstance(seed, int) else tuple(seed)


def seeds_of(report: Any) -> set[tuple[int, ...]]:
    """Return the `seed_words` of all runs behind a report, which may be merged (volume.reports.merging)."""
    merged = (getattr(report, "run", None) or {}).get("merged")
    return {seed_words(seed) for seed in ([report.seed] if merged is None else [part["seed"] for part in merged])}


def block_key(key: Array, words: Array) -> Array:
    """Return the key of one block; its 64-bit index comes in two 32-bit ``words`` [2] because ``fold_in`` takes 32
    bits."""
    return jax.random.fold_in(jax.random.fold_in(key, words[1]), words[0])


def index_words(start: int, stop: int) -> np.ndarray:
    """Block indices start..stop-1 as high and low words, [stop - start, 2] uint32."""
    index = np.arange(start, stop, dtype=np.uint64)
    return np.stack([index >> np.uint64(32), index & np.uint64(_WORD)], axis=1).astype(np.uint32)
