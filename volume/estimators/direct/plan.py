"""How `Direct` lays draws out: the size of a block, and everything the compiled step depends on.

Shape letters: Q bodies, H heads, N inputs, C outputs, K classes, W 64-bit words of a packed table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jax.sharding import Mesh

from volume.classifiers.base import BoundClassifier
from volume.common.machine import check_room, machine_memory
from volume.functions.tables import num_words
from volume.models import Model, Symmetry, num_parameters
from volume.queries.computed import computed
from volume.queries.query import Query
from volume.queries.quotient import declared, weighs_draws
from volume.samplers import Prior, block_mesh, can_reflect_heads, can_share_heads

# Round sizes, so that round numbers of draws are whole numbers of blocks.
SIZES = (1, 2, 4, 5, 10, 20, 25, 40, 50, 100, 200)
MAX_BODIES = 50  # with 200 heads: 10,000 draws, outputs of 5 MB at 128 inputs, which stay in a CPU's last-level cache
HEADS_PER_FEATURE = 5  # more heads than this on one body mostly repeat each other's functions
MIN_UNITS = 20  # blocks of independent draws
MIN_BLOCKS = 1000  # the variance between blocks is known to 4.5 % then
MAX_OUTPUTS = 1 << 22  # floats of one block's outputs
LARGEST_BLOCK = 32  # times that, when the user asks for it
MAX_STEP_DRAWS = 1 << 20
MAX_CELLS = 1 << 24  # hit counters (blocks x classes) of one step
MAX_ORDER = 10**6  # elements of a symmetry group whose stabilisers weigh draws
MAX_DRAWS = 1 << 48  # beyond any machine, and far below where 64-bit sums of squares could overflow


@dataclass(frozen=True)
class Plan:
    """Everything the compiled step depends on: one plan, one trace."""

    model: Model
    prior: Prior
    bound: BoundClassifier
    bodies: int  # Q
    heads: int  # H
    batch: int  # networks evaluated at once where there are no heads
    max_blocks: int  # blocks one device takes in one step
    dtype: str
    precision: str
    mesh: Mesh
    watch: tuple[str, ...] | None = None  # numbers may vanish: those parameters too; None: nothing may
    weigh: Symmetry | None = None  # each draw brings |Stab| hits (volume.queries.quotient); None: one

    @property
    def block_draws(self) -> int:
        return self.bodies * self.heads

    @property
    def independent(self) -> bool:
        """Whether the draws inside a block are iid: no heads, or heads on a network that has no body."""
        if self.weigh is not None:
            return False
        return self.heads == 1 or (self.bodies == 1 and bodiless(self.model))

    @property
    def copies(self) -> int:
        """The most hits that one draw can bring."""
        return 1 if self.weigh is None else self.weigh.order


def choose_block(query: Query, draws: int, *, heads: int | None, bodies: int | None) -> tuple[int, int]:
    """Choose (bodies, heads) of one block: what the user fixed, and for the rest what suits the network and the draws.

    Raises:
        ValueError: heads where there are none to share, or a block too large to hold.
    """
    model = query.model
    weigh = weighing(query)
    shared = can_share_heads(model, query.prior) and weigh is None
    if not shared and heads not in (None, 1):
        why = "the model has no separate linear last layer" if model.head is None else "the prior ties all layers"
        if weigh is not None:
            why = "a quotient looks at whole networks"
        raise ValueError(f"heads={heads} was asked for, but {why}: leave heads out, or give heads=1.")
    room = max(1, MAX_OUTPUTS // (query.domain.num_inputs * model.num_outputs))
    if weigh is not None:
        room = min(room, _weighed_room(weigh, draws))
        bodies = bodies or _divisor(draws, min(room, max(1, draws // MIN_BLOCKS)))
    chosen = _suitable(query, draws, room, shared, heads, bodies)
    if chosen[0] * chosen[1] > max(LARGEST_BLOCK * room, 1):
        raise ValueError(
            f"A block of {chosen[0]:,} bodies x {chosen[1]:,} heads on {query.domain.num_inputs} inputs is too large: "
            f"give heads and bodies whose product is at most {LARGEST_BLOCK * room:,}, or leave them out."
        )
    size = num_parameters(model)
    check_room(f"A block of {chosen[0]:,} bodies", 4 * chosen[0] * size, "give fewer bodies, or a smaller network")
    return chosen


def weighing(query: Query) -> Symmetry | None:
    """Give the group by whose stabilisers draws are weighed, where the query asks for that.

    Raises:
        ValueError: a group too large, with what to ask instead.
    """
    if not weighs_draws(query):
        return None
    symmetry = declared(query.model)
    if symmetry.order == 1:
        return None
    if symmetry.order > MAX_ORDER:
        raise ValueError(
            f"symmetry='quotient' on a finite prior weighs every draw by its stabiliser, of up to |G| = "
            f"exp({symmetry.log_order:.4g}) elements; at most {MAX_ORDER:,} are allowed: take a narrower network, a "
            "continuous prior (log |G| is then a constant), volume.Exact, or symmetry='none'."
        )
    return symmetry


def _weighed_room(symmetry: Symmetry, draws: int) -> int:
    """Give the draws of a block whose sums of squared hits stay below 2^62, whatever is drawn."""
    room = (1 << 62) // (draws * symmetry.order**2)
    if room < 1:
        raise ValueError(
            f"{draws:,} draws of up to {symmetry.order:,} hits are too many for 64-bit sums of squares: draw fewer."
        )
    return min(room, ((1 << 31) - 1) // symmetry.order)


def _suitable(
    query: Query, draws: int, room: int, shared: bool, heads: int | None, bodies: int | None
) -> tuple[int, int]:
    model = query.model
    spread = max(1, draws // MIN_UNITS)  # iid draws need few blocks, but enough to choose classes by the first tenth
    if not shared or heads == 1:
        return bodies or _divisor(draws, min(1000, room, spread)), 1
    assert model.head is not None  # can_share_heads
    if bodiless(model):  # heads on the bare inputs are independent draws: as many as there is room for
        return bodies or 1, heads or _divisor(draws, min(10_000, room, spread))
    target = max(1, min(draws // MIN_BLOCKS, room))
    heads = heads or _size(min(HEADS_PER_FEATURE * model.head.num_features, target))
    if heads == 1:
        return bodies or _divisor(draws, min(1000, room, spread)), 1
    crossed = _size(min(MAX_BODIES, target // heads)) if can_reflect_heads(model, query.prior) else 1
    return bodies or crossed, heads


def make_plan(
    query: Query, draws: int, bodies: int, heads: int, *, dtype: str, precision: str, devices: Sequence[Any] | None
) -> Plan:
    stands = computed(query, dtype)
    block = bodies * heads
    bound = query.bound
    blocks = min(-(-draws // block), MAX_STEP_DRAWS // block)
    if bound.route == "device" and bound.num_classes is not None:
        blocks = min(blocks, MAX_CELLS // (bound.num_classes + 1))
    outputs = query.domain.num_inputs * query.model.num_outputs
    return Plan(
        model=query.model,
        prior=stands.query.prior,
        bound=bound,
        bodies=bodies,
        heads=heads,
        batch=max(1, min(bodies, MAX_OUTPUTS // (64 * outputs))),
        # A power of two, so that runs of nearly the same length share one trace.
        max_blocks=1 << (max(1, blocks) - 1).bit_length(),
        dtype=dtype,
        precision=precision,
        mesh=block_mesh(devices),
        watch=None if stands.safe else stands.faint,
        weigh=weighing(query),
    )


def table_bytes(query: Query, draws: int) -> int:
    """Bound the bytes that the counts of a table may take, and what they are made of."""
    key = 8 * num_words(query.domain.num_inputs, query.model.num_outputs)
    return draws * 2 * (key + 12)  # the draws, and the matrix made of them when hardly any two agree


def fits_memory(query: Query, draws: int, memory: int | None = None) -> bool:
    """Say whether ``memory`` bytes (default: the machine's) hold what is drawn; only tables of functions may not."""
    available = memory or machine_memory()
    return query.bound.route != "table" or available is None or table_bytes(query, draws) <= available


def check_memory(query: Query, draws: int, memory: int | None = None) -> None:
    """Refuse, before anything is drawn, a table that this machine cannot hold.

    Raises:
        ValueError: with what it would take, and what to ask instead.
    """
    if fits_memory(query, draws, memory):
        return
    available = f"this machine has {(machine_memory() or 0) / 2**30:.3g}"
    if memory is not None:
        available = f"memory={memory} allows {memory / 2**30:.3g}"
    instead = "keep the run in a folder, where tables may be as large as the disk (out=DIR, on the command line --out)"
    if (why := why_not_on_disk(query)) is not None:
        instead = f"draw fewer ({why})"
    raise ValueError(
        f"A table of {draws:,} draws may take {table_bytes(query, draws) / 2**30:.3g} GiB and {available}: {instead}, "
        "or ask a question with few classes (volume.Ones(), volume.Fits(...)), which needs little."
    )


def why_not_on_disk(query: Query) -> str | None:
    """Say why a table of this query can only be counted in memory; None where the disk will do."""
    if query.bound.num_classes is not None:  # classes of tables, grouped from disk
        return None
    if query.weighting.name == "pooled":
        return "classes are pooled in memory"
    if not query.classifier.single_functions:
        return "functions within a class are counted in memory"
    return None


def bodiless(model: Model) -> bool:
    head = model.head
    return head is not None and all(p.name in (head.weight, head.bias) for p in model.parameters)


def _size(limit: int) -> int:
    return max(size for size in SIZES if size <= max(limit, 1))


def _divisor(draws: int, limit: int) -> int:
    """Find the largest divisor of ``draws`` up to ``limit``; when that is small, ``limit`` itself (draws round up)."""
    best = max(d for d in range(1, min(limit, draws) + 1) if draws % d == 0)
    return best if 10 * best >= min(limit, draws) else min(limit, draws)
