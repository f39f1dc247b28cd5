"""Queries that tests share, so that a program is compiled once: take one of these unless the shape is the subject.

``Query(PLANE.model, PLANE.prior, PLANE.domain, classifier)`` puts another question to the same network.
"""

import math

from volume import BooleanCube, Fits, Query
from volume.models import MLP, Perceptron
from volume.samplers import Gaussian, Lattice

SQUARE, CUBE = BooleanCube(2), BooleanCube(3)

# Half-planes through the origin: 0000 and the three tables of a sector's neighbours; input 00 is always class 0.
PLANE = Query(Perceptron(2, bias=False), Gaussian(1.0), SQUARE)
# Half-planes with biases, whose 14 volumes are closed forms (CLOSED_FORMS).
AFFINE = Query(Perceptron(2), Gaussian(weight_std=math.sqrt(2), bias_std=1.0), SQUARE)
# The smallest ReLU network that is no perceptron; 1111 and all else that starts with 1 is empty.
RELU = Query(MLP((2, 3, 1), bias=False), Gaussian(1.0), SQUARE)
# With biases every table has a volume; 3! 2^3 copies of each network.
TANH = Query(MLP((2, 3, 1), "tanh"), Gaussian(1.0, 0.5), SQUARE)
TANH_FITS = Query(TANH.model, TANH.prior, SQUARE, Fits([[0, 0], [1, 1]], [1, 0]))
# Wide enough for a limit of infinite width, and 2^40 copies.
WIDE = Query(MLP((2, 40, 1)), Gaussian(1.0, 0.5), SQUARE)
# 3^9 networks, to be counted one by one.
TERNARY = Query(MLP((2, 3, 1), bias=False), Lattice.ternary(), SQUARE)
# To be trained: 256 tables of three inputs.
TRAINED = Query(MLP((3, 8, 1)), Gaussian(1.0, 0.1), CUBE)


def by_label(volumes: dict[str, float]) -> dict[str, float]:
    return {label: volume for labels, volume in volumes.items() for label in labels.split()}


# Volumes of all tables of AFFINE by the three-orthant formula, per coding of the inputs.
CLOSED_FORMS = {
    (0, 1): by_label(
        {
            "0000 1111": 0.27704336,
            "0011 0101 1010 1100": 0.04787670,
            "1000 0111": 1 / 24,
            "0010 0100 1011 1101": 0.03545664,
            "0001 1110": 0.01462330,
            "0110 1001": 0.0,
        }
    ),
    (-1, 1): by_label(
        {
            "0001 0010 0100 1000 0111 1011 1101 1110": 0.0438699140,
            "0000 1111 0011 1100 0101 1010": 0.1081734480,
            "0110 1001": 0.0,
        }
    ),
}
