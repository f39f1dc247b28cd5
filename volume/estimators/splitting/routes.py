"""Which pilot and which groups of replicates go with a kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

from volume.estimators.smc.pilot import Pilot
from volume.estimators.splitting.bodies import BodyKernel
from volume.estimators.splitting.group import ClassGroup
from volume.estimators.splitting.temperatures import BodyGroup, TemperaturePilot


class Route(NamedTuple):
    """How a class is reached."""

    pilot: type[Pilot]
    group: type[ClassGroup]


LEVELS = Route(Pilot, ClassGroup)  # of a score
TEMPERATURES = Route(TemperaturePilot, BodyGroup)  # of bodies, under an integrated last layer


def route(kernel: Any) -> Route:
    """Say how a kernel's particles reach the class."""
    return TEMPERATURES if isinstance(kernel, BodyKernel) else LEVELS
