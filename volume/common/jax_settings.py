"""What JAX and XLA can be set to that decides the numbers of a seed: fixed during a run where it can be, else recorded.

JAX reads defaults from the environment and from whoever shares the process: another random generator, 64-bit numbers,
shorter matrix products. The numbers of a seed must not depend on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import jax

# The generator itself is no setting here: keys name theirs (volume.common.seeds).
_FIXED = {
    "jax_threefry_partitionable": (jax.threefry_partitionable, True),
    "jax_enable_x64": (jax.enable_x64, False),  # methods turn it on where they work in float64
    "jax_numpy_dtype_promotion": (jax.numpy_dtype_promotion, "standard"),
    "jax_numpy_rank_promotion": (jax.numpy_rank_promotion, "allow"),
    "jax_default_matmul_precision": (jax.default_matmul_precision, None),  # methods state theirs
}
# Those that change how programs round and stay as they are, with their defaults.
_ROUNDING = {
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_high_dynamic_range_gumbel": False,
}
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
# Flags of XLA on which no number depends.
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump_", "--xla_gpu_cuda_data_dir", "--xla_log")


@contextmanager
def fixed_settings() -> Iterator[None]:
    """Set JAX within the block, or during each call of a decorated function, to what the numbers of a seed stand for.

    Nothing is touched that is so already: programs are kept by the settings they were made under. It holds in this
    thread alone: what works in a thread of its own says so once more.
    """
    with ExitStack() as stack:
        for name, (setting, value) in _FIXED.items():
            if getattr(jax.config, name) != value:
                stack.enter_context(setting(value))
        yield


def rounding_settings() -> dict[str, str]:
    """Say what else is set that can change how numbers round: name -> value; empty in a process with the defaults."""
    found = {}
    for name, usual in _ROUNDING.items():
        # What a block has set is an attribute, what only the environment sets is not; neither is in every JAX.
        now = getattr(jax.config, name, jax.config.values.get(name, usual))
        if now != usual:
            found[name] = str(now)
    for name in _VARIABLES:
        words = sorted(word for word in os.environ.get(name, "").split() if not word.startswith(_HARMLESS))
        if words:
            found[name] = " ".join(words)
    return found
