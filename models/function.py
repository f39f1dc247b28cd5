"""A user's own pure function as a model.

Shape letters: N inputs, F features below the head, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from volume.errors import unknown

from .adapters import (
    NUM_TRACED,
    abstract_arguments,
    as_columns,
    check_layout,
    checked_num_outputs,
    checked_shape,
    describe_adapter,
    failure,
    guess_parameters,
    qualified_name,
    traced_outputs,
    with_symmetry,
)
from .model import Head, Parameter, Params
from .symmetry import Symmetry
from .units import UnitSymmetry

Function = Callable[[Params, Array], Array]


@dataclass(frozen=True)
class FunctionModel:
    """A function of (parameters, inputs) behind the `Model` protocol; made by `from_function`, which checks it.

    Two are equal when they wrap the same function object and agree in every field.
    """

    function: Function
    parameters: tuple[Parameter, ...]
    input_shape: tuple[int, ...]
    num_outputs: int
    body: Function | None = None
    head: Head | None = None
    symmetry: Symmetry | None = None

    def features(self, params: Params, inputs: Array) -> Array:
        """Return activations below the head, [N, F]. ValueError if the model was made without ``features`` and
        ``head``."""
        if self.body is None:
            raise ValueError("This model has no head: from_function got no features= and head=.")
        return self.body(params, inputs)

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return outputs [N, C] for inputs [N, *input_shape]."""
        return as_columns(self.function(params, inputs))

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; the function itself is only named."""
        return describe_adapter("function", qualified_name(self.function), self)


def from_function(
    apply: Function,
    parameters: Mapping[str, Any] | Sequence[Parameter],
    *,
    input_shape: Sequence[int] | int,
    num_outputs: int = 1,
    features: Function | None = None,
    head: Head | str | tuple[str, str | None] | None = None,
    symmetry: Symmetry | Sequence[UnitSymmetry] | None = None,
) -> FunctionModel:
    """Make a model from a pure function ``apply(params, inputs)``.

    ``params`` is a flat dict, ``inputs`` is [N, *input_shape], and the outputs are [N] or [N, C].

    Args:
        apply: pure and traceable by JAX. Define it once: a lambda made anew for every call is a new model each
            time, and is compiled anew.
        parameters: name -> shape (of an array, the shape is taken and the values are not), or `Parameter`
            records. Of a bare shape, the kind is guessed by the last part of its name: "bias", "b", "b1", "beta"
            are biases, "scale", "gamma" scales, all others weights, with fan_in the product of all dimensions
            but the last (1 for an "embedding"). Layers are numbered by the order in which prefixes appear:
            "conv.kernel" and "conv.bias" are one layer, as are "w1" and "b1". ``model.parameters`` shows what
            was guessed; give records where it is not what you mean.
        input_shape: shape of one input.
        num_outputs: C.
        features: with ``head``, ``features(params, inputs) -> [N, F]``, which reads only parameters outside the
            head and for which ``apply == features @ weight + bias``. One body then serves many heads, which is
            far faster.
        head: names of the head's parameters: "out.weight", or ("out.weight", "out.bias"), or a `Head`.
        symmetry: sets of hidden units that can change places, as `UnitSymmetry` records; a query that counts each
            network once (``symmetry="quotient"``) needs them. They are tried on random parameters.

    Raises:
        TypeError: no function, or one that cannot be hashed.
        ValueError: no parameters, a bad shape or kind, a function that fails or whose outputs have the wrong shape,
            ``features`` that do not fit the head or do not give what ``apply`` gives, a ``symmetry`` that changes
            the function. All at construction.
    """
    _check_function("apply", apply)
    shape = checked_shape("input_shape", input_shape)
    num_outputs = checked_num_outputs(num_outputs)
    records = _checked_parameters(parameters)
    if isinstance(parameters, Mapping):  # where fan_in is a guess from the shapes
        check_layout(records, shape)
    what = f"The function {qualified_name(apply)}"
    traced_outputs(what, apply, records, shape, num_outputs)
    if (features is None) != (head is None):
        named, missing = ("features", "head") if head is None else ("head", "features")
        raise ValueError(f"{named}= was given without {missing}=; give both or neither.")
    if features is None or head is None:
        return with_symmetry(FunctionModel(apply, records, shape, num_outputs), symmetry)
    _check_function("features", features)
    model = FunctionModel(apply, records, shape, num_outputs, features, _checked_head(head, records, num_outputs))
    _check_features(model)
    return with_symmetry(model, symmetry)


def _check_function(name: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{name} is {function!r}; give a function of (params, inputs).")
    try:
        hash(function)
    except TypeError:
        raise TypeError(
            f"{name} is a {type(function).__name__} that cannot be hashed, as JAX needs it to be; "
            "give a plain function."
        ) from None


def _checked_parameters(parameters: Any) -> tuple[Parameter, ...]:
    if isinstance(parameters, Mapping):
        records = guess_parameters(
            {str(name): checked_shape(f"The shape of {name!r}", shape) for name, shape in parameters.items()}
        )
    elif isinstance(parameters, Sequence) and all(isinstance(p, Parameter) for p in parameters):
        records = tuple(parameters)
    else:
        raise TypeError(
            "parameters must map names to shapes, for example {'w': (7, 1), 'b': (1,)}, or list Parameter records; "
            f"got {parameters!r}."
        )
    if not records:
        raise ValueError("parameters is empty; a model needs at least one.")
    seen: set[str] = set()
    for parameter in records:
        if parameter.name in seen:
            raise ValueError(f"Two parameters have the name {parameter.name!r}; rename one.")
        seen.add(parameter.name)
        checked_shape(f"The shape of {parameter.name!r}", parameter.shape)
        if parameter.kind not in ("weight", "bias", "scale"):
            raise ValueError(unknown("kind of parameter", parameter.kind, ("weight", "bias", "scale")))
        if parameter.fan_in < 1 or parameter.layer < 0:
            raise ValueError(
                f"Parameter {parameter.name!r} has fan_in {parameter.fan_in} and layer {parameter.layer}; "
                "give a fan_in of at least 1 and a layer of at least 0."
            )
    return records


def _checked_head(head: Head | str | tuple[str, str | None], records: tuple[Parameter, ...], num_outputs: int) -> Head:
    if isinstance(head, Head):
        weight, bias = head.weight, head.bias
    elif isinstance(head, str):
        weight, bias = head, None
    else:
        weight, bias = head
    by_name = {p.name: p for p in records}
    for name in (weight, *(() if bias is None else (bias,))):
        if name not in by_name:
            raise ValueError(unknown("parameter of the head", name, by_name))
    shape = by_name[weight].shape
    if len(shape) != 2 or shape[1] != num_outputs:
        raise ValueError(f"The head's weight {weight!r} has shape {shape}; expected (features, {num_outputs}).")
    if bias is not None and by_name[bias].shape != (num_outputs,):
        raise ValueError(f"The head's bias {bias!r} has shape {by_name[bias].shape}; expected ({num_outputs},).")
    if isinstance(head, Head) and head.num_features != shape[0]:
        raise ValueError(
            f"The head names {head.num_features} features but {weight!r} has shape {shape}; give {shape[0]}."
        )
    return Head(weight, bias, shape[0])


def _check_features(model: FunctionModel) -> None:
    """Shapes first, then one small evaluation: features of the wrong layer would give wrong volumes silently."""
    head, body = model.head, model.body
    assert head is not None
    assert body is not None
    outside = tuple(p for p in model.parameters if p.name not in (head.weight, head.bias))
    params, inputs = abstract_arguments(outside, model.input_shape)
    try:
        shape = tuple(jax.eval_shape(body, params, inputs).shape)
    except KeyError as error:
        raise ValueError(
            f"features reads the parameter {error}, which it does not get: it may read only those outside the head, "
            f"{', '.join(params) or 'none here'}."
        ) from error
    except Exception as error:
        raise failure("features", inputs, error) from error
    if shape != (NUM_TRACED, head.num_features):
        raise ValueError(
            f"features returned shape {shape} for {NUM_TRACED} inputs; expected {(NUM_TRACED, head.num_features)}, "
            f"as the head's weight {head.weight!r} has {head.num_features} rows."
        )
    rng = np.random.default_rng(0)
    values = {
        p.name: jnp.asarray(rng.normal(p.kind == "scale", 1 / math.sqrt(p.fan_in), p.shape), jnp.float32)
        for p in model.parameters
    }
    points = jnp.asarray(rng.normal(size=(NUM_TRACED, *model.input_shape)), jnp.float32)

    def both(params: Params, points: Array) -> tuple[Array, Array]:
        through_head = body({p.name: params[p.name] for p in outside}, points) @ params[head.weight]
        if head.bias is not None:
            through_head = through_head + params[head.bias]
        return model.apply(params, points), through_head

    with jax.default_matmul_precision("highest"):
        direct, through_head = (np.asarray(a, np.float64) for a in jax.jit(both)(values, points))
    finite = np.isfinite(direct)
    size = np.max(np.abs(direct), where=finite, initial=0.0)
    # Rounding leaves about 1e-6; another layer's features or a forgotten bias differ by about 1.
    if not np.allclose(direct[finite], through_head[finite], rtol=0, atol=1e-3 * size):
        gap = np.max(np.abs(direct[finite] - through_head[finite]))
        raise ValueError(
            f"features @ {head.weight!r} differs from apply by up to {gap:.3g} on random parameters; features must "
            "return what the last layer multiplies, and head must name its bias where there is one."
        )
