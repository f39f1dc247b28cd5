"""How symmetric copies count: what a value of ``Query.symmetry`` has to say, and what it reads of the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from volume.classifiers.base import Classifier
from volume.functions.domains import Domain
from volume.models import Model
from volume.samplers import Prior

SYMMETRIES = ("none", "quotient", "pooled")


class Question(Protocol):
    """What a weighting reads of a `volume.Query`."""

    @property
    def model(self) -> Model: ...
    @property
    def prior(self) -> Prior: ...
    @property
    def domain(self) -> Domain: ...
    @property
    def classifier(self) -> Classifier: ...
    @property
    def weighting(self) -> Weighting: ...


class Weighting(Protocol):
    """What a value of ``Query.symmetry`` stands for: how parameters, or classes, that are copies of each other count.

    Frozen and hashable. "none", "quotient" and "pooled" are short for the plain ones.
    """

    name: ClassVar[str]  # one of `SYMMETRIES`; the methods go by it

    def check(self, query: Question) -> None:
        """Check that the query can be asked so; its other parts fit already. ValueError with the reason."""
        ...

    def conventions(self, query: Question) -> dict[str, Any]:
        """Return what a report states beside the name; "symmetry_note" is a sentence for people."""
        ...


@dataclass(frozen=True)
class PriorMass:
    """Plain prior mass, the value "none"."""

    name: ClassVar[str] = "none"

    def check(self, query: Question) -> None:
        """Accept every query."""

    def conventions(self, query: Question) -> dict[str, Any]:
        return {"symmetry_note": "prior mass: every symmetric copy of a network is already counted in it"}
