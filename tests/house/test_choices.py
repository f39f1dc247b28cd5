"""Words that arguments choose from: those of the functions behind them, and one sentence for a wrong one."""

from __future__ import annotations

import re

import numpy as np
import pytest

import volume
from volume import models, samplers
from volume.commands import methods
from volume.common import choices
from volume.common.validation import check_arithmetic, check_choice, check_fraction, check_level
from volume.estimators.local import divergence

METHODS = (volume.Direct, volume.Exact, volume.Splitting, volume.InfiniteWidth, volume.Trained)


def test_every_word_stands_for_a_function():
    assert tuple(models.ACTIVATIONS) == choices.ACTIVATIONS
    assert tuple(samplers.OBJECTIVES) == methods.OBJECTIVES
    assert tuple(divergence._KINDS) == choices.DIVERGENCES
    assert tuple(method.name for method in METHODS) == methods.METHODS


@pytest.mark.parametrize("method", [volume.Direct, volume.Trained, volume.Exact, volume.Splitting])
@pytest.mark.parametrize(("name", "given", "near"), [("dtype", "float46", "float64"), ("precision", "hihg", "high")])
def test_methods_refuse_an_arithmetic_that_nobody_has(method, name, given, near):
    first = (10,) if method in (volume.Direct, volume.Trained) else ()
    with pytest.raises(ValueError, match=rf"Unknown {name} {given!r}; known: .*Did you mean {near!r}\?"):
        method(*first, **{name: given})


def test_arithmetic_and_choices():
    check_arithmetic("float64", "high")
    check_choice("path", "sums", choices.PATHS)
    with pytest.raises(ValueError, match=r"Unknown path 'sum'; known: auto, blocks, sums\. Did you mean 'sums'"):
        check_choice("path", "sum", choices.PATHS)


@pytest.mark.parametrize("level", [0.95, np.float32(0.5), np.float64(1e-9), 1 - 1e-12])
def test_levels(level):
    check_level(level)


@pytest.mark.parametrize(
    "level", [0, 1, 0.0, 1.0, 95, -0.1, float("nan"), True, "0.9", None, (0.5,), np.array([0.5, 0.6])]
)
def test_no_levels(level):
    with pytest.raises(
        ValueError, match=re.escape(f"level={level!r} is not between 0 and 1: give for example level=0.95.")
    ):
        check_level(level)


def test_the_sentence_names_the_argument():
    with pytest.raises(ValueError, match=r"alpha=2 is not between 0 and 1: give for example alpha=1e-6\."):
        check_fraction("alpha", 2, "1e-6")
