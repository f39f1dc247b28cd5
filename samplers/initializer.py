"""Initialisers as priors: the law a module's author starts training from, made explicit.

Nothing else in this project reads a module's own initialiser: a prior defines the measure, so it has to be named.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from volume.common.seeds import threefry_key
from volume.errors import unknown
from volume.models import Model, Parameter, Params, flat_names

# Those of jax.nn.initializers that need no argument; for weights, without the constants (one network, no law).
WEIGHT_INITIALIZERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
)
BIAS_INITIALIZERS = ("zeros", "ones", "normal", "truncated_normal", "uniform")


@dataclass(frozen=True)
class Initializer:
    """The law of an initialiser, which draws from a key. ``source`` is one of

    * the name of one in ``jax.nn.initializers``, e.g. ``Initializer("lecun_normal", bias="zeros")``: every weight by
      that one, with its shape; every bias by the one named by ``bias``; scales are 1. "normal", "truncated_normal" and
      "uniform" (on [0, .01), so never negative) have JAX's default size, .01;
    * a Flax linen module, with ``input_shape``, the shape of one input: its ``init``, called with inputs only;
    * a factory of an nnx module, a class or function that takes ``rngs``, e.g. ``lambda rngs: Net(rngs=rngs)``;
    * any function of a key that returns the parameters: a dict, nested or with names joined by dots. So a linen module
      that wants more: ``lambda key: module.init(key, inputs, train=False)["params"]``.

    The law is no transform of normals and its layers are not drawn apart, so heads are not shared: every draw is a
    whole network. Errors: ValueError for an unknown name (with the nearest known one), and, in ``check``, for
    parameters whose names or shapes differ from the model's; TypeError for any other source.
    """

    source: Any
    input_shape: Sequence[int] | int | None = None
    bias: str = "zeros"

    has_transform = False
    separable = False
    sign_symmetric = False

    def __post_init__(self):
        if self.input_shape is not None:
            shape = (self.input_shape,) if isinstance(self.input_shape, int) else self.input_shape
            object.__setattr__(self, "input_shape", tuple(int(n) for n in shape))
        if isinstance(self.source, str):
            if self.source not in WEIGHT_INITIALIZERS:
                raise ValueError(unknown("initializer of weights", self.source, WEIGHT_INITIALIZERS))
            if self.bias not in BIAS_INITIALIZERS:
                raise ValueError(unknown("initializer of biases", self.bias, BIAS_INITIALIZERS))
        elif self.bias != "zeros":
            raise ValueError("bias goes with an initializer given by name; a module or function draws its own biases.")
        elif not _is_source(self.source):
            raise TypeError(
                f"Initializer got a {type(self.source).__name__}; give a name from jax.nn.initializers, a linen "
                "module, a factory of an nnx module such as `lambda rngs: Net(rngs=rngs)`, or a function of a key that "
                "returns parameters."
            )
        elif _is_linen(self.source) and self.input_shape is None:
            raise ValueError("A linen module is initialised on an example: give input_shape, the shape of one input.")
        try:
            hash(self.source)
        except TypeError:
            raise TypeError(
                f"Initializer got a {type(self.source).__name__} that cannot be hashed, as JAX needs it to be; make "
                "its fields hashable (tuples for lists)."
            ) from None

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """There is none: TypeError."""
        raise TypeError(
            "Initializer draws from a key and is no transform of normals (has_transform is False); use its draw, or a "
            "prior such as Gaussian."
        )

    def draw(self, key: Array, parameters: tuple[Parameter, ...], dtype: DTypeLike = jnp.float32) -> Params:
        """Draw once, cast to ``dtype``; the key is consumed. ``check`` has seen to it that the names agree."""
        if isinstance(self.source, str):
            keys = jax.random.split(key, len(parameters))
            return {p.name: self._by_name(k, p, dtype) for k, p in zip(keys, parameters, strict=True)}
        drawn = self._own(key)
        return {p.name: jnp.asarray(drawn[p.name], dtype) for p in parameters}

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """ValueError for parameters whose names or shapes are not those that the initialiser gives."""
        key = threefry_key(0)
        if isinstance(self.source, str):
            for p in parameters:
                try:
                    jax.eval_shape(lambda k, p=p: self._by_name(k, p, jnp.float32), key)
                except ValueError as error:
                    raise ValueError(
                        f"{self.source!r} cannot initialise {p.name} of shape {p.shape}: {error}"
                    ) from None
            return
        drawn = {name: tuple(a.shape) for name, a in jax.eval_shape(self._own, key).items()}
        for p in parameters:
            if p.name not in drawn:
                raise ValueError(
                    f"The initialiser does not give every parameter: {unknown('parameter', p.name, drawn)}"
                )
            if drawn[p.name] != p.shape:
                raise ValueError(
                    f"The initialiser gives {p.name} the shape {drawn[p.name]}, the model has {p.shape}; give both "
                    "the same module."
                )
        extra = sorted(set(drawn) - {p.name for p in parameters})
        if extra:
            raise ValueError(
                f"The initialiser gives {extra[0]!r}, which the model does not have; give both the same module."
            )

    def describe(self) -> dict[str, Any]:
        """{"name", "source", ...}; for a module or function a text, from which the prior cannot be made again."""
        if isinstance(self.source, str):
            return {"name": "initializer", "source": self.source, "bias": self.bias}
        shape = None if self.input_shape is None else list(cast(tuple[int, ...], self.input_shape))
        return {"name": "initializer", "opaque": _text(self.source), "input_shape": shape}

    def _by_name(self, key: Array, parameter: Parameter, dtype: DTypeLike) -> Array:
        if parameter.kind == "scale":
            return jnp.ones(parameter.shape, dtype)
        name = self.source if parameter.kind == "weight" else self.bias
        initializer = getattr(jax.nn.initializers, name)
        if name not in ("zeros", "ones"):  # the others are made by a function of their settings
            initializer = initializer()
        return initializer(key, parameter.shape, dtype)

    def _own(self, key: Array) -> dict[str, Array]:
        """The parameters that a module or function draws, by name."""
        from flax import nnx

        if _is_linen(self.source):
            shape = cast(tuple[int, ...], self.input_shape)
            return flat_names(self.source.init(key, jnp.zeros((1, *shape)))["params"])
        drawn = self.source(rngs=nnx.Rngs(key)) if _takes_rngs(self.source) else self.source(key)
        if isinstance(drawn, nnx.Module):
            drawn = nnx.to_pure_dict(nnx.state(drawn, nnx.Param))
        if not isinstance(drawn, Mapping):
            raise TypeError(
                f"The initialiser returned a {type(drawn).__name__}; it must return an nnx module, or a dict of "
                "parameters."
            )
        return flat_names(drawn)


def _is_linen(source: Any) -> bool:
    from flax import linen

    return isinstance(source, linen.Module)


def _is_source(source: Any) -> bool:
    """Whether this is a linen module, an nnx factory or a function; neither a linen class nor an nnx module is."""
    from flax import linen, nnx

    if isinstance(source, type):
        return not issubclass(source, linen.Module)
    return callable(source) and not isinstance(source, (nnx.Module, Model))


def _takes_rngs(factory: Any) -> bool:
    from flax import nnx

    while isinstance(factory, functools.partial):
        factory = factory.func
    if isinstance(factory, type) and issubclass(factory, nnx.Module):
        return True  # the signature of such a class does not show its arguments
    return "rngs" in inspect.signature(factory).parameters


def _text(source: Any) -> str:
    named = getattr(source, "__qualname__", None)
    return f"{source.__module__}.{named}" if named else " ".join(repr(source).split())
