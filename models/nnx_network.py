"""A Flax nnx module as a pure function of named parameters.

Shape letters: N inputs, F features below the head, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen, nnx
from jax import Array

from .adapters import qualified_name
from .flax_networks import ByKey, Layer, ModuleStateError, Path, as_floats, content, hashable, text_of
from .model import Params


class Slot(NamedTuple):
    """One leaf of a module's state."""

    path: Path
    tree: Any  # rebuilds the variable from its leaf
    parameter: str | None  # its name, or None for a constant
    constant: Any
    random: bool  # state of a random number generator, which is never used


@dataclass(frozen=True, eq=False)
class NnxNetwork(ByKey):
    """An nnx module taken apart: its graph, and for each leaf of its state a parameter's name or a constant."""

    wrapped: str
    graph: Any  # nnx.GraphDef
    slots: tuple[Slot, ...]
    kind: str = field(default="nnx", init=False)

    @cached_property
    def key(self) -> Any:
        constants = tuple(
            (slot.path, content(slot.constant)) for slot in self.slots if slot.parameter is None and not slot.random
        )
        return hashable(self.graph), constants

    def _merge(self, params: Params, dtype: Any, missing: Any) -> tuple[Any, list[Any]]:
        leaves = [
            as_floats(slot.constant, dtype) if slot.parameter is None else params.get(slot.parameter, missing)
            for slot in self.slots
        ]
        state = nnx.from_flat_state(
            [(slot.path, slot.tree.unflatten([leaf])) for slot, leaf in zip(self.slots, leaves, strict=True)]
        )
        return nnx.merge(self.graph, state), leaves

    def run(self, params: Params, inputs: Array) -> Array:
        module, leaves = self._merge(params, inputs.dtype, None)
        outputs = module(inputs)
        after = {path: jax.tree.leaves(variable) for path, variable in nnx.to_flat_state(nnx.state(module))}
        for slot, leaf in zip(self.slots, leaves, strict=True):
            if len(after[slot.path]) != 1 or after[slot.path][0] is not leaf:
                raise ModuleStateError(
                    f"The module {self.wrapped} changes its state {text_of(slot.path)!r} when it is called, so that it "
                    "is no fixed function of its inputs; call module.eval() first, or leave that state out."
                )
        return outputs

    def tap(self, params: Params, inputs: Array, head: Path, marker: Array) -> tuple[list[Array], Any]:
        unusable = jax.ShapeDtypeStruct((), inputs.dtype)  # JAX raises TypeError when it is computed with
        module, _ = self._merge(params, inputs.dtype, unusable)
        taken: list[Array] = []

        def record(features: Array) -> Array:
            taken.append(features)
            return marker

        if not head:
            return taken, record(inputs)
        parent = module
        for part in head[:-1]:
            parent = _child(parent, part)
        if hasattr(type(parent), "__setitem__"):
            parent[head[-1]] = _Tap(record)
        else:
            setattr(parent, head[-1], _Tap(record))
        return taken, module(inputs)


class _Tap(nnx.Module):
    """Stands in for a layer."""

    def __init__(self, record: Any):
        self.record = record

    def __call__(self, features: Array) -> Array:
        return self.record(features)


def _child(module: Any, part: Any) -> Any:
    return module[part] if hasattr(type(module), "__setitem__") else getattr(module, part)


def wrap_nnx(module: Any) -> tuple[NnxNetwork, dict[str, Layer]]:
    """Return the module taken apart, and its parameters by name. Nothing is run."""
    if isinstance(module, type) or not isinstance(module, nnx.Module):
        hint = " (from_linen takes linen modules)" if isinstance(module, linen.Module) else ""
        raise TypeError(f"from_nnx got {module!r}; give an instance of a flax nnx module{hint}.")
    wrapped = qualified_name(type(module))
    modules = dict(nnx.iter_modules(module))
    _refuse_training_mode(wrapped, modules)
    graph, state = nnx.split(module)
    slots, layers = [], {}
    for path, variable in nnx.to_flat_state(state):
        leaves, tree = jax.tree.flatten(variable)
        text = text_of(path)
        if len(leaves) != 1:
            raise ValueError(f"The state {text!r} of {wrapped} holds {len(leaves)} arrays; one is expected.")
        is_parameter = isinstance(variable, nnx.Param)
        is_random = isinstance(variable, nnx.RngState)
        slots.append(Slot(path, tree, text if is_parameter else None, None if is_parameter else leaves[0], is_random))
        if is_parameter:
            layers[text] = _nnx_layer(path, tuple(leaves[0].shape), modules.get(path[:-1]))
        elif isinstance(leaves[0], jax.ShapeDtypeStruct) and not is_random:
            raise ModuleStateError(
                f"The state {text!r} of {wrapped} is no parameter and has only a shape; give a module that "
                "holds its value."
            )
    return NnxNetwork(wrapped, graph, tuple(slots)), layers


def _refuse_training_mode(wrapped: str, modules: Mapping[Path, Any]) -> None:
    for path, module in modules.items():
        rate = getattr(module, "rate", getattr(module, "dropout_rate", 0))
        if getattr(module, "deterministic", None) is False and rate:
            raise ModuleStateError(
                f"The layer {text_of(path)!r} of {wrapped} drops units at random, so that the module is no fixed "
                "function; call module.eval() first."
            )
        if getattr(module, "use_running_average", None) is False:
            raise ModuleStateError(
                f"The layer {text_of(path)!r} of {wrapped} normalises over the inputs it is given together, so that "
                "one input's output depends on the others; call module.eval() first, and its running mean and variance "
                "are used as constants."
            )


def _nnx_layer(path: Path, shape: tuple[int, ...], module: Any) -> Layer:
    fan_in = None
    if path[-1] == "kernel" and hasattr(module, "in_features"):
        terms = math.prod(np.ravel(module.in_features).tolist())
        terms *= math.prod(np.ravel(getattr(module, "kernel_size", 1)).tolist())
        fan_in = terms // getattr(module, "feature_group_count", 1)
    dense = (
        type(module) is nnx.Linear
        and module.dtype is None
        and module.dot_general is jax.lax.dot_general
        and getattr(module, "preferred_element_type", None) is None
    )
    return Layer(shape, path[:-1], dense, fan_in)
