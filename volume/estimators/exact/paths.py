"""Which path an enumeration takes: blocks of networks, or pairs of partial sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from volume.common.logs import LN10
from volume.estimators.exact.arithmetic import lattice_of
from volume.estimators.exact.enumeration import Blocks
from volume.estimators.exact.pairs import Pairs
from volume.estimators.exact.question import Question
from volume.estimators.exact.sums import MAX_HITS, Product, Terms, halves, multisets, terms
from volume.models import Symmetry
from volume.queries.query import Query


def choose_path(
    query: Query,
    question: Question,
    inputs: np.ndarray,
    group: Symmetry,
    *,
    path: str,
    limit: int,
    block: int | None,
    precision: str,
    devices: Sequence[Any] | None,
    rounding: str,
) -> tuple[str, Blocks | Pairs, int]:
    """Choose the path of an enumeration.

    Args:
        query: on a finite prior.
        question: what to do with outputs.
        inputs: of the domain [N, ...], in the dtype of the run.
        group: whose orbits are counted; of order 1 where every network counts.
        path: as in `Exact`, like the next four.
        limit: of what is evaluated.
        block: networks of a step.
        precision: of matrix products.
        devices: to divide a step among.
        rounding: why arithmetic is not exact; empty where it is.

    Returns:
        The name of the path, its steps, and what all counts are to be divided by.

    Raises:
        ValueError: no path counts this lattice within the limit; the sentence says what to do instead.
    """
    prior, parameters = lattice_of(query), query.model.parameters
    points = prior.num_points(parameters)
    why, summands, products = "", None, None
    if path != "blocks":
        why, summands, products = _sums(query, question, inputs, group, points, rounding)
    pairs = sum(product.pairs for product in products) if products else 0
    if path == "sums" and products is None:
        raise ValueError(f"The sums path cannot count this network: {why}. Give path='blocks', or use volume.Direct.")
    within = products is not None and pairs <= limit
    # A pair costs about twice a network of a block: its weight is looked up and added in float64.
    if summands is not None and products is not None and (path == "sums" or 2 * pairs < points) and within:
        divisor = 1 if group.order == 1 else summands.units
        return "sums", Pairs(query, question, products, summands, block, devices), divisor
    if points >= MAX_HITS or points > limit or path == "sums":
        log10 = prior.log_num_points(parameters) / LN10
        size = f"{points:,}" if log10 < 15 else f"10^{log10:.1f}"
        shortcut = f" (the sums path: {why or f'{pairs:,} pairs'})" if path != "blocks" else ""
        if points >= MAX_HITS:
            raise ValueError(f"There are {size} parameterisations and counts end at 2^62: draw with volume.Direct.")
        raise ValueError(
            f"There are {size} parameterisations, more than limit={limit:,} to evaluate{shortcut}: draw "
            "from them with volume.Direct, or give a larger limit."
        )
    if points * group.order >= MAX_HITS:
        raise ValueError(
            f"{points:,} parameterisations under a group of {group.order:,} elements are too many for 64-bit "
            "counts: use volume.Direct, or symmetry='none'."
        )
    weigh = group if group.order > 1 else None
    steps = Blocks(query, question, weigh=weigh, precision=precision, block=block, devices=devices)
    return "blocks", steps, group.order


def _sums(
    query: Query, question: Question, inputs: np.ndarray, group: Symmetry, points: int, rounding: str
) -> tuple[str, Terms | None, list[Product] | None]:
    """Give why not, the terms, and the pairs to evaluate of the sums path."""
    if points >= MAX_HITS:
        return "counts end at 2^62 points", None, None
    if rounding:
        return rounding, None, None
    summands = terms(query, inputs, question.dtype)
    if summands is None:
        return "it has more than one hidden layer, or too many settings of one unit", None, None
    # The group of a network with one hidden layer: permutations of its units, and perhaps their signs.
    products = halves(summands) if group.order == 1 else multisets(summands, flips=group.has_flips)
    return "its partial sums are too many" if products is None else "", summands, products
