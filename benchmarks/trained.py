"""Networks trained a second: this library beside a PyTorch loop and beside a plain vmap, in one run.

    python benchmarks/trained.py [--runs 2000] [--repeats 5] [--quick] [--json FILE]

The task: (7,40,40,1) ReLU on {0,1}^7, weights N(0, 1 / fan-in), biases N(0, 1), 32 training inputs, target "0011"
repeated (the input's second digit from the right), cross-entropy. Every contender draws each network, trains it until
the training error is zero, checked after every update, and classifies it on all 128 inputs.

* PyTorch loop: one network after the other, one thread (more make networks of this size slower). A second core could
  at most double it.
* plain vmap: `jax.vmap` of a `while_loop` that stops when its network fits; in a batch that means when the last does.

Contenders run in turn (A B C A B C ...), so that a machine whose speed drifts drifts for all; the table gives medians,
and ratios are medians of ratios within a turn, once by the clock and once by processor time. Compilation is left out.
PyTorch is no dependency of the project:

    python -m pip install --target DIR torch        # any folder outside the environment
    PYTHONPATH=DIR python benchmarks/trained.py
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import limits, script
from benchmarks.record import OURS, Record, Row
from benchmarks.registry import missing
from volume import models, samplers
from volume.common.seeds import to_key
from volume.estimators.trained.run import TrainedRun

WIDTHS = (7, 40, 40, 1)
MAX_STEPS = 10_000
NAIVE_BATCH = 256  # networks of one plain vmap; the fastest of 64, 256 and 1024
FEWER = {"PyTorch loop": 20, "plain vmap": 4}  # how many times fewer networks the slow ones train in a turn


@dataclass(frozen=True)
class Setting:
    """One optimiser and batch size."""

    name: str
    rate: float
    batch_size: int

    def __str__(self) -> str:
        return f"{self.name} {self.rate:g}, batch {self.batch_size}"


SETTINGS = (Setting("sgd", 0.1, 32), Setting("adam", 0.01, 32), Setting("sgd", 0.03, 8), Setting("sgd", 0.01, 1))


@dataclass(frozen=True)
class Result:
    """What a contender did in one turn."""

    runs: int
    updates: int
    seconds: float
    cpu: float  # seconds of processor time: what a busy machine leaves unchanged, more or less


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def result(self, runs: int, updates: int) -> Result:
        return Result(runs, updates, time.perf_counter() - self._wall, time.process_time() - self._cpu)


def task() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All inputs [128, 7], the positions of the training inputs [32], all labels [128]."""
    inputs = np.asarray(volume.BooleanCube(7).inputs)
    return inputs, np.random.default_rng(0).permutation(128)[:32], inputs[:, 5].astype(int)


def library(setting: Setting) -> Callable[[int, int], Result]:
    inputs, rows, labels = task()
    query = volume.Query(models.MLP(WIDTHS), samplers.Gaussian(1.0, 1.0), volume.BooleanCube(7))

    def begin(runs: int, seed: int) -> TrainedRun:
        method = volume.Trained(
            runs,
            optimiser=setting.name,
            learning_rate=setting.rate,
            batch_size=setting.batch_size,
            max_steps=MAX_STEPS,
            on=volume.Fits(inputs[rows], labels[rows]),
        )
        return method.start(query, to_key(seed)[0])

    warm = begin(10**6, 0)
    warm.advance()

    def run(runs: int, seed: int) -> Result:
        clock = Clock()
        going = begin(runs, seed)
        while not going.done:
            going.advance()
        assert going.outcomes.fit.all()
        return clock.result(runs, int(going.outcomes.step.sum()))

    return run


def plain_vmap(setting: Setting) -> Callable[[int, int], Result]:
    inputs, rows, labels = task()
    cube, x = jnp.asarray(inputs, jnp.float32), jnp.asarray(inputs[rows], jnp.float32)
    sign = jnp.asarray(2.0 * labels[rows] - 1, jnp.float32)
    import optax

    rule = getattr(optax, setting.name)(setting.rate)
    model, prior = models.MLP(WIDTHS), samplers.Gaussian(1.0, 1.0)
    size = setting.batch_size

    def loss(params: Any, x: Any, sign: Any) -> Any:
        return jnp.mean(jax.nn.softplus(-sign * model.apply(params, x)[:, 0]))

    def train(key: Any) -> Any:
        key, draw = jax.random.split(key)
        params = dict(prior.draw(draw, model.parameters))

        def wrong(params: Any) -> Any:
            return jnp.any((model.apply(params, x)[:, 0] > 0) != (sign > 0))

        def update(carry: Any) -> Any:
            params, state, steps, order, key = carry
            if size < len(rows):
                batches = len(rows) // size
                key, fresh = jax.random.split(key)
                order = jnp.where(steps % batches == 0, jax.random.permutation(fresh, len(rows)), order)
                at = jax.lax.dynamic_slice(order, (steps % batches * size,), (size,))
                slope = jax.grad(loss)(params, x[at], sign[at])
            else:
                slope = jax.grad(loss)(params, x, sign)
            updates, state = rule.update(slope, state, params)
            return optax.apply_updates(params, updates), state, steps + 1, order, key

        def going(carry):
            return wrong(carry[0]) & (carry[2] < MAX_STEPS)

        start = (params, rule.init(params), jnp.zeros((), jnp.int32), jnp.arange(len(rows)), key)
        params, _, steps, _, _ = jax.lax.while_loop(going, update, start)
        return steps, model.apply(params, cube)[:, 0] > 0

    batch = jax.jit(jax.vmap(train))
    jax.block_until_ready(batch(jax.random.split(jax.random.key(0), NAIVE_BATCH)))

    def run(runs: int, seed: int) -> Result:
        clock, updates = Clock(), 0
        turns = max(1, runs // NAIVE_BATCH)
        for key in jax.random.split(jax.random.key(seed), turns):
            steps, decided = batch(jax.random.split(key, NAIVE_BATCH))
            updates += int(steps.sum())
            np.packbits(np.asarray(decided), axis=1)
        return clock.result(turns * NAIVE_BATCH, updates)

    return run


def torch_loop(setting: Setting) -> Callable[[int, int], Result]:
    import torch  # pyright: ignore[reportMissingImports] - explained at the top

    inputs, rows, labels = task()
    cube = torch.tensor(inputs, dtype=torch.float32)
    x, y = cube[torch.tensor(rows)], torch.tensor(labels[rows], dtype=torch.float32)[:, None]
    loss = torch.nn.BCEWithLogitsLoss()
    optimiser = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[setting.name]
    torch.set_num_threads(1)

    def one() -> int:
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(WIDTHS):
            layer = torch.nn.Linear(fan_in, fan_out)
            torch.nn.init.normal_(layer.weight, std=fan_in**-0.5)
            torch.nn.init.normal_(layer.bias)
            layers += [layer, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        rule = optimiser(model.parameters(), lr=setting.rate)
        steps, size = 0, setting.batch_size
        order = torch.arange(len(rows))
        if size == len(rows):  # the check and the gradient share their forward pass
            while steps < MAX_STEPS:
                outputs = model(x)
                if bool(((outputs > 0) == (y > 0)).all()):
                    break
                rule.zero_grad()
                loss(outputs, y).backward()
                rule.step()
                steps += 1
        else:
            while steps < MAX_STEPS:
                with torch.no_grad():
                    if bool(((model(x) > 0) == (y > 0)).all()):
                        break
                place = steps * size % len(rows)
                if place == 0:
                    order = torch.randperm(len(rows))
                at = order[place : place + size]
                rule.zero_grad()
                loss(model(x[at]), y[at]).backward()
                rule.step()
                steps += 1
        with torch.no_grad():
            np.packbits((model(cube)[:, 0] > 0).numpy())
        return steps

    def run(runs: int, seed: int) -> Result:
        torch.manual_seed(seed)
        clock = Clock()
        return clock.result(runs, sum(one() for _ in range(runs)))

    run(5, 0)
    return run


def contenders() -> dict[str, Callable[[Setting], Callable[[int, int], Result]]]:
    """Those that can run here."""
    found: dict[str, Any] = {OURS: library, "plain vmap": plain_vmap}
    return found if missing(("torch",)) else {**found, "PyTorch loop": torch_loop}


def measure(setting: Setting, runs: int, repeats: int) -> dict[str, list[Result]]:
    """Contender -> what it did in every turn."""
    racers = {name: make(setting) for name, make in contenders().items()}
    turns = [
        {name: race(max(5, runs // FEWER.get(name, 1)), 1 + turn) for name, race in racers.items()}
        for turn in range(repeats)
    ]
    return {name: [turn[name] for turn in turns] for name in racers}


def by_clock(result: Result) -> float:
    return result.runs / result.seconds


def by_processor(result: Result) -> float:
    return result.runs / result.cpu


def update_flops(setting: Setting) -> float:
    """Operations of the matrix products of an update: the forward pass, and twice that backward, on one batch."""
    return 3 * limits.layer_flops(WIDTHS, setting.batch_size)


def rows_of(setting: Setting, found: dict[str, list[Result]], peak: dict[str, float]) -> list[Row]:
    """One row by the clock and one by processor time, which a busy machine leaves unchanged, more or less."""
    ours, others = found[OURS], [name for name in found if name != OURS]
    updates = statistics.median(result.updates / result.runs for result in ours)
    rows = []
    for words, unit, rate in (("by the clock", "runs/s", by_clock), ("by processor time", "runs/CPU s", by_processor)):
        ratios = {
            name: [rate(mine) / rate(theirs) for mine, theirs in zip(ours, found[name], strict=True)] for name in others
        }
        most = peak["matmul_flops"] / (updates * update_flops(setting))
        rows.append(
            Row(
                str(setting),
                unit,
                statistics.median(map(rate, ours)),
                peers={name: statistics.median(map(rate, found[name])) for name in others},
                ratios={name: statistics.median(each) for name, each in ratios.items()},
                ranges={name: (min(each), max(each)) for name, each in ratios.items()},
                limits={"matrix products": most} if rate is by_clock else {},
                facts={"updates a run": updates},
                section=f"Networks trained until they fit, {words}",
            )
        )
    return rows


def run(options: argparse.Namespace) -> Record:
    runs, repeats = (200, 2) if options.quick else (options.runs, options.repeats)
    peak, rows, found = limits.measure(), [], {}
    for setting in SETTINGS[: 1 if options.quick else None]:
        turns = measure(setting, runs, repeats)
        found[str(setting)] = {name: [asdict(result) for result in each] for name, each in turns.items()}
        rows += rows_of(setting, turns, peak)
        script.say(rows[-1])
    rows.sort(key=lambda row: row.section)
    notes = [
        "Medians over turns in which all contenders took part; ratios have their range over the turns. Compiling is "
        "left out. The share of the limit counts the products of the updates that were needed, not those of the checks."
    ]
    return Record(rows, missing=missing(("torch",)), limits=peak, notes=notes, details={"turns": found})


def main() -> None:
    parser = script.options((__doc__ or "").split("\n")[0], "the first setting, 200 networks, 2 turns")
    parser.add_argument("--runs", type=int, default=2000, help="networks that the library trains in a turn")
    parser.add_argument("--repeats", type=int, default=5)
    script.main("trained", run, parser)


if __name__ == "__main__":
    main()
