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
from .model import Head, Model, Parameter, Params, num_parameters
from .plain import Plain, plainly
from .polynomial import Polynomial
from .ranges import examine_ranges
from .symmetry import Symmetry
from .units import Moved, UnitSymmetry
from .watched import Followed, follow, linear_error

if TYPE_CHECKING:
    from .flax_modules import FlaxModel, from_linen, from_nnx

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "FlaxModel",
    "Followed",
    "FunctionModel",
    "Head",
    "Interpolants",
    "Model",
    "Moved",
    "Parameter",
    "Params",
    "Perceptron",
    "Plain",
    "Polynomial",
    "Symmetry",
    "UnitSymmetry",
    "check_outputs",
    "examine_ranges",
    "flat_names",
    "follow",
    "from_description",
    "from_function",
    "from_linen",
    "from_nnx",
    "interpolation",
    "linear_error",
    "num_parameters",
    "plainly",
]


def __getattr__(name: str) -> Any:
    if name in ("FlaxModel", "from_linen", "from_nnx"):
        return getattr(importlib.import_module(f"{__name__}.flax_modules"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
