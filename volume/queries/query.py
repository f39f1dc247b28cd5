"""What is asked: the prior mass of every class of functions of one model on one list of inputs.

A query holds no method, so that every method answers the same query and the answers can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from volume.classifiers.base import BoundClassifier, Classifier
from volume.classifiers.truth_table import TruthTable
from volume.common.jax_settings import fixed_settings
from volume.common.machine import check_room
from volume.errors import unknown
from volume.functions.domains import Domain
from volume.models import Model, check_outputs, num_parameters
from volume.queries.pooling import Pooled
from volume.queries.quotient import Quotient
from volume.queries.weighting import SYMMETRIES, PriorMass, Weighting
from volume.samplers import Prior

FLOAT = 4  # bytes, of the smallest type that networks are evaluated in


@dataclass(frozen=True)
class Query:
    """A model, a prior over its parameters, a finite list of inputs and a way to put functions into classes.

    Args:
        model: a network (`volume.models`).
        prior: the measure over its parameters (`volume.samplers`).
        domain: the inputs on which a function is its decisions. Default: the inputs the classifier itself names.
        classifier: what counts as one class. Default: every function is a class of its own.
        symmetry: how copies count. "none": prior mass, every parameterisation by itself. "quotient": each network once,
            its mass divided by the number of its symmetric copies. "pooled": prior mass, estimated from all classes
            that a symmetry of the prior maps to each other. docs/symmetry.md says what each is for.

    Raises:
        TypeError, ValueError: parts that do not fit each other; nothing is traced or drawn before all of it is checked,
            but by a symmetry, whose claims are tried on a few random networks.
    """

    model: Model
    prior: Prior
    domain: Domain = None  # type: ignore[assignment]  # __post_init__ fills it in
    classifier: Classifier = field(default_factory=TruthTable)
    symmetry: str | Weighting = "none"

    @fixed_settings()
    def __post_init__(self) -> None:
        for name, value, needed in (
            ("model", self.model, ("parameters", "apply", "num_outputs", "input_shape")),
            ("prior", self.prior, ("draw", "check")),
            ("classifier", self.classifier, ("bind",)),
        ):
            if isinstance(value, type) or not all(hasattr(value, attribute) for attribute in needed):
                raise TypeError(
                    f"{name}={value!r} is not a {name}: make one from volume.{_HOME[name]}, "
                    f"for example {_EXAMPLE[name]}."
                )
        if self.domain is None:
            domain = self.classifier.domain()
            if domain is None:
                raise ValueError(
                    f"No domain was given and {self.classifier!r} names no inputs: pass domain=, "
                    "for example volume.BooleanCube(7) or volume.Points(inputs)."
                )
            object.__setattr__(self, "domain", domain)
        if not all(hasattr(self.domain, attribute) for attribute in ("inputs", "input_shape", "describe")):
            raise TypeError(
                f"domain={self.domain!r} is not a domain: pass volume.Points(inputs) or volume.BooleanCube(n)."
            )
        _check_inputs_fit(self.model, self.domain)
        _check_size(self.model, self.domain)
        self.prior.check(self.model.parameters)
        check_outputs(self.model)
        _ = self.bound
        self.weighting.check(self)

    @cached_property
    def bound(self) -> BoundClassifier:
        """The classifier with its rows looked up in this domain."""
        return self.classifier.bind(self.domain, self.model.num_outputs)

    @property
    def weighting(self) -> Weighting:
        """What ``symmetry`` stands for."""
        if isinstance(self.symmetry, str):
            return _weighting(self.symmetry)
        if isinstance(self.symmetry, type) or getattr(self.symmetry, "name", None) not in SYMMETRIES:
            raise TypeError(f"symmetry={self.symmetry!r} is none of {', '.join(map(repr, SYMMETRIES))}.")
        return cast(Weighting, self.symmetry)

    def refuse_pooling(self, method: str) -> None:
        """ValueError where classes are to be pooled; for methods that answer class by class."""
        if self.weighting.name == "pooled":
            raise ValueError(
                f"{method} estimates each class by itself and has nothing to pool: ask with symmetry='none' or "
                "'quotient', or use volume.Direct, which counts draws of every class."
            )

    def require_prior_mass(self, what: str) -> None:
        """ValueError unless ``symmetry`` is "none"; for what mixes volumes with other measures."""
        if self.weighting.name != "none":
            raise ValueError(f"{what} is of prior mass: ask with symmetry='none', not {self.weighting.name!r}.")

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record of the question but its symmetry, which the conventions hold."""
        return {
            "model": self.model.describe(),
            "prior": self.prior.describe(),
            "domain": self.domain.describe(),
            "classifier": self.classifier.describe(),
        }

    def conventions(self, *, dtype: str, precision: str) -> dict[str, Any]:
        """Return the choices that change the numbers, for every result to state."""
        domain = {k: v for k, v in self.domain.describe().items() if k != "inputs"}
        ties = "output == 0 is class 0" if self.model.num_outputs == 1 else "argmax ties go to the lowest index"
        return {
            "inputs": domain,
            "input_order": "a label lists the inputs in order; input i of a Boolean cube is i in binary",
            "prior": self.prior.describe(),
            "ties": f"{ties}; a hidden sign(a) is +1 if a > 0, else -1",
            "dtype": dtype,
            "matmul_precision": precision,
            "symmetry": self.weighting.name,
            **self.weighting.conventions(self),
        }


_HOME = {"model": "models", "prior": "samplers", "classifier": "classifiers"}
_EXAMPLE = {
    "model": "volume.models.MLP((7, 40, 40, 1))",
    "prior": "volume.samplers.Gaussian(weight_std=1.0)",
    "classifier": "volume.TruthTable()",
}


def _weighting(name: str) -> Weighting:
    if name == "none":
        return PriorMass()
    if name == "quotient":
        return Quotient()
    if name.startswith("pooled"):  # "pooled:inputs" too
        return Pooled.from_word(name)
    raise ValueError(unknown("symmetry", name, SYMMETRIES))


def _check_size(model: Model, domain: Domain) -> None:
    """Raise ValueError for a network, or its answers on all inputs, that this machine cannot hold once."""
    size = num_parameters(model)
    check_room(f"One network of {size:,} parameters", FLOAT * size, "give a smaller one")
    widest = max([model.num_outputs, *(parameter.shape[-1] for parameter in model.parameters if parameter.shape)])
    what = f"A layer of {widest:,} units on {domain.num_inputs:,} inputs"
    check_room(what, FLOAT * widest * domain.num_inputs, "give a narrower network, or fewer inputs")


def _check_inputs_fit(model: Model, domain: Domain) -> None:
    if tuple(model.input_shape) == tuple(domain.input_shape):
        return
    raise ValueError(
        f"The model takes inputs of shape {tuple(model.input_shape)} but the domain {domain!r} has inputs of shape "
        f"{tuple(domain.input_shape)}: change the first width of the model or the domain so that they agree."
    )
