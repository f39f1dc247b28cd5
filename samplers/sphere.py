"""Parameters uniform on a sphere: directions only, as when the size of the weights is fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from volume.models import Parameter, Params

from .prior import PerLayer, PushForward, at_layer, check_length, checked_setting, describe_setting, num_layers
from .scaled import Scaled


@dataclass(frozen=True)
class Sphere(PushForward):
    """All weights and biases together uniform on the sphere of this radius, radius * z / |z|.

    With ``per_layer`` the weights and biases of each layer (``Parameter.layer``) have a sphere of their own, and
    ``radius`` may be a tuple with one value per layer. Nothing is scaled by fan-in. The scales of normalisation
    layers are not part of any sphere: they stay at 1.

    ``separable`` (the head's layer may be drawn apart from the rest) holds with ``per_layer`` only; ``transform`` then
    takes any subset of the parameters made of whole layers. Errors: TypeError for what is no number; ValueError for a
    radius that is not finite and > 0, for a tuple without ``per_layer`` or of the wrong length, and for a model
    without weights and biases.
    """

    radius: PerLayer = 1.0
    per_layer: bool = False

    def __post_init__(self):
        if not isinstance(self.per_layer, bool):
            raise TypeError(f"per_layer is {self.per_layer!r}; give True (a sphere per layer) or False (one for all).")
        object.__setattr__(self, "radius", checked_setting("radius", self.radius, positive=True))
        if isinstance(self.radius, Sequence) and not self.per_layer:
            raise ValueError(
                f"radius has {len(self.radius)} values but all layers share one sphere; give one number, or "
                "per_layer=True."
            )

    @property
    def separable(self) -> bool:
        return self.per_layer

    def transform(self, z: Params, parameters: tuple[Parameter, ...]) -> Params:
        """Standard normals ``z`` divided by their norm, over all parameters or layer by layer."""
        theta = {p.name: jnp.ones_like(z[p.name]) for p in parameters}
        on_sphere = [p for p in parameters if p.kind != "scale"]
        groups = sorted({p.layer for p in on_sphere}) if self.per_layer else ([None] if on_sphere else [])
        for layer in groups:
            names = [p.name for p in on_sphere if layer in (None, p.layer)]
            norm = jnp.sqrt(sum(jnp.sum(z[name] ** 2) for name in names))
            radius = at_layer(self.radius, layer or 0)
            theta |= {name: z[name] * (radius / norm) for name in names}
        return theta

    def check(self, parameters: tuple[Parameter, ...]) -> None:
        """ValueError for a radius that does not fit the layers, or a model that has no weights and biases."""
        check_length("radius", self.radius, parameters)
        if all(p.kind == "scale" for p in parameters):
            raise ValueError(
                "Sphere is a law of weights and biases and this model has none; use Gaussian(scale_std=...)."
            )

    def sizes(self, parameters: tuple[Parameter, ...]) -> dict[str, float]:
        """Return a typical absolute value of every parameter, for `scaled`."""
        entries: dict[int, int] = {}
        for p in parameters:
            if p.kind != "scale":
                sphere = p.layer if self.per_layer else 0
                entries[sphere] = entries.get(sphere, 0) + math.prod(p.shape)
        number = {p.name: entries[p.layer if self.per_layer else 0] for p in parameters if p.kind != "scale"}
        return {
            p.name: at_layer(self.radius, p.layer) / math.sqrt(number[p.name]) if p.name in number else 1.0
            for p in parameters
        }

    def rescaled(self, parameters: tuple[Parameter, ...], powers: Mapping[str, int]) -> Scaled | None:
        """Return this law with every parameter times 2^power, drawn on a sphere of radius about 1; None where it is
        one."""
        radii = self.radius if isinstance(self.radius, Sequence) else (self.radius,) * num_layers(parameters)
        lifts = [-math.frexp(radius)[1] for radius in radii]
        if not any(lifts):
            return None
        moved = tuple(math.ldexp(radius, lift) for radius, lift in zip(radii, lifts, strict=True))
        near = Sphere(moved if isinstance(self.radius, Sequence) else moved[0], self.per_layer)
        left = {p.name: powers.get(p.name, 0) - (lifts[p.layer] if p.kind != "scale" else 0) for p in parameters}
        return Scaled(near, tuple(sorted(left.items())))

    def describe(self) -> dict[str, Any]:
        return {"name": "sphere", "radius": describe_setting(self.radius), "per_layer": self.per_layer}
