"""A Flax linen module as a pure function of named parameters.

Shape letters: N inputs, F features below the head, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import errors, linen, nnx
from flax.core import meta
from jax import Array

from volume.common.seeds import threefry_key

from .adapters import failure, qualified_name
from .flax_networks import ByKey, Layer, ModuleStateError, Path, as_floats, content, hashable, text_of
from .model import Params


@dataclass(frozen=True, eq=False)
class LinenNetwork(ByKey):
    """A linen module with the arguments and constant collections of every call."""

    wrapped: str
    module: linen.Module
    paths: tuple[tuple[str, Path], ...]  # name of each parameter, and its path in the "params" collection
    kwargs: tuple[tuple[str, Any], ...]
    constants: Mapping[str, Any]
    kind: str = field(default="linen", init=False)

    @cached_property
    def key(self) -> Any:
        leaves, tree = jax.tree.flatten(self.constants)
        kwargs = tuple((name, hashable(value)) for name, value in self.kwargs)
        return hashable(self.module), kwargs, tree, tuple(content(leaf) for leaf in leaves)

    def run(self, params: Params, inputs: Array) -> Array:
        nested: dict[str, Any] = {}
        for name, path in self.paths:
            if name in params:
                inner = nested
                for part in path[:-1]:
                    inner = inner.setdefault(part, {})
                inner[path[-1]] = params[name]
        constants = jax.tree.map(lambda c: as_floats(jnp.asarray(c), inputs.dtype), self.constants)
        try:
            return cast(Array, self.module.apply({"params": nested, **constants}, inputs, **dict(self.kwargs)))
        except errors.InvalidRngError as error:
            raise ModuleStateError(
                f"The module {self.wrapped} draws random numbers when it is called, so that it is no fixed function; "
                "switch that off, for example with kwargs={'deterministic': True}."
            ) from error
        except errors.ModifyScopeVariableError as error:
            raise ModuleStateError(
                f"The module {self.wrapped} changes its state when it is called, so that it is no fixed function of "
                "its inputs; switch that off, for example with kwargs={'train': False}."
            ) from error

    def tap(self, params: Params, inputs: Array, head: Path, marker: Array) -> tuple[list[Array], Any]:
        taken: list[Array] = []

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name == "__call__" and context.module.path == head:
                taken.append(args[0])
                return marker
            return call(*args, **kwargs)

        with linen.intercept_methods(intercept):
            return taken, self.run(params, inputs)


def wrap_linen(
    module: Any, input_shape: tuple[int, ...], kwargs: dict[str, Any], constants: dict[str, Any]
) -> tuple[LinenNetwork, dict[str, Layer]]:
    """Return the module, and its parameters by name. Initialised on shapes alone, without numbers."""
    if isinstance(module, type) or not isinstance(module, linen.Module):
        hint = " (from_nnx takes nnx modules)" if isinstance(module, nnx.Module) else ""
        raise TypeError(f"from_linen got {module!r}; give an instance of a flax linen module{hint}.")
    if "params" in constants:
        raise ValueError("constants holds 'params', which are drawn from the prior; give the other collections only.")
    wrapped = qualified_name(type(module))
    seen: dict[Path, tuple[bool, int | None]] = {}

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        outputs = call(*args, **kwargs)
        if context.method_name == "__call__":
            seen[context.module.path] = _linen_layer(context.module)
        return outputs

    inputs = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    try:
        with linen.intercept_methods(intercept):
            variables = jax.eval_shape(lambda x: module.init(threefry_key(0), x, **kwargs), inputs)
    except Exception as error:
        raise failure(f"The module {wrapped}", inputs, error) from error
    paths, layers = [], {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(meta.unbox(variables.get("params", {}))):
        path = tuple(key.key for key in path)
        dense, fan_in = seen.get(path[:-1], (False, None))
        paths.append((text_of(path), path))
        layers[text_of(path)] = Layer(tuple(leaf.shape), path[:-1], dense, fan_in if path[-1] == "kernel" else None)
    network = LinenNetwork(wrapped, module, tuple(paths), tuple(sorted(kwargs.items())), constants)
    _require_constants(network, layers, inputs, set(variables) - {"params", *constants})
    return network, layers


def _require_constants(
    network: LinenNetwork, layers: Mapping[str, Layer], inputs: jax.ShapeDtypeStruct, missing: set[str]
) -> None:
    """Collections that a module only writes to need no value; those it reads do."""
    params = {name: jax.ShapeDtypeStruct(layer.shape, inputs.dtype) for name, layer in layers.items()}
    try:
        jax.eval_shape(network.run, params, inputs)
    except ModuleStateError:
        raise
    except Exception as error:
        if not missing:
            raise failure(f"The module {network.wrapped}", inputs, error) from error
        name = min(missing)
        raise ModuleStateError(
            f"The module {network.wrapped} reads {', '.join(sorted(missing))}, which are no parameters; give their "
            f"values as constants={{{name!r}: variables[{name!r}]}}."
        ) from error


def _linen_layer(module: linen.Module) -> tuple[bool, int | None]:
    """Whether a module is a plain dense layer, and the terms in one of its sums."""
    fan_in = None
    features = getattr(module, "features", None)
    if features is not None and module.has_variable("params", "kernel"):
        # Asked inside the module, so that what nn.scan or nn.vmap stack on the kernel does not count.
        shape = meta.unbox(module.get_variable("params", "kernel")).shape
        stacked = math.prod(shape[: len(getattr(module, "batch_dims", ()))])
        fan_in = math.prod(shape) // (math.prod(np.ravel(features).tolist()) * stacked)
    dense = (
        type(module) is linen.Dense
        and module.dtype is None
        and module.dot_general is None
        and module.dot_general_cls is None
    )
    return dense, fan_in
