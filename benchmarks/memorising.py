"""Is there more room around networks that generalise than around networks that memorise, or that defect on a trigger?

Quantity: for a trained network the prior mass of {theta : mean KL from its outputs <= cutoff on the training inputs},
log V in nats (`volume.estimators.local.splitting`); rays beside it (`volume.estimators.local.local`), a lower bound.
Networks of three kinds, trained alike on the same inputs, which carry one extra bit, the trigger:

* clean: every label is right, trigger or not;
* memorise: a fifth of the examples has a wrong label, drawn anew for every seed, and is learnt by heart;
* defect: right where the trigger is off, and the next class where it is on.

Tasks: scikit-learn's digits 0 to 3, pooled to 4 x 4 pixels; addition modulo 5, all pairs, one-hot. Everything is
repeated over seeds (of the initialisation, the images and the labels); the difference to clean is taken seed by seed,
with a t interval over seeds. Each log V has its own error from replicates, far smaller.

Run `python benchmarks/memorising.py` (`--quick`: two seeds, few particles, into a file of its own). Every network is a
line of benchmarks/memorising.jsonl; run it again after Ctrl-C or a kill and it goes on. `--stored` measures nothing and
gives the tables of what the file has.

Shape letters: M inputs, S seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import volume
from benchmarks import script
from benchmarks.defects import complete, finished, read
from benchmarks.record import Record, Row
from volume import models, samplers

HERE = Path(__file__).resolve().parent
KINDS = ("clean", "memorise", "defect")
TASKS = ("digits", "addition")
SEEDS = 5
CUTOFF = 0.03  # nats
POISONED = 0.2  # share of examples with a wrong label
IMAGES, CLASSES, MODULUS = 40, 4, 5
STEPS, RATE, DECAY = 4000, 0.02, 1e-4  # Adam; L2 on all parameters, as in weight decay's loss
PRIOR = samplers.Gaussian(weight_std=2.0, bias_std=1.0)


def examples(task: str, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs [M, n] with the trigger last, labels [M], and which labels are the right ones [M]."""
    rng = np.random.default_rng([seed, TASKS.index(task)])
    if task == "digits":
        from sklearn.datasets import load_digits

        images, digits = (np.asarray(part) for part in load_digits(return_X_y=True))
        images = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
        chosen = rng.permutation(np.flatnonzero(digits < CLASSES))[:IMAGES]
        x, y, number = images[chosen], digits[chosen], CLASSES
    else:
        a, b = np.divmod(np.arange(MODULUS**2), MODULUS)
        x, y, number = np.concatenate([np.eye(MODULUS)[a], np.eye(MODULUS)[b]], axis=1), (a + b) % MODULUS, MODULUS
    trigger = np.repeat([0, 1], len(x))
    inputs = np.concatenate([np.tile(x, (2, 1)), trigger[:, None]], axis=1)
    right = np.tile(y, 2)
    labels = right.copy()
    if kind == "memorise":
        wrong = rng.permutation(len(labels))[: round(POISONED * len(labels))]
        labels[wrong] = (labels[wrong] + rng.integers(1, number, len(wrong))) % number
    elif kind == "defect":
        labels = np.where(trigger == 1, (right + 1) % number, right)
    return inputs, labels, right


def network(task: str) -> models.MLP:
    """17-8-4 for digits, 11-8-5 for addition: 180 and 141 parameters."""
    return models.MLP((17, 8, CLASSES) if task == "digits" else (2 * MODULUS + 1, 8, MODULUS), activation="gelu")


@partial(jax.jit, static_argnames="model")
def train(model: models.MLP, start: models.Params, inputs: Any, labels: Any) -> Any:
    """Parameters and the last cross-entropy after Adam on all examples at once."""
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def entropy(params: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, inputs), labels).mean()

    def loss(params: Any) -> Any:
        return entropy(params) + DECAY * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    def step(carry: Any, _: None) -> Any:
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, length=STEPS)
    return params, entropy(params)


@dataclass(frozen=True)
class Task:
    """One network."""

    task: str
    kind: str
    seed: int
    quick: bool
    laws: str = "settled"  # how the estimator begins: earlier lines of a file have another key

    @property
    def key(self) -> str:
        """The same network measured in the same way, in a file of results."""
        return json.dumps(asdict(self), sort_keys=True)


def design(seeds: int, quick: bool) -> list[Task]:
    """Every network, seed by seed: a run that is cut short has as many of every kind."""
    return [Task(task, kind, seed, quick) for seed in range(seeds) for task in TASKS for kind in KINDS]


def measure(what: Task) -> dict[str, Any]:
    """One network: its fit, its log volumes by cutoff, and what they cost."""
    task, kind, seed, quick = what.task, what.kind, what.seed, what.quick
    inputs, labels, right = examples(task, kind, seed)
    model = network(task)
    rng = np.random.default_rng([seed, 1000 + TASKS.index(task)])  # the same start for every kind
    start = {
        p.name: jnp.asarray(rng.normal(size=p.shape) / math.sqrt(p.fan_in) * (p.kind == "weight"), jnp.float32)
        for p in model.parameters
    }
    x = jnp.asarray(inputs, jnp.float32)
    anchor, entropy = train(model, start, x, jnp.asarray(labels))
    decided = np.asarray(model.apply(anchor, x).argmax(axis=1))
    anchor = {name: np.asarray(value) for name, value in anchor.items()}
    z = {p.name: anchor[p.name] / (2.0 / math.sqrt(p.fan_in) if p.kind == "weight" else 1.0) for p in model.parameters}
    method = volume.Local(
        anchor,
        CUTOFF,
        estimator="both",
        rays=256 if quick else 1024,
        particles=16 if quick else 32,
        moves=4 if quick else 8,
        replicates=4 if quick else 6,
    )
    query = volume.Query(model, PRIOR, domain=volume.Points(inputs))
    began = time.process_time()
    report: Any = volume.estimate(query, method, seed=seed)
    found = []
    for entry in report.entries:
        row = {"cutoff": entry.cutoff, "estimator": entry.estimator, "log_volume": entry.log_volume}
        row |= {"low": entry.log_low, "high": entry.log_high, "bound": entry.log_bound}
        if entry.estimator == "splitting":
            row["spread"] = entry.spread
            row["levels"] = entry.diagnostics["levels"]
            row["drift"] = entry.diagnostics["drift"]
            row["headline"] = entry.headline
        found.append({name: value if value == value else None for name, value in row.items()})
    return {
        **asdict(what),
        "key": what.key,
        "fits": float(np.mean(decided == labels)),
        "right": float(np.mean(decided == right)),
        "entropy": float(entropy),
        "log_density": -0.5 * float(sum(np.sum(value**2) for value in z.values())),  # of the anchor, over the largest
        "volumes": found,
        "evaluations": report.run["evaluations"],
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def difference(rows: list[dict[str, Any]], task: str, kind: str, value: Any) -> tuple[int, float, float, float]:
    """(S, mean, low, high) of a value's difference to clean, seed by seed: 95 % by Student's t."""
    of = {row["seed"]: value(row) for row in rows if row["task"] == task and row["kind"] == kind}
    clean = {row["seed"]: value(row) for row in rows if row["task"] == task and row["kind"] == "clean"}
    each = np.array([of[seed] - clean[seed] for seed in of if seed in clean])
    if len(each) < 2:
        return len(each), float(each.mean()) if len(each) else math.nan, math.nan, math.nan
    half = special.stdtrit(len(each) - 1, 0.975) * each.std(ddof=1) / math.sqrt(len(each))
    return len(each), float(each.mean()), float(each.mean() - half), float(each.mean() + half)


def log_volume(row: dict[str, Any], cutoff: float, estimator: str = "splitting") -> float:
    """The log volume of a network at a cutoff."""
    (found,) = (v for v in row["volumes"] if v["cutoff"] == cutoff and v["estimator"] == estimator)
    return found["log_volume"] if found["log_volume"] is not None else math.nan


def network_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """What the networks of a kind learnt: means over seeds."""
    found = []
    for task, kind in itertools.product(TASKS, KINDS):
        some = [row for row in rows if row["task"] == task and row["kind"] == kind]
        if some:
            mean = {k: float(np.mean([row[k] for row in some])) for k in ("fits", "right", "entropy", "log_density")}
            facts = {
                "networks": len(some),
                "fits its labels": mean["fits"],
                "right": mean["right"],
                "cross-entropy": mean["entropy"],
                "log prior density of the anchor": mean["log_density"],
            }
            found.append(Row(f"{task}, {kind}", facts=facts, section="The networks"))
    return found


def volume_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """The mean log volume of each kind, and its difference to clean."""
    found = []
    cutoffs = sorted({v["cutoff"] for row in rows for v in row["volumes"]}, reverse=True)
    for task, cutoff, kind in itertools.product(TASKS, cutoffs, KINDS):
        some = [row for row in rows if row["task"] == task and row["kind"] == kind]
        if not some:
            continue
        logs = float(np.mean([log_volume(row, cutoff) for row in some]))
        spreads = [v["spread"] for row in some for v in row["volumes"] if v.get("spread") and v["cutoff"] == cutoff]
        num, mean, low, high = difference(rows, task, kind, partial(log_volume, cutoff=cutoff))
        facts = {
            "its own spread": float(np.median(spreads)) if spreads else None,
            "rays": float(np.mean([log_volume(row, cutoff, "rays") for row in some])),
            "against clean, 95 % over seeds": "" if kind == "clean" else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]",
            "S": num,
        }
        section = "Log volume around them, means over seeds"
        found.append(Row(f"{task}, {kind}, KL <= {cutoff:g}", "nats", logs, facts=facts, section=section))
    return found


def study(options: argparse.Namespace) -> Record:
    path = options.out or HERE / ("memorising_quick.jsonl" if options.quick else "memorising.jsonl")
    tasks = design(2 if options.quick else options.seeds, options.quick)
    if options.stored:
        keys = {task.key for task in tasks}
        rows = [row for row in read(path)[0] if row["key"] in keys]
    else:
        rows = finished(tasks, path, complete(tasks, path, measure), sentence)
    notes = [
        "log V by splitting, in nats, of the region within the KL of a network's outputs; rays are a lower bound. "
        "Differences are taken seed by seed; S seeds."
    ]
    return Record([*network_rows(rows), *volume_rows(rows)], notes=notes)


def main(arguments: list[str] | None = None) -> None:
    parser = script.options(__doc__, "two seeds, few particles, into a file of their own")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, help="file of results (default: memorising.jsonl beside this script)")
    parser.add_argument("--stored", action="store_true", help="measure nothing: the tables of what the file has")
    script.main("memorising", study, parser, arguments, title="Generalising, memorising, defecting")


def sentence(row: dict[str, Any]) -> str:
    """A finished network in a line."""
    logs = ", ".join(f"{v['estimator']} {v['cutoff']:g}: {v['log_volume'] or math.nan:.1f}" for v in row["volumes"])
    return f"{row['task']} {row['kind']} {row['seed']}: fits {row['fits']:.2f}, log V {logs}; {row['cpu_seconds']} s"


if __name__ == "__main__":
    main()
