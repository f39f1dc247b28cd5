"""Every size is bounded, or held against this machine's memory, before anything is allocated or traced."""

from __future__ import annotations

import time

import numpy as np
import pytest
from cli_runs import run
from shared_queries import PLANE, RELU

import volume
from volume import models, samplers

SMALL = "estimate --model mlp:3-4-1"


@pytest.mark.parametrize(
    "line",
    [
        f"{SMALL} --classifier accuracy:target=majority,bins=1e9 --draws 10",
        f"{SMALL} --classifier given:target=majority,train=4,bins=1e9 --draws 10",
        f"{SMALL} --classifier fits:labels=00000001 --method splitting --replicates 1e15",
        f"{SMALL} --classifier fits:labels=00000001 --method splitting --particles 1e15",
        f"{SMALL} --classifier fits:labels=00000001 --method splitting --moves 1e15",
        f"{SMALL} --classifier fits:labels=00000001 --method splitting --particles 4e6 --replicates 6e4",
        f"{SMALL} --classifier fits:labels=00000001 --method infinite-width --replicates 1e15 --samples 1e20",
        f"{SMALL} --classifier fits:labels=00000001 --method infinite-width --samples 1e15",
        f"{SMALL} --classifier fits:labels=00000001 --method trained --runs 1e15",
        f"{SMALL} --classifier fits:labels=00000001 --method trained --runs 10 --batch-size 1e15",
        "estimate --model mlp:7-99999999999999-1 --draws 10",
        "estimate --model mlp:7-9999999-9999999-1 --draws 10 --classifier ones",
        f"estimate --model mlp:3{'-2' * 3000}-1 --draws 10",
        "estimate --model mlp:3-4-99999999999 --draws 10",
        "estimate --model mlp:40-4-1 --domain boolean:40 --draws 10",
        f"{SMALL} --draws 1e15 --classifier ones",
        f"{SMALL} --draws 1e13",
        f"{SMALL} --draws 10 --heads 1e15",
        f"{SMALL} --draws 10 --bodies 1e15",
        f"{SMALL} --draws 10 --memory 1e25",
        f"{SMALL} --method exact --prior ternary --limit 1e25",
        "sweep --model mlp:3-4-1 --draws 10 --label zeros --over depth --values 1,1e9",
        "sweep --model mlp:3-4-1 --draws 10 --label zeros --over width --values 1,1e12",
        "measures --target majority --train 4 --model mlp:3-4-1 --bins 1e9",
        "measures --target addition:2x1000000 --train 4",
        "count --inputs 5 --digits 1e9",
    ],
)
def test_what_is_too_large_is_refused_at_once(capsys, line):
    start = time.perf_counter()
    code, out, err = run(capsys, *line.split())
    assert (code, out) == (2, ""), err
    assert "Memory" not in err
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    "settings",
    [
        {"particles": 32},
        {"moves": 3},
        {"replicates": 4},
        {"line_points": 2},
        {"chain": "levels"},
        {"start_from": "prior"},
        {"estimator": "splitting", "rays": 64},
        {"estimator": "splitting", "fit": 7},
        {"estimator": "splitting", "preconditioner": "identity"},
        {"estimator": "splitting", "drift": False},
        {"estimator": "splitting", "probes": 3},
        {"preconditioner": "identity", "fit": 7},
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(settings):
    anchor = {p.name: np.ones(p.shape) for p in PLANE.model.parameters}
    with pytest.raises(ValueError, match="would be ignored"):
        volume.Local(anchor, 1e-2, **settings)


def test_what_both_read_is_taken():
    anchor = {p.name: np.ones(p.shape) for p in PLANE.model.parameters}
    both = volume.Local(anchor, 1e-2, estimator="both", particles=32, rays=64, fit=3)
    assert (both.particles, both.rays) == (32, 64)
    volume.Local(anchor, 1e-2, particles=64)  # its default


def test_splitting_refuses_what_it_would_ignore():
    with pytest.raises(ValueError, match="chain=True orders"):
        volume.Splitting(score=lambda outputs: outputs.sum(), chain=True)
    fits = volume.Query(RELU.model, RELU.prior, RELU.domain, volume.Fits([[0, 1], [1, 1]], [1, 0]))
    with pytest.raises(ValueError, match="resolve=True is about the parts of a Given"):
        volume.estimate(fits, volume.Splitting(resolve=True))


def test_a_network_larger_than_memory():
    wide = models.MLP((2, 10**8, 10**8, 1))
    with pytest.raises(ValueError, match=r"One network of [\d,]+ parameters takes [\d,.e+]+ GiB, and this machine has"):
        volume.Query(wide, samplers.Gaussian(), volume.BooleanCube(2))
