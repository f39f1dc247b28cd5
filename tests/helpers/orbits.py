"""Orbits of finite priors counted by brute force over the group of symmetries."""

import itertools
import math

import numpy as np


def lattice(model, levels):
    """Every parameterisation, {name: [M, *shape]}, with one tuple of levels for each layer."""
    choices = [levels[p.layer] for p in model.parameters for _ in range(math.prod(p.shape))]
    points = np.array(list(itertools.product(*choices)), np.float32)
    params, start = {}, 0
    for p in model.parameters:
        size = math.prod(p.shape)
        params[p.name] = points[:, start : start + size].reshape(-1, *p.shape)
        start += size
    return params


def fixed(symmetry, params, element):
    """Which parameters [M] this element leaves as they are: Burnside's fixed points."""
    moved = symmetry.act(params, element, leading=1)
    return np.all([(moved[k] == params[k]).reshape(len(params[k]), -1).all(1) for k in params], axis=0)


def orbits_by_hand(symmetry, params):
    """Orbits counted without stabilisers: distinct least images under the group."""
    images = []
    for element in symmetry.elements():
        moved = symmetry.act(params, element, leading=1)
        images.append(np.concatenate([moved[k].reshape(len(moved[k]), -1) + 0.0 for k in params], axis=1))  # -0.0
    least = {min(map(tuple, rows)) for rows in np.stack(images, axis=1)}
    return len(least)
