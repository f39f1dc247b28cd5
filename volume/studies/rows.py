"""The rows of the table of measures: the classes of behaviour on inputs whose labels were not trained on.

Shape letters: K rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from volume.classifiers.graded import Graded


@dataclass(frozen=True)
class Row:
    """One class of behaviour on the other inputs."""

    label: str  # of the class in the query
    words: str  # for people
    fewest: int | None  # right answers, both ends included; None where they do not decide the class
    most: int | None

    @property
    def counts(self) -> str:
        """For example "58 to 63"."""
        if self.fewest is None:
            return ""
        return f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Row:
        return cls(record["label"], record["words"], record["right_at_least"], record["right_at_most"])

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "words": self.words, "right_at_least": self.fewest, "right_at_most": self.most}


def rows_of(split: Graded) -> tuple[Row, ...]:
    """Return the rows [K], in the order of the class numbers."""
    return tuple(_row(split, index) for index in range(split.num_classes or 0))


def _row(split: Graded, index: int) -> Row:
    right = split.counts_in(index)
    fewest, most = (int(right[0]), int(right[-1])) if len(right) else (None, None)
    return Row(split.label(index), split.words(index), fewest, most)
