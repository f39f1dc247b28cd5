"""The finite symmetries of a network's parameters: permutations of hidden units, and their signs where units are odd.

A group element g maps parameters to other ones of the same function. Each set of exchangeable units brings the
permutations of its n units, n! of them, and, where a unit's activation is odd, the 2^n sign changes; the group G of the
network is the product over its sets, and a parameter between two hidden layers is moved by both.

Shape letters: n units of one set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from volume.errors import unknown

from . import stabiliser
from .units import MAX_ELEMENTS, Arrays, Element, Moved, UnitSymmetry, act, identity, log_order, order

if TYPE_CHECKING:
    from .model import Model, Parameter


@dataclass(frozen=True)
class Symmetry:
    """A finite group of parameter symmetries: the product over sets of exchangeable units. None: the trivial group.

    TypeError or ValueError for anything but `UnitSymmetry` records of different names, which share no axis.
    """

    units: tuple[UnitSymmetry, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        for unit in self.units:
            if not isinstance(unit, UnitSymmetry):
                raise TypeError(f"units holds {unit!r}; give volume.models.UnitSymmetry records.")
        names = [unit.name for unit in self.units]
        if len(set(names)) < len(names):
            raise ValueError(f"Two sets of units have one name: {names}; rename one.")
        taken: dict[tuple[str, int], str] = {}
        for unit in self.units:
            for axis in unit.axes:
                if axis in taken:
                    raise ValueError(
                        f"{taken[axis]!r} and {unit.name!r} both permute axis {axis[1]} of {axis[0]!r}; an axis runs "
                        "over the units of one set."
                    )
                taken[axis] = unit.name

    @classmethod
    def of(cls, value: Symmetry | Sequence[UnitSymmetry]) -> Symmetry:
        """Return a group as it is, or of a list of its sets of units."""
        return value if isinstance(value, Symmetry) else cls(tuple(value))

    @cached_property
    def order(self) -> int:
        """|G|, exactly."""
        return order(self.units)

    @cached_property
    def log_order(self) -> float:
        """log |G| in nats, for groups of any order."""
        return log_order(self.units)

    @property
    def has_flips(self) -> bool:
        return any(unit.flips for unit in self.units)

    @property
    def identity(self) -> Element:
        return identity(self.units)

    def act(self, params: Arrays, element: Element, *, leading: int = 0) -> dict[str, Any]:
        """g theta, as new arrays of the same kind, NumPy or JAX; parameters that no unit knows are passed on.

        ``leading`` axes of every array, draws for example, stand before those of the parameter. Names that are not
        there are left out, so that the body of a network can be moved alone.
        """
        return act(self.units, params, element, leading=leading)

    def element(self, index: Any, xp: Any = np) -> Element:
        """Return the element of this number, from 0, the identity, to ``order - 1``."""
        element = []
        for unit in self.units:
            index, own = xp.divmod(index, unit.order) if len(self.units) > 1 else (index, index)
            element.append(unit.element(own, xp))
        return tuple(element)

    def random_element(self, rng: np.random.Generator | int) -> Element:
        """Return an element drawn uniformly; ``rng`` is a NumPy generator or the seed of one."""
        rng = np.random.default_rng(rng)
        element = []
        for unit in self.units:
            signs = rng.choice([-1, 1], unit.size) if unit.flips else np.ones(unit.size)
            element.append(Moved(rng.permutation(unit.size), signs.astype(np.int8)))
        return tuple(element)

    def elements(self) -> Iterator[Element]:
        """Every element once, the identity first. ValueError for a group of more than a million."""
        if self.order > MAX_ELEMENTS:
            raise ValueError(
                f"The group has exp({self.log_order:.4g}) elements; at most {MAX_ELEMENTS:,} are gone through one by "
                "one: take a narrower network, or random_element."
            )
        return (self.element(index) for index in range(self.order))

    def stabiliser_size(self, params: Arrays) -> int:
        """|Stab(theta)|, exactly: how many elements leave these parameters as they are.

        ValueError where more than a million elements would have to be tried (see `stabiliser`).
        """
        return stabiliser.stabiliser_size(self.units, params)

    def stabiliser_sizes(self, params: Arrays) -> Any:
        """|Stab| [D] int32 of many parameters [D, *shape]; traceable by JAX. ValueError as for `stabiliser_size`, and
        for a group of 2^31 elements or more."""
        return stabiliser.stabiliser_sizes(self.units, params)

    def unresolved(self, params: Arrays) -> tuple[str, ...]:
        """Return names of the sets of units that these parameters do not tell apart: () where the stabiliser is shown
        to be trivial, for groups of any order."""
        return stabiliser.unresolved(self.units, params)

    def check(self, model: Model) -> None:
        """Raise ValueError, naming the set of units, unless the group leaves this model's functions as they are.

        Every generator of the group and random elements act on random parameters, and outputs are compared. Parameters
        and inputs are drawn from a continuous law and from {-1, 0, 1}, where sums tie.
        """
        self.check_shapes(model.parameters)
        _check_functions(self, model)

    def check_shapes(self, parameters: Sequence[Parameter]) -> None:
        """ValueError for a parameter that is not there, or an axis that does not hold the units."""
        shapes = {p.name: p.shape for p in parameters}
        for unit in self.units:
            for name, axis in unit.axes:
                where = f"The unit symmetry {unit.name!r} names"
                if name not in shapes:
                    raise ValueError(f"{where} a parameter that is not there. {unknown('parameter', name, shapes)}")
                shape = shapes[name]
                if not 0 <= axis < len(shape):
                    raise ValueError(
                        f"{where} axis {axis} of {name!r}, which has the shape {shape}: axes are 0..{len(shape) - 1}."
                    )
                if shape[axis] % unit.size:
                    raise ValueError(
                        f"{where} axis {axis} of {name!r}, which has {shape[axis]} entries: {unit.size} units need "
                        f"{unit.size} entries, or a multiple."
                    )

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able record: the sets of units, and the group's order."""
        sets = [
            {"name": u.name, "size": u.size, "axes": [list(axis) for axis in u.axes], "flips": list(u.flips)}
            for u in self.units
        ]
        return {"units": sets, "log_order": self.log_order}


# --- does a declaration hold? ---

_NETWORKS, _POINTS = 6, 12  # of either law: continuous, and {-1, 0, 1}
# Times which the continuous networks are taken: an activation may be odd near 0 alone.
_SIZES = (1.0, 1.0, 1.0, 10.0, 100.0, 1000.0)
# Rounding leaves about 1e-6 of the outputs' size where a module computes in float32; a wrong declaration changes them
# by about their size.
_TOLERANCE = 1e-4


@lru_cache(maxsize=64)
def _check_functions(symmetry: Symmetry, model: Model) -> None:
    rng = np.random.default_rng(0)
    params = {p.name: _both_laws(rng, _NETWORKS, p.shape, 1 / math.sqrt(p.fan_in)) for p in model.parameters}
    for values in params.values():
        values[:_NETWORKS] *= np.reshape(_SIZES, (-1, *(1,) * (values.ndim - 1)))
    # Without biases every network of odd units ties at 0.
    points = np.concatenate([_both_laws(rng, _POINTS, model.input_shape), np.zeros((1, *model.input_shape))])
    apply = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))

    def outputs(params: Arrays) -> np.ndarray:  # [2 _NETWORKS, N, C]
        # Adding in another order moves sums by a rounding: in float32 a threshold unit would see that now and then.
        with jax.enable_x64(True), jax.default_matmul_precision("highest"):
            return np.asarray(apply({k: jnp.asarray(v) for k, v in params.items()}, jnp.asarray(points)), np.float64)

    before = outputs(params)
    size = np.max(np.abs(before), where=np.isfinite(before), initial=0, axis=(1, 2), keepdims=True)
    for place, unit in enumerate(symmetry.units):
        mixed = Symmetry((unit,)).random_element(rng)[0]
        for what, moved in (*unit.generators(), ("a random element", mixed)):
            element = (*symmetry.identity[:place], moved, *symmetry.identity[place + 1 :])
            after = outputs(symmetry.act(params, element, leading=1))
            with np.errstate(invalid="ignore"):  # inf - inf
                gap = np.where((before == after) | (np.isnan(before) & np.isnan(after)), 0, np.abs(after - before))
            if not (gap <= _TOLERANCE * size).all():
                hint = (
                    f"name every parameter with an axis over these {unit.size} units (incoming weights, biases, "
                    "outgoing weights), with that axis"
                )
                if "sign" in what:
                    hint = "leave flips out unless the activation is odd, exactly and at 0 too"
                most = float(np.nan_to_num(gap, nan=np.inf).max())
                raise ValueError(
                    f"{unit.name!r} is no symmetry of this {type(model).__name__}: {what} changes outputs of size "
                    f"{float(size.max()):.3g} by up to {most:.3g} on random parameters; {hint}."
                )


def _both_laws(rng: np.random.Generator, count: int, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Arrays [2 count, *shape]: normal ones off centre, then ones of -1, 0 and 1, whose sums tie."""
    continuous = rng.normal(0.3 * scale, scale, (count, *shape))
    return np.concatenate([continuous, rng.integers(-1, 2, (count, *shape))])
