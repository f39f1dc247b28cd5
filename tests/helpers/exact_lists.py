"""Small networks on finite priors, and all their parameterisations listed in plain Python."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np

import volume
from volume.models import MLP, Perceptron
from volume.samplers import Lattice

CUBE2, SIGNED2 = volume.BooleanCube(2), volume.BooleanCube(2, coding=(-1, 1))
HALVES = Lattice(((-0.5, 1.5), (-1, 0, 2)), ((0.25,), (-1, 0.5)))  # asymmetric, per layer, biases of their own

# name -> (network, prior, domain). Small enough to be listed by hand.
SMALL = {
    "binary sign": (MLP((2, 2, 1), "sign", bias=False), Lattice.binary(), SIGNED2),
    "binary sign, {0,1}": (MLP((2, 2, 1), "sign", bias=False), Lattice.binary(), CUBE2),
    # Symmetric levels would hide the tie rule of the hidden sign.
    "uneven sign": (MLP((2, 2, 1), "sign"), Lattice(((-1, 0, 1), (-1, 2)), (0,)), CUBE2),
    "ternary relu": (MLP((2, 3, 1), bias=False), Lattice.ternary(), CUBE2),
    "relu with biases": (MLP((2, 2, 1)), Lattice.binary(), SIGNED2),
    "levels per layer": (MLP((2, 2, 1)), HALVES, CUBE2),
    "two outputs": (MLP((2, 2, 2), bias=False), Lattice((-1, 0, 2)), SIGNED2),
    "three outputs, biases": (MLP((2, 1, 3)), Lattice(((-1, 1), (-1, 0, 1)), (0, 1)), CUBE2),
    "two hidden layers": (MLP((2, 2, 2, 1), bias=False), Lattice.binary(), SIGNED2),
    "two hidden layers, sign": (
        MLP((2, 2, 2, 1), "sign"),
        Lattice(((-1, 1), (-1, 2), (1, -1)), ((0,), (-0.5, 1), (0.25,))),
        CUBE2,
    ),
    "two hidden layers, two outputs": (
        MLP((1, 2, 2, 2), bias=False),
        Lattice(((-1, 1), (-1, 2), (-3, 1))),
        volume.Points([[1.0], [-2.0], [0.5]]),
    ),
    "linear hidden": (MLP((3, 2, 1), "linear", bias=False), Lattice((-1, 0, 1)), volume.BooleanCube(3)),
    "perceptron": (Perceptron(3), Lattice((-2, -1, 0, 1)), volume.BooleanCube(3, coding=(-1, 1))),
    "no hidden layer, two outputs": (MLP((2, 2)), Lattice((-1, 0.5, 3)), CUBE2),
    "uneven points": (MLP((1, 2, 1)), Lattice((-1, 0, 2)), volume.Points([[0.5], [-3], [1.25], [2], [7]])),
}


def listed(model, prior, domain, form=None):
    """Hits of every label, by listing all parameterisations and computing with fractions.

    With ``form``, a function of a parameterisation, only one of those with the same form counts.
    """
    levels = prior.levels_of(model.parameters)
    entries = [each for p, each in zip(model.parameters, levels, strict=True) for _ in range(math.prod(p.shape))]
    activation = getattr(model, "activation", "linear")
    hits: Counter[str] = Counter()
    forms = set()
    inputs = [[Fraction(float(value)) for value in row] for row in np.asarray(domain.inputs)]
    for point in itertools.product(*entries):
        if form is not None:
            if form(point) in forms:
                continue
            forms.add(form(point))
        values, layers = iter(map(Fraction, point)), {}
        for p in model.parameters:
            layers.setdefault(p.layer, {})[p.kind] = [next(values) for _ in range(math.prod(p.shape))]
        label = ""
        for row in inputs:
            for depth, layer in sorted(layers.items()):
                fan_out = len(layer["weight"]) // len(row)
                bias = layer.get("bias", [Fraction(0)] * fan_out)
                total = [
                    sum((x * layer["weight"][i * fan_out + j] for i, x in enumerate(row)), bias[j])
                    for j in range(fan_out)
                ]
                row = total
                if depth < len(layers) - 1:
                    if activation == "relu":
                        row = [max(a, Fraction(0)) for a in total]
                    elif activation == "sign":
                        row = [Fraction(1 if a > 0 else -1) for a in total]
            label += str(int(row[0] > 0) if len(row) == 1 else max(range(len(row)), key=row.__getitem__))
        hits[label] += 1
    return hits


@functools.cache
def truth(name):
    return listed(*SMALL[name])
