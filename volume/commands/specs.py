"""The words of the command line: ``mlp:7-40-40-1``, ``boolean:7``, ``ones*lz``.

Every word is read in two steps. ``parse_*`` checks the spelling and returns a frozen record without importing
JAX, so that a mistyped word answers at once; ``build`` makes the library's object. Both raise `UsageError` with
one sentence.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from volume.commands.tasks import EXAMPLE, OPTIONS, TaskWord, parse_bins, parse_task
from volume.commands.usage import UsageError, flag
from volume.commands.values import one_of, parse_float
from volume.common.choices import spelled
from volume.errors import unknown
from volume.functions.data_files import load_digits, read_rows, shaped

if TYPE_CHECKING:
    import numpy as np

    from volume.classifiers.base import Classifier
    from volume.functions.domains import BooleanCube, Domain, Points
    from volume.models import Model
    from volume.samplers import Prior

ModelKind = Literal["mlp", "perceptron", "import"]
DomainKind = Literal["boolean", "points", "digits"]
PLAIN = {
    "table": "TruthTable",
    "ones": "Ones",
    "lz": "LempelZiv",
    "npn": "NPN",
    "argmax": "Argmax",
}  # take no arguments
CLASSIFIERS = (*PLAIN, *OPTIONS)


# --- models ---


@dataclass(frozen=True)
class ModelWord:
    """``mlp:7-40-40-1``, ``perceptron:7`` or ``import:package.module:attribute``."""

    kind: ModelKind
    widths: tuple[int, ...] = ()
    module: str = ""
    attribute: str = ""

    def build(self, *, activation: str | None = None, bias: bool = True) -> Model:
        """Return the model; an imported attribute may be the model or a function of no arguments that returns it."""
        if self.kind == "import":
            if not bias:
                raise UsageError("--no-bias does not apply to an imported model: it brings its own parameters.")
            return _imported(self.module, self.attribute)
        from volume import models

        if self.kind == "mlp":
            return models.MLP(self.widths, activation=activation or "relu", bias=bias)
        return models.Perceptron(self.widths[0], bias=bias)


def parse_model(text: str) -> ModelWord:
    """Read a model's word; widths alone are those of an MLP."""
    kind, _, rest = text.partition(":")
    if re.fullmatch(r"\d+(-\d+)+", text, re.ASCII):
        kind, rest = "mlp", text
    kind = spelled(kind, get_args(ModelKind)) or kind
    if kind == "mlp":
        parts = rest.split("-")
        if len(parts) < 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            raise UsageError(f"expected mlp:INPUTS-HIDDEN-...-OUTPUTS such as mlp:7-40-40-1, got {text!r}")
        return ModelWord("mlp", widths=tuple(int(part) for part in parts))
    if kind == "perceptron":
        if not (rest.isascii() and rest.isdigit() and int(rest)):
            raise UsageError(f"expected perceptron:INPUTS such as perceptron:7, got {text!r}")
        return ModelWord("perceptron", widths=(int(rest),))
    if kind == "import":
        module, _, attribute = rest.partition(":")
        if not module or not attribute:
            raise UsageError(f"expected import:package.module:attribute, got {text!r}")
        return ModelWord("import", module=module, attribute=attribute)
    raise UsageError(unknown("model", kind, get_args(ModelKind)))


def _imported(module: str, attribute: str) -> Any:
    # The installed command does not have the user's folder on the path. It goes last: a json.py that lies there is not
    # taken for Python's.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise UsageError(
                f"No module named {error.name!r} in {os.getcwd()} or among the installed packages."
            ) from None
        raise
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise UsageError(unknown(f"attribute of {module}", name, [n for n in dir(value) if not n.startswith("_")]))
        value = getattr(value, name)
    if not hasattr(value, "parameters") and callable(value):
        value = value()
    for name in ("parameters", "num_outputs", "apply"):
        if not hasattr(value, name):
            raise UsageError(
                f"import:{module}:{attribute} is a {type(value).__name__}, which has no {name!r}; expected a"
                " model of volume.models, such as the result of from_nnx, from_linen or from_function."
            )
    return value


# --- priors ---

# Which options belong to which prior; `build_prior` refuses the others instead of ignoring them.
PRIOR_OPTIONS = {
    "gaussian": ("weight_std", "bias_std"),
    "uniform": ("weight_bound", "bias_bound"),
    "sphere": ("radius", "per_layer"),
    "lattice": ("bias_levels",),
}
LATTICES = {"binary": (-1.0, 1.0), "ternary": (-1.0, 0.0, 1.0)}  # levels of weights, by name
PRIORS = ("gaussian", "uniform", "sphere", *LATTICES, "levels")
Levels = tuple[float, ...] | tuple[tuple[float, ...], ...]


def parse_prior(text: str) -> str:
    """Check a prior's word: a name, or ``levels:-2,-1,1`` (one list for all layers, or one per layer parted by /)."""
    word, colon, rest = text.partition(":")
    kind = spelled(word, PRIORS)
    if kind is None or (colon and kind != "levels"):
        raise UsageError(unknown("prior", text, PRIORS))
    if kind == "levels":
        if not rest:
            raise UsageError(
                f"expected levels:A,B,... such as levels:-1,0,1, or levels:-1,1/0,1 by layer, got {text!r}"
            )
        parse_levels(rest)
    return kind + colon + rest


def parse_levels(text: str) -> Levels:
    """Return the levels of a lattice: "-1,1", or one list per layer, "-1,1/-1,0,1"."""
    layers = tuple(tuple(parse_float(level) for level in part.split(",")) for part in text.split("/"))
    for levels in layers:
        if len(set(levels)) < len(levels):
            raise UsageError(f"expected every level once, got {text!r}")
    return layers[0] if len(layers) == 1 else layers


def prior_family(word: str) -> str:
    """Whose options go with a prior's word: its own, or "lattice" for all that name levels."""
    return "lattice" if word in LATTICES or word.startswith("levels:") else word


def check_prior(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given (not None), all of which must belong to this prior."""
    chosen = {key: value for key, value in options.items() if value is not None}
    for key in chosen:
        if key not in PRIOR_OPTIONS[prior_family(name)]:
            owner = next(prior for prior, keys in PRIOR_OPTIONS.items() if key in keys)
            word = "binary, ternary or levels:..." if owner == "lattice" else owner
            raise UsageError(
                f"{flag(key)} belongs to the {owner} prior, not to {name}: use --prior {word} or leave it out."
            )
    return chosen


def build_prior(name: str, options: dict[str, Any]) -> Prior:
    """Return the prior; an option that is None keeps its default, which for biases is 0."""
    chosen = check_prior(name, options)
    from volume import samplers

    if name == "gaussian":
        return samplers.Gaussian(**{"weight_std": 1.0, "bias_std": 0.0, **chosen})
    if name == "uniform":
        return samplers.Uniform(**chosen)
    if prior_family(name) == "lattice":
        levels = LATTICES[name] if name in LATTICES else parse_levels(name.partition(":")[2])
        return samplers.Lattice(levels, chosen.get("bias_levels"))
    return samplers.Sphere(**chosen)


# --- domains ---


@dataclass(frozen=True)
class DomainWord:
    """``boolean:7``, ``points:FILE``, ``digits`` or ``digits:0,7``."""

    kind: DomainKind
    size: int = 0
    path: str = ""
    digits: tuple[int, ...] = ()

    def build(self, *, coding: tuple[float, float] | None = None, shape: tuple[int, ...] = ()) -> BooleanCube | Points:
        """Return the domain; flat rows take the model's input ``shape`` where the sizes agree."""
        from volume.functions import domains

        if self.kind == "boolean":
            return domains.BooleanCube(self.size, coding=coding or (0, 1))
        if coding is not None:
            raise UsageError(f"--coding belongs to boolean:N, not to {self.kind}: leave it out.")
        rows = read_rows(self.path) if self.kind == "points" else load_digits(self.digits)[0]
        return domains.Points(shaped(rows, shape))


def parse_domain(text: str) -> DomainWord:
    """Read a domain's word."""
    kind, _, rest = text.partition(":")
    kind = spelled(kind, get_args(DomainKind)) or kind
    if kind == "boolean":
        if not (rest.isascii() and rest.isdigit() and int(rest)):
            raise UsageError(f"expected boolean:N with N input digits, such as boolean:7, got {text!r}")
        return DomainWord("boolean", size=int(rest))
    if kind == "points":
        if not rest:
            raise UsageError(f"expected points:FILE with a .npy or .csv file, got {text!r}")
        return DomainWord("points", path=rest)
    if kind == "digits":
        parts = rest.split(",") if rest else []
        if not all(len(part) == 1 and part in "0123456789" for part in parts) or len(set(parts)) < len(parts):
            raise UsageError(f"expected digits or digits:0,7 with different digits 0 to 9, got {text!r}")
        return DomainWord("digits", digits=tuple(int(part) for part in parts))
    raise UsageError(unknown("domain", kind, get_args(DomainKind)))


# --- classifiers ---


@dataclass(frozen=True)
class ClassifierWord:
    """One factor: ``table``, ``ones``, ``lz``, ``argmax``, ``fits:FILE``, ``fits:labels=01?1``, ``accuracy:FILE``.

    A FILE's rows are inputs of the domain with the label in the last column. ``fits:``, ``accuracy:``, ``given:`` and
    ``defects:`` also take a task by name (`volume.commands.tasks`). ``SPLIT | FITS`` is a `Given`: kind "|", two
    ``parts``.
    """

    kind: str
    path: str = ""
    labels: str = ""  # one character per input of the domain, "?" where the class does not care
    bins: int | tuple[float, ...] | None = None
    task: TaskWord | None = None
    parts: tuple[tuple[ClassifierWord, ...], ...] = ()  # of "|": what splits, and what is given

    def build(self, domain: Domain | None, shape: tuple[int, ...] = ()) -> Classifier:
        """Return the classifier; ``labels=`` needs the domain whose inputs it goes through in order."""
        import volume

        if self.task is not None:
            return self.task.build(domain)
        if self.kind == "|":
            divides, within = (build_classifier(words, domain, shape) for words in self.parts)
            return volume.Given(within, divides)
        if self.kind in ("fits", "accuracy"):
            inputs, labels = self._rows(domain, shape)
            if self.kind == "fits":
                return volume.Fits(inputs, labels)
            return volume.Accuracy(inputs, labels, bins=self.bins)
        return getattr(volume, PLAIN[self.kind])()

    def _rows(self, domain: Domain | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | str]:
        import numpy as np

        if self.path:
            table = read_rows(self.path)
            if table.ndim != 2 or table.shape[1] < 2:
                raise UsageError(
                    f"{self.path}: expected inputs with a label in the last column, got shape {table.shape}."
                )
            return shaped(table[:, :-1], shape), table[:, -1]
        if domain is None:
            raise UsageError(f"{self.kind}:labels= goes through the inputs of a domain in order: add --domain.")
        if len(self.labels) != domain.num_inputs:
            raise UsageError(
                f"{self.kind}:labels= has {len(self.labels)} characters and the domain {domain.num_inputs}"
                " inputs: give one label per input, ? where any will do."
            )
        fixed = np.array([character != "?" for character in self.labels])
        return domain.inputs[fixed], self.labels.replace("?", "")


def parse_classifier(text: str) -> tuple[ClassifierWord, ...]:
    """Read a classifier's word: one factor, several joined by ``*``, or ``SPLIT | FITS``, read "split, given fits"."""
    divides, *within = _joined(text)
    factors = tuple(map(_parse_factor, divides))
    if not within:
        return factors
    condition = tuple(map(_parse_factor, within[0]))
    if len(condition) != 1 or condition[0].kind != "fits" or len(within) > 1:
        raise UsageError(f"expected one fits:... after the |, as in 'ones | {EXAMPLE['fits']}', got {text!r}")
    path = next((word.path for word in (*factors, *condition) if word.path), "")  # whose inputs may serve as the domain
    return (ClassifierWord("|", path=path, parts=(factors, condition)),)


def _joined(text: str) -> list[list[str]]:
    """Split at | and then at *, but not in the name of a file: what follows there is no classifier's word."""
    split: list[list[str]] = [[]]
    before, sign = "", "*"
    for piece in re.split(r"([*|])", text):
        if piece in ("*", "|"):
            sign = piece
            continue
        word = spelled(piece.strip().partition(":")[0], CLASSIFIERS)
        in_name = re.match(r"\s*(fits|accuracy):(?!labels=|target=)", before, re.IGNORECASE)
        if word is None and in_name and (not _ends_a_name(before) or _ends_a_name(piece)):
            before += sign + piece
            split[-1][-1] = before
            continue
        if sign == "|":
            split.append([])
        before = piece
        split[-1].append(piece)
    return split


def _ends_a_name(text: str) -> bool:
    return re.search(r"\.(npy|csv)\s*(:[^:]*)?$", text, re.IGNORECASE) is not None


def build_classifier(
    words: tuple[ClassifierWord, ...], domain: Domain | None, shape: tuple[int, ...] = ()
) -> Classifier:
    """Return the classifier that the words name; several make their product."""
    factors = [word.build(domain, shape) for word in words]
    if len(factors) == 1:
        return factors[0]
    from volume import Product

    return Product(*factors)


def _parse_factor(text: str) -> ClassifierWord:
    kind, colon, rest = text.strip().partition(":")
    kind = one_of("classifier", CLASSIFIERS)(kind)
    if rest.startswith("target=") and kind in EXAMPLE:
        return ClassifierWord(kind, task=parse_task(kind, rest))
    if kind in ("given", "defects"):
        raise UsageError(f"expected {kind}:target=..., for example {EXAMPLE[kind]}, got {text!r}")
    if kind not in ("fits", "accuracy"):
        if colon:
            raise UsageError(f"{kind} takes nothing after it, got {text!r}")
        return ClassifierWord(kind)
    bins: int | tuple[float, ...] | None = None
    if kind == "accuracy" and not re.search(r"\.(npy|csv)$", rest, re.IGNORECASE):  # else bins do not end it
        source, colon, tail = rest.rpartition(":")
        if colon and tail:
            rest, bins = source, parse_bins(tail.replace(",", "/"))
    if rest.startswith("labels="):
        labels = rest.removeprefix("labels=").lower()
        if not labels.strip("?") or not all(c == "?" or (c.isascii() and c.isalnum()) for c in labels):
            raise UsageError(
                f"expected {kind}:labels= followed by one label per input such as 0110 or 01?0, got {text!r}"
            )
        return ClassifierWord(kind, labels=labels, bins=bins)
    if not rest:
        raise UsageError(f"expected {kind}:FILE (label in the last column) or {kind}:labels=0110, got {text!r}")
    return ClassifierWord(kind, path=rest, bins=bins)
