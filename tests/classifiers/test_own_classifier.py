"""A classifier that is defined in one file, this one: methods and reports take it, and nothing else knows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from shared_queries import TANH_FITS

import volume
from volume.classifiers.base import BoundClassifier, Classifier, from_description
from volume.classifiers.class_numbers import as_index, in_range
from volume.functions.domains import Domain
from volume.functions.importance import Every

LABELS: tuple[str, ...] = ("neither", "second", "first", "both")


@dataclass(frozen=True, eq=False)
class Pair(Classifier):
    """Which of two inputs, given by their numbers, are in class 1. One output."""

    kind: ClassVar[str] = "pair of a test"
    default_label: ClassVar[str] = "both"
    first: int
    second: int

    def bind(self, domain: Domain, num_outputs: int) -> BoundPair:
        return BoundPair(self, domain.num_inputs, num_outputs, self.first, self.second)


@dataclass(frozen=True, eq=False)
class BoundPair(BoundClassifier):
    first: int
    second: int

    @property
    def num_classes(self) -> int:
        return 4

    def classify(self, decisions: Any) -> Any:
        return 2 * as_index(decisions[self.first]) + as_index(decisions[self.second])

    def label(self, index: int) -> str:
        return LABELS[in_range(index, 4)]

    def index(self, label: Any) -> int:
        if label not in LABELS:
            raise KeyError(f"Pair has the classes {LABELS}; got {label!r}.")
        return LABELS.index(label)

    def required_labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self.first, self.second]), np.array([index // 2, index % 2])


PAIR = Pair(3, 6)


def question(classifier: Classifier = PAIR) -> volume.Query:
    model = volume.models.Perceptron(3, bias=False)
    return volume.Query(model, volume.samplers.Gaussian(1.0), volume.BooleanCube(3), classifier)


def by_hand(table: str) -> str:
    return LABELS[2 * int(table[3]) + int(table[6])]


def test_direct_counts_it_and_its_report_is_kept(tmp_path):
    report = volume.estimate(question(), volume.Direct(20_000), seed=0)
    tables = volume.estimate(question(volume.TruthTable()), volume.Direct(20_000), seed=0)
    counts: dict[str, int] = dict.fromkeys(LABELS, 0)
    for entry in tables.classes():
        counts[by_hand(entry.label)] += entry.count
    assert {label: report[label].count for label in LABELS} == counts
    assert {entry.label: entry.count for entry in tables.group_by(PAIR).classes()} == counts
    report.save(tmp_path)
    assert volume.load(tmp_path)["first"].count == counts["first"]  # type: ignore[union-attr]  # it counts
    assert from_description(PAIR.describe()) == PAIR != Pair(6, 3)


def test_scores_are_those_of_its_labels():
    bound, inputs = question().bound, question().domain.inputs
    for index, labels in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        fits = question(volume.Fits(inputs[[3, 6]], labels)).bound
        for chain in (False, True):
            assert bound.importance_function(index, chain=chain) == fits.importance_function(1, chain=chain)
    product = question(PAIR * volume.Ones()).bound
    ones = question(volume.Ones()).bound.importance_function(5)
    assert product.importance_function(product.index("first, 5")) == Every((bound.importance_function(2), ones))


@pytest.mark.slow
def test_splitting_answers_by_its_labels():
    """One compiled program for both, that of TANH_FITS elsewhere: inputs 00 and 11 with the labels 1 and 0."""
    method = volume.Splitting(particles=64, moves=4, replicates=8)
    report = volume.estimate(replace(TANH_FITS, classifier=Pair(0, 3)), replace(method, labels=("first",)), seed=6)
    assert [entry.label for entry in report.entries] == ["first"]
    assert report["first"].log_volume == volume.estimate(TANH_FITS, method, seed=6)["fits"].log_volume


def test_it_is_given_and_split_and_multiplied():
    found = volume.estimate(question(volume.Given(PAIR, volume.Ones())), volume.Direct(20_000), seed=0)
    share = {entry.label: entry.share for entry in volume.shares(found)}
    tables = volume.estimate(question(volume.TruthTable()), volume.Direct(20_000), seed=0)
    both = [entry for entry in tables.classes() if by_hand(entry.label) == "both"]
    five = sum(entry.count for entry in both if entry.label.count("1") == 5)
    assert share["5"] == pytest.approx(five / sum(entry.count for entry in both), abs=1e-12)
    assert tables.group_by(PAIR * volume.Ones())["both, 5"].count == five
    limit = volume.infinite_width(question(), "first", samples=4096)
    # Inputs 011 and 110 are 60 degrees apart, and a direction of the weights is as likely as any other.
    assert limit.log_probability == pytest.approx(math.log(1 / 6), abs=0.01)  # quasi-random: some 100 times its error


def test_a_kind_has_one_class():
    with pytest.raises(TypeError, match="of kind 'fits', as Fits is"):
        type("Other", (Pair,), {"kind": "fits"})
    with pytest.raises(ValueError, match="Unknown classifier 'pear of a test'"):
        from_description({"name": "pear of a test"})
