"""Classes of equal volume estimated together: which maps of functions leave the prior mass of a class as it is.

Quantity: V(C) = prior{theta : function(theta) in C}, as ever. If for a map m of truth tables there is a map g of
parameters with function(g theta) = m(function(theta)) that leaves the prior as it is, then V(m C) = V(C): all classes
of an orbit of such maps have one volume, the orbit's total over its size. Maps, and what each needs:

* permuting the inputs: the rows of the first layer's weights change places. The law of these rows is exchangeable.
* negating inputs, on a coding (-a, a): rows change sign. Their law is symmetric about 0.
* negating the head turns an output a into -a. The bit "a > 0" is negated where a != 0, while an input where a = 0
  keeps its 0: a map of tables only if ties have probability 0, but for inputs that tie in every network. That holds
  with a continuous output bias, and where the features vanish at no other input. A relu layer of width w is dead at
  one input with probability 2^-w, so a network ties somewhere with probability at most N sum_l 2^-w_l, which must be
  negligible; gelu is held to the same bound, as it underflows. A finite prior ties often: on 2-3-1 relu networks
  without biases P(0000) = .379 and P(0111) = .251.

Every claim is tried on a random network before anything is drawn.

Shape letters: N inputs, n numbers in one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from volume.common.choices import POOLED
from volume.common.seeds import threefry_key
from volume.common.validation import check_choice
from volume.functions.canonical import TableGroup
from volume.functions.canonical_points import PointGroup
from volume.functions.domains import BooleanCube, Domain, Points
from volume.models import MLP, Model, Perceptron, Symmetry, UnitSymmetry
from volume.queries.quotient import is_finite, why_not_kept
from volume.queries.weighting import Question
from volume.samplers import Gaussian, Initializer, Sphere, Uniform

MAX_TIES = 1e-9  # probability of a tie that may be neglected; reports state the bound
_NETWORKS = 16  # drawn to see which inputs tie in every network
_POINTS = 24  # random inputs of the network that claims are tried on
_TOLERANCE = 1e-4  # of outputs, as in volume.models: modules may compute in float32 all the same
# Activations that are 0 at 0 alone (sine: on a null set), or nowhere.
_NONZERO = ("linear", "tanh", "erf", "sine", "sign")
# Those that are 0 on a half-line: gelu(a) = a Phi(a) underflows to 0 below about -14.
_ONE_SIDED = ("relu", "gelu")


@dataclass(frozen=True)
class Pooled:
    """The value of ``Query.symmetry`` that pools classes of equal volume; "pooled" is short for ``Pooled()``.

    The quantity is the prior mass of every class, as with "none"; the interval is that of the class's orbit divided by
    the orbit's size. Only for ``TruthTable`` and one output. Each claim is checked, and refused with the reason.

    Args:
        inputs: permutations of the inputs. True needs a model whose first layer is known (`MLP`, `Perceptron`); for
            others name the parameters that meet the inputs, with their axis: ``inputs=(("w1", 0),)``. False: none.
        negations: negations of inputs. "auto": where the coding is symmetric about 0 and the prior allows it.
        outputs: the negated head. False asks the question without it, as "pooled:inputs" does.

    Raises:
        TypeError: a setting of another kind.
        ValueError: nothing to pool by.
    """

    inputs: bool | tuple[tuple[str, int], ...] = True
    negations: bool | Literal["auto"] = "auto"
    outputs: bool = True

    name: ClassVar[str] = "pooled"

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, bool):
            try:
                if any(isinstance(pair, str) for pair in self.inputs):
                    raise TypeError
                axes = tuple((str(name), int(axis)) for name, axis in self.inputs)
            except (TypeError, ValueError):
                raise TypeError(
                    f"inputs={self.inputs!r}; give True, False, or pairs of a parameter's name and its axis over the "
                    "inputs, such as (('w1', 0),)."
                ) from None
            object.__setattr__(self, "inputs", axes or False)
        if not isinstance(self.outputs, bool):
            raise TypeError(f"outputs={self.outputs!r}; give True (the head may be negated) or False.")
        if not isinstance(self.negations, bool) and self.negations != "auto":
            raise TypeError(f"negations={self.negations!r}; give True, False or 'auto'.")
        if not self.inputs and (not self.outputs or self.negations is True):
            raise ValueError(
                "Pooled without inputs has only the negated head: give outputs=True and leave negations out, or inputs."
            )

    @classmethod
    def from_word(cls, word: str) -> Pooled:
        """ "pooled", or "pooled:inputs" without the negated head. ValueError for any other word."""
        check_choice("form of pooling", word, POOLED)
        return cls(outputs=word == "pooled")

    def check(self, query: Question) -> None:
        """Raise ValueError, with the reason, where a map does not leave volumes as they are."""
        pooling(query, self)

    def conventions(self, query: Question) -> dict[str, Any]:
        """Return what a report states: the maps, and the bound on ties."""
        allowed = pooling(query, self)
        kinds = (
            ("permutations", "permuting inputs"),
            ("negations", "negating inputs"),
            ("outputs", "negating the head"),
        )
        maps = " and ".join(words for kind, words in kinds if getattr(allowed.group, kind))
        return {
            "symmetry_note": (
                f"prior mass, estimated from all classes of equal volume together: those that {maps} map to each other"
            ),
            "symmetry_group": allowed.group.describe(),
            "ties_at_most": allowed.ties,
        }


@dataclass(frozen=True)
class Pooling:
    """What was found: the maps of tables, and how often a network is not mapped as they say."""

    group: TableGroup | PointGroup
    ties: float  # upper bound on the probability of a tie at any input that does not always tie; 0: none


@lru_cache(maxsize=64)
def pooling(query: Question, pooled: Pooled) -> Pooling:
    """Return the maps that leave the volumes of this query as they are, of those asked for. ValueError with the
    reason."""
    if not query.classifier.single_functions:
        raise ValueError(
            f"symmetry='pooled' pools truth tables, and {type(query.classifier).__name__} puts them into classes of "
            "its own: ask with TruthTable() and group the raw report, report.unpooled.group_by(...), or use "
            "symmetry='none'."
        )
    if query.model.num_outputs != 1:
        raise ValueError(
            f"symmetry='pooled' maps truth tables of one output; this model has {query.model.num_outputs}: use "
            "symmetry='none'."
        )
    if len(query.domain.input_shape) != 1:
        raise ValueError(
            f"symmetry='pooled' maps inputs that are rows of numbers; those of {query.domain!r} have the shape "
            f"{tuple(query.domain.input_shape)}: use symmetry='none'."
        )
    negations = _check_inputs(query, pooled) if pooled.inputs else False
    fixed, ties = _check_head(query) if pooled.outputs else ((), 0.0)
    kinds = {"permutations": bool(pooled.inputs), "negations": negations, "outputs": pooled.outputs, "fixed": fixed}
    return Pooling(group_on(query.domain, kinds), ties)


def group_on(domain: Domain, kinds: Mapping[str, Any]) -> TableGroup | PointGroup:
    """Return the maps of tables on a domain, from the kinds and fixed inputs that a report records. ValueError where
    there are none."""
    parts = {name: kinds[name] for name in ("permutations", "negations", "outputs")}
    fixed = tuple(kinds["fixed"])
    if isinstance(domain, BooleanCube):
        return TableGroup(domain.n, **parts, fixed=fixed)
    if isinstance(domain, Points):
        return PointGroup(domain, **parts, fixed=fixed)
    raise ValueError(f"symmetry='pooled' maps inputs of a volume.BooleanCube or volume.Points; got {domain!r}.")


# --- the inputs ---


def _check_inputs(query: Question, pooled: Pooled) -> bool:
    """Whether negations hold too; ValueError where permutations do not, or negations that were asked for."""
    model, prior = query.model, query.prior
    permuted = _units(model, pooled, flips=False)
    why = why_not_kept(prior, model, permuted)
    if why:
        raise ValueError(
            f"symmetry='pooled' permutes the inputs, and {prior!r} {why}: use a prior that treats the inputs alike, "
            "or symmetry='none'."
        )
    _try_inputs(model, permuted)
    if pooled.negations is False:
        return False
    flipped = _units(model, pooled, flips=True)
    why = _not_symmetric(query.domain)
    why = why or (f"has a prior that {held}" if (held := why_not_kept(prior, model, flipped)) else "")
    if why and pooled.negations is True:
        raise ValueError(f"Pooled(negations=True) negates inputs, and this query {why}: leave negations out.")
    if not why:
        _try_inputs(model, flipped)
    return not why


def _not_symmetric(domain: Domain) -> str:
    """Why negated inputs are not inputs of the domain; empty where they are."""
    if isinstance(domain, BooleanCube):
        coding = domain.coding
        return f"is on the coding {coding}, which is not symmetric about 0" if coding[0] != -coding[1] else ""
    signs = 1 - 2 * np.eye(domain.input_shape[0], dtype=int)
    try:
        for sign in signs:
            domain.index_of(domain.inputs * sign)
    except ValueError:
        return "has points whose numbers cannot be negated one by one within the points"
    return ""


def _units(model: Model, pooled: Pooled, *, flips: bool) -> UnitSymmetry:
    """The inputs as exchangeable units of the first layer."""
    axes = pooled.inputs
    if isinstance(axes, bool):
        if not isinstance(model, (MLP, Perceptron)):
            raise ValueError(
                f"symmetry='pooled' needs to know which parameters of this {type(model).__name__} meet the inputs: "
                "name them, with their axis over the inputs, as in volume.Pooled(inputs=(('w1', 0),))."
            )
        axes = (("0.weight", 0),)
    unit = UnitSymmetry("inputs", model.input_shape[0], axes, tuple(name for name, _ in axes) if flips else ())
    Symmetry((unit,)).check_shapes(model.parameters)
    return unit


def _try_inputs(model: Model, unit: UnitSymmetry) -> None:
    """ValueError unless moving the parameters is moving the inputs, on a random network and random inputs."""
    rng = np.random.default_rng(0)
    params, points = _random(model, rng)
    symmetry = Symmetry((unit,))
    for what, moved in (*unit.generators(), ("a random element", symmetry.random_element(rng)[0])):
        placed = np.empty_like(points)
        placed[:, moved.permutation] = points * moved.signs
        before, after = _outputs(model, params, placed), _outputs(model, symmetry.act(params, (moved,)), points)
        if not _alike(before, after):
            raise ValueError(
                f"{unit.axes} are not the only parameters of this {type(model).__name__} that meet the inputs, or not "
                f"by these axes: {what.replace('unit', 'input')} there does not do to the outputs what it does at the "
                "inputs."
            )


def _random(model: Model, rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
    """Parameters of a network, and inputs."""
    params = {p.name: rng.normal(0.1, 1 / np.sqrt(max(p.fan_in, 1)), p.shape) for p in model.parameters}
    return params, rng.normal(size=(_POINTS, *model.input_shape))


def _outputs(model: Model, params: dict[str, Any], points: np.ndarray) -> np.ndarray:
    # In float32 a threshold unit would see, now and then, that its sum is added up in another order.
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(model.apply)(params, points))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * np.abs(one).max())


# --- the head ---


def _check_head(query: Question) -> tuple[tuple[int, ...], float]:
    """The inputs that tie in every network, and a bound on the probability of other ties; or ValueError."""
    model, prior, head = query.model, query.prior, query.model.head
    if head is None:
        raise _no_head(f"this {type(model).__name__} has no linear last layer to negate")
    if is_finite(prior):
        raise _no_head(f"{prior!r} is finite, so that outputs tie with positive probability and a tie is class 0")
    names = (head.weight, *((head.bias,) if head.bias else ()))
    axes = ((head.weight, 1), *(((head.bias, 0),) if head.bias else ()))
    unit = UnitSymmetry("head", 1, axes, names)
    why = why_not_kept(prior, model, unit)
    if why:
        raise _no_head(f"{prior!r} {why}")
    _try_head(model, unit)
    values = _drawn(query)
    known = isinstance(prior, (Gaussian, Uniform, Sphere)) or (
        isinstance(prior, Initializer) and isinstance(prior.source, str)
    )
    # Under these laws an entry is 0 always or never, and takes no other value with positive probability.
    continuous = {name for name, drawn in values.items() if known and np.all(drawn != 0) and len(np.unique(drawn)) > 1}
    if head.bias in continuous:
        return (), 0.0
    if head.weight not in continuous:
        raise _no_head(f"nothing shows that the head's weights have a continuous law under {prior!r}")
    fixed = _always_tied(query, values)
    return fixed, _hidden_ties(query, continuous, query.domain.num_inputs - len(fixed))


def _hidden_ties(query: Question, continuous: set[str], num_inputs: int) -> float:
    """A bound on the probability that the features vanish at one of so many inputs."""
    model = query.model
    if isinstance(model, Perceptron):
        return 0.0
    if not isinstance(model, MLP):
        raise _no_head(
            f"nothing shows that the features of this {type(model).__name__} vanish at no input: give the output a "
            "bias with a continuous law"
        )
    hidden = range(model.num_layers - 1)
    if not all(f"{layer}.weight" in continuous for layer in hidden):
        raise _no_head("a hidden layer's weights have no continuous law")
    if model.activation in _NONZERO:
        return 0.0
    ties = (
        float(num_inputs * sum(2.0 ** -model.widths[layer + 1] for layer in hidden))
        if model.activation in _ONE_SIDED
        else 1.0
    )
    if ties > MAX_TIES:
        layers = "-".join(map(str, model.widths))
        raise _no_head(
            f"{layers} {model.activation} networks tie at one of {num_inputs} inputs with a probability of up to "
            f"{min(ties, 1.0):.2g}, more than {MAX_TIES:g}: a tie is class 0 before and after"
        )
    return ties


def _no_head(why: str) -> ValueError:
    return ValueError(
        f"symmetry='pooled' negates the head, and {why}. Ask without it: volume.Pooled(outputs=False), or "
        "'pooled:inputs' on the command line."
    )


def _try_head(model: Model, unit: UnitSymmetry) -> None:
    params, points = _random(model, np.random.default_rng(1))
    moved = unit.generators()[0][1]
    if not _alike(-_outputs(model, params, points), _outputs(model, Symmetry((unit,)).act(params, (moved,)), points)):
        raise _no_head(f"negating {', '.join(unit.names)} does not negate the outputs of this {type(model).__name__}")


def _drawn(query: Question) -> dict[str, np.ndarray]:
    """Parameters of a few networks, [_NETWORKS, *shape] each."""
    parameters = query.model.parameters
    drawn = [query.prior.draw(key, parameters) for key in jax.random.split(threefry_key(2), _NETWORKS)]
    return {p.name: np.stack([np.asarray(network[p.name]) for network in drawn]) for p in parameters}


def _always_tied(query: Question, values: dict[str, np.ndarray]) -> tuple[int, ...]:
    """Numbers of the inputs at which all of these networks give exactly 0."""
    inputs = jnp.asarray(query.domain.inputs, jnp.float32)
    outputs = jax.jit(jax.vmap(query.model.apply, in_axes=(0, None)))(values, inputs)
    return tuple(np.flatnonzero((np.asarray(outputs)[..., 0] == 0).all(axis=0)).tolist())
