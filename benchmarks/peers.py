"""What a user would write without this library: draw networks, run them, pack their truth tables, count.

Every peer is a function ``(widths, inputs, draws, seed, batch) -> keys [draws, W] uint64`` of a bias-free ReLU network
with weights N(0, 1/fan_in), so that all of them can be timed with and without the same counting. ``draws`` is a
multiple of ``batch``, the networks that are computed at once: which size is fastest depends on the network and on the
machine, by factors of 2 and more, so `fastest_batch` tries them in the run that reports the peer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.environment import seconds
from benchmarks.registry import missing

Peer = Callable[[Sequence[int], np.ndarray, int, int, int], np.ndarray]

BATCHES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)  # each divides the last
TRIED_DRAWS = 2000  # of a batch, or the batch where that is larger


def pack(decisions: np.ndarray) -> np.ndarray:
    """Decisions [D, N] as uint64 words [D, W]: bits for one output, bytes for several."""
    if decisions.dtype == bool:
        decisions = np.packbits(decisions, axis=1)
    decisions = np.ascontiguousarray(decisions, dtype=np.uint8)
    return np.pad(decisions, ((0, 0), (0, -decisions.shape[1] % 8))).view(np.uint64)


def count(keys: np.ndarray) -> int:
    """Number of distinct keys, with their counts, as ``np.unique`` gives them."""
    rows = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.dtype.itemsize * keys.shape[1]))).ravel()
    return len(np.unique(rows if keys.shape[1] > 1 else keys.ravel(), return_counts=True)[0])


def decide_numpy(outputs: np.ndarray) -> np.ndarray:
    return outputs[..., 0] > 0 if outputs.shape[-1] == 1 else outputs.argmax(-1).astype(np.uint8)


@partial(jax.jit, static_argnames=("widths", "draws"))
def _naive_jax(widths: tuple[int, ...], inputs: jax.Array, draws: int, key: jax.Array) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        hidden = inputs
        layers = list(itertools.pairwise(widths))
        for depth, (fan_in, fan_out) in enumerate(layers):
            key, subkey = jax.random.split(key)
            hidden = hidden @ (jax.random.normal(subkey, (fan_in, fan_out)) / jnp.sqrt(fan_in))
            if depth < len(layers) - 1:
                hidden = jax.nn.relu(hidden)
        return hidden[:, 0] > 0 if widths[-1] == 1 else jnp.argmax(hidden, -1).astype(jnp.uint8)

    return jax.vmap(one)(jax.random.split(key, draws))


def naive_jax(widths: Sequence[int], inputs: np.ndarray, draws: int, seed: int, batch: int) -> np.ndarray:
    """``jax.vmap`` over whole networks, jitted."""
    key = jax.random.key(seed)
    device = jnp.asarray(inputs, jnp.float32)
    parts = [
        np.asarray(_naive_jax(tuple(widths), device, batch, jax.random.fold_in(key, i))) for i in range(draws // batch)
    ]
    return pack(np.concatenate(parts))


def numpy_loop(widths: Sequence[int], inputs: np.ndarray, draws: int, seed: int, batch: int) -> np.ndarray:
    """NumPy's batched matmul."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(draws // batch):
        hidden = np.broadcast_to(inputs.astype(np.float32), (batch, *inputs.shape))
        layers = list(itertools.pairwise(widths))
        for depth, (fan_in, fan_out) in enumerate(layers):
            weight = rng.standard_normal((batch, fan_in, fan_out), dtype=np.float32) / np.float32(np.sqrt(fan_in))
            hidden = hidden @ weight
            if depth < len(layers) - 1:
                hidden = np.maximum(hidden, 0)
        parts.append(decide_numpy(hidden))
    return pack(np.concatenate(parts))


def torch_batched(widths: Sequence[int], inputs: np.ndarray, draws: int, seed: int, batch: int) -> np.ndarray:
    """PyTorch's batched matmul on the CPU, or on the GPU when there is one."""
    import torch  # pyright: ignore[reportMissingImports] - the bench extra

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device=device).manual_seed(seed)
    start = torch.tensor(np.array(inputs), dtype=torch.float32, device=device)
    parts = []
    with torch.inference_mode():
        for _ in range(draws // batch):
            hidden = start.expand(batch, *start.shape)
            layers = list(itertools.pairwise(widths))
            for depth, (fan_in, fan_out) in enumerate(layers):
                weight = torch.randn((batch, fan_in, fan_out), generator=generator, device=device) / fan_in**0.5
                hidden = hidden @ weight
                if depth < len(layers) - 1:
                    hidden = hidden.relu()
            parts.append(decide_numpy(hidden.cpu().numpy()))
    return pack(np.concatenate(parts))


def available() -> dict[str, Peer]:
    """The peers that are installed here."""
    peers: dict[str, Peer] = {"naive JAX (vmap)": naive_jax, "NumPy": numpy_loop}
    return peers if missing(("torch",)) else peers | {"PyTorch": torch_batched}


def fastest_batch(
    peer: Peer,
    widths: Sequence[int],
    inputs: np.ndarray,
    batches: Sequence[int] = BATCHES,
    *,
    timed: Callable[[Callable[[], object]], float] = seconds,
) -> int:
    """Return the batch size at which a peer draws most networks a second: the best of three turns of each."""
    draws = {batch: -(-TRIED_DRAWS // batch) * batch for batch in batches}
    work = {batch: partial(peer, widths, inputs, draws[batch], 0, batch) for batch in batches}
    for warm_up in work.values():
        warm_up()
    turns = [{batch: draws[batch] / timed(work[batch]) for batch in batches} for _ in range(3)]
    return max(batches, key=lambda batch: max(turn[batch] for turn in turns))
