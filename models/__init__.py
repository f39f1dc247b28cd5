"""Networks behind one small pure protocol.

The adapters for Flax modules load on first use: half a second that a fully connected network need not wait for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .adapters import check_outputs, flat_names
from .descriptions import from_description
from .function import FunctionModel, from_function
from .interpolants import Interpolants, interpolation
from .mlp import ACTIVATIONS, MLP, Perceptron
from .model import Head, Model, Parameter, Params
from .polynomial import Polynomial
from .symmetry import Symmetry
from .units import Moved, UnitSymmetry

if TYPE_CHECKING:
    from .flax_modules import FlaxModel, from_linen, from_nnx

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "FlaxModel",
    "FunctionModel",
    "Head",
    "Interpolants",
    "Model",
    "Moved",
    "Parameter",
    "Params",
    "Perceptron",
    "Polynomial",
    "Symmetry",
    "UnitSymmetry",
    "check_outputs",
    "flat_names",
    "from_description",
    "from_function",
    "from_linen",
    "from_nnx",
    "interpolation",
]


def __getattr__(name: str) -> Any:
    if name in ("FlaxModel", "from_linen", "from_nnx"):
        return getattr(importlib.import_module(f"{__name__}.flax_modules"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
