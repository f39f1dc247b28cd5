"""Flax modules, nnx and linen, as models.

Of a module only the parameters' names and shapes are used, never its initialiser or the values it holds: the prior
defines the measure.

A head is the module's last layer where that is a plain dense layer whose output the module returns untouched. This is
seen, not guessed: the module is traced with that layer's output replaced by a marker, and the layer is a head exactly
when the module returns the marker itself and reads the layer's parameters nowhere else. The features are what went into
the layer.

Shape letters: N inputs, F features below the head, C outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from volume.errors import unknown

from .adapters import (
    NUM_TRACED,
    abstract_arguments,
    as_columns,
    checked_num_outputs,
    checked_outputs,
    checked_shape,
    describe_adapter,
    failure,
    guess_parameters,
    replace_parameters,
    with_symmetry,
)
from .flax_networks import Layer, ModuleStateError, Network, Path, text_of
from .linen_network import wrap_linen
from .model import Head, Parameter, Params
from .nnx_network import wrap_nnx
from .symmetry import Symmetry
from .units import UnitSymmetry


@dataclass(frozen=True)
class FlaxModel:
    """A Flax module behind the `Model` protocol; made by `from_nnx` or `from_linen`, which check it.

    Two made from one module in one mode are equal, so that neither is compiled anew for the other.
    """

    network: Network
    parameters: tuple[Parameter, ...]
    input_shape: tuple[int, ...]
    num_outputs: int
    head: Head | None = None
    head_path: Path = ()
    symmetry: Symmetry | None = None

    def features(self, params: Params, inputs: Array) -> Array:
        """Return activations below the head, [N, F]. ValueError if the module has no head."""
        if self.head is None:
            raise ValueError("This model has no head: its module does not end in a plain dense layer.")
        marker = jnp.zeros((inputs.shape[0], self.num_outputs), inputs.dtype)
        taken, _ = self.network.tap(params, inputs, self.head_path, marker)
        return taken[0]

    def apply(self, params: Params, inputs: Array) -> Array:
        """Return outputs [N, C] for inputs [N, *input_shape]."""
        return as_columns(self.network.run(params, inputs))

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record; the module itself is only named."""
        return describe_adapter(self.network.kind, self.network.wrapped, self)


def from_nnx(
    module: Any,
    input_shape: Sequence[int] | int,
    *,
    num_outputs: int | None = None,
    head: str | Literal[False] | None = None,
    parameters: Sequence[Parameter] = (),
    symmetry: Symmetry | Sequence[UnitSymmetry] | None = None,
) -> FlaxModel:
    """Make a model from a Flax nnx module, called as ``module(inputs [N, *input_shape]) -> [N] or [N, C]``.

    Args:
        module: an instance, in evaluation mode (``module.eval()``) where it has dropout or batch normalisation. An
            abstract one will do: ``nnx.eval_shape(lambda: Net(nnx.Rngs(0)))``. Its ``nnx.Param`` variables are the
            parameters, named by their paths ("conv1.kernel"). All other state, such as the running mean and variance
            of batch normalisation, is taken as it is now and stays constant; changing the module later does not change
            the model.
        input_shape: shape of one input.
        num_outputs: C; read off the module's outputs by default.
        head: None finds the head where there is one (see the top of this file), False does without, a path ("out",
            "layers.2") asks for that layer. ``model.head`` shows it.
        parameters: records to use instead of the guessed ones of the same name. Guessed are: kinds by name; fan_in from
            the layer's own sizes (of an unknown layer, the product of all dimensions but the last; 1 for an
            "embedding"); layers, one for each module with parameters, numbered in the order in which the forward pass
            first uses them.
        symmetry: sets of hidden units or channels that can change places, as `UnitSymmetry` records; a query that
            counts each network once (``symmetry="quotient"``) needs them. They are tried on random parameters.

    Raises:
        TypeError: no nnx module.
        ValueError: no parameters, a module in training mode or one that changes its state, a module that fails on such
            inputs, outputs of the wrong shape, a ``head`` that is none. All before anything is compiled or drawn. And a
            ``symmetry`` that changes the function.
    """
    shape = checked_shape("input_shape", input_shape)
    network, layers = wrap_nnx(module)
    return with_symmetry(_build(network, layers, shape, num_outputs, head, parameters), symmetry)


def from_linen(
    module: Any,
    input_shape: Sequence[int] | int,
    *,
    num_outputs: int | None = None,
    head: str | Literal[False] | None = None,
    parameters: Sequence[Parameter] = (),
    kwargs: Mapping[str, Any] | None = None,
    constants: Mapping[str, Any] | None = None,
    symmetry: Symmetry | Sequence[UnitSymmetry] | None = None,
) -> FlaxModel:
    """Make a model from a Flax linen module, called as ``module.apply(variables, inputs, **kwargs) -> [N] or [N, C]``.

    Args:
        module: the unbound module. Its "params" collection holds the parameters, named by path ("Dense_0.kernel").
        input_shape: as for `from_nnx`, like num_outputs, head and parameters.
        num_outputs: C; read off the module's outputs by default.
        head: None, False or the path of a layer ("Dense_2").
        parameters: records to use instead of the guessed ones.
        kwargs: arguments of every call, e.g. ``{"train": False}``.
        constants: values of the other collections, e.g. ``{"batch_stats": variables["batch_stats"]}``.
        symmetry: as for `from_nnx`.

    Raises:
        TypeError: no linen module.
        ValueError: as for `from_nnx`, and a collection that is read but has no values.
    """
    shape = checked_shape("input_shape", input_shape)
    network, layers = wrap_linen(module, shape, dict(kwargs or {}), dict(constants or {}))
    return with_symmetry(_build(network, layers, shape, num_outputs, head, parameters), symmetry)


def _build(
    network: Network,
    layers: Mapping[str, Layer],
    input_shape: tuple[int, ...],
    num_outputs: int | None,
    head: str | Literal[False] | None,
    parameters: Sequence[Parameter],
) -> FlaxModel:
    if num_outputs is not None:
        num_outputs = checked_num_outputs(num_outputs)
    if not layers:
        raise ValueError(f"The module {network.wrapped} has no parameters; a model needs at least one.")
    order, num_outputs = _trace(network, layers, input_shape, num_outputs)
    fan_in = {name: layer.fan_in for name, layer in layers.items() if layer.fan_in}
    guessed = guess_parameters({name: layers[name].shape for name in order}, fan_in)
    model = FlaxModel(network, replace_parameters(guessed, parameters), input_shape, num_outputs)
    if head is False:
        return model
    if head is None:
        last = max(guessed, key=lambda p: p.layer).name  # in the layer that the forward pass uses last
        return _with_head(model, layers, layers[last].path) or model
    paths = {text_of(layer.path): layer.path for layer in layers.values()}
    if head not in paths:
        raise ValueError(unknown("layer", head, paths))
    built = _with_head(model, layers, paths[head])
    if built is None:
        raise ValueError(
            f"The layer {head!r} is not a head of {network.wrapped}: a head is a plain dense layer whose output [N, C] "
            "the module returns untouched; leave head= out, or have the module return that layer's output."
        )
    return built


def _trace(
    network: Network, layers: Mapping[str, Layer], input_shape: tuple[int, ...], num_outputs: int | None
) -> tuple[list[str], int]:
    """The parameters' names in the order in which the forward pass first uses them, module by module; and C."""
    what = f"The module {network.wrapped}"
    num_inputs = NUM_TRACED if num_outputs != NUM_TRACED else NUM_TRACED + 2
    shapes = guess_parameters({name: layer.shape for name, layer in layers.items()})
    params, inputs = abstract_arguments(shapes, input_shape, num_inputs)

    def run(leaves: list[Array], inputs: Array) -> Array:
        return network.run(dict(zip(params, leaves, strict=True)), inputs)

    try:
        closed, outputs = jax.make_jaxpr(run, return_shape=True)(list(params.values()), inputs)
    except ModuleStateError:
        raise
    except Exception as error:
        raise failure(what, inputs, error) from error
    num_outputs = checked_outputs(what, outputs, num_inputs, num_outputs)

    equations = closed.jaxpr.eqns
    first: dict[int, int] = {}
    for position, equation in enumerate(equations):
        for variable in equation.invars:
            first.setdefault(id(variable), position)
    used = {
        name: first.get(id(variable), len(equations))
        for name, variable in zip(params, closed.jaxpr.invars, strict=False)  # the inputs come last
    }
    of_module: dict[Path, int] = {}
    for name, layer in layers.items():
        of_module[layer.path] = min(used[name], of_module.get(layer.path, used[name]))

    def rank(name: str) -> tuple[Any, ...]:
        # Layers that are used in one equation (inside a scan or a jitted part) keep the order of their names.
        path = layers[name].path
        return of_module[path], _natural(text_of(path)), used[name], -len(layers[name].shape), name

    return sorted(layers, key=rank), num_outputs


def _natural(text: str) -> list[tuple[int, str]]:
    """A sorting key that puts "Dense_10" after "Dense_2"."""
    return [(int(digits or -1), letters) for letters, digits in re.findall(r"(\D+)|(\d+)", text)]


def _with_head(model: FlaxModel, layers: Mapping[str, Layer], path: Path) -> FlaxModel | None:
    """The model with the layer at ``path`` as its head, or None when that layer is not one."""
    inside = {name: layer for name, layer in layers.items() if layer.path == path}
    weights = [name for name, layer in inside.items() if len(layer.shape) == 2]
    biases = [name for name, layer in inside.items() if len(layer.shape) == 1]
    if not all(layer.dense for layer in inside.values()) or len(weights) != 1 or len(biases) > 1:
        return None
    num_features, columns = inside[weights[0]].shape
    if columns != model.num_outputs:
        return None
    params, inputs = abstract_arguments([p for p in model.parameters if p.name not in inside], model.input_shape)
    untouched = []

    def features(params: Params, inputs: Array) -> Array:
        marker = jnp.zeros((NUM_TRACED, columns), inputs.dtype)
        taken, outputs = model.network.tap(params, inputs, path, marker)
        untouched.append(outputs is marker and len(taken) == 1)
        return taken[0]

    try:
        shape = jax.eval_shape(features, params, inputs).shape
    except Exception:
        # The module itself ran: it uses this layer in some other way than by calling it once.
        return None
    if not all(untouched) or shape != (NUM_TRACED, num_features):
        return None
    return replace(model, head=Head(weights[0], biases[0] if biases else None, num_features), head_path=path)
