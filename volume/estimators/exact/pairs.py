"""The pairs of partial sums of a shallow network, tile by tile: the last step of the fast path of `Exact`.

The outputs of a network are a vector of one side plus a vector of the other (volume.estimators.exact.sums). A tile adds
some rows of one side to some of the other and decides all their sums at once.

Shape letters: S tiles in a step; Q rows on the left and H on the right of a tile; N inputs, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from volume.common.programs import program
from volume.estimators.exact.question import Outcome, Question
from volume.estimators.exact.sums import Product, Sums, Terms
from volume.queries.query import Query
from volume.samplers import first_devices, over_blocks

TILE_OUTPUTS = 1 << 17  # as in volume.estimators.exact.enumeration
TILE_ROWS = 512
STEP_OUTPUTS = 1 << 25


@dataclass(frozen=True)
class Tiles:
    """Everything the compiled step of this path depends on."""

    question: Question
    num_inputs: int
    num_outputs: int
    scale: float  # 2^-exponent
    mesh: Mesh  # devices among which the tiles of a step are divided


class Pairs:
    """The pairs of partial sums in steps of whole tiles, with what `Blocks` has (enumeration.py)."""

    def __init__(
        self,
        query: Query,
        question: Question,
        products: list[Product],
        summands: Terms,
        block: int | None,
        devices: Sequence[Any] | None = None,
    ):
        self._products, self._code = products, summands.code
        self._dtype = np.dtype(question.dtype)
        num_inputs, num_outputs = query.domain.num_inputs, query.model.num_outputs
        room = block or max(1, TILE_OUTPUTS // (num_inputs * num_outputs))
        self._right = min(max(len(product.right.codes) for product in products), room, TILE_ROWS)
        tallest = max(len(product.left.codes) for product in products)
        self._left = min(max(1, room // self._right), tallest)
        step = block or STEP_OUTPUTS // (num_inputs * num_outputs)
        self._tall = min(-(-tallest // self._left), max(1, step // (self._left * self._right)))
        self.mesh = first_devices(devices, self._tall)
        self._tiles = Tiles(question, num_inputs, num_outputs, 2.0**-summands.exponent, self.mesh)
        # Steps as (product, first row on the left, first row on the right).
        self._steps = [
            (number, top, start)
            for number, product in enumerate(products)
            for top in range(0, len(product.left.codes), self._left * self._tall)
            for start in range(0, len(product.right.codes), self._right)
        ]
        self.num_steps = len(self._steps)
        self.networks = sum(product.pairs for product in products)

    def layout(self) -> dict[str, int]:
        """Give what the order of the enumeration depends on."""
        return {"left": self._left * self._tall, "right": self._right, "steps": self.num_steps, "pairs": self.networks}

    def dispatch(self, number: int, inputs: np.ndarray) -> Outcome:
        """Start step ``number`` on the device; the inputs are in the sums already."""
        del inputs
        (codes, _), (right, _) = self._rows(number)
        left = self._code.unpack(codes).reshape(self._tall, self._left, self._tiles.num_inputs, -1)
        left = np.pad(left, ((0, -self._tall % self.mesh.size), (0, 0), (0, 0), (0, 0)))
        right = self._code.unpack(right).reshape(self._right, self._tiles.num_inputs, -1)
        with jax.enable_x64(self._dtype == np.float64):
            return pair_step(self._tiles, left.astype(self._dtype), right.astype(self._dtype))

    def kept(self, number: int) -> int:
        """Count the tiles of a step but those that fill it for the devices: rows that fill it up stand for nothing."""
        del number
        return self._tall

    def progress(self, steps: int) -> tuple[float, float, str]:
        """Give (done, total, unit) after so many steps."""
        return steps / max(self.num_steps, 1) * self.networks, self.networks, "pairs of partial sums"

    def weight(self, number: int, outcome: Outcome) -> np.ndarray | None:
        """Give how many parameterisations, or orbits, every pair of this step stands for, [S, Q, H] int64."""
        del outcome
        (_, left), (_, right) = self._rows(number)
        return left.reshape(self._tall, self._left, 1) * right

    def _rows(self, number: int) -> tuple[Sums, Sums]:
        """Take the rows of both sides in this step, filled up with rows that stand for nothing."""
        product, top, start = self._steps[number]
        left, right = self._products[product]
        return _filled(left, top, self._left * self._tall), _filled(right, start, self._right)


def _filled(sums: Sums, start: int, size: int) -> Sums:
    codes, weight = sums.codes[start : start + size], sums.weight[start : start + size]
    missing = size - len(codes)
    return Sums(np.pad(codes, ((0, missing), (0, 0))), np.pad(weight, (0, missing)))


@program(static_argnames="tiles")
def pair_step(tiles: Tiles, left: Array, right: Array) -> Outcome:
    """Classify all sums of ``left`` [S, Q, N, C] and ``right`` [H, N, C]."""

    def local(left: Array, right: Array) -> Outcome:
        columns = jnp.moveaxis(right, 0, 2)  # [N, C, H]

        def tile(rows: Array) -> Outcome:
            outputs = (rows[..., None] + columns) * tiles.scale  # [Q, N, C, H]
            return tiles.question.outcome(outputs, jnp.zeros((1, 1, 1), outputs.dtype))

        return jax.lax.map(tile, left)

    return over_blocks(local, tiles.mesh, (True, False))(left, right)
