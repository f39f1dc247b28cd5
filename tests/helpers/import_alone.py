"""Import each module of a list in a process of its own: ``python import_alone.py MODULE ...`` prints what fails.

A fork of a process that has imported third-party libraries, and none of ours, stands for a new interpreter: it saves
the seconds that JAX takes to load.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import traceback
import warnings

HEAVY = ("numpy", "scipy.stats", "jax.numpy", "flax.nnx", "optax", "matplotlib.figure", "duckdb", "pyarrow", "rich")


def fails(module: str) -> bool:
    """Whether a forked process cannot import the module; it prints its own traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has threads; the child only imports
        child = os.fork()
    if child == 0:
        code = 0
        try:
            importlib.import_module(module)
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    return os.waitpid(child, 0)[1] != 0


def main(modules: list[str]) -> int:
    for library in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    gc.disable()  # else every child goes through all objects of the libraries, again and again
    assert not any(name.split(".")[0] == "volume" for name in sys.modules)
    failed = [module for module in modules if fails(module)]
    print(*failed, sep="\n")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
