"""Every point of a lattice, block by block, through the model itself: the path of `Exact` that serves every network.

The entries of the parameters are digits, each with the number of its levels as base, and a parameterisation is one
number in that system. The last digits run inside a block, on the device; all digits before them are worked out on the
host, so that no index on the device can overflow. Where the last layer is linear and apart from the rest, the bodies of
a block meet all its heads in one matrix product, as in `Direct`. In an `MLP` with several hidden layers the last of
these is crossed with the layers below it in the same way, where arithmetic is exact: sums are made in another order
there.

Shape letters: S blocks in a step; Q bodies, B middle layers and H heads in a block; N inputs, C outputs, F features, W
words of a key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from volume.common.programs import program
from volume.estimators.exact.arithmetic import lattice_of
from volume.estimators.exact.question import Outcome, Question
from volume.models import ACTIVATIONS, MLP, Head, Model, Parameter, Symmetry
from volume.queries.query import Query
from volume.samplers import can_share_heads, first_devices, over_blocks

# Outputs of one block, in floats: 512 KiB. Measured on 3-4-1 ternary, 2 cores, on million networks a second: 2^13 193,
# 2^15 258, 2^16 349, 2^17 370, 2^18 232, 2^19 192.
BLOCK_OUTPUTS = 1 << 17
MAX_HEADS = 512
STEP_OUTPUTS = 1 << 25  # of one step: 4 million networks on 8 inputs, 20 ms and 16 MB of class numbers
# A float32 network this many roundings away from zero may have the other sign on other hardware (volume.samplers).
NEAR_TIE_ROUNDINGS = 4.0


@dataclass(frozen=True)
class Grid:
    """Everything the compiled step of this path depends on."""

    question: Question
    model: Model
    body: tuple[Parameter, ...]
    middle: Head | None  # the last hidden layer, where it is crossed with the layers below as heads are
    head: Head | None  # None: every parameter is in the body
    weigh: Symmetry | None  # networks count as often as this group leaves them as they are
    precision: str
    mesh: Mesh  # devices among which the blocks of a step are divided


class Digits(NamedTuple):
    """The entries of some parameters as digits; the last ``len(inner)`` of them run inside a block."""

    outer: tuple[tuple[float, ...], ...]  # levels of every entry that the host sets
    inner: tuple[tuple[float, ...], ...]  # and of those that the device runs through

    @staticmethod
    def of(entries: list[tuple[float, ...]], most: int) -> Digits:
        """As many of the last entries inside as keep their combinations within ``most``, at least none."""
        split, size = len(entries), 1
        while split and size * len(entries[split - 1]) <= most:
            split -= 1
            size *= len(entries[split])
        return Digits(tuple(entries[:split]), tuple(entries[split:]))

    @property
    def num_outer(self) -> int:
        return math.prod(map(len, self.outer))

    @property
    def num_inner(self) -> int:
        return math.prod(map(len, self.inner))


def digits(levels: tuple[tuple[float, ...], ...], index: np.ndarray) -> np.ndarray:
    """Return the levels [R, entries] that the numbers ``index`` [R] stand for, the last entry changing fastest."""
    columns = np.empty((len(index), len(levels)))
    for column in range(len(levels) - 1, -1, -1):
        index, digit = np.divmod(index, len(levels[column]))
        columns[:, column] = np.asarray(levels[column])[digit]
    return columns


class Blocks:
    """The enumeration of a query's lattice in steps of whole blocks.

    Args:
        query: with a finite prior.
        question: what to do with outputs.
        weigh: the group by whose stabilisers networks are weighed. It looks at bodies and heads together, so that no
            heads are shared.
        precision: of matrix products.
        block: networks of one step. Default: what suits a core's cache.
        devices: to divide the blocks of a step among. Default: all local ones.

    Raises:
        ValueError: a group whose stabilisers are too costly.
    """

    def __init__(
        self,
        query: Query,
        question: Question,
        *,
        weigh: Symmetry | None = None,
        precision: str = "highest",
        block: int | None = None,
        devices: Sequence[Any] | None = None,
    ):
        model, prior = query.model, lattice_of(query)
        levels = dict(zip((p.name for p in model.parameters), prior.levels_of(model.parameters), strict=True))
        head = model.head if weigh is None and can_share_heads(model, prior) else None
        lower = below(model) if head is not None and question.exact else None
        middle = None if lower is None else lower.head
        layers = [layer for layer in (middle, head) if layer is not None]
        names = {name for layer in layers for name in (layer.weight, layer.bias)}
        body = tuple(p for p in model.parameters if p.name not in names)
        outputs = query.domain.num_inputs * model.num_outputs
        room = block or max(1, BLOCK_OUTPUTS // outputs)
        shapes = {p.name: p.shape for p in model.parameters}

        def entries(layer: Head | None) -> list[tuple[float, ...]]:
            names = () if layer is None else filter(None, (layer.weight, layer.bias))
            return [levels[name] for name in names for _ in range(math.prod(shapes[name]))]

        rest = [levels[p.name] for p in body for _ in range(math.prod(p.shape))]
        most = min(room, MAX_HEADS) if rest else room
        heads = Digits.of(entries(head), most)
        between = Digits.of(entries(middle), max(1, most // heads.num_inner))
        bodies = Digits.of(rest, max(1, room // (heads.num_inner * between.num_inner)))
        self._parts = (bodies, between, heads)
        # Which of the parts has a parameter, in the order of their entries.
        self._entries = dict.fromkeys(body, 0)
        for part, layer in ((1, middle), (2, head)):
            of = [] if layer is None else [layer.weight, layer.bias]
            self._entries |= {p: part for name in of for p in model.parameters if p.name == name}
        if weigh is not None:  # what it cannot do is said before anything is compiled
            traced = {p.name: jax.ShapeDtypeStruct((1, *p.shape), "float32") for p in body}
            jax.eval_shape(weigh.stabiliser_sizes, traced)
        self._dtype = np.dtype(question.dtype)
        self._inner = tuple(digits(part.inner, np.arange(part.num_inner)).astype(self._dtype) for part in self._parts)
        self.block_networks = math.prod(part.num_inner for part in self._parts)
        self.num_blocks = math.prod(part.num_outer for part in self._parts)
        self.networks = self.num_blocks * self.block_networks  # to evaluate
        step = block or STEP_OUTPUTS // outputs
        self.blocks_per_step = min(self.num_blocks, max(1, step // self.block_networks))
        self.num_steps = -(-self.num_blocks // self.blocks_per_step)
        # The steps are the same whatever the devices; those that a step has no block for are left out.
        self.mesh = first_devices(devices, self.blocks_per_step)
        self.grid = Grid(question, model, body, middle, head, weigh, precision, self.mesh)

    def layout(self) -> dict[str, int]:
        """Give what the order of the enumeration depends on."""
        names = ("bodies", "middle", "heads", "blocks", "blocks_per_step")
        sizes = (*(part.num_inner for part in self._parts), self.num_blocks, self.blocks_per_step)
        return dict(zip(names, sizes, strict=True))

    def dispatch(self, number: int, inputs: np.ndarray) -> Outcome:
        """Start step ``number`` on the device; what it gives may still be under way."""
        filled = -(-self.blocks_per_step // self.mesh.size) * self.mesh.size
        blocks = number * self.blocks_per_step + np.arange(filled)
        lead = self._lead(np.minimum(blocks, self.num_blocks - 1))  # the tail repeats the last
        with jax.enable_x64(self._dtype == np.float64):
            return block_step(self.grid, inputs, lead, self._inner)

    def _lead(self, blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        """Give the outer digits [S, .] of bodies, middle and heads of these blocks [S]."""
        lead = []
        for part in reversed(self._parts):  # heads change fastest
            blocks, of_part = np.divmod(blocks, part.num_outer)
            lead.append(digits(part.outer, of_part).astype(self._dtype))
        return tuple(reversed(lead))

    def network(self, block: int, q: int, h: int) -> dict[str, np.ndarray]:
        """Give the parameters of the network whose outcome stands in column (q, h) of a block."""
        if self.grid.head is None:
            q, h = h, 0  # what is many comes last
        h, b = divmod(h, self._parts[1].num_inner)
        entries = [
            np.concatenate([outer[0], inner[at]])
            for outer, inner, at in zip(self._lead(np.array([block])), self._inner, (q, b, h), strict=True)
        ]
        params = {}
        for p, of in self._entries.items():
            size = math.prod(p.shape)
            params[p.name], entries[of] = entries[of][:size].reshape(p.shape), entries[of][size:]
        return params

    def kept(self, number: int) -> int:
        """Count the blocks of this step that are not of the next, or repetitions."""
        return min(self.blocks_per_step, self.num_blocks - number * self.blocks_per_step)

    def weight(self, number: int, outcome: Outcome) -> np.ndarray | None:
        """Give how often every network of this step counts, [S, Q, H] int64; None: once each."""
        del number
        return np.asarray(outcome.weight).astype(np.int64) if outcome.weight.size else None

    def progress(self, steps: int) -> tuple[float, float, str]:
        """Give (done, total, unit) after so many steps."""
        blocks = min(steps * self.blocks_per_step, self.num_blocks)
        return blocks * self.block_networks, self.networks, "parameterisations"


def below(model: Model) -> MLP | None:
    """Return the layers below the last of a network with several hidden layers, its last hidden one as a linear
    head."""
    if not isinstance(model, MLP) or model.num_layers < 3:
        return None
    return MLP(model.widths[:-1], model.activation, model.bias)


@program(static_argnames="grid")
def block_step(grid: Grid, inputs: Array, lead: tuple[Array, ...], inner: tuple[Array, ...]) -> Outcome:
    """Return blocks of outer digits ``lead``, [S, .] of bodies, middle and heads, with all inner ones, [., .] of
    each."""

    def local(inputs: Array, lead: tuple[Array, ...], inner: tuple[Array, ...]) -> Outcome:
        return jax.lax.map(lambda outer: _block(grid, inputs, *map(_joined, outer, inner)), lead)

    with jax.default_matmul_precision(grid.precision):
        return over_blocks(local, grid.mesh, (False, True, False))(inputs, lead, inner)


def _block(grid: Grid, inputs: Array, bodies: Array, middle: Array, heads: Array) -> Outcome:
    """Bodies [Q, .] x middle layers [B, .] x heads [H, .] of one block."""
    params = _unflatten(bodies, grid.body)
    num_bodies, num_outputs = len(bodies), grid.model.num_outputs
    info = jnp.finfo(bodies.dtype)
    if grid.head is None:
        outputs = jax.vmap(lambda one: grid.model.apply(one, inputs), axis_size=num_bodies)(params)  # [Q, N, C]
        outputs = jnp.moveaxis(outputs, 0, 2)[None]  # [1, N, C, Q]: what is many comes last
        tie = NEAR_TIE_ROUNDINGS * info.eps * jnp.max(jnp.abs(outputs), axis=(1, 2))[:, None]  # [1, 1, Q]
        weight = None if grid.weigh is None else grid.weigh.stabiliser_sizes(params)[None]  # [1, Q]
        return grid.question.outcome(outputs, tie, weight)
    weight = _columns(heads, num_outputs)  # [F (+ 1), C, H]
    if grid.middle is not None:
        return grid.question.outcome(_crossed_twice(grid, inputs, params, middle, weight), jnp.zeros((1, 1, 1)))
    features = jax.vmap(lambda one: grid.model.features(one, inputs), axis_size=num_bodies)(params)  # [Q, N, F]
    features = _with_bias(features, grid.head)
    outputs = _product(features, weight)
    bound = jnp.max(jnp.linalg.norm(features, axis=-1), axis=-1) * jnp.max(jnp.linalg.norm(weight, axis=0))  # [Q]
    return grid.question.outcome(outputs, NEAR_TIE_ROUNDINGS * info.eps * bound[:, None, None])


def _crossed_twice(grid: Grid, inputs: Array, params: dict[str, Array], middle: Array, weight: Array) -> Array:
    """Outputs [Q, N, C, H B] of bodies ``params`` [Q], last hidden layers ``middle`` [B, .] and heads [F (+ 1), C, H].

    Sums are made in another order than the model makes them: for exact arithmetic only.
    """
    lower = below(grid.model)
    assert lower is not None  # or there were no middle layer
    assert grid.middle is not None
    assert grid.head is not None
    features = jax.vmap(lambda one: lower.features(one, inputs), axis_size=len(next(iter(params.values()))))(params)
    hidden = _product(_with_bias(features, grid.middle), _columns(middle, lower.num_outputs))
    hidden = ACTIVATIONS[lower.activation](hidden)[:, :, :, None, None]  # [Q, N, F, 1, 1, B]
    last = weight[..., None]  # [F (+ 1), C, H, 1]
    # Few terms, written out: the compiler makes them, the decisions and their packing one loop without a product.
    outputs = last[-1] if grid.head.bias is not None else jnp.zeros_like(last[0])
    for feature in range(lower.num_outputs):
        outputs = outputs + hidden[:, :, feature] * last[feature]
    return outputs.reshape(*outputs.shape[:3], -1)


def _columns(entries: Array, num_outputs: int) -> Array:
    """Weights [F, C, H] of a linear layer's entries [H, .]; biases are those of one more feature, which is always 1."""
    return jnp.moveaxis(entries.reshape(len(entries), -1, num_outputs), 0, 2)


def _with_bias(features: Array, layer: Head) -> Array:
    """Features [Q, N, F] and, where the layer has biases, the one that is always 1."""
    if layer.bias is None:
        return features
    return jnp.concatenate([features, jnp.ones_like(features[..., :1])], axis=-1)


def _product(features: Array, weight: Array) -> Array:
    """Outputs [Q, N, C, H] of features [Q, N, F] and weights [F, C, H], as one matrix product."""
    flat = features.reshape(-1, features.shape[-1]) @ weight.reshape(len(weight), -1)
    return flat.reshape(*features.shape[:2], *weight.shape[1:])


def _joined(lead: Array, inner: Array) -> Array:
    """All digits [Q, entries]: those of the block before those inside it."""
    return jnp.concatenate([jnp.broadcast_to(lead, (len(inner), len(lead))), inner], axis=1)


def _unflatten(entries: Array, parameters: tuple[Parameter, ...]) -> dict[str, Array]:
    """Parameters [Q, *shape] of their entries [Q, .] in order."""
    if not parameters:  # a network without hidden layers has no body
        return {}
    sizes = [math.prod(p.shape) for p in parameters]
    pieces = jnp.split(entries, np.cumsum(sizes)[:-1], axis=1)
    return {p.name: piece.reshape(len(entries), *p.shape) for p, piece in zip(parameters, pieces, strict=True)}
