"""A guard of compiled programs: once a run, what they say of a few networks is held to a plain evaluation in NumPy.

XLA has compiled reductions wrongly, at some batch sizes only (volume.estimators.local.divergence names two), so that no
test at other sizes can tell. A few networks of a batch that a run computed, spread over it, are evaluated once more by
volume.models.Plain, which compiles nothing. What differs by more than rounding stops the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from volume.classifiers.base import BoundClassifier
from volume.errors import Miscompiled
from volume.functions.tables import unpack
from volume.models import Model, Params, Plain

NETWORKS = 4  # whose numbers are compared
DECIDED = 16  # whose decisions are: those of one network may be right by chance
SECONDS = 0.2  # after which no further network is begun
INPUTS = 256  # of a domain at which decisions are compared
FEW, MANY = 2, 10  # evaluations with noise: of every number, and at each of `LOUDER` where one seems to differ
LOUDER = (1.0, 4.0)
ELSEWHERE = 16.0  # times the noise where functions such as exp are approximated: not on a CPU
COARSE = 2.0**-7  # of matrix products there, unless their precision is "highest"
TOLERANCE = 4.0  # times the largest difference that noise makes

_checked: set[Any] = set()


def new_run() -> None:
    """Check every program anew from now on."""
    _checked.clear()


def first_time(*program: Any) -> bool:
    """Say whether a program has not been checked in this run; from now on it has. All parts of its name hash."""
    if program in _checked:
        return False
    _checked.add(program)
    return True


def spread(count: int, most: int = NETWORKS) -> np.ndarray:
    """Choose up to ``most`` of ``count`` rows: the first, the last and some between."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def check(
    what: str,
    function: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    low: Sequence[Any],
    high: Sequence[Any] | None = None,
    *,
    precision: str,
    remedy: str,
) -> None:
    """Hold compiled values to a plain evaluation.

    Args:
        what: they are, for the error: "outputs".
        function: of the arguments of one case, traceable; one array.
        cases: arguments, all of the same shapes.
        low: of each case the compiled value; with ``high``, what the plain one must not be below.
        high: of each case what it must not be above.
        precision: of matrix products in the compiled program.
        remedy: another batch size, as the beginning of an advice: "give another number of particles".

    Raises:
        Miscompiled: a value differs by more than rounding.
    """
    if not len(cases):
        return
    start = time.perf_counter()
    elsewhere = jax.default_backend() != "cpu"
    plain = Plain(function, cases[0], COARSE if elsewhere and precision != "highest" else 0.0)
    noise = ELSEWHERE if elsewhere else 1.0
    for number, (case, least, most) in enumerate(zip(cases, low, low if high is None else high, strict=True)):
        if number and time.perf_counter() - start > SECONDS:
            break
        values = [plain(case)[0]]
        if plain.overflow:  # where numbers end, rounding decides what is infinite
            continue
        if np.issubdtype(values[0].dtype, np.floating):  # whole numbers are the same, or not
            values += [plain(case, noise, seed)[0] for seed in range(FEW)]
        if not _differ(values, least, most).any():
            continue
        for louder in LOUDER:
            values += [plain(case, louder * noise, FEW + seed)[0] for seed in range(MANY)]
        if (differ := _differ(values, least, most)).any():
            at = tuple(np.argwhere(differ)[0])
            bound = np.broadcast_to(np.asarray(least), values[0].shape)[at]
            if high is not None and values[0][at] >= bound:
                bound = np.broadcast_to(np.asarray(most), values[0].shape)[at]
            versions = f"JAX {jax.__version__} on {jax.local_devices()[0].device_kind}"
            raise Miscompiled(
                f"A compiled program gives other {what} than a plain evaluation of the same network in NumPy: "
                f"{bound:.7g}, and {values[0][at]:.7g} in NumPy, far more apart than rounding explains "
                f"({differ.sum():,} of {differ.size:,} numbers of network {number + 1} of {len(cases)}). {versions} "
                f"compiles it wrongly, and nothing that it computed is reported: {remedy}, or take another version of "
                "JAX, and please report this sentence with the question that you asked."
            )


def check_networks(
    model: Model,
    bound: BoundClassifier,
    inputs: np.ndarray,
    networks: Sequence[Mapping[str, Any]],
    found: np.ndarray,
    finite: np.ndarray,
    *,
    precision: str,
    remedy: str,
) -> None:
    """Hold the tables or classes of some networks to a plain evaluation.

    Args:
        model: of the networks.
        bound: the query's classifier.
        inputs: of the domain, [N, ...].
        networks: parameters of T of them.
        found: keys of their tables [T, W] uint64 where the classifier's route is "table", else class numbers [T].
        finite: [T]; others are left out.
        precision: as for `check`.
        remedy: as for `check`.

    Raises:
        Miscompiled: a network is decided otherwise.
    """
    tables = bound.route == "table"
    rows = np.arange(len(inputs))
    if tables:  # which of the inputs are looked at is free
        rows = spread(len(inputs), INPUTS)
        found = unpack(found, bound.num_inputs, bound.num_outputs)[:, rows]

    def decided(params: Params, inputs: Any) -> Any:
        outputs = model.apply(params, inputs)
        outputs = outputs[:, 0] if bound.num_outputs == 1 else outputs
        return bound.decide(outputs) if tables else bound.classify_outputs(outputs)

    kept = np.flatnonzero(finite)
    cases = [(dict(networks[int(at)]), inputs[rows]) for at in kept]
    what = "decisions" if tables else "classes"
    check(what, decided, cases, list(found[kept]), precision=precision, remedy=remedy)


def _differ(values: Sequence[np.ndarray], low: Any, high: Any) -> np.ndarray:
    """Find the numbers that no evaluation, the first of ``values`` or one with noise, has within the bounds."""
    low, high = (np.broadcast_to(np.asarray(each), values[0].shape) for each in (low, high))
    every = np.stack(values)
    if not jnp.issubdtype(every.dtype, jnp.floating):
        return ~((low <= every) & (every <= high)).any(axis=0)
    every = every.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(every - every[:1])
        room = TOLERANCE * np.max(apart, where=np.isfinite(apart), initial=0)  # of the numbers of a network together
        within = (low - room <= every) & (every <= high + room)
    return ~(within | (np.isnan(every) & (np.isnan(low) | np.isnan(high)))).any(axis=0)
