"""A network evaluated with a bound on what underflow has taken from every number, and with an eye on overflow.

CPUs and GPUs set to 0 what is smaller than the smallest normal number, `tiny`. The network's program is followed
operation by operation: beside each array goes the error that this made, in units of `tiny`, as the worst case has it.
It is exactly 0 where nothing was lost: a dead relu unit, a product with a parameter that is 0. Where a number is no
larger than its error, what is decided by it is unknown. This costs several times the plain evaluation and is for the
networks for which `ranges` finds it necessary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .model import Params
from .size_walk import COMPARISONS, PRODUCTS, SAME, SUMS, called


class Watched(NamedTuple):
    """An array, and what it may have lost."""

    value: Array
    error: Array | None = None  # of the same shape, in units of the smallest normal number; None: nothing


class Followed(NamedTuple):
    """What a network gave."""

    outputs: Array
    error: Array  # of the same shape, in units of the smallest normal number
    lost: Array  # bool: a number on the way overflowed, or a comparison was undecided


def follow(
    function: Callable[[Params, Array], Array], params: Params, inputs: Array, faint: Collection[str]
) -> Followed:
    """Evaluate one network.

    Args:
        function: of parameters and inputs, for example ``model.apply``.
        params: its parameters.
        inputs: [N, *input_shape].
        faint: names of parameters that may be smaller than the smallest normal number, and are then 0 or inexact.
    """
    names = tuple(params)

    def flat(leaves: list[Array], inputs: Array) -> Array:
        return function(dict(zip(names, leaves, strict=True)), inputs)

    leaves = [jnp.asarray(params[name]) for name in names]
    closed = jax.make_jaxpr(flat)([jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves], inputs)
    follower = _Follower(inputs.dtype)
    given = [
        Watched(leaf, jnp.where(jnp.abs(leaf) < follower.tiny, 1.0, 0.0).astype(leaf.dtype) if name in faint else None)
        for name, leaf in zip(names, leaves, strict=True)
    ]
    (outputs,) = follower.run(closed.jaxpr, closed.consts, [*given, Watched(inputs)])
    return Followed(outputs.value, _error(outputs), follower.lost)


def linear_error(features: Array, error: Array, weight: Array, faint: Array) -> Array:
    """The errors of features [..., F], with their own ``error``, times a weight [F, C] that is not sure where
    ``faint``: all in units of the smallest normal number."""
    factors = Watched(features, error), Watched(weight, faint.astype(weight.dtype))
    return _Follower(features.dtype).product(jnp.matmul, *factors)[1]


class _Follower:
    def __init__(self, dtype: Any):
        self.tiny = jnp.finfo(dtype).tiny
        self.lost = jnp.zeros((), bool)

    def run(self, jaxpr: Any, consts: Iterable[Any], arguments: Iterable[Watched]) -> list[Watched]:
        known = dict(zip(jaxpr.constvars, map(Watched, consts), strict=True))
        known |= zip(jaxpr.invars, arguments, strict=True)

        def read(atom: Any) -> Watched:
            return Watched(atom.val) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            given = [read(atom) for atom in equation.invars]
            results = self._apply(equation, given)
            if any(_floating(one.value) for one in results):
                for one in results:
                    self._overflow(one.value, [each.value for each in given])
            known |= zip(equation.outvars, results, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def product(self, product: Callable[[Array, Array], Array], a: Watched, b: Watched) -> tuple[Array, Array]:
        """A product, or sum of products, and its error: that of each factor times the other, and one for each pair."""
        value = product(a.value, b.value)
        size_a, size_b = jnp.abs(a.value), jnp.abs(b.value)
        some_a, some_b = ((one.value != 0) | (_error(one) > 0) for one in (a, b))
        error = product(some_a.astype(value.dtype), some_b.astype(value.dtype))
        error += product(_error(a), size_b) + product(size_a, _error(b))
        return value, error

    def _overflow(self, value: Array, given: list[Array]) -> None:
        if _floating(value):
            finite = jnp.array([jnp.all(jnp.isfinite(each)) for each in given if _floating(each)])
            self.lost |= jnp.all(finite) & ~jnp.all(jnp.isfinite(value))

    def _decided(self, a: Watched, b: Watched) -> None:
        """Take note where the smaller of two numbers is unknown."""
        if a.error is not None or b.error is not None:
            error = _error(a) + _error(b)
            self.lost |= jnp.any((error > 0) & (jnp.abs(a.value - b.value) <= jnp.maximum(error, 1) * self.tiny))

    def _apply(self, equation: Any, given: list[Watched]) -> list[Watched]:
        name, params = equation.primitive.name, equation.params
        if (inner := called(equation)) is not None:
            return self.run(*inner, given)

        def bind(*values: Array) -> Any:
            return equation.primitive.bind(*values, **params)

        values = [one.value for one in given]
        if all(one.error is None for one in given) and name not in PRODUCTS | {"div", "integer_pow", "square"}:
            results = bind(*values)
            return [Watched(one) for one in (results if equation.primitive.multiple_results else [results])]
        if equation.primitive.multiple_results:  # a loop: it is not followed
            return [Watched(one, jnp.full_like(one, jnp.inf) if _floating(one) else None) for one in bind(*values)]
        return [self._one(name, params, bind, given, values)]

    def _one(
        self, name: str, params: dict[str, Any], bind: Callable[..., Any], given: list[Watched], values: list[Array]
    ) -> Watched:
        if name in PRODUCTS and all(map(_floating, values)):
            return Watched(*self.product(bind, given[0], given[1]))
        value = bind(*values)
        if name in COMPARISONS:
            self._decided(given[0], given[1])
            return Watched(value)
        if name == "sign":
            self._decided(given[0], Watched(jnp.zeros_like(values[0])))
            return Watched(value)
        if not _floating(value):
            return Watched(value)
        errors = [_error(one) for one in given]
        if name in ("max", "min"):
            a, b = values
            sure = jnp.abs(a - b) > (errors[0] + errors[1]) * self.tiny
            first = (a > b) if name == "max" else (a < b)
            return Watched(value, jnp.where(sure, jnp.where(first, *errors), jnp.maximum(*errors)))
        if name in ("add", "add_any", "sub"):
            other = -values[1] if name != "sub" else values[1]
            flushed = (jnp.abs(value) < self.tiny) & (values[0] != other) & (values[0] != 0) & (values[1] != 0)
            return Watched(value, errors[0] + errors[1] + flushed)
        if name in ("cumsum", "reduce_sum", "reduce_window_sum") or name in SAME | SUMS:
            # Moved, taken or added up as the numbers are; of indices and choices there is no error.
            moved = [error if _floating(v) else v for error, v in zip(errors, values, strict=True)]
            return Watched(value, jnp.abs(bind(*moved)))
        if name in ("div", "integer_pow", "square"):
            rates = jnp.zeros_like(value)
            for at, (error, v) in enumerate(zip(errors, values, strict=True)):
                if _floating(v):
                    rates += jnp.abs(_rate(bind, values, at)) * error
            return Watched(value, rates + (jnp.abs(value) < self.tiny) * (values[0] != 0))
        if all(one.shape == value.shape for one in values if _floating(one)):  # entry by entry
            error = sum(jnp.abs(_rate(bind, values, at)) * e for at, e in enumerate(errors) if _floating(values[at]))
            return Watched(value, jnp.asarray(error, value.dtype))
        return Watched(value, jnp.full_like(value, jnp.inf))


def _rate(bind: Callable[..., Any], values: list[Array], at: int) -> Array:
    """How fast each entry grows with its argument ``at``."""

    def of(one: Array) -> Array:
        return bind(*values[:at], one, *values[at + 1 :])

    return jax.jvp(of, (values[at],), (jnp.ones_like(values[at]),))[1]


def _floating(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.floating)


def _error(one: Watched) -> Array:
    if one.error is not None:
        return one.error
    value = jnp.asarray(one.value)
    return jnp.zeros(value.shape, value.dtype if _floating(value) else jnp.float32)
