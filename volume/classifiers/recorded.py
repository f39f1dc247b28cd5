"""The classifier of a loaded run whose rule was a function of the user's: it names classes, and no more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from volume.classifiers.base import BoundClassifier, Classifier
from volume.classifiers.class_numbers import in_range
from volume.errors import unknown
from volume.functions.domains import Domain


@dataclass(frozen=True, eq=False)
class Recorded(Classifier):
    """The classes of a stored :class:`volume.Predicate`, or of a product with one."""

    description: str  # JSON of the original's describe()
    names: tuple[str, ...]

    def bind(self, domain: Domain, num_outputs: int) -> BoundRecorded:
        return BoundRecorded(self, domain.num_inputs, num_outputs, self.names)

    def describe(self) -> dict[str, Any]:
        return json.loads(self.description)


@dataclass(frozen=True, eq=False)
class BoundRecorded(BoundClassifier):
    names: tuple[str, ...]

    @property
    def needs_outputs(self) -> bool:
        return True

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def classify_outputs(self, outputs: Any) -> Any:
        raise TypeError(
            "This classifier was read from a stored run, which holds the names of its classes but not its function."
        )

    def label(self, index: int) -> str:
        return self.names[in_range(index, self.num_classes)]

    def index(self, label: Any) -> int:
        if isinstance(label, (tuple, list)):
            label = ", ".join(map(str, label))
        if isinstance(label, (bool, np.bool_)):
            label = str(bool(label)).lower()
        if label not in self.names:
            raise KeyError(unknown("class", label, self.names))
        return self.names.index(label)
