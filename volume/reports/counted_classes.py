"""The classes of a counted report: the volume of each, of the largest, and of all that were never seen.

All answers are computed from the counts, on demand. Log volumes are natural logarithms.

Shape letters: B independent units, K classes seen, W words of a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from volume.classifiers.base import MAX_DEVICE_CLASSES, BoundClassifier, Classifier
from volume.errors import whole
from volume.functions.domains import Domain
from volume.reports.counted_entries import ClassTable, ClassVolume, estimate, estimate_tally, tally_nonfinite
from volume.reports.facts import Facts, Report
from volume.statistics.counts import Counts, Tally
from volume.statistics.intervals import cluster_at_zero
from volume.statistics.unseen import Unseen, unseen_mass

NONFINITE = "nonfinite"


@dataclass(frozen=True, eq=False, repr=False)
class CountedClasses(Report):
    """Counted draws, and what they say of every class; `VolumeReport` adds text, files and figures.

    The keys of ``counts`` are those of the classifier (``BoundClassifier.key``): packed tables for ``TruthTable``, else
    class numbers.
    """

    counts: Counts
    domain: Domain
    num_outputs: int
    classifier: Classifier
    description: dict[str, Any]  # "model", "prior", "domain", "classifier": what was asked
    method: dict[str, Any]
    seed: int | list[int]  # a number, or the two words of a JAX key
    run: dict[str, Any]  # versions, device, wall time, near ties
    conventions: dict[str, Any]
    level: float = 0.95

    @classmethod
    def of(
        cls,
        facts: Facts,
        counts: Counts,
        *,
        method: dict[str, Any],
        conventions: dict[str, Any],
        devices: list[Any],
        **run: Any,
    ) -> Self:
        """Return a method's report; ``run`` is what it records beside versions, devices and times."""
        query = facts.query
        return cls(
            counts=counts,
            domain=query.domain,
            num_outputs=query.model.num_outputs,
            classifier=query.classifier,
            description=query.describe(),
            method=method,
            seed=facts.seed,
            run=facts.run_record(devices, **run),
            conventions=conventions,
            level=facts.level,
        )

    @cached_property
    def bound(self) -> BoundClassifier:
        """The classifier on this report's domain."""
        return self.classifier.bind(self.domain, self.num_outputs)

    @property
    def num_draws(self) -> int:
        """Networks drawn; of complete counts all parameterisations that there are."""
        return self.counts.num_draws

    @property
    def complete(self) -> bool:
        """Whether every parameterisation was counted: volumes are then exact, and classes not seen are empty."""
        return self.counts.complete

    @property
    def log_shift(self) -> float:
        """Added to every log volume: -log |G| where each network of a continuous prior is counted once, else 0."""
        return float(self.conventions.get("log_shift") or 0.0)

    @property
    def quotient(self) -> bool:
        """Whether each network is counted once, its mass divided by the number of its symmetric copies."""
        return self.conventions.get("symmetry") == "quotient"

    def volumes(self, count: np.ndarray | float) -> np.ndarray:
        """Return volumes, linear, of so many hits."""
        return np.asarray(count) / self.counts.num_possible * np.exp(self.log_shift)

    @property
    def num_classes(self) -> int:
        """Number of classes seen."""
        return self.counts.num_classes

    @property
    def num_nonfinite(self) -> int:
        return int(self.counts.nonfinite.sum())

    @property
    def num_vanished(self) -> int:
        """Networks among the non-finite whose numbers the run's dtype does not hold; 0 where nobody looked."""
        return int(self.run.get("vanished") or 0)

    @property
    def named_in_advance(self) -> bool:
        """Whether all classes can be listed before the run: then nothing is selected by what was drawn."""
        known = self.bound.num_classes
        return known is not None and known <= MAX_DEVICE_CLASSES

    # --- one class ---

    def __getitem__(self, label: Any) -> ClassVolume:
        """The class of this label, from all draws. KeyError when there can be no such class."""
        if isinstance(label, str) and label == NONFINITE:
            return self.nonfinite
        key = self.bound.key(label)
        row = self.counts.find(key)
        return self._estimate(np.array([-1 if row is None else row]), keys=key[None])[0]

    def __contains__(self, label: object) -> bool:
        """Whether the class was seen; False for what is no label at all."""
        if isinstance(label, str) and label == NONFINITE:
            return self.num_nonfinite > 0
        try:
            return self.counts.find(self.bound.key(label)) is not None
        except KeyError:
            return False

    def __len__(self) -> int:
        return self.num_classes

    def __iter__(self) -> Iterator[str]:
        for start in range(0, self.num_classes, 10_000):
            yield from self.bound.labels(self.counts.keys[start : start + 10_000])

    def design_effect(self, label: Any) -> float:
        """Variance of the class's count over that of as many iid draws."""
        return self[label].design_effect

    @cached_property
    def nonfinite(self) -> ClassVolume:
        """Networks that gave NaN or inf somewhere on the domain: a class of their own."""
        unknown = np.full(1, np.nan)
        return estimate_tally(
            tally_nonfinite(self.counts),
            self.counts,
            np.zeros((1, 1), np.uint64),
            lambda keys: [NONFINITE] * len(keys),
            self.level,
            cluster=self.largest_cluster,  # nothing is known of how such networks cluster
            shift=self.log_shift,
            quotient=self.quotient,
            shares=(unknown, unknown, unknown),  # it is none of the classes that share
        )[0]

    @property
    def all_seen(self) -> bool:
        """Whether every class that there is was hit; False where nobody knows how many there are."""
        return self.num_classes == self.bound.total_classes

    @cached_property
    def unseen(self) -> Unseen:
        """The mass of the classes never seen: the chance that one more network is in none of those seen.

        Undecided draws may be in classes never seen, and the upper limit allows for all of them. Where every class was
        hit the mass is 0, exactly: an undecided network is in one of them too.
        """
        estimate = self.unseen_estimate
        if self.all_seen:
            return replace(estimate, mass=0.0, low=0.0, high=0.0, standard_error=0.0)
        if not self.num_vanished:
            return estimate
        return replace(estimate, high=min(1.0, estimate.high + self.num_nonfinite / self.counts.num_possible))

    @cached_property
    def unseen_estimate(self) -> Unseen:
        """The unseen mass from the counts alone: with no regard to how many classes there are, nor to undecided draws.

        Checks compare it between reports.
        """
        return unseen_mass(self.counts, self.level, cluster=self._cluster)

    # --- many classes ---

    def top(self, k: int = 10, *, simultaneous: bool = False) -> ClassTable:
        """Return the ``k`` largest classes.

        Where every class is named in advance all draws estimate and order them. Open-ended classes (truth
        tables) would look larger than they are if the draws that put them first also estimated them: there
        the first tenth of the units (at least one) chooses and orders, and the others estimate, as
        ``num_draws`` of each class says. Fewer than ``k`` come back when that tenth saw fewer. With fewer
        than 3 units, or nothing finite in the first tenth, all draws do both; a warning says so. Where every
        parameterisation was counted there is no chance in the order, and nothing to be spared.

        Args:
            k: number of classes.
            simultaneous: intervals that hold for all shown at once (Bonferroni): each gets (1 - level) / k, or, where
                all draws choose, (1 - level) over the number of classes to choose from.
        """
        k = whole("k", k)
        if self.named_in_advance:
            return self._named(simultaneous)[:k]
        rows, start = self._choose(k)
        tried = len(rows) if start else self.num_classes
        return self._estimate(rows, start, simultaneous=max(tried, 1) if simultaneous else 1)

    def classes(self, top: int | None = None) -> ClassTable:
        """Every class by falling volume: all those named in advance, seen or not, or else all those seen;
        from all draws.

        ``top`` cuts the list. A cut list of open-ended classes is chosen by the first tenth of the units,
        estimated on the others (see :meth:`top`) and sorted by those estimates.
        """
        top = None if top is None else whole("top", top)
        if self.named_in_advance:
            return self._named()[slice(top)]
        if top is None or top >= self.num_classes:
            return self._everything()
        rows, start = self._choose(top)
        return self._estimate(rows, start).by_volume()

    def _everything(self) -> ClassTable:
        """All classes seen. Sorted before they are estimated: columns of sums are fewer than columns of answers."""
        tally = self.counts.tally()
        order = np.argsort(-tally.count, kind="stable")  # classes stand in key order, and ties stay in it
        if not self.counts.even:
            return self._estimate(order)
        tally = Tally(*(column[order] for column in tally))
        return estimate_tally(
            tally,
            self.counts,
            self.counts.keys[order],
            self.bound.labels,
            self.level,
            cluster=self._cluster,
            shift=self.log_shift,
            quotient=self.quotient,
            undecided=self.num_vanished > 0,
        )

    def _named(self, simultaneous: bool = False) -> ClassTable:
        keys = np.arange(self.bound.num_classes or 0, dtype=np.uint64)[:, None]
        rows = np.full(len(keys), -1)
        rows[self.counts.keys[:, 0].astype(np.int64)] = np.arange(self.num_classes)
        return self._estimate(rows, keys=keys, simultaneous=len(keys) if simultaneous else 1).by_volume()

    def _estimate(
        self, rows: np.ndarray, start: int = 0, *, keys: np.ndarray | None = None, simultaneous: int = 1
    ) -> ClassTable:
        """Classes by position in the counts (-1: never drawn, then with ``keys``), from the units from ``start`` on."""
        return estimate(
            self.counts,
            self.counts.keys[rows] if keys is None else keys,
            rows,
            name=self.bound.labels,
            level=self.level,
            simultaneous=simultaneous,
            cluster=self._cluster,
            start=start,
            shift=self.log_shift,
            quotient=self.quotient,
            undecided=self.num_vanished > 0,
        )

    @property
    def largest_cluster(self) -> float:
        """The most hits that one rare body, or one rare head, can bring to a unit."""
        if self.counts.copies > 1:  # draws by themselves
            return self.counts.copies
        shared = [value for name in ("heads", "bodies") if isinstance(value := self.method.get(name), int)]
        return min(max(shared), self.counts.unit_size) if shared else self.counts.unit_size

    @cached_property
    def _cluster(self) -> float:
        """The cluster size assumed for classes never seen."""
        if self.counts.independent or self.counts.complete:
            return 1.0
        if self.counts.copies > 1:  # hits of classes that were seen do not show what a rarer draw brings
            return self.largest_cluster
        return cluster_at_zero(self.counts.tally(), self.largest_cluster)

    def _choose(self, k: int) -> tuple[np.ndarray, int]:
        """Positions of at most ``k`` classes by falling pilot count, and the first unit that had no part in it."""
        pilot = self.pilot_units
        count = self.counts.tally(0, pilot or None).count
        if not count.any():
            pilot, count = 0, self.counts.tally().count
        seen = np.flatnonzero(count)
        if len(seen) > k:
            least = np.partition(count[seen], len(seen) - k)[len(seen) - k]
            seen = seen[count[seen] >= least]
        # A stable sort of classes that stand in key order: ties are broken by key, never by chance.
        return seen[np.argsort(-count[seen], kind="stable")][:k], pilot

    @property
    def pilot_units(self) -> int:
        """Units that choose which open-ended classes are shown; 0 when there are too few units to split, or every
        parameterisation was counted."""
        return self.counts.pilot_units
