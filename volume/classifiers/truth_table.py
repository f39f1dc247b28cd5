"""Every function a class of its own.

Shape letters: N inputs, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from volume.classifiers.base import BoundClassifier, Classifier
from volume.functions import tables
from volume.functions.domains import Domain


@dataclass(frozen=True, eq=False)
class TruthTable(Classifier):
    """Every function is its own class, labelled by its decisions in the order of the domain's inputs."""

    kind: ClassVar[str] = "truth-table"
    single_functions: ClassVar[bool] = True

    def bind(self, domain: Domain, num_outputs: int) -> BoundTruthTable:
        return BoundTruthTable(self, domain.num_inputs, num_outputs)


@dataclass(frozen=True, eq=False)
class SingleFunctions(BoundClassifier):
    """Class numbers are Python integers without bound: the key read as one number. Work with keys where you can."""

    @property
    def num_classes(self) -> None:
        return None

    @property
    def route(self) -> Literal["table", "device"]:
        return "table"

    def index(self, label: Any) -> int:
        return int.from_bytes(self.key(label).astype(">u8").tobytes(), "big")


@dataclass(frozen=True, eq=False)
class BoundTruthTable(SingleFunctions):
    @property
    def total_classes(self) -> int:
        return max(self.num_outputs, 2) ** self.num_inputs

    def classify(self, decisions: Any) -> Any:
        raise TypeError(
            "TruthTable numbers no classes, every table is one: group by Ones, LempelZiv, Fits, ... instead."
        )

    def key(self, label: Any) -> np.ndarray:
        try:
            decisions = tables.read_label(label, self.num_inputs, self.num_outputs)
        except ValueError as error:
            raise KeyError(str(error)) from None
        return tables.pack(decisions[None], self.num_outputs)[0]

    def labels(self, keys: np.ndarray) -> list[str]:
        return tables.labels(keys, self.num_inputs, self.num_outputs)

    def required_labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        table = tables.unpack(self._key_of(index)[None], self.num_inputs, self.num_outputs)[0]
        return np.arange(self.num_inputs), table

    def label(self, index: int) -> str:
        return self.labels(self._key_of(index)[None])[0]

    def _key_of(self, index: int) -> np.ndarray:
        """[W]"""
        words = tables.num_words(self.num_inputs, self.num_outputs)
        return np.frombuffer(int(index).to_bytes(8 * words, "big"), ">u8").astype(np.uint64)
