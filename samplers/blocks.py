"""One block of draws from a prior: bodies, and heads that all bodies of the block share up to reflections.

A *body* is a draw of every layer below the last, a *head* a draw of the last. Drawing H heads on the features of one
body turns H networks into one matrix product, and random numbers (the limit on a CPU: some 50 per function otherwise)
are drawn once for many functions. Crossing goes further: the Q bodies of a block use the *same* H heads, so that the
block is a single [Q N, F] x [F, C H] product, but each body reflects them by its own random signs,

    output[q, n, c, h] = sum_f features[q, n, f] sign[q, f] weight[f, c, h] + sign[q, bias] bias[c, h].

A head's law is invariant under sign changes of its rows (``prior.sign_symmetric``), so every (q, h) is an exact draw
from the prior, and the signs undo nearly all of the correlation that sharing a head brings: on (7,40,40,1) the design
effect of the largest class is 2.4 to 2.7 at 50 x 200, against 12 for heads shared as they are and 2.6 for heads that
are not shared. What is left is measured, not assumed: blocks are independent, and they are the unit of every interval.

Shape letters: Q bodies, H heads, N inputs, F features, C outputs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from volume.common.seeds import GENERATOR, block_key
from volume.models import Followed, Head, Model, Parameter, Params, Plain, follow, linear_error, plainly

from .prior import Prior, standard_normal


class Block(NamedTuple):
    """Outputs of Q x H networks, and what to know before reading decisions off them."""

    outputs: Array  # [Q, N, C, H]: heads last, because they are many and everything vectorises over them
    finite: Array  # [Q, H] bool: no output of this network is NaN or inf
    tie: Array  # [Q, 1, 1, 1]: a non-zero |output| at or below this is a near tie
    weight: Array | None = None  # [Q, H] int32: what ``weigh`` says of each network
    error: Array | None = None  # [Q, N, C, H] what underflow may have taken, in smallest normal numbers, if watched
    lost: Array | None = None  # [Q, H] bool: a number on the way overflowed or decided nothing, if watched


# An output this many roundings away from zero may have the other sign on other hardware.
NEAR_TIE_ROUNDINGS = 4.0


def can_share_heads(model: Model, prior: Prior) -> bool:
    """Say whether bodies and heads may be drawn apart: a linear last layer, and a prior that treats it on its own."""
    if model.head is None or not prior.separable:
        return False
    in_head = [p for p in model.parameters if p.name in (model.head.weight, model.head.bias)]
    others = [p for p in model.parameters if p not in in_head]
    # A prior that is separable draws layers apart, not the parts of one layer.
    return not {p.layer for p in in_head} & {p.layer for p in others}


@functools.lru_cache(maxsize=256)
def can_reflect_heads(model: Model, prior: Prior) -> bool:
    """Say whether a head may be reflected: negating its weights and biases at random gives another draw of the same
    law.

    That is claimed by ``prior.sign_symmetric`` and true of weights and biases only: a scale has its law around 1.

    Raises:
        ValueError: a prior that makes the claim although its ``transform`` does not commute with signs. Such a law may
            still be symmetric, but nothing here could tell.
    """
    if not can_share_heads(model, prior) or not getattr(prior, "sign_symmetric", False):
        return False
    assert model.head is not None  # can_share_heads
    last = tuple(p for p in model.parameters if p.name in (model.head.weight, model.head.bias))
    if any(p.kind == "scale" for p in last):
        return False
    if not prior.has_transform:
        return getattr(prior, "finite", False)  # levels say themselves whether they are symmetric; other laws do not

    chance = np.random.default_rng(0)
    z = {p.name: chance.standard_normal(p.shape).astype(np.float32) for p in last}
    sign = {p.name: chance.choice(np.array([-1, 1], np.float32), p.shape) for p in last}
    reflected = plainly(lambda z: prior.transform(z, last), {name: sign[name] * z[name] for name in z})
    expected = plainly(lambda z: prior.transform(z, last), z)
    if not all(np.allclose(reflected[name], sign[name] * expected[name], rtol=1e-4, atol=1e-6) for name in z):
        raise ValueError(
            f"{prior!r} says that it is sign_symmetric, but its transform does not turn reflected normals into "
            "reflected parameters: set sign_symmetric to False, and heads are shared without reflections."
        )
    return True


def draw_block(
    key: Array,
    model: Model,
    prior: Prior,
    inputs: Array,
    *,
    bodies: int,
    heads: int,
    batch: int | None = None,
    weigh: Callable[[Params], Array] | None = None,
    faint: tuple[str, ...] | None = None,
) -> Block:
    """Draw the outputs of ``bodies * heads`` networks on ``inputs`` [N, ...]; the key is consumed.

    With ``heads == 1`` the networks are independent draws of all parameters, evaluated ``batch`` at a time; ``weigh``,
    from parameters [D, *shape] to int32 [D], is then kept of each. ValueError for it with more heads. ``faint``
    (volume.models.watched): look for what underflow and overflow decide; these parameters may vanish themselves.
    """
    if heads == 1:
        return _independent(key, model, prior, inputs, bodies, batch or bodies, weigh, faint)
    if weigh is not None:
        raise ValueError(f"weigh looks at whole networks, and {heads} heads share a body: give heads=1.")
    return _crossed(key, model, prior, inputs, bodies, heads, faint)


def _independent(
    key: Array,
    model: Model,
    prior: Prior,
    inputs: Array,
    draws: int,
    batch: int,
    weigh: Callable[[Params], Array] | None,
    faint: tuple[str, ...] | None,
) -> Block:
    def one(key: Array) -> tuple[Any, Array | None]:
        theta = prior.draw(key, model.parameters, inputs.dtype)
        weight = None if weigh is None else weigh({name: value[None] for name, value in theta.items()})  # [1]
        if faint is not None:
            return follow(model.apply, theta, inputs, faint), weight
        return model.apply(theta, inputs), weight  # [N, C]

    outputs, weight = jax.lax.map(one, jax.random.split(key, draws), batch_size=min(batch, draws))
    error = lost = None
    if faint is not None:
        outputs, error, lost = outputs.outputs, outputs.error[..., None], outputs.lost[:, None]
    outputs = outputs[..., None]
    roundings = NEAR_TIE_ROUNDINGS * jnp.finfo(outputs.dtype).eps
    tie = roundings * jnp.max(jnp.abs(outputs), axis=(1, 2), keepdims=True)
    return Block(outputs, _finite(outputs), tie, weight, error, lost)


def _crossed(
    key: Array, model: Model, prior: Prior, inputs: Array, bodies: int, heads: int, faint: tuple[str, ...] | None
) -> Block:
    head = model.head
    assert head is not None  # can_share_heads was asked before tracing
    in_head = (head.weight, head.bias)
    body = tuple(p for p in model.parameters if p.name not in in_head)
    last = tuple(p for p in model.parameters if p.name in in_head)
    key_body, key_head, key_sign = jax.random.split(key, 3)
    dtype = inputs.dtype

    # A network without hidden layers has no body to draw: its features are the inputs.
    drawn = _draws(key_body, prior, body, dtype, bodies)
    followed = None
    if faint is None:
        features = jax.vmap(lambda params: model.features(params, inputs), axis_size=bodies)(drawn)  # [Q, N, F]
    else:
        followed = jax.vmap(lambda params: follow(model.features, params, inputs, faint), axis_size=bodies)(drawn)
        features = followed.outputs
    theta = _draws(key_head, prior, last, dtype, heads)
    weight = jnp.moveaxis(theta[head.weight], 0, 2)  # [F, C, H]
    if head.bias is not None:  # a bias is the weight of one more feature, which is always 1
        weight = jnp.concatenate([weight, theta[head.bias].T[None]])
        features = jnp.concatenate([features, jnp.ones_like(features[..., :1])], axis=-1)
    if bodies > 1 and can_reflect_heads(model, prior):
        bits = jax.random.bits(key_sign, (bodies, 1, features.shape[-1]), jnp.uint8)
        features = jnp.where(bits & 1, features, -features)
    num_features, num_outputs, num_heads = weight.shape
    outputs = (features.reshape(-1, num_features) @ weight.reshape(num_features, -1)).reshape(
        bodies, -1, num_outputs, num_heads
    )
    info = jnp.finfo(outputs.dtype)
    # Cauchy and Schwarz: no output, nor any partial sum of one, is larger. Mostly this proves all of them finite,
    # for a fifth of the time that looking at each would take.
    bound = jnp.max(jnp.linalg.norm(features, axis=-1), axis=-1) * jnp.max(jnp.linalg.norm(weight, axis=0))  # [Q]
    finite = jax.lax.cond(
        jnp.max(bound) < info.max / 2, lambda _: jnp.ones((bodies, num_heads), bool), _finite, outputs
    )  # a NaN bound compares as False
    tie = NEAR_TIE_ROUNDINGS * info.eps * bound[:, None, None, None]
    if followed is None:
        return Block(outputs, finite, tie)
    error, lost = _watched_heads(followed, features, weight, finite, tuple(faint or ()), head)
    return Block(outputs, finite, tie, error=error, lost=lost)


def block_key_data(key: np.ndarray, words: np.ndarray) -> np.ndarray:
    """The data [2] of a block's key, which `block_key` makes; by NumPy, from the data of the run's."""
    return Plain(lambda data, words: jax.random.key_data(block_key(_wrapped(data), words)), (key, words))((key, words))[
        0
    ]


def block_networks(
    key: np.ndarray,
    model: Model,
    prior: Prior,
    dtype: DTypeLike,
    *,
    bodies: int,
    heads: int,
    numbers: Sequence[int] | np.ndarray,
) -> list[dict[str, np.ndarray]]:
    """Parameters of some networks of the block that `draw_block` draws: ``numbers`` q H + h, for body q with head h.

    They are drawn by NumPy alone, and without the others; ``key`` is the data [2] of the block's.
    """
    if heads == 1:
        return _plain_draws(key, prior, model.parameters, dtype, bodies, numbers)
    head, (at, head_at) = model.head, np.divmod(np.asarray(numbers), heads)
    assert head is not None
    in_head = (head.weight, head.bias)
    body = tuple(p for p in model.parameters if p.name not in in_head)
    last = tuple(p for p in model.parameters if p.name in in_head)
    key_body, key_head, key_sign = _plain_split(key, 3)
    drawn = _plain_draws(key_body, prior, body, dtype, bodies, at, apart=False)
    theta = _plain_draws(key_head, prior, last, dtype, heads, head_at, apart=False)
    if bodies > 1 and can_reflect_heads(model, prior):
        num = head.num_features + (head.bias is not None)
        plain = Plain(lambda data: jax.random.bits(_wrapped(data), (num,), jnp.uint8), (key,))
        for q, params in zip(at, theta, strict=True):
            sign = np.where(plain((key_sign,), first=q * num)[0] & 1, 1, -1).astype(dtype)  # [F (+ 1)]
            params[head.weight] = params[head.weight] * sign[: head.num_features, None]
            if head.bias is not None:
                params[head.bias] = params[head.bias] * sign[-1:]
    return [below | above for below, above in zip(drawn, theta, strict=True)]


def _plain_draws(
    key: np.ndarray,
    prior: Prior,
    parameters: tuple[Parameter, ...],
    dtype: DTypeLike,
    count: int,
    numbers: Sequence[int] | np.ndarray,
    *,
    apart: bool = True,
) -> list[dict[str, np.ndarray]]:
    """Draw some of ``count`` draws of these parameters, each from a key of its own where they are ``apart``, else as
    `_draws` makes them; by NumPy."""
    if not parameters:
        return [{} for _ in numbers]
    names, apart = [p.name for p in parameters], apart or not prior.has_transform

    def drawn(data: Array) -> list[Array]:
        if apart:
            params = prior.draw(_wrapped(data), parameters, dtype)
        else:
            params = prior.transform(standard_normal(_wrapped(data), parameters, dtype), parameters)
        return [params[name] for name in names]

    plain, size = Plain(drawn, (key,)), sum(math.prod(p.shape) for p in parameters)
    keys = _plain_split(key, count) if apart else None
    values = [plain((key,), first=int(number) * size) if keys is None else plain((keys[number],)) for number in numbers]
    return [dict(zip(names, each, strict=True)) for each in values]


def _plain_split(key: np.ndarray, count: int) -> np.ndarray:
    """The data [count, 2] of the keys that a key is split into."""
    return plainly(lambda data: jax.random.key_data(jax.random.split(_wrapped(data), count)), key)


def _wrapped(data: Array) -> Array:
    return jax.random.wrap_key_data(data, impl=GENERATOR)


def _watched_heads(
    followed: Followed, features: Array, weight: Array, finite: Array, faint: tuple[str, ...], head: Head
) -> tuple[Array, Array]:
    """Errors [Q, N, C, H] and lost networks [Q, H] of heads [F, C, H] on features [Q, N, F]; a bias is a feature."""
    small = jnp.abs(weight) < jnp.finfo(weight.dtype).tiny
    rows = jnp.arange(weight.shape[0]) < followed.outputs.shape[-1]
    may = jnp.where(rows, head.weight in faint, head.bias in faint)[:, None, None]
    error = jnp.pad(followed.error, ((0, 0), (0, 0), (0, weight.shape[0] - followed.error.shape[-1])))
    error = linear_error(features, error, weight.reshape(len(weight), -1), (small & may).reshape(len(weight), -1))
    return error.reshape(*error.shape[:2], *weight.shape[1:]), followed.lost[:, None] | ~finite


def _draws(key: Array, prior: Prior, parameters: tuple[Parameter, ...], dtype: DTypeLike, num: int) -> Params:
    """``num`` draws of these parameters, which are whole layers of a separable prior: [num, *shape] each."""
    if not prior.has_transform:
        return jax.vmap(lambda one: prior.draw(one, parameters, dtype))(jax.random.split(key, num))
    z = standard_normal(key, parameters, dtype, (num,))
    return jax.vmap(lambda one: prior.transform(one, parameters), axis_size=num)(z)


def _finite(outputs: Array) -> Array:
    """[Q, H] from outputs [Q, N, C, H]."""
    return jnp.all(jnp.isfinite(outputs), axis=(1, 2))
