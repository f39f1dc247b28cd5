"""Each network counted once: prior mass divided by a network's finite parameter symmetries.

Quantity: log E[1_C(theta) / |orbit(theta)|], theta drawn from the prior, orbit(theta) the parameters that the finite
group G of the model's symmetries (`volume.models.Symmetry`) makes of it; and the share of a class, that over its sum.
|orbit| = |G| / |Stab|.

* A finite prior of M points (`volume.samplers.Lattice`): |Stab| differs from point to point. A point counts |Stab|
  times in |G|, and M E[1_C / |orbit|] is the number of orbits in C, a whole number (Burnside's lemma).
* A continuous prior: |Stab| = 1 with probability 1, and the constant log |G| is subtracted from every log volume.
  Shares stay as they are. Whether units can coincide is looked at in draws.

G has to leave the prior as it is, else copies of a network would not weigh alike: checked, and refused with the reason.
The rescaling of relu units is no part of G: it is not finite, and it moves networks within their class.

Shape letters: D draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from volume.common.seeds import threefry_key
from volume.models import Model, Symmetry, UnitSymmetry, plainly
from volume.queries.weighting import Question
from volume.samplers import Initializer, Prior

_DRAWS = 16  # networks in which units are looked at for coincidence
_TOLERANCE = 1e-5  # of float32 parameters that a prior makes of permuted normals
# Initialisers whose law is not symmetric about 0.
_ONE_SIDED = ("uniform", "ones")


@dataclass(frozen=True)
class Quotient:
    """The value of ``Query.symmetry`` that counts each network once; "quotient" is short for it."""

    name: ClassVar[str] = "quotient"

    def check(self, query: Question) -> None:
        """ValueError for a model without declared symmetries, one whose declaration does not hold, and a prior that the
        group does not leave as it is."""
        symmetry = declared(query.model)
        symmetry.check(query.model)
        check_invariance(query.prior, query.model)
        if is_finite(query.prior):
            return
        for seed in range(_DRAWS):
            theta = query.prior.draw(threefry_key(seed), query.model.parameters)
            alike = symmetry.unresolved(theta)
            if alike:
                raise ValueError(
                    f"symmetry='quotient' on {query.prior!r} divides by |G|, which is right where units differ with "
                    f"probability 1, and those of {', '.join(map(repr, alike))} do not in a draw: give their weights "
                    "or biases a size above 0, or ask with symmetry='none'."
                )

    def conventions(self, query: Question) -> dict[str, Any]:
        """Return what a report states: the group, and the constant added to every log volume."""
        symmetry = declared(query.model)
        sets = {u.name: f"permutations{' and signs' if u.flips else ''} of {u.size}" for u in symmetry.units}
        return {
            "symmetry_note": (
                "each network is counted once: E[1_C / |orbit|] over the finite group of the units named here. "
                "Rescaling of relu units is not finite: it changes no class's mass, and nothing is divided by it"
            ),
            "symmetry_group": {"log_order": symmetry.log_order, **sets},
            "log_shift": log_shift(query),
        }


def log_shift(query: Question) -> float:
    """Return what is added to every log volume, in nats: -log |G| for a quotient on a continuous prior, else 0."""
    if query.weighting.name != Quotient.name or is_finite(query.prior):
        return 0.0
    return -declared(query.model).log_order


def weighs_draws(query: Question) -> bool:
    """Say whether each draw brings |Stab| of |G| possible hits: a quotient on a finite prior."""
    return query.weighting.name == Quotient.name and is_finite(query.prior)


def is_finite(prior: Prior) -> bool:
    """Say whether the prior's parameters can be listed."""
    return bool(getattr(prior, "finite", False))


def declared(model: Model) -> Symmetry:
    """Return the model's symmetries. ValueError where it declares none, with how to do so."""
    symmetry = getattr(model, "symmetry", None)
    if not isinstance(symmetry, Symmetry):
        raise ValueError(
            f"symmetry='quotient' needs to know which hidden units of this {type(model).__name__} can change places: "
            "give from_nnx, from_linen or from_function symmetry=[volume.models.UnitSymmetry('hidden', 40, "
            "(('0.weight', 1), ('0.bias', 0), ('1.weight', 0)))], a model of your own the attribute symmetry; "
            "[] says that there are none."
        )
    return symmetry


def check_invariance(prior: Prior, model: Model) -> None:
    """Raise ValueError, with the reason, unless the model's symmetries are shown to leave the prior as it is.

    Transforms of normals are shown to commute with every generator of the group; finite priors and initialisers by name
    draw the entries of a tensor alike, and signs ask for levels, or a law, symmetric about 0.
    """
    symmetry = declared(model)
    for place, unit in enumerate(symmetry.units):
        if unit.order == 1:
            continue
        why = _why_not(prior, model, symmetry, place, unit)
        if why:
            raise ValueError(
                f"symmetry='quotient' divides by copies of equal weight, and {prior!r} {why} (units "
                f"{unit.name!r}): use a prior that treats them alike, or symmetry='none'."
            )


def why_not_kept(prior: Prior, model: Model, unit: UnitSymmetry) -> str:
    """Why maps of these units may change the prior, as an end to a sentence; empty where they are shown to keep it.

    The units need not be a symmetry of the model: `volume.queries.pooling` asks for the inputs of its first layer.
    """
    return _why_not(prior, model, Symmetry((unit,)), 0, unit)


def _why_not(prior: Prior, model: Model, symmetry: Symmetry, place: int, unit: UnitSymmetry) -> str:
    if is_finite(prior):
        levels_of = getattr(prior, "levels_of", None)
        if levels_of is None:
            return "is finite but lists no levels_of(parameters), so that its law cannot be seen"
        levels = dict(zip((p.name for p in model.parameters), levels_of(model.parameters), strict=True))
        odd = [name for name in unit.flips if sorted(levels[name]) != sorted(-level for level in levels[name])]
        return f"has levels of {odd[0]!r} that are not symmetric about 0" if odd else ""
    if prior.has_transform:
        return _does_not_commute(prior, model, symmetry, place, unit)
    if isinstance(prior, Initializer) and isinstance(prior.source, str):
        # Independent entries of one law, or a Haar matrix (orthogonal): both are the same after a permutation.
        kinds = {p.name: p.kind for p in model.parameters}
        laws = {"weight": prior.source, "bias": prior.bias, "scale": "ones"}
        odd = [name for name in unit.flips if laws[kinds[name]] in _ONE_SIDED]
        return f"draws {odd[0]!r} from a law that is not symmetric about 0" if odd else ""
    return "draws from a key, so that nothing shows what permuted units do to its law"


def _does_not_commute(prior: Prior, model: Model, symmetry: Symmetry, place: int, unit: UnitSymmetry) -> str:
    def transform(z: Any) -> Any:
        return plainly(lambda z: prior.transform(z, model.parameters), z)

    chance = np.random.default_rng(1)
    z = {p.name: chance.standard_normal(p.shape).astype(np.float32) for p in model.parameters}
    theta = transform(z)
    for what, moved in unit.generators():
        element = (*symmetry.identity[:place], moved, *symmetry.identity[place + 1 :])
        expected = symmetry.act(theta, element)
        transformed = transform(symmetry.act(z, element))
        for name in unit.names:
            gap = np.abs(np.asarray(transformed[name]) - np.asarray(expected[name]))
            if not (gap <= _TOLERANCE * (1 + math.sqrt(float(np.mean(np.square(theta[name])))))).all():
                return f"is another law of {name!r} after {what}"
    return ""
