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
    points = jax.random.uniform(key, (num,) if independent else ())
    if not independent:  # independent points stay unsorted: a retained particle replaces the first
        points = (jnp.arange(num) + points) / num
    heights = jnp.cumsum(weight)
    # Rounding may leave the last heights a little apart from the total: no particle of weight 0 is ever chosen.
    last = num - 1 - jnp.argmax(weight[::-1] > 0)
    parent = jnp.minimum(jnp.searchsorted(heights, points * heights[-1], side="right"), last)
    return jnp.where(heights[-1] > 0, parent, jnp.arange(num))
