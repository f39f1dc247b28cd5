"""A traced function evaluated operation by operation in NumPy: what a compiled program's values are held to.

Nothing is compiled: the function's own program (its jaxpr) is followed, and only operations that NumPy has no word for
(convolutions, loops) are left to JAX, one at a time. Rounding is asked for by noise: every operation's result is moved
at random by some roundings of its terms, so that a few evaluations show what rounding can change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from volume.common import threefry

from .size_walk import COMPARISONS, SAME, SUMS, called

ROUNDINGS = 4.0  # of each result, by which noise moves it at most; times the root of the number of terms of a sum


class Plain:
    """A function of arrays, traced once.

    Args:
        function: traceable by JAX.
        example: arguments of the shapes and dtypes to come.
        coarse: relative rounding of the factors of a matrix product, where the hardware shortens them.
    """

    def __init__(self, function: Callable[..., Any], example: Sequence[Any], coarse: float = 0.0):
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), _dtype(leaf)), tuple(example))
        self._program: Any
        with np.errstate(all="ignore"):  # a constant of the function may not fit into the format
            self._program, value = jax.make_jaxpr(function, return_shape=True)(*shapes)
        self.structure = jax.tree.structure(value)
        self._coarse = coarse
        self.overflow = False  # whether a number of the last evaluation came near the largest one

    def __call__(self, arguments: Sequence[Any], noise: float = 0.0, seed: int = 0, first: int = 0) -> list[np.ndarray]:
        """Evaluate the function.

        Args:
            arguments: arrays; no keys, but ``jax.random.key_data`` of them.
            noise: move every result by so many times `ROUNDINGS`.
            seed: of the noise.
            first: take each random number as the one so many places further on from the same key.

        Returns:
            The leaves of its value.
        """
        chance = np.random.default_rng(seed) if noise else None
        evaluation = _Evaluation(chance, noise, self._coarse, first)
        given = [evaluation.moved(np.asarray(leaf)) for leaf in jax.tree.leaves(tuple(arguments))]
        with np.errstate(all="ignore"):
            values = evaluation.run(self._program.jaxpr, self._program.consts, given)
        self.overflow = evaluation.overflow
        return values


def plainly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Give a function's value, any tree of arrays; nothing is compiled."""
    plain = Plain(function, arguments)
    return jax.tree.unflatten(plain.structure, plain(arguments))


class _Evaluation:
    def __init__(self, chance: np.random.Generator | None, noise: float, coarse: float, first: int):
        self._chance, self._noise, self._coarse, self._first = chance, noise, coarse, first
        self.overflow = False

    def run(self, jaxpr: Any, consts: Iterable[Any], arguments: Iterable[Any]) -> list[np.ndarray]:
        known = dict(zip(jaxpr.constvars, map(_constant, consts), strict=True))
        known |= zip(jaxpr.invars, arguments, strict=True)

        def read(atom: Any) -> np.ndarray:
            return _constant(atom.val).astype(atom.aval.dtype) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            known |= zip(equation.outvars, self._apply(equation, [read(x) for x in equation.invars]), strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def moved(self, value: np.ndarray, size: Any = None, rounding: float = 0.0) -> np.ndarray:
        """Give a value moved by noise in proportion to the ``size`` of its terms (default: its own)."""
        if self._chance is None or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        info = jnp.finfo(value.dtype)
        wide = np.asarray(value, np.float64)
        size = np.abs(wide) if size is None else np.asarray(size, np.float64)
        step = self._noise * ROUNDINGS * (max(float(info.eps), rounding) * size + float(info.tiny))
        step = np.where(np.isfinite(wide) & np.isfinite(step), step, 0)
        # What is 0 because none of its terms is anything stays: no rounding makes something of it.
        return (wide + self._chance.uniform(-1, 1, wide.shape) * np.where(size == 0, 0, step)).astype(value.dtype)

    def _apply(self, equation: Any, given: list[np.ndarray]) -> list[np.ndarray]:
        name, params = equation.primitive.name, equation.params
        if (inner := called(equation)) is not None:
            return self.run(*inner, given)
        if name == "cond":
            branches = params["branches"]
            branch = branches[int(np.clip(given[0], 0, len(branches) - 1))]
            return self.run(branch.jaxpr, branch.consts, given[1:])
        if name == "random_bits":
            return [threefry.bits(given[0], params["bit_width"], params["shape"], self._first)]
        types = [variable.aval.dtype for variable in equation.outvars]
        working = [_working(one) for one in given]
        if name in _SEVERAL:
            return [np.asarray(one, t) for one, t in zip(_SEVERAL[name](params, *working), types, strict=True)]
        result = None if name not in _NUMPY else _NUMPY[name](params, *working)
        if result is None:
            result = equation.primitive.bind(*given, **params)
        if equation.primitive.multiple_results:
            values = [np.asarray(one) for one in result]
        else:
            values = [np.asarray(result) if _is_key(types[0]) else np.asarray(result).astype(types[0])]
        if not jnp.issubdtype(types[0], jnp.floating):
            return values
        held = all(np.isfinite(one).all() for one in working if np.issubdtype(one.dtype, np.floating))
        for value in values:
            finite = np.isfinite(_working(value))
            largest = np.max(np.abs(_working(value)), where=finite, initial=0)
            self.overflow |= bool(largest > float(jnp.finfo(value.dtype).max) * 1e-4) or (held and not finite.all())
        if name in _MOVES or self._chance is None:
            return values
        return [self.moved(value, *_terms(name, params, working, value, self._coarse)) for value in values]


def _terms(name: str, params: Any, given: list[np.ndarray], value: np.ndarray, coarse: float) -> tuple[Any, float]:
    """The size of the terms of a result, and the rounding of its factors where that is coarse."""
    if name in ("add", "add_any", "sub"):
        return np.abs(given[0]) + np.abs(given[1]), 0.0
    if name in ("reduce_sum", "cumsum"):
        return _NUMPY[name](params, np.abs(given[0])) * _root(given[0].size / max(1, value.size)), 0.0
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        root = _root(math.prod(given[0].shape[axis] for axis in contracted))
        return _dot(params, np.abs(given[0]), np.abs(given[1])) * root, coarse
    if name in _ENTRIES:
        return None, 0.0
    return np.max(np.abs(value), initial=0), coarse  # a convolution or a loop: by its largest number


def _constant(value: Any) -> np.ndarray:
    keys = hasattr(value, "dtype") and _is_key(value.dtype)
    return threefry.keys_of(np.asarray(jax.random.key_data(value))) if keys else np.asarray(value)


def _is_key(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _root(terms: float) -> float:
    return math.sqrt(max(1.0, terms))


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _working(value: np.ndarray) -> np.ndarray:
    """NumPy multiplies no short floats."""
    short = jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize < 4
    return value.astype(np.float32) if short else value


def _dot(params: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    ((of_a, of_b), (batch_a, batch_b)) = params["dimension_numbers"]
    free_a = [axis for axis in range(a.ndim) if axis not in (*of_a, *batch_a)]
    free_b = [axis for axis in range(b.ndim) if axis not in (*of_b, *batch_b)]
    batch = [a.shape[axis] for axis in batch_a]
    rows, columns = [a.shape[axis] for axis in free_a], [b.shape[axis] for axis in free_b]
    terms = math.prod(a.shape[axis] for axis in of_a)
    left = a.transpose(*batch_a, *free_a, *of_a).reshape(*batch, math.prod(rows), terms)
    right = b.transpose(*batch_b, *of_b, *free_b).reshape(*batch, terms, math.prod(columns))
    return np.matmul(left, right).reshape((*batch, *rows, *columns))


def _gather(params: Any, operand: np.ndarray, indices: np.ndarray) -> np.ndarray | None:
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    fills = "FILL" in str(params["mode"]) and operand.size
    last = np.array([operand.shape[axis] - sizes[axis] for axis in numbers.start_index_map], np.int64)
    starts = indices.reshape(-1, indices.shape[-1]).astype(np.int64)
    outside = ((starts < 0) | (starts > last)).any()
    if getattr(numbers, "operand_batching_dims", ()) or (fills and outside):
        return None
    rows = []
    for start in np.clip(starts, 0, last):
        at = [slice(0, size) for size in sizes]
        for axis, first in zip(numbers.start_index_map, start, strict=True):
            at[axis] = slice(first, first + sizes[axis])
        rows.append(operand[tuple(at)].squeeze(tuple(numbers.collapsed_slice_dims)))
    batch = indices.shape[:-1]
    kept = [size for axis, size in enumerate(sizes) if axis not in numbers.collapsed_slice_dims]
    result = np.array(rows, operand.dtype).reshape((*batch, *kept))
    ends = range(len(batch), result.ndim)
    return np.moveaxis(result, list(ends), list(numbers.offset_dims))


def _broadcast(params: Any, x: np.ndarray) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _pad(params: Any, x: np.ndarray, value: np.ndarray) -> np.ndarray | None:
    widths = params["padding_config"]
    if any(low < 0 or high < 0 or between for low, high, between in widths):
        return None
    return np.pad(x, [(low, high) for low, high, _ in widths], constant_values=value)


def _iota(params: Any, *_: Any) -> np.ndarray:
    shape = [-1 if axis == params["dimension"] else 1 for axis in range(len(params["shape"]))]
    return np.broadcast_to(np.arange(params["shape"][params["dimension"]]).reshape(shape), params["shape"])


def _slice(params: Any, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or [1] * x.ndim
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _dynamic_slice(params: Any, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    firsts = [int(np.clip(s, 0, n - size)) for s, n, size in zip(starts, x.shape, params["slice_sizes"], strict=True)]
    return x[tuple(slice(first, first + size) for first, size in zip(firsts, params["slice_sizes"], strict=True))]


def _cumulative(function: Callable[..., Any]) -> Callable[..., Any]:
    def along(params: Any, x: np.ndarray) -> np.ndarray:
        axis = params["axis"]
        return np.flip(function(np.flip(x, axis), axis), axis) if params["reverse"] else function(x, axis)

    return along


def _along_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, x, **more: function(x, axis=tuple(params["axes"]), **more)


def _entrywise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, *xs: function(*xs)


def _shift_right(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    unsigned = f"uint{8 * x.dtype.itemsize}"
    return np.right_shift(x.view(unsigned), by.view(unsigned)).view(x.dtype)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.fix(a / b) if np.issubdtype(a.dtype, np.integer) else a / b


def _sort(params: Any, *xs: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(xs[0], axis=params["dimension"], kind="stable")
    return [np.take_along_axis(x, order, params["dimension"]) for x in xs]


def _split(params: Any, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(params["sizes"])[:-1], axis=params["axis"])


_ENTRIES: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("abs", "exp", "exp2", "expm1", "log", "log1p", "sqrt", "cbrt", "sign")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "tanh", "sinh", "cosh", "floor", "ceil", "square")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    **{"add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "rem": np.fmod},
    **{"max": np.maximum, "min": np.minimum, "neg": np.negative, "pow": np.power, "atan2": np.arctan2},
    **{"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater},
    **{"ge": np.greater_equal, "is_finite": np.isfinite, "stop_gradient": np.asarray, "copy": np.asarray},
    **{"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert},
    **{"erf": special.erf, "erfc": special.erfc, "erf_inv": special.erfinv, "logistic": special.expit},
    **{"lgamma": special.gammaln, "shift_left": np.left_shift, "shift_right_logical": _shift_right},
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "clamp": lambda low, x, high: np.clip(x, low, high),
}
_NUMPY: dict[str, Callable[..., Any]] = {
    **{name: _entrywise(function) for name, function in _ENTRIES.items()},
    "integer_pow": lambda params, x: x ** float(params["y"]) if params["y"] < 0 else x ** params["y"],
    "select_n": lambda _, which, *cases: np.where(which, *cases[::-1]) if len(cases) == 2 else np.choose(which, cases),
    "convert_element_type": lambda params, x: x,  # every result is cast to its type
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, x: None if params.get("dimensions") else x.reshape(params["new_sizes"]),
    "squeeze": lambda params, x: x.squeeze(tuple(params["dimensions"])),
    "expand_dims": lambda params, x: np.expand_dims(x, tuple(params["dimensions"])),
    "transpose": lambda params, x: x.transpose(params["permutation"]),
    "concatenate": lambda params, *xs: np.concatenate(xs, axis=params["dimension"]),
    "rev": lambda params, x: np.flip(x, tuple(params["dimensions"])),
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "iota": _iota,
    "gather": _gather,
    "dot_general": _dot,
    "bitcast_convert_type": lambda params, x: x.view(params["new_dtype"]),
    "random_wrap": lambda params, x: threefry.keys_of(x),
    "random_unwrap": lambda params, keys: threefry.words(keys),
    "random_split": lambda params, keys: threefry.split(keys, params["shape"]),
    "random_fold_in": lambda params, keys, data: threefry.fold_in(keys, data),
    "reduce_sum": _along_axes(np.sum),
    "reduce_prod": _along_axes(np.prod),
    "reduce_max": _along_axes(np.max),
    "reduce_min": _along_axes(np.min),
    "reduce_and": _along_axes(np.all),
    "reduce_or": _along_axes(np.any),
    "argmax": lambda params, x: np.argmax(x, axis=params["axes"][0]),
    "argmin": lambda params, x: np.argmin(x, axis=params["axes"][0]),
    "cumsum": _cumulative(np.cumsum),
    "cummax": _cumulative(np.maximum.accumulate),
    "cummin": _cumulative(np.minimum.accumulate),
}
_SEVERAL: dict[str, Callable[..., Any]] = {
    "sort": _sort,
    "split": _split,
    "optimization_barrier": lambda _, *xs: xs,
}
# What takes, moves or compares numbers and rounds none.
_MOVES = (SAME | SUMS | COMPARISONS | {"sign", "floor", "ceil", "clamp", "iota"}) - {
    "add", "add_any", "sub", "reduce_sum", "cumsum", "reduce_window_sum",
}  # fmt: skip
