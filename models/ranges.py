"""Where the numbers of a network lie: whether a format holds them, and powers of two that bring them there.

A float32 is 0 below 1.2e-38 (CPUs flush what is smaller) and infinite above 3.4e38, and a decision read off such a
number is none. Two facts are read off the network's own program (its jaxpr), operation by operation, on typical sizes
(volume.models.size_walk):

* *Errors.* A product may lose 2^-126, and what it loses is carried along like any error. Decisions (the outputs', and
  comparisons on the way) need sizes well above what was lost, and no size near the largest number.
* *Exponents.* Multiply parameter p by 2^k_p and the inputs by 2^k_x, and a product's result is multiplied by the sum of
  its factors' exponents, a sum's if those of its terms agree, a tanh's if that of its argument is 0. Where these
  equations leave some exponents free the network can be rescaled: powers of two are exact, and every decision stays.
  Without biases all of relu networks are free; a bias has the exponent of the sum that it goes to.

Sizes are base-2 logarithms of a typical absolute value; -inf stands for what is exactly 0, which fits any exponent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from .adapters import abstract_arguments
from .model import Model
from .size_walk import INPUTS, NONE, NOTHING, SizeWalk, Value

# Between a decision and what was lost, beyond the mantissa: below SAFE bits a draw in a thousand might be another one,
# above EASY even the smallest of all normals (2^-24) times itself leaves every bit as it is.
SAFE_BITS, EASY_BITS = 10, 40
SAFE_ROOM, EASY_ROOM = 10, 30  # bits below the largest number


class Ranges(NamedTuple):
    """How to compute a network's decisions, and whether they can be computed."""

    powers: Mapping[str, int]  # multiply this parameter by 2^power
    row_powers: np.ndarray  # [N] int: multiply each input by 2^power
    safe: bool  # typical draws are decided to rounding; False: look at each

    @property
    def scaled(self) -> bool:
        return any(self.powers.values()) or bool(self.row_powers.any())


def examine_ranges(
    model: Model,
    sizes: Mapping[str, float],
    rows: np.ndarray,
    dtype: Any,
    *,
    least: Mapping[str, float] | None = None,
    fixed_outputs: bool = False,
    rescale: bool = True,
) -> Ranges:
    """Find out whether ``dtype`` holds the numbers of a network, and rescale it where it does not.

    Args:
        model: the network.
        sizes: of every parameter under its prior, log2; -inf for one that is always 0.
        rows: of every input [N], log2.
        dtype: float32 or float64.
        least: of parameters that may as well have this size, log2.
        fixed_outputs: the outputs are needed as they are, not only up to a positive factor.
        rescale: whether powers of two may be looked for.
    """
    info = np.finfo(dtype)
    tiny, top = math.log2(info.tiny), float(info.maxexp)
    kinds = sorted(set(rows[rows > NONE]))
    kinds = ([kinds[0], kinds[-1]] if kinds else []) + [NONE] * bool((rows == NONE).any())
    still = np.zeros(len(rows), int)

    def walks(powers: Mapping[str, int], inputs: Iterable[float]) -> list[SizeWalk]:
        found = []
        for each in (sizes, {**sizes, **least}) if least else (sizes,):
            moved = {name: size + powers.get(name, 0) for name, size in each.items()}
            found += [_walk(model, moved, one, tiny, fixed_outputs) for one in dict.fromkeys(inputs)]
        return found

    plain = walks({}, kinds)
    best = Ranges({}, still, bool(_room(plain, info.nmant, top) >= 0))
    most = _room(plain, info.nmant, top, easy=True)
    if most >= 0 or not rescale:
        return best
    # Results around 1, or, where what is small matters, halfway up to the largest number.
    for lift, by_row in itertools.product((0, info.maxexp // 2), (False, True)):
        largest = 0.0 if by_row else max((size for size in kinds if size > NONE), default=NONE)
        first = _walk(model, sizes, largest, tiny, fixed_outputs)
        if by_row and first.exponents.inputs_tied:
            continue
        powers = first.powers(lift)
        move = powers.pop(INPUTS, 0)
        moves = np.where(rows > NONE, move - (np.floor(np.where(rows > NONE, rows, 0)) if by_row else 0), 0).astype(int)
        after = walks(powers, [0.0 if by_row and one > NONE else one + move for one in kinds])
        room = _room(after, info.nmant, top, easy=True)
        if room > most:
            best, most = Ranges(powers, moves, bool(_room(after, info.nmant, top) >= 0)), room
        if most >= 0:
            break
    return best


def _room(walks: list[SizeWalk], mantissa: int, top: float, *, easy: bool = False) -> float:
    """Bits to spare in the worst of these walks."""
    bits, room = (EASY_BITS, EASY_ROOM) if easy else (SAFE_BITS, SAFE_ROOM)
    if any(walk.largest >= top for walk in walks):  # overflow: nothing is worse
        return NONE
    return min(min(walk.margin - mantissa - bits, top - room - walk.largest) for walk in walks)


@lru_cache(maxsize=64)
def program(model: Model) -> Any:
    """The program of ``model.apply`` for one input, a closed jaxpr of parameters in their order and the inputs."""
    params, inputs = abstract_arguments(model.parameters, model.input_shape, 1)
    names = tuple(params)

    def apply(leaves: list[Any], inputs: Any) -> Any:
        return model.apply(dict(zip(names, leaves, strict=True)), inputs)

    return jax.make_jaxpr(apply)(list(params.values()), inputs)


def _walk(model: Model, sizes: Mapping[str, float], inputs: float, tiny: float, fixed_outputs: bool) -> SizeWalk:
    closed, walk = program(model), SizeWalk(tiny)
    values = [Value({p.name: 1}, sizes[p.name], tiny) for p in model.parameters] + [Value({INPUTS: 1}, inputs, tiny)]
    values = [NOTHING if value.nothing else value for value in values]
    for value in values:
        if not value.nothing:
            walk.largest = max(walk.largest, value.size)
    if not values[-1].nothing:
        walk.results.append(values[-1][:2])
    walk.exponents.reduce({INPUTS: 1})
    outputs = walk.run(closed.jaxpr, closed.consts, values)
    walk.decide(*outputs)
    if fixed_outputs:
        for value in outputs:
            walk.exponents.equate(value.form)
    return walk
