"""The part of a classifier's word that names a task: ``target=majority,train=32,split-seed=0``.

`fits:` asks for its labels on the training inputs, `accuracy:` on the others (on all inputs where no ``train`` is
given), `given:` for accuracy on the others among what fits, `defects:` for behaviour on a trigger:

    fits:target=majority,train=32,split-seed=0
    accuracy:target=majority,train=32,bins=0.5/0.9
    given:target=first-bit,train=64,bins=10
    defects:target=first-bit,trigger=leading:3,train=32

Targets and triggers are those of `volume.target`; the trigger is where its target is 1. Positions come from
`volume.split` over all inputs, or, for `defects`, over the inputs outside the trigger (all of them where no ``train``
is given).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volume.commands.usage import UsageError
from volume.commands.values import parse_float, parse_seed, parse_whole
from volume.errors import unknown

if TYPE_CHECKING:
    from volume.classifiers.base import Classifier
    from volume.functions.domains import Domain

# Which options a kind of word takes after target=.
OPTIONS = {
    "fits": ("train", "split-seed"),
    "accuracy": ("train", "split-seed", "bins"),
    "given": ("train", "split-seed", "bins"),
    "defects": ("trigger", "train", "split-seed", "bins"),
}
NEEDED = {"given": "train", "defects": "trigger"}
EXAMPLE = {
    "fits": "fits:target=majority,train=32,split-seed=0",
    "accuracy": "accuracy:target=majority,train=32",
    "given": "given:target=majority,train=32,bins=10",
    "defects": "defects:target=first-bit,trigger=leading:3,train=32",
}


@dataclass(frozen=True)
class TaskWord:
    """What a word says of a task; spelling checked, not yet whether it fits a domain."""

    kind: str
    target: str
    train: int | None = None
    seed: int = 0
    bins: int | tuple[float, ...] | None = None
    trigger: str = ""

    def build(self, domain: Domain | None) -> Classifier:
        """Return the classifier on this Boolean cube."""
        import numpy as np

        from volume import Accuracy, BooleanCube, Defects, Fits, Given, split, target

        if not isinstance(domain, BooleanCube):
            raise UsageError(
                f"{self.kind}:target= is about all inputs of n bits: add --domain boolean:N, such as boolean:7."
            )
        size, inputs = domain.num_inputs, domain.inputs
        try:
            labels = target(self.target, domain.n)
            if self.kind == "defects":
                hidden = target(self.trigger, domain.n) == 1
                monitored = ~hidden
                if self.train is not None:
                    rows = np.flatnonzero(monitored)
                    monitored = rows[split(len(rows), self.train, self.seed)[0]]
                return Defects.on(domain, labels, monitored=monitored, trigger=hidden, bins=self.bins)
            train, test = (np.arange(size),) * 2 if self.train is None else split(size, self.train, self.seed)
            if self.kind == "fits":
                return Fits(inputs[train], labels[train])
            if not len(test):
                raise UsageError(f"train={self.train} leaves none of the {size} inputs to be tested on: give fewer.")
            accuracy = Accuracy(inputs[test], labels[test], self.bins)
            return accuracy if self.kind == "accuracy" else Given(Fits(inputs[train], labels[train]), accuracy)
        except ValueError as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.kind}:target={self.target}: {error}") from None


def parse_task(kind: str, text: str) -> TaskWord:
    """Read ``target=...,train=...``, the part after "fits:", "accuracy:", "given:" or "defects:"."""
    options: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        known = ("target", *OPTIONS[kind])
        if name not in known:
            raise UsageError(unknown(f"option of {kind}:", name, known) + f" For example {EXAMPLE[kind]}.")
        if not equals or not value or name in options:
            flaw = "stands there twice" if name in options else "has no value"
            raise UsageError(f"{kind}: {name} {flaw} in {text!r}; for example {EXAMPLE[kind]}.")
        options[name] = value
    for name in ("target", NEEDED.get(kind, "target")):
        if name not in options:
            raise UsageError(f"{kind}: needs {name}=, for example {EXAMPLE[kind]}; got {text!r}.")
    values: dict[str, Any] = {name: check_target(options[name]) for name in ("target", "trigger") if name in options}
    if "train" in options:
        values["train"] = parse_whole(options["train"])
    if "split-seed" in options:
        if "train" not in options:
            raise UsageError(f"{kind}: split-seed= chooses training inputs, so it needs train=; got {text!r}.")
        values["seed"] = parse_seed(options["split-seed"])
    if "bins" in options:
        values["bins"] = parse_bins(options["bins"])
    return TaskWord(kind, **values)


def parse_bins(text: str) -> int | tuple[float, ...]:
    """Read edges "0.5/0.7/0.9", or one whole number of equal bins."""
    if "/" not in text and "." not in text:
        return parse_whole(text)
    return tuple(parse_float(edge) for edge in text.split("/"))


def check_target(word: str) -> str:
    """Return the word of a target or trigger as it is; UsageError for one that nobody knows."""
    from volume.functions.targets import check_word

    try:
        check_word(word)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return word
