"""Questions of local volumes that tests of parts share: by rays and by both chains of splitting, quickly answered."""

from __future__ import annotations

from typing import Any

import numpy as np

import volume
from benchmarks.local_truths import quadratic, vector_model
from volume import models, samplers

AT = np.array([0.5, -0.3, 0.2])
HALF = np.diag([30.0, 4.0, 1.0]).astype(np.float32)
DIVERGENCE = volume.DivergenceFunction(quadratic, {"at": AT.astype(np.float32), "half": HALF})
QUERY = volume.Query(vector_model(3), samplers.Gaussian(1.0, 1.0), volume.Points(np.zeros((1, 3))))
SMALL = {"particles": 16, "moves": 2, "replicates": 4, "line_points": 2, "estimator": "splitting"}


def local(**settings: Any) -> volume.Local:
    return volume.Local({"w": AT}, [0.02, 0.1], divergence=DIVERGENCE, **settings)


# Two digits in, tanh: the copies of the anchor cut the region, and each matrix has 256 columns or fewer.
NETWORK = models.MLP((2, 3, 1), "tanh")
RNG = np.random.default_rng(0)
WEIGHTS = {p.name: RNG.normal(size=p.shape) for p in NETWORK.parameters}
RAYS: dict[str, tuple[Any, Any]] = {
    "network": (
        volume.Query(NETWORK, samplers.Gaussian(1.0, 1.0), volume.BooleanCube(2)),
        volume.Local(WEIGHTS, [0.01, 0.1], rays=150, fit=25),
    ),
    "diagonal": (QUERY, local(rays=150, preconditioner="diagonal", fit=0, dtype="float64")),
}
BOTH: dict[str, Any] = {**SMALL, "estimator": "both", "chain": "levels"}
CHAINS: dict[str, tuple[Any, Any]] = {
    "tempered": (QUERY, local(chain="tempered", **SMALL)),
    "levels": (QUERY, local(chain="levels", **SMALL)),
}
