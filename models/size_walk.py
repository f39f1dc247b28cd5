"""Follow a network's program, operation by operation: typical sizes, what underflow takes, and exponents that agree.

`volume.models.ranges` says what for. Sizes are base-2 logarithms of a typical absolute value; -inf stands for what is
exactly 0, which fits any exponent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

INPUTS = ""  # the symbol of the inputs; parameters go by their names
NONE = -math.inf
HUGE = 100.0  # constants from 2^100 on are masks: no sizes
TURNS = 64  # of a loop that are followed
SATURATED = 4.0  # of such an argument tanh, erf and atan give a constant

Form = Mapping[str, int]  # exponent of 2: the sum of these multiples of symbols

# What acts on every entry alike, moves entries, or takes some of them.
SAME = {
    "abs", "broadcast_in_dim", "convert_element_type", "copy", "cummax", "cummin", "cumsum", "dynamic_slice",
    "expand_dims", "gather", "neg", "reduce_max", "reduce_min", "reduce_precision", "reduce_sum", "reduce_window_max",
    "reduce_window_min", "reduce_window_sum", "reshape", "rev", "slice", "squeeze", "stop_gradient", "transpose",
}  # fmt: skip
SUMS = {"add", "add_any", "concatenate", "dynamic_update_slice", "max", "min", "pad", "select_n", "sub"}
COMPARISONS = {"eq", "ge", "gt", "le", "lt", "ne"}
PRODUCTS = {"conv_general_dilated", "dot_general", "mul"}
_BOUNDED = {"asin", "asinh", "atan", "erf", "sin", "tan", "tanh"}  # x near 0, at most about 1
_AROUND_ONE = {"cos", "erfc", "exp", "exp2", "logistic"}  # 1 near 0; what overflows is seen to be infinite
_CALLS = ("call_jaxpr", "jaxpr", "fun_jaxpr")


class Value(NamedTuple):
    """What is known of one array."""

    form: Form
    size: float
    error: float  # the size of what underflow may have taken from it

    @property
    def nothing(self) -> bool:
        return self.size == NONE


NOTHING = Value({}, NONE, NONE)


@dataclass
class Exponents:
    """Linear equations among exponents, solved as they come."""

    order: dict[str, int] = field(default_factory=dict)  # symbols by first use
    solved: dict[str, dict[str, int]] = field(default_factory=dict)
    inputs_tied: bool = False

    def reduce(self, form: Form) -> dict[str, int]:
        """Return the form in symbols that are free."""
        found: dict[str, int] = {}
        for name, times in form.items():
            self.order.setdefault(name, len(self.order))
            for free, more in self.reduce(self.solved[name]).items() if name in self.solved else ((name, 1),):
                found[free] = found.get(free, 0) + times * more
        return {name: times for name, times in found.items() if times}

    def equate(self, one: Form, other: Form = {}) -> None:  # noqa: B006  # never changed
        """Demand that both are equal: the symbol used last gives way, a bias rather than the weights before it."""
        rest = self.reduce(_sum(one, other, -1))
        if not rest:
            return
        self.inputs_tied |= INPUTS in rest
        common = math.gcd(*rest.values())
        units = [name for name, times in rest.items() if abs(times) == common]
        if not units:  # no whole solution by one step: keep all of them
            self.solved |= {name: {} for name in rest}
            return
        last = max(units, key=lambda name: (name != INPUTS, self.order[name]))
        sign = rest.pop(last) // common
        self.solved[last] = {name: -sign * times // common for name, times in rest.items()}


class SizeWalk:
    """One pass through a network's program."""

    def __init__(self, tiny: float):
        self.tiny = tiny
        self.exponents = Exponents()
        self.margin, self.largest = math.inf, NONE
        self.results: list[tuple[Form, float]] = []

    def powers(self, lift: int) -> dict[str, int]:
        """Return exponents by which results come to lie around 2^lift, set in the order of sums and products."""
        largest: dict[tuple[tuple[str, int], ...], float] = {}
        for form, size in self.results:
            key = tuple(sorted(self.exponents.reduce(form).items()))
            largest[key] = max(size, largest.get(key, NONE))
        found: dict[str, int] = {}
        for form, size in largest.items():
            units = [name for name, times in form if name not in found and abs(times) == 1]
            if not units:
                continue
            last = max(units, key=lambda name: self.exponents.order[name])
            known = sum(times * found.setdefault(name, 0) for name, times in form if name != last)
            found[last] = dict(form)[last] * (lift - round(size + known))
        for name in self.exponents.order:
            form = self.exponents.reduce({name: 1})
            if name in self.exponents.solved:
                found[name] = sum(times * found.get(free, 0) for free, times in form.items())
        return found

    def run(self, jaxpr: Any, consts: Iterable[Any], arguments: Iterable[Value]) -> list[Value]:
        known = dict(zip(jaxpr.constvars, map(_constant, consts), strict=True))
        known |= zip(jaxpr.invars, arguments, strict=True)

        def read(atom: Any) -> Value:
            return _constant(atom.val) if hasattr(atom, "val") else known[atom]  # a literal, or a variable

        for equation in jaxpr.eqns:
            given = [read(atom) for atom in equation.invars]
            known |= zip(equation.outvars, self._apply(equation, given), strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def decide(self, *values: Value) -> None:
        """Return a decision is read off these values, or off their difference."""
        values = tuple(value for value in values if not value.nothing)
        if values:
            self._agree(values)
            self.margin = min(self.margin, max(v.size for v in values) - max(v.error for v in values))

    def _agree(self, values: Iterable[Value]) -> Form:
        values = [value for value in values if not value.nothing]
        for value in values[1:]:
            self.exponents.equate(values[0].form, value.form)
        return values[0].form if values else {}

    def _apply(self, equation: Any, given: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if (inner := called(equation)) is not None:
            return self.run(*inner, given)
        if name in ("cond", "scan", "while"):
            return self._loop(name, equation.params, given)
        outs = [self._result(name, equation, given) for _ in equation.outvars]
        for value in outs:
            if not value.nothing:
                self.largest = max(self.largest, value.size)
                if name in SUMS or name in PRODUCTS or value.form:
                    self.results.append((value.form, value.size))
        return outs

    def _loop(self, name: str, params: Any, given: list[Value]) -> list[Value]:
        """A choice is its branches together; what is carried through a loop keeps its exponents."""
        if name == "cond":
            branches = [self.run(each.jaxpr, each.consts, given[1:]) for each in params["branches"]]
            return [
                Value(self._agree(each), max(v.size for v in each), max(v.error for v in each))
                for each in zip(*branches, strict=True)
            ]
        if name == "scan":
            body, length = params["jaxpr"], min(params["length"], TURNS)
            first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
        else:
            body, length, skipped = params["body_jaxpr"], TURNS, params["cond_nconsts"]
            given, first, last = given[skipped:], params["body_nconsts"], len(given) - skipped
        carried, found = given[first:last], []
        for _ in range(length):
            found = self.run(body.jaxpr, body.consts, [*given[:first], *carried, *given[last:]])
            for before, after in zip(carried, found, strict=False):
                self._agree((before, after))
            carried = found[: last - first]
        return found

    def _result(self, name: str, equation: Any, given: list[Value]) -> Value:
        if name in COMPARISONS or name == "sign":
            self.decide(*given)
            return Value({}, 0.0, NONE)
        if name == "select_n":
            given = given[1:]
        elif name in ("gather", "dynamic_slice"):
            given = given[:1]
        elif name == "dynamic_update_slice":
            given = given[:2]
        if not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):  # an argmax, say
            self.decide(*given)
            for value in given:
                self.exponents.equate(value.form)
            return Value({}, 0.0, NONE)
        if all(value.nothing for value in given) and name in SAME | SUMS | PRODUCTS:
            return NOTHING
        if name in SAME:
            value = given[0]
            grown = math.log2(max(1.0, _entries(equation.invars[0]) / _entries(equation.outvars[0])))
            return _grown(value, grown / 2) if name in ("reduce_sum", "cumsum", "reduce_window_sum") else value
        if name in SUMS:
            return Value(self._agree(given), max(v.size for v in given), max(v.error for v in given))
        if name in PRODUCTS:
            return self._product(*given, terms=_terms(name, equation))
        if name == "square":
            return self._product(given[0], given[0])
        if name == "integer_pow" and 0 < equation.params["y"] < 16:
            value = given[0]
            for _ in range(equation.params["y"] - 1):
                value = self._product(value, given[0])
            return value
        if name == "div" and not given[1].nothing:
            return self._product(given[0], _inverse(given[1]))
        return self._curved(name, given)

    def _product(self, a: Value, b: Value, terms: float = 1.0) -> Value:
        if a.nothing or b.nothing:
            return NOTHING
        error = max(a.error + b.size, b.error + a.size, self.tiny)
        return _grown(Value(_sum(a.form, b.form), a.size + b.size, error), math.log2(max(terms, 1.0)) / 2)

    def _curved(self, name: str, given: list[Value]) -> Value:
        """A function that no power of two passes through."""
        for value in given:
            self.exponents.equate(value.form)
        size, error = (max((getattr(value, what) for value in given), default=NONE) for what in ("size", "error"))
        if name in _BOUNDED:
            if size > SATURATED and name not in ("sin", "tan"):  # only the sign is left
                self.decide(*given)
                return Value({}, 0.0, self.tiny)
            return Value({}, min(size, 0.0), error)
        if name in _AROUND_ONE:
            return Value({}, 0.0, error)
        if name in ("sqrt", "rsqrt"):
            sign = 1 if name == "sqrt" else -1
            return Value({}, sign * size / 2, error - size + sign * size / 2) if size > NONE else NOTHING
        return Value({}, 0.0 if size == NONE else size, error)


def called(equation: Any) -> tuple[Any, Any] | None:
    """Return the program and constants of an operation that only runs a program on its operands; None for any other."""
    inner = next((equation.params[key] for key in _CALLS if key in equation.params), None)
    if inner is None or equation.primitive.name in ("scan", "while"):
        return None
    jaxpr, consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
    return (jaxpr, consts) if len(jaxpr.invars) == len(equation.invars) else None


def _grown(value: Value, more: float) -> Value:
    """The value with a size and an error larger by ``more`` bits."""
    return Value(value.form, value.size + more, value.error + more)


def _inverse(value: Value) -> Value:
    return Value({name: -times for name, times in value.form.items()}, -value.size, value.error - 2 * value.size)


def _sum(one: Form, other: Form, times: int = 1) -> dict[str, int]:
    return {name: one.get(name, 0) + times * other.get(name, 0) for name in {**one, **other}}


def _constant(value: Any) -> Value:
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        return Value({}, 0.0, NONE)
    array = np.abs(np.asarray(value, np.float64))
    array = array[(array > 0) & (array < 2.0**HUGE)]  # no NaN
    return Value({}, math.log2(array.max()), NONE) if array.size else NOTHING


def _entries(atom: Any) -> int:
    return max(1, math.prod(atom.aval.shape))


def _terms(name: str, equation: Any) -> float:
    """How many products each entry of the result adds up."""
    if name == "mul":
        return 1.0
    shape = equation.invars[0 if name == "dot_general" else 1].aval.shape
    numbers = equation.params["dimension_numbers"]
    axes = numbers[0][0] if name == "dot_general" else numbers.rhs_spec[1:]
    return float(math.prod(shape[axis] for axis in axes))
