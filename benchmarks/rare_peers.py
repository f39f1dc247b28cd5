"""Rare classes as other programs measure them: blackjax's nested sampling, and plain Monte Carlo's extrapolated cost.

Quantity: log V of one labelled class. Nested sampling (Skilling 2006, section 2) climbs a score over draws z ~ N(0, I)
of the prior: n live points, the k lowest are replaced by points above the highest of them, and each round takes
sum_{i<k} 1/(n - i) off the log of the volume that is left. Here the score is the smallest signed margin; a draw that
the decisions put in the class scores above every draw outside of it, so ties fall as the classifier says. A run stops
when at least half of the live points are in the class (or fewer than k are below the ties) and multiplies by that
share: log V = log X + log f, variance sum 1/(n - i)^2 + (1 - f)/(f n), without what imperfect moves add: hence
replicates. blackjax is in the `bench` extra: nested sampling came with 1.6, and 1.7.1 mended slices that
could loop for ever in float32.

Moves: "slice", blackjax.nss itself (Yallup, Kroupa and Handley 2026): hit-and-run, by the live points' covariance when
there are 4 D live points, else by their standard deviations entry by entry, as a covariance of fewer points than
dimensions has no Cholesky factor. "elliptical": blackjax's elliptical slice as the inner step of its nested sampler.

Shape letters: D parameters, n live points, k replaced in a round, N inputs, C outputs.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume import Query
from volume.errors import unknown

Score = Callable[[Array], Array]

INSIDE = 1.0  # the score of every draw in the class; draws outside score at most 0
CHUNK_SECONDS = 2.0  # of rounds between two looks at the clock
COVARIANCE_POINTS = 4  # live points per dimension from which their covariance is used
MAX_ROUNDS = 2**14  # of one compiled call: its evaluations must fit 31 bits


@dataclass(frozen=True)
class PeerRun:
    """One run of a peer.

    ``log_volume`` is a natural log, ``error`` the run's own standard error of it, ``evaluations`` networks run on all
    labelled inputs (each counted once, also where vmap repeats some for chains that have finished), ``seconds`` wall
    time without compiling. ``finished`` False: out of time or evaluations; ``log_volume`` is then where it stood,
    an estimate of the volume still left.
    """

    peer: str
    log_volume: float
    error: float
    evaluations: int
    seconds: float
    finished: bool
    settings: dict[str, Any]


def nested(
    query: Query,
    label: Any,
    *,
    live: int = 500,
    inner_steps: int | None = None,
    replicates: int = 8,
    seed: int = 0,
    delete: int | None = None,
    moves: str = "slice",
    normalise: bool = False,
    max_seconds: float = math.inf,
    max_evaluations: float = math.inf,
) -> list[PeerRun]:
    """Independent runs of blackjax's nested sampler on one class of ``Fits`` or ``TruthTable``.

    Args:
        query: any prior that is the image of a standard normal.
        label: "fits", or a truth table's label.
        live: n. The error is about sqrt(-log V / n) when moves mix well.
        inner_steps: moves for each new point; default max(5, 2 D), which blackjax advises. Too few bias: on a
            half-space of 5 dimensions at 1e-30 slices were 2.3(5) nats low at 2 D, .9(3) at 4 D, .3(2) at 8 D and .1(2)
            at 16 D; elliptical moves were within error, .3(3) high at D and .0(2) at 2 D (100 points, 12 runs each).
        replicates: runs, each with draws of its own.
        seed: whole number.
        delete: k, default n / 10: at k = 1 nothing runs side by side.
        moves: "slice" or "elliptical".
        normalise: divide the smallest margin by the root mean square output; for networks whose scale is free.
        max_seconds: wall time for one run.
        max_evaluations: likewise.

    Raises:
        ImportError: without blackjax. ValueError: for a class that has no labels or is empty by its structure.
    """
    if importlib.util.find_spec("blackjax") is None:
        raise ImportError('blackjax is not installed: pip install "param-volume[bench]".')
    if moves not in ("slice", "elliptical"):
        raise ValueError(unknown("kind of move", moves, ("slice", "elliptical")))
    dimension = num_parameters(query)
    delete = delete or max(1, live // 10)
    inner_steps = inner_steps or max(5, 2 * dimension)
    settings = {"live": live, "inner_steps": inner_steps, "delete": delete, "moves": moves, "normalise": normalise}
    round_ = _Round.make(margin_score(query, label, normalise=normalise), dimension, live, delete, inner_steps, moves)
    warm = round_.start(jax.random.key(2**31))  # compiles; not part of any run
    jax.block_until_ready(round_.advance(jax.random.key(0), warm, 0))
    keys = jax.random.split(jax.random.key(seed), replicates)
    return [_run(round_, key, settings, max_seconds, max_evaluations) for key in keys]


def _run(round_: _Round, key: Array, settings: dict[str, Any], max_seconds: float, max_evaluations: float) -> PeerRun:
    begun = time.perf_counter()
    key, subkey = jax.random.split(key)
    live, delete = round_.live, round_.delete
    state, evaluations, rounds, chunk = round_.start(subkey), live, 0, 1
    inside, below = (int(value) for value in round_.look(state))
    while not (finished := 2 * inside >= live or below < delete):
        if time.perf_counter() - begun > max_seconds or evaluations > max_evaluations:
            break
        key, subkey = jax.random.split(key)
        before = time.perf_counter()
        state, (took, cost, inside, below) = round_.advance(subkey, state, chunk)
        inside, below = int(inside), int(below)
        rounds, evaluations = rounds + int(took), evaluations + int(cost)
        if time.perf_counter() - before < CHUNK_SECONDS / 2:
            chunk = min(2 * chunk, round_.most_rounds)
    shrinks = 1 / np.arange(live, live - delete, -1)
    log_volume, variance = -rounds * shrinks.sum(), rounds * (shrinks**2).sum()
    if finished:
        log_volume += math.log(inside / live) if inside else -math.inf
        variance += (live - inside) / (inside * live) if inside else math.inf
    seconds = time.perf_counter() - begun
    peer = f"blackjax nested, {settings['moves']} moves"
    return PeerRun(peer, float(log_volume), math.sqrt(variance), evaluations, seconds, finished, settings)


class _Cost(NamedTuple):
    """What an elliptical move reports."""

    evaluations: Array


@dataclass(frozen=True)
class _Round:
    """blackjax's rounds, compiled: one object for all replicates, so that they share a trace."""

    live: int
    delete: int
    most_rounds: int
    start: Callable[[Array], Any]
    look: Callable[[Any], tuple[Array, Array]]
    advance: Callable[[Array, Any, Any], Any]

    @classmethod
    def make(cls, score: Score, dimension: int, live: int, delete: int, inner_steps: int, moves: str) -> _Round:
        make = _elliptical if moves == "elliptical" else _slices
        init, step, cost = make(score, dimension, live, delete, inner_steps)

        def look(state: Any) -> tuple[Array, Array]:
            level = state.particles.loglikelihood
            return jnp.sum(level == INSIDE), jnp.sum(level < 0)

        def start(key: Array) -> Any:
            return init(jax.random.normal(key, (live, dimension)))

        def advance(key: Array, state: Any, rounds: Any) -> Any:
            def go_on(carry: Any) -> Array:
                _, _, took, _, inside, below = carry
                return (took < rounds) & (2 * inside < live) & (below >= delete)

            def body(carry: Any) -> Any:
                key, state, took, evaluations, _, _ = carry
                key, subkey = jax.random.split(key)
                state, info = step(subkey, state)
                return key, state, took + 1, evaluations + cost(info.update_info), *look(state)

            zero = jnp.zeros((), jnp.int32)
            _, state, *facts = jax.lax.while_loop(go_on, body, (key, state, zero, zero, *look(state)))
            return state, facts

        most = max(1, min(MAX_ROUNDS, 2**31 // (delete * inner_steps * 120)))
        return cls(live, delete, most, jax.jit(start), jax.jit(look), jax.jit(advance))


def _log_prior(z: Array) -> Array:
    return -0.5 * jnp.sum(z * z)


def _slices(score: Score, dimension: int, live: int, delete: int, inner_steps: int) -> tuple[Any, Any, Any]:
    import blackjax  # pyright: ignore[reportMissingImports] - the bench extra

    own = {} if live >= COVARIANCE_POINTS * dimension else {"proposal": _diagonal, "inner_kernel_params": _widths}
    sampler = blackjax.nss(_log_prior, score, num_inner_steps=inner_steps, num_delete=delete, **own)

    def cost(info: Any) -> Array:  # stepping out tries both ends once, and once more for each expansion
        return jnp.sum(2 + info.num_expansions + info.num_shrink, dtype=jnp.int32)

    return sampler.init, sampler.step, cost


def _widths(key: Any, state: Any, info: Any, params: Any = None) -> dict[str, Array]:
    """Standard deviation of every entry over the live points, [D]; blackjax's hook for the shape of moves."""
    return {"widths": jnp.std(state.particles.position, axis=0)}


def _diagonal(init_state_fn: Any, loglikelihood_0: Array, widths: Array) -> Any:
    """blackjax's covariance_proposal with a diagonal covariance: directions of Mahalanobis length 2."""

    def propose(key: Array, position: Array, logdensity_fn: Any) -> Any:
        direction = jax.random.normal(key, widths.shape)
        direction = 2.0 * widths * direction / jnp.linalg.norm(direction)

        def at(t: Array) -> tuple[Any, Array]:
            state = init_state_fn(position + t * direction, loglikelihood_birth=loglikelihood_0)
            return state, state.loglikelihood > loglikelihood_0

        return at

    return propose


def _elliptical(score: Score, dimension: int, live: int, delete: int, inner_steps: int) -> tuple[Any, Any, Any]:
    from blackjax.mcmc import elliptical_slice  # pyright: ignore[reportMissingImports] - the bench extra
    from blackjax.ns import adaptive, base, from_mcmc  # pyright: ignore[reportMissingImports]

    make_state = partial(base.init_state_strategy, logprior_fn=_log_prior, loglikelihood_fn=score)
    move = elliptical_slice.build_kernel(jnp.ones(dimension), jnp.zeros(dimension))

    def constrained(key: Array, state: Any, loglikelihood_0: Array) -> tuple[Any, _Cost]:
        def within(z: Array) -> Array:
            return jnp.where(score(z) > loglikelihood_0, 0.0, -jnp.inf)

        moved, info = move(key, elliptical_slice.EllipSliceState(state.position, 0.0), within)
        # The score there was known to the move: a leaner program would keep it, so it is not counted again.
        return make_state(moved.position, loglikelihood_birth=loglikelihood_0), _Cost(info.subiter)

    def nothing(*_: Any) -> dict[str, Array]:
        return {}

    step = from_mcmc.build_kernel(constrained, inner_steps, nothing, delete)
    init = partial(adaptive.init, init_state_fn=jax.vmap(make_state), update_inner_kernel_params_fn=nothing)
    return init, step, lambda info: jnp.sum(info.evaluations, dtype=jnp.int32)


def num_parameters(query: Query) -> int:
    """D, all entries of all parameters."""
    return sum(math.prod(parameter.shape) for parameter in query.model.parameters)


def margin_score(query: Query, label: Any, *, normalise: bool = False) -> Score:
    """The score of one z [D]: INSIDE in the class, else min(0, smallest signed margin over the labelled inputs).

    A margin is y f for one output, else the label's output less the best other one. Inputs whose outputs are 0 for
    every parameter (x = 0 without biases) say nothing and are left out. NaN scores -inf.
    """
    bound, model, prior, parameters = query.bound, query.model, query.prior, query.model.parameters
    if (required := bound.required_labels(bound.index(label))) is None:
        raise ValueError(
            f"Nested sampling needs a class given by labels; {label!r} of {query.classifier!r} is none: take 'fits' of "
            "Fits, or a class of TruthTable."
        )
    positions, labels = required[0], required[1].astype(np.int64)
    if not prior.has_transform:
        raise ValueError(f"Nested sampling needs a prior made of a standard normal; got {prior!r}.")
    inputs = jnp.asarray(query.domain.inputs[positions], jnp.float32)
    sizes = [math.prod(p.shape) for p in parameters]

    def outputs(z: Array) -> Array:
        pieces = jnp.split(z, np.cumsum(sizes)[:-1])
        named = {p.name: piece.reshape(p.shape) for p, piece in zip(parameters, pieces, strict=True)}
        with jax.default_matmul_precision("highest"):
            return model.apply(prior.transform(named, parameters), inputs)  # [N, C]

    # A unit that is off gives 0 too, but 256 draws never have it off all the time (2^-256 a unit).
    tries = jax.jit(jax.vmap(outputs))(jax.random.normal(jax.random.key(0), (256, sum(sizes))))
    always = np.asarray(jnp.all(tries == 0, axis=(0, 2)))
    if (always & (labels > 0)).any():
        row = int(np.argmax(always & (labels > 0)))
        raise ValueError(
            f"Input {row} (counted from 0) has output 0 for every parameter, which is class 0, and label "
            f"{labels[row]}: the class is empty. Give it label 0 or add biases."
        )
    inputs, wanted = inputs[~always], jnp.asarray(labels[~always])

    def score(z: Array) -> Array:
        f = outputs(z)
        if f.shape[1] == 1:
            right = (f[:, 0] > 0) == (wanted > 0)
            margin = jnp.where(wanted > 0, f[:, 0], -f[:, 0])
        else:
            right = jnp.argmax(f, axis=1) == wanted
            mine = jnp.take_along_axis(f, wanted[:, None], axis=1)[:, 0]
            margin = mine - jnp.max(jnp.where(jnp.arange(f.shape[1]) == wanted[:, None], -jnp.inf, f), axis=1)
        lowest = jnp.min(margin)
        if normalise:
            lowest = lowest / jnp.maximum(jnp.sqrt(jnp.mean(f**2)), 1e-30)
        outside = jnp.where(jnp.isnan(lowest), -jnp.inf, jnp.minimum(lowest, 0.0))
        return jnp.where(jnp.all(right), INSIDE, outside)

    return score


def monte_carlo_evaluations(log_volume: float, log_error: float) -> float:
    """log10 of the draws that plain Monte Carlo needs for a standard error ``log_error`` of log V: (1 - p)/(p e^2)."""
    return (math.log(-math.expm1(log_volume)) - log_volume - 2 * math.log(log_error)) / math.log(10)
