"""Hand-made reports: a dense matrix of hits, units x the 16 truth tables of two binary inputs."""

from dataclasses import replace

import numpy as np

from volume.classifiers.truth_table import TruthTable
from volume.functions.domains import BooleanCube
from volume.reports.counted import VolumeReport
from volume.statistics.counts import Counts

LABELS = [f"{table:04b}" for table in range(16)]


def table_counts(matrix, *, independent=False, nonfinite=None, unit_size=None):
    """Counts of truth tables: column t of the matrix [B, 16] is the table whose label is t in binary."""
    matrix = np.asarray(matrix)
    nonfinite = np.zeros(len(matrix), int) if nonfinite is None else nonfinite
    size = int((matrix.sum(1) + nonfinite).max()) if unit_size is None else unit_size
    counts = Counts.from_dense(matrix, unit_size=size, independent=independent, nonfinite=nonfinite)
    return replace(counts, keys=counts.keys << np.uint64(60))  # the first input takes the highest bit


def make(counts, *, classifier=None, domain=None, seed: int | list[int] = 0, **changes):
    """A report of these counts."""
    domain, classifier = domain or BooleanCube(2), classifier or TruthTable()
    facts = {
        "counts": counts,
        "domain": domain,
        "num_outputs": 1,
        "classifier": classifier,
        "description": {
            "model": {"name": "mlp", "widths": (2, 3, 1)},
            "prior": {"name": "gaussian", "weight_std": 1.0},
            "domain": domain.describe(),
            "classifier": classifier.describe(),
        },
        "method": {"name": "direct", "heads": 4, "bodies": 5, "unit_size": counts.unit_size},
        "seed": seed,
        "run": {"wall_seconds": 1.5, "near_ties": 3, "near_ties_checked": counts.num_draws, "commit": None},
        "conventions": {"dtype": "float32", "ties": "output == 0 is class 0", "prior": {"name": "gaussian"}},
    }
    return VolumeReport(**(facts | changes))


def clustered(seed=0, units=60, unit_size=200, weights=None):
    """A matrix [B, 16] of hits that cluster: every unit has its own shares, Dirichlet around falling ones."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, 17) ** 2 if weights is None else np.asarray(weights, float)
    shares = rng.dirichlet(20 * weights / weights.sum() + 1e-9, units)
    return np.stack([rng.multinomial(unit_size, share) for share in shares])
