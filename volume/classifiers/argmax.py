"""The winning outputs at chosen inputs, for networks with several outputs.

Shape letters: N inputs of the domain, m chosen ones, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from volume.classifiers.base import (
    MAX_CLASSES,
    MAX_DEVICE_CLASSES,
    BoundClassifier,
    Classifier,
)
from volume.classifiers.class_numbers import as_index, in_range, select
from volume.common.content import frozen
from volume.functions import tables
from volume.functions.domains import Domain, Points, as_inputs, first_rows


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Argmax(Classifier):
    """The winning outputs at some rows of the domain: one class per tuple of labels, C^m of them.

    Args:
        inputs: rows of the domain, [m, *input_shape]; None means all of it. Needs two or more outputs.
    """

    kind: ClassVar[str] = "argmax"
    inputs: np.ndarray | None

    def __init__(self, inputs: ArrayLike | None = None) -> None:
        array = None if inputs is None else as_inputs(inputs, "The inputs of Argmax")
        object.__setattr__(self, "inputs", array)
        if array is not None and len(np.unique(first_rows(array))) < len(array):
            raise ValueError("The inputs of Argmax repeat a row, and one input has one label: give each once.")

    def domain(self) -> Points | None:
        return None if self.inputs is None else Points(self.inputs)

    def bind(self, domain: Domain, num_outputs: int) -> BoundArgmax:
        if num_outputs < 2:
            raise ValueError("Argmax needs two or more outputs; for one output use TruthTable, which thresholds at 0.")
        positions = np.arange(domain.num_inputs) if self.inputs is None else domain.index_of(self.inputs)
        if num_outputs ** len(positions) > MAX_CLASSES:
            raise ValueError(
                f"Argmax at {len(positions)} inputs with {num_outputs} outputs has more than 2**62 classes: "
                "use TruthTable() on Points of those inputs instead."
            )
        return BoundArgmax(self, domain.num_inputs, num_outputs, frozen(positions, np.int64))

    def __repr__(self) -> str:
        return "Argmax()" if self.inputs is None else f"Argmax({len(self.inputs)} inputs)"


@dataclass(frozen=True, eq=False)
class BoundArgmax(BoundClassifier):
    positions: np.ndarray  # [m] rows of the domain, in the order given

    @property
    def num_classes(self) -> int:
        return self.num_outputs ** len(self.positions)

    @property
    def route(self) -> Literal["table", "device"]:
        return "device" if self.num_classes <= MAX_DEVICE_CLASSES else "table"

    def classify(self, decisions: Any) -> Any:
        rows = as_index(select(decisions, self.positions, self.num_inputs))
        result = rows[0]
        for digit in range(1, len(self.positions)):
            result = result * self.num_outputs + rows[digit]
        return result

    def required_labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        index, digits = in_range(index, self.num_classes), []
        for _ in self.positions:
            index, digit = divmod(index, self.num_outputs)
            digits.append(digit)
        return self.positions, np.array(digits[::-1])

    def label(self, index: int) -> str:
        return tables.label(self.required_labels(index)[1], self.num_outputs)

    def index(self, label: Any) -> int:
        try:
            digits = tables.read_label(label, len(self.positions), self.num_outputs)
        except ValueError as error:
            raise KeyError(f"{label!r} is no class of Argmax: {error}") from None
        result = 0
        for digit in digits.tolist():
            result = result * self.num_outputs + digit
        return result
