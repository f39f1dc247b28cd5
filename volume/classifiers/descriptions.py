"""The rules that put functions in classes: the public names, and those that need no labels.

Shape letters: N inputs, C outputs, K tables, W words of a packed table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from volume.classifiers.argmax import Argmax
from volume.classifiers.base import BoundClassifier, Classifier, as_index, in_range, is_whole
from volume.classifiers.defects import Defects, OnTrigger
from volume.classifiers.given import Given
from volume.classifiers.labels import Accuracy, Fits
from volume.classifiers.lempel_ziv import LempelZiv
from volume.classifiers.npn import NPN
from volume.classifiers.predicate import Predicate
from volume.classifiers.product import Product
from volume.errors import unknown
from volume.functions import tables
from volume.functions.domains import Domain
from volume.functions.importance import ImportanceFunction, right_counts

__all__ = [
    "NPN",
    "Accuracy",
    "Argmax",
    "BoundClassifier",
    "Classifier",
    "Defects",
    "Fits",
    "Given",
    "LempelZiv",
    "OnTrigger",
    "Ones",
    "Predicate",
    "Product",
    "TruthTable",
    "from_description",
]


@dataclass(frozen=True, eq=False)
class TruthTable(Classifier):
    """Every function is its own class, labelled by its decisions in the order of the domain's inputs."""

    def bind(self, domain: Domain, num_outputs: int) -> BoundTruthTable:
        return BoundTruthTable(self, domain.num_inputs, num_outputs)

    def describe(self) -> dict[str, Any]:
        return {"name": "truth-table"}


@dataclass(frozen=True, eq=False)
class BoundTruthTable(BoundClassifier):
    """Class numbers are Python integers without bound: the key read as one number. Work with keys where you can."""

    @property
    def num_classes(self) -> None:
        return None

    @property
    def route(self) -> Literal["table", "device"]:
        return "table"

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

    def index(self, label: Any) -> int:
        return int.from_bytes(self.key(label).astype(">u8").tobytes(), "big")

    def label(self, index: int) -> str:
        return self.labels(self._key_of(index)[None])[0]

    def _key_of(self, index: int) -> np.ndarray:
        """[W]"""
        words = tables.num_words(self.num_inputs, self.num_outputs)
        return np.frombuffer(int(index).to_bytes(8 * words, "big"), ">u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class Ones(Classifier):
    """The number T of inputs in class 1, the class balance: classes "0" to "N". One output."""

    def bind(self, domain: Domain, num_outputs: int) -> BoundOnes:
        if num_outputs != 1:
            raise ValueError(f"Ones counts the inputs in class 1 of one output; this model has {num_outputs}.")
        return BoundOnes(self, domain.num_inputs, num_outputs)

    def describe(self) -> dict[str, Any]:
        return {"name": "ones"}


@dataclass(frozen=True, eq=False)
class BoundOnes(BoundClassifier):
    @property
    def num_classes(self) -> int:
        return self.num_inputs + 1

    def classify(self, decisions: Any) -> Any:
        return as_index(decisions.sum(axis=0, dtype=np.int32))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        ones = np.zeros(len(keys), np.int64)
        for word in range(keys.shape[1]):  # a sum over the short axis would be slower
            ones += np.bitwise_count(keys[:, word])
        return ones

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        return right_counts(np.arange(self.num_inputs), np.ones(self.num_inputs, int), index, index)

    def label(self, index: int) -> str:
        return str(in_range(index, self.num_classes))

    def index(self, label: Any) -> int:
        text = label if isinstance(label, str) else str(int(label)) if is_whole(label) else ""
        if text.isdecimal() and str(int(text)) == text and int(text) <= self.num_inputs:
            return int(text)
        raise KeyError(f"Ones has the classes '0' to '{self.num_inputs}'; got {label!r}.")


def from_description(description: Mapping[str, Any]) -> Classifier:
    """The classifier that ``describe()`` recorded. A Predicate comes back with its names only: it labels, no more."""
    name = description.get("name")
    if name == "fits":
        return Fits(description["inputs"], description["labels"])
    if name == "accuracy":
        return Accuracy(description["inputs"], description["labels"], description["bins"])
    if name == "argmax":
        return Argmax(description["inputs"])
    if name == "predicate":
        return Predicate(None, description["num_classes"], description["names"])
    if name == "product":
        return Product(*(from_description(factor) for factor in description["factors"]))
    if name == "given":
        within, split = (from_description(description[part]) for part in ("within", "split"))
        return Given(within, split, label=description["label"])
    if name == "on-trigger":
        return _on_trigger(OnTrigger, (), description)
    if name == "defects":
        return _on_trigger(Defects, (description["inputs"], description["labels"]), description["trigger"])
    plain: dict[Any, type[Classifier]] = {
        "truth-table": TruthTable,
        "ones": Ones,
        "lempel-ziv": LempelZiv,
        "npn": NPN,
    }
    if name not in plain:
        records = ("fits", "accuracy", "argmax", "predicate", "product", "given", "on-trigger", "defects")
        raise ValueError(unknown("classifier", name, (*plain, *records)))
    return plain[name]()


def _on_trigger(kind: type, monitored: tuple, trigger: Mapping[str, Any]) -> Classifier:
    options = {name: trigger[name] for name in ("bins", "target_label")}
    return kind(*monitored, trigger["inputs"], trigger["labels"], **options)
