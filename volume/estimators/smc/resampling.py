"""Resampling: which particle each of the next level comes from.

References: Kitagawa 1996, Journal of Computational and Graphical Statistics 5, 1-25 (systematic); Andrieu, Doucet and
Holenstein 2010, section 4.3 (why a conditional run needs exchangeable parents).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def resample(key: Array, weight: Array, *, independent: bool) -> Array:
    """Draw parents [N], each chosen N w_i / sum w times on average; the particles themselves if all weights are 0.

    Args:
        key: consumed.
        weight: [N], none below 0.
        independent: draw each parent by itself instead of all of them by one uniform number.
    """
    num = len(weight)
    if independent:  # these points stay unsorted: a retained particle replaces the first
        return _parents(jax.random.uniform(key, (num,)), weight)
    return systematic(jax.random.uniform(key, ()), weight)


def systematic(uniform: Array, weight: Array) -> Array:
    """Draw parents [N] by one uniform number, as `resample` does."""
    num = len(weight)
    return _parents((jnp.arange(num) + uniform) / num, weight)


def _parents(points: Array, weight: Array) -> Array:
    num = len(weight)
    heights = jnp.cumsum(weight)
    # Rounding may leave the last heights a little apart from the total: no particle of weight 0 is ever chosen.
    last = num - 1 - jnp.argmax(weight[::-1] > 0)
    parent = jnp.minimum(jnp.searchsorted(heights, points * heights[-1], side="right"), last)
    return jnp.where(heights[-1] > 0, parent, jnp.arange(num))
