"""Where the numbers of a network lie: whether a format holds them, and powers of two that bring them there.

A float32 is 0 below 1.2e-38 (CPUs flush what is smaller) and infinite above 3.4e38, and a decision read off such a
number is none. Two facts are read off the network's own program (its jaxpr), operation by operation, on typical sizes:

* *Errors.* A product may lose 2^-126, and what it loses is carried along like any error. Decisions (the outputs', and
  comparisons on the way) need sizes well above what was lost, and no size near the largest number.
* *Exponents.* Multiply parameter p by 2^k_p and the inputs by 2^k_x, and a product's result is multiplied by the sum of
  its factors' exponents, a sum's if those of its terms agree, a tanh's if that of its argument is 0. Where these
  equations leave some exponents free the network can be rescaled: powers of two are exact, and every decision stays.
  Without biases all of relu networks are free; a bias has the exponent of the sum that it goes to.

Sizes are base-2 logarithms of a typical absolute value; -inf stands for what is exactly 0, which fits any exponent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .adapters import abstract_arguments
from .model import Model

INPUTS = ""  # the symbol of the inputs; parameters go by their names
NONE = -math.inf
HUGE = 100.0  # constants from 2^100 on are masks: no sizes
# Between a decision and what was lost, beyond the mantissa: below SAFE bits a draw in a thousand might be another one,
# above EASY even the smallest of all normals (2^-24) times itself leaves every bit as it is.
SAFE_BITS, EASY_BITS = 10, 40
TURNS = 64  # of a loop that are followed
SATURATED = 4.0  # of such an argument tanh, erf and atan give a constant
SAFE_ROOM, EASY_ROOM = 10, 30  # bits below the largest number

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


class Ranges(NamedTuple):
    """How to compute a network's decisions, and whether they can be computed."""

    powers: Mapping[str, int]  # multiply this parameter by 2^power
    row_powers: np.ndarray  # [N] int: multiply each input by 2^power
    safe: bool  # typical draws are decided to rounding; False: look at each

    @property
    def scaled(self) -> bool:
        return any(self.powers.values()) or bool(self.row_powers.any())


def examine_ranges(
    model: Model,
    sizes: Mapping[str, float],
    rows: np.ndarray,
    dtype: Any,
    *,
    least: Mapping[str, float] | None = None,
    fixed_outputs: bool = False,
    rescale: bool = True,
) -> Ranges:
    """Find out whether ``dtype`` holds the numbers of a network, and rescale it where it does not.

    Args:
        model: the network.
        sizes: of every parameter under its prior, log2; -inf for one that is always 0.
        rows: of every input [N], log2.
        dtype: float32 or float64.
        least: of parameters that may as well have this size, log2.
        fixed_outputs: the outputs are needed as they are, not only up to a positive factor.
        rescale: whether powers of two may be looked for.
    """
    info = np.finfo(dtype)
    tiny, top = math.log2(info.tiny), float(info.maxexp)
    kinds = sorted(set(rows[rows > NONE]))
    kinds = ([kinds[0], kinds[-1]] if kinds else []) + [NONE] * bool((rows == NONE).any())
    still = np.zeros(len(rows), int)

    def walks(powers: Mapping[str, int], inputs: Iterable[float]) -> list[_Walk]:
        found = []
        for each in (sizes, {**sizes, **least}) if least else (sizes,):
            moved = {name: size + powers.get(name, 0) for name, size in each.items()}
            found += [_walk(model, moved, one, tiny, fixed_outputs) for one in dict.fromkeys(inputs)]
        return found

    plain = walks({}, kinds)
    best = Ranges({}, still, bool(_room(plain, info.nmant, top) >= 0))
    most = _room(plain, info.nmant, top, easy=True)
    if most >= 0 or not rescale:
        return best
    # Results around 1, or, where what is small matters, halfway up to the largest number.
    for lift, by_row in itertools.product((0, info.maxexp // 2), (False, True)):
        largest = 0.0 if by_row else max((size for size in kinds if size > NONE), default=NONE)
        first = _walk(model, sizes, largest, tiny, fixed_outputs)
        if by_row and first.exponents.inputs_tied:
            continue
        powers = first.powers(lift)
        move = powers.pop(INPUTS, 0)
        moves = np.where(rows > NONE, move - (np.floor(np.where(rows > NONE, rows, 0)) if by_row else 0), 0).astype(int)
        after = walks(powers, [0.0 if by_row and one > NONE else one + move for one in kinds])
        room = _room(after, info.nmant, top, easy=True)
        if room > most:
            best, most = Ranges(powers, moves, bool(_room(after, info.nmant, top) >= 0)), room
        if most >= 0:
            break
    return best


def _room(walks: list[_Walk], mantissa: int, top: float, *, easy: bool = False) -> float:
    """Bits to spare in the worst of these walks."""
    bits, room = (EASY_BITS, EASY_ROOM) if easy else (SAFE_BITS, SAFE_ROOM)
    if any(walk.largest >= top for walk in walks):  # overflow: nothing is worse
        return NONE
    return min(min(walk.margin - mantissa - bits, top - room - walk.largest) for walk in walks)


@dataclass
class _Exponents:
    """Linear equations among exponents, solved as they come."""

    order: dict[str, int] = field(default_factory=dict)  # symbols by first use
    solved: dict[str, dict[str, int]] = field(default_factory=dict)
    inputs_tied: bool = False

    def reduce(self, form: Form) -> dict[str, int]:
        """The form in symbols that are free."""
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


class _Walk:
    """One pass through a network's program."""

    def __init__(self, tiny: float):
        self.tiny = tiny
        self.exponents = _Exponents()
        self.margin, self.largest = math.inf, NONE
        self._results: list[tuple[Form, float]] = []

    def powers(self, lift: int) -> dict[str, int]:
        """Exponents by which results come to lie around 2^lift, set in the order of sums and products."""
        largest: dict[tuple[tuple[str, int], ...], float] = {}
        for form, size in self._results:
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
        """A decision is read off these values, or off their difference."""
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
                    self._results.append((value.form, value.size))
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
    """The program and constants of an operation that only runs a program on its operands; None for any other."""
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


@lru_cache(maxsize=64)
def program(model: Model) -> Any:
    """The program of ``model.apply`` for one input, a closed jaxpr of parameters in their order and the inputs."""
    params, inputs = abstract_arguments(model.parameters, model.input_shape, 1)
    names = tuple(params)

    def apply(leaves: list[Any], inputs: Any) -> Any:
        return model.apply(dict(zip(names, leaves, strict=True)), inputs)

    return jax.make_jaxpr(apply)(list(params.values()), inputs)


def _walk(model: Model, sizes: Mapping[str, float], inputs: float, tiny: float, fixed_outputs: bool) -> _Walk:
    closed, walk = program(model), _Walk(tiny)
    values = [Value({p.name: 1}, sizes[p.name], tiny) for p in model.parameters] + [Value({INPUTS: 1}, inputs, tiny)]
    values = [NOTHING if value.nothing else value for value in values]
    for value in values:
        if not value.nothing:
            walk.largest = max(walk.largest, value.size)
    if not values[-1].nothing:
        walk._results.append(values[-1][:2])
    walk.exponents.reduce({INPUTS: 1})
    outputs = walk.run(closed.jaxpr, closed.consts, values)
    walk.decide(*outputs)
    if fixed_outputs:
        for value in outputs:
            walk.exponents.equate(value.form)
    return walk
