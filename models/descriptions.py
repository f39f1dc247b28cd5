"""Models from their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .interpolants import Interpolants
from .mlp import MLP, Perceptron
from .model import Model
from .polynomial import Polynomial


def from_description(description: Mapping[str, Any]) -> Model | None:
    """Return the model that ``describe()`` described, or None for a user's own network, which no record can make
    again."""
    name = description.get("name")
    if name == "mlp":
        widths = tuple(description["widths"])
        # Older versions took an activation where nothing has one.
        return MLP(widths, description["activation"] if len(widths) > 2 else "relu", description["bias"])
    if name == "perceptron":
        return Perceptron(description["n"], description["bias"])
    if name == "polynomial":
        return Polynomial(description["degree"])
    if name == "interpolants":
        return Interpolants(*(description[field] for field in ("degree", "inputs", "labels", "weight_std")))
    return None
