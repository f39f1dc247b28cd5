"""Rays from one point of parameter space: their directions, how far a function of the parameters stays below a limit
along each, and the prior's mass on the way.

Quantity: the mass, under a prior of independent normal or uniform parameters, of the star-shaped region
{x : D(anchor + t (x - anchor)) <= c for all t in [0, 1]}, D continuous and 0 at the anchor. In coordinates
y = (x - anchor) / s, s the prior's standard deviations, a direction is v = P g, g ~ N(mu, I), with one of J pairs
(P, mu), each as likely:

    V = E_v[ integral_0^R(v) r^(d-1) density(r v) dr / (1/J) sum_j integral_0^inf r^(d-1) N_j(r v) dr ],

N_j the density of P_j g. The lower integrals are the density of the direction v / |v|, so that the expectation is the
integral over the sphere; scales cancel, and no direction need be normalised (|det P| = 1 would change nothing). A mean
mu = -P'(anchor - centre)/s is where the prior pulls: a trained network is far from the prior's centre, and most of the
mass around it lies on that side. Several P guard each other: the weight of a ray is at most J times what it would be
with the best of them alone (the balance heuristic, Veach and Guibas 1995).

A prior that is normal makes the upper integral one of exp(-a r^2/2 + b r), a = |v|^2, b = -v'(anchor - centre)/s
(samplers.radial), and with these means b is the same below, for every j; a uniform prior is constant until the ray
leaves the box.

The radius R(v) is the first crossing: a bracket [low, high] around it is closed by the secant rule on log D against
log r (with the safeguards of Dowell and Jarratt 1971, the Illinois rule) or, for D that jumps, by bisection. Points
within the radius are probed; where one is above the cutoff, the ray came back, and the search goes on before it.

Shape letters: S rays, K cutoffs, J ways to draw a direction, P parameters, d of them that the prior does not fix, M
probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.common.programs import program
from volume.models import Parameter, plainly

from .independent import Gaussian, Uniform
from .preconditioners import Preconditioner
from .prior import Prior
from .radial import DROP, log_radial, log_radial_centred

# Sums over coordinates are finished on the host in float64 from parts of this many: a float32 sum of a million squares
# is off by 1e-6 of itself, which r^(d-1) would make a nat.
PART = 256
FAR = 30.0  # standard deviations beyond which a normal's quantile function of any dtype has ended


class RayPrior(NamedTuple):
    """A prior as rays see it: independent coordinates of known centre and standard deviation, [P] float64."""

    normal: bool  # else uniform, of half-width sqrt(3) standard deviations
    centre: np.ndarray
    scale: np.ndarray  # 0 where the prior fixes the parameter

    @property
    def free(self) -> np.ndarray:
        """Positions [d] of the parameters that vary."""
        return np.flatnonzero(self.scale)


def ray_prior(prior: Prior, parameters: tuple[Parameter, ...]) -> RayPrior:
    """Return the prior in the order of ``parameters``. ValueError for one whose density along a ray is not known
    here."""
    if not isinstance(prior, (Gaussian, Uniform)):
        raise ValueError(
            f"The mass along rays is known for independent normal or uniform parameters, and {prior!r} is neither: ask "
            "with volume.samplers.Gaussian or Uniform."
        )
    normal = isinstance(prior, Gaussian)

    def at(z: float) -> np.ndarray:
        dtype = jnp.result_type(float)
        theta = plainly(
            lambda z: prior.transform(z, parameters), {p.name: np.full(p.shape, z, dtype) for p in parameters}
        )
        return np.concatenate([np.ravel(np.asarray(theta[p.name], np.float64)) for p in parameters])

    centre = at(0.0)
    return RayPrior(normal, centre, at(1.0) - centre if normal else (at(FAR) - centre) / math.sqrt(3))


class Star(NamedTuple):
    """Where rays start and how they spread: constants of a run, a pytree of arrays."""

    anchor: Any  # [P]
    scale: Any  # [d] standard deviations of the free parameters
    free: Any  # [d] positions of the free parameters
    offset: Any  # [d] (anchor - centre) / scale
    lean: Any  # 1: mu = -P' offset; 0: mu = 0
    ways: Preconditioner  # P_j: scales [J, d] on one basis


class Rays(NamedTuple):
    """What a batch of rays found."""

    low: Any  # [S, K] D <= cutoff here
    high: Any  # [S, K] and not here, or where the prior ends (then low == high)
    end: Any  # [S] beyond this radius the prior has no mass that counts
    bad: Any  # [S, K] the first probe within low that was above the cutoff; inf: none
    good: Any  # [S, K] the last probe before it
    parts: Any  # [S, 2 + J, m] parts of the sums v'v, v'offset, |P_j^-1 v|^2
    steps: Any  # [S] evaluations along the ray
    nonfinite: Any  # [S] of them that gave NaN


class Search(NamedTuple):
    """How radii are found; static."""

    smooth: bool = True  # False: D jumps, and only bisection helps
    tolerance: float = 1e-5  # of the radius, relative
    max_steps: int = 40  # evaluations for one cutoff
    probes: int = 4  # points within each radius


@program(static_argnames=("divergence", "normal", "search", "batch"))
def shoot(
    divergence: Callable[[Array, Any], Array],
    data: Any,
    star: Star,
    key: Array,
    numbers: Array,
    thresholds: Array,
    low: Array,
    high: Array,
    *,
    normal: bool,
    search: Search,
    batch: int,
) -> Rays:
    """Return rays ``numbers`` [S], each keyed by (key, number); ``low`` and ``high`` [S, K] bracket radii known before
    (0 and inf: nothing is known).

    ``divergence(x, data)`` of a row [P]; static. Radii are for ``thresholds`` [K], ascending. At most ``batch`` rays
    are held at once: P (or the activations of one network) times that is the memory taken.
    """

    def one(args: tuple[Array, Array, Array]) -> Rays:
        number, low, high = args
        turned, v, end = _direction(star, jax.random.fold_in(key, number), normal)
        step = jnp.zeros_like(star.anchor).at[star.free].set(star.scale * v, unique_indices=True)

        def value(r: Array) -> Array:
            return divergence(star.anchor + r * step, data)

        below = jnp.zeros((), star.anchor.dtype)
        brackets, count, faults = [], jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        for k in range(thresholds.shape[0]):
            least = jnp.maximum(below, low[k])
            guess = 1.0 if k == 0 else below * jnp.sqrt(thresholds[k] / jnp.maximum(thresholds[k - 1], 1e-30))
            bracket, more, undefined = _crossing(
                value, thresholds[k], least, jnp.minimum(high[k], end), jnp.asarray(guess, least.dtype), search
            )
            below = bracket[0]
            brackets.append(bracket)
            count, faults = count + more, faults + undefined
        lows, highs = (jnp.stack(side) for side in zip(*brackets, strict=True))
        bad, good, undefined = _probe(value, thresholds, lows, low, search.probes)
        squares = jax.vmap(lambda scale: _parts((turned / scale) ** 2))(star.ways.scale)
        parts = jnp.concatenate([_parts(v * v)[None], _parts(v * star.offset)[None], squares])
        count = count + search.probes * thresholds.shape[0]
        return Rays(lows, highs, end, bad, good, parts, count, faults + undefined)

    return jax.lax.map(one, (numbers, low, high), batch_size=batch)


def log_masses(prior: RayPrior, star: Star, rays: Rays) -> np.ndarray:
    """log of each ray's estimate [S, K] of the prior mass, natural; their mean is unbiased for the region's mass.

    The radius is the inner end of its bracket.
    """
    dim, lean = len(prior.free), float(star.lean)
    sums = np.sum(np.asarray(rays.parts, np.float64), axis=-1)
    a, b, squares = sums[:, :1], -sums[:, 1:2], sums[:, 2:]
    scale, offset = np.asarray(star.ways.scale, np.float64), np.asarray(star.offset, np.float64)
    turned = offset if star.ways.basis is None else np.asarray(star.ways.basis, np.float64).T @ offset
    constant = -np.sum(np.log(scale), axis=1) - lean * np.sum((scale * turned) ** 2, axis=1) / 2  # [J]
    ways = log_radial(dim, squares, b) if lean else log_radial_centred(dim, squares)
    log_density = np.logaddexp.reduce(constant + ways, axis=1, keepdims=True) - math.log(len(scale))  # of directions
    radius = np.asarray(rays.low, np.float64)
    if prior.normal:
        radius = np.where(radius >= np.asarray(rays.end, np.float64)[:, None], np.inf, radius)
        return log_radial(dim, a, b, radius) - offset @ offset / 2 - log_density
    with np.errstate(divide="ignore"):
        along = dim * np.log(radius) - math.log(dim) - dim * math.log(2 * math.sqrt(3))
    return along - log_density + dim / 2 * math.log(2 * math.pi)


def _direction(star: Star, key: Array, normal: bool) -> tuple[Array, Array, Array]:
    """v on the axes of P, v = P g, and the radius beyond which the prior ends."""
    key_way, key_g = jax.random.split(key)
    way = jax.random.randint(key_way, (), 0, star.ways.scale.shape[0])
    one = Preconditioner(star.ways.scale[way], star.ways.basis)
    g = jax.random.normal(key_g, star.offset.shape, star.offset.dtype) - star.lean * one.transposed(star.offset)
    turned = one.scale * g
    v = turned if one.basis is None else one.basis @ turned
    if normal:  # beyond the mode of r^d density(r v) it falls by a (r - mode)^2 / 2 at least
        a, b = jnp.sum(v * v), -jnp.sum(v * star.offset)
        root = jnp.sqrt(b * b + 4 * a * v.size)
        mode = jnp.where(b > 0, (b + root) / (2 * a), 2 * v.size / (root - b))
        return turned, v, mode + jnp.sqrt(2 * DROP / a)
    room = math.sqrt(3) - jnp.sign(v) * star.offset
    return turned, v, jnp.min(jnp.where(v == 0, jnp.inf, jnp.maximum(room, 0) / jnp.abs(v)))


def _parts(x: Array) -> Array:
    """Sums [m] of consecutive entries, PART at a time."""
    return jnp.sum(jnp.pad(x, (0, -x.size % PART)).reshape(-1, PART), axis=1)


class _Bracket(NamedTuple):
    """log D/c at the ends: -inf at low = 0, nan at a high that was not evaluated."""

    low: Array
    y_low: Array
    high: Array
    y_high: Array
    next: Array
    side: Array  # how often in a row the same end moved: > 0 low, < 0 high
    steps: Array
    faults: Array


def _crossing(
    value: Callable[[Array], Array], threshold: Array, low: Array, high: Array, guess: Array, search: Search
) -> tuple[tuple[Array, Array], Array, Array]:
    """The bracket (low, high) of the first crossing, how many evaluations it took, and how many of them were NaN."""
    dtype = low.dtype
    tol = max(search.tolerance, 4 * float(jnp.finfo(dtype).eps))
    none = jnp.asarray(-jnp.inf, dtype), jnp.asarray(jnp.nan, dtype)
    zero = jnp.zeros((), jnp.int32)
    inside = jnp.where((guess > low) & (guess < high), guess, jnp.where(low > 0, jnp.sqrt(low * high), guess))
    start = _Bracket(low, none[0], high, none[1], jnp.minimum(inside, high), zero, zero, zero)

    def on(state: _Bracket) -> Array:
        return (state.high > state.low * (1 + tol)) & (state.steps < search.max_steps)

    def step(state: _Bracket) -> _Bracket:
        r, d = state.next, value(state.next)
        y = jnp.where(jnp.isnan(d), jnp.inf, jnp.log(jnp.maximum(d, 0) / threshold)).astype(dtype)
        inside = d <= threshold  # False for NaN
        side = jnp.where(inside, jnp.maximum(state.side, 0) + 1, jnp.minimum(state.side, 0) - 1)
        low, y_low = jnp.where(inside, r, state.low), jnp.where(inside, y, state.y_low)
        high, y_high = jnp.where(inside, state.high, r), jnp.where(inside, state.y_high, y)
        # The Illinois rule: an end that stays put counts half, or the other one would creep.
        y_high = jnp.where(side > 1, y_high / 2, y_high)
        y_low = jnp.where(side < -1, y_low / 2, y_low)
        steps = state.steps + 1
        nearer = _next(low, y_low, high, y_high, steps, tol, search.smooth)
        return _Bracket(low, y_low, high, y_high, nearer, side, steps, state.faults + jnp.isnan(d))

    end = jax.lax.while_loop(on, step, start)
    return (end.low, end.high), end.steps, end.faults


def _next(low: Array, y_low: Array, high: Array, y_high: Array, steps: Array, tol: float, smooth: bool) -> Array:
    """Where to look next inside (low, high), in logarithms of r."""
    from_low, from_high = jnp.log(low), jnp.log(high)  # -inf for low = 0
    middle = (from_low + from_high) / 2
    secant = from_low + (from_high - from_low) * y_low / (y_low - y_high)
    # From one end alone: D grows as r^2 near the anchor; a little beyond, so as to bracket.
    up = from_low + jnp.clip(-y_low / 2 + tol, tol, math.log(8.0))
    up = jnp.where(jnp.isfinite(y_low), up, from_low + math.log(2.0))
    down = from_high - jnp.clip(y_high / 2 + tol, tol, math.log(32.0))
    down = jnp.where(jnp.isfinite(y_high), down, from_high - math.log(2.0))
    # A high end that was not evaluated is the prior's: one look there ends the search of a ray that stays inside.
    unknown = jnp.isnan(y_high)
    good = jnp.isfinite(y_low) & jnp.isfinite(y_high) & smooth & (steps % 4 != 3)
    both = jnp.where(good, secant, middle)
    both = jnp.clip(both, from_low + tol / 2, from_high - tol / 2)
    u = jnp.where(unknown, jnp.where(low > 0, jnp.where(up >= from_high - tol, from_high, up), middle), both)
    u = jnp.where(low > 0, u, jnp.where(unknown, from_high, down))
    nearer = jnp.where(u >= from_high, high, jnp.clip(jnp.exp(u), low, high))  # the end itself, not a rounding of it
    return jnp.where(jnp.isfinite(u), nearer, low)


def _probe(
    value: Callable[[Array], Array], thresholds: Array, lows: Array, known: Array, num: int
) -> tuple[Array, Array, Array]:
    """The first of ``num`` points between what was ``known`` and each radius that is above its cutoff, the last point
    before it, and how many were NaN."""
    if not num:
        return jnp.full_like(lows, jnp.inf), lows, jnp.zeros((), jnp.int32)
    share = jnp.arange(1, num + 1, dtype=lows.dtype) / (num + 1)
    at = known[:, None] + (lows - known)[:, None] * share  # [K, M]
    values = jax.lax.map(value, at.ravel()).reshape(at.shape)  # one after another: no more memory than the search
    outside = ~(values <= thresholds[:, None])
    first = jnp.argmax(outside, axis=1)
    any_outside = jnp.any(outside, axis=1)
    bad = jnp.where(any_outside, jnp.take_along_axis(at, first[:, None], 1)[:, 0], jnp.inf)
    before = jnp.take_along_axis(at, jnp.maximum(first - 1, 0)[:, None], 1)[:, 0]
    good = jnp.where(any_outside & (first > 0), before, known)
    return bad, good, jnp.sum(jnp.isnan(values), dtype=jnp.int32)


@program(static_argnames="normal")
def ray_directions(star: Star, key: Array, numbers: Array, *, normal: bool) -> Array:
    """v = P g [S, d] of rays ``numbers`` [S], in the prior's standard deviations: the ones that `shoot` takes."""
    return jax.lax.map(lambda n: _direction(star, jax.random.fold_in(key, n), normal)[1], numbers)
