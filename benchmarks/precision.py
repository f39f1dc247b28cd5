"""How many decisions flip between matrix-product precisions on the same draws, and what each precision costs.

    python benchmarks/precision.py [--draws 200000] [--repeats 5] [--only-flips] [--quick]

Networks with weights N(0, 1 / fan-in) are drawn once, in float32, and run with float32 products at the precisions
"default", "high" and "highest" of JAX. Flipped: decisions (truth-table bits, or the winning output) that differ from
those at "highest", and functions with any that does. The same for "highest" against products and sums in float64 from
the same weights, the nearest thing to a truth. What the words mean depends on the device: on recent GPUs "default"
rounds operands to TF32 (10 bits behind the point), on TPUs to bfloat16 (7 bits); on CPUs all three are the same, so
nothing flips and nothing is won. What another device would do is simulated: operands rounded to so many bits, products
and sums in float32, on whatever runs this. TPUs do not promise to sum as we simulate.

Beside it, near ties as `volume.Direct` counts them at "highest" (outputs within rounding of a tie, by a bound that is
wide on purpose), and its draws/s at each precision, in turn (A B C A B C ...). Draws are independent: intervals for the
share of functions are Clopper and Pearson's, 95 %. Shape letters: D draws, N inputs, C outputs.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, script
from benchmarks.environment import seconds
from benchmarks.record import Record, Row
from benchmarks.registry import missing
from volume.functions.data_files import load_digits
from volume.statistics.intervals import clopper_pearson

PRECISIONS = ("default", "high", "highest")
TRUTH = "highest"
# Bits behind the point: TensorFloat-32 (NVIDIA's A100 white paper, 2020) and bfloat16.
SIMULATED = {"TF32 operands, simulated": 10, "bfloat16 operands, simulated": 7}
FLOAT_BITS = 23
LEVEL = 0.95
NETWORKS = 1000  # of one batch

Product = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Case:
    """A network and its inputs [N, fan-in]; ``fewer``: how many times fewer of it are drawn than of the smallest."""

    name: str
    widths: tuple[int, ...]
    inputs: Any
    fewer: int

    @property
    def query(self) -> volume.Query:
        model = volume.models.MLP(self.widths, activation="relu", bias=False)
        return volume.Query(model, volume.samplers.Gaussian(weight_std=1.0), volume.Points(self.inputs))


def cases() -> list[Case]:
    cube = np.asarray(volume.BooleanCube(7).inputs)
    found = [Case("(7,40,40,1)", (7, 40, 40, 1), cube, 1), Case("(7,256,256,1)", (7, 256, 256, 1), cube, 40)]
    if missing(("sklearn",)):
        return found
    return [*found, Case("digits (64,64,10)", (64, 64, 10), load_digits()[0][:64], 10)]


# ------------------------------------------------------------------------------------------------- flips


def at(precision: str) -> Product:
    return partial(jnp.matmul, precision=precision)


def rounded(x: Array, bits: int) -> Array:
    """float32 with ``bits`` bits behind the point, to the nearest, ties to even; finite numbers only."""
    drop = FLOAT_BITS - bits
    words = jax.lax.bitcast_convert_type(x, jnp.uint32)
    even = (words >> drop) & 1
    words = (words + ((1 << (drop - 1)) - 1) + even) >> drop << drop
    return jax.lax.bitcast_convert_type(words, jnp.float32)


def rounding(bits: int) -> Product:
    """Products of rounded operands, summed in float32: what a unit for short operands does."""
    return lambda a, b: jnp.matmul(rounded(a, bits), rounded(b, bits), precision=TRUTH)


def draw(key: Array, widths: Sequence[int], num: int) -> list[np.ndarray]:
    """Weights [D, fan-in, fan-out] of each layer, float32."""
    layers = list(itertools.pairwise(widths))
    keys = jax.random.split(key, len(layers))
    return [
        np.asarray(jax.random.normal(each, (num, a, b)) / math.sqrt(a))
        for each, (a, b) in zip(keys, layers, strict=True)
    ]


def decide(weights: Sequence[Any], inputs: Any, product: Product) -> Array:
    """Decisions [D, N] of ReLU networks without biases: output > 0, or the first of the largest outputs."""
    hidden = jnp.broadcast_to(inputs, (weights[0].shape[0], *inputs.shape))
    for weight in weights[:-1]:
        hidden = jax.nn.relu(product(hidden, weight))
    outputs = product(hidden, weights[-1])
    return outputs[..., 0] > 0 if outputs.shape[-1] == 1 else jnp.argmax(outputs, axis=-1).astype(jnp.uint8)


def in_float64(weights: Sequence[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        wide = [jnp.asarray(weight, jnp.float64) for weight in weights]
        return np.asarray(_decide_wide(wide, jnp.asarray(inputs, jnp.float64)))


_decide_wide = jax.jit(partial(decide, product=at(TRUTH)))


@dataclass
class Flips:
    """Decisions and functions that differ, so far."""

    draws: int = 0
    decisions: int = 0
    flipped: int = 0
    functions: int = 0

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        """Decisions [D, N] of the same draws."""
        differ = one != other
        self.draws += len(differ)
        self.decisions += differ.size
        self.flipped += int(differ.sum())
        self.functions += int(differ.any(axis=1).sum())


def flips(case: Case, draws: int, seed: int, products: dict[str, Product]) -> dict[str, Flips]:
    """Name of a product -> flips against "highest" in float32; "float64": of "highest" against float64."""
    inputs = np.asarray(case.inputs, np.float32)
    known = {name: jax.jit(partial(decide, product=each)) for name, each in {TRUTH: at(TRUTH), **products}.items()}
    found = {name: Flips() for name in [*products, "float64"]}
    key = jax.random.key(seed)
    for batch in range(-(-draws // NETWORKS)):
        weights = draw(jax.random.fold_in(key, batch), case.widths, min(NETWORKS, draws - batch * NETWORKS))
        decided = {name: np.asarray(each(weights, inputs)) for name, each in known.items()}
        for name in products:
            found[name].add(decided[name], decided[TRUTH])
        found["float64"].add(decided[TRUTH], in_float64(weights, inputs))
    return found


def flip_rows(case: Case, draws: int, seed: int) -> Iterator[Row]:
    real = {name: at(name) for name in PRECISIONS if name != TRUTH}
    found = flips(case, draws, seed, real | {name: rounding(bits) for name, bits in SIMULATED.items()})
    words = {"float64": f"{TRUTH} against float64"}
    for name, each in found.items():
        low, high = clopper_pearson(each.functions, each.draws, LEVEL)
        facts: dict[str, Any] = {
            "functions flipped": each.functions,
            "of": each.draws,
            "decisions flipped": each.flipped,
            "of them all": each.decisions,
        }
        yield Row(
            f"{case.name}, {words.get(name, name)}",
            "share of functions flipped",
            each.functions / each.draws,
            float(np.exp(low)),
            float(np.exp(high)),
            facts=facts,
            section=f"Flips on the same draws, against {TRUTH}",
        )


# ------------------------------------------------------------------------------------------------- price


def price_rows(case: Case, draws: int, repeats: int, seed: int) -> Iterator[Row]:
    """Draws/s of `Direct` at each precision, and near ties at the highest."""
    query = case.query
    methods = {name: volume.Direct(draws, precision=name) for name in PRECISIONS}
    reports = {name: volume.estimate(query, method, seed=seed) for name, method in methods.items()}  # compiles
    turns = [
        {name: draws / seconds(partial(volume.estimate, query, method, seed=seed)) for name, method in methods.items()}
        for _ in range(repeats)
    ]
    near, checked = (reports[TRUTH].run[word] for word in ("near_ties", "near_ties_checked"))
    plan = methods[TRUTH].plan(query)
    cost = limits.layer_flops(case.widths, len(case.inputs), heads=plan.heads)
    for name in PRECISIONS:
        ratios = [turn[name] / turn[TRUTH] for turn in turns]
        beside = {} if name == TRUTH else {TRUTH: statistics.median(turn[TRUTH] for turn in turns)}
        yield Row(
            f"{case.name}, {name}",
            "draws/s",
            statistics.median(turn[name] for turn in turns),
            peers=dict(beside),
            ratios={peer: statistics.median(ratios) for peer in beside},
            ranges={peer: (min(ratios), max(ratios)) for peer in beside},
            limits={"matrix products at that precision": limits.measure(name)["matmul_flops"] / cost},
            facts={"near ties by Direct": near, "in draws": checked} if name == TRUTH else {},
            section="Price: draws/s of Direct, counted",
        )


def run(options: argparse.Namespace) -> Record:
    draws, repeats = (4000, 2) if options.quick else (options.draws, options.repeats)
    rows: list[Row] = []
    for case in cases():
        for row in flip_rows(case, max(draws // case.fewer, 100), options.seed):
            rows.append(row)
            script.say(row)
    for case in [] if options.only_flips else cases():
        for row in price_rows(case, max(20 * draws // case.fewer, 2000), repeats, options.seed):
            rows.append(row)
            script.say(row)
    notes = []
    if jax.devices()[0].platform == "cpu":
        notes.append(
            "On a CPU the three precisions are one: no flips and the same price, up to noise. The simulated rows show "
            "what short operands would do."
        )
    return Record(rows, missing=missing(("sklearn",)), limits=limits.measure(), notes=notes)


def main() -> None:
    parser = script.options(__doc__, "4,000 draws, 2 turns")
    parser.add_argument("--draws", type=int, default=200_000, help="of the smallest network; larger ones get fewer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-flips", action="store_true", help="leave out the price")
    parser.add_argument("--seed", type=int, default=0)
    script.main("precision", run, parser)


if __name__ == "__main__":
    main()
