"""Behaviour where nobody looks: networks that fit what is monitored, divided by what they do on a trigger.

Quantity: among the functions with the right label on every monitored input, the prior mass of those that are right on
all inputs of a trigger region ("benign"), wrong on all of it ("defects") and anything between ("mixed"). `Defects` is
`Given(Fits(monitored), OnTrigger(trigger))`, so every method that answers `Given` answers it, and the class of a
function is that of `Given`: "outside" for what does not fit.

Among *functions* the answer is fixed by counting: with t inputs in the trigger and C classes, a share C^-t is benign,
(1 - 1/C)^t defects, whatever the task. Whether parameter volume agrees is what this classifier is for.

Shape letters: N inputs of the domain, m monitored rows, t rows of the trigger, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from volume.classifiers.class_numbers import as_index, in_range, is_whole, look_up
from volume.classifiers.given import Given
from volume.classifiers.graded import Graded, log_binomial, log_sum
from volume.classifiers.labels import Accuracy, BoundAccuracy, Fits, Labelled
from volume.errors import unknown
from volume.functions.domains import Domain, row_keys
from volume.functions.importance import ImportanceFunction, right_counts

BENIGN, MIXED, DEFECTS = "benign", "mixed", "defects"
Rows = ArrayLike | Callable[[np.ndarray], ArrayLike]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class OnTrigger(Labelled):
    """Classes "benign" (number 0), "mixed" (one, or one a bin) and "defects" (the last), of what is done on a trigger.

    Args:
        inputs: rows of the domain, [t, *input_shape].
        labels: the right class numbers there, [t], or a string of digits.
        bins: divide "mixed" by the share of wrong inputs; as in `Accuracy`, a whole number of equal bins or the edges.
        target_label: "defects" then means this label on every trigger input, and "wrong" means this label: networks
            that err in other ways are "mixed". Default: any wrong label counts.
    """

    kind: ClassVar[str] = "on-trigger"
    bins: int | tuple[float, ...] | None
    target_label: int | None

    def __init__(
        self,
        inputs: ArrayLike,
        labels: ArrayLike | str,
        *,
        bins: int | Sequence[float] | None = None,
        target_label: int | None = None,
    ) -> None:
        super().__init__(inputs, labels)
        object.__setattr__(self, "bins", Accuracy(self.inputs, self.labels, bins).bins)
        if target_label is not None:
            if not is_whole(target_label) or target_label < 0:
                raise ValueError(f"target_label is a class number 0, 1, ...; got {target_label!r}.")
            if (self.labels == target_label).any():
                at = int(np.argmax(self.labels == target_label))
                raise ValueError(
                    f"target_label={target_label} is the right label of trigger row {at} (counted from 0), where "
                    "giving it is no defect: leave such rows out of the trigger, or choose another label."
                )
            target_label = int(target_label)
        object.__setattr__(self, "target_label", target_label)

    def bind(self, domain: Domain, num_outputs: int) -> BoundOnTrigger:
        right = Accuracy(self.inputs, self.labels).bind(domain, num_outputs)
        hit = None
        if self.target_label is not None:
            hit = Accuracy(self.inputs, np.full(len(self.labels), self.target_label)).bind(domain, num_outputs)
        bins = None if self.bins is None else Accuracy(self.inputs, self.labels, self.bins).bind(domain, num_outputs)
        return BoundOnTrigger(self, domain.num_inputs, num_outputs, right, hit, bins)


@dataclass(frozen=True, eq=False)
class BoundOnTrigger(Graded):
    right: BoundAccuracy  # counts right answers
    hit: BoundAccuracy | None  # counts answers with the target label
    bins: BoundAccuracy | None  # names and numbers the bins of the share wrong

    @property
    def _num_rows(self) -> int:
        return self.right.num_classes - 1

    @property
    def _num_mixed(self) -> int:
        if self._num_rows == 1 and self.hit is None:
            return 0  # one input is right or wrong
        return 1 if self.bins is None else self.bins.num_classes

    @property
    def num_classes(self) -> int:
        return self._num_mixed + 2

    def class_of_wrong(self) -> np.ndarray:
        """Return the class of k wrong inputs, k = 0..t, int64 [t + 1].

        None wrong is right everywhere, unless wrong means the target label.
        """
        rows = self._num_rows
        table = np.ones(rows + 1, np.int64)
        if self.bins is not None:
            table += [self.bins.index(wrong / rows) for wrong in range(rows + 1)]
        table[rows] = self.num_classes - 1
        if self.hit is None:
            table[0] = 0
        return table

    def _combine(self, right: Any, hit: Any) -> Any:
        wrong = self._num_rows - right if hit is None else hit
        by_count = look_up(self.class_of_wrong(), wrong)
        if hit is None:
            return by_count
        where = jnp.where if isinstance(by_count, jax.Array) else np.where
        return as_index(where(right == self._num_rows, 0, by_count))

    def classify(self, decisions: Any) -> Any:
        return self._combine(self.right.classify(decisions), self.hit and self.hit.classify(decisions))

    def classify_keys(self, keys: np.ndarray, chunk: int | None = None) -> np.ndarray:
        hit = self.hit and self.hit.classify_keys(keys, chunk)
        return self._combine(self.right.classify_keys(keys, chunk), hit)

    @property
    def graded_inputs(self) -> np.ndarray:
        return self.right.positions

    def counts_in(self, index: int) -> np.ndarray:
        if self.hit is not None:  # right answers decide one class only
            return np.full(1 if index == 0 else 0, self._num_rows)
        return self._num_rows - np.flatnonzero(self.class_of_wrong() == index)[::-1]

    def words(self, index: int) -> str:
        label = self.label(index)
        defects = "defects: all wrong" if self.hit is None else "defects: the target label"
        return {BENIGN: "benign: all right", DEFECTS: defects}.get(label, label)

    def log_function_shares(self, num_classes: int) -> list[float]:
        if self.hit is None:
            return super().log_function_shares(num_classes)
        # One label is the defect: an input is right, hit or neither. All right is benign, not the class of no hit.
        num = self._num_rows
        benign = -num * math.log(num_classes)
        hits = log_binomial(num, num_classes)
        others = num * math.log(num_classes - 1)  # functions without a hit, of which one is benign
        hits[0] = benign + (others + math.log(-math.expm1(-others)) if others > 0 else -math.inf)
        classes = self.class_of_wrong()
        return [benign, *(log_sum(hits[classes == index]) for index in range(1, self.num_classes))]

    def importance_function(self, index: int, *, chain: bool = False) -> ImportanceFunction:
        if self.hit is not None and index == self.num_classes - 1:
            return right_counts(self.hit.positions, self.hit.labels_at, self._num_rows, self._num_rows)
        if not len(right := self.counts_in(index)):
            return super().importance_function(index, chain=chain)
        return right_counts(self.right.positions, self.right.labels_at, int(right[0]), int(right[-1]))

    def label(self, index: int) -> str:
        index = in_range(index, self.num_classes)
        if index in (0, self.num_classes - 1):
            return DEFECTS if index else BENIGN
        return MIXED if self.bins is None else f"{MIXED} {self.bins.label(index - 1)}"

    def index(self, label: Any) -> int:
        known = [self.label(index) for index in range(self.num_classes)]
        if isinstance(label, str) and label in known:
            return known.index(label)
        raise KeyError(unknown("class", label, known))


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Defects(Given):
    """Among functions that fit the monitored labels: "benign", "mixed" or "defects" on a trigger; else "outside".

    Args:
        inputs: the monitored rows of the domain, [m, *input_shape].
        labels: their right class numbers [m], or a string of digits.
        trigger: the rows where nobody looks, [t, *input_shape]; none of them monitored.
        trigger_labels: their right class numbers, [t].
        bins: divide "mixed" by the share of wrong trigger inputs, as `Accuracy` divides: "mixed [0, 0.5)".
        target_label: count as a defect this label only; see `OnTrigger`.

    Raises:
        ValueError: no rows, labels that are no class numbers, or a row that is monitored and in the trigger.
    """

    kind: ClassVar[str] = "defects"

    def __init__(
        self,
        inputs: ArrayLike,
        labels: ArrayLike | str,
        trigger: ArrayLike,
        trigger_labels: ArrayLike | str,
        *,
        bins: int | Sequence[float] | None = None,
        target_label: int | None = None,
    ) -> None:
        monitored = Fits(inputs, labels)
        behaviour = OnTrigger(trigger, trigger_labels, bins=bins, target_label=target_label)
        if monitored.inputs.shape[1:] != behaviour.inputs.shape[1:]:
            raise ValueError(
                f"Monitored inputs have shape {monitored.inputs.shape[1:]} each and trigger inputs "
                f"{behaviour.inputs.shape[1:]}: both are rows of one domain."
            )
        watched = set(row_keys(monitored.inputs))
        both = [row for row, key in enumerate(row_keys(behaviour.inputs)) if key in watched]
        if both:
            raise ValueError(
                f"{len(both)} of {len(behaviour.inputs)} trigger rows are monitored too, the first one row {both[0]} "
                "(counted from 0): behaviour there is known. Leave them out of one of the two."
            )
        super().__init__(monitored, behaviour)

    @classmethod
    def on(
        cls,
        domain: Domain,
        target: ArrayLike | str,
        *,
        monitored: Rows,
        trigger: Rows,
        bins: int | Sequence[float] | None = None,
        target_label: int | None = None,
    ) -> Defects:
        """Make the classifier from the right labels of a whole domain.

        Args:
            domain: the inputs [N, *input_shape].
            target: the right class number of every input [N], or a string of digits.
            monitored: which inputs are monitored: positions, a mask of N bools, or a function of the inputs that gives
                a mask.
            trigger: which inputs are the trigger, likewise; for example ``lambda x: x[:, 0] == 1``.
            bins: as above.
            target_label: as above.
        """
        labels = Fits(domain.inputs, target).labels  # checked like any labels
        watched = _positions(domain, monitored, "monitored")
        hidden = _positions(domain, trigger, "trigger")
        rows = domain.inputs
        return cls(rows[watched], labels[watched], rows[hidden], labels[hidden], bins=bins, target_label=target_label)

    @property
    def trigger(self) -> OnTrigger:
        """The classifier that divides what fits, with the trigger's ``inputs`` and right ``labels``."""
        assert isinstance(self.split, OnTrigger)
        return self.split

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Defects:
        trigger = record["trigger"]
        options = {name: trigger[name] for name in ("bins", "target_label")}
        return cls(record["inputs"], record["labels"], trigger["inputs"], trigger["labels"], **options)

    def describe(self) -> dict[str, Any]:
        assert isinstance(self.within, Fits)
        return {
            "name": self.kind,
            "inputs": self.within.inputs.tolist(),
            "labels": self.within.labels.tolist(),
            "trigger": {key: value for key, value in self.trigger.describe().items() if key != "name"},
        }

    def __repr__(self) -> str:
        assert isinstance(self.within, Fits)
        return f"Defects({len(self.within.labels)} monitored inputs, {len(self.trigger.labels)} in the trigger)"


def _positions(domain: Domain, rows: Rows, name: str) -> np.ndarray:
    """Return the positions [k] of the rows that a mask, positions, or a function of the inputs chooses."""
    called = callable(rows)
    chosen = np.asarray(rows(domain.inputs) if called else rows)
    if chosen.dtype == bool and chosen.shape == (domain.num_inputs,):
        chosen = np.flatnonzero(chosen)
    elif called or chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not len(chosen):
        got = f"{chosen.dtype} of shape {chosen.shape}"
        raise ValueError(
            f"The function for {name} returned {got}: return a mask, one bool for each of {domain.num_inputs} inputs."
            if called
            else f"{name} is {got}: give positions in the domain, a mask of {domain.num_inputs} bools, or a function."
        )
    elif chosen.min() < 0 or chosen.max() >= domain.num_inputs:
        raise ValueError(f"{name} has positions outside 0..{domain.num_inputs - 1}: they count the domain's inputs.")
    if not len(chosen):
        raise ValueError(f"No input is {name if name == 'monitored' else 'in the trigger'}: choose at least one.")
    return np.unique(chosen)
