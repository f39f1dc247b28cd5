"""What adapters of a user's own network share: guesses about its parameters and checks of its outputs.

Shape letters: N inputs, C outputs.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from volume.errors import unknown

from .model import Kind, Model, Parameter, Params
from .symmetry import Symmetry
from .units import UnitSymmetry

AnyModel = TypeVar("AnyModel", bound=Any)

_BIAS = {"bias", "beta", "offset"}
_SCALE = {"scale", "gamma"}
_KIND_WORDS = _BIAS | _SCALE | {"b", "w", "weight", "weights", "kernel"}

# A shape is checked with this many inputs: a number that is rarely a width, so that [C, N] is not mistaken for [N, C].
NUM_TRACED = 11


def guess_kind(name: str) -> Kind:
    """Return the kind by the last part of a name: "out.bias" and "b1" are biases, "norm.scale" a scale, others
    weights."""
    words = _words(_last(name))
    if "bias" in words or words[:1] == ["b"] or words[-1:] in (["beta"], ["offset"]):
        return "bias"
    return "scale" if words and words[-1] in _SCALE else "weight"


def guess_parameters(
    shapes: Mapping[str, tuple[int, ...]], fan_in: Mapping[str, int] | None = None
) -> tuple[Parameter, ...]:
    """Return records for named shapes, in their order.

    A weight's ``fan_in`` is the one given, else the product of all its dimensions but the last, the terms of one sum in
    ``x @ weight``; a table that is looked up (named "embedding") adds nothing up: 1. A layer is the parameters of one
    module, those whose names differ only in the last part ("2.weight", "2.bias"), or only in the word for their kind
    ("w1", "b1"); layers are numbered in the order of their first parameter.
    """
    layers: dict[tuple[str, str], int] = {}
    listed = []
    for name, shape in shapes.items():
        layer = layers.setdefault(_layer_of(name), len(layers))
        kind = guess_kind(name)
        looked_up = "embedding" in _words(_last(name))
        terms = 1 if looked_up else (fan_in or {}).get(name) or math.prod(shape[:-1])
        listed.append(Parameter(name, shape, kind, terms, layer))
    # A bias and a scale belong to the sum that their layer's weight makes: its fan-in, for priors that want it.
    largest = {p.layer: p.fan_in for p in listed if p.kind == "weight"}
    return tuple(p if p.kind == "weight" else replace(p, fan_in=largest.get(p.layer, 1)) for p in listed)


def check_layout(records: tuple[Parameter, ...], input_shape: tuple[int, ...]) -> None:
    """Raise ValueError for matrices that by their shapes are [out, in], so that fan_in would be guessed wrongly.

    They are where a bias is as long as the first dimension and not as the last, or where the first matrix takes the
    inputs by its last dimension and not by its first.
    """
    matrices = [p for p in records if p.kind == "weight" and len(p.shape) == 2]
    biases = {p.layer: p.shape for p in records if p.kind == "bias" and len(p.shape) == 1}
    turned = [p for p in matrices if p.shape[0] != p.shape[1] and biases.get(p.layer) == p.shape[:1]]
    if matrices and not biases and input_shape == matrices[0].shape[1:] != matrices[0].shape[:1]:
        turned.append(matrices[0])
    if turned:
        name, shape = turned[0].name, turned[0].shape
        raise ValueError(
            f"{name!r} has the shape {shape}, which looks like [out, in], as in PyTorch and Equinox; fan_in is guessed "
            "for x @ weight, [in, out]. Keep matrices as [in, out], or list volume.models.Parameter records, which say "
            "their fan_in."
        )


def replace_parameters(guessed: tuple[Parameter, ...], parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Return the guesses, with the user's own records in place of those of the same name.

    ValueError for a name that is not there or another shape, TypeError for anything but records.
    """
    by_name = {p.name: p for p in guessed}
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters holds {parameter!r}; give volume.models.Parameter records.")
        if parameter.name not in by_name:
            raise ValueError(unknown("parameter", parameter.name, by_name))
        if by_name[parameter.name].shape != parameter.shape:
            raise ValueError(
                f"parameters gives {parameter.name!r} the shape {parameter.shape}; the module's has "
                f"{by_name[parameter.name].shape}: give the same."
            )
        by_name[parameter.name] = parameter
    return tuple(by_name.values())


def flat_names(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a nested mapping as a flat one, names joined by dots: "conv1.kernel". Flat already: returned as it is.

    ValueError when two paths make one name.
    """
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                walk(f"{prefix}.{key}" if prefix else str(key), child)
        elif prefix in flat:
            raise ValueError(f"Two parameters have the name {prefix!r}; rename one of the modules.")
        else:
            flat[prefix] = node

    walk("", tree)
    return flat


def checked_shape(what: str, shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of ints of at least 1; an int n is (n,), and of an array the shape is taken."""
    shape = getattr(shape, "shape", shape)
    sizes = (shape,) if isinstance(shape, numbers.Integral) else shape
    if (
        isinstance(sizes, str)
        or not isinstance(sizes, Sequence)
        or any(isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1 for n in sizes)
    ):
        raise ValueError(f"{what} is {shape!r}; give a tuple of whole numbers of at least 1, for example (7,).")
    return tuple(int(n) for n in sizes)


def checked_num_outputs(num_outputs: Any) -> int:
    """Return a whole number of at least 1, or ValueError."""
    if isinstance(num_outputs, bool) or not isinstance(num_outputs, numbers.Integral) or num_outputs < 1:
        raise ValueError(f"num_outputs is {num_outputs!r}; give a whole number of at least 1.")
    return int(num_outputs)


def abstract_arguments(
    parameters: Iterable[Parameter], input_shape: tuple[int, ...], num_inputs: int = NUM_TRACED
) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Return parameters and inputs [N, *input_shape] as shapes without numbers, float32."""
    params = {p.name: jax.ShapeDtypeStruct(p.shape, jnp.float32) for p in parameters}
    return params, jax.ShapeDtypeStruct((num_inputs, *input_shape), jnp.float32)


def failure(what: str, inputs: jax.ShapeDtypeStruct, error: Exception) -> ValueError:
    """Return the sentence for a user's code that raised on inputs of the declared shape."""
    message = str(error).strip().splitlines() or [""]
    return ValueError(
        f"{what} failed on parameters and inputs {inputs.shape} of {inputs.dtype}, "
        f"with {type(error).__name__}: {message[0]}"
    )


def checked_outputs(what: str, outputs: Any, num_inputs: int, num_outputs: int | None) -> int:
    """Return C, read off the outputs of ``num_inputs`` inputs; ValueError unless they are floats [N, C], or [N] with C
    = 1."""
    wanted = "C" if num_outputs is None else str(num_outputs)
    expected = f"({num_inputs}, {wanted})"
    if num_outputs in (None, 1):
        expected = f"({num_inputs},) or {expected}"
    expected += f", a row for each of the {num_inputs} inputs"
    if not hasattr(outputs, "shape") or not hasattr(outputs, "dtype"):
        raise ValueError(f"{what} returned a {type(outputs).__name__}; expected one array {expected}.")
    shape = tuple(outputs.shape)
    columns = shape[1] if len(shape) == 2 else 1
    fits = len(shape) in (1, 2) and shape[0] == num_inputs and columns > 0
    if not fits or (num_outputs is not None and columns != num_outputs):
        raise ValueError(f"{what} returned outputs of shape {shape}; expected {expected}: change it, or num_outputs.")
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise ValueError(
            f"{what} returned {outputs.dtype}; expected floating-point outputs, before any decision is taken."
        )
    return columns


def traced_outputs(
    what: str,
    function: Callable[[Params, Array], Any],
    parameters: Iterable[Parameter],
    input_shape: tuple[int, ...],
    num_outputs: int | None,
) -> int:
    """C of a function of parameters and inputs, by shapes alone. ValueError if it fails or its outputs do not fit."""
    num_inputs = NUM_TRACED if num_outputs != NUM_TRACED else NUM_TRACED + 2
    params, inputs = abstract_arguments(parameters, input_shape, num_inputs)
    try:
        outputs = jax.eval_shape(function, params, inputs)
    except Exception as error:
        raise failure(what, inputs, error) from error
    return checked_outputs(what, outputs, num_inputs, num_outputs)


def check_outputs(model: Model) -> None:
    """ValueError unless ``model.apply`` gives floats [N, C] for inputs [N, *input_shape]; only shapes are traced."""
    what = f"apply of {type(model).__name__}"
    traced_outputs(what, model.apply, model.parameters, model.input_shape, model.num_outputs)


def with_symmetry(model: AnyModel, symmetry: Symmetry | Sequence[UnitSymmetry] | None) -> AnyModel:
    """Return the model with these parameter symmetries declared (None: with none). ValueError where they do not
    hold."""
    if symmetry is None:
        return model
    declared = Symmetry.of(symmetry)
    declared.check(model)
    return replace(model, symmetry=declared)


def as_columns(outputs: Array) -> Array:
    """[N] as [N, 1]."""
    return outputs[:, None] if outputs.ndim == 1 else outputs


def describe_adapter(name: str, wrapped: str, model: Model) -> dict[str, Any]:
    """Return a JSON-able record of a network that cannot be made again from it."""
    head = model.head
    return {
        "name": name,
        "wrapped": wrapped,
        "input_shape": list(model.input_shape),
        "num_outputs": model.num_outputs,
        "parameters": [
            {"name": p.name, "shape": list(p.shape), "kind": p.kind, "fan_in": p.fan_in, "layer": p.layer}
            for p in model.parameters
        ],
        "head": None if head is None else {"weight": head.weight, "bias": head.bias},
    }


def qualified_name(thing: Any) -> str:
    """Module and name of a class or function; of anything else, those of its class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _words(part: str) -> list[str]:
    # A lone capital B is a matrix of a state-space layer more often than a bias.
    return [word if word == "B" else word.lower() for word in re.findall(r"[A-Za-z]+", part)]


def _layer_of(name: str) -> tuple[str, str]:
    last = _last(name)
    pieces = re.findall(r"[A-Za-z]+|\d+", last)
    rest = last
    if pieces and pieces[0].lower() in _KIND_WORDS:
        rest = "_".join(pieces[1:])
    elif pieces and pieces[-1].lower() in _KIND_WORDS:
        rest = "_".join(pieces[:-1])
    return name[: -len(last)] if last else name, rest
