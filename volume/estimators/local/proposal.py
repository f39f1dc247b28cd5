"""Where a splitting run around an anchor starts from: a Gaussian that covers the region.

Under the prior alone a local region is e^-1000 rare and far longer in some directions than in others. The law

    q(z)  proportional to  N(0, I)(z) exp(-beta/2 (z - a)' H (z - a)),

a the anchor's normals and H the curvature of the divergence, is as wide as the prior where the divergence does not
care and narrow where it does. Its weight beta is set by draws: the median divergence under q is ``breadth`` times the
largest cutoff, so that the region is in reach of a few levels. H is the curvature at the anchor
(volume.estimators.local.divergence: KL's Gauss-Newton matrix), then its mean over draws from q, a few times over: away
from the anchor units that were off have come on, and one made of the anchor's own curvature reached so far along
those that most of the region was missed (a 16-8-10 network on digits: replicates 6.5 nats apart).

Whatever q is, the estimate stays unbiased (volume.estimators.local.region_kernel weighs it away); what q is decides how
many levels it takes, and how far replicates spread.

Shape letter: n entries of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import special

from volume.common.programs import program
from volume.common.seeds import fold_in, halves
from volume.estimators.local.region_kernel import RegionKernel, Space
from volume.estimators.smc.scheme import Scheme
from volume.estimators.smc.step import draw
from volume.models import Parameter, Params
from volume.samplers import Gaussian, Prior, Uniform

ROUNDS, PAIRS = 4, 16  # of averaging the curvature, over so many draws and their mirror images
PRIOR_STATES, WIDER = 8, 1.2  # of a proposal that is fitted to states
RANGE = (1e-11, 1e12)  # of beta times the largest curvature


@dataclass(frozen=True, eq=False)
class Proposal:
    """The Gaussian q: z = centre + root x with x ~ N(0, I)."""

    centre: np.ndarray  # [n] float64
    root: np.ndarray  # [n, n]
    log_det: float
    beta: float  # 0: the prior itself
    evaluations: int = 0  # of the divergence, a product with its curvature being one too

    def seen_from(self, other: Proposal, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Say how much smaller steps are in these coordinates, about; and states x [S, n] of ``other`` in them."""
        z = other.centre + x @ other.root.T - self.centre
        shrink = math.exp((other.log_det - self.log_det) / len(self.centre))
        return shrink, np.linalg.solve(self.root, z.T).T


def normals_of(prior: Prior, parameters: tuple[Parameter, ...], anchor: Params) -> np.ndarray:
    """Return the normals z [n] with prior.transform(z) = anchor, float64.

    Raises:
        ValueError: a prior for which they are not known, or an anchor where the prior has no density.
    """
    if not isinstance(prior, (Gaussian, Uniform)):
        raise ValueError(
            f"The normals behind an anchor are known for volume.samplers.Gaussian and Uniform, not for {prior!r}: "
            "ask under one of these, or begin from the prior with start='prior'."
        )
    pieces = []
    with jax.enable_x64(True):
        zeros = {p.name: jnp.zeros(p.shape, jnp.float64) for p in parameters}
        ones = {p.name: jnp.ones(p.shape, jnp.float64) for p in parameters}
        middle, up = prior.transform(zeros, parameters), prior.transform(ones, parameters)
    unit = 1.0 if isinstance(prior, Gaussian) else special.erf(math.sqrt(0.5))
    for p in parameters:
        offset = np.asarray(anchor[p.name], float) - np.asarray(middle[p.name])
        size = (np.asarray(up[p.name]) - np.asarray(middle[p.name])) / unit
        ratio = np.divide(offset, size, out=np.zeros(p.shape), where=size > 0)
        outside = (size == 0) & (np.abs(offset) > 1e-6 * (1 + np.abs(offset)))
        if isinstance(prior, Uniform):
            outside |= np.abs(ratio) >= 1
        if outside.any():
            at = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"The anchor has {p.name}{list(at)} = {float(np.asarray(anchor[p.name])[at]):.6g}, where {prior!r} has "
                "no mass: widen the prior, or give parameters that it can draw."
            )
        pieces.append((ratio if isinstance(prior, Gaussian) else math.sqrt(2) * special.erfinv(ratio)).ravel())
    return np.concatenate(pieces)


def prior_proposal(size: int) -> Proposal:
    """Give the prior itself."""
    return Proposal(np.zeros(size), np.eye(size), 0.0, 0.0)


def curved_proposal(
    scheme: Scheme[RegionKernel],
    data: Any,
    anchor: Params,
    cutoff: float,
    breadth: float,
    key: Array,
    dtype: np.dtype,
) -> Proposal:
    """q as this file defines it; the key is consumed. ``data`` and ``anchor`` are those of the :class:`Space`.

    Raises:
        ValueError: no curvature, or what :func:`normals_of` refuses.
    """
    kernel = scheme.kernel
    parameters = kernel.divergence.parameters
    size = kernel.divergence.num_parameters
    z = normals_of(kernel.prior, parameters, anchor)
    key_median, key_draws = halves(key)
    evaluations = 0

    def median(proposal: Proposal) -> float:
        nonlocal evaluations
        # The same normals every time: the median falls as beta grows, but for what the line's points do.
        score = np.asarray(draw(scheme, key_median[None], space_of(proposal, data, anchor, dtype))[1])
        evaluations += score.size * kernel.draw_cost
        return float(np.median(np.where(np.isnan(score), math.inf, -score)))

    at, curvature, balanced = z[None], 0.0, prior_proposal(size)
    for round_ in range(ROUNDS + 1):
        seen = _mean_curvature(scheme, at, data, dtype)
        evaluations += size * len(at)
        curvature = seen if round_ < 2 else (curvature + seen) / 2  # the anchor's own is forgotten
        balanced = _balanced(curvature, z, median, breadth * cutoff, kernel.divergence.label)
        if balanced.beta == 0:
            break
        x = np.asarray(jax.random.normal(fold_in(key_draws, round_), (PAIRS, size), dtype), float)
        at = balanced.centre + np.concatenate([x, -x]) @ balanced.root.T
    return replace(balanced, evaluations=evaluations)


def _balanced(
    curvature: np.ndarray, z: np.ndarray, median: Callable[[Proposal], float], wanted: float, name: str
) -> Proposal:
    """Give the proposal of this curvature [n, n] around the normals z [n] with the median divergence that is wanted."""
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, 0.0)  # downhill directions of a user's function: as wide as the prior
    if not values[-1] > 0:
        raise ValueError(
            f"The divergence {name} has no curvature around the anchor, so it does not say how wide the region is: "
            "begin from the prior with start='prior'."
        )
    turned = vectors.T @ z

    def with_weight(log_beta: float) -> Proposal:
        beta = math.exp(log_beta)
        precision = 1 + beta * values
        centre = vectors @ (beta * values / precision * turned)
        root = (vectors / np.sqrt(precision)) @ vectors.T
        return Proposal(centre, root, -0.5 * float(np.log(precision).sum()), beta)

    low, high = (math.log(end / values[-1]) for end in RANGE)
    if median(with_weight(low)) <= wanted:
        return prior_proposal(len(z))
    while high - low > 0.05:
        middle = (low + high) / 2
        low, high = (middle, high) if median(with_weight(middle)) > wanted else (low, middle)
    return with_weight(high)


def refitted(proposal: Proposal, x: np.ndarray) -> Proposal:
    """Give the proposal with the mean and the variances of states x [S, n] of ``proposal``, along the axes of its root.

    Variances are drawn towards 1 by ``PRIOR_STATES`` states and then raised by ``WIDER``: one that is too wide costs
    levels, one that is too narrow misses what it does not reach.
    """
    sizes, axes = np.linalg.eigh(proposal.root)
    along = x @ axes
    share = len(x) / (len(x) + PRIOR_STATES)
    centre, variance = share * along.mean(axis=0), share * along.var(axis=0) + (1 - share)
    sizes_new = sizes * np.sqrt(WIDER * variance)
    root = (axes * sizes_new) @ axes.T
    return replace(
        proposal,
        centre=proposal.centre + axes @ (sizes * centre),
        root=root,
        log_det=float(np.log(sizes_new).sum()),
    )


def space_of(proposal: Proposal, data: Any, anchor: Params, dtype: np.dtype) -> Space:
    """Give the arrays of a proposal in the dtype of a run."""
    log_det = np.asarray(proposal.log_det, dtype)
    return Space(data, anchor, proposal.centre.astype(dtype), proposal.root.astype(dtype), log_det)


def _mean_curvature(scheme: Scheme[RegionKernel], at: np.ndarray, data: Any, dtype: np.dtype) -> np.ndarray:
    """[n, n] float64: the mean over ``at`` [S, n] of the divergence's curvature as a function of the normals."""
    total = np.zeros((at.shape[1], at.shape[1]))
    for z in at:
        total += np.asarray(_curvature(scheme.kernel, scheme.precision, z.astype(dtype), data), float)
    if not np.isfinite(total).all():
        raise ValueError(
            f"The divergence {scheme.kernel.divergence.label} has no finite curvature around the anchor: begin from "
            "the prior with start='prior', or give a smooth divergence."
        )
    return (total + total.T) / (2 * len(at))


@program(static_argnames=("kernel", "precision"))
def _curvature(kernel: RegionKernel, precision: str, z: Array, data: Any) -> Array:
    """[n, n] at the normals z [n]; what bends the prior's own map is left out, as Gauss and Newton would."""
    divergence, prior = kernel.divergence, kernel.prior

    def transform(z: Array) -> Array:
        return divergence.flatten(prior.transform(divergence.unflatten(z), divergence.parameters))

    with jax.default_matmul_precision(precision):
        theta, slope = jax.jvp(transform, (z,), (jnp.ones_like(z),))  # entry by entry: its Jacobian is diagonal
        columns = jax.lax.map(
            lambda v: divergence.curvature_product(theta, data, slope * v),
            jnp.eye(len(z), dtype=z.dtype),
            batch_size=32,
        )
    return columns * slope
