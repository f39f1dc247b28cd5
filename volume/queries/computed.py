"""A query as it is computed: in floats that hold its numbers, rescaled by powers of two where they would not.

Weights of size 1e-20 in five layers give outputs of size 1e-100, which float32 sets to 0. Where decisions do not depend
on the scale (volume.models.ranges) parameters and inputs are multiplied by powers of two, which changes the exponent of
every number on the way and nothing else: at ordinary scales, where nothing is multiplied, the same seed gives the same
draws bit for bit. Where they do depend on it, `Computed.safe` says whether the format holds the numbers all the same.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from volume.models import examine_ranges
from volume.queries.query import Query
from volume.samplers import Lattice, Prior, log_sizes, rescaled


@dataclass(frozen=True)
class Computed:
    """What stands in for a query's model, prior and inputs."""

    query: Query  # with the prior to draw from
    inputs: np.ndarray  # [N, ...] in the dtype of the run
    safe: bool  # False: numbers of typical networks vanish or overflow where that may decide
    faint: tuple[str, ...]  # parameters whose own values may vanish

    def require_safe(self, method: str) -> None:
        """ValueError where typical networks are not decided by what the format holds."""
        if not self.safe:
            more = "give dtype='float64', " if self.inputs.dtype == np.float32 else ""
            raise ValueError(
                f"Under {self.query.prior!r} on these inputs the numbers inside typical networks vanish or overflow in "
                f"{self.inputs.dtype}, and {method} would take what is left for their decisions: change the scale of "
                f"weights, biases or inputs, {more}or use volume.Direct, which counts such networks."
            )


def computed(query: Query, dtype: str, *, rescale: bool = True, fixed_outputs: bool | None = None) -> Computed:
    """Say how a query is computed in a dtype.

    Args:
        query: what is asked.
        dtype: "float32" or "float64".
        rescale: whether the prior and the inputs may be replaced by rescaled ones.
        fixed_outputs: whether outputs must keep their scale. Default: where the classifier reads more of them than the
            decisions.

    Raises:
        ValueError: an input that overflows, or two that become one.
    """
    model, exact = query.model, np.asarray(query.domain.inputs, np.float64)
    sizes, least = log_sizes(query.prior, model.parameters), _least(query)
    with np.errstate(divide="ignore"):
        rows = np.log2(np.abs(exact).reshape(len(exact), -1).max(axis=1))
    fixed = query.bound.needs_outputs if fixed_outputs is None else fixed_outputs
    found = examine_ranges(model, sizes, rows, dtype, least=least, fixed_outputs=fixed, rescale=rescale)
    moves = found.row_powers.reshape(-1, *[1] * (exact.ndim - 1))
    info = np.finfo(dtype)
    faint = tuple(
        name
        for name, size in (sizes | least).items()
        if -np.inf < size + found.powers.get(name, 0) < info.minexp + info.nmant + 3
    )
    prior = rescaled(query.prior, model.parameters, found.powers)
    return Computed(
        _with_prior(query, prior),
        _cast(query, np.ldexp(exact, moves), dtype),
        found.safe,
        faint,
    )


def _least(query: Query) -> dict[str, float]:
    """The log2 of the smallest absolute value but 0 of every parameter of a finite prior; of others nothing."""
    if not getattr(query.prior, "finite", False):
        return {}
    parameters = query.model.parameters
    levels = zip(parameters, cast(Lattice, query.prior).levels_of(parameters), strict=True)
    return {p.name: min((math.log2(abs(level)) for level in each if level), default=-math.inf) for p, each in levels}


def plain(query: Query, dtype: str, method: str, *, prior: Prior | None = None) -> np.ndarray:
    """Give the domain's inputs in a dtype, for methods that read parameters and outputs as they are.

    Args:
        query: what is asked.
        dtype: "float32" or "float64".
        method: for the error.
        prior: of the parameters, where it is not the query's.

    Raises:
        ValueError: inputs as for `computed`; networks that the dtype does not hold.
    """
    if prior is not None:
        query = _with_prior(query, prior)
    stands = computed(query, dtype, rescale=False, fixed_outputs=True)
    stands.require_safe(method)
    return stands.inputs


def _with_prior(query: Query, prior: Prior) -> Query:
    """The query with another prior that fits it: what was checked holds, and is not checked again."""
    other = copy.copy(query)
    object.__setattr__(other, "prior", prior)
    return other


def _distinct(rows: np.ndarray) -> np.ndarray:
    return np.unique(rows.reshape(len(rows), -1), axis=0)


def _cast(query: Query, exact: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        inputs = exact.astype(dtype)
    if not np.isfinite(inputs).all():
        raise ValueError(f"{query.domain!r} has a number too large for {dtype}: rescale it, or give dtype='float64'.")
    # Inputs that are multiples of each other may become one by rescaling: they are decided alike.
    if len(_distinct(inputs)) < len(_distinct(exact)):
        raise ValueError(
            f"{query.domain!r} has inputs that are the same in {dtype}: give dtype='float64', or leave one of them out."
        )
    return inputs
