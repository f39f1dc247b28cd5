"""Priors from their JSON records: what a stored run needs to say which measure it used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volume.errors import unknown

from .independent import Gaussian, Uniform
from .initializer import Initializer
from .lattice import Lattice
from .prior import Prior
from .sphere import Sphere

_PRIORS = {
    "gaussian": Gaussian,
    "uniform": Uniform,
    "sphere": Sphere,
    "initializer": Initializer,
    "lattice": Lattice,
}


def from_description(description: Mapping[str, Any]) -> Prior:
    """Return the prior whose ``describe()`` is ``description``, equal to the original.

    ValueError for an unknown name or setting, and for an ``Initializer`` of a module or function, of which only a text
    was kept.
    """
    settings = dict(description)
    name = settings.pop("name", None)
    if name not in _PRIORS:
        raise ValueError(unknown("prior", name, _PRIORS))
    if "opaque" in settings:
        raise ValueError(
            f"The prior was an Initializer of {settings['opaque']}, which cannot be made from its record; build it "
            "again with the same module or function."
        )
    fields = _PRIORS[name].__dataclass_fields__
    for setting in settings:
        if setting not in fields:
            raise ValueError(unknown(f"setting of the {name} prior", setting, fields))
    return _PRIORS[name](**settings)
